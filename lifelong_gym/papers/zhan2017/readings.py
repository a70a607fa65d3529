"""Numbers as claims, tables and figures read them from the summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lifelong_gym.measures.statistics import Interval
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.papers.compare import mean_of, median_of, ratio_of
from lifelong_gym.papers.paper import Summary
from lifelong_gym.papers.zhan2017 import methods, plan


def cost(summary: Summary, study: str, label: str, key: str = "final") -> list[float]:
    """By seed: minus the mean reward per step."""
    return [-value for value in summary["learning"][study][label][key]]


def cost_ratio(summary: Summary, study: str, a: str, b: str, key: str = "final") -> Interval:
    """Of method a to method b."""
    return ratio_of(cost(summary, study, a, key), cost(summary, study, b, key))


def rows_of(summary: Summary, case: str, metric: str) -> list[Mapping[str, Any]]:
    """Of a consensus study, by penalty."""
    return [row for row in summary["consensus"][case]["rows"] if row["metric"] == metric]


def row_of(summary: Summary, case: str, metric: str, penalty: float) -> Mapping[str, Any]:
    """With this penalty."""
    return next(row for row in rows_of(summary, case, metric) if row["penalty"] == penalty)


def best_row(summary: Summary, case: str, metric: str) -> Mapping[str, Any]:
    """Of the penalty that is fastest to the fine level, or else to the coarse one."""
    return min(rows_of(summary, case, metric), key=lambda row: (_typical(row["to_fine"]), _typical(row["to_coarse"])))


def _typical(counts: Sequence[float | None]) -> float:
    return median_of(counts).estimate


def error_at(row: Mapping[str, Any], name: str, iteration: int) -> float:
    """After so many iterations, or the last that were needed."""
    at = np.array(row["at"])
    return float(row[name][int(np.flatnonzero(at <= iteration)[-1])])


def case(domain: str) -> str:
    """Algorithm 1 of a domain on the paper's graph."""
    return f"{domain} theta {plan.GRAPH}"


def slope(at: FloatArray, curve: FloatArray, first: int = 10) -> float:
    """Of log error against log iteration, from the tenth on."""
    late = at >= first
    return float(np.polyfit(np.log(at[late]), np.log(np.maximum(curve[late], 1e-300)), 1)[0])


def novel_cost(summary: Summary, label: str, sweep: int, study: str = "novel-HC") -> list[float]:
    """In novel tasks after so many sweeps there, by seed."""
    return [-curve[sweep] for curve in summary["novel"][study][label]["seeds"]]


def gap_closed(summary: Summary, label: str) -> Interval:
    """Share of the way from doing nothing to the best final cost that the mean code goes without any data."""
    zero = np.array(novel_cost(summary, methods.ENAC, 0))
    best = min(np.mean(novel_cost(summary, name, -1)) for name in summary["novel"]["novel-HC"])
    return mean_of((zero - np.array(novel_cost(summary, label, 0))) / (zero - best))
