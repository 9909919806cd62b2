import AttuneTensor
import Core
import Lab
import Models
import Rollout

/// How fast completions are sampled, beside what memory bandwidth and arithmetic allow.
public struct RolloutBench {
  public struct Workload: Sendable {
    public var prompts: Int
    public var completions: Int
    public var promptTokens: Int
    public var newTokens: Int
    public var pictures: Int

    public init(prompts: Int, completions: Int, promptTokens: Int, newTokens: Int, pictures: Int = 0) {
      self.prompts = prompts
      self.completions = completions
      self.promptTokens = promptTokens
      self.newTokens = newTokens
      self.pictures = pictures
    }
  }

  public struct Figures: Sendable {
    /// New tokens over prefill and decode together.
    public let tokensPerSecond: Double
    public let prefillTokensPerSecond: Double
    public let decodeTokensPerSecond: Double
    public let seconds: Double
    public let samples: [Double]
    public let peakMiB: Double
    /// Bytes that decoding must read, over what memory could deliver in that time. Above 1 where caches hold the weights.
    public let ofBandwidth: Double
    /// Operations of the whole run over what the registers could do in that time.
    public let ofPeakFlops: Double

    public var json: JSON {
      [
        "tokens_per_s": .double(tokensPerSecond), "prefill_tokens_per_s": .double(prefillTokensPerSecond),
        "decode_tokens_per_s": .double(decodeTokensPerSecond), "seconds": .double(seconds),
        "samples_s": .array(samples.map { .double($0) }), "peak_rss_mib": .double(peakMiB),
        "of_bandwidth": .double(ofBandwidth), "of_peak_flops": .double(ofPeakFlops),
      ]
    }
  }

  public static func run(_ bench: BenchModel, _ workload: Workload, repeats: Int) throws -> Figures {
    let model = bench.model
    let (runs, prompts) = try runs(bench, workload, repeats: repeats)
    let middle = runs[runs.count / 2]
    // Limits are measured after the peak of memory has been read.
    let peak = ProcessMemory.peakMiB
    let sequences = workload.prompts * workload.completions
    let statistics = middle.1
    let (layers, head) = bench.productWeights
    let text = model.configuration.text
    let keysAndValues = 4 * text.layers * text.keyValueWidth
    let weightBytes = Double(layers + head) * bytesPerWeight(model)
    let bytes = (1..<max(2, workload.newTokens)).reduce(0.0) {
      $0 + weightBytes + Double(sequences * keysAndValues) * Double(workload.promptTokens + $1)
    }
    let bandwidth = MachineLimits.readGBps(bench.backend)
    let decode = max(statistics.decodeSeconds, 1e-9)
    return Figures(
      tokensPerSecond: Double(sequences * workload.newTokens) / middle.seconds,
      prefillTokensPerSecond: Double(statistics.prefilledTokens) / max(statistics.prefillSeconds, 1e-9),
      decodeTokensPerSecond: Double(sequences * (workload.newTokens - 1)) / decode, seconds: middle.seconds,
      samples: runs.map(\.seconds), peakMiB: peak, ofBandwidth: bytes / decode / 1e9 / bandwidth,
      ofPeakFlops: flops(bench, workload, prompts) / middle.seconds / 1e9
        / MachineLimits.gflops(bench.backend, model.precision))
  }

  /// Median seconds and operations of a workload.
  static func time(_ bench: BenchModel, _ workload: Workload, repeats: Int) throws -> (seconds: Double, flops: Double) {
    let (runs, prompts) = try runs(bench, workload, repeats: repeats)
    return (runs[runs.count / 2].seconds, flops(bench, workload, prompts))
  }

  /// All runs, fastest first.
  private static func runs(
    _ bench: BenchModel, _ workload: Workload, repeats: Int
  ) throws -> ([(seconds: Double, RolloutStatistics)], [EncodedPrompt]) {
    let prompts = try (0..<workload.prompts).map {
      try bench.prompt(workload.promptTokens, pictures: workload.pictures, $0)
    }
    let engine = LocalEngine(bench.model, decoder: NumberText(), seed: 1)
    let requests = prompts.enumerated().map {
      RolloutRequest(prompt: $1, completions: workload.completions, promptNumber: $0)
    }
    func once(_ newTokens: Int) throws -> (seconds: Double, RolloutStatistics) {
      let start = secondsNow()
      _ = try engine.generate(requests, SamplingParameters(maxNewTokens: newTokens))
      return (secondsNow() - start, engine.statistics)
    }
    _ = try once(min(4, workload.newTokens))
    return (try (0..<repeats).map { _ in try once(workload.newTokens) }.sorted { $0.seconds < $1.seconds }, prompts)
  }

  private static func flops(_ bench: BenchModel, _ workload: Workload, _ prompts: [EncodedPrompt]) -> Double {
    let (layers, head) = bench.productWeights
    let first = bench.forwardFlops(
      prompts.map { PromptTree(prompt: $0, completions: [[Int32]](repeating: [0], count: workload.completions)) })
    return (1..<max(2, workload.newTokens)).reduce(first) {
      $0 + Double(workload.prompts * workload.completions)
        * (2 * Double(layers + head) + bench.attentionFlops(Double(workload.promptTokens + $1)))
    }
  }

  /// Stored, scales included.
  private static func bytesPerWeight(_ model: LanguageModel) -> Double {
    switch model.linears.last?.weight.format ?? .plain {
    case .plain: model.precision == .bf16 ? 2 : 4
    case .int8: 1
    case .int4: 0.5 + 4 / 128.0
    }
  }
}
