"""How far each row has come on its way through the tasks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from lifelong_gym.errors import INT64, CheckpointError
from lifelong_gym.numerics import philox
from lifelong_gym.numerics.arrays import FloatArray, IntArray
from lifelong_gym.numerics.states import Change, State, StateReader
from lifelong_gym.tasks.schedule import Schedule, ScheduleSpec, task_weights


class Walk:
    """The rows' way along a `Schedule`, which their users may change between episodes.

    Args:
        spec: see `Schedule`.
        n_tasks: size of the task set.
        n_rows: number of rows.

    Attributes:
        keys: the rows' Philox keys, uint64, shape (n_rows, 2).
        in_rounds: whether rows stay in their tasks until `next_round`.
    """

    def __init__(self, spec: ScheduleSpec, n_tasks: int, n_rows: int) -> None:
        """No row has begun."""
        self._spec, self._n_tasks, self._n_rows = spec, n_tasks, n_rows
        self._schedule = Schedule(spec, n_tasks, n_rows)
        self.in_rounds = self._schedule.in_rounds
        self.keys = np.zeros((n_rows, 2), np.uint64)
        self._positions = np.full(n_rows, -1, np.int64)  # of the last task that the schedule said
        self._rounds = np.zeros(n_rows, np.int64)  # in which the next episode lies

    def seed(self, rows: IntArray, seeds: Iterable[int]) -> None:
        """Give rows new seeds; they start afresh."""
        self.keys[rows] = [philox.row_key(int(seed)) for seed in seeds]
        self._positions[rows], self._rounds[rows] = -1, 0

    def next(self, rows: IntArray) -> IntArray:
        """The tasks of these rows' next episodes, shape of ``rows``; the rows go on."""
        self._positions[rows] = self._rounds[rows] if self.in_rounds else self._positions[rows] + 1
        return self._schedule.task(rows, self._positions[rows], self.keys)

    @property
    def rounds(self) -> IntArray:
        """The round of each row's current episode, counted from 0, shape (n_rows,), a copy."""
        return np.maximum(self._positions, 0)

    @property
    def coming(self) -> IntArray:
        """The round of each row's next episode, shape (n_rows,), a copy."""
        return self._rounds.copy()

    @property
    def present(self) -> IntArray:
        """The tasks that come up as things stand, in increasing order: in rounds those of the rows' next episodes."""
        if self.in_rounds and (self._positions >= 0).all():
            return np.unique(self._schedule.task(np.arange(self._n_rows), self._rounds, self.keys))
        return self._schedule.present

    @property
    def weights(self) -> FloatArray | None:
        """By which tasks are drawn, shape (n_tasks,), a copy; None on other schedules."""
        weights = self._schedule.weights
        return None if weights is None else weights.copy()

    def next_round(self, rows: Any = None) -> None:
        """Let these rows (indices; None: all) go on to their next tasks when their next episodes begin.

        Raises:
            ValueError: no rounds on this schedule, or no such rows; nothing has changed then.
        """
        if not self.in_rounds:
            raise ValueError(
                'rows can go on to another round where `schedule` is {"rounds": ...}; under any other, episodes say '
                f"which task comes up. Received schedule={self._spec!r}"
            )
        self._rounds[self._checked(rows)] += 1

    def _checked(self, rows: Any) -> IntArray:
        if rows is None:
            return np.arange(self._n_rows)
        try:
            given = np.atleast_1d(np.asarray(rows))
        except ValueError:  # lists of different lengths
            given = np.empty((0, 0))
        if given.shape == (0,):
            return np.empty(0, np.int64)
        if given.ndim != 1 or not np.issubdtype(given.dtype, np.integer) or len(np.unique(given)) < len(given):
            raise ValueError(f"`rows` must be a row's index or a list of different ones. Received {rows!r}")
        if not 0 <= given.min() <= given.max() < self._n_rows:
            raise ValueError(f"`rows` must be in [0, {self._n_rows - 1}]. Received {rows!r}")
        return given

    def set_weights(self, weights: Any) -> None:
        """From their next episodes on, rows draw tasks by these weights, one a task.

        Raises:
            ValueError: the schedule has no weights, or these are none; nothing has changed then.
        """
        if self._schedule.weights is None:
            raise ValueError(
                f'weights can be set where `schedule` is {{"weights": [...]}}. Received schedule={self._spec!r}'
            )
        self._schedule = Schedule({"weights": task_weights(weights, self._n_tasks)}, self._n_tasks, self._n_rows)

    def admit(self, tasks: Sequence[int] | IntArray) -> None:
        """See `Core.admit`."""
        if self._spec is not None:
            raise ValueError(
                "tasks can be admitted where `schedule` is None: a schedule says which tasks come up. "
                f"Received schedule={self._spec!r}"
            )
        self._schedule = Schedule(None, self._n_tasks, self._n_rows, among=tasks)

    def state_dict(self) -> State:
        """How far the rows are, and what was changed of the schedule; see `states`."""
        return {
            "schedule": _told(self._spec),
            "keys": self.keys.copy(),
            "positions": self._positions.copy(),
            "rounds": self._rounds.copy(),
            "weights": self.weights,
            "among": None if self._spec is not None else self._schedule.among.copy(),
        }

    def loading(self, state: Any, name: str) -> Change:
        """Check a `state_dict`; the function that takes it up.

        Raises:
            CheckpointError: it doesn't fit.
        """
        own = self.state_dict()
        reader = StateReader(state, name, own)
        reader.same("schedule", own["schedule"])
        keys = reader.array("keys", np.uint64, self._n_rows, 2)
        positions = reader.numbers("positions", -1, INT64, self._n_rows)
        rounds = reader.numbers("rounds", 0, INT64, self._n_rows)
        schedule = self._changed(reader)

        def change() -> None:
            self._schedule = schedule
            self.keys, self._positions, self._rounds = keys, positions, rounds

        return change

    def _changed(self, reader: StateReader) -> Schedule:
        """The schedule as it had been changed."""
        weighted, given, among = self._schedule.weights is not None, self._spec, None
        if reader.optional("weights", weighted):
            given = {"weights": reader.array("weights", np.float64, self._n_tasks)}
        if reader.optional("among", self._spec is None):
            among = reader.array("among", np.int64, None)
        try:
            return Schedule(given, self._n_tasks, self._n_rows, among)
        except ValueError as error:
            raise CheckpointError(f"`{reader.name('weights' if weighted else 'among')}`: {error}") from error


def _told(spec: ScheduleSpec) -> Any:
    """A schedule in JSON's types."""
    if spec is None:
        return None
    if isinstance(spec, Mapping):
        return {name: np.asarray(value).tolist() for name, value in spec.items()}
    return np.asarray(spec).tolist()
