"""The control families by physics engines: the kernel's episodes, and every promise within themselves."""

from __future__ import annotations

import gc
import pickle
import sys
from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import pettingzoo
import pytest
from scipy.integrate import solve_ivp

from lifelong_gym.envs.backends.simulator_rows import EpisodeStream, kernel_simulator
from lifelong_gym.envs.control.quadrotor import DT, Quadrotor, angular_inputs, derivative
from lifelong_gym.envs.engines.attitude import angles, quaternion, rotated
from lifelong_gym.envs.family import Constants, KernelFamily
from lifelong_gym.errors import LifelongGymError, MissingExtraError, UnknownNameError
from lifelong_gym.imports import load
from lifelong_gym.numerics import philox
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.registry import family
from lifelong_gym.testing import check_parity

CART_POLE, TWO_RODS, QUADROTOR = "LifelongCartPole-v0", "LifelongDoubleInvertedPendulum-v0", "LifelongQuadrotor-v0"
MASS, MASSES = "LifelongSimpleMass-v0", "LifelongDoubleMass-v0"
needs_pybullet = pytest.mark.skipif(sys.version_info >= (3, 13), reason="PyPI has no PyBullet for this Python")
ENGINES = ["mujoco", pytest.param("pybullet", marks=needs_pybullet)]
PAIRS = [
    *[(id, "mujoco") for id in (CART_POLE, TWO_RODS, QUADROTOR, MASS, MASSES)],
    *[pytest.param(id, "pybullet", marks=needs_pybullet) for id in (CART_POLE, TWO_RODS, QUADROTOR)],
]
TOLERANCE = {"mujoco": 1e-6, "pybullet": 0.02}  # of the limits; PyBullet's method is of first order


def make(id: str, n_rows: int = 3, **settings: Any) -> Any:
    """A vector env."""
    return gym.make_vec(id, num_envs=n_rows, **settings).unwrapped


def differences(kind: KernelFamily, physics: str, n_tasks: int, n_steps: int) -> Iterator[FloatArray]:
    """Largest difference from the kernel over the limits, per channel, of tasks of all presets, until one fails."""
    rng, presets = np.random.default_rng(0), list(kind.parameters.presets)
    engine = load(kind.simulators[physics])
    for number, preset in enumerate(presets):
        tasks = kind.parameters.sample(len(range(number, n_tasks, len(presets))), preset=preset)
        makers = kernel_simulator(kind, tasks, None, False), engine.maker(kind, tasks, None, False)
        for j in range(len(tasks)):
            ours, theirs = (maker(j) for maker in makers)
            for each in (ours, theirs):
                each.reset(EpisodeStream(j, 0, philox.row_key(number)))
            worst = np.zeros(len(kind.state))
            for step in range(n_steps):
                u = tuple(rng.uniform(-0.5, 0.5, kind.actions.size).tolist())
                if any([each.step(u, step)[2] for each in (ours, theirs)]):
                    break
                worst = np.maximum(worst, np.abs(np.subtract(ours.state, theirs.state)) / kind.state_limits)
            theirs.close()
            yield worst


@pytest.mark.parametrize(("id", "physics"), PAIRS)
def test_engines_follow_the_kernel(id: str, physics: str) -> None:
    """In tasks of all presets; of the quadrotor only its rates, angles are another test's."""
    kind = family(id)
    assert isinstance(kind, KernelFamily)
    n_tasks = 200 if physics == "mujoco" else 60  # a client of PyBullet's takes its time
    worst = np.array(list(differences(kind, physics, n_tasks, 10)))
    assert worst.shape == (n_tasks, len(kind.state))
    first, each = (1, 2) if id == QUADROTOR else (0, 1)
    assert worst[:, first::each].max() < TOLERANCE[physics]
    assert worst.max() > 0.0


@pytest.mark.parametrize("physics", ENGINES)
def test_attitudes_are_those_of_rigid_bodies(physics: str) -> None:
    """Rates by the kernel's derivative, angles by Euler's kinematics, both by SciPy; small angles as the kernel's."""
    kind, (rates, widths) = Quadrotor(), (np.array([1.0, -2.0, 1.5]), np.array([0.5, -0.4, 0.6]))
    tasks = kind.parameters.sample(3, preset="hetero")
    found = Constants.of(kind, tasks.values)
    for j, task in enumerate(tasks):
        mechanics, rotors = (tuple(found.table[j, found.groups[name]].tolist()) for name in ("mechanics", "rotors"))
        inputs, engine = angular_inputs((0.5, -0.3, 0.2, 0.1), rotors), load(kind.simulators[physics])(task)

        def motion(t: float, x: FloatArray, inputs: Any = inputs, k: Any = mechanics) -> list[float]:
            (roll, p, pitch, q, _, r), (_, dp, _, dq, _, dr) = x, derivative(tuple(x), inputs, k)
            turning = q * np.sin(roll) + r * np.cos(roll)
            across = q * np.cos(roll) - r * np.sin(roll)
            return [p + turning * np.tan(pitch), dp, across, dq, turning / np.cos(pitch), dr]

        start = np.column_stack([widths, rates]).reshape(-1)
        exact = solve_ivp(motion, (0.0, DT), start, rtol=1e-12, atol=1e-12).y[:, -1]
        got = engine.step(tuple(start.tolist()), (0.5, -0.3, 0.2, 0.1))
        np.testing.assert_allclose(got, exact, rtol=0, atol={"mujoco": 1e-4, "pybullet": 0.02}[physics])
        small = tuple((0.01 * start).tolist())
        got, ours = engine.step(small, (0.0,) * 4), rk4_step(small, rotors, mechanics)
        np.testing.assert_allclose(got[0::2], ours[0::2], rtol=0, atol=1e-4)
        engine.close()


