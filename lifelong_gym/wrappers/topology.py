"""Who talks to whom: graphs of nodes, their mixing matrices, colours and spanning trees."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import networkx as nx
import numpy as np
from scipy import sparse

from lifelong_gym.errors import integer, unknown

Node = Hashable
Pairs = list[tuple[int, int]]

SUM_TOLERANCE = 1e-8  # of the rows and columns of a user's own matrix
SHOWN = 5  # nodes that an error lists


def chain(n: int) -> Pairs:
    """Each node with the next."""
    return [(i, i + 1) for i in range(n - 1)]


def ring(n: int) -> Pairs:
    """A chain whose ends are joined; two nodes have one edge."""
    return chain(n) + ([(n - 1, 0)] if n > 2 else [])


def star(n: int) -> Pairs:
    """The first node, the server, with every other."""
    return [(0, i) for i in range(1, n)]


def complete(n: int) -> Pairs:
    """Every node with every other."""
    return [(i, j) for i in range(n) for j in range(i + 1, n)]


RANDOM_PAIRS = "random_pairs"  # a topology, and the attribute of its graphs that holds their seed
TOPOLOGIES: dict[str, Callable[[int], Pairs]] = {
    "ring": ring,
    "star": star,
    "complete": complete,
    "chain": chain,
    RANDOM_PAIRS: complete,
}


def graph_of(spec: str | nx.Graph, nodes: Iterable[Node], seed: int = 0) -> nx.Graph:
    """The graph over which nodes exchange messages.

    Args:
        spec: ``"ring"``, ``"star"`` (the first node is the server; for a server without a task, let the first node
            be one without agents), ``"complete"``, ``"chain"``, ``"chain+20"`` (a chain and 20 further edges drawn
            at random, as in Zhan, Bou Ammar and Taylor, 2017), ``"random_pairs"`` (all are neighbours, but a `Channel`
            lets them speak in disjoint pairs, drawn anew for each round), or an undirected networkx graph on the
            nodes' names or on 0 ... n - 1.
        nodes: their names, in order.
        seed: of the random edges or pairs.

    Returns:
        A new graph whose nodes are in the order of ``nodes``.

    Raises:
        ValueError: an unknown name, no room for so many edges, or a graph that is directed, disconnected, has
            parallel edges or self-loops, or has other nodes.

    >>> sorted(graph_of("ring", "abc").edges)
    [('a', 'b'), ('a', 'c'), ('b', 'c')]
    """
    names = _distinct(nodes)
    graph = nx.Graph()
    graph.add_nodes_from(names)
    if isinstance(spec, str):
        graph.add_edges_from((names[i], names[j]) for i, j in _named_edges(spec, len(names), seed))
        if spec == RANDOM_PAIRS:
            graph.graph[RANDOM_PAIRS] = integer("seed", seed, 0, 2**64 - 1)
        return graph
    if not isinstance(spec, nx.Graph):
        raise ValueError(f"`topology` must be a name or a networkx graph. Received {spec!r}")
    graph.add_edges_from(_own_edges(spec, names))
    if RANDOM_PAIRS in spec.graph:
        graph.graph[RANDOM_PAIRS] = spec.graph[RANDOM_PAIRS]
    if not nx.is_connected(graph):
        parts = [_listed(part) for part in nx.connected_components(graph)]
        raise ValueError(f"`topology` must be connected. No path joins {' and '.join(parts[:2])}")
    return graph


def _distinct(nodes: Iterable[Node]) -> list[Node]:
    names = list(nodes)
    if not names:
        raise ValueError("`nodes` must hold at least one node. Received none")
    twice = {name for name in names if names.count(name) > 1} if len(set(names)) < len(names) else set()
    if twice:
        raise ValueError(f"`nodes` must be distinct. Received twice: {_listed(twice)}")
    return names


def _listed(nodes: Iterable[Node]) -> str:
    names = sorted(map(repr, nodes))
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def _named_edges(spec: str, n: int, seed: int) -> Pairs:
    if spec in TOPOLOGIES:
        return TOPOLOGIES[spec](n)
    match = re.fullmatch(r"chain\+(\d+)", spec)
    if match is None:
        raise unknown("topology", spec, [*TOPOLOGIES, "chain+20"])
    n_extra, rows_and_columns = int(match[1]), np.triu_indices(n, k=2)
    room = len(rows_and_columns[0])
    if n_extra > room:
        raise ValueError(f"{spec!r} has no room: a chain of {n} nodes takes at most {room} further edges")
    rng = np.random.default_rng(integer("seed", seed, 0, most=None))
    drawn = np.sort(rng.choice(room, n_extra, replace=False)) if n_extra else np.zeros(0, int)
    return chain(n) + [(int(i), int(j)) for i, j in zip(*(index[drawn] for index in rows_and_columns), strict=True)]


def _own_edges(graph: nx.Graph, names: Sequence[Node]) -> Iterable[tuple[Node, Node]]:
    if graph.is_directed() or graph.is_multigraph():
        kind = "undirected" if graph.is_directed() else "without parallel edges"
        edges = [tuple(edge[:2]) for edge in graph.edges]
        raise ValueError(f"`topology` must be {kind}. Received a {type(graph).__name__} of edges {_listed(edges)}")
    loops = [node for node, _ in nx.selfloop_edges(graph)]
    if loops:
        raise ValueError(f"`topology` must have no self-loops. Received some at {_listed(loops)}")
    by_number = set(graph) == set(range(len(names))) != set(names)
    label = dict(enumerate(names)) if by_number else {name: name for name in names}
    if set(graph) != set(label):
        lacking, foreign = set(label) - set(graph), set(graph) - set(label)
        what = [f"{word}: {_listed(some)}" for word, some in (("Missing", lacking), ("Unknown", foreign)) if some]
        raise ValueError(f"`topology` must have exactly the nodes {_listed(names)}. {'. '.join(what)}")
    return ((label[a], label[b]) for a, b in graph.edges)


# ------------------------------------------------------------------------------------------------------ mixing matrices


def hub_of(graph: nx.Graph, agents: Iterable[Node]) -> Node:
    """The node by which agents can tell each other what they know: it reaches all of them.

    One that is no agent, if there is any, else the first.

    Args:
        graph: of all nodes.
        agents: some of them.

    Raises:
        ValueError: there is none.
    """
    own = list(agents)
    central = [node for node in graph if all(agent == node or agent in graph[node] for agent in own)]
    if not central:
        raise ValueError(
            'a node must reach all agents to be their hub, as in topology="star". '
            f"Received a graph of {len(graph)} nodes in which none does: {_listed(graph)}"
        )
    return next((node for node in central if node not in own), central[0])


def mixing_matrix(graph: nx.Graph, weights: Any = "metropolis") -> sparse.csr_array:
    """The weights with which a node averages its own value and its neighbours'.

    Args:
        graph: as `graph_of` gives it.
        weights: ``"metropolis"``: lazy Metropolis, ``1 / (2 max(d_i, d_j))`` for neighbours of degrees d_i and d_j
            (Olshevsky, 2014); ``"max_degree"``: ``1 / (1 + max d)``, in both the rest for oneself; or a matrix of
            one's own, shape (n_nodes, n_nodes), entry (i, j) for what i gives to j's value. Its powers lead to the
            average only if it mixes at all: the identity, which means no sharing, is allowed.

    Returns:
        Sparse, doubly stochastic and non-negative, shape (n_nodes, n_nodes), in the order of the graph's nodes.

    Raises:
        ValueError: an unknown name, or a matrix that isn't doubly stochastic, has negative entries or gives weight
            to nodes that are no neighbours.
    """
    if not isinstance(weights, str):
        return _checked(graph, weights)
    names = list(graph)
    index = {name: i for i, name in enumerate(names)}
    degree = np.array([graph.degree[name] for name in names])
    pairs = np.array([(index[a], index[b]) for a, b in graph.edges], int).reshape(-1, 2)
    if weights == "metropolis":
        given = 1 / (2 * degree[pairs].max(axis=1, initial=1))
    elif weights == "max_degree":
        given = np.full(len(pairs), 1 / (1 + degree.max()))
    else:
        raise unknown("weights", weights, ["metropolis", "max_degree"])
    upper = sparse.coo_array((given, (pairs[:, 0], pairs[:, 1])), shape=(len(names), len(names)))
    neighbours = sparse.csr_array(upper + upper.T)
    return _sorted(neighbours + sparse.diags_array(1 - neighbours.sum(axis=1)))


def _sorted(matrix: Any) -> sparse.csr_array:
    csr = sparse.csr_array(matrix)
    csr.sum_duplicates()
    return csr


def _checked(graph: nx.Graph, weights: Any) -> sparse.csr_array:
    names = list(graph)
    n = len(names)
    given: Any = weights if sparse.issparse(weights) else np.asarray(weights)
    if given.shape != (n, n) or given.dtype.kind not in "iuf":
        raise ValueError(f"`weights` must be a real matrix of shape ({n}, {n}). Received {given.dtype} {given.shape}")
    matrix = _sorted(sparse.csr_array(given).astype(np.float64))
    matrix.eliminate_zeros()
    entries = matrix.tocoo()
    for i, j, value in zip(*entries.coords, entries.data, strict=True):
        edge = f"of {names[i]!r} for {names[j]!r}"
        if not value >= 0 or value == np.inf:
            raise ValueError(f"`weights` must be finite and not negative. The weight {edge} is {value}")
        if i != j and not graph.has_edge(names[i], names[j]):
            raise ValueError(f"`weights` must be 0 where there is no edge. The weight {edge} is {value}")
    for what, axis in (("row", 1), ("column", 0)):
        sums = np.asarray(matrix.sum(axis=axis))
        for i in np.flatnonzero(abs(sums - 1) > SUM_TOLERANCE)[:1]:
            raise ValueError(f"`weights` must be doubly stochastic. The {what} of {names[i]!r} sums to {sums[i]}")
    return matrix


# -------------------------------------------------------------------------------------------------- colours, trees


def colouring(graph: nx.Graph) -> list[list[Node]]:
    """Nodes by colour; those of one colour are no neighbours and may act at once in a Gauss-Seidel sweep.

    >>> colouring(graph_of("star", "abc"))
    [['a'], ['b', 'c']]
    """
    colour = nx.greedy_color(graph, strategy="largest_first")
    classes: list[list[Node]] = [[] for _ in range(max(colour.values()) + 1)]
    for node in graph:
        classes[colour[node]].append(node)
    return classes


@dataclass(frozen=True)
class SpanningTree:
    """The edges over which sums are collected and spread.

    Attributes:
        root: a node near the graph's middle.
        levels: for each depth from 1 on, pairs of a node at that depth and its parent.
    """

    root: Node
    levels: tuple[tuple[tuple[Node, Node], ...], ...]

    @property
    def depth(self) -> int:
        """Of the deepest node; the root's is 0."""
        return len(self.levels)


