import Core

/// What scores in a process: one entry of a recipe, made from its source with its parameters.
///
/// Safety: used by one thread at a time; `InlineReward` holds a lock, a worker has one thread that scores.
protocol RewardInstance: AnyObject {
  var descriptor: RewardDescriptor { get }
  /// Scores the batch and writes what `OutcomeCoding` reads.
  ///
  /// - Throws: `RewardViolation` if the reward wrote where it must not, `AttuneError` if it is unusable as a whole.
  func score(_ view: BatchView, variant: PluginInstance.Variant, into reply: ByteBuffer) throws
  func saveState() throws -> [UInt8]?
  func loadState(_ state: UnsafeRawBufferPointer) throws
}

extension RewardInstance {
  func saveState() throws -> [UInt8]? { nil }
  func loadState(_ state: UnsafeRawBufferPointer) throws {}
}

/// A plugin or a function wrote outside what it was lent: nobody knows what else it touched.
struct RewardViolation: Error {
  /// What was touched.
  var place: String

  func error(_ descriptor: RewardDescriptor) -> AttuneError {
    .work(
      "the reward \(descriptor.reward) of \(descriptor.path) wrote outside its outcomes: \(place) was touched",
      hint:
        "a plugin fills outcomes[0 ..< batch->sample_count] and memory that it got from host->allocate, a function what its signature lends it; no more"
    )
  }
}

/// What it takes to make an instance, in this process or another.
struct LoadRequest {
  var source: RewardSource
  /// The specification's own name: chosen among several of a library if it matches.
  var columnName: String
  var parameters: JSON.Object
  var file: String?
  /// Of the worker, if it is one that loads it.
  var limits: WorkerLimits

  init(
    source: RewardSource, columnName: String, parameters: JSON.Object, file: String?, limits: WorkerLimits = .init()
  ) {
    self.source = source
    self.columnName = columnName
    self.parameters = parameters
    self.file = file
    self.limits = limits
  }

  /// Positions travel along, so that an error about a parameter names its place in the recipe.
  init(_ reader: inout ByteReader) throws {
    limits = try WorkerLimits(&reader)
    source = try RewardSource(&reader)
    columnName = try reader.string()
    var values = JSON.Object()
    for _ in 0..<(try reader.integer(atMost: 1 << 16)) {
      let key = try reader.string()
      var value = try JSON.parse(try reader.string())
      value.position = .init(line: Int32(clamping: try reader.signed()), column: Int32(clamping: try reader.signed()))
      values[key] = value
    }
    parameters = values
    file = try reader.optionalString()
  }

  func write(into out: ByteBuffer) {
    limits.write(into: out)
    source.write(into: out)
    out.append(columnName)
    out.append(parameters.count)
    for (key, value) in parameters.entries {
      out.append(key)
      out.append(value.text())
      out.append(Int(value.position.line))
      out.append(Int(value.position.column))
    }
    out.append(optional: file)
  }

  func instance(services: any PluginServices) throws -> any RewardInstance {
    switch source {
    case .library(_, let name), .linked(_, let name):
      let library = try source.library()
      let reward = try library.reward(named: name, preferring: columnName)
      let descriptor = try library.descriptor(of: reward)
      return try PluginInstance(
        reward, descriptor, parameters: try complete(parameters, descriptor), services: services)
    case .builtIn(let name):
      return BuiltInInstance(try make(try BuiltInRewards.named(name)), services: services)
    case .function(let library, let signature):
      let binding = try FunctionBinding(library: library, signature: signature)
      return try FunctionInstance(
        binding, parameters: try complete(parameters, binding.descriptor), file: file, services: services)
    }
  }

  func complete(_ parameters: JSON.Object, _ descriptor: RewardDescriptor) throws -> JSON.Object {
    try descriptor.parameters?.complete(parameters, reward: descriptor.reward, file: file) ?? parameters
  }
}
