"""Rollouts on NumPy: the same numbers as the fused ones, step by step."""

from __future__ import annotations

from typing import Any

import numpy as np

from lifelong_gym.envs.backends.arrays import bind_arrays
from lifelong_gym.envs.backends.kernels import Kernels, bind_policy, pick
from lifelong_gym.envs.backends.rollout_plan import (
    LinearPolicies,
    LinearSums,
    RolloutPlan,
    RolloutSums,
    SoftmaxPolicies,
    SoftmaxSums,
    TrajectoryArrays,
    lacking,
)
from lifelong_gym.envs.backends.text import Program
from lifelong_gym.numerics import numpy_math, philox
from lifelong_gym.numerics.arrays import BoolArray, FloatArray
from lifelong_gym.numerics.scalar import outer, packed_square


def sums(plan: RolloutPlan) -> RolloutSums:
    """Sums over each trajectory."""
    return _run(plan, None)


def trajectories(plan: RolloutPlan) -> TrajectoryArrays:
    """Everything that happened."""
    arrays = TrajectoryArrays.empty(plan)
    _run(plan, arrays)
    return arrays


def _run(plan: RolloutPlan, arrays: TrajectoryArrays | None) -> RolloutSums:
    n, family = len(plan.task), plan.family
    program = Program.of(family, plan.tasks, plan.reward)
    kernels = bind_arrays(program.text)
    policies: Any = (_Linear if isinstance(plan.policies, LinearPolicies) else _Softmax)(plan, program, kernels)
    data = program.on_arrays(program.tables.slots[plan.task])
    noise = numpy_math.uniforms(family.n_initial_noise, 0, plan.uid, plan.visit, philox.INITIAL, plan.key)
    state = kernels.initial(noise, *data) if plan.states is None else tuple(plan.states.T)
    failed, running, alive = np.zeros(n, bool), np.ones(n, bool), np.ones(n, bool)
    for t in range(plan.horizon):
        action = policies.act(t, state, data)
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
        policies.add(reward, alive, np.ones(n) if plan.weights is None else plan.weights[:, t])
        running = running & ~np.asarray(terminated)
        alive = alive & ~(terminated | failed)
        if arrays is None and not running.any():
            break
    if arrays is not None:
        _put(arrays.observations[:, plan.horizon], kernels.observation(state, *data))
    result: RolloutSums = policies.sums()
    return result


class _Linear:
    """Linear-Gaussian policies; draw d of their noise is element ``d % 2`` of pair ``d // 2``."""

    def __init__(self, plan: RolloutPlan, program: Program, kernels: Kernels) -> None:
        assert isinstance(plan.policies, LinearPolicies)
        self._plan, self._policies = plan, plan.policies
        self._features, self._act = bind_policy(program.text, kernels, plan.policies.bias)
        self._theta = tuple(plan.policies.theta[plan.task].T)
        self._left: list[Any] = []
        self._pair = 0
        self._columns = LinearSums.columns(plan, plan.policies)

    def act(self, t: int, state: Any, data: Any) -> tuple[Any, ...]:
        """What all do at step ``t``."""
        self._phi = self._features(state, *data)
        self._normal = self._next_normals()
        action: tuple[Any, ...] = self._act(self._phi, self._theta, self._policies.sigma, self._normal)
        return action

    def _next_normals(self) -> tuple[Any, ...]:
        plan, n = self._plan, self._plan.family.actions.size
        while len(self._left) < n:
            self._left += numpy_math.normal_pair(self._pair, plan.uid, plan.visit, philox.POLICY, *plan.key)
            self._pair += 1
        drawn, self._left = tuple(self._left[:n]), self._left[n:]
        return drawn

    def add(self, reward: FloatArray, alive: BoolArray, weight: FloatArray) -> None:
        """Add the step up."""
        counted = np.where(alive, weight, 0.0)
        products: tuple[Any, ...] = *outer(self._normal, self._phi), *packed_square(self._phi)
        for i, column in enumerate((reward, alive, *[counted * x for x in products])):
            self._columns[:, i] += column

    def sums(self) -> LinearSums:
        """Of all steps."""
        return LinearSums.split(self._policies, self._columns)


class _Softmax:
    """Tables of logits; draw t of their noise is element ``t % 2`` of pair ``t // 2``."""

    def __init__(self, plan: RolloutPlan, program: Program, kernels: Kernels) -> None:
        assert isinstance(plan.policies, SoftmaxPolicies)
        self._plan, self._observation = plan, kernels.observation
        self._pick = kernels.binder.bind(pick)
        self._thresholds = plan.policies.thresholds.reshape(-1)
        self._shape = plan.policies.thresholds.shape[1:]
        self._rows = np.arange(len(plan.task))
        self._sums = SoftmaxSums.empty(plan, plan.policies)

    def act(self, t: int, state: Any, data: Any) -> tuple[Any, ...]:
        """What all do at step ``t``."""
        plan, (n_observations, n_actions) = self._plan, self._shape
        if t % 2 == 0:
            self._pair = numpy_math.uniform_pair(t // 2, plan.uid, plan.visit, philox.POLICY, *plan.key)
        seen = np.broadcast_to(self._observation(state, *data)[0], len(self._rows))
        if not ((seen >= 0) & (seen < n_observations)).all():
            raise lacking(plan.family)
        self._at = seen.astype(np.int64) * n_actions
        start = plan.task * (n_observations * n_actions) + self._at
        action = self._pick(self._thresholds, start, n_actions, self._pair[t % 2])
        self._at = self._at + np.asarray(action).astype(np.int64)
        return (action,)

    def add(self, reward: FloatArray, alive: BoolArray, weight: FloatArray) -> None:
        """Add the step up."""
        sums = self._sums
        sums.totals[:, 0] += reward
        sums.totals[:, 1] += alive
        at = self._rows[alive], self._at[alive]
        sums.visits[at] += 1
        if sums.weighted_visits is not None:
            sums.weighted_visits[at] += weight[alive]

    def sums(self) -> SoftmaxSums:
        """Of all steps."""
        return self._sums


def _put(out: FloatArray, columns: tuple[Any, ...]) -> None:
    for i, column in enumerate(columns):
        out[:, i] = column
