"""Reward-weighted regression (Peters and Schaal 2007), the policy search of Zhan et al. (2017)."""

from __future__ import annotations

from typing import Any

import torch as th
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import Schedule

from lifelong_gym.agents.contract.arguments import CommonSettings
from lifelong_gym.agents.linear.base_learners import RewardWeighted
from lifelong_gym.agents.linear.policy_search import PolicySearch
from lifelong_gym.agents.linear.sampling import Sampler
from lifelong_gym.agents.linear.sharers import Taskwise


class RWR(PolicySearch):
    """Every task on its own, or all with one policy, by imitating its own better trajectories.

    Each sweep maximises the weighted log-likelihood ``sum w_it log pi(a_it)`` of the task's steps, in closed form.
    Weights are ``exp(beta (R_i - max R) / std R)``, normalised, with maximum, deviation and norm over the trajectories
    still alive at step t; the change of the policy is cut to a Kullback-Leibler divergence of ``max_kl`` per living
    step.

    Paper: Peters and Schaal, Reinforcement learning by reward-weighted regression for operational space control, ICML
    2007; Zhan, Bou Ammar and Taylor, Scalable lifelong reinforcement learning, Pattern Recognition 2017. Departs from
    them in the exponential weights (the papers weigh by the reward itself, which makes policies worse where rewards are
    negative) and in the cap.

    Args:
        policy: ``"LinearGaussianPolicy"``.
        env: an id, a PettingZoo ParallelEnv, a vector env of ours, or any SB3 VecEnv, with one-dimensional Boxes.
        learning_rate: factor on the step, or a function of the remaining progress; None: 1.
        beta: inverse temperature of the weights.
        reward_to_go: weigh a step by the reward still to come rather than by its trajectory's return.
        max_kl: cap on ``delta' F delta / 2``, with F the Fisher information of a living step.
        shared: learn one policy for all tasks rather than one each; returns are compared within each task.
        n_trajectories: episodes a task and sweep, at least 2.
        sigma: standard deviation of the exploration, in units of the action a.
        bias: whether policies have a constant feature.
        tensorboard_log: folder for TensorBoard; None: no logging.
        verbose: 0: silent, 1: the log, 2: more.
        seed: decides everything that is random; None: different every time.
        device: part of SB3's signature; the arithmetic is NumPy's.
    """

    def __init__(
        self,
        policy: str | type[BasePolicy],
        env: Any,
        learning_rate: float | Schedule | None = None,
        beta: float = 3.0,
        reward_to_go: bool = False,
        max_kl: float = 0.03,
        *,
        shared: bool = False,
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
        improver, sharer = RewardWeighted(beta, reward_to_go, max_kl), Taskwise(shared)
        sampler = Sampler(n_trajectories, sigma, bias)
        common = CommonSettings(tensorboard_log, verbose, seed, device, _init_setup_model)
        super().__init__(policy, env, learning_rate, improver, sharer, sampler, common, [improver, sharer])
