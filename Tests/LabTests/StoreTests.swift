import Core
import Foundation
import TestSupport
import Testing

@testable import Lab

@Suite struct StoreTests {
  @Test func showHasTheDocumentedShape() throws {
    let folder = try TemporaryFolder()
    let store = try RunStore.example(in: folder.path)
    try store.write(RunStore.Step.example(stage: 0, step: 0, prompts: 0))
    try store.write(RunStore.Step.example(step: 0))
    try store.write(RunStore.Step.example(step: 1, salt: 5))
    try store.write(.init(stage: 1, step: 1, metrics: ["eval/exact_match": 0.5], samples: []))
    try store.recordCheckpoint(store.folder.checkpointsPath + "/1-2")
    let shown = try RunStore.read(store.folder).show()
    let path = store.folder.path
    #expect(store.folder.id == "2026-11-23T10-16-40-quickstart-0007" && path == "\(folder.path)/\(store.folder.id)")
    #expect(
      shown == [
        "id": .string(store.folder.id), "folder": .string(path), "name": "quickstart", "recipe": "recipes/q.yaml",
        "seconds": 101, "status": "running", "started": 1_795_429_000,
        "stages": [
          [
            "name": "sft", "objective": "sft", "steps": 1, "planned_steps": 4, "seconds": 0,
            "metrics": ["loss": 0, "reward": 0],
          ],
          [
            "name": "grpo", "objective": "grpo", "steps": 2, "planned_steps": 10, "seconds": 1,
            "metrics": ["eval/exact_match": 0.5, "loss": 6, "reward": 5],
          ],
        ],
        "checkpoint": .string(path + "/checkpoints/1-2"), "host": ["threads": 2], "alarms": [],
        "rewards": [],
      ])
    try store.finish(.finished, seconds: 103)
    let finished = try RunStore.read(store.folder).show()
    #expect(finished["status"] == "finished" && finished["seconds"] == 103)
    let (id, start) = try store.start()
    #expect(id == store.folder.id && start.recipe == "seed: 1\n" && start.effective == ["seed": 1])
    #expect(try store.stageNames() == ["sft", "grpo"])
  }

  @Test func samplesCarryEverythingAboutARollout() throws {
    let folder = try TemporaryFolder()
    let store = try RunStore.example(in: folder.path)
    for step in 0..<3 { try store.write(RunStore.Step.example(step: step, salt: step)) }
    let all = try store.samples()
    #expect(all.count == 18)
    let first = try #require(all.first)
    let hash = SHA256.hex([1, 2, 0])
    #expect(
      first == [
        "stage": 1, "stage_name": "grpo", "step": 0, "prompt_id": 0, "index": 0, "prompt": "prompt 0",
        "reference": .null, "completion": "text 0", "raw": "raw\u{0} 0", "finish_reason": "length", "tokens": 3,
        "reward": 0, "advantage": -1, "messages": [["role": "user", "content": "p"]], "columns": ["answer": 0],
        "rewards": [
          "exact": ["score": 1, "status": "ok", "components": [:], "log": "line 0"],
          "format": ["score": 0.25, "status": "ok", "components": ["open": 1, "close": -1], "log": .null],
        ], "pictures": [.string(hash)],
      ])
    #expect(try store.picture(hash) == [1, 2, 0])
    #expect(try store.picture("none") == nil)
    let best = try store.samples(sort: .reward, limit: 3).compactMap { $0["reward"]?.double }
    #expect(best == [13, 12, 12])
    #expect(try store.samples(sort: .reward).last?["reward"]?.isNull == true)
    #expect(try store.samples(sort: .latest, limit: 1).first?["step"] == 2)
    #expect(try store.samples(stage: 1, step: 1).map { $0["step"]?.int } == Array(repeating: 1, count: 6))
    #expect(try store.samples(stage: 0).isEmpty)
    let place = RunStore.Place(stage: 1, step: 0, prompt: 0, index: 2)
    let tokens = try #require(try store.tokens(at: place))
    #expect(
      tokens.ids == [1, 2, .max] && tokens.logprobs.map(\.bitPattern) == [-0.5, -2, -0].map { Float($0).bitPattern })
  }

  @Test func writingAStepAgainReplacesIt() throws {
    let folder = try TemporaryFolder()
    let store = try RunStore.example(in: folder.path)
    try store.write(.init(stage: 1, step: 0, metrics: ["eval/exact_match": 0.25], samples: []))
    try store.write(RunStore.Step.example(step: 0, prompts: 4, generations: 5, salt: 1))
    try store.write(RunStore.Step.example(step: 0, salt: 2))
    let once = try TemporaryFolder()
    let other = try RunStore.example(in: once.path)
    try other.write(RunStore.Step.example(step: 0, salt: 2))
    #expect(try store.samples() == other.samples())
    #expect(try store.series("loss") == [.init(stage: 1, step: 0, value: 2)])
    #expect(try store.metricNames() == ["eval/exact_match", "loss", "reward"])
    try store.write(.init(stage: 1, step: 0, metrics: ["eval/other": 1], samples: []))
    #expect(try store.metricNames() == ["eval/other", "loss", "reward"])
  }

  @Test func seriesKeepOrderAndMissingValues() throws {
    let folder = try TemporaryFolder()
    let store = try RunStore.example(in: folder.path)
    try store.write(RunStore.Step(stage: 1, step: 0, metrics: ["kl": 3]))
    try store.write(RunStore.Step(stage: 0, step: 1, metrics: ["kl": .nan]))
    try store.write(RunStore.Step(stage: 0, step: 0, metrics: ["kl": 1]))
    #expect(
      try store.series("kl") == [
        .init(stage: 0, step: 0, value: 1), .init(stage: 0, step: 1, value: .nan), .init(stage: 1, step: 0, value: 3),
      ])
    #expect(try store.series("none").isEmpty)
  }

  @Test func evaluationsAreReadBack() throws {
    let folder = try TemporaryFolder()
    let store = try RunStore.example(in: folder.path)
    let sample = RunStore.EvaluatedSample(
      sample: 3, prompt: "p", completion: "<answer>12</answer>", answer: "12", reference: "13", correct: false,
      finishReason: .stop, scores: ["exact": 0], pictures: [[9], [8]])
    for _ in 0..<2 { try store.write(.init(stage: 0, step: 2, metrics: ["eval/exact_match": 0], samples: [sample])) }
    #expect(
      try store.evaluation(stage: 0, step: 2) == [
        .init(
          sample: 3, prompt: "p", completion: "<answer>12</answer>", answer: "12", reference: "13", correct: false,
          pictures: [SHA256.hex([9]), SHA256.hex([8])])
      ])
    #expect(try store.evaluationPlaces().map { [$0.stage, $0.step] } == [[0, 2]])
  }

  @Test func forgettingLeavesWhatTheCheckpointHolds() throws {
    let folder = try TemporaryFolder()
    let (store, whole) = (try RunStore.example(in: folder.path), try RunStore.example(in: folder.path, suffix: 8))
    for each in [store, whole] {
      try each.write(RunStore.Step.example(stage: 0, step: 0))
      for step in 0...2 { try each.write(RunStore.Step.example(step: step)) }
    }
    for step in 3...5 { try store.write(RunStore.Step.example(step: step, salt: 99)) }
    try store.write(.init(stage: 1, step: 5, metrics: ["eval/x": 1], samples: []))
    try store.log(.warning, "the lights went out", time: 5)
    let picture = SHA256.hex([1, 2, 1])
    try store.forget(after: 1, step: 2)
    #expect(try store.samples() == whole.samples())
    #expect(try store.metricNames() == whole.metricNames())
    #expect(try store.series("loss") == whole.series("loss"))
    #expect(try store.show()["stages"]?[1]?["steps"] == 3)
    #expect(try store.events() == [.init(time: 5, level: .warning, text: "the lights went out")])
    #expect(try store.picture(picture) != nil)
    try store.forget(after: 0, step: -1)
    #expect(try store.samples().isEmpty && store.metricNames().isEmpty)
    #expect(try store.picture(picture) == nil)
    #expect(try store.show()["stages"]?[0]?["steps"] == 0)
  }

  @Test func outcomesAreReplayedForTheSameCompletionOnly() throws {
    let folder = try TemporaryFolder()
    let store = try RunStore.example(in: folder.path)
    let place = RunStore.Place(stage: 1, step: 4, prompt: 2, index: 0)
    try store.journal([.init(place: place, completion: "abc", outcome: ["status": "timed_out"])], of: "judge")
    try store.forget(after: 0, step: 0)
    #expect(try store.journalled("judge", at: place, completion: "abc") == ["status": "timed_out"])
    #expect(try store.journalled("judge", at: place, completion: "abd") == nil)
    #expect(try store.journalled("other", at: place, completion: "abc") == nil)
  }

  @Test func aReaderSeesWholeStepsWhileARunWrites() throws {
    let folder = try TemporaryFolder()
    let store = try RunStore.example(in: folder.path)
    let reader = try RunStore.read(store.folder)
    for step in 0..<5 {
      try store.write(RunStore.Step.example(step: step))
      #expect(try reader.samples().count == 6 * (step + 1))
    }
    #expect(try reader.status() == .running)
    expectAttuneError(containing: "being written by another process") { _ = try RunStore.open(store.folder) }
  }

  @Test func aRunWhoseProcessDiedWasInterruptedAndGoesOn() throws {
    let folder = try TemporaryFolder()
    var store: RunStore? = try RunStore.example(in: folder.path)
    let place = try #require(store).folder
    try store?.write(RunStore.Step.example(step: 0))
    store = nil
    #expect(try RunStore.read(place).status() == .interrupted)
    let again = try RunStore.open(place)
    #expect(try again.status() == .running)
    try again.write(RunStore.Step.example(step: 1))
    try again.progress(stage: 1, stepsDone: 10, stageSeconds: 4, runSeconds: 5)
    try again.flush()
    try again.finish(.finished, seconds: 9)
    #expect(try RunStore.read(place).show()["stages"]?[1]?["steps"] == 10)
  }

  /// What a kill or a power cut leaves: the store and any beginning of its log. It opens, holds whole steps, goes on.
  @Test func anyBeginningOfTheLogIsAWholeStore() throws {
    let folder = try TemporaryFolder()
    let store = try RunStore.example(in: folder.path)
    for step in 0..<3 { try store.write(RunStore.Step.example(step: step)) }
    let main = try Data(contentsOf: URL(fileURLWithPath: store.folder.storePath))
    let log = try Data(contentsOf: URL(fileURLWithPath: store.folder.storePath + "-wal"))
    #expect(log.count > 10_000)
    var seen: Set<Int> = []
    for part in 0...60 {
      let copy = RunFolder(id: "copy", path: "\(folder.path)/copy-\(part)")
      try FileManager.default.createDirectory(atPath: copy.path, withIntermediateDirectories: true)
      try main.write(to: URL(fileURLWithPath: copy.storePath))
      try log.prefix(log.count * part / 60).write(to: URL(fileURLWithPath: copy.storePath + "-wal"))
      guard let opened = try? RunStore.open(copy) else {
        Issue.record("part \(part) does not open")
        continue
      }
      let count = try opened.samples().count
      #expect(count % 6 == 0, "part \(part) holds \(count) rollouts")
      seen.insert(count / 6)
      if try opened.stageNames().count == 2 {
        try opened.write(RunStore.Step.example(step: 3))
        #expect(try opened.samples(step: 3).count == 6)
      }
    }
    #expect(seen == [0, 1, 2, 3])
  }

  @Test func anUnfinishedTransactionLeavesNoTrace() throws {
    let folder = try TemporaryFolder()
    let database = try Database(folder.path + "/x.sqlite", .creating)
    try database.useWriteAheadLog()
    try database.execute("CREATE TABLE t (x INTEGER PRIMARY KEY)", for: "test")
    expectAttuneError(containing: "x.sqlite: could not test: UNIQUE constraint failed: t.x") {
      try database.transaction(for: "test") {
        try database.run("INSERT INTO t VALUES (?)", .int(1), for: "test")
        try database.run("INSERT INTO t VALUES (?)", .int(1), for: "test")
      }
    }
    #expect(try database.rows("SELECT x FROM t", for: "test") { $0.int(0) }.isEmpty)
  }

  @Test func valuesComeBackAsTheyWere() throws {
    let database = try Database(":memory:", .creating)
    try database.execute("CREATE TABLE t (a, b, c, d, e, f)", for: "test")
    try database.run(
      "INSERT INTO t VALUES (?, ?, ?, ?, ?, ?)", .text(""), .text("a\u{0}b ü"), .blob([]), .blob([0, 255]),
      .double(.nan), .double(-0.1), for: "test")
    let row = try database.rows("SELECT * FROM t", for: "test") { row in
      (
        row.text(0), row.text(1), row.blob(2), row.blob(3), row.optionalDouble(4), row.double(5), row.isNull(0),
        row.isNull(2)
      )
    }
    #expect(row[0].0 == "" && row[0].1 == "a\u{0}b ü" && row[0].2 == [] && row[0].3 == [0, 255])
    #expect(row[0].4 == nil && row[0].5 == -0.1 && !row[0].6 && !row[0].7)
    #expect(LittleEndian.bytes([Int32(1), -2]) == [1, 0, 0, 0, 254, 255, 255, 255])
    #expect(LittleEndian.int32s([1, 0, 0, 0, 254, 255, 255, 255, 9]) == [1, -2])
    #expect(LittleEndian.floats(LittleEndian.bytes([Float.infinity, 1.5])) == [.infinity, 1.5])
  }

  @Test func filesThatAreNoStoreAreRefused() throws {
    let folder = try TemporaryFolder()
    let run = RunFolder(id: "r", path: folder.path)
    expectAttuneError(containing: "holds no run") { _ = try RunStore.read(run) }
    try Data(repeating: 0x41, count: 5_000).write(to: URL(fileURLWithPath: run.storePath))
    expectAttuneError(containing: "run.sqlite: this is not a SQLite database") { _ = try RunStore.read(run) }
    expectAttuneError(containing: "this is not a SQLite database") { _ = try RunStore.open(run) }
    try FileManager.default.removeItem(atPath: run.storePath)
    do {
      let other = try Database(run.storePath, .creating)
      try other.execute("CREATE TABLE mine (x)", for: "test")
    }
    expectAttuneError(containing: "but not a run store") { _ = try RunStore.read(run) }
    try FileManager.default.removeItem(atPath: run.storePath)
    try Data().write(to: URL(fileURLWithPath: run.storePath))
    expectAttuneError(containing: "killed before it began") { _ = try RunStore.read(run).show() }
  }

  @Test func aStoreOfANewerVersionIsRefused() throws {
    let folder = try TemporaryFolder()
    var store: RunStore? = try RunStore.example(in: folder.path)
    let place = try #require(store).folder
    try store?.withDatabase { try $0.run("INSERT INTO migrations VALUES (99, 'videos')", for: "test") }
    store = nil
    expectAttuneError(containing: "a newer version of attune: it has 'videos'", "use the newer version") {
      _ = try RunStore.read(place)
    }
  }

  /// Migrations that have shipped never change: add another one instead of mending one of these.
  @Test func shippedMigrationsAreWhatTheyWere() {
    let hashes = RunSchema.migrations.map { SHA256.hex(Array("\($0.name)\n\($0.sql)".utf8)) }
    #expect(
      hashes == [
        "6e0e0acd16c5bdafcd765eb73ecb2325af292dbe5f924af57c1e6d6d9eb1bf8a",
        "86f4505b7b45f519b4abfa2675d9a8d564d2fc3afbeadaeaf25d9ddd96671ad9",
        "b0d12f9af87c82475bf400510224c5e2e67fa4c76ac4f9c680cba4391671bf47",
      ])
  }

  @Test func aLaterMigrationBringsAnOldStoreUpToDate() throws {
    let folder = try TemporaryFolder()
    let path = folder.path + "/x.sqlite"
    let first = Migration(name: "one", sql: "CREATE TABLE a (x)")
    let second = Migration(name: "two", sql: "ALTER TABLE a ADD COLUMN y; INSERT INTO a VALUES (1, 2)")
    let apply = { (migrations: [Migration], canWrite: Bool) in
      try Migration.apply(
        migrations, to: try Database(path, .creating), kind: "a test", application: 5, canWrite: canWrite)
    }
    #expect(try apply([first], true))
    #expect(try !apply([first, second], false))
    #expect(try apply([first, second], true))
    #expect(try apply([first, second], true))
    #expect(try Database(path, .reading).rows("SELECT y FROM a", for: "test") { $0.int(0) } == [2])
  }

  /// 256 rollouts with two rewards each: measured, never asserted.
  @Test func aLargeStepIsWritten() throws {
    let folder = try TemporaryFolder()
    let store = try RunStore.example(in: folder.path)
    let clock = ContinuousClock()
    let times = try (0..<5).map { step in
      let record = RunStore.Step.example(step: step, prompts: 32, generations: 8)
      return try clock.measure { try store.write(record) }
    }
    print("a step of 256 rollouts with two rewards each is written in \(times.min() ?? .zero)")
    #expect(try store.samples(step: 4).count == 256)
  }
}
