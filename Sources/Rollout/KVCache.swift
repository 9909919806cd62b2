import AttuneTensor
import Models

/// Keys and values in pages of 64 tokens, shared by reference count.
///
/// A page belongs to whoever holds a reference: running sequences, and the prefix tree. Memory grows with use up to a limit.
/// A token's keys and values are the same bits in whatever page and lane they stand.
final class KVCache: KeyValueStore {
  private let backend: any Backend
  private let layers: Int
  /// Shape of a layer's keys and values: the same in all of them.
  private let heads: AttentionHeads
  private var keys: [Tensor] = []
  private var values: [Tensor] = []
  private(set) var references: [Int32] = []
  private(set) var free: [Int32] = []
  /// Bytes that all pages may take.
  let budget: Int
  /// Pages that may ever exist.
  let limit: Int
  /// Largest number of pages that were held at once.
  private(set) var peakPages = 0
  /// Where the rows of the batch that is being computed go.
  var slots: [Int32] = []

  init(_ configuration: TextConfiguration, budget: Int, on backend: any Backend) {
    self.backend = backend
    self.budget = budget
    layers = configuration.layers
    heads = configuration.attentionHeads(layer: 0)
    limit = max(0, min(budget / KVCache.bytesPerPage(configuration), Int(Int32.max) / KeyPiece.pageSize))
  }

  /// Bytes that one page takes over all layers.
  static func bytesPerPage(_ configuration: TextConfiguration) -> Int {
    configuration.layers * configuration.keyValueWidth * 4 * KeyPiece.pageSize
  }

  /// Pages that exist, held or free.
  var capacity: Int { references.count }
  var heldPages: Int { capacity - free.count }
  /// Pages that can be had without taking one from somebody.
  var availablePages: Int { free.count + limit - capacity }

  /// Makes room for `pages` pages in all, as far as the limit allows.
  func reserve(_ pages: Int) {
    guard pages > capacity, capacity < limit else { return }
    let wanted = min(limit, max(pages, capacity + capacity / 2))
    keys = (0..<layers).map { layer in
      grown(keys.indices.contains(layer) ? keys[layer] : nil, [wanted, heads.kvHeads, heads.size, KeyPiece.pageSize])
    }
    values = (0..<layers).map { layer in
      grown(
        values.indices.contains(layer) ? values[layer] : nil,
        [wanted * KeyPiece.pageSize, heads.kvHeads * heads.valueSize])
    }
    free += (capacity..<wanted).reversed().map { Int32($0) }
    references += [Int32](repeating: 0, count: wanted - capacity)
  }

  private func grown(_ old: Tensor?, _ shape: [Int]) -> Tensor {
    let new = backend.making(.cache) { backend.empty(shape, .f32) }
    if let old { backend.copy(new.rowRange(0..<old.rows), old) }
    return new
  }

  /// A page with one reference; nil if all are held.
  func allocate() -> Int32? {
    if free.isEmpty { reserve(capacity + 1) }
    guard let page = free.popLast() else { return nil }
    references[Int(page)] = 1
    peakPages = max(peakPages, heldPages)
    return page
  }

  func retain(_ page: Int32) {
    precondition(references[Int(page)] > 0, "page \(page) is free")
    references[Int(page)] += 1
  }

  func release(_ page: Int32) {
    precondition(references[Int(page)] > 0, "page \(page) is free already")
    references[Int(page)] -= 1
    if references[Int(page)] == 0 { free.append(page) }
  }

  func references(of page: Int32) -> Int { Int(references[Int(page)]) }

  func pages(layer: Int) -> KeyValuePages {
    KeyValuePages(keys: keys[layer], values: values[layer], slots: slots)
  }
}
