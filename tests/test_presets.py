"""The presets of the control families: their ranges, their balance, and the optima that `known_basis` promises."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest
from scipy.linalg import solve_discrete_are

from lifelong_gym.envs.control.base import ControlFamily
from lifelong_gym.envs.control.cart_pole import CartPole
from lifelong_gym.envs.control.ch47 import CH47
from lifelong_gym.envs.control.double_inverted_pendulum import DoubleInvertedPendulum
from lifelong_gym.envs.control.double_mass import DoubleMass
from lifelong_gym.envs.control.quadrotor import Quadrotor
from lifelong_gym.envs.control.simple_mass import SimpleMass
from lifelong_gym.envs.family import Constants
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.tasks.distributions import RandomSign, SameAs, Uniform
from lifelong_gym.tasks.task_set import Task, TaskSet
from tests.stepping import FAMILIES, bound_of, each_family, simulate

Ranges = dict[str, tuple[float, float]]

PUBLISHED: dict[type[ControlFamily], Ranges] = {
    SimpleMass: {"mass": (3, 5), "stiffness": (1, 7), "damping": (0.01, 0.2)},
    DoubleMass: {
        "mass_1": (1, 7),
        "mass_2": (1, 10),
        "stiffness_1": (1, 5),
        "stiffness_2": (1, 7),
        "damping_1": (0.01, 0.1),
        "damping_2": (0.01, 0.1),
    },
    CartPole: {"cart_mass": (0.3, 1), "pole_mass": (0.1, 1), "pole_half_length": (0.2, 0.8)},
    DoubleInvertedPendulum: {
        "cart_mass": (1.5, 3.5),
        "mass_1": (0.055, 0.1),
        "mass_2": (0.055, 0.1),
        "length_1": (0.4, 0.8),
        "length_2": (0.5, 0.9),
    },
    Quadrotor: {"inertia_x": (3.75e-3, 15e-3), "inertia_y": (3.75e-3, 15e-3), "inertia_z": (6.5e-3, 26e-3)},
}
HELICOPTER = {
    "a": [[-0.02, 0.005, 2.4, -32], [-0.14, 0.44, -1.3, -30], [0, 0.018, -1.6, 1.2]],
    "b": [[0.14, -0.12], [0.36, -8.6], [0.35, 0.009]],
}
ENTRIES = {
    f"{matrix}_{i}{j}": value
    for matrix, rows in HELICOPTER.items()
    for i, row in enumerate(rows, 1)
    for j, value in enumerate(row, 1)
    if value != 0
}
PUBLISHED[CH47] = {name: (min(0.7 * x, 1.3 * x), max(0.7 * x, 1.3 * x)) for name, x in ENTRIES.items()}

TABLE_1: dict[type[ControlFamily], Ranges] = {
    **PUBLISHED,
    SimpleMass: {"mass": (3, 5), "stiffness": (1, 7)},
    CartPole: {"cart_mass": (0.01, 1), "pole_mass": (0.01, 1), "pole_half_length": (0.2, 0.8)},
    CH47: {name: (-32, 3) if name.startswith("a") else (-9, 1) for name in ENTRIES},
}
HETERO: dict[type[ControlFamily], Ranges] = {
    SimpleMass: {"mass": (1, 10), "stiffness": (0.5, 3), "actuator_gain": (-10, 10), "goal_1": (-1.5, 1.5)},
    DoubleMass: {"actuator_gain": (-10, 10), "goal_1": (-1.5, 1.5), "goal_3": (-1.5, 1.5)},
    CartPole: {"actuator_gain": (0.5, 2), "sensor_gain_3": (-1, 1), "sensor_gain_4": (-1, 1)},
    DoubleInvertedPendulum: {"actuator_gain": (0.5, 2), **{f"sensor_gain_{i}": (-1, 1) for i in (3, 4, 5, 6)}},
    CH47: {"actuator_gain": (-2, 2), "goal_1": (-5, 5), "goal_2": (-5, 5)},
    Quadrotor: {"actuator_gain": (-2, 2), "goal_1": (-0.6, 0.6), "goal_3": (-0.6, 0.6)},
}


def assert_ranges(tasks: TaskSet, ranges: Ranges, fixed: Ranges | None = None) -> None:
    """Values fill the ranges; what isn't listed is nominal, or as ``fixed`` says."""
    for parameter in tasks.space:
        column = tasks.column(parameter.name)
        if parameter.name in ranges:
            low, high = ranges[parameter.name]
            assert low <= column.min() < low + 0.01 * (high - low), parameter.name
            assert high >= column.max() > high - 0.01 * (high - low), parameter.name
        else:
            expected = (fixed or {}).get(parameter.name, (parameter.nominal,))[0]
            assert np.all(column == expected), parameter.name


