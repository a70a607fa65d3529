"""What nodes send: checked, brought into one form, and given back in the form in which it came."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import networkx as nx
import numpy as np
import numpy.typing as npt

from lifelong_gym.errors import unknown
from lifelong_gym.wrappers.topology import Node

Array = npt.NDArray[Any]
Arrays = dict[str, Array]
ALONE = ""  # the name of an array that has none


@dataclass(frozen=True)
class Messages:
    """Values of all nodes.

    Attributes:
        nodes: their names.
        arrays: each of shape (n_nodes, ...), by name, those of nodes that don't send zero.
        samples: one node's values as they came: arrays or tensors by name.
        stacked: they came as one array.
        named: each node's value was a mapping.
    """

    nodes: Sequence[Node]
    arrays: Arrays
    samples: Mapping[str, Any]
    stacked: bool
    named: bool

    @property
    def n_bytes(self) -> int:
        """Of one node's message."""
        return sum(array[0].nbytes for array in self.arrays.values())

    def value(self, arrays: Arrays, index: int) -> Any:
        """Row ``index`` of each array, in the form in which a node's value came."""
        values = {name: _like(self.samples[name], array[index, ...]) for name, array in arrays.items()}
        return values if self.named else values[ALONE]

    def restored(self, arrays: Arrays) -> Any:
        """Arrays of all nodes, in the form in which the values came."""
        if self.stacked:
            return _like(self.samples[ALONE], arrays[ALONE])
        return {node: self.value(arrays, i) for i, node in enumerate(self.nodes)}

    def require(self, kinds: str, what: str) -> None:
        """Raise `ValueError` unless all arrays have one of NumPy's ``kinds`` of dtypes."""
        for name, array in self.arrays.items():
            if array.dtype.kind not in kinds:
                raise ValueError(f"{_of(name)} must be {what}. Received {array.dtype} from {self.nodes[0]!r}")

    def require_room(self) -> None:
        """Raise `ValueError` unless sums over nodes fit the arrays' dtypes."""
        for name, array in self.arrays.items():
            total = _beyond(array)
            if total is not None:
                raise ValueError(
                    f"{_of(name)} must add up to numbers that fit {array.dtype}. Received {total}: give a wider dtype"
                )


def _beyond(array: Array) -> str | None:
    """A sum over nodes that the dtype doesn't hold, as text; None: there is none."""
    is_float = array.dtype.kind == "f"
    kind: Any = np.finfo(array.dtype) if is_float else np.iinfo(array.dtype)
    low, high = (float(pick(array, initial=0)) for pick in (np.min, np.max))
    if len(array) * max(-low, high) < 0.5 * float(kind.max):
        return None
    if is_float:  # whose partial sums must fit too, whichever are added first
        mean = float(np.abs(array.astype(np.float64) / len(array)).sum(axis=0).max(initial=0.0))
        return f"{len(array)} magnitudes of {mean:g} on average" if mean > float(kind.max) / len(array) else None
    totals = array.astype(object).sum(axis=0)  # Python's, exact
    outside = [total for total in np.ravel(totals) if not kind.min <= total <= kind.max]
    return str(outside[0]) if outside else None


@dataclass(frozen=True)
class Message:
    """What one node sends to another.

    Attributes:
        arrays: copies of what is sent, by name.
        value: as it came.
    """

    arrays: Arrays
    value: Any

    @property
    def n_bytes(self) -> int:
        """In the arrays' own dtypes."""
        return sum(array.nbytes for array in self.arrays.values())

    def restored(self) -> Any:
        """The arrays as they are now, in the form in which the value came."""
        if not isinstance(self.value, Mapping):
            return _like(self.value, self.arrays[ALONE])
        return {name: _like(self.value[name], array) for name, array in self.arrays.items()}


def addressed(values: Any, graph: nx.Graph) -> dict[tuple[Node, Node], Message]:
    """Check messages from node to node before any is sent; they need not be alike.

    Args:
        values: a mapping from (sender, receiver) to an array or tensor, or to a mapping from name to arrays or tensors.
        graph: of the nodes.

    Raises:
        ValueError: not such a mapping, an unknown node, nodes that are no neighbours, NaN or infinity, or no numbers.
    """
    if not isinstance(values, Mapping):
        raise ValueError(f"`values` must be a mapping from (sender, receiver) to a value. Received {type(values)}")
    return {_edge_of(pair, graph): _message(value, pair) for pair, value in values.items()}


def _edge_of(pair: Any, graph: nx.Graph) -> tuple[Node, Node]:
    if not isinstance(pair, tuple) or len(pair) != 2:
        raise ValueError(f"a message must be for a pair (sender, receiver). Received {pair!r}")
    sender, receiver = pair
    for node in pair:
        if node not in graph:
            raise unknown("node", node, graph)
    if receiver not in graph[sender]:
        near = ", ".join(map(repr, graph[sender])) or "nobody"
        raise ValueError(f"node {sender!r} can't send to {receiver!r}, only to its neighbours: {near}")
    return sender, receiver


def _message(value: Any, pair: tuple[Node, Node]) -> Message:
    whose = f"message {pair[0]!r} -> {pair[1]!r}"
    arrays = {name: np.array(array) for name, array in _by_name(value, whose).items()}
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise ValueError(f"{whose}: {_of(name)} must be finite. Received NaN or infinity")
    return Message(arrays, value)


