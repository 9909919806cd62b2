/// A dense row-major array in a backend's memory.
///
/// A value: copying it copies a reference to the storage. Tensors that a tape has seen are not written to again.
public struct Tensor: Sendable {
  public let storage: Storage
  public let dtype: DType
  public let shape: [Int]
  /// Elements between the storage's begin and the first element.
  public let offset: Int

  public init(storage: Storage, dtype: DType, shape: [Int], offset: Int = 0) {
    self.storage = storage
    self.dtype = dtype
    self.shape = shape
    self.offset = offset
    precondition(
      (offset + count) * dtype.size <= storage.byteCount,
      "shape \(shape) of \(dtype) at \(offset) needs more than the storage's \(storage.byteCount) bytes")
  }

  /// Number of elements.
  public var count: Int { shape.reduce(1, *) }
  /// Length of the first axis.
  public var rows: Int { shape.first ?? 1 }
  /// Elements of one row: the product of all axes but the first.
  public var width: Int { shape.dropFirst().reduce(1, *) }

  /// The same elements under another shape. A gradient that reaches either reaches both.
  public func reshaped(_ shape: [Int]) -> Tensor {
    precondition(shape.reduce(1, *) == count, "\(self.shape) cannot be read as \(shape)")
    return Tensor(storage: storage, dtype: dtype, shape: shape, offset: offset)
  }

  /// A view of some rows, for reading and for writing caches; a tape does not follow it.
  public func rowRange(_ range: Range<Int>) -> Tensor {
    precondition(range.lowerBound >= 0 && range.upperBound <= rows, "rows \(range) of \(rows)")
    return Tensor(
      storage: storage, dtype: dtype, shape: [range.count] + shape.dropFirst(),
      offset: offset + range.lowerBound * width)
  }
}

extension Tensor {
  /// What gradients of this tensor, and results of products that read it, are held in.
  public var gradientDType: DType { dtype == .f64 ? .f64 : .f32 }

  /// What a result is stored in that a product of the given precision reads.
  func operandDType(_ precision: Precision) -> DType {
    precision == .bf16 && dtype != .f64 ? .bf16 : gradientDType
  }

  /// Some columns of a matrix, to be read or written in place.
  public func columns(_ range: Range<Int>) -> ColumnView {
    precondition(range.lowerBound >= 0 && range.upperBound <= width, "columns \(range) of \(shape)")
    return ColumnView(tensor: self, from: range.lowerBound, width: range.count)
  }

  public var allColumns: ColumnView { ColumnView(tensor: self, from: 0, width: width) }
}

/// Some columns of a matrix `[rows, columns]`.
public struct ColumnView: Sendable {
  public let tensor: Tensor
  public let from: Int
  public let width: Int

  public var rows: Int { tensor.rows }
  /// Elements between two rows.
  public var stride: Int { tensor.width }
}
