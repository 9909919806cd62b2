import AttuneTensor

/// Time and memory by phase of a step: what of a run is slow, and what decides how much memory it needs.
package final class PhaseClock {
  package struct Phase: Sendable {
    package let name: String
    /// Largest memory of tensors during the phase, MiB; what stood before it began counts.
    package var mebibytes: Double
    package var seconds: Double
  }

  /// In the order of first appearance.
  package private(set) var phases: [Phase] = []
  private let backend: any Backend

  package init(on backend: any Backend) { self.backend = backend }

  package func measure<R>(_ name: String, _ body: () throws -> R) rethrows -> R {
    backend.beginPhase()
    let start = monotonicSeconds()
    defer {
      let spent = monotonicSeconds() - start
      let peak = Double(backend.phasePeakBytes) / 1_048_576
      if let i = phases.firstIndex(where: { $0.name == name }) {
        phases[i].mebibytes = max(phases[i].mebibytes, peak)
        phases[i].seconds += spent
      } else {
        phases.append(Phase(name: name, mebibytes: peak, seconds: spent))
      }
    }
    return try body()
  }

  package func reset() { phases = [] }
}
