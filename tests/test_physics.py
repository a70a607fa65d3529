"""The control families against independent truths: closed forms, `expm`, `solve_ivp`, Gymnasium, MuJoCo, balances."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import gymnasium as gym
import mujoco
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.linalg import expm

from lifelong_gym.envs.control import cart_pole, double_inverted_pendulum, quadrotor
from lifelong_gym.envs.control.base import ControlFamily
from lifelong_gym.envs.control.cart_pole import CartPole
from lifelong_gym.envs.control.ch47 import CH47
from lifelong_gym.envs.control.double_inverted_pendulum import DoubleInvertedPendulum
from lifelong_gym.envs.control.double_mass import DoubleMass
from lifelong_gym.envs.control.integrators import rk4
from lifelong_gym.envs.control.quadrotor import Quadrotor
from lifelong_gym.envs.control.simple_mass import SimpleMass
from lifelong_gym.envs.family import Constants
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.numerics.scalar import Vector
from lifelong_gym.tasks.task_set import Task, TaskSet
from tests.stepping import bound_of, group, random_actions, simulate

Rate = Callable[[Task, FloatArray, FloatArray], FloatArray]  # of the state: task, state, a


def varied(family: ControlFamily, n_tasks: int) -> TaskSet:
    """Tasks that differ in all parameters of the system."""
    values = family.parameters.sample(n_tasks, preset="hetero").values.copy()
    for angle in {"input_rotation", "mount_angle"} & set(family.parameters.names):
        values[:, family.parameters.index(angle)] = np.linspace(-2.0, 2.5, n_tasks)
    return TaskSet(family.parameters, values).perturb(0.2)


def solved(rate: Rate, task: Task, start: FloatArray, inputs: FloatArray, dt: float) -> FloatArray:
    """States of ``x' = rate(task, x, a)`` under inputs a held for a step, by `solve_ivp` at 1e-12."""
    path = [start]
    for a in inputs:
        path.append(solved_step(rate, task, path[-1], a, dt))
    return np.array(path)


def solved_step(rate: Rate, task: Task, start: FloatArray, a: FloatArray, dt: float) -> FloatArray:
    """The state after one step."""
    tolerances: dict[str, Any] = {"method": "DOP853", "rtol": 1e-12, "atol": 1e-13}
    end: FloatArray = solve_ivp(lambda t, x: rate(task, x, a), (0.0, dt), start, **tolerances).y[:, -1]
    return end


# -------------------------------------------------------------------------------------------- linear systems


def oscillator(task: Task, force: float, start: FloatArray, t: FloatArray) -> FloatArray:
    """Closed form of the underdamped oscillator under a constant force, shape (len(t), 2)."""
    rest, decay = force / task["stiffness"], task["damping"] / (2 * task["mass"])
    omega = np.sqrt(task["stiffness"] / task["mass"] - decay**2)
    c, s = start[0] - rest, (start[1] + decay * (start[0] - rest)) / omega
    cosine, sine, envelope = np.cos(omega * t), np.sin(omega * t), np.exp(-decay * t)
    x = rest + envelope * (c * cosine + s * sine)
    v = envelope * ((s * omega - decay * c) * cosine - (c * omega + decay * s) * sine)
    return np.stack([x, v], axis=1)


def test_simple_mass_is_the_damped_oscillator() -> None:
    """Under a constant force, over a whole episode."""
    family = SimpleMass()
    tasks = family.parameters.sample(20, preset="default")
    states = simulate(family, tasks, np.full((150, 20, 1), 0.2)).states
    for j, task in enumerate(tasks):
        exact = oscillator(task, 0.2 * 2.0 * 10.0, states[0, j], 0.05 * np.arange(151.0))
        np.testing.assert_allclose(states[:, j], exact, rtol=0, atol=2e-13)


