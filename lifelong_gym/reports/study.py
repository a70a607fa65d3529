"""Runs that may be compared with each other: the same protocol, tasks, budget and references."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lifelong_gym.benchmark.learners import BASELINES
from lifelong_gym.benchmark.records import Run
from lifelong_gym.measures import metrics
from lifelong_gym.numerics.arrays import FloatArray, IntArray

PROTOCOLS = {
    "multi_task": "multi-task",
    "lifelong": "lifelong",
    "transfer": "transfer",
    "distributed": "distributed",
    "generalise": "generalisation",
    "rounds": "rounds",
}
SCORES = {
    "lifelong": "average performance",
    "transfer": "area under the novel task's curve",
    "generalise": "final performance in tasks not learned",
}
FINAL = "final performance"
FIXED = tuple(BASELINES)  # classes that don't learn
SAME = ("name", "total_timesteps", "n_evaluations", "n_eval_episodes", "evaluation_seed")


@dataclass(frozen=True, eq=False)
class Study:
    """Learners on one family under one protocol.

    Attributes:
        name: for files.
        runs: by learner, those of all its seeds, by seed.
    """

    name: str
    runs: Mapping[str, Sequence[Run]]

    @property
    def any(self) -> Run:
        """One of the runs, for what all have in common."""
        return next(iter(self.runs.values()))[0]

    @property
    def protocol(self) -> str:
        """Its name, such as ``multi_task``."""
        return self.any.protocol

    @property
    def family(self) -> str:
        """The family's label, or else the id of the environment, and the preset unless it is the default."""
        run = self.any
        return run.family if run.preset == "default" or run.family != run.made else f"{run.family} ({run.preset})"

    @property
    def sets(self) -> list[str]:
        """Names of further sets of tasks that learners are evaluated in."""
        return list(self.any.sets)

    @property
    def task_names(self) -> list[str]:
        """Of the columns of `scores`."""
        if self.protocol != "generalise":
            return [str(task) for task in range(self.n_tasks)]
        return [f"{name} {task}" for name, part in self.any.sets.items() for task in range(part.n_tasks)]

    @property
    def n_tasks(self) -> int:
        """How many tasks."""
        return self.any.n_tasks

    @property
    def score_name(self) -> str:
        """What `scores` are."""
        name = SCORES.get(self.protocol, FINAL)
        return name.replace("performance", "return") if self.raw else name

    @property
    def raw(self) -> bool:
        """Whether figures are raw returns, because the family names no reference to normalise them by."""
        return not self.any.is_normalised

    @property
    def unit(self) -> str:
        """Of the figures, as in `tables.Column`."""
        return "return" if self.raw else "performance"

    @property
    def zero(self) -> str:
        """What 0 on the normalised scale stands for; for raw returns, nothing."""
        run = self.any
        if self.raw:
            return ""
        return "acting at random" if np.array_equal(run.reference("zero"), run.reference("random")) else "doing nothing"

    @property
    def learners(self) -> list[str]:
        """Those that learn; the others are there for comparison."""
        return [name for name in self.runs if not self.fixed(name)]

    def fixed(self, name: str) -> bool:
        """Whether it doesn't learn: chance, doing nothing, the reference, and rules."""
        return self.kind(name) in FIXED

    def kind(self, name: str) -> str:
        """Its name in experiments, or ``module:Class``."""
        return _kind(self.runs[name][0])

    def alone(self, learner: str) -> bool:
        """Whether it learned every task with a fresh learner."""
        return self.runs[learner][0].alone

    def baseline(self, learner: str) -> str | None:
        """The learner from scratch that another one is compared with: of its own class if there is one."""
        scratch = [name for name in self.runs if self.alone(name) and name != learner]
        alike = [name for name in scratch if self.kind(name) == self.kind(learner)]
        return None if self.alone(learner) or self.fixed(learner) else next(iter([*alike, *scratch]), None)

    def scores(self, learner: str) -> FloatArray:
        """One number a run and task, shape (n_runs, n_tasks); `score_name` says of what. Normalised unless `raw`.

        Under the protocol ``generalise``, of the tasks of all further sets, side by side.
        """
        return np.array([_scores(run) for run in self.runs[learner]])


