extension Recipe {
  /// Where samples come from.
  public struct Source: Sendable, Equatable {
    public enum Kind: String, Sendable, CaseIterable { case digits, jsonl, sampled }

    /// What depends on the kind.
    public enum Content: Sendable, Equatable {
      case digits(Digits)
      case jsonl(Columns)
      case sampled(Sampled)
    }

    public var name: String
    /// An absolute path; empty for what is sampled.
    public var file: String
    /// Samples to take; 0 takes all of jsonl, and endless digits.
    public var count: Int
    public var seed: UInt64
    /// Text of a system message before each prompt.
    public var system: String?
    public var content: Content

    init(name: String, _ values: RecipeValues) {
      self.name = name
      file = values.optionalString("file") ?? ""
      count = values.optionalInt("count") ?? 0
      seed = UInt64(values.int("seed"))
      system = values.optionalString("system")
      let kind: Kind = values.choice("kind")
      switch kind {
      case .digits: content = .digits(Digits(values))
      case .jsonl: content = .jsonl(Columns(values))
      case .sampled: content = .sampled(Sampled(values, seed: seed))
      }
    }
  }

  /// Preferences among the policy's own completions, made when the first stage that reads them begins.
  public struct Sampled: Sendable, Equatable {
    /// The source of the prompts.
    public var from: String
    public var settings: PreferenceSettings
    public var labels: Labels

    /// What is labelled where a stage learns from labels.
    public enum Labels: String, Sendable, CaseIterable {
      /// Every completion, desirable from a threshold of its reward on.
      case threshold
      /// The two completions of each pair: as many desirable ones as others.
      case pairs
    }

    init(_ values: RecipeValues, seed: UInt64) {
      from = values.string("from")
      settings = PreferenceSettings()
      settings.prompts = values.int("prompts")
      settings.completions = values.int("completions")
      settings.maxNewTokens = values.int("max_new_tokens")
      settings.temperature = values.number("temperature")
      settings.topK = values.int("top_k")
      settings.topP = values.number("top_p")
      settings.minP = values.number("min_p")
      settings.pairing = values.choice("pairs")
      settings.margin = values.number("margin")
      settings.maxPairs = values.int("max_pairs")
      settings.threshold = values.number("threshold")
      labels = values.choice("labels")
      settings.dropsTruncated = values.bool("drop_truncated")
      settings.seed = seed
    }
  }

  /// Columns of a JSONL file.
  public struct Columns: Sendable, Equatable {
    public var prompt: String
    public var completion: String
    public var chosen: String
    public var rejected: String
    public var label: String
    /// A column, or the difference of two: `a - b`.
    public var margin: String
    public var reference: String
    public var images: String

    init(_ values: RecipeValues) {
      prompt = values.string("prompt")
      completion = values.string("completion")
      chosen = values.string("chosen")
      rejected = values.string("rejected")
      label = values.string("label")
      margin = values.string("margin")
      reference = values.string("reference")
      images = values.string("images")
    }
  }

  /// Numbers composed of handwritten digits, one picture each.
  public struct Digits: Sendable, Equatable {
    /// Where the digits of a number stand.
    public enum Placement: String, Sendable, CaseIterable { case scattered, cells, centered }

    /// Records of the CSV, from 0; nil is all of them.
    public var records: Range<Int>?
    /// Digits of a number.
    public var length: ClosedRange<Int>
    /// Pixels.
    public var canvasWidth: Int
    public var canvasHeight: Int
    public var digitSize: Int
    /// Largest random shift, pixels.
    public var placement: Placement
    public var rotation: Double
    public var shear: Double
    public var elastic: Double
    public var shift: Double
    public var scale: ClosedRange<Double>
    public var contrast: ClosedRange<Double>
    /// Standard deviation as a fraction of full intensity.
    public var noise: Double
    public var question: String
    /// `{number}` stands for the number.
    public var answer: String

    init(_ values: RecipeValues) {
      // The table has seen to it that no pair descends.
      if values.json("records").isNull {
        records = nil
      } else {
        let (from, to) = values.ints("records")
        records = from..<to
      }
      let (shortest, longest) = values.ints("length")
      length = shortest...longest
      (canvasWidth, canvasHeight) = values.ints("canvas")
      digitSize = values.int("digit_size")
      placement = values.choice("placement")
      rotation = values.number("rotation")
      shear = values.number("shear")
      elastic = values.number("elastic")
      shift = values.number("shift")
      let (smallest, largest) = values.numbers("scale")
      scale = smallest...largest
      let (weakest, strongest) = values.numbers("contrast")
      contrast = weakest...strongest
      noise = values.number("noise")
      question = values.string("question")
      answer = values.string("answer")
    }
  }
}
