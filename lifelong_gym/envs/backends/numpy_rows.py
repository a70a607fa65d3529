"""The kernels on NumPy: one array per number of the state, a row an element."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from lifelong_gym.envs.backends.arrays import bind_arrays
from lifelong_gym.envs.backends.rows import Clock, Episodes, Results, kernel_state, read_kernel_state
from lifelong_gym.envs.backends.table_views import array_tables
from lifelong_gym.envs.backends.text import Program
from lifelong_gym.envs.family import KernelFamily
from lifelong_gym.numerics import numpy_math, philox
from lifelong_gym.numerics.arrays import BoolArray, FloatArray, IntArray
from lifelong_gym.numerics.states import Change, State
from lifelong_gym.tasks.task_set import TaskSet


class NumpyRows:
    """All rows of a kernel family as arrays."""

    def __init__(
        self, family: KernelFamily, tasks: TaskSet, n_rows: int, reward: str | None, terminate_on_failure: bool
    ) -> None:
        """Bind the family and allocate the rows."""
        self._family = family
        self._arguments = family, tasks, reward, terminate_on_failure
        self._bind()
        self._state = np.zeros((len(family.state), n_rows))
        self._k = np.zeros((self._program.constants.shape[1], n_rows))
        self._failed = np.zeros(n_rows, bool)
        self._slots, self._uids, self._visits = np.zeros((3, n_rows), np.int64)
        self._keys = np.zeros((n_rows, 2), np.uint64)
        self._everybody = np.arange(n_rows)

    def _bind(self) -> None:
        self._program = Program.of(*self._arguments)
        self._kernels = bind_arrays(self._program.text)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kernels": None, "_program": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._bind()

    def _data(self, rows: IntArray) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Constants and tables of these rows."""
        return tuple(self._k[:, rows]), array_tables(self._program.tables, self._slots[rows])

    def restart(self, episodes: Episodes, observations: npt.NDArray[Any]) -> None:
        """See `Rows`."""
        rows = episodes.rows
        self._slots[rows] = self._program.tables.slots[episodes.tasks]
        self._k[:, rows] = self._program.constants[self._slots[rows]].T
        self._uids[rows], self._visits[rows], self._keys[rows] = episodes.uids, episodes.visits, episodes.keys
        self._failed[rows] = False
        n = self._family.n_initial_noise
        key = episodes.keys[:, 0], episodes.keys[:, 1]
        noise = numpy_math.uniforms(n, 0, episodes.uids, episodes.visits, philox.INITIAL, key)
        state = self._kernels.initial(noise, *self._data(rows))
        for i, column in enumerate(state):
            self._state[i, rows] = column
        if episodes.states is not None:
            self._state[:, rows] = episodes.states.T
        self.observe(rows, observations)

    def step(self, actions: FloatArray, active: BoolArray, clock: Clock, results: Results) -> int:
        """See `Rows`."""
        data, before = self._data(self._everybody), tuple(self._state)
        noise = self._noise(clock) if self._kernels.exogenous is None else self._kernels.exogenous(before, *data)
        state, reward, terminated, failed = self._kernels.advance(before, tuple(actions.T), noise, *data, self._failed)
        for i, column in enumerate(state):
            self._state[i] = np.where(active, column, self._state[i])
        self._failed = np.where(active, failed, self._failed)
        clock.steps += active
        results.rewards[:], results.terminated[:], results.failed[:] = reward, terminated, self._failed
        results.truncated[:] = clock.steps >= clock.horizon
        self.observe(self._everybody, results.observations)
        return int(np.count_nonzero(active & (results.terminated | results.truncated)))

    def _noise(self, clock: Clock) -> tuple[Any, ...]:
        key = self._keys[:, 0], self._keys[:, 1]
        return numpy_math.uniforms(self._family.n_noise, clock.steps, self._uids, self._visits, philox.TRANSITION, key)

    def observe(self, rows: IntArray, observations: npt.NDArray[Any]) -> None:
        """See `Rows`."""
        seen = tuple(self._state[:, rows]), *self._data(rows)
        if self._kernels.observation is None:
            out = numpy_math.ArrayRoom(observations.shape[1])
            self._kernels.write(*seen, out)
            columns = tuple(out.columns)
        else:
            columns = self._kernels.observation(*seen)
        for i, column in enumerate(columns):
            observations[rows, i] = column

    def states(self) -> FloatArray:
        """See `Rows`."""
        return self._state.T.copy()

    def set_state(self, row: int, state: FloatArray) -> None:
        """See `Rows`."""
        self._state[:, row] = state
        self._failed[row] = False

    def state_dict(self) -> State:
        """See `Rows`."""
        return kernel_state(self.states(), self._failed.copy())

    def loading(self, state: Any, name: str, episodes: Episodes, observations: npt.NDArray[Any]) -> Change:
        """See `Rows`."""
        states, failed = read_kernel_state(state, name, len(self._failed), len(self._state))

        def change() -> None:
            self.restart(replace(episodes, states=states), observations)
            self._failed = failed

        return change

    def close(self) -> None:
        """Nothing to release."""
