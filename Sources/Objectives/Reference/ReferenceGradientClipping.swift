/// Clipping of gradients by their global norm, written down plainly.
public enum ReferenceGradientClipping {
  /// `sqrt(Σ g²)` over all tensors together, in the order given.
  public static func norm(_ gradients: [[Float]]) -> Double {
    var sum = 0.0
    for tensor in gradients {
      for g in tensor { sum += Double(g) * Double(g) }
    }
    return PortableMath.sqrt(sum)
  }

  /// Scales all gradients by `min(1, maxNorm / (norm + 1e-6))`; a `maxNorm` of 0 leaves them as they are.
  /// - Returns: the norm before clipping, which is what is logged.
  @discardableResult
  public static func clip(_ gradients: inout [[Float]], maxNorm: Double) -> Double {
    let norm = norm(gradients)
    let factor = maxNorm / (norm + 1e-6)
    // A NaN norm must reach the parameters and be seen there, so only a factor known to be 1 or more is skipped.
    guard maxNorm > 0, !(factor >= 1) else { return norm }
    for i in gradients.indices {
      for j in gradients[i].indices { gradients[i][j] = Float(Double(gradients[i][j]) * factor) }
    }
    return norm
  }
}
