"""Optima that a family states as formulas."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

import numpy as np

from lifelong_gym.envs.family import Columns, Family
from lifelong_gym.errors import FamilyError
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.references.reference import Measure, Reference
from lifelong_gym.tasks.task_set import TaskSet

Formula = Callable[[Columns, Any, str], Any]


@final
class ClosedForm(Reference):
    """The best policies of a family that writes them down, as methods of its own.

    Each is told the reward's name; parameters are arrays by name, of shape (n_rows,) for actions and (n_tasks,) for
    returns.

    ================================================  =============================================================
    ``best_actions(parameters, observations, reward)``  the best action of each row
    ``best_returns(parameters, reward)``                what they earn in an episode, shape (n_tasks,); where it is left
                                                        out, that is measured
    ``idle_actions(parameters, observations, reward)``  doing nothing; where it is left out, that is the action 0, or
                                                        acting at random where actions are discrete
    ================================================  =============================================================
    """

    how = "closed form"

    def __init__(self, family: Family, tasks: TaskSet, reward: str) -> None:
        """Nothing is to be solved.

        Raises:
            FamilyError: no method ``best_actions``.
        """
        super().__init__(family, tasks, reward)
        if not callable(getattr(family, "best_actions", None)):
            raise FamilyError(
                f"{type(family).__name__} must have a method `best_actions(parameters, observations, reward)`"
            )

    def predict(self, observations: Any) -> Any:
        """The best action of each row, of which the i-th is in task ``i mod n_tasks``."""
        return self._policy("best_actions").predict(observations)

    def best(self, measure: Measure) -> FloatArray:
        """By the family's formula, or else measured."""
        returns = getattr(self.family, "best_returns", None)
        if returns is None:
            return measure(self)
        earned: FloatArray = returns(self.family.parameters.columns(self.tasks.values), self.reward)
        return earned

    def zero(self, measure: Measure) -> FloatArray | None:
        """What idle actions earn, where the family says which they are."""
        return measure(self._policy("idle_actions")) if hasattr(self.family, "idle_actions") else None

    def _policy(self, formula: str) -> _Stated:
        return _Stated(self.family, self.tasks, self.reward, getattr(self.family, formula))


@final
class _Stated:
    """A policy by one of a family's formulas."""

    def __init__(self, family: Family, tasks: TaskSet, reward: str, formula: Formula) -> None:
        self._family, self._tasks, self._reward, self._formula = family, tasks, reward, formula

    def predict(self, observations: Any) -> Any:
        """One action a row, of which the i-th is in task ``i mod n_tasks``."""
        of_rows = self._tasks.values[np.arange(len(observations)) % len(self._tasks)]
        return self._formula(self._family.parameters.columns(of_rows), observations, self._reward)
