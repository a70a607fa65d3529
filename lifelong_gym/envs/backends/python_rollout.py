"""Rollouts on plain Python floats, a trajectory at a time: slow, and easy to look into."""

from __future__ import annotations

from typing import Any

from lifelong_gym.envs.backends.kernels import Kernels, bind_family, bind_policy, pick
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
from lifelong_gym.envs.backends.simulator_rows import EpisodeStream
from lifelong_gym.envs.backends.table_views import row_tables
from lifelong_gym.envs.backends.text import Program
from lifelong_gym.numerics import philox
from lifelong_gym.numerics.bind import Binder
from lifelong_gym.numerics.scalar import Vector, outer, packed_square


def sums(plan: RolloutPlan) -> RolloutSums:
    """Sums over each trajectory."""
    return _run(plan, None)


def trajectories(plan: RolloutPlan) -> TrajectoryArrays:
    """Everything that happened."""
    arrays = TrajectoryArrays.empty(plan)
    _run(plan, arrays)
    return arrays


def _run(plan: RolloutPlan, arrays: TrajectoryArrays | None) -> RolloutSums:
    program = Program.of(plan.family, plan.tasks, plan.reward)
    kernels = bind_family(program.text, Binder({}))
    policies: Any = (_Linear if isinstance(plan.policies, LinearPolicies) else _Softmax)(plan, program, kernels)
    for i in range(len(plan.task)):
        _run_one(plan, i, program, kernels, policies, arrays)
    result: RolloutSums = policies.sums()
    return result


def _run_one(
    plan: RolloutPlan, i: int, program: Program, kernels: Kernels, policies: Any, arrays: TrajectoryArrays | None
) -> None:
    """Trajectory number ``i``."""
    family, slot = plan.family, int(program.tables.slots[plan.task[i]])
    data = tuple(program.constants[slot].tolist()), row_tables(program.tables, slot)
    stream = EpisodeStream(int(plan.uid[i]), int(plan.visit[i]), plan.key)
    if plan.states is None:
        state = kernels.initial(stream.uniforms(family.n_initial_noise, philox.INITIAL), *data)
    else:
        state = tuple(plan.states[i].tolist())
    failed, running, alive = False, True, True
    for t in range(plan.horizon):
        if arrays is not None:
            arrays.observations[i, t], arrays.alive[i, t] = kernels.observation(state, *data), alive
        elif not running:
            return
        action = policies.act(i, t, state, data, stream)
        if kernels.exogenous is None:
            noise = stream.uniforms(family.n_noise, philox.TRANSITION, t)
        else:
            noise = kernels.exogenous(state, *data)
        state, reward, terminated, failed = kernels.advance(state, action, noise, *data, failed)
        reward = reward if running else 0.0
        if arrays is not None:
            arrays.actions[i, t], arrays.rewards[i, t] = action, reward
        policies.add(i, reward, alive, 1.0 if plan.weights is None else float(plan.weights[i, t]))
        running = running and not terminated
        alive = alive and not (terminated or failed)
    if arrays is not None:
        arrays.observations[i, plan.horizon] = kernels.observation(state, *data)


class _Linear:
    """Linear-Gaussian policies; draw d of their noise is element ``d % 2`` of pair ``d // 2``."""

    def __init__(self, plan: RolloutPlan, program: Program, kernels: Kernels) -> None:
        assert isinstance(plan.policies, LinearPolicies)
        self._plan, self._policies = plan, plan.policies
        self._features, self._act = bind_policy(program.text, kernels, plan.policies.bias)
        self._columns = LinearSums.columns(plan, plan.policies)

    def act(self, i: int, t: int, state: Vector, data: Any, stream: EpisodeStream) -> Vector:
        """What trajectory ``i`` does at step ``t``."""
        theta, n = tuple(self._policies.theta[self._plan.task[i]].tolist()), self._plan.family.actions.size
        self._phi = self._features(state, *data)
        self._normal = tuple(self._draw(stream, t * n + j) for j in range(n))
        action: Vector = self._act(self._phi, theta, self._policies.sigma, self._normal)
        return action

    def _draw(self, stream: EpisodeStream, d: int) -> float:
        return philox.normal_pair(d // 2, stream.uid, stream.visit, philox.POLICY, *stream.key)[d % 2]

    def add(self, i: int, reward: float, alive: bool, weight: float) -> None:
        """Add the step up."""
        weight = weight if alive else 0.0
        products = *outer(self._normal, self._phi), *packed_square(self._phi)
        self._columns[i] += (reward, alive, *[weight * x for x in products])

    def sums(self) -> LinearSums:
        """Of all steps."""
        return LinearSums.split(self._policies, self._columns)


class _Softmax:
    """Tables of logits; draw t of their noise is element ``t % 2`` of pair ``t // 2``."""

    def __init__(self, plan: RolloutPlan, program: Program, kernels: Kernels) -> None:
        assert isinstance(plan.policies, SoftmaxPolicies)
        self._plan, self._observation = plan, kernels.observation
        self._thresholds = plan.policies.thresholds.reshape(-1).data
        self._shape = plan.policies.thresholds.shape[1:]
        self._sums = SoftmaxSums.empty(plan, plan.policies)

    def act(self, i: int, t: int, state: Vector, data: Any, stream: EpisodeStream) -> Vector:
        """What trajectory ``i`` does at step ``t``."""
        n_observations, n_actions = self._shape
        (seen,) = self._observation(state, *data)
        if not 0 <= seen < n_observations:
            raise lacking(self._plan.family)
        uniform = philox.uniform_pair(t // 2, stream.uid, stream.visit, philox.POLICY, *stream.key)[t % 2]
        start = (int(self._plan.task[i]) * n_observations + int(seen)) * n_actions
        action = pick(self._thresholds, start, n_actions, uniform)
        self._at = int(seen) * n_actions + int(action)
        return (action,)

    def add(self, i: int, reward: float, alive: bool, weight: float) -> None:
        """Add the step up."""
        sums = self._sums
        sums.totals[i] += (reward, alive)
        if alive:
            sums.visits[i, self._at] += 1
            if sums.weighted_visits is not None:
                sums.weighted_visits[i, self._at] += weight

    def sums(self) -> SoftmaxSums:
        """Of all steps."""
        return self._sums
