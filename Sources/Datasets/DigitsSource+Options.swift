import Core

extension DigitsSource.Options {
  /// `answer` with the number filled in.
  func filledAnswer(_ number: String) -> String {
    var filled = ""
    var rest = Substring(answer)
    while let place = rest.firstRange(of: "{number}") {
      filled += rest[..<place.lowerBound] + number
      rest = rest[place.upperBound...]
    }
    return filled + rest
  }

  /// Refuses options that cannot work, each by its name in a recipe.
  func check() throws {
    try require((1...32).contains(length.lowerBound) && length.upperBound <= 32, "length", length, "1 to 32 digits")
    try require((8...4096).contains(canvasWidth), "canvas width", canvasWidth, "8 to 4096 pixels")
    try require((8...4096).contains(canvasHeight), "canvas height", canvasHeight, "8 to 4096 pixels")
    try require(digitSize >= 4 && digitSize <= 4096, "digit_size", digitSize, "4 pixels or more")
    try require(shift >= 0 && shift <= 4096, "shift", shift, "0 pixels or more")
    try require(scale.lowerBound >= 0.25 && scale.upperBound <= 4, "scale", scale, "factors from 0.25 to 4")
    try require(contrast.lowerBound >= 0.05 && contrast.upperBound <= 1, "contrast", contrast, "shares from 0.05 to 1")
    try require(noise >= 0 && noise <= 255, "noise", noise, "0 to 255 grey levels")
    try require(rotation >= 0 && rotation <= 45, "rotation", rotation, "0 to 45 degrees")
    try require(shear >= 0 && shear <= 1, "shear", shear, "0 to 1")
    try require(elastic >= 0 && elastic <= 64, "elastic", elastic, "0 to 64 pixels")
    if placement == .cells {
      try require(
        canvasWidth / canvasHeight >= length.upperBound, "canvas", "\(canvasWidth) x \(canvasHeight)",
        "at least \(length.upperBound) square cells side by side for placement `cells`")
    }
    if let count { try require(count > 0, "count", count, "1 or more samples, or no count for an endless source") }
    let longest = Double(length.upperBound)
    guard longest * digitSize <= Double(canvasWidth), digitSize <= Double(canvasHeight) else {
      let fits = min(Double(canvasWidth) / longest, Double(canvasHeight))
      throw AttuneError.request(
        "\(length.upperBound) digits of \(digitSize) pixels do not fit a canvas of \(canvasWidth) x \(canvasHeight) pixels",
        hint: "digit_size can be at most \((fits * 100).rounded(.down) / 100) here")
    }
    guard answer.contains("{number}") else {
      throw AttuneError.request(
        "the answer template '\(answer)' has no place for the number", hint: "write {number} where it belongs")
    }
  }

  private func require<Value>(_ holds: Bool, _ name: String, _ found: Value, _ expected: String) throws {
    // NaN fails every comparison above, so it is refused here as well.
    guard holds else { throw AttuneError.request("\(name) is \(found), expected \(expected)") }
  }
}
