"""The referee of a run: it sits at the training environment, counts steps, evaluates and changes tasks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from lifelong_gym.benchmark.events import ENDS, STARTS, Audience
from lifelong_gym.envs.core import Core
from lifelong_gym.errors import LifelongGymError
from lifelong_gym.numerics.arrays import IntArray
from lifelong_gym.wrappers import AgentBudget, Budget, CoreVecEnv, Stage

if TYPE_CHECKING:
    from stable_baselines3.common.vec_env import VecEnv

PATIENCE = 2  # times its budget that a learner may take before the run is given up


class BudgetError(LifelongGymError, RuntimeError):
    """A learner that doesn't stop when its budget is spent."""


@dataclass(frozen=True)
class Mark:
    """When to evaluate.

    Attributes:
        num_timesteps: after so many environment steps.
        stage: index of the stage that they belong to.
    """

    num_timesteps: int
    stage: int


@dataclass(frozen=True)
class Plan:
    """Stages, with n evaluations in each at equal distances, and one before any training.

    Attributes:
        stages: one after another.
        n_evaluations: a stage.
        in_rounds: whether a stage is a round, whose ``tasks`` are agents.

    Raises:
        ValueError: a stage has fewer steps than evaluations.
    """

    stages: tuple[Stage, ...]
    n_evaluations: int
    in_rounds: bool = False

    def __post_init__(self) -> None:
        least = min(stage.total_timesteps for stage in self.stages)
        if self.n_evaluations > least:
            raise ValueError(
                f"`n_evaluations` must be at most {least}, the steps of a stage. Received {self.n_evaluations}"
            )

    @property
    def total_timesteps(self) -> int:
        """Of all stages."""
        return sum(stage.total_timesteps for stage in self.stages)

    @property
    def marks(self) -> list[Mark]:
        """In order of time."""
        marks, begin = [Mark(0, 0)], 0
        for number, stage in enumerate(self.stages):
            width = stage.total_timesteps
            marks += [Mark(begin + width * i // self.n_evaluations, number) for i in range(1, self.n_evaluations + 1)]
            begin += width
        return marks

    def budget(self, core: Core, taken: npt.ArrayLike | None = None) -> Budget:
        """What counts a run's steps, after so many in each task, shape (n_tasks,); None: none."""
        if self.in_rounds:
            return AgentBudget(core, len(self.stages), self.stages[0].timesteps)
        return Budget(core, self.stages, taken)


class Referee:
    """Holds a learner to a plan, whatever its class does: all it needs is that training goes through the env.

    Every task gets the steps of its stages and not one more, see `Budget`. An evaluation at m steps measures the
    policy that the learner had after at most m steps: it takes place before the call that would go beyond.

    Stages begin and end as events, see `Audience`: ``on_task_start`` is called before the first step of a stage,
    ``on_task_end`` before the next stage's or, after the last one, when a learner steps on or has returned. So what a
    learner does between two steps belongs to the stage of the first. The last evaluation of a stage comes after
    ``on_task_end``.

    Args:
        env: for training; it gets a budget, so make the learner afterwards.
        plan: stages and marks.
        evaluate: called at each mark.
        n_done: how many marks an interrupted run has passed.
        taken: steps that each task had taken at the last of these, shape (n_tasks,); None: none.
        seen: what the learner gets of the env; default: the env.
    """

    def __init__(
        self,
        env: CoreVecEnv,
        plan: Plan,
        evaluate: Callable[[Mark], None],
        n_done: int = 0,
        taken: npt.ArrayLike | None = None,
        seen: VecEnv | None = None,
    ) -> None:
        """See the class."""
        self._env, self._plan, self._evaluate = env, plan, evaluate
        self._left: Sequence[Mark] = plan.marks[n_done:]
        self._audience = Audience(env if seen is None else seen)
        self.budget = env.budget = plan.budget(env.core, taken)
        self._open = self.budget.stage if self.budget.has_begun else None  # the stage whose start has been told
        self._n_idle = 0
        env.before_steps = self.before_steps

    @property
    def of_tasks(self) -> IntArray:
        """Environment steps taken in each task, shape (n_tasks,)."""
        return self.budget.of_tasks if isinstance(self.budget, AgentBudget) else self.budget.taken

    @property
    def num_timesteps(self) -> int:
        """Environment steps taken, all tasks together."""
        return int(self.budget.taken.sum())

    def hearing(self, learner: Any) -> AbstractContextManager[None]:
        """While a learner trains: it and its callbacks hear of events."""
        return self._audience.joined(learner)

    def before_steps(self, n_steps: int) -> None:
        """The learner is about to take at most so many steps.

        Raises:
            BudgetError: the budget has long been spent.
        """
        if self.budget.is_over:
            self._lose_patience()
        self._turn()
        self._pass(self.num_timesteps + n_steps)

    def finish(self) -> None:
        """The learner has returned: its last policy is measured at the marks that are left."""
        self._close()
        while self._left:
            self._pass_one()

    def _lose_patience(self) -> None:
        self._n_idle += self._env.num_envs
        total = self._plan.total_timesteps
        if self._n_idle > (PATIENCE - 1) * total:
            raise BudgetError(f"`learn` must stop after about {total} steps; it has asked for {total + self._n_idle}")

    def _turn(self) -> None:
        """If another stage has come: the old one ends, is evaluated to its end, and the new one starts."""
        if self._open is not None and self._open != self.budget.stage:
            self._close()
        if self._open is None:
            self._pass(self.num_timesteps + 1)
            if not self.budget.is_over:
                self._open = self.budget.stage
                self._tell(STARTS, self._open)

    def _close(self) -> None:
        stage, self._open = self._open, None
        if stage is not None:
            self._tell(ENDS, stage)

    def _tell(self, event: str, stage: int) -> None:
        if self._plan.in_rounds:
            self._audience.tell(event, {"round": stage})
            return
        tasks = self._plan.stages[stage].tasks
        self._audience.tell(event, {"task": tasks[0]} if len(tasks) == 1 else {})

    def _pass(self, limit: int) -> None:
        while self._left and self._left[0].num_timesteps < limit:
            self._pass_one()

    def _pass_one(self) -> None:
        mark, *self._left = self._left
        self._evaluate(mark)
