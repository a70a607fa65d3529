"""Memory for results: what nobody holds any more is used again, since fresh pages cost more than stepping does."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any

import numpy as np
import numpy.typing as npt

Piece = npt.NDArray[np.uint8]
LEAST = 2**17  # bytes: from about here on, allocators ask the system for fresh pages
MOST = 8  # spare pieces of one size


class _Lease:
    """What an array over a piece of memory has as its base; it dies with the last such array, views included."""

    def __init__(self, memory: Piece, spare: list[Piece], shape: tuple[int, ...], dtype: Any) -> None:
        self._memory, self._spare = memory, spare
        data = memory.__array_interface__["data"]
        self.__array_interface__ = {"version": 3, "data": data, "shape": shape, "typestr": np.dtype(dtype).str}

    def __del__(self) -> None:
        if len(self._spare) < MOST:
            self._spare.append(self._memory)


class ResultMemory:
    """Makes arrays; a copy of it begins with nothing."""

    def __init__(self) -> None:
        """No ``spare`` pieces, by size, yet."""
        self.spare: defaultdict[int, list[Piece]] = defaultdict(list)

    def __reduce__(self) -> tuple[type[ResultMemory], tuple[()]]:
        return ResultMemory, ()

    def empty(self, shape: tuple[int, ...], dtype: Any = np.float64) -> npt.NDArray[Any]:
        """As `numpy.empty`; large ones in memory that an earlier one had, unless that or a view of it is still held."""
        n_bytes = math.prod(shape) * np.dtype(dtype).itemsize
        if n_bytes < LEAST:
            return np.empty(shape, dtype)
        spare = self.spare[n_bytes]
        memory = spare.pop() if spare else np.empty(n_bytes, np.uint8)
        return np.asarray(_Lease(memory, spare, shape, dtype))

    def copy(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """As `numpy.copy`, likewise."""
        made = self.empty(array.shape, array.dtype)
        made[...] = array
        return made
