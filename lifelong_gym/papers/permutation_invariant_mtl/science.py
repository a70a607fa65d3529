"""What is said of the measurements: fits, correlations, tables and figures of the paper's own kind."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import linregress, spearmanr

from lifelong_gym.measures.intervals import difference_interval, mean_interval
from lifelong_gym.measures.statistics import Interval
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.papers.numbers import Numbers
from lifelong_gym.papers.specs import FigureSpec
from lifelong_gym.reports.plots import COLOURS, Style, line, new_figure, styles, tidy
from lifelong_gym.reports.wealth import wealth_figure

Figures = Mapping[str, Any]
QUANTILES = np.linspace(0.0, 1.0, 21)
SINGLE = "STL, 5 tasks"


def root_fit(n: npt.ArrayLike, errors: npt.ArrayLike) -> tuple[float, float, float]:
    """Least squares of ``c1 + c2 / sqrt(n)``: c1, c2, and the share of the variance that it explains.

    >>> [round(x, 6) for x in root_fit([4, 16, 100], [2.5, 2.25, 2.1])]
    [2.0, 1.0, 1.0]
    """
    fit = linregress(1.0 / np.sqrt(np.asarray(n, np.float64)), np.asarray(errors, np.float64))
    return float(fit.intercept), float(fit.slope), float(fit.rvalue**2)


def _fitted(part: int, figures: Figures) -> float:
    return root_fit(*figures["value_error"].values())[part]


floor, slope, explained = (partial(_fitted, part) for part in range(3))  # `root_fit` of the error of the value


def gap_growth(numbers: Numbers, study: str, systems: tuple[str, ...]) -> dict[str, Interval]:
    """How much more permuted examples lose than real ones in the last system than in the first."""
    first, last = (_gaps(numbers, study, system) for system in (systems[0], systems[-1]))
    return {f"{systems[-1]} less {systems[0]}": difference_interval(last, first)}


def gap(numbers: Numbers, study: str, systems: tuple[str, ...]) -> dict[str, Interval]:
    """What permuted examples lose more than real ones, by system."""
    return {system: mean_interval(_gaps(numbers, study, system)) for system in systems}


def _gaps(numbers: Numbers, study: str, system: str) -> FloatArray:
    permuted, real = (np.array(numbers.by_seed(study, system, m, "last loss.values")) for m in ("permuted", "real"))
    return permuted - real


def ahead(numbers: Numbers, study: str, systems: tuple[str, ...]) -> dict[str, Interval]:
    """In how many repetitions a discount of 0 gains more than one of 0.99."""
    none, far = (numbers.by_seed(study, systems[0], m, "unseen") for m in ("equivariant, 30 tasks", "discount 0.99"))
    n = float(np.sum(np.greater(none, far)))
    return {systems[0]: Interval(n, n, n)}


def way(numbers: Numbers, study: str, systems: tuple[str, ...]) -> dict[str, Interval]:
    """Share of the way from FedAvg to the best constant weights that a policy of 30 tasks goes, by repetition."""
    methods = ("FedAvg", "MTL, 30 tasks", "best constant weights")
    low, found, high = (np.array(numbers.by_seed(study, systems[0], method, "accuracy")) for method in methods)
    return {systems[0]: mean_interval((found - low) / (high - low))}


def _points(axes: Axes, x: list[Any], intervals: Iterable[Interval]) -> None:
    """Estimates with their intervals."""
    found = np.array([*intervals])
    error = np.nan_to_num(np.abs(found[:, 1:] - found[:, :1]).T, posinf=0.0)
    axes.errorbar(x, found[:, 0], error, marker="o", capsize=2, color=COLOURS[0])


def gaps(numbers: Numbers, spec: FigureSpec) -> Figure:
    """What permuted examples lose more than real ones, by system, with 95% intervals."""
    axes = (figure := new_figure(4.5, 3.3)).subplots()
    found = gap(numbers, spec.study, spec.systems)
    _points(axes, [float(system.split()[-1]) for system in found], found.values())
    axes.set(xlabel="ε", ylabel=spec.label)
    tidy(axes)
    return figure


def _after(share: float, figures: Figures) -> float:
    away = np.abs(np.array(figures["own"]["at"]) - share * figures["updates"])
    return float(figures["own"]["values"][int(away.argmin())])


fifth, thirtieth = partial(_after, 1 / 5), partial(_after, 1 / 30)  # return a year after this share of the updates


def _ranked(x: str, y: str, figures: Figures) -> float:
    """Rank correlation; 0 where one doesn't change."""
    varies = np.ptp(figures[x]) > 0.0 and np.ptp(figures[y]) > 0.0
    return float(spearmanr(figures[x], figures[y]).statistic) if varies else 0.0


changes = partial(_ranked, "largest", "change")  # largest score in so many updates; change of the return meanwhile
norms = partial(_ranked, "score", "norm")  # of minibatches


