/// Unicode's normalization forms, with the origins of characters kept.
enum UnicodeForm: Sendable {
  case nfc, nfd, nfkc, nfkd

  func apply(to text: inout WorkingText) {
    switch self {
    case .nfc: Self.compose(&text)
    case .nfd: Self.rebuild(&text) { CanonicalComposition.decomposed($0, compatibility: false) }
    case .nfkd: Self.rebuild(&text) { CanonicalComposition.decomposed($0, compatibility: true) }
    case .nfkc: Self.rebuild(&text) { CanonicalComposition.normalize($0, compatibility: true) }
    }
  }

  /// Normalises run by run; a run begins with each ASCII character, which nothing in front of it can change.
  private static func rebuild(
    _ text: inout WorkingText, _ normalize: ([Unicode.Scalar]) -> [CanonicalComposition.Unit]
  ) {
    if text.bytes.allSatisfy({ $0 < 0x80 }) { return }
    let old = text.bytes
    var bytes: [UInt8] = []
    bytes.reserveCapacity(old.count)
    var origins = text.origins == nil ? nil : [WorkingText.Origin]()
    var at = 0
    while at < old.count {
      var scalars: [Unicode.Scalar] = []
      var starts: [Int] = []
      repeat {
        let (scalar, length) = decode(old, at)
        if !scalars.isEmpty, scalar.isASCII { break }
        scalars.append(scalar)
        starts.append(at)
        at += length
      } while at < old.count
      append(normalize(scalars), from: starts, of: text, &bytes, &origins)
    }
    text.bytes = bytes
    text.origins = origins
    text.pieces = bytes.isEmpty ? [] : [0..<bytes.count]
  }

  /// Appends normalised characters, each with the origin of the character at `starts` that it comes from.
  private static func append(
    _ units: [CanonicalComposition.Unit], from starts: [Int], of text: WorkingText, _ bytes: inout [UInt8],
    _ origins: inout [WorkingText.Origin]?
  ) {
    var consumed = 0
    for unit in units {
      let inserted = unit.change > 0
      let source = min(max(0, inserted ? consumed - 1 : consumed), starts.count - 1)
      let origin = text.origins?[starts[source]]
      for byte in UTF8.encode(unit.scalar) ?? UTF8.encodedReplacementCharacter {
        bytes.append(byte)
        if let origin { origins?.append(origin) }
      }
      if !inserted { consumed += 1 - unit.change }
    }
  }

  /// Most texts are composed already, and then only their characters are looked at.
  private static func compose(_ text: inout WorkingText) {
    guard let first = firstToCompose(in: text.bytes) else { return }
    let old = text.bytes
    var bytes = Array(old[..<first])
    bytes.reserveCapacity(old.count)
    var origins = text.origins.map { Array($0[..<first]) }
    var at = first
    while at < old.count {
      // A run: one inert character and those behind it that may join it.
      var scalars: [Unicode.Scalar] = []
      var starts: [Int] = []
      repeat {
        let (scalar, length) = decode(old, at)
        if !scalars.isEmpty, CanonicalComposition.isInert(scalar.value) { break }
        scalars.append(scalar)
        starts.append(at)
        at += length
      } while at < old.count
      if scalars.count == 1, CanonicalComposition.isInert(scalars[0].value) {
        bytes += old[starts[0]..<at]
        if let all = text.origins { origins?.append(contentsOf: all[starts[0]..<at]) }
        continue
      }
      append(CanonicalComposition.normalize(scalars), from: starts, of: text, &bytes, &origins)
    }
    text.bytes = bytes
    text.origins = origins
    text.pieces = bytes.isEmpty ? [] : [0..<bytes.count]
  }

  /// The place of the character before the first one that may need composing, or nil.
  private static func firstToCompose(in bytes: [UInt8]) -> Int? {
    bytes.withUnsafeBufferPointer { bytes in
      var previous = 0
      var at = 0
      while at < bytes.count {
        // Below U+0300 (lead bytes up to 0xCB) nothing ever changes.
        if bytes[at] < 0xCC {
          previous = at
          at += bytes[at] < 0x80 ? 1 : 2
          continue
        }
        let (value, length) = decodeValue(bytes, at)
        if !CanonicalComposition.isInert(value) { return previous }
        previous = at
        at += length
      }
      return nil
    }
  }

  private static func decode(_ bytes: [UInt8], _ at: Int) -> (Unicode.Scalar, Int) {
    let (value, length) = bytes.withUnsafeBufferPointer { decodeValue($0, at) }
    return (Unicode.Scalar(value) ?? "\u{FFFD}", length)
  }
}
