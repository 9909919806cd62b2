import CRewardABI
import Core
import Foundation
import Synchronization
import TestSupport
import Testing

@testable import Rewards

/// Exported C functions as rewards: what reaches them and what comes back.
@Suite struct FunctionTests {
  /// The library of `functions.c`, compiled once.
  static let library = Result { try Workshop.library("functions.c") }

  static func load(
    _ signature: String, parameters: JSON.Object = .init(), isolation: RewardSpecification.Isolation = .inline,
    timeout: Double = 10
  ) throws -> any PluginReward {
    try Workshop.load(
      try library.get() + ": " + signature, name: "f", parameters: parameters, isolation: isolation, timeout: timeout)
  }

  /// The outcome of one sample.
  static func outcome(
    _ signature: String, parameters: JSON.Object = .init(), services: (any RewardServices)? = nil,
    _ change: (inout RewardSample) -> Void = { _ in }
  ) throws -> RewardOutcome {
    let reward = try load(signature, parameters: parameters)
    defer { reward.close() }
    var sample = RewardSample(prompt: "p", completion: "42")
    change(&sample)
    var context = RewardContext()
    (context.step, context.totalSteps, context.epoch, context.seed) = (5, 40, 1.5, 9)
    context.services = services
    return try reward.score([sample], context: context)[0]
  }

  static func row(_ entries: (String, JSON)...) -> (inout RewardSample) -> Void {
    { $0.columns = JSON.Object(entries) }
  }

  // MARK: Numbers

  @Test(arguments: [
    ("signed char give_char(signed char column.x)", -128.0, 128.0), ("char give_char(char column.x)", 127, 300),
    ("unsigned char give_unsigned_char(uint8_t column.x)", 255, -1),
    ("short int give_short(short column.x)", -32768, 32768),
    ("uint16_t give_uint16(unsigned short column.x)", 65535, 65536),
    ("int give_int(signed column.x)", -2_147_483_648, 2_147_483_648),
    ("uint32_t give_uint32(unsigned int column.x)", 4_294_967_295, -1),
    ("long long give_long(int64_t column.x)", -9_007_199_254_740_991, 1e19),
    ("unsigned long int give_uint64(size_t column.x)", 9_007_199_254_740_991, -1),
    ("float give_float(float column.x)", 0.5, nil), ("double give_double(double column.x)", -1e300, nil),
    ("_Bool give_bool(bool column.x)", 1, 1),
  ])
  func everyTypeOfNumberGoesInAndComesOut(_ signature: String, _ value: Double, _ beyond: Double?) throws {
    let isBool = signature.contains("give_bool")
    #expect(try Self.outcome(signature, Self.row(("x", isBool ? true : .double(value)))).score == value)
    if let beyond {
      let refused = try Self.outcome(signature, Self.row(("x", .double(beyond))))
      #expect(refused.status == .invalid && refused.log.hasPrefix("the column 'x' is"), "\(refused.log)")
    }
    let half = try Self.outcome(signature, Self.row(("x", .double(0.5))))
    #expect((half.status == .ok) == signature.hasPrefix("float") || signature.hasPrefix("double"), "\(half.log)")
  }

  @Test func argumentsBeyondTheRegisters() throws {
    let signature = """
      double many(int8_t column.v, double 2, int16_t 3, float column.v, int32_t 5, double 6, int64_t 7, float 8, uint8_t 9,
        double 10, uint16_t 11, double 12, uint32_t 13, double column.v, uint64_t 15, double 16, int 17, float 18,
        int column.v, double 20)
      """
    // Σ i·xᵢ with xᵢ = i, but 1 at places 1, 4, 14 and 19.
    let sum = (1...20).map { Double($0 * ([1, 4, 14, 19].contains($0) ? 1 : $0)) }.reduce(0, +)
    #expect(try Self.outcome(signature, Self.row(("v", 1))).score == sum)
  }

