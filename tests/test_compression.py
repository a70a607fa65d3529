"""Fewer bytes and fewer partners: compressed averages and random pairs."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from lifelong_gym.wrappers import Channel, Faults, graph_of
from lifelong_gym.wrappers.compression import int8, top_k
from lifelong_gym.wrappers.mixing import mean_of_pairs, partners, product
from tests.test_channel import numbers

N = 6


def channel(spec: Any = "ring", n: int = N, **settings: Any) -> Channel:
    """Of a few nodes."""
    return Channel(graph_of(spec, range(n), seed=3), **settings)


def moving(wire: Channel, n_rounds: int, values: Any) -> Any:
    """Rounds of averages in which values also move, as parameters do that are learned."""
    for round in range(n_rounds):
        values = wire.mix(values + 0.01 * numbers(len(values), values.shape[1], seed=round))
    return values


# ---------------------------------------------------------------------------------------------------------------- pairs


def test_pairs_are_disjoint_and_equally_likely() -> None:
    """A matching of all, of odd numbers all but one; who meets whom is drawn anew, and is uniform."""
    met: Counter[tuple[int, int]] = Counter()
    for round in range(2000):
        partner = partners(5, round, seed=1)
        assert np.array_equal(partner[partner], np.arange(5))
        assert np.count_nonzero(partner == np.arange(5)) == 1
        met.update((i, int(j)) for i, j in enumerate(partner) if i < j)
    assert len(met) == 10
    assert all(abs(count - 400) < 5 * 18 for count in met.values())
    assert not np.array_equal(partners(6, 0, 1), partners(6, 0, 2))


@pytest.mark.parametrize("n", [1, 2, 5, 6])
def test_pairs_average_by_halves(n: int) -> None:
    """Each with its partner; only these send; the channel's matrix is the mean over rounds."""
    wire, values = channel("random_pairs", n), numbers(n, 3)
    partner = partners(n, 0, 3)
    np.testing.assert_allclose(wire.mix(values), (values + values[partner]) / 2, atol=1e-15)
    n_messages = n - n % 2
    assert wire.ledger.snapshot() == {"rounds": 1, "messages": n_messages, "bytes": n_messages * 24}
    mean = np.mean([(np.eye(n) + np.eye(n)[partners(n, round, 3)]) / 2 for round in range(3000)], axis=0)
    np.testing.assert_allclose(mean_of_pairs(n).toarray(), mean, atol=0.03)
    np.testing.assert_allclose(wire.weights.sum(axis=0), 1)
    values = wire.mix(values, 200)
    np.testing.assert_allclose(values, np.tile(values.mean(axis=0), (n, 1)), atol=1e-9)


def test_pairs_exchange_and_lose() -> None:
    """`exchange` is with the partner, `all_reduce` with all; a lost message's weight stays with the receiver."""
    wire = channel("random_pairs")
    partner = partners(N, 0, 3)
    inboxes = wire.exchange(np.arange(N))
    assert {node: list(inbox) for node, inbox in inboxes.items()} == {i: [partner[i]] for i in range(N)}
    assert wire.all_reduce(np.arange(N)).tolist() == [15] * N
    deaf = channel("random_pairs", faults=Faults(loss=1.0))
    values = numbers(N, 2)
    assert np.array_equal(deaf.mix(values), values)
    with pytest.raises(ValueError, match="`weights` must be left alone"):
        channel("random_pairs", weights="max_degree")


# ---------------------------------------------------------------------------------------------------------- compression


def test_compressors() -> None:
    """A rounding error of half a level at most; the largest numbers as they are; bytes by hand."""
    values = numbers(1, 1000)[0].astype(np.float32)
    rounded, n_bytes = int8(values)
    assert np.abs(rounded - values).max() <= np.abs(values).max() / 254 * 1.001
    assert (n_bytes, rounded.dtype) == (1004, np.float32)
    kept, n_bytes = top_k(values, 0.05)
    assert n_bytes == 50 * 8
    assert np.count_nonzero(kept) == 50
    assert np.abs(values[kept == 0]).max() <= np.abs(kept[kept != 0]).min()
    assert int8(np.zeros(3))[0].tolist() == [0, 0, 0]
    assert top_k(np.array([2.0]))[0].tolist() == [2.0]


