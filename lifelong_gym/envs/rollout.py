"""Fused rollouts: all trajectories of linear-Gaussian policies, or tables of logits, on all tasks, in one call."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from lifelong_gym.envs.arguments import argument_values
from lifelong_gym.envs.backends.making import BACKENDS, numba_compiles
from lifelong_gym.envs.backends.rollout_plan import LinearPolicies, RolloutPlan, plan_of
from lifelong_gym.envs.core import Core
from lifelong_gym.envs.family import Family
from lifelong_gym.envs.settings import DEFAULT_N_TASKS
from lifelong_gym.errors import one_of
from lifelong_gym.imports import load
from lifelong_gym.numerics.arrays import BoolArray, FloatArray, IntArray
from lifelong_gym.registry import family as family_of
from lifelong_gym.tasks.task_set import TaskSet


@dataclass(frozen=True)
class RolloutStatistics:
    """Sufficient statistics of policy search with linear-Gaussian policies, one entry a trajectory.

    Attributes:
        returns: sum of rewards over the horizon, (n_tasks, n_trajectories).
        steps: living steps, up to and including a failing or terminating one, (n_tasks, n_trajectories).
        noise_features: ``sum_t w_t noise_t phi_t'``, (n_tasks, n_trajectories, n_action * n_features).
        features_squared: packed ``sum_t w_t phi_t phi_t'``, (n_tasks, n_trajectories, n_packed).
        sigma: standard deviation of the policy.
    """

    returns: FloatArray
    steps: IntArray
    noise_features: FloatArray
    features_squared: FloatArray
    sigma: float

    def __repr__(self) -> str:
        return f"{type(self).__name__}({_size(self.returns.shape, self.returns)}, sigma={self.sigma:g})"

    @property
    def score(self) -> FloatArray:
        """``psi = sum_t d log pi(a_t | y_t) / d theta``, (n_tasks, n_trajectories, n_action * n_features)."""
        return self.noise_features / self._positive_sigma()

    @property
    def fisher(self) -> FloatArray:
        """Packed upper triangle of one action's block of F, (n_tasks, n_trajectories, n_packed)."""
        return self.features_squared / self._positive_sigma() ** 2

    def fisher_matrix(self) -> FloatArray:
        """``F = sum_t Phi' Sigma^-1 Phi``, (n_tasks, n_trajectories, d, d), d = n_action * n_features."""
        packed = self.fisher
        n = int((np.sqrt(8 * packed.shape[-1] + 1) - 1) / 2)
        i, j = np.triu_indices(n)
        block = np.zeros((*packed.shape[:-1], n, n))
        block[..., i, j] = block[..., j, i] = packed
        n_action = self.noise_features.shape[-1] // n
        full = np.zeros((*packed.shape[:-1], n_action, n, n_action, n))
        for a in range(n_action):
            full[..., a, :, a, :] = block
        return full.reshape(*packed.shape[:-1], n_action * n, n_action * n)

    def _positive_sigma(self) -> float:
        if self.sigma == 0:
            raise ValueError("a deterministic policy (`sigma=0`) has neither score nor Fisher information")
        return self.sigma


@dataclass(frozen=True)
class TableStatistics:
    """Sufficient statistics of policy search with tables of logits, one entry a trajectory.

    Attributes:
        returns: sum of rewards over the horizon, (n_tasks, n_trajectories).
        steps: living steps, up to and including a failing or terminating one, (n_tasks, n_trajectories).
        visits: living steps by observation and action, int64, (n_tasks, n_trajectories, n_observations, n_actions).
        weighted_visits: sums of the weights of these steps, the same shape.
        probabilities: of actions by observation, (n_tasks, n_observations, n_actions).
    """

    returns: FloatArray
    steps: IntArray
    visits: IntArray
    weighted_visits: FloatArray
    probabilities: FloatArray

    def __repr__(self) -> str:
        return f"{type(self).__name__}({_size(self.returns.shape, self.returns)})"

    @property
    def score(self) -> FloatArray:
        """``sum_t w_t d log pi(a_t | y_t) / d theta``, (n_tasks, n_trajectories, n_observations, n_actions)."""
        by_observation = self.weighted_visits.sum(axis=-1, keepdims=True)
        return self.weighted_visits - by_observation * self.probabilities[:, None]


