"""Lost messages, nodes that stop, noise: what they do, how often, and that they repeat themselves."""

from __future__ import annotations

import copy
import json
import math
import pickle
from typing import Any

import numpy as np
import pytest

from lifelong_gym.errors import SharingError
from lifelong_gym.wrappers import Channel, Faults
from tests.making import same
from tests.test_channel import channel, numbers


def test_the_rate_of_lost_messages() -> None:
    """Each is lost by itself: binomial in total and on each edge, uncorrelated between edges and rounds."""
    wire = channel("complete", range(5), faults=Faults(loss=0.3, seed=3))
    heard = np.array([[len(inbox) for inbox in wire.exchange(np.zeros(5)).values()] for _ in range(2000)])
    n_sent = 2000 * 20
    assert wire.ledger.messages == n_sent
    assert wire.ledger.lost == n_sent - heard.sum()
    assert abs(wire.ledger.lost / n_sent - 0.3) < 4 * math.sqrt(0.21 / n_sent)
    assert abs(wire.ledger.lost_per_edge / 2000 - 0.3).max() < 4.5 * math.sqrt(0.21 / 2000)
    correlation = np.corrcoef(np.hstack([heard[1:], heard[:-1]]).T)
    assert abs(correlation - np.eye(10)).max() < 4.5 / math.sqrt(2000)


def test_stopped_nodes_neither_send_nor_receive() -> None:
    """In their intervals; what is sent to them is lost."""
    wire = channel(faults=Faults(stops={"b": [(1, 2), (4, None)], "c": [(4, 5)]}))
    heard = []
    for _ in range(6):
        inboxes = wire.exchange(np.zeros(3))
        heard.append(" ".join(f"{node}<{''.join(map(str, inbox))}" for node, inbox in inboxes.items()))
    all_hear, b_is_away = "a<b b<ac c<b", "a< b< c<"
    assert heard == [all_hear, b_is_away, all_hear, all_hear, b_is_away, b_is_away]
    assert wire.ledger.per_edge()["a", "b"] == {"messages": 6, "bytes": 48, "lost": 3}
    assert wire.ledger.per_edge()["b", "a"] == {"messages": 3, "bytes": 24, "lost": 0}
    assert wire.ledger.per_edge()["c", "b"] == {"messages": 5, "bytes": 40, "lost": 2}


def test_nodes_that_stop_at_random() -> None:
    """With that probability, for whole blocks of rounds."""
    wire = channel("ring", range(3), faults=Faults(stops=0.2, stop_length=5, seed=1))
    stopped = np.array([[not inbox for inbox in wire.exchange(np.zeros(3)).values()] for _ in range(3000)])
    assert wire.faults is not None
    away = np.array([wire.faults.stopped(round, range(3)) for round in range(3000)])
    assert np.array_equal(stopped, away | (away.sum(axis=1, keepdims=True) == 2))
    blocks = away.reshape(600, 5, 3)
    assert (blocks == blocks[:, :1]).all()
    assert abs(away.mean() - 0.2) < 4 * math.sqrt(0.16 / 1800)


def test_noise_on_what_is_received() -> None:
    """Gaussian, of the given deviation, on floats only, different for each receiver, round and edge."""
    wire = channel("star", range(5), faults=Faults(noise=0.5, seed=2))
    value = {"x": np.ones(2000, np.float32), "n": np.arange(3)}
    received = [wire.exchange(dict.fromkeys(range(5), value)) for _ in range(2)]
    messages = [inbox[sender] for inboxes in received for inbox in inboxes.values() for sender in inbox]
    assert all(message["n"].tolist() == [0, 1, 2] for message in messages)
    noise = np.array([message["x"] for message in messages]) - 1
    assert noise.shape == (16, 2000)
    assert noise.dtype == np.float32
    assert noise.mean() == pytest.approx(0, abs=4 * 0.5 / math.sqrt(noise.size))
    assert noise.std() == pytest.approx(0.5, rel=4 / math.sqrt(2 * noise.size))
    assert abs(np.corrcoef(noise) - np.eye(16)).max() < 4.5 / math.sqrt(2000)
    assert abs(np.mean(noise**4) / np.mean(noise**2) ** 2 - 3) < 0.2


