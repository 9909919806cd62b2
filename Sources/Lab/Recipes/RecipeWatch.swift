import Core

extension Recipe {
  /// How rewards are looked at, before a stage and during it.
  public struct Watch: Sendable, Equatable {
    /// Sample and score a few groups before each stage that samples.
    public var before: Bool
    /// Groups at first; more are sampled while there is nothing to learn from.
    public var groups: Int
    /// Begin a stage in spite of rewards that nothing can be learnt from.
    public var override: Bool
    public var alarms: Bool
    /// Steps that a value is compared with.
    public var window: Int
    /// Deviations from the window that are a jump.
    public var jump: Double
    /// Share of its largest spread at which a reward counts as collapsed.
    public var spread: Double
    /// Share of groups without spread.
    public var flat: Double
    /// Share of what advantages come from.
    public var dominance: Double
    /// Correlation of the reward with length.
    public var length: Double
    /// Share of the entropy at the beginning.
    public var entropy: Double
    /// Nats a token between policy and reference.
    public var kl: Double
    /// Standard errors by which one rises and another falls.
    public var opposition: Double
    /// Share of samples that cannot be scored.
    public var failed: Double
    /// Times the time per sample at the beginning.
    public var slow: Double

    init(_ values: RecipeValues) {
      before = values.bool("before")
      groups = values.int("groups")
      override = values.bool("override")
      let levels = values.section("alarms")
      alarms = levels.bool("enabled")
      window = levels.int("window")
      jump = levels.number("jump")
      spread = levels.number("spread")
      flat = levels.number("flat")
      dominance = levels.number("dominance")
      length = levels.number("length")
      entropy = levels.number("entropy")
      kl = levels.number("kl")
      opposition = levels.number("opposition")
      failed = levels.number("failed")
      slow = levels.number("slow")
    }
  }
}
