import Core

/// The weights of a checkpoint folder: `model.safetensors`, or the shards that `model.safetensors.index.json` lists.
public struct SafeTensorsFolder: Sendable {
  public let folder: String
  private let files: [SafeTensors]
  private let places: [String: Int]

  /// - Throws: `.request` if there are no weights, or a shard is missing, broken or lacks a tensor that the index promises.
  public init(_ folder: String) throws {
    self.folder = folder
    let indexPath = folder + "/model.safetensors.index.json"
    if let index = try? MappedFile.read(indexPath) {
      let map = try JSON.parse(index, file: indexPath)
      guard let weights = map["weight_map"]?.object else {
        throw AttuneError.request("the index has no \"weight_map\"", at: .init(file: indexPath))
      }
      var files: [SafeTensors] = []
      var fileNames: [String: Int] = [:]
      var places: [String: Int] = [:]
      for (name, value) in weights.entries {
        guard let file = value.string, !file.contains("/") else {
          throw AttuneError.request(
            "\(name) is mapped to \(value.text()), a file name was expected", at: value.location(in: indexPath))
        }
        if fileNames[file] == nil {
          fileNames[file] = files.count
          files.append(try SafeTensors(folder + "/" + file))
        }
        let place = fileNames[file]!
        guard files[place].entry(name) != nil else {
          throw AttuneError.request(
            "\(file) lacks tensor \(name), which the index promises", at: .init(file: indexPath))
        }
        places[name] = place
      }
      self.files = files
      self.places = places
      return
    }
    do {
      files = [try SafeTensors(folder + "/model.safetensors")]
    } catch let error as AttuneError where error.message == "no such file" {
      throw AttuneError.request(
        "no weights: neither model.safetensors nor model.safetensors.index.json", at: .init(file: folder),
        hint: "a Hugging Face checkpoint folder was expected; `attune init` writes a small one")
    }
    places = Dictionary(files[0].entries.map { ($0.name, 0) }, uniquingKeysWith: { a, _ in a })
  }

  /// All tensor names, sorted.
  public var names: [String] { places.keys.sorted() }

  public func entry(_ name: String) -> SafeTensors.Entry? { places[name].flatMap { files[$0].entry(name) } }

  /// A tensor over its mapped file.
  ///
  /// - Throws: `.request` with the nearest name if the tensor is missing or has another shape.
  public func tensor(_ name: String, shape: [Int], on backend: any Backend) throws -> Tensor {
    guard let place = places[name] else {
      throw AttuneError.request(
        "tensor \(name) is missing", at: .init(file: files.first?.path ?? folder),
        hint: nearestName(to: name, among: names).map { "the nearest name is \($0)" })
    }
    let found = try files[place].require(name).shape
    guard found == shape else {
      throw AttuneError.request(
        "tensor \(name) has shape \(found), the configuration asks for \(shape)", at: .init(file: files[place].path))
    }
    return try files[place].mappedTensor(name, on: backend)
  }
}
