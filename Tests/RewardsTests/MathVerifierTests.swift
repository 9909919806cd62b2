import Core
import Foundation
import TestSupport
import Testing

@testable import Rewards

/// What no vector can say about the verifier: exact arithmetic, bounds, and texts that nobody would write.
@Suite struct MathVerifierTests {
  private let verifier = MathVerifier(answerSpan: .last)

  private func rule(_ reference: String, _ answer: String) -> MathRule? {
    try? verifier.verdict(completion: "<answer>\(answer)</answer>", prefix: "", references: [reference])?.rule
  }

  // MARK: Exact numbers

  @Test func integersOfAnySizeDivideAndMultiplyExactly() throws {
    var random = MathRandom(state: 1)
    func integer(_ digits: Int) -> BigInteger? {
      BigInteger(digits: (0..<digits).map { _ in UInt8(0x30 + Int(random.next() * 10)) })
    }
    for trial in 0..<200 {
      let a = try #require(integer(1 + trial % 90))
      let b = try #require(integer(1 + trial * 7 % 60))
      guard !b.isZero else { continue }
      let (quotient, remainder) = a.dividedBy(b)
      #expect(try #require(quotient.times(b)) + remainder == a, "\(a) divided by \(b)")
      #expect(!remainder.isNegative && remainder < b)
      let (other, rest) = (-a).dividedBy(b)
      #expect(try #require(other.times(b)) + rest == -a)
      #expect(try #require(BigInteger(digits: Array(a.description.utf8))) == a)
      let square = try #require(a.times(a))
      #expect(square.root(2) == a)
      #expect((square + .one).root(2) == nil || a.isZero)
      #expect(a - b + b == a)
    }
    // The borrow of the long division that is hardly ever needed.
    let top = try #require(BigInteger(2).power(96)) - .one
    let divisor = try #require(BigInteger(2).power(64)) - .one
    let (quotient, remainder) = top.dividedBy(divisor)
    #expect(try #require(quotient.times(divisor)) + remainder == top)
    #expect(quotient == BigInteger(1 << 32))
  }

  @Test func numbersThatDoNotFitAreNil() {
    #expect(BigInteger(9).power(1 << 20) == nil)
    #expect(BigInteger(2).power(4000) != nil)
    #expect(Rational(3).power(Int.min) == nil)
    #expect(Rational(0).power(-1) == nil)
    #expect(Rational(1).power(Int.max) == Rational(1))
    #expect(Rational(BigInteger(1), .zero) == nil)
    #expect(BigInteger(Int.min).int == Int.min)
    #expect(BigInteger(Int.max).int == Int.max)
    #expect((BigInteger(Int.max) + .one).int == nil)
  }

  @Test func fractionsAreDoublesToTheLastBitOrSo() {
    #expect(Rational(decimal: "0.1")?.double == 0.1)
    #expect(Rational(decimal: "12345.678")?.double == 12345.678)
    // 7⁻³⁰⁰, from logarithms; both parts of the fraction are beyond what a double holds exactly.
    let small = Rational(7).power(-300)?.double ?? 0
    #expect(abs(log10(small) + 300 * log10(7)) < 1e-10)
  }

  // MARK: Properties

  /// Every answer of the vectors that is right by itself.
  private static let answers: [String] = {
    let cases = try? RewardCases(path: Fixtures.path("rewards/built-in/math.jsonl"), pictures: Workshop.noPictures)
    return (cases?.cases ?? []).compactMap { BoxedAnswer.last(in: $0.sample.completion) }
  }()

