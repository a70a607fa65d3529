"""The episodic natural actor-critic (Peters and Schaal 2008)."""

from __future__ import annotations

from typing import Any, ClassVar, Unpack

from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import Schedule

from lifelong_gym.agents.contract.checks import number
from lifelong_gym.agents.linear.base_learners import BaseLearner, NaturalActorCritic
from lifelong_gym.agents.linear.policy_search import TaskwiseArguments, TaskwiseSearch


class ENAC(TaskwiseSearch):
    """Every task on its own, or all with one policy, by natural gradients.

    Each sweep regresses a task's standardised returns on ``[psi, 1]``, psi being the score of a trajectory; the
    coefficients of psi are the natural gradient. The step is cut to a Kullback-Leibler divergence of ``max_kl`` per
    living step.

    Paper: Peters and Schaal, Natural actor-critic, Neurocomputing 71, 2008. Departs from it in standardised
    returns and in the cap.

    Args:
        learning_rate: factor on the natural gradient, or a function of the remaining progress; None: 5.
        max_kl: see above.
        n_trajectories: episodes a task and sweep; more than a policy's parameters plus 1 (of all tasks together where
            ``shared``).
        **search: see `TaskwiseSearch`.

    Raises:
        ValueError: fewer trajectories than the regression needs.
    """

    defaults: ClassVar[TaskwiseArguments] = {"n_trajectories": 50}

    def __init__(
        self,
        policy: str | type[BasePolicy],
        env: Any,
        learning_rate: float | Schedule | None = None,
        max_kl: float = 0.03,
        **search: Unpack[TaskwiseArguments],
    ) -> None:
        """See the class."""
        self.max_kl = number("max_kl", max_kl, open_at_low=True)
        arguments: TaskwiseArguments = {**self.defaults, **search}
        super().__init__(policy, env, learning_rate, **arguments)

    def _base_learner(self) -> BaseLearner:
        return NaturalActorCritic(self.max_kl)
