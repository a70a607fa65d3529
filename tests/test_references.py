"""Reference policies against closed forms, each other and known optima; headroom where it is known."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import numpy as np
import pytest
import scipy.linalg

from lifelong_gym import family, rollout
from lifelong_gym.envs.family import Constants, KernelFamily, kernel_of
from lifelong_gym.errors import UnknownNameError
from lifelong_gym.numerics.arrays import FloatArray, IntArray
from lifelong_gym.references import headroom
from lifelong_gym.references.linear import (
    N_STARTS,
    LinearSearch,
    Trial,
    best_policies,
    lqr_policies,
    reference_returns,
    shared_policy,
)
from lifelong_gym.references.search import maximise
from lifelong_gym.references.tabular import ValueIteration
from lifelong_gym.tasks.task_set import TaskSet

LINEAR = ["LifelongSimpleMass-v0", "LifelongDoubleMass-v0", "LifelongCH47-v0"]
CONTROL = [*LINEAR, "LifelongCartPole-v0", "LifelongDoubleInvertedPendulum-v0", "LifelongQuadrotor-v0"]


def some(id: str, n_tasks: int, preset: str = "default") -> tuple[KernelFamily, TaskSet]:
    """A family and tasks of one of its presets."""
    return kernel_of(family(id), "a reference"), family(id).parameters.sample(n_tasks, seed=0, preset=preset)


def matrices(kind: KernelFamily, tasks: TaskSet) -> tuple[FloatArray, FloatArray]:
    """The exact A and B of a linear family's step, (n_tasks, n, n) and (n_tasks, n, m)."""
    constants, n = Constants.of(kind, tasks.values), len(kind.state)
    a, b = (constants.table[:, constants.groups[name]] for name in ("system", "input_matrix"))
    return a.reshape(len(tasks), n, n), b.reshape(len(tasks), n, -1)


def gains_of(kind: KernelFamily, theta: FloatArray) -> FloatArray:
    """K of ``a = -K x`` from policies with perfect sensors, (n_tasks, m, n)."""
    features = theta.reshape(len(theta), kind.actions.size, -1)
    return -features[..., :-1] / np.array(kind.feature_scale or (1.0,) * kind.observations.size)


def cost(a: FloatArray, b: FloatArray, gain: FloatArray) -> float:
    """Total of ``x'x + 0.1 a'a`` from a random unit start on, for ever."""
    closed, weight = a - b @ gain, np.eye(len(a)) + 0.1 * gain.T @ gain
    return float(np.trace(scipy.linalg.solve_discrete_lyapunov(closed.T, weight)))


@pytest.mark.parametrize("id", LINEAR)
def test_lqr_is_optimal_in_closed_form(id: str) -> None:
    """Its gains solve the Riccati equation of the exact matrices, and no perturbed gain costs less."""
    kind, tasks = some(id, 4)
    theta = lqr_policies(kind, tasks)
    gains = gains_of(kind, theta)
    np.testing.assert_allclose(theta.reshape(4, kind.actions.size, -1)[..., -1], 0.0, atol=1e-9)
    generator = np.random.default_rng(0)
    for a, b, gain in zip(*matrices(kind, tasks), gains, strict=True):
        n, m = b.shape
        riccati = scipy.linalg.solve_discrete_are(a, b, np.eye(n), 0.1 * np.eye(m))
        exact = np.linalg.solve(0.1 * np.eye(m) + b.T @ riccati @ b, b.T @ riccati @ a)
        np.testing.assert_allclose(gain, exact, rtol=1e-7, atol=1e-9)
        best = cost(a, b, exact)
        for _ in range(20):
            assert cost(a, b, exact * (1 + 0.02 * generator.standard_normal(exact.shape))) > best


@pytest.mark.parametrize("goal", [0.0, 0.3])
def test_lqr_is_optimal_in_rollouts(goal: float) -> None:
    """Over a long episode no perturbation of theta earns more, also where the goal is no equilibrium."""
    kind = family("LifelongSimpleMass-v0")
    tasks = kind.parameters.tasks([{"goal_1": goal, "stiffness": 1.0, "sensor_offset_1": 0.5, "actuator_gain": -1.0}])
    theta = lqr_policies(kind, tasks)[0]
    changes = 0.03 * np.random.default_rng(1).standard_normal((60, 3))
    candidates = np.concatenate([[theta], theta + changes])
    many = TaskSet(tasks.space, np.repeat(tasks.values, len(candidates), axis=0))
    ran = rollout(
        kind,
        tasks=many,
        theta=candidates,
        n_trajectories=1,
        sigma=0.0,
        horizon=4000,
        initial_states=[0.1, 0.0],
        reward="quadratic",
    )
    assert ran.returns[1:, 0].max() < ran.returns[0, 0]
    if goal:
        assert abs(theta[2] + 0.5 * theta[0]) > 0.01  # it pushes against the spring, beyond undoing the offset


