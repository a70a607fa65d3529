"""What a rollout computes from and into, flat over (task, trajectory), whatever the backend."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lifelong_gym.envs.family import Family, KernelFamily, kernel_of, reward_name
from lifelong_gym.envs.spaces import Discrete
from lifelong_gym.errors import FamilyError, as_float, floats, integer
from lifelong_gym.numerics import numpy_math, philox
from lifelong_gym.numerics.arrays import BoolArray, FloatArray, IntArray
from lifelong_gym.tasks.task_set import TaskSet

DEFAULT_SIGMA = 0.3
LEAST_LOGIT = -700.0  # less the row's largest; beyond, `exp` knows no number


@dataclass(frozen=True)
class LinearPolicies:
    """Linear-Gaussian policies ``a = theta phi + sigma noise``.

    Attributes:
        theta: gains, shape (n_tasks, n_action * n_features).
        sigma: standard deviation, in units of a.
        bias: whether the features end with the constant 1.
    """

    theta: FloatArray
    sigma: float
    bias: bool


@dataclass(frozen=True)
class SoftmaxPolicies:
    """Tables over finitely many observations and actions.

    Attributes:
        probabilities: of each action, shape (n_tasks, n_observations, n_actions).
        thresholds: their sums up to each action: a uniform takes the first action whose threshold is above it.
    """

    probabilities: FloatArray
    thresholds: FloatArray

    @classmethod
    def of(cls, logits: FloatArray) -> SoftmaxPolicies:
        """Probabilities in proportion to exponentials, the same bits on every machine."""
        with np.errstate(over="ignore"):  # a difference beyond the largest float is beyond the least logit too
            below = logits - logits.max(axis=-1, keepdims=True)
        weights = numpy_math.exp(np.maximum(below, LEAST_LOGIT))
        sums = np.cumsum(weights, axis=-1)
        return cls(weights / sums[..., -1:], sums / sums[..., -1:])

    @property
    def n_actions(self) -> int:
        """To choose from."""
        return self.probabilities.shape[2]


@dataclass(frozen=True)
class RolloutPlan:
    """Checked arguments; n = n_tasks * n_trajectories.

    Attributes:
        family, tasks: what runs.
        task, uid, visit: of each trajectory, shape (n,).
        key: Philox key of the seed.
        policies: one a task.
        states: start states (n, n_state), or None.
        horizon: steps.
        weights: shape (n, horizon), or None: all 1.
        reward: its name, or None.
    """

    family: KernelFamily
    tasks: TaskSet
    task: IntArray
    uid: IntArray
    visit: IntArray
    key: tuple[int, int]
    policies: LinearPolicies | SoftmaxPolicies
    states: FloatArray | None
    horizon: int
    weights: FloatArray | None
    reward: str | None


@dataclass(frozen=True)
class LinearSums:
    """Sums over each trajectory of a linear-Gaussian policy, shape (n, ...).

    Attributes:
        returns: sum of rewards.
        steps: steps up to and including the failing or terminating one.
        noise_features: ``sum_t w_t noise_t phi_t'`` over those steps, flattened.
        features_squared: packed upper triangle of ``sum_t w_t phi_t phi_t'``.
    """

    returns: FloatArray
    steps: IntArray
    noise_features: FloatArray
    features_squared: FloatArray

    @staticmethod
    def columns(plan: RolloutPlan, policies: LinearPolicies) -> FloatArray:
        """Room for these sums side by side."""
        n_features = plan.family.observations.size + policies.bias
        return np.zeros((len(plan.task), 2 + policies.theta.shape[1] + n_features * (n_features + 1) // 2))

    @classmethod
    def split(cls, policies: LinearPolicies, columns: FloatArray) -> LinearSums:
        """From an array whose columns hold these sums side by side."""
        n_theta = policies.theta.shape[1]
        steps = columns[:, 1].astype(np.int64)
        return cls(columns[:, 0], steps, columns[:, 2 : 2 + n_theta], columns[:, 2 + n_theta :])


@dataclass(frozen=True)
class SoftmaxSums:
    """Sums over each trajectory of a table of logits, shape (n, ...).

    Attributes:
        returns, steps: as those of `LinearSums`; side by side they are the columns of ``totals``.
        visits: steps by observation and action, shape (n, n_observations * n_actions).
        weighted_visits: their weights, or None: all weights are 1.
    """

    totals: FloatArray
    visits: IntArray
    weighted_visits: FloatArray | None

    @property
    def returns(self) -> FloatArray:
        """Sum of rewards."""
        return self.totals[:, 0]

    @property
    def steps(self) -> IntArray:
        """Steps up to and including the failing or terminating one."""
        return self.totals[:, 1].astype(np.int64)

    @classmethod
    def empty(cls, plan: RolloutPlan, policies: SoftmaxPolicies) -> SoftmaxSums:
        """Zeros."""
        n, cells = len(plan.task), policies.probabilities[0].size
        weighted = None if plan.weights is None else np.zeros((n, cells))
        return cls(np.zeros((n, 2)), np.zeros((n, cells), np.int64), weighted)


RolloutSums = LinearSums | SoftmaxSums


@dataclass(frozen=True)
class TrajectoryArrays:
    """Trajectories, shape (n, time, ...).

    Attributes:
        observations: float64, (n, horizon + 1, n_observation).
        actions: as the env takes them, float64, (n, horizon, n_action).
        rewards: (n, horizon).
        alive: bool, (n, horizon): steps up to and including the failing or terminating one.
    """

    observations: FloatArray
    actions: FloatArray
    rewards: FloatArray
    alive: BoolArray

    @classmethod
    def empty(cls, plan: RolloutPlan) -> TrajectoryArrays:
        """Room for a plan's trajectories."""
        n, horizon = len(plan.task), plan.horizon
        return cls(
            np.empty((n, horizon + 1, plan.family.observations.size)),
            np.empty((n, horizon, plan.family.actions.size)),
            np.empty((n, horizon)),
            np.empty((n, horizon), bool),
        )


