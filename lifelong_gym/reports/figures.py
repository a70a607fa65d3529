"""The figures of a report that are curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from lifelong_gym.benchmark.records import Run
from lifelong_gym.measures.statistics import bootstrap
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.reports.overall import Scores, profile, thresholds
from lifelong_gym.reports.plots import GREY, Style, engineering, line, new_figure, tidy
from lifelong_gym.reports.scales import mark_cut, name_level, set_scale, visible
from lifelong_gym.reports.study import Study, elsewhere, novel_curve

Styles = Mapping[str, Style]

N_RESAMPLES = 999  # for bands, of which there is one an evaluation
NAMES_UP_TO = 14  # tasks, for names above the curves
STEPS = "environment steps of training"


class Curve(NamedTuple):
    """Mean over runs with its 95% band; each of shape (n_evaluations,)."""

    times: FloatArray
    mean: FloatArray
    low: FloatArray
    high: FloatArray


def _curve(times: Sequence[Any], values: Sequence[FloatArray]) -> Curve:
    """Of the evaluations that all runs have."""
    n = min(len(run) for run in values)
    stacked, when = np.array([run[:n] for run in values]), np.array([run[:n] for run in times], np.float64)
    if len(stacked) == 1:
        return Curve(when[0], stacked[0], stacked[0], stacked[0])
    intervals = np.array([bootstrap(column, n_resamples=N_RESAMPLES) for column in stacked.T])
    return Curve(when.mean(axis=0), *intervals.T)


def _mean_curve(runs: Sequence[Run]) -> Curve:
    return _curve([run.times for run in runs], [run.performance().mean(axis=1) for run in runs])


def _curve_elsewhere(runs: Sequence[Run]) -> Curve:
    return _curve([run.times for run in runs], [elsewhere(run).mean(axis=1) for run in runs])


def _novel_curve(runs: Sequence[Run]) -> Curve:
    novel = [novel_curve(run) for run in runs]
    return _curve([curve.times for curve in novel], [curve.performance.mean(axis=0) for curve in novel])


def _draw(axes: Axes, curves: Mapping[str, Curve], styles: Styles, study: Study, over: str) -> None:
    """Curves with their bands, on a scale that shows them all; ``over`` says what they are means of."""
    for name, curve in curves.items():
        style, values = styles[name], [curve.mean, curve.low, curve.high]
        mean, low, high = values if study.raw else map(visible, values)
        line(axes, curve.times, mean, (low, high), style, name)
        if not study.raw:
            mark_cut(axes, curve.times, curve.mean, style.colour)
    axes.set(ylabel=f"{'return' if study.raw else 'normalised performance'},\n{over}")
    tidy(axes)
    if not study.raw:
        _levels(axes, [(curve.low.min(), curve.high.max()) for curve in curves.values()], study.zero)


def _levels(axes: Axes, ranges: Sequence[tuple[float, float]], zero: str) -> None:
    """Name 0 and 1, and keep both in sight."""
    set_scale(axes, "y", min(0.0, *(r[0] for r in ranges)), max(1.0, *(r[1] for r in ranges)))
    for level, text in enumerate(("0: " + zero.replace(" ", "\n", 1), "1: best\nknown policy")):
        axes.axhline(level, color=GREY, lw=1, ls=(0, (4, 4)), zorder=1)
        name_level(axes, level, text)


def _legend(figure: Figure, names: Sequence[str]) -> None:
    """Below, in as many columns as the names leave room for."""
    inches = 0.7 + 0.085 * max(map(len, names))
    columns = max(1, min(len(names), 4, int(figure.get_figwidth() / inches)))
    drawn = {line.get_label(): line for axes in figure.axes for line in axes.lines}
    handles = [drawn[name] for name in names]  # looked up, because a legend of its own leaves out names like "_a"
    figure.legend(handles, list(names), loc="outside lower center", ncols=columns, frameon=False)


def learning(study: Study, styles: Styles) -> Figure:
    """Learning curves: of the novel tasks in transfer, of tasks that aren't learned in generalisation.

    Under the lifelong protocol, with the times at which the task changes, and without learners that learned every task
    on its own, whose time is another.
    """
    names = [name for name in study.runs if study.protocol != "lifelong" or not study.alone(name)]
    names = names or list(study.runs)
    novel = study.protocol == "transfer"
    drawn = {"transfer": _novel_curve, "generalise": _curve_elsewhere}.get(study.protocol, _mean_curve)
    curves = {name: drawn(study.runs[name]) for name in names}
    figure = new_figure()
    axes = figure.subplots()
    over = {"transfer": "in the novel task", "generalise": "mean over tasks not learned"}
    _draw(axes, curves, styles, study, over.get(study.protocol, "mean over tasks"))
    engineering(axes.xaxis)
    axes.margins(x=0.01)
    axes.set(xlabel=f"{STEPS} on the novel task" if novel else STEPS)
    if study.protocol == "lifelong":
        _stages(axes, [run for name in names for run in study.runs[name]])
    _legend(figure, names)
    return figure


def _stages(axes: Axes, runs: Sequence[Run]) -> None:
    """A vertical line where the task changes, and at the top which one begins, where that is the same in all runs."""
    run = runs[0]
    starts = [0, *(k for k in range(1, len(run.stages) - 1) if run.stages[k] != run.stages[k + 1])]
    order = run.settings["protocol"]["order"]
    same = all(other.settings["protocol"]["order"] == order for other in runs)
    ends = [*starts[1:], len(run.times) - 1]
    for place, (start, end) in enumerate(zip(starts, ends, strict=True)):
        if start:
            axes.axvline(run.times[start], color="#999999", lw=1, ls=":")
        if len(starts) <= NAMES_UP_TO and len(starts) == len(order):
            middle = (run.times[start] + run.times[end]) / 2
            text = f"task {order[place]}" if same else f"no. {place + 1}"
            axes.annotate(
                text, (middle, 1), (0, 3), xycoords=("data", "axes fraction"), textcoords="offset points",
                ha="center", color=GREY, fontsize=9,
            )  # fmt: skip


def communication(study: Study, styles: Styles) -> Figure | None:
    """Performance against bytes sent so far, of the learners whose agents send any."""
    curves = {}
    for name, runs in study.runs.items():
        sent = [[0 if c is None else c.bytes for c in run.communication] for run in runs]
        curve = _curve(sent, [run.performance().mean(axis=1) for run in runs])
        some = curve.times > 0
        if some.any():
            curves[name] = Curve(*(part[some] for part in curve))
    if not curves:
        return None
    figure = new_figure()
    axes = figure.subplots()
    axes.set(xscale="log", xlabel="bytes sent by all agents so far")
    _draw(axes, curves, styles, study, "mean over tasks")
    ends = [curve.times[[0, -1]] for curve in curves.values()]
    few = np.max(ends) < 100 * np.min(ends)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if few else (1,)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    engineering(axes.xaxis, "B")
    _legend(figure, list(curves))
    return figure


def profiles(scores: Scores, styles: Styles, what: str, raw: bool = False) -> Figure:
    """Share of runs and tasks that score above each threshold, with 95% bands."""
    at = thresholds(scores, raw)
    figure = new_figure()
    axes = figure.subplots()
    for name, array in scores.items():
        drawn = profile(array, at)
        line(axes, at, drawn.estimate, (drawn.low, drawn.high), styles[name], name)
    above = "share of runs and tasks\nthat score above τ"
    axes.set(xlabel=f"{what} τ{'' if raw else ' (normalised)'}", ylabel=above, ylim=(-0.02, 1.02))
    axes.margins(x=0.01)
    tidy(axes)
    if not raw:
        set_scale(axes, "x", at[0], at[-1])
    _legend(figure, list(scores))
    return figure
