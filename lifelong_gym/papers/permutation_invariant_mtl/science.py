"""What is said of the measurements: fits, correlations, tables and figures of the paper's own kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from lifelong_gym.measures.intervals import difference_interval, mean_interval
from lifelong_gym.measures.statistics import Interval
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.papers.numbers import Numbers
from lifelong_gym.papers.specs import FigureSpec, TableSpec
from lifelong_gym.papers.tabulating import shown
from lifelong_gym.reports.plots import COLOURS, new_figure, tidy

Figures = Mapping[str, Any]


# ------------------------------------------------------------------------------------------------- synthetic allocation


def losses(figures: Figures) -> dict[str, Any]:
    """Reward below the optimum, as a curve against examples."""
    return {"at": figures["at"], "values": figures["loss"]}


def value_errors(figures: Figures) -> dict[str, Any]:
    """The norm that Theorem 1 is about, as a curve against examples."""
    return {"at": figures["at"], "values": figures["value_error"]}


def sample_term(figures: Figures) -> float:
    """Of the bound, after all examples."""
    return float(figures["bounds"][-1]["samples"])


def distance_term(figures: Figures) -> float:
    """Of the bound."""
    return float(figures["bounds"][-1]["distance"])


def iteration_term(figures: Figures) -> float:
    """Of the bound."""
    return float(figures["bounds"][-1]["iterations"])


def root_fit(n: npt.ArrayLike, errors: npt.ArrayLike) -> tuple[float, float, float]:
    """Least squares of ``c1 + c2 / sqrt(n)``: c1, c2, and the share of the variance that it explains.

    >>> [round(x, 6) for x in root_fit([4, 16, 100], [2.5, 2.25, 2.1])]
    [2.0, 1.0, 1.0]
    """
    x, y = 1.0 / np.sqrt(np.asarray(n, np.float64)), np.asarray(errors, np.float64)
    design = np.column_stack([np.ones_like(x), x])
    found = np.linalg.lstsq(design, y, rcond=None)[0]
    left, spread = np.square(y - design @ found).sum(), np.square(y - y.mean()).sum()
    return float(found[0]), float(found[1]), float(1.0 - left / spread) if spread > 0.0 else 1.0


def _mean_fit(numbers: Numbers, study: str, system: str, method: str) -> tuple[float, float, float]:
    curves = numbers.by_seed(study, system, method, "science:value_errors")
    return root_fit(curves[0]["at"], np.mean([curve["values"] for curve in curves], axis=0))


def explained(numbers: Numbers, study: str, systems: tuple[str, ...]) -> dict[str, Interval]:
    """Share of the variance of mean errors over numbers of examples that ``c1 + c2 / sqrt(N)`` explains."""
    return {system: Interval(*[_mean_fit(numbers, study, system, "real")[2]] * 3) for system in systems}


def gap_growth(numbers: Numbers, study: str, systems: tuple[str, ...]) -> dict[str, Interval]:
    """How much more permuted examples lose than real ones in the last system than in the first."""
    first, last = (_gaps(numbers, study, system) for system in (systems[0], systems[-1]))
    return {f"{systems[-1]} less {systems[0]}": difference_interval(last, first)}


def _gaps(numbers: Numbers, study: str, system: str) -> FloatArray:
    permuted, real = (np.array(numbers.by_seed(study, system, m, "last loss")) for m in ("permuted", "real"))
    return permuted - real


def gaps(numbers: Numbers, spec: FigureSpec) -> Figure:
    """What permuted examples lose more than real ones, by system, with 95% intervals."""
    figure = new_figure(4.5, 3.3)
    axes = figure.subplots()
    found = np.array([mean_interval(_gaps(numbers, spec.study, system)) for system in spec.systems])
    error = np.nan_to_num(np.abs(found[:, 1:] - found[:, :1]).T, posinf=0.0)
    axes.errorbar([float(system.split()[-1]) for system in spec.systems], found[:, 0], error, marker="o", capsize=2)
    axes.set(xlabel="ε", ylabel=spec.label)
    tidy(axes)
    return figure


def bounds(numbers: Numbers, spec: TableSpec) -> tuple[list[str], list[list[str]]]:
    """The bound beside what is measured, and the fit."""
    head = ["", "measured error", "sample term", "term of ε", "term of K", "bound / error", "c1 + c2 / √N", "explained"]
    rows = []
    for system in spec.systems:
        error, *terms = [numbers.by_seed(spec.study, system, "real", of) for of in spec.of[1:]]
        c1, c2, share = _mean_fit(numbers, spec.study, system, "real")
        ratio = np.sum(terms, axis=0) / np.array(error)
        cells = [shown(mean_interval(error)), *[f"{np.mean(term):.3g}" for term in terms], f"{ratio.mean():.2g}"]
        rows.append([system, *cells, f"{c1:.3g} + {c2:.3g} / √N", f"{share:.0%}"])
    return head, rows
