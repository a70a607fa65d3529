"""Consensus among nodes: the same solution as in one place, at the speed that theory and measurement say."""

from __future__ import annotations

from typing import Any

import networkx as nx
import numpy as np
import pytest

from lifelong_gym.agents.shared_basis.admm import Consensus, agreement_error, distance
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.wrappers import Channel, Faults, colouring, graph_of

V, K = 10, 4


def channel(topology: str = "chain+20", n_nodes: int = V, faults: Faults | None = None) -> Channel:
    """Ten nodes."""
    return Channel(graph_of(topology, range(n_nodes)), faults=faults)


def problem(condition: float = 100.0, n: int = 1, n_nodes: int = V, seed: int = 0) -> tuple[FloatArray, FloatArray]:
    """Quadratics of the nodes, a few of them flat in some directions, and their gradients at 0."""
    rng = np.random.default_rng(seed)
    scales = np.logspace(0.0, 0.5 * np.log10(condition), K)
    root = rng.normal(size=(n_nodes, n, K, K + 2)) * scales[:, None]
    root[0, ..., 2:] = 0.0
    return root @ root.transpose(0, 1, 3, 2), rng.normal(size=(n_nodes, n, K)) * scales


def together(matrix: FloatArray, vector: FloatArray) -> FloatArray:
    """The solution in one place."""
    return np.linalg.solve(matrix.sum(axis=0), vector.sum(axis=0)[..., None])[..., 0]


def whitened(link: Channel, matrix: FloatArray, vector: FloatArray, penalty: float = 0.3) -> Consensus:
    """With the nodes' mean as metric."""
    return Consensus(link, matrix, vector, matrix.mean(axis=0), penalty)


@pytest.mark.parametrize("topology", ["chain", "ring", "star", "chain+20", "complete"])
def test_converges_to_the_solution_in_one_place(topology: str) -> None:
    """On every graph, for several problems at once, to rounding."""
    matrix, vector = problem(n=3)
    x = whitened(channel(topology), matrix, vector).iterate({"chain": 1200, "ring": 500}.get(topology, 250))
    np.testing.assert_allclose(x, np.broadcast_to(together(matrix, vector), x.shape), rtol=1e-11, atol=1e-13)


def test_two_hundred_iterations_are_exact() -> None:
    """On the paper's graph: each node's own optimality condition holds as well as all nodes' together."""
    matrix, vector = problem()
    consensus = whitened(channel(), matrix, vector)
    x = consensus.iterate(200)
    assert distance(x, together(matrix, vector)) <= 1e-12
    rho_p = 0.3 * matrix.mean(axis=0)
    nodes = np.arange(V)
    sums = consensus._over_edges(consensus._sum_heard, nodes) - consensus._degrees[:, None, None] * consensus._sum
    pull = (rho_p @ sums[..., None])[..., 0]
    own = (matrix @ x[..., None])[..., 0] - vector
    np.testing.assert_allclose(own, pull, atol=1e-10 * np.abs(vector).max())
    np.testing.assert_allclose(pull.sum(axis=0), 0.0, atol=1e-10 * np.abs(vector).max())


def plain(matrix: FloatArray, vector: FloatArray, graph: nx.Graph, sign: float, n_iterations: int) -> FloatArray:
    """As written down: a multiplier an edge, nodes one after another in order of colour; ``sign=-1`` swaps them."""
    order: list[Any] = [node for colour in colouring(graph) for node in colour]
    rank = {node: r for r, node in enumerate(order)}
    p = 0.3 * matrix.mean(axis=0)[0]
    x = np.zeros((len(order), K))
    edges = [tuple(sorted(edge, key=rank.__getitem__)) for edge in graph.edges]
    multiplier = {edge: np.zeros(K) for edge in edges}
    for _ in range(n_iterations):
        for i in order:
            right = vector[i, 0] + sum(p @ x[other] for other in graph[i])
            for low, high in edges:
                right = right + sign * ((i == low) - 1.0 * (i == high)) * multiplier[low, high]
            x[i] = np.linalg.solve(matrix[i, 0] + graph.degree(i) * p, right)
        for low, high in edges:
            multiplier[low, high] = multiplier[low, high] - p @ (x[low] - x[high])
    return x


def test_equals_the_algorithm_as_written_down() -> None:
    """Iterate by iterate; with the multipliers of lower and higher neighbours swapped it diverges."""
    matrix, vector = problem()
    link = channel()
    consensus = whitened(link, matrix, vector)
    for n in (1, 2, 7):
        fresh = whitened(link, matrix, vector).iterate(n)
        np.testing.assert_allclose(fresh[:, 0], plain(matrix, vector, link.graph, 1.0, n), rtol=1e-8, atol=1e-12)
    swapped = [np.linalg.norm(plain(matrix, vector, link.graph, -1.0, n)) for n in (20, 40)]
    assert swapped[1] > 10.0 * swapped[0] > 10.0 * np.linalg.norm(consensus.iterate(40))


