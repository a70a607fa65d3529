"""Linear-quadratic regulators about the goal, as linear policies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import scipy.linalg

from lifelong_gym.envs.backends.arrays import bind_arrays
from lifelong_gym.envs.backends.text import Program
from lifelong_gym.envs.family import Constants, Family, kernel_of
from lifelong_gym.envs.spaces import ActionCodec
from lifelong_gym.errors import unknown
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.tasks.task_set import TaskSet

EFFORT_WEIGHT = 0.1  # of the families' quadratic reward
DIFFERENCE = 1e-5
UNSEEN = 1e-8  # relative: sensors that differences of one step, right to 1e-11, can't tell from none


def continuous(family: Family) -> ActionCodec:
    """The family's actions; raises `ValueError` unless they are continuous."""
    if not family.actions.bound:
        raise ValueError(f"`family` must have continuous actions. Received {type(family).__name__}")
    return family.actions


class Linearised(NamedTuple):
    """Tasks about their goals: ``e' = A e + B a + drift`` with ``e = x - x*``, and ``y = C e + level``.

    The state x is without the family's clock, which nobody can steer.

    Attributes:
        transition: A, shape (n_tasks, n, n).
        actuation: B, shape (n_tasks, n, m).
        drift: shape (n_tasks, n); zero where the goal is an equilibrium.
        sensors: C, shape (n_tasks, n_observations, n).
        level: observation at the goal, shape (n_tasks, n_observations).
        weights: of the errors e, which the quadratic reward sums up as ``(weights * e)^2``, shape (n_tasks, n).
    """

    transition: FloatArray
    actuation: FloatArray
    drift: FloatArray
    sensors: FloatArray
    level: FloatArray
    weights: FloatArray

    @classmethod
    def of(cls, family: Family, tasks: TaskSet) -> Linearised:
        """By central differences of one step at the goal, without action.

        Raises:
            ValueError: discrete actions, or no goal.
        """
        n_action = continuous(family).size
        kernel = kernel_of(family, "a linear model")
        if "goal" not in Constants.of(family, tasks.values).groups:
            raise ValueError(f"`family` must have a group of constants `goal`. Received {type(family).__name__}")
        program = Program.of(kernel, tasks)
        kernels, data = bind_arrays(program.text), program.on_arrays(program.tables.slots)
        goal = program.constants[program.tables.slots, program.groups["goal"]]
        n = goal.shape[1]

        def follow(x: FloatArray) -> FloatArray:
            return _stacked(kernels.transition(tuple(x[:, :n].T), tuple(x[:, n:].T), (0.5,) * kernel.n_noise, *data))

        def observe(x: FloatArray) -> FloatArray:
            return _stacked(kernels.observation(tuple(x[:, :n].T), *data))

        at = np.concatenate([goal, np.zeros((len(tasks), n_action))], axis=1)
        system, sensors, drift = _jacobian(follow, at), _jacobian(observe, at), follow(at) - goal
        moved = [i for i, channel in enumerate(family.state) if channel.name != kernel.clock]
        system, drift = system[:, moved], drift[:, moved]
        weights = np.ones_like(goal)
        if "weights" in program.groups:
            weights = program.constants[program.tables.slots, program.groups["weights"]]
        return cls(system[..., moved], system[..., n:], drift, sensors[..., moved], observe(at), weights[:, moved])

    def closed_loop(self, theta: FloatArray, scale: FloatArray) -> FloatArray:
        """``A + B W C`` under linear policies on ``(y / c, 1)`` or ``y / c``: (n_tasks, n, n).

        Args:
            theta: shape (n_tasks, n_action * n_features).
            scale: c, shape (n_observations,).
        """
        n_observations = self.sensors.shape[1]
        gains = theta.reshape(len(theta), self.actuation.shape[2], -1)[..., :n_observations] / scale
        return np.asarray(self.transition + self.actuation @ gains @ self.sensors, np.float64)


def scale_of(family: Family) -> FloatArray:
    """The scale c of the family's features ``y / c``, shape (n_observations,)."""
    return np.array(family.feature_scale or (1.0,) * family.observations.size)


