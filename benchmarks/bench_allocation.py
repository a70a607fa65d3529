"""Portfolios, side by side in one run: ``make bench``. Read the ratios in brackets; machines are noisy.

CPU time of one thread. Ten instruments, a window of 20 days, 2500 rows in 50 tasks. The rivals do the same arithmetic
in NumPy, written by hand: exact costs, reward over equal shares, 210 numbers of observation.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import lifelong_gym
from benchmarks.bench_speed import Stepper, measure
from lifelong_gym.envs.allocation.portfolio import Portfolio
from lifelong_gym.envs.backends.threads import set_num_threads

ID, CART_POLE = "LifelongPortfolio-v0", "LifelongCartPole-v0"
N_ROWS, N_TASKS, M, WINDOW, DAYS = 2500, 50, 10, 20, 50


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    set_num_threads(1)
    yield
    set_num_threads(1)


def actions() -> Any:
    """Random weights."""
    return np.random.default_rng(0).uniform(size=(N_ROWS, M)).astype(np.float32)


class ByHand:
    """Portfolios in NumPy.

    Args:
        prepares: whether each task's windows lie ready, as float32.
    """

    def __init__(self, prepares: bool) -> None:
        """Begin all episodes."""
        family = lifelong_gym.family(ID, m=M)
        assert isinstance(family, Portfolio)
        self.close, self.relatives = family.data.close, family.data.relatives
        values = family.parameters.sample(N_TASKS).values
        self.task = np.arange(N_ROWS) % N_TASKS
        self.columns = values[self.task, :M].astype(int)
        self.cost = values[self.task, -1]
        self.rng = np.random.default_rng(0)
        self.windows = self._windows(values[:, :M].astype(int)) if prepares else None
        self.day, self.age = self._start(N_ROWS), np.zeros(N_ROWS, int)
        self.held, self.equal = np.full((N_ROWS, M), 1 / M), np.full((N_ROWS, M), 1 / M)

    def _start(self, n: int) -> Any:
        return self.rng.integers(WINDOW, len(self.close) - DAYS, n)

    def _windows(self, columns: Any) -> Any:
        """Of each task and day, shape (n_tasks, n_days, m, window - 1); of the last 1000 days, so that they fit."""
        slides = np.lib.stride_tricks.sliding_window_view(self.close, WINDOW, axis=0)[-1000:]
        features = (20.0 * (slides[..., :-1] / slides[..., -1:] - 1.0)).clip(-20.0, 100.0).astype(np.float32)
        return np.stack([features[:, its] for its in columns])

    def left(self, held: Any, wanted: Any) -> Any:
        """Of the wealth, after paying for trades."""
        both, mu = self.cost * (2.0 - self.cost), np.ones(len(held))
        for _ in range(4):
            sold = held > mu[:, None] * wanted
            mu = (1.0 - both * np.where(sold, held, 0.0).sum(1)) / (1.0 - both * np.where(sold, wanted, 0.0).sum(1))
        return mu

    def seen(self) -> Any:
        """Observations, float32."""
        out = np.empty((N_ROWS, M, WINDOW + 1), np.float32)
        if self.windows is None:
            days = self.day[:, None, None] + np.arange(-WINDOW, 0)
            past = self.close[days, self.columns[:, :, None]]
            out[..., : WINDOW - 1] = (20.0 * (past[..., :-1] / past[..., -1:] - 1.0)).clip(-20.0, 100.0)
        else:
            out[..., : WINDOW - 1] = self.windows[self.task, self.day % 1000]
        out[..., -2] = M * self.held - 1.0
        out[..., -1] = 1.0
        return out.reshape(N_ROWS, -1)

    def step(self, given: Any) -> Any:
        """One day; episodes that end begin anew."""
        a = given.astype(float)
        a /= a.sum(1, keepdims=True)
        y = self.relatives[self.day[:, None], self.columns]
        growth = (a * y).sum(1)
        even = np.full((N_ROWS, M), 1 / M)
        reward = 100 * np.log(self.left(self.held, a) * growth / (self.left(self.equal, even) * y.mean(1)))
        self.held, self.equal = a * y / growth[:, None], y / y.sum(1, keepdims=True)
        self.day, self.age = self.day + 1, self.age + 1
        ended = self.age >= DAYS
        if ended.any():
            self.day[ended], self.age[ended] = self._start(int(ended.sum())), 0
            self.held[ended] = self.equal[ended] = 1 / M
        return self.seen(), reward, ended


@pytest.mark.benchmark(group="2500 portfolios of ten, a step", timer=time.process_time)
@pytest.mark.parametrize("who", ["ours", "NumPy, windows prepared", "NumPy, windows gathered"])
def test_rows(benchmark: Any, who: str) -> None:
    """Ours beside NumPy by hand."""
    if who == "ours":
        env = gym.make_vec(ID, num_envs=N_ROWS, n_tasks=N_TASKS, m=M, window=WINDOW, days=DAYS)
        env.reset(seed=0)
        step: Any = env.step
    else:
        step = ByHand(who.endswith("prepared")).step
    given = actions()
    measure(benchmark, lambda: step(given), 10)


@pytest.mark.benchmark(group="1000 steps of a single portfolio", timer=time.process_time)
@pytest.mark.parametrize("id", [ID, CART_POLE])
def test_single(benchmark: Any, id: str) -> None:
    """One row through `gym.make`, beside our cart-pole."""
    env: gym.Env[Any, Any] = gym.make(id, m=M) if id == ID else gym.make(id)
    measure(benchmark, Stepper(env), 1)


@pytest.mark.benchmark(group="a task set of portfolios, tables and constants", timer=time.process_time)
@pytest.mark.parametrize("n_tasks", [10, 10_000])
def test_many_tasks(benchmark: Any, n_tasks: int) -> None:
    """Ten thousand read the prices that ten read."""
    tasks = lifelong_gym.sample_tasks(ID, n_tasks, m=M)
    measure(benchmark, lambda: gym.make_vec(ID, num_envs=1, tasks=tasks, m=M), 1)
