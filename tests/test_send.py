"""Messages to single neighbours: what arrives, what they cost, and which are refused."""

from __future__ import annotations

import math
from typing import Any

import networkx as nx
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lifelong_gym.wrappers import Channel, Faults, ParameterSharing
from tests.making import CART_POLE, parallel, same
from tests.test_channel import channel
from tests.test_topology import connected

FAULTY = Faults(loss=0.3, stops=0.1, noise=0.1, seed=4)


def test_a_hub_tells_one() -> None:
    """One message of 400 B to one of three costs 400 B, where telling everybody costs 1,200."""
    wire = channel("star", ["hub", "a", "b", "c"])
    value = np.arange(100, dtype=np.float32)
    inboxes = wire.send({("hub", "b"): value})
    assert {node: list(inbox) for node, inbox in inboxes.items()} == {"hub": [], "a": [], "b": ["hub"], "c": []}
    assert np.array_equal(inboxes["b"]["hub"], value)
    assert wire.ledger.snapshot() == {"rounds": 1, "messages": 1, "bytes": 400}
    assert wire.ledger.per_edge()["hub", "b"] == {"messages": 1, "bytes": 400, "lost": 0}
    wire.exchange({"hub": value}, senders=["hub"])
    assert wire.ledger.bytes == 1600


def test_messages_of_a_round_need_not_be_alike() -> None:
    """Each comes back in its form, dtype and shape, in no memory of the sender's."""
    values: dict[tuple[str, str], Any] = {
        ("a", "b"): torch.arange(3.0),
        ("b", "a"): {"replay": np.ones((2, 4, 4), np.uint8), "reward": [0.5, 1.5]},
        ("b", "c"): 7,
        ("c", "b"): {"w": torch.nn.Parameter(torch.ones(2, 2))},
    }
    wire = channel()
    inboxes = wire.send(values)
    assert type(inboxes["b"]["a"]) is torch.Tensor
    assert inboxes["b"]["a"].tolist() == [0, 1, 2]
    assert inboxes["a"]["b"]["replay"].dtype == np.uint8
    assert inboxes["a"]["b"]["replay"].shape == (2, 4, 4)
    assert inboxes["a"]["b"]["reward"].tolist() == [0.5, 1.5]
    assert inboxes["c"]["b"] == 7
    assert type(inboxes["b"]["c"]["w"]) is torch.Tensor
    assert not inboxes["b"]["c"]["w"].requires_grad
    assert wire.ledger.bytes_per_edge.tolist() == [12, 32 + 16, 8, 16]
    inboxes["b"]["a"][:] = 9
    inboxes["a"]["b"]["replay"][:] = 9
    assert values["a", "b"].tolist() == [0, 1, 2]
    assert values["b", "a"]["replay"].max() == 1


def test_what_all_send_to_all_is_an_exchange() -> None:
    """The same inboxes, ledger, losses and noise."""
    values: Any = np.random.default_rng(0).standard_normal((6, 3))
    one, other = (channel("chain+4", range(6), faults=FAULTY) for _ in range(2))
    for _ in range(20):
        directed = {(sender, receiver): values[sender] for sender, receiver in reversed(one.ledger.edges)}
        assert same(one.send(directed), other.exchange(values))
    assert one.ledger.lost > 10
    assert one.state_dict() == other.state_dict()


@given(connected(), st.data())
def test_the_ledger_is_the_sum_of_what_is_sent(graph: nx.Graph, data: st.DataObject) -> None:
    """By edge, with and without faults, which repeat with the seed; floats alone are disturbed."""
    clean, faulty, again = Channel(graph), Channel(graph, faults=FAULTY), Channel(graph, faults=FAULTY)
    pairs = st.lists(st.sampled_from(clean.ledger.edges), unique=True) if clean.ledger.edges else st.just([])
    expected, most = dict.fromkeys(clean.ledger.edges, 0), dict.fromkeys(clean.ledger.edges, 0)
    for _ in range(data.draw(st.integers(1, 4))):
        sizes = {pair: data.draw(st.integers(0, 9)) for pair in data.draw(pairs)}
        values = {pair: {"x": np.ones(n, np.float32), "n": np.arange(n)} for pair, n in sizes.items()}
        inboxes, heard = clean.send(values), faulty.send(values)
        assert same(heard, again.send(values))
        assert {(sender, node) for node, inbox in inboxes.items() for sender in inbox} == set(sizes)
        for node, inbox in heard.items():
            for sender, message in inbox.items():
                most[sender, node] += 1
                assert message["n"].tolist() == list(range(sizes[sender, node]))
        for pair, n in sizes.items():
            expected[pair] += 12 * n
    assert clean.ledger.rounds == faulty.ledger.rounds
    assert {edge: row["bytes"] for edge, row in clean.ledger.per_edge().items()} == expected
    for edge, row in faulty.ledger.per_edge().items():
        assert row["bytes"] <= expected[edge]
        assert row["messages"] - row["lost"] == most[edge]


