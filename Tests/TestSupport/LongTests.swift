import Foundation

/// Tests that take longer than a coffee run where they are asked for: `make test-long`.
public enum LongTests {
  public static let areWanted = ProcessInfo.processInfo.environment["ATTUNE_LONG_TESTS"] == "1"
}
