"""So many environment steps for each agent in each round."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from lifelong_gym.envs.core import Core
from lifelong_gym.errors import INT64
from lifelong_gym.numerics.arrays import BoolArray, FloatArray, IntArray
from lifelong_gym.numerics.states import Change, State, StateReader
from lifelong_gym.wrappers.budget import Budget, Stage


class AgentBudget(Budget):
    """Exactly so many environment steps for each agent in each round; a stage is a round, and its ``tasks`` are agents.

    An episode that runs when the steps of its agent are spent ends there, truncated, and the agent idles until all
    have taken theirs. Then everybody goes on to another task.

    Args:
        core: the rows, agents under ``schedule={"rounds": ...}``.
        n_rounds: how many.
        timesteps: environment steps of each agent in each round.

    Attributes:
        of_tasks: steps taken in each task so far, int64, shape (n_tasks,). Elsewhere, steps are an agent's: ``left``
            and ``taken`` have shape (n_agents,).
    """

    def __init__(self, core: Core, n_rounds: int, timesteps: int) -> None:
        """See the class."""
        self.of_tasks = np.zeros(len(core.tasks), np.int64)
        super().__init__(core, [Stage(tuple(range(core.n_rows)), timesteps)] * n_rounds)

    @property
    def _n_accounts(self) -> int:
        return self._core.n_rows

    @property
    def _accounts(self) -> IntArray:
        return np.arange(self._core.n_rows)

    def _enter(self, stage: Stage) -> None:
        """Rows go on when their next episodes begin, see `begin`."""

    @property
    def present(self) -> IntArray:
        """The tasks that come up as things stand, in increasing order."""
        return self._core.present

    def check_tasks(self, tasks: IntArray | None) -> None:
        """Raise `ValueError` where tasks are asked for: an agent doesn't choose its own."""
        if tasks is not None:
            raise ValueError(f"`task` must be None: rounds say which task each agent is in. Received {tasks.tolist()}")

    def take_step(self, rows: IntArray | None = None) -> BoolArray:
        """Count a step of every one of these rows (None: all) that can take one; which do, shape (n_rows,)."""
        active = self.active(rows)
        self.of_tasks += np.bincount(self._core.task_of_row[active], minlength=len(self.of_tasks))
        self.take(active.astype(np.int64))
        return active

    def begin(
        self,
        rows: IntArray,
        observations: npt.NDArray[np.float32],
        tasks: IntArray | None = None,
        states: FloatArray | None = None,
        stay: bool = False,
    ) -> None:
        """Begin these rows' next episodes in this round, as far as there are steps; the others idle.

        Whether it must ``stay`` makes no difference: an agent's task is the round's.

        Raises:
            ValueError: somebody else has called `next_round`.
        """
        self.running[rows] = False
        ahead = self._core.walk.coming[rows] - min(self.stage, len(self.stages) - 1)
        if (ahead > 0).any():
            raise ValueError("`next_round` is called by who counts the steps here, and by nobody else")
        for _ in range(int(-ahead.min(initial=0))):
            self._core.walk.next_round(rows[self._core.walk.coming[rows] < self.stage])
        going = self.left[rows] > 0
        idle = rows[~going] if self._core.begun else rows[:0]
        self._core.observe(idle, observations)
        if going.any() or not self._core.begun:
            at = going if self._core.begun else slice(None)
            self._core.begin(rows[at], observations, None, None if states is None else states[at])
            self.running[rows[going]] = True

    def state_dict(self) -> State:
        """Also what was taken in each task."""
        return {**super().state_dict(), "of_tasks": self.of_tasks.copy()}

    def loading(self, state: Any, name: str) -> Change:
        """See `Budget.loading`."""
        own = super().loading(state, name)
        counted = StateReader(state, name, self.state_dict()).numbers("of_tasks", 0, INT64, len(self.of_tasks))

        def change() -> None:
            own()
            self.of_tasks = counted

        return change
