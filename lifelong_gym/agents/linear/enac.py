"""The episodic natural actor-critic (Peters and Schaal 2008)."""

from __future__ import annotations

from typing import Any

import torch as th
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import Schedule

from lifelong_gym.agents.contract.arguments import CommonSettings
from lifelong_gym.agents.linear.base_learners import NaturalActorCritic
from lifelong_gym.agents.linear.policy_search import PolicySearch
from lifelong_gym.agents.linear.sampling import Sampler
from lifelong_gym.agents.linear.sharers import Taskwise


class ENAC(PolicySearch):
    """Every task on its own, or all with one policy, by natural gradients.

    Each sweep regresses a task's standardised returns on ``[psi, 1]``, psi being the score of a trajectory; the
    coefficients of psi are the natural gradient. The step is cut to a Kullback-Leibler divergence of ``max_kl`` per
    living step.

    Paper: Peters and Schaal, Natural actor-critic, Neurocomputing 71, 2008. Departs from it in standardised
    returns and in the cap.

    Args:
        policy: ``"LinearGaussianPolicy"``.
        env: an id, a PettingZoo ParallelEnv, a vector env of ours, or any SB3 VecEnv, with one-dimensional Boxes.
        learning_rate: factor on the natural gradient, or a function of the remaining progress; None: 5.
        max_kl: cap on ``delta' F delta / 2``, with F the Fisher information of a living step.
        shared: learn one policy for all tasks rather than one each; returns are compared within each task.
        n_trajectories: episodes a task and sweep; more than a policy's parameters plus 1 (of all tasks together where
            ``shared``).
        sigma: standard deviation of the exploration, in units of the action a.
        bias: whether policies have a constant feature.
        tensorboard_log: folder for TensorBoard; None: no logging.
        verbose: 0: silent, 1: the log, 2: more.
        seed: decides everything that is random; None: different every time.
        device: part of SB3's signature; the arithmetic is NumPy's.

    Raises:
        ValueError: fewer trajectories than the regression needs.
    """

    def __init__(
        self,
        policy: str | type[BasePolicy],
        env: Any,
        learning_rate: float | Schedule | None = None,
        max_kl: float = 0.03,
        *,
        shared: bool = False,
        n_trajectories: int = 50,
        sigma: float = 0.6,
        bias: bool = True,
        tensorboard_log: str | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: th.device | str = "auto",
        _init_setup_model: bool = True,
    ) -> None:
        """See the class."""
        improver, sharer = NaturalActorCritic(max_kl), Taskwise(shared)
        sampler = Sampler(n_trajectories, sigma, bias)
        common = CommonSettings(tensorboard_log, verbose, seed, device, _init_setup_model)
        super().__init__(policy, env, learning_rate, improver, sharer, sampler, common, [improver, sharer])
