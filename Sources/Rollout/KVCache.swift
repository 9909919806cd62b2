import AttuneTensor
import Models

/// Keys and values of running sequences: one tensor of rows per layer, in which a prompt has one extent that all its
/// completions read, and every completion an extent of its own.
final class KVCache: KeyValueStore {
  private let backend: any Backend
  private let keys: [Tensor]
  private let values: [Tensor]
  let capacity: Int
  private var used = 0
  /// Where the rows of the batch that is being computed go.
  var destinations: [Int32] = []

  /// - Parameter capacity: rows in all.
  init(_ configuration: TextConfiguration, capacity: Int, on backend: any Backend) {
    self.backend = backend
    self.capacity = capacity
    let shape = [capacity, configuration.kvHeads * configuration.headSize]
    keys = (0..<configuration.layers).map { _ in backend.empty(shape, .f32) }
    values = (0..<configuration.layers).map { _ in backend.empty(shape, .f32) }
  }

  /// Bytes that one row takes over all layers.
  static func bytesPerRow(_ configuration: TextConfiguration) -> Int {
    configuration.layers * configuration.kvHeads * configuration.headSize * 2 * 4
  }

  /// The first of `count` fresh rows.
  func reserve(_ count: Int) -> Int {
    precondition(
      used + count <= capacity, "the cache has \(capacity - used) of \(capacity) rows left, \(count) were asked for")
    defer { used += count }
    return used
  }

  func update(layer: Int, keys newKeys: Tensor, values newValues: Tensor) -> (keys: Tensor, values: Tensor) {
    precondition(destinations.count == newKeys.rows, "\(newKeys.rows) rows for \(destinations.count) places")
    backend.scatter(keys[layer], newKeys, destinations)
    backend.scatter(values[layer], newValues, destinations)
    return (keys[layer], values[layer])
  }
}