@each_family
def test_published_ranges(family: ControlFamily) -> None:
    """Uniform draws that fill them, nominal in the middle or as published."""
    ranges = PUBLISHED[type(family)]
    tasks = family.parameters.sample(10_000)
    assert_ranges(tasks, ranges)
    for name, (low, high) in ranges.items():
        assert tasks.column(name).mean() == pytest.approx((low + high) / 2, abs=0.02 * (high - low))
    nominal = ENTRIES | {"inertia_x": 7.5e-3, "inertia_y": 7.5e-3, "inertia_z": 1.3e-2}
    for name, (low, high) in ranges.items():
        assert family.parameters[name].nominal == pytest.approx(nominal.get(name, (low + high) / 2), rel=1e-15)


@each_family
def test_wide_ranges_reach_from_half_the_lowest_to_twice_the_highest_magnitude(family: ControlFamily) -> None:
    """For the parameters that the default draws."""
    wide = {
        name: (low / 2, 2 * high) if low > 0 else (2 * low, high / 2)
        for name, (low, high) in PUBLISHED[type(family)].items()
    }
    assert_ranges(family.parameters.sample(10_000, preset="wide"), wide)


WIDE = {
    SimpleMass: "3829197b9778b7c9",
    DoubleMass: "93c19433891beb71",
    CartPole: "49660ccbfe9f1376",
    DoubleInvertedPendulum: "68647ccfd01a70a9",
    CH47: "f552601515888256",
    Quadrotor: "281c3745da4ea350",
}


@each_family
def test_wide_draws_the_tasks_that_it_always_drew(family: ControlFamily) -> None:
    """To the bit: results on them stay comparable."""
    assert family.parameters.sample(50, seed=3, preset="wide").hash == WIDE[type(family)]


@each_family
def test_paper_is_table_1(family: ControlFamily) -> None:
    """Where it names the parameter; the quadrotor is that of Bou Ammar et al. (2015)."""
    assert_ranges(family.parameters.sample(10_000, preset="paper"), TABLE_1[type(family)])


@each_family
def test_hetero_ranges(family: ControlFamily) -> None:
    """On top of the default's."""
    starts = {f"start_{i}": (x, x) for i, x in enumerate((0.3, 0.3, 0.1, 0.5), 1)}
    fixed = starts if isinstance(family, CartPole) else None
    ranges = PUBLISHED[type(family)] | HETERO[type(family)]
    assert_ranges(family.parameters.sample(10_000, preset="hetero"), ranges, fixed)


@each_family
def test_single_is_one_nominal_task(family: ControlFamily) -> None:
    """Over and over."""
    assert np.all(family.parameters.sample(5, preset="single").values == family.parameters.nominal)


@each_family
def test_every_preset_keeps_its_promises_about_10_000_tasks(family: ControlFamily) -> None:
    """Bounds, finite constants, balanced signs, equal parameters."""
    space = family.parameters
    low, high = space.bounds
    for preset, declared in space.presets.items():
        tasks = space.sample(10_000, seed=1, preset=preset)
        assert np.all((tasks.values >= low) & (tasks.values <= high))
        assert np.isfinite(Constants.of(family, tasks.values).table).all()
        for name, draws in declared.draws.items():
            if isinstance(draws, RandomSign):
                pairs = np.sign(tasks.column(name)).reshape(-1, 2)
                assert np.all(pairs.sum(axis=1) == 0)
                assert abs(pairs[:, 0].mean()) < 0.05
            if isinstance(draws, SameAs):
                np.testing.assert_array_equal(tasks.column(name), tasks.column(draws.parameter))


@pytest.mark.parametrize("preset", ["hetero", "known_basis"])
def test_polarities_of_the_cart_pole_are_independent(preset: str) -> None:
    """Each combination is met about equally often."""
    tasks = CartPole().parameters.sample(4000, preset=preset)
    signs = [np.sign(tasks.column(name)) > 0 for name in ("sensor_gain_3", "sensor_gain_4")]
    counts = np.bincount(signs[0] + 2 * signs[1], minlength=4)
    np.testing.assert_allclose(counts, 1000, atol=150)


def test_double_pendulums_sensors_turn_joint_by_joint() -> None:
    """Angle and angular velocity together."""
    tasks = DoubleInvertedPendulum().parameters.sample(100, preset="hetero")
    np.testing.assert_array_equal(tasks.column("sensor_gain_3"), tasks.column("sensor_gain_4"))
    np.testing.assert_array_equal(tasks.column("sensor_gain_5"), tasks.column("sensor_gain_6"))