def collect(values: Any, graph: nx.Graph, senders: Sequence[Node]) -> Messages:
    """Check values before anything is sent.

    Args:
        values: an array or tensor of shape (n_nodes, ...), or a mapping from node to an array or tensor, or to a
            mapping from name to arrays or tensors, such as a ``state_dict``.
        graph: whose nodes send.
        senders: nodes that must have a value.

    Raises:
        ValueError: an unknown or missing node, NaN or infinity, arrays that differ between nodes in name, shape or
            dtype, or no numbers at all; names the node and the edge.
    """
    nodes = list(graph)
    if isinstance(values, Mapping):
        messages = _gathered(values, graph, nodes, senders)
    else:
        array = _array(values, "all nodes")
        if array.shape[:1] != (len(nodes),):
            raise ValueError(
                f"stacked values must have shape ({len(nodes)}, ...), a row a node. Received {array.shape}"
            )
        messages = Messages(nodes, {ALONE: array}, {ALONE: values}, stacked=True, named=False)
    sending = set(senders)
    for name, array in messages.arrays.items():
        if array.dtype.kind == "f":
            finite = np.isfinite(array).reshape(len(nodes), -1).all(axis=1)
            for i in np.flatnonzero(~finite):
                if nodes[i] in sending:
                    raise ValueError(f"{_place(graph, nodes[i])}: {_of(name)} must be finite. Received NaN or infinity")
    return messages


def _gathered(values: Mapping[Any, Any], graph: nx.Graph, nodes: list[Node], senders: Sequence[Node]) -> Messages:
    for node in values:
        if node not in graph:
            raise unknown("node", node, nodes)
    missing = [node for node in senders if node not in values]
    if missing:
        raise ValueError(f"{_place(graph, missing[0])}: no value given. Missing: {', '.join(map(repr, missing))}")
    sent = {node: _by_name(values[node], f"node {node!r}") for node in senders}
    _check_alike(sent, graph)
    first = next(iter(senders), None)
    if first is None:
        return Messages(nodes, {}, {}, stacked=False, named=True)
    index = {node: i for i, node in enumerate(nodes)}
    arrays = {}
    for name, sample in sent[first].items():
        arrays[name] = np.zeros((len(nodes), *sample.shape), sample.dtype)
        for node in senders:
            arrays[name][index[node]] = sent[node][name]
    named = isinstance(values[first], Mapping)
    return Messages(nodes, arrays, values[first] if named else {ALONE: values[first]}, stacked=False, named=named)


def _check_alike(sent: Mapping[Node, Arrays], graph: nx.Graph) -> None:
    described = {node: {name: (a.shape, a.dtype) for name, a in arrays.items()} for node, arrays in sent.items()}
    first = next(iter(described), None)
    # Neighbours first: the graph is connected, so where all send, some edge joins two that differ.
    for one, other in [*graph.edges, *((first, node) for node in described)]:
        if one in described and other in described and described[one] != described[other]:
            difference = _difference(described[one], described[other])
            raise ValueError(
                f"nodes {one!r} and {other!r} must send alike values{_edge(graph, one, other)}: {difference}"
            )


def _difference(one: Mapping[str, tuple[Any, Any]], other: Mapping[str, tuple[Any, Any]]) -> str:
    unshared = sorted(one.keys() ^ other.keys())
    if unshared:
        return f"only one of them has {', '.join(map(repr, unshared[:5]))}"
    name = next(name for name in one if one[name] != other[name])
    (shape_1, dtype_1), (shape_2, dtype_2) = one[name], other[name]
    return f"{_of(name)} is {dtype_1} {shape_1} and {dtype_2} {shape_2}"


def _edge(graph: nx.Graph, one: Node, other: Node) -> str:
    return f" (edge {one!r} - {other!r})" if graph.has_edge(one, other) else ""


def _place(graph: nx.Graph, node: Node) -> str:
    """The node, and an edge over which it would send."""
    edges = [f", edge {node!r} -> {other!r}" for other in list(graph[node])[:1]]
    return f"node {node!r}{''.join(edges)}"


def _of(name: str) -> str:
    return "the value" if name == ALONE else repr(name)


def _by_name(value: Any, whose: str) -> Arrays:
    items: Iterable[tuple[str, Any]] = value.items() if isinstance(value, Mapping) else [(ALONE, value)]
    arrays = {name: _array(item, f"{name!r} of {whose}" if name else whose) for name, item in items}
    if not arrays:
        raise ValueError(f"{whose} must send at least one array. Received an empty mapping")
    return arrays


def _array(value: Any, where: str) -> Array:
    """An array of numbers, which may still share memory with the value."""
    try:
        array = np.asarray(value.detach().cpu().numpy() if hasattr(value, "detach") else value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: must be an array of numbers. {error}") from None
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{where}: must be an array of real numbers. Received {array.dtype}")
    return array


def _like(sample: Any, array: Array) -> Any:
    """The array, as a tensor if the sample is one."""
    return sample.detach().new_tensor(array) if hasattr(sample, "detach") else array
