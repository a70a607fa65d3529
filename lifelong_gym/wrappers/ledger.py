"""What communication costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lifelong_gym.numerics.arrays import BoolArray, IntArray
from lifelong_gym.wrappers.topology import Node

SHOWN = 20  # edges that are printed


class Ledger:
    """Rounds, messages and bytes, of each directed edge and in total.

    A message counts when it is sent, whether or not it arrives. Its bytes are those of its arrays in their own
    dtype: no headers, no names, no compression.

    Attributes:
        edges: pairs (sender, receiver).
        rounds: synchronous rounds so far.
        messages_per_edge: sent, int64 of shape (n_edges,).
        lost_per_edge: sent, but not received.
        bytes_per_edge: sent.
    """

    def __init__(self, edges: Sequence[tuple[Node, Node]]) -> None:
        """Begin at zero."""
        self.edges = tuple(edges)
        self.rounds = 0
        self.messages_per_edge, self.lost_per_edge, self.bytes_per_edge = np.zeros((3, len(self.edges)), np.int64)

    @property
    def messages(self) -> int:
        """Sent in total."""
        return int(self.messages_per_edge.sum())

    @property
    def lost(self) -> int:
        """Messages that were sent but not received."""
        return int(self.lost_per_edge.sum())

    @property
    def bytes(self) -> int:
        """Sent in total."""
        return int(self.bytes_per_edge.sum())

    def per_edge(self) -> dict[tuple[Node, Node], dict[str, int]]:
        """Messages, bytes and lost messages by (sender, receiver)."""
        columns = (self.messages_per_edge.tolist(), self.bytes_per_edge.tolist(), self.lost_per_edge.tolist())
        rows = zip(*columns, strict=True)
        return {
            edge: {"messages": sent, "bytes": n_bytes, "lost": lost}
            for edge, (sent, n_bytes, lost) in zip(self.edges, rows, strict=True)
        }

    def snapshot(self) -> dict[str, int]:
        """Totals so far: ``rounds``, ``messages``, ``bytes``."""
        return {"rounds": self.rounds, "messages": self.messages, "bytes": self.bytes}

    def count(self, sent: BoolArray, arrived: BoolArray, n_bytes: int | IntArray, rounds: int = 1) -> None:
        """Enter ``rounds`` equal rounds: which edges carried a message, of what size, and which messages arrived."""
        self.rounds += rounds
        self.messages_per_edge += rounds * sent
        self.lost_per_edge += rounds * (sent & ~arrived)
        self.bytes_per_edge += rounds * n_bytes * sent

    def state_dict(self) -> dict[str, Any]:
        """All of it in the types JSON knows."""
        return {
            "edges": [[str(sender), str(receiver)] for sender, receiver in self.edges],
            "rounds": self.rounds,
            "messages": self.messages_per_edge.tolist(),
            "lost": self.lost_per_edge.tolist(),
            "bytes": self.bytes_per_edge.tolist(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state_dict`.

        Raises:
            ValueError: it is of other edges.
        """
        edges = self.state_dict()["edges"]
        if [list(edge) for edge in state["edges"]] != edges:
            raise ValueError(f"the state must be of the same {len(edges)} edges. Received {len(state['edges'])} edges")
        self.rounds = int(state["rounds"])
        for name in ("messages", "lost", "bytes"):
            getattr(self, f"{name}_per_edge")[:] = state[name]

    def __repr__(self) -> str:
        lost = f" ({self.lost:,} lost)" if self.lost else ""
        rounds = f"{self.rounds:,} round{'' if self.rounds == 1 else 's'}"
        total = f"{rounds}, {self.messages:,} messages{lost}, {readable(self.bytes)}"
        width = max((len(f"{sender} -> {receiver}") for sender, receiver in self.edges[:SHOWN]), default=0)
        lines = [
            f"  {f'{sender} -> {receiver}':<{width}}  {self.messages_per_edge[i]:>8,} messages"
            f"  {readable(int(self.bytes_per_edge[i])):>9}"
            for i, (sender, receiver) in enumerate(self.edges[:SHOWN])
        ]
        more = len(self.edges) - len(lines)
        return "\n".join([total, *lines, *([f"  and {more:,} more edges"] if more else [])])


def readable(n_bytes: int) -> str:
    """A number of bytes in decimal units.

    >>> readable(1_250_000)
    '1.2 MB'
    """
    size, unit = float(n_bytes), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 1000 or unit == "TB":
            break
        size /= 1000
    return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
