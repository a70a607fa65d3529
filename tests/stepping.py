"""Control families stepped by the NumPy backend, without any env around them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from lifelong_gym.envs.backends.numpy_rows import NumpyRows
from lifelong_gym.envs.backends.rows import Clock, Episodes, Results
from lifelong_gym.envs.control.base import ControlFamily
from lifelong_gym.envs.control.cart_pole import CartPole
from lifelong_gym.envs.control.ch47 import CH47
from lifelong_gym.envs.control.double_inverted_pendulum import DoubleInvertedPendulum
from lifelong_gym.envs.control.double_mass import DoubleMass
from lifelong_gym.envs.control.quadrotor import Quadrotor
from lifelong_gym.envs.control.simple_mass import SimpleMass
from lifelong_gym.envs.spaces import Continuous
from lifelong_gym.numerics import philox
from lifelong_gym.numerics.arrays import BoolArray, FloatArray, IntArray
from lifelong_gym.numerics.scalar import Vector
from lifelong_gym.tasks.task_set import TaskSet

FAMILIES: tuple[ControlFamily, ...] = (
    SimpleMass(),
    DoubleMass(),
    CartPole(),
    DoubleInvertedPendulum(),
    CH47(),
    Quadrotor(),
)
each_family = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: type(family).__name__)

Policy = Callable[[FloatArray], FloatArray]  # observations (n_rows, n_state) -> actions u (n_rows, n_actions)


@dataclass(frozen=True)
class Trajectories:
    """What the rows went through.

    Attributes:
        states: (n_steps + 1, n_rows, n_state).
        observations: of the same shape, in float64.
        rewards: (n_steps, n_rows).
        failed: (n_steps, n_rows).
    """

    states: FloatArray
    observations: FloatArray
    rewards: FloatArray
    failed: BoolArray


def bound_of(family: ControlFamily) -> FloatArray:
    """The bound that turns u into a."""
    assert isinstance(family.actions, Continuous)
    return np.array(family.actions.bound)


def group(family: ControlFamily, name: str, **parameters: float) -> Vector:
    """One group of constants of one task; bounds of parameters aren't checked."""
    columns = {p.name: np.array([parameters.get(p.name, p.nominal)]) for p in family.parameters}
    return tuple(float(np.asarray(x).item()) for x in family.constants(columns)[name])


def random_actions(family: ControlFamily, scale: float, n_rows: int, seed: int = 0) -> FloatArray:
    """Uniform actions u in [-scale, scale], shape (150, n_rows, n_actions)."""
    return np.random.default_rng(seed).uniform(-scale, scale, (150, n_rows, len(bound_of(family))))


def simulate(
    family: ControlFamily,
    tasks: TaskSet,
    policy: Policy | FloatArray,
    rows: IntArray | None = None,
    states: FloatArray | None = None,
    reward: str | None = None,
    n_steps: int = 150,
) -> Trajectories:
    """Step a row per entry of ``rows``, the index of its task; by default one row a task.

    ``policy`` may be given as the actions themselves, (n_steps, n_rows, n_actions). All rows draw the same start,
    unless ``states`` gives their own.
    """
    indices = np.arange(len(tasks)) if rows is None else rows
    n = len(indices)
    zeros = np.zeros(n, np.int64)
    keys = np.tile(np.array(philox.row_key(0), np.uint64), (n, 1))
    engine = NumpyRows(family, tasks, n, reward, False)
    seen = np.zeros((n, len(family.state)))
    engine.restart(Episodes(np.arange(n), indices, zeros, zeros, keys, states), seen)
    path, views, rewards, failures = [engine.states()], [seen.copy()], [], []
    clock = Clock(n, n_steps)
    for step in range(n_steps):
        results = Results(seen, np.zeros(n), *np.zeros((3, n), bool))
        actions = policy[step] if isinstance(policy, np.ndarray) else policy(seen)
        engine.step(actions, np.ones(n, bool), clock, results)
        path.append(engine.states())
        views.append(seen.copy())
        rewards.append(results.rewards)
        failures.append(results.failed)
    return Trajectories(np.array(path), np.array(views), np.array(rewards), np.array(failures))
