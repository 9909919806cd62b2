import Foundation
import TestSupport
import Testing

/// The house: which room may use which. Reads the imports of every source file.
@Suite struct ArchitectureTests {
  /// A room's module, its folder under `Sources`, and the project's modules it may import.
  private struct Room {
    let folder: String
    let module: String
    let mayImport: Set<String>
  }

  private static let system: Set<String> = [
    "CYAML", "CSQLite", "CPNG", "CJPEG", "CWebP", "CPCRE2", "CCairo", "CFFI", "CCURL", "CConfinement",
  ]

  /// Ground floor first. A room may import only what is listed, and everything listed stands on a lower floor.
  private static let rooms: [Room] = [
    Room(folder: "CKernels", module: "CKernels", mayImport: []),
    Room(folder: "CRewardABI", module: "CRewardABI", mayImport: []),
    Room(folder: "CShippedRewards", module: "CShippedRewards", mayImport: ["CRewardABI"]),
    Room(folder: "Core", module: "Core", mayImport: []),
    Room(folder: "Tensor", module: "AttuneTensor", mayImport: ["Core", "CKernels"]),
    Room(folder: "RewardKit", module: "RewardKit", mayImport: ["CRewardABI"]),
    Room(folder: "Text", module: "Text", mayImport: ["Core", "CPCRE2"]),
    Room(folder: "Vision", module: "AttuneVision", mayImport: ["Core", "CPNG", "CJPEG", "CWebP"]),
    Room(folder: "Objectives", module: "Objectives", mayImport: ["Core"]),
    Room(
      folder: "Rewards", module: "Rewards",
      mayImport: ["Core", "CRewardABI", "CShippedRewards", "CFFI", "CPCRE2", "CCURL", "CConfinement"]),
    Room(folder: "Models", module: "Models", mayImport: ["Core", "AttuneTensor", "Text", "AttuneVision"]),
    Room(folder: "Datasets", module: "Datasets", mayImport: ["Core", "Text", "AttuneVision"]),
    Room(folder: "Rollout", module: "Rollout", mayImport: ["Core", "AttuneTensor", "Text", "Models"]),
    Room(
      folder: "Lab", module: "Lab",
      mayImport: [
        "Core", "AttuneTensor", "Text", "AttuneVision", "Objectives", "Rewards", "Models", "Datasets", "Rollout",
        "CYAML",
        "CSQLite", "CCairo",
      ]),
    Room(
      folder: "Bench", module: "Bench",
      mayImport: ["Core", "AttuneTensor", "Text", "Models", "Rollout", "Objectives", "Lab"]),
    Room(
      folder: "attune", module: "attune",
      mayImport: [
        "Core", "AttuneTensor", "Text", "AttuneVision", "Objectives", "Rewards", "Models", "Datasets", "Rollout", "Lab",
        "Bench",
      ]),
  ]

  private static let ours = Set(rooms.map(\.module)).union(system)

  /// The modules that a Swift or C file imports; what it quotes in a long string literal it does not import.
  private static func imports(_ text: String) -> [String] {
    let parts = text.components(separatedBy: "\"\"\"")
    let outside = parts.indices.filter { $0 % 2 == 0 }.map { parts[$0] }.joined(separator: "\n")
    return outside.split(separator: "\n").compactMap { line in
      let words = line.split(separator: " ").map(String.init)
      guard let place = words.firstIndex(of: "import"), place + 1 < words.count,
        words[..<place].allSatisfy({ $0.hasPrefix("@") })
      else { return nil }
      return words[place + 1].split(separator: ".").first.map(String.init)
    }
  }

  private static func files(in folder: String) throws -> [(path: String, text: String)] {
    let root = Fixtures.root + "/Sources/" + folder
    let names = try #require(FileManager.default.enumerator(atPath: root))
    var result: [(String, String)] = []
    for case let name as String in names where name.hasSuffix(".swift") || name.hasSuffix(".c") || name.hasSuffix(".h")
    {
      result.append((folder + "/" + name, try String(contentsOfFile: root + "/" + name, encoding: .utf8)))
    }
    return result
  }

  @Test func everyRoomIsListed() throws {
    let folders = try FileManager.default.contentsOfDirectory(atPath: Fixtures.root + "/Sources").filter {
      $0 != "System" && !$0.hasPrefix(".")
    }
    #expect(Set(folders) == Set(Self.rooms.map(\.folder)))
  }

  @Test func noArrowRunsUpward() throws {
    for (floor, room) in Self.rooms.enumerated() {
      let below = Set(Self.rooms[..<floor].map(\.module)).union(Self.system)
      #expect(room.mayImport.isSubset(of: below), "\(room.module) lists a room that does not stand below it")
      for (path, text) in try Self.files(in: room.folder) {
        for module in Self.imports(text) where Self.ours.contains(module) {
          #expect(room.mayImport.contains(module), "\(path) imports \(module)")
        }
      }
    }
  }

  @Test func onlyTheTensorRoomSeesKernels() throws {
    for room in Self.rooms where !["Tensor", "CKernels"].contains(room.folder) {
      for (path, text) in try Self.files(in: room.folder) {
        #expect(!Self.imports(text).contains("CKernels"), "\(path) imports CKernels")
        #expect(!text.contains("attune_kernels.h"), "\(path) includes the kernels' header")
      }
    }
  }

  /// Values stay free of Foundation where the house says so.
  @Test(arguments: ["Core", "Tensor", "Objectives"])
  func foundationStaysOut(folder: String) throws {
    for (path, text) in try Self.files(in: folder) { #expect(!Self.imports(text).contains("Foundation"), "\(path)") }
  }

  /// Recipes and the store, both in the Lab, do not know each other.
  @Test func recipesAndStoreAreApart() throws {
    for (path, text) in try Self.files(in: "Lab/Recipes") {
      #expect(!text.contains("RunStore"), "\(path) names the store")
    }
    for (path, text) in try Self.files(in: "Lab/Store") {
      #expect(!text.contains("RecipeTable"), "\(path) names recipes")
    }
  }

  @Test func theCheckItselfCanFail() {
    #expect(Self.imports("let x = \"\"\"\nimport Lab\n\"\"\"\nimport Core") == ["Core"])
    #expect(
      Self.imports("@preconcurrency import CFFI\nimport struct Core.JSON\n// import Lab\nimport Core") == [
        "CFFI", "struct", "Core",
      ])
  }
}
