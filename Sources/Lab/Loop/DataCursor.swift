import Core
import Datasets

/// A data source with its order: the sample at position k, for k = 0, 1, 2, ..., is a function of the recipe alone.
final class DataStream {
  let name: String
  let source: any SampleSource
  private let order: EpochOrder?

  init(name: String, source: any SampleSource, seed: UInt64) {
    self.name = name
    self.source = source
    order = source.count.map { EpochOrder(count: $0, seed: seed) }
  }

  /// The sample at a position of the endless pass over the data, epoch after epoch.
  func sample(at position: Int) throws -> Sample {
    try source.sample(at: order?.row(at: position) ?? position)
  }
}
