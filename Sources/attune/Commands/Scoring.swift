import AttuneTensor
import AttuneVision
import Core
import Foundation
import Lab
import Models
import Rollout
import Text

/// What a line of `score` or `generate` asks for.
struct TextRequest {
  let prompt: EncodedPrompt
  /// Tokens to be scored after the prompt; nil scores the prompt's own.
  let completion: [Int32]?
  /// Name of the adapter that computes; nil for none.
  let adapter: String?
}

extension TextRequest {
  private static let keys: Set = [
    "input_ids", "text", "messages", "tools", "add_generation_prompt", "prompt", "completion", "images", "videos",
    "regex", "json_schema", "adapter",
  ]

  /// Reads `{"input_ids"}`, `{"text"}`, `{"messages"}` or `{"prompt"}` (with `{"completion"}` when scoring).
  init(_ line: JSON, policy: Policy, folder: String, scoring: Bool) throws {
    guard let object = line.object else { throw AttuneError.request("found \(line.kind), a mapping was expected") }
    adapter = try Self.adapter(line["adapter"], of: policy.model)
    let forms = ["input_ids", "text", "messages", "prompt"].filter { object[$0] != nil }
    guard forms.count == 1 else {
      let unknown = object.keys.first { !Self.keys.contains($0) }
      throw AttuneError.request(
        "found \(forms.isEmpty ? "none" : forms.joined(separator: " and ")) of input_ids, text, messages and prompt, exactly one was expected",
        hint: unknown.flatMap { key in
          nearestName(to: key, among: Self.keys.sorted()).map { "did you mean \"\($0)\" instead of \"\(key)\"?" }
        })
    }
    var media = try Self.pictures(line["images"], folder: folder)
    media.films = try Self.films(line["videos"], folder: folder)
    func render(_ value: JSON, generation: Bool) throws -> EncodedPrompt {
      guard let messages = value.array else {
        throw AttuneError.request("messages are \(value.kind), a list was expected", at: value.location(in: ""))
      }
      return try policy.prompt(
        messages: messages, media: media, tools: line["tools"], addGenerationPrompt: generation
      ).encoded
    }
    switch forms[0] {
    case "input_ids":
      guard let ids = object["input_ids"]!.array?.map(\.int), ids.allSatisfy({ $0 != nil }) else {
        throw AttuneError.request("input_ids is no list of whole numbers", at: object["input_ids"]!.location(in: ""))
      }
      prompt = try policy.encode(ids: ids.map { Int32(clamping: $0!) }, media: media)
      completion = nil
    case "text":
      guard let text = object["text"]!.string else {
        throw AttuneError.request(
          "text is \(object["text"]!.kind), a string was expected", at: object["text"]!.location(in: ""))
      }
      prompt = try policy.encode(text: text, media: media, isRaw: true)
      completion = nil
    case "messages":
      prompt = try render(object["messages"]!, generation: object["add_generation_prompt"]?.bool ?? !scoring)
      completion = nil
    default:
      let value = object["prompt"]!
      if let text = value.string {
        prompt = try policy.encode(text: text, media: media, isRaw: true)
      } else {
        prompt = try render(value, generation: true)
      }
      guard scoring else {
        completion = nil
        return
      }
      guard let given = object["completion"], let text = Self.completionText(given) else {
        throw AttuneError.request(
          "completion is \(object["completion"]?.kind ?? "missing"), a string was expected",
          at: (object["completion"] ?? line).location(in: ""))
      }
      completion = policy.ids(of: text)
    }
  }

  /// The adapter that a line names, null for none; without the key the first of the command line.
  private static func adapter(_ value: JSON?, of model: LanguageModel) throws -> String? {
    guard let value else { return model.adapterNames.first }
    if value.isNull { return nil }
    guard let name = value.string else {
      throw AttuneError.request("adapter is \(value.kind), a name was expected", at: value.location(in: ""))
    }
    guard model.adapterNames.contains(name) else {
      let names = model.adapterNames
      throw AttuneError.request(
        "there is no adapter '\(name)'", at: value.location(in: ""),
        hint: nearestName(to: name, among: names).map { "did you mean '\($0)'?" }
          ?? (names.isEmpty ? "give --adapter \(name)=DIR" : "there are: \(names.joined(separator: ", "))"))
    }
    return name
  }

  /// A string, or the text of one assistant message.
  private static func completionText(_ value: JSON) -> String? {
    if let text = value.string { return text }
    guard let messages = value.array, messages.count == 1 else { return nil }
    return messages[0]["content"]?.string
  }

