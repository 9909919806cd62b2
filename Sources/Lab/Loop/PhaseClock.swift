import AttuneTensor

/// Time and memory by phase of a step: what of a run is slow, and what decides how much memory it needs.
package final class PhaseClock {
  package struct Phase: Sendable {
    package let name: String
    /// Largest memory of tensors during the phase; what stood before it began counts.
    package var mebibytes: Double { Double(bytes) / 1_048_576 }
    package var bytes: Int
    /// What the largest memory was made of, bytes.
    package var parts: [MemoryPart: Int]
    package var seconds: Double
  }

  /// In the order of first appearance.
  package private(set) var phases: [Phase] = []
  private let backend: any Backend

  package init(on backend: any Backend) { self.backend = backend }

  package func measure<R>(_ name: String, _ body: () throws -> R) rethrows -> R {
    backend.beginPhase()
    let start = backend.seconds
    defer {
      let spent = backend.seconds - start
      let peak = backend.phasePeakBytes
      let i = phases.firstIndex { $0.name == name } ?? phases.count
      if i == phases.count { phases.append(Phase(name: name, bytes: 0, parts: [:], seconds: 0)) }
      phases[i].seconds += spent
      if peak > phases[i].bytes { (phases[i].bytes, phases[i].parts) = (peak, backend.phaseParts) }
    }
    return try body()
  }

  package func reset() { phases = [] }
}
