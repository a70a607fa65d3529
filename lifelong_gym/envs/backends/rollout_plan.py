"""What a rollout computes from and into, flat over (task, trajectory), whatever the backend."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lifelong_gym.envs.family import KernelFamily
from lifelong_gym.numerics.arrays import BoolArray, FloatArray, IntArray
from lifelong_gym.tasks.task_set import TaskSet


@dataclass(frozen=True)
class RolloutPlan:
    """Checked arguments; n = n_tasks * n_trajectories.

    Attributes:
        family, tasks: what runs.
        task, uid, visit: of each trajectory, shape (n,).
        key: Philox key of the seed.
        theta: shape (n_tasks, n_action * n_features).
        states: start states (n, n_state), or None.
        sigma: standard deviation of the policy, in units of a.
        horizon: steps.
        weights: shape (n, horizon), or None: all 1.
        bias: whether the features end with the constant 1.
        reward: its name, or None.
    """

    family: KernelFamily
    tasks: TaskSet
    task: IntArray
    uid: IntArray
    visit: IntArray
    key: tuple[int, int]
    theta: FloatArray
    states: FloatArray | None
    sigma: float
    horizon: int
    weights: FloatArray | None
    bias: bool
    reward: str | None

    @property
    def n_features(self) -> int:
        """Features of the policy."""
        return self.family.observations.size + self.bias


@dataclass(frozen=True)
class RolloutSums:
    """Sums over each trajectory, shape (n, ...).

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

    @classmethod
    def split(cls, plan: RolloutPlan, columns: FloatArray) -> RolloutSums:
        """From an array whose columns hold these sums side by side."""
        n_theta = plan.theta.shape[1]
        steps = columns[:, 1].astype(np.int64)
        return cls(columns[:, 0], steps, columns[:, 2 : 2 + n_theta], columns[:, 2 + n_theta :])


@dataclass(frozen=True)
class TrajectoryArrays:
    """Trajectories, shape (n, time, ...).

    Attributes:
        observations: float64, (n, horizon + 1, n_observation).
        actions: u in [-1, 1], float64, (n, horizon, n_action).
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