ALL_FAULTS = Faults(loss=0.3, stops=0.1, noise=0.1, seed=4)


@pytest.mark.parametrize("n_rounds", [1, 7])
def test_faulty_mixing_is_exchange_and_average(n_rounds: int) -> None:
    """A node keeps the weight of what it didn't hear: rows stay averages."""
    wire, other = (channel("complete", range(6), faults=ALL_FAULTS) for _ in range(2))
    values = numbers(6, 4)
    mixed = wire.mix(values, n_rounds)
    weights: Any = wire.weights.toarray()
    for _ in range(n_rounds):
        inboxes = other.exchange(values)
        heard = {node: {sender: weights[node, sender] for sender in inbox} for node, inbox in inboxes.items()}
        values = np.array(
            [
                (1 - sum(heard[i].values())) * values[i] + sum(w * inboxes[i][j] for j, w in heard[i].items())
                for i in range(6)
            ]
        )
    assert wire.ledger.lost > 0
    np.testing.assert_allclose(mixed, values, rtol=1e-12)
    assert same(wire.state_dict(), other.state_dict())


def test_agreement_is_reached_in_spite_of_losses() -> None:
    """Within the range of the first values, but no longer on their mean."""
    wire = channel("ring", range(6), faults=Faults(loss=0.3))
    values = numbers(6)
    mixed = wire.mix(values, 400)
    assert np.ptp(mixed) < 1e-9
    assert values.min() < mixed[0] < values.max()
    assert abs(mixed[0] - values.mean()) > 1e-6


def test_faults_that_never_strike_change_no_bit() -> None:
    """The same sums in the same order."""
    values = numbers(10, 30)
    exact = channel("chain+20", range(10)).mix(values, 5)
    assert np.array_equal(channel("chain+20", range(10), faults=Faults()).mix(values, 5), exact)


def test_all_reduce_sends_again_what_was_lost() -> None:
    """The same bits as without loss; each try and each round of waiting counts."""
    values = numbers(10, 5) * 10.0 ** np.arange(10)[:, None]
    exact = channel("chain+20", range(10))
    sums = exact.all_reduce(values)
    faulty = channel("chain+20", range(10), faults=Faults(loss=0.5, stops={3: [(0, 40)]}))
    assert np.array_equal(faulty.all_reduce(values), sums)
    assert faulty.ledger.rounds > 40
    assert faulty.ledger.messages == 18 + faulty.ledger.lost
    assert faulty.ledger.lost > 10


def test_tries_until_a_message_arrives() -> None:
    """Are geometrically distributed: on average 1 / (1 - loss)."""
    wire = channel("chain", "ab", faults=Faults(loss=0.5, seed=1))
    for _ in range(500):
        wire.all_reduce(np.zeros(2))
    assert wire.ledger.messages / 1000 == pytest.approx(2, abs=4 * math.sqrt(2 / 1000))


def test_noise_adds_up_along_the_tree() -> None:
    """Anew in every call: the middle of a chain of three hears two noisy messages, the ends those and one more."""
    wire = channel(faults=Faults(noise=0.5))
    noise = np.array([wire.all_reduce(np.zeros((3, 50))) for _ in range(100)]).transpose(1, 0, 2).reshape(3, -1)
    np.testing.assert_allclose(noise.var(axis=1), [0.75, 0.5, 0.75], rtol=4 * math.sqrt(2 / 5000))
    assert noise[0] @ noise[2] / 5000 == pytest.approx(0.5, rel=0.1)


