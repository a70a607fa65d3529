"""Graphs, mixing matrices, colours and spanning trees."""

from __future__ import annotations

import itertools
from typing import Any

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from lifelong_gym.wrappers import colouring, graph_of, hub_of, mixing_matrix, spanning_tree

NAMES = ["a", "b", "c", "d", "e"]


@st.composite
def connected(draw: st.DrawFn, most: int = 12) -> nx.Graph:
    """A random tree with a few further edges, its nodes named and listed at random."""
    n = draw(st.integers(1, most))
    graph = nx.Graph()
    graph.add_nodes_from(draw(st.permutations([f"n{i}" for i in range(n)])))
    names = list(graph)
    for i in range(1, n):
        graph.add_edge(names[i], names[draw(st.integers(0, i - 1))])
    pairs = list(itertools.combinations(names, 2))
    graph.add_edges_from(draw(st.lists(st.sampled_from(pairs), max_size=2 * n)) if pairs else [])
    return graph


def edges(graph: nx.Graph) -> set[str]:
    """Such as ``{"ab", "bc"}``."""
    return {"".join(sorted(edge)) for edge in graph.edges}


# --------------------------------------------------------------------------------------------------------------- graphs


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("ring", "ab bc cd de ae"),
        ("star", "ab ac ad ae"),
        ("chain", "ab bc cd de"),
        ("complete", "ab ac ad ae bc bd be cd ce de"),
        ("chain+6", "ab ac ad ae bc bd be cd ce de"),
        ("chain+0", "ab bc cd de"),
        (nx.path_graph(5), "ab bc cd de"),
        (nx.Graph(["ea", "eb", "ec", "ed"]), "ae be ce de"),
    ],
    ids=str,
)
def test_edges(spec: Any, expected: str) -> None:
    """By hand; nodes keep the order in which they are given."""
    graph = graph_of(spec, NAMES)
    assert edges(graph) == set(expected.split())
    assert list(graph) == NAMES


@pytest.mark.parametrize("spec", ["ring", "star", "complete", "chain", "chain+0", nx.empty_graph(1)], ids=str)
def test_one_node_alone(spec: Any) -> None:
    """Has no edges, keeps its value and is a tree."""
    graph = graph_of(spec, ["me"])
    assert graph.number_of_edges() == 0
    assert mixing_matrix(graph).toarray().tolist() == [[1.0]]
    assert mixing_matrix(graph, "max_degree").toarray().tolist() == [[1.0]]
    assert colouring(graph) == [["me"]]
    assert (spanning_tree(graph).root, spanning_tree(graph).depth) == ("me", 0)


def test_two_nodes_in_a_ring_have_one_edge() -> None:
    """Not two."""
    assert edges(graph_of("ring", "ab")) == {"ab"}


def test_random_edges_come_from_the_seed() -> None:
    """The paper's graph: a chain of 10 and 20 further edges, never one of the chain's; all pairs equally often."""
    names = range(10)
    graphs = [graph_of("chain+20", names, seed) for seed in range(300)]
    assert all(graph.number_of_edges() == 29 for graph in graphs)
    assert nx.utils.graphs_equal(graph_of("chain+20", names, 7), graphs[7])
    count = sum(nx.to_numpy_array(graph) for graph in graphs)
    above = count[np.triu_indices(10, k=2)]  # 36 pairs, each drawn with probability 20/36
    assert (count.diagonal(1) == 300).all()
    assert abs(above / 300 - 20 / 36).max() < 4 * np.sqrt(20 / 36 * 16 / 36 / 300)


