"""Observations of numbers: named channels, entities side by side, images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from lifelong_gym.envs.spaces.codecs import Array, ObservationCodec, Quantity, not_positive
from lifelong_gym.numerics.arrays import BoolArray


@dataclass(frozen=True)
class Bounded(ObservationCodec):
    """A float32 vector of named channels within ``[low, high]``; without ``low``, within ``[-high, high]``."""

    channels: tuple[Quantity, ...]
    high: tuple[float, ...]
    low: tuple[float, ...] | None = None
    is_vector: ClassVar[bool] = True

    @property
    def size(self) -> int:
        """Numbers an observation consists of."""
        return len(self.high)

    @property
    def space(self) -> spaces.Box:
        """The Box of these bounds."""
        high = np.array(self.high, np.float32)
        return spaces.Box(-high if self.low is None else np.array(self.low, np.float32), high, dtype=np.float32)

    def one(self, row: Array) -> Array:
        """The row itself, with its task features."""
        return row

    def rows(self, rows: Array) -> Array:
        """The rows themselves, with their task features."""
        return rows

    def faults(self) -> Iterator[str]:
        """Finite bounds, one a channel and apart from each other."""
        if self.low is None:
            yield from not_positive("observations.high", self.high, len(self.channels))
        else:
            yield from _not_apart(self.low, self.high, len(self.channels))


class EntityBox(spaces.Box):
    """A flat float32 ``Box`` that says which of its numbers belong to which entity, as equivariant policies need.

    Anybody's env may have it: m blocks of equal length, the last number of each 1 where the entity is there, else 0;
    behind them, numbers that concern all entities alike.

    Args:
        low: smallest values, shape (n,).
        high: largest ones, shape (n,).
        m: number of entities.
        n_channels: numbers of a block.
        window: so many of a block's first numbers are a series, oldest first; 0: none.
        n_series: so many series of that length stand one behind the other.

    Raises:
        ValueError: the blocks are longer than the vector, or the series than what a block says besides its last number.
    """

    def __init__(
        self, low: npt.ArrayLike, high: npt.ArrayLike, m: int, n_channels: int, window: int = 0, n_series: int = 1
    ) -> None:
        """See the class."""
        super().__init__(np.asarray(low, np.float32), np.asarray(high, np.float32), dtype=np.float32)
        if m < 1 or n_channels < 1 or m * n_channels > self.shape[0]:
            raise ValueError(f"`m` blocks of `n_channels` must fit into {self.shape}. Received {m} and {n_channels}")
        if window < 0 or n_series < 1 or window * n_series >= n_channels:
            raise ValueError(
                f"`n_series` series of `window` numbers must be shorter than {n_channels}. "
                f"Received {n_series} and {window}"
            )
        self.m, self.n_channels, self.window, self.n_series = m, n_channels, window, n_series

    @property
    def blocks(self) -> tuple[int, int, int, int]:
        """``m``, ``n_channels``, ``window`` and ``n_series``."""
        return self.m, self.n_channels, self.window, self.n_series

    def __eq__(self, other: object) -> bool:
        same_box: bool = super().__eq__(other)
        return same_box and (not isinstance(other, EntityBox) or self.blocks == other.blocks)

    __hash__ = None  # type: ignore[assignment]  # as of every Box

    def __repr__(self) -> str:
        return f"EntityBox({self.shape}, m={self.m}, n_channels={self.n_channels}, window={self.window})"


@dataclass(frozen=True)
class Entities(ObservationCodec):
    """m entities side by side in a flat float32 vector, so that tasks of unlike sizes share a space.

    Each entity is a block of numbers within ``[low, high]``, one a channel; without ``low``, within ``[-high, high]``.
    The last channel of a block says whether the entity is there: 1, or 0. Its first ``n_series * window`` channels may
    be series of that length, one behind the other, each oldest first; networks that read series ask for that.
    """

    m: int
    channels: tuple[Quantity, ...]
    high: tuple[float, ...]
    low: tuple[float, ...] | None = None
    window: int = 0
    n_series: int = 1
    is_vector: ClassVar[bool] = True

    @property
    def block(self) -> tuple[int, int]:
        """Shape of an observation as a table: m rows, a column a channel."""
        return self.m, len(self.high)

    @property
    def size(self) -> int:
        """Numbers an observation consists of."""
        return self.m * len(self.high)

    @property
    def space(self) -> EntityBox:
        """The Box of these bounds, m times."""
        return self.with_features(np.zeros(0, np.float32), np.zeros(0, np.float32))

    def with_features(self, low: Array, high: Array) -> EntityBox:
        """See `ObservationCodec`; the space still says which numbers belong to which entity."""
        largest = np.array(self.high, np.float32)
        smallest = -largest if self.low is None else np.array(self.low, np.float32)
        smallest[-1] = 0.0
        lower = np.concatenate([np.tile(smallest, self.m), low])
        upper = np.concatenate([np.tile(largest, self.m), high])
        return EntityBox(lower, upper, self.m, len(self.high), self.window, self.n_series)

    def blocks(self, observations: Array) -> Array:
        """Observations (..., m * n_channels), task features behind left out, as tables (..., m, n_channels)."""
        return observations[..., : self.size].reshape(*observations.shape[:-1], *self.block)

    def present(self, observations: Array) -> BoolArray:
        """Which entities are there, shape (..., m)."""
        there: BoolArray = self.blocks(observations)[..., -1] > 0.0
        return there

    def one(self, row: Array) -> Array:
        """The row itself, with its task features."""
        return row

    def rows(self, rows: Array) -> Array:
        """The rows themselves, with their task features."""
        return rows

    def faults(self) -> Iterator[str]:
        """An entity or more; finite bounds, one a channel, of which the last's upper one is 1."""
        if self.m < 1:
            yield f"`observations.m` must be at least 1. Received {self.m}"
        low = tuple(-x for x in self.high) if self.low is None else self.low
        yield from _not_apart(low, self.high, len(self.channels))
        if not self.high or self.high[-1] != 1.0:
            yield f"`observations.high` must end with 1, for an entity that is there. Received {self.high}"
        if self.window < 0 or self.n_series < 1 or self.window * self.n_series >= max(len(self.high), 1):
            yield (
                "`observations`: `n_series` series of `window` channels must be shorter than a block of "
                f"{len(self.high)}. Received {self.n_series} and {self.window}"
            )


@dataclass(frozen=True)
class Image(ObservationCodec):
    """Pixels: uint8 of shape (height, width, channels)."""

    height: int
    width: int
    channels: int = 3
    is_image: ClassVar[bool] = True

    @property
    def size(self) -> int:
        """Numbers an observation consists of."""
        return self.height * self.width * self.channels

    @property
    def space(self) -> spaces.Box:
        """``Box(0, 255)`` of that shape."""
        return spaces.Box(0, 255, (self.height, self.width, self.channels), np.uint8)

    def faults(self) -> Iterator[str]:
        """Positive sizes."""
        if min(self.height, self.width, self.channels) < 1:
            yield f"`observations` must be at least 1 high, wide and deep. Received {self}"


def _not_apart(low: Sequence[float], high: Sequence[float], length: int) -> Iterator[str]:
    fit = len(low) == len(high) == length and all(-np.inf < a < b < np.inf for a, b in zip(low, high, strict=True))
    if not fit:
        yield f"`observations` must have {length} finite bounds, low below high. Received {low} and {high}"
