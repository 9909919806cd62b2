"""Fingerprints of composed digits; see README.md."""

import math
from pathlib import Path

DIGITS = Path(__file__).parents[3] / "recipes/data/digits/digits.csv"
WORD = 0xFFFFFFFF
WIDTH, HEIGHT, SIZE = 96, 32, 22.0
COMPOSITION, AUGMENTATION = 5, 4

RECORDS = [[int(x) for x in line.split(",")] for line in DIGITS.read_text().splitlines()[1:]]


def philox(key, counter):
    """Philox4x32-10 (Salmon et al., 2011)."""
    k0, k1 = key
    c0, c1, c2, c3 = counter
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1, c2, c3 = (p1 >> 32) ^ c1 ^ k0, p1 & WORD, (p0 >> 32) ^ c3 ^ k1, p0 & WORD
        k0, k1 = (k0 + 0x9E3779B9) & WORD, (k1 + 0xBB67AE85) & WORD
    return c0, c1, c2, c3


class Stream:
    def __init__(self, seed, purpose, index):
        seed_words = (seed & WORD, seed >> 32)
        self.key = philox(seed_words, (purpose, 0x61747475, 0x6E65, 0))[:2]
        self.place = (index & WORD, index >> 32, 0)
        self.count = 0
        self.spare = []

    def next(self):
        if not self.spare:
            w = philox(self.key, (*self.place, self.count))
            self.count += 1
            self.spare = [w[2] << 32 | w[3], w[0] << 32 | w[1]]
        return self.spare.pop()

    def uniform(self, low=0.0, high=1.0):
        return low + (high - low) * ((self.next() >> 11) * 2.0**-53)

    def below(self, bound):
        return self.next() * bound >> 64

    def normal(self):
        total = -6.0
        for _ in range(12):
            total += self.uniform()
        return total


def within(x, low, high):
    return (low + high) / 2 if low > high else min(max(x, low), high)


def rotation(degrees):
    half = degrees * (3.141592653589793 / 360)
    square = half * half
    tangent = half * (1 + square * (1.0 / 3 + square * (2.0 / 15 + square * (17.0 / 315))))
    scale = 1 / (1 + tangent * tangent)
    return (1 - tangent * tangent) * scale, 2 * tangent * scale


def bilinear(digit, u, v):
    if not (-1 < u < 8 and -1 < v < 8):
        return 0.0
    column, row = math.floor(u), math.floor(v)
    fu, fv = u - column, v - row

    def cell(r, c):
        return float(digit[8 * r + c]) if 0 <= r < 8 and 0 <= c < 8 else 0.0

    upper = cell(row, column) * (1 - fu) + cell(row, column + 1) * fu
    lower = cell(row + 1, column) * (1 - fu) + cell(row + 1, column + 1) * fu
    return (upper * (1 - fv) + lower * fv) / 16


def picture(seed, index, shift=0.0, scale=(1.0, 1.0), contrast=(1.0, 1.0), noise=0.0, turn=0.0, shear=0.0, either=False):
    """RGB bytes of one sample."""
    composition = Stream(seed, COMPOSITION, index)
    augmentation = Stream(seed, AUGMENTATION, index)
    length = 2 + composition.below(3)
    rows = [composition.below(len(RECORDS)) for _ in range(length)]
    widest = min(SIZE * 0.3, (WIDTH - length * SIZE) / 2 / (length - 1))
    pitch = SIZE + composition.uniform(0.0, widest)
    start = composition.uniform(0.0, WIDTH - SIZE - (length - 1) * pitch)
    light = either and composition.below(2) == 1

    ink = [0.0] * (WIDTH * HEIGHT)
    for place, row in enumerate(rows):
        side = SIZE * augmentation.uniform(*scale)
        dx = augmentation.uniform(-shift, shift)
        dy = augmentation.uniform(-shift, shift)
        cosine, sine = rotation(augmentation.uniform(-turn, turn))
        slant = augmentation.uniform(-shear, shear)
        x0 = within(start + place * pitch + SIZE / 2 + dx, side / 2, WIDTH - side / 2)
        y0 = within(HEIGHT / 2 + dy, side / 2, HEIGHT - side / 2)
        for i in range(WIDTH * HEIGHT):
            px, py = i % WIDTH + 0.5 - x0, i // WIDTH + 0.5 - y0
            x, y = cosine * px + sine * py, cosine * py - sine * px
            level = bilinear(RECORDS[row][1:], (x + slant * y) * (8 / side) + 4 - 0.5, y * (8 / side) + 4 - 0.5)
            ink[i] = max(ink[i], level)

    share = augmentation.uniform(*contrast)
    paper, span = (255.0, -255.0 * share) if light else (0.0, 255.0 * share)
    pixels = []
    for level in ink:
        grey = paper + span * level
        if noise > 0:
            grey += noise * augmentation.normal()
        pixels += [int(min(max(math.floor(grey + 0.5), 0), 255))] * 3
    return pixels


def fingerprint(pictures):
    """FNV-1a, 64 bits."""
    value = 0xCBF29CE484222325
    for pixels in pictures:
        for byte in pixels:
            value = ((value ^ byte) * 0x100000001B3) & (2**64 - 1)
    return value


plain = [picture(1, i) for i in range(8)]
full = [picture(1, i, 2.0, (0.8, 1.1), (0.5, 1.0), 12.0, 10.0, 0.2, True) for i in range(8)]
print("plain", fingerprint(plain))
print("full ", fingerprint(full))
