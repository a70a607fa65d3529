"""Fused rollouts against trajectories worked out by hand, and what their results depend on."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import pytest

import lifelong_gym
from lifelong_gym import rollout
from lifelong_gym.envs.backends.numba_rollout import LANES, compiled
from lifelong_gym.envs.backends.text import Program
from lifelong_gym.envs.backends.threads import set_num_threads
from lifelong_gym.envs.family import kernel_of
from lifelong_gym.envs.spaces import Continuous
from lifelong_gym.registry import FAMILIES
from lifelong_gym.tasks.task_set import TaskSet

CART_POLE, QUADROTOR = "LifelongCartPole-v0", "LifelongQuadrotor-v0"
TASKS = lifelong_gym.sample_tasks(CART_POLE, 3, seed=2, preset="hetero")
THETA = np.random.default_rng(0).normal(size=(3, 5))
COMMON: dict[str, Any] = {"tasks": TASKS, "theta": THETA, "n_trajectories": 4, "seed": 6, "horizon": 60}
BACKENDS = ("numba", "numpy")
CONTINUOUS = [id for id in FAMILIES if isinstance(lifelong_gym.family(id).actions, Continuous)]
each_backend = pytest.mark.parametrize("backend", BACKENDS)


def run(id: str = CART_POLE, **changes: Any) -> Any:
    """A rollout with some arguments changed."""
    return rollout(id, **{**COMMON, **changes})


def equal(a: Any, b: Any) -> bool:
    """All arrays of two results, to the bit."""
    return all(np.array_equal(getattr(a, field.name), getattr(b, field.name)) for field in fields(a))


@pytest.fixture
def threads() -> Iterator[None]:
    """Puts the number of threads back."""
    yield
    set_num_threads(2)


# ----------------------------------------------------------------------------------------------- against the truth


@functools.cache
def policy_noise() -> Any:
    """The policy's noise, read off actions that no bound clips: those of a policy without gains."""
    quiet = run(theta=np.zeros(5), sigma=0.01, trajectories=True, backend="numpy")
    return 2.0 * quiet.actions / 0.01


def by_hand(episodes: Any, i: int, j: int, weights: Any, bias: bool) -> tuple[float, int, Any, Any]:
    """Return, living steps, ``sum w noise phi'`` and ``sum w phi phi'`` of a trajectory, in a plain loop."""
    family = lifelong_gym.family(CART_POLE)
    theta = THETA[i] if bias else THETA[i, :4]
    noise_features, squares, steps = np.zeros((1, len(theta))), np.zeros((len(theta), len(theta))), 0
    for t in range(60):
        if not episodes.alive[i, j, t]:
            continue
        phi = episodes.observations[i, j, t] / np.array(family.feature_scale)
        phi = np.append(phi, 1.0) if bias else phi
        noise = policy_noise()[i, j, t]
        np.testing.assert_allclose(
            episodes.actions[i, j, t], np.clip((theta @ phi + 0.3 * noise) / 2.0, -1, 1), atol=1e-9
        )
        noise_features += weights[t] * np.outer(noise, phi)
        squares += weights[t] * np.outer(phi, phi)
        steps += 1
    return float(episodes.rewards[i, j].sum()), steps, noise_features, squares


@each_backend
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
def test_statistics_are_sums_over_trajectories(weighted: bool, bias: bool, backend: str) -> None:
    """Score, Fisher information, return and living steps, for rows that fail too."""
    theta = THETA if bias else THETA[:, :4]
    weights = np.random.default_rng(1).uniform(size=(3, 4, 60)) if weighted else np.ones((3, 4, 60))
    given = weights if weighted else None
    stats = run(theta=theta, weights=given, bias=bias, backend=backend)
    episodes = run(theta=theta, bias=bias, trajectories=True, backend=backend)
    assert not episodes.alive.all()
    assert episodes.alive[:, :, -1].any()
    n = theta.shape[1]
    for i, j in np.ndindex(3, 4):
        total, steps, noise_features, squares = by_hand(episodes, i, j, weights[i, j], bias)
        assert stats.returns[i, j] == pytest.approx(total, rel=1e-12)
        assert stats.steps[i, j] == steps
        np.testing.assert_allclose(stats.noise_features[i, j], noise_features.ravel(), atol=1e-9)
        np.testing.assert_allclose(stats.score[i, j], noise_features.ravel() / 0.3, atol=1e-8)
        np.testing.assert_allclose(stats.fisher[i, j], squares[np.triu_indices(n)] / 0.3**2, rtol=1e-9)
        np.testing.assert_allclose(stats.fisher_matrix()[i, j], squares / 0.3**2, rtol=1e-9)


