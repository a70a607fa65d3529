"""Tables as texts read them, ``table[i]`` with a flat index: one task's for Python floats, one a row for arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from lifelong_gym.envs.tables import Array, Tables
from lifelong_gym.numerics.arrays import IntArray


def _refuse(name: str, index: object, size: int) -> IndexError:
    return IndexError(
        f"table {name!r} has {size} numbers a task, and no entry {index}; roles are evaluated at terminal states too"
    )


class RowTable:
    """One task's table. Compiled code reads whatever lies there; here an index out of range is an error."""

    __slots__ = ("_name", "_numbers")

    def __init__(self, name: str, numbers: Array) -> None:
        """Of flat numbers."""
        self._name, self._numbers = name, numbers.data

    def __getitem__(self, index: int) -> float:
        if not 0 <= index < len(self._numbers):
            raise _refuse(self._name, index, len(self._numbers))
        return self._numbers[index]


class ArrayTable:
    """A table of every row's task: an array of indices, or one for all, gives an array of float64."""

    def __init__(self, name: str, numbers: Array, offsets: IntArray, size: int) -> None:
        """Row i reads ``size`` numbers from ``offsets[i]`` on."""
        self._name, self._numbers, self._offsets, self._size = name, numbers, offsets, size

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the rows."""
        return np.shape(self._offsets)

    def row(self, at: tuple[int, ...]) -> RowTable:
        """One row's."""
        first = int(np.asarray(self._offsets)[at])
        return RowTable(self._name, self._numbers[first : first + self._size])

    def __getitem__(self, index: Any) -> npt.NDArray[np.float64]:
        outside = (np.asarray(index) < 0) | (np.asarray(index) >= self._size)
        if outside.any():
            raise _refuse(self._name, np.broadcast_to(index, outside.shape)[outside].flat[0], self._size)
        return self._numbers[self._offsets + index].astype(np.float64)


def row_tables(tables: Tables, slot: int) -> tuple[RowTable, ...]:
    """The tables of one slot."""
    each = zip(tables.names, tables.arrays, tables.strides, strict=True)
    return tuple(RowTable(name, a[slot * n : (slot + 1) * n] if n else a) for name, a, n in each)


def array_tables(tables: Tables, slots: IntArray) -> tuple[ArrayTable, ...]:
    """The tables of rows in these slots."""
    each = zip(tables.names, tables.arrays, tables.strides, strict=True)
    return tuple(ArrayTable(name, a, slots * n, n or len(a)) for name, a, n in each)
