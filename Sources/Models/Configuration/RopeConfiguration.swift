import AttuneTensor
import Core

/// How positions turn queries and keys.
public struct RopeConfiguration: Sendable {
  public enum Scaling: Sendable {
    case none
    case linear(factor: Double)
    /// Llama 3: frequencies whose wavelength is above `original / lowFrequency` tokens are divided by the factor, those below
    /// `original / highFrequency` are kept, a ramp between.
    case llama3(factor: Double, lowFrequency: Double, highFrequency: Double, original: Double)
    case yarn(Yarn)
  }

  /// YaRN (2309.00071).
  public struct Yarn: Sendable {
    public var factor: Double
    /// Positions that the model was trained with before.
    public var original: Double
    public var betaFast: Double
    public var betaSlow: Double
    /// Multiplies cosine and sine.
    public var magnitude: Double
    public var truncate: Bool
  }

  public var theta: Double
  public var scaling: Scaling
  /// Frequencies per axis (time, height, width), interleaved; empty for text models.
  public var sections: [Int] = []
  /// Multiplies the scores of latent attention besides size to the power of -1/2 (`mscale_all_dim`); other attention leaves
  /// them as they are.
  public var latentScale = 1.0
}

extension RopeConfiguration {
  /// - Parameter theta: where the file has none.
  init(_ reader: ConfigurationReader, theta fallback: Double = 10_000) throws {
    // transformers 5 writes everything under rope_parameters, earlier versions use rope_theta and rope_scaling, which goes first.
    let key = reader.has("rope_scaling") ? "rope_scaling" : "rope_parameters"
    let values =
      reader.has(key)
      ? try reader.section(key)
      : ConfigurationReader(json: .object([]), file: reader.file, path: "\(reader.path)\(key).")
    theta = try values.optionalNumber("rope_theta") ?? reader.optionalNumber("rope_theta") ?? fallback
    guard theta > 1 else { throw reader.error("rope_theta", "is \(theta), a number above 1 was expected") }
    for section in [reader, values] {
      if let share = try section.optionalNumber("partial_rotary_factor"), share != 1 {
        throw section.unsupported(
          "partial_rotary_factor", "is \(share); heads that are turned in part are not available")
      }
    }
    func original() throws -> Double {
      for section in [reader, values] where section.has("original_max_position_embeddings") {
        return try section.positiveNumber("original_max_position_embeddings")
      }
      return try reader.positiveNumber("max_position_embeddings")
    }
    let type = try values.optionalString("rope_type") ?? values.optionalString("type") ?? "default"
    switch type {
    case "default", "mrope": scaling = .none
    case "linear": scaling = .linear(factor: try values.positiveNumber("factor"))
    case "llama3":
      let (low, high) = (
        try values.positiveNumber("low_freq_factor"), try values.positiveNumber("high_freq_factor")
      )
      guard low < high else {
        throw values.error("high_freq_factor", "is \(high), more than low_freq_factor \(low) was expected")
      }
      scaling = .llama3(
        factor: try values.positiveNumber("factor"), lowFrequency: low, highFrequency: high, original: try original())
    case "yarn":
      let factor =
        values.has("factor")
        ? try values.positiveNumber("factor") : try reader.positiveNumber("max_position_embeddings") / original()
      func magnitude(_ scale: Double) -> Double { factor <= 1 ? 1 : 0.1 * scale * PortableMath.log(factor) + 1 }
      let own = try values.optionalNumber("mscale", in: 0...1000) ?? 0
      let all = try values.optionalNumber("mscale_all_dim", in: 0...1000) ?? 0
      scaling = .yarn(
        Yarn(
          factor: factor, original: try original(), betaFast: try values.optionalNumber("beta_fast") ?? 32,
          betaSlow: try values.optionalNumber("beta_slow") ?? 1,
          magnitude: try values.optionalNumber("attention_factor")
            ?? (own != 0 && all != 0 ? magnitude(own) / magnitude(all) : magnitude(1)),
          truncate: try values.optionalBool("truncate") ?? true))
      if all != 0 { latentScale = magnitude(all) * magnitude(all) }
    default:
      throw values.unsupported("rope_type", "is \"\(type)\"; default, linear, llama3 and yarn are available")
    }
  }

  /// The three sections of multi-axis positions, for heads of `headSize`.
  static func sections(_ reader: ConfigurationReader, headSize: Int) throws -> [Int] {
    let values = try reader.section(reader.has("rope_scaling") ? "rope_scaling" : "rope_parameters")
    let sections = try values.ints("mrope_section", "numbers of frequencies") { $0 >= 0 }
    guard sections.count == 3, sections.reduce(0, +) == headSize / 2 else {
      throw values.error(
        "mrope_section",
        "is \(values.json["mrope_section"]?.text() ?? "missing"); three numbers that add up to head_dim / 2 = \(headSize / 2) were expected"
      )
    }
    guard try values.optionalBool("mrope_interleaved") ?? true else {
      throw values.unsupported("mrope_interleaved", "is false; interleaved sections were expected")
    }
    return sections
  }
}
