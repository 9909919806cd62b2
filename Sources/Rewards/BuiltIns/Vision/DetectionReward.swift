import CRewardABI
import Core

/// Are the boxes and labels that the completion lists those of the reference?
///
/// The definition is VLM-R1's (`grpo_jsonl.py`, `calculate_map` and `detection_score`): COCO's average precision of a JSON
/// list of boxes and labels, and 1 where the answer and the reference both say that there is nothing.
struct DetectionReward: BuiltInReward {
  static let name = "detection"
  static let summary = "COCO average precision of a JSON list of boxes and labels"
  static let parameters: [RewardParameter] = [
    .string("iou", default: "coco", "coco (the mean over thresholds 0.5, 0.55 .. 0.95) or single"),
    .number("threshold", default: 0.5, in: 0...1, "the overlap that counts as found, where iou is single"),
    .string(
      "coordinates", default: "model",
      "what the model writes: model (pixels of its own resize, or thousandths), normalized (0 to 1) or picture (pixels)"
    ),
    .string(
      "unknown_labels", default: "ignore",
      "boxes with labels that the reference lacks: ignore, or penalize (times the share of other boxes)"),
    .string("column", default: "", "the column of the true boxes, in pixels of the picture; else the reference"),
  ]

  // Their sizes say what coordinates measure.
  static let needs = ATTUNE_NEEDS_IMAGES

  enum Thresholds: String, CaseIterable { case coco, single }
  enum Coordinates: String, CaseIterable { case model, normalized, picture }
  enum UnknownLabels: String, CaseIterable { case ignore, penalize }

  private let thresholds: [Double]
  private let coordinates: Coordinates
  private let unknownLabels: UnknownLabels
  private let column: String
  /// A row with more is data by mistake, and would take long.
  private static let mostReferences = 10_000

  init(_ parameters: JSON.Object) throws {
    let reader = ParameterReader(Self.name, parameters)
    thresholds =
      try reader.choice("iou", Thresholds.self) == .coco
      ? AveragePrecision.cocoThresholds : [reader.number("threshold")]
    coordinates = try reader.choice("coordinates", Coordinates.self)
    unknownLabels = try reader.choice("unknown_labels", UnknownLabels.self)
    column = reader.text("column")
  }

  func score(_ sample: RewardSample, _ call: BuiltInCall) -> RewardOutcome {
    let truth: JSON
    if !column.isEmpty {
      guard let value = sample.columns[column], !value.isNull else {
        return .none(.notApplicable, "there is no column '\(column)'")
      }
      truth = value
    } else {
      guard let text = sample.reference else { return .none(.notApplicable, "the sample has no reference") }
      // A list of boxes is one reference, although each of its items may look like a text.
      truth = .string(text)
    }
    guard let references = DetectionList(truth.string ?? truth.text()) else {
      return .none(.invalid, "the reference is no JSON list of boxes: \((truth.string ?? truth.text()).quoted())")
    }
    guard references.malformed == 0, references.items.count <= Self.mostReferences else {
      return .none(
        .invalid,
        references.malformed > 0
          ? "\(references.malformed) of the reference's boxes lack a label or four numbers with x1 ≤ x2 and y1 ≤ y2"
          : "the reference has \(references.items.count) boxes, at most \(Self.mostReferences) are compared")
    }
    guard let scale = scale(sample.images.first) else {
      return .none(
        .invalid,
        sample.images.isEmpty
          ? "the sample has no picture, so what the model's coordinates measure is not known"
          : "the size of the picture after the model's resize is not known")
    }
    let answer: String
    switch CompletionPart.answer.text(of: sample.completion) {
    case .success(let span): answer = span
    case .failure:
      let behind = CompletionPart.completion.text(of: sample.completion)
      answer = (try? behind.get()) ?? sample.completion
    }
    let text = FencedBlock.all(in: answer).last { $0.language.isEmpty || $0.language == "json" }?.body ?? answer
    guard let predictions = DetectionList(text.trimmedSpace) else {
      return RewardOutcome(
        score: 0, status: .ok, log: "the answer is no JSON list of boxes: \(text.trimmedSpace.quoted())")
    }
    return compare(predictions, references, scale)
  }

