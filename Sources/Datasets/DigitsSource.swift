import Core

/// Real handwritten digits composed into pictures of numbers, each with the question that asks for the number.
///
/// A number's digits are drawn with equal chance from a range of records, so held-out records give numbers in
/// handwriting that training never saw. Leading zeros occur: a number is a string of digits.
///
/// A sample: one user message (the picture, then the question), the filled answer template as completion, the number as
/// reference, and the columns `number`, `length` and `records`.
public struct DigitsSource: SampleSource {
  /// What to compose. The defaults give plain numbers; augmentation happens only where asked for.
  public struct Options: Sendable {
    /// Ink on paper, in grey levels.
    public enum Background: String, Sendable, CaseIterable {
      /// White ink on black.
      case dark
      /// Black ink on white.
      case light
      /// One or the other with equal chance.
      case either
    }

    /// Which records to take digits from; nil is all of them.
    public var records: Range<Int>?
    /// How many digits a number has; every length is equally likely.
    public var length: ClosedRange<Int> = 2...4
    /// Pixels.
    public var canvasWidth: Int = 96
    /// Pixels.
    public var canvasHeight: Int = 32
    /// Side of the cell that one 8 x 8 digit is drawn into, in pixels.
    public var digitSize: Double = 22
    /// Where the digits of a number stand.
    public enum Placement: String, Sendable, CaseIterable {
      /// The canvas is a row of square cells as high as it is; the number begins in a random cell, one digit a cell.
      case cells
      /// A random place with a random gap between digits.
      case scattered
      /// In the middle.
      case centered
    }
    public var placement: Placement = .scattered
    /// Largest random offset of each digit from its place, in pixels, both ways.
    public var shift: Double = 0
    /// Random magnification of each digit about its centre.
    public var scale: ClosedRange<Double> = 1...1
    /// Random share of the full distance between paper and ink, one for a picture.
    public var contrast: ClosedRange<Double> = 1...1
    /// Standard deviation of the noise added to each pixel, in grey levels of 255.
    public var noise: Double = 0
    /// Largest random turn of each digit, in degrees, both ways.
    public var rotation: Double = 0
    /// Largest random slant of each digit: sideways pixels per pixel of height, both ways.
    public var shear: Double = 0
    /// Standard deviation of an elastic deformation, in pixels: a 4 x 4 grid of random displacements over each digit.
    public var elastic: Double = 0
    public var background: Background = .dark
    public var question: String = "Which number is written here?"
    /// The completion to imitate; `{number}` stands for the number.
    public var answer: String = "<answer>{number}</answer>"
    public var seed: UInt64 = 0
    /// How many samples there are; nil never ends.
    public var count: Int?

    public init() {}
  }

  public let options: Options
  private let digits: DigitRecords
  private let records: Range<Int>

  public var count: Int? { options.count }

  /// - Throws: `AttuneError` naming the file and line of a bad record, or the option that cannot work.
  public init(file: String, options: Options = Options()) throws {
    try self.init(digits: DigitRecords(file: file), file: file, options: options)
  }

  init(digits: DigitRecords, file: String, options: Options) throws {
    try options.check()
    let records = options.records ?? 0..<digits.count
    guard !records.isEmpty, records.lowerBound >= 0, records.upperBound <= digits.count else {
      throw AttuneError.request(
        "records \(records.lowerBound) to \(records.upperBound) are asked for, expected a range within 0 to \(digits.count)",
        at: .init(file: file), hint: "the last number is not included: \(digits.count) takes all there are")
    }
    self.digits = digits
    self.records = records
    self.options = options
  }

