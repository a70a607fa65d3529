"""The hub: which tasks there have been, who is in one of them, and who is in a new one."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lifelong_gym.agents.value.features import Arrays, Features
from lifelong_gym.agents.value.regressions import Summary
from lifelong_gym.agents.value.settings import LSVISettings
from lifelong_gym.errors import CheckpointError
from lifelong_gym.numerics.arrays import IntArray

SAME_TASK = 1.0  # the largest distance of two summaries of one task
UNKNOWN = -1


@dataclass(frozen=True)
class Report:
    """What an agent tells the hub of its task.

    Attributes:
        value: what it would be worth, with the bonus.
        summary: what was seen; None where only values are told.
    """

    value: float
    summary: Summary | None = None


@dataclass
class Cluster:
    """Agents in rounds that are taken to have been in one task.

    Attributes:
        label: of the task.
        rounds: of each member, the founder first.
        agents: likewise, by number.
        values: likewise, that were reported.
        warnings: why this may not be one task.
    """

    label: int
    rounds: list[int] = field(default_factory=list)
    agents: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def spread(self) -> float:
        """Of the reported values: the largest minus the smallest."""
        return max(self.values) - min(self.values)

    def add(self, round: int, agent: int, value: float) -> None:
        """One more member."""
        self.rounds.append(round)
        self.agents.append(agent)
        self.values.append(value)

    def warn(self, text: str) -> None:
        """Keep a warning and give it."""
        self.warnings.append(text)
        warnings.warn(f"cluster {self.label}: {text}", stacklevel=2)


class Hub:
    """Tells tasks apart by what agents report, by `Group`, algorithm 4, in which a label that was given stays.

    Args:
        settings: how.
        features: that reports are of.

    Attributes:
        clusters: one a task, in the order of labels.
    """

    def __init__(self, settings: LSVISettings, features: Features) -> None:
        """No task is known."""
        self._settings, self._features = settings, features
        self.clusters: list[Cluster] = []
        self._founders: list[Summary | None] = []

    def labels(self, reports: Sequence[Report]) -> IntArray:
        """The label of each report's task, shape (n_reports,); -1 where it is a new one."""
        return np.array([self._label(report) for report in reports], np.int64)

    def _label(self, report: Report) -> int:
        founders = [Report(np.nan, founder) for founder in self._founders]
        if self._settings.identify == "model":
            return self._nearest(founders, report)
        fitting = self._fitting(report)
        for cluster in fitting if len(fitting) > 1 else ():
            others = ", ".join(str(other.label) for other in fitting if other is not cluster)
            cluster.warn(f"a value of {report.value:.4g} lies also in the window of {others}: tasks aren't c_sep apart")
        return fitting[0].label if fitting else UNKNOWN

    def _fitting(self, report: Report) -> list[Cluster]:
        return [cluster for cluster in self.clusters if self._in_window(cluster.values, report.value)]

    def recognised(self, report: Report) -> int:
        """The label of a report's task, -1 where it is a new one; nothing is taken up, and nobody warned."""
        if self._settings.identify == "model":
            return self._label(report)
        return next((cluster.label for cluster in self._fitting(report)), UNKNOWN)

    def _in_window(self, values: Iterable[float], value: float) -> bool:
        return all(abs(other - value) <= 0.5 * self._settings.c_sep for other in values)

    def _nearest(self, founders: Sequence[Report], report: Report) -> int:
        distances = [_distance(founder.summary, report.summary) for founder in founders]
        nearest = int(np.argmin(distances)) if distances else UNKNOWN
        return nearest if distances and distances[nearest] <= SAME_TASK else UNKNOWN

    def groups(self, reports: Sequence[Report], agents: Iterable[int]) -> list[list[int]]:
        """Those of these agents that are in one task with each other, founders first, in the order of agents."""
        found: list[list[int]] = []
        for agent in agents:
            if self._settings.identify == "model":
                at = self._nearest([reports[group[0]] for group in found], reports[agent])
            else:
                windows = ([reports[member].value for member in group] for group in found)
                fits = [self._in_window(values, reports[agent].value) for values in windows]
                at = fits.index(True) if True in fits else UNKNOWN
            if at == UNKNOWN:
                found.append([agent])
            else:
                found[at].append(agent)
        return found

    def file(
        self, round: int, reports: Sequence[Report], labels: IntArray, groups: Sequence[Sequence[int]]
    ) -> IntArray:
        """Take up a round's reports; each group becomes a cluster.

        Args:
            round: its number.
            reports: of all agents.
            labels: see `labels`.
            groups: see `groups`, of all agents whose label is -1.

        Returns:
            The label of each agent, shape (n_agents,).
        """
        labels = labels.copy()
        for group in groups:
            label = len(self.clusters)
            labels[list(group)] = label
            self.clusters.append(Cluster(label))
            self._founders.append(reports[group[0]].summary)
        for agent, (label, report) in enumerate(zip(labels.tolist(), reports, strict=True)):
            cluster = self.clusters[label]
            cluster.add(round, agent, report.value)
            self._verify(cluster, report, agent, round)
        self._count(len(groups))
        return labels

    def _verify(self, cluster: Cluster, report: Report, agent: int, round: int) -> None:
        """Under ``identify="value"``: whether what follows an action is as it was for the founder."""
        if self._settings.identify == "model" or report.summary is None or len(cluster.values) == 1:
            return
        distance = _distance(self._founders[cluster.label], report.summary)
        if distance > SAME_TASK:
            cluster.warn(
                f"agent {agent} in round {round} sees other dynamics than the founder (z = {distance:.3g} > 1), at a "
                'value in its window: tasks aren\'t c_sep apart; see identify="model"'
            )

    def _count(self, n_new: int) -> None:
        most = self._settings.max_tasks
        if most is not None and n_new and len(self.clusters) > most:
            cluster = self.clusters[-1]
            cluster.warn(
                f"there are {len(self.clusters)} clusters, and at most {most} tasks: k1 is too small, or c_sep"
            )

    def state_dict(self) -> dict[str, Any]:
        """All of it."""
        founders: list[Arrays | None] = [None if f is None else f.packed(with_rewards=False) for f in self._founders]
        return {"clusters": [dict(vars(cluster)) for cluster in self.clusters], "founders": founders}

    def load_state_dict(self, state: Any) -> None:
        """Take it up.

        Raises:
            CheckpointError: it is no such state; nothing has changed then.
        """
        try:
            clusters = [Cluster(**cluster) for cluster in state["clusters"]]
            packed = state["founders"]
            founders = [None if f is None else Summary.unpacked(self._features, f) for f in packed]
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise CheckpointError(f"it must be a hub's state: {error}") from error
        if len(founders) != len(clusters):
            raise CheckpointError(f"there must be a founder for each of {len(clusters)} clusters: {len(founders)}")
        self.clusters, self._founders = clusters, founders


def _distance(one: Summary | None, other: Summary | None) -> float:
    return 0.0 if one is None or other is None else one.distance(other)