def test_stopped_nodes_neither_send_nor_receive() -> None:
    """What a stopped node would send isn't counted; what is sent to it is lost."""
    wire = channel(faults=Faults(stops={"b": [(0, 1)]}))
    message = {("a", "b"): 1.0, ("b", "c"): 2.0}
    assert wire.send(message) == {"a": {}, "b": {}, "c": {}}
    assert wire.ledger.per_edge()["a", "b"] == {"messages": 1, "bytes": 8, "lost": 1}
    assert wire.ledger.per_edge()["b", "c"] == {"messages": 0, "bytes": 0, "lost": 0}
    assert wire.send(message) == {"a": {}, "b": {"a": 1.0}, "c": {"b": 2.0}}


def test_noise_is_added_to_floats() -> None:
    """Of scalars too; the sender's own array stays."""
    wire = channel(faults=Faults(noise=0.5))
    value = np.zeros(1000, np.float32)
    received = wire.send({("a", "b"): value, ("b", "a"): 0.0, ("b", "c"): 3})
    assert received["b"]["a"].dtype == np.float32
    assert received["b"]["a"].std() == pytest.approx(0.5, rel=0.1)
    assert received["a"]["b"] != 0
    assert received["c"]["b"] == 3
    assert not value.any()


def test_nobody_needs_to_send() -> None:
    """A round goes by."""
    wire = channel()
    assert wire.send({}) == {"a": {}, "b": {}, "c": {}}
    assert wire.ledger.snapshot() == {"rounds": 1, "messages": 0, "bytes": 0}


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({("a", "c"): 1.0}, r"node 'a' can't send to 'c', only to its neighbours: 'b'"),
        ({("a", "a"): 1.0}, r"node 'a' can't send to 'a', only to its neighbours: 'b'"),
        ({("a", "x"): 1.0}, r"unknown node 'x'.* There are: a, b, c"),
        ({("x", "a"): 1.0}, r"unknown node 'x'"),
        ({"ab": 1.0}, r"a message must be for a pair \(sender, receiver\). Received 'ab'"),
        ({("a", "b", "c"): 1.0}, r"a message must be for a pair"),
        ({("a", "b"): 1.0, ("b", "a"): math.nan}, r"message 'b' -> 'a': the value must be finite"),
        ({("a", "b"): {"w": [1.0, math.inf]}}, r"message 'a' -> 'b': 'w' must be finite"),
        ({("a", "b"): {}}, r"message 'a' -> 'b' must send at least one array"),
        ({("a", "b"): "text"}, r"message 'a' -> 'b': must be an array of real numbers. Received <U4"),
        ({("a", "b"): 1j}, r"message 'a' -> 'b': must be an array of real numbers. Received complex128"),
        ({("a", "b"): {"w": [[1], [1, 2]]}}, r"'w' of message 'a' -> 'b': must be an array of numbers"),
        ([("a", "b")], r"`values` must be a mapping from \(sender, receiver\) to a value. Received <class 'list'>"),
    ],
)
def test_messages_that_are_refused(values: Any, problem: str) -> None:
    """Nothing is sent then, and nothing counted."""
    wire = channel()
    with pytest.raises(ValueError, match=problem):
        wire.send({("b", "c"): 1.0} | values if isinstance(values, dict) else values)
    assert wire.ledger.snapshot() == {"rounds": 0, "messages": 0, "bytes": 0}


def test_the_wrapper_hands_on() -> None:
    """To its channel, by the agents' names."""
    env = ParameterSharing(parallel(CART_POLE, n_tasks=3), topology="star")
    assert env.send({("task_0", "task_2"): 1.5})["task_2"] == {"task_0": 1.5}
    assert env.ledger.messages == 1