@pytest.mark.parametrize("compress", ["int8", "top_k", "top_k:0.3"])
@pytest.mark.parametrize("spec", ["ring", "random_pairs"])
def test_compressed_averages_agree_on_the_mean(spec: str, compress: str) -> None:
    """What is rounded off or left out comes later: all reach the mean, which never moves, as without compression."""
    wire, values = channel(spec, compress=compress), numbers(N, 50)
    mixed = wire.mix(values, 10)
    np.testing.assert_allclose(mixed.mean(axis=0), values.mean(axis=0), atol=1e-12)
    mixed = wire.mix(mixed, 400)
    np.testing.assert_allclose(mixed, np.tile(values.mean(axis=0), (N, 1)), atol=1e-4)


@pytest.mark.parametrize("loss", [0.0, 0.3])
def test_bytes_are_those_that_are_sent(loss: float) -> None:
    """The first message over an edge is whole, also after losses; then a byte a number and a scale an array."""
    wire = channel(compress="int8", faults=Faults(loss=loss, seed=1))
    values = {i: {"w": np.float32(row), "b": np.float32(row[:1])} for i, row in enumerate(numbers(N, 100))}
    total = 0
    for _ in range(5):
        begun = np.zeros(12, bool) if wire._copies is None or not wire._copies.known else wire._copies.begun
        values = wire.mix(values)
        total += int(np.where(begun, 101 + 8, 404).sum())
        assert wire.ledger.bytes == total
    assert values[0]["w"].dtype == np.float32


def test_losses_leave_the_mean() -> None:
    """With copies, a pair moves only where both messages arrived, and by opposite amounts."""
    wire, values = channel(compress="int8", faults=Faults(loss=0.4, seed=2)), numbers(N, 20)
    mixed = wire.mix(values, 300)
    np.testing.assert_allclose(mixed, np.tile(values.mean(axis=0), (N, 1)), atol=1e-6)


@pytest.mark.parametrize(
    "settings", [{"compress": "top_k"}, {"compress": "int8", "faults": Faults(loss=0.3, noise=0.01)}]
)
@pytest.mark.parametrize("spec", ["ring", "random_pairs"])
def test_resumed_to_the_bit(spec: str, settings: dict[str, Any]) -> None:
    """A channel goes on from its state as if nothing had happened, copies, pairs and faults included."""
    wire, other = channel(spec, **settings), channel(spec, **settings)
    values = moving(wire, 4, numbers(N, 30))
    state = wire.state_dict()
    expected = moving(wire, 3, values)
    other.load_state_dict(state)
    assert np.array_equal(moving(other, 3, values), expected)
    assert other.ledger.snapshot() == wire.ledger.snapshot()
    with pytest.raises(ValueError, match="of a channel with compression None"):
        channel(spec).load_state_dict(state)
    small = channel(compress="int8")
    wrong = {**small.state_dict(), "copies": {"known": {}, "begun": np.zeros(3, bool)}}
    with pytest.raises(ValueError, match="copies must be of 12 edges"):
        small.load_state_dict(wrong)


@pytest.mark.parametrize(
    ("compress", "problem"),
    [("int4", "unknown compress 'int4'"), ("top_k:2", r"a share in \(0, 1\]"), (8, "unknown compress 8")],
)
def test_compressions_that_are_refused(compress: Any, problem: str) -> None:
    """With what there is."""
    with pytest.raises(ValueError, match=problem):
        channel(compress=compress)


def test_blocks_change_no_bit() -> None:
    """An average of many numbers is made in blocks, equal to one product."""
    wire, values = channel(n=4), numbers(4, 100_000).astype(np.float32)
    whole = np.asarray(wire.weights @ values.astype(np.float64)).astype(np.float32)
    assert np.array_equal(product(wire.weights, values), whole)
