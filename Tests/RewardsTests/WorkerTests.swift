import Core
import Foundation
import TestSupport
import Testing

@testable import Rewards

/// Worker processes as processes: what ends them and what does not.
@Suite struct WorkerTests {
  /// A worker whose host's end of the socket is in the test's hands.
  private final class Started {
    let process: pid_t
    let channel: FrameChannel
    let memory: WorkerMemory
    private var request: UInt = 0

    init() throws {
      memory = try WorkerMemory()
      var ends: [Int32] = [0, 0]
      #if os(Linux)
        let kind = Int32(SOCK_STREAM.rawValue)
      #else
        let kind = SOCK_STREAM
      #endif
      try #require(socketpair(AF_UNIX, kind, 0, &ends) == 0)
      // Other tests start workers at the same time, which must not hold this end open.
      for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
      process = try ChildProcess.start(Workshop.command, descriptors: [ends[1]] + memory.descriptors)
      close(ends[1])
      channel = FrameChannel(socket: ends[0])
    }

    func load(_ source: String) throws {
      let payload = ByteBuffer()
      LoadRequest(
        source: .library(path: try PluginCompiler.library(for: Workshop.source(source)), reward: nil), columnName: "",
        parameters: .init(), file: nil
      ).write(into: payload)
      try channel.send(.load, payload)
      let frame = try channel.receive()
      #expect(frame.kind == .loaded)
      request = try #require(try JSON.parse(frame.text())["request"]?.string.flatMap { UInt($0) })
    }

    func score(_ completion: String) throws {
      let room = SharedRoom(memory.request, seenAt: request)
      _ = try BatchBuilder.build(
        Workshop.samples(completion), RewardContext(), needs: 0, timeLimit: 0, larger: false, in: room)
      let payload = ByteBuffer()
      payload.append(0)
      payload.append(room.used)
      try channel.send(.score, payload)
    }
  }

  @Test func anIdleWorkerEndsWithItsHost() throws {
    let worker = try Started()
    try worker.load("brief.c")
    close(worker.channel.socket)
    #expect(ChildProcess.wait(for: worker.process) != .signal(SIGSEGV))
  }

  @Test func aHangingWorkerEndsWithItsHost() throws {
    let worker = try Started()
    try worker.load("troubled.c")
    try worker.score("hang")
    while worker.memory.progress[0] == .untouched { usleep(1000) }
    close(worker.channel.socket)
    #expect(ChildProcess.wait(for: worker.process) == .signal(SIGKILL))
  }

  @Test func anInterruptIsTheHostsBusiness() throws {
    let worker = try Started()
    try worker.load("brief.c")
    kill(worker.process, SIGINT)
    try worker.score("abc")
    #expect(try worker.channel.receive().kind == .scored)
    close(worker.channel.socket)
    _ = ChildProcess.wait(for: worker.process)
  }

  @Test func damagedRepliesAreErrorsAndNoCrashes() throws {
    var samples = Workshop.samples("a", "b")
    samples[0].tokenIDs = [1, 2]
    let whole = ByteBuffer()
    whole.append(0)
    whole.append("")
    whole.append(2)
    OutcomeCoding.write(
      RewardOutcome(
        score: 1, status: .ok, components: [("part", 2)], log: "log", tokenRewards: [1, 2],
        stepRewards: [RewardStep(tokens: 0..<1, value: 1, label: "step")]), into: whole)
    OutcomeCoding.write(.none(.failed, "why"), into: whole)
    #expect(try OutcomeCoding.read(whole.bytes, for: samples, requiring: []).map(\.score) == [1, nil])
    // Every prefix, and every word overwritten by a size that cannot be.
    for count in stride(from: 0, to: whole.count, by: 8) {
      let cut = UnsafeRawBufferPointer(rebasing: whole.bytes[0..<count])
      #expect(throws: AttuneError.self) { _ = try OutcomeCoding.read(cut, for: samples, requiring: []) }
    }
    for place in stride(from: 0, to: whole.count, by: 8) {
      for wrong in [UInt64.max, UInt64.max - 1, UInt64(1) << 40, UInt64(Int64.max)] {
        let copy = ByteBuffer()
        copy.reserve(whole.count).copyMemory(from: whole.bytes)
        copy.memory.storeBytes(of: wrong, toByteOffset: place, as: UInt64.self)
        _ = try? OutcomeCoding.read(copy.bytes, for: samples, requiring: [])
      }
    }
    #expect(try WorkerMemory().copyOfReply(-1) == nil)
    #expect(try WorkerMemory().copyOfReply(WorkerMemory.largest + 1) == nil)
  }

  @Test(arguments: [["cc", "-std=c11"], ["c++", "-x", "c++", "-std=c++11"], ["clang", "-std=c17"]])
  func theHeaderIsCleanInC11AndInCXX(_ compiler: [String]) throws {
    let folder = try Workshop.scratch()
    let source = folder + "/clean.c"
    try """
    #include "attune_reward.h"
    static const attune_parameter limit = ATTUNE_PARAMETER_NUMBER("limit", "1", "a limit", 0, 2);
    ATTUNE_REWARD_FUNCTION(one, "first", 0, NULL) { return 1; }
    ATTUNE_REWARD_FUNCTION(two, "second", ATTUNE_NEEDS_IMAGES | ATTUNE_NEEDS_GROUP, &limit) {
      attune_component_add(call, "limit", attune_parameter_double(call, "limit", 0));
      return sample->reference.data ? 1 : attune_fail(call, "no reference");
    }
    ATTUNE_LIBRARY("clean", "1.0", &one_reward, &two_reward)
    """.write(toFile: source, atomically: true, encoding: .utf8)
    let (end, output) = try ChildProcess.run(
      compiler + [
        "-Wall", "-Wextra", "-pedantic", "-Werror", "-fsyntax-only", "-I",
        Fixtures.root + "/Sources/CRewardABI/include", source,
      ])
    // A machine without this compiler has nothing to say about it.
    if end != .exit(127) { #expect(end == .exit(0), "\(output)") }
  }
}
