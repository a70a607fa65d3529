"""From differential equations to steps: classical Runge-Kutta, and the exact solution of linear systems."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lifelong_gym.envs.family import Groups
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.numerics.scalar import HALF, SIXTH, THIRD, Vector, add, matvec, scale

SERIES_TERMS = 14  # with norms of at most 1/2 the next term is below 5e-17
CHUNK = 4096  # tasks whose matrices fit into a core's cache


def rk4(derivative: Callable[..., Any], state: Vector, inputs: Vector, k: Vector, dt: float) -> Vector:
    """One step of the classical Runge-Kutta method with the inputs held.

    Args:
        derivative: ``(state, inputs, k)`` to the state's rate of change.
        state: at the beginning of the step.
        inputs: constant during the step.
        k: constants of the system.
        dt: step in seconds.
    """
    return rk4_between(derivative, state, inputs, inputs, inputs, k, dt)


def rk4_between(
    derivative: Callable[..., Any], state: Vector, first: Vector, middle: Vector, last: Vector, k: Vector, dt: float
) -> Vector:
    """`rk4` where the inputs move as is known: they are those at the step's beginning, in its middle and at its end."""
    a = derivative(state, first, k)
    b = derivative(add(state, scale(HALF * dt, a)), middle, k)
    c = derivative(add(state, scale(HALF * dt, b)), middle, k)
    d = derivative(add(state, scale(dt, c)), last, k)
    slope = add(scale(SIXTH, add(a, d)), scale(THIRD, add(b, c)))
    return add(state, scale(dt, slope))


def linear_step(state: Vector, inputs: Vector, system: Vector, input_matrix: Vector) -> Vector:
    """``A x + B u`` with the row-major matrices of `zero_order_hold`."""
    return add(matvec(system, state), matvec(input_matrix, inputs))


def zero_order_hold(a: FloatArray, b: FloatArray, dt: float) -> Groups:
    """The groups of `linear_step` that solve ``x' = a x + b u`` exactly while u is held.

    Scaling and squaring of the power series in elementwise IEEE arithmetic: a task's constants depend neither
    on the tasks beside it nor on the machine, and a million of them take seconds where ``scipy.linalg.expm``
    takes minutes.

    Args:
        a: shape (n, n, n_tasks).
        b: shape (n, m, n_tasks).
        dt: step in seconds.

    Returns:
        ``system`` (n * n columns) and ``input_matrix`` (n * m columns), row by row.
    """
    n_tasks = a.shape[2]
    system, inputs = np.empty_like(a), np.empty_like(b)
    for first in range(0, n_tasks, CHUNK):
        some = slice(first, first + CHUNK)
        system[..., some], integral = _exponential(a[..., some], dt)
        inputs[..., some] = _product(integral, b[..., some])
    return {"system": tuple(system.reshape(-1, n_tasks)), "input_matrix": tuple(inputs.reshape(-1, n_tasks))}


def _exponential(a: FloatArray, dt: float) -> tuple[FloatArray, FloatArray]:
    """``exp(a t)`` at t = dt, and its integral over t from 0 to dt."""
    _, exponent = np.frexp(dt * np.abs(a).sum(axis=1).max(axis=0))
    halvings = np.maximum(exponent + 1, 0)
    step = np.ldexp(dt, -halvings)
    scaled = a * step
    identity = np.eye(len(a))[:, :, None]
    series = identity + scaled / SERIES_TERMS
    for k in range(SERIES_TERMS - 1, 1, -1):
        series = identity + _product(scaled, series) / k
    power, integral = identity + _product(scaled, series), series * step
    for done in range(int(halvings.max())):
        doubles = done < halvings
        integral = np.where(doubles, integral + _product(power, integral), integral)
        power = np.where(doubles, _product(power, power), power)
    return power, integral


def _product(a: FloatArray, b: FloatArray) -> FloatArray:
    """Matrix products over the last axis, summed from left to right."""
    result: FloatArray = a[:, 0, None] * b[None, 0]
    for j in range(1, a.shape[1]):
        result = result + a[:, j, None] * b[None, j]
    return result