def scatters(numbers: Numbers, spec: FigureSpec) -> Figure:
    """Both scatters, of the first run in each system."""
    figure = new_figure(3.7 * 2, 3.3 * len(spec.systems))
    panels = figure.subplots(len(spec.systems), 2, squeeze=False)
    for row, system in zip(panels, spec.systems, strict=True):
        largest, change, score, norm = (numbers.by_seed(spec.study, system, spec.methods[0], of)[0] for of in spec.of)
        for axes, x, y, label in ((row[0], largest, change, "change of return [%]"), (row[1], score, norm, "gradient")):
            axes.plot(x, y, ".", color=COLOURS[0], alpha=0.5)
            axes.set(title=system, xlabel="score", ylabel=label)
            tidy(axes)
    return figure


def _by_system(spec: FigureSpec, draw: Callable[[Axes, str, str, Style], None], x: str, y: str) -> Figure:
    """A panel a system, in which each method is drawn."""
    figure, look = new_figure(4.4 * len(spec.systems), 3.6), styles(list(spec.methods))
    panels = np.ravel(figure.subplots(1, len(spec.systems)))
    for axes, system in zip(panels, spec.systems, strict=True):
        for method in spec.methods:
            draw(axes, system, method, look[method])
        axes.set(title=system, xlabel=x, ylabel=y)
        tidy(axes)
    names = panels[0].get_legend_handles_labels()
    figure.legend(*names, loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    return figure


def learning(numbers: Numbers, spec: FigureSpec) -> Figure:
    """Medians over seeds and interquartile bands against updates of a policy."""

    def draw(axes: Axes, system: str, method: str, look: Style) -> None:
        runs = numbers.by_seed(spec.study, system, method, spec.of[0])
        low, middle, high = np.percentile([run["values"] for run in runs], [25, 50, 75], axis=0)
        line(axes, runs[0]["at"], middle, (low, high), look, method)

    return _by_system(spec, draw, "updates of a policy", spec.label)


def quantiles(numbers: Numbers, spec: FigureSpec) -> Figure:
    """Share of tasks whose gain over single-task learning is below the value on the x axis."""

    def draw(axes: Axes, system: str, method: str, look: Style) -> None:
        own, single = (np.ravel(numbers.by_seed(spec.study, system, m, spec.of[0])) for m in (method, SINGLE))
        line(axes, np.quantile(own - single, QUANTILES), QUANTILES, None, look, method)
        axes.axvline(0.0, color="#bbbbbb", lw=1)

    return _by_system(spec, draw, spec.label, "share of tasks")


def wealth(numbers: Numbers, spec: FigureSpec) -> Figure:
    """Of the two policies and of equal shares; shares of the one that the figure is named after."""
    returns, shares, names = (numbers.by_seed(spec.study, spec.systems[0], spec.methods[0], of)[0] for of in spec.of)
    first = spec.label
    ordered = {name: returns[name] for name in (first, *(other for other in returns if other != first))}
    return wealth_figure(ordered, shares=shares[first], names=names, grey=("equal CRP",))


def weights(numbers: Numbers, spec: FigureSpec) -> Figure:
    """Of one task's clients over rounds, a panel a method; dark: those that know rare digits."""
    figure = new_figure(3.7 * len(spec.methods), 3.3)
    panels = np.ravel(figure.subplots(1, len(spec.methods), sharey=True))
    for axes, method in zip(panels, spec.methods, strict=True):
        of_rounds, rare = (numbers.by_seed(spec.study, spec.systems[0], method, of)[0] for of in spec.of)
        for client, is_rare in zip(np.transpose(of_rounds), rare, strict=True):
            axes.plot(np.arange(1, len(client) + 1), client, color=COLOURS[1] if is_rare else "#bbbbbb")
        axes.set(title=method, xlabel="round", ylabel=spec.label)
        tidy(axes)
    return figure


def effective(n_tasks: int, m: int, universe: int) -> float:
    """How many independent tasks so many random subsets of a universe are worth.

    >>> round(effective(5, 10, 50), 1), round(effective(10**9, 10, 50), 3)
    (2.8, 5.0)
    """
    return 1.0 / (1.0 / n_tasks + (1.0 - 1.0 / n_tasks) * m / universe)


def gains(numbers: Numbers, spec: FigureSpec) -> Figure:
    """Gain against the number of tasks, beside how many independent ones these are worth."""
    axes = (figure := new_figure(5.0, 3.4)).subplots()
    sizes = [int(method.split()[-2]) for method in spec.methods]
    runs = (numbers.by_seed(spec.study, spec.systems[0], method, spec.of[0]) for method in spec.methods)
    _points(axes, sizes, map(mean_interval, runs))
    beside = axes.twinx()
    beside.plot(sizes, [effective(n, 10, 50) for n in sizes], ":", color="black")
    axes.set(xscale="log", xlabel="tasks", ylabel=spec.label)
    beside.set_ylabel("worth so many independent ones (dotted)")
    return figure
