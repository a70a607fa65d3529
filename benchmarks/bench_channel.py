"""What averaging the parameters of networks costs, beside one product of matrices: ``make bench``."""

from __future__ import annotations

import time

import numpy as np
import pytest

from lifelong_gym.wrappers import Channel, graph_of

N_NODES, N_PARAMETERS = 4, 1_300_000
MOST = 5.0  # times the product
PAIRS = 15


def seconds(work: object) -> float:
    """CPU time of one call."""
    assert callable(work)
    start = time.process_time()
    work()
    return time.process_time() - start


@pytest.mark.parametrize("topology", ["ring", "complete"])
def test_mix(benchmark: object, topology: str) -> None:
    """Checks, averages and accounts: at most five times the product alone, measured in turns."""
    channel = Channel(graph_of(topology, range(N_NODES)))
    values = np.random.default_rng(0).normal(size=(N_NODES, N_PARAMETERS)).astype(np.float32)
    matrix = channel.weights.toarray().astype(np.float32)
    pairs = [(seconds(lambda: channel.mix(values)), seconds(lambda: matrix @ values)) for _ in range(PAIRS)]
    ratio = min(mixed for mixed, _ in pairs[1:]) / min(product for _, product in pairs[1:])
    print(f"{topology}: {ratio:.1f} times the product")
    assert callable(benchmark)
    benchmark(lambda: channel.mix(values))
    assert ratio <= MOST