def test_numbers_that_are_names_are_names() -> None:
    """A graph on 0 ... n - 1 isn't relabelled if the nodes are called so, in whatever order."""
    graph = graph_of(nx.Graph([(2, 0), (0, 1)]), [2, 1, 0])
    assert {frozenset(edge) for edge in graph.edges} == {frozenset((0, 2)), frozenset((0, 1))}
    assert list(graph) == [2, 1, 0]


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        (
            "rign",
            r"unknown topology 'rign'. Did you mean 'ring'\? There are: ring, star, complete, chain, random_pairs",
        ),
        ("chain+7", r"'chain\+7' has no room: a chain of 5 nodes takes at most 6"),
        ("chain+-1", "unknown topology"),
        (nx.Graph(["ab", "bc", "de"]), r"connected. No path joins 'a', 'b', 'c' and 'd', 'e'"),
        (nx.DiGraph(["ab"]), r"undirected. Received a DiGraph of edges \('a', 'b'\)"),
        (nx.MultiGraph(["ab", "ab"]), r"without parallel edges. Received a MultiGraph of edges \('a', 'b'\), \('a'"),
        (nx.Graph(["ab", "bc", "cd", "de", "cc"]), r"no self-loops. Received some at 'c'"),
        (nx.Graph(["ab", "bc", "cd", "dx"]), r"exactly the nodes 'a', 'b', 'c', 'd', 'e'. Missing: 'e'. Unknown: 'x'"),
        (nx.path_graph(6), r"Missing: 'a', 'b', 'c', 'd', 'e'. Unknown: 0, 1, 2, 3, 4 and 1 more"),
        (3, "must be a name or a networkx graph. Received 3"),
    ],
    ids=str,
)
def test_graphs_that_are_refused(spec: Any, problem: str) -> None:
    """With the nodes' names."""
    with pytest.raises(ValueError, match=problem):
        graph_of(spec, NAMES)


def test_node_names_are_distinct() -> None:
    """And there is one at least."""
    with pytest.raises(ValueError, match=r"`nodes` must be distinct. Received twice: 'a'"):
        graph_of("ring", ["a", "b", "a"])
    with pytest.raises(ValueError, match="at least one node"):
        graph_of("ring", [])


# ------------------------------------------------------------------------------------------------------ mixing matrices


def second_eigenvalue(matrix: Any) -> float:
    """The second largest modulus."""
    return float(sorted(abs(np.linalg.eigvals(matrix.toarray())))[-2])


@given(connected(), st.sampled_from(["metropolis", "max_degree"]))
def test_mixing_matrices_are_doubly_stochastic(graph: nx.Graph, weights: str) -> None:
    """Non-negative, symmetric, positive exactly on edges and the diagonal; their powers lead to the average."""
    matrix = mixing_matrix(graph_of(graph, graph), weights)
    dense = matrix.toarray()
    np.testing.assert_allclose(dense.sum(axis=0), 1, atol=1e-14)
    np.testing.assert_allclose(dense.sum(axis=1), 1, atol=1e-14)
    assert np.array_equal(dense, dense.T)
    assert np.array_equal(dense > 0, nx.to_numpy_array(graph) + np.eye(len(graph)) > 0)
    assert (dense >= 0).all()
    if len(graph) > 1:
        assert second_eigenvalue(matrix) < 1 - 1e-6


def test_weights_by_hand() -> None:
    """On a star of three; lazy means at least half for oneself."""
    graph = graph_of("star", "abc")
    metropolis = [[1 / 2, 1 / 4, 1 / 4], [1 / 4, 3 / 4, 0], [1 / 4, 0, 3 / 4]]
    max_degree = [[1 / 3, 1 / 3, 1 / 3], [1 / 3, 2 / 3, 0], [1 / 3, 0, 2 / 3]]
    np.testing.assert_allclose(mixing_matrix(graph).toarray(), metropolis, rtol=1e-15)
    np.testing.assert_allclose(mixing_matrix(graph, "max_degree").toarray(), max_degree, rtol=1e-15)


@given(connected())
def test_the_lazy_metropolis_matrix_mixes_as_fast_as_its_theorem_says(graph: nx.Graph) -> None:
    """Olshevsky (2014): the second eigenvalue is at most 1 - 1 / (71 n^2)."""
    if len(graph) > 1:
        assert second_eigenvalue(mixing_matrix(graph)) <= 1 - 1 / (71 * len(graph) ** 2)


@given(connected(), st.integers(0, 100))
def test_a_users_matrix_is_taken_as_it_is(graph: nx.Graph, seed: int) -> None:
    """A mixture of the identity and a matching is doubly stochastic; dense and sparse are the same."""
    names = list(graph)
    matrix = np.eye(len(names))
    for a, b in nx.maximal_matching(graph):
        i, j = names.index(a), names.index(b)
        share = np.random.default_rng(seed).random()
        matrix[[i, j, i, j], [i, j, j, i]] = [1 - share, 1 - share, share, share]
    assert np.array_equal(mixing_matrix(graph, matrix).toarray(), matrix)
    assert np.array_equal(mixing_matrix(graph, sparse.csr_array(matrix)).toarray(), matrix)


