"""Fewer bytes for averages: differences from what a neighbour knows already, rounded; the rest isn't forgotten."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from lifelong_gym.errors import unknown
from lifelong_gym.numerics.arrays import BoolArray, IntArray
from lifelong_gym.wrappers.messages import Array, Arrays

TOP = 0.1  # share of the numbers that `top_k` sends
LEVELS = 127  # of int8, on either side of 0
INDEX_BYTES = 4


@dataclass(frozen=True)
class Compressor:
    """A way to send less.

    Attributes:
        compress: from an array, flat, to what is read of it where it arrives, and the bytes that takes.
        step: by which moves towards neighbours are scaled, in (0, 1]: copies that are far behind would make averages
            swing up otherwise.
    """

    compress: Callable[[Array], tuple[Array, int]]
    step: float = 1.0


def int8(values: Array) -> tuple[Array, int]:
    """Each number in a byte, as a multiple of the largest magnitude's 127th part, which is sent too."""
    scale = np.max(np.abs(values), initial=0) / values.dtype.type(LEVELS)
    codes = np.rint(values / scale) if scale > 0 else np.zeros_like(values)
    return codes.astype(np.int8) * scale, values.size + values.itemsize


def top_k(values: Array, share: float = TOP) -> tuple[Array, int]:
    """The given share of the numbers, those of largest magnitude and at least one; others count as 0."""
    k = math.ceil(share * values.size)
    sent = np.zeros_like(values)
    largest = np.argpartition(-np.abs(values), k - 1)[:k] if k < values.size else np.arange(values.size)
    sent[largest] = values[largest]
    return sent, k * (values.itemsize + INDEX_BYTES)


def compressor_of(name: object) -> Compressor:
    """Of a name.

    Args:
        name: ``"int8"``, ``"top_k"`` (a tenth), or ``"top_k:0.02"`` with a share of one's own, in (0, 1].

    Raises:
        ValueError: any other.
    """
    if name == "int8":
        return Compressor(int8)
    match = re.fullmatch(r"top_k(?::(\d*\.?\d+(?:e-?\d+)?))?", name) if isinstance(name, str) else None
    if match is None:
        raise unknown("compress", name, ["int8", "top_k", "top_k:0.02"])
    share = TOP if match[1] is None else float(match[1])
    if not 0 < share <= 1:
        raise ValueError(f"`compress` must name a share in (0, 1]. Received {name!r}")
    return Compressor(partial(top_k, share=share), min(1.0, 2 * share))


class KnownValues:
    """What each receiver knows of each sender's values, one copy a directed edge, and how it is brought up to date.

    The first message over an edge is whole. Each later one is the compressed difference between the sender's values and
    the copy, to which it is added where it arrives: so what was rounded off, left out or lost is part of the next
    difference (error feedback, as in Koloskova, Stich and Jaggi, 2019).

    Args:
        compressor: of differences.
        senders: index of each edge's sender, shape (n_edges,).

    Attributes:
        step: the compressor's.
        known: by name, shape (n_edges, size); empty before the first round.
        begun: edges over which a whole message has arrived, shape (n_edges,).
    """

    def __init__(self, compressor: Compressor, senders: npt.NDArray[np.intp]) -> None:
        """Nothing is known yet."""
        self._compress, self.step, self._senders = compressor.compress, compressor.step, senders
        self.known: Arrays = {}
        self.begun: BoolArray = np.zeros(len(senders), bool)

    def fit(self, arrays: Arrays) -> None:
        """Forget everything unless the values are of the names, sizes and dtypes of those before."""
        expected = {name: (len(self._senders), array[0].size, array.dtype) for name, array in arrays.items()}
        if {name: (*known.shape, known.dtype) for name, known in self.known.items()} != expected:
            self.known = {name: np.zeros((n, size), dtype) for name, (n, size, dtype) in expected.items()}
            self.begun = np.zeros(len(self._senders), bool)

    def messages(self, arrays: Arrays, active: BoolArray) -> tuple[Arrays, IntArray]:
        """What is sent over active edges: the increments, shaped as ``known``, and the bytes of each edge."""
        sent = {name: np.zeros_like(known) for name, known in self.known.items()}
        n_bytes = np.zeros(len(active), np.int64)
        for e in np.flatnonzero(active).tolist():
            for name, array in arrays.items():
                values = array[self._senders[e]].reshape(-1)
                if self.begun[e]:
                    sent[name][e], size = self._compress(values - self.known[name][e])
                else:
                    sent[name][e], size = values, values.nbytes
                n_bytes[e] += size
        return sent, n_bytes

    def update(self, sent: Arrays, arrived: BoolArray) -> None:
        """Bring up to date the copies that a message has arrived for."""
        for name, known in self.known.items():
            known[arrived] += sent[name][arrived]
        self.begun = self.begun | arrived

    def state_dict(self) -> dict[str, Any]:
        """KnownValues of the copies."""
        return {"known": {name: known.copy() for name, known in self.known.items()}, "begun": self.begun.copy()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state_dict`.

        Raises:
            ValueError: it is of another number of edges.
        """
        known, begun = state["known"], np.asarray(state["begun"])
        if begun.shape != self.begun.shape or any(len(array) != len(begun) for array in known.values()):
            raise ValueError(f"copies must be of {len(self.begun)} edges. Received {begun.shape}")
        self.known, self.begun = {name: array.copy() for name, array in known.items()}, begun.copy()
