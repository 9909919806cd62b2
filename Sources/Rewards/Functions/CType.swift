import CFFI

/// The number types of C, by what they are on this machine.
enum CNumber: UInt8, Sendable {
  case double, float, int8, uint8, int16, uint16, int32, uint32, int64, uint64, bool

  var isFloat: Bool { self == .double || self == .float }
  /// One byte that is no truth value: what texts are made of.
  var isCharacter: Bool { self == .int8 || self == .uint8 }

  var size: Int {
    switch self {
    case .int8, .uint8, .bool: 1
    case .int16, .uint16: 2
    case .int32, .uint32, .float: 4
    case .int64, .uint64, .double: 8
    }
  }

  var ffi: UnsafeMutablePointer<ffi_type> {
    let number =
      switch self {
      case .double: FFI_TYPE_DOUBLE
      case .float: FFI_TYPE_FLOAT
      case .int8: FFI_TYPE_SINT8
      case .uint8, .bool: FFI_TYPE_UINT8
      case .int16: FFI_TYPE_SINT16
      case .uint16: FFI_TYPE_UINT16
      case .int32: FFI_TYPE_SINT32
      case .uint32: FFI_TYPE_UINT32
      case .int64: FFI_TYPE_SINT64
      case .uint64: FFI_TYPE_UINT64
      }
    return attune_ffi_type(UInt16(number))
  }

  /// The number at an address. Also right for a result, which libffi widens to a word: hosts are little-endian.
  func load(_ place: UnsafeRawPointer) -> Double {
    switch self {
    case .double: place.load(as: Double.self)
    case .float: Double(place.load(as: Float.self))
    case .int8: Double(place.load(as: Int8.self))
    case .uint8: Double(place.load(as: UInt8.self))
    case .int16: Double(place.load(as: Int16.self))
    case .uint16: Double(place.load(as: UInt16.self))
    case .int32: Double(place.load(as: Int32.self))
    case .uint32: Double(place.load(as: UInt32.self))
    case .int64: Double(place.load(as: Int64.self))
    case .uint64: Double(place.load(as: UInt64.self))
    case .bool: place.load(as: UInt8.self) == 0 ? 0 : 1
    }
  }

  /// Writes a whole number; false if the type cannot hold it.
  func store(_ value: some FixedWidthInteger, _ place: UnsafeMutableRawPointer) -> Bool {
    func put<T: FixedWidthInteger>(_ type: T.Type) -> Bool {
      guard let exact = T(exactly: value) else { return false }
      place.storeBytes(of: exact, as: type)
      return true
    }
    switch self {
    case .double: place.storeBytes(of: Double(value), as: Double.self)
    case .float: place.storeBytes(of: Float(value), as: Float.self)
    case .int8: return put(Int8.self)
    case .uint8: return put(UInt8.self)
    case .int16: return put(Int16.self)
    case .uint16: return put(UInt16.self)
    case .int32: return put(Int32.self)
    case .uint32: return put(UInt32.self)
    case .int64: return put(Int64.self)
    case .uint64: return put(UInt64.self)
    case .bool:
      guard value == 0 || value == 1 else { return false }
      place.storeBytes(of: UInt8(value), as: UInt8.self)
    }
    return true
  }

  /// Writes a number; false if the type cannot hold it. A `float` takes the nearest.
  func store(_ value: Double, _ place: UnsafeMutableRawPointer) -> Bool {
    switch self {
    case .double: place.storeBytes(of: value, as: Double.self)
    case .float: place.storeBytes(of: Float(value), as: Float.self)
    default:
      if let whole = Int64(exactly: value) { return store(whole, place) }
      guard let whole = UInt64(exactly: value) else { return false }
      return store(whole, place)
    }
    return true
  }
}

/// A type as a signature writes it.
struct CType: Equatable {
  /// What it is, or what it points to; nil: `void`.
  var number: CNumber?
  /// How many `*`.
  var pointers: Int
  /// What it points to is `const`.
  var isConst: Bool
  /// In a usual spelling, such as `const char *`.
  var words: String

  var isVoid: Bool { number == nil && pointers == 0 }
  /// `void *`, whatever it may point to.
  var isAnyPointer: Bool { number == nil && pointers == 1 }
  /// The number type of a plain number.
  var plain: CNumber? { pointers == 0 ? number : nil }
  /// A pointer that can lead to bytes.
  var pointsToBytes: Bool { pointers == 1 && (number?.isCharacter ?? true) }

  var ffi: UnsafeMutablePointer<ffi_type> {
    if pointers > 0 { return attune_ffi_type(UInt16(FFI_TYPE_POINTER)) }
    return number?.ffi ?? attune_ffi_type(UInt16(FFI_TYPE_VOID))
  }

  static func == (a: CType, b: CType) -> Bool { a.number == b.number && a.pointers == b.pointers }

  /// Words that a type may consist of, beside `const` and its kin.
  static let words: Set<String> = keywords.union(named.keys).union(["void"])

  private static let keywords: Set<String> = [
    "unsigned", "signed", "long", "short", "char", "int", "double", "float", "bool", "_Bool",
  ]
  private static let named: [String: CNumber] = [
    "int8_t": .int8, "int16_t": .int16, "int32_t": .int32, "int64_t": .int64, "uint8_t": .uint8, "uint16_t": .uint16,
    "uint32_t": .uint32, "uint64_t": .uint64, "size_t": word(UInt.self), "ssize_t": word(Int.self),
    "ptrdiff_t": word(Int.self), "intptr_t": word(Int.self), "uintptr_t": word(UInt.self),
  ]

  private static func word<T: FixedWidthInteger>(_ type: T.Type) -> CNumber {
    switch (T.bitWidth, T.isSigned) {
    case (8, true): .int8
    case (8, false): .uint8
    case (16, true): .int16
    case (16, false): .uint16
    case (32, true): .int32
    case (32, false): .uint32
    case (_, true): .int64
    case (_, false): .uint64
    }
  }

  /// The number type that C's words name in any order, such as `long unsigned int`; nil if there is none.
  static func number(of words: [String]) -> CNumber? {
    if words.count == 1, let number = named[words[0]] { return number }
    guard words.allSatisfy(keywords.contains) else { return nil }
    var counts: [String: Int] = [:]
    for word in words { counts[word == "_Bool" ? "bool" : word, default: 0] += 1 }
    let (longs, shorts) = (counts["long"] ?? 0, counts["short"] ?? 0)
    let isUnsigned = counts["unsigned"] != nil
    guard longs <= 2, longs == 0 || shorts == 0, !isUnsigned || counts["signed"] == nil,
      counts.allSatisfy({ $0.key == "long" || $0.value == 1 })
    else { return nil }
    let base = ["char", "double", "float", "bool"].filter { counts[$0] != nil }
    guard let only = base.first else {
      if shorts > 0 { return isUnsigned ? word(CUnsignedShort.self) : word(CShort.self) }
      if longs == 2 { return isUnsigned ? word(CUnsignedLongLong.self) : word(CLongLong.self) }
      if longs == 1 { return isUnsigned ? word(CUnsignedLong.self) : word(CLong.self) }
      return isUnsigned ? word(CUnsignedInt.self) : word(CInt.self)
    }
    guard base.count == 1, counts["int"] == nil, longs == 0, shorts == 0 else { return nil }
    if only == "char" {
      return isUnsigned ? .uint8 : counts["signed"] != nil ? .int8 : word(CChar.self)
    }
    guard !isUnsigned, counts["signed"] == nil else { return nil }
    return only == "double" ? .double : only == "float" ? .float : .bool
  }
}
