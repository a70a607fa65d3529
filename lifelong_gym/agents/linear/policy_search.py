"""What the learners of linear-Gaussian policies share: sampling and the base learner."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, Unpack

import numpy as np
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import Schedule

from lifelong_gym.agents.contract.base import CommonArguments, MultiTaskAlgorithm
from lifelong_gym.agents.contract.checks import count, flag, number
from lifelong_gym.agents.contract.environment import budget_of, units_of
from lifelong_gym.agents.linear.base_learners import BaseLearner
from lifelong_gym.agents.linear.operating_point import ONE_PLACE, OperatingPoint, Pool, pooled
from lifelong_gym.agents.linear.policies import LinearGaussianPolicy
from lifelong_gym.agents.linear.sampling import nothing, sample, sweep_size
from lifelong_gym.envs.rollout import RolloutStatistics

SIGMA = 0.6  # on the hetero presets, 0.3 learns half as fast from 5 trajectories, and 1 gains little more


class SearchArguments(CommonArguments, total=False):
    """Arguments of all policy searches; see `PolicySearch` for what they mean."""

    n_trajectories: int
    sigma: float
    bias: bool


class PolicySearch(MultiTaskAlgorithm):
    """Policy search from whole episodes: each sweep runs ``n_trajectories`` of them in every task that comes up.

    On our own kernel families a sweep is one fused rollout; any other VecEnv is stepped, with the same result in
    distribution. Either way the seed and the number of earlier trajectories decide a sweep's noise, so that a saved
    model goes on to the bit (when stepped, as far as seeds decide the environment's episodes).

    Args:
        policy: ``"LinearGaussianPolicy"``.
        env: an id, a PettingZoo ParallelEnv, a vector env of ours, or any SB3 VecEnv, with one-dimensional Boxes.
        learning_rate: step size of the base learner, or a function of the remaining progress (1 to 0); None: the one
            that suits it.
        n_trajectories: episodes a task and sweep, as many as the base learner needs.
        sigma: standard deviation of the exploration, in units of the action a.
        bias: whether policies have a constant feature.
        device: part of SB3's signature; the arithmetic is NumPy's.
        **common: see `MultiTaskAlgorithm`.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {"LinearGaussianPolicy": LinearGaussianPolicy}
    policy: LinearGaussianPolicy
    shared = False  # one policy for all tasks
    _rollouts: RolloutStatistics

    def __init__(
        self,
        policy: str | type[BasePolicy],
        env: Any,
        learning_rate: float | Schedule | None = None,
        n_trajectories: int = 5,
        sigma: float = SIGMA,
        bias: bool = True,
        **common: Unpack[CommonArguments],
    ) -> None:
        """See the class."""
        self.n_trajectories = count("n_trajectories", n_trajectories)
        self.sigma = number("sigma", sigma, open_at_low=True)
        self.bias = flag("bias", bias)
        self._base = self._base_learner()
        self._pool: Pool = ONE_PLACE
        self._n_visits = 0
        self._observed = np.zeros(0, np.int64)
        super().__init__(policy, env, self._base.learning_rate if learning_rate is None else learning_rate, **common)

    @abstractmethod
    def _base_learner(self) -> BaseLearner:
        """How a policy improves from its trajectories; called with the learner's own arguments stored."""

    def _counters(self) -> dict[str, int]:
        return {**super()._counters(), "_n_visits": self._n_visits}

    def _policy_arguments(self) -> dict[str, Any]:
        arguments = self.policy._get_constructor_parameters()
        return {name: value for name, value in arguments.items() if not name.endswith("_space")}

    def _setup_model(self, policy_arguments: dict[str, Any] | None = None) -> None:
        if policy_arguments is None:
            assert self.env is not None
            policy_arguments = {"n_policies": 1 if self.shared else self.n_tasks, **units_of(self.env)}
        exploration = {"sigma": self.sigma, "bias": self.bias}
        policy = LinearGaussianPolicy(self.observation_space, self.action_space, **{**policy_arguments, **exploration})
        self._check_sweeps(policy.theta.shape[1])
        self.policy = policy

    def _check_sweeps(self, d: int) -> None:
        """Raise `ValueError` unless the smallest sweep suffices for d parameters."""
        budget = None if self.env is None else budget_of(self.env)
        if budget is None or budget.is_over or self.env is None:
            self._base.check(self.n_trajectories * (self.n_tasks if self.shared else 1), d)
            return
        n = min(self.n_trajectories, sweep_size(self.env, self.n_trajectories))
        pools = min(len(stage.tasks) for stage in budget.stages) if self.shared else 1
        try:
            self._base.check(n * pools, d)
        except ValueError as error:
            raise ValueError(
                f"a sweep of {n} episodes a task, which the budget allows, is too small: {error}"
            ) from None

    def _policy_of(self, task: int) -> BasePolicy:
        return self.policy.only(0 if self.shared else task)

    def _grow(self, n_tasks: int) -> None:
        if not self.shared:
            thetas = self.policy.thetas
            more = np.zeros((n_tasks - len(thetas), thetas.shape[1]))
            self.policy = self.policy.with_thetas(np.concatenate([thetas, more]))

    def collect_rollouts(self) -> tuple[RolloutStatistics, int]:
        """Run ``n_trajectories`` episodes in every task that comes up, or what `sweep_size` makes of it."""
        assert self.env is not None
        result = sample(
            self.env,
            self.policy if self.shared else self.policy.with_thetas(self.policy.thetas[self._places]),
            self.n_trajectories,
            seed=self.noise_seed,
            first_visit=self._n_visits,
            credit=self._base.credit(self._pool),
        )
        n = result.statistics.returns.shape[1]
        self._n_visits += n
        if not self._base.suffices(n * len(result.tasks) if self.shared else n, self.policy.thetas.shape[1]):
            result = nothing(self.policy, result.n_steps)
        self._observed = self._places[result.tasks]
        return result.statistics, result.n_steps

    def _operating_point(self) -> OperatingPoint:
        """Of each observed task or, where they share a policy, of all together."""
        if self.shared:
            return self._base.point(self.policy.thetas, pooled(self._rollouts), self._step_size())
        return self._base.point(self.policy.thetas[self._observed], self._rollouts, self._step_size())

    def train(self) -> None:
        """Move to the operating points."""
        thetas = self.policy.thetas
        thetas[slice(None) if self.shared else self._observed] = self._operating_point().target
        self.policy.thetas = thetas


class TaskwiseArguments(SearchArguments, total=False):
    """Arguments of all learners without shared structure; see `TaskwiseSearch` for what they mean."""

    shared: bool


class TaskwiseSearch(PolicySearch):
    """Policy search for every task on its own, or with one policy for all.

    Args:
        shared: learn one policy for all tasks rather than one each; returns are compared within each task.
        **search: see `PolicySearch`.
    """

    def __init__(
        self,
        policy: str | type[BasePolicy],
        env: Any,
        learning_rate: float | Schedule | None = None,
        shared: bool = False,
        **search: Unpack[SearchArguments],
    ) -> None:
        """See the class."""
        self.shared = flag("shared", shared)
        super().__init__(policy, env, learning_rate, **search)
