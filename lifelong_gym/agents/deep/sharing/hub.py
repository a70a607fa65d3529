"""Who has met which task: a catalogue of labels, kept by a hub for everybody, or by an agent for itself."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lifelong_gym.agents.deep.replay.memory import Memory
from lifelong_gym.agents.deep.replay.store import Store
from lifelong_gym.agents.deep.sharing.signatures import Report, Signature
from lifelong_gym.errors import CheckpointError

Message = dict[str, npt.NDArray[Any]]
MANY = 12  # reports after which a catalogue that tells all or none apart is reported
REPLAY, WEIGHTS = "replay/", "weights/"  # before the names of what is in messages


@dataclass
class Entry:
    """A task that somebody has met.

    Attributes:
        owner: who met it first.
        report: by which it is recognised.
        size: steps of replay that are held of it.
    """

    owner: str
    report: Report
    size: int = 0


class Catalogue:
    """Labels of tasks, which are recognised by reports.

    Args:
        signature: how reports are compared.
        threshold: largest distance of reports that are held to be of one task.

    Attributes:
        entries: the tasks, by label, in the order in which they were met.
    """

    def __init__(self, signature: Signature, threshold: float) -> None:
        """Nobody has met any."""
        self.entries: dict[int, Entry] = {}
        self._signature, self._threshold, self._n_reports = signature, threshold, 0
        self._last: dict[str, Report] = {}  # of each agent, which asks again where the answer was lost

    def label(self, report: Report, who: str) -> int:
        """Of the nearest task that is near enough; else it is a new one."""
        found = self.nearest(report)
        if found is None:
            found = len(self.entries)
            self.entries[found] = Entry(who, report)
        if not np.array_equal(self._last.get(who), report):  # type: ignore[arg-type]
            self._last[who] = report
            self._n_reports += 1
            if self._n_reports == MANY:
                self._tell()
        return found

    def nearest(self, report: Report) -> int | None:
        """The label of the nearest task that is near enough; None: there is none."""
        distances = {label: self._signature.distance(entry.report, report) for label, entry in self.entries.items()}
        label = min(distances, key=lambda one: distances[one], default=None)
        return None if label is None or distances[label] > self._threshold else label

    def _tell(self) -> None:
        n = len(self.entries)
        if n in (1, MANY):
            what = "is held to be one task" if n == 1 else "is held to be a task of its own"
            warnings.warn(
                f"each of the first {MANY} meetings {what}: `signature` or `threshold` may not tell tasks apart here",
                stacklevel=2,
            )

    def state_dict(self) -> dict[str, Any]:
        """All of it."""
        entries = {str(label): dict(vars(entry)) for label, entry in self.entries.items()}
        return {"entries": entries, "n_reports": self._n_reports, "last": dict(self._last)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state_dict`.

        Raises:
            CheckpointError: it isn't one; nothing has changed then.
        """
        try:
            entries = {int(label): Entry(**told) for label, told in state["entries"].items()}
            n_reports, last = int(state["n_reports"]), dict(state["last"])
            self.entries, self._n_reports, self._last = entries, n_reports, last
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CheckpointError(f"it must be a catalogue: {error}") from error


class ExperienceHub:
    """What agents ask which task theirs is, and where they leave what they have experienced.

    Args:
        catalogue: of all tasks.
        memory: for replay, by label, with its form.

    Attributes:
        catalogue: as given.
        memory: as given.
        weights: parameters, by label and name.
    """

    def __init__(self, catalogue: Catalogue, memory: Memory) -> None:
        """It knows nothing yet."""
        self.catalogue, self.memory = catalogue, memory
        self.weights: dict[int, Message] = {}

    def keep(self, message: Mapping[str, Any]) -> None:
        """Take in what an agent leaves of a task.

        Raises:
            CheckpointError: replay is damaged or of another space; nothing has changed then.
        """
        label = int(message["of"])
        replay, weights = _under(REPLAY, message), _under(WEIGHTS, message)
        if replay and label not in self.memory.stores:
            assert self.memory.form is not None
            self.memory.add(label, Store.received(replay, self.memory.form))
            held = self.memory.stores.get(label)
            self.catalogue.entries[label].size = 0 if held is None else len(held)
        if weights:
            self.weights[label] = weights

    def answer(self, report: Report, who: str, replay: bool, weights: bool) -> Message:
        """The label of an agent's task, what is known of it, and whether its replay is wanted."""
        label = self.catalogue.label(report, who)
        held = self.memory.stores.get(label)
        message: Message = {"label": np.array(label), "wanted": np.array(replay and held is None)}
        if replay and held is not None:
            message |= {f"{REPLAY}{name}": chunk for name, chunk in held.sent().items()}
        if weights and label in self.weights:
            message |= {f"{WEIGHTS}{name}": array for name, array in self.weights[label].items()}
        return message

    def state_dict(self) -> dict[str, Any]:
        """All of it."""
        weights = {str(label): dict(of) for label, of in self.weights.items()}
        return {"catalogue": self.catalogue.state_dict(), "memory": self.memory.state_dict(), "weights": weights}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state_dict`.

        Raises:
            CheckpointError: it is of other spaces or damaged; nothing has changed then.
        """
        if state.keys() != {"catalogue", "memory", "weights"}:
            raise CheckpointError(f"it must be of a catalogue, memory and weights. Received {sorted(state)}")
        before = self.catalogue.state_dict()
        self.catalogue.load_state_dict(state["catalogue"])
        try:
            self.memory.load_state_dict(state["memory"])
        except CheckpointError:
            self.catalogue.load_state_dict(before)
            raise
        self.weights = {int(label): dict(of) for label, of in state["weights"].items()}


def replay_in(message: Mapping[str, Any]) -> Message:
    """The chunks of replay in a message."""
    return _under(REPLAY, message)


def weights_in(message: Mapping[str, Any]) -> Message:
    """The parameters in a message."""
    return _under(WEIGHTS, message)


def _under(prefix: str, message: Mapping[str, Any]) -> Message:
    return {name.removeprefix(prefix): np.asarray(of) for name, of in message.items() if name.startswith(prefix)}