  @Test func truthValuesAreNumbersAndNumbersAreNoTruthValues() throws {
    #expect(try Self.outcome("double give_double(double column.x)", Self.row(("x", true))).score == 1)
    let refused = try Self.outcome("bool give_bool(bool column.x)", Self.row(("x", 1)))
    #expect(refused.log == "the column 'x' is a number, expected true or false")
  }

  @Test func numbersOfTheSampleAndOfTheRun() throws {
    let numbers: [(String, Double)] = [
      ("step", 5), ("total_steps", 40), ("epoch", 1.5), ("group_id", 77), ("index_in_group", 2), ("group_size", 3),
      ("token_count", 4), ("image_count", 1), ("truncated", 1), ("finish_reason", 1), ("sample_id", 8),
      ("policy_version", 0), ("phase", 0), ("time_limit_ms", 10_000),
    ]
    for (name, value) in numbers {
      let outcome = try Self.outcome("double give_double(double \(name))") { sample in
        (sample.id, sample.groupID, sample.indexInGroup, sample.groupSize) = (8, 77, 2, 3)
        sample.tokenIDs = [1, 2, 3, 4]
        sample.images = [RewardImage(Picture(width: 1, height: 1, pixels: [1, 2, 3]))]
        sample.finishReason = .length
      }
      #expect(outcome.score == value, "\(name)")
    }
    let whole = try Self.outcome("uint64_t give_uint64(uint64_t seed)").score
    let low = try Self.outcome("uint32_t give_uint32(uint32_t seed)").score
    #expect(whole != nil && low != nil && low != 0)
    #expect(low.map { $0 <= Double(UInt32.max) } == true)
    #expect(try Self.outcome("int give_int(int epoch)").log == "epoch is 1.5, which its type cannot hold")
  }

