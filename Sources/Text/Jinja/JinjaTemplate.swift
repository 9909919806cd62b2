import Core

/// A Jinja 3.1 template, as chat templates use the language: sandboxed, `trim_blocks` and `lstrip_blocks` on, no
/// autoescape, loop controls, the `generation` tag.
///
/// Python's semantics show through in printing, comparing and arithmetic; integers have 64 bits. Depth, steps and sizes
/// are limited, so that a hostile template ends with an error. Values are immutable and may be shared between threads.
public struct JinjaTemplate: Sendable {
  /// The name that errors carry.
  public let file: String
  private let statements: [Jinja.Statement]

  /// What a rendering gave.
  public struct Rendering: Sendable, Equatable {
    public var text: String
    /// What the `generation` blocks wrote, in code points of `text`.
    public var generationSpans: [Range<Int>]
  }

  /// Parses a template.
  ///
  /// - Throws: `AttuneError` with the line of what is wrong.
  public init(source: String, file: String) throws {
    self.file = file
    statements = try Jinja.Parser.parse(source, file: file)
  }

  /// Renders the template.
  ///
  /// - Parameters:
  ///   - variables: what the template can read, in any order.
  ///   - now: the clock of `strftime_now`.
  /// - Throws: `AttuneError` with the line of what failed; `raise_exception` gives its own message.
  public func render(_ variables: JSON.Object, now: CivilTime? = nil) throws -> Rendering {
    let interpreter = Jinja.Interpreter(file: file, now: now ?? .current)
    let values = try variables.entries.map { ($0, try Jinja.Value($1)) }
    let text = try interpreter.render(statements, variables: values)
    return Rendering(text: text, generationSpans: interpreter.spans)
  }
}
