import AttuneTensor
import AttuneVision
import Core
import Foundation
import Lab
import Text

let tokenizeCommand = Command(
  words: ["tokenize"], summary: "text to ids and back",
  options: [CommonFlags.model, JSONLines.keepGoingOption],
  example: #"echo '{"text": "hello"}' | attune tokenize --model checkpoints/tiny"#,
  details: """
    Standard input to standard output; of DIR only the tokenizer's files are read.
    In: {"text": "..", "add_special_tokens": true} or {"ids": [..], "skip_special_tokens": false}.
    Out: {"ids": [..], "text": "..", "pieces": [..]}; pieces is what streaming would emit, id by id.
    """
) { arguments in
  let tokenizer = try Tokenizer.load(folder: CommonFlags.modelFolder(arguments))
  return try JSONLines(arguments).map { try TextCommands.tokenizeLine($0, tokenizer: tokenizer) }
}

let renderCommand = Command(
  words: ["render"], summary: "chat messages to the text a model sees",
  options: [
    CommonFlags.model,
    .init(name: "--template", value: "FILE", help: "a Jinja template instead of the checkpoint's"),
    .init(name: "--variables", value: "JSON", help: #"variables of --template, such as {"bos_token": "<s>"}"#),
    .init(name: "--now", value: "TIME", help: "the clock for strftime_now, such as 2026-11-23T10:00:00"),
    JSONLines.keepGoingOption,
  ],
  example:
    #"echo '{"messages": [{"role": "user", "content": "hi"}], "add_generation_prompt": true}' | attune render --model checkpoints/tiny"#,
  details: """
    Standard input to standard output. In: {"messages": [..], "tools": [..], "add_generation_prompt": true,
    "continue_final_message": false, any variable of the template}. Out: {"text": "..", "assistant_spans": [[from, to], ..]} in code
    points, and with --model also "input_ids" and "assistant_mask".
    """
) { arguments in
  let now = try arguments.string("--now").map { try CivilTime(iso: $0) }
  var tokenizer: Tokenizer?
  let template: ChatTemplate
  if let file = arguments.string("--template") {
    guard arguments.string("--model") == nil else {
      throw AttuneError.request("--template and --model exclude each other")
    }
    var variables = JSON.Object()
    if let text = arguments.string("--variables") {
      guard let object = try JSON.parse(text, file: "--variables").object else {
        throw AttuneError.request("--variables is not a JSON mapping")
      }
      variables = object
    }
    template = try ChatTemplate(
      source: String(decoding: MappedFile.read(file), as: UTF8.self), file: file, specialTokens: variables)
  } else {
    guard arguments.string("--model") != nil else {
      throw AttuneError.request("attune render needs --model or --template", hint: "see `attune render --help`")
    }
    let folder = try CommonFlags.modelFolder(arguments)
    guard let found = try ChatTemplate.load(folder: folder) else {
      throw AttuneError.request(
        "the checkpoint has no chat template", at: .init(file: folder), hint: "--template FILE takes one from elsewhere"
      )
    }
    template = found
    tokenizer = try Tokenizer.load(folder: folder)
  }
  return try JSONLines(arguments).map {
    try TextCommands.renderLine($0, template: template, tokenizer: tokenizer, now: now)
  }
}

let preprocessCommand = Command(
  words: ["preprocess"], summary: "pictures to the tensors a model sees", positionals: ["IMAGE…"],
  options: [
    CommonFlags.model,
    .init(name: "--output", value: "F.safetensors", help: "where the tensors go"),
    .init(name: "--decoded", value: nil, help: "write the decoded pictures instead: image.0, image.1, …"),
  ],
  example: "attune preprocess --model checkpoints/tiny-vl --output pixels.safetensors picture.png",
  details: """
    Writes pixel_values and image_grid_thw; of DIR only the preprocessor's files are read. With --decoded: image.N as
    [height, width, 3] u8, upright, alpha dropped, 16-bit grey by its high byte (the processor itself follows the reference
    there: clipped).
    """
) { arguments in
  let output = try arguments.require("--output")
  let backend = try CPUBackend(threads: 1)
  var tensors: [(name: String, tensor: Tensor)] = []
  if arguments.has("--decoded") {
    for (i, path) in arguments.positionals.enumerated() {
      let picture = try PictureDecoder.load(path: path, options: .display)
      tensors.append(
        (
          "image.\(i)",
          picture.pixels.withUnsafeBytes { backend.upload($0, [picture.height, picture.width, 3], .u8) }
        ))
    }
  } else {
    let processor = try QwenPictureProcessor(folder: CommonFlags.modelFolder(arguments))
    let pictures = try arguments.positionals.map { try PictureDecoder.load(path: $0, options: .reference) }
    let (patches, grids) = try processor.process(pictures, names: arguments.positionals)
    let rows = grids.reduce(0) { $0 + $1.patchCount }
    tensors.append(("pixel_values", backend.upload(patches, [rows, processor.patchLength])))
    let numbers = grids.flatMap { [Int64($0.t), Int64($0.h), Int64($0.w)] }
    tensors.append(
      ("image_grid_thw", numbers.withUnsafeBytes { backend.upload($0, [grids.count, 3], .i64) }))
  }
  try SafeTensors.write(tensors, to: output, from: backend)
  return 0
}
