import Core
import Foundation
import TestSupport
import Testing

/// `attune preprocess`: the tensors of the goldens, from files.
@Suite struct PreprocessTests {
  /// One tensor of a safetensors file: its type, shape and bytes.
  private struct Stored: Equatable {
    let type: String
    let shape: [Int]
    let bytes: [UInt8]

    init?(_ name: String, in path: String) throws {
      let file = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
      let length = (0..<8).reduce(0) { $0 | Int(file[$1]) << (8 * $1) }
      guard let entry = try JSON.parse(file[8..<(8 + length)], file: path)[name] else { return nil }
      let ends = entry["data_offsets"]?.array?.compactMap(\.int) ?? []
      type = entry["dtype"]?.string ?? ""
      shape = entry["shape"]?.array?.compactMap(\.int) ?? []
      bytes = Array(file[(8 + length + ends[0])..<(8 + length + ends[1])])
    }
  }

  private func model(_ name: String) -> String { Fixtures.path("models/\(name)") }

  /// Writes the pictures of a `[height, width, 3]` or `[count, height, width, 3]` tensor as PNG files.
  private func pictures(_ name: String, of model: String, into folder: String) throws -> [String] {
    let stored = try #require(try Stored(name, in: self.model(model) + "/expected.safetensors"))
    let shape = stored.shape.count == 4 ? stored.shape : [1] + stored.shape
    let size = shape[1] * shape[2] * 3
    return try (0..<shape[0]).map { i in
      let path = "\(folder)/\(name).\(i).png"
      let rows = (0..<shape[1]).map { y -> [UInt8] in
        let start = i * size + y * shape[2] * 3
        return Array(stored.bytes[start..<(start + shape[2] * 3)])
      }
      try Data(PlainPNG.file(width: shape[2], height: shape[1], rows: rows)).write(to: URL(fileURLWithPath: path))
      return path
    }
  }

  @Test func pictures() throws {
    let folder = try Program.temporaryFolder()
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let picture = Fixtures.path("images/files/rgb.png")
    let webP = Fixtures.path("images/files/lossless.webp")
    let output = folder + "/p.safetensors"
    let result = try Program.run(["preprocess", "--model", model("qwen3_vl"), "--output", output, picture, webP])
    #expect(result.status == 0, "\(result.errors)")
    let grids = try #require(try Stored("image_grid_thw", in: output))
    let values = try #require(try Stored("pixel_values", in: output))
    #expect(grids.type == "I64" && grids.shape == [2, 3] && values.type == "F32" && values.shape[1] == 1536)
    let decoded = try Program.run(["preprocess", "--decoded", "--output", output, picture, webP])
    #expect(decoded.status == 0, "\(decoded.errors)")
    #expect(try Stored("image.0", in: output)?.shape == [60, 88, 3])
    #expect(try Stored("image.1", in: output)?.type == "U8")
    let broken = folder + "/broken.png"
    try Data(try Data(contentsOf: URL(fileURLWithPath: picture)).prefix(60)).write(to: URL(fileURLWithPath: broken))
    let refused = try Program.run(["preprocess", "--decoded", "--output", folder + "/x.safetensors", broken])
    #expect(refused.status == 2 && refused.errors.contains("broken.png"), "\(refused.errors)")
    #expect(!FileManager.default.fileExists(atPath: folder + "/x.safetensors"))
  }

  @Test(arguments: ["qwen3_vl", "qwen3_vl_moe"]) func films(_ name: String) throws {
    let folder = try Program.temporaryFolder()
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let frames = try pictures("film.f", of: name, into: folder)
    let output = folder + "/p.safetensors"
    let expected = model(name) + "/expected.safetensors"
    for video in [folder, frames.joined(separator: ",")] {
      let result = try Program.run([
        "preprocess", "--model", model(name), "--video", video, "--video-fps", "3", "--output", output,
      ])
      #expect(result.status == 0 && result.errors.contains("frames taken"), "\(result.errors)")
      let values = try Stored("pixel_values_videos", in: output)
      let grid = try Stored("video_grid_thw", in: output)
      #expect(values == (try Stored("pixels.f", in: expected)))
      #expect(grid == (try Stored("video.video_grid_thw", in: expected)))
      #expect(try Stored("pixel_values", in: output) == nil)
    }
    // A film and a picture together, and two films.
    let both = try Program.run([
      "preprocess", "--model", model(name), "--video", folder, "--video", folder, "--output", output, frames[0],
    ])
    #expect(both.status == 0, "\(both.errors)")
    #expect(try Stored("video_grid_thw", in: output)?.shape == [2, 3])
    #expect(try Stored("image_grid_thw", in: output)?.shape == [1, 3])
  }

