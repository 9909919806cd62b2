import AttuneVision
import Core
import Datasets

/// Opens the data sources that a recipe names.
enum DataSources {
  static func open(_ recipe: Recipe) throws -> [String: DataStream] {
    var supervised: Set<String> = []
    for stage in recipe.stages where stage.entry.kind == .supervised { supervised.insert(stage.data) }
    var streams: [String: DataStream] = [:]
    for source in recipe.data {
      streams[source.name] = DataStream(
        name: source.name, source: try open(source, task: supervised.contains(source.name) ? .sft : .rl),
        seed: recipe.seed &+ source.seed)
    }
    return streams
  }

  /// Columns that the recipe leaves at their defaults are found by the names in common use.
  private static func mapping(_ columns: Recipe.Columns, system: String?) -> ColumnMapping {
    func named(_ name: String, _ usual: String) -> String? { name == usual ? nil : name }
    return ColumnMapping(
      prompt: named(columns.prompt, "prompt"), completion: named(columns.completion, "completion"),
      reference: named(columns.reference, "reference"), images: named(columns.images, "images"), system: system)
  }

  private static func open(_ source: Recipe.Source, task: SampleTask) throws -> any SampleSource {
    switch source.content {
    case .digits(let digits):
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
        mapping: mapping(columns, system: source.system),
        loadPicture: { try PictureDecoder.load(path: $0, options: .reference) })
      return source.count > 0 ? FirstSamples(of: all, count: source.count) : all
    }
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
