"""Trajectories of linear-Gaussian policies in every task: fused on our own families, stepped on any other VecEnv."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv

from lifelong_gym.agents.contract.arguments import check_fields
from lifelong_gym.agents.contract.checks import count, flag, positive
from lifelong_gym.agents.contract.environment import (
    before_steps,
    budget_of,
    core_of,
    fused_core,
    idle_rows,
    in_rounds,
    n_tasks_of,
    present_tasks,
    task_of_rows,
)
from lifelong_gym.agents.linear.policies import LinearGaussianPolicy
from lifelong_gym.envs.core import Core
from lifelong_gym.envs.rollout import RolloutStatistics, count_violations, rollout
from lifelong_gym.numerics.arrays import BoolArray, FloatArray, IntArray
from lifelong_gym.wrappers import CoreVecEnv

Credit = Callable[[FloatArray, BoolArray], FloatArray]

STATISTICS = ("returns", "steps", "noise_features", "features_squared")
MOST_STEPS_AT_ONCE = 2**22  # whose rewards, observations and weights are held in memory together
SIGMA = 0.6  # on the hetero presets, 0.3 learns half as fast from 5 trajectories, and 1 gains little more
MOST_IDLE = 50  # episodes a row and task that nobody wants, before the tasks still missing count as out of reach


@dataclass(frozen=True)
class StepCredit:
    """A `Credit`, and what it costs.

    Attributes:
        weigh: from rewards and living steps to the weights.
        sends: whether messages are sent for it; then all tasks are weighed at once, however much memory that takes:
            how many rounds there are shall not depend on it.
    """

    weigh: Credit
    sends: bool = False

    def __call__(self, rewards: FloatArray, alive: BoolArray) -> FloatArray:
        """The weight of each step."""
        return self.weigh(rewards, alive)


@dataclass(frozen=True)
class ReturnCredit:
    """A `Credit` that depends on returns and lengths alone, so that fused trajectories needn't be kept.

    Attributes:
        weigh: from returns and living steps, both (n_tasks, n_trajectories), and the horizon, to the weights.
        told: from returns and living steps of all tasks to what is known of them where steps are weighed.
    """

    weigh: Callable[[FloatArray, IntArray, int], FloatArray]
    told: Callable[[FloatArray, IntArray], tuple[FloatArray, IntArray]]

    def __call__(self, rewards: FloatArray, alive: BoolArray) -> FloatArray:
        """The weight of each step."""
        return self.weigh(*self.told(rewards.sum(axis=2), alive.sum(axis=2)), alive.shape[2])


@dataclass(frozen=True)
class Sample:
    """What one sweep over the present tasks gave.

    Attributes:
        tasks: which these are, shape (n_present,); those of which there are no whole episodes aren't among them.
        statistics: of every trajectory, a row each; score and Fisher information are weighted if credit was asked for.
        n_steps: environment steps it took, all tasks together.
    """

    tasks: IntArray
    statistics: RolloutStatistics
    n_steps: int


@dataclass(frozen=True)
class Sampler:
    """How whole episodes are run.

    Attributes:
        n_trajectories: episodes a task and sweep, as many as the base learner needs.
        sigma: standard deviation of the exploration, in units of the action a.
        bias: whether policies have a constant feature.
    """

    n_trajectories: int = 5
    sigma: float = SIGMA
    bias: bool = True

    def __post_init__(self) -> None:
        check_fields(self, n_trajectories=count, sigma=positive, bias=flag)

    def policy(
        self, observations: spaces.Space[Any], actions: spaces.Space[Any], arguments: Mapping[str, Any]
    ) -> LinearGaussianPolicy:
        """A policy that explores so, with these other arguments."""
        return LinearGaussianPolicy(observations, actions, **{**arguments, "sigma": self.sigma, "bias": self.bias})

    def run(
        self, env: VecEnv, policy: LinearGaussianPolicy, *, seed: int, first_visit: int, credit: Credit | None
    ) -> Sample:
        """A sweep; see `sample`."""
        return sample(env, policy, self.n_trajectories, seed=seed, first_visit=first_visit, credit=credit)


def sweep_size(env: VecEnv, n_trajectories: int) -> int:
    """Episodes of each task in the next sweep: ``n_trajectories``, unless the env has a budget.

    Then episodes are spread evenly over sweeps of at least so many, until none is left; or, where there are fewer, all
    come in one sweep. Rows that share a task begin episodes side by side, and a stepped sweep takes all of them.
    """
    budget, core = budget_of(env), core_of(env)
    if budget is None or core is None or budget.is_over:
        return n_trajectories
    tasks = present_tasks(env)
    abreast = 1 if fused_core(env) is not None else env.num_envs // math.gcd(env.num_envs, len(tasks))
    rounds = int(budget.left[tasks].min()) // core.horizon // abreast
    n_sweeps = max(1, rounds // math.ceil(n_trajectories / abreast))
    return max(1, math.ceil(rounds / n_sweeps)) * abreast


def refuse_rounds(env: VecEnv) -> None:
    """Raise `ValueError` where rows are agents in rounds."""
    if in_rounds(env):
        raise ValueError(
            "a policy search seeds its episodes anew in every sweep, which would begin the environment's rounds anew: "
            'it can\'t run under `schedule={"rounds": ...}`'
        )


def sample(
    env: VecEnv,
    policy: LinearGaussianPolicy,
    n_trajectories: int,
    *,
    seed: int,
    first_visit: int,
    credit: Credit | None = None,
) -> Sample:
    """Run whole episodes, as many as `sweep_size` says, in every task that comes up in ``env`` as it is now.

    Args:
        env: its episodes are begun anew unless it is one of ours that can be simulated in one call.
        policy: one theta for all tasks, or one each.
        n_trajectories: per task.
        seed: with ``first_visit`` it decides all noise.
        first_visit: number of the first trajectory; other numbers have independent noise.
        credit: from rewards and living steps, both (n_tasks, n_trajectories, horizon), to the weight of each step
            in the statistics; tasks don't mix. None: all weights are 1.

    Raises:
        ValueError: the rows are agents in rounds.
    """
    refuse_rounds(env)
    core, budget, tasks, n = fused_core(env), budget_of(env), present_tasks(env), sweep_size(env, n_trajectories)
    if len(tasks) == 0:
        return nothing(policy)
    if core is None or (budget is not None and (budget.left[tasks] < n * core.horizon).any()):
        _announce_stepping(env, tasks, n)
        return _Stepping(env, policy, n, seed, first_visit).run(credit)
    n_steps = n * core.horizon
    keeps_none = credit is None and core.safety is None
    at_once = len(tasks) if keeps_none else max(1, MOST_STEPS_AT_ONCE // n_steps)
    assert isinstance(env, CoreVecEnv)
    env.announce(tasks, n_steps)
    fused = _Fused(core, policy, n, seed, first_visit)
    parts = [tasks[first : first + at_once] for first in range(0, len(tasks), at_once)]
    weights = fused.weights(parts, credit)
    statistics = [fused.run(part, weights=weight) for part, weight in zip(parts, weights, strict=True)]
    return Sample(tasks, _joined(statistics), len(tasks) * n_steps)


def nothing(policy: LinearGaussianPolicy, n_steps: int = 0) -> Sample:
    """A sample of no task, though it may have taken steps."""
    d = policy.thetas.shape[1]
    n = d // policy.n_actions
    sums = np.zeros((0, 0, d)), np.zeros((0, 0, n * (n + 1) // 2))
    statistics = RolloutStatistics(np.zeros((0, 0)), np.zeros((0, 0), np.int64), *sums, policy.sigma)
    return Sample(np.zeros(0, np.int64), statistics, n_steps)


def _announce_stepping(env: VecEnv, tasks: IntArray, n_trajectories: int) -> None:
    """The policy stays what it is for a whole sweep, so whoever evaluates may do it before."""
    budget, core = budget_of(env), core_of(env)
    if budget is not None and core is not None:
        before_steps(env, int(np.minimum(budget.left[tasks], n_trajectories * core.horizon).sum()))


class _Fused:
    """Whole episodes of some tasks, simulated in one call.

    Noise is counted, not drawn: another pass repeats the same trajectories instead of storing them.
    """

    def __init__(
        self, core: Core, policy: LinearGaussianPolicy, n_trajectories: int, seed: int, first_visit: int
    ) -> None:
        self._core, self._thetas = core, policy.thetas
        self._arguments: dict[str, Any] = {
            "n_trajectories": n_trajectories,
            "seed": seed,
            "sigma": policy.sigma,
            "horizon": core.horizon,
            "bias": policy.bias,
            "reward": core.reward,
            "first_visit": first_visit,
            "backend": core.settings.backend,
        }

    def run(self, part: IntArray, **how: Any) -> Any:
        """What `rollout` gives."""
        thetas = self._thetas if len(self._thetas) == 1 else self._thetas[part]
        return rollout(self._core.family, tasks=self._core.tasks[part], theta=thetas, **self._arguments, **how)

    def weights(self, parts: list[IntArray], credit: Credit | None) -> Iterator[FloatArray | None]:
        """Of the steps of each part of the tasks; None: all alike. Violations are counted as they come by."""
        if credit is None or isinstance(credit, ReturnCredit):
            known = None if credit is None else self._told(parts, credit)
            for i, part in enumerate(parts):
                if self._core.safety is not None:
                    self._watched(part)
                yield None if credit is None or known is None else credit.weigh(*known[i], self._core.horizon)
        elif isinstance(credit, StepCredit) and credit.sends:
            runs = [(run.rewards, run.alive) for run in map(self._watched, parts)]
            yield from _split(credit(*map(np.concatenate, zip(*runs, strict=True))), parts)
        else:
            for run in map(self._watched, parts):
                yield credit(run.rewards, run.alive)

    def _told(self, parts: list[IntArray], credit: ReturnCredit) -> list[tuple[FloatArray, IntArray]]:
        """Returns and living steps of each part, as they are known."""
        first = self.run(np.concatenate(parts))
        returns, steps = credit.told(first.returns, first.steps)
        return list(zip(_split(returns, parts), _split(steps, parts), strict=True))

    def _watched(self, part: IntArray) -> Any:
        """The trajectories, whose violations are counted."""
        run = self.run(part, trajectories=True)
        if self._core.safety is not None:
            seed, first_visit = self._arguments["seed"], self._arguments["first_visit"]
            count_violations(self._core, part, run.actions, seed=seed, first_visit=first_visit)
        return run


def _split(values: npt.NDArray[Any], parts: list[IntArray]) -> list[npt.NDArray[Any]]:
    """A row a task, as parts of the tasks."""
    return np.split(values, np.cumsum([len(part) for part in parts])[:-1])


def _joined(parts: list[RolloutStatistics]) -> RolloutStatistics:
    arrays: dict[str, Any] = {name: np.concatenate([getattr(p, name) for p in parts]) for name in STATISTICS}
    return replace(parts[0], **arrays)


class _Stepping:
    """Whole episodes by stepping a VecEnv.

    Tasks are numbered among those present.

    An episode belongs to the sample if it was among the first ``n_trajectories`` of its task to *begin*: choosing
    by who ends first would favour short ones. Its slot is ``task * n_trajectories + j``; other episodes have -1.

    A budget may end episodes before they are whole, and tasks before all theirs have begun: such tasks are left out.
    """

    def __init__(
        self, env: VecEnv, policy: LinearGaussianPolicy, n_trajectories: int, seed: int, first_visit: int
    ) -> None:
        self._env, self._policy, self._n_trajectories = env, policy, n_trajectories
        self._present = present_tasks(env)
        self._n_tasks = len(self._present)
        self._number = np.full(n_tasks_of(env), -1)
        self._number[self._present] = np.arange(self._n_tasks)
        entropy = np.random.SeedSequence([seed, first_visit])
        self._env_seed = int(entropy.generate_state(1)[0] >> 1)  # room for one seed a row
        self._noise = np.random.default_rng(entropy)
        self._begun = np.zeros(self._n_tasks, np.int64)
        self._whole = np.zeros(self._n_tasks * n_trajectories, bool)
        self._budget = budget_of(env)
        self._stage = None if self._budget is None else self._budget.stage
        self._n_idle = 0
        self._slot = np.full(env.num_envs, -1)
        self._position = np.zeros(env.num_envs, np.int64)
        self._task = np.zeros(env.num_envs, np.int64)
        self._steps: list[tuple[npt.NDArray[Any], ...]] = []

    def run(self, credit: Credit | None) -> Sample:
        """Step until every slot has ended, or can't begin any more."""
        env, policy = self._env, self._policy
        env.seed(self._env_seed)
        observations = env.reset()
        self._begin(np.arange(env.num_envs))
        alive = np.ones(env.num_envs, bool)
        n_steps = 0
        while self._goes_on():
            features = policy.features(np.asarray(observations))
            noise = self._noise.standard_normal((env.num_envs, policy.n_actions))
            means = policy.means(features, self._task % policy.n_policies)
            observations, rewards, done, infos = env.step(policy.for_environment(means + policy.sigma * noise))
            self._keep(rewards, alive, noise, features)
            alive = (alive & ~np.array([info.get("failed", False) for info in infos])) | done
            n_steps += sum(not info.get("idle", False) for info in infos)
            self._position += 1
            self._end(np.flatnonzero(done & (self._slot >= 0)), infos)
            self._begin(np.flatnonzero(done))
        return self._sample(self._statistics(credit), n_steps)

    def _goes_on(self) -> bool:
        """Whether an episode of the sample runs or may still begin."""
        if (self._slot >= 0).any():
            return True
        if self._budget is not None and self._budget.stage != self._stage:
            return False
        return bool((self._begun[self._number[present_tasks(self._env)]] < self._n_trajectories).any())

    def _end(self, rows: IntArray, infos: list[dict[str, Any]]) -> None:
        """Episodes of the sample have ended; those that a budget cut short are not whole."""
        core = core_of(self._env)
        for row in rows.tolist():
            is_short = core is not None and self._position[row] < core.horizon
            is_cut = self._budget is not None and is_short and infos[row].get("TimeLimit.truncated", False)
            self._whole[self._slot[row]] = not is_cut

    def _begin(self, rows: IntArray) -> None:
        self._slot[rows] = -1
        rows = rows[~idle_rows(self._env)[rows]]
        if len(rows) == 0:
            return
        self._task[rows] = task_of_rows(self._env)[rows]
        self._position[rows] = 0
        for row, task in zip(rows.tolist(), self._number[self._task[rows]].tolist(), strict=True):
            is_wanted = task >= 0 and self._begun[task] < self._n_trajectories
            self._slot[row] = task * self._n_trajectories + self._begun[task] if is_wanted else -1
            self._begun[task] += is_wanted
        self._n_idle = 0 if (self._slot >= 0).any() else self._n_idle + len(rows)
        if self._n_idle > MOST_IDLE * (self._env.num_envs + self._n_tasks):
            missing = self._present[self._begun < self._n_trajectories].tolist()
            raise ValueError(f"in {self._n_idle} episodes the environment has not come to the tasks {missing}")

    def _sample(self, statistics: RolloutStatistics, n_steps: int) -> Sample:
        """Of the tasks whose episodes are whole."""
        whole = self._whole.reshape(self._n_tasks, -1).all(axis=1)
        arrays: dict[str, Any] = {name: getattr(statistics, name)[whole] for name in STATISTICS}
        return Sample(self._present[whole], replace(statistics, **arrays), n_steps)

    def _keep(self, rewards: FloatArray, alive: BoolArray, noise: FloatArray, features: FloatArray) -> None:
        rows = np.flatnonzero(self._slot >= 0)
        kept = (self._slot, self._position, rewards, alive, noise, features)
        self._steps.append(tuple(array[rows] for array in kept))

    def _statistics(self, credit: Credit | None) -> RolloutStatistics:
        slot, position, reward, alive, noise, features = map(np.concatenate, zip(*self._steps, strict=True))
        shape = self._n_tasks, self._n_trajectories, int(position.max()) + 1
        rewards, living = np.zeros(shape), np.zeros(shape, bool)
        at = np.unravel_index(slot, shape[:2])
        rewards[*at, position], living[*at, position] = reward, alive
        weights = living.astype(np.float64) if credit is None else credit(rewards, living) * living
        weight = weights[*at, position][:, None]
        i, j = np.triu_indices(features.shape[1])
        products = (noise[:, :, None] * features[:, None, :]).reshape(len(slot), -1)
        return RolloutStatistics(
            rewards.sum(axis=2),
            living.sum(axis=2),
            self._sum(slot, weight * products),
            self._sum(slot, weight * features[:, i] * features[:, j]),
            self._policy.sigma,
        )

    def _sum(self, slot: IntArray, values: FloatArray) -> FloatArray:
        total = np.zeros((self._n_tasks * self._n_trajectories, values.shape[1]))
        np.add.at(total, slot, values)
        return total.reshape(self._n_tasks, self._n_trajectories, -1)