def masses_rate(p: Task, x: FloatArray, a: FloatArray) -> FloatArray:
    """Newton's second law for each mass."""
    to_wall = -p["stiffness_1"] * x[0] - p["damping_1"] * x[1]
    between = p["stiffness_2"] * (x[2] - x[0]) + p["damping_2"] * (x[3] - x[1])
    push = 10.0 * p["actuator_gain"] * a[0]
    return np.array([x[1], (push + to_wall + between) / p["mass_1"], x[3], -between / p["mass_2"]])


def helicopter_matrices(p: Task) -> tuple[FloatArray, FloatArray]:
    """A and B of ``x' = A x + B a``."""
    a = np.array([[p.get(f"a_{i}{j}", 0.0) for j in range(1, 5)] for i in range(1, 4)] + [[0, 0, 1, 0]])
    b = np.array([[p[f"b_{i}{j}"] for j in (1, 2)] for i in range(1, 4)] + [[0, 0]])
    angle = p["input_rotation"]
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return a, 5.0 * p["actuator_gain"] * b @ turn


def helicopter_rate(p: Task, x: FloatArray, a: FloatArray) -> FloatArray:
    """``A x + B a``."""
    system, inputs = helicopter_matrices(p)
    return system @ x + inputs @ a


def test_exact_hold_equals_expm() -> None:
    """Matrices of one step, with turned and scaled inputs."""
    family = CH47()
    tasks = varied(family, 30)
    constants = Constants.of(family, tasks.values)
    for j, task in enumerate(tasks):
        block = np.zeros((6, 6))
        block[:4, :4], block[:4, 4:] = helicopter_matrices(task)
        held = expm(0.02 * block)
        system = constants.table[j, constants.groups["system"]].reshape(4, 4)
        inputs = constants.table[j, constants.groups["input_matrix"]].reshape(4, 2)
        np.testing.assert_allclose(system, held[:4, :4], rtol=0, atol=5e-15)
        np.testing.assert_allclose(inputs, held[:4, 4:], rtol=0, atol=5e-15)


def test_nominal_helicopter_has_the_published_eigenvalues() -> None:
    """Doyle and Stein (1981)."""
    system = np.array(group(CH47(), "system")).reshape(4, 4)
    rates = np.sort_complex(np.log(np.linalg.eigvals(system).astype(complex)) / 0.02)
    np.testing.assert_allclose(rates, [-2.23, 0.065, 0.491 - 0.415j, 0.491 + 0.415j], rtol=0, atol=5e-3)


@pytest.mark.parametrize(
    ("family", "rate"), [(DoubleMass(), masses_rate), (CH47(), helicopter_rate)], ids=["DoubleMass", "CH47"]
)
def test_linear_families_equal_solve_ivp(family: ControlFamily, rate: Rate) -> None:
    """Over whole episodes of random actions."""
    tasks, actions = varied(family, 3), random_actions(family, 0.1, 3)
    run = simulate(family, tasks, actions)
    assert not run.failed.any()
    for j, task in enumerate(tasks):
        a = bound_of(family) * actions[:, j]
        exact = solved(rate, task, run.states[0, j], a, family.time_step)
        np.testing.assert_allclose(run.states[:, j], exact, rtol=0, atol=3e-12)


def spring_rate(p: Task, x: Vector, inputs: Vector, k: Vector) -> Vector:
    """The unforced mass or masses."""
    if len(x) == 4:
        return tuple(masses_rate(p, np.array(x), np.zeros(1)).tolist())
    return x[1], -(p["stiffness"] * x[0] + p["damping"] * x[1]) / p["mass"]


@pytest.mark.parametrize(
    ("family", "bound"), [(SimpleMass(), 1e-6), (DoubleMass(), 4e-5)], ids=["SimpleMass", "DoubleMass"]
)
def test_runge_kutta_approaches_the_exact_hold(family: ControlFamily, bound: float) -> None:
    """Two ways to the same trajectory; the differences are those that RK4 is known to make."""
    tasks = family.parameters.tasks([{}])
    run = simulate(family, tasks, np.zeros((150, 1, 1)))
    x = tuple(run.states[0, 0].tolist())
    for _ in range(150):
        x = rk4(partial(spring_rate, tasks[0]), x, (), (), family.time_step)
    error = np.abs(run.states[-1, 0] - x).max()
    assert 1e-8 < error < bound


