import Core

/// What a reward's worker may take and touch.
public struct WorkerLimits: Sendable, Equatable {
  /// Address space beside what the program itself takes, in MiB; Linux only.
  public var memoryMiB: Int
  /// False: no sockets.
  public var allowsNetwork: Bool
  /// Beneath these it may make, change and remove files; nowhere else.
  public var writableFolders: [String]

  public init(memoryMiB: Int = 4096, allowsNetwork: Bool = false, writableFolders: [String] = []) {
    self.memoryMiB = memoryMiB
    self.allowsNetwork = allowsNetwork
    self.writableFolders = writableFolders
  }

  init(_ reader: inout ByteReader) throws {
    memoryMiB = try reader.integer(atMost: Self.most)
    allowsNetwork = try reader.integer(atMost: 1) == 1
    writableFolders = []
    for _ in 0..<(try reader.integer(atMost: 4096)) { writableFolders.append(try reader.string()) }
  }

  func write(into out: ByteBuffer) {
    out.append(max(1, min(memoryMiB, Self.most)))
    out.append(allowsNetwork ? 1 : 0)
    out.append(writableFolders.count)
    for folder in writableFolders { out.append(folder) }
  }

  /// A sum with it stays far from what 64 bits hold, also in bytes.
  private static let most = 1 << 30
}