  private static func pictures(_ value: JSON?, folder: String) throws -> PromptMedia {
    guard let value, !value.isNull else { return PromptMedia() }
    guard let paths = value.array?.map(\.string), paths.allSatisfy({ $0 != nil }) else {
      throw AttuneError.request("images is no list of paths", at: value.location(in: ""))
    }
    let names = paths.map { $0! }
    return PromptMedia(
      pictures: try names.map { try PictureDecoder.load(path: find($0, in: folder), options: .reference) },
      pictureNames: names)
  }

  /// Films: lists of their frames' paths, or paths of files or folders.
  private static func films(_ value: JSON?, folder: String) throws -> [VideoSource] {
    guard let value, !value.isNull else { return [] }
    guard let films = value.array else {
      throw AttuneError.request("videos is \(value.kind), a list was expected", at: value.location(in: ""))
    }
    return try films.enumerated().map { i, film in
      if let path = film.string { return try VideoSource(path: find(path, in: folder)) }
      guard let frames = film.array?.map(\.string), !frames.isEmpty, frames.allSatisfy({ $0 != nil }) else {
        throw AttuneError.request(
          "videos holds \(film.kind), the paths of a film's frames or the path of a file were expected",
          at: film.location(in: ""))
      }
      return .frames(frames.map { find($0!, in: folder) }, name: "video \(i + 1)")
    }
  }

  /// Paths stand in the folder of the file that names them, or else where the command was called.
  private static func find(_ path: String, in folder: String) -> String {
    let own = path.hasPrefix("/") || folder.isEmpty ? path : folder + "/" + path
    return FileManager.default.fileExists(atPath: own) ? own : path
  }
}

/// The folder of a file, for paths that stand in it.
private func folder(of path: String) -> String {
  path == "-" ? "" : (path as NSString).deletingLastPathComponent
}

let scoreCommand = Command(
  words: ["score"], summary: "log-probabilities of given sequences",
  options: CommonFlags.engine + JSONLines.options + [
    .init(name: "--top", value: "K", help: "also the K likeliest ids and their log-probabilities at each place")
  ],
  example: #"echo '{"text": "hello"}' | attune score --model checkpoints/tiny"#,
  details: """
    Lines: {"input_ids": [..]}, {"text": ".."}, {"messages": [..]} or {"prompt": .., "completion": ".."}, each with optional
    "images": ["path", ..] and "videos": [["frame path", ..], ..]. Out: {"input_ids": [..], "logprobs": [..]}: logprobs[i] is that of input_ids[i+1]; with prompt and
    completion the completion's alone, and "completion_ids". With several adapters (--adapter a=DIR --adapter b=DIR)
    "adapter": "b" chooses one for the line, null none; without it the first computes.
    """
) { arguments in
  let policy = try CommonFlags.policy(arguments)
  let top = try arguments.int("--top") ?? 0
  guard top >= 0 else { throw AttuneError.request("--top is \(top), 0 or more was expected") }
  let lines = JSONLines(arguments)
  return try lines.map({ try TextRequest($0, policy: policy, folder: folder(of: lines.input), scoring: true) }) {
    requests in
    try requests.map { request in
      try policy.model.activateAdapter(request.adapter)
      return Result { score(request, policy: policy, top: top) }
    }
  }
}

private func score(_ request: TextRequest, policy: Policy, top: Int) -> JSON {
  let model = policy.model
  let backend = model.backend
  let tape = Tape(backend, recording: false)
  let ids = request.prompt.ids + (request.completion ?? [])
  let extra = request.completion?.count ?? 0
  var forest = Forest()
  forest.append(count: ids.count)
  let positions = request.prompt.positions + (0..<extra).map { TokenPosition(request.prompt.nextPosition + $0) }
  let hidden = model.hidden(
    tape,
    PackedBatch(
      ids: ids, positions: positions, plan: forest.attentionPlan, pictures: request.prompt.pictures,
      pictureRows: request.prompt.pictureRows))
  let first = request.completion == nil ? 0 : request.prompt.ids.count - 1
  let rows = Array(Int32(first)..<Int32(ids.count - 1))
  var result: [(String, JSON)] = [("input_ids", .array(ids.map { .int($0) }))]
  if let completion = request.completion { result.append(("completion_ids", .array(completion.map { .int($0) }))) }
  guard !rows.isEmpty else {
    result.append(("logprobs", []))
    return .object(result)
  }
  let states = tape.gatherRows(hidden, rows)
  let streams = tape.head(
    states, model.head, targets: Array(ids[(first + 1)...]), temperature: 1, wanted: [.logprob, .logSumExp])
  let values = backend.floats(streams)
  result.append(("logprobs", .array(values.prefix(rows.count).map { .double(Double($0)) })))
  if top > 0 {
    let logits = backend.floats(tape.logits(states, model.head))
    let vocabulary = model.configuration.text.vocabularySize
    let places = rows.indices.map { row -> JSON in
      let own = logits[row * vocabulary..<(row + 1) * vocabulary]
      let best = own.indices.sorted { (own[$1], $0) < (own[$0], $1) }.prefix(top)
      let lse = values[rows.count * HeadStream.logSumExp.rawValue + row]
      return [
        "ids": .array(best.map { .int($0 - own.startIndex) }),
        "logprobs": .array(best.map { .double(Double(own[$0] - lse)) }),
      ]
    }
    result.append(("top", .array(Array(places))))
  }
  return .object(result)
}