def test_lqr_does_nothing_where_nothing_can_be_done() -> None:
    """An unstable system without a motor can't be stabilised, a sensor without gain can't be used."""
    kind = family("LifelongCartPole-v0")
    powerless = kind.parameters.tasks([{"actuator_gain": 0.0}])
    assert not lqr_policies(kind, powerless).any()
    blind = kind.parameters.tasks([{"sensor_gain_1": 0.0}, {}])
    theta = lqr_policies(kind, blind)
    assert theta[0, 0] == 0.0
    np.testing.assert_allclose(theta[0, 1:4], theta[1, 1:4], rtol=1e-9)


Isometry = Callable[[FloatArray, dict[str, FloatArray]], FloatArray]


def by_signs(theta: FloatArray, p: dict[str, FloatArray]) -> FloatArray:
    """``sigma (K / polarities, b)``."""
    n = len(theta) - 1
    polarities = np.stack([p[f"sensor_gain_{i}"] for i in range(1, n + 1)] + [np.ones_like(p["actuator_gain"])], axis=1)
    return p["actuator_gain"][:, None] * theta * polarities


def by_offsets(theta: FloatArray, p: dict[str, FloatArray]) -> FloatArray:
    """``sigma (K, b + K o)``."""
    offsets = np.stack([p[f"sensor_offset_{i}"] for i in range(1, len(theta))], axis=1)
    moved = np.tile(theta, (len(offsets), 1))
    moved[:, -1] += offsets @ theta[:-1]
    return p["actuator_gain"][:, None] * moved


