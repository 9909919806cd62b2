import AttuneTensor
import Core
import Models

#if canImport(Glibc)
  import Glibc
#else
  import Darwin
#endif

/// Runs the sequences of one call: each step computes the next token of every running sequence together with the prompts
/// that have just been admitted, as one packed batch.
///
/// Admission is first come, first served. A sequence that finds no page takes those of the youngest, which waits at the
/// front of the queue and is later computed again from its tokens: the oldest sequence always moves on, so all end.
final class RolloutScheduler {
  /// A request's prompt as the cache knows it.
  final class Prompt {
    let request: RolloutRequest
    let number: Int
    let keys: [PrefixTree.Key]
    init(_ request: RolloutRequest, number: Int) {
      self.request = request
      self.number = number
      keys = request.prompt.cacheKeys
    }
    var encoded: EncodedPrompt { request.prompt }
  }

  /// A completion that is waiting or growing.
  final class Sequence {
    let prompt: Prompt
    let place: RolloutPlace
    var ids: [Int32] = []
    var logprobs: [Float] = []
    var finish: FinishReason?
    var stopText: String?
    /// Pieces of the prompt's pages, then of its own.
    var path: [KeyPiece] = []
    /// Pages on the path, each held once.
    var pages: [Int32] = []
    var cursor: GuideCursor?
    /// Node of the prefix tree where the prompt ends.
    var promptEnd: PrefixTree.Node?

    init(_ prompt: Prompt, _ index: Int) {
      self.prompt = prompt
      cursor = prompt.request.guide.map(GuideCursor.init)
      place = RolloutPlace(step: prompt.request.step, prompt: prompt.request.promptNumber, index: index)
    }
    var length: Int { prompt.keys.count + ids.count }
  }

  /// Sequences of one prompt that wait together, or one that was set aside.
  struct Waiting {
    let prompt: Prompt
    var sequences: [Sequence]
  }

  /// A prompt (or the tokens of a sequence that was set aside) that is being computed in parts.
  struct Prefill {
    let prompt: Prompt
    let sequences: [Sequence]
    var path: [KeyPiece]
    var pages: [Int32]
    var node: PrefixTree.Node?
    /// Tokens on the path so far.
    var done: Int
  }

  private let engine: LocalEngine
  let cache: KVCache
  let tree: PrefixTree
  private let parameters: SamplingParameters
  private let sampler: Sampler
  private let tape: Tape
  private(set) var waiting: [Waiting] = []
  private(set) var prefills: [Prefill] = []
  /// In order of admission.
  private(set) var running: [Sequence] = []
  private var finished: [Int: [Int: Completion]] = [:]
  private var wantedPages = 0
  private(set) var statistics = RolloutStatistics()

  init(_ engine: LocalEngine, cache: KVCache, tree: PrefixTree, _ parameters: SamplingParameters) {
    self.engine = engine
    self.cache = cache
    self.tree = tree
    self.parameters = parameters
    sampler = Sampler(parameters: parameters, randomness: engine.randomness)
    tape = Tape(engine.model.backend, recording: false)
  }

  /// - Throws: `.request` if the longest completion of this prompt alone would not fit the budget.
  func add(_ request: RolloutRequest, number: Int) throws {
    let own = (parameters.maxNewTokens + KeyPiece.pageSize - 1) / KeyPiece.pageSize
    let needed = pagesOf(request.prompt.ids.count) + own
    guard needed <= cache.limit else {
      let bytes = KVCache.bytesPerPage(engine.model.configuration.text)
      throw AttuneError.request(
        "a prompt of \(request.prompt.ids.count) tokens and \(parameters.maxNewTokens) new ones need \(mebibytes(needed * bytes)) MiB of keys and values, the budget is \(mebibytes(engine.limits.cacheBytes)) MiB",
        hint: "allow fewer new tokens, or raise the budget of the cache")
    }
    guard request.completions > 0 else { return }
    let prompt = Prompt(request, number: number)
    waiting.append(Waiting(prompt: prompt, sequences: (0..<request.completions).map { Sequence(prompt, $0) }))
    wantedPages += pagesOf(request.prompt.ids.count) + own * request.completions
  }

