"""The best policies of families whose tasks can be written as tables: value iteration, and backward induction."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, final

import numpy as np

from lifelong_gym.envs.family import Family, reward_of
from lifelong_gym.envs.models import tabular_model
from lifelong_gym.numerics.arrays import FloatArray, IntArray
from lifelong_gym.numerics.directions import first_best
from lifelong_gym.numerics.optima import optimal_action_values, optimal_actions, optimal_return
from lifelong_gym.numerics.tabular import TabularModel
from lifelong_gym.references.reference import Measure, Reference
from lifelong_gym.tasks.task_set import TaskSet


class _OfTables(Reference):
    """Best policies of a family that `tabular_model` can write as tables; the best return is the exact expectation."""

    def __init__(self, family: Family, tasks: TaskSet, reward: str) -> None:
        """Solve every task.

        Raises:
            FamilyError: actions or observations that aren't Discrete, or another reason why there are no tables.
            ValueError: no such reward.
        """
        super().__init__(family, tasks, reward)
        reward_of(family, reward)
        self._models = [tabular_model(family, task, reward) for task in tasks]
        self._actions = np.array([self._solved(model) for model in self._models])

    @abstractmethod
    def _solved(self, model: TabularModel) -> IntArray:
        """The best action of each state, shape (n_states,)."""

    def predict(self, observations: Any) -> IntArray:
        """The best action of each row, of which the i-th is in task ``i mod n_tasks``."""
        best: IntArray = self._actions[np.arange(len(observations)) % len(self._actions), observations]
        return best

    def best(self, measure: Measure) -> FloatArray:
        """The exact expectation."""
        return np.array([optimal_return(model, self.family.horizon) for model in self._models])


@final
class ValueIteration(_OfTables):
    """The optimal policies of a family that `tabular_model` can write as tables.

    Actions are best for the return discounted by 0.99, so that shorter ways are preferred; the best return is the
    exact expectation.
    """

    how = "value iteration"

    def _solved(self, model: TabularModel) -> IntArray:
        return optimal_actions(model)


@final
class BackwardInduction(_OfTables):
    """The optimal policies of such a family whose observations also tell how many steps have been taken.

    Actions are best for the sum of rewards up to the horizon, undiscounted, and so is the best return.
    """

    how = "backward induction"

    def _solved(self, model: TabularModel) -> IntArray:
        """Of the step at which a state can first be reached."""
        horizon, present = self.family.horizon, model.start > 0.0
        first, seen = np.full(model.n_states, horizon - 1), np.zeros(model.n_states, bool)
        for step in range(horizon):
            first[present & ~seen], seen = step, seen | present
            present = (model.P[present].max(axis=(0, 1), initial=0.0) > 0.0) & ~model.ends
        return first_best(optimal_action_values(model, horizon)[first, np.arange(model.n_states)])
