import Core
import Foundation
import Lab
import TestSupport
import Testing

/// What runs of the program do with rewards: their state, their outcomes and their code, over kills, resumes and pauses.
@Suite(.serialized) struct RewardRunTests {
  /// A folder with a plugin, and a recipe of one GRPO stage that uses it.
  private struct Bench {
    let folder: String
    var plugin: String { folder + "/judge.c" }

    init(_ code: String, steps: Int = 8, reward: String = "", more: String = "") throws {
      folder = try Program.temporaryFolder()
      try write(code)
      try """
      model: {path: "preset:tiny"}
      data:
        train: {kind: jsonl, file: \(Fixtures.root)/recipes/data/sums/sums.jsonl}
      rewards: [{name: judge, source: judge.c\(reward)}]
      stages:
        - {objective: grpo, steps: \(steps), prompts: 3, generations: 4, max_new_tokens: 8,
           optimizer: {learning_rate: 1e-3, schedule: constant}}
      checkpoint: {every: 3}
      watch: {before: false}
      \(more)
      """.write(toFile: folder + "/recipe.yaml", atomically: true, encoding: .utf8)
    }

    func write(_ code: String) throws { try code.write(toFile: plugin, atomically: true, encoding: .utf8) }

    func start(_ run: String = "run", _ more: [String] = []) throws -> Program.Running {
      try Program.start(["run", folder + "/recipe.yaml", "--output", folder + "/" + run] + more)
    }

    func run(_ run: String = "run", _ more: [String] = []) throws -> Program.Result {
      try start(run, more).finish()
    }

    func resume(_ run: String = "run", _ more: [String] = []) throws -> Program.Result {
      try Program.run(["run", "--resume", folder + "/" + run] + more)
    }

    func store(_ run: String = "run") throws -> RunStore { try RunStore.read(RunFolder.resolve(folder + "/" + run)) }

    func weights(_ run: String = "run") throws -> Data {
      try Data(contentsOf: URL(fileURLWithPath: folder + "/\(run)/model/model.safetensors"))
    }

    /// Every score of the judge, in order.
    func scores(_ run: String = "run", step: Int? = nil) throws -> [Double?] {
      try store(run).samples(step: step).map { $0["rewards"]?["judge"]?["score"]?.double }
    }

    /// Waits until so many steps are recorded; false if the process ended before.
    func wait(steps: Int, of running: Program.Running, _ run: String = "run") -> Bool {
      while running.process.isRunning {
        if let done = try? store(run).show()["stages"]?[0]?["steps"]?.int, done >= steps { return true }
        usleep(2000)
      }
      return false
    }
  }

  private static func plugin(
    flags: String = "ATTUNE_DETERMINISTIC", needs: String = "0", prelude: String = "", create: String = "NULL",
    save: String = "NULL",
    load: String = "NULL", score: String
  ) -> String {
    """
    #include "attune_reward.h"
    #include <stdlib.h>
    #include <string.h>
    #include <time.h>
    #include <unistd.h>
    \(prelude)
    static attune_status score(void *instance, const attune_host *host, const attune_batch *batch,
                               attune_outcome *const *outcomes, attune_error *error) {
      (void)instance, (void)error;
      for (size_t i = 0; i < batch->sample_count; i++) {
        const attune_sample *sample = batch->samples[i];
        (void)sample;
        host->begin(host, i);
        \(score)
        host->end(host, i);
      }
      return ATTUNE_OK;
    }
    static const attune_reward judge = {sizeof(attune_reward), \(flags), \(needs), 0, NULL, "judge", "judges", 0, 0, NULL, NULL,
                                        \(create), score, NULL, \(save), \(load), NULL};
    ATTUNE_LIBRARY("judge", "1.0", &judge)
    """
  }

