import Core

extension RunStore {
  /// What a reward was made of from some step on.
  public struct RewardVersion: Sendable, Equatable {
    public var name: String
    /// The first step that was scored so.
    public var stage: Int
    public var step: Int
    /// `built-in`, `plugin`, `function` or `model`.
    public var kind: String
    /// As the recipe gives it.
    public var source: String
    /// SHA-256 of the library; nil for what comes with the program.
    public var hash: String?
    public var abi: String
    public var version: String
    /// Its name in the library.
    public var reward: String
    public var parameters: JSON

    public init(
      name: String, stage: Int, step: Int, kind: String, source: String, hash: String?, abi: String, version: String,
      reward: String, parameters: JSON
    ) {
      self.name = name
      self.stage = stage
      self.step = step
      self.kind = kind
      self.source = source
      self.hash = hash
      self.abi = abi
      self.version = version
      self.reward = reward
      self.parameters = parameters
    }

    var json: JSON {
      [
        "name": .string(name), "stage": .int(stage), "step": .int(step), "kind": .string(kind),
        "source": .string(source), "hash": hash.map(JSON.string) ?? .null, "abi": .string(abi),
        "version": .string(version), "reward": .string(reward), "parameters": parameters,
      ]
    }
  }

  /// Notes what rewards are made of from a step on.
  public func record(_ versions: [RewardVersion]) throws {
    guard !versions.isEmpty else { return }
    precondition(isWriter, "a run store that was opened for reading cannot record rewards")
    try withDatabase { database in
      let purpose = "record what rewards are made of"
      try database.transaction(for: purpose) {
        for version in versions {
          try database.run(
            """
            INSERT INTO reward_versions (name, stage, step, kind, source, hash, abi, version, reward, parameters)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            """, .text(version.name), .int(version.stage), .int(version.step), .text(version.kind),
            .text(version.source), .optional(version.hash), .text(version.abi), .text(version.version),
            .text(version.reward), .text(version.parameters.text()), for: purpose)
        }
      }
    }
  }

  /// Every version of every reward, in the order in which they came; the last of a name is the present one.
  public func rewardVersions() throws -> [RewardVersion] { try withDatabase { try RunStore.rewardVersions($0) } }

  static func rewardVersions(_ database: Database) throws -> [RewardVersion] {
    try database.rows(
      """
      SELECT name, stage, step, kind, source, hash, abi, version, reward, parameters FROM reward_versions ORDER BY key
      """, for: "read what rewards are made of"
    ) { row in
      RewardVersion(
        name: row.text(0), stage: row.int(1), step: row.int(2), kind: row.text(3), source: row.text(4),
        hash: row.optionalText(5), abi: row.text(6), version: row.text(7), reward: row.text(8),
        parameters: row.storedJSON(9))
    }
  }
}