HALF = np.array([[0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({(0, 0): 0.4}, r"doubly stochastic. The row of 'a' sums to 0.9"),
        ({(0, 0): 0.6, (0, 1): 0.4}, r"doubly stochastic. The column of 'a' sums to 1.1"),
        ({(0, 0): -0.5, (0, 1): 1.5}, r"not negative. The weight of 'a' for 'a' is -0.5"),
        ({(0, 1): np.nan}, r"finite and not negative. The weight of 'a' for 'b' is nan"),
        ({(0, 1): np.inf}, r"finite and not negative. The weight of 'a' for 'b' is inf"),
        ({(0, 1): 0, (0, 2): 0.5}, r"0 where there is no edge. The weight of 'a' for 'c' is 0.5"),
    ],
)
def test_matrices_that_are_refused(change: dict[tuple[int, int], float], problem: str) -> None:
    """With the nodes' names."""
    matrix = HALF.copy()
    for place, value in change.items():
        matrix[place] = value
    with pytest.raises(ValueError, match=problem):
        mixing_matrix(graph_of("chain", "abc"), matrix)


@pytest.mark.parametrize(
    ("weights", "problem"),
    [
        (np.eye(2), r"real matrix of shape \(3, 3\). Received float64 \(2, 2\)"),
        (np.eye(3) * 1j, r"Received complex128"),
        ("metropolitan", r"unknown weights 'metropolitan'. Did you mean 'metropolis'\?"),
    ],
)
def test_what_is_no_matrix_is_refused(weights: Any, problem: str) -> None:
    """Or an unknown name."""
    with pytest.raises(ValueError, match=problem):
        mixing_matrix(graph_of("chain", "abc"), weights)


# ------------------------------------------------------------------------------------------------------ colours, trees


@given(connected())
def test_nodes_of_one_colour_are_no_neighbours(graph: nx.Graph) -> None:
    """Each node has one colour; greedy colouring needs at most one more than the largest degree."""
    classes = colouring(graph)
    assert sorted(itertools.chain(*classes), key=str) == sorted(graph)
    assert all(graph.subgraph(nodes).number_of_edges() == 0 for nodes in classes)
    assert len(classes) <= 1 + max(degree for _, degree in graph.degree)


@given(connected(), st.randoms(use_true_random=False))
def test_the_spanning_tree(graph: nx.Graph, random: Any) -> None:
    """Spans, uses edges of the graph only, is no deeper than its diameter, and doesn't know in which order it came."""
    tree = spanning_tree(graph)
    links = [pair for level in tree.levels for pair in level]
    assert all(graph.has_edge(*pair) for pair in links)
    assert sorted([tree.root, *(child for child, _ in links)], key=str) == sorted(graph)
    depths = nx.single_source_shortest_path_length(nx.Graph(links) if links else graph, tree.root)
    assert all(depths[child] == d for d, level in enumerate(tree.levels, 1) for child, _ in level)
    assert nx.radius(graph) <= tree.depth <= nx.diameter(graph)
    shuffled = nx.Graph()
    shuffled.add_nodes_from(random.sample(list(graph), len(graph)))
    shuffled.add_edges_from(random.sample(list(graph.edges), graph.number_of_edges()))
    assert spanning_tree(shuffled) == tree


@pytest.mark.parametrize(
    ("spec", "n", "depth"),
    [("chain", 9, 4), ("chain", 10, 5), ("ring", 9, 4), ("ring", 10, 5), ("star", 9, 1), ("complete", 9, 1)],
)
def test_the_tree_stands_in_the_middle(spec: str, n: int, depth: int) -> None:
    """Where the depth is the radius."""
    assert spanning_tree(graph_of(spec, range(n))).depth == depth


def test_a_hub_reaches_all_agents() -> None:
    """One that is no agent before one that is; whom it needn't reach doesn't matter."""
    star = graph_of("star", ["hub", "a", "b", "c"])
    assert hub_of(star, ["a", "b", "c"]) == "hub"
    assert hub_of(graph_of("star", ["a", "b", "c"]), ["a", "b", "c"]) == "a"
    assert hub_of(graph_of("complete", ["a", "b", "idle"]), ["a", "b"]) == "idle"
    star.add_edge("c", "far")
    assert hub_of(star, ["a", "b", "c"]) == "hub"
    with pytest.raises(ValueError, match=r"of 5 nodes in which none does: 'a', 'b', 'c', 'far', 'hub'"):
        hub_of(star, ["a", "b", "far"])
