"""What infos tell of a state besides: numbers of the episode, and their means over a row's episodes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from lifelong_gym.envs.family import Family
from lifelong_gym.numerics.arrays import BoolArray, FloatArray, IntArray
from lifelong_gym.numerics.states import Change, State, StateReader


class StateTally:
    """Channels of the states that a family's ``tallied`` names, added up over each row's episodes.

    The mean is over a row's episodes since it was last given a seed, the one that is running included.
    """

    def __init__(self, family: Family, n_rows: int) -> None:
        """No episode has begun."""
        names = [channel.name for channel in family.state]
        self._names = dict(family.tallied)
        self._chosen = [names.index(name) for name in self._names]
        self._now, self._before = np.zeros((2, len(self._names), n_rows))
        self._ended = np.zeros(n_rows, np.int64)
        self._begun = np.zeros(n_rows, bool)

    def forget(self, rows: IntArray) -> None:
        """These rows' episodes count no more."""
        self._before[:, rows], self._ended[rows], self._begun[rows] = 0.0, 0, False

    def begin(self, rows: IntArray, states: FloatArray) -> None:
        """Episodes begin in these rows, in states (n, n_state); those before them have ended or were cut."""
        self._before[:, rows] += self._now[:, rows] * self._begun[rows]
        self._ended[rows] += self._begun[rows]
        self._now[:, rows], self._begun[rows] = states.T[self._chosen], True

    def step(self, states: FloatArray) -> None:
        """All rows are in these states, (n_rows, n_state)."""
        self._now[:] = states.T[self._chosen]

    @property
    def _columns(self) -> dict[str, FloatArray]:
        means = (self._before + self._now) / (self._ended + 1)
        columns = {name: now.copy() for name, now in zip(self._names, self._now, strict=True)}
        return {**columns, **dict(zip(self._names.values(), means, strict=True))}

    def infos(self, rows: list[int]) -> list[dict[str, float]]:
        """What these rows' infos hold besides."""
        columns = {name: values.tolist() for name, values in self._columns.items()}
        return [{name: values[row] for name, values in columns.items()} for row in rows]

    def vector_infos(self, present: BoolArray) -> dict[str, npt.NDArray[Any]]:
        """The same for all rows at once, in Gymnasium's form: 0 where a row isn't present."""
        infos: dict[str, npt.NDArray[Any]] = {}
        for name, values in self._columns.items():
            infos |= {name: values * present, f"_{name}": present.copy()}
        return infos

    def state_dict(self) -> State:
        """What was seen last, and the sums."""
        parts = {"now": self._now, "before": self._before, "ended": self._ended, "begun": self._begun}
        return {name: array.copy() for name, array in parts.items()}

    def loading(self, state: Any, name: str) -> Change:
        """Check a `state_dict`; the function that takes it up.

        Raises:
            CheckpointError: it doesn't fit.
        """
        own = self.state_dict()
        reader = StateReader(state, name, own)
        given = [reader.array(part, array.dtype, *array.shape) for part, array in own.items()]

        def change() -> None:
            self._now, self._before, self._ended, self._begun = given

        return change
