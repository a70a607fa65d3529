"""How long nodes of ePG-ELLA take: what they compute is the learner's, and their clocks say what they should."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lifelong_gym.agents.shared_basis.distributed_basis import ConsensusSettings
from lifelong_gym.agents.shared_basis.nodes import default_channel
from lifelong_gym.agents.shared_basis.shards import Shards
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.papers import sweeps
from lifelong_gym.papers.cells import settings_of
from lifelong_gym.papers.code import Code
from lifelong_gym.papers.numbers import Numbers
from lifelong_gym.papers.reproduce import Reproduction, folder_of
from lifelong_gym.papers.zhan2017 import timing
from lifelong_gym.papers.zhan2017.nodes import Link, Turns, Wire, a_sweep, together
from lifelong_gym.wrappers import Channel, graph_of

FOLDER = folder_of("zhan2017")
ALL_REDUCE, ADMM = "ePG-ELLA", "ePG-ELLA, ADMM"


def settings(method: str, **more: Any) -> dict[str, Any]:
    """Of a few sweeps of few tasks."""
    paper = Reproduction.of(FOLDER, "quick", Path("nowhere")).paper
    found = settings_of(paper, paper.studies["time"], "SM", method, "quick")
    return {**found, "seed": 0, "n_tasks": 7, "n_trajectories": 5, "sweeps": 4, **more}


def learned(given: dict[str, Any]) -> FloatArray:
    """The learner's policies, all nodes in one place."""
    run = sweeps.SweepRun(Code(str(FOLDER)), {**given, "maker": ""})
    sweeps.sweep(run, [], lambda share: None)
    return run.theta


def links(channel: Channel, *wire: Wire) -> list[Link]:
    """Of all nodes, in this process."""
    pipes: list[dict[Any, Any]] = [{} for _ in channel.nodes]
    for a, b in channel.graph.edges:
        pipes[a][b], pipes[b][a] = Pipe()
    return [Link(i, channel, own, *wire) for i, own in enumerate(pipes)]


@pytest.mark.parametrize(("method", "tolerance"), [(ALL_REDUCE, 1e-12), (ADMM, 1e-3)])
def test_nodes_find_what_the_learner_finds(method: str, tolerance: float) -> None:
    """Each from its own tasks and what its neighbours tell; to rounding where sums are exact."""
    given = settings(method)
    thetas, ticks = together(given, 3)
    expected = learned(given)
    assert np.abs(thetas - expected).max() < tolerance * np.abs(expected).max()
    assert ticks.shape == (3, 5, 4)


def test_two_processes_find_the_same_as_two_threads() -> None:
    """To the bit; and time passes on the wall, and at least the wire's latency and the work by the model."""
    given = settings(ADMM)
    apart, ticks = together(given, 2, in_processes=True)
    np.testing.assert_array_equal(apart, together(given, 2)[0])
    found = a_sweep(ticks)
    assert 0 < found["busiest"] < found["critical"]
    assert found["wall"] > 0
    assert found["bytes"] > 0


@pytest.mark.parametrize("metric", ["whitened", "identity"])
def test_turns_are_those_of_consensus(metric: str) -> None:
    """Nodes that only hear of each other by messages go through the very iterates that are computed in one place."""
    rng, n_nodes, shape = np.random.default_rng(0), 6, (2, 3)
    channel = default_channel(n_nodes)
    root = rng.normal(size=(n_nodes, *shape, 4))
    matrix, vector = root @ root.swapaxes(-1, -2), rng.normal(size=(n_nodes, *shape))
    start = rng.normal(size=vector.shape)
    total, all_links, turns = matrix.sum(axis=0), links(channel), Turns("admm", 9, 0.3, metric)

    def own(i: int) -> FloatArray:
        return turns.solve(all_links[i], matrix[[i]], vector[[i]], total, start[[i]])[0]

    with ThreadPoolExecutor(n_nodes) as pool:
        found = np.array(list(pool.map(own, range(n_nodes))))
    expected = ConsensusSettings("admm", 9, 0.3, metric).solve(Shards(channel), matrix, vector, total, start)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
    assert sum(link.sent for link in all_links) == channel.ledger.bytes


