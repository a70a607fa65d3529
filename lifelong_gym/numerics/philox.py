"""Counter-based random numbers: Philox4x32-10 (Salmon et al., SC 2011), stateless, the same bits on every backend.

A number is a function of the row's seed (the key) and of ``(step, task uid, visit, stream)`` (the counter),
so it depends neither on the batch around it nor on what was drawn before. ``visit`` counts a row's earlier
episodes in the same task; ``stream`` is one of the tags below plus the index of the draw.
"""

from __future__ import annotations

from typing import Any

from lifelong_gym.numerics.scalar import TWO_PI, log, sincos, sqrt

Word = Any  # a Python int; on other backends uint64, or an array of it

INITIAL, TRANSITION, POLICY, SCHEDULE, TASKS, SIMULATOR = (tag << 24 for tag in range(1, 7))

MASK, WIDE = 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF
MULTIPLIER_0, MULTIPLIER_1 = 0xD2511F53, 0xCD9E8D57
WEYL_0, WEYL_1 = 0x9E3779B9, 0xBB67AE85
SHIFT_32, SHIFT_20, SHIFT_12 = 32, 20, 12
UNIT = 2.220446049250313e-16  # 2**-52


def row_key(seed: int) -> tuple[int, int]:
    """The two 32-bit halves of ``splitmix64(seed)``: consecutive seeds give unrelated keys.

    A seed from 2**64 on is folded into that word by word, so that seeds which agree modulo 2**64 differ too.
    """
    z, rest = _splitmix64(seed & WIDE), seed >> 64
    while rest > 0:
        z, rest = _splitmix64(z ^ (rest & WIDE)), rest >> 64
    return z & MASK, z >> SHIFT_32


def _splitmix64(word: int) -> int:
    z = (word + 0x9E3779B97F4A7C15) & WIDE
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & WIDE
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & WIDE
    return z ^ (z >> 31)


def philox_round(c0: Word, c1: Word, c2: Word, c3: Word, k0: Word, k1: Word) -> tuple[Word, Word, Word, Word]:
    """One round; words live in 64 bits and are masked only where they are multiplied."""
    p0 = MULTIPLIER_0 * (c0 & MASK)
    p1 = MULTIPLIER_1 * (c2 & MASK)
    return (p1 >> SHIFT_32) ^ c1 ^ k0, p1, (p0 >> SHIFT_32) ^ c3 ^ k1, p0


def philox(c0: Word, c1: Word, c2: Word, c3: Word, k0: Word, k1: Word) -> tuple[Word, Word, Word, Word]:
    """Four 32-bit words from a counter and a key."""
    for _ in range(10):
        c0, c1, c2, c3 = philox_round(c0, c1, c2, c3, k0, k1)
        k0 = (k0 + WEYL_0) & MASK
        k1 = (k1 + WEYL_1) & MASK
    return c0 & MASK, c1 & MASK, c2 & MASK, c3 & MASK


def unit_interval(high: Word, low: Word) -> float:
    """52 of 64 bits as a float in [0, 1)."""
    return float((high << SHIFT_20) | (low >> SHIFT_12)) * UNIT


def uniform_pair(c0: Word, c1: Word, c2: Word, c3: Word, k0: Word, k1: Word) -> tuple[float, float]:
    """Two independent uniforms in [0, 1)."""
    a, b, c, d = philox(c0, c1, c2, c3, k0, k1)
    return unit_interval(a, b), unit_interval(c, d)


def normal_pair(c0: Word, c1: Word, c2: Word, c3: Word, k0: Word, k1: Word) -> tuple[float, float]:
    """Two independent standard normals (Box-Muller)."""
    u, v = uniform_pair(c0, c1, c2, c3, k0, k1)
    radius = sqrt(-2.0 * log(1.0 - u))
    s, c = sincos(TWO_PI * v)
    return radius * c, radius * s