let generateCommand = Command(
  words: ["generate"], summary: "completions",
  options: CommonFlags.engine + JSONLines.options + [
    CommonFlags.seed,
    .init(name: "--max-new-tokens", value: "N", help: "limit on new tokens (default 128)"),
    .init(name: "--temperature", value: "T", help: "0 is greedy (default 1)"),
    .init(name: "--top-k", value: "K", help: "keep the K likeliest ids (default 0, off)"),
    .init(name: "--top-p", value: "P", help: "keep the smallest set of probability P (default 1, off)"),
    .init(name: "--min-p", value: "P", help: "drop ids below P times the likeliest (default 0, off)"),
    .init(
      name: "--typical-p", value: "P", help: "keep the ids of typical surprise up to probability P (default 1, off)"),
    .init(name: "--epsilon-cutoff", value: "E", help: "drop ids less probable than E (default 0, off)"),
    .init(
      name: "--eta-cutoff", value: "E", help: "the same, with a lower limit where the entropy is high (default 0, off)"),
    .init(
      name: "--min-tokens-to-keep", value: "N", help: "ids that top-p, min-p, typical-p and cutoffs leave (default 1)"),
    .init(name: "--repetition-penalty", value: "R", help: "over prompt and completion (default 1, off)"),
    .init(name: "--repetition-penalty-generated-only", value: nil, help: "leave the prompt out of that"),
    .init(name: "--presence-penalty", value: "P", help: "subtracted once from generated ids (default 0)"),
    .init(name: "--frequency-penalty", value: "P", help: "subtracted per occurrence (default 0)"),
    .init(name: "--no-repeat-ngram", value: "N", help: "no N ids in a row appear twice (default 0, off)"),
    .init(name: "--suppress", value: "ID", help: "an id that is never chosen", repeats: true),
    .init(
      name: "--sequence-bias", value: "IDS=B", help: "add B to the last of these ids behind the others: 12,7=-2.5",
      repeats: true),
    .init(name: "--min-new-tokens", value: "N", help: "no end-of-sequence id before N tokens (default 0)"),
    .init(name: "--regex", value: "PATTERN", help: "completions match this regular expression as a whole"),
    .init(name: "--json-schema", value: "FILE", help: "completions are JSON values of this schema"),
    .init(name: "--stop", value: "S", help: "end at this text, which is cut off", repeats: true),
    .init(name: "--ignore-eos", value: nil, help: "go on after an end-of-sequence id"),
    .init(name: "--n", value: "G", help: "completions per line (default 1)"),
    .init(name: "--cache-mib", value: "M", help: "MiB that keys and values may take (default 2048)"),
    .init(name: "--sequences", value: "S", help: "completions that grow at once (default 256)"),
  ],
  example:
    #"echo '{"messages": [{"role": "user", "content": "hi"}]}' | attune generate --model checkpoints/tiny --temperature 0"#,
  details: """
    Lines as for `attune score`, without the completion; {"regex": ".."} or {"json_schema": {..}} in a line goes before the flag.
    Out: {"completions": [{"ids": [..], "text": "..", "logprobs": [..], "finish_reason": "stop|length|stop_string"}, ..]};
    logprobs are at temperature 1 before truncation, penalties and guides, the bits that score gives.
    """
) { arguments in
  var parameters = try samplingParameters(arguments)
  let count = try arguments.int("--n") ?? 1
  guard count >= 1 else { throw AttuneError.request("--n is \(count), 1 or more was expected") }
  let policy = try CommonFlags.policy(arguments)
  try checkIDs(of: parameters, vocabulary: policy.model.configuration.text.vocabularySize)
  if !arguments.has("--ignore-eos") { parameters.stopIDs = Set(policy.endIDs) }
  var limits = RolloutLimits()
  let cache = try arguments.int("--cache-mib") ?? limits.cacheBytes >> 20
  guard cache >= 1, cache < 1 << 40 else {
    throw AttuneError.request("--cache-mib is \(cache), 1 or more was expected")
  }
  limits.cacheBytes = cache << 20
  limits.sequences = try arguments.int("--sequences") ?? limits.sequences
  guard limits.sequences >= 1 else {
    throw AttuneError.request("--sequences is \(limits.sequences), 1 or more was expected")
  }
  let engine = LocalEngine(
    policy.model, decoder: policy.tokenizer, seed: try CommonFlags.seed(arguments), limits: limits)
  let guides = try Guides(arguments, policy: policy)
  let lines = JSONLines(arguments)
  return try lines.map({ line in
    let request = try TextRequest(line, policy: policy, folder: folder(of: lines.input), scoring: false)
    return (prompt: request.prompt, guide: try guides.guide(for: line), adapter: request.adapter)
  }) { requests in
    // Lines of one adapter are computed together; each line's number decides what is drawn for it.
    var groups = [[Completion]](repeating: [], count: requests.count)
    for adapter in Set(requests.map(\.adapter)).sorted(by: { ($0 ?? "") < ($1 ?? "") }) {
      try policy.model.activateAdapter(adapter)
      let places = requests.indices.filter { requests[$0].adapter == adapter }
      let completions = try engine.generate(
        places.map {
          RolloutRequest(
            prompt: requests[$0].prompt, completions: count, promptNumber: $0, guide: requests[$0].guide)
        }, parameters)
      for (place, group) in zip(places, completions) { groups[place] = group }
    }
    return groups.map { group in
      .success([
        "completions": .array(
          group.map { completion in
            [
              "ids": .array(completion.ids.map { .int($0) }), "text": .string(completion.text),
              "logprobs": .array(completion.logprobs.map { .double(Double($0)) }),
              "finish_reason": .string(completion.finishReason.rawValue),
            ]
          })
      ])
    }
  }
}

