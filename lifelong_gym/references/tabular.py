"""Value iteration: the best policies of families whose tasks can be written as tables."""

from __future__ import annotations

from typing import Any, final

import numpy as np

from lifelong_gym.envs.family import Family, reward_of
from lifelong_gym.envs.models import tabular_model
from lifelong_gym.numerics.arrays import FloatArray, IntArray
from lifelong_gym.numerics.optima import optimal_actions, optimal_return
from lifelong_gym.references.reference import Measure, Reference
from lifelong_gym.tasks.task_set import TaskSet


@final
class ValueIteration(Reference):
    """The optimal policies of a family that `tabular_model` can write as tables.

    Actions are best for the return discounted by 0.99, so that shorter ways are preferred; the best return is the
    exact expectation.
    """

    how = "value iteration"

    def __init__(self, family: Family, tasks: TaskSet, reward: str) -> None:
        """Solve every task.

        Raises:
            FamilyError: actions or observations that aren't Discrete, or another reason why there are no tables.
            ValueError: no such reward.
        """
        super().__init__(family, tasks, reward)
        reward_of(family, reward)
        self._models = [tabular_model(family, task, reward) for task in tasks]
        self._actions = np.array([optimal_actions(each) for each in self._models])

    def predict(self, observations: Any) -> IntArray:
        """The best action of each row, of which the i-th is in task ``i mod n_tasks``."""
        best: IntArray = self._actions[np.arange(len(observations)) % len(self._actions), observations]
        return best

    def best(self, measure: Measure) -> FloatArray:
        """The exact expectation."""
        return np.array([optimal_return(model, self.family.horizon) for model in self._models])