def rk4_step(state: tuple[float, ...], rotors: Any, mechanics: Any) -> Any:
    """The kernel's."""
    return Quadrotor.transition(state, (0.0,) * 4, mechanics, rotors)


def test_attitudes_and_quaternions() -> None:
    """One from the other, and vectors as rotation matrices turn them."""
    from scipy.spatial.transform import Rotation

    rng = np.random.default_rng(0)
    for roll, pitch, yaw in rng.uniform(-1.5, 1.5, (20, 3)).tolist():
        attitude = quaternion(roll, pitch, yaw)
        truth = Rotation.from_euler("ZYX", [yaw, pitch, roll])
        np.testing.assert_allclose(rotated(attitude, (1.0, 2.0, -3.0)), truth.apply([1.0, 2.0, -3.0]), atol=1e-12)
        np.testing.assert_allclose(angles(attitude, yaw), (roll, pitch, yaw), atol=1e-12)
        assert angles(attitude, yaw + 2.0 * np.pi)[2] == pytest.approx(yaw + 2.0 * np.pi)


@pytest.mark.parametrize(("id", "physics"), PAIRS)
def test_engines_through_every_interface(id: str, physics: str) -> None:
    """To the bit; `test_promises` has all other promises of the cart-pole's."""
    check_parity(id, physics=physics, horizon=5)


@pytest.mark.parametrize(("id", "physics"), PAIRS)
def test_steps_leave_no_trace(id: str, physics: str) -> None:
    """Rows that are pickled, or take up a state, within an episode go on to the bit, whatever came between."""
    env = make(id, physics=physics, n_tasks=3)

    def going_on(some: Any) -> list[Any]:
        rng = np.random.default_rng(1)
        return [some.step(rng.uniform(-0.3, 0.3, some.action_space.shape))[:2] for _ in range(4)]

    env.reset(seed=0)
    going_on(env)
    state, copy = env.core.state_dict(), pickle.loads(pickle.dumps(env))
    expected = going_on(env)
    env.reset(options={"task": np.array([2, 0, 1])})
    env.core.load_state_dict(state)
    for some in (env, copy):
        for a, b in zip(expected, going_on(some), strict=True):
            for x, y in zip(a, b, strict=True):
                np.testing.assert_array_equal(x, y)
        some.close()


@pytest.mark.parametrize("physics", ENGINES)
@pytest.mark.parametrize("id", [CART_POLE, QUADROTOR])
def test_parameters_at_their_bounds(id: str, physics: str) -> None:
    """Each by itself, a rotor without inertia among them, gives finite steps."""
    kind = family(id)
    bounds = [{p.name: float(end)} for p in kind.parameters.parameters for end in p.bounds if p.draws or end == 0.0]
    env = make(id, len(bounds), tasks=bounds, physics=physics)
    env.reset(seed=0)
    assert np.isfinite(env.step(np.full(env.action_space.shape, 0.1))[0]).all()
    env.close()


@needs_pybullet
def test_pybullets_clients_are_released() -> None:
    """On close, when tasks change, and on garbage collection."""
    from lifelong_gym.envs.engines.pybullet.engine import clients

    gc.collect()
    before = len(clients)
    env = make(CART_POLE, 2, physics="pybullet", n_tasks=4)
    assert len(clients) == before
    for _ in range(3):
        env.reset()
        assert len(clients) == before + 2
    env.close()
    assert len(clients) == before
    other = make(CART_POLE, 2, physics="pybullet")
    other.reset()
    del other, env
    gc.collect()
    assert len(clients) == before


@needs_pybullet
def test_pybullets_rows_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is made, by the clients that are left; what PyBullet itself refuses has a clear error too."""
    import pybullet

    with pytest.raises(ValueError, match=r"`num_envs` must be at most \d+ with `physics=\"pybullet\"`.*Received 1001"):
        make(CART_POLE, 1001, physics="pybullet")
    env = make(CART_POLE, 1, physics="pybullet")
    monkeypatch.setattr(pybullet, "connect", lambda mode: -1)
    with pytest.raises(LifelongGymError, match="PyBullet opens no further client"):
        env.reset()


@pytest.mark.parametrize("version", [(3, 12, 0), (3, 13, 0)])
def test_without_pybullet_the_extra_or_the_reason_is_named(monkeypatch: pytest.MonkeyPatch, version: Any) -> None:
    """Before any episode."""
    monkeypatch.setitem(sys.modules, "pybullet", None)
    monkeypatch.setattr(sys, "version_info", version)
    match = r"lifelong-gym\[pybullet\]" if version < (3, 13) else r"wheels for Python below 3.13 only, and this is 3.13"
    with pytest.raises(MissingExtraError, match=match):
        make(CART_POLE, physics="pybullet")


def test_physics_that_a_family_has_not_is_refused() -> None:
    """PyBullet has no springs."""
    with pytest.raises(UnknownNameError, match="unknown physics 'pybullet'"):
        make(MASS, physics="pybullet")


@pytest.mark.parametrize("physics", ENGINES)
def test_engines_behind_the_parallel_env(physics: str) -> None:
    """As the kernel, a nominal cart-pole falls."""
    ends = []
    for way in ("kernel", physics):
        env = pettingzoo.make("parallel", CART_POLE, tasks=[{}], physics=way, terminate_on_failure=True)
        env.reset(seed=0)
        n = 0
        while env.agents:
            env.step({agent: np.array([0.3], np.float32) for agent in env.agents})
            n += 1
        ends.append(n)
        env.close()
    assert abs(ends[0] - ends[1]) <= 1
    assert ends[0] < 100
