"""The best linear policies of families with continuous actions: LQR about the goal, refined by search.

A policy is linear in the features ``(y / c, 1)``. Policies are compared from fixed starts and without noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import numpy as np

from lifelong_gym.envs.backends.arrays import bind_arrays
from lifelong_gym.envs.backends.text import Program
from lifelong_gym.envs.family import Constants, Family, kernel_of, reward_of
from lifelong_gym.envs.rollout import rollout
from lifelong_gym.numerics import numpy_math, philox
from lifelong_gym.numerics.arrays import FloatArray, IntArray
from lifelong_gym.numerics.directions import first_best
from lifelong_gym.references.lqr import continuous, lqr_policies
from lifelong_gym.references.reference import Reference
from lifelong_gym.references.search import maximise
from lifelong_gym.tasks.task_set import TaskSet

N_STARTS = 8
START_SEED = 0
NEAR, FAR = 0.03, 0.3  # by which the first candidates' actions differ, as shares of their bounds
REGULARISATION = 1e-4
GENERATIONS = 600


@dataclass(frozen=True)
class Trial:
    """What linear policies are compared on: tasks, a reward, and the starts of the episodes.

    The starts are those of the first eight visits to a task of uid 0 under seed 0, whatever a task's own uid. So
    a task's figures depend on its parameters alone, not on its place in a set.

    Attributes:
        family: with continuous actions.
        tasks: the tasks.
        reward: its name.
        starts: physical start states, (n_tasks, 8, n_state).
    """

    family: Family
    tasks: TaskSet
    reward: str
    starts: FloatArray

    @classmethod
    def of(cls, family: Family, tasks: TaskSet, reward: str | None = None) -> Trial:
        """The fixed trial of these tasks; ``reward=None``: the preset's, or else the family's first.

        Raises:
            ValueError: discrete actions, or no such reward.
        """
        continuous(family)
        if reward is None and tasks.preset in family.parameters.presets:
            reward = family.parameters.presets[tasks.preset].reward
        reward_of(family, reward)
        kernel = kernel_of(family, "a search for linear policies")
        program, key = Program.of(kernel, tasks), philox.row_key(START_SEED)
        noise = numpy_math.uniforms(kernel.n_initial_noise, 0, 0, np.arange(N_STARTS), philox.INITIAL, key)
        kernels = bind_arrays(program.text)
        drawn = kernels.initial(noise, *program.on_arrays(program.tables.slots[:, None]))
        starts = np.stack([np.broadcast_to(x, (len(tasks), N_STARTS)) for x in drawn], axis=-1)
        return cls(family, tasks, reward or next(iter(family.rewards)), starts)

    @property
    def everywhere(self) -> IntArray:
        """The indices of all tasks."""
        return np.arange(len(self.tasks))

    @property
    def zero(self) -> FloatArray:
        """The policy that does nothing, once a task: (n_tasks, d)."""
        n_features = self.family.observations.size + 1
        return np.zeros((len(self.tasks), continuous(self.family).size * n_features))

    def run(self, theta: FloatArray, at: IntArray) -> Any:
        """Statistics of policies theta (n, m, d), m of them in each of the tasks ``at``, without noise."""
        n, m, d = theta.shape
        return rollout(
            self.family,
            tasks=TaskSet(self.tasks.space, np.repeat(self.tasks.values[at], m, axis=0)),
            theta=theta.reshape(n * m, d),
            n_trajectories=N_STARTS,
            sigma=0.0,
            initial_states=np.repeat(self.starts[at], m, axis=0),
            reward=self.reward,
        )

    def mean_rewards(self, theta: FloatArray, at: IntArray) -> FloatArray:
        """Mean reward per step of policies theta (n, m, d), m of them in each of the tasks ``at``: (n, m)."""
        means: FloatArray = self.run(theta, at).returns.mean(axis=1).reshape(theta.shape[:2]) / self.family.horizon
        return means

    def values(self, theta: FloatArray) -> FloatArray:
        """Mean reward per step of one policy a task, (n_tasks, d), or of one for all, (d,): (n_tasks,)."""
        return self.crossed(np.broadcast_to(theta, self.zero.shape)[:, None])[:, 0]

    def crossed(self, theta: FloatArray) -> FloatArray:
        """Mean reward per step of policies theta (n_tasks, m, d), or of m policies (m, d) in all: (n_tasks, m)."""
        return self.mean_rewards(np.broadcast_to(theta, (len(self.tasks), *theta.shape[-2:])), self.everywhere)

    def curvature(self, theta: FloatArray) -> FloatArray:
        """How much a change of parameters changes the actions of policies theta (n_tasks, d).

        Returns:
            Matrices C, (n_tasks, d, d): ``d' C d`` is the mean over a policy's episodes of the squared change of
            actions, as shares of their bounds, under the change d; slightly regularised.
        """
        ran = self.run(theta[:, None], self.everywhere)
        n = self.family.observations.size + 1
        i, j = np.triu_indices(n)
        moments = np.zeros((len(theta), n, n))
        moments[:, i, j] = moments[:, j, i] = ran.features_squared.sum(axis=1) / ran.steps.sum(axis=1)[:, None]
        mean = np.trace(moments, axis1=1, axis2=2)[:, None, None] / n
        moments += REGULARISATION * mean * np.eye(n)
        per_action = np.diag(1 / np.square(continuous(self.family).bound))
        return np.stack([np.kron(per_action, block) for block in moments])


def spread(curvature: FloatArray, share: float) -> FloatArray:
    """Covariance of parameters that changes actions by this share of their bounds, equally in all directions."""
    covariance: FloatArray = share**2 / curvature.shape[-1] * np.linalg.inv(curvature)
    return covariance


def best_policies(family: Family, tasks: TaskSet, reward: str | None = None) -> FloatArray:
    """The best linear policy of each task that search finds, from the better of LQR and doing nothing.

    Under the quadratic reward the search confirms LQR on linear systems; on others it gains where the horizon is
    short, the actions saturate or the system is far from linear.

    Args:
        family: with continuous actions.
        tasks: the tasks.
        reward: its name; default: the preset's, or else the family's first.

    Returns:
        theta in units of a, (n_tasks, n_action * n_features).

    Raises:
        ValueError: discrete actions, or no such reward.
    """
    trial = Trial.of(family, tasks, reward)
    start = regulators_or_zero(trial)
    start = np.where((trial.values(start) > trial.values(trial.zero))[:, None], start, 0.0)
    near = spread(trial.curvature(start), NEAR)
    theta, _ = maximise(trial.mean_rewards, start, near, generations=GENERATIONS)
    return theta


def regulators_or_zero(trial: Trial) -> FloatArray:
    """LQR policies where the family has a goal, and otherwise policies that do nothing."""
    has_goal = "goal" in Constants.of(trial.family, trial.tasks.values).groups
    return lqr_policies(trial.family, trial.tasks) if has_goal else trial.zero


def shared_policy(
    family: Family, tasks: TaskSet, reward: str | None = None, candidates: FloatArray | None = None
) -> FloatArray:
    """The best single linear policy for all tasks that search finds: wide from neutral starts, narrow from good ones.

    Args:
        family: with continuous actions.
        tasks: the tasks.
        reward: its name; default: the preset's, or else the family's first.
        candidates: policies, (n, n_action * n_features), of which the three best become starts; default: LQR.

    Returns:
        theta in units of a, (n_action * n_features,).

    Raises:
        ValueError: discrete actions, or no such reward.
    """
    trial = Trial.of(family, tasks, reward)
    candidates = regulators_or_zero(trial) if candidates is None else candidates

    def average(theta: FloatArray, _: IntArray) -> FloatArray:
        means: FloatArray = trial.crossed(theta.reshape(-1, theta.shape[-1])).mean(axis=0)
        return means.reshape(theta.shape[:2])

    good = np.argsort(-trial.crossed(candidates).mean(axis=0))[:3]
    starts = np.stack([trial.zero[0], candidates.mean(axis=0), *candidates[good]])
    curvatures = [trial.curvature(np.broadcast_to(start, trial.zero.shape)).mean(axis=0) for start in starts]
    first = [spread(c, FAR if i < 2 else NEAR) for i, c in enumerate(curvatures)]
    theta, value = maximise(average, starts, np.stack(first), generations=GENERATIONS // 3)
    best: FloatArray = theta[first_best(value)]
    return best


def reference_returns(family: Family, tasks: TaskSet, reward: str | None = None) -> FloatArray:
    """What an episode of the best linear policy earns in each task, on average over the fixed starts: (n_tasks,).

    Raises:
        ValueError: discrete actions, or no such reward.
    """
    return family.horizon * Trial.of(family, tasks, reward).values(best_policies(family, tasks, reward))


@final
class LinearSearch(Reference):
    """The best linear policy of each task that search finds."""

    how = "linear policies, by LQR and search"

    def __init__(self, family: Family, tasks: TaskSet, reward: str) -> None:
        """Search; takes a second or so.

        Raises:
            ValueError: discrete actions or observations.
        """
        super().__init__(family, tasks, reward)
        if not family.observations.is_vector:
            raise ValueError(f"`family` must have vectors as observations. Received {type(family).__name__}")
        self._scale = np.array(family.feature_scale or (1.0,) * family.observations.size)
        self._bound = np.array(continuous(family).bound)
        self._thetas = best_policies(family, tasks, reward)

    def predict(self, observations: Any) -> Any:
        """The best action of each row, of which the i-th is in task ``i mod n_tasks``."""
        scaled = np.asarray(observations, np.float64) / self._scale
        features = np.column_stack([scaled, np.ones(len(scaled))])
        gains = self._thetas[np.arange(len(scaled)) % len(self._thetas)].reshape(len(scaled), -1, features.shape[1])
        actions = (gains @ features[:, :, None])[:, :, 0]
        return np.clip(actions / self._bound, -1.0, 1.0).astype(np.float32)

    def headroom(self) -> float | None:
        """An upper bound, for shared policies are found by search; in seconds. See `Headroom.headroom`."""
        trial = Trial.of(self.family, self.tasks, self.reward)
        common = shared_policy(self.family, self.tasks, self.reward, candidates=self._thetas)
        zero, shared, best = (trial.values(theta).mean() for theta in (trial.zero, common, self._thetas))
        return float((best - shared) / (best - zero)) if best > zero else None
