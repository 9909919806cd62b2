import Foundation
import RewardKit

/// Uses threads, Dispatch, formatters and files as plugins do.
struct Confined: Reward {
  func score(_ sample: Sample) throws -> Double {
    let sums = (0..<4).map { _ in UnsafeMutablePointer<Int>.allocate(capacity: 1) }
    defer { for sum in sums { sum.deallocate() } }
    nonisolated(unsafe) let places = sums
    DispatchQueue.concurrentPerform(iterations: 4) { places[$0].pointee = $0 + 1 }
    let done = DispatchSemaphore(value: 0)
    Thread { done.signal() }.start()
    done.wait()
    guard String(format: "%.2f", 1.5) == "1.50", try JSONSerialization.jsonObject(with: Data("[1]".utf8)) is [Int]
    else {
      throw RewardError("Foundation does not work")
    }
    let path = sample.completion
    if !path.isEmpty, FileManager.default.createFile(atPath: path, contents: Data([1])) {
      throw RewardError("a file was written")
    }
    return Double(sums.map(\.pointee).reduce(0, +))
  }
}

@c(attune_reward_entry) public func entry() -> RewardLibrary { rewards(Confined.self) }
