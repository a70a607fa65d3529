"""Of each task the states at all its steps, as the policy's own actions led to them: a portfolio vector memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lifelong_gym.errors import CheckpointError
from lifelong_gym.numerics.arrays import FloatArray


class TaskMemory:
    """States of the tasks that have come up so far; of one that comes up for the first time, those of its history.

    Attributes:
        states: by task, (n_steps, n_state) each.
        history: gives a task's states while nobody has acted; None: there is no environment that says.
        clock: index of the number of a state that tells the time.
    """

    def __init__(self) -> None:
        """Nothing has come up."""
        self.states: dict[int, FloatArray] = {}
        self.history: Callable[[int], FloatArray] | None = None
        self.clock = 0

    @property
    def tasks(self) -> list[int]:
        """Those that have come up, in increasing order."""
        return sorted(self.states)

    def meet(self, task: int) -> None:
        """A task comes up."""
        if task not in self.states:
            assert self.history is not None
            self.states[task] = self.history(task)

    def write(self, task: int, states: FloatArray) -> None:
        """Take up states, (n, n_state), each in place of the one at the same time; beyond the last there is none."""
        own = self.states[task]
        places = (states[:, self.clock] - own[0, self.clock]).astype(np.int64)
        known = (places >= 0) & (places < len(own))
        own[places[known]] = states[known]

    def state_dict(self) -> dict[str, Any]:
        """All of it."""
        return {str(task): states.copy() for task, states in self.states.items()}

    def load_state_dict(self, state: Any) -> None:
        """Take up what `state_dict` gave.

        Raises:
            CheckpointError: it isn't of such tasks; nothing has changed then.
        """
        if not isinstance(state, dict) or not all(str(name).isdecimal() for name in state):
            raise CheckpointError(f"it must be states by index of the task. Received {state!r}")
        found = {int(name): self._checked(int(name), states) for name, states in state.items()}
        self.states = found

    def _checked(self, task: int, states: Any) -> FloatArray:
        fits = isinstance(states, np.ndarray) and states.ndim == 2 and states.dtype == np.float64
        if not fits or not np.isfinite(states).all():
            raise CheckpointError(f"states of task {task} must be finite numbers, (n_steps, n_state)")
        own = states if self.history is None else self.history(task)
        if own.shape != states.shape or (own[:, self.clock] != states[:, self.clock]).any():
            raise CheckpointError(f"states of task {task} must be of its steps, {own.shape}. Received {states.shape}")
        return np.array(states)
