import Core
import Foundation
import TestSupport
import Testing

@testable import AttuneVision

@Suite("Qwen's picture processor")
struct QwenPictureProcessorTests {
  private func processor(_ row: JSON) throws -> QwenPictureProcessor {
    var entries = try #require(row["config"]?.object)
    entries["image_processor_type"] = "Qwen2VLImageProcessor"
    return try QwenPictureProcessor(configuration: JSON(.object(entries)), file: "preprocessor_config.json")
  }

  private func grid(_ row: JSON?) -> PatchGrid? {
    guard let sides = row?.array?.compactMap(\.int), sides.count == 3 else { return nil }
    return PatchGrid(t: sides[0], h: sides[1], w: sides[2])
  }

  /// The picture as the reference decoded it, so that a JPEG decoder's rounding plays no part.
  private func picture(_ file: String, _ decoded: ReferenceTensors) throws -> Picture {
    try decoded.picture(decoded.contains("\(file).upright") ? "\(file).upright" : "\(file).rgb")
  }

  @Test("equal to the Pillow-backed reference, every picture")
  func reference() throws {
    let tensors = try ReferenceTensors("images/processed.safetensors")
    let decoded = try ReferenceTensors("images/decoded.safetensors")
    let rows = try #require(try Fixtures.json("images/processed.json")["processors"]?.array)
    #expect(rows.count == 2)
    for row in rows {
      let processor = try processor(row)
      let label = try #require(row["processor"]?.string)
      let images = try #require(row["images"]?.array)
      #expect(images.count == 11)
      for image in images {
        let file = try #require(image["file"]?.string)
        let key = "\(label)/\(file)"
        let source = try picture(file, decoded)
        #expect(try processor.resized(source, name: file) == tensors.picture("\(key).resized"), "\(key)")
        let found = try processor.process(source, name: file)
        #expect(found.grid == grid(image["grid_thw"]), "\(key)")
        #expect(try processor.grid(width: source.width, height: source.height, name: file) == found.grid)
        #expect(tensors.shape("\(key).pixel_values") == [found.grid.patchCount, processor.patchLength])
        expectClose(found.patches, try tensors.floats("\(key).pixel_values"), absolute: 1e-5, key)
      }
    }
  }

  @Test("from the file on: decoding, turning, resizing, patches")
  func endToEnd() throws {
    let tensors = try ReferenceTensors("images/processed.safetensors")
    let rows = try #require(try Fixtures.json("images/processed.json")["processors"]?.array)
    for row in rows {
      let processor = try processor(row)
      let label = try #require(row["processor"]?.string)
      for image in row["images"]?.array ?? [] {
        let file = try #require(image["file"]?.string)
        if !file.hasSuffix(".png") { continue }
        let source = try PictureDecoder.load(path: Fixtures.path("images/files/\(file)"), options: .reference)
        expectClose(
          try processor.process(source).patches, try tensors.floats("\(label)/\(file).pixel_values"), absolute: 1e-5,
          file)
      }
    }
  }

  @Test("several pictures: patches one after the other")
  func together() throws {
    let tensors = try ReferenceTensors("images/processed.safetensors")
    let rows = try #require(try Fixtures.json("images/processed.json")["processors"]?.array)
    for row in rows {
      let processor = try processor(row)
      let label = try #require(row["processor"]?.string)
      let files = (row["together"]?["files"]?.array ?? []).compactMap(\.string)
      #expect(files.count == 3)
      let pictures = try files.map {
        try PictureDecoder.load(path: Fixtures.path("images/files/\($0)"), options: .reference)
      }
      let found = try processor.process(pictures, names: files)
      #expect(found.grids == row["together"]?["grid_thw"]?.array?.compactMap { grid($0) })
      let sums = stride(from: 0, to: found.patches.count, by: processor.patchLength).map { start in
        Float(found.patches[start..<(start + processor.patchLength)].reduce(0.0) { $0 + Double($1) })
      }
      // A row has over a thousand values, each right to 1e-5 at worst.
      expectClose(sums, try tensors.floats("\(label)/together.row_sums"), absolute: 1e-3, label)
      #expect(processor.tokensPerPicture(found.grids[0]) == found.grids[0].h * found.grids[0].w / 4)
    }
  }

  @Test("patch order by hand")
  func order() throws {
    let processor = QwenPictureProcessor(
      patchSize: 1, temporalPatchSize: 2, mergeSize: 2, minPixels: 1, maxPixels: 100, mean: [0, 0, 0], std: [1, 1, 1],
      rescales: false)
    // 2 x 4, red = the pixel's number, green + 100, blue + 200.
    let picture = Picture(width: 4, height: 2, pixels: (0..<8).flatMap { [$0, $0 + 100, $0 + 200] })
    let found = try processor.process(picture)
    #expect(found.grid == PatchGrid(t: 1, h: 2, w: 4))
    let numbers: [Float] = [0, 1, 4, 5, 2, 3, 6, 7]
    var expected: [Float] = []
    for number in numbers {
      for offset: Float in [0, 100, 200] { expected += [number + offset, number + offset] }
    }
    #expect(found.patches == expected)
  }

  @Test("without resizing the sides must fit")
  func noResize() throws {
    let processor = QwenPictureProcessor(
      patchSize: 14, temporalPatchSize: 2, mergeSize: 2, minPixels: 1, maxPixels: 100, mean: [0, 0, 0], std: [1, 1, 1],
      resizes: false)
    expectAttuneError(containing: "a.png", "29 x 28 pixels", "multiples of 28") {
      _ = try processor.process(
        Picture(width: 29, height: 28, pixels: [UInt8](repeating: 0, count: 29 * 28 * 3)), name: "a.png")
    }
    let even = Picture(width: 56, height: 28, pixels: [UInt8](repeating: 255, count: 56 * 28 * 3))
    #expect(try processor.process(even).patches.allSatisfy { $0 == 1 })
  }

