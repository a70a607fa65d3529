"""Rows in blocks that numba steps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from lifelong_gym.envs.backends.numba_blocks import compiled
from lifelong_gym.envs.backends.numba_compile import table_data
from lifelong_gym.envs.backends.rows import Clock, Episodes, Results, kernel_state, read_kernel_state
from lifelong_gym.envs.backends.text import Program
from lifelong_gym.envs.backends.threads import in_chunks
from lifelong_gym.envs.family import KernelFamily
from lifelong_gym.numerics.arrays import BoolArray, FloatArray, IntArray
from lifelong_gym.numerics.states import Change, State
from lifelong_gym.tasks.task_set import TaskSet

LANES = 64
ITEM_BYTES = np.dtype(np.float64).itemsize
UNPACKED_BYTES = 12 * 2**20  # beyond, blocks leave the cache that cores share, and packed ones are faster
MIN_BLOCKS_A_THREAD = 100  # a hand-over to a thread costs about as much as 50 blocks
MIN_LONG_ROWS_A_THREAD = 2  # or as the picture that one row sees


class NumbaRows:
    """Rows in blocks."""

    def __init__(
        self,
        family: KernelFamily,
        tasks: TaskSet,
        n_rows: int,
        reward: str | None,
        terminate_on_failure: bool,
        width: int | None = None,
        packed: bool | None = None,
    ) -> None:
        """Compile (or load) the family and allocate the blocks; ``width`` and ``packed`` are for tests."""
        self._n_rows = n_rows
        self._n_state = len(family.state)
        self._arguments = family, tasks, reward, terminate_on_failure
        self._program = Program.of(*self._arguments)
        self._width: int = width or (1 if n_rows == 1 or self._program.text.alone else LANES)
        self._bind()
        n_blocks = -(-n_rows // self._width)
        if packed is None:
            packed = n_blocks * self._width * self._code.N_FIELDS * ITEM_BYTES > UNPACKED_BYTES
        n_fields = self._code.CONSTANTS if packed else self._code.N_FIELDS
        self._blocks = np.zeros((n_blocks, n_fields * self._width))
        self._block = self._blocks[0]

    def _bind(self) -> None:
        self._data = table_data(self._program)
        self._smallest = MIN_LONG_ROWS_A_THREAD if self._program.text.alone else MIN_BLOCKS_A_THREAD
        self._code = compiled(self._program.text, self._width)
        self._step_one: Any = getattr(self._code, "step_one", None)
        self._step_one_with_tables: Any = getattr(self._code, "step_one_with_tables", None)

    def __getstate__(self) -> dict[str, Any]:
        made = "_code", "_block", "_step_one", "_step_one_with_tables", "_program", "_data"
        return {**self.__dict__, **dict.fromkeys(made)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._program = Program.of(*self._arguments)
        self._bind()
        self._block = self._blocks[0]

    def restart(self, episodes: Episodes, observations: npt.NDArray[Any]) -> None:
        """See `Rows`."""
        given = episodes.states is not None
        states: FloatArray = np.zeros((1, self._n_state))
        if given:  # numba compiles anew for what is read-only: a copy, then
            states = np.require(episodes.states, np.float64, ("C", "W"))
        self._code.restart_rows(
            self._blocks,
            episodes.rows,
            self._program.tables.slots[episodes.tasks],
            episodes.uids,
            episodes.visits,
            episodes.keys,
            self._program.constants,
            self._data,
            states,
            len(episodes.rows) if given else 0,
            observations,
            observations.shape[1],
        )

    def step(self, actions: FloatArray, active: BoolArray, clock: Clock, results: Results) -> int:
        """See `Rows`."""
        observations, rewards, terminated, truncated, failed = results
        arguments = (
            self._blocks,
            self._n_rows,
            self._program.constants,
            self._data,
            actions,
            active,
            clock.steps,
            clock.horizon,
            observations,
            observations.shape[1],
            rewards,
            terminated,
            truncated,
            failed,
        )
        return in_chunks(self._code.step_rows, len(self._blocks), self._smallest, arguments)

    def step_one(
        self, action: npt.NDArray[Any], clock: Clock, observation: npt.NDArray[Any]
    ) -> tuple[bool, float, bool, bool, bool]:
        """The latency path of a single row: ``(action was valid, reward, terminated, truncated, failed)``."""
        result: tuple[bool, float, bool, bool, bool]
        if self._step_one is not None:
            result = self._step_one(self._block, action, clock.steps, clock.horizon, observation)
        else:
            result = self._step_one_with_tables(
                self._block, action, clock.steps, clock.horizon, observation, self._data
            )
        return result

    def _field(self, name: str, size: int) -> FloatArray:
        blocks = self._blocks.reshape(len(self._blocks), -1, self._width)
        first = getattr(self._code, name)
        return blocks[:, first : first + size].transpose(0, 2, 1).reshape(-1, size)[: self._n_rows]

    def states(self) -> FloatArray:
        """See `Rows`."""
        return self._field("STATE", self._n_state).copy()

    def set_state(self, row: int, state: FloatArray) -> None:
        """See `Rows`."""
        block, lane = self._blocks[row // self._width].reshape(-1, self._width), row % self._width
        block[self._code.STATE : self._code.STATE + self._n_state, lane] = state
        block[self._code.FAILED, lane] = 0.0

    def observe(self, rows: IntArray, observations: npt.NDArray[Any]) -> None:
        """See `Rows`."""
        self._code.observe_rows(
            self._blocks, rows, self._program.constants, self._data, observations, observations.shape[1]
        )

    def state_dict(self) -> State:
        """See `Rows`."""
        return kernel_state(self.states(), self._field("FAILED", 1)[:, 0] != 0.0)

    def loading(self, state: Any, name: str, episodes: Episodes, observations: npt.NDArray[Any]) -> Change:
        """See `Rows`."""
        states, failed = read_kernel_state(state, name, self._n_rows, self._n_state)
        lanes = np.zeros(len(self._blocks) * self._width)
        lanes[: self._n_rows] = failed

        def change() -> None:
            self.restart(replace(episodes, states=states), observations)
            blocks = self._blocks.reshape(len(self._blocks), -1, self._width)
            blocks[:, self._code.FAILED] = lanes.reshape(-1, self._width)

        return change

    def close(self) -> None:
        """Nothing to release."""
