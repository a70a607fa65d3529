"""`scalar` on tensors: a vector of the scalar text is one tensor, and derivatives flow through it."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch as th

from lifelong_gym.numerics import scalar
from lifelong_gym.numerics.bind import Binder

Number = Any  # a tensor of one number a row, or a Python number
Vector = Any  # a `Stack`, or a tuple of numbers


class Stack:
    """A vector in every row, as a tuple of numbers is one: an entry a number, (n_entries, n_rows).

    Attributes:
        numbers: float64, of that shape, or (n_entries, 1) where all rows have the same.
    """

    __slots__ = ("numbers",)

    def __init__(self, numbers: th.Tensor) -> None:
        """See the class."""
        self.numbers = numbers

    def __len__(self) -> int:
        return len(self.numbers)

    def __iter__(self) -> Iterator[th.Tensor]:
        return iter(self.numbers)

    def __getitem__(self, index: Any) -> Any:
        return Stack(self.numbers[index]) if isinstance(index, slice) else self.numbers[index]

    def __add__(self, other: Vector) -> Stack:
        return _joined(self, other)

    def __radd__(self, other: Vector) -> Stack:
        return _joined(other, self)


class TorchTable:
    """A table of one task, read by tensors of indices of any shape."""

    def __init__(self, numbers: npt.ArrayLike) -> None:
        """Of flat numbers."""
        self._numbers = th.from_numpy(np.array(numbers, np.float64))

    def __getitem__(self, index: Any) -> th.Tensor:
        return self._numbers[index]


class TorchRoom:
    """What observations are written to, an entry after the other or several at a time."""

    def __init__(self) -> None:
        """Nothing is written."""
        self.parts: list[tuple[int, Stack]] = []

    def __setitem__(self, index: int, value: Number) -> None:
        self.parts.append((index, stacked((value,))))

    def contents(self) -> Stack:
        """All that was written, in order."""
        parts = [part.numbers for _, part in sorted(self.parts, key=_place)]
        n_rows = max(part.shape[1] for part in parts)
        return Stack(th.cat([part.expand(-1, n_rows) for part in parts]))


def stacked(vector: Vector) -> Stack:
    """A tuple of numbers as a `Stack`."""
    if isinstance(vector, Stack):
        return vector
    if all(isinstance(x, float) for x in vector):
        return _constant(vector)
    rows = th.broadcast_tensors(*[th.atleast_1d(real(x)) for x in vector])
    return Stack(th.stack(list(rows)))


@functools.lru_cache(maxsize=256)
def _constant(vector: tuple[float, ...]) -> Stack:
    return Stack(th.tensor(vector, dtype=th.float64)[:, None])


def _joined(first: Vector, second: Vector) -> Stack:
    parts = stacked(first).numbers, stacked(second).numbers
    n_rows = max(part.shape[1] for part in parts)
    return Stack(th.cat([part.expand(-1, n_rows) for part in parts]))


def real(x: Number) -> th.Tensor:
    """As Python's `float`."""
    return th.as_tensor(x, dtype=th.float64)


def integer(x: Number) -> Number:
    """As Python's `int`: towards 0."""
    return x.long() if isinstance(x, th.Tensor) else int(x)


def where(condition: Any, if_true: Number, if_false: Number) -> th.Tensor:
    """Elementwise choice."""
    return th.where(th.as_tensor(condition), real(if_true), real(if_false))


def clip(x: Number, low: Number, high: Number) -> th.Tensor:
    """As the scalar text: NaN stays NaN."""
    return real(x).clamp(real(low), real(high))


def least(*values: Number) -> th.Tensor:
    """As Python's `min`."""
    return functools.reduce(th.minimum, [real(x) for x in values])


def greatest(*values: Number) -> th.Tensor:
    """As Python's `max`."""
    return functools.reduce(th.maximum, [real(x) for x in values])


def bounded(a: Vector, low: Vector, high: Vector) -> Stack:
    """Elementwise `clip`."""
    return Stack(clip(stacked(a).numbers, stacked(low).numbers, stacked(high).numbers))


def take(table: TorchTable, start: Number, columns: Vector) -> Stack:
    """See `scalar.take`."""
    return Stack(table[(real(start) + stacked(columns).numbers).long()])


def shares(weights: Vector, present: Vector) -> Stack:
    """See `scalar.shares`."""
    there = stacked(present).numbers
    held = stacked(weights).numbers * there
    whole, n = held.sum(0), there.sum(0)
    each = held / where(whole > 0.0, whole, 1.0), there / n.clamp_min(1.0)
    return Stack(where(whole > 0.0, *each))


def softmax(logits: Vector, present: Vector) -> Stack:
    """See `scalar.softmax`."""
    return shares(Stack(stacked(logits).numbers.exp()), present)


def fill(out: TorchRoom, start: int, a: Vector) -> None:
    """See `scalar.fill`."""
    out.parts.append((start, stacked(a)))


def _place(part: tuple[int, Stack]) -> int:
    return part[0]


def _elementwise(function: Any) -> Any:
    """Of two vectors."""

    def both(a: Vector, b: Vector) -> Stack:
        return Stack(function(stacked(a).numbers, stacked(b).numbers))

    return both


def _above(a: th.Tensor, b: th.Tensor) -> th.Tensor:
    return (a > b).to(th.float64)


def _scale(c: Number, a: Vector) -> Stack:
    return Stack(real(c) * stacked(a).numbers)


def _shift(c: Number, a: Vector) -> Stack:
    return Stack(real(c) + stacked(a).numbers)


def _absolute(a: Vector) -> Stack:
    return Stack(stacked(a).numbers.abs())


def _total(a: Vector) -> th.Tensor:
    return stacked(a).numbers.sum(0)


def _sincos(x: Number) -> tuple[th.Tensor, th.Tensor]:
    return real(x).sin(), real(x).cos()


def _of_one(function: Any) -> Any:
    """Of a number."""

    def one(x: Number) -> th.Tensor:
        found: th.Tensor = function(real(x))
        return found

    return one


NAMES: dict[Any, Any] = {
    scalar.where: where,
    scalar.clip: clip,
    scalar.floor: _of_one(th.floor),
    scalar.sqrt: _of_one(th.sqrt),
    scalar.log: _of_one(th.log),
    scalar.exp: _of_one(th.exp),
    scalar.sincos: _sincos,
    scalar.add: _elementwise(th.add),
    scalar.sub: _elementwise(th.sub),
    scalar.mul: _elementwise(th.mul),
    scalar.above: _elementwise(_above),
    scalar.scale: _scale,
    scalar.shift: _shift,
    scalar.absolute: _absolute,
    scalar.total: _total,
    scalar.take: take,
    scalar.bounded: bounded,
    scalar.shares: shares,
    scalar.softmax: softmax,
    scalar.fill: fill,
}
BUILTINS = {"int": integer, "float": real, "min": least, "max": greatest}


def binder() -> Binder:
    """A binder to tensors."""
    return Binder(NAMES, builtins=BUILTINS)
