import Core

/// A tensor of a suite file: `{"dtype": "f32", "shape": [2, 3], "data": [...]}`, row-major.
///
/// Numbers that are not finite are the strings "nan", "inf" and "-inf"; booleans are 0 and 1. float32 values are read
/// and written as the shortest decimal that gives them back.
struct SuiteTensor {
  enum Kind: String, NamedChoice {
    case f32, f64, i64, bool
  }

  var kind: Kind
  var shape: [Int]
  /// Row-major; f32 values are rounded to float32.
  var data: [Double]

  /// A tensor of another shape is our own mistake.
  init(_ kind: Kind, _ shape: [Int], _ data: [Double]) {
    precondition(shape.reduce(1, *) == data.count, "\(data.count) values for shape \(shape)")
    self.kind = kind
    self.shape = shape
    self.data = data
  }

  init(_ shape: [Int], _ data: [Float]) { self.init(.f32, shape, data.map(Double.init)) }

  /// - Parameter name: what the tensor is called, for errors.
  init(_ json: JSON, name: String) throws {
    func fail(_ what: String) -> AttuneError {
      .request("the tensor '\(name)' \(what)")
    }
    guard let object = json.object else { throw fail("is \(json.kind), expected dtype, shape and data") }
    guard let dtype = object["dtype"]?.string else { throw fail("has no dtype") }
    kind = try Kind.named(dtype, key: "dtype of '\(name)'")
    guard let dimensions = object["shape"]?.array else { throw fail("has no shape") }
    guard let values = object["data"]?.array else { throw fail("has no data") }
    shape = []
    var count = 1
    for dimension in dimensions {
      guard let size = dimension.int, size >= 0 else { throw fail("has a shape that is not made of whole numbers") }
      let (product, overflow) = count.multipliedReportingOverflow(by: size)
      guard !overflow else { throw fail("has a shape too large to count") }
      count = product
      shape.append(size)
    }
    guard values.count == count else { throw fail("has \(values.count) values for shape \(shape)") }
    data = []
    data.reserveCapacity(count)
    for (i, value) in values.enumerated() {
      guard let number = Self.number(value) else { throw fail("holds \(value.kind) at index \(i)") }
      data.append(kind == .f32 ? Double(Float(number)) : number)
    }
  }

  /// A number, or one of the three words for numbers that JSON can't write.
  static func number(_ json: JSON) -> Double? {
    switch json.value {
    case .int(let x): Double(x)
    case .double(let x): x
    case .bool(let x): x ? 1 : 0
    case .string("nan"): .nan
    case .string("inf"): .infinity
    case .string("-inf"): -.infinity
    default: nil
    }
  }

  /// A float32 number as it is written in a suite.
  static func json(_ x: Double, _ kind: Kind = .f32) -> JSON {
    if x.isNaN { return "nan" }
    if x.isInfinite { return x < 0 ? "-inf" : "inf" }
    switch kind {
    case .i64, .bool: return Int64(exactly: x.rounded()).map { .int($0) } ?? .double(x)
    case .f64: return .double(x)
    case .f32:
      let short = Float(x)
      if short.isInfinite { return short < 0 ? "-inf" : "inf" }
      return .double(Double(short.description) ?? Double(short))
    }
  }

  var json: JSON {
    .object([
      ("dtype", .string(kind.rawValue)), ("shape", .array(shape.map { .int($0) })),
      ("data", .array(data.map { Self.json($0, kind) })),
    ])
  }

  var floats: [Float] { data.map { Float($0) } }
  var bools: [Bool] { data.map { $0 != 0 } }
}
