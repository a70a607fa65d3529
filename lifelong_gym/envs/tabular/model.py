"""Tasks over finitely many states as tables, for whoever solves them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt

from lifelong_gym.numerics.arrays import FloatArray, IntArray


@final
@dataclass(frozen=True)
class Model:
    """A task whose moves are certain, but for a probability to make another one.

    Attributes:
        successor: int64, shape (n_actions, n_states): the next state per action and state.
        reward: shape (n_states,): for arriving in a state.
        ends: shape (n_states,): whether arriving there ends the episode.
        slip: probability that the action is replaced by any of them at random.
        start: the state episodes start from.
    """

    successor: IntArray
    reward: FloatArray
    ends: npt.NDArray[np.bool_]
    slip: float
    start: int

    def expected(self, values: FloatArray) -> FloatArray:
        """The expectation over next states of ``values``, shape (n_states,), per action and state."""
        directions = values[self.successor]
        return np.asarray((1.0 - self.slip) * directions + self.slip * directions.mean(axis=0))