  private func mebibytes(_ bytes: Int) -> Int { (bytes + (1 << 20) - 1) >> 20 }
  private func pagesOf(_ tokens: Int) -> Int { (tokens + KeyPiece.pageSize - 1) / KeyPiece.pageSize }

  /// Makes room for what will run at once, as far as that is known.
  func reserve() {
    let own = (parameters.maxNewTokens + KeyPiece.pageSize - 1) / KeyPiece.pageSize
    let total = waiting.reduce(0) { $0 + $1.sequences.count }
    let atOnce = min(total, engine.limits.sequences)
    // Completions often end early: a first page for each, more when they get there.
    let share = total == 0 ? 0 : wantedPages * atOnce / total
    cache.reserve(
      cache.heldPages + min(share, atOnce * min(own, 2) + waiting.reduce(0) { $0 + pagesOf($1.prompt.keys.count) }))
  }

  func results(_ count: Int) -> [[Completion]] {
    (0..<count).map { completions(of: $0) }
  }

  /// The completions of a request, or nil while some of them still grow.
  func group(_ number: Int, of count: Int) -> [Completion]? {
    (finished[number]?.count ?? 0) >= count ? completions(of: number) : nil
  }

  private func completions(of number: Int) -> [Completion] {
    (finished[number] ?? [:]).sorted { $0.key < $1.key }.map(\.value)
  }

  // MARK: One step

  /// Computes one token of everything that runs; false when nothing is left.
  func step() throws -> Bool {
    let started = seconds()
    makeRoomToGrow()
    var batch = Batch()
    var predicted: [(sequence: Sequence, row: Int32)] = []
    for sequence in running {
      predicted.append((sequence, Int32(batch.ids.count)))
      append(sequence, to: &batch)
    }
    batch.plan.addRows(query: 0, paths: running.map(\.path))
    let decodedRows = batch.ids.count
    // A prompt joins the batch as soon as it is admitted, so that the next one can share what it begins with.
    func prefill(_ given: Prefill) -> Prefill? {
      var prefill = given
      guard let row = append(&prefill, to: &batch, most: engine.limits.prefillTokens + decodedRows - batch.ids.count)
      else { return prefill }
      for sequence in prefill.sequences { predicted.append((sequence, row)) }
      running += prefill.sequences
      return nil
    }
    prefills = prefills.compactMap { prefill($0) }
    while batch.ids.count - decodedRows < engine.limits.prefillTokens, let admitted = admitFirst() {
      if let left = prefill(admitted) { prefills.append(left) }
    }
    guard !batch.ids.isEmpty else { return false }
    let prefilled = batch.ids.count - decodedRows
    cache.slots = batch.slots
    let model = engine.model
    let hidden = model.hidden(
      tape,
      PackedBatch(
        ids: batch.ids, positions: batch.positions, plan: batch.plan, pictures: batch.pictures,
        pictureRows: batch.pictureRows), PassOptions(cache: cache))
    if !predicted.isEmpty {
      try extend(predicted.map(\.sequence), tape.gatherRows(hidden, predicted.map(\.row)))
      retireFinished()
    }
    statistics.passes += 1
    statistics.prefilledTokens += prefilled
    statistics.peakPages = max(statistics.peakPages, cache.peakPages)
    let spent = seconds() - started
    if prefilled > 0 { statistics.prefillSeconds += spent } else { statistics.decodeSeconds += spent }
    return true
  }

  private func seconds() -> Double {
    var t = timespec()
    clock_gettime(CLOCK_MONOTONIC, &t)
    return Double(t.tv_sec) + Double(t.tv_nsec) * 1e-9
  }

  /// The packed batch of one step.
  private struct Batch {
    var ids: [Int32] = []
    var positions: [TokenPosition] = []
    var slots: [Int32] = []
    var plan = AttentionPlan(causal: true)
    var pictures: [PictureInput] = []
    var pictureRows: [Int32] = []
  }

  /// The newest token of a running sequence; its page has room (`makeRoomToGrow`).
  private func append(_ sequence: Sequence, to batch: inout Batch) {
    batch.ids.append(sequence.ids.last!)
    batch.positions.append(TokenPosition(sequence.prompt.encoded.nextPosition + sequence.ids.count - 1))
    let last = sequence.path[sequence.path.count - 1]
    batch.slots.append(last.page * Int32(KeyPiece.pageSize) + last.lane + last.rows - 1)
  }

