"""How often each row has been in each task."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from lifelong_gym.errors import INT64
from lifelong_gym.numerics.arrays import IntArray
from lifelong_gym.numerics.states import Change, State, StateReader

TABLE_BYTES = np.dtype(np.uint32).itemsize  # a (row, task) pair in the table; noise counts visits modulo 2^32 too
HOME_BYTES = 2 * np.dtype(np.int64).itemsize  # a row's first task
PAIR_BYTES = 160  # a (row, task) pair that met, in the dict: measured 150 to 180


class Visits:
    """Counts per (row, task) pair, held in whatever is smaller.

    Most rows never leave their first task: one count a row does, and a dict for what a few rows see elsewhere. Once
    that would outgrow a table of all pairs, the table takes over.
    """

    def __init__(self, n_rows: int, n_tasks: int) -> None:
        """No row has been anywhere."""
        self._shape = n_rows, n_tasks
        self._clear()

    def _clear(self) -> None:
        n_rows = self._shape[0]
        self._home = np.full(n_rows, -1, np.int64)
        self._at_home = np.zeros(n_rows, np.int64)
        self._elsewhere: dict[tuple[int, int], int] = {}
        self._table: npt.NDArray[np.uint32] | None = None
        self._tabulate_if_smaller()

    def forget(self, rows: IntArray) -> None:
        """Start these rows afresh."""
        if self._table is not None:
            self._table[rows] = 0
            return
        self._home[rows] = -1
        self._at_home[rows] = 0
        if self._elsewhere:
            gone = set(rows.tolist())
            self._elsewhere = {key: n for key, n in self._elsewhere.items() if key[0] not in gone}

    def add(self, rows: IntArray, tasks: IntArray) -> IntArray:
        """Earlier visits of each row to its task, int64; this one is counted. No row is named twice."""
        if self._table is not None:
            earlier = self._table[rows, tasks]
            self._table[rows, tasks] = earlier + np.uint32(1)
            return earlier.astype(np.int64)
        new = self._home[rows] == -1
        self._home[rows[new]] = tasks[new]
        home = self._home[rows] == tasks
        counts = np.where(home, self._at_home[rows], 0)
        self._at_home[rows[home]] += 1
        away = np.flatnonzero(~home)
        for i in away.tolist():
            key = int(rows[i]), int(tasks[i])
            counts[i] = self._elsewhere.get(key, 0)
            self._elsewhere[key] = int(counts[i]) + 1
        if len(away):
            self._tabulate_if_smaller()
        return counts

    def state_dict(self) -> State:
        """The pairs that met: their rows, tasks and counts, each int64 of shape (n_pairs,), in whatever form it is."""
        if self._table is not None:
            rows, tasks = np.nonzero(self._table)
            return {"rows": rows, "tasks": tasks, "counts": self._table[rows, tasks].astype(np.int64)}
        (known,) = np.nonzero(self._home >= 0)
        pairs = np.array([*self._elsewhere], np.int64).reshape(-1, 2)
        return {
            "rows": np.concatenate([known, pairs[:, 0]]),
            "tasks": np.concatenate([self._home[known], pairs[:, 1]]),
            "counts": np.concatenate([self._at_home[known], np.array([*self._elsewhere.values()], np.int64)]),
        }

    def loading(self, state: Any, name: str) -> Change:
        """Check a `state_dict`; the function that takes it up.

        Raises:
            CheckpointError: it doesn't fit.
        """
        (n_rows, n_tasks), reader = self._shape, StateReader(state, name, ["rows", "tasks", "counts"])
        rows = reader.numbers("rows", 0, n_rows - 1, None)
        tasks = reader.numbers("tasks", 0, n_tasks - 1, len(rows))
        counts = reader.numbers("counts", 0, INT64, len(rows))

        def change() -> None:
            self._clear()
            self._set(rows, tasks, counts)

        return change

    def _set(self, rows: IntArray, tasks: IntArray, counts: IntArray) -> None:
        """Enter pairs into empty counts; a row's first one is its home."""
        if self._table is not None:
            self._table[rows, tasks] = counts
            return
        _, first = np.unique(rows, return_index=True)
        self._home[rows[first]], self._at_home[rows[first]] = tasks[first], counts[first]
        away = np.setdiff1d(np.arange(len(rows)), first)
        pairs = zip(rows[away].tolist(), tasks[away].tolist(), strict=True)
        self._elsewhere = dict(zip(pairs, counts[away].tolist(), strict=True))
        self._tabulate_if_smaller()

    def _tabulate_if_smaller(self) -> None:
        n_rows, n_tasks = self._shape
        if TABLE_BYTES * n_rows * n_tasks > HOME_BYTES * n_rows + PAIR_BYTES * len(self._elsewhere):
            return
        self._table = np.zeros(self._shape, np.uint32)
        (known,) = np.nonzero(self._home >= 0)
        self._table[known, self._home[known]] = self._at_home[known]
        for key, count in self._elsewhere.items():
            self._table[key] = count
        self._home, self._at_home, self._elsewhere = self._home[:0], self._at_home[:0], {}