  @Test func whatIsUnderstoodEqualsItself() throws {
    #expect(Self.answers.count > 300)
    var understood = 0
    for answer in Self.answers {
      guard let expression = try? MathParser.parse(latex: answer) else { continue }
      var comparison = MathComparison()
      // An answer without a value equals itself by its structure alone.
      let rule = try? comparison.rule(expression, expression)
      understood += rule == nil ? 0 : 1
      if rule == nil { #expect(MathExact.value(expression) == nil, "\(answer) is not itself") }
    }
    #expect(understood > 300)
  }

  @Test func spacesAndSizesChangeNothing() {
    for answer in Self.answers.prefix(200)
    where !answer.contains("text") && (try? MathParser.parse(latex: answer)) != nil {
      let spaced = answer.replacingOccurrences(of: "+", with: " \\; + \\, ").replacingOccurrences(of: "=", with: " = ")
      let sized = spaced.replacingOccurrences(of: "(", with: "\\left(").replacingOccurrences(of: ")", with: "\\right)")
      let wanted = try? MathParser.parse(latex: answer)
      #expect((try? MathParser.parse(latex: sized)) == wanted, "\(answer) and \(sized)")
    }
  }

  @Test func samplingIsTheSameEveryTime() {
    let first = Self.answers.prefix(150).map { rule("$\($0)$", $0)?.rawValue }
    #expect(first == Self.answers.prefix(150).map { rule("$\($0)$", $0)?.rawValue })
  }

  @Test func theGenerationPrefixOpensTheSpan() throws {
    let verdict = try verifier.verdict(completion: "7</answer> not 8", prefix: "<answer>", references: ["7"])
    #expect(verdict?.rule == .integer)
    #expect(try verifier.verdict(completion: "7</answer> not 8", prefix: "", references: ["7"])?.answer == nil)
  }

  // MARK: Hostile texts

  private static let pieces = [
    "\\frac", "\\sqrt", "{", "}", "(", ")", "[", "]", "\\{", "\\}", "^", "_", "|", "\\left", "\\right", "!", "%", "1",
    "23",
    "0.5", ",", "x", "y", "e", "i", "+", "-", "*", "/", "=", "<", "\\le", "\\in", "\\cup", "\\setminus", "\\pm", "\\mp",
    "\\text{", "\\text{and}", "\\begin{pmatrix}", "\\end{pmatrix}", "&", "\\\\", "\\infty", "\\pi", "\\sin", "\\log_",
    "\\binom", "\\boxed{", "$", "\\(", "\\)", "\\[", "\\]", "answer: ", "final answer is ", "<answer>", "</answer>",
    "\\circ",
    "'", "\\overline{", "\\mathbb{R}", "\\lfloor", "\\rfloor", "\n", " ", "\u{301}", "½", "²", "é", "\u{0}", "\\,",
    "\\", ".",
    "percent", "cm", "or", "9999999999", "\\{x|", "\\approx", "\\ne", "\\gcd", "\\emptyset", ":", ";", "\\langle",
    "\\rangle",
  ]

  @Test func randomPiecesNeitherCrashNorHang() {
    var random = MathRandom(state: 7)
    for trial in 0..<3000 {
      let text = (0..<(1 + trial % 40)).map { _ in Self.pieces[Int(random.next() * Double(Self.pieces.count))] }
        .joined()
      let other = (0..<(1 + trial % 9)).map { _ in Self.pieces[Int(random.next() * Double(Self.pieces.count))] }
        .joined()
      for (reference, completion) in [
        ("5", "\\boxed{\(text)}"), (text, "<answer>\(other)</answer>"), ("$\(text)$", "\\boxed{\(text)}"),
        (other, text + "\\boxed{\(other)}"),
      ] { _ = try? verifier.verdict(completion: completion, prefix: "", references: [reference]) }
    }
  }

  @Test func damagedVectorsNeitherCrashNorHang() throws {
    let cases = try RewardCases(path: Fixtures.path("rewards/built-in/math.jsonl"), pictures: Workshop.noPictures)
    var random = MathRandom(state: 11)
    func damaged(_ text: String) -> String {
      var bytes = [UInt8](text)
      for _ in 0..<3 where !bytes.isEmpty {
        let at = Int(random.next() * Double(bytes.count))
        switch Int(random.next() * 4) {
        case 0: bytes.remove(at: at)
        case 1: bytes.insert(bytes[Int(random.next() * Double(bytes.count))], at: at)
        case 2: bytes[at] = UInt8(random.next() * 255)
        default: bytes.insert(contentsOf: bytes[at...].prefix(12), at: at)
        }
      }
      return String(decoding: bytes, as: UTF8.self)
    }
    for entry in cases.cases {
      for _ in 0..<8 {
        _ = try? verifier.verdict(
          completion: damaged(entry.sample.completion), prefix: "", references: entry.sample.references.map(damaged))
      }
    }
  }

  /// Repeated as often as fits into 100 kB: what takes the square of the length takes minutes here.
  @Test(arguments: [
    "\\boxed{", "$", "$$", "\\(", "\\[", "{", "}", "answer: ", "final answer is ", "<answer>", "</answer>", "(", "1,",
    "1 ",
    "-", "\\frac{1}{2}", "$1$ and ", "\\boxed{1}", "\\boxed{1} is not what we want here at all, ", "<answer>1</answer>",
    "x^", "!",
    "1+1=", "\\text{", "\\\\", "$x$", "answer $1$ ", "9", "a", "\u{301}", "\\boxed{\\frac{1}{2}} ",
  ])
  func longTextsAreReadInTime(_ piece: String) throws {
    let text = String(repeating: piece, count: 100_000 / piece.utf8.count)
    for completion in [text, "<answer>" + text + "</answer>", text + "\\boxed{5}", "\\boxed{" + text + "}"] {
      _ = try? verifier.verdict(completion: completion, prefix: "", references: ["5", "$\\frac{1}{3}$"])
    }
    _ = try? verifier.verdict(completion: "\\boxed{5}", prefix: "", references: [text])
  }

  /// Large expressions of every kind against each other, as references and as answers.
  @Test func largeExpressionsAreCompared() {
    func repeated(_ piece: String, _ count: Int, _ separator: String) -> String {
      Array(repeating: piece, count: count).joined(separator: separator)
    }
    let large = [
      repeated("x", 500, "+"), repeated("(x+y+z)", 60, "\\cdot "), "(a+b+c+d+e+f)^{64}", repeated("\\sin x", 200, "+"),
      "\\{" + repeated("\\sin x", 200, ",") + "\\}", "\\{" + (0..<250).map { "\($0)" }.joined(separator: ", ") + "\\}",
      repeated("\\pm 1", 100, ""), repeated("9", 1100, ""), repeated("x<", 200, "") + "5",
      repeated("(0,1)", 60, "\\cup "),
      "\\frac{1}{" + repeated("x", 20, "+\\frac{1}{") + repeated("}", 20, ""), repeated("2^", 20, "") + "2",
      "\\begin{pmatrix}" + repeated(repeated("x+1", 16, "&"), 16, "\\\\") + "\\end{pmatrix}", repeated("100!", 30, "+"),
      repeated("\\begin{pmatrix}1&x\\\\y&2\\end{pmatrix}", 12, ""), "(1+x)^{999999999}", "9^{9^{9^9}}",
      repeated("\\sqrt{x}", 100, "+"),
    ]
    for reference in large {
      for answer in large {
        _ = try? verifier.verdict(completion: "\\boxed{\(answer)}", prefix: "", references: ["$\(reference)$"])
      }
    }
  }
}