def test_loss_and_stops_have_streams_of_their_own() -> None:
    """A message isn't lost because somebody has stopped."""
    faults = Faults(loss=0.5, stops=0.5, stop_length=1)
    away = np.concatenate([faults.stopped(round, range(3)) for round in range(2000)])
    lost = np.concatenate([~faults.survivors(round, 3) for round in range(2000)])
    assert abs(np.corrcoef(away, lost)[0, 1]) < 4 / math.sqrt(6000)


def test_all_reduce_gives_up_on_what_never_arrives() -> None:
    """With the edge's name."""
    wire = channel(faults=Faults(stops={"c": [(2, None)]}))
    assert wire.all_reduce(np.ones(3)).tolist() == [3, 3, 3]
    with pytest.raises(SharingError, match=r"edge 'c' -> 'b': no message has arrived in 10,000 rounds"):
        wire.all_reduce(np.ones(3))


def drive(wire: Channel, values: Any, n_calls: int) -> list[Any]:
    """A few of each operation."""
    return [
        (wire.exchange(values), wire.mix(values, 2), wire.all_reduce(values), wire.ledger.snapshot())
        for _ in range(n_calls)
    ]


def test_faults_repeat_themselves() -> None:
    """By seed; another seed gives others."""
    values = numbers(6, 3)
    one, again, other = (
        drive(channel("ring", range(6), faults=faults), values, 3)
        for faults in (ALL_FAULTS, ALL_FAULTS, Faults(loss=0.3, stops=0.1, noise=0.1, seed=5))
    )
    assert same(one, again)
    assert not same(one, other)


def test_a_channel_is_resumed_where_it_stopped() -> None:
    """By JSON or pickle: the same faults follow, and the ledger goes on."""
    values = numbers(6, 3)
    wire, resumed = (channel("ring", range(6), faults=ALL_FAULTS) for _ in range(2))
    drive(wire, values, 2)
    resumed.load_state_dict(json.loads(json.dumps(wire.state_dict())))
    copies = [resumed, pickle.loads(pickle.dumps(wire)), copy.deepcopy(wire)]
    expected = drive(wire, values, 2)
    for each in copies:
        assert same(drive(each, values, 2), expected)
        assert each.state_dict() == wire.state_dict()


def test_a_state_of_another_channel_is_refused() -> None:
    """Its edges differ."""
    with pytest.raises(ValueError, match=r"the state must be of the same 4 edges. Received 6 edges"):
        channel("chain").load_state_dict(channel("ring").state_dict())


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"loss": 1.5}, r"`loss` must be a probability in \[0, 1\]. Received 1.5"),
        ({"loss": math.nan}, r"`loss` must be a probability"),
        ({"stops": -0.1}, r"`stops` must be a probability"),
        ({"noise": -1}, r"`noise` must be finite and at least 0. Received -1"),
        ({"stops": {"a": [(3, 3)]}}, r"`to_round of 'a'` must be an integer of at least 4. Received 3"),
        ({"stops": {"a": [(3,)]}}, r"`stops` of 'a' must be pairs"),
        ({"noise": 10**400}, r"`noise` must be finite and at least 0. Received 1000"),
        ({"noise": True}, r"`noise` must be finite and at least 0. Received True"),
        ({"noise": "much"}, r"`noise` must be finite and at least 0. Received 'much'"),
        ({"stops": {"a": 3}}, r"`stops` of 'a' must be pairs \(from_round, to_round\). Received 3"),
        ({"stops": {"a": [3]}}, r"`stops` of 'a' must be pairs \(from_round, to_round\). Received 3"),
        ({"stop_length": 0}, r"`stop_length` must be an integer of at least 1"),
        ({"seed": -1}, r"`seed` must be an integer of at least 0"),
    ],
)
def test_faults_that_are_refused(settings: dict[str, Any], problem: str) -> None:
    """Values outside their range."""
    with pytest.raises(ValueError, match=problem):
        Faults(**settings)


def test_only_existing_nodes_stop() -> None:
    """Others are a typo."""
    with pytest.raises(ValueError, match=r"unknown node 'x'.* There are: a, b, c"):
        channel(faults=Faults(stops={"x": [(0, 1)]}))
