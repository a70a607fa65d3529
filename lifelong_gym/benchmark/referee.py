"""The referee of a run: it sits at the training environment, counts steps, evaluates and changes tasks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lifelong_gym.errors import LifelongGymError
from lifelong_gym.wrappers import CoreVecEnv

PATIENCE = 2  # times its budget that a learner may take before the run is given up


class BudgetError(LifelongGymError, RuntimeError):
    """A learner that doesn't stop when its budget is spent."""


@dataclass(frozen=True)
class Stage:
    """What is trained on, and until when.

    Attributes:
        tasks: that come up.
        end: environment steps, counted from the beginning of the run.
    """

    tasks: tuple[int, ...]
    end: int


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
    """

    stages: tuple[Stage, ...]
    n_evaluations: int

    @property
    def total_timesteps(self) -> int:
        """Of all stages."""
        return self.stages[-1].end

    @property
    def marks(self) -> list[Mark]:
        """In order of time."""
        marks, begin = [Mark(0, 0)], 0
        for number, stage in enumerate(self.stages):
            width = stage.end - begin
            marks += [Mark(begin + width * i // self.n_evaluations, number) for i in range(1, self.n_evaluations + 1)]
            begin = stage.end
        return marks


class Referee:
    """Holds a learner to a plan, whatever its class does: all it needs is that training goes through the env.

    An evaluation at m steps measures the policy that the learner had after at most m steps: it takes place before the
    call that would go beyond. Tasks change at the end of the episodes that run when a stage ends.

    Args:
        env: for training; its tasks are admitted stage by stage.
        plan: stages and marks.
        evaluate: called at each mark.
        n_done: how many marks an interrupted run has passed.
        num_timesteps: how many steps it had taken.
    """

    def __init__(
        self,
        env: CoreVecEnv,
        plan: Plan,
        evaluate: Callable[[Mark], None],
        n_done: int = 0,
        num_timesteps: int = 0,
    ) -> None:
        """See the class."""
        self._env, self._plan, self._evaluate = env, plan, evaluate
        self._left: Sequence[Mark] = plan.marks[n_done:]
        self.num_timesteps = num_timesteps
        self._admit()
        env.before_steps = self.before_steps

    def before_steps(self, n_steps: int) -> None:
        """The learner is about to take so many steps.

        Raises:
            BudgetError: the budget has long been spent.
        """
        if self.num_timesteps >= PATIENCE * self._plan.total_timesteps:
            raise BudgetError(
                f"`learn` must stop after about {self._plan.total_timesteps} steps; it has taken {self.num_timesteps}"
            )
        self._pass(self.num_timesteps + n_steps)
        before, self.num_timesteps = self.num_timesteps, self.num_timesteps + n_steps
        if any(before < stage.end <= self.num_timesteps for stage in self._plan.stages[:-1]):
            self._admit()

    def finish(self) -> None:
        """The learner has returned: its last policy is measured at the marks that are left."""
        self._pass(None)

    def _pass(self, limit: int | None) -> None:
        while self._left and (limit is None or self._left[0].num_timesteps < limit):
            mark, *self._left = self._left
            self._evaluate(mark)

    def _admit(self) -> None:
        running = [stage for stage in self._plan.stages if self.num_timesteps < stage.end]
        self._env.core.admit((running or [self._plan.stages[-1]])[0].tasks)