  private func compare(
    _ predictions: DetectionList, _ references: DetectionList, _ scale: (x: Double, y: Double)
  ) -> RewardOutcome {
    var found = predictions.items.map { item in
      let box = item.box
      return AveragePrecision.Item(
        label: item.label,
        box: .init(x1: box.x1 * scale.x, y1: box.y1 * scale.y, x2: box.x2 * scale.x, y2: box.y2 * scale.y))
    }
    var components: [(name: String, value: Double)] = [
      ("predicted", Double(found.count)), ("expected", Double(references.items.count)),
      ("malformed", Double(predictions.malformed)),
    ]
    if references.items.isEmpty {
      let isNone = found.isEmpty && predictions.malformed == 0
      return RewardOutcome(
        score: isNone ? 1 : 0, status: .ok, components: components,
        log: isNone
          ? "nothing is there, and nothing was found" : "nothing is there, but \(found.count) boxes were found")
    }
    let labels = Set(references.items.map(\.label))
    let strangers = found.filter { !labels.contains($0.label) }.count
    components.append(("unknown_labels", Double(strangers)))
    found.removeAll { !labels.contains($0.label) }
    let result = AveragePrecision.of(found, references.items, thresholds: thresholds)
    let known = strangers == 0 ? 1 : Double(found.count) / Double(found.count + strangers)
    let score = unknownLabels == .penalize ? result.mean * known : result.mean
    let parts = result.labels.prefix(8).map { "\($0.label.quoted(30)) \(Self.rounded($0.precision))" }
    var log = parts.joined(separator: ", ") + (result.labels.count > 8 ? ", …" : "")
    if strangers > 0 { log += "; \(strangers) boxes with unknown labels" }
    if predictions.malformed > 0 { log += "; \(predictions.malformed) entries without label or box" }
    return RewardOutcome(score: score, status: .ok, components: components, log: log)
  }

  private static func rounded(_ x: Double) -> Double { (x * 1000).rounded() / 1000 }

  /// What a predicted coordinate has to be multiplied with to be pixels of the picture.
  private func scale(_ image: RewardImage?) -> (x: Double, y: Double)? {
    if coordinates == .picture { return (1, 1) }
    guard let image, image.width > 0, image.height > 0 else { return nil }
    let (width, height) = (Double(image.width), Double(image.height))
    if coordinates == .normalized { return (width, height) }
    if image.coordinateRange > 0 { return (width / image.coordinateRange, height / image.coordinateRange) }
    guard image.modelWidth > 0, image.modelHeight > 0 else { return nil }
    return (width / Double(image.modelWidth), height / Double(image.modelHeight))
  }
}

/// A JSON list of boxes with labels, as models and data sets write it.
struct DetectionList {
  var items: [AveragePrecision.Item] = []
  /// Entries without a label, or without four numbers in order.
  var malformed = 0
  private static let boxKeys = ["bbox_2d", "bbox", "box"]
  private static let labelKeys = ["label", "category", "name"]

  /// `None`, `null` and an empty list say that there is nothing; a single object is a list of one. nil for other texts.
  init?(_ text: String) {
    if ["none", "null"].contains(text.lowercased()) { return }
    guard let json = try? JSON.parse(text) else { return nil }
    if ["none", "null"].contains(json.string?.lowercased()) { return }
    guard let list = json.array ?? json.object.map({ _ in [json] }) else { return nil }
    for entry in list {
      guard let numbers = Self.boxKeys.lazy.compactMap({ entry[$0]?.array }).first, numbers.count == 4,
        let label = Self.labelKeys.lazy.compactMap({ entry[$0]?.string }).first
      else {
        malformed += 1
        continue
      }
      let values = numbers.map { $0.double ?? .nan }
      guard values.allSatisfy({ $0.isFinite && abs($0) <= 1e9 }), values[0] <= values[2], values[1] <= values[3] else {
        malformed += 1
        continue
      }
      items.append(.init(label: label, box: .init(x1: values[0], y1: values[1], x2: values[2], y2: values[3])))
    }
  }
}