@dataclass(frozen=True)
class Trajectories:
    """Everything that happened; where observations and actions are discrete, int64 without the last axis.

    Attributes:
        observations: float64, (n_tasks, n_trajectories, horizon + 1, n_observation).
        actions: u in [-1, 1], float64, (n_tasks, n_trajectories, horizon, n_action).
        rewards: (n_tasks, n_trajectories, horizon).
        alive: bool, (n_tasks, n_trajectories, horizon): steps up to and including a failing or terminating one.
    """

    observations: npt.NDArray[Any]
    actions: npt.NDArray[Any]
    rewards: FloatArray
    alive: BoolArray

    def __repr__(self) -> str:
        *shape, horizon = self.rewards.shape
        return f"{type(self).__name__}({_size(tuple(shape), self.rewards.sum(axis=-1))}, horizon={horizon})"


def rollout(
    family: str | Family,
    *,
    theta: npt.ArrayLike,
    n_trajectories: int,
    tasks: Any = None,
    seed: int = 0,
    sigma: float | None = None,
    horizon: int | None = None,
    initial_states: npt.ArrayLike | None = None,
    weights: npt.ArrayLike | None = None,
    bias: bool = True,
    reward: str | None = None,
    first_visit: int = 0,
    trajectories: bool = False,
    backend: str = "numba",
    **arguments: Any,
) -> Any:
    """Run policies on every task; gives `RolloutStatistics`, or `TableStatistics` where spaces are discrete.

    Trajectory j of task i is the single env after ``reset(seed=seed, options={"task": i})`` in its
    (first_visit + j)-th visit, to the bit. Results depend on neither thread count, batch size nor backend.

    Args:
        family: id or instance of a kernel family.
        theta: per task, or one for all. Where actions are continuous: gains of linear-Gaussian policies in units of a,
            ``a = theta phi + sigma noise``, shape (n_tasks, n_action * n_features), row-major, with features
            ``phi = (y / c, 1)`` of the observation y and the family's ``feature_scale`` c. Where observations and
            actions are discrete: logits of ``pi(a | y) ~ exp(theta[y, a])``, (n_tasks, n_observations, n_actions).
        n_trajectories: per task.
        tasks: a `TaskSet`, dicts of parameters, or None: ten default tasks.
        seed: of the noise.
        sigma: standard deviation of linear-Gaussian policies, in units of a; 0: their means; None: 0.3.
        horizon: steps; default: the family's.
        initial_states: physical start states, broadcast to (n_tasks, n_trajectories, n_state); default: drawn.
        weights: of each step in the statistics, (n_tasks, n_trajectories, horizon).
        bias: whether features end with the constant 1.
        reward: name of the family's reward; default: that of the tasks' preset, or the family's first.
        first_visit: number of the first trajectory; successive calls with other numbers have independent noise.
        trajectories: return `Trajectories` rather than statistics.
        backend: ``"numba"``; ``"numpy"``, also where ``NUMBA_DISABLE_JIT`` is set; or ``"python"``, which is slow.
        **arguments: of the family itself, with an id.

    Raises:
        ValueError: an argument of the wrong shape, type, out of range or not finite.
        UnexpectedArgumentError: one that neither this function nor the family has.
    """
    kind = _family_with(family, arguments)
    task_set = TaskSet.of(kind.parameters, kind.parameters.sample(DEFAULT_N_TASKS) if tasks is None else tasks)
    plan = plan_of(
        kind, task_set, theta, n_trajectories, sigma, horizon, initial_states, weights, bias, reward, seed, first_visit
    )
    return _run(plan, (len(plan.tasks), n_trajectories), trajectories, one_of("backend", backend, BACKENDS))


