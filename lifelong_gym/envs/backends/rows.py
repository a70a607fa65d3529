"""What the core asks of a backend: rows that begin episodes and take steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from lifelong_gym.numerics.arrays import BoolArray, FloatArray, IntArray
from lifelong_gym.numerics.states import Change, State, StateReader


@dataclass(frozen=True)
class Episodes:
    """Episodes about to begin, one an entry.

    Attributes:
        rows: which row, shape (n,).
        tasks: index of the task, shape (n,).
        uids: uid of the task, shape (n,).
        visits: earlier episodes of that row in that task, shape (n,).
        keys: the rows' Philox keys, uint64, shape (n, 2).
        states: physical start states (n, n_state), or None: drawn by the family.
    """

    rows: IntArray
    tasks: IntArray
    uids: IntArray
    visits: IntArray
    keys: npt.NDArray[np.uint64]
    states: FloatArray | None = None


class Clock:
    """Time within the episodes.

    Attributes:
        steps: steps taken in the current episodes, int64, shape (n_rows,).
        horizon: steps after which an episode is truncated.
    """

    def __init__(self, n_rows: int, horizon: int) -> None:
        """Every row at its beginning."""
        self.steps = np.zeros(n_rows, np.int64)
        self.horizon = horizon


class Results(NamedTuple):
    """What one step of all rows gives.

    Attributes:
        observations: shape (n_rows, n_observation).
        rewards: float64, shape (n_rows,).
        terminated: bool, shape (n_rows,).
        truncated: bool, shape (n_rows,).
        failed: bool, shape (n_rows,).
    """

    observations: npt.NDArray[Any]
    rewards: FloatArray
    terminated: BoolArray
    truncated: BoolArray
    failed: BoolArray


class Rows(Protocol):
    """Parallel copies of a family's simulation. Arrays of results are written in place.

    Rows are pickled, also within episodes; what was bound or compiled for them is made anew.
    """

    def restart(self, episodes: Episodes, observations: npt.NDArray[Any]) -> None:
        """Begin episodes; write the first observation of the rows concerned."""
        ...

    def step(self, actions: FloatArray, active: BoolArray, clock: Clock, results: Results) -> int:
        """Advance every active row and its clock; write the results, and return how many rows ended.

        Other rows stay as they are and show what they showed; what the results say of their rewards and ends has no
        meaning.
        """
        ...

    def states(self) -> FloatArray:
        """Physical states, a copy of shape (n_rows, n_state)."""
        ...

    def set_state(self, row: int, state: FloatArray) -> None:
        """Put one row into a physical state, not failed."""
        ...

    def observe(self, rows: IntArray, observations: npt.NDArray[Any]) -> None:
        """Write the observation of these rows."""
        ...

    def state_dict(self) -> State:
        """What tells these rows from others whose `Episodes` have just begun; see `states`.

        Every backend tells of kernels' rows what `kernel_state` does, so that each can go on with another's.
        """
        ...

    def loading(self, state: Any, name: str, episodes: Episodes, observations: npt.NDArray[Any]) -> Change:
        """Check a `state_dict` of all rows, in these episodes; the function that takes it up.

        Raises:
            CheckpointError: it doesn't fit; nothing has changed then.
        """
        ...

    def close(self) -> None:
        """Release what simulators hold."""
        ...


def kernel_state(states: FloatArray, failed: BoolArray) -> State:
    """The state of a kernel's rows: physical states (n_rows, n_state), and which of them failed, (n_rows,)."""
    return {"states": states, "failed": failed}


def read_kernel_state(state: Any, name: str, n_rows: int, n_state: int) -> tuple[FloatArray, BoolArray]:
    """Physical states and which of them failed; raises `CheckpointError` where the state doesn't fit."""
    reader = StateReader(state, name, ["states", "failed"])
    return reader.array("states", np.float64, n_rows, n_state), reader.array("failed", np.bool_, n_rows)
