"""The mathematics a kernel family may use, as plain Python on floats and tuples of floats.

This module is the reference: the NumPy and numba backends replace these names, when they bind a family,
by versions that return the same bits. Hence no libm (its last bits differ between platforms): ``sincos``,
``log`` and ``exp`` are polynomials in IEEE arithmetic, after fdlibm: the latter within 1 ulp, ``sincos`` for
``|x| <= 1e5`` within 1.5 ulp, or 1e-20 near its zeros.
"""

from __future__ import annotations

import math
import struct
from typing import Any

Vector = tuple[float, ...]

# Argument reduction modulo pi/2 in two parts, and the minimax polynomials of fdlibm's k_sin and k_cos.
TWO_OVER_PI = 0.63661977236758134308
PI_OVER_2_HEAD = 1.57079632673412561417
PI_OVER_2_TAIL = 6.07710050650619224932e-11
ROUND_TO_INTEGER = 6755399441055744.0  # 1.5 * 2**52: adding it leaves the nearest integer in the low bits
S1, S2, S3 = -1.66666666666666324348e-01, 8.33333333332248946124e-03, -1.98412698298579493134e-04
S4, S5, S6 = 2.75573137070700676789e-06, -2.50507602534068634195e-08, 1.58969099521155010221e-10
C1, C2, C3 = 4.16666666666666019037e-02, -1.38888888888741095749e-03, 2.48015872894767294178e-05
C4, C5, C6 = -2.75573143513906633035e-07, 2.08757232129817482790e-09, -1.13596475577881948265e-11

LN2_HEAD, LN2_TAIL = 6.93147180369123816490e-01, 1.90821492927058770002e-10
L1, L2, L3, L4 = 6.666666666666735130e-01, 3.999999999940941908e-01, 2.857142874366239149e-01, 2.222219843214978396e-01
L5, L6, L7 = 1.818357216161805012e-01, 1.531383769920937332e-01, 1.479819860511658591e-01

LOG2_E = 1.44269504088896338700
P1, P2, P3 = 1.66666666666666019037e-01, -2.77777777770155933842e-03, 6.61375632143793436117e-05
P4, P5 = -1.65339022054652515390e-06, 4.13813679705723846039e-08

TWO_PI = 6.283185307179586
HALF, THIRD, SIXTH = 0.5, 1.0 / 3.0, 1.0 / 6.0


def where(condition: bool, if_true: float, if_false: float) -> float:
    """One of two floats."""
    return if_true if condition else if_false


def choose(condition: bool, if_true: Vector, if_false: Vector) -> Vector:
    """One of two tuples."""
    return if_true if condition else if_false


def clip(x: float, low: float, high: float) -> float:
    """Limit ``x`` to [low, high]; NaN stays NaN."""
    return low if x < low else (high if x > high else x)


def floor(x: float) -> float:
    """Round down, as a float."""
    return float(math.floor(x))


def sqrt(x: float) -> float:
    """Square root, correctly rounded."""
    return math.sqrt(x)


def quadrant(shifted: float) -> tuple[bool, bool, bool]:
    """From ``x * 2/pi + ROUND_TO_INTEGER``: swap sine and cosine? negate the sine? negate the cosine?"""
    q = struct.unpack("<Q", struct.pack("<d", shifted))[0]
    return bool(q & 1), bool(q & 2), bool((q + 1) & 2)


def sincos(x: float) -> tuple[float, float]:
    """Sine and cosine of ``x`` in radians."""
    shifted = x * TWO_OVER_PI + ROUND_TO_INTEGER
    n = shifted - ROUND_TO_INTEGER
    swap, negate_sine, negate_cosine = quadrant(shifted)
    r = (x - n * PI_OVER_2_HEAD) - n * PI_OVER_2_TAIL
    z = r * r
    sine = r + (z * r) * (S1 + z * (S2 + z * (S3 + z * (S4 + z * (S5 + z * S6)))))
    cosine = 1.0 - (0.5 * z - (z * z) * (C1 + z * (C2 + z * (C3 + z * (C4 + z * (C5 + z * C6))))))
    s = where(swap, cosine, sine)
    c = where(swap, sine, cosine)
    return where(negate_sine, -s, s), where(negate_cosine, -c, c)


def mantissa_exponent(x: float) -> tuple[float, float]:
    """Positive normal ``x`` as ``m * 2**e`` with m in [sqrt(1/2), sqrt(2))."""
    bits = struct.unpack("<Q", struct.pack("<d", x))[0] + 0x00095F619980C433
    m = struct.unpack("<d", struct.pack("<Q", (bits & 0x000FFFFFFFFFFFFF) + 0x3FE6A09E667F3BCD))[0]
    return m, float((bits >> 52) - 1023)


def log(x: float) -> float:
    """Natural logarithm of a positive normal float."""
    m, e = mantissa_exponent(x)
    f = m - 1.0
    s = f / (2.0 + f)
    z = s * s
    w = z * z
    r = z * (L1 + w * (L3 + w * (L5 + w * L7))) + w * (L2 + w * (L4 + w * L6))
    h = 0.5 * f * f
    return e * LN2_HEAD - ((h - (s * (h + r) + e * LN2_TAIL)) - f)


