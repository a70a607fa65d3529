"""What nodes send each other and what it costs."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import networkx as nx
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lifelong_gym.wrappers import Channel, Faults, graph_of, mixing_matrix
from tests.test_topology import connected


def channel(spec: Any = "chain", nodes: Any = "abc", **settings: Any) -> Channel:
    """Of a few nodes."""
    return Channel(graph_of(spec, nodes), **settings)


def numbers(n_nodes: int, *shape: int, seed: int = 0) -> np.ndarray[Any, Any]:
    """Random values, a row a node."""
    return np.random.default_rng(seed).standard_normal((n_nodes, *shape))


# ------------------------------------------------------------------------------------------------------------- exchange


def test_neighbours_receive_what_was_sent() -> None:
    """Neither more nor less, of their neighbours only."""
    wire = channel()
    inboxes = wire.exchange(np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]))
    got = {node: {other: value.tolist() for other, value in inbox.items()} for node, inbox in inboxes.items()}
    assert got == {"a": {"b": [3.0, 4.0]}, "b": {"a": [1.0, 2.0], "c": [5.0, 6.0]}, "c": {"b": [3.0, 4.0]}}
    assert wire.ledger.snapshot() == {"rounds": 1, "messages": 4, "bytes": 4 * 16}


def test_only_senders_send() -> None:
    """Others need no value; what they hold isn't looked at."""
    wire = channel()
    inboxes = wire.exchange({"b": np.float32(7)}, senders=["b"])
    assert inboxes == {"a": {"b": 7}, "b": {}, "c": {"b": 7}}
    wire.exchange(np.array([1.0, np.nan, 2.0]), senders=["a"])
    assert wire.exchange({}, senders=[]) == {"a": {}, "b": {}, "c": {}}
    assert wire.ledger.per_edge() == {
        ("a", "b"): {"messages": 1, "bytes": 8, "lost": 0},
        ("b", "a"): {"messages": 1, "bytes": 4, "lost": 0},
        ("b", "c"): {"messages": 1, "bytes": 4, "lost": 0},
        ("c", "b"): {"messages": 0, "bytes": 0, "lost": 0},
    }
    assert wire.ledger.rounds == 3


FORMS: dict[str, Callable[[Any], Any]] = {
    "stacked array": lambda x: x,
    "stacked tensor": lambda x: torch.tensor(x),
    "arrays by node": lambda x: dict(zip("abc", x, strict=True)),
    "tensors by node": lambda x: {
        node: torch.nn.Parameter(torch.tensor(row)) for node, row in zip("abc", x, strict=True)
    },
    "arrays by name": lambda x: {n: {"w": row[:2], "b": row[2]} for n, row in zip("abc", x, strict=True)},
    "tensors by name": lambda x: {
        node: {"w": torch.tensor(row[:2]), "b": torch.tensor(row[2])} for node, row in zip("abc", x, strict=True)
    },
}


def flat(values: Any) -> Any:
    """Any form as a list of rows."""
    if isinstance(values, dict):
        parts = [list(v.values()) if isinstance(v, dict) else [v] for v in values.values()]
        return [np.concatenate([np.ravel(torch.as_tensor(p).detach().numpy()) for p in row]).tolist() for row in parts]
    return values.tolist()


def tensors_in(values: Any) -> list[Any]:
    """All leaves of nested dicts."""
    return [leaf for v in values.values() for leaf in tensors_in(v)] if isinstance(values, dict) else [values]


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
@pytest.mark.parametrize("form", FORMS)
def test_values_come_back_in_their_form(form: str, dtype: Any) -> None:
    """Of the same type and dtype, the same numbers and bytes in every form, in no memory of the sender's."""
    rows = numbers(3, 3).astype(dtype)
    values = FORMS[form](rows.copy())
    wire, other = channel(), channel()
    for operation in ("mix", "all_reduce"):
        got, expected = getattr(wire, operation)(values), getattr(other, operation)(rows)
        assert flat(got) == expected.tolist()
        assert [type(leaf) for leaf in tensors_in(got)] == [
            torch.Tensor if "tensor" in form else np.ndarray for _ in tensors_in(values)
        ]
        assert {leaf.dtype for leaf in tensors_in(got)} == {leaf.dtype for leaf in tensors_in(values)}
    inboxes = wire.exchange(values)
    assert flat({"b": inboxes["a"]["b"]}) == flat({"b": inboxes["c"]["b"]}) == [rows[1].tolist()]
    for received in (inboxes["a"]["b"], got):
        for leaf in tensors_in(received):
            leaf[...] = 0
    assert flat(values) == rows.tolist()
    assert flat({"b": inboxes["c"]["b"]}) == [rows[1].tolist()]
    assert wire.ledger.bytes == other.ledger.bytes + 4 * 3 * rows.itemsize


