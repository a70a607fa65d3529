"""One pool of threads for compiled loops that release the GIL; results never depend on its size."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from lifelong_gym.errors import integer

_pool: ThreadPoolExecutor | None = None
_n_threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def set_num_threads(n: int) -> None:
    """Use ``n`` threads for large batches and rollouts from now on (default: the cores of this process)."""
    global _n_threads
    _n_threads = integer("n", n)
    _forget_pool()


def _forget_pool() -> None:
    global _pool
    _pool = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)  # a forked child inherits the pool but not its threads


def in_chunks(work: Callable[..., int], n: int, smallest: int, arguments: tuple[Any, ...]) -> int:
    """Sum of ``work(first, last, *arguments)`` over [0, n), in as many chunks of ``smallest`` or more as threads."""
    global _pool
    chunks = min(_n_threads, n // smallest)
    if chunks <= 1:
        return work(0, n, *arguments)
    if _pool is None:
        _pool = ThreadPoolExecutor(_n_threads, thread_name_prefix="lifelong_gym")
    cuts = [n * i // chunks for i in range(chunks + 1)]
    futures = [_pool.submit(work, *cut, *arguments) for cut in itertools.pairwise(cuts[1:])]
    result = work(cuts[0], cuts[1], *arguments)
    return result + sum(future.result() for future in futures)