def final(n_evaluations: int) -> int:
    """How many evaluations at the end are averaged: a fifth of them, at most as many as in CW."""
    return max(1, min(metrics.LAST, n_evaluations // 5))


def n_final(run: Run) -> int:
    """`final` of a run; of the evaluations while one task is learned, where tasks are learned one after another."""
    n = len(run.times) - 1
    if run.protocol == "transfer" and not run.alone:
        n = run.stages.count(1)
    return final(n // run.n_tasks if run.protocol == "lifelong" and not run.alone else n)


def final_performance(run: Run) -> FloatArray:
    """Asymptote in every task, shape (n_tasks,)."""
    return metrics.asymptote(run.performance().T, n_final(run))


def elsewhere(run: Run) -> FloatArray:
    """Performance in the tasks of all further sets, side by side, shape (n_evaluations, n_other_tasks)."""
    if not run.sets:
        raise ValueError("it was evaluated in no further set of tasks")
    return np.concatenate([part.performance() for part in run.sets.values()], axis=1)


def _scores(run: Run) -> FloatArray:
    if run.protocol == "generalise":
        return metrics.asymptote(elsewhere(run).T, n_final(run))
    if run.protocol != "transfer":
        return final_performance(run)
    novel = novel_curve(run)
    return metrics.area_under_curve(novel.performance, times=novel.times)


class NovelCurve(NamedTuple):
    """Of the novel tasks in the transfer protocol, from the last evaluation before them on.

    Attributes:
        performance: shape (n_novel, n_evaluations).
        times: environment steps on the novel tasks, shape (n_evaluations,).
    """

    performance: FloatArray
    times: IntArray


def novel_curve(run: Run) -> NovelCurve:
    """The part of a run that is about the novel tasks.

    Raises:
        ValueError: there is none.
    """
    if not run.alone and 1 not in run.stages:
        raise ValueError(f"{run.path} holds no evaluation on the novel task (stage 1)")
    start = 0 if run.alone else max(0, run.stages.index(1) - 1)
    return NovelCurve(run.performance()[start:, novel_tasks(run)].T, run.times[start:] - run.times[start])


def novel_tasks(run: Run) -> list[int]:
    """Under the transfer protocol: what it says, or else the last task in order."""
    protocol = run.settings["protocol"]
    return list(protocol.get("novel", protocol["order"][-1:]))


def studies(runs: Sequence[Run]) -> tuple[list[Study], list[str]]:
    """Put together what may be compared.

    Returns:
        The studies, by protocol and family, and for every run that had to be left out, why.
    """
    groups: dict[str, list[Run]] = {}
    seen: dict[str, Path] = {}
    left_out = []
    for run in runs:
        same = seen.setdefault(_canonical(run.settings, run.header["references"]), run.path)
        if same != run.path:
            left_out.append(f"{run.path} has the settings and the seed of {same}, which alone counts")
        elif (fault := _fault(run)) is not None:
            left_out.append(f"{run.path} doesn't hold what its protocol needs: {fault}")
        else:
            groups.setdefault(_key(run), []).append(run)
    protocols = list(PROTOCOLS)
    first = sorted(groups.values(), key=lambda g: (_place(g[0].protocol, protocols), g[0].family, g[0].preset))
    names: dict[str, int] = {}
    return [Study(_name(group[0], names), _by_learner(group)) for group in first], left_out


def _fault(run: Run) -> str | None:
    """Why nothing can be said about a run, if so."""
    try:
        _scores(run)
    except (KeyError, IndexError, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    return None


def _place(name: str, known: Sequence[str]) -> int:
    return known.index(name) if name in known else len(known)


def _canonical(*content: Any) -> str:
    return json.dumps(content, sort_keys=True)


def _key(run: Run) -> str:
    protocol = run.settings["protocol"]
    return _canonical(
        run.family,
        run.made,
        run.preset,
        run.header["tasks_hash"],
        {name: [part.made, part.preset, part.header["tasks_hash"]] for name, part in run.sets.items()},
        run.header["references"],
        [protocol.get(name) for name in SAME],
    )


def _name(run: Run, taken: dict[str, int]) -> str:
    name = re.sub(r"[^\w.-]+", "-", f"{run.protocol}-{run.family}-{run.preset}")
    taken[name] = taken.get(name, 0) + 1
    return name if taken[name] == 1 else f"{name}-{taken[name]}"


def _by_learner(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """From the best to the worst, but what doesn't learn last; settings that share one label are told apart."""
    variants: dict[str, dict[str, list[Run]]] = {}
    for run in runs:
        variants.setdefault(run.learner, {}).setdefault(_canonical(_variant(run)), []).append(run)
    named = {}
    for label, groups in variants.items():
        for group in groups.values():
            named[label if len(groups) == 1 else f"{label} ({_difference(group, groups)})"] = group
    score = {name: np.mean([_scores(run) for run in group]) for name, group in named.items()}
    order = sorted(named, key=lambda name: (_kind(named[name][0]) in FIXED, -score[name]))
    return {name: sorted(named[name], key=lambda run: run.seed) for name in order}


def _kind(run: Run) -> str:
    return str(run.settings["learner"].get("class"))


def _variant(run: Run) -> dict[str, Any]:
    learner, protocol = run.settings["learner"], run.settings["protocol"]
    flat = {**learner.get("arguments", {}), **{k: v for k, v in learner.items() if k != "arguments"}}
    return {**flat, "topology": protocol.get("topology")}


def _difference(group: Sequence[Run], groups: Mapping[str, Sequence[Run]]) -> str:
    """The settings in which these runs differ from others with the same label."""
    mine, all_of_them = _variant(group[0]), [_variant(g[0]) for g in groups.values()]
    keys = sorted({key for variant in all_of_them for key in variant})
    differing = [key for key in keys if len({_canonical(v.get(key)) for v in all_of_them}) > 1]
    return ", ".join(f"{key}={mine.get(key)}" for key in differing)