def test_bytes_of_mixed_dtypes() -> None:
    """Those of each array's own dtype."""
    wire = channel()
    value = {"w": np.zeros((2, 3), np.float32), "n": np.int64(1), "flag": np.array([True, False])}
    inboxes = wire.exchange(dict.fromkeys("abc", value))
    assert inboxes["a"]["b"]["flag"].dtype == bool
    assert wire.ledger.bytes == 4 * (24 + 8 + 2)


# ------------------------------------------------------------------------------------------------------------------ mix


@given(connected(), st.sampled_from(["metropolis", "max_degree"]), st.integers(1, 5))
def test_mixing_is_a_power_of_the_matrix(graph: nx.Graph, weights: str, n_rounds: int) -> None:
    """Which keeps the mean; the ledger counts two messages an edge and round."""
    wire = Channel(graph, weights)
    values = numbers(len(graph), 2, 3)
    mixed = wire.mix(values, n_rounds)
    power = np.linalg.matrix_power(mixing_matrix(graph, weights).toarray(), n_rounds)
    np.testing.assert_allclose(mixed, np.einsum("ij,jkl->ikl", power, values), atol=1e-13)
    np.testing.assert_allclose(mixed.mean(axis=0), values.mean(axis=0), atol=1e-13)
    n_messages = n_rounds * 2 * graph.number_of_edges()
    assert wire.ledger.snapshot() == {"rounds": n_rounds, "messages": n_messages, "bytes": n_messages * 48}


@pytest.mark.parametrize("spec", ["ring", "chain", "star", "chain+4"])
def test_mixing_approaches_the_mean_at_the_second_eigenvalues_rate(spec: str) -> None:
    """Between rounds 100 and 120 the distance from it shrinks by the eigenvalue's twentieth power."""
    wire = channel(spec, range(9))
    start = numbers(9, 4)
    early = wire.mix(start, 100)
    late = wire.mix(early, 20)
    eigenvalues = np.linalg.eigvalsh(wire.weights.toarray())
    rate = np.linalg.norm(late - start.mean(axis=0)) / np.linalg.norm(early - start.mean(axis=0))
    assert rate ** (1 / 20) == pytest.approx(eigenvalues[-2], rel=1e-3)


def test_a_users_weights_are_those_of_the_receiver() -> None:
    """Row i is what node i makes of what it hears."""
    turn = np.roll(np.eye(3), 1, axis=1) * 0.5 + np.eye(3) * 0.5  # a hears b, b hears c, c hears a
    values = np.array([1.0, 10.0, 100.0])
    expected = [5.5, 55.0, 50.5]
    assert channel("ring", weights=turn).mix(values).tolist() == expected
    lossless = Faults(stops={"a": [(5, 6)]})
    assert channel("ring", weights=turn, faults=lossless).mix(values).tolist() == expected


def test_a_thousand_nodes_mix_ten_thousand_numbers() -> None:
    """As one product; float32 is sent as float32."""
    wire = channel("ring", range(1000))
    values = numbers(1000, 10_000).astype(np.float32)
    mixed = wire.mix(values)
    expected = (np.roll(values, 1, axis=0) + np.roll(values, -1, axis=0)) / 4 + values / 2
    np.testing.assert_allclose(mixed, expected, atol=1e-6)
    assert wire.ledger.bytes == 2000 * 40_000


# ----------------------------------------------------------------------------------------------------------- all-reduce


@given(connected(), st.integers(0, 1000))
def test_all_reduce_is_the_sum(graph: nx.Graph, seed: int) -> None:
    """Exact for whole numbers, to rounding for others, the same bits everywhere, over two messages a tree edge."""
    n = len(graph)
    whole = np.random.default_rng(seed).integers(-(10**12), 10**12, (n, 3))
    wire = Channel(graph)
    assert np.array_equal(wire.all_reduce(whole), np.tile(whole.sum(axis=0), (n, 1)))
    assert wire.ledger.snapshot() == {"rounds": 2 * wire.tree.depth, "messages": 2 * (n - 1), "bytes": 48 * (n - 1)}
    values = numbers(n, seed=seed)
    sums = wire.all_reduce(values)
    assert len(set(sums.tolist())) == 1
    assert sums[0] == pytest.approx(math.fsum(values), rel=1e-12, abs=1e-12)