# -------------------------------------------------------------------------------------------- pendulums


def test_cart_pole_has_gymnasiums_accelerations() -> None:
    """With gravity, masses and length set in the original."""
    family, rng = CartPole(), np.random.default_rng(0)
    env: Any = gym.make("CartPole-v1").unwrapped
    env.reset(seed=0)
    env.tau = 1.0  # so that a step's change of velocity is the acceleration
    for task in family.parameters.sample(20, preset="wide"):
        env.gravity, env.masscart, env.masspole = task["gravity"], task["cart_mass"], task["pole_mass"]
        env.length, env.total_mass = task["pole_half_length"], task["cart_mass"] + task["pole_mass"]
        env.polemass_length = task["pole_mass"] * task["pole_half_length"]
        state, a = rng.uniform(-1, 1, 4) * [2, 3, 0.5, 3], rng.uniform(-2, 2)
        env.force_mag, env.steps_beyond_terminated = 10.0 * a, None
        env.state = state.copy()
        env.step(1)
        ours = cart_pole.derivative(tuple(state.tolist()), (a,), group(family, "mechanics", **task))
        theirs = np.array(env.state) - state
        np.testing.assert_allclose(np.array(ours)[[1, 3]], theirs[[1, 3]], rtol=1e-14, atol=2e-14)


def cart_pole_rate(p: Task, x: FloatArray, a: FloatArray) -> FloatArray:
    """Lagrange's equations of a cart and a uniform rod, by solving the linear system."""
    m, half, push = p["pole_mass"], p["pole_half_length"], 10.0 * p["actuator_gain"] * a[0]
    s, c = np.sin(x[2]), np.cos(x[2])
    inertia = np.array([[p["cart_mass"] + m, m * half * c], [m * half * c, 4 / 3 * m * half**2]])
    forces = np.array([push + m * half * s * x[3] ** 2, m * p["gravity"] * half * s])
    acceleration, spin = np.linalg.solve(inertia, forces)
    return np.array([x[1], acceleration, x[3], spin])


def double_pendulum_rate(p: Task, x: FloatArray, a: FloatArray) -> FloatArray:
    """Lagrange's equations ``M q'' = f`` as they stand in textbooks, by solving the linear system."""
    m1, m2, l1, l2, g = p["mass_1"], p["mass_2"], p["length_1"], p["length_2"], p["gravity"]
    (s1, s2), (c1, c2), both = np.sin(x[2::2]), np.cos(x[2::2]), m1 + m2
    s12, c12 = np.sin(x[2] - x[4]), np.cos(x[2] - x[4])
    inertia = np.array(
        [
            [p["cart_mass"] + both, both * l1 * c1, m2 * l2 * c2],
            [both * l1 * c1, both * l1**2, m2 * l1 * l2 * c12],
            [m2 * l2 * c2, m2 * l1 * l2 * c12, m2 * l2**2],
        ]
    )
    forces = np.array(
        [
            40.0 * p["actuator_gain"] * a[0] + both * l1 * s1 * x[3] ** 2 + m2 * l2 * s2 * x[5] ** 2,
            both * g * l1 * s1 - m2 * l1 * l2 * s12 * x[5] ** 2,
            m2 * g * l2 * s2 + m2 * l1 * l2 * s12 * x[3] ** 2,
        ]
    )
    rates = np.linalg.solve(inertia, forces)
    return np.stack([x[1::2], rates], axis=1).reshape(-1)


