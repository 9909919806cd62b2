import Core
import Foundation
import TestSupport
import Testing

@testable import Rewards

/// Worker processes as processes: what ends them and what does not.
@Suite struct WorkerTests {
  /// A worker whose host's end of the socket is in the test's hands.
  private func start() throws -> (process: pid_t, channel: FrameChannel, page: ProgressPage) {
    let page = try ProgressPage()
    var ends: [Int32] = [0, 0]
    #if os(Linux)
      let kind = Int32(SOCK_STREAM.rawValue)
    #else
      let kind = SOCK_STREAM
    #endif
    try #require(socketpair(AF_UNIX, kind, 0, &ends) == 0)
    // Other tests start workers at the same time, which must not hold this end open.
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    let process = try ChildProcess.start(Workshop.command, descriptors: [ends[1], page.file])
    close(ends[1])
    return (process, FrameChannel(socket: ends[0]), page)
  }

  private func load(_ source: String, _ channel: FrameChannel) throws {
    let payload = ByteBuffer()
    LoadRequest(
      source: .library(path: try PluginCompiler.library(for: Workshop.source(source)), reward: nil), columnName: "",
      parameters: .init(), file: nil
    ).write(into: payload)
    try channel.send(.load, payload)
    #expect(try channel.receive().kind == .loaded)
  }

  private func score(_ completion: String, _ channel: FrameChannel) throws {
    let payload = ByteBuffer()
    payload.append(0)
    payload.append(0)
    BatchCoding.write(Workshop.samples(completion), RewardContext(), needs: 0, timeLimit: 0, into: payload)
    try channel.send(.score, payload)
  }

  @Test func anIdleWorkerEndsWithItsHost() throws {
    let worker = try start()
    try load("brief.c", worker.channel)
    close(worker.channel.socket)
    #expect(ChildProcess.wait(for: worker.process) != .signal(SIGSEGV))
  }

  @Test func aHangingWorkerEndsWithItsHost() throws {
    let worker = try start()
    try load("troubled.c", worker.channel)
    try score("hang", worker.channel)
    while worker.page[0] == .untouched { usleep(1000) }
    close(worker.channel.socket)
    #expect(ChildProcess.wait(for: worker.process) == .signal(SIGKILL))
  }

  @Test func anInterruptIsTheHostsBusiness() throws {
    let worker = try start()
    try load("brief.c", worker.channel)
    kill(worker.process, SIGINT)
    try score("abc", worker.channel)
    #expect(try worker.channel.receive().kind == .scored)
    close(worker.channel.socket)
    _ = ChildProcess.wait(for: worker.process)
  }

  @Test func damagedMessagesAreErrorsAndNoCrashes() throws {
    let samples = Workshop.samples("a", "b")
    let whole = ByteBuffer()
    BatchCoding.write(samples, RewardContext(), needs: 0, timeLimit: 1, into: whole)
    // Every prefix, and every word overwritten by a size that cannot be.
    for count in stride(from: 0, to: whole.count, by: 8) {
      let cut = UnsafeRawBufferPointer(rebasing: whole.bytes[0..<count])
      var reader = ByteReader(cut)
      #expect(throws: AttuneError.self) { _ = try BatchView(&reader, larger: false) }
    }
    for place in stride(from: 0, to: whole.count, by: 8) {
      for wrong in [UInt64.max - 1, UInt64(1) << 40, UInt64(Int64.max)] {
        let copy = ByteBuffer()
        copy.reserve(whole.count).copyMemory(from: whole.bytes)
        copy.memory.storeBytes(of: wrong, toByteOffset: place, as: UInt64.self)
        var reader = ByteReader(copy.bytes)
        _ = try? BatchView(&reader, larger: false)
        _ = try? OutcomeCoding.read(copy.bytes, for: samples)
      }
    }
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
