"""The one channel by which agents tell each other anything: synchronous rounds, counted, and faulty if wanted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import networkx as nx
import numpy as np
import numpy.typing as npt
from scipy import sparse

from lifelong_gym.errors import SharingError, integer, unknown
from lifelong_gym.numerics.arrays import BoolArray, IntArray
from lifelong_gym.wrappers.faults import Faults
from lifelong_gym.wrappers.ledger import Ledger
from lifelong_gym.wrappers.messages import Arrays, addressed, collect
from lifelong_gym.wrappers.topology import Node, SpanningTree, graph_of, mixing_matrix, spanning_tree

MAX_TRIES = 10_000  # rounds in which `all_reduce` sends a message before it gives up
MAX_ROUNDS = 2**31 - 1  # of one call of `mix`


class Channel:
    """Nodes of a graph that exchange values with their neighbours, in synchronous rounds.

    Values are an array or tensor of shape (n_nodes, ...), a row a node in the graph's order; or a mapping from node
    to an array or tensor; or from node to a mapping from name to arrays or tensors, such as a ``state_dict``. They
    come back in the same form, never sharing memory with what was given. All nodes' values must be finite and alike
    in names, shapes and dtypes; otherwise nothing is sent and a `ValueError` names node and edge. `send` takes messages
    that are each for one neighbour, and unlike each other.

    Args:
        graph: connected and undirected, see `graph_of`.
        weights: of `mix`, see `mixing_matrix`.
        faults: None: every message arrives as it was sent.

    Attributes:
        graph: a copy of the graph.
        nodes: their names, in the graph's order.
        weights: the mixing matrix, sparse, shape (n_nodes, n_nodes).
        faults: as given.
        ledger: what has been sent so far.

    Raises:
        ValueError: a graph, weights or faults that don't fit.

    >>> channel = Channel(graph_of("chain", "abc"))
    >>> channel.all_reduce([1.0, 2.0, 4.0])
    array([7., 7., 7.])
    >>> channel.ledger.snapshot()
    {'rounds': 2, 'messages': 4, 'bytes': 32}
    """

    def __init__(self, graph: nx.Graph, weights: Any = "metropolis", faults: Faults | None = None) -> None:
        """See the class."""
        self.graph = graph_of(graph, list(graph))
        self.nodes: tuple[Node, ...] = tuple(self.graph)
        self.weights = mixing_matrix(self.graph, weights)
        self.faults = faults
        if faults is not None:
            faults.check_nodes(self.nodes)
        self._index = index = {node: i for i, node in enumerate(self.nodes)}
        pairs = sorted((index[node], index[other]) for node in self.nodes for other in self.graph[node])
        self._from, self._to = np.array(pairs, np.intp).reshape(-1, 2).T
        self._edge = {(self.nodes[i], self.nodes[j]): e for e, (i, j) in enumerate(pairs)}
        self.ledger = Ledger(list(self._edge))

    # ------------------------------------------------------------------------------------------------------ exchange

    def exchange(self, values: Any, senders: Iterable[Node] | None = None) -> dict[Node, dict[Node, Any]]:
        """One round in which nodes send their values to all their neighbours.

        Args:
            values: see the class; those of nodes that don't send may be missing from a mapping.
            senders: default: all nodes.

        Returns:
            For each node, what it received, by sender: lost messages are missing.

        Raises:
            ValueError: values that can't be sent; nothing has been sent then.
        """
        sending = self._senders(senders)
        messages = collect(values, self.graph, [self.nodes[i] for i in np.flatnonzero(sending)])
        round = self.ledger.rounds
        arrived = np.flatnonzero(self._send(sending[self._from], messages.n_bytes))
        received = self._received(messages.arrays, arrived, round)
        inboxes: dict[Node, dict[Node, Any]] = {node: {} for node in self.nodes}
        for k, e in enumerate(arrived.tolist()):
            sender, receiver = self.ledger.edges[e]
            inboxes[receiver][sender] = messages.value(received, k)
        return inboxes

    def send(self, values: Mapping[Any, Any]) -> dict[Node, dict[Node, Any]]:
        """One round in which nodes send to single neighbours; whoever isn't addressed gets nothing, at no cost.

        Args:
            values: by (sender, receiver), an array or tensor of any shape and dtype, or a mapping from name to such.

        Returns:
            As `exchange`: for each node, what it received, by sender: lost messages are missing.

        Raises:
            ValueError: values that can't be sent, or to a node that isn't a neighbour; nothing has been sent then.

        >>> channel = Channel(graph_of("star", ["hub", "a", "b"]))
        >>> channel.send({("hub", "a"): [1.0, 2.0]})["a"]
        {'hub': array([1., 2.])}
        >>> channel.ledger.snapshot()
        {'rounds': 1, 'messages': 1, 'bytes': 16}
        """
        messages = {self._edge[pair]: message for pair, message in addressed(values, self.graph).items()}
        sending, n_bytes = np.zeros(len(self._from), bool), np.zeros(len(self._from), np.int64)
        for e, message in messages.items():
            sending[e], n_bytes[e] = True, message.n_bytes
        round = self.ledger.rounds
        arrived = self._send(sending, n_bytes)
        inboxes: dict[Node, dict[Node, Any]] = {node: {} for node in self.nodes}
        for e in np.flatnonzero(arrived).tolist():
            self._disturb(messages[e].arrays.values(), round, e)
            sender, receiver = self.ledger.edges[e]
            inboxes[receiver][sender] = messages[e].restored()
        return inboxes

    def _senders(self, senders: Iterable[Node] | None) -> BoolArray:
        sending = np.full(len(self.nodes), senders is None)
        for node in senders or ():
            if node not in self._index:
                raise unknown("node", node, self.nodes)
            sending[self._index[node]] = True
        return sending

    def _send(self, sending: BoolArray, n_bytes: int | IntArray) -> BoolArray:
        """One round over the given directed edges; which messages arrive."""
        sent = arrived = sending
        if self.faults is not None:
            stopped = self.faults.stopped(self.ledger.rounds, self.nodes)
            sent = sending & ~stopped[self._from]
            arrived = sent & ~stopped[self._to] & self.faults.survivors(self.ledger.rounds, len(sent))
        self.ledger.count(sent, arrived, n_bytes)
        return arrived

    def _received(self, arrays: Arrays, edges: npt.NDArray[np.intp], round: int) -> Arrays:
        """What arrives over these edges, a row an edge."""
        received = {name: array[self._from[edges]] for name, array in arrays.items()}
        if self.faults is not None and self.faults.noise > 0:
            for k, e in enumerate(edges.tolist()):
                self._disturb([array[k, ...] for array in received.values()], round, e)
        return received

    def _disturb(self, message: Iterable[npt.NDArray[Any]], round: int, edge: int) -> None:
        """Add the channel's noise to the arrays of one message, as far as they are floating-point numbers."""
        if self.faults is None or self.faults.noise == 0:
            return
        noisy = [array for array in message if array.dtype.kind == "f"]
        noise = self.faults.noise_like(round, edge, [array.shape for array in noisy])
        for array, added in zip(noisy, noise, strict=True):
            array[...] += np.asarray(added).astype(array.dtype)

    # ----------------------------------------------------------------------------------------------------------- mix

    def mix(self, values: Any, n_rounds: int = 1) -> Any:
        """Weighted averages of a node's own value and its neighbours', ``n_rounds`` times over: x <- W x.

        A round is one `exchange`: every node sends to every neighbour, also where the weight is 0, and results are
        rounded to the values' dtype. Repeated, all values approach the average at the rate of W's second eigenvalue.
        With faults, a node keeps for its own value the weights of messages that didn't arrive. Averages stay
        averages then, but losses in one direction move the mean of all nodes: agreement is reached, on a value near
        the mean.

        Args:
            values: see the class; floating-point numbers.
            n_rounds: at least 1.

        Returns:
            In the form of ``values``.

        Raises:
            ValueError: values that can't be sent or averaged; nothing has been sent then.
        """
        integer("n_rounds", n_rounds, most=MAX_ROUNDS)
        messages = collect(values, self.graph, self.nodes)
        messages.require("f", "floating-point numbers to be averaged")
        arrays, everyone = messages.arrays, np.ones(len(self._from), bool)
        if self.faults is None:
            for _ in range(n_rounds):
                arrays = {name: _product(self.weights, array) for name, array in arrays.items()}
            self.ledger.count(everyone, everyone, messages.n_bytes, n_rounds)
            return messages.restored(arrays)
        for _ in range(n_rounds):
            round = self.ledger.rounds
            arrays = self._mixed(arrays, self._send(everyone, messages.n_bytes), round)
        return messages.restored(arrays)

    def _mixed(self, arrays: Arrays, arrived: BoolArray, round: int) -> Arrays:
        """One round of averages over the messages that arrived."""
        edges = np.flatnonzero(arrived)
        given = self._weight_of_edge * arrived
        kept = self.weights.diagonal() + np.bincount(self._to, self._weight_of_edge - given, len(self.nodes))
        everybody = np.arange(len(self.nodes))
        entries = (np.append(given, kept), (np.append(self._to, everybody), np.append(self._from, everybody)))
        matrix = sparse.csr_array(entries, shape=self.weights.shape)
        mixed = {name: _product(matrix, array) for name, array in arrays.items()}
        assert self.faults is not None
        if self.faults.noise > 0:
            for e in edges.tolist():
                noise = self.faults.noise_like(round, e, [array.shape[1:] for array in arrays.values()])
                for array, added in zip(mixed.values(), noise, strict=True):
                    array[self._to[e], ...] += (self._weight_of_edge[e] * added).astype(array.dtype)
        return mixed

    @cached_property
    def _weight_of_edge(self) -> npt.NDArray[np.float64]:
        """What a receiver gives to each directed edge's message, shape (n_edges,)."""
        if len(self._from) == 0:  # whose entries SciPy gives as a matrix
            return np.zeros(0)
        return np.asarray(self.weights[self._to, self._from], np.float64).reshape(-1)

    # ---------------------------------------------------------------------------------------------------- all-reduce

    @cached_property
    def tree(self) -> SpanningTree:
        """Over which `all_reduce` sends."""
        return spanning_tree(self.graph)

    def all_reduce(self, values: Any) -> Any:
        """The sum of all nodes' values, known to every node: up a spanning tree, and down again.

        Costs 2 depth rounds and 2 (n_nodes - 1) messages. Sums are exact but for the rounding of their dtype, in which
        they must fit, equal on all nodes to the bit, and depend on the tree alone, not on the order in which values
        are listed.
        A message that doesn't arrive is sent again in the next round, and counted again, until it does; so a node
        that has stopped is waited for, and loss costs rounds but changes no result. Noise adds up along the tree.

        Args:
            values: see the class; integers or floating-point numbers.

        Returns:
            In the form of ``values``.

        Raises:
            ValueError: values that can't be sent or added, or whose sum (of floating-point numbers: of magnitudes)
                doesn't fit their dtype; nothing has been sent then.
            SharingError: a message hasn't arrived in 10,000 rounds.
        """
        messages = collect(values, self.graph, self.nodes)
        messages.require("iuf", "numbers to be added")
        messages.require_room()
        totals = {name: array.copy() for name, array in messages.arrays.items()}
        for level in reversed(self.tree.levels):
            for edges, received in self._delivered(level, totals, messages.n_bytes):
                for name, array in received.items():
                    np.add.at(totals[name], self._to[edges], array)
        for level in self.tree.levels:
            down = [(parent, child) for child, parent in level]
            for edges, received in self._delivered(down, totals, messages.n_bytes):
                for name, array in received.items():
                    totals[name][self._to[edges]] = array
        return messages.restored(totals)

    def _delivered(
        self, pairs: Sequence[tuple[Node, Node]], arrays: Arrays, n_bytes: int
    ) -> Iterator[tuple[npt.NDArray[np.intp], Arrays]]:
        """What arrives over all of these edges, once it has."""
        edges = np.array([self._edge[pair] for pair in pairs], np.intp)
        received = {name: np.empty((len(edges), *array.shape[1:]), array.dtype) for name, array in arrays.items()}
        waiting = np.ones(len(edges), bool)
        for _ in range(MAX_TRIES):
            sending = np.zeros(len(self._from), bool)
            sending[edges[waiting]] = True
            round = self.ledger.rounds
            new = np.flatnonzero(self._send(sending, n_bytes)[edges])
            for name, array in self._received(arrays, edges[new], round).items():
                received[name][new] = array
            waiting[new] = False
            if not waiting.any():
                yield edges, received  # in the tree's order, not in that of arrival
                return
        sender, receiver = self.ledger.edges[edges[waiting][0]]
        raise SharingError(f"edge {sender!r} -> {receiver!r}: no message has arrived in {MAX_TRIES:,} rounds")

    # --------------------------------------------------------------------------------------------------------- state

    def state_dict(self) -> dict[str, Any]:
        """The ledger, in the types JSON knows; its number of rounds decides which faults come next."""
        return {"ledger": self.ledger.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state_dict`.

        Raises:
            ValueError: it is of a channel with other edges.
        """
        self.ledger.load_state_dict(state["ledger"])

    def __repr__(self) -> str:
        return f"Channel({len(self.nodes)} nodes, {self.graph.number_of_edges()} edges, {self.faults})"


def _product(matrix: sparse.csr_array, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Averages along the first axis, in the array's dtype."""
    flat = array.reshape(len(array), -1).astype(np.float64, copy=False)
    return np.asarray(matrix @ flat).astype(array.dtype, copy=False).reshape(array.shape)