def quadrotor_rate(p: Task, x: FloatArray, a: FloatArray) -> FloatArray:
    """Euler's equations in vectors, thrusts at their lever arms, the rotors' angular momentum; z points down."""
    speeds = np.clip(
        np.sqrt(p["mass"] * 9.81 / (4 * p["thrust_coefficient"])) + 20.0 * p["actuator_gain"] * a, 0.0, 400.0
    )
    places = p["arm_length"] * np.array([[1.0, 0, 0], [0, 1, 0], [-1, 0, 0], [0, -1, 0]])
    thrusts = -np.outer(p["thrust_coefficient"] * speeds**2, [0.0, 0.0, 1.0])
    torque = np.cross(places, thrusts).sum(axis=0)
    angle = p["mount_angle"]
    torque[:2] = [
        np.cos(angle) * torque[0] - np.sin(angle) * torque[1],
        np.sin(angle) * torque[0] + np.cos(angle) * torque[1],
    ]
    senses = np.array([1.0, -1.0, 1.0, -1.0])  # rotors 1 and 3 turn one way, 2 and 4 the other
    torque[2] = -p["drag_coefficient"] * senses @ speeds**2
    inertia, rates = np.array([p["inertia_x"], p["inertia_y"], p["inertia_z"]]), x[1::2]
    momentum = inertia * rates + [0.0, 0.0, p["rotor_inertia"] * senses @ speeds]
    change = (torque - np.cross(rates, momentum)) / inertia
    return np.stack([rates, change], axis=1).reshape(-1)


@pytest.mark.parametrize(
    ("family", "rate", "scale", "bound"),
    [
        (CartPole(), cart_pole_rate, 0.1, 2e-5),
        (DoubleInvertedPendulum(), double_pendulum_rate, 0.05, 2e-5),
        (Quadrotor(), quadrotor_rate, 0.02, 1e-7),
    ],
    ids=["CartPole", "DoubleInvertedPendulum", "Quadrotor"],
)
def test_nonlinear_families_equal_solve_ivp(family: ControlFamily, rate: Rate, scale: float, bound: float) -> None:
    """Until failure at most: a pendulum that nobody balances falls."""
    tasks, actions = varied(family, 3), random_actions(family, scale, 3)
    run = simulate(family, tasks, actions)
    for j, task in enumerate(tasks):
        alive = int((~run.failed[:, j]).sum())
        assert alive > 20
        a = bound_of(family) * actions[:alive, j]
        exact = solved(rate, task, run.states[0, j], a, family.time_step)
        np.testing.assert_allclose(run.states[: alive + 1, j], exact, rtol=0, atol=bound)


def pole_energy(x: Vector, p: Task) -> float:
    """Kinetic and potential energy of cart and rod."""
    m, half = p["pole_mass"], p["pole_half_length"]
    speed = np.array([x[1] + half * x[3] * np.cos(x[2]), -half * x[3] * np.sin(x[2])])
    kinetic = 0.5 * (p["cart_mass"] * x[1] ** 2 + m * speed @ speed + m * half**2 / 3 * x[3] ** 2)
    return float(kinetic + m * p["gravity"] * half * np.cos(x[2]))


def double_pendulum_energy(x: Vector, p: Task) -> float:
    """Kinetic and potential energy of cart and two points."""
    first = np.array([x[1] + p["length_1"] * x[3] * np.cos(x[2]), -p["length_1"] * x[3] * np.sin(x[2])])
    second = first + p["length_2"] * x[5] * np.array([np.cos(x[4]), -np.sin(x[4])])
    height_1 = p["length_1"] * np.cos(x[2])
    height_2 = height_1 + p["length_2"] * np.cos(x[4])
    kinetic = p["cart_mass"] * x[1] ** 2 + p["mass_1"] * first @ first + p["mass_2"] * second @ second
    return float(0.5 * kinetic + p["gravity"] * (p["mass_1"] * height_1 + p["mass_2"] * height_2))


