/// The ids of one sequence so far: its prompt's, then the generated ones, without a copy of either.
public struct TokenHistory: Sendable, RandomAccessCollection {
  public let prompt: [Int32]
  public let generated: [Int32]

  public init(prompt: [Int32], generated: [Int32]) {
    self.prompt = prompt
    self.generated = generated
  }

  public var startIndex: Int { 0 }
  public var endIndex: Int { prompt.count + generated.count }

  public subscript(place: Int) -> Int32 {
    place < prompt.count ? prompt[place] : generated[place - prompt.count]
  }
}