  /// Scores depend on how many samples came before.
  private static func counting(_ rule: String) -> String {
    plugin(
      prelude: """
        static attune_status create(const attune_reward *self, const attune_host *host, attune_string text,
                                    void **instance, attune_error *error) {
          (void)self, (void)host, (void)text, (void)error;
          *instance = calloc(1, sizeof(uint64_t));
          return ATTUNE_OK;
        }
        static attune_status save(void *instance, const attune_host *host, attune_string *state, attune_error *error) {
          (void)error;
          uint64_t *copy = host->allocate(host, sizeof(uint64_t));
          *copy = *(uint64_t *)instance;
          state->data = (const char *)copy;
          state->size = sizeof(uint64_t);
          return ATTUNE_OK;
        }
        static attune_status load(void *instance, const attune_host *host, attune_string state, attune_error *error) {
          (void)host, (void)error;
          memcpy(instance, state.data, sizeof(uint64_t));
          return ATTUNE_OK;
        }
        """, create: "create", save: "save", load: "load",
      score: "usleep(8000); uint64_t n = (*(uint64_t *)instance)++; outcomes[i]->score = \(rule);")
  }

  /// The look at rewards before a stage asks them too, and leaves nothing behind.
  @Test func theLookBeforeLeavesNoTraceInAState() throws {
    let bench = try Bench(Self.counting("(double)(n * 7919 % 101)"), steps: 3)
    #expect(try bench.run("without").status == 0)
    let with = try bench.run("with", ["--set", "watch.before=true"])
    #expect(with.status == 0 && with.errors.contains("before stage grpo"), "\(with.errors)")
    #expect(try bench.scores("with") == bench.scores("without"))
    #expect(try bench.weights("with") == bench.weights("without"))
  }

  /// The state of a reward is part of a checkpoint: killed and gone on with, the run ends with the same scores and bits.
  @Test func stateSurvivesAKill() throws {
    let bench = try Bench(Self.counting("(double)(n * 7919 % 101)"))
    let whole = try bench.run("whole")
    try #require(whole.status == 0, "\(whole.errors)")
    let scores = try bench.scores("whole")
    #expect(scores == (0..<96).map { Double($0 * 7919 % 101) })
    for steps in [2, 4, 7] {
      let running = try bench.start("killed-\(steps)")
      #expect(bench.wait(steps: steps, of: running, "killed-\(steps)"))
      kill(running.process.processIdentifier, SIGKILL)
      _ = running.finish()
      let resumed = try bench.resume("killed-\(steps)")
      try #require(resumed.status == 0, "\(resumed.errors)")
      #expect(try bench.scores("killed-\(steps)") == scores, "killed after \(steps) steps")
      #expect(try bench.weights("killed-\(steps)") == bench.weights("whole"))
    }
    // Stopped in the middle of a step: what was scored of it is forgotten.
    let running = try bench.start("stopped")
    #expect(bench.wait(steps: 4, of: running, "stopped"))
    usleep(20_000)
    kill(running.process.processIdentifier, SIGINT)
    let stopped = running.finish()
    #expect(stopped.status == 1, "\(stopped.errors)")
    let resumed = try bench.resume("stopped")
    try #require(resumed.status == 0, "\(resumed.errors)")
    #expect(try bench.scores("stopped") == scores)
    #expect(try bench.weights("stopped") == bench.weights("whole"))
  }

  /// Outcomes that no second call would give again are those of the first.
  @Test func outcomesOfChanceAreReplayed() throws {
    let bench = try Bench(
      Self.plugin(
        flags: "0",
        score: """
          usleep(2000);
          struct timespec now;
          clock_gettime(CLOCK_REALTIME, &now);
          outcomes[i]->score = (double)(now.tv_nsec / 1000 % 9973);
          """))
    let running = try bench.start()
    #expect(bench.wait(steps: 5, of: running))
    kill(running.process.processIdentifier, SIGKILL)
    _ = running.finish()
    // The checkpoint is that of step 3.
    let before = try (3..<5).map { try bench.scores(step: $0) }
    try #require(Set(before[0].compactMap { $0 }).count > 3)
    let resumed = try bench.resume()
    try #require(resumed.status == 0, "\(resumed.errors)")
    #expect(try (3..<5).map { try bench.scores(step: $0) } == before)
  }

