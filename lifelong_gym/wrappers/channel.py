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
from lifelong_gym.numerics.arrays import BoolArray, FloatArray, IntArray
from lifelong_gym.wrappers.compression import KnownValues, compressor_of
from lifelong_gym.wrappers.faults import Faults
from lifelong_gym.wrappers.ledger import Ledger
from lifelong_gym.wrappers.messages import Arrays, addressed, collect
from lifelong_gym.wrappers.mixing import mean_of_pairs, partners, product, second_singular_value
from lifelong_gym.wrappers.topology import RANDOM_PAIRS, Node, SpanningTree, graph_of, mixing_matrix, spanning_tree

MAX_TRIES = 10_000  # rounds in which `all_reduce` sends a message before it gives up
MAX_ROUNDS = 2**31 - 1  # of one call of `mix`


class Channel:
    """Nodes of a graph that exchange values with their neighbours, in synchronous rounds.

    Values are an array or tensor of shape (n_nodes, ...), a row a node in the graph's order; or a mapping from node
    to an array or tensor; or from node to a mapping from name to arrays or tensors, such as a ``state_dict``. They
    come back in the same form, never sharing memory with what was given. All nodes' values must be finite and alike
    in names, shapes and dtypes; otherwise nothing is sent and a `ValueError` names node and edge. `send` takes messages
    that are each for one neighbour, and unlike each other.

    Over a graph of ``"random_pairs"``, nodes speak in `exchange` and `mix` with one partner only, drawn anew in each
    round; a pair averages by halves, and of an odd number of nodes one is silent.

    Args:
        graph: connected and undirected, see `graph_of`.
        weights: of `mix`, see `mixing_matrix`.
        faults: None: every message arrives as it was sent.
        compress: of what `mix` sends: None; ``"int8"``: a byte a number; ``"top_k"``: the tenth of the numbers that
            has changed most, with its places, or another share, as in ``"top_k:0.02"``. See `mix`.

    Attributes:
        graph: a copy of the graph.
        nodes: their names, in the graph's order.
        weights: the mixing matrix, sparse, shape (n_nodes, n_nodes); of random pairs: the mean of theirs.
        faults: as given.
        compress: as given.
        ledger: what has been sent so far.

    Raises:
        ValueError: a graph, weights, faults or a compression that don't fit.

    >>> channel = Channel(graph_of("chain", "abc"))
    >>> channel.all_reduce([1.0, 2.0, 4.0])
    array([7., 7., 7.])
    >>> channel.ledger.snapshot()
    {'rounds': 2, 'messages': 4, 'bytes': 32}
    """

    def __init__(
        self,
        graph: nx.Graph,
        weights: Any = "metropolis",
        faults: Faults | None = None,
        compress: str | None = None,
    ) -> None:
        """See the class."""
        self.graph = graph_of(graph, list(graph))
        self.nodes: tuple[Node, ...] = tuple(self.graph)
        self._pairs_seed: int | None = self.graph.graph.get(RANDOM_PAIRS)
        if self._pairs_seed is not None and not (isinstance(weights, str) and weights == "metropolis"):
            raise ValueError(f"`weights` must be left alone: random pairs average by halves. Received {weights!r}")
        is_fixed = self._pairs_seed is None
        self.weights = mixing_matrix(self.graph, weights) if is_fixed else mean_of_pairs(len(self.nodes))
        self.faults, self.compress = faults, compress
        if faults is not None:
            faults.check_nodes(self.nodes)
        self._index = index = {node: i for i, node in enumerate(self.nodes)}
        pairs = sorted((index[node], index[other]) for node in self.nodes for other in self.graph[node])
        self._from, self._to = np.array(pairs, np.intp).reshape(-1, 2).T
        self._edge = {(self.nodes[i], self.nodes[j]): e for e, (i, j) in enumerate(pairs)}
        back = {pair: e for e, pair in enumerate(pairs)}
        self._back = np.array([back[j, i] for i, j in pairs], np.intp)  # the edge the other way
        self._copies = None if compress is None else KnownValues(compressor_of(compress), self._from)
        self.ledger = Ledger(list(self._edge))

    @cached_property
    def sigma_2(self) -> float:
        """Second largest singular value of the mixing matrix: the rate at which `mix` leads to agreement."""
        return second_singular_value(self.weights)

    def _active(self, round: int) -> BoolArray:
        """Edges over which nodes speak in a round, unless to nodes they name, shape (n_edges,)."""
        if self._pairs_seed is None:
            return np.ones(len(self._from), bool)
        return partners(len(self.nodes), round, self._pairs_seed)[self._from] == self._to

    # ------------------------------------------------------------------------------------------------------ exchange

    def exchange(self, values: Any, senders: Iterable[Node] | None = None) -> dict[Node, dict[Node, Any]]:
        """One round in which nodes send their values to all their neighbours; of random pairs: to their partner.

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
        arrived = np.flatnonzero(self._send(sending[self._from] & self._active(round), messages.n_bytes))
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

        With compression, neighbours hold copies of each other's values. The first message over an edge is whole; then
        only compressed differences from the copy are sent, and what they leave out is part of the next. Node i moves by
        s sum_j W_ij (copy of x_j - copy of x_i), over neighbours to whom its own message arrived too: so the mean stays
        as it is, also with losses.
        The step s is 1 for ``"int8"`` and twice the share for ``"top_k"``, which needs more rounds to agree.
        Values of other names or shapes than last time begin anew.

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
        arrays = messages.arrays
        if self.faults is None and self._copies is None and self._pairs_seed is None:
            for _ in range(n_rounds):
                arrays = {name: product(self.weights, array) for name, array in arrays.items()}
            everyone = np.ones(len(self._from), bool)
            self.ledger.count(everyone, everyone, messages.n_bytes, n_rounds)
            return messages.restored(arrays)
        for _ in range(n_rounds):
            round = self.ledger.rounds
            active = self._active(round)
            if self._copies is None:
                arrays = self._mixed(arrays, self._send(active, messages.n_bytes), round)
            else:
                arrays = self._mixed_by_copies(arrays, active, self._copies, round)
        return messages.restored(arrays)

    def _mixed(self, arrays: Arrays, arrived: BoolArray, round: int) -> Arrays:
        """One round of averages over the messages that arrived."""
        weight, own = self._weights_in(round)
        given = weight * arrived
        kept = own + np.bincount(self._to, weight - given, len(self.nodes))
        everybody = np.arange(len(self.nodes))
        entries = (np.append(given, kept), (np.append(self._to, everybody), np.append(self._from, everybody)))
        matrix = sparse.csr_array(entries, shape=self.weights.shape)
        mixed = {name: product(matrix, array) for name, array in arrays.items()}
        self._add_noise(mixed, given, round)
        return mixed

    def _mixed_by_copies(self, arrays: Arrays, active: BoolArray, copies: KnownValues, round: int) -> Arrays:
        """One round of averages over compressed messages."""
        copies.fit(arrays)
        sent, n_bytes = copies.messages(arrays, active)
        arrived = self._send(active, n_bytes)
        copies.update(sent, arrived)
        weight, _ = self._weights_in(round)
        given = copies.step * weight * (arrived & arrived[self._back])
        mixed = {name: array.copy() for name, array in arrays.items()}
        for e in np.flatnonzero(given).tolist():
            for name, array in mixed.items():
                known = copies.known[name]
                difference = (given[e] * (known[e] - known[self._back[e]])).astype(array.dtype)
                array[self._to[e], ...] += difference.reshape(array.shape[1:])
        self._add_noise(mixed, given, round)
        return mixed

    def _add_noise(self, mixed: Arrays, given: FloatArray, round: int) -> None:
        """The noise of messages, weighted as these are."""
        if self.faults is None or self.faults.noise == 0:
            return
        for e in np.flatnonzero(given).tolist():
            noise = self.faults.noise_like(round, e, [array.shape[1:] for array in mixed.values()])
            for array, added in zip(mixed.values(), noise, strict=True):
                array[self._to[e], ...] += (given[e] * added).astype(array.dtype)

    def _weights_in(self, round: int) -> tuple[FloatArray, FloatArray]:
        """What a receiver gives to each directed edge's message, (n_edges,), and to its own value, (n_nodes,)."""
        if self._pairs_seed is None:
            return self._weight_of_edge, self.weights.diagonal()
        given = np.where(self._active(round), 0.5, 0.0)
        own = np.asarray(1 - np.bincount(self._to, given, len(self.nodes)), np.float64)
        return given, own

    @cached_property
    def _weight_of_edge(self) -> FloatArray:
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
        """The ledger, in the types JSON knows, and with compression the copies, arrays by name.

        The number of rounds decides which faults and pairs come next.
        """
        copies = {} if self._copies is None else {"copies": self._copies.state_dict()}
        return {"ledger": self.ledger.state_dict(), **copies}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state_dict`.

        Raises:
            ValueError: it is of a channel with other edges, or with compression where this one has none, or without.
        """
        if ("copies" in state) != (self._copies is not None):
            raise ValueError(f"the state must be of a channel with compression {self.compress!r}")
        before = self.ledger.state_dict()
        self.ledger.load_state_dict(state["ledger"])
        if self._copies is not None:
            try:
                self._copies.load_state_dict(state["copies"])
            except ValueError:
                self.ledger.load_state_dict(before)
                raise

    def __repr__(self) -> str:
        return f"Channel({len(self.nodes)} nodes, {self.graph.number_of_edges()} edges, {self.faults})"