def test_both_masses_share_their_goal_and_their_offset() -> None:
    """Otherwise no state is at rest."""
    space = DoubleMass().parameters
    hetero, known = space.sample(100, preset="hetero"), space.sample(100, preset="known_basis")
    np.testing.assert_array_equal(hetero.column("goal_1"), hetero.column("goal_3"))
    np.testing.assert_array_equal(known.column("sensor_offset_1"), known.column("sensor_offset_3"))


def test_three_in_four_of_the_papers_helicopters_are_unstable() -> None:
    """And half of all grow by more than e^3 a second, as eigenvalues of matrices drawn by NumPy do."""
    family = CH47()
    constants = Constants.of(family, family.parameters.sample(4000, preset="paper").values)
    system = constants.table[:, constants.groups["system"]].reshape(-1, 4, 4)
    growth = np.log(np.abs(np.linalg.eigvals(system)).max(axis=1)) / family.time_step
    drawn = np.random.default_rng(0).uniform(-32, 3, (4000, 4, 4))
    drawn[:, 2, 0], drawn[:, 3] = 0.0, [0.0, 0.0, 1.0, 0.0]
    expected = np.linalg.eigvals(drawn).real.max(axis=1)
    assert np.mean(growth > 0) == pytest.approx(np.mean(expected > 0), abs=0.03)
    assert np.median(growth) == pytest.approx(np.median(expected), abs=0.5)
    assert np.mean(growth > 0) > 0.7
    assert np.median(growth) > 3.0


def test_safe2015_is_the_default_with_the_quadratic_reward() -> None:
    """For the three systems of that paper."""
    for family in FAMILIES:
        assert ("safe2015" in family.parameters.presets) == isinstance(family, (SimpleMass, CartPole, Quadrotor))
    for family in (SimpleMass(), CartPole(), Quadrotor()):
        safe, default = family.parameters.presets["safe2015"], family.parameters.presets["default"]
        assert safe.reward == "quadratic"
        assert safe.draws == default.draws


# -------------------------------------------------------------------------------------------- known optima


def linearised(family: ControlFamily) -> tuple[FloatArray, FloatArray]:
    """The nominal task's ``x+ = A x + B a`` around rest, by central differences of one step."""
    n, bound, h = len(family.state), bound_of(family), 1e-5
    moves = h * np.concatenate([np.eye(n + len(bound)), -np.eye(n + len(bound))])
    tasks = family.parameters.tasks([{}])
    run = simulate(
        family,
        tasks,
        moves[None, :, n:] / bound,
        rows=np.zeros(len(moves), np.int64),
        states=moves[:, :n],
        n_steps=1,
    )
    forward, backward = np.split(run.states[1], 2)
    jacobian = ((forward - backward) / (2 * h)).T
    return jacobian[:, :n], jacobian[:, n:]


def optimal_gain(family: ControlFamily) -> FloatArray:
    """LQR's feedback ``a = K x`` on the nominal task, gentle enough that nothing saturates."""
    a, b = linearised(family)
    effort = 3.0 * np.eye(b.shape[1])
    p = solve_discrete_are(a, b, np.eye(len(a)), effort)
    return np.asarray(-np.linalg.solve(effort + b.T @ p @ b, b.T @ p @ a), np.float64)


def mean_reward(family: ControlFamily, tasks: TaskSet, theta: FloatArray, width: float) -> FloatArray:
    """J of policies ``a = theta (y, 1)``, one a task: mean reward per step over 8 fixed starts.

    ``width`` scales the starts.
    """
    n = len(family.state)
    widths = width * np.array([family.parameters[f"start_{i}"].nominal for i in range(1, n + 1)])
    starts = widths * np.random.default_rng(0).uniform(-1, 1, (8, n))
    rows = np.repeat(np.arange(len(tasks)), 8)

    def policy(seen: FloatArray) -> FloatArray:
        u = (np.einsum("rij,rj->ri", theta[rows, :, :-1], seen) + theta[rows, :, -1]) / bound_of(family)
        assert np.abs(u).max() < 1.0  # the promise holds while nothing saturates
        return u

    run = simulate(family, tasks, policy, rows, np.tile(starts, (len(tasks), 1)))
    assert not run.failed.any()
    j: FloatArray = run.rewards.reshape(run.rewards.shape[0], -1, 8).mean(axis=(0, 2))
    return j


def with_bias(gain: FloatArray, bias: FloatArray) -> FloatArray:
    """``theta`` of ``a = gain y + bias``."""
    return np.concatenate([gain, bias[:, None]], axis=1)


