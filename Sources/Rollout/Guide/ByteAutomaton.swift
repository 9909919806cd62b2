import Core

/// A nondeterministic automaton over the bytes of UTF-8, every state of which leads to acceptance.
struct ByteAutomaton: Sendable {
  /// A step by any byte from `low` to `high`.
  struct Arc: Sendable {
    var low: UInt8
    var high: UInt8
    var target: Int32
  }

  /// States at most; about 40 bytes each.
  static let largest = 500_000

  let start: Int32
  let accept: Int32
  let count: Int
  private let arcs: [Arc]
  private let arcStarts: [Int32]
  private let jumps: [Int32]
  private let jumpStarts: [Int32]
  /// Bytes that no arc tells apart share a class.
  let classOfByte: [UInt8]
  /// A byte of each class.
  let byteOfClass: [UInt8]

  /// - Throws: `.request` if the automaton grows beyond its bound or no text at all is in the set.
  init(_ syntax: GuideSyntax) throws {
    var builder = AutomatonBuilder()
    let start = try builder.state()
    let accept = try builder.state()
    try builder.add(syntax, from: start, to: accept)
    self.start = start
    self.accept = accept
    count = builder.count
    // Steps that cannot lead to acceptance are left out, so that what is allowed can always be finished.
    let leads = Self.reaching(
      accept, count: count, arcs: builder.arcs.map { ($0.from, $0.arc.target) } + builder.jumps)
    guard leads[Int(start)] else {
      throw AttuneError.request("no text at all fits: something that is required cannot be fulfilled")
    }
    (arcs, arcStarts) = Self.grouped(builder.arcs.filter { leads[Int($0.arc.target)] }, count: count)
    (jumps, jumpStarts) = Self.grouped(builder.jumps.filter { leads[Int($0.to)] }, count: count)
    var begins = [Bool](repeating: false, count: 257)
    begins[0] = true
    for arc in arcs {
      begins[Int(arc.low)] = true
      begins[Int(arc.high) + 1] = true
    }
    var classes: [UInt8] = []
    var bytes: [UInt8] = []
    for byte in 0..<256 {
      if begins[byte] { bytes.append(UInt8(byte)) }
      classes.append(UInt8(bytes.count - 1))
    }
    classOfByte = classes
    byteOfClass = bytes
  }

  func arcs(of state: Int32) -> ArraySlice<Arc> { arcs[Int(arcStarts[Int(state)])..<Int(arcStarts[Int(state) + 1])] }

  func jumps(of state: Int32) -> ArraySlice<Int32> {
    jumps[Int(jumpStarts[Int(state)])..<Int(jumpStarts[Int(state) + 1])]
  }

  /// For every state, whether acceptance is reached by bytes for which `usable` is true.
  func leadingToAcceptance(usable: [Bool]) -> [Bool] {
    // Class by class, since a range may hold usable and other bytes.
    var usableClass = [Bool](repeating: false, count: byteOfClass.count)
    for byte in 0..<256 where usable[byte] { usableClass[Int(classOfByte[byte])] = true }
    var edges: [(Int32, Int32)] = []
    for state in 0..<Int32(count) {
      for arc in arcs(of: state) {
        let classes = classOfByte[Int(arc.low)]...classOfByte[Int(arc.high)]
        if classes.contains(where: { usableClass[Int($0)] }) { edges.append((state, arc.target)) }
      }
      for target in jumps(of: state) { edges.append((state, target)) }
    }
    return Self.reaching(accept, count: count, arcs: edges)
  }

  private static func reaching(_ goal: Int32, count: Int, arcs: [(Int32, Int32)]) -> [Bool] {
    let (sources, starts) = grouped(arcs.map { (from: $0.1, to: $0.0) }, count: count)
    var reached = [Bool](repeating: false, count: count)
    reached[Int(goal)] = true
    var queue = [goal]
    while let state = queue.popLast() {
      for source in sources[Int(starts[Int(state)])..<Int(starts[Int(state) + 1])] where !reached[Int(source)] {
        reached[Int(source)] = true
        queue.append(source)
      }
    }
    return reached
  }

