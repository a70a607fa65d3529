"""Rows whose pictures somebody else paints: states, rewards and ends stay those of the rows within."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from lifelong_gym.envs.backends.rows import Clock, Episodes, Results, Rows
from lifelong_gym.numerics.arrays import BoolArray, FloatArray, IntArray
from lifelong_gym.numerics.states import Change, State


class Painter(Protocol):
    """Draws what a kernel family's rows see; ``Class(family, tasks)`` makes one for all rows, which is pickled too."""

    def paint(self, task: int, state: FloatArray) -> npt.NDArray[np.uint8]:
        """The observation of a state of that task, flat; nothing else may decide on it."""
        ...

    def close(self) -> None:
        """Release what is held."""
        ...


class PaintedRows:
    """Rows with a painter."""

    def __init__(self, rows: Rows, painter: Painter, n_rows: int) -> None:
        """Nothing is painted before an episode begins."""
        self._rows, self._painter = rows, painter
        self._tasks = np.zeros(n_rows, np.int64)
        self._everybody = np.arange(n_rows)

    def restart(self, episodes: Episodes, observations: npt.NDArray[Any]) -> None:
        """See `Rows`."""
        self._rows.restart(episodes, observations)
        self._tasks[episodes.rows] = episodes.tasks
        self._paint(episodes.rows, observations)

    def step(self, actions: FloatArray, active: BoolArray, clock: Clock, results: Results) -> int:
        """See `Rows`."""
        n_ended = self._rows.step(actions, active, clock, results)
        self._paint(self._everybody, results.observations)
        return n_ended

    def observe(self, rows: IntArray, observations: npt.NDArray[Any]) -> None:
        """See `Rows`."""
        self._paint(rows, observations)

    def _paint(self, rows: IntArray, observations: npt.NDArray[Any]) -> None:
        states = self._rows.states()
        for row in rows.tolist():
            observations[row] = self._painter.paint(int(self._tasks[row]), states[row])

    def states(self) -> FloatArray:
        """See `Rows`."""
        return self._rows.states()

    def set_state(self, row: int, state: FloatArray) -> None:
        """See `Rows`."""
        self._rows.set_state(row, state)

    def state_dict(self) -> State:
        """See `Rows`: those within, whose states say all."""
        return self._rows.state_dict()

    def loading(self, state: Any, name: str, episodes: Episodes, observations: npt.NDArray[Any]) -> Change:
        """See `Rows`."""
        within = self._rows.loading(state, name, episodes, observations)

        def change() -> None:
            within()
            self._tasks[episodes.rows] = episodes.tasks

        return change

    def close(self) -> None:
        """See `Rows`."""
        self._painter.close()
        self._rows.close()