  /// Rebuilt between two sittings: refused with both hashes, unless it is asked for.
  @Test func aChangedLibraryIsNotGoneOnWithSilently() throws {
    let bench = try Bench(Self.plugin(score: "usleep(2000); outcomes[i]->score = (double)(sample->sample_id % 3);"))
    let running = try bench.start()
    #expect(bench.wait(steps: 4, of: running))
    kill(running.process.processIdentifier, SIGKILL)
    _ = running.finish()
    let old = try #require(try bench.store().rewardVersions().last?.hash)
    try bench.write(Self.plugin(score: "outcomes[i]->score = (double)(sample->sample_id % 5);"))
    let refused = try bench.resume()
    #expect(refused.status == 2 && refused.errors.contains(old), "\(refused.errors)")
    #expect(refused.errors.contains("--allow-changed-rewards") && refused.errors.contains("reward judge"))
    // Nothing was lost by the refusal.
    #expect(try bench.store().status() == .interrupted)
    let allowed = try bench.resume("run", ["--allow-changed-rewards"])
    try #require(allowed.status == 0, "\(allowed.errors)")
    let versions = try bench.store().rewardVersions()
    #expect(versions.count == 2 && versions[0].hash == old && versions[1].hash != old && versions[1].step == 3)
    #expect(refused.errors.contains(versions[1].hash ?? "-"))
    #expect(try bench.store().events().contains { $0.text.contains(old) && $0.text.contains("changed reward") })
    #expect(try bench.scores(step: 2).compactMap { $0 }.max() == 2)
    #expect(try bench.scores(step: 3).compactMap { $0 }.max() == 4)
    let shown = try JSON.parse(Program.run(["runs", "show", bench.folder + "/run", "--json"]).output)
    #expect(shown["rewards"]?[1]?["kind"] == "plugin" && shown["rewards"]?[1]?["abi"] == "1.0")
    #expect(
      try Program.run(["run", bench.folder + "/recipe.yaml", "--allow-changed-rewards"]).errors.contains("--resume"))
  }

  /// A change while the run runs is not picked up, not even by a worker that starts again; one while it is paused is, and
  /// the reward goes on with its state.
  @Test func rewardsAreReloadedInAPauseAlone() throws {
    let bench = try Bench(Self.counting("(double)n + 0.25"), steps: 40)
    let run = bench.folder + "/run"
    let running = try bench.start()
    #expect(bench.wait(steps: 2, of: running))
    try bench.write(Self.counting("(double)n + 0.5"))
    #expect(bench.wait(steps: 5, of: running))
    let paused = try Program.run(["runs", "pause", run])
    #expect(paused.status == 0 && paused.errors.contains("attune runs continue"), "\(paused.errors)")
    while running.process.isRunning, try bench.store().status() != .paused { usleep(2000) }
    let done = try #require(try bench.store().show()["stages"]?[0]?["steps"]?.int)
    // It stands still, and can be looked at.
    usleep(100_000)
    #expect(try bench.store().show()["stages"]?[0]?["steps"]?.int == done)
    // What does not compile leaves it paused.
    try bench.write("this is no C")
    #expect(try Program.run(["runs", "continue", run]).status == 0)
    while running.process.isRunning, try !bench.store().events().contains(where: { $0.text.contains("stays paused") }) {
      usleep(2000)
    }
    try bench.write(Self.counting("(double)n + 0.75"))
    while running.process.isRunning, try bench.store().status() != .paused { usleep(2000) }
    #expect(try Program.run(["runs", "continue", run]).status == 0)
    let result = running.finish()
    try #require(result.status == 0, "\(result.errors)")
    #expect(result.errors.contains("paused; go on with: attune runs continue \(run)"), "\(result.errors)")
    let scores = try bench.scores().compactMap { $0 }
    #expect(scores == (0..<480).map { Double($0) + ($0 < done * 12 ? 0.25 : 0.75) })
    let versions = try bench.store().rewardVersions()
    #expect(versions.count == 2 && versions[1].step == done && versions[0].hash != versions[1].hash)
    let event = try bench.store().events().first { $0.text.contains("loaded anew before step \(done)") }
    #expect(
      event?.text.contains(versions[0].hash ?? "-") == true && event?.text.contains(versions[1].hash ?? "-") == true)
    // Nobody to pause, nothing to continue.
    #expect(try Program.run(["runs", "pause", run]).status == 2)
    let idle = try Program.run(["runs", "continue", run])
    #expect(idle.status == 2 && idle.errors.contains("not paused"))
  }

  /// A library that is written over in its place: the run scores with its own copy of the old one.
  @Test func aLibraryWrittenOverIsNotPickedUp() throws {
    let bench = try Bench(
      Self.plugin(score: "if (sample->sample_id % 40 == 39) abort(); usleep(1000); outcomes[i]->score = 1;"))
    let library = bench.folder + "/judge.so"
    func build() throws {
      let built = try Program.run(["reward", "build", bench.plugin, "--output", library])
      try #require(built.status == 0, "\(built.errors)")
    }
    try build()
    let running = try bench.start("run", ["--set", "rewards.judge.source=\(library)"])
    #expect(bench.wait(steps: 1, of: running))
    try bench.write(Self.plugin(score: "outcomes[i]->score = 2;"))
    try build()
    let result = running.finish()
    try #require(result.status == 0, "\(result.errors)")
    // Workers died twice on the way.
    let scores = try bench.scores()
    #expect(scores.filter { $0 == nil }.count == 2 && !scores.contains(2))
  }

  /// What rewards are told about a completion and where the run stands; the evaluation asks them too.
  @Test func whatRewardsSee() throws {
    let bench = try Bench(
      Self.plugin(
        needs: "ATTUNE_NEEDS_TOKENS", prelude: "#include <stdio.h>",
        score: """
          char text[400];
          snprintf(text, sizeof text,
                   "phase %d epoch %.3f total %d run %d messages %d channel '%.*s' references %d group %d limit %d "
                   "prefix '%.*s' first %d offsets %d",
                   batch->phase, batch->epoch, (int)batch->total_steps, batch->run_id.size > 0,
                   (int)sample->message_count, (int)sample->channel.size, sample->channel.data,
                   (int)sample->reference_count, (int)sample->group_id, (int)batch->call_time_limit_ms,
                   (int)sample->generation_prefix.size, sample->generation_prefix.data,
                   sample->token_offsets ? (int)sample->token_offsets[0] : -1, sample->token_offsets != NULL);
          char *kept = host->allocate(host, strlen(text) + 1);
          strcpy(kept, text);
          outcomes[i]->log = attune_text(kept);
          outcomes[i]->score = (double)sample->completion.size;
          host->metric(host, "bytes", (double)sample->completion.size);
          host->log(host, ATTUNE_LOG_WARNING, attune_text("seen"));
          """), steps: 2)
    let data = bench.folder + "/data.jsonl"
    try """
    {"prompt": "1 + 1 =", "answer": ["2", "two"], "channel": "sums"}
    {"prompt": "1 + 2 =", "answer": "3", "channel": "sums"}
    """.write(toFile: data, atomically: true, encoding: .utf8)
    let result = try bench.run(
      "run",
      [
        "--set", "data.train.file=\(data)", "--set", "data.eval={kind: jsonl, file: \(data)}", "--set",
        "evaluation.max_new_tokens=4", "--set", "evaluation.data=eval",
      ])
    try #require(result.status == 0, "\(result.errors)")
    let samples = try bench.store().samples()
    try #require(samples.count == 24)
    for sample in samples {
      let log = sample["rewards"]?["judge"]?["log"]?.string ?? ""
      let references = sample["prompt"]?.string?.contains("1 + 1") == true ? 2 : 1
      let epoch = sample["step"]?.int == 0 ? "0.000" : "1.500"
      let group = sample["prompt_id"]?.int ?? 0
      #expect(log.contains("phase 0 epoch \(epoch) total 2 run 1 messages 1 channel 'sums'"), "\(log)")
      #expect(log.contains("references \(references) group \(group) limit 20000 prefix '' first 0 offsets 1"), "\(log)")
    }
    let metrics = try bench.store().metricNames()
    for name in [
      "rewards/judge/mean", "rewards/judge/normalized_std", "rewards/judge/applicable", "rewards/judge/failed",
      "rewards/judge/timed_out", "rewards/judge/zero_spread", "rewards/judge/seconds", "unscored",
      "plugin/judge/bytes", "eval/rewards/judge/mean", "eval/plugin/judge/bytes",
    ] { #expect(metrics.contains(name), "\(name) is missing in \(metrics)") }
    let sizes = samples.prefix(12).compactMap { $0["rewards"]?["judge"]?["score"]?.double }
    let bytes = try #require(try bench.store().series("plugin/judge/bytes").first?.value)
    expectClose([bytes], [sizes.reduce(0, +) / 12], absolute: 1e-9)
    #expect(try bench.store().events().contains { $0.text == "judge: seen (12 times)" })
  }

  /// Token rewards alone move the policy; a weight for a component that does not exist ends the run in words.
  @Test func tokenRewardsAndComponents() throws {
    let code = Self.plugin(
      needs: "ATTUNE_NEEDS_TOKENS",
      score: """
        float *all = host->allocate(host, sample->token_count * sizeof(float));
        for (size_t t = 0; t < sample->token_count; t++) all[t] = sample->token_ids[t] % 2 ? 1.0f : -1.0f;
        outcomes[i]->token_rewards = all;
        outcomes[i]->token_reward_count = sample->token_count;
        attune_component *parts = host->allocate(host, sizeof(attune_component));
        parts[0].name = attune_text("exact");
        parts[0].value = (double)(sample->index_in_group % 2);
        outcomes[i]->components = parts;
        outcomes[i]->component_count = 1;
        outcomes[i]->score = 1;
        """
    )
    let bench = try Bench(code, steps: 3)
    func weights(_ run: String, _ more: [String]) throws -> Data {
      let result = try bench.run(run, more.flatMap { ["--set", $0] })
      try #require(result.status == 0, "\(result.errors)")
      return try bench.weights(run)
    }
    // Scores are equal: without token rewards there is nothing to learn.
    let start = try weights("none", ["rewards.judge.token_weight=0"])
    let zero = try weights("zero", ["rewards.judge.weight=0"])
    #expect(zero == start)
    #expect(try bench.store("zero").series("unscored").map(\.value) == [12, 12, 12])
    let moved = try weights("tokens", [])
    #expect(moved != start)
    #expect(try weights("small", ["stages.grpo.micro_batch=1"]) == moved)
    #expect(try weights("parts", ["rewards.judge.token_weight=0", "rewards.judge.components={exact: 0.5}"]) != start)
    #expect(try bench.store("parts").series("rewards/judge.exact/mean").map(\.value) == [0.5, 0.5, 0.5])
    let unknown = try bench.run("unknown", ["--set", "rewards.judge.components={exakt: 0.5}"])
    #expect(unknown.status == 1 && unknown.errors.contains("did you mean 'exact'?"), "\(unknown.errors)")
  }

  @Test func limitsStopTheRun() throws {
    let bench = try Bench(
      Self.plugin(
        score: """
          if (batch->step == 2 && sample->index_in_group) {
            outcomes[i]->status = ATTUNE_FAILED;
            outcomes[i]->log = attune_text("no model");
          } else
            outcomes[i]->score = 1;
          """), more: "reward_limits: {max_failed: 0.5}")
    let result = try bench.run()
    #expect(result.status == 1, "\(result.errors)")
    #expect(
      result.errors.contains("reward judge failed on 9 of 12 samples of step 2") && result.errors.contains("no model"))
    #expect(try bench.store().status() == .failed)
  }

  /// A column that no row has is found before anything is sampled, by `check` and by `run`.
  @Test func columnsThatNoRowHas() throws {
    let bench = try Bench("#include \"attune_reward.h\"\nATTUNE_REWARD(judge, \"1\") { return 1; }")
    let source = "rewards.judge.source=libm.so.6: double fabs(double column.promt)"
    for command in [["check", bench.folder + "/recipe.yaml"], ["run", bench.folder + "/recipe.yaml"]] {
      let result = try Program.run(command + ["--set", source])
      #expect(result.status == 2)
      #expect(
        result.errors.contains(
          "the reward 'judge' needs the column 'promt', which none of the first 16 rows of the data source 'train' has"),
        "\(result.errors)")
      #expect(result.errors.contains("did you mean 'prompt'?"), "\(result.errors)")
    }
  }
}
