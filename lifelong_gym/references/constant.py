"""The best shares that never change, in hindsight."""

from __future__ import annotations

from typing import Any, final

import numpy as np

from lifelong_gym.envs.family import Family
from lifelong_gym.envs.spaces import Simplex
from lifelong_gym.errors import FamilyError
from lifelong_gym.references.reference import Reference
from lifelong_gym.tasks.task_set import TaskSet


@final
class ConstantShares(Reference):
    """Of each task, the constant shares that a family's ``best_constant_shares(parameters)`` names, shape (n_tasks, m).

    They are chosen in hindsight, and yet a policy that sees what comes may earn more: that is beyond 1 on a benchmark's
    scale.
    """

    how = "best constant shares in hindsight"

    def __init__(self, family: Family, tasks: TaskSet, reward: str) -> None:
        """Ask the family.

        Raises:
            FamilyError: no method ``best_constant_shares``, or actions that aren't shares.
        """
        super().__init__(family, tasks, reward)
        formula = getattr(family, "best_constant_shares", None)
        if not callable(formula) or not isinstance(family.actions, Simplex):
            raise FamilyError(
                f"{type(family).__name__} must have actions `Simplex` and a method `best_constant_shares(parameters)`"
            )
        self._actions = family.actions.asking_for(formula(family.parameters.columns(tasks.values)))

    def predict(self, observations: Any) -> Any:
        """The shares of each row's task, of which the i-th is in task ``i mod n_tasks``."""
        return self._actions[np.arange(len(observations)) % len(self.tasks)]
