"""PG-ELLA (Bou Ammar, Eaton, Ruvolo and Taylor 2014): policies that share a basis, task by task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch as th
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import Schedule

from lifelong_gym.agents.contract.arguments import CommonSettings
from lifelong_gym.agents.linear.base_learners import BaseSettings
from lifelong_gym.agents.linear.policy_search import PolicySearch
from lifelong_gym.agents.linear.sampling import Sampler
from lifelong_gym.agents.shared_basis.basis import SharedBasis
from lifelong_gym.agents.shared_basis.sharers import BasisSettings, BasisSharer, InTurns


class PGELLA(PolicySearch):
    """Lifelong policy search, online: a task that is observed gets a new code, and its terms in L are replaced.

    See `BasisSharer` for what is minimised. Tasks that don't come up keep their codes and what L knows of them.

    Paper: Bou Ammar, Eaton, Ruvolo and Taylor, Online multi-task learning for policy gradient methods, ICML 2014.
    Departs from it: L is solved once all tasks of a sweep are in rather than after each one, codes and L
    alternate, curvatures are scaled, and the next sweep starts from ``L s_j``.

    Args:
        policy: ``"LinearGaussianPolicy"``.
        env: an id, a PettingZoo ParallelEnv, a vector env of ours, or any SB3 VecEnv, with one-dimensional Boxes.
        learning_rate: step size of the base learner, or a function of the remaining progress; None: the one that suits
            it, 0.1 for ``"reinforce"``, 5 for ``"enac"``, 1 for ``"rwr"``.
        alternations: how often codes and L take turns in a sweep.
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
        alternations: int = 5,
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
        fit, basis = InTurns(alternations), BasisSettings(n_basis, sparsity, ridge, mean_basis)
        chosen = BaseSettings(base, base_settings)
        sampler = Sampler(n_trajectories, sigma, bias)
        common = CommonSettings(tensorboard_log, verbose, seed, device, _init_setup_model)
        sharer = BasisSharer(basis, fit)
        super().__init__(policy, env, learning_rate, chosen.learner, sharer, sampler, common, [fit, basis, chosen])
