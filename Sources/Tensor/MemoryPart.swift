/// What tensors are for: the lines of an account of memory.
public enum MemoryPart: Int, CaseIterable, Sendable {
  /// Values of the model's own parameters; what stays in a mapped file is not among them.
  case weights
  /// The layout of weights that products read.
  case panels
  case gradients
  /// What the optimizer keeps between updates.
  case optimizer
  /// Values and panels of an adapter.
  case adapter
  /// The frozen model beside the policy.
  case reference
  /// Models beside these two, such as a critic.
  case auxiliary
  /// Keys and values of sequences that are being sampled.
  case cache
  /// What layers leave for the way back, what flows through them, and its gradients.
  case activations
  /// The same of the picture encoder.
  case vision
  /// Logits of the head, and of sampling.
  case logits
  /// What a single operation needs besides its results.
  case scratch

  public static let count = allCases.count

  /// In words for tables.
  public var title: String {
    switch self {
    case .weights: "weights, trained ones as f32 masters"
    case .panels: "weights as products read them"
    case .gradients: "gradients"
    case .optimizer: "optimizer state"
    case .adapter: "adapter"
    case .reference: "reference model"
    case .auxiliary: "critic and other models"
    case .cache: "keys and values of the rollout"
    case .activations: "activations and their gradients"
    case .vision: "picture encoder's activations"
    case .logits: "logits"
    case .scratch: "scratch of single operations"
    }
  }

  /// The name in JSON.
  public var key: String { "\(self)" }
}
