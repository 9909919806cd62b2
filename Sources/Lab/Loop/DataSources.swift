import AttuneVision
import Core
import Datasets

/// Opens the data sources that a recipe names.
enum DataSources {
  /// All sources but those that are sampled, which are made when the first stage that reads them begins.
  static func open(_ recipe: Recipe) throws -> [String: DataStream] {
    var streams: [String: DataStream] = [:]
    for source in recipe.data {
      let task = try task(of: source.name, in: recipe)
      if case .sampled = source.content {
        try checkSampled(source, task, recipe)
      } else {
        streams[source.name] = DataStream(
          name: source.name, source: try open(source, task: task), seed: recipe.seed &+ source.seed)
      }
    }
    return streams
  }

  /// What a source is read for: what the stages that name it learn from. A pair also holds an answer to imitate, and every
  /// row a prompt.
  ///
  /// - Throws: `.request` if one stage learns from labelled completions and another from completions without one.
  static func task(of source: String, in recipe: Recipe) throws -> SampleTask {
    let readers = recipe.stages.filter { $0.data == source }
    let unpaired = readers.first { $0.entry.kind == .unpaired }
    let pairs = readers.first { [.pairs, .scores].contains($0.entry.kind) }
    let supervised = readers.first { $0.entry.kind == .supervised }
    if recipe.evaluation.preferences == source, unpaired == nil { return .preference }
    guard let unpaired else { return pairs != nil ? .preference : supervised != nil ? .sft : .rl }
    if recipe.evaluation.preferences == source {
      throw AttuneError.request(
        "evaluation.preferences reads pairs of the data source '\(source)', and the stage \(unpaired.name) labelled completions",
        at: .init(file: recipe.file), hint: "give each a source of its own")
    }
    if let other = pairs ?? supervised {
      throw AttuneError.request(
        "the stage \(unpaired.name) reads labelled completions of the data source '\(source)', and the stage \(other.name) "
          + "\(pairs != nil ? "pairs" : "completions without a label")",
        at: .init(file: recipe.file), hint: "give each stage a source of its own; both may name the same file")
    }
    return .unpaired
  }

  /// Refuses a sampled source that a stage or an evaluation would only take prompts from.
  private static func checkSampled(_ source: Recipe.Source, _ task: SampleTask, _ recipe: Recipe) throws {
    let readers = recipe.stages.filter { $0.data == source.name }.map { "the stage \($0.name)" }
    let reader = recipe.evaluation.data == source.name ? "the evaluation" : task == .rl ? readers.first : nil
    guard let reader else { return }
    throw AttuneError.request(
      "\(reader) reads the sampled source '\(source.name)', which holds preferences and not prompts to sample",
      at: .init(file: recipe.file), hint: "name a source of another kind, such as the one it is sampled from")
  }

  /// Columns that the recipe leaves at their defaults are found by the names in common use.
  private static func mapping(_ columns: Recipe.Columns) -> ColumnMapping {
    func named(_ name: String, _ usual: String) -> String? { name == usual ? nil : name }
    return ColumnMapping(
      prompt: named(columns.prompt, "prompt"), completion: named(columns.completion, "completion"),
      chosen: named(columns.chosen, "chosen"), rejected: named(columns.rejected, "rejected"),
      label: named(columns.label, "label"), margin: named(columns.margin, "margin"),
      reference: named(columns.reference, "reference"), images: named(columns.images, "images"))
  }

  /// One source, read for what its stages train on.
  ///
  /// - Throws: `AttuneError` with file and line of the first row that the task cannot use.
  static func open(_ source: Recipe.Source, task: SampleTask) throws -> any SampleSource {
    let samples = try content(of: source, task: task)
    return source.system.map { SystemPrompted(base: samples, text: $0) } ?? samples
  }

  private static func content(of source: Recipe.Source, task: SampleTask) throws -> any SampleSource {
    switch source.content {
    case .digits(let digits):
      guard task != .unpaired else {
        throw AttuneError.request(
          "the data source '\(source.name)' is of the kind digits, which holds no labelled completions, expected the kind jsonl or sampled",
          at: .init(file: source.file),
          hint: "`attune data pairs --kind labels` makes them of its samples, and so does a source of the kind sampled")
      }
      var options = DigitsSource.Options()
      options.records = digits.records
      options.length = digits.length
      options.canvasWidth = digits.canvasWidth
      options.canvasHeight = digits.canvasHeight
      options.digitSize = Double(digits.digitSize)
      options.shift = digits.shift
      options.scale = digits.scale
      options.contrast = digits.contrast
      options.noise = digits.noise * 255
      options.placement = DigitsSource.Options.Placement(rawValue: digits.placement.rawValue) ?? .scattered
      options.rotation = digits.rotation
      options.shear = digits.shear
      options.elastic = digits.elastic
      options.question = digits.question
      options.answer = digits.answer
      options.seed = source.seed
      options.count = source.count > 0 ? source.count : nil
      return try DigitsSource(file: source.file, options: options)
    case .jsonl(let columns):
      let all = try JSONLSource(
        file: source.file, task: task,
        mapping: mapping(columns),
        loadPicture: { try PictureDecoder.load(path: $0, options: .reference) })
      return source.count > 0 ? FirstSamples(of: all, count: source.count) : all
    case .sampled:
      throw AttuneError.request(
        "the data source '\(source.name)' is sampled by a stage that reads it, and holds nothing before",
        hint: "name the source that it is sampled from")
    }
  }

  /// Rows that a policy made.
  static func openSampled(_ file: String, task: SampleTask) throws -> any SampleSource {
    try JSONLSource(file: file, task: task, loadPicture: { try PictureDecoder.load(path: $0, options: .reference) })
  }
}

/// The first samples of a source.
private struct FirstSamples: SampleSource {
  let base: any SampleSource
  let count: Int?

  init(of base: any SampleSource, count: Int) {
    self.base = base
    self.count = base.count.map { min($0, count) } ?? count
  }

  func sample(at index: Int) throws -> Sample { try base.sample(at: index) }
}

/// Samples with a system message before each prompt that has none of its own.
private struct SystemPrompted: SampleSource {
  let base: any SampleSource
  let text: String

  var count: Int? { base.count }
  var labelCounts: LabelCounts? { base.labelCounts }

  func sample(at index: Int) throws -> Sample {
    var sample = try base.sample(at: index)
    if sample.prompt.first?.role != "system" { sample.prompt.insert(Message(role: "system", text: text), at: 0) }
    return sample
  }
}