  /// The next part of a prompt, at most so many tokens; returns the row that predicts the first new token once the whole
  /// prompt is in.
  private func append(_ prefill: inout Prefill, to batch: inout Batch, most: Int) -> Int32? {
    guard most > 0 else { return nil }
    let prompt = prefill.prompt
    let resumed = prefill.sequences[0].ids
    let whole = prompt.keys.count + resumed.count
    var end = min(whole, prefill.done + most)
    // Never half a picture.
    if let picture = prompt.encoded.pictureRanges.first(where: { $0.lowerBound < end && end < $0.upperBound }) {
      end = picture.lowerBound > prefill.done ? picture.lowerBound : picture.upperBound
    }
    let row = batch.ids.count
    let shift = Int32(row - prefill.done)
    let own = prefill.done..<end
    let inPrompt = own.clamped(to: 0..<prompt.keys.count)
    batch.ids += prompt.encoded.ids[inPrompt]
    batch.positions += prompt.encoded.positions[inPrompt]
    for place in own where place >= prompt.keys.count {
      batch.ids.append(resumed[place - prompt.keys.count])
      batch.positions.append(TokenPosition(prompt.encoded.nextPosition + place - prompt.keys.count))
    }
    for (i, range) in prompt.encoded.pictureRanges.enumerated() where own.contains(range.lowerBound) {
      batch.pictures.append(prompt.encoded.pictures[i])
      batch.pictureRows += range.map { Int32($0) + shift }
    }
    for piece in pieces(of: prefill.path, own) {
      let first = piece.page * Int32(KeyPiece.pageSize) + piece.lane
      batch.slots += first..<first + piece.rows
    }
    if engine.limits.sharesPrefixes, let node = prefill.node {
      prefill.node = tree.insert(prompt.keys[inPrompt], pieces: pieces(of: prefill.path, inPrompt), after: node)
    }
    batch.plan.addRun(query: row, rows: own.count, seen: prefill.done + 1, path: prefill.path)
    prefill.done = end
    guard end == whole else { return nil }
    // Every sequence of the group holds the pages for itself; the prefill's own hold goes to the first.
    for (i, sequence) in prefill.sequences.enumerated() {
      sequence.path = prefill.path
      sequence.pages = prefill.pages
      sequence.promptEnd = prefill.node
      if i > 0 { for page in prefill.pages { cache.retain(page) } }
    }
    return Int32(row + own.count - 1)
  }

  /// The part of a path that holds the given tokens.
  private func pieces(of path: [KeyPiece], _ tokens: Range<Int>) -> [KeyPiece] {
    var at = 0
    var result: [KeyPiece] = []
    for piece in path {
      let range = (at..<at + Int(piece.rows)).clamped(to: tokens)
      if !range.isEmpty {
        result.append(
          KeyPiece(page: piece.page, lane: piece.lane + Int32(range.lowerBound - at), rows: Int32(range.count)))
      }
      at += Int(piece.rows)
    }
    return result
  }

  // MARK: Pages

  /// A page from whoever can spare one: the free list, or the least recently used beginning that nobody runs on.
  private func page() -> Int32? {
    while true {
      if let page = cache.allocate() { return page }
      if !tree.evictOne() { return nil }
    }
  }

  /// Gives every running sequence room for its newest token; the youngest give way if there is none.
  private func makeRoomToGrow() {
    var i = 0
    while i < running.count {
      if grow(running[i]) {
        i += 1
        continue
      }
      if let prefill = prefills.popLast() {
        setAside(prefill)
        continue
      }
      let isLast = running.count == 1
      setAside(running.removeLast())
      // Beginnings found in many half-used pages can hold more than the sequence needs: compute it afresh.
      if isLast { tree.clear() }
    }
  }

  private func grow(_ sequence: Sequence) -> Bool {
    if let last = sequence.path.last, Int(last.lane + last.rows) < KeyPiece.pageSize, ownsLastPage(sequence) {
      sequence.path[sequence.path.count - 1].rows += 1
      return true
    }
    guard let page = page() else { return false }
    sequence.pages.append(page)
    sequence.path.append(KeyPiece(page: page, lane: 0, rows: 1))
    return true
  }

