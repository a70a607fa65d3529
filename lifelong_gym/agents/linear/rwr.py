"""Reward-weighted regression (Peters and Schaal 2007), the policy search of Zhan et al. (2017)."""

from __future__ import annotations

from typing import Any, Unpack

from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import Schedule

from lifelong_gym.agents.linear.base_learners import BaseLearner, RewardWeighted
from lifelong_gym.agents.linear.policy_search import TaskwiseArguments, TaskwiseSearch


class RWR(TaskwiseSearch):
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
        learning_rate: factor on the step, or a function of the remaining progress; None: 1.
        beta: inverse temperature of the weights.
        reward_to_go: weigh a step by the reward still to come rather than by its trajectory's return.
        max_kl: see above.
        n_trajectories: episodes a task and sweep, at least 2.
        **search: see `TaskwiseSearch`.
    """

    def __init__(
        self,
        policy: str | type[BasePolicy],
        env: Any,
        learning_rate: float | Schedule | None = None,
        beta: float = 3.0,
        reward_to_go: bool = False,
        max_kl: float = 0.03,
        **search: Unpack[TaskwiseArguments],
    ) -> None:
        """See the class."""
        settings = RewardWeighted(beta, reward_to_go, max_kl)
        self.beta, self.reward_to_go, self.max_kl = settings.beta, settings.reward_to_go, settings.max_kl
        super().__init__(policy, env, learning_rate, **search)

    def _base_learner(self) -> BaseLearner:
        return RewardWeighted(self.beta, self.reward_to_go, self.max_kl)
