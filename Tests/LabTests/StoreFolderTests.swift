import Core
import Foundation
import TestSupport
import Testing

@testable import Lab

@Suite struct StoreFolderTests {
  @Test func idsSortByTimeAndAreFileNames() {
    #expect(
      RunFolder.makeID(name: "quickstart", time: 1_795_428_902, suffix: 0x1a2b) == "2026-11-23T10-15-02-quickstart-1a2b"
    )
    #expect(RunFolder.makeID(name: "../ü x", time: 0, suffix: 1) == "1970-01-01T00-00-00------x-0001")
    #expect(RunFolder.makeID(name: "", time: .infinity, suffix: 0).hasSuffix("-run-0000"))
    let ids = stride(from: 0.0, to: 4e9, by: 1e7).map { RunFolder.makeID(name: "r", time: $0, suffix: 9) }
    #expect(ids == ids.sorted())
  }

  @Test func runsAreFoundByIDFolderAndLatest() throws {
    let root = try TemporaryFolder()
    expectAttuneError(containing: "there is no run yet", "attune run RECIPE") {
      _ = try RunFolder.resolve("latest", root: root.path)
    }
    let older = try RunStore.example(in: root.path, time: 1_000_000).folder
    let newer = try RunStore.example(in: root.path, time: 2_000_000).folder
    #expect(try RunFolder.resolve("latest", root: root.path) == newer)
    #expect(try RunFolder.resolve(older.id, root: root.path) == older)
    #expect(try RunFolder.resolve(older.path, root: root.path) == older)
    #expect(try RunFolder.resolve(older.path + "/", root: "/nowhere") == older)
    expectAttuneError(containing: "there is no run '\(older.id.dropLast())'", "did you mean '\(older.id)'?") {
      _ = try RunFolder.resolve(String(older.id.dropLast()), root: root.path)
    }
    expectAttuneError(containing: "the latest run is '\(newer.id)'") {
      _ = try RunFolder.resolve("zzzzzz", root: root.path)
    }
    expectAttuneError(containing: "holds no run") { _ = try RunFolder.resolve(root.path, root: root.path) }
    expectAttuneError(containing: "there is no run ''") { _ = try RunFolder.resolve("", root: root.path) }
  }

  @Test func twoRunsOfOneSecondHaveFoldersOfTheirOwn() throws {
    let root = try TemporaryFolder()
    let ids = try (0..<3).map { _ in try RunFolder.create(root: root.path, name: "r", time: 5, suffix: 0xFFFF).id }
    #expect(Set(ids).count == 3)
  }

  @Test func aRunInAFolderOfItsOwnIsFoundToo() throws {
    let root = try TemporaryFolder()
    let other = try TemporaryFolder()
    let folder = try RunFolder.create(root: root.path, name: "far", at: other.path + "/here", time: 9_000_000)
    #expect(folder.path == other.path + "/here")
    var store: RunStore? = try RunStore.create(in: folder, .example, stages: [], started: 9_000_000)
    _ = try RunStore.example(in: root.path, time: 1_000_000)
    #expect(try RunFolder.resolve("latest", root: root.path) == folder)
    #expect(try RunFolder.resolve(folder.id, root: root.path) == folder)
    #expect(try RunFolder.resolve(folder.path, root: root.path) == folder)
    expectAttuneError(containing: "holds a run already", "--resume") {
      _ = try RunFolder.create(root: root.path, name: "far", at: folder.path)
    }
    #expect(store?.isWriter == true)
    store = nil
    try FileManager.default.removeItem(atPath: folder.path)
    #expect(try RunFolder.list(root: root.path).count == 1)
  }

  @Test func theListFollowsTheRuns() throws {
    let root = try TemporaryFolder()
    #expect(try RunFolder.list(root: root.path + "/none").isEmpty)
    var older: RunStore? = try RunStore.example(in: root.path, time: 1_000_000)
    let newer = try RunStore.example(in: root.path, time: 2_000_000)
    let statuses = { try RunFolder.list(root: root.path).map { $0["status"]?.string ?? "" } }
    #expect(try statuses() == ["running", "running"])
    #expect(try RunFolder.list(root: root.path)[0]["id"]?.string == newer.folder.id)
    older = nil
    #expect(try statuses() == ["running", "interrupted"])
    try newer.finish(.finished, seconds: 3)
    #expect(try statuses() == ["finished", "interrupted"])
    #expect(try RunFolder.list(root: root.path)[0]["seconds"]?.double == 3)
    #expect(older == nil)
    // Rebuilt when missing, and when broken; another program's file is left alone.
    let index = root.path + "/" + RunIndex.name
    try FileManager.default.removeItem(atPath: index)
    #expect(try statuses() == ["finished", "interrupted"])
    #expect(FileManager.default.fileExists(atPath: index))
    try Data(repeating: 7, count: 3_000).write(to: URL(fileURLWithPath: index))
    #expect(try statuses() == ["finished", "interrupted"])
    #expect(try Data(contentsOf: URL(fileURLWithPath: index)).prefix(6) == Data("SQLite".utf8))
    // A store that cannot be read does not hide the others.
    try Data(repeating: 7, count: 3_000).write(to: URL(fileURLWithPath: newer.folder.storePath + "x"))
    let broken = root.path + "/broken"
    try FileManager.default.createDirectory(atPath: broken, withIntermediateDirectories: true)
    try Data(repeating: 7, count: 3_000).write(to: URL(fileURLWithPath: broken + "/run.sqlite"))
    #expect(try statuses() == ["finished", "interrupted", "unreadable"])
    try FileManager.default.removeItem(atPath: broken)
    #expect(try statuses() == ["finished", "interrupted"])
  }
}