def test_unequal_shares_weigh_as_much_as_they_hold() -> None:
    """Sums need no counts: one node with ten parts and others with one or none give the same solution."""
    rng = np.random.default_rng(1)
    root = rng.normal(size=(40, K, 2))
    parts, pulls = root @ root.transpose(0, 2, 1), rng.normal(size=(40, K))
    share = np.repeat(np.arange(V), [1, 1, 1, 2, 2, 3, 5, 10, 15, 0])
    matrix, vector = np.zeros((V, 1, K, K)), np.zeros((V, 1, K))
    np.add.at(matrix[:, 0], share, parts)
    np.add.at(vector[:, 0], share, pulls)
    x = whitened(channel(), matrix, vector).iterate(300)
    expected = np.linalg.solve(parts.sum(axis=0), pulls.sum(axis=0))
    np.testing.assert_allclose(x[:, 0], np.broadcast_to(expected, (V, K)), rtol=1e-11)


def iterations_to(tolerance: float, condition: float, metric: str, penalty: float, most: int = 3000) -> int:
    """How many bring the distance to the solution below a tolerance."""
    rng = np.random.default_rng(0)
    scales = np.logspace(0.0, 0.5 * np.log10(condition), K)
    root = rng.normal(size=(V, 1, K, 60)) * scales[:, None]
    matrix = root @ root.transpose(0, 1, 3, 2) / 60
    vector = np.einsum("vnij,j->vni", matrix, 1.0 / scales) + rng.normal(size=(V, 1, K)) * scales
    own = matrix.mean(axis=0) if metric == "whitened" else np.eye(K)[None]
    consensus = Consensus(channel(), matrix, vector, own, penalty)
    for n in range(1, most + 1):
        if distance(consensus.iterate(), together(matrix, vector)) <= tolerance:
            return n
    return most + 1


@pytest.mark.parametrize("condition", [1.0, 300.0, 2e4])
def test_whitening_makes_speed_independent_of_units(condition: float) -> None:
    """About ten iterations to 1e-2 and forty to 1e-8, whatever the scales; without it, badly scaled ones take long."""
    assert iterations_to(1e-2, condition, "whitened", 0.3) <= 20
    assert 10 <= iterations_to(1e-8, condition, "whitened", 0.3) <= 80
    if condition > 1.0:
        assert iterations_to(1e-2, condition, "raw", 1.0, most=150) > 100


def test_agreement_is_not_optimality() -> None:
    """Nodes may agree long before they are right."""
    matrix, vector = problem(condition=300.0)
    x = Consensus(channel(), matrix, vector, np.eye(K)[None], 100.0).iterate(30)
    assert agreement_error(x) < 0.1 * distance(x, together(matrix, vector))


def test_a_turn_is_a_colour() -> None:
    """An iteration takes as many rounds as there are colours, and two messages an edge."""
    link = channel()
    matrix, vector = problem()
    whitened(link, matrix, vector).iterate(3)
    n_edges = link.graph.number_of_edges()
    assert link.ledger.rounds == 3 * len(colouring(link.graph)) <= 3 * 6
    assert link.ledger.messages == 3 * 2 * n_edges
    assert link.ledger.bytes == 3 * 2 * n_edges * K * 8


def test_a_warm_start_is_told_and_helps() -> None:
    """Beginning at the solution's neighbourhood, one round more, and nearer after few iterations."""
    matrix, vector = problem()
    solution = together(matrix, vector)
    link = channel()
    near = Consensus(link, matrix, vector, matrix.mean(axis=0), 0.3, start=np.tile(1.01 * solution, (V, 1, 1)))
    assert link.ledger.rounds == 1
    assert distance(near.iterate(5), solution) < distance(whitened(link, matrix, vector).iterate(5), solution)


def test_one_node_alone_is_done_at_once() -> None:
    """Without neighbours."""
    matrix, vector = problem(n_nodes=1, condition=1.0)
    matrix = matrix + np.eye(K)
    x = whitened(channel("chain", 1), matrix, vector).iterate(1)
    np.testing.assert_allclose(x[0], together(matrix, vector), rtol=1e-12)


@pytest.mark.parametrize("loss", [0.1, 0.3])
def test_lost_messages_only_delay(loss: float) -> None:
    """However many are lost, nodes come to the same solution, later."""
    matrix, vector = problem()
    solution = together(matrix, vector)
    errors = {}
    for faults in (None, Faults(loss=loss, seed=0)):
        consensus = whitened(channel(faults=faults), matrix, vector)
        errors[faults is None] = [distance(consensus.iterate(n), solution) for n in (30, 400)]
    assert errors[True][0] < errors[False][0] < 0.3
    assert errors[False][1] < 1e-10


def test_a_node_that_stops_for_a_while_delays_too() -> None:
    """For four hundred rounds nobody hears of one of them, and it of nobody."""
    matrix, vector = problem()
    solution = together(matrix, vector)
    faults = Faults(stops={4: [(20, 420)]})
    consensus = whitened(channel(faults=faults), matrix, vector)
    assert distance(consensus.iterate(80), solution) > 1e-3
    assert distance(consensus.iterate(800), solution) < 1e-8