  /// True if the last page was begun by this sequence after its prompt.
  private func ownsLastPage(_ sequence: Sequence) -> Bool {
    var tokens = 0
    for piece in sequence.path.dropLast() { tokens += Int(piece.rows) }
    return tokens >= sequence.prompt.keys.count
  }

  private func setAside(_ sequence: Sequence) {
    statistics.preemptions += 1
    for page in sequence.pages { cache.release(page) }
    sequence.pages = []
    sequence.path = []
    sequence.promptEnd = nil
    waiting.insert(Waiting(prompt: sequence.prompt, sequences: [sequence]), at: 0)
  }

  private func setAside(_ prefill: Prefill) {
    statistics.preemptions += 1
    for page in prefill.pages { cache.release(page) }
    waiting.insert(Waiting(prompt: prefill.prompt, sequences: prefill.sequences), at: 0)
  }

  // MARK: Admission

  /// Admits what waits first, or as much of it as there is room for beside one more page of everything that runs; nil if
  /// there is none.
  private func admitFirst() -> Prefill? {
    let busy = running.count + prefills.reduce(0) { $0 + $1.sequences.count }
    let places = engine.limits.sequences - busy
    guard places > 0, let first = waiting.first else { return nil }
    if let admitted = admit(first, places: places, busy: busy, sharing: engine.limits.sharesPrefixes) {
      return admitted
    }
    guard busy == 0 else { return nil }
    // Alone it must fit (`add` saw to that), once nothing else is held.
    tree.clear()
    return admit(first, places: places, busy: 0, sharing: false)
  }

  private func admit(_ first: Waiting, places: Int, busy: Int, sharing: Bool) -> Prefill? {
    let prompt = first.prompt
    let resumed = first.sequences[0].ids.count
    // At least one token must be computed, or nothing would predict the next.
    let most = sharing ? prompt.keys.count - (resumed > 0 ? 0 : 1) : 0
    var (node, path, count) = tree.match(prompt.keys, limit: most)
    // A picture is computed whole: a beginning that ends inside one ends before it.
    if let picture = prompt.encoded.pictureRanges.first(where: { $0.lowerBound < count && count < $0.upperBound }) {
      (node, path, count) = tree.match(prompt.keys, limit: picture.lowerBound)
    }
    // Held before anything is evicted.
    var pages = path.map(\.page)
    for page in pages { cache.retain(page) }
    let fresh = pagesOf(prompt.keys.count - count)
    func fits(_ sequences: Int) -> Bool {
      // The next token included, whose page may be one that the resumed tokens need anyway.
      let own = resumed > 0 ? pagesOf(resumed + 1) : sequences
      while cache.availablePages < fresh + own + busy { if !tree.evictOne() { return false } }
      return true
    }
    var sequences = min(first.sequences.count, places)
    while sequences > 0, !fits(sequences) { sequences -= 1 }
    guard sequences > 0 else {
      for page in pages { cache.release(page) }
      return nil
    }
    func take(_ tokens: Int) -> [KeyPiece] {
      (0..<pagesOf(tokens)).map { i in
        let page = cache.allocate()!
        pages.append(page)
        return KeyPiece(page: page, lane: 0, rows: Int32(min(KeyPiece.pageSize, tokens - i * KeyPiece.pageSize)))
      }
    }
    path += take(prompt.keys.count - count)
    path += take(resumed)
    statistics.cachedTokens += count
    let admitted = Array(first.sequences.prefix(sequences))
    if sequences == first.sequences.count {
      waiting.removeFirst()
    } else {
      waiting[0].sequences.removeFirst(sequences)
    }
    return Prefill(prompt: prompt, sequences: admitted, path: path, pages: pages, node: node, done: count)
  }

  // MARK: Tokens

  /// Bytes of logits that exist at a time.
  private static let logitBytes = 64 << 20

  /// Samples one token for every sequence from its hidden state, and records its log-probability.
  private func extend(_ sequences: [Sequence], _ states: Tensor) throws {
    let backend = engine.model.backend
    let most = max(1, Self.logitBytes / (4 * engine.model.configuration.text.vocabularySize))
    for start in stride(from: 0, to: sequences.count, by: most) {
      let block = start..<min(start + most, sequences.count)
      let logits = tape.logits(states.rowRange(block), engine.model.head)
      let (ids, logprobs) = sampler.choose(
        logits,
        try sequences[block].map {
          Sampler.Row(
            place: $0.place, prompt: $0.prompt.encoded.ids, generated: $0.ids, allowed: try $0.cursor?.allowed())
        }, on: backend)
      for (i, sequence) in sequences[block].enumerated() {
        sequence.ids.append(ids[i])
        sequence.logprobs.append(logprobs[i])
        statistics.sampledTokens += 1
        decideEnd(sequence)
        if try sequence.cursor?.advance(ids[i]) == true { sequence.finish = .stop }
      }
    }
  }

