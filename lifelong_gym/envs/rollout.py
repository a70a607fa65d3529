"""Fused rollouts: all trajectories of linear-Gaussian policies on all tasks, in one call."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from lifelong_gym.envs.arguments import argument_values
from lifelong_gym.envs.backends.making import numba_compiles
from lifelong_gym.envs.backends.rollout_plan import RolloutPlan
from lifelong_gym.envs.core import Core
from lifelong_gym.envs.family import Family, kernel_of, reward_name
from lifelong_gym.envs.settings import DEFAULT_N_TASKS
from lifelong_gym.errors import as_float, floats, integer, one_of
from lifelong_gym.imports import load
from lifelong_gym.numerics import philox
from lifelong_gym.numerics.arrays import BoolArray, FloatArray, IntArray
from lifelong_gym.registry import family as family_of
from lifelong_gym.tasks.task_set import TaskSet

BACKENDS = ("numba", "numpy")
DEFAULT_SIGMA = 0.3


@dataclass(frozen=True)
class RolloutStatistics:
    """Sufficient statistics of policy search, one entry a trajectory.

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
class Trajectories:
    """Everything that happened.

    Attributes:
        observations: float64, (n_tasks, n_trajectories, horizon + 1, n_observation).
        actions: u in [-1, 1], float64, (n_tasks, n_trajectories, horizon, n_action).
        rewards: (n_tasks, n_trajectories, horizon).
        alive: bool, (n_tasks, n_trajectories, horizon): steps up to and including a failing or terminating one.
    """

    observations: FloatArray
    actions: FloatArray
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
    sigma: float = DEFAULT_SIGMA,
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
    """Run linear-Gaussian policies ``a = theta phi + sigma noise`` on every task; gives `RolloutStatistics`.

    Features are ``phi = (y / c, 1)`` with observation y and the family's ``feature_scale`` c. Trajectory j of task i
    is the single env after ``reset(seed=seed, options={"task": i})`` in its (first_visit + j)-th visit, to the bit.
    Results depend on neither thread count, batch size nor backend.

    Args:
        family: id or instance of a kernel family with continuous actions.
        theta: gains in units of a, (n_tasks, n_action * n_features) row-major, or one row for all tasks.
        n_trajectories: per task.
        tasks: a `TaskSet`, dicts of parameters, or None: ten default tasks.
        seed: of the noise.
        sigma: standard deviation of the policy, in units of a; 0: the mean policy.
        horizon: steps; default: the family's.
        initial_states: physical start states, broadcast to (n_tasks, n_trajectories, n_state); default: drawn.
        weights: of each step in the statistics, (n_tasks, n_trajectories, horizon).
        bias: whether the features end with the constant 1.
        reward: name of the family's reward; default: that of the tasks' preset, or the family's first.
        first_visit: number of the first trajectory; successive calls with other numbers have independent noise.
        trajectories: return `Trajectories` rather than `RolloutStatistics`.
        backend: ``"numba"`` or ``"numpy"``, which is also taken where ``NUMBA_DISABLE_JIT`` turns numba off.
        **arguments: of the family itself, with an id.

    Raises:
        ValueError: an argument of the wrong shape, type, out of range or not finite.
        UnexpectedArgumentError: one that neither this function nor the family has.
    """
    plan = _plan(
        _family_with(family, arguments),
        tasks,
        theta,
        n_trajectories,
        sigma=sigma,
        horizon=horizon,
        states=initial_states,
        weights=weights,
        bias=bias,
        reward=reward,
        seed=seed,
        first_visit=first_visit,
    )
    return _run(plan, (len(plan.tasks), n_trajectories), trajectories, one_of("backend", backend, BACKENDS))


def _run(plan: RolloutPlan, shape: tuple[int, int], trajectories: bool, backend: str) -> Any:
    """Carry out a plan."""
    if backend == "numba" and not numba_compiles():
        backend = "numpy"
    module = f"lifelong_gym.envs.backends.{backend}_rollout"
    if trajectories:
        run = load(f"{module}:trajectories")(plan)
        return Trajectories(*[_shaped(a, shape) for a in (run.observations, run.actions, run.rewards, run.alive)])
    run = load(f"{module}:sums")(plan)
    return RolloutStatistics(
        returns=_shaped(run.returns, shape),
        steps=_shaped(run.steps, shape),
        noise_features=_shaped(run.noise_features, shape),
        features_squared=_shaped(run.features_squared, shape),
        sigma=plan.sigma,
    )


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


def _plan(
    kind: Family,
    tasks: Any,
    theta: npt.ArrayLike,
    n_trajectories: int,
    *,
    sigma: float,
    horizon: int | None,
    states: npt.ArrayLike | None,
    weights: npt.ArrayLike | None,
    bias: bool,
    reward: str | None,
    seed: int,
    first_visit: int,
) -> RolloutPlan:
    family = kernel_of(kind, "a rollout")
    if not family.actions.bound:
        raise ValueError(f"`family` must have continuous actions. Received {type(family).__name__}")
    task_set = family.parameters.sample(DEFAULT_N_TASKS) if tasks is None else TaskSet.of(family.parameters, tasks)
    n_trajectories, first_visit = integer("n_trajectories", n_trajectories), integer("first_visit", first_visit, 0)
    if not 0 <= as_float(sigma) < np.inf:
        raise ValueError(f"`sigma` must be finite and not negative. Received {sigma}")
    horizon = family.horizon if horizon is None else integer("horizon", horizon)
    n_tasks, n = len(task_set), len(task_set) * n_trajectories
    d = family.actions.size * (family.observations.size + bias)
    task = np.repeat(np.arange(n_tasks), n_trajectories)
    if states is not None:
        states = _broadcast("initial_states", states, (n_tasks, n_trajectories, len(family.state)), n)
        for state in np.unique(states, axis=0):
            family.check_state(state)
    if weights is not None:
        weights = _broadcast("weights", weights, (n_tasks, n_trajectories, horizon), n)
    return RolloutPlan(
        family=family,
        tasks=task_set,
        task=task,
        uid=task_set.uids[task],
        visit=first_visit + np.tile(np.arange(n_trajectories), n_tasks),
        key=philox.row_key(integer("seed", seed, 0, most=None)),
        theta=_broadcast("theta", theta, (n_tasks, d), n_tasks),
        states=states,
        sigma=float(sigma),
        horizon=horizon,
        weights=weights,
        bias=bias,
        reward=reward_name(family, task_set.preset, reward),
    )


def _broadcast(name: str, given: npt.ArrayLike, shape: tuple[int, ...], n: int) -> FloatArray:
    array = floats(name, given)
    if not np.isfinite(array).all():
        raise ValueError(f"`{name}` must be finite. Received {array[~np.isfinite(array)][0]}")
    try:
        full = np.broadcast_to(array, shape)
    except ValueError:
        raise ValueError(f"`{name}` must have shape {shape}. Received {array.shape}") from None
    return np.ascontiguousarray(full).reshape(n, -1)
