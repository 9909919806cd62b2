import Core
import Synchronization

/// Holds completions to a set of texts: a regular expression, or the JSON values of a schema.
///
/// For every state it knows the ids after which the text can still be finished with tokens of the vocabulary; end ids are
/// among them exactly when the text so far is in the set, and a completion ends by one. A completion that reaches
/// `maxNewTokens` before ends as any other does, with the finish reason `length`; its text is then a beginning of one in
/// the set. States and masks are made when they are first met and kept; a guide may be used by many threads.
public final class Guide: Sendable {
  /// A place between two tokens of a completion.
  public struct State: Sendable, Hashable {
    fileprivate let number: Int32
    /// True before the first token, where a tokenizer may drop a space.
    fileprivate let isFirst: Bool
  }

  /// Bytes of masks that are kept; beyond them all are forgotten and made anew.
  private static let maskBudget = 64 << 20

  private struct Work {
    var automaton: LazyAutomaton
    var masks: [State: TokenMask] = [:]
    var maskBytes = 0
    /// States that single bytes do not finish: whether longer tokens do.
    var isLive: [Int32: Bool] = [:]
  }

  public let vocabulary: GuideVocabulary
  private let work: Mutex<Work>

  init(_ syntax: GuideSyntax, _ vocabulary: GuideVocabulary) throws {
    self.vocabulary = vocabulary
    let automaton = try LazyAutomaton(ByteAutomaton(syntax), singleBytes: vocabulary.singleBytes)
    work = Mutex(Work(automaton: automaton))
    guard try mask(start).first != nil else {
      throw AttuneError.request("no text of the set can be written with the tokens of this vocabulary")
    }
  }

  /// Completions that match the regular expression as a whole; see `RegexParser` for the dialect.
  ///
  /// - Throws: `.request` with the place in the pattern and the reason.
  public convenience init(regex: String, _ vocabulary: GuideVocabulary) throws {
    try self.init(RegexParser.parse(regex), vocabulary)
  }

  /// Completions that are JSON values of the schema; see `SchemaCompiler` for what it may say.
  ///
  /// - Parameter file: the name that errors carry.
  /// - Throws: `.request` with the path in the schema and the reason.
  public convenience init(jsonSchema schema: JSON, file: String = "", _ vocabulary: GuideVocabulary) throws {
    try self.init(SchemaCompiler.compile(schema, file: file), vocabulary)
  }

  /// Before the first token.
  public var start: State { State(number: 0, isFirst: true) }

  /// The ids that may follow.
  ///
  /// Takes one walk through the vocabulary when the state is new, no time after.
  /// - Throws: `.request` if the automaton grows beyond its bound.
  public func mask(_ state: State) throws -> TokenMask {
    try work.withLock { work in
      if let known = work.masks[state] { return known }
      var mask = TokenMask(count: vocabulary.count)
      var doubtful: [Int32: [Int32]] = [:]
      let isEnd = work.automaton.isAccepting[Int(state.number)]
      try vocabulary.trie(isFirst: state.isFirst).walk(&work.automaton, from: state.number) { ids, next, isEasy in
        if isEasy {
          for id in ids { mask.insert(id) }
        } else {
          doubtful[next, default: []] += ids
        }
      }
      for (next, ids) in doubtful {
        guard try isLive(next, &work) else { continue }
        for id in ids { mask.insert(id) }
      }
      if isEnd { for id in vocabulary.endIDs { mask.insert(id) } }
      if work.maskBytes > Self.maskBudget {
        work.masks.removeAll()
        work.maskBytes = 0
      }
      work.masks[state] = mask
      work.maskBytes += mask.byteCount
      return mask
    }
  }

  /// Whether some tokens lead from the state to acceptance.
  private func isLive(_ state: Int32, _ work: inout Work) throws -> Bool {
    if work.automaton.isEasy[Int(state)] { return true }
    if let known = work.isLive[state] { return known }
    // Breadth first over states between tokens. If nothing live is met, nothing that was met is live.
    var origins: [Int32: Int32] = [state: state]
    var queue = [state]
    var head = 0
    while head < queue.count {
      let current = queue[head]
      head += 1
      if work.automaton.isEasy[Int(current)] || work.isLive[current] == true {
        var place = current
        while true {
          work.isLive[place] = true
          guard let origin = origins[place], origin != place else { return true }
          place = origin
        }
      }
      if work.isLive[current] == false { continue }
      try vocabulary.tokens.walk(&work.automaton, from: current) { _, next, _ in
        if origins[next] == nil {
          origins[next] = current
          queue.append(next)
        }
      }
    }
    for place in queue { work.isLive[place] = false }
    return false
  }

  /// The state behind a token; nil if the token is not allowed there or ends the completion.
  public func next(_ state: State, _ id: Int32) throws -> State? {
    try work.withLock { work in
      let bytes = vocabulary.trie(isFirst: state.isFirst).bytes(of: id)
      if bytes.isEmpty { return nil }
      var number = state.number
      for byte in bytes {
        number = try work.automaton.step(number, byte)
        if number == LazyAutomaton.dead { return nil }
      }
      return try isLive(number, &work) ? State(number: number, isFirst: false) : nil
    }
  }

  /// Whether the text so far is in the set, so that the completion may end.
  public func isAccepting(_ state: State) -> Bool {
    work.withLock { $0.automaton.isAccepting[Int(state.number)] }
  }

  /// - Throws: `.request` if an id would end completions that the guide does not know as an end: texts would be cut.
  func validate(with parameters: SamplingParameters) throws {
    if let other = parameters.stopIDs.subtracting(vocabulary.endIDs).min() {
      throw AttuneError.request(
        "stop id \(other) is no end id of the guide: \(vocabulary.endIDs.sorted()) were expected")
    }
  }

  /// States made so far.
  public var stateCount: Int { work.withLock { $0.automaton.count } }
}

/// A guide and the place of one completion in it.
struct GuideCursor {
  let guide: Guide
  private(set) var state: Guide.State

  init(_ guide: Guide) {
    self.guide = guide
    state = guide.start
  }

  func allowed() throws -> TokenMask { try guide.mask(state) }

  /// Goes behind a token; true if it ended the completion.
  mutating func advance(_ id: Int32) throws -> Bool {
    guard !guide.vocabulary.endIDs.contains(id) else { return true }
    guard let next = try guide.next(state, id) else {
      throw AttuneError.work("token \(id) was chosen, which the guide does not allow there")
    }
    state = next
    return false
  }
}
