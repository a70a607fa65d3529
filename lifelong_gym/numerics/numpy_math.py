"""`scalar` and `philox` on NumPy arrays: one array per number of the scalar text, the same bits."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from lifelong_gym.numerics import philox, scalar
from lifelong_gym.numerics.bind import Binder

Array = Any  # an ndarray, or a NumPy or Python number that broadcasts against one


def where(condition: Array, if_true: Array, if_false: Array) -> Array:
    """Elementwise choice."""
    return np.where(condition, if_true, if_false)


def choose(condition: Array, if_true: tuple[Array, ...], if_false: tuple[Array, ...]) -> tuple[Array, ...]:
    """Elementwise choice between tuples of arrays."""
    return tuple([np.where(condition, x, y) for x, y in zip(if_true, if_false, strict=True)])


def clip(x: Array, low: Array, high: Array) -> Array:
    """As the scalar text: NaN stays NaN."""
    return np.where(x < low, low, np.where(x > high, high, x))


def floor(x: Array) -> Array:
    """As the scalar text: -0 gives 0."""
    return np.floor(x) + 0.0


def beyond(a: tuple[Array, ...], limits: tuple[Array, ...]) -> Array:
    """Elementwise over rows: whether one of a row's numbers is beyond its limit."""
    result = np.zeros(np.broadcast_shapes(*[np.shape(x) for x in a]), bool)
    for x, limit in zip(a, limits, strict=True):
        result |= ~(np.abs(x) <= limit)
    return result


def integer(x: Array) -> Array:
    """As Python's `int`: towards 0."""
    return np.asarray(x).astype(np.int64)


def real(x: Array) -> Array:
    """As Python's `float`."""
    return np.asarray(x, np.float64)


def least(*values: Array) -> Array:
    """As Python's `min`: the first of equals."""
    return functools.reduce(lambda found, x: np.where(x < found, x, found), values)


def greatest(*values: Array) -> Array:
    """As Python's `max`: the first of equals."""
    return functools.reduce(lambda found, x: np.where(x > found, x, found), values)


class ArrayRoom:
    """What observations are written to: a column a number, in all rows, or in each row a number of its own."""

    def __init__(self, n: int) -> None:
        """Nothing is written."""
        self.columns: list[Array] = [np.nan] * n

    def __setitem__(self, index: Array, value: Array) -> None:
        if isinstance(index, int) and 0 <= index < len(self.columns):
            self.columns[index] = value
            return
        outside = (np.asarray(index) < 0) | (np.asarray(index) >= len(self.columns))
        if outside.any():
            raise IndexError(f"an observation of {len(self.columns)} numbers has no entry {index}")
        for i in np.unique(index).tolist():
            self.columns[i] = np.where(index == i, value, self.columns[i])


def contents(written: ArrayRoom, n: int) -> tuple[Array, ...]:
    """See `scalar.contents`."""
    return tuple(written.columns)


def quadrant(shifted: Array) -> tuple[Array, Array, Array]:
    """See `scalar.quadrant`."""
    q = np.asarray(shifted, np.float64).view(np.uint64)
    return (q & np.uint64(1)) != 0, (q & np.uint64(2)) != 0, ((q + np.uint64(1)) & np.uint64(2)) != 0


def mantissa_exponent(x: Array) -> tuple[Array, Array]:
    """See `scalar.mantissa_exponent`."""
    bits = np.asarray(x, np.float64).view(np.uint64) + np.uint64(0x00095F619980C433)
    m = ((bits & np.uint64(0x000FFFFFFFFFFFFF)) + np.uint64(0x3FE6A09E667F3BCD)).view(np.float64)
    return m, (bits >> np.uint64(52)).astype(np.float64) - 1023.0


def power_of_two(n: Array) -> Array:
    """See `scalar.power_of_two`."""
    return ((np.asarray(n).astype(np.int64) + 1023) << 52).view(np.float64)


def unit_interval(high: Array, low: Array) -> Array:
    """See `philox.unit_interval`."""
    return ((high << np.uint64(20)) | (low >> np.uint64(12))).astype(np.float64) * philox.UNIT


NAMES: dict[Any, Any] = {
    scalar.where: where,
    scalar.choose: choose,
    scalar.clip: clip,
    scalar.beyond: beyond,
    scalar.floor: floor,
    scalar.sqrt: np.sqrt,
    scalar.quadrant: quadrant,
    scalar.mantissa_exponent: mantissa_exponent,
    scalar.power_of_two: power_of_two,
    scalar.room: ArrayRoom,
    scalar.contents: contents,
    philox.unit_interval: unit_interval,
}


BUILTINS = {"int": integer, "float": real, "min": least, "max": greatest}

UNSIGNED = {
    name: np.uint64(getattr(philox, name))
    for name in ("MASK", "MULTIPLIER_0", "MULTIPLIER_1", "WEYL_0", "WEYL_1", "SHIFT_32", "SHIFT_20", "SHIFT_12")
}


def binder() -> Binder:
    """A binder to NumPy arrays."""
    result = Binder(NAMES, builtins=BUILTINS)
    for function in (philox.philox_round, philox.philox):
        result.replace(function, UNSIGNED)
    return result


_binder = binder()
_uniform_pair, _normal_pair = _binder.bind(philox.uniform_pair), _binder.bind(philox.normal_pair)


exp, log = _binder.bind(scalar.exp), _binder.bind(scalar.log)


def _words(counter: tuple[Array, ...]) -> list[Array]:
    return [np.asarray(word).astype(np.uint64) for word in np.broadcast_arrays(*counter)]


def uniform_pair(*counter_and_key: Array) -> tuple[Array, Array]:
    """`philox.uniform_pair` on arrays that broadcast against each other."""
    return _uniform_pair(*_words(counter_and_key))


def normal_pair(*counter_and_key: Array) -> tuple[Array, Array]:
    """`philox.normal_pair` on arrays that broadcast against each other."""
    return _normal_pair(*_words(counter_and_key))


def uniforms(n: int, step: Array, uid: Array, visit: Array, stream: int, key: tuple[Array, Array]) -> tuple[Array, ...]:
    """The first ``n`` uniforms of a stream at one step, as arrays."""
    draws: tuple[Array, ...] = ()
    for pair in range((n + 1) // 2):
        draws += uniform_pair(step, uid, visit, stream + pair, *key)
    return draws[:n]
