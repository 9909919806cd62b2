import Core
import Synchronization

/// The weights of a checkpoint folder: `model.safetensors`, else the shards that `model.safetensors.index.json` lists.
///
/// Where both are there the single file is read, as transformers does.
public final class SafeTensorsFolder: Sendable {
  public let folder: String
  /// What a person should know of the files, such as which of them were passed over; sentences.
  public let remarks: [String]
  private let files: [SafeTensors]
  private let places: [String: Int]
  private let asked = Mutex(Set<String>())

  static let single = "model.safetensors"
  static let index = "model.safetensors.index.json"

  /// Files that writing weights into a folder replaces.
  static func isWeights(_ name: String) -> Bool {
    name == single || name == index || (name.hasPrefix("model-") && name.hasSuffix(".safetensors"))
  }

  /// - Throws: `.request` if there are no weights, or a shard is missing, broken, lacks a tensor that the index promises or
  ///   holds another tensor of the same name as a second one.
  public init(_ folder: String) throws {
    self.folder = folder
    let hasIndex = FolderNames.exists(folder + "/" + Self.index)
    if FolderNames.exists(folder + "/" + Self.single) {
      let file = try SafeTensors(folder + "/" + Self.single, inStretches: true)
      file.askForVectors()
      files = [file]
      places = Dictionary(file.entries.map { ($0.name, 0) }, uniquingKeysWith: { a, _ in a })
      remarks =
        hasIndex ? ["\(folder) holds \(Self.single) and \(Self.index): the single file is read, the index is not"] : []
      return
    }
    guard hasIndex else { throw Self.noWeights(in: folder) }
    (files, places) = try Self.shards(of: folder)
    for file in files { file.askForVectors() }
    remarks = []
  }

  private static func shards(of folder: String) throws -> ([SafeTensors], [String: Int]) {
    let path = folder + "/" + index
    let map = try JSON.parse(MappedFile.read(path), file: path, refuseDuplicateKeys: true)
    let again = "copy or download the index again"
    guard let weights = map["weight_map"]?.object, !weights.isEmpty else {
      throw AttuneError.request(
        "the index has no \"weight_map\" from tensors to files", at: map.location(in: path), hint: again)
    }
    var files: [SafeTensors] = []
    var fileNames: [String: Int] = [:]
    var places: [String: Int] = [:]
    for (name, value) in weights.entries {
      guard let file = value.string, !file.isEmpty, file != ".", file != "..", !file.contains("/"), !file.contains("\0")
      else {
        throw AttuneError.request(
          "\(name) is mapped to \(value.text()), the name of a file in the same folder was expected",
          at: value.location(in: path), hint: again)
      }
      if fileNames[file] == nil {
        fileNames[file] = files.count
        files.append(try shard(file, folder, value.location(in: path)))
      }
      let place = fileNames[file]!
      guard files[place].entry(name) != nil else {
        throw AttuneError.request(
          "\(file) lacks tensor \(name), which the index promises", at: value.location(in: path),
          hint: files.first { $0.entry(name) != nil }.map { "\($0.path) has it; " + again }
            ?? "copy or download the index and \(file) again")
      }
      places[name] = place
    }
    // A tensor that two shards hold must be the same in both, or it would depend on the index which one is meant.
    var first: [String: Int] = [:]
    for (i, file) in files.enumerated() {
      for entry in file.entries {
        guard let other = first[entry.name] else {
          first[entry.name] = i
          continue
        }
        guard files[other].hasSameBytes(files[other].entry(entry.name)!, as: entry, of: file) else {
          throw AttuneError.request(
            "tensor \(entry.name) is here and, with other values, in \(files[other].path)", at: .init(file: file.path),
            hint: "shards of two checkpoints are mixed; download the folder again")
        }
      }
    }
    return (files, places)
  }

  private static func shard(
    _ name: String, _ folder: String, _ place: AttuneError.Location
  ) throws -> SafeTensors {
    do { return try SafeTensors(folder + "/" + name, inStretches: true) } catch let error as AttuneError
      where error.message == "no such file"
    {
      throw AttuneError.request(
        "no such file, but \(place) lists it among the checkpoint's weights", at: .init(file: folder + "/" + name),
        hint: "download the missing file into the folder")
    }
  }

  /// All tensor names, sorted.
  public var names: [String] { places.keys.sorted() }

  public func entry(_ name: String) -> SafeTensors.Entry? { places[name].flatMap { files[$0].entry(name) } }

  /// A tensor over its mapped file.
  ///
  /// - Throws: `.request` with the nearest name if the tensor is missing or has another shape.
  public func tensor(_ name: String, shape: [Int], on backend: any Backend) throws -> Tensor {
    asked.withLock { _ = $0.insert(name) }
    guard let place = places[name] else {
      // Where only the index lost it, that file is to blame.
      if let file = files.first(where: { $0.entry(name) != nil }) {
        throw AttuneError.request(
          "tensor \(name) is in \(file.path), but not in the index", at: .init(file: folder + "/" + Self.index),
          hint: "copy or download the index again")
      }
      let nearest = nearestName(to: name, among: names).map { "the nearest name is \($0); " } ?? ""
      throw AttuneError.request(
        "tensor \(name) is missing, which config.json asks for",
        at: .init(file: files.count == 1 ? files[0].path : folder),
        hint: nearest + "config.json and weights must be of the same model: download both again")
    }
    let found = try files[place].require(name).shape
    guard found == shape else {
      throw AttuneError.request(
        "tensor \(name) has shape \(found), the configuration asks for \(shape)", at: .init(file: files[place].path),
        hint: "config.json and weights must be of the same model: download both again")
    }
    return try files[place].mappedTensor(name, on: backend)
  }

  /// Names that no `tensor` call asked for, sorted.
  public var unasked: [String] { asked.withLock { asked in names.filter { !asked.contains($0) } } }

  /// A tensor to be written to another file as it is.
  public func written(_ name: String) -> WrittenTensor? {
    places[name].flatMap { place in files[place].entry(name).map { WrittenTensor($0, of: files[place]) } }
  }

  /// Whether two tensors have the same type, shape and bytes.
  public func areEqual(_ a: String, _ b: String) -> Bool {
    guard let i = places[a], let j = places[b], let x = files[i].entry(a), let y = files[j].entry(b) else {
      return false
    }
    return files[i].hasSameBytes(x, as: y, of: files[j])
  }
}
