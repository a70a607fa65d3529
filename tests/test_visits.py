"""Counts of visits: right in either form, and never larger than a table of all rows and tasks."""

from __future__ import annotations

import pickle
import tracemalloc
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifelong_gym.envs.backends.visits import Visits


@given(st.data(), st.integers(1, 6), st.integers(1, 40))
def test_counts_are_those_of_a_counter(data: st.DataObject, n_rows: int, n_tasks: int) -> None:
    """Rows in any tasks, some of them forgotten in between; the same after a pickle and from a state."""
    visits, expected = Visits(n_rows, n_tasks), Counter[tuple[int, int]]()
    some_rows = st.lists(st.integers(0, n_rows - 1), unique=True, max_size=n_rows)
    for _ in range(data.draw(st.integers(1, 12))):
        rows = np.array(data.draw(some_rows), np.int64)
        if data.draw(st.integers(0, 5)) == 0:
            visits.forget(rows)
            expected = Counter({key: n for key, n in expected.items() if key[0] not in rows})
        tasks = np.array([data.draw(st.integers(0, n_tasks - 1)) for _ in rows], np.int64)
        pairs = list(zip(rows.tolist(), tasks.tolist(), strict=True))
        earlier = visits.add(rows, tasks)
        assert earlier.dtype == np.int64
        assert earlier.tolist() == [expected[pair] for pair in pairs]
        expected.update(pairs)
        visits = pickle.loads(pickle.dumps(visits))
        fresh = Visits(n_rows, n_tasks)
        fresh.loading(visits.state_dict(), "visits")()
        visits = fresh


@pytest.mark.parametrize(("n_rows", "n_tasks", "most"), [(1000, 1001, 12e6), (100_000, 100_000, 60e6)])
def test_memory_is_bounded(n_rows: int, n_tasks: int, most: float) -> None:
    """A thousand rows that meet a thousand tasks take a table's 4 MB; where rows stay, a table would take 40 GB."""
    rows = np.arange(n_rows)
    tracemalloc.start()
    try:
        visits = Visits(n_rows, n_tasks)
        for k in range(120):
            tasks = (rows + k * n_rows) % n_tasks
            assert not visits.add(rows, tasks).any() or n_rows == n_tasks
        assert tracemalloc.get_traced_memory()[1] < most
    finally:
        tracemalloc.stop()
    assert visits.add(rows, rows % n_tasks).tolist() == [120 if n_rows == n_tasks else 1] * n_rows
