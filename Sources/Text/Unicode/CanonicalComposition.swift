/// Unicode normalization that can say which character each character of its result came from.
///
/// Source: Unicode Standard Annex #15. Origins are counted as the tokenizers library counts them, because offsets of
/// tokens are compared with its own: a composed character comes from the first of its parts. As there, characters that
/// came after Unicode 9 are taken for unassigned.
enum CanonicalComposition {
  /// A character of the result and how many characters of the source it stands for, less one: 0 replaces one, 1 is
  /// inserted, -n replaces n + 1.
  struct Unit {
    var scalar: Unicode.Scalar
    var change: Int
  }

  /// True if the character can neither change nor take part in a change of what follows a starter.
  @inline(__always)
  static func isInert(_ value: UInt32) -> Bool {
    value < 0x300 || tables.attention[Int(value >> 6)] >> UInt64(value & 63) & 1 == 0
  }

  private typealias Part = (scalar: Unicode.Scalar, change: Int, ccc: UInt8)

  /// Characters taken apart (NFD, NFKD), marks in their canonical order.
  static func decomposed(_ source: some Sequence<Unicode.Scalar>, compatibility: Bool) -> [Unit] {
    parts(of: source, compatibility).map { Unit(scalar: $0.scalar, change: $0.change) }
  }

  private static func parts(of source: some Sequence<Unicode.Scalar>, _ compatibility: Bool) -> [Part] {
    var decomposed: [Part] = []
    var sorted = 0
    func sortPending(_ list: inout [Part]) {
      let pending = list[sorted...]
      if zip(pending, pending.dropFirst()).contains(where: { $0.ccc > $1.ccc }) {
        let order = pending.indices.sorted { (list[$0].ccc, $0) < (list[$1].ccc, $1) }
        list.replaceSubrange(sorted..., with: order.map { list[$0] })
      }
      sorted = list.count
    }
    for scalar in source {
      let all = compatibility ? compatibilityDecomposition(of: scalar) : decomposition(of: scalar)
      for (i, part) in all.enumerated() {
        let ccc = combiningClass(of: part)
        if ccc == 0 { sortPending(&decomposed) }
        decomposed.append((part, i == 0 ? 0 : 1, ccc))
        if ccc == 0 { sorted = decomposed.count }
      }
    }
    sortPending(&decomposed)
    return decomposed
  }

  private static func combiningClass(of scalar: Unicode.Scalar) -> UInt8 {
    if scalar.value < 0x300 { return 0 }
    let properties = scalar.properties
    let ccc = properties.canonicalCombiningClass.rawValue
    return ccc == 0 || (properties.age.map { $0.major > 9 } ?? true) ? 0 : ccc
  }

  /// The normalised form (NFC, NFKC) of a whole run: a starter and the characters that may join it.
  static func normalize(_ source: some Sequence<Unicode.Scalar>, compatibility: Bool = false) -> [Unit] {
    let decomposed = parts(of: source, compatibility)
    var result: [Unit] = []
    result.reserveCapacity(decomposed.count)
    var starter: Unit?
    var marks: [Unit] = []
    var lastClass: UInt8?
    func flush(_ result: inout [Unit]) {
      if let starter { result.append(starter) }
      result += marks
      marks.removeAll(keepingCapacity: true)
      lastClass = nil
    }
    for (scalar, change, ccc) in decomposed {
      guard let current = starter else {
        if ccc != 0 {
          result.append(Unit(scalar: scalar, change: change))
        } else {
          starter = Unit(scalar: scalar, change: change)
        }
        continue
      }
      let blocked = lastClass.map { $0 >= ccc } ?? false
      if !blocked, let composed = compose(current.scalar, scalar) {
        starter = Unit(scalar: composed, change: current.change + change - 1)
      } else if ccc == 0 {
        flush(&result)
        starter = Unit(scalar: scalar, change: change)
      } else {
        marks.append(Unit(scalar: scalar, change: change))
        lastClass = ccc
      }
    }
    flush(&result)
    return result
  }