  /// Values grouped by a state, in the order given; and where each state's begin.
  private static func grouped<Value>(_ entries: [(from: Int32, Value)], count: Int) -> ([Value], [Int32]) {
    var starts = [Int32](repeating: 0, count: count + 1)
    for entry in entries { starts[Int(entry.from) + 1] += 1 }
    for state in 0..<count { starts[state + 1] += starts[state] }
    guard let first = entries.first else { return ([], starts) }
    var places = starts
    var values = [Value](repeating: first.1, count: entries.count)
    for entry in entries {
      values[Int(places[Int(entry.from)])] = entry.1
      places[Int(entry.from)] += 1
    }
    return (values, starts)
  }
}

/// Adds syntax between two states, with Thompson's construction.
private struct AutomatonBuilder {
  private(set) var count = 0
  private(set) var arcs: [(from: Int32, arc: ByteAutomaton.Arc)] = []
  private(set) var jumps: [(from: Int32, to: Int32)] = []

  mutating func state() throws -> Int32 {
    guard count < ByteAutomaton.largest else {
      throw AttuneError.request(
        "the automaton has more than \(ByteAutomaton.largest) states",
        hint: "lower the counts of repetitions, the lengths of strings or the depth of nesting")
    }
    defer { count += 1 }
    return Int32(count)
  }

  private mutating func jump(_ from: Int32, _ to: Int32) { jumps.append((from, to)) }

  // Invariant: nothing but `syntax` is ever added that leads into `from` or out of `to` inside one call's own states, so
  // alternatives may share both.
  mutating func add(_ syntax: GuideSyntax, from: Int32, to: Int32) throws {
    switch syntax {
    case .nothing: break
    case .scalars(let set): try add(set, from, to)
    case .sequence(let parts):
      if parts.isEmpty { jump(from, to) }
      var place = from
      for (i, part) in parts.enumerated() {
        let next = i == parts.count - 1 ? to : try state()
        try add(part, from: place, to: next)
        place = next
      }
    case .choice(let parts):
      for part in parts { try add(part, from: from, to: to) }
    case .repeated(let part, let least, let most):
      var place = try state()
      jump(from, place)
      for _ in 0..<least {
        let next = try state()
        try add(part, from: place, to: next)
        place = next
      }
      if let most {
        for _ in least..<most {
          jump(place, to)
          let next = try state()
          try add(part, from: place, to: next)
          place = next
        }
      } else {
        // A fresh state to come back to, since `part` may lead back into its own first one.
        let loop = try state()
        jump(place, loop)
        try add(part, from: loop, to: loop)
        place = loop
      }
      jump(place, to)
    case .members(let members, let rest, let separator):
      try add(members, rest, separator, from, to)
    }
  }

  /// Two chains: `bare` while no member has been there yet, `filled` once one has.
  private mutating func add(
    _ members: [GuideSyntax.Member], _ rest: GuideSyntax?, _ separator: GuideSyntax, _ from: Int32, _ to: Int32
  ) throws {
    var bare = try state()
    var filled = try state()
    jump(from, bare)
    for member in members {
      let entry = try state()
      let nextBare = try state()
      let nextFilled = try state()
      jump(bare, entry)
      try add(separator, from: filled, to: entry)
      try add(member.syntax, from: entry, to: nextFilled)
      if member.isOptional {
        jump(bare, nextBare)
        jump(filled, nextFilled)
      }
      (bare, filled) = (nextBare, nextFilled)
    }
    if let rest {
      let entry = try state()
      jump(bare, entry)
      try add(separator, from: filled, to: entry)
      try add(rest, from: entry, to: filled)
    }
    jump(bare, to)
    jump(filled, to)
  }

  private mutating func add(_ set: ScalarSet, _ from: Int32, _ to: Int32) throws {
    // Ends of sequences are shared: most of them are any continuation bytes.
    var tails: [[ClosedRange<UInt8>]: Int32] = [[]: to]
    for range in set.ranges {
      for sequence in UTF8Ranges.sequences(range) {
        for length in stride(from: 1, to: sequence.count, by: 1) {
          let tail = Array(sequence.suffix(length))
          guard tails[tail] == nil else { continue }
          let place = try state()
          tails[tail] = place
          arcs.append(
            (place, .init(low: tail[0].lowerBound, high: tail[0].upperBound, target: tails[Array(tail.dropFirst())]!)))
        }
        arcs.append(
          (
            from,
            .init(
              low: sequence[0].lowerBound, high: sequence[0].upperBound,
              target: tails[Array(sequence.dropFirst())]!)
          ))
      }
    }
  }
}
