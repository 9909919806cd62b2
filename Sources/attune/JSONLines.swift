import AttuneTensor
import Core
import Foundation
import Rewards

/// JSONL in, JSONL out, line for line; `-` is standard input or output.
struct JSONLines {
  let input: String
  let output: String
  let keepGoing: Bool

  static let options: [Command.Option] = [
    .init(name: "--input", value: "F", help: "JSONL file; - or nothing is standard input"),
    .init(name: "--output", value: "F", help: "JSONL file; - or nothing is standard output"),
    keepGoingOption,
  ]
  static let keepGoingOption = Command.Option(
    name: "--keep-going", value: nil, help: "a bad line becomes {\"line\": n, \"error\": ..} in the output")

  init(_ arguments: Arguments) {
    input = arguments.string("--input") ?? "-"
    output = arguments.string("--output") ?? "-"
    keepGoing = arguments.has("--keep-going")
  }

  private var inputName: String { input == "-" ? "standard input" : input }

  /// Every line with its number, blank lines left out. A line that is not JSON counts as bad.
  private func lines() throws -> [(number: Int, bytes: Data)] {
    let data: Data
    if input == "-" {
      data = try StandardStream.read()
    } else {
      data = Data(try MappedFile.read(input))
    }
    return data.split(separator: 0x0A, omittingEmptySubsequences: false).enumerated()
      .map { ($0 + 1, $1) }.filter { !$0.1.allSatisfy { $0 == 0x20 || $0 == 0x0D || $0 == 0x09 } }
  }

  private func place(_ error: any Error, line: Int) -> AttuneError {
    guard var error = error as? AttuneError else {
      return .work("\(error)", at: .init(file: inputName, line: line))
    }
    if let other = error.location, !other.file.isEmpty, other.file != inputName {
      // A file that the line names: the line comes first, the file stays in the message.
      error.message = "\(other): \(error.message)"
      error.location = .init(file: inputName, line: line)
    } else {
      error.location = .init(file: inputName, line: line, column: error.location?.column)
    }
    return error
  }

  /// Maps whole batches: every line is read first, so that lines can be computed together.
  ///
  /// - Parameters:
  ///   - read: checks one line; what it throws makes the line bad.
  ///   - work: computes results for good lines, in order; one result per line, or an error for it.
  func map<T>(_ read: (JSON) throws -> T, _ work: ([T]) throws -> [Result<JSON, any Error>]) throws -> Int32 {
    var good: [(line: Int, value: T)] = []
    var results: [Int: JSON] = [:]
    let all = try lines()
    func fail(_ error: any Error, _ line: Int) throws {
      let placed = place(error, line: line)
      guard keepGoing else { throw placed }
      results[line] = ["line": .int(line), "error": .string(placed.description)]
    }
    for (number, bytes) in all {
      do {
        good.append((number, try read(try JSON.parse(bytes, file: inputName))))
      } catch { try fail(error, number) }
    }
    for (item, result) in zip(good, try work(good.map(\.value))) {
      switch result {
      case .success(let json): results[item.line] = json
      case .failure(let error): try fail(error, item.line)
      }
    }
    let text = all.map { (results[$0.number] ?? .null).text() + "\n" }.joined()
    if output == "-" {
      try StandardStream.write(text)
    } else {
      try AtomicFile.write(output, text: text)
    }
    return 0
  }

  /// Maps line by line.
  func map(_ body: (JSON) throws -> JSON) throws -> Int32 {
    try map({ $0 }) { lines in lines.map { line in Result { try body(line) } } }
  }
}
