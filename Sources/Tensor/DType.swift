/// What one element of a tensor is.
public enum DType: String, Sendable, CaseIterable {
  case f32, bf16, i32, u8
  /// As checkpoints hold it: converted, looked up and packed, but no kernel computes in it.
  case f16
  /// For files alone: no kernel computes in it.
  case i64
  /// Exists so that gradients can be compared with finite differences; every kernel runs in it, slowly.
  case f64

  /// Bytes of one element.
  public var size: Int {
    switch self {
    case .f64, .i64: 8
    case .f32, .i32: 4
    case .bf16, .f16: 2
    case .u8: 1
    }
  }
}