def lqr_policies(family: Family, tasks: TaskSet, *, time: str = "discrete", bias: bool = True) -> FloatArray:
    """The policies that are optimal for the quadratic reward ``-|x - x*|^2 - 0.1 |a|^2`` near each task's goal.

    Errors are weighted as by the family's group of constants ``weights``, where it has one.
    Where the goal is no equilibrium they hold the state that costs least. A task whose linearisation can't be
    stabilised gets the policy that does nothing.

    Args:
        family: with continuous actions and a group of constants ``goal``.
        tasks: the tasks.
        time: ``"discrete"``, exact for steps; ``"continuous"``: the usual regulator of the differential equation whose
            steps these are (`scipy.linalg.solve_continuous_are`), which overshoots where steps are long for so strong
            a control.
        bias: whether the features end with the constant 1.

    Returns:
        theta in units of a, on the features ``(y / c, 1)`` or ``y / c``: (n_tasks, n_action * n_features).

    Raises:
        ValueError: discrete actions, no goal, or no such time.
    """
    regulators = {"discrete": _discrete, "continuous": _continuous}
    if time not in regulators:
        raise unknown("time", time, regulators)
    tangent = Linearised.of(family, tasks)
    systems = zip(tangent.transition, tangent.actuation, tangent.drift, tangent.weights, strict=True)
    gains, biases = (np.stack(part) for part in zip(*[_solved(regulators[time], *s) for s in systems], strict=True))
    by_sensor = gains @ np.linalg.pinv(tangent.sensors, rcond=UNSEEN)  # x - x* from y - y*
    biases += (by_sensor @ tangent.level[..., None])[..., 0]
    weights = [-by_sensor * scale_of(family), biases[..., None]]
    return np.concatenate(weights if bias else weights[:1], axis=-1).reshape(len(tasks), -1)


def _stacked(columns: tuple[Any, ...]) -> FloatArray:
    return np.stack(np.broadcast_arrays(*columns), axis=-1)


def _jacobian(function: Callable[[FloatArray], FloatArray], at: FloatArray) -> FloatArray:
    """Central differences, (n_tasks, n_out, n_in)."""
    moves = DIFFERENCE * np.eye(at.shape[1])
    return np.stack([(function(at + move) - function(at - move)) / (2 * DIFFERENCE) for move in moves], axis=-1)


Regulator = Callable[[FloatArray, FloatArray, FloatArray, FloatArray], tuple[FloatArray, FloatArray]]


def _solved(
    regulator: Regulator, a: FloatArray, b: FloatArray, drift: FloatArray, weights: FloatArray
) -> tuple[FloatArray, FloatArray]:
    n, m = b.shape
    try:
        return regulator(a, b, drift, np.diag(np.square(weights)))
    except np.linalg.LinAlgError:
        return np.zeros((m, n)), np.zeros(m)


def _discrete(a: FloatArray, b: FloatArray, drift: FloatArray, error: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Gain and bias of the action ``bias - gain e`` that is optimal on average for ``e' = a e + b u + drift``.

    The cost to go is ``e' P e + 2 p' e``: P solves the Riccati equation, p is linear in the drift.
    """
    n, m = b.shape
    effort = EFFORT_WEIGHT * np.eye(m)
    cost = scipy.linalg.solve_discrete_are(a, b, error, effort)
    to_action = np.linalg.solve(effort + b.T @ cost @ b, b.T)
    gain = to_action @ cost @ a
    closed = a - b @ gain
    linear = np.linalg.solve(np.eye(n) - closed.T, closed.T @ cost @ drift)
    return gain, np.asarray(-to_action @ (cost @ drift + linear), np.float64)


def _continuous(a: FloatArray, b: FloatArray, drift: FloatArray, error: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The same for the differential equation of which ``a``, ``b`` and ``drift`` are a step with the action held.

    Time counts in steps, so that the cost's integral is about its sum.
    """
    n, m = b.shape
    held = np.zeros((n + m + 1, n + m + 1))
    held[:n] = np.column_stack([a, b, drift])
    held[n:, n:] = np.eye(m + 1)
    flow = np.real(scipy.linalg.logm(held))[:n]
    rate, push, wind = flow[:, :n], flow[:, n : n + m], flow[:, -1]
    cost = scipy.linalg.solve_continuous_are(rate, push, error, EFFORT_WEIGHT * np.eye(m))
    to_action = push.T / EFFORT_WEIGHT
    gain = to_action @ cost
    linear = np.linalg.solve((push @ gain - rate).T, cost @ wind)
    return gain, np.asarray(-to_action @ linear, np.float64)
