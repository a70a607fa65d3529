"""Rollouts of linear-Gaussian policies on NumPy: the same numbers as the fused ones, step by step."""

from __future__ import annotations

from typing import Any

import numpy as np

from lifelong_gym.envs.backends.kernels import bind_family, bind_policy
from lifelong_gym.envs.backends.rollout_plan import RolloutPlan, RolloutSums, TrajectoryArrays
from lifelong_gym.envs.backends.text import Program
from lifelong_gym.numerics import numpy_math, philox
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.numerics.scalar import outer, packed_square


def sums(plan: RolloutPlan) -> RolloutSums:
    """Sums over each trajectory."""
    n = len(plan.task)
    n_fisher = plan.n_features * (plan.n_features + 1) // 2
    columns = np.zeros((n, 2 + plan.theta.shape[1] + n_fisher))
    _run(plan, columns, None)
    return RolloutSums.split(plan, columns)


def trajectories(plan: RolloutPlan) -> TrajectoryArrays:
    """Everything that happened."""
    arrays = TrajectoryArrays.empty(plan)
    _run(plan, None, arrays)
    return arrays


def _run(plan: RolloutPlan, columns: FloatArray | None, arrays: TrajectoryArrays | None) -> None:
    n, family = len(plan.task), plan.family
    program = Program.of(family, plan.tasks, plan.reward)
    kernels = bind_family(program.text, numpy_math.binder())
    features, act = bind_policy(program.text, kernels, plan.bias)
    slots, theta = program.tables.slots[plan.task], tuple(plan.theta[plan.task].T)
    data = program.on_arrays(slots)
    noise = numpy_math.uniforms(family.n_initial_noise, 0, plan.uid, plan.visit, philox.INITIAL, plan.key)
    state = kernels.initial(noise, *data) if plan.states is None else tuple(plan.states.T)
    failed, running, alive = np.zeros(n, bool), np.ones(n, bool), np.ones(n, bool)
    normals = _Normals(plan)
    for t in range(plan.horizon):
        phi = features(state, *data)
        normal = normals.next()
        action = act(phi, theta, plan.sigma, normal)
        if arrays is not None:
            _put(arrays.observations[:, t], kernels.observation(state, *data))
            _put(arrays.actions[:, t], action)
            arrays.alive[:, t] = alive
        if kernels.exogenous is None:
            noise = numpy_math.uniforms(family.n_noise, t, plan.uid, plan.visit, philox.TRANSITION, plan.key)
        else:
            noise = kernels.exogenous(state, *data)
        state, reward, terminated, failed = kernels.advance(state, action, noise, *data, failed)
        reward = np.where(running, reward, 0.0)
        if arrays is not None:
            arrays.rewards[:, t] = reward
        if columns is not None:
            weight = np.where(alive, 1.0 if plan.weights is None else plan.weights[:, t], 0.0)
            _add(columns, (reward, alive, *[weight * x for x in (*outer(normal, phi), *packed_square(phi))]))
        running = running & ~np.asarray(terminated)
        alive = alive & ~(terminated | failed)
    if arrays is not None:
        _put(arrays.observations[:, plan.horizon], kernels.observation(state, *data))


class _Normals:
    """The policy noise of an episode: draw d is element ``d % 2`` of pair ``d // 2``."""

    def __init__(self, plan: RolloutPlan) -> None:
        self._plan = plan
        self._left: list[Any] = []
        self._pair = 0

    def next(self) -> tuple[Any, ...]:
        """The normals of the next step, one array an action."""
        plan = self._plan
        while len(self._left) < plan.family.actions.size:
            self._left += numpy_math.normal_pair(self._pair, plan.uid, plan.visit, philox.POLICY, *plan.key)
            self._pair += 1
        drawn = tuple(self._left[: plan.family.actions.size])
        self._left = self._left[plan.family.actions.size :]
        return drawn


def _put(out: FloatArray, columns: tuple[Any, ...]) -> None:
    for i, column in enumerate(columns):
        out[:, i] = column


def _add(out: FloatArray, columns: tuple[Any, ...]) -> None:
    for i, column in enumerate(columns):
        out[:, i] += column