def spanning_tree(graph: nx.Graph) -> SpanningTree:
    """A breadth-first tree from the middle of a long shortest path; at most as deep as the graph's diameter.

    Ties are broken by the nodes' names, so the tree doesn't depend on the order in which nodes and edges are listed.

    >>> spanning_tree(graph_of("chain", "abcde")).root
    'c'
    """
    neighbours = {node: sorted(graph[node], key=str) for node in graph}
    far = _last(_breadth_first(neighbours, min(graph, key=str)), min(graph, key=str))
    levels = _breadth_first(neighbours, far)
    parent = {child: above for level in levels for child, above in level}
    middle = _last(levels, far)
    for _ in range(len(levels) // 2):
        middle = parent[middle]
    return SpanningTree(middle, tuple(_breadth_first(neighbours, middle)))


def _last(levels: list[tuple[tuple[Node, Node], ...]], root: Node) -> Node:
    return levels[-1][-1][0] if levels else root


def _breadth_first(neighbours: dict[Node, list[Node]], root: Node) -> list[tuple[tuple[Node, Node], ...]]:
    seen, frontier = {root}, [root]
    levels = []
    while frontier:
        pairs = []
        for parent in frontier:
            new = [child for child in neighbours[parent] if child not in seen]
            seen.update(new)
            pairs += [(child, parent) for child in new]
        frontier = [child for child, _ in pairs]
        if pairs:
            levels.append(tuple(pairs))
    return levels
