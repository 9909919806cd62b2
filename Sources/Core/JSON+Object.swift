extension JSON {
  /// Keys and values in the order they were written. Finding a key takes constant time.
  ///
  /// Keys are equal that have the same code points. `String` also takes a composed and a decomposed character for the
  /// same, which are two tokens of a vocabulary.
  public struct Object: Sendable {
    public private(set) var keys: [String] = []
    public private(set) var values: [JSON] = []
    /// Open addressing over places in `keys`; empty while a search from the front is as quick.
    private var slots: [Int32] = []
    private static let searchedFromTheFront = 8

    public init() {}

    public init(_ entries: some Sequence<(String, JSON)>) {
      for (key, value) in entries { self[key] = value }
    }

    public var count: Int { keys.count }
    public var isEmpty: Bool { keys.isEmpty }
    public var entries: Zip2Sequence<[String], [JSON]> { zip(keys, values) }

    /// Setting a new key appends it; setting nil removes the key.
    public subscript(key: String) -> JSON? {
      get {
        guard let place = find(key).place else { return nil }
        return values[place]
      }
      set {
        if let newValue {
          insert(key, newValue)
        } else if let place = find(key).place {
          keys.remove(at: place)
          values.remove(at: place)
          rebuild()
        }
      }
    }

    /// Sets the value of `key`. False if the key was there already.
    @discardableResult
    public mutating func insert(_ key: String, _ value: JSON) -> Bool {
      let (place, slot) = find(key)
      if let place {
        values[place] = value
        return false
      }
      keys.append(key)
      values.append(value)
      if slots.isEmpty || keys.count * 2 > slots.count {
        if keys.count > Self.searchedFromTheFront { rebuild() }
      } else {
        slots[slot] = Int32(keys.count - 1)
      }
      return true
    }

    private mutating func rebuild() {
      guard keys.count > Self.searchedFromTheFront else {
        slots = []
        return
      }
      var size = 32
      while size < keys.count * 4 { size *= 2 }
      slots = Array(repeating: -1, count: size)
      for place in keys.indices {
        var slot = Self.hash(keys[place]) & (size - 1)
        while slots[slot] >= 0 { slot = (slot + 1) & (size - 1) }
        slots[slot] = Int32(place)
      }
    }

    /// Where `key` is, and the slot that is or would be its own.
    private func find(_ key: String) -> (place: Int?, slot: Int) {
      guard !slots.isEmpty else { return (keys.firstIndex { Self.same($0, key) }, 0) }
      var slot = Self.hash(key) & (slots.count - 1)
      while slots[slot] >= 0 {
        let place = Int(slots[slot])
        if Self.same(keys[place], key) { return (place, slot) }
        slot = (slot + 1) & (slots.count - 1)
      }
      return (nil, slot)
    }

    private static func hash(_ key: String) -> Int {
      var key = key
      return key.withUTF8 { bytes in
        var hasher = Hasher()
        hasher.combine(bytes: UnsafeRawBufferPointer(bytes))
        return hasher.finalize()
      }
    }

    private static func same(_ a: String, _ b: String) -> Bool {
      a.utf8.count == b.utf8.count && a.utf8.elementsEqual(b.utf8)
    }
  }
}
