import Core

#if canImport(Glibc)
  import Glibc
#else
  import Darwin
#endif

/// Tells a person how the run goes: one line that keeps changing on a terminal, plain lines elsewhere.
public final class ProgressObserver: RunObserver {
  private let isTerminal: Bool
  private let write: (String) -> Void
  private let totalSteps: Int
  private var stage: Recipe.Stage?
  private var doneBefore = 0
  private var recent: [Double] = []
  private var lastStep = monotonicSeconds()
  private var lastPrint = 0.0
  private var lineIsOpen = false
  private let stages: [Recipe.Stage]

  /// - Parameter write: puts text where people read it, without adding a line break.
  public init(_ recipe: Recipe, isTerminal: Bool, write: @escaping (String) -> Void) {
    self.isTerminal = isTerminal
    self.write = write
    stages = recipe.stages
    totalSteps = recipe.stages.reduce(0) { $0 + $1.steps }
  }

  public func handle(_ event: RunEvent) throws {
    switch event {
    case .stageStarted(let index, let stage):
      self.stage = stage
      doneBefore = stages.prefix(index).reduce(0) { $0 + $1.steps }
      recent = []
      lastStep = monotonicSeconds()
      line("stage \(stage.name) (\(stage.entry.name), \(stage.steps) steps)")
    case .step(let record): step(record)
    case .evaluated(let record):
      let values = record.metrics.filter { $0.name == "eval/exact_match" || $0.name.hasSuffix("/mean") }
        .map { "\($0.name) \($0.name == "eval/exact_match" ? percent($0.value) : short($0.value))" }
        .joined(separator: ", ")
      let pairs = ["eval/loss", "eval/rewards/accuracies", "eval/rewards/margins", "eval/accuracy", "eval/margin"]
      let preferences = record.metrics.filter { pairs.contains($0.name) }.map { "\($0.name) \(short($0.value))" }
      let parts = (record.answers.isEmpty ? [] : ["\(values) of \(record.answers.count)"]) + preferences
      line("\(record.label): \(parts.joined(separator: ", "))")
      lastStep = monotonicSeconds()
    case .surveyed(let survey):
      closeLine()
      write(survey.text.escapingControls())
    case .alarm(let alarm):
      line("alarm: step \(alarm.step): \(alarm.text)\n  \(alarm.meaning)\n  \(alarm.look)")
    case .checkpointBegins: break
    case .checkpoint: lastStep = monotonicSeconds()
    case .stageFinished: closeLine()
    case .memory(let phases, let held):
      let parts = phases.map { "\($0.name) \(Int($0.mebibytes.rounded(.up))) MiB" }.joined(separator: ", ")
      line("memory at most: \(parts); \(Int(held.rounded(.up))) MiB held for tensors")
    case .note(let text): line("note: \(text.escapingControls(keepingLines: false))")
    case .paused(let folder):
      line("paused; go on with: attune runs continue \(folder)")
    case .continued:
      line("going on")
      lastStep = monotonicSeconds()
    case .rewardReloaded(let old, let new, let stage, let step):
      line(StoreObserver.words(old, new, stage: stage, step: step))
    }
  }

  private func step(_ record: StepRecord) {
    let now = monotonicSeconds()
    recent.append(now - lastStep)
    if recent.count > 20 { recent.removeFirst() }
    lastStep = now
    let perStep = recent.reduce(0, +) / Double(recent.count)
    let left = record.stageSteps - record.step - 1
    let seconds = record.seconds.rollout + record.seconds.reward + record.seconds.train
    let rate = Double(record.trainedTokens + record.sampledTokens) / max(seconds, 1e-9)
    let interval = isTerminal ? 0.1 : 5
    guard now - lastPrint > interval || left == 0 else { return }
    lastPrint = now
    let headline = record.headline.map { "\($0.name) \(short($0.value))" }.joined(separator: "  ")
    let text =
      "\(stage?.name ?? "")  \(record.step + 1)/\(record.stageSteps)  \(headline)  \(thousands(rate)) tok/s  \(duration(perStep * Double(left))) left"
      .escapingControls(keepingLines: false)
    if isTerminal {
      write("\r\u{1B}[2K" + text)
      lineIsOpen = true
    } else {
      write(text + "\n")
    }
  }

  private func closeLine() {
    if lineIsOpen { write("\n") }
    lineIsOpen = false
  }

  private func line(_ text: String) {
    closeLine()
    write(text.escapingControls() + "\n")
  }

  private func short(_ value: Double) -> String {
    let scaled = (value * 1000).rounded() / 1000
    return "\(scaled)"
  }
  private func percent(_ value: Double) -> String { "\((value * 1000).rounded() / 10) %" }
  private func thousands(_ rate: Double) -> String {
    rate >= 10_000 ? "\(Int((rate / 1000).rounded()))k" : "\(Int(rate.rounded()))"
  }
  private func duration(_ seconds: Double) -> String {
    let whole = Int(seconds.rounded(.up))
    if whole < 60 { return "\(whole) s" }
    if whole < 3600 { return "\(whole / 60) min \(whole % 60) s" }
    return "\(whole / 3600) h \(whole % 3600 / 60) min"
  }
}
