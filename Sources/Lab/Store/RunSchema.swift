/// The tables of a run store, as their history.
enum RunSchema {
  /// 'Atun' in the file's header.
  static let application = 0x4174_756E

  /// Steps count from 0 within their stage. Floats of `logprobs` and integers of `ids` are 32-bit little-endian.
  static let migrations = [
    Migration(
      name: "runs, stages, rollouts and evaluations",
      sql: """
        CREATE TABLE run (
          key INTEGER PRIMARY KEY CHECK (key = 0),
          id TEXT NOT NULL, name TEXT NOT NULL, file TEXT NOT NULL, recipe TEXT NOT NULL, effective TEXT NOT NULL,
          status TEXT NOT NULL, started REAL NOT NULL, seconds REAL NOT NULL, host TEXT NOT NULL, checkpoint TEXT);
        CREATE TABLE stages (
          stage INTEGER PRIMARY KEY, name TEXT NOT NULL, objective TEXT NOT NULL,
          steps_done INTEGER NOT NULL, steps_planned INTEGER NOT NULL, seconds REAL NOT NULL);
        CREATE TABLE metrics (
          stage INTEGER NOT NULL, step INTEGER NOT NULL, name TEXT NOT NULL, value REAL,
          PRIMARY KEY (name, stage, step)) WITHOUT ROWID;
        CREATE INDEX metrics_by_step ON metrics (stage, step);
        CREATE TABLE prompts (
          stage INTEGER NOT NULL, step INTEGER NOT NULL, prompt INTEGER NOT NULL,
          text TEXT NOT NULL, messages TEXT NOT NULL, reference TEXT, columns TEXT NOT NULL,
          PRIMARY KEY (stage, step, prompt));
        CREATE TABLE rollouts (
          stage INTEGER NOT NULL, step INTEGER NOT NULL, prompt INTEGER NOT NULL, place INTEGER NOT NULL,
          completion TEXT NOT NULL, raw TEXT NOT NULL, finish_reason TEXT NOT NULL,
          ids BLOB NOT NULL, logprobs BLOB NOT NULL, reward REAL, advantage REAL,
          PRIMARY KEY (stage, step, prompt, place));
        CREATE INDEX rollouts_by_reward ON rollouts (reward);
        CREATE TABLE rewards (
          stage INTEGER NOT NULL, step INTEGER NOT NULL, prompt INTEGER NOT NULL, place INTEGER NOT NULL,
          name TEXT NOT NULL, score REAL, status TEXT NOT NULL, log TEXT,
          PRIMARY KEY (stage, step, prompt, place, name)) WITHOUT ROWID;
        CREATE TABLE components (
          stage INTEGER NOT NULL, step INTEGER NOT NULL, prompt INTEGER NOT NULL, place INTEGER NOT NULL,
          reward TEXT NOT NULL, name TEXT NOT NULL, value REAL,
          PRIMARY KEY (stage, step, prompt, place, reward, name)) WITHOUT ROWID;
        CREATE TABLE pictures (hash TEXT PRIMARY KEY, png BLOB NOT NULL);
        CREATE TABLE prompt_pictures (
          stage INTEGER NOT NULL, step INTEGER NOT NULL, prompt INTEGER NOT NULL, place INTEGER NOT NULL,
          hash TEXT NOT NULL, PRIMARY KEY (stage, step, prompt, place)) WITHOUT ROWID;
        CREATE TABLE evaluations (
          stage INTEGER NOT NULL, step INTEGER NOT NULL, sample INTEGER NOT NULL,
          prompt TEXT NOT NULL, completion TEXT NOT NULL, answer TEXT, reference TEXT, correct INTEGER NOT NULL,
          finish_reason TEXT NOT NULL, scores TEXT NOT NULL,
          PRIMARY KEY (stage, step, sample));
        CREATE TABLE evaluation_pictures (
          stage INTEGER NOT NULL, step INTEGER NOT NULL, sample INTEGER NOT NULL, place INTEGER NOT NULL,
          hash TEXT NOT NULL, PRIMARY KEY (stage, step, sample, place)) WITHOUT ROWID;
        CREATE TABLE outcomes (
          stage INTEGER NOT NULL, step INTEGER NOT NULL, prompt INTEGER NOT NULL, place INTEGER NOT NULL,
          reward TEXT NOT NULL, completion_hash TEXT NOT NULL, outcome TEXT NOT NULL,
          PRIMARY KEY (stage, step, prompt, place, reward, completion_hash)) WITHOUT ROWID;
        CREATE TABLE events (
          key INTEGER PRIMARY KEY, time REAL NOT NULL, level TEXT NOT NULL, text TEXT NOT NULL);
        """),
    Migration(
      name: "surveys, alarms, and what rewards saw",
      sql: """
        CREATE TABLE surveys (stage INTEGER PRIMARY KEY, survey TEXT NOT NULL);
        CREATE TABLE alarms (
          stage INTEGER NOT NULL, step INTEGER NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL, alarm TEXT NOT NULL,
          PRIMARY KEY (stage, step, kind, subject)) WITHOUT ROWID;
        ALTER TABLE prompts ADD COLUMN facts TEXT;
        ALTER TABLE rollouts ADD COLUMN facts TEXT;
        """),
    Migration(
      name: "what rewards were made of",
      sql: """
        CREATE TABLE reward_versions (
          key INTEGER PRIMARY KEY, name TEXT NOT NULL, stage INTEGER NOT NULL, step INTEGER NOT NULL,
          kind TEXT NOT NULL, source TEXT NOT NULL, hash TEXT, abi TEXT NOT NULL, version TEXT NOT NULL,
          reward TEXT NOT NULL, parameters TEXT NOT NULL);
        """),
  ]
}
