"""What averaging the parameters of networks costs, beside one product of matrices: ``make bench``."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lifelong_gym.wrappers import Channel, graph_of

N_NODES, N_PARAMETERS = 4, 1_300_000
PAIRS = 15


def seconds(work: Callable[[], object]) -> float:
    """CPU time of one call."""
    start = time.process_time()
    work()
    return time.process_time() - start


@pytest.mark.parametrize("topology", ["ring", "complete"])
def test_mix(benchmark: Any, topology: str) -> None:
    """Checks, averages and accounts, beside the product alone, measured in turns."""
    channel = Channel(graph_of(topology, range(N_NODES)))
    values = np.random.default_rng(0).normal(size=(N_NODES, N_PARAMETERS)).astype(np.float32)
    matrix = channel.weights.toarray().astype(np.float32)
    pairs = [(seconds(lambda: channel.mix(values)), seconds(lambda: matrix @ values)) for _ in range(PAIRS)]
    ratio = min(mixed for mixed, _ in pairs[1:]) / min(product for _, product in pairs[1:])
    print(f"{topology}: {ratio:.1f} times the product")
    benchmark.extra_info["times the product"] = ratio
    benchmark(lambda: channel.mix(values))
