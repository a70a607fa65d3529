"""Numbers as claims, expectations and tables read them from the summary."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from lifelong_gym.measures.statistics import Interval
from lifelong_gym.papers.bouammar2015 import methods, plan
from lifelong_gym.papers.compare import median_of, ratio_of
from lifelong_gym.papers.paper import Summary


def cost_ratio(summary: Summary, study: str, a: str, b: str, key: str = "final") -> Interval:
    """Cost of method a over that of b, by seed on the same tasks."""
    of = summary["learning"][study]
    return ratio_of(of[a][key], of[b][key])


def ratios(summary: Summary, kind: str, a: str, b: str, key: str = "final") -> Iterator[tuple[str, Interval]]:
    """The same in each system, of the studies of one kind: ``"free"`` or ``"bound"``."""
    for system in plan.SYSTEMS:
        yield system, cost_ratio(summary, f"{kind}-{system}", a, b, key)


def to_optimum(summary: Summary, study: str, label: str) -> Interval:
    """Final cost over that of the tasks' own regulators."""
    of = summary["learning"][study][label]
    return ratio_of(of["final"], of["optimal"])


def with_sets(summary: Summary) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """RoundStudy, method and figures of all runs in which something was to be kept."""
    for study, variants in summary["learning"].items():
        for label, of in variants.items():
            if "checked" in of:
                yield study, label, of


def knows_the_sets(label: str) -> bool:
    """Whether a method, or a variant of one with other spectral bounds, is told what is safe."""
    return label.partition(", p=")[0] in methods.SAFE


def executed(summary: Summary, safe: bool) -> tuple[int, int]:
    """Policies that were executed outside their sets, and all that were, of methods that know the sets or don't."""
    rows = [of for _, label, of in with_sets(summary) if knows_the_sets(label) == safe]
    return sum(of["executed_outside"] for of in rows), sum(of["checked"] for of in rows)


def until(summary: Summary, study: str, label: str) -> Interval:
    """Median over tasks of the observations until safe; then over seeds, whose tasks may share their luck."""
    by_seed = summary["learning"][study][label]["until"]
    medians = [float(np.median([np.inf if n is None else n for n in tasks])) for tasks in by_seed]
    return median_of([None if np.isinf(n) else n for n in medians])


def until_range(summary: Summary, system: str, label: str) -> tuple[float, float]:
    """Least and largest of these medians over sizes of sets and steps."""
    medians = [until(summary, name, label).estimate for name in until_studies(system)]
    return min(medians), max(medians)


def until_studies(system: str) -> list[str]:
    """Names of the studies of observations until safe."""
    return [plan.until_name(system, width, step) for width in plan.WIDTHS for step in plan.STEPS]


def again(summary: Summary, label: str) -> int:
    """Rounds in which a task's policy was outside its set after it had been inside, in these studies."""
    return sum(summary["learning"][name][label]["again"] for key in plan.SYSTEMS for name in until_studies(key))


def exponent(summary: Summary, variant: str, order: str, basis: str, upper: bool = False) -> Interval | None:
    """Of the growth of regret; None where some regret isn't above 0."""
    found = summary["games"][plan.game_name(variant, order, basis)]["upper_growth" if upper else "growth"]["exponent"]
    return None if found is None else Interval(*found)


def spectral_spread(summary: Summary, study: str, label: str) -> float:
    """Largest over least mean final cost among the spectral bounds."""
    of = summary["learning"][study]
    means = [float(np.mean(of[plan.spectral_name(label, bounds)]["final"])) for bounds in plan.BOUNDS]
    return max(means) / min(means)


def unstable(summary: Summary, studies: Sequence[str], labels: Sequence[str]) -> int:
    """Closed loops that don't contract at the end."""
    return sum(sum(summary["learning"][study][label]["unstable"]) for study in studies for label in labels)


def length(path: Sequence[Sequence[float]]) -> float:
    """Way that a policy went, over the distance of its ends."""
    points = np.array(path)
    return float(np.linalg.norm(np.diff(points, axis=0), axis=1).sum() / np.linalg.norm(points[-1] - points[0]))


def fallen(summary: Summary, study: str, label: str) -> str:
    """Seeds in which some policy lost control for a while, of all."""
    seeds = summary["learning"][study][label]["fallen"]
    return f"{sum(n > 0 for n in seeds)} of {len(seeds)}"