@pytest.mark.parametrize(
    ("id", "isometry"),
    [
        ("LifelongSimpleMass-v0", by_offsets),
        ("LifelongDoubleMass-v0", by_offsets),
        ("LifelongCartPole-v0", by_signs),
        ("LifelongDoubleInvertedPendulum-v0", by_signs),
    ],
)
def test_known_basis(id: str, isometry: Isometry) -> None:
    """Tasks of the preset are one plant seen through isometries: the mapped optimum earns the same in each."""
    kind, tasks = some(id, 8, "known_basis")
    single = kind.parameters.tasks([{}])
    theta = lqr_policies(kind, single)[0]
    here = Trial.of(kind, single).values(theta)[0]
    mapped = isometry(theta, kind.parameters.columns(tasks.values))
    np.testing.assert_allclose(Trial.of(kind, tasks).values(mapped), here, atol=1e-12, rtol=0)
    np.testing.assert_allclose(lqr_policies(kind, tasks), mapped, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("id", ["LifelongSimpleMass-v0", "LifelongCartPole-v0"])
def test_references_of_a_known_basis_agree(id: str) -> None:
    """Search finds the same optimum in every task that is one plant seen through an isometry."""
    returns = reference_returns(*some(id, 6, "known_basis"))
    np.testing.assert_allclose(returns, returns[0], rtol=1e-3)


@pytest.mark.parametrize("id", CONTROL)
def test_references_are_never_below_lqr(id: str) -> None:
    """Search begins at LQR, which isn't optimal for the norm reward, and gains."""
    kind, tasks = some(id, 1)
    theta = best_policies(kind, tasks)
    trial = Trial.of(kind, tasks)
    before, after = trial.values(lqr_policies(kind, tasks)), trial.values(theta)
    assert theta.shape == (1, kind.actions.size * (kind.observations.size + 1))
    assert before[0] < 1.01 * after[0] < 0.0
    assert trial.values(trial.zero)[0] < before[0]


def test_search_confirms_lqr_for_the_quadratic_reward() -> None:
    """On a linear system a finite horizon leaves nothing to gain; ``safe2015`` brings the reward along."""
    kind, tasks = some("LifelongSimpleMass-v0", 3, "safe2015")
    trial = Trial.of(kind, tasks)
    assert trial.reward == "quadratic"
    np.testing.assert_allclose(reference_returns(kind, tasks), 150 * trial.values(lqr_policies(kind, tasks)), rtol=1e-6)


def test_a_reference_belongs_to_its_task_alone() -> None:
    """It depends on neither the tasks beside it nor its place among them."""
    kind, tasks = some("LifelongSimpleMass-v0", 5, "hetero")
    returns = reference_returns(kind, tasks)
    np.testing.assert_array_equal(returns, 150 * Trial.of(kind, tasks).values(best_policies(kind, tasks)))
    np.testing.assert_array_equal(reference_returns(kind, tasks[[3, 1]]), returns[[3, 1]])


def test_starts_are_the_first_visits_to_task_0() -> None:
    """The fixed starts are those of `rollout`'s first trajectories under seed 0."""
    kind, tasks = some("LifelongCartPole-v0", 3, "hetero")
    ran = rollout(kind, tasks=tasks[:1], theta=np.zeros(5), n_trajectories=N_STARTS, trajectories=True, horizon=1)
    sensors = tasks.values[0, [tasks.space.index(f"sensor_gain_{i}") for i in range(1, 5)]]
    starts = Trial.of(kind, tasks).starts
    np.testing.assert_array_equal(starts[0] * sensors, ran.observations[0, :, 0])
    np.testing.assert_array_equal(starts[1], starts[0])


def random_walk(ends: dict[int, float], start: int, horizon: int) -> float:
    """Expected reward of a walk on the 10 by 10 grid that tries each direction equally often."""
    moves = np.zeros((100, 100))
    for cell in range(100):
        for row, column in ((-1, 0), (1, 0), (0, -1), (0, 1)):
            to = min(max(cell // 10 + row, 0), 9), min(max(cell % 10 + column, 0), 9)
            moves[cell, 10 * to[0] + to[1]] += 0.25
    earned, where = 0.0, np.eye(100)[start]
    for _ in range(horizon):
        where = where @ moves
        for cell, reward in ends.items():
            earned += reward * where[cell]
            where[cell] = 0.0
    return earned


def test_references_of_grid_worlds() -> None:
    """Without slipping every goal is reached; where all is slipping no policy beats a random walk."""
    kind = family("LifelongGridWorld-v0")

    def best(tasks: TaskSet) -> FloatArray:
        return ValueIteration(kind, tasks, "goal").best(lambda policy: np.zeros(0))

    np.testing.assert_array_equal(best(kind.parameters.sample(5)), np.ones(5))
    slippery = best(kind.parameters.sample(5, preset="slippery"))
    assert ((slippery > 0.9) & (slippery < 1.0)).all()
    walk = random_walk({77: 1.0, 27: -1.0, 72: -1.0, 33: -1.0}, 0, 200)
    np.testing.assert_allclose(best(kind.parameters.tasks([{"slip": 1.0}])), walk, atol=1e-12)


def test_headroom() -> None:
    """Nearly nil in the published ranges, large where polarities differ; three dimensions bridge it."""
    none = headroom.measure("LifelongSimpleMass-v0", "default", n_tasks=4)
    assert 0.0 <= none.headroom < 0.01
    assert none.recovered == pytest.approx((1.0, 1.0, 1.0), abs=0.01)
    large = headroom.measure("LifelongCartPole-v0", "hetero", n_tasks=4)
    assert large.headroom > 0.3
    assert large.zero < large.shared < large.per_task < 0.0
    assert 0.0 < large.recovered[0] <= large.recovered[1] <= large.recovered[2] == pytest.approx(1.0, abs=0.01)
    assert 0.9 < large.removed_worst <= large.removed < 1.0
    assert headroom.table([none, large]).count("\n") == 3


def test_headroom_command(capsys: pytest.CaptureFixture[str]) -> None:
    """``python -m lifelong_gym.references.headroom`` prints one row a preset."""
    headroom.main(["LifelongSimpleMass-v0", "--preset", "single", "--n-tasks", "2"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].startswith("| LifelongSimpleMass-v0 | single | 0.000 | 1.000 |")
    assert len(lines) == 3


def test_shared_policy_serves_equal_tasks_as_well_as_their_own() -> None:
    """With one task over and over the best shared policy is each task's best."""
    kind, tasks = some("LifelongSimpleMass-v0", 3, "single")
    trial, theta = Trial.of(kind, tasks), shared_policy(kind, tasks)
    assert theta.shape == (3,)
    np.testing.assert_allclose(trial.values(theta), trial.values(best_policies(kind, tasks)), rtol=1e-3)


def bowls(candidates: FloatArray, at: IntArray) -> FloatArray:
    """Ill-conditioned quadratic functions whose optimum 3 lies at (number of the problem, 1, 2, ...)."""
    optimum = np.concatenate([at[:, None], np.tile(np.arange(1, 6), (len(at), 1))], axis=1)
    weights = 10.0 ** np.arange(6)
    return 3.0 - (weights * (candidates - optimum[:, None]) ** 2).sum(axis=-1)


def test_search_finds_optima_independently_of_each_other() -> None:
    """Each problem's result is the same to the bit, alone or among others, and never below its start."""
    start, spread = np.zeros((4, 6)), np.tile(np.eye(6), (4, 1, 1))
    best, value = maximise(bowls, start, spread, generations=500, tolerance=1e-12)
    np.testing.assert_allclose(value, 3.0, atol=1e-9)
    np.testing.assert_allclose(best[:, 0], np.arange(4), atol=1e-4)
    alone, _ = maximise(lambda c, at: bowls(c, at + 2), start[:1], spread[:1], generations=500, tolerance=1e-12)
    np.testing.assert_array_equal(alone[0], best[2])
    at_optimum = np.arange(6.0)[None]
    _, value = maximise(bowls, at_optimum, 1e6 * spread[:1], generations=3)
    assert value[0] == 3.0


def kinks(candidates: FloatArray, at: IntArray, first: int = 0) -> FloatArray:
    """Functions with a ridge along which only the last coordinate counts, and that little; the optimum is 0 at 0."""
    ridge = np.abs(candidates[..., :-1] - candidates[..., -1:]).sum(axis=-1)
    return -(1e6 ** ((at[:, None] + first) % 2) * ridge + 1e-9 * np.abs(candidates[..., -1]))


def test_search_ends_where_its_candidates_become_degenerate() -> None:
    """A problem whose covariance loses its rank keeps its best; those beside it go on, the same to the bit."""
    start, spread = np.ones((4, 3)) + np.arange(3), np.tile(np.eye(3), (4, 1, 1))
    best, value = maximise(kinks, start, spread, generations=2000, tolerance=0.0)
    assert (value > -1e-8).all()
    for i in (0, 1):
        alone, _ = maximise(partial(kinks, first=i), start[:1], spread[:1], generations=2000, tolerance=0.0)
        np.testing.assert_array_equal(alone[0], best[i])
    flat = np.zeros((1, 3, 3))
    best, value = maximise(kinks, start[:1], flat, generations=10)
    np.testing.assert_array_equal(best, start[:1])
    np.testing.assert_array_equal(value, kinks(start[:1, None], np.zeros(1, np.int64))[0])


@pytest.mark.parametrize(("n_tasks", "seed"), [(1, 0), (2, 0), (5, 1)])
def test_headroom_of_few_tasks(n_tasks: int, seed: int) -> None:
    """It is a share; of one task there is none."""
    kind = family("LifelongSimpleMass-v0")
    room = LinearSearch(kind, kind.parameters.sample(n_tasks, seed, "hetero"), "norm").headroom()
    assert room is not None
    assert (0.0 < room < 1.0) if n_tasks > 1 else room == pytest.approx(0.0, abs=1e-3)


def test_no_headroom_where_there_is_nothing_to_gain() -> None:
    """Without a motor the best policy is as good as none."""
    kind = family("LifelongSimpleMass-v0")
    assert LinearSearch(kind, kind.parameters.tasks([{"actuator_gain": 0.0}] * 2), "norm").headroom() is None


class Aimless(KernelFamily):
    """A family with continuous actions but without a goal."""

    parameters = family("LifelongSimpleMass-v0").parameters
    state = family("LifelongSimpleMass-v0").state
    actions = family("LifelongSimpleMass-v0").actions
    observations = family("LifelongSimpleMass-v0").observations
    horizon = 10

    @staticmethod
    def initial(rate: Any) -> Any:
        """At rest."""
        return 0.0, 0.0

    @staticmethod
    def transition(state: Any, action: Any, rate: Any) -> Any:
        """Pushed."""
        return state[0] + rate[0] * action[0], state[1]

    @staticmethod
    def observation(state: Any) -> Any:
        """The state."""
        return state

    @staticmethod
    def nothing() -> float:
        """A reward."""
        return 0.0

    rewards: ClassVar[dict[str, Any]] = {"nothing": nothing}

    def constants(self, parameters: dict[str, FloatArray]) -> dict[str, Any]:
        """None but a rate."""
        return {"rate": (1.0,)}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: lqr_policies(*some("LifelongGridWorld-v0", 2)), "continuous actions. Received GridWorld"),
        (lambda: best_policies(*some("LifelongGridWorld-v0", 2)), "continuous actions. Received GridWorld"),
        (lambda: headroom.measure("LifelongGridWorld-v0", "default"), "continuous actions. Received GridWorld"),
        (lambda: lqr_policies(Aimless(), some("LifelongSimpleMass-v0", 2)[1]), "`goal`. Received Aimless"),
    ],
)
def test_errors_name_the_family(call: Callable[[], object], message: str) -> None:
    """What has no linear policy, or no goal, is refused."""
    with pytest.raises(ValueError, match=message):
        call()


def test_unknown_names_are_refused() -> None:
    """Rewards, presets and ids are checked, with suggestions."""
    with pytest.raises(UnknownNameError, match="Did you mean 'quadratic'"):
        reference_returns(*some("LifelongSimpleMass-v0", 2), reward="quadratc")
    with pytest.raises(UnknownNameError, match="Did you mean 'hetero'"):
        headroom.measure("LifelongSimpleMass-v0", "heteros")
    with pytest.raises(UnknownNameError, match="Did you mean 'LifelongSimpleMass-v0'"):
        headroom.measure("LifelongSimpleMas-v0", "hetero")
