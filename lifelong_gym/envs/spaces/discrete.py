"""Choices: one of n as an action or an observation, or several at once as an action."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces

from lifelong_gym.envs.spaces.codecs import ActionCodec, ActionText, Array, ObservationCodec
from lifelong_gym.errors import FamilyError
from lifelong_gym.numerics.arrays import BoolArray, FloatArray
from lifelong_gym.numerics.scalar import Vector


def same_action(action: Vector, present: Vector) -> Vector:
    """The numbers themselves."""
    return action


@dataclass(frozen=True)
class Discrete(ActionCodec, ObservationCodec):
    """One of ``n`` actions or observations; the family sees its index as a float."""

    n: int
    names: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """One number."""
        return 1

    @property
    def space(self) -> spaces.Discrete:
        """``Discrete(n)``."""
        return spaces.Discrete(self.n)

    def text(self) -> tuple[ActionText, Mapping[str, Any]]:
        """See `ActionCodec`."""
        return same_action, {}

    def check_values(self, actions: FloatArray) -> None:
        """Integers in range."""
        valid = _indices(actions, self.n)
        if not valid.all():
            raise ValueError(f"an action must be an integer in [0, {self.n - 1}]. Received {actions[~valid][0]:g}")

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        """See `ActionCodec`."""
        return rng.integers(0, self.n, shape)

    def for_simulator(self, seen: Vector) -> int:
        """An integer."""
        return int(seen[0])

    def one(self, row: Array) -> np.int64:
        """See `ObservationCodec`."""
        return np.int64(row[0])

    def rows(self, rows: Array) -> Array:
        """See `ObservationCodec`."""
        return rows[:, 0].copy()

    def flat(self, observation: Any) -> Array:
        """See `ObservationCodec`; Python's integers will do."""
        if isinstance(observation, bool) or not isinstance(observation, (int, np.integer)):
            raise FamilyError(f"an observation must be an integer. Received {observation!r}")
        return np.array([observation], np.int64)

    def faults(self) -> Iterator[str]:
        """One or more."""
        if self.n < 1:
            yield f"`n` of a Discrete space must be at least 1. Received {self.n}"


@dataclass(frozen=True)
class MultiDiscrete(ActionCodec):
    """Several choices at once, the i-th one of ``n[i]``; the family sees their indices as floats."""

    n: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of choices."""
        return len(self.n)

    @property
    def space(self) -> spaces.MultiDiscrete:
        """``MultiDiscrete(n)``."""
        return spaces.MultiDiscrete(list(self.n))

    def text(self) -> tuple[ActionText, Mapping[str, Any]]:
        """See `ActionCodec`."""
        return same_action, {}

    def check_values(self, actions: FloatArray) -> None:
        """Integers in range."""
        valid = _indices(actions, np.array(self.n))
        if not valid.all():
            row, i = np.argwhere(~valid)[0]
            value = actions[row, i]
            raise ValueError(f"number {i} of an action must be an integer in [0, {self.n[i] - 1}]. Received {value:g}")

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        """See `ActionCodec`."""
        return rng.integers(0, self.n, (*shape, self.size))

    def for_simulator(self, seen: Vector) -> tuple[int, ...]:
        """Integers."""
        return tuple(int(x) for x in seen)

    def faults(self) -> Iterator[str]:
        """Each of one or more."""
        if not self.n or min(self.n) < 1:
            yield f"`actions.n` must hold integers of at least 1. Received {self.n}"


def _indices(actions: FloatArray, n: Any) -> BoolArray:
    valid: BoolArray = (actions >= 0) & (actions < n) & (actions == np.floor(actions))
    return valid