  /// The canonical decomposition of one character, all levels.
  static func decomposition(of scalar: Unicode.Scalar) -> [Unicode.Scalar] {
    let value = scalar.value
    if value < 0xC0 { return [scalar] }
    if value >= hangulBase, value < hangulBase + hangulCount {
      let index = value - hangulBase
      let parts = [0x1100 + index / 588, 0x1161 + index % 588 / 28]
      let tail = index % 28
      return (tail == 0 ? parts : parts + [0x11A7 + tail]).compactMap(Unicode.Scalar.init)
    }
    guard let (first, second) = tables.decompositions[value], let a = Unicode.Scalar(first) else { return [scalar] }
    return decomposition(of: a) + (second.flatMap(Unicode.Scalar.init).map { [$0] } ?? [])
  }

  /// The compatibility decomposition of one character, all levels.
  static func compatibilityDecomposition(of scalar: Unicode.Scalar) -> [Unicode.Scalar] {
    if scalar.value < 0xA0 { return [scalar] }
    if let parts = compatibilityTable[scalar.value] { return parts.flatMap(compatibilityDecomposition) }
    let parts = decomposition(of: scalar)
    return parts == [scalar] ? parts : parts.flatMap(compatibilityDecomposition)
  }

  private static let compatibilityTable: [UInt32: [Unicode.Scalar]] = {
    var table: [UInt32: [Unicode.Scalar]] = [:]
    for item in CompatibilityMappings.all.utf8.split(separator: UInt8(ascii: " ")) {
      let fields = item.split(separator: UInt8(ascii: ":"))
      let range = fields[0].split(separator: UInt8(ascii: "-")).compactMap { UInt32(Substring($0), radix: 16) }
      let parts = fields[1...].compactMap { UInt32(Substring($0), radix: 16) }
      guard let first = range.first, let last = range.last else { continue }
      for value in first...last {
        table[value] = (parts.count == 1 ? [parts[0] + value - first] : parts).compactMap(Unicode.Scalar.init)
      }
    }
    return table
  }()

  private static let hangulBase: UInt32 = 0xAC00
  private static let hangulCount: UInt32 = 11172

  private static func compose(_ a: Unicode.Scalar, _ b: Unicode.Scalar) -> Unicode.Scalar? {
    if a.value >= 0x1100, a.value < 0x1113, b.value >= 0x1161, b.value < 0x1176 {
      return Unicode.Scalar(hangulBase + (a.value - 0x1100) * 588 + (b.value - 0x1161) * 28)
    }
    if a.value >= hangulBase, a.value < hangulBase + hangulCount, (a.value - hangulBase) % 28 == 0, b.value > 0x11A7,
      b.value < 0x11C3
    {
      return Unicode.Scalar(a.value + b.value - 0x11A7)
    }
    return tables.compositions[UInt64(a.value) << 32 | UInt64(b.value)].flatMap(Unicode.Scalar.init)
  }

  private struct Tables {
    var decompositions: [UInt32: (UInt32, UInt32?)] = [:]
    var compositions: [UInt64: UInt32] = [:]
    /// One bit a character: set if it decomposes for good, is a mark, or may join the starter before it.
    var attention = [UInt64](repeating: 0, count: 0x110000 / 64)

    init() {
      func mark(_ value: UInt32, _ attention: inout [UInt64]) {
        attention[Int(value >> 6)] |= 1 << UInt64(value & 63)
      }
      for (table, composes) in [(CanonicalMappings.composing, true), (CanonicalMappings.decomposingOnly, false)] {
        for item in table.utf8.split(separator: UInt8(ascii: " ")) {
          let fields = item.split(separator: UInt8(ascii: ":")).compactMap { UInt32(Substring($0), radix: 16) }
          // U+11938 came with Unicode 13.
          guard fields.count >= 2, fields[0] != 0x11938 else { continue }
          let second = fields.count > 2 ? fields[2] : nil
          decompositions[fields[0]] = (fields[1], second)
          if composes, let second {
            compositions[UInt64(fields[1]) << 32 | UInt64(second)] = fields[0]
            mark(second, &attention)
          } else {
            mark(fields[0], &attention)
          }
        }
      }
      // Hangul vowels and tails join what is before them.
      for value in UInt32(0x1161)...0x11C2 { mark(value, &attention) }
      for value in UInt32(0x300)..<0x1F000 {
        if let scalar = Unicode.Scalar(value), scalar.properties.canonicalCombiningClass != .notReordered {
          mark(value, &attention)
        }
      }
    }
  }

  private static let tables = Tables()
}
