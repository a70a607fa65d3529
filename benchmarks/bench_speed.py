"""Speed, side by side in one run: ``make bench``. Read the ratios in brackets; machines are noisy.

CPU time of one thread, except where two are named. The rivals run plain Euler cart-poles that all share their
parameters; ours are RK4, with parameters, sensors, goals and failure handling of their own in every row.
"""

from __future__ import annotations

import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import lifelong_gym
from benchmarks.sizes import sizes
from lifelong_gym.envs.backends.threads import set_num_threads

ENV, GRID = "LifelongCartPole-v0", "LifelongGridWorld-v0"
N_TASKS, N_TRAJECTORIES = 50, 50
ROUNDS = 7


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    set_num_threads(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # rivals complain of what they are fed
        yield
    set_num_threads(1)


def measure(benchmark: Any, work: Callable[[], object], iterations: int) -> None:
    """Median of a few rounds after a warm-up."""
    benchmark.pedantic(work, rounds=ROUNDS, iterations=iterations, warmup_rounds=1)


class Stepper:
    """Steps a single env, resetting it where an episode ends."""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        """Begin."""
        self.env, self.action = env, env.action_space.sample()
        env.reset(seed=0)

    def __call__(self) -> None:
        """A thousand steps."""
        for _ in range(1000):
            _, _, terminated, truncated, _ = self.env.step(self.action)
            if terminated or truncated:
                self.env.reset()


@pytest.mark.benchmark(group="1000 steps of a single env, default wrappers", timer=time.process_time)
@pytest.mark.parametrize("id", [ENV, "CartPole-v1"])
def test_single_step(benchmark: Any, id: str) -> None:
    """Against Gymnasium's cart-pole."""
    measure(benchmark, Stepper(gym.make(id)), 3)


def ours(n: int) -> Callable[[], object]:
    """A step of our vector env."""
    env = gym.make_vec(ENV, num_envs=n, n_tasks=min(n, N_TASKS))
    env.reset(seed=0)
    actions = env.action_space.sample()
    return lambda: env.step(actions)


def gymnasium(n: int) -> Callable[[], object]:
    """A step of Gymnasium's own vectorised cart-pole."""
    env = gym.make_vec("CartPole-v1", num_envs=n, vectorization_mode="vector_entry_point")
    env.reset(seed=0)
    actions = env.action_space.sample()
    return lambda: env.step(actions)


def envpool(n: int) -> Callable[[], object]:
    """A step of EnvPool's cart-pole on one thread."""
    library = pytest.importorskip("envpool", reason="EnvPool comes with the extra `benchmarks`")
    env = library.make("CartPole-v1", env_type="gymnasium", num_envs=n, num_threads=1)
    env.reset()
    actions = np.zeros(n, np.int32)
    return lambda: env.step(actions)


@pytest.mark.parametrize("make", [ours, gymnasium, envpool])
@pytest.mark.parametrize("n", sizes(64, 2500, 100_000))
def test_vector_step(benchmark: Any, make: Callable[[int], Callable[[], object]], n: int) -> None:
    """Against Gymnasium and EnvPool, a row an env."""
    benchmark.group = f"a step of {n} rows"
    measure(benchmark, make(n), max(1, 200_000 // n))


@pytest.mark.benchmark(group=f"rollouts: {N_TASKS} tasks x {N_TRAJECTORIES} trajectories x 150 steps")
@pytest.mark.parametrize(("backend", "threads"), [("numba", 1), ("numba", 2), ("numpy", 1)])
def test_rollout(benchmark: Any, backend: str, threads: int) -> None:
    """Wall time of the fused rollouts against the same physics, policy and statistics as NumPy loops."""
    set_num_threads(threads)
    tasks = lifelong_gym.sample_tasks(ENV, N_TASKS, preset="hetero")

    def run() -> None:
        lifelong_gym.rollout(
            ENV, tasks=tasks, theta=[[1.0, 1.5, 3.0, 5.0, 0.0]], n_trajectories=N_TRAJECTORIES, backend=backend
        )

    measure(benchmark, run, 3)


def fused_tables(n: int) -> tuple[Callable[[], object], int]:
    """Episodes of a table of logits on grids, and how many steps they are."""
    tasks = lifelong_gym.sample_tasks(GRID, 4)
    given: dict[str, Any] = {"tasks": tasks, "theta": np.zeros((100, 4)), "n_trajectories": n // len(tasks)}
    n_steps = int(lifelong_gym.rollout(GRID, **given).steps.sum())
    return lambda: lifelong_gym.rollout(GRID, **given), n_steps


def stepped_tables(n: int) -> tuple[Callable[[], object], int]:
    """As many steps of a vector env, a row an episode, with actions of the same table; without statistics."""
    env = gym.make_vec(GRID, num_envs=n, n_tasks=4, autoreset_mode="SameStep")
    rng, thresholds = np.random.default_rng(0), np.full((100, 4), 0.25).cumsum(axis=1)
    seen, _ = env.reset(seed=0)
    n_steps = -(-fused_tables(n)[1] // n)

    def steps() -> None:
        nonlocal seen
        for _ in range(n_steps):
            seen = env.step((rng.random((n, 1)) >= thresholds[seen, :3]).sum(axis=1))[0]

    return steps, n * n_steps


@pytest.mark.parametrize("make", [fused_tables, stepped_tables])
@pytest.mark.parametrize("n", [40, 2000])
def test_table_rollout(benchmark: Any, make: Callable[[int], tuple[Callable[[], object], int]], n: int) -> None:
    """Fused rollouts of tables of logits against stepping a vector env; CPU time of one thread."""
    work, benchmark.extra_info["env steps"] = make(n)
    benchmark.group = f"{n} episodes of a table on grids"
    measure(benchmark, work, 3)


@pytest.mark.benchmark(group=f"{N_TASKS * N_TRAJECTORIES} x 150 steps with random actions")
def test_gymnax_rollout(benchmark: Any) -> None:
    """Gymnax's cart-pole, jitted and vmapped, beside `test_rollout`; physics only, in float32."""
    gymnax = pytest.importorskip("gymnax", reason="gymnax comes with the extra `benchmarks`")
    jax = pytest.importorskip("jax", reason="gymnax needs jax")
    env, params = gymnax.make("CartPole-v1")

    def episode(key: Any) -> Any:
        key, start = jax.random.split(key)
        _, state = env.reset(start, params)

        def step(carry: Any, _: Any) -> Any:
            state, key = carry
            key, act, move = jax.random.split(key, 3)
            action = jax.random.randint(act, (), 0, 2)
            _, state, reward, *_ = env.step(move, state, action, params)
            return (state, key), reward

        return jax.lax.scan(step, (state, key), None, 150)[1].sum()

    run = jax.jit(jax.vmap(episode))
    keys = jax.random.split(jax.random.PRNGKey(0), N_TASKS * N_TRAJECTORIES)
    measure(benchmark, lambda: run(keys).block_until_ready(), 3)


IMPORTS = {
    "gymnasium and pettingzoo": "import gymnasium, pettingzoo",
    "lifelong_gym": "import lifelong_gym",
    "lifelong_gym, first step": (
        "import gymnasium, numpy, lifelong_gym; env = gymnasium.make('LifelongCartPole-v0'); env.reset(seed=0);"
        "env.step(numpy.zeros(1, numpy.float32))"
    ),
}


@pytest.mark.benchmark(group="a new process, compiled code cached")
@pytest.mark.parametrize("what", IMPORTS)
def test_import(benchmark: Any, what: str) -> None:
    """What a user waits for."""
    measure(benchmark, lambda: subprocess.run([sys.executable, "-c", IMPORTS[what]], check=True), 1)
