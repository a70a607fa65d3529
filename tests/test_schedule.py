"""The order in which rows meet their tasks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifelong_gym.numerics import philox
from lifelong_gym.numerics.arrays import IntArray
from lifelong_gym.tasks.schedule import Schedule

counts = st.integers(1, 12)


def walk(spec: Any, n_tasks: int, n_rows: int = 1, n_episodes: int = 12, seed: int = 0) -> IntArray:
    """Tasks, shape (n_episodes, n_rows)."""
    keys = np.array([philox.row_key(seed + row) for row in range(n_rows)], np.uint64)
    rows, schedule = np.arange(n_rows), Schedule(spec, n_tasks, n_rows)
    return np.array([schedule.task(rows, np.full(n_rows, k), keys) for k in range(n_episodes)])


@given(n_tasks=counts, n_rows=counts)
def test_rows_take_turns(n_tasks: int, n_rows: int) -> None:
    """Row i of R runs task (i + k R) mod n_tasks; with a multiple of n_tasks rows each stays in its task."""
    tasks = walk(None, n_tasks, n_rows)
    assert [[(i + k * n_rows) % n_tasks for i in range(n_rows)] for k in range(12)] == tasks.tolist()
    assert sorted(set(walk(None, n_tasks, n_rows, n_tasks).ravel())) == list(range(n_tasks))
    assert (walk(None, n_tasks, 2 * n_tasks) == walk(None, n_tasks, 2 * n_tasks)[0]).all()


@given(n_tasks=counts, block=st.integers(1, 5))
def test_blocks(n_tasks: int, block: int) -> None:
    """So many episodes in a task, then the next; one is ``"sequential"``."""
    expected = [(k // block) % n_tasks for k in range(12)]
    assert walk({"blocked": block}, n_tasks)[:, 0].tolist() == expected
    assert walk("sequential", n_tasks)[:, 0].tolist() == [k % n_tasks for k in range(12)]


@given(tasks=st.lists(st.integers(0, 4), min_size=1, max_size=6))
def test_a_list_runs_in_a_circle(tasks: list[int]) -> None:
    """In every row."""
    walked = walk(tasks, 5, n_rows=2, n_episodes=2 * len(tasks))
    assert walked.tolist() == [[task, task] for task in tasks * 2]


def test_random_tasks() -> None:
    """Uniform, independent of row and episode, fixed by the row's seed."""
    tasks = walk("random", 5, n_rows=200, n_episodes=100)
    assert np.abs(np.bincount(tasks.ravel()) / tasks.size - 0.2).max() < 0.02
    assert abs(np.corrcoef(tasks[1:].ravel(), tasks[:-1].ravel())[0, 1]) < 0.03
    assert abs(np.corrcoef(tasks[:, 1:].ravel(), tasks[:, :-1].ravel())[0, 1]) < 0.03
    np.testing.assert_array_equal(walk("random", 5, 1, 100, seed=7)[:, 0], tasks[:, 7])


def test_rows_among_some_tasks() -> None:
    """Row i of R runs ``among[(i + k R) mod n]``, and only these tasks are present."""
    schedule, rows = Schedule(None, 9, 4, among=[5, 2, 7]), np.arange(4)
    assert schedule.present.tolist() == [2, 5, 7]
    for k in range(4):
        expected = [[5, 2, 7][(i + 4 * k) % 3] for i in range(4)]
        assert schedule.task(rows, np.full(4, k), np.zeros((4, 2))).tolist() == expected
    with pytest.raises(ValueError, match=r"`among` must name tasks in \[0, 8\]. Received 9 to 9"):
        Schedule(None, 9, 4, among=[9])


def test_rounds_drawn_anew() -> None:
    """A round's task is that of ``"random"`` in the episode of that number."""
    np.testing.assert_array_equal(walk({"rounds": "uniform"}, 5, 8), walk("random", 5, 8))
    assert Schedule({"rounds": "uniform"}, 5, 8).in_rounds


@given(n_tasks=counts, n_rows=counts)
def test_rounds_of_permutations(n_tasks: int, n_rows: int) -> None:
    """A pass meets every task once, in an order of each row's own."""
    tasks = walk({"rounds": "permutation"}, n_tasks, n_rows, 3 * n_tasks).reshape(3, n_tasks, n_rows)
    assert (np.sort(tasks, axis=1) == np.arange(n_tasks)[:, None]).all()