/// What the flags of `generate` say about choosing tokens.
private func samplingParameters(_ arguments: Arguments) throws -> SamplingParameters {
  var parameters = SamplingParameters()
  parameters.maxNewTokens = try arguments.int("--max-new-tokens") ?? 128
  parameters.temperature = try arguments.number("--temperature") ?? 1
  parameters.topK = try arguments.int("--top-k") ?? 0
  parameters.topP = try arguments.number("--top-p") ?? 1
  parameters.minP = try arguments.number("--min-p") ?? 0
  parameters.repetitionPenalty = try arguments.number("--repetition-penalty") ?? 1
  parameters.presencePenalty = try arguments.number("--presence-penalty") ?? 0
  parameters.frequencyPenalty = try arguments.number("--frequency-penalty") ?? 0
  parameters.typicalP = try arguments.number("--typical-p") ?? 1
  parameters.epsilonCutoff = try arguments.number("--epsilon-cutoff") ?? 0
  parameters.etaCutoff = try arguments.number("--eta-cutoff") ?? 0
  parameters.minTokensToKeep = try arguments.int("--min-tokens-to-keep") ?? 1
  parameters.penalizesPrompt = !arguments.has("--repetition-penalty-generated-only")
  parameters.noRepeatNGramSize = try arguments.int("--no-repeat-ngram") ?? 0
  parameters.minNewTokens = try arguments.int("--min-new-tokens") ?? 0
  parameters.suppressedIDs = Set(
    try arguments.list("--suppress").map { text in
      guard let id = Int32(text) else { throw AttuneError.request("--suppress is '\(text)', an id was expected") }
      return id
    })
  parameters.sequenceBias = try arguments.list("--sequence-bias").map { text in
    let sides = text.split(separator: "=", omittingEmptySubsequences: false)
    let ids = sides[0].split(separator: ",", omittingEmptySubsequences: false).map { Int32($0) }
    guard sides.count == 2, let bias = Double(sides[1]), !ids.contains(nil) else {
      throw AttuneError.request("--sequence-bias is '\(text)', ids and a number such as 12,7=-2.5 were expected")
    }
    return SequenceBias(ids: ids.map { $0! }, bias: bias)
  }
  parameters.stopStrings = arguments.list("--stop")
  try parameters.validate()
  return parameters
}

private func checkIDs(of parameters: SamplingParameters, vocabulary: Int) throws {
  if let id = parameters.suppressedIDs.max(), id >= vocabulary {
    throw AttuneError.request("--suppress is \(id), an id from 0 to \(vocabulary - 1) was expected")
  }
  if let id = parameters.sequenceBias.flatMap(\.ids).max(), id >= vocabulary {
    throw AttuneError.request("--sequence-bias has the id \(id), ids from 0 to \(vocabulary - 1) were expected")
  }
}