def euler(derivative: Callable[..., Vector], state: Vector, inputs: Vector, k: Vector, dt: float) -> Vector:
    """Explicit Euler, for comparison."""
    return tuple(x + dt * rate for x, rate in zip(state, derivative(state, inputs, k), strict=True))


@pytest.mark.parametrize(
    ("family", "derivative", "energy", "start", "bound"),
    [
        (CartPole(), cart_pole.derivative, pole_energy, (0.0, 0.0, 0.05, 0.0), 1e-4),
        (
            DoubleInvertedPendulum(),
            double_inverted_pendulum.derivative,
            double_pendulum_energy,
            (0.0, 0.0, 0.5, 0.0, -0.3, 0.0),
            3e-4,
        ),
    ],
    ids=["CartPole", "DoubleInvertedPendulum"],
)
def test_pendulums_keep_their_energy_for_three_seconds(
    family: ControlFamily,
    derivative: Callable[..., Vector],
    energy: Callable[[Vector, Task], float],
    start: Vector,
    bound: float,
) -> None:
    """Falling and swinging without a force; explicit Euler does not."""
    task, k = family.parameters.tasks([{}])[0], group(family, "mechanics")
    drift = {}
    for method in (rk4, euler):
        states = [start]
        for _ in range(round(3.0 / family.time_step)):
            states.append(method(derivative, states[-1], (0.0,), k, family.time_step))
        drift[method] = max(abs(energy(x, task) - energy(start, task)) for x in states)
    assert drift[rk4] < bound
    assert drift[euler] > 0.1


@pytest.mark.parametrize(
    ("family", "derivative"),
    [(CartPole(), cart_pole.derivative), (DoubleInvertedPendulum(), double_inverted_pendulum.derivative)],
    ids=["CartPole", "DoubleInvertedPendulum"],
)
def test_runge_kutta_is_of_fourth_order(family: ControlFamily, derivative: Callable[..., Vector]) -> None:
    """Half the step, a sixteenth of the error."""
    k, n = group(family, "mechanics"), len(family.state)

    def final(n_steps: int) -> FloatArray:
        state: Vector = tuple(0.1 * (-1.0) ** i for i in range(n))
        for _ in range(n_steps):
            state = rk4(derivative, state, (0.1,), k, 0.5 / n_steps)
        return np.array(state)

    exact = final(1600)
    errors = [np.abs(final(n_steps) - exact).max() for n_steps in (25, 50, 100)]
    assert all(13 < coarse / fine < 19 for coarse, fine in pairwise(errors))


MJCF = """
<mujoco>
  <option timestep="0.001" integrator="RK4" gravity="0 0 -{gravity}"><flag contact="disable"/></option>
  <worldbody><body>
    <joint type="slide" axis="1 0 0"/>
    <inertial pos="0 0 0" mass="{cart_mass}" diaginertia="1 1 1"/>
    <body>
      <joint type="hinge" axis="0 1 0"/>
      <inertial pos="0 0 {length_1}" mass="{mass_1}" diaginertia="1e-12 1e-12 1e-12"/>
      <body pos="0 0 {length_1}">
        <joint type="hinge" axis="0 1 0"/>
        <inertial pos="0 0 {length_2}" mass="{mass_2}" diaginertia="1e-12 1e-12 1e-12"/>
      </body>
    </body>
  </body></worldbody>
</mujoco>
"""


def in_mujoco(task: Task, x: Vector, force: float) -> tuple[mujoco.MjModel, mujoco.MjData]:
    """The double pendulum in MuJoCo, whose second angle is relative to the first."""
    model = mujoco.MjModel.from_xml_string(MJCF.format(**task))
    data = mujoco.MjData(model)
    data.qpos[:], data.qvel[:] = (x[0], x[2], x[4] - x[2]), (x[1], x[3], x[5] - x[3])
    data.qfrc_applied[0] = force
    return model, data


