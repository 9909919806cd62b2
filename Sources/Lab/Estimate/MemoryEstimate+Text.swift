import AttuneTensor
import Core

extension MemoryEstimate {
  /// Bytes in words: `812 MiB`, `3.4 GiB`.
  static func size(_ bytes: Int) -> String {
    let mebibytes = Double(bytes) / 1_048_576
    if mebibytes < 1024 { return "\(Int(mebibytes.rounded(.up))) MiB" }
    return "\((mebibytes / 1024 * 10).rounded() / 10) GiB"
  }

  /// Seconds in words, roughly.
  static func time(_ seconds: Double) -> String {
    switch seconds {
    case ..<0.01: "\(max(1, Int((seconds * 1000).rounded()))) ms"
    case ..<10: "\((seconds * 100).rounded() / 100) s"
    case ..<120: "\(Int(seconds.rounded())) s"
    case ..<7200: "\(Int((seconds / 60).rounded())) min"
    default: "\((seconds / 360).rounded() / 10) h"
    }
  }

  /// One line for a run's start.
  public func line(_ machine: MachineMemory) -> String {
    let place = largest.map { ", at most in \($0.name) of stage \($0.stage)" } ?? ""
    return
      "memory about \(Self.size(residentBytes)) of \(Self.size(machine.memory))\(place); about \(durations.map { "\(Self.time($0.seconds)) a step (\($0.stage))" }.joined(separator: ", "))"
  }

  /// One line for a run's end: what was estimated, and what was measured.
  func comparison(held: Int, resident: Int) -> String {
    func mebibytes(_ bytes: Int) -> String { "\((bytes + 524_288) >> 20) MiB" }
    return
      "memory: estimated \(mebibytes(tensorBytes)) for tensors and \(mebibytes(residentBytes)) in all, measured \(mebibytes(held)) and \(mebibytes(resident))"
  }

  /// Tables for a person: for every stage what each phase holds at its largest, and what follows from it.
  func text(_ machine: MachineMemory) -> String {
    var text = ""
    for stage in durations {
      let phases = phases.filter { $0.stage == stage.stage }
      var rows = MemoryPart.allCases.compactMap { part -> [String]? in
        guard phases.contains(where: { $0.parts[part] ?? 0 > 0 }) else { return nil }
        return [part.title] + phases.map { Self.cell($0.parts[part] ?? 0) }
      }
      rows.append(["together"] + phases.map { Self.cell($0.bytes) })
      text += TerminalTable.render(headers: ["stage \(stage.stage), MiB"] + phases.map(\.name), rows: rows) + "\n"
    }
    if let largest {
      text +=
        "tensors: \(Self.size(tensorBytes)), of which \(largest.name) of stage \(largest.stage) uses \(Self.size(largest.bytes)) at once\n"
    }
    if mappedBytes > 0 { text += "tables of tokens that stay mapped from the checkpoint: \(Self.size(mappedBytes))\n" }
    text += "program, tokenizer and data: \(Self.size(programBytes))\n"
    let swap = machine.swap > 0 ? " and \(Self.size(machine.swap)) of swap" : ""
    text += "memory: about \(Self.size(residentBytes)); the machine has \(Self.size(machine.memory))\(swap)\n"
    for stage in durations {
      text +=
        "time: about \(Self.time(stage.seconds)) a step of stage \(stage.stage), \(Self.time(stage.seconds * Double(stage.steps))) for its \(stage.steps) steps\n"
    }
    if evaluation.count > 0 {
      text += "time: about \(Self.time(evaluation.seconds)) an evaluation, of which there are \(evaluation.count)\n"
    }
    text += "time: about \(Self.time(seconds)) for the run\n"
    for note in notes { text += "note: \(note)\n" }
    return text
  }

  /// MiB to a tenth, nothing for nothing.
  private static func cell(_ bytes: Int) -> String {
    bytes == 0 ? "" : "\((Double(bytes) / 104_857.6).rounded() / 10)"
  }
}

extension MemoryVerdict {
  /// What `attune check` prints of memory and time.
  public var text: String { estimate.text(machine) + (warning.map { "warning: \($0)\n" } ?? "") }

  public var json: JSON {
    var object = estimate.json.object ?? .init()
    object["machine_bytes"] = .int(machine.memory)
    object["swap_bytes"] = .int(machine.swap)
    object["limit_bytes"] = limit.map { .int($0) } ?? .null
    object["fits"] = .bool(fits)
    object["advice"] =
      (advice ?? nearest).map { ["set": .array($0.overrides.map { .string($0) }), "bytes": .int($0.bytes)] } ?? .null
    return JSON(.object(object))
  }
}