def lacking(family: Family) -> FamilyError:
    """A family gave an observation that no table has a row for."""
    return FamilyError(f"{type(family).__name__}: an observation isn't in {family.observations.space}")


def theta_shape(family: Family, bias: bool = True) -> tuple[int, ...] | None:
    """Shape of one task's ``theta`` in `rollout`; None: there are no policies for the family's spaces.

    Gains of a linear-Gaussian policy, row-major, (n_action * n_features,), where actions are continuous and there are
    no images; a table of logits, (n_observations, n_actions), where observations and actions are discrete.
    """
    actions, observations = family.actions, family.observations
    if actions.bound and not observations.is_image:
        return (actions.size * (observations.size + bias),)
    if isinstance(actions, Discrete) and isinstance(observations, Discrete):
        return observations.n, actions.n
    return None


def plan_of(
    kind: Family,
    tasks: TaskSet,
    theta: npt.ArrayLike,
    n_trajectories: int,
    sigma: float | None,
    horizon: int | None,
    states: npt.ArrayLike | None,
    weights: npt.ArrayLike | None,
    bias: bool,
    reward: str | None,
    seed: int,
    first_visit: int,
) -> RolloutPlan:
    """Check the arguments of `rollout`, ``states`` being the initial ones.

    Raises:
        ValueError: of the wrong shape, type, out of range or not finite.
    """
    family = kernel_of(kind, "a rollout")
    n_trajectories, first_visit = integer("n_trajectories", n_trajectories), integer("first_visit", first_visit, 0)
    horizon = family.horizon if horizon is None else integer("horizon", horizon)
    n_tasks, n = len(tasks), len(tasks) * n_trajectories
    policies = _policies(family, n_tasks, theta, sigma, bias)
    task = np.repeat(np.arange(n_tasks), n_trajectories)
    if states is not None:
        states = _broadcast("initial_states", states, (n_tasks, n_trajectories, len(family.state))).reshape(n, -1)
        for state in _distinct(states):
            family.check_state(state)
    if weights is not None:
        weights = _broadcast("weights", weights, (n_tasks, n_trajectories, horizon)).reshape(n, -1)
    return RolloutPlan(
        family=family,
        tasks=tasks,
        task=task,
        uid=tasks.uids[task],
        visit=first_visit + np.tile(np.arange(n_trajectories), n_tasks),
        key=philox.row_key(integer("seed", seed, 0, most=None)),
        policies=policies,
        states=states,
        horizon=horizon,
        weights=weights,
        reward=reward_name(family, tasks.preset, reward),
    )


def _distinct(states: FloatArray) -> FloatArray:
    """Each row once, in their order; to sort them, as NumPy does, takes a quarter of a search for policies."""
    data, width = states.tobytes(), max(states.itemsize * states.shape[1], 1)
    rows = dict.fromkeys(data[first : first + width] for first in range(0, len(data), width))
    return np.frombuffer(b"".join(rows)).reshape(len(rows), states.shape[1])


def _policies(
    family: KernelFamily, n_tasks: int, theta: npt.ArrayLike, sigma: float | None, bias: bool
) -> LinearPolicies | SoftmaxPolicies:
    shape = theta_shape(family, bias)
    if shape is None:
        kinds = f"{type(family.observations).__name__} observations and {type(family.actions).__name__} actions"
        raise ValueError(
            "`family` must have continuous actions and no images, or discrete observations and actions. "
            f"Received {type(family).__name__} of {kinds}"
        )
    if family.actions.bound:
        sigma = DEFAULT_SIGMA if sigma is None else sigma
        if not 0 <= as_float(sigma) < np.inf:
            raise ValueError(f"`sigma` must be finite and not negative. Received {sigma}")
        return LinearPolicies(_broadcast("theta", theta, (n_tasks, *shape)), float(sigma), bias)
    if sigma is not None or not bias:
        name, value = ("bias", bias) if sigma is None else ("sigma", sigma)
        raise ValueError(f"`{name}` is for linear policies: tables of logits have none. Received {value}")
    given = floats("theta", theta)
    if given.shape not in (shape, (1, *shape), (n_tasks, *shape)):
        raise ValueError(f"`theta` must have shape {(n_tasks, *shape)} or {shape}. Received {given.shape}")
    return SoftmaxPolicies.of(_broadcast("theta", given, (n_tasks, *shape)))


def _broadcast(name: str, given: npt.ArrayLike, shape: tuple[int, ...]) -> FloatArray:
    array = floats(name, given)
    if not np.isfinite(array).all():
        raise ValueError(f"`{name}` must be finite. Received {array[~np.isfinite(array)][0]}")
    try:  # numba compiles anew for what is read-only: a copy, then
        return np.require(array if array.shape == shape else np.broadcast_to(array, shape), requirements=("C", "W"))
    except ValueError:
        raise ValueError(f"`{name}` must have shape {shape}. Received {array.shape}") from None
