"""PG-ELLA about policies to start from, which the published one lacks."""

from __future__ import annotations

from typing import Any

import numpy as np

from lifelong_gym.agents import PGELLA
from lifelong_gym.agents.linear.operating_point import OperatingPoint
from lifelong_gym.numerics.arrays import FloatArray, IntArray


class StartedPGELLA(PGELLA):
    """Policies ``theta_j = start_j + L s_j``.

    Args:
        warm: tasks that haven't been observed have the mean code of those that have, rather than 0.
        **pg_ella: see `PGELLA`.

    Attributes:
        start: shape (n_tasks, d); 0 unless it is set before learning.
    """

    def __init__(self, policy: Any, env: Any, warm: bool = True, **pg_ella: Any) -> None:
        """See the class."""
        self.warm = warm
        super().__init__(policy, env, **pg_ella)
        self.start: FloatArray = np.zeros_like(self.policy.thetas)

    def _relative(self, tasks: IntArray, point: OperatingPoint) -> OperatingPoint:
        return point._replace(target=point.target - self.start[tasks])

    def _begin(self, tasks: IntArray, point: OperatingPoint, rng: np.random.Generator) -> None:
        super()._begin(tasks, self._relative(tasks, point), rng)

    def _fit(self, tasks: IntArray, point: OperatingPoint, rng: np.random.Generator) -> None:
        super()._fit(tasks, self._relative(tasks, point), rng)

    def _policies(self) -> FloatArray:
        moved = super()._policies()
        return self.start + (moved if self.warm else np.where(self.knowledge.observed[:, None], moved, 0.0))
