"""Consensus by the alternating direction method of multipliers, edge by edge (Zhan et al. 2017, Algorithms 1 and 2)."""

from __future__ import annotations

import networkx as nx
import numpy as np

from lifelong_gym.agents.contract.checks import finite
from lifelong_gym.numerics.arrays import FloatArray, IntArray
from lifelong_gym.wrappers import Channel, colouring


class Consensus:
    """Nodes that minimise ``sum_i x'A_i x / 2 - b_i'x`` together, each knowing only its own A_i and b_i.

    In the augmented Lagrangian ``sum_i f_i(x_i) - sum_(l,i) m_li'(x_l - x_i) + rho / 2 |x_l - x_i|^2_P`` over the
    graph's edges, nodes take turns to minimise over their own x_i; then the multipliers m move by
    ``rho P (x_i - x_l)``. Nodes of one colour are no neighbours and take their turn at once, in one round of messages,
    so an iteration takes as many rounds as there are colours. With ``P = sum_i A_i / V`` (whitening) the speed doesn't
    depend on the units of x; with P = I, the paper's, badly scaled problems take thousands of iterations.

    What nodes send is not x but the sum of all their x so far. From it a neighbour has both x and the multiplier, which
    is ``rho P`` times the difference of two such sums. If a message is lost, the sum is taken to have gone on as before
    until the next one arrives; so losses delay, and change nothing in the end. (With multipliers that each end of an
    edge adds up on its own, the ends would drift apart, and nodes would agree on something wrong.)

    P must be positive definite: along a direction in which it isn't, nodes that disagree are pushed apart, and iterates
    grow without bound. Any P that is leads to the solution, one that is wrong only later. (Added up by noisy messages,
    the mean of matrices whose smallest eigenvalues are below the noise isn't; see `Shards.reduced_symmetric`.) Noise in
    the sums themselves stays in proportion, for multipliers follow from sums and don't add it up.

    Many problems are solved at once, in the same messages.

    Args:
        channel: through which all messages go.
        matrix: A, shape (n_nodes, n, k, k), positive semidefinite.
        vector: b, shape (n_nodes, n, k).
        metric: P, positive definite and known to all nodes, shape (n, k, k).
        penalty: rho.
        start: x of each node, shape (n_nodes, n, k), told to neighbours in a round of its own; None: 0.

    Attributes:
        x: each node's solution so far, shape (n_nodes, n, k).
    """

    def __init__(
        self,
        channel: Channel,
        matrix: FloatArray,
        vector: FloatArray,
        metric: FloatArray,
        penalty: float = 0.3,
        start: FloatArray | None = None,
    ) -> None:
        """Factor each node's own part."""
        self._channel = channel
        self._index = {node: i for i, node in enumerate(channel.nodes)}
        self._colours = [np.array([self._index[node] for node in colour]) for colour in colouring(channel.graph)]
        adjacency = nx.to_numpy_array(channel.graph, nodelist=channel.nodes, weight=None) > 0
        self._degrees = adjacency.sum(axis=1)
        # Directed edges, in the order of their receivers: what a node hears is a slice, see `_over_edges`.
        receiver, sender = np.nonzero(adjacency)
        self._edge = {pair: e for e, pair in enumerate(zip(receiver.tolist(), sender.tolist(), strict=True))}
        self._edges_from = [np.flatnonzero(np.isin(sender, colour)) for colour in self._colours]
        self._first_edge = np.cumsum(self._degrees) - self._degrees
        turn = np.zeros(len(channel.nodes))
        for number, colour in enumerate(self._colours):
            turn[colour] = number
        self._is_later = (turn[sender] > turn[receiver])[:, None, None]
        # Setting the Lagrangian's gradient in x_i to 0 gives ``(A_i + rho degree_i P) x_i = b_i + rho P (...)``, where
        # only (...) changes: what follows from A_i is worked out once.
        inverse = np.linalg.inv(matrix + penalty * self._degrees[:, None, None, None] * metric)
        self._own = (inverse @ vector[..., None])[..., 0]
        self._from_others = penalty * inverse @ metric
        self.x = np.zeros_like(vector)
        self._sum = np.zeros_like(vector)
        # Of each directed edge's sender: the last sum that arrived and when, that sum as it may be now, and x.
        self._arrived, self._sum_heard, self._x_heard = np.zeros((3, len(self._edge), *vector.shape[1:]))
        self._age = np.zeros(len(self._edge))
        if start is not None:
            self.x[:] = start
            edges, values = self._told(self.x, np.arange(len(self.x)))
            self._x_heard[edges] = values

    def iterate(self, n_iterations: int = 1) -> FloatArray:
        """Everybody's turn, so many times; returns x."""
        for _ in range(n_iterations):
            for nodes, edges in zip(self._colours, self._edges_from, strict=True):
                self.x[nodes] = self._answers(nodes)
                self._sum[nodes] += self.x[nodes]
                self._tell(nodes, edges)
        return self.x

    def _answers(self, nodes: IntArray) -> FloatArray:
        # (...) is ``sum_l (x_l + (their sum so far) - (our sum so far))`` over neighbours l: the multiplier is the
        # difference of sums up to the last iteration. Who had a turn already in this one has added x to the sum; of
        # those whose turn is later, the last x comes on top.
        heard = self._sum_heard + self._is_later * self._x_heard
        pull = self._over_edges(heard, nodes) - self._degrees[nodes, None, None] * self._sum[nodes]
        answers: FloatArray = self._own[nodes] + (self._from_others[nodes] @ pull[..., None])[..., 0]
        return answers

    def _over_edges(self, heard: FloatArray, nodes: IntArray) -> FloatArray:
        """Sums over all that nodes hear, (n_nodes, n, k)."""
        edges = [slice(self._first_edge[i], self._first_edge[i] + self._degrees[i]) for i in nodes.tolist()]
        return np.array([heard[own].sum(axis=0) for own in edges])

    def _tell(self, nodes: IntArray, edges: IntArray) -> None:
        """These nodes send their sums over these edges."""
        # First all edges go on as before, as if nothing arrived; then what does arrive replaces that. A sum that comes
        # after losses stands for several x, of which the neighbour takes the mean.
        self._sum_heard[edges] += self._x_heard[edges]
        self._age[edges] += 1
        edges, values = self._told(self._sum, nodes)
        self._x_heard[edges] = (values - self._arrived[edges]) / self._age[edges, None, None]
        self._arrived[edges] = self._sum_heard[edges] = values
        self._age[edges] = 0

    def _told(self, values: FloatArray, nodes: IntArray) -> tuple[IntArray, FloatArray]:
        """One round in which nodes send values to their neighbours: the edges over which they arrive, and what does."""
        names, index = self._channel.nodes, self._index
        inboxes = self._channel.exchange(finite("the nodes' solutions", values), [names[i] for i in nodes.tolist()])
        told = {
            self._edge[index[receiver], index[sender]]: value
            for receiver, inbox in inboxes.items()
            for sender, value in inbox.items()
        }
        return np.array(list(told), np.int64), np.array(list(told.values())).reshape(len(told), *values.shape[1:])


def agreement_error(x: FloatArray) -> float:
    """How far nodes are from their mean, relative to it: the root of the mean square over nodes and problems."""
    return _relative(x - x.mean(axis=0), x.mean(axis=0))


def distance(x: FloatArray, solution: FloatArray) -> float:
    """How far nodes are from the solution of all together, relative to it. Agreement alone doesn't make it small."""
    return _relative(x - solution, solution)


def _relative(difference: FloatArray, whole: FloatArray) -> float:
    scale = float(np.linalg.norm(whole))
    return float(np.linalg.norm(difference)) / np.sqrt(len(difference)) / scale if scale > 0 else 0.0
