"""What can go wrong between agents, for experiments: lost messages, agents that stop, noise."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from lifelong_gym.errors import integer, unknown
from lifelong_gym.numerics.arrays import BoolArray
from lifelong_gym.wrappers.topology import Node

Stops = float | Mapping[Node, Sequence[tuple[int, int | None]]]

LOSS, STOP, NOISE = range(3)  # streams of random numbers


@dataclass(frozen=True)
class Faults:
    """Faults of a channel; what happens in a round depends on the seed and the round alone.

    Args:
        loss: probability in [0, 1] with which a message is lost, each by itself.
        stops: agents that neither send nor receive for a while: a mapping from node to intervals
            ``(from_round, to_round)``, the latter excluded, None: never again; rounds count from 0. Or a
            probability in [0, 1]: for each ``stop_length`` rounds, it is drawn anew for each node whether it stops.
        noise: standard deviation of the Gaussian noise added to every floating-point number received.
        stop_length: rounds, see ``stops``.
        seed: at least 0, below 2**64.

    Raises:
        ValueError: a value outside its range.
    """

    loss: float = 0.0
    stops: Stops = field(default_factory=dict)
    noise: float = 0.0
    stop_length: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        _check_probability("loss", self.loss)
        if not _is_number(self.noise) or not 0 <= self.noise <= sys.float_info.max:
            raise ValueError(f"`noise` must be finite and at least 0. Received {self.noise!r}")
        integer("stop_length", self.stop_length)
        integer("seed", self.seed, 0, 2**64 - 1)
        if not isinstance(self.stops, Mapping):
            _check_probability("stops", self.stops)
            return
        for node, intervals in self.stops.items():
            for interval in intervals if isinstance(intervals, Sequence) else [intervals]:
                _check_interval(node, interval)

    def check_nodes(self, nodes: Sequence[Node]) -> None:
        """Raise `UnknownNameError` if one that is to stop doesn't exist."""
        for node in self.stops if isinstance(self.stops, Mapping) else ():
            if node not in nodes:
                raise unknown("node", node, nodes)

    def survivors(self, round: int, n_edges: int) -> BoolArray:
        """For each directed edge, whether a message sent in this round isn't lost."""
        if self.loss == 0:
            return np.ones(n_edges, bool)
        return self._generator(LOSS, round).random(n_edges) >= self.loss

    def stopped(self, round: int, nodes: Sequence[Node]) -> BoolArray:
        """For each node, whether it has stopped in this round."""
        if not isinstance(self.stops, Mapping):
            return self._generator(STOP, round // self.stop_length).random(len(nodes)) < self.stops
        away = {
            node
            for node, intervals in self.stops.items()
            if any(first <= round and (last is None or round < last) for first, last in intervals)
        }
        return np.array([node in away for node in nodes], bool)

    def noise_like(self, round: int, edge: int, shapes: Sequence[tuple[int, ...]]) -> list[npt.NDArray[np.float64]]:
        """The noise in one message, an array for each shape."""
        rng = self._generator(NOISE, round, edge)
        return [self.noise * rng.standard_normal(shape) for shape in shapes]

    def _generator(self, stream: int, round: int, edge: int = 0) -> np.random.Generator:
        # Counter-based: numbers of other rounds needn't have been drawn, so a channel can be resumed anywhere.
        key = np.array([self.seed, stream], np.uint64)
        return np.random.Generator(np.random.Philox(key=key, counter=np.array([0, 0, edge, round], np.uint64)))


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)


def _check_probability(name: str, value: float) -> None:
    if not _is_number(value) or not 0 <= value <= 1:
        raise ValueError(f"`{name}` must be a probability in [0, 1]. Received {value!r}")


def _check_interval(node: Node, interval: Any) -> None:
    if not isinstance(interval, Sequence) or len(interval) != 2:
        raise ValueError(f"`stops` of {node!r} must be pairs (from_round, to_round). Received {interval!r}")
    first = integer(f"from_round of {node!r}", interval[0], 0)
    if interval[1] is not None:
        integer(f"to_round of {node!r}", interval[1], first + 1)
