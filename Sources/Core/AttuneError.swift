/// What went wrong, where, and what would work instead: the one error type that every room throws.
///
/// A message reads: what happened, the value found, what was expected. The nearest thing that would work goes into
/// `hint`, the place into `location`. The command line prints `description` and exits with `exitStatus`.
public struct AttuneError: Error, Sendable, CustomStringConvertible {
  /// Who has to act: the person who asked, or the machine.
  public enum Kind: Sendable {
    /// The request itself is wrong (a recipe, a flag, an input file); nothing was started. Exit status 2.
    case request
    /// The request was fine and the work failed (a full disk, a broken picture met halfway). Exit status 1.
    case work
  }

  /// A place in a file; line and column count from 1, columns in Unicode code points.
  public struct Location: Sendable, Equatable, CustomStringConvertible {
    public var file: String
    public var line: Int?
    public var column: Int?

    public init(file: String, line: Int? = nil, column: Int? = nil) {
      self.file = file
      self.line = line
      self.column = column
    }

    public var description: String {
      var text = file
      if let line { text += ":\(line)" }
      if line != nil, let column { text += ":\(column)" }
      return text
    }
  }

  public var kind: Kind
  public var message: String
  public var location: Location?
  public var hint: String?

  public init(_ kind: Kind, _ message: String, at location: Location? = nil, hint: String? = nil) {
    self.kind = kind
    self.message = message
    self.location = location
    self.hint = hint
  }

  /// A wrong request (exit status 2).
  public static func request(_ message: String, at location: Location? = nil, hint: String? = nil) -> AttuneError {
    AttuneError(.request, message, at: location, hint: hint)
  }

  /// A failure at work (exit status 1).
  public static func work(_ message: String, at location: Location? = nil, hint: String? = nil) -> AttuneError {
    AttuneError(.work, message, at: location, hint: hint)
  }

  /// The same error, placed in `file` if it does not name one yet.
  public func located(in file: String) -> AttuneError {
    var copy = self
    if var place = copy.location {
      if place.file.isEmpty { place.file = file }
      copy.location = place
    } else {
      copy.location = Location(file: file)
    }
    return copy
  }

  public var exitStatus: Int32 { kind == .request ? 2 : 1 }

  /// `file:line:column: message` and, on a second line, the hint.
  public var description: String {
    var text = location.map { "\($0): " } ?? ""
    text += message
    if let hint { text += "\n  \(hint)" }
    return text
  }
}