def test_the_order_of_listing_changes_no_bit() -> None:
    """Neither of nodes nor of edges nor of values."""
    graph = graph_of("chain+20", [f"n{i}" for i in range(10)])
    values = {node: value * 10.0**i for i, (node, value) in enumerate(zip(graph, numbers(10, 50), strict=True))}
    expected = Channel(graph).all_reduce(values)
    rng = np.random.default_rng(0)
    for _ in range(5):
        shuffled = nx.Graph()
        shuffled.add_nodes_from(str(node) for node in rng.permutation(list(graph)))
        shuffled.add_edges_from((str(a), str(b)) for a, b in rng.permutation(list(graph.edges)))
        sums = Channel(shuffled).all_reduce({node: values[node] for node in reversed(list(shuffled))})
        assert all(np.array_equal(sums[node], expected[node]) for node in graph)


@pytest.mark.parametrize(
    ("spec", "rounds", "per_edge"),
    [("chain", 4, {"ab": 1, "ba": 1, "bc": 1, "cb": 1, "cd": 1, "dc": 1, "de": 1, "ed": 1}), ("star", 2, None)],
)
def test_all_reduce_counted_by_hand(spec: str, rounds: int, per_edge: dict[str, int] | None) -> None:
    """Up to the middle and down again."""
    wire = channel(spec, "abcde")
    assert wire.all_reduce(np.arange(5)).tolist() == [10] * 5
    assert wire.ledger.snapshot() == {"rounds": rounds, "messages": 8, "bytes": 64}
    if per_edge is not None:
        assert {"".join(edge): row["messages"] for edge, row in wire.ledger.per_edge().items()} == per_edge  # type: ignore[arg-type]


# --------------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"a": 1.0, "b": math.nan, "c": 1.0}, r"node 'b', edge 'b' -> 'a': the value must be finite"),
        (np.array([1.0, 1.0, -np.inf]), r"node 'c', edge 'c' -> 'b': the value must be finite"),
        (
            {"a": {"w": [1.0]}, "b": {"w": [1.0]}, "c": {"w": [np.inf]}},
            r"node 'c', edge 'c' -> 'b': 'w' must be finite",
        ),
        ({"a": 1.0, "c": 1.0}, r"node 'b', edge 'b' -> 'a': no value given. Missing: 'b'"),
        ({"a": 1.0, "b": 1.0, "c": 1.0, "d": 1.0}, r"unknown node 'd'.* There are: a, b, c"),
        (
            {"a": np.zeros(3), "b": np.zeros(3), "c": np.zeros(2)},
            r"nodes 'b' and 'c' must send alike values \(edge 'b' - 'c'\): the value is float64 \(3,\) and float64 \(2",
        ),
        (
            {"a": {"w": np.zeros(3, np.float32)}, "b": {"w": np.zeros(3)}, "c": {"w": np.zeros(3)}},
            r"nodes 'a' and 'b' .*\(edge 'a' - 'b'\): 'w' is float32 \(3,\) and float64 \(3,\)",
        ),
        (
            {"a": {"w": 1.0}, "b": {"w": 1.0, "v": 1.0}, "c": {"w": 1.0, "v": 1.0}},
            r"\(edge 'a' - 'b'\): only one of them has 'v'",
        ),
        ({"a": 1.0, "b": 1.0, "c": {}}, r"node 'c' must send at least one array"),
        ({"a": 1.0, "b": "text", "c": 1.0}, r"node 'b': must be an array of real numbers. Received <U4"),
        ({"a": {"w": [[1], [1, 2]]}, "b": 1.0, "c": 1.0}, r"'w' of node 'a': must be an array of numbers"),
        ({"a": torch.zeros(1, dtype=torch.bfloat16), "b": 1.0, "c": 1.0}, r"node 'a': must be an array of numbers"),
        (np.zeros((2, 3)), r"stacked values must have shape \(3, ...\), a row a node. Received \(2, 3\)"),
        (1.0, r"stacked values must have shape \(3, ...\)"),
    ],
)
@pytest.mark.parametrize("operation", ["exchange", "mix", "all_reduce"])
def test_values_that_cannot_be_sent(operation: str, values: Any, problem: str) -> None:
    """Node and edge are named, and nothing is sent."""
    wire = channel()
    with pytest.raises(ValueError, match=problem):
        getattr(wire, operation)(values)
    assert wire.ledger.snapshot() == {"rounds": 0, "messages": 0, "bytes": 0}


def test_senders_that_are_no_neighbours_must_be_alike_too() -> None:
    """There is no edge to name then."""
    with pytest.raises(ValueError, match=r"nodes 'a' and 'c' must send alike values: the value is float64 \(1,\)"):
        channel().exchange({"a": np.zeros(1), "c": np.zeros(2)}, senders="ac")
    with pytest.raises(ValueError, match=r"unknown node 'x'"):
        channel().exchange(np.zeros(3), senders="x")


