import AttuneTensor
import AttuneVision
import Core
import Models
import TestSupport
import Testing

@testable import Lab

/// Texts, messages, pictures and films of the golden checkpoints become the ids that the reference's processors made of them.
@Suite struct GoldenPromptTests {
  static let folders = [
    "llama2", "llama3_rope", "llama_tied", "qwen2", "qwen2_window", "qwen3", "qwen3_moe", "qwen3_tied_yarn",
    "deepseek_v2", "deepseek_v2_lite", "qwen3_vl", "qwen3_vl_moe", "deepseek_vl2_mha", "deepseek_vl2_mla",
    "deepseek_vl2_noaux",
  ]

  @Test(arguments: folders)
  func promptsEqualTheReference(folder: String) throws {
    let backend = try CPUBackend(threads: 1)
    let policy = try Policy(folder: Fixtures.path("models/\(folder)"), backend: backend, precision: .full)
    let tensors = try SafeTensors(Fixtures.path("models/\(folder)/expected.safetensors"))
    let cases = try Fixtures.json("models/\(folder)/expected.json")["cases"]!.array!
    var compared = 0
    for item in cases {
      let name = item["name"]!.string!
      guard item["batch"]?.int ?? 1 == 1 else { continue }
      let expected = try tensors.integers("\(name).input_ids").map { Int32($0) }
      var media = PromptMedia()
      media.pictures = try (item["images"]?.array ?? []).map { key in
        let entry = try tensors.require("picture.\(key.string!)")
        return Picture(width: entry.shape[1], height: entry.shape[0], pixels: tensors.withBytes(entry) { Array($0) })
      }
      if let messages = item["messages"]?.array ?? item["rows"]?.array?.first?.array {
        let text = try policy.template!.render(messages: messages, addGenerationPrompt: true).text
        let ids = try ids(of: text, media, films: item["videos"]?.array ?? [], policy, tensors, folder)
        #expect(ids == expected, "\(name), messages")
        compared += 1
      }
      if let text = item["text"]?.string {
        #expect(try policy.encode(text: text, media: media, isRaw: true).ids == expected, "\(name), text")
        compared += 1
      }
    }
    #expect(compared >= 3)
  }

  /// Films of the goldens say how many frames a second they have, which a list of frames in a request does not.
  private func ids(
    of text: String, _ media: PromptMedia, films: [JSON], _ policy: Policy, _ tensors: SafeTensors, _ folder: String
  ) throws -> [Int32] {
    guard !films.isEmpty else { return try policy.encode(text: text, media: media).ids }
    let processor = try PictureProcessor(folder: policy.folder)
    guard case .qwen(_, .some(let video)) = processor else { return [] }
    let encoder = PromptEncoder(configuration: policy.model.configuration, tokenizer: policy.tokenizer) { processor }
    var inputs = try encoder.inputs(of: media)
    for key in films {
      let entry = try tensors.require("film.\(key.string!)")
      let (count, height, width) = (entry.shape[0], entry.shape[1], entry.shape[2])
      let bytes = tensors.withBytes(entry) { Array($0) }
      let frames = (0..<count).map { i in
        Picture(
          width: width, height: height, pixels: Array(bytes[i * height * width * 3..<(i + 1) * height * width * 3]))
      }
      let film = try video.process(frames, frameRate: 3)
      inputs.films += (0..<film.grid.t).map {
        PictureInput(
          patches: film.block($0).patches, grid: (frames: 1, height: film.grid.h, width: film.grid.w))
      }
      inputs.times.append(film.timestamps)
      #expect(film.patches.count == (try tensors.require("pixels.\(key.string!)")).shape.reduce(1, *))
    }
    let ids = try encoder.ids(of: text, inputs, isRaw: false)
    return try policy.model.encode(ids: ids, pictures: inputs.pictures, films: inputs.films).ids
  }
}
