/// A reference model that follows the policy (TR-DPO, arXiv 2404.09656, eq. 4, the soft update), in plain arithmetic.
public enum ReferenceSync {
  /// `ref ← α·policy + (1 − α)·ref`, in Double and rounded once.
  ///
  /// - Parameters:
  ///   - reference: weights of the reference.
  ///   - policy: as many weights of the policy.
  ///   - alpha: 1 takes the policy as it is.
  public static func mix(_ reference: inout [Float], policy: [Float], alpha: Double) {
    precondition(reference.count == policy.count, "\(policy.count) weights for \(reference.count)")
    for i in reference.indices { reference[i] = Float(alpha * Double(policy[i]) + (1 - alpha) * Double(reference[i])) }
  }
}
