"""Arguments of agents that share experience."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from lifelong_gym.agents.contract.arguments import check_fields
from lifelong_gym.agents.contract.checks import choice, count, flag, optional, within
from lifelong_gym.agents.deep.continual.ways import WAYS, make_way
from lifelong_gym.agents.deep.sharing.signatures import SIGNATURES
from lifelong_gym.errors import integer

BORROW = ("replay", "weights", "both")
Presence = Mapping[str, Sequence[Sequence[int | None]]]


@dataclass(frozen=True)
class SharingSettings:
    """How agents recognise tasks, share and remember.

    Attributes:
        signature: what tasks are recognised by: ``"observation"``; ``"probe"``: all play one script; ``"cosine"``,
            ``"euclidean"``: parameters of a small network, the latter as in the paper.
        threshold: largest distance of reports that are held to be of one task, in [0, 1]; None: the signature's.
        meeting_steps: of each task, at its beginning, under actions at random, by which it is recognised.
        borrow: what an agent gets of a task that others have met: ``"replay"``, ``"weights"``, ``"both"``, or None.
        borrow_share: of each batch that is borrowed, in [0, 1).
        pretrain: gradient steps on what is borrowed before the first step of one's own.
        continual: a way not to forget: ``"ewc"``, ``"online_ewc"``, ``"l2_init"``, ``"redo"``, ``"packnet"``,
            ``"distill"``, ``"replay"``, ``"library"``, or None.
        continual_kwargs: its arguments.
        exploration_steps: of each task, over which exploration falls to its last rate.
        memory_bytes: of all replay that the hub holds, packed.
        presence: the rounds in which agents take part, by node, as intervals ``(first, end)``, the latter excluded,
            None: for good; agents that aren't named always do. One that doesn't acts at random, and neither learns nor
            sends.
        batched: whether all agents' networks are trained in one call.
    """

    signature: str = "observation"
    threshold: float | None = None
    meeting_steps: int = 300
    borrow: str | None = "replay"
    borrow_share: float = 0.5
    pretrain: int = 0
    continual: str | None = None
    continual_kwargs: Mapping[str, Any] | None = None
    exploration_steps: int = 1000
    memory_bytes: int = 200_000_000
    presence: Presence | None = None
    batched: bool = False

    def __post_init__(self) -> None:
        check_fields(
            self,
            signature=partial(choice, among=SIGNATURES),
            threshold=optional(partial(within, low=0.0, high=1.0)),
            meeting_steps=partial(count, least=16),
            borrow=optional(partial(choice, among=BORROW)),
            borrow_share=partial(within, low=0.0, high=1.0, below=True),
            pretrain=partial(count, least=0),
            continual=optional(partial(choice, among=WAYS)),
            continual_kwargs=_arguments,
            exploration_steps=count,
            memory_bytes=count,
            presence=_presence,
            batched=flag,
        )
        if self.continual is not None:
            make_way(self.continual, self.continual_kwargs or {})
        elif self.continual_kwargs:
            raise ValueError(f"`continual_kwargs` must be None without `continual`. Received {self.continual_kwargs!r}")
        if self.continual == "packnet" and self.borrows_weights:
            raise ValueError(f"`borrow` must not be of weights with `continual='packnet'`. Received {self.borrow!r}")

    @property
    def borrows_replay(self) -> bool:
        """Whether agents share replay."""
        return self.borrow in ("replay", "both")

    @property
    def borrows_weights(self) -> bool:
        """Whether agents share parameters."""
        return self.borrow in ("weights", "both")


def is_present(presence: Presence | None, node: Any, round: int) -> bool:
    """Whether an agent takes part in a round."""
    if presence is None or str(node) not in presence:
        return True
    return any(first <= round and (end is None or round < end) for first, end in _pairs(presence[str(node)]))


def _pairs(intervals: Any) -> list[tuple[int, int | None]]:
    return [(first, end) for first, end in intervals]


def _arguments(name: str, value: Any) -> dict[str, Any] | None:
    if not isinstance(value, Mapping | None):
        raise ValueError(f"`{name}` must be a mapping from argument to value. Received {value!r}")
    return None if value is None else dict(value)


def _presence(name: str, value: Any) -> dict[str, list[list[int | None]]] | None:
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise ValueError(f"`{name}` must be a mapping from node to intervals of rounds. Received {value!r}")
    return {
        str(node): [_interval(f"{name}[{node!r}]", one) for one in _listed(name, node, its)]
        for node, its in value.items()
    }


def _listed(name: str, node: Any, intervals: Any) -> Sequence[Any]:
    if not isinstance(intervals, list | tuple):
        raise ValueError(f"`{name}[{node!r}]` must be a list of intervals (first, end). Received {intervals!r}")
    return intervals


def _interval(name: str, value: Any) -> list[int | None]:
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise ValueError(f"`{name}` must hold intervals (first, end). Received {value!r}")
    first = integer(name, value[0], 0)
    return [first, None if value[1] is None else integer(name, value[1], first + 1)]
