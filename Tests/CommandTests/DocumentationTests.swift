import Foundation
import TestSupport
import Testing

/// Every `attune` command that a page shows is run, in order, in a folder with the repository's recipes and rewards.
@Suite struct DocumentationTests {
  private static let pages = [
    "README.md", "docs/start.md", "docs/rewards.md", "docs/watching.md", "docs/built-in-rewards.md",
    "docs/data.md", "docs/functions.md", "docs/reward-abi.md", "docs/reward-models.md", "docs/recipes.md",
    "docs/models.md",
    "docs/adapters.md", "docs/optimizers.md", "rewards/reasoning_steps/README.md",
  ]

  /// What a page asks a reader to do, in order.
  private enum Step {
    /// A line of a block of `sh`.
    case command(String)
    /// A block behind a line that is a path alone (`` `vowels/vowels.c`: ``) is that file's content.
    case file(path: String, content: String)
  }

  private func steps(_ page: String) throws -> [Step] {
    let text = try String(contentsOfFile: Fixtures.root + "/" + page, encoding: .utf8)
    var found: [Step] = []
    var block: (language: Substring, path: String?, lines: [Substring])?
    var last: Substring = ""
    for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
      if let open = block {
        guard line == "```" else {
          block?.lines.append(line)
          continue
        }
        if let path = open.path {
          found.append(.file(path: path, content: open.lines.joined(separator: "\n") + "\n"))
        } else if open.language == "sh" {
          found += open.lines.filter { !$0.isEmpty && !$0.hasPrefix("#") }.map { .command(String($0)) }
        }
        block = nil
        last = ""
      } else if line.hasPrefix("```") {
        let named = last.hasPrefix("`") && last.hasSuffix("`:") && last.count > 3
        block = (line.dropFirst(3), named ? String(last.dropFirst().dropLast(2)) : nil, [])
      } else if !line.isEmpty {
        last = line
      }
    }
    return found
  }

  @Test(arguments: pages) func commandsOfAPageWork(page: String) throws {
    let folder = try Program.temporaryFolder()
    let files = FileManager.default
    for name in ["recipes", "rewards"] {
      try files.createSymbolicLink(atPath: folder + "/" + name, withDestinationPath: Fixtures.root + "/" + name)
    }
    try files.createDirectory(atPath: folder + "/bin", withIntermediateDirectories: true)
    try files.createSymbolicLink(atPath: folder + "/bin/attune", withDestinationPath: Program.path)
    // The endpoint that pages speak of is a server of this test.
    let judge = try ScriptedServer { _, _ in .says("Fair enough.\nReward: 0.5") }
    defer { judge.stop() }
    func served(_ text: String) -> String { text.replacing("http://localhost:8000", with: judge.address) }
    for step in try steps(page) {
      guard case .command(let written) = step else {
        if case .file(let path, let written) = step {
          let content = served(written)
          let url = URL(fileURLWithPath: folder + "/" + path)
          try files.createDirectory(at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
          try Data(content.utf8).write(to: url)
        }
        continue
      }
      let command = served(written)
      let shell = Process()
      shell.executableURL = URL(fileURLWithPath: "/bin/sh")
      shell.arguments = ["-c", command]
      shell.currentDirectoryURL = URL(fileURLWithPath: folder)
      var environment = ProcessInfo.processInfo.environment
      environment["PATH"] = folder + "/bin:" + (environment["PATH"] ?? "")
      shell.environment = environment
      let pipe = Pipe()
      shell.standardOutput = pipe
      shell.standardError = pipe
      try shell.run()
      let output = String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
      shell.waitUntilExit()
      #expect(shell.terminationStatus == 0, "\(page): \(command)\n\(output)")
    }
  }

  @Test func theReadmeShowsTheTwoCommands() throws {
    let readme = try String(contentsOfFile: Fixtures.root + "/README.md", encoding: .utf8)
    #expect(readme.contains("make quickstart") && readme.contains("make test"))
    #expect(try steps("README.md").count { if case .command = $0 { true } else { false } } >= 5)
  }
}