def test_the_score_is_the_gradient_of_the_likelihood() -> None:
    """By finite differences of the log density of the noise that the actions need."""
    episodes, stats = run(trajectories=True), run()
    y = episodes.observations[0, 0, :-1] / np.array(lifelong_gym.family(CART_POLE).feature_scale)
    phi = np.column_stack([y, np.ones(60)])
    alive = episodes.alive[0, 0]
    a = phi @ THETA[0] + 0.3 * policy_noise()[0, 0, :, 0]

    def log_density(theta: npt.NDArray[np.float64]) -> float:
        return float(-0.5 * (((a - phi @ theta) / 0.3) ** 2)[alive].sum())

    steps = 1e-6 * np.eye(5)
    slope = [(log_density(THETA[0] + h) - log_density(THETA[0] - h)) / 2e-6 for h in steps]
    np.testing.assert_allclose(stats.score[0, 0], slope, rtol=1e-6, atol=1e-6)


def test_the_fisher_matrix_has_a_block_for_each_action() -> None:
    """Equal blocks on the diagonal, nothing beside them."""
    d = 4 * 7
    stats = rollout(QUADROTOR, theta=np.zeros(d), n_trajectories=2, tasks=[{}], horizon=5)
    full = stats.fisher_matrix().reshape(2, 4, 7, 4, 7)
    assert stats.fisher.shape == (1, 2, 7 * 8 // 2)
    for a, b in np.ndindex(4, 4):
        assert np.array_equal(full[:, a, :, b], full[:, 0, :, 0] if a == b else np.zeros((2, 7, 7)))


@each_backend
def test_a_policy_without_noise(backend: str) -> None:
    """Acts by its gains; it has no score."""
    episodes = run(sigma=0, trajectories=True, backend=backend)
    phi = episodes.observations[:, :, :-1] / np.array(lifelong_gym.family(CART_POLE).feature_scale)
    mean = np.einsum("ijtk,ik->ijt", phi, THETA[:, :4]) + THETA[:, 4, None, None]
    np.testing.assert_allclose(episodes.actions[..., 0], np.clip(mean / 2.0, -1, 1), atol=1e-12)
    stats = run(sigma=0, backend=backend)
    assert np.isfinite(stats.noise_features).all()
    for name in ("score", "fisher"):
        with pytest.raises(ValueError, match="`sigma=0`"):
            getattr(stats, name)


@each_backend
def test_trajectories_and_statistics_are_of_the_same_episodes(backend: str) -> None:
    """One counts what the other shows; after a failure every step costs the same."""
    episodes, stats = run(trajectories=True, backend=backend), run(backend=backend)
    np.testing.assert_array_equal(episodes.alive.sum(-1), stats.steps)
    np.testing.assert_allclose(episodes.rewards.sum(-1), stats.returns, rtol=1e-12)
    dead = ~episodes.alive
    assert dead.any()
    assert set(episodes.rewards[dead]) == {-kernel_of(lifelong_gym.family(CART_POLE), "failing").failure_cost}
    assert (np.diff(episodes.alive.astype(int)) <= 0).all()


def test_a_row_that_fails_counts_its_failing_step() -> None:
    """In the single env that step is the first that says so."""
    episodes = run(trajectories=True)
    env = gym.make(CART_POLE, tasks=TASKS, horizon=60)
    i, j = np.argwhere(~episodes.alive[:, :, -1])[0]
    for visit in range(j + 1):
        env.reset(seed=6 if visit == 0 else None, options={"task": int(i)})
    failed = [env.step(action)[4]["failed"] for action in episodes.actions[i, j]]
    assert failed.index(True) + 1 == episodes.alive[i, j].sum()


def test_a_trajectory_ends_where_its_episode_terminates(register: Callable[[str], str]) -> None:
    """Later steps are no longer alive, and earn nothing."""
    id = register("Thermostat")
    common: dict[str, Any] = {"tasks": [{}, {"loss": 2.0}], "theta": np.array([-1.0, 0.0]), "n_trajectories": 8}
    episodes = rollout(id, **common, backend="numpy", trajectories=True)
    stats = rollout(id, **common, backend="numpy")
    env = gym.make(id, tasks=common["tasks"], backend="numpy")
    lengths = np.zeros((2, 8), int)
    for i, j in np.ndindex(2, 8):
        observation, _ = env.reset(seed=0 if j == 0 else None, options={"task": i})
        ended = False
        while not ended:
            t = lengths[i, j]
            assert observation == np.float32(episodes.observations[i, j, t])
            observation, reward, terminated, truncated, _ = env.step(episodes.actions[i, j, t])
            assert reward == episodes.rewards[i, j, t]
            lengths[i, j] += 1
            ended = terminated or truncated
    np.testing.assert_array_equal(stats.steps, lengths)
    np.testing.assert_array_equal(episodes.alive.sum(-1), lengths)
    assert len(np.unique(lengths)) > 5
    assert (episodes.rewards[~episodes.alive] == 0.0).all()


# ------------------------------------------------------------------------------------ what the results depend on


@pytest.mark.parametrize("id", CONTINUOUS)
def test_backends_give_the_same_bits(id: str) -> None:
    """Statistics and trajectories, with and without weights, of random policies."""
    family = lifelong_gym.family(id)
    assert isinstance(family.actions, Continuous)
    d = family.actions.size * (family.observations.size + 1)
    n, horizon = 5, 40
    rng = np.random.default_rng(3)
    common: dict[str, Any] = {"theta": rng.normal(size=(n, d)), "n_trajectories": 3, "horizon": horizon}
    common["tasks"] = lifelong_gym.sample_tasks(id, n)
    for extra in ({}, {"weights": rng.normal(size=(n, 3, horizon))}, {"trajectories": True, "first_visit": 2}):
        first, *others = (rollout(id, **common, **extra, backend=backend) for backend in (*BACKENDS, "python"))
        assert all(equal(first, other) for other in others)


@pytest.mark.usefixtures("threads")
def test_neither_threads_nor_the_batch_matter() -> None:
    """1, 2, 4 threads; a few of the tasks; a few of the trajectories; other policies beside."""
    tasks = lifelong_gym.sample_tasks(CART_POLE, 30)
    theta = np.random.default_rng(0).normal(size=(30, 5))
    common: dict[str, Any] = {"n_trajectories": 40, "seed": 1, "horizon": 20}
    results = []
    for n_threads in (1, 2, 4):
        set_num_threads(n_threads)
        results.append(rollout(CART_POLE, tasks=tasks, theta=theta, **common))
    assert all(equal(results[0], other) for other in results[1:])
    some = [3, 17, 4]
    few = rollout(CART_POLE, tasks=tasks[some], theta=theta[some], **{**common, "n_trajectories": 7})
    np.testing.assert_array_equal(few.returns, results[0].returns[some, :7])
    np.testing.assert_array_equal(few.features_squared, results[0].features_squared[some, :7])


def test_later_visits_go_on_where_earlier_ones_ended() -> None:
    """Trajectory j of the second call is number first_visit + j of one long call."""
    whole, later = run(n_trajectories=9), run(n_trajectories=4, first_visit=5)
    np.testing.assert_array_equal(later.returns, whole.returns[:, 5:])
    assert len(np.unique(whole.returns)) == whole.returns.size
    assert not np.array_equal(run(seed=7).returns, run().returns)


def test_noise_belongs_to_the_task_not_to_its_place() -> None:
    """A split keeps it, as uids survive."""
    first, rest = TASKS.split(1, seed=0)
    rows = [TASKS.uids.tolist().index(uid) for uid in rest.uids]
    stats = run(tasks=rest, theta=THETA[rows])
    np.testing.assert_array_equal(stats.returns, run().returns[rows])
    assert len(first) == 1


@each_backend
def test_start_states(backend: str) -> None:
    """One for all, one a task, one a trajectory; the noise of the policy stays."""
    drawn = run(trajectories=True, backend=backend)
    per_task = np.random.default_rng(5).uniform(-0.1, 0.1, (3, 1, 4))
    per_trajectory = np.broadcast_to(per_task, (3, 4, 4))
    one, many = (run(initial_states=x, trajectories=True, backend=backend) for x in (per_task, per_trajectory))
    assert equal(one, many)
    gains = TASKS.values[:, [TASKS.space.index(f"sensor_gain_{i}") for i in range(1, 5)]]
    np.testing.assert_array_equal(one.observations[:, 0, 0], gains * per_task[:, 0])
    same = run(initial_states=np.zeros(4), theta=np.zeros(5), sigma=0.01, trajectories=True, backend=backend)
    np.testing.assert_allclose(2.0 * same.actions / 0.01, policy_noise())
    assert not np.array_equal(one.observations, drawn.observations)


def test_one_policy_for_all_tasks() -> None:
    """One row of gains, or one per task."""
    assert equal(run(theta=THETA[0]), run(theta=np.tile(THETA[0], (3, 1))))


def test_what_is_read_only_needs_no_other_code() -> None:
    """Policies, start states and weights that can't be written go through the code that was compiled for others."""
    shapes = {"theta": (3, 5), "initial_states": (3, 4, 4), "weights": (3, 4, 60)}
    given: dict[str, Any] = {name: 0.1 * np.random.default_rng(1).normal(size=n) for name, n in shapes.items()}
    first = run(**given)
    text = Program.of(kernel_of(lifelong_gym.family(CART_POLE), "a rollout"), TASKS).text
    code = compiled(text, True, 0, LANES).sum_rollouts
    n_compiled = len(code.signatures)
    for array in given.values():
        array.flags.writeable = False
    assert equal(run(**given), first)
    assert len(code.signatures) == n_compiled > 0
    assert not any(array.flags.writeable for array in given.values())


@each_backend
def test_the_reward_is_that_of_the_env(backend: str) -> None:
    """By name, or the preset's, or the family's first."""
    tasks = lifelong_gym.sample_tasks(CART_POLE, 2, preset="safe2015")
    theta = np.zeros(5)
    episodes = run(tasks=tasks, theta=theta, trajectories=True, backend=backend)
    assert equal(episodes, run(tasks=tasks, theta=theta, reward="quadratic", trajectories=True, backend=backend))
    env = gym.make(CART_POLE, tasks=tasks, backend="numpy")
    env.reset(seed=6, options={"task": 1})
    rewards = [env.step(action)[1] for action in episodes.actions[1, 0]]
    np.testing.assert_array_equal(rewards, episodes.rewards[1, 0])
    norm = run(tasks=tasks, theta=theta, reward="norm", trajectories=True, backend=backend)
    np.testing.assert_array_equal(norm.observations, episodes.observations)
    assert not np.array_equal(norm.rewards, episodes.rewards)


def test_whatever_names_tasks_will_do() -> None:
    """A set, dicts, or none at all: ten default ones."""
    dicts = [dict(task) for task in TASKS]
    np.testing.assert_array_equal(run(tasks=dicts).returns.shape, (3, 4))
    ten = run(tasks=None, theta=THETA[0])
    np.testing.assert_array_equal(
        ten.returns, run(tasks=lifelong_gym.sample_tasks(CART_POLE, 10), theta=THETA[0]).returns
    )
    assert equal(rollout(lifelong_gym.family(CART_POLE), **COMMON), run())
    again = TaskSet.from_json(TASKS.to_json(), TASKS.space)
    assert equal(run(tasks=again), run())


# ---------------------------------------------------------------------------------------------------------- errors

BAD: list[tuple[dict[str, Any], str]] = [
    ({"theta": np.zeros((3, 4))}, r"`theta` must have shape \(3, 5\). Received \(3, 4\)"),
    ({"theta": np.zeros((2, 5))}, r"`theta` must have shape \(3, 5\). Received \(2, 5\)"),
    ({"theta": np.full(5, np.nan)}, "`theta` must be finite. Received nan"),
    ({"theta": np.zeros(4)}, r"`theta` must have shape \(3, 5\)"),
    ({"theta": np.zeros(5), "bias": False}, r"`theta` must have shape \(3, 4\). Received \(5,\)"),
    ({"n_trajectories": 0}, "`n_trajectories` must be an integer of at least 1. Received 0"),
    ({"n_trajectories": 2.5}, "`n_trajectories` must be an integer of at least 1. Received 2.5"),
    ({"horizon": 0}, "`horizon` must be an integer of at least 1. Received 0"),
    ({"horizon": 1.5}, "`horizon` must be an integer of at least 1. Received 1.5"),
    ({"first_visit": -1}, "`first_visit` must be an integer of at least 0. Received -1"),
    ({"seed": -1}, "`seed` must be an integer of at least 0. Received -1"),
    ({"seed": None}, "`seed` must be an integer of at least 0. Received None"),
    ({"sigma": -0.1}, "`sigma` must be finite and not negative. Received -0.1"),
    ({"sigma": np.inf}, "`sigma` must be finite and not negative. Received inf"),
    ({"sigma": np.nan}, "`sigma` must be finite and not negative. Received nan"),
    ({"sigma": "big"}, "`sigma` must be finite and not negative. Received big"),
    ({"weights": np.ones((3, 4, 59))}, r"`weights` must have shape \(3, 4, 60\). Received \(3, 4, 59\)"),
    ({"weights": np.inf}, "`weights` must be finite. Received inf"),
    ({"initial_states": np.zeros(3)}, r"`initial_states` must have shape \(3, 4, 4\). Received \(3,\)"),
    ({"initial_states": np.full(4, np.nan)}, "`initial_states` must be finite. Received nan"),
    ({"initial_states": np.array([0, 0, 3.0, 0])}, "`state`: angle must be finite and within 0.5 rad. Received 3.0"),
    ({"reward": "nrom"}, "unknown reward 'nrom'. Did you mean 'norm'"),
    ({"backend": "jax"}, "unknown backend 'jax'"),
    ({"tasks": []}, "a TaskSet needs at least one task"),
    ({"tasks": [{"cart_mas": 1.0}]}, "unknown parameter 'cart_mas'. Did you mean 'cart_mass'"),
    ({"tasks": lifelong_gym.sample_tasks(QUADROTOR, 3)}, "belong to a family with other parameters"),
]


@pytest.mark.parametrize(("changes", "message"), BAD, ids=lambda value: str(value)[:40])
def test_bad_arguments(changes: dict[str, Any], message: str) -> None:
    """The error names the argument, what it must be, and what was given."""
    with pytest.raises(ValueError, match=message):
        run(**changes)


def test_ids_that_have_no_such_rollouts() -> None:
    """Gains for discrete actions, an unknown id."""
    with pytest.raises(ValueError, match=r"`theta` must have shape \(2, 100, 4\) or \(100, 4\). Received \(3, 5\)"):
        run("LifelongGridWorld-v0", tasks=[{}, {}])
    with pytest.raises(ValueError, match=r"unknown environment id 'LifelongCartPol-v0'. Did you mean"):
        run("LifelongCartPol-v0")