  @Test("a ribbon is refused")
  func ribbon() throws {
    let processor = QwenPictureProcessor(
      patchSize: 14, temporalPatchSize: 2, mergeSize: 2, minPixels: 3136, maxPixels: 10_000, mean: [0, 0, 0],
      std: [1, 1, 1])
    expectAttuneError(containing: "ribbon.png", "201 x 1 pixels", "at most 200 times") {
      _ = try processor.process(
        Picture(width: 201, height: 1, pixels: [UInt8](repeating: 0, count: 603)), name: "ribbon.png")
    }
    expectAttuneError(containing: "0 x 0 pixels") {
      _ = try processor.process(Picture(width: 0, height: 0, pixels: []))
    }
  }

  @Test("the configuration's shapes")
  func configurations() throws {
    func read(_ text: String) throws -> QwenPictureProcessor {
      try QwenPictureProcessor(configuration: JSON.parse(text), file: "p.json")
    }
    let plain = try read(#"{"image_processor_type": "Qwen2VLImageProcessorFast"}"#)
    #expect(plain.patchSize == 14 && plain.temporalPatchSize == 2 && plain.mergeSize == 2)
    #expect(
      plain.minPixels == 3136 && plain.maxPixels == 1_003_520 && plain.mean == [0.48145466, 0.4578275, 0.40821073])
    #expect(plain.filter == .bicubic && plain.resizes && plain.rescales && plain.normalizes)
    let older = try read(
      #"""
      {"image_processor_type": "Qwen2VLImageProcessor", "min_pixels": 100, "max_pixels": 20000, "patch_size": 16,
       "size": {"max_pixels": 7, "min_pixels": 5}, "do_normalize": false, "resample": 2, "rescale_factor": null}
      """#)
    #expect(older.minPixels == 100 && older.maxPixels == 20_000 && older.patchSize == 16)
    #expect(older.filter == .bilinear && !older.normalizes && older.rescaleFactor == 1 / 255)
    let inner = try read(
      #"{"image_processor_type": "Qwen2VLImageProcessor", "size": {"max_pixels": 7, "min_pixels": 5}}"#)
    #expect(inner.minPixels == 5 && inner.maxPixels == 7)
  }

  @Test("what the configuration may not say")
  func refusals() throws {
    for (text, fragments) in [
      ("[]", ["p.json:1:1", "found a list"]),
      ("{}", ["image_processor_type", "missing"]),
      (
        #"{"image_processor_type": "CLIPImageProcessor"}"#,
        ["p.json:1:26", "'CLIPImageProcessor'", "Qwen2VLImageProcessor"]
      ),
      (#"{"image_processor_type": "Qwen2VLImageProcessor", "patch_size": 0}"#, ["patch_size", "is 0", "1 to 256"]),
      (#"{"image_processor_type": "Qwen2VLImageProcessor", "patch_size": 1e300}"#, ["patch_size"]),
      (#"{"image_processor_type": "Qwen2VLImageProcessor", "image_mean": [1, 2]}"#, ["image_mean", "three numbers"]),
      (#"{"image_processor_type": "Qwen2VLImageProcessor", "image_std": [1, 0, 1]}"#, ["image_std", "holds 0"]),
      (#"{"image_processor_type": "Qwen2VLImageProcessor", "resample": 0}"#, ["resample", "nearest"]),
      (#"{"image_processor_type": "Qwen2VLImageProcessor", "do_resize": 1}"#, ["do_resize", "true or false"]),
      (#"{"image_processor_type": "Qwen2VLImageProcessor", "size": 224}"#, ["size", "longest_edge"]),
      (
        #"{"image_processor_type": "Qwen2VLImageProcessor", "min_pixels": 9, "max_pixels": 4}"#,
        ["at most 4", "asks for 9"]
      ),
    ] {
      for fragment in fragments {
        expectAttuneError(containing: fragment) {
          _ = try QwenPictureProcessor(configuration: JSON.parse(text), file: "p.json")
        }
      }
    }
  }

  @Test("a checkpoint's folder")
  func folders() throws {
    let folder = NSTemporaryDirectory() + "attune-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    expectAttuneError(containing: folder, "no readable preprocessor_config.json") {
      _ = try QwenPictureProcessor(folder: folder)
    }
    let nested = #"{"image_processor": {"image_processor_type": "Qwen2VLImageProcessor", "patch_size": 16}}"#
    try Data(nested.utf8).write(to: URL(fileURLWithPath: folder + "/processor_config.json"))
    #expect(try QwenPictureProcessor(folder: folder).patchSize == 16)
    let own = #"{"image_processor_type": "Qwen2VLImageProcessor", "patch_size": 8}"#
    try Data(own.utf8).write(to: URL(fileURLWithPath: folder + "/preprocessor_config.json"))
    // The library's order: the part of the whole processor's file first.
    #expect(try QwenPictureProcessor(folder: folder).patchSize == 16)
    try Data("{}".utf8).write(to: URL(fileURLWithPath: folder + "/processor_config.json"))
    #expect(try QwenPictureProcessor(folder: folder).patchSize == 8)
    try Data("{\n oops".utf8).write(to: URL(fileURLWithPath: folder + "/preprocessor_config.json"))
    expectAttuneError(containing: "preprocessor_config.json:2") { _ = try QwenPictureProcessor(folder: folder) }
  }
}
