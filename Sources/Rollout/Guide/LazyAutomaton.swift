import Core

/// The deterministic automaton over the same bytes, made state by state as texts ask for it.
struct LazyAutomaton: Sendable {
  /// States at most, and places of the other automaton that they hold together.
  static let largest = 200_000
  static let largestPlaces = 8_000_000

  /// What a byte leads to when no text goes on with it.
  static let dead: Int32 = -1
  private static let unknown: Int32 = -2

  private let automaton: ByteAutomaton
  /// Places of the other automaton from which acceptance is reached by single tokens of one byte.
  private let isEasyPlace: [Bool]
  private let classes: Int
  private var places: [[Int32]] = []
  private var numbers: [[Int32]: Int32] = [:]
  /// `[state, class]`
  private var table: [Int32] = []
  private var placeCount = 0
  private(set) var isAccepting: [Bool] = []
  /// Whether acceptance is reached whatever longer tokens there are.
  private(set) var isEasy: [Bool] = []
  // Closures: the round in which a place was last met.
  private var met: [UInt32]
  private var round: UInt32 = 0

  /// - Parameter singleBytes: by byte, whether a token of that byte alone exists.
  init(_ automaton: ByteAutomaton, singleBytes: [Bool]) throws {
    self.automaton = automaton
    isEasyPlace = automaton.leadingToAcceptance(usable: singleBytes)
    classes = automaton.byteOfClass.count
    met = [UInt32](repeating: 0, count: automaton.count)
    _ = try state(of: [automaton.start])
  }

  var start: Int32 { 0 }
  var count: Int { places.count }

  /// The state behind a byte, or `dead`.
  mutating func step(_ state: Int32, _ byte: UInt8) throws -> Int32 {
    let byteClass = Int(automaton.classOfByte[Int(byte)])
    let entry = Int(state) * classes + byteClass
    let known = table[entry]
    if known != Self.unknown { return known }
    let sample = automaton.byteOfClass[byteClass]
    var targets: [Int32] = []
    for place in places[Int(state)] {
      for arc in automaton.arcs(of: place) where arc.low <= sample && sample <= arc.high { targets.append(arc.target) }
    }
    let next = targets.isEmpty ? Self.dead : try self.state(of: targets)
    table[entry] = next
    return next
  }

  /// The state of the given places and of all that jumps reach from them.
  private mutating func state(of seeds: [Int32]) throws -> Int32 {
    round += 1
    var stack = seeds
    var own: [Int32] = []
    var accepts = false
    while let place = stack.popLast() {
      guard met[Int(place)] != round else { continue }
      met[Int(place)] = round
      if place == automaton.accept { accepts = true }
      // Places that only jump do not tell states apart.
      if place == automaton.accept || !automaton.arcs(of: place).isEmpty { own.append(place) }
      stack += automaton.jumps(of: place)
    }
    own.sort()
    if let known = numbers[own] { return known }
    placeCount += own.count
    guard places.count < Self.largest, placeCount <= Self.largestPlaces else {
      throw AttuneError.request(
        "the guide's automaton has more than \(Self.largest) states or \(Self.largestPlaces) places in them",
        hint: "lower the counts of repetitions, or make alternatives begin differently")
    }
    let number = Int32(places.count)
    places.append(own)
    numbers[own] = number
    table += repeatElement(Self.unknown, count: classes)
    isAccepting.append(accepts)
    isEasy.append(own.contains { isEasyPlace[Int($0)] })
    return number
  }
}
