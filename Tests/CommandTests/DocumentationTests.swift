import Foundation
import TestSupport
import Testing

/// Every `attune` command that a page shows is run, in order, in a folder with the repository's recipes and rewards.
@Suite struct DocumentationTests {
  private static let pages = [
    "README.md", "docs/start.md", "docs/rewards.md", "docs/functions.md", "docs/reward-abi.md", "docs/recipes.md", "docs/models.md",
    "docs/adapters.md",
  ]

  private func commands(_ page: String) throws -> [String] {
    let text = try String(contentsOfFile: Fixtures.root + "/" + page, encoding: .utf8)
    var inside = false
    var found: [String] = []
    for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
      if line.hasPrefix("```") {
        inside = !inside && line == "```sh"
      } else if inside, !line.isEmpty, !line.hasPrefix("#") {
        found.append(String(line))
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
    for command in try commands(page) {
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
    #expect(try commands("README.md").count >= 5)
  }
}
