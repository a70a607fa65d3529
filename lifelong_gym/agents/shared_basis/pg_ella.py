"""PG-ELLA (Bou Ammar, Eaton, Ruvolo and Taylor 2014): policies that share a basis, task by task."""

from __future__ import annotations

from typing import Any, Unpack

import numpy as np
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import Schedule

from lifelong_gym.agents.contract.checks import count
from lifelong_gym.agents.linear.operating_point import OperatingPoint
from lifelong_gym.agents.shared_basis.basis_search import BasisArguments, BasisSearch
from lifelong_gym.numerics.arrays import IntArray


class PGELLA(BasisSearch):
    """Lifelong policy search, online: a task that is observed gets a new code, and its terms in L are replaced.

    See `BasisSearch` for what is minimised. Tasks that don't come up keep their codes and what L knows of them.

    Paper: Bou Ammar, Eaton, Ruvolo and Taylor, Online multi-task learning for policy gradient methods, ICML 2014.
    Departs from it: L is solved once all tasks of a sweep are in rather than after each one, codes and L
    alternate, curvatures are scaled, and the next sweep starts from ``L s_j``.

    Args:
        alternations: how often codes and L take turns in a sweep.
        **basis: see `BasisSearch`.
    """

    def __init__(
        self,
        policy: str | type[BasePolicy],
        env: Any,
        learning_rate: float | Schedule | None = None,
        alternations: int = 5,
        **basis: Unpack[BasisArguments],
    ) -> None:
        """See the class."""
        self.alternations = count("alternations", alternations)
        super().__init__(policy, env, learning_rate, **basis)

    def _fit(self, tasks: IntArray, point: OperatingPoint, rng: np.random.Generator) -> None:
        for _ in range(self.alternations):
            self.knowledge.encode(tasks, point)
            self.knowledge.solve(rng)
        self.knowledge.encode(tasks, point)
