"""GO-MTL (Kumar and Daume 2012) for policies: codes of all tasks and their basis, as a batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch as th
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import Schedule

from lifelong_gym.agents.contract.arguments import CommonSettings, check_fields
from lifelong_gym.agents.contract.checks import count, number
from lifelong_gym.agents.linear.base_learners import BaseSettings
from lifelong_gym.agents.linear.operating_point import OperatingPoint
from lifelong_gym.agents.linear.policy_search import PolicySearch
from lifelong_gym.agents.linear.sampling import Sampler
from lifelong_gym.agents.linear.sharers import Record
from lifelong_gym.agents.shared_basis.basis import SharedBasis
from lifelong_gym.agents.shared_basis.sharers import BasisSettings, BasisSharer
from lifelong_gym.numerics.arrays import IntArray


@dataclass(frozen=True)
class UntilSettled:
    """Codes of *all* tasks observed so far and the basis take turns until they settle.

    Attributes:
        alternations: how often codes and L take turns in a sweep, at most.
        tolerance: they have settled when policies change by less, relative to their norm.
    """

    alternations: int = 10
    tolerance: float = 1e-3

    def __post_init__(self) -> None:
        check_fields(self, alternations=count, tolerance=number)

    def __call__(
        self, knowledge: SharedBasis, tasks: IntArray, point: OperatingPoint, solve: Callable[[], None], record: Record
    ) -> None:
        """See `Fit`."""
        knowledge.encode(tasks, point)
        everyone = np.flatnonzero(knowledge.observed)
        points = knowledge.points(everyone)
        for alternation in range(self.alternations):
            before = knowledge.policies(everyone)
            solve()
            knowledge.encode(everyone, points)
            after = knowledge.policies(everyone)
            record("train/alternations", alternation + 1)
            if np.linalg.norm(after - before) <= self.tolerance * np.linalg.norm(after):
                break


class GOMTL(PolicySearch):
    """Multi-task policy search, in batches: codes of *all* tasks observed so far and L take turns until they settle.

    See `BasisSharer` for what is minimised. Where every task comes up in every sweep, this differs from `PGELLA` in
    how long codes and L alternate; where tasks come one after another, it also gives earlier tasks new codes.

    Paper: Kumar and Daume III, Learning task grouping and overlap in multi-task learning, ICML 2012; applied to
    policies as in Zhan, Bou Ammar and Taylor, Scalable lifelong reinforcement learning, Pattern Recognition 2017.

    Args:
        policy: ``"LinearGaussianPolicy"``.
        env: an id, a PettingZoo ParallelEnv, a vector env of ours, or any SB3 VecEnv, with one-dimensional Boxes.
        learning_rate: step size of the base learner, or a function of the remaining progress; None: the one that suits
            it, 0.1 for ``"reinforce"``, 5 for ``"enac"``, 1 for ``"rwr"``.
        alternations: how often codes and L take turns in a sweep, at most.
        tolerance: they have settled when policies change by less, relative to their norm.
        n_basis: columns of L, at most a policy's parameters.
        base: ``"reinforce"``, ``"enac"`` or ``"rwr"``; see `REINFORCE`, `ENAC` and `RWR`.
        base_settings: the base learner's own arguments, such as ``{"max_kl": 0.1}``.
        sparsity: the papers' mu_1.
        ridge: the papers' mu_2.
        mean_basis: let ``theta_j = mean + L s_j``, the mean being one more column of L, which every task uses.
        n_trajectories: episodes a task and sweep, as many as the base learner needs.
        sigma: standard deviation of the exploration, in units of the action a.
        bias: whether policies have a constant feature.
        tensorboard_log: folder for TensorBoard; None: no logging.
        verbose: 0: silent, 1: the log, 2: more.
        seed: decides everything that is random; None: different every time.
        device: part of SB3's signature; the arithmetic is NumPy's.

    Attributes:
        knowledge: the `SharedBasis`.
    """

    knowledge: SharedBasis

    def __init__(
        self,
        policy: str | type[BasePolicy],
        env: Any,
        learning_rate: float | Schedule | None = None,
        alternations: int = 10,
        tolerance: float = 1e-3,
        *,
        n_basis: int = 3,
        base: str = "reinforce",
        base_settings: Mapping[str, Any] | None = None,
        sparsity: float = 1e-3,
        ridge: float = 1e-4,
        mean_basis: bool = False,
        n_trajectories: int = 5,
        sigma: float = 0.6,
        bias: bool = True,
        tensorboard_log: str | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: th.device | str = "auto",
        _init_setup_model: bool = True,
    ) -> None:
        """See the class."""
        fit, basis = UntilSettled(alternations, tolerance), BasisSettings(n_basis, sparsity, ridge, mean_basis)
        chosen = BaseSettings(base, base_settings)
        sampler = Sampler(n_trajectories, sigma, bias)
        common = CommonSettings(tensorboard_log, verbose, seed, device, _init_setup_model)
        sharer = BasisSharer(basis, fit)
        super().__init__(policy, env, learning_rate, chosen.learner, sharer, sampler, common, [fit, basis, chosen])