def test_sums_are_the_channels() -> None:
    """Equal to the bit, in as many bytes."""
    channel = default_channel(7)
    values, all_links = np.random.default_rng(1).normal(size=(7, 3)), links(channel)
    with ThreadPoolExecutor(7) as pool:
        found = list(pool.map(lambda link: link.reduced(values[[link.node]]), all_links))
    np.testing.assert_array_equal(found, channel.all_reduce(values))
    assert sum(link.sent for link in all_links) == channel.ledger.bytes


def test_clocks_tell_the_critical_path() -> None:
    """A message arrives when its bits have left and the wire's delay is over; who was later waits for nobody."""
    first, second = links(Channel(graph_of("chain", range(2))), Wire(10.0, 1e3))
    first.since = second.since = time.thread_time()
    first.send(np.zeros(100), 1)  # 800 bytes are 6.4 s on this wire
    assert first.clock == pytest.approx(6.4 + first.worked)
    second.receive(0)
    assert second.clock == pytest.approx(first.clock + 10.0)
    first.clock, second.clock = 100.0, 0.0
    second.send(np.zeros(1), 0)
    first.receive(1)
    assert first.clock == pytest.approx(100.0, abs=0.1)


def test_ticks_are_taken_together() -> None:
    """The latest node's clock counts, the busiest node's work, and everybody's bytes, without the first sweep."""
    clock = np.array([[0.0, 100, 101, 103], [0, 200, 202, 203]])  # latest: 0, 200, 202, 203
    work = np.array([[0.0, 9, 10, 11], [0, 9, 9.5, 10]])
    ticks = np.stack([clock, clock, work * 8, work], axis=-1)
    assert a_sweep(ticks) == {"critical": 1.5, "wall": 1.5, "busiest": 1.0, "bytes": 12.0}


def test_who_fails_is_named_and_nobody_waits_for_ever() -> None:
    """A node without tasks can't begin; its neighbours hear of that."""
    with pytest.raises(ValueError, match="task"):
        together(settings(ADMM, n_tasks=2), 3)


def test_exponents() -> None:
    """Of powers, from the last three sizes."""
    at = [1, 10, 100, 1000]
    figures = {"at": at, "seconds": [5.0, 10.0, 100.0, 1000.0], "busiest": at, "bytes": [0.0, 0.0, 0.0, 0.0]}
    assert timing.exponents(figures) == {"seconds": pytest.approx(1.0), "busiest": pytest.approx(1.0), "bytes": None}
    assert timing.exponent(figures) == pytest.approx(1.0)


def sweeps_and_seconds(**methods: tuple[list[int | None], float]) -> Numbers:
    """Invented: by method, sweeps to the level in three seeds, and seconds a sweep."""
    names = {"own": timing.NODES, "a": "PG-ELLA", "b": "GO-MTL"}
    quantities = {names[key]: {timing.TO_LEVEL: to, "seconds": [each] * len(to)} for key, (to, each) in methods.items()}
    values = {name: {"sweeps": 100} for name in quantities}
    return Numbers({"quantities": {"time": {"CP": quantities}}, "values": {"time": {"CP": values}}})


def test_time_to_convergence_is_compared_where_it_can_be() -> None:
    """Sweeps times seconds; never counts as the whole run; where nobody comes, nothing is known."""
    numbers = sweeps_and_seconds(own=([10, 10], 0.2), a=([40, 40], 0.1), b=([None, None], 0.01))
    found = timing.sooner(numbers, "time", ("CP",))
    assert found["CP: over PG-ELLA"].estimate == pytest.approx(0.5)
    assert found["CP: over GO-MTL"].estimate == pytest.approx(2.0)  # at least 1 s
    unknown = sweeps_and_seconds(own=([None, 10], 0.2), a=([None, 40], 0.1), b=([50, 50], 0.1))
    found = timing.sooner(unknown, "time", ("CP",))
    assert (found["CP: over PG-ELLA"].low, found["CP: over PG-ELLA"].high) == (0.0, np.inf)
    assert found["CP: over GO-MTL"].estimate == pytest.approx(np.sqrt(20 / 5 * 2 / 5))
