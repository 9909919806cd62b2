"""Write Sources/Text/Unicode/CanonicalMappings.swift from Python's own Unicode data (14.0 with Python 3.11).

The composition data of characters that exist is frozen by Unicode's stability policy, and the normalisation of the
tokenizers library agrees with this version for every single character.

    python generate.py > ../../../Sources/Text/Unicode/CanonicalMappings.swift
"""

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


composing, others = rows()
print("/// Canonical decompositions, one level deep, in hexadecimal: `character:first[:second]`.")
print("///")
print(f"/// Unicode {unicodedata.unidata_version}, UnicodeData.txt field 5, without Hangul syllables (those are computed).")
print("/// Generated; see Tests/Fixtures/unicode/generate.py.")
print("enum CanonicalMappings {")
literal("composing", "Pairs that compose again.", composing)
print()
literal("decomposingOnly", "Singletons, composition exclusions and pairs that begin with a mark.", others)
print("}")
