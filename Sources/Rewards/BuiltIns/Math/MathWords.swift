/// Names that mean something in an answer.
enum MathWords {
  /// Sizes, spaces and styles.
  static let ignored: Set<String> = [
    "left", "right", "mleft", "mright", "middle", "big", "Big", "bigg", "Bigg", "bigl", "bigr", "Bigl", "Bigr", "biggl",
    "biggr", "Biggl", "Biggr", "displaystyle", "textstyle", "scriptstyle", "limits", "nolimits", "quad", "qquad",
    "hspace", "thinspace", "enspace", "space", "bf", "rm", "it", "boldmath", "hfill", "phantom", "dots", "nonumber",
  ]

  /// Commands whose argument is words or another type face.
  static let wrappers: Set<String> = textual.union([
    "mathrm", "mathbf", "mathit", "mathsf", "mathtt", "mathcal", "boldsymbol", "bm", "operatorname", "vec", "hat",
    "overrightarrow", "mathop",
  ])
  static let textual: Set<String> = [
    "text", "textbf", "textit", "textrm", "textnormal", "textsf", "texttt", "mbox", "hbox", "emph", "underline",
  ]

  static let synonyms: [String: String] = [
    "dfrac": "frac", "tfrac": "frac", "cfrac": "frac", "dbinom": "binom", "tbinom": "binom", "leq": "le", "geq": "ge",
    "leqslant": "le", "geqslant": "ge", "lt": "<", "gt": ">", "neq": "ne", "times": "*", "cdot": "*", "ast": "*",
    "div": "/", "lbrace": "{", "rbrace": "}", "lbrack": "[", "rbrack": "]", "lvert": "|", "rvert": "|", "vert": "|",
    "mid": "|", "degree": "circ", "varnothing": "emptyset", "land": "comma", "lor": "comma", "wedge": "comma",
    "vee": "comma", "arg": "arg", "infin": "infty", "colon": ":", "bar": "overline", "simeq": "approx", "equiv": "=",
    "smallsetminus": "setminus", "backslash": "setminus", "lg": "lg", "bullet": "*", "minus": "-", "percent": "%",
    "thickapprox": "approx", "cong": "approx", "implies": "rightarrow", "Rightarrow": "rightarrow", "to": "rightarrow",
  ]

  /// The token of a command or its synonym.
  static func token(named name: String) -> MathToken {
    if name == "comma" { return .comma }
    if name.count == 1, let character = name.first, !character.isLetter, character != "{", character != "}" {
      return .symbol(character)
    }
    return .command(name)
  }

  static let functionNames = Set(MathFunction.named.keys)

  /// What a lower-case run of letters means by itself, if anything.
  static func token(_ word: String, behindOperand: Bool) -> MathToken? {
    switch word {
    case "and", "or": .comma
    case "pi": .command("pi")
    case "sqrt", "frac", "binom": .command(word)
    case "inf", "infinity", "infty", "oo": .command("infty")
    case "percent", "percentage", "pct": behindOperand ? .symbol("%") : nil
    case "degree", "degrees", "deg": behindOperand ? .command("degrees") : nil
    case "union": .command("cup")
    case "emptyset": .command("emptyset")
    default: functionNames.contains(word) ? .command(word) : nil
    }
  }

  /// Words of two letters, which in plain text are no products.
  static let short: Set<String> = [
    "is", "it", "no", "of", "on", "to", "in", "as", "at", "be", "by", "he", "if", "me", "my", "so", "up", "us", "we",
    "do",
    "go", "an", "ok",
  ]