def test_what_cannot_be_averaged_or_added() -> None:
    """Whole numbers can't be averaged, truth values not even added."""
    wire = channel()
    with pytest.raises(ValueError, match=r"'n' must be floating-point numbers to be averaged. Received int64 from 'a'"):
        wire.mix({node: {"w": 1.0, "n": 1} for node in "abc"})
    with pytest.raises(ValueError, match=r"the value must be numbers to be added. Received bool"):
        wire.all_reduce(np.array([True, False, True]))
    with pytest.raises(
        ValueError, match=r"`n_rounds` must be an integer of at least 1 and at most 2147483647. Received 0"
    ):
        wire.mix(np.zeros(3), 0)
    with pytest.raises(ValueError, match=r"`n_rounds` must be an integer of at least 1 and at most 2147483647"):
        wire.mix(np.zeros(3), 2**64)
    assert wire.ledger.rounds == 0


FITTING: list[tuple[Any, Any]] = [
    ([200, 55], np.uint8),
    ([-100, -28], np.int8),
    ([100, 100, -100], np.int8),  # partial sums may not fit: whole numbers wrap around
    ([2**62, 2**62 - 1], np.int64),
    ([8e307, -9e307], np.float64),
    ([65000.0, 500.0], np.float16),
]
TOO_LARGE: list[tuple[Any, Any, str]] = [
    ([200, 200, 200], np.uint8, "fit uint8. Received 600: give a wider dtype"),
    ([-100, -29], np.int8, "fit int8. Received -129"),
    ([2**62, 2**62], np.int64, "fit int64. Received 9223372036854775808"),
    ([1e308, 1e308], np.float64, r"fit float64. Received 2 magnitudes of 1e.308 on average"),
    ([1e308, 1e308, -1e308], np.float64, r"fit float64. Received 3 magnitudes of 1e.308 on average"),
    ([40000.0, 40000.0], np.float16, "fit float16. Received 2 magnitudes of 40000 on average"),
]


@pytest.mark.parametrize(("values", "dtype"), FITTING)
def test_sums_that_fit_are_exact(values: list[Any], dtype: Any) -> None:
    """To the edge of the dtype."""
    total = channel("chain", range(len(values))).all_reduce(np.array(values, dtype))
    assert total.dtype == dtype
    assert [entry.item() for entry in total] == [pytest.approx(sum(values), rel=1e-3)] * len(values)


@pytest.mark.parametrize(("values", "dtype", "problem"), TOO_LARGE)
def test_sums_that_do_not_fit_are_refused(values: list[Any], dtype: Any, problem: str) -> None:
    """Before anything is sent: they would wrap around, or be infinite."""
    wire = channel("chain", range(len(values)))
    with pytest.raises(ValueError, match=problem):
        wire.all_reduce({node: {"w": dtype(value)} for node, value in enumerate(values)})
    assert wire.ledger.rounds == 0


@pytest.mark.parametrize(
    "faults", [Faults(loss=0.5), Faults(noise=0.1), Faults(stops=0.5), Faults(stops={"me": [(0, 3)]})], ids=str
)
def test_faults_do_nothing_to_a_node_alone(faults: Faults) -> None:
    """It has nobody to lose messages to; its own values stay."""
    wire = channel("ring", ["me"], faults=faults)
    assert wire.mix([3.0], 2).tolist() == wire.all_reduce([3.0]).tolist() == [3.0]
    assert wire.exchange([3.0]) == {"me": {}}


def test_a_node_alone() -> None:
    """Shares with nobody, at no cost."""
    wire = channel("ring", ["me"])
    assert wire.exchange([3.0]) == {"me": {}}
    assert wire.mix({"me": 3.0}, 2) == {"me": 3.0}
    assert wire.all_reduce([3.0]).tolist() == [3.0]
    assert (wire.ledger.messages, wire.ledger.bytes) == (0, 0)


def test_the_ledger_prints() -> None:
    """Totals, then edges, of which a large graph has too many."""
    wire = channel("star", "abc", faults=Faults(stops={"c": [(0, 1)]}))
    wire.exchange(np.zeros((3, 500)))
    assert repr(wire.ledger).splitlines() == [
        "1 round, 3 messages (1 lost), 12.0 kB",
        "  a -> b         1 messages     4.0 kB",
        "  a -> c         1 messages     4.0 kB",
        "  b -> a         1 messages     4.0 kB",
        "  c -> a         0 messages        0 B",
    ]
    many = repr(channel("ring", range(50)).ledger).splitlines()
    assert (many[0], many[-1]) == ("0 rounds, 0 messages, 0 B", "  and 80 more edges")