  @Test func tiles() throws {
    let folder = try Program.temporaryFolder()
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let name = "deepseek_vl2_mla"
    let paths = try ["a", "b", "c"].flatMap { try pictures("picture.\($0)", of: name, into: folder) }
    let output = folder + "/p.safetensors"
    let expected = model(name) + "/expected.safetensors"
    for (taken, prefix) in [([paths[0]], "image"), (Array(paths[0...1]), "two_images"), (paths, "three_images")] {
      let result = try Program.run(["preprocess", "--model", model(name), "--output", output] + taken)
      #expect(result.status == 0, "\(result.errors)")
      let crops = try Stored("images_spatial_crop", in: output)
      #expect(crops == (try Stored("\(prefix).images_spatial_crop", in: expected)), "\(prefix)")
      if let images = try Stored("\(prefix).images", in: expected) {
        #expect(try Stored("images", in: output) == images, "\(prefix)")
      }
    }
    let whole = try Program.run(["preprocess", "--model", model(name), "--no-tiles", "--output", output, paths[0]])
    #expect(whole.status == 0)
    #expect(try Stored("images", in: output)?.shape == [2, 3, 72, 72])
  }

  @Test func wrongRequests() throws {
    let folder = try Program.temporaryFolder()
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let picture = Fixtures.path("images/files/rgb.png")
    let output = folder + "/x.safetensors"
    try "hello".write(toFile: folder + "/film.mp4", atomically: true, encoding: .utf8)
    for (words, fragments) in [
      (["--model", model("qwen3_vl")], ["needs a picture or --video"]),
      (["--model", model("qwen2"), picture], ["qwen2", "no readable preprocessor_config.json"]),
      (["--model", model("qwen3_vl"), "--video", "/nowhere"], ["/nowhere", "no such video", "folder of frames"]),
      (["--model", model("qwen3_vl"), "--video", folder], ["has no frames"]),
      (["--model", model("qwen3_vl"), "--video", folder + "/film.mp4"], ["film.mp4", "ffmpeg"]),
      (["--model", model("qwen3_vl"), "--video", "a.png,b.png"], ["a.png", "no such picture"]),
      (["--model", model("qwen3_vl"), "--video-fps", "0", "--video", folder], ["--video-fps is 0", "more than 0"]),
      (["--model", model("qwen3_vl"), "--no-tiles", picture], ["--no-tiles", "DeepSeek-VL2"]),
      (["--model", model("deepseek_vl2_mla"), "--video", folder], ["takes no films"]),
      (["--decoded", "--video", folder, picture], ["--decoded and --video"]),
    ] {
      let result = try Program.run(
        ["preprocess", "--output", output] + words, environment: ["PATH": "/nowhere"])
      #expect(result.status == 2, "\(words): \(result.errors)")
      for fragment in fragments { #expect(result.errors.contains(fragment), "\(words): \(result.errors)") }
      #expect(!FileManager.default.fileExists(atPath: output))
    }
  }
}

/// RGB rows to a PNG file, in stored deflate blocks.
private enum PlainPNG {
  static func file(width: Int, height: Int, rows: [[UInt8]]) -> [UInt8] {
    var data: [UInt8] = []
    for row in rows { data += [0] + row }
    var packed: [UInt8] = [0x78, 0x01]
    for start in stride(from: 0, to: data.count, by: 65_535) {
      let part = data[start..<min(start + 65_535, data.count)]
      let length = [UInt8(part.count & 255), UInt8(part.count >> 8)]
      packed += [start + part.count == data.count ? 1 : 0] + length + length.map { ~$0 } + part
    }
    var (a, b): (UInt32, UInt32) = (1, 0)
    for byte in data {
      a = (a + UInt32(byte)) % 65_521
      b = (b + a) % 65_521
    }
    packed += big(b << 16 | a)
    return [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]
      + chunk("IHDR", big(UInt32(width)) + big(UInt32(height)) + [8, 2, 0, 0, 0]) + chunk("IDAT", packed)
      + chunk("IEND", [])
  }

  private static func chunk(_ name: String, _ body: [UInt8]) -> [UInt8] {
    let content = Array(name.utf8) + body
    var sum: UInt32 = 0xFFFF_FFFF
    for byte in content {
      sum ^= UInt32(byte)
      for _ in 0..<8 { sum = sum & 1 == 1 ? sum >> 1 ^ 0xEDB8_8320 : sum >> 1 }
    }
    return big(UInt32(body.count)) + content + big(~sum)
  }

  private static func big(_ x: UInt32) -> [UInt8] { (0..<4).map { UInt8(truncatingIfNeeded: x >> (24 - 8 * $0)) } }
}
