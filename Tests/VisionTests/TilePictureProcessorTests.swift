import Core
import TestSupport
import Testing

@testable import AttuneVision

@Suite("DeepSeek-VL2's picture processor")
struct TilePictureProcessorTests {
  private func processor(_ candidates: JSON?) throws -> TilePictureProcessor {
    let configuration: JSON = [
      "processor_class": "DeepseekVLV2Processor", "candidate_resolutions": candidates ?? .null,
    ]
    return try TilePictureProcessor(configuration: configuration, file: "processor_config.json")
  }

  @Test("views and tiles equal to the reference's, every picture")
  func views() throws {
    let json = try Fixtures.json("images/tiles.json")
    let tensors = try ReferenceTensors("images/tiles.safetensors")
    let decoded = try ReferenceTensors("images/decoded.safetensors")
    let processor = try processor(json["candidates"])
    let rows = try #require(json["views"]?.array)
    #expect(rows.count == 10)
    for row in rows {
      let key = try #require(row["key"]?.string)
      let file = try #require(row["file"]?.string)
      let picture = try decoded.picture(decoded.contains("\(file).upright") ? "\(file).upright" : "\(file).rgb")
      let tiling = row["cropping"] == true
      let found = try processor.views(of: picture, tiling: tiling, name: file)
      #expect(found.views == (try tensors.pictures("\(key).views")), "\(key)")
      #expect([found.tiles.across, found.tiles.down] == row["spatial_crop"]?.array?.compactMap(\.int), "\(key)")
      let values = try processor.process(picture, tiling: tiling, name: file)
      #expect(values.viewCount == found.views.count)
      #expect(values.values.count == found.views.count * 3 * 72 * 72)
    }
  }

  @Test("the choice among candidates, every row")
  func resolutions() throws {
    let json = try Fixtures.json("images/tiles.json")
    let rows = try #require(json["best_resolution"]?.array)
    #expect(rows.count == 80)
    for row in rows {
      let processor = try processor(json["tables"]?[row["candidates"]?.string ?? ""])
      let width = try #require(row["width"]?.int)
      let height = try #require(row["height"]?.int)
      let found = try #require(processor.resolution(width: width, height: height))
      #expect([found.width, found.height] == row["best"]?.array?.compactMap(\.int), "\(row.text())")
    }
  }

  @Test("published settings: tiles and places")
  func published() throws {
    let table = try #require(try Fixtures.json("images/extra/extra.json")["tiles"])
    let configuration: JSON = [
      "processor_class": "DeepseekVLV2Processor", "candidate_resolutions": table["candidates"] ?? .null,
      "patch_size": 14,
    ]
    let processor = try TilePictureProcessor(configuration: configuration, file: "processor_config.json")
    #expect(processor.baseSide == 384 && processor.tokensPerSide == 14)
    for row in table["rows"]?.array ?? [] {
      let tiles = try processor.tiles(
        width: try #require(row["width"]?.int), height: try #require(row["height"]?.int), tiling: true)
      #expect([tiles.across, tiles.down] == row["tiles"]?.array?.compactMap(\.int), "\(row.text())")
      #expect(processor.placeCount(tiles) == row["places"]?.int, "\(row.text())")
    }
  }

  @Test("the models' inputs, to the last bit", arguments: ["mha", "mla", "noaux"])
  func models(_ kind: String) throws {
    let folder = "models/deepseek_vl2_\(kind)"
    let processor = try TilePictureProcessor(folder: Fixtures.path(folder))
    #expect(try PictureProcessor(folder: Fixtures.path(folder)) == .tiles(processor))
    let tensors = try ReferenceTensors("\(folder)/expected.safetensors")
    let cases = try #require(try Fixtures.json("\(folder)/expected.json")["cases"]?.array)
    var compared = 0
    for row in cases {
      let name = try #require(row["name"]?.string)
      let keys = row["images"]?.array?.compactMap(\.string) ?? []
      guard !keys.isEmpty else { continue }
      let tiling = keys.count <= TilePictureProcessor.mostTiledPictures
      var values: [Float] = []
      var crops: [Int] = []
      var places = 0
      for key in keys {
        let found = try processor.process(try tensors.picture("picture.\(key)"), tiling: tiling, name: key)
        values += found.values
        crops += [found.tiles.across, found.tiles.down]
        places += processor.placeCount(found.tiles)
      }
      #expect(crops == (try tensors.integers("\(name).images_spatial_crop")), "\(name)")
      #expect(places == (try tensors.levels("\(name).images_seq_mask")).reduce(0) { $0 + Int($1) }, "\(name)")
      if tensors.contains("\(name).images") {
        #expect(values == (try tensors.floats("\(name).images")), "\(name)")
        compared += 1
      }
    }
    #expect(compared == 1)
  }

  @Test("a ribbon and an empty picture are refused")
  func ribbon() throws {
    let processor = TilePictureProcessor(
      candidates: [.init(width: 8, height: 8), .init(width: 16, height: 8)], patchSize: 4)
    expectAttuneError(containing: "ribbon.png", "100 x 1 pixels", "would vanish", "crop") {
      _ = try processor.process(
        Picture(width: 100, height: 1, pixels: [UInt8](repeating: 0, count: 300)), tiling: true, name: "ribbon.png")
    }
    expectAttuneError(containing: "0 x 0 pixels") {
      _ = try processor.process(Picture(width: 0, height: 0, pixels: []), tiling: false)
    }
  }

  @Test("what the configuration may not say")
  func refusals() {
    let start = #"{"processor_class": "DeepseekVLV2Processor", "candidate_resolutions": "#
    for (text, fragments) in [
      (#"{"processor_class": "CLIPProcessor"}"#, ["p.json:1:21", "'CLIPProcessor'", "DeepseekVLV2Processor"]),
      (start + "[]}", ["candidate_resolutions", "missing or empty"]),
      (start + "[[8, 8, 8]]}", ["candidate_resolutions[0]", "expected [width, height]"]),
      (start + "[[8, 8], [12, 8]]}", ["candidate_resolutions[1]", "multiples of 8"]),
      (start + "[[8, 9]]}", ["candidate_resolutions[0]", "multiples of 8"]),
      (start + "[[0, 8]]}", ["candidate_resolutions[0]", "1 to 16384"]),
      (start + "[[16384, 16384]]}", ["area at most"]),
      (start + #"[[8, 8]], "patch_size": 9}"#, ["patch_size", "more than a view's side of 8"]),
      (start + #"[[16, 16]], "image_std": [1, 1, 0]}"#, ["image_std", "holds 0"]),
      (start + #"[[16, 16]], "image_token": 3}"#, ["image_token", "expected a text"]),
    ] {
      for fragment in fragments {
        expectAttuneError(containing: fragment) {
          _ = try TilePictureProcessor(configuration: JSON.parse(text), file: "p.json")
        }
      }
    }
  }
}
