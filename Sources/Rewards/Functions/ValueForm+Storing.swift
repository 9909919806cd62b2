import Core

extension ValueForm {
  /// Writes a value, or a pointer to it, into an argument's slot of 8 bytes; texts and lists live in `arena`.
  ///
  /// - Returns: what is wrong with the value, such as "is a string, expected a number", or nil.
  func store(_ value: JSON, _ slot: UnsafeMutableRawPointer, _ arena: GuardedArena) -> String? {
    switch self {
    case .number(let number): return storeNumber(value, number, slot)
    case .text:
      guard let copy = arena.copy(value.string ?? value.text()) else { return "is too long: more than 1 GiB" }
      slot.storeBytes(of: copy, as: UnsafeMutableRawPointer.self)
    case .size(let number):
      let count = value.string?.utf8.count ?? value.text().utf8.count
      guard number.store(count, slot) else { return "has \(count) bytes, too many for the type of .size" }
    case .list(let number):
      guard let list = value.array else { return "is \(value.kind), expected a list of numbers" }
      guard let memory = arena.allocate(list.count * number.size, "a list of numbers") else {
        return "is too long: more than 1 GiB"
      }
      for (i, element) in list.enumerated() {
        if let complaint = storeNumber(element, number, memory + i * number.size) {
          return "holds something else than numbers: element \(i) \(complaint)"
        }
      }
      slot.storeBytes(of: memory, as: UnsafeMutableRawPointer.self)
    case .count(let number):
      guard let list = value.array else { return "is \(value.kind), expected a list" }
      guard number.store(list.count, slot) else { return "has \(list.count) elements, too many for the type of .count" }
    }
    return nil
  }

  private func storeNumber(_ value: JSON, _ number: CNumber, _ slot: UnsafeMutableRawPointer) -> String? {
    switch value.value {
    case .bool(let truth): return number.store(truth ? 1 : 0, slot) ? nil : "does not fit"
    case _ where number == .bool: return "is \(value.kind), expected true or false"
    case .int(let whole): return number.store(whole, slot) ? nil : "is \(whole), which its type cannot hold"
    case .double(let double):
      if number.store(double, slot) { return nil }
      return double == double.rounded()
        ? "is \(double), which its type cannot hold" : "is \(double), expected a whole number"
    default: return "is \(value.kind), expected a number"
    }
  }

  /// What `store` would say.
  func complaint(about value: JSON) -> String? {
    let arena = GuardedArena()
    guard let slot = arena.allocate(8, "a slot") else { return nil }
    return store(value, slot, arena)
  }
}

extension GuardedArena {
  /// A text with a NUL behind it; nil if it does not fit.
  func copy(_ text: String) -> UnsafeMutableRawPointer? {
    var text = text
    return text.withUTF8 { bytes in
      let memory = allocate(bytes.count + 1, "a text")
      if let memory, let start = bytes.baseAddress { memory.copyMemory(from: start, byteCount: bytes.count) }
      return memory
    }
  }
}