def through_signs(gain: FloatArray, task: Task) -> FloatArray:
    """Optimum behind turned actuators, turned sensors and shifted zeros: y = S x - o, a = sigma (K x + b)."""
    n = gain.shape[1]
    signs = np.array([task[f"sensor_gain_{i}"] for i in range(1, n + 1)])
    offset = np.array([task[f"sensor_offset_{i}"] for i in range(1, n + 1)])
    turned = gain / signs
    return task["actuator_gain"] * with_bias(turned, turned @ offset)


def through_rotation(gain: FloatArray, task: Task) -> FloatArray:
    """Optimum behind inputs that are turned: ``cos(alpha) K + sin(alpha) J'K``."""
    angle, quarter = task["input_rotation"], np.array([[0.0, -1.0], [1.0, 0.0]])
    return with_bias(np.cos(angle) * gain + np.sin(angle) * quarter.T @ gain, np.zeros(2))


def through_mount(gain: FloatArray, task: Task) -> FloatArray:
    """Optimum on a turned frame: the two differential rotor modes are turned back, the others left alone."""
    angle, modes = task["mount_angle"], np.array([[0.0, -1, 0, 1], [1, 0, -1, 0]]) / np.sqrt(2)
    quarter = np.array([[0.0, -1.0], [1.0, 0.0]])
    projected, turned = modes.T @ modes @ gain, modes.T @ quarter.T @ modes @ gain
    return with_bias(gain - projected + np.cos(angle) * projected + np.sin(angle) * turned, np.zeros(4))


@pytest.mark.parametrize(
    ("family", "optimum", "width", "tolerance", "rank"),
    [
        (SimpleMass(), through_signs, 1.0, 1e-12, 2),
        (DoubleMass(), through_signs, 1.0, 1e-12, 2),
        (CartPole(), through_signs, 1.0, 1e-12, 3),
        (DoubleInvertedPendulum(), through_signs, 1.0, 1e-12, 3),
        (CH47(), through_rotation, 1.0, 1e-12, 2),
        # Thrust and drag are quadratic in the rotors' speeds, so the mixing turns with the frame to first order only.
        (Quadrotor(), through_mount, 1.0, 1e-3, 3),
        (Quadrotor(), through_mount, 0.1, 1e-5, 3),
    ],
    ids=["SimpleMass", "DoubleMass", "CartPole", "DoubleInvertedPendulum", "CH47", "Quadrotor", "Quadrotor near rest"],
)
def test_known_basis_keeps_its_optima(
    family: ControlFamily,
    optimum: Callable[[FloatArray, Task], FloatArray],
    width: float,
    tolerance: float,
    rank: int,
) -> None:
    """J of the nominal task's policy, carried over to each task, is that of the nominal task; k vectors span all."""
    tasks, gain = family.parameters.sample(30, preset="known_basis"), optimal_gain(family)
    theta = np.array([optimum(gain, task) for task in tasks])
    original = with_bias(gain, np.zeros(len(gain)))[None]
    nominal = mean_reward(family, family.parameters.tasks([{}]), original, width)
    np.testing.assert_allclose(mean_reward(family, tasks, theta, width), nominal[0], rtol=0, atol=tolerance)
    singular = np.linalg.svd(theta.reshape(len(tasks), -1), compute_uv=False)
    assert singular[rank - 1] > 1e-3 * singular[0]
    assert np.all(singular[rank:] < 1e-12 * singular[0])


@each_family
def test_known_basis_needs_its_parameters(family: ControlFamily) -> None:
    """One policy for all its tasks loses at least a tenth."""
    tasks, gain = family.parameters.sample(30, preset="known_basis"), optimal_gain(family)
    n = len(family.state)
    shared = simulate(family, tasks, lambda seen: seen[:, :n] @ gain.T / bound_of(family))
    alone = simulate(family, family.parameters.tasks([{}]), lambda seen: seen @ gain.T / bound_of(family))
    assert shared.rewards.mean() < 1.1 * alone.rewards.mean()


@each_family
def test_constants_of_many_tasks_take_no_python_loop(family: ControlFamily) -> None:
    """100,000 tasks within seconds of the processor's time; a matrix exponential a task would take a minute."""
    values = family.parameters.sample(100_000, preset="hetero").values
    started = time.process_time()
    constants = Constants.of(family, values)
    assert time.process_time() - started < 3.0
    assert len(constants.table) == 100_000


def test_unsigned_draws_are_uniform() -> None:
    """Quantiles of the helicopter's largest entry."""
    family = CH47()
    column = family.parameters.sample(10_000).column("a_14")
    draws = family.parameters["a_14"].draws
    assert isinstance(draws, Uniform)
    quartiles = np.quantile(column, [0.25, 0.5, 0.75])
    np.testing.assert_allclose(quartiles, draws.low + np.array([0.25, 0.5, 0.75]) * (draws.high - draws.low), atol=0.4)
