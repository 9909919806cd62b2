import Core

/// What the report at the end of a run shows, as plain values: a table, curves, answers before and after, facts.
public struct ReportContent: Sendable {
  /// A table of texts.
  public struct Table: Sendable {
    public var headers: [String]
    /// Each as long as `headers`; a shorter row leaves its last cells empty.
    public var rows: [[String]]

    public init(headers: [String], rows: [[String]]) {
      self.headers = headers
      self.rows = rows
    }
  }

  /// A point of a curve; points that are not finite are left out.
  public struct Point: Sendable, Equatable {
    public var x: Double
    public var y: Double

    public init(_ x: Double, _ y: Double) {
      self.x = x
      self.y = y
    }
  }

  /// One line of a chart. More than two dozen points are drawn faintly under a smoothed line.
  public struct Series: Sendable {
    public var name: String
    public var points: [Point]

    public init(name: String, points: [Point]) {
      self.name = name
      self.points = points
    }
  }

  /// Where a stage of the run begins. Smoothing does not reach across it.
  public struct StageBoundary: Sendable {
    public var x: Double
    public var label: String

    public init(x: Double, label: String) {
      self.x = x
      self.label = label
    }
  }

  /// One chart.
  public struct Curve: Sendable {
    public var title: String
    public var xLabel: String
    public var yLabel: String
    public var series: [Series]
    public var boundaries: [StageBoundary]

    public init(
      title: String, xLabel: String = "step", yLabel: String, series: [Series], boundaries: [StageBoundary] = []
    ) {
      self.title = title
      self.xLabel = xLabel
      self.yLabel = yLabel
      self.series = series
      self.boundaries = boundaries
    }
  }

  /// One picture with its truth and what the policy answered before and after training.
  public struct AnswerCard: Sendable {
    public var picture: Picture
    public var reference: String
    public var before: String
    public var beforeCorrect: Bool
    public var after: String
    public var afterCorrect: Bool

    public init(
      picture: Picture, reference: String, before: String, beforeCorrect: Bool, after: String, afterCorrect: Bool
    ) {
      self.picture = picture
      self.reference = reference
      self.before = before
      self.beforeCorrect = beforeCorrect
      self.after = after
      self.afterCorrect = afterCorrect
    }
  }

  /// One fact about the run: what, and its value.
  public struct Fact: Sendable {
    public var name: String
    public var value: String

    public init(_ name: String, _ value: String) {
      self.name = name
      self.value = value
    }
  }

  /// Something a person should look at: what happened, and what it may mean.
  public struct Notice: Sendable {
    public var place: String
    public var text: String
    public var detail: String

    public init(place: String, text: String, detail: String) {
      self.place = place
      self.text = text
      self.detail = detail
    }
  }

  public var title: String
  public var subtitle: String
  public var table: Table
  public var notices: [Notice]
  public var curves: [Curve]
  public var cards: [AnswerCard]
  public var facts: [Fact]

  public init(
    title: String, subtitle: String = "", table: Table = Table(headers: [], rows: []), curves: [Curve] = [],
    cards: [AnswerCard] = [], facts: [Fact] = [], notices: [Notice] = []
  ) {
    self.title = title
    self.subtitle = subtitle
    self.table = table
    self.curves = curves
    self.cards = cards
    self.facts = facts
    self.notices = notices
  }
}
