import Core
import Foundation

/// A date and a time of day without a zone: what `strftime_now` of a template formats.
public struct CivilTime: Sendable, Equatable {
  public var year: Int
  public var month: Int
  public var day: Int
  public var hour: Int
  public var minute: Int
  public var second: Int

  public init(year: Int, month: Int, day: Int, hour: Int = 0, minute: Int = 0, second: Int = 0) {
    self.year = year
    self.month = month
    self.day = day
    self.hour = hour
    self.minute = minute
    self.second = second
  }

  /// The local time at this moment.
  public static var current: CivilTime {
    let parts = Calendar(identifier: .gregorian).dateComponents(
      [.year, .month, .day, .hour, .minute, .second], from: Date())
    return CivilTime(
      year: parts.year ?? 1970, month: parts.month ?? 1, day: parts.day ?? 1, hour: parts.hour ?? 0,
      minute: parts.minute ?? 0, second: parts.second ?? 0)
  }

  /// Reads `2026-11-23T10:00:00`; the seconds, or the whole time of day, may be left out, and `T` may be a space.
  ///
  /// - Throws: `AttuneError` for any other form and for dates that do not exist.
  public init(iso text: String) throws {
    let refusal = AttuneError.request(
      "\"\(text)\" is not a date and time", hint: "expected a form like 2026-11-23T10:00:00")
    let halves = text.split(whereSeparator: { $0 == "T" || $0 == " " }).map(String.init)
    func numbers(_ text: String, _ separator: Character, _ widths: [Int]) throws -> [Int] {
      let parts = text.split(separator: separator, omittingEmptySubsequences: false)
      guard parts.count <= widths.count else { throw refusal }
      return try zip(parts, widths).map { part, width in
        guard part.count == width, part.allSatisfy({ $0.isASCII && $0.isNumber }), let value = Int(part) else {
          throw refusal
        }
        return value
      }
    }
    guard halves.count == 1 || halves.count == 2 else { throw refusal }
    let date = try numbers(halves[0], "-", [4, 2, 2])
    let time = halves.count == 2 ? try numbers(halves[1], ":", [2, 2, 2]) : [0, 0]
    guard date.count == 3, time.count >= 2 else { throw refusal }
    self.init(
      year: date[0], month: date[1], day: date[2], hour: time[0], minute: time[1],
      second: time.count == 3 ? time[2] : 0)
    guard year >= 1, (1...12).contains(month), day >= 1, day <= Self.days(in: month, of: year), hour < 24,
      minute < 60, second < 60
    else { throw refusal }
  }

  private static func isLeap(_ year: Int) -> Bool { year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) }

  private static func days(in month: Int, of year: Int) -> Int {
    month == 2 ? (isLeap(year) ? 29 : 28) : [4, 6, 9, 11].contains(month) ? 30 : 31
  }

  /// Days since the first of January, from 0.
  private var dayOfYear: Int { (1..<max(1, month)).reduce(day - 1) { $0 + Self.days(in: $1, of: year) } }

  /// 0 for Sunday.
  private var weekday: Int {
    let y = year - 1
    return (y * 365 + y / 4 - y / 100 + y / 400 + dayOfYear + 1) % 7
  }

  private static let dayNames = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"]
  private static let monthNames = [
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
  ]

  /// ISO 8601 year and week.
  private var isoWeek: (year: Int, week: Int) {
    let mondayBased = (weekday + 6) % 7
    let week = (dayOfYear - mondayBased + 10) / 7
    func weeks(_ year: Int) -> Int {
      let last = CivilTime(year: year, month: 12, day: 31).weekday
      return last == 4 || (last == 5 && Self.isLeap(year)) ? 53 : 52
    }
    if week < 1 { return (year - 1, weeks(year - 1)) }
    return week > weeks(year) ? (year + 1, 1) : (year, week)
  }

  /// Formats as C's `strftime` does in the C locale; what is no directive stays as it is.
  public func formatted(_ format: String) -> String {
    func pad(_ value: Int, _ width: Int = 2, _ fill: String = "0") -> String {
      let text = String(value)
      return String(repeating: fill, count: max(0, width - text.count)) + text
    }
    let hour12 = hour % 12 == 0 ? 12 : hour % 12
    let mondayBased = (weekday + 6) % 7
    var out = ""
    var scalars = Array(format.unicodeScalars)[...]
    while let scalar = scalars.popFirst() {
      guard scalar == "%", var directive = scalars.popFirst() else {
        out.unicodeScalars.append(scalar)
        continue
      }
      // GNU's `%-d` leaves the leading zero out.
      var width = 2
      if directive == "-", let next = scalars.popFirst() {
        directive = next
        width = 0
      }
      switch directive {
      case "Y": out += String(year)
      case "y": out += pad(year % 100, width)
      case "C": out += pad(year / 100, width)
      case "m": out += pad(month, width)
      case "d": out += pad(day, width)
      case "e": out += pad(day, width, " ")
      case "H": out += pad(hour, width)
      case "I": out += pad(hour12, width)
      case "k": out += pad(hour, width, " ")
      case "l": out += pad(hour12, width, " ")
      case "M": out += pad(minute, width)
      case "S": out += pad(second, width)
      case "f": out += "000000"
      case "j": out += pad(dayOfYear + 1, width == 0 ? 0 : 3)
      case "p": out += hour < 12 ? "AM" : "PM"
      case "P": out += hour < 12 ? "am" : "pm"
      case "A": out += Self.dayNames[weekday]
      case "a": out += Self.dayNames[weekday].prefix(3)
      case "B": out += Self.monthNames[min(11, max(0, month - 1))]
      case "b", "h": out += Self.monthNames[min(11, max(0, month - 1))].prefix(3)
      case "w": out += String(weekday)
      case "u": out += String(mondayBased + 1)
      case "U": out += pad((dayOfYear + 7 - weekday) / 7, width)
      case "W": out += pad((dayOfYear + 7 - mondayBased) / 7, width)
      case "V": out += pad(isoWeek.week, width)
      case "G": out += String(isoWeek.year)
      case "g": out += pad(isoWeek.year % 100, width)
      case "F": out += "\(pad(year, 4))-\(pad(month))-\(pad(day))"
      case "T", "X": out += "\(pad(hour)):\(pad(minute)):\(pad(second))"
      case "R": out += "\(pad(hour)):\(pad(minute))"
      case "r": out += "\(pad(hour12)):\(pad(minute)):\(pad(second)) \(hour < 12 ? "AM" : "PM")"
      case "D", "x": out += "\(pad(month))/\(pad(day))/\(pad(year % 100))"
      case "c":
        out += formatted("%a %b ") + pad(day, 2, " ") + formatted(" %H:%M:%S %Y")
      case "n": out += "\n"
      case "t": out += "\t"
      case "%": out += "%"
      // A time without a zone has no name and no offset for it.
      case "Z", "z": break
      default:
        out += "%"
        out.unicodeScalars.append(directive)
      }
    }
    return out
  }
}
