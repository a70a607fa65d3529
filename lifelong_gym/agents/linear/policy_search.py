"""Policy search with linear-Gaussian policies, composed of a sampler, an improver and a sharer."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import Schedule

from lifelong_gym.agents.contract.arguments import CommonSettings
from lifelong_gym.agents.contract.base import MultiTaskAlgorithm
from lifelong_gym.agents.contract.environment import budget_of, present_tasks, to_vec_env, units_of
from lifelong_gym.agents.contract.state import Parts
from lifelong_gym.agents.linear.base_learners import BaseLearner
from lifelong_gym.agents.linear.policies import LinearGaussianPolicy
from lifelong_gym.agents.linear.sampling import Sampler, nothing, refuse_rounds, sweep_size
from lifelong_gym.agents.linear.sharers import Sharer, Sweep
from lifelong_gym.envs.rollout import RolloutStatistics


class PolicySearch(MultiTaskAlgorithm):
    """Policy search from whole episodes: each sweep runs ``n_trajectories`` of them in every task that comes up.

    It is composed. A *sampler* runs the episodes; an *improver* says, from a task's own, where its policy should go; a
    *sharer* makes the policies of all tasks from that, and keeps what tasks have in common. A learner is a subclass
    whose constructor makes these parts from arguments that JSON can hold, as `REINFORCE` does.

    On our own kernel families a sweep is one fused rollout; any other VecEnv is stepped, with the same result in
    distribution. Either way the seed and the number of earlier trajectories decide a sweep's noise, so that a saved
    model goes on to the bit (when stepped, as far as seeds decide the environment's episodes).

    Args:
        policy: ``"LinearGaussianPolicy"``.
        env: an id, a PettingZoo ParallelEnv, a vector env of ours, or any SB3 VecEnv, with one-dimensional Boxes.
        learning_rate: step size of the improver, or a function of the remaining progress (1 to 0); None: the one that
            suits it.
        improver: how a policy improves from its own trajectories.
        sharer: what tasks have in common.
        sampler: how episodes are run.
        common: arguments of all learners.
        settings: further dataclasses whose fields are the learner's arguments. Like those of ``sampler``, they become
            its attributes, which `save` writes. Parts are made once: of these attributes, only ``n_trajectories`` may
            be assigned to later and counts.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {"LinearGaussianPolicy": LinearGaussianPolicy}
    policy: LinearGaussianPolicy
    n_trajectories: int
    sigma: float
    bias: bool
    _sharer: Sharer
    _rollouts: RolloutStatistics

    def __init__(
        self,
        policy: str | type[BasePolicy],
        env: Any,
        learning_rate: float | Schedule | None,
        improver: BaseLearner,
        sharer: Sharer,
        sampler: Sampler,
        common: CommonSettings,
        settings: Sequence[Any] = (),
    ) -> None:
        """See the class."""
        for level in (sampler, *settings):
            vars(self).update(vars(level))
        self._sampler, self._improver, self._sharer = sampler, improver, sharer
        self._n_visits = 0
        self._observed = np.zeros(0, np.int64)
        rate = improver.learning_rate if learning_rate is None else learning_rate
        super().__init__(policy, env, rate, **vars(common))

    if TYPE_CHECKING:  # arguments become attributes, which no checker sees

        def __getattr__(self, name: str) -> Any: ...

    # What is kept.

    def _parts(self) -> Parts:
        return {**super()._parts(), **self._sharer.parts()}

    def _counters(self) -> dict[str, int]:
        return {**super()._counters(), "_n_visits": self._n_visits, **self._sharer.counters()}

    def _policy_arguments(self) -> dict[str, Any]:
        arguments = self.policy._get_constructor_parameters()
        return {name: value for name, value in arguments.items() if not name.endswith("_space")}

    def _setup_model(self, policy_arguments: dict[str, Any] | None = None) -> None:
        from_file = policy_arguments is not None
        if self.env is not None:
            refuse_rounds(self.env)
            self._sharer.enter(self.env, self._roster, self._places)
        if policy_arguments is None:
            assert self.env is not None
            n_policies = self.n_tasks // self._sharer.tasks_a_policy(self.n_tasks)
            policy_arguments = {"n_policies": n_policies, **units_of(self.env)}
        policy = self._sampler.policy(self.observation_space, self.action_space, policy_arguments)
        self._check_sweeps(policy.theta.shape[1])
        self._sharer.set_up(policy, self.env, self._roster, from_file)
        self.policy = policy
        vars(self).update(self._sharer.parts())

    def _check_sweeps(self, d: int) -> None:
        """Raise `ValueError` unless the smallest sweep suffices for d parameters."""
        budget, n = None if self.env is None else budget_of(self.env), self._sampler.n_trajectories
        if budget is None or budget.is_over or self.env is None:
            self._improver.check(n * self._sharer.tasks_a_policy(self.n_tasks), d)
            return
        n = min(n, sweep_size(self.env, n))
        n_tasks = min(self._sharer.tasks_a_policy(len(stage.tasks)) for stage in budget.stages)
        try:
            self._improver.check(n * n_tasks, d)
        except ValueError as error:
            raise ValueError(
                f"a sweep of {n} episodes a task, which the budget allows, is too small: {error}"
            ) from None

    def _settle(self, given: Set[str]) -> None:
        super()._settle(given)
        self.policy.thetas = self._sharer.settled(self.policy.thetas, given)

    # Tasks and their environment.

    def set_env(self, env: Any, force_reset: bool = True) -> None:
        """Go on in another environment, with some or all of the tasks.

        Raises:
            ValueError: other spaces, unknown tasks, or another number of nodes where nodes learn; nothing has changed
                then.
        """
        venv = to_vec_env(env)
        self._sharer.refuse(venv)
        super().set_env(venv, force_reset)
        self._sharer.enter(venv, self._roster, self._places)

    def _policy_of(self, task: int) -> BasePolicy:
        return self.policy.only(int(self._sharer.rows_of(np.array([task]))[0]))

    def _grow(self, n_tasks: int) -> None:
        self.policy = self.policy.with_thetas(self._sharer.grown(self.policy.thetas, n_tasks))

    # A sweep.

    def collect_rollouts(self) -> tuple[RolloutStatistics, int]:
        """Run ``n_trajectories`` episodes in every task that comes up, or what `sweep_size` makes of it."""
        assert self.env is not None
        thetas, sharer = self.policy.thetas, self._sharer
        sharer.allow(thetas, self._places[present_tasks(self.env)])
        sampler = replace(self._sampler, n_trajectories=self.n_trajectories)  # which may change during a life
        result = sampler.run(
            self.env,
            self.policy.with_thetas(thetas[sharer.rows_of(self._places)]),
            seed=self.noise_seed,
            first_visit=self._n_visits,
            credit=self._improver.credit(sharer.pool),
        )
        n = result.statistics.returns.shape[1]
        self._n_visits += n
        if not self._improver.suffices(n * sharer.tasks_a_policy(len(result.tasks)), thetas.shape[1]):
            result = nothing(self.policy, result.n_steps)
        self._observed = self._places[result.tasks]
        return result.statistics, result.n_steps

    def train(self) -> None:
        """Find the operating points of the policies that were run, and make all policies from these."""
        sweep = Sweep(self._sharer.rows_of(self._observed), self.policy.thetas, self._rollouts)
        point = self._sharer.point(self._improver, sweep, self._step_size())
        rng = np.random.default_rng([self.noise_seed, self._n_updates])
        self.policy.thetas = self._sharer.learned(sweep, point, rng, self.logger.record)

    def dump_logs(self, iteration: int = 0) -> None:
        """Write the log of the last sweep, with counts of the whole life."""
        for name, total in self._sharer.totals().items():
            self.logger.record(name, total)
        super().dump_logs(iteration)
