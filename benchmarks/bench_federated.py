"""Federated rounds against clients one after another in torch, side by side: ``make bench``. Read the ratios.

One thread. Ten clients, images of 14 x 14 with stride 2, five local steps of 32 images, 300 images a client.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import lifelong_gym
from benchmarks.sizes import QUICK
from lifelong_gym.envs.allocation.federated import FederatedMNIST
from lifelong_gym.envs.allocation.federated_rounds import Federation
from lifelong_gym.envs.allocation.federated_training import Network, initial_network, n_positions, trained

ID = "LifelongFederatedMNIST-v0"
M, STEPS, BATCH, HELD, RATE = 10, 5, 32, 300, 0.1
SIZES: dict[str, Any] = {
    "local_steps": STEPS,
    "batch_size": BATCH,
    "images_per_client": HELD,
    "client_learning_rate": RATE,
    "evaluation_images": 500,
    "observed_images": 250,
}
N_ROUNDS = 1 if QUICK else 15


def seconds(work: Callable[[], object]) -> float:
    """CPU time of a call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def ratio(one: Callable[[], object], other: Callable[[], object]) -> float:
    """How many times longer ``one`` takes than ``other``: the median of calls that take turns."""
    one(), other()
    return statistics.median(seconds(one) / max(seconds(other), 1e-9) for _ in range(N_ROUNDS))


def federation() -> tuple[FederatedMNIST, Federation]:
    """At the beginning of an episode."""
    family = lifelong_gym.family(ID, **SIZES)
    assert isinstance(family, FederatedMNIST)
    simulation = Federation(family, dict(family.parameters.sample(1)[0]), "accuracy")
    simulation.reset(np.random.default_rng(0))
    return family, simulation


def start() -> Network:
    """A network as clients get it."""
    return initial_network(np.random.default_rng(0), n_positions(14, 2), 32)


@pytest.fixture
def _one_thread() -> Any:
    import torch
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with threadpool_limits(1):
        yield
    torch.set_num_threads(before)


def in_torch() -> Callable[[], None]:
    """The same local training, a client after another, with autograd and an optimiser."""
    import torch
    from torch import nn

    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.normal(size=(M, HELD, 1, 14, 14)).astype(np.float32))
    labels = torch.from_numpy(rng.integers(0, 10, (M, HELD)))
    order = torch.from_numpy(rng.permuted(np.tile(np.arange(HELD), (M, 1)), axis=1)[:, : STEPS * BATCH])

    def work() -> None:
        for i in range(M):
            net = nn.Sequential(nn.Conv2d(1, 32, 5, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(800, 10))
            optimiser = torch.optim.SGD(net.parameters(), RATE)
            for rows in order[i].split(BATCH):
                optimiser.zero_grad()
                nn.functional.cross_entropy(net(images[i, rows]), labels[i, rows]).backward()
                optimiser.step()

    return work


@pytest.mark.usefixtures("_one_thread")
def test_local_training_against_torch(benchmark: Any) -> None:
    """Clients one after another, and all at once, their images' patches fetched within."""
    _, simulation = federation()
    rng, network = np.random.default_rng(0), start()

    def at_once() -> None:
        trained(network, simulation._batches(rng), RATE)

    print(f"torch, one after another / all at once: {ratio(in_torch(), at_once):.1f}")
    benchmark(at_once)


@pytest.mark.usefixtures("_one_thread")
def test_evaluation_in_a_round(benchmark: Any) -> None:
    """Of a round: clients on the observed images, their average on all of the evaluation's."""
    family, simulation = federation()
    setting, _, test = family.prepared()
    rng, models = np.random.default_rng(0), simulation._models
    assert models is not None
    one = Network(*(part[:1] for part in models))

    def evaluation() -> None:
        test.accuracies(models, 0, setting.observed_images)
        test.accuracies(one, 0, setting.evaluation_images)

    print(f"evaluation's share of a round: {ratio(evaluation, lambda: simulation.step((0.1,) * M, rng)):.2f}")
    benchmark(evaluation)


@pytest.mark.benchmark(timer=time.process_time)
@pytest.mark.usefixtures("_one_thread")
def test_a_round(benchmark: Any) -> None:
    """Of the quick setting, through the env."""
    env = gym.make(ID, horizon=10**6)
    env.reset(seed=0)
    action = np.full(M, 0.1, np.float32)
    benchmark(env.step, action)