def test_permutations_are_uniform() -> None:
    """Every order comes up equally often, whatever the row and the pass, however many are drawn at once."""
    tasks = walk({"rounds": "permutation"}, 3, n_rows=2000, n_episodes=6)
    orders = tasks.reshape(2, 3, -1).transpose(0, 2, 1).reshape(-1, 3) @ [9, 3, 1]
    assert np.abs(np.unique(orders, return_counts=True)[1] / len(orders) - 1 / 6).max() < 0.025
    alone = walk({"rounds": "permutation"}, 3, n_episodes=6, seed=1234)
    np.testing.assert_array_equal(alone[:, 0], tasks[:, 1234])
    wide = walk({"rounds": "permutation"}, 3000, n_rows=100, n_episodes=2)  # in several chunks
    np.testing.assert_array_equal(walk({"rounds": "permutation"}, 3000, n_episodes=2, seed=99)[:, 0], wide[:, 99])


def test_weighted_tasks() -> None:
    """Drawn in proportion, each row by its own seed; those of weight 0 never come up."""
    weights = [0.0, 2.0, 1.0, 0.0, 1.0, 0.0]
    tasks = walk({"weights": weights}, 6, n_rows=200, n_episodes=100)
    np.testing.assert_allclose(np.bincount(tasks.ravel(), minlength=6) / tasks.size, np.array(weights) / 4, atol=0.01)
    assert Schedule({"weights": weights}, 6, 1).present.tolist() == [1, 2, 4]
    np.testing.assert_array_equal(walk({"weights": weights}, 6, 1, 100, seed=7)[:, 0], tasks[:, 7])
    np.testing.assert_array_equal(walk({"weights": [1e308] * 4}, 4, 3), walk("random", 4, 3))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("sequental", "unknown schedule 'sequental'. Did you mean 'sequential'"),
        (
            "blocked",
            r"There are: sequential, random, \{\"blocked\": k\}, \{\"rounds\": ...\}, \{\"weights\": \[...\]\}, a list",
        ),
        ({"blocked": 0}, "`blocked` must be an integer of at least 1. Received 0"),
        ({"blocked": 1.5}, "`blocked` must be an integer of at least 1. Received 1.5"),
        ({"block": 2}, r"`schedule` must be \{\"blocked\": k\}, .* Received \{'block': 2\}"),
        ({}, "`schedule` must be"),
        ({"rounds": "uniform", "blocked": 2}, "`schedule` must be"),
        ({"rounds": "permutations"}, "unknown rounds 'permutations'. Did you mean 'permutation'"),
        ({"rounds": 3}, "unknown rounds 3. There are: uniform, permutation"),
        ({"weights": [1, 1, 1, 1]}, r"`weights` must be 5 finite numbers of at least 0, one a task, .*\[1, 1, 1, 1\]"),
        ({"weights": [1, 1, 1, 1, -0.1]}, "`weights` must be 5 finite numbers"),
        ({"weights": [1, 1, 1, 1, float("nan")]}, "`weights` must be 5 finite numbers"),
        ({"weights": [1, 1, 1, 1, float("inf")]}, "`weights` must be 5 finite numbers"),
        ({"weights": [0, 0, 0, 0, 0]}, "not all of them 0"),
        ({"weights": "even"}, "`weights` must be 5 finite numbers.* Received 'even'"),
        ({"weights": [[1], [2, 3]]}, "`weights` must be 5 finite numbers"),
        ([], r"`schedule` must be a non-empty list of task indices. Received \[\]"),
        ([0.5], r"`schedule` must be a non-empty list of task indices. Received \[0.5\]"),
        ([True], "`schedule` must be a non-empty list of task indices"),
        (3, "`schedule` must be a non-empty list of task indices. Received 3"),
        ([[0, 1]], "`schedule` must be a non-empty list of task indices"),
        ([0, 5], r"`schedule` must name tasks in \[0, 4\]. Received 0 to 5"),
        ([-1], r"`schedule` must name tasks in \[0, 4\]. Received -1 to -1"),
    ],
    ids=str,
)
def test_bad_schedules(spec: Any, message: str) -> None:
    """The error names what was given, and what there is."""
    with pytest.raises(ValueError, match=message):
        Schedule(spec, 5, 1)