  /// Units that may follow a number outside of `\text{}`.
  static let units: Set<String> = [
    "mm", "cm", "dm", "km", "ft", "feet", "foot", "inch", "inches", "yd", "yard", "yards", "mile", "miles", "mi",
    "meter",
    "meters", "metre", "metres", "kilometers", "kilometer", "centimeters", "centimeter", "millimeters", "ml", "liter",
    "liters", "litre", "litres", "gal", "gallon", "gallons", "kg", "mg", "gram", "grams", "kilograms", "lb", "lbs",
    "pound", "pounds", "ounce", "ounces", "oz", "ton", "tons", "sec", "second", "seconds", "min", "minute", "minutes",
    "hr", "hrs", "hour", "hours", "day", "days", "week", "weeks", "month", "months", "year", "years", "yr", "yrs",
    "mph",
    "kmph", "kmh", "rad", "radian", "radians", "unit", "units", "sq", "square", "cubic", "cent", "cents", "dollar",
    "dollars", "usd", "eur", "euro", "euros", "rupee", "rupees", "rs", "hz", "khz", "mhz", "ghz", "kw", "kwh", "mol",
    "moles", "joule", "joules", "newton", "newtons", "watt", "watts", "volt", "volts", "ohm", "ohms", "kpa", "pa",
    "atm",
    "point", "points", "digit", "digits", "student", "students", "people", "person", "persons", "apple", "apples",
    "book",
    "books", "coin", "coins", "way", "ways", "time", "times", "edge", "edges", "tile", "tiles", "ticket", "tickets",
    "item", "items", "page", "pages", "mark", "marks", "hectare", "hectares", "acre", "acres", "am", "pm", "th", "st",
    "nd", "rd", "men", "man", "women", "woman", "children", "child", "boys", "girls", "cows", "sheep", "birds", "cars",
    "bit", "bits", "byte", "bytes",
  ]
}

/// Characters beyond ASCII that people write for mathematics.
enum MathCharacters {
  /// An ASCII digit for a digit of any common form.
  static func digit(_ character: Character) -> Character? {
    guard let scalar = character.unicodeScalars.first, character.unicodeScalars.count == 1 else { return nil }
    switch scalar.value {
    case 0x30...0x39: return character
    case 0xFF10...0xFF19: return Unicode.Scalar(scalar.value - 0xFF10 + 0x30).map(Character.init)
    default: return nil
    }
  }

  static func superscript(_ character: Character) -> Character? {
    switch character {
    case "⁰": "0"
    case "¹": "1"
    case "²": "2"
    case "³": "3"
    case "⁴": "4"
    case "⁵": "5"
    case "⁶": "6"
    case "⁷": "7"
    case "⁸": "8"
    case "⁹": "9"
    case "⁻": "-"
    default: nil
    }
  }

  static func fraction(_ character: Character) -> (String, String)? {
    switch character {
    case "½": ("1", "2")
    case "⅓": ("1", "3")
    case "⅔": ("2", "3")
    case "¼": ("1", "4")
    case "¾": ("3", "4")
    case "⅕": ("1", "5")
    case "⅛": ("1", "8")
    default: nil
    }
  }

  /// The command for a character, without the backslash.
  static func command(_ character: Character) -> String? {
    switch character {
    case "π": "pi"
    case "√": "sqrt"
    case "∞": "infty"
    case "°": "circ"
    case "±": "pm"
    case "∓": "mp"
    case "≤", "⩽": "le"
    case "≥", "⩾": "ge"
    case "≠": "ne"
    case "≈": "approx"
    case "∪": "cup"
    case "∩": "cap"
    case "∈": "in"
    case "∅": "emptyset"
    case "ℝ": "reals"
    case "×", "·", "⋅", "∙": "*"
    case "÷": "/"
    case "∖": "setminus"
    default: nil
    }
  }

  /// The ASCII character that looks the same.
  static func plain(_ character: Character) -> Character {
    switch character {
    case "\u{2212}", "\u{2010}", "\u{2011}", "\u{2013}", "\u{2014}", "\u{FF0D}": "-"
    case "\u{FF08}": "("
    case "\u{FF09}": ")"
    case "\u{FF1D}": "="
    case "\u{FF0B}": "+"
    case "\u{FF1A}": ":"
    case "\u{FF05}": "%"
    case "\u{2032}", "\u{2019}": "'"
    case "\u{2044}", "\u{2215}", "\u{FF0F}": "/"
    default: character
    }
  }
}