def test_double_pendulum_has_mujocos_accelerations_and_motion() -> None:
    """Point masses, no contacts."""
    family, rng = DoubleInvertedPendulum(), np.random.default_rng(0)
    tasks = family.parameters.sample(10, preset="wide")
    for task in tasks:
        x, a = tuple((rng.uniform(-1, 1, 6) * [1, 3, 0.5, 3, 0.5, 3]).tolist()), rng.uniform(-1, 1)
        k = group(family, "mechanics", **task)
        model, data = in_mujoco(task, x, 40.0 * a)
        mujoco.mj_forward(model, data)
        theirs = data.qacc[0], data.qacc[1], data.qacc[1] + data.qacc[2]
        ours = double_inverted_pendulum.derivative(x, (a,), k)
        np.testing.assert_allclose(ours[1::2], theirs, rtol=0, atol=1e-8)
    for _ in range(100):
        mujoco.mj_step(model, data)
    for _ in range(10):
        x = family.transition(x, (a,), k)
    joints = data.qpos[0], data.qpos[1], data.qpos[1] + data.qpos[2]
    np.testing.assert_allclose(x[0::2], joints, rtol=0, atol=5e-8)


def test_double_pendulum_without_its_upper_mass_is_a_pendulum_on_a_cart() -> None:
    """In the limit, whatever the upper rod does."""
    rng = np.random.default_rng(0)
    m0, m1, length, g = 2.0, 0.1, 0.6, 9.81
    k = group(DoubleInvertedPendulum(), "mechanics", cart_mass=m0, mass_1=m1, mass_2=1e-13, length_1=length)
    for _ in range(20):
        x, a = rng.uniform(-1, 1, 6) * [1, 3, 0.5, 3, 0.5, 3], rng.uniform(-1, 1)
        s, c = np.sin(x[2]), np.cos(x[2])
        acceleration = (40 * a + m1 * length * s * x[3] ** 2 - m1 * g * s * c) / (m0 + m1 * s * s)
        spin = (g * s - c * acceleration) / length
        ours = double_inverted_pendulum.derivative(tuple(x.tolist()), (a,), k)
        np.testing.assert_allclose((ours[1], ours[3]), (acceleration, spin), rtol=0, atol=4e-11)


# -------------------------------------------------------------------------------------------- quadrotor


def test_hover_is_an_equilibrium_of_the_quadrotor() -> None:
    """At every mass, without any drift; the OS4 hovers at 225.7 rad/s."""
    family = Quadrotor()
    tasks = family.parameters.tasks([{"mass": m} for m in (0.3, 0.65, 1.3)])
    run = simulate(family, tasks, np.zeros((150, 3, 4)), states=np.zeros((3, 6)))
    assert np.all(run.states == 0.0)
    assert np.all(run.rewards == 0.0)
    assert group(family, "rotors")[0] == pytest.approx(225.7, abs=0.05)


def test_a_free_quadrotor_keeps_its_angular_momentum_and_energy() -> None:
    """Where no torque acts and the rotors weigh nothing."""
    family = Quadrotor()
    inertia = np.array([4e-3, 9e-3, 2e-2])
    given = dict(zip(("inertia_x", "inertia_y", "inertia_z"), inertia, strict=True))
    k = group(family, "mechanics", rotor_inertia=0.0, **given)
    state: Vector = (0.0, 3.0, 0.0, -2.0, 0.0, 1.0)
    start = np.array(state[1::2])
    for _ in range(150):
        state = rk4(quadrotor.derivative, state, (0.0, 0.0, 0.0, 50.0), k, family.time_step)
    rates = np.array(state[1::2])
    assert np.abs(rates - start).max() > 1.0  # it tumbles
    assert np.linalg.norm(inertia * rates) == pytest.approx(np.linalg.norm(inertia * start), rel=1e-6)
    assert inertia @ rates**2 == pytest.approx(inertia @ start**2, rel=1e-6)