  @Test func absentInfiniteAndUndefinedNumbers() throws {
    let divide = "double divide(double column.a, double column.b)"
    #expect(try Self.outcome(divide, Self.row(("a", 0), ("b", 0))).status == .notApplicable)
    let infinite = try Self.outcome(divide, Self.row(("a", 1), ("b", 0)))
    #expect(infinite.status == .invalid && infinite.log == "the reward returned the score inf")
    #expect(try Self.outcome(divide, Self.row(("a", 1), ("b", .null))).log == "the column 'b' is null")
    #expect(
      try Self.outcome("double give_double(double column.width)", Self.row(("widht", 1))).log
        == "the row has no column 'width': did you mean 'widht'?")
    #expect(try Self.outcome("double give_double(double column.x = 7)", Self.row(("x", .null))).score == 7)
    let required = try Self.load("double divide(double column.a, double column.\"the b\" = 1)")
    #expect(required.descriptor.columns == ["a"])
  }

  // MARK: Texts and lists

  @Test func textsOfASample() throws {
    for (name, value) in [
      ("prompt", "p"), ("completion", "42"), ("raw_completion", "42<end>"), ("completion_raw", "42<end>"),
      ("reference", "ü"), ("generation_prefix", "<think>"), ("stop_string", ""), ("dataset", "d"), ("row_id", "r"),
      ("channel", ""), ("row", "{\"x\": [1]}"),
    ] {
      let literal = JSON.string(value).text()
      let outcome = try Self.outcome("double same_texts(const char *\(name), const char *\(literal))") { sample in
        (sample.rawCompletion, sample.reference, sample.generationPrefix) = ("42<end>", "ü", "<think>")
        (sample.dataset, sample.rowID, sample.columns) = ("d", "r", JSON.Object([("x", JSON.array([1]))]))
      }
      #expect(outcome.score == 1, "\(name)")
    }
    #expect(
      try Self.outcome("double same_texts(const char *reference, const char *\"\")").log == "there is no reference")
    let sized = "double nul_bytes(const char *completion, unsigned completion.size)"
    #expect(
      try Self.outcome(sized.replacingOccurrences(of: "unsigned", with: "size_t")) { $0.completion = "a\0b\0" }.score
        == 2)
    #expect(try Self.outcome("double give_double(double 3)").score == 3)
    let long = try Self.outcome("signed char give_char(signed char completion.size)") {
      $0.completion = String(repeating: "x", count: 200)
    }
    #expect(long.log == "a text has 200 bytes, too many for the type of its size")
  }

  @Test func columnsAsTextsAndLists() throws {
    let row = Self.row(
      ("word", "ü"), ("list", [1, 2.5, true]), ("object", ["a": .null]), ("number", 3), ("odd", [1, "x"]), ("a.b", 4),
      ("size", 5))
    for (name, text) in [("word", "ü"), ("list", "[1, 2.5, true]"), ("object", "{\"a\": null}"), ("number", "3")] {
      let literal = JSON.string(text).text()
      #expect(try Self.outcome("double same_texts(const char *column.\(name), const char *\(literal))", row).score == 1)
      #expect(try Self.outcome("double give_double(double 1)", row).score == 1)
      #expect(
        try Self.outcome("uint64_t give_uint64(size_t column.\(name).size)", row).score == Double(text.utf8.count))
    }
    #expect(
      try Self.outcome("double sum_doubles(const double column.list[], size_t column.list.count)", row).score == 4.5)
    #expect(try Self.outcome("double give_double(double column.\"a.b\")", row).score == 4)
    #expect(try Self.outcome("double give_double(double column.size)", row).score == 5)
    #expect(
      try Self.outcome("double sum_shorts(const short *column.list, int column.list.count)", row).log
        == "the column 'list' holds something else than numbers: element 1 is 2.5, expected a whole number")
    #expect(
      try Self.outcome("double sum_doubles(const double *column.odd, size_t 2)", row).log
        == "the column 'odd' holds something else than numbers: element 1 is a string, expected a number")
    #expect(
      try Self.outcome("double sum_doubles(const double *column.number, size_t 1)", row).log
        == "the column 'number' is a number, expected a list of numbers")
    #expect(
      try Self.outcome("uint64_t give_uint64(size_t column.word.count)", row).log
        == "the column 'word' is a string, expected a list")
  }

  @Test func constants() throws {
    for (argument, score) in [("NULL", 1.0), ("const void *NULL", 1), ("void *context", 1), ("const char *\"\"", 0)] {
      #expect(try Self.outcome("int is_null(\(argument))").score == score, "\(argument)")
    }
    for (text, value) in [("0x1F", 31.0), ("-4", -4), ("1.5e-3f", 1.5e-3), ("10UL", 10), ("true", 1)] {
      #expect(try Self.outcome("double give_double(double \(text))").score == value)
    }
    #expect(
      try Self.outcome(#"double same_texts(const char *"a\"\n", const char *column.x)"#, Self.row(("x", "a\"\n"))).score
        == 1)
  }

  // MARK: Parameters

  @Test func parametersAreDeclaredByTheSignature() throws {
    let signature = "double divide(double parameter.numerator, double parameter.denominator = 4)"
    let quarter = try Self.load(signature, parameters: JSON.Object([("numerator", 1)]))
    let half = try Self.load(signature, parameters: JSON.Object([("numerator", 1), ("denominator", 2)]))
    let both = try [quarter, half, quarter].map {
      try $0.score(Workshop.samples("a"), context: RewardContext())[0].score
    }
    #expect(both == [0.25, 0.5, 0.25])
    let parameters = try #require(quarter.descriptor.parameters)
    #expect(parameters.map(\.name) == ["numerator", "denominator"])
    #expect(parameters[0].defaultValue == nil && parameters[1].defaultValue == 4)

    func refused(_ signature: String, _ values: JSON.Object) -> String {
      do { _ = try Self.load(signature, parameters: values) } catch { return "\(error)" }
      return "nothing"
    }
    #expect(refused(signature, .init()).contains("needs the parameter 'numerator' (a number)"))
    #expect(refused(signature, JSON.Object([("numeratr", 1)])).contains("did you mean 'numerator'?"))
    #expect(refused(signature, JSON.Object([("numerator", "1")])).contains("is a string, expected a number"))
    #expect(
      refused("int give_int(int parameter.n)", JSON.Object([("n", 0.5)])).contains(
        "the parameter 'n' of the function give_int is 0.5, expected a whole number"))
    let list = JSON.Object([("w", JSON.array([1, 2, 3]))])
    #expect(
      try Self.outcome("double sum_doubles(const double *parameter.w, size_t parameter.w.count)", parameters: list)
        .score == 6)
    #expect(
      try Self.outcome(
        "double same_texts(const char *parameter.w, const char *\"[1, 2, 3]\")", parameters: list
      ).score == 1)
  }

  // MARK: Tokens and pictures

  @Test func tokens() throws {
    let signature = """
      double weigh_tokens(const int32_t *token_ids, const float *logprobs, const uint8_t *policy_mask,
        const uint32_t *token_offsets, const float *entropies, size_t token_count)
      """
    let whole = { (sample: inout RewardSample) in
      sample.tokenIDs = [3, 5]
      (sample.logprobs, sample.entropies, sample.tokenOffsets) = ([-0.5, -1], [0.25, 0.5], [0, 1])
    }
    // 3 - 5 + 0 + 250, and 5 - 10 + 100 + 500.
    #expect(try Self.outcome(signature, whole).score == 248 + 595)
    let masked = try Self.outcome(signature) { sample in
      whole(&sample)
      sample.policyMask = [false, true]
    }
    #expect(masked.score == 595)
    let without = try Self.outcome(signature) { sample in
      whole(&sample)
      sample.entropies = nil
    }
    #expect(without.status == .invalid && without.log == "the sample has no entropies")
    #expect(try Self.outcome(signature).score == 0)
    #expect(try Self.load(signature).descriptor.needs == ATTUNE_NEEDS_TOKENS | ATTUNE_NEEDS_LOGPROBS)
  }

  @Test func pixelsWithTheirStride() throws {
    let wide = Picture(width: 3, height: 2, pixels: (0..<18).map { UInt8($0) })
    let inverse = Picture(width: 3, height: 2, pixels: (0..<18).map { 200 - UInt8($0) })
    let show = { (sample: inout RewardSample) in
      var second = RewardImage(inverse)
      (second.encoded, second.coordinateRange) = ([1, 2, 250], 1)
      sample.images = [RewardImage(wide), second]
    }
    let pixel =
      "double pixel(const uint8_t *pixels%, int pixels%.width, int pixels%.height, int pixels%.stride, int X, int Y)"
    func at(_ x: Int, _ y: Int, _ picture: String) -> String {
      pixel.replacingOccurrences(of: "%", with: picture).replacingOccurrences(of: "X", with: "\(x)")
        .replacingOccurrences(of: "Y", with: "\(y)")
    }
    // Row 1 begins at byte 9, so its last pixel holds bytes 15, 16 and 17.
    #expect(try Self.outcome(at(2, 1, ""), show).score == Double(15 << 16 | 16 << 8 | 17))
    #expect(try Self.outcome(at(0, 1, "[0]"), show).score == Double(9 << 16 | 10 << 8 | 11))
    #expect(try Self.outcome(at(1, 1, "[1]"), show).score == Double(188 << 16 | 187 << 8 | 186))
    #expect(try Self.outcome(at(3, 1, ""), show).status == .notApplicable)
    let absent = try Self.outcome(at(0, 0, "[2]"), show)
    #expect(absent.status == .invalid && absent.log == "there is no picture 2: the sample has 2")
    let sum = (0..<18).map { 200.0 - 2 * Double($0) }.reduce(0, +)
    #expect(
      try Self.outcome(
        "double difference(const uint8_t *pixels, const unsigned char *pixels[1], size_t pixels.width, size_t pixels.height, size_t pixels.stride)",
        show
      ).score == sum)
    #expect(try Self.outcome("double byte_sum(const uint8_t *encoded[1], size_t encoded[1].size)", show).score == 253)
    #expect(
      try Self.outcome("double byte_sum(const uint8_t *encoded, size_t encoded.size)", show).log
        == "picture 0 has no encoded")
    // A range of 1: the scales are the sides.
    #expect(try Self.outcome("double scales(double pixels[1].scale_x, double pixels[1].scale_y)", show).score == 302)
    #expect(try Self.load(at(0, 0, "")).descriptor.needsImages)
  }

  // MARK: Results through pointers

  @Test(arguments: [RewardSpecification.Isolation.worker, .inline])
  func scoreComponentsAndLog(_ isolation: RewardSpecification.Isolation) throws {
    let reward = try Self.load(
      "void grade(const char *completion, double *score, double *component.length, int *component.vowels, char *log, size_t log.capacity)",
      isolation: isolation)
    defer { reward.close() }
    let long = String(repeating: "ab", count: 50_000)
    let outcomes = try reward.score(Workshop.samples("tea", "", long), context: RewardContext())
    #expect(outcomes.map(\.score) == [2.0 / 3, nil, 0.5])
    #expect(outcomes.map(\.log) == ["2 of 3", "0 of 0", "50000 of 100000"])
    #expect(outcomes.map { $0.components.map(\.name) } == Array(repeating: ["length", "vowels"], count: 3))
    #expect(outcomes.map { $0.components.map(\.value) } == [[3, 2], [0, 0], [100_000, 50_000]])
    #expect(outcomes[1].status == .notApplicable)
  }

  @Test func aResultBesideAScoreIsAStatus() throws {
    let parse = "int parse(const char *completion, float *score, char *log)"
    #expect(try Self.outcome(parse).score == 42)
    let failed = try Self.outcome(parse) { $0.completion = "4x" }
    #expect(failed.status == .failed && failed.log == "parse returned 2: no number")
    let short = "bool is_short(const char *completion, double *score)"
    #expect(try Self.outcome(short).score == 0.5)
    let long = try Self.outcome(short) { $0.completion = "too long" }
    #expect(long.status == .failed && long.log == "is_short returned false")
  }

  @Test func tokenRewards() throws {
    let credit = "double credit(const int32_t *token_ids, size_t token_count, float *token_rewards)"
    let outcome = try Self.outcome(credit) { $0.tokenIDs = [1, 2, 3] }
    #expect(outcome.score == 3 && outcome.tokenRewards == [0.25, 0, 0.75])
    #expect(try Self.outcome(credit).score == 0)
    let masked = try Self.outcome(credit) { sample in
      sample.tokenIDs = [1, 2, 3]
      sample.policyMask = [true, true, false]
    }
    #expect(
      masked.status == .invalid && masked.log.contains("a token reward at token 2, which the policy did not write"))
  }

  @Test func whatIsLeftAloneIsNoScoreAndNoComponent() throws {
    let reward = try Self.load("void leaves_all_alone(double *score, double *component.part)")
    let outcome = try reward.score(Workshop.samples("a"), context: RewardContext())[0]
    #expect(outcome.status == .notApplicable && outcome.components.isEmpty)
  }

  @Test func writingOutsideIsSeen() throws {
    for (signature, place) in [
      ("void writes_too_much(double *score)", "score, behind it"),
      ("double writes_tokens_too_many(float *token_rewards, size_t token_count)", "token_rewards, behind it"),
    ] {
      let error = #expect(throws: AttuneError.self) { try Self.outcome(signature) { $0.tokenIDs = [1, 2] } }
      #expect(error?.message.contains("wrote outside its outcomes: \(place) was touched") == true)
    }
    // A worker says it in the words for plugins.
    let apart = try Self.load("void writes_too_much(double *score)", isolation: .worker)
    defer { apart.close() }
    let outcome = try apart.score(Workshop.samples("a"), context: RewardContext())[0]
    #expect(
      outcome.status == .failed && outcome.log.contains("the plugin wrote outside its outcomes (score, behind it"))
    let source = try Self.library.get() + ": double writes_into_the_text(const char *completion)"
    let check = RewardBench.check(source, workerCommand: Workshop.command, pictures: Workshop.noPictures)
    #expect(!check.passed && check.text.contains("its inputs, which are read-only"))
  }
}