  public func sample(at index: Int) throws -> Sample {
    precondition(index >= 0 && index < options.count ?? Int.max, "sample \(index) of \(options.count ?? Int.max)")
    // Two streams: turning an augmentation on changes how a number is drawn, never which number.
    var composition = Randomness(seed: options.seed, for: .composition).stream(index, index >> 32)
    var augmentation = Randomness(seed: options.seed, for: .augmentation).stream(index, index >> 32)

    let length = options.length.lowerBound + composition.integer(below: options.length.count)
    let rows = (0..<length).map { _ in records.lowerBound + composition.integer(below: records.count) }
    let number = rows.reduce(into: "") { $0 += String(digits.labels[$1]) }
    let picture = draw(rows, composition: &composition, augmentation: &augmentation)
    // What a careless reader would say: one digit is another.
    let slip = composition.integer(below: length)
    let other = (digits.labels[rows[slip]] + 1 + UInt8(composition.integer(below: 9))) % 10
    let misread = rows.enumerated().reduce(into: "") { text, digit in
      text += String(digit.offset == slip ? other : digits.labels[digit.element])
    }

    var sample = Sample(
      id: index,
      prompt: [Message(role: "user", parts: [.image(0), .text(options.question)])],
      pictures: [picture],
      completion: options.filledAnswer(number),
      reference: number,
      columns: JSON.Object([
        ("number", .string(number)), ("length", .int(length)), ("records", .array(rows.map { .int($0) })),
      ]))
    sample.rejected = options.filledAnswer(misread)
    return sample
  }

  private func draw(
    _ rows: [Int], composition: inout Randomness.Stream, augmentation: inout Randomness.Stream
  ) -> Picture {
    let size = options.digitSize
    let width = Double(options.canvasWidth)
    let slack = width - Double(rows.count) * size
    var pitch = size
    var start = slack / 2
    switch options.placement {
    case .centered: break
    case .cells:
      let cells = options.canvasWidth / options.canvasHeight
      pitch = Double(options.canvasHeight)
      start = Double(composition.integer(below: cells - rows.count + 1)) * pitch + (pitch - size) / 2
    case .scattered:
      // Gaps take at most half of the free width, and never look like a space between two numbers.
      let widest = min(size * 0.3, rows.count > 1 ? slack / 2 / Double(rows.count - 1) : 0)
      pitch += composition.uniform(0, widest)
      start = composition.uniform(0, width - size - Double(rows.count - 1) * pitch)
    }
    let light =
      switch options.background {
      case .dark: false
      case .light: true
      case .either: composition.integer(below: 2) == 1
      }

    var canvas = DigitCanvas(width: options.canvasWidth, height: options.canvasHeight)
    for (place, row) in rows.enumerated() {
      let scale = augmentation.uniform(options.scale.lowerBound, options.scale.upperBound)
      let dx = augmentation.uniform(-options.shift, options.shift)
      let dy = augmentation.uniform(-options.shift, options.shift)
      let turn = augmentation.uniform(-options.rotation, options.rotation)
      let slant = augmentation.uniform(-options.shear, options.shear)
      let bend = (0..<(options.elastic > 0 ? 32 : 0)).map { _ in augmentation.normal() * options.elastic }
      // A digit that shifts or grows stays on the canvas as long as it fits.
      let half = size * scale / 2
      let x = within(start + Double(place) * pitch + size / 2 + dx, half, width - half)
      let y = within(Double(options.canvasHeight) / 2 + dy, half, Double(options.canvasHeight) - half)
      canvas.draw(
        digits.intensities[(row * DigitCanvas.cells)..<((row + 1) * DigitCanvas.cells)],
        at: (x, y), side: size * scale, degrees: turn, shear: slant, bend: bend)
    }
    let contrast = augmentation.uniform(options.contrast.lowerBound, options.contrast.upperBound)
    return canvas.picture(light: light, contrast: contrast, noise: options.noise, stream: &augmentation)
  }
}

/// `x` moved into [low, high]; the middle if the range is empty.
private func within(_ x: Double, _ low: Double, _ high: Double) -> Double {
  low > high ? (low + high) / 2 : min(max(x, low), high)
}
