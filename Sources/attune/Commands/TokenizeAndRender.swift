import AttuneTensor
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
  let tokenizer = try Tokenizer.load(folder: CommonFlags.modelFolder(arguments, holding: ["tokenizer.json"]))
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
  let now = try arguments.string("--now").map { text in
    do { return try CivilTime(iso: text) } catch let error as AttuneError { throw error.located(in: "--now") }
  }
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
    guard let source = try String(validating: MappedFile.read(file), as: UTF8.self) else {
      throw AttuneError.request("the template is not UTF-8", at: .init(file: file))
    }
    template = try ChatTemplate(source: source, file: file, specialTokens: variables)
  } else {
    guard arguments.string("--variables") == nil else {
      throw AttuneError.request(
        "--variables goes with --template", hint: "with --model, other keys of a line are variables of the template")
    }
    guard arguments.string("--model") != nil else {
      throw AttuneError.request("attune render needs --model or --template", hint: "see `attune render --help`")
    }
    let folder = try CommonFlags.modelFolder(arguments, holding: ["tokenizer.json"])
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
