"""REINFORCE (Williams 1992) with steps of fixed length."""

from __future__ import annotations

from typing import Any

import torch as th
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import Schedule

from lifelong_gym.agents.contract.arguments import CommonSettings
from lifelong_gym.agents.linear.base_learners import Reinforce
from lifelong_gym.agents.linear.policy_search import PolicySearch
from lifelong_gym.agents.linear.sampling import Sampler
from lifelong_gym.agents.linear.sharers import Taskwise


class REINFORCE(PolicySearch):
    """Every task on its own, or all with one policy, by likelihood-ratio gradients.

    Each sweep moves theta by ``learning_rate`` along ``g / |g|``, where ``g = sum_t A_t d log pi(a_t) / d theta``,
    averaged over the task's trajectories, and A_t is the reward still to come less its mean over those
    trajectories. Steps after a failure don't count. It is the simplest learner, and on unstable systems hard to
    beat: the length of g says little there.

    Paper: Williams, Simple statistical gradient-following algorithms for connectionist reinforcement learning,
    Machine Learning 8, 1992. Departs from it in the normalised step.

    Args:
        policy: ``"LinearGaussianPolicy"``.
        env: an id, a PettingZoo ParallelEnv, a vector env of ours, or any SB3 VecEnv, with one-dimensional Boxes.
        learning_rate: Euclidean length of a step, or a function of the remaining progress (1 to 0); None: 0.1.
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
        shared: bool = False,
        *,
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
        sharer = Taskwise(shared)
        sampler = Sampler(n_trajectories, sigma, bias)
        common = CommonSettings(tensorboard_log, verbose, seed, device, _init_setup_model)
        super().__init__(policy, env, learning_rate, Reinforce(), sharer, sampler, common, [sharer])