def _run(plan: RolloutPlan, shape: tuple[int, int], trajectories: bool, backend: str) -> Any:
    """Carry out a plan."""
    if backend == "numba" and not numba_compiles():
        backend = "numpy"
    module = f"lifelong_gym.envs.backends.{backend}_rollout"
    if trajectories:
        run = load(f"{module}:trajectories")(plan)
        seen, done = run.observations, run.actions
        if not isinstance(plan.policies, LinearPolicies):
            seen, done = seen[..., 0].astype(np.int64), done[..., 0].astype(np.int64)
        return Trajectories(*[_shaped(array, shape) for array in (seen, done, run.rewards, run.alive)])
    run = load(f"{module}:sums")(plan)
    common = {"returns": _shaped(run.returns, shape), "steps": _shaped(run.steps, shape)}
    if isinstance(plan.policies, LinearPolicies):
        return RolloutStatistics(
            **common,
            noise_features=_shaped(run.noise_features, shape),
            features_squared=_shaped(run.features_squared, shape),
            sigma=plan.policies.sigma,
        )
    probabilities = plan.policies.probabilities
    visits = run.visits.reshape(*shape, *probabilities.shape[1:])
    weighted = visits.astype(np.float64) if run.weighted_visits is None else run.weighted_visits.reshape(visits.shape)
    return TableStatistics(**common, visits=visits, weighted_visits=weighted, probabilities=probabilities)


def count_violations(core: Core, tasks: IntArray, actions: FloatArray, *, seed: int, first_visit: int) -> None:
    """Count in ``core.safety`` what happened in trajectories that `rollout` simulated, by stepping them once more.

    Nothing else of the core changes: neither its rows nor their values.

    Args:
        core: with constraints; its family, tasks and settings are those of the trajectories.
        tasks: their indices in the core's tasks, shape (n,).
        actions: `Trajectories.actions`, shape (n, n_trajectories, horizon, n_action).
        seed: that of `rollout`.
        first_visit: that of `rollout`.
    """
    assert core.safety is not None
    n_tasks, n_trajectories, horizon, n_action = actions.shape
    n = n_tasks * n_trajectories
    copies = Core(core.family, n, replace(core.settings, horizon=horizon, schedule=None))
    copies.seed(np.arange(n), [seed] * n)
    visits = first_visit + np.tile(np.arange(n_trajectories), n_tasks)
    copies.begin(np.arange(n), copies.empty_observations(), np.repeat(tasks, n_trajectories), visits=visits)
    running = np.ones(n, bool)
    for u in np.ascontiguousarray(actions.reshape(n, horizon, n_action).swapaxes(0, 1)):
        results, _ = copies.step(u, running)
        running &= ~results.terminated
    assert copies.safety is not None
    core.safety.n_steps += copies.safety.n_steps
    core.safety.n_violations += copies.safety.n_violations


def _family_with(family: str | Family, arguments: dict[str, Any]) -> Family:
    kind = family_of(family) if isinstance(family, str) else family
    if not arguments:
        return kind
    argument_values(kind.arguments, arguments, "rollout", [*inspect.signature(rollout).parameters][:-1])
    if not isinstance(family, str):
        raise ValueError(
            f"a family that is made has its arguments; name it by its id to pass `{next(iter(arguments))}`"
        )
    return family_of(family, **arguments)


def _size(shape: tuple[int, ...], returns: FloatArray) -> str:
    """For a ``repr``, because the arrays themselves would fill a terminal."""
    return f"n_tasks={shape[0]}, n_trajectories={shape[1]}, mean return {returns.mean():.4g}"


def _shaped(array: npt.NDArray[Any], shape: tuple[int, int]) -> npt.NDArray[Any]:
    return array.reshape(*shape, *array.shape[1:])
