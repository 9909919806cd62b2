import Core
import Foundation
import TestSupport
import Testing

@testable import AttuneVision

@Suite("Qwen3-VL's video processor")
struct QwenVideoProcessorTests {
  private func processor(_ options: JSON?) throws -> QwenVideoProcessor {
    try QwenVideoProcessor(configuration: options ?? .null, file: "video_preprocessor_config.json")
  }

  @Test("sampling, patches and moments equal to the reference's")
  func reference() throws {
    let tensors = try ReferenceTensors("images/processed.safetensors")
    let rows = try #require(try Fixtures.json("images/processed.json")["videos"]?.array)
    #expect(rows.count == 2)
    for row in rows {
      let name = try #require(row["name"]?.string)
      let frames = try tensors.pictures("video/\(name).frames")
      let processor = try processor(row["options"])
      let found = try processor.process(frames, frameRate: row["fps"]?.double, name: name)
      #expect(found.indices == row["frames_indices"]?.array?.compactMap(\.int), "\(name)")
      #expect([found.grid.t, found.grid.h, found.grid.w] == row["grid_thw"]?.array?.compactMap(\.int), "\(name)")
      #expect(
        try processor.grid(frames: found.indices.count, width: frames[0].width, height: frames[0].height, name: name)
          == found.grid)
      #expect(
        found.timestamps.map { String(format: "<%.1f seconds>", $0) } == row["timestamps"]?.array?.compactMap(\.string))
      let expected = try tensors.floats("video/\(name).pixel_values")
      if row["resized"]?.bool == false {
        #expect(found.patches == expected, "\(name)")
      } else {
        // Another rounding of the resize: by one level (2 / 255), in fewer than one value of a hundred.
        let differences = zip(found.patches, expected).map { abs($0 - $1) * 127.5 }
        #expect(found.patches.count == expected.count)
        #expect(differences.allSatisfy { $0 < 1.001 }, "\(name)")
        #expect(differences.count { $0 > 0.001 } * 100 < differences.count, "\(name)")
      }
    }
  }

  @Test("the models' inputs", arguments: ["qwen3_vl", "qwen3_vl_moe"])
  func models(_ model: String) throws {
    let folder = Fixtures.path("models/\(model)")
    let processor = try #require(try QwenVideoProcessor.load(folder: folder))
    let pictures = try QwenPictureProcessor(folder: folder)
    #expect(try PictureProcessor(folder: folder) == .qwen(pictures, processor))
    let tensors = try ReferenceTensors("models/\(model)/expected.safetensors")
    let film = try processor.process(try tensors.pictures("film.f"), frameRate: 3)
    #expect([film.grid.t, film.grid.h, film.grid.w] == (try tensors.integers("video.video_grid_thw")))
    #expect(film.patches == (try tensors.floats("pixels.f")))
    for key in ["a", "b"] {
      let found = try pictures.process(try tensors.picture("picture.\(key)"))
      expectClose(found.patches, try tensors.floats("pixels.\(key)"), absolute: 1e-5, "\(model) \(key)")
    }
  }

  @Test("temporal patches one by one")
  func blocks() throws {
    var processor = QwenVideoProcessor()
    processor.patchSize = 2
    processor.minPixels = 1
    processor.maxPixels = 1000
    processor.samples = false
    let frames = (0..<5).map { i in
      Picture(width: 8, height: 4, pixels: (0..<96).map { UInt8(($0 * 7 + i * 31) & 255) })
    }
    let film = try processor.process(frames, frameRate: 10)
    #expect(film.grid == PatchGrid(t: 3, h: 2, w: 4) && film.blockGrid == PatchGrid(t: 1, h: 2, w: 4))
    #expect(film.indices == [0, 1, 2, 3, 4])
    expectClose(film.timestamps, [0.05, 0.25, 0.4], absolute: 1e-12)
    for i in 0..<3 {
      let pair = [frames[2 * i], frames[min(2 * i + 1, 4)]]
      var alone = processor
      alone.resizes = false
      #expect(film.block(i).patches == (try alone.process(pair)).patches, "block \(i)")
      #expect(film.block(i).grid == film.blockGrid)
    }
    #expect((0..<3).flatMap { Array(film.patches(ofTemporalPatch: $0)) } == film.patches)
  }

  @Test("the frames that the library takes of a list, with and without a frame rate")
  func sampling() throws {
    let rows = try #require(try Fixtures.json("images/extra/extra.json")["sampling"]?.array)
    #expect(rows.count == 150)
    for row in rows {
      let found = try processor(row["options"]).sampledIndices(
        count: try #require(row["count"]?.int), frameRate: row["fps"]?.double)
      #expect(found == row["indices"]?.array?.compactMap(\.int), "\(row.text())")
    }
  }

  @Test("no frames, one frame, frames of two sizes, a ribbon, a senseless rate")
  func refusals() throws {
    let processor = QwenVideoProcessor()
    func frame(_ width: Int, _ height: Int) -> Picture {
      Picture(width: width, height: height, pixels: [UInt8](repeating: 9, count: width * height * 3))
    }
    expectAttuneError(containing: "v: the video has no frames") { _ = try processor.process([], name: "v") }
    expectAttuneError(containing: "v: found 1 frame, expected at least 2", "is a picture") {
      _ = try processor.process([frame(64, 64)], name: "v")
    }
    expectAttuneError(containing: "v, frame 2: the frame has 64 x 32 pixels", "64 x 64") {
      _ = try processor.process([frame(64, 64), frame(64, 32)], name: "v")
    }
    expectAttuneError(containing: "v: the frames have 6500 x 32 pixels", "200 times") {
      _ = try processor.process([frame(6500, 32), frame(6500, 32)], name: "v")
    }
    expectAttuneError(containing: "0 x 0 pixels") { _ = try processor.process([frame(0, 0), frame(0, 0)]) }
    for rate in [0, -1, Double.nan, .infinity] {
      expectAttuneError(containing: "v: the frame rate is") {
        _ = try processor.process([frame(64, 64), frame(64, 64)], frameRate: rate, name: "v")
      }
    }
    var fixed = processor
    fixed.resizes = false
    expectAttuneError(containing: "multiples of 32") { _ = try fixed.process([frame(33, 64), frame(33, 64)]) }
  }

  @Test("which file says it")
  func folders() throws {
    let folder = try Program.temporaryFolder()
    defer { try? FileManager.default.removeItem(atPath: folder) }
    func write(_ name: String, _ text: String) throws {
      try text.write(toFile: folder + "/" + name, atomically: true, encoding: .utf8)
    }
    #expect(try QwenVideoProcessor.load(folder: folder) == nil)
    try write("preprocessor_config.json", #"{"image_processor_type": "Qwen2VLImageProcessor", "patch_size": 4}"#)
    #expect(try QwenVideoProcessor.load(folder: folder) == nil)
    try write(
      "preprocessor_config.json",
      #"{"image_processor_type": "Qwen2VLImageProcessorFast", "processor_class": "Qwen3VLProcessor", "patch_size": 4}"#)
    #expect(try QwenVideoProcessor.load(folder: folder)?.patchSize == 4)
    guard case .qwen(_, .some) = try PictureProcessor(folder: folder) else {
      Issue.record("no film processor")
      return
    }
    try write("video_preprocessor_config.json", #"{"video_processor_type": "Qwen3VLVideoProcessor", "patch_size": 8}"#)
    #expect(try QwenVideoProcessor.load(folder: folder)?.patchSize == 8)
    try write("processor_config.json", #"{"video_processor": {"patch_size": 10}}"#)
    #expect(try QwenVideoProcessor.load(folder: folder)?.patchSize == 10)
    try write("processor_config.json", #"{"video_processor": {"video_processor_type": "Qwen2VLVideoProcessor"}}"#)
    expectAttuneError(containing: "processor_config.json:1", "'Qwen2VLVideoProcessor'", "Qwen3VLVideoProcessor") {
      _ = try QwenVideoProcessor.load(folder: folder)
    }
  }

  @Test("what the configuration may not say")
  func configurations() {
    for (text, fragments) in [
      ("[]", ["p.json:1:1", "found a list"]),
      (#"{"processor_class": "OtherProcessor"}"#, ["processor_class", "Qwen3VLProcessor"]),
      (#"{"size": {"shortest_edge": 5}}"#, ["size", "longest_edge"]),
      (#"{"size": {"shortest_edge": 9, "longest_edge": 4}}"#, ["at most 4", "asks for 9"]),
      (#"{"size": 7}"#, ["size", "expected a mapping"]),
      (#"{"fps": 0}"#, ["fps", "more than 0"]),
      (#"{"num_frames": 4}"#, ["num_frames", "beside fps"]),
      (#"{"min_frames": 9, "max_frames": 4}"#, ["max_frames", "less than min_frames"]),
      (#"{"temporal_patch_size": 0}"#, ["temporal_patch_size", "1 to 64"]),
      (#"{"image_std": [0, 1, 1]}"#, ["image_std", "holds 0"]),
      (#"{"cap_pixels_per_frame": 1}"#, ["cap_pixels_per_frame", "true or false"]),
    ] {
      for fragment in fragments {
        expectAttuneError(containing: fragment) {
          _ = try QwenVideoProcessor(configuration: JSON.parse(text), file: "p.json")
        }
      }
    }
  }
}
