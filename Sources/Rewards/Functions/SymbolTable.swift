import Foundation

/// What a library exports, read from its file.
///
/// Layout: System V gABI, chapters 4 and 5 (64-bit ELF, little-endian). Every offset of the file is checked; a file
/// without section headers, or of another kind, has no names here.
enum SymbolTable {
  struct Symbol: Equatable {
    var name: String
    var isFunction: Bool
  }

  private static let mostSymbols = 1 << 22

  /// The defined dynamic symbols of a file; empty if they cannot be read.
  static func exported(by path: String) -> [Symbol] {
    guard let data = try? Data(contentsOf: URL(fileURLWithPath: path), options: .mappedIfSafe) else { return [] }
    return data.withUnsafeBytes { exported($0) }
  }

  static func exported(_ file: UnsafeRawBufferPointer) -> [Symbol] {
    let reader = Bounded(bytes: file)
    guard file.count >= 64, file.starts(with: [0x7F, 0x45, 0x4C, 0x46, 2, 1]),
      let sections = reader.integer(at: 40, UInt64.self), let size = reader.integer(at: 58, UInt16.self),
      let count = reader.integer(at: 60, UInt16.self), size >= 64
    else { return [] }
    func section(_ i: Int) -> (type: UInt32, offset: Int, size: Int, link: Int, entry: Int)? {
      guard i < count, let start = reader.sum(sections, i * Int(size)),
        let type = reader.integer(at: start + 4, UInt32.self), let offset = reader.offset(at: start + 24),
        let length = reader.offset(at: start + 32), let link = reader.integer(at: start + 40, UInt32.self),
        let entry = reader.offset(at: start + 56), offset <= file.count, length <= file.count - offset
      else { return nil }
      return (type, offset, length, Int(link), entry)
    }
    let dynamicSymbols: UInt32 = 11
    for i in 0..<Int(count) {
      guard let table = section(i), table.type == dynamicSymbols, table.entry == 24, let names = section(table.link)
      else { continue }
      return symbols(
        reader, table.offset, min(table.size / 24, mostSymbols),
        UnsafeRawBufferPointer(rebasing: file[names.offset..<(names.offset + names.size)]))
    }
    return []
  }

  private static func symbols(
    _ reader: Bounded, _ start: Int, _ count: Int, _ names: UnsafeRawBufferPointer
  ) -> [Symbol] {
    var out: [Symbol] = []
    for i in 0..<count {
      let place = start + 24 * i
      guard let name = reader.integer(at: place, UInt32.self), let info = reader.integer(at: place + 4, UInt8.self),
        let section = reader.integer(at: place + 6, UInt16.self)
      else { return out }
      let (type, binding) = (info & 15, info >> 4)
      // Objects (1), functions (2) and functions that choose themselves at load time (10); global, weak or unique;
      // defined here.
      guard type == 1 || type == 2 || type == 10, binding == 1 || binding == 2 || binding == 10, section != 0,
        Int(name) < names.count
      else { continue }
      let characters = names[Int(name)...].prefix { $0 != 0 }
      out.append(Symbol(name: String(decoding: characters, as: UTF8.self), isFunction: type != 1))
    }
    return out
  }

  private struct Bounded {
    let bytes: UnsafeRawBufferPointer

    func integer<T: FixedWidthInteger>(at offset: Int, _ type: T.Type) -> T? {
      guard offset >= 0, offset <= bytes.count - MemoryLayout<T>.size else { return nil }
      return T(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: type))
    }

    func offset(at place: Int) -> Int? { integer(at: place, UInt64.self).flatMap { Int(exactly: $0) } }

    /// A place in the file with room for a section header.
    func sum(_ start: UInt64, _ extra: Int) -> Int? {
      guard let start = Int(exactly: start), start <= bytes.count, extra <= bytes.count - start else { return nil }
      return start + extra
    }
  }
}