  /// Decides whether the sequence ends with the token just appended.
  private func decideEnd(_ sequence: Sequence) {
    if parameters.stopIDs.contains(sequence.ids.last!) {
      sequence.finish = .stop
    } else if sequence.ids.count >= parameters.maxNewTokens {
      sequence.finish = .length
    }
    guard !parameters.stopStrings.isEmpty else { return }
    let text = engine.decoder.decode(sequence.ids, skipSpecialTokens: true)
    if let found = parameters.stopStrings.compactMap({ firstRange(of: $0, in: text) }).min() {
      sequence.finish = .stopString
      sequence.stopText = String(text[..<found])
    }
  }

  private func firstRange(of stop: String, in text: String) -> String.Index? {
    let wanted = Array(stop.utf8)
    let utf8 = text.utf8
    var start = utf8.startIndex
    while start != utf8.endIndex {
      if utf8[start...].starts(with: wanted) { return start }
      start = utf8.index(after: start)
    }
    return nil
  }

  private func retireFinished() {
    var going: [Sequence] = []
    for sequence in running {
      guard let finish = sequence.finish else {
        going.append(sequence)
        continue
      }
      if engine.limits.keepsCache { remember(sequence) }
      for page in sequence.pages { cache.release(page) }
      finished[sequence.prompt.number, default: [:]][sequence.place.index] = Completion(
        ids: sequence.ids,
        text: sequence.stopText ?? engine.decoder.decode(sequence.ids, skipSpecialTokens: true),
        rawText: engine.decoder.decode(sequence.ids, skipSpecialTokens: false), logprobs: sequence.logprobs,
        finishReason: finish)
    }
    running = going
  }

  /// Leaves a completion's pages in the prefix tree, for a dialogue that goes on. Its last token was never computed.
  private func remember(_ sequence: Sequence) {
    guard engine.limits.sharesPrefixes, let node = sequence.promptEnd, sequence.ids.count > 1 else { return }
    var tokens = 0
    var own: [KeyPiece] = []
    for piece in sequence.path {
      if tokens >= sequence.prompt.keys.count { own.append(piece) }
      tokens += Int(piece.rows)
    }
    let keys = sequence.ids.prefix(own.reduce(0) { $0 + Int($1.rows) }).map { PrefixTree.Key($0) }
    tree.insert(keys[...], pieces: own, after: node)
  }
}

extension EncodedPrompt {
  /// The prompt's tokens as the prefix tree compares them: ids, and for places of pictures a digest of the picture.
  var cacheKeys: [PrefixTree.Key] {
    var keys = ids.map { PrefixTree.Key(UInt32(bitPattern: $0)) }
    for (picture, range) in zip(pictures, pictureRanges) {
      let digest = picture.digest
      for (i, place) in range.enumerated() {
        keys[place] = (i % 2 == 0 ? digest.0 : digest.1) &+ UInt64(i / 2) | 1 << 63
      }
    }
    return keys
  }
}

extension PictureInput {
  /// 128 bits of the picture's values and shape: two multiplicative hashes.
  fileprivate var digest: (UInt64, UInt64) {
    let (high, wide) =
      switch kind {
      case .patches(_, let height, let width): (height, width)
      case .tiles(let across, let down): (down, across)
      }
    var a: UInt64 = 0x9E37_79B9_7F4A_7C15 &+ UInt64(high)
    var b: UInt64 = 0xC2B2_AE3D_27D4_EB4F &+ UInt64(wide)
    for value in values {
      let bits = UInt64(value.bitPattern)
      a = (a ^ bits) &* 0xFF51_AFD7_ED55_8CCD
      a ^= a >> 32
      b = (b &+ bits) &* 0xC4CE_B9FE_1A85_EC53
      b ^= b >> 29
    }
    return (a, b)
  }
}