def power_of_two(n: float) -> float:
    """``2**n`` for an integer n in [-1022, 1023]."""
    return float(struct.unpack("<d", struct.pack("<Q", (int(n) + 1023) << 52))[0])


def exp(x: float) -> float:
    """Exponential of ``x`` in [-700, 700]."""
    n = (x * LOG2_E + ROUND_TO_INTEGER) - ROUND_TO_INTEGER
    head = x - n * LN2_HEAD
    tail = n * LN2_TAIL
    r = head - tail
    t = r * r
    c = r - t * (P1 + t * (P2 + t * (P3 + t * (P4 + t * P5))))
    return (1.0 - ((tail - (r * c) / (2.0 - c)) - head)) * power_of_two(n)


def add(a: Vector, b: Vector) -> Vector:
    """Elementwise sum."""
    return tuple([x + y for x, y in zip(a, b, strict=True)])


def sub(a: Vector, b: Vector) -> Vector:
    """Elementwise difference."""
    return tuple([x - y for x, y in zip(a, b, strict=True)])


def mul(a: Vector, b: Vector) -> Vector:
    """Elementwise product."""
    return tuple([x * y for x, y in zip(a, b, strict=True)])


def scale(c: float, a: Vector) -> Vector:
    """Each element times a number."""
    return tuple([c * x for x in a])


def shift(c: float, a: Vector) -> Vector:
    """Each element plus a number."""
    return tuple([c + x for x in a])


def absolute(a: Vector) -> Vector:
    """Elementwise magnitude."""
    return tuple([abs(x) for x in a])


def above(a: Vector, b: Vector) -> Vector:
    """Elementwise 1 where ``a_i > b_i``, 0 elsewhere."""
    return tuple([where(x > y, 1.0, 0.0) for x, y in zip(a, b, strict=True)])


def take(table: Any, start: float, columns: Vector) -> Vector:
    """``(table[start + columns[0]], table[start + columns[1]], ...)``, where floats are integers."""
    return tuple([table[int(start) + int(c)] for c in columns])


def bounded(a: Vector, low: Vector, high: Vector) -> Vector:
    """Elementwise `clip`."""
    return tuple([clip(x, lo, hi) for x, lo, hi in zip(a, low, high, strict=True)])


def total(a: Vector) -> float:
    """Sum from left to right (``sum`` compensates rounding since Python 3.12)."""
    result = a[0]
    for x in a[1:]:
        result = result + x
    return result


def beyond(a: Vector, limits: Vector) -> bool:
    """Whether some ``|a_i| > limits_i``, or is not a number."""
    return not all(abs(x) <= limit for x, limit in zip(a, limits, strict=True))


def matvec(matrix: Vector, x: Vector) -> Vector:
    """Product of a row-major matrix with ``len(x)`` columns and a vector."""
    n = len(x)
    return tuple([total(mul(matrix[i : i + n], x)) for i in range(0, len(matrix), n)])


def outer(a: Vector, b: Vector) -> Vector:
    """All products ``a_i b_j``, row by row."""
    return tuple([x * y for x in a for y in b])


def packed_square(a: Vector) -> Vector:
    """Upper triangle of ``a a'``, row by row."""
    return tuple([a[i] * a[j] for i in range(len(a)) for j in range(i, len(a))])


class Room(list[float]):
    """What an observation is written to, from 0 on."""

    def __setitem__(self, index: Any, value: Any) -> None:
        if not 0 <= index < len(self):
            raise IndexError(f"an observation of {len(self)} numbers has no entry {index}")
        super().__setitem__(index, value)


def room(n: int) -> Any:
    """Room for ``n`` numbers."""
    return Room([math.nan] * n)


def fill(out: Any, start: int, a: Vector) -> None:
    """``out[start] = a[0]``, ``out[start + 1] = a[1]``, ..."""
    for i in range(len(a)):
        out[start + i] = a[i]


def contents(written: Any, n: int) -> Vector:
    """The ``n`` numbers in a `room`."""
    return tuple(written)


def put(a: Vector, i: int, x: float) -> Vector:
    """``a`` with ``x`` in place of its i-th element."""
    return (*a[:i], x, *a[i + 1 :])


def shares(weights: Vector, present: Vector) -> Vector:
    """Weights of at least 0 divided by their sum, absent ones (0 in ``present``, 1 otherwise) by nobody.

    A sum of 0 is equal shares among those present; where nobody is, all get 0.
    """
    held = mul(weights, present)
    whole, n = total(held), total(present)
    by, among = where(whole > 0.0, whole, 1.0), where(n > 0.0, n, 1.0)
    result = held
    for i in range(len(held)):
        result = put(result, i, where(whole > 0.0, held[i] / by, present[i] / among))
    return result


def softmax(logits: Vector, present: Vector) -> Vector:
    """Exponentials, of logits up to 100 in magnitude, divided by their sum as in `shares`."""
    weights = logits
    for i in range(len(logits)):
        weights = put(weights, i, exp(logits[i]))
    return shares(weights, present)
