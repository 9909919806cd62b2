import AttuneTensor
import Core

extension Run {
  /// What the run will take, told in a line; nil if the recipe does not ask or nothing can be known.
  ///
  /// - Throws: `.request` if it is more than there is.
  func estimateMemory(_ report: (String) -> Void) throws -> MemoryEstimate? {
    guard recipe.memoryLimit != 0 else { return nil }
    // What is wrong with the model or the data is told by who uses it.
    guard let verdict = try? MemoryVerdict.judge(recipe, rates: .measured(threads: recipe.threads)) else { return nil }
    if let refusal = verdict.refusal { throw refusal }
    report(verdict.estimate.line(verdict.machine))
    if let warning = verdict.warning { report("note: \(warning)") }
    return verdict.estimate
  }
}
