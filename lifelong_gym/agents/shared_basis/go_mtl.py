"""GO-MTL (Kumar and Daume 2012) for policies: codes of all tasks and their basis, as a batch."""

from __future__ import annotations

from typing import Any, Unpack

import numpy as np
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import Schedule

from lifelong_gym.agents.contract.checks import count, number
from lifelong_gym.agents.linear.operating_point import OperatingPoint
from lifelong_gym.agents.shared_basis.basis_search import BasisArguments, BasisSearch
from lifelong_gym.numerics.arrays import IntArray


class GOMTL(BasisSearch):
    """Multi-task policy search, in batches: codes of *all* tasks observed so far and L take turns until they settle.

    See `BasisSearch` for what is minimised. Where every task comes up in every sweep, this differs from `PGELLA` in
    how long codes and L alternate; where tasks come one after another, it also gives earlier tasks new codes.

    Paper: Kumar and Daume III, Learning task grouping and overlap in multi-task learning, ICML 2012; applied to
    policies as in Zhan, Bou Ammar and Taylor, Scalable lifelong reinforcement learning, Pattern Recognition 2017.

    Args:
        alternations: how often codes and L take turns in a sweep, at most.
        tolerance: they have settled when policies change by less, relative to their norm.
        **basis: see `BasisSearch`.
    """

    def __init__(
        self,
        policy: str | type[BasePolicy],
        env: Any,
        learning_rate: float | Schedule | None = None,
        alternations: int = 10,
        tolerance: float = 1e-3,
        **basis: Unpack[BasisArguments],
    ) -> None:
        """See the class."""
        self.alternations = count("alternations", alternations)
        self.tolerance = number("tolerance", tolerance)
        super().__init__(policy, env, learning_rate, **basis)

    def _fit(self, tasks: IntArray, point: OperatingPoint, rng: np.random.Generator) -> None:
        knowledge = self.knowledge
        knowledge.encode(tasks, point)
        everyone = np.flatnonzero(knowledge.observed)
        points = knowledge.points(everyone)
        for alternation in range(self.alternations):
            before = knowledge.policies(everyone)
            knowledge.solve(rng)
            knowledge.encode(everyone, points)
            after = knowledge.policies(everyone)
            self.logger.record("train/alternations", alternation + 1)
            if np.linalg.norm(after - before) <= self.tolerance * np.linalg.norm(after):
                break
