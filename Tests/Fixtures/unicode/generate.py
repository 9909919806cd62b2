"""Write the tables of Sources/Text/Unicode from Python's own Unicode data (14.0 with Python 3.11).

The decomposition data of characters that exist is frozen by Unicode's stability policy. The normalisation of the
tokenizers library agrees with this version for every single character, but for those that came after Unicode 11 (NEWER).

    python generate.py canonical > ../../../Sources/Text/Unicode/CanonicalMappings.swift
    python generate.py compatibility > ../../../Sources/Text/Unicode/CompatibilityMappings.swift
"""

import sys
import unicodedata

WIDTH = 116


def rows():
    composing, others = [], []
    for c in range(0x110000):
        if 0xD800 <= c < 0xE000 or 0xAC00 <= c < 0xD7A4:
            continue
        field = unicodedata.decomposition(chr(c))
        if not field or field.startswith("<"):
            continue
        parts = [int(x, 16) for x in field.split()]
        back = unicodedata.normalize("NFC", chr(c)) == chr(c)
        (composing if back and len(parts) == 2 else others).append(":".join(f"{x:X}" for x in [c, *parts]))
    return composing, others


def literal(name, comment, items):
    print(f"  /// {comment}")
    print(f'  static let {name} = """')
    line = ""
    for item in items:
        if line and len(line) + 1 + len(item) > WIDTH - 4:
            print(f"    {line} \\")
            line = ""
        line += (" " if line else "") + item
    print(f"    {line}")
    print('    """')


NEWER = {0x32FF, 0xA7F2, 0xA7F3, 0xA7F4, 0xAB69, 0x1F16C, *range(0x10781, 0x107BB), *range(0x1FBF0, 0x1FBFA)}


def compatible():
    """Runs of characters that map to runs of characters are one entry: `first-last:first of the result`."""
    result = []
    for c in range(0x110000):
        if 0xD800 <= c < 0xE000 or c in NEWER:
            continue
        field = unicodedata.decomposition(chr(c))
        if not field.startswith("<"):
            continue
        parts = [int(x, 16) for x in field.split()[1:]]
        if result and len(parts) == 1:
            first, last, base = result[-1]
            if last == c - 1 and len(base) == 1 and parts[0] == base[0] + c - first:
                result[-1] = (first, c, base)
                continue
        result.append((c, c, parts))
    return [
        f"{first:X}" + (f"-{last:X}" if last > first else "") + ":" + ":".join(f"{x:X}" for x in parts)
        for first, last, parts in result
    ]


def canonical():
    composing, others = rows()
    print("/// Canonical decompositions, one level deep, in hexadecimal: `character:first[:second]`.")
    print("///")
    version = unicodedata.unidata_version
    print(f"/// Unicode {version}, UnicodeData.txt field 5, without Hangul syllables (those are computed).")
    print("/// Generated; see Tests/Fixtures/unicode/generate.py.")
    print("enum CanonicalMappings {")
    literal("composing", "Pairs that compose again.", composing)
    print()
    literal("decomposingOnly", "Singletons, composition exclusions and pairs that begin with a mark.", others)
    print("}")


def compatibility():
    print("/// Compatibility decompositions, one level deep, in hexadecimal: `character:parts`, or `first-last:first` where a")
    print("/// run of characters maps to a run.")
    print("///")
    print(f"/// UnicodeData.txt field 5, as of Unicode 11. Generated; see Tests/Fixtures/unicode/generate.py.")
    print("enum CompatibilityMappings {")
    literal("all", "All of them.", compatible())
    print("}")


{"canonical": canonical, "compatibility": compatibility}[sys.argv[1]]()
