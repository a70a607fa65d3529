"""The figures of a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from lifelong_gym.benchmark import metrics
from lifelong_gym.benchmark.plots import COLOURS, GREY, Style, engineering, line, new_figure, tidy
from lifelong_gym.benchmark.records import Run
from lifelong_gym.benchmark.reports.overall import Chances, Scores, profile, thresholds
from lifelong_gym.benchmark.reports.study import Study, n_final, novel_curve
from lifelong_gym.benchmark.statistics import bootstrap
from lifelong_gym.tasks import FloatArray

Styles = Mapping[str, Style]

LOWEST = -1.0  # what is worse is cut off, or one diverging learner would flatten all others
N_RESAMPLES = 999  # for bands, of which there is one an evaluation
NUMBERS_UP_TO = 14  # tasks, for numbers in a matrix
STEPS = "environment steps of training"
PERFORMANCE = "normalised performance,\nmean over tasks"


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


def _novel_curve(runs: Sequence[Run]) -> Curve:
    novel = [novel_curve(run) for run in runs]
    return _curve([curve.times for curve in novel], [curve.performance.mean(axis=0) for curve in novel])


def _draw(axes: Axes, curves: Mapping[str, Curve], styles: Styles, zero: str) -> None:
    for name, curve in curves.items():
        line(axes, curve.times, curve.mean, (curve.low, curve.high), styles[name], name)
    _levels(axes, [(curve.low.min(), curve.high.max()) for curve in curves.values()], zero)
    engineering(axes.xaxis)
    axes.set(xlabel=STEPS, ylabel=PERFORMANCE)
    axes.margins(x=0.01)
    tidy(axes)


def _levels(axes: Axes, ranges: Sequence[tuple[float, float]], zero: str) -> None:
    """Name 0 and 1, and keep both in sight."""
    low, high = min(0.0, *(r[0] for r in ranges)), max(1.0, *(r[1] for r in ranges))
    low = max(low, LOWEST)
    axes.set_ylim(low - 0.04 * (high - low), high + 0.04 * (high - low))
    for level in (0, 1):
        axes.axhline(level, color=GREY, lw=1, ls=(0, (4, 4)), zorder=1)
    names = axes.secondary_yaxis("right")
    names.set_yticks([0, 1], ["0: " + zero.replace(" ", "\n", 1), "1: best\nknown policy"], color=GREY, fontsize=9)
    names.tick_params(length=0)
    names.spines["right"].set_visible(False)


def _legend(figure: Figure, names: Sequence[str]) -> None:
    """Below, in as many columns as the names leave room for."""
    inches = 0.7 + 0.085 * max(map(len, names))
    columns = max(1, min(len(names), 4, int(figure.get_figwidth() / inches)))
    figure.legend(loc="outside lower center", ncols=columns, frameon=False)


def learning(study: Study, styles: Styles) -> Figure:
    """Learning curves; of the novel tasks under the transfer protocol.

    Under the lifelong protocol, with the times at which the task changes, and without learners that learned every task
    on its own, whose time is another.
    """
    names = [name for name in study.runs if study.protocol != "lifelong" or not study.alone(name)]
    names = names or list(study.runs)
    drawn = _novel_curve if study.protocol == "transfer" else _mean_curve
    curves = {name: drawn(study.runs[name]) for name in names}
    figure = new_figure()
    axes = figure.subplots()
    _draw(axes, curves, styles, study.zero)
    if study.protocol == "lifelong":
        _stages(axes, [run for name in names for run in study.runs[name]])
    if study.protocol == "transfer":
        axes.set(xlabel=f"{STEPS} on the novel task", ylabel="normalised performance\nin the novel task")
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
        if len(starts) <= NUMBERS_UP_TO and len(starts) == len(order):
            middle = (run.times[start] + run.times[end]) / 2
            text = f"task {order[place]}" if same else f"no. {place + 1}"
            axes.annotate(
                text, (middle, 1), (0, 3), xycoords=("data", "axes fraction"), textcoords="offset points",
                ha="center", color=GREY, fontsize=9,
            )  # fmt: skip


def _tiles(axes: Axes, values: FloatArray, colours: str, low: float, high: float) -> Any:
    """A matrix as a person reads it, the first row above; vectors, which print sharper than an image."""
    gap = {"edgecolors": "white", "linewidth": 1.0} if values.shape[1] <= 25 else {"linewidth": 0.0}
    places = (np.arange(n) for n in values.shape[::-1])
    tiles = axes.pcolormesh(*places, values, cmap=colours, vmin=low, vmax=high, shading="nearest", **gap)
    axes.set_ylim(len(values) - 0.5, -0.5)  # axes that share theirs would be turned twice
    axes.grid(False)
    return tiles


def _matrix(
    axes: Axes, values: FloatArray, rows: Sequence[str], columns: Sequence[str], numbers: bool, room: int = 25
) -> Any:
    """Named rows and columns; ``room`` is how many columns' names fit."""
    image = _tiles(axes, values, "viridis", 0, 1)
    every = max(1, -(-len(columns) // room))
    axes.set_xticks(range(0, len(columns), every), columns[::every])
    every = max(1, -(-len(rows) // 20))
    axes.set_yticks(range(0, len(rows), every), rows[::every])
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)
    if numbers:
        for (i, j), value in np.ndenumerate(values):
            colour = "white" if value < 0.6 else "black"
            axes.text(j, i, f"{value:.2f}".replace("-0.00", "0.00"), ha="center", va="center", color=colour, fontsize=8)
    return image


def _bar(figure: Figure, image: Any, axes: Any, label: str) -> None:
    bar = figure.colorbar(image, ax=axes, extend="both", label=label, fraction=0.03, pad=0.02)
    bar.outline.set_visible(False)


def task_matrix(study: Study) -> Figure | None:
    """Score of every learner in every task, mean over runs; the task that is hardest for all comes first."""
    if study.protocol == "transfer":
        return None  # runs differ in their novel task
    values = np.array([study.scores(name).mean(axis=0) for name in study.runs])
    learn = [not study.fixed(name) for name in study.runs]
    order = np.argsort(values[learn if any(learn) else slice(None)].mean(axis=0), kind="stable")
    columns = [str(task) for task in order]
    figure = new_figure(8, 1.4 + 0.42 * len(values))
    axes = figure.subplots()
    image = _matrix(axes, values[:, order], list(study.runs), columns, len(columns) <= NUMBERS_UP_TO)
    axes.set_xlabel("task, from the hardest to the easiest")
    _bar(figure, image, axes, "normalised")
    return figure


def evaluation_matrices(study: Study) -> Figure | None:
    """Of every learner under the lifelong protocol, mean over runs: what it can do after which task."""
    found = {}
    for name, runs in study.runs.items():
        if not study.alone(name) and not study.fixed(name):
            found[name] = np.mean([_evaluation_matrix(run) for run in runs], axis=0)
    if not found:
        return None
    across = min(3, len(found))
    down = -(-len(found) // across)
    figure = new_figure(8 if across > 1 else 5, 0.8 + 2.7 * down)
    grid = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True)
    for axes in grid.flat[len(found) :]:
        axes.set_visible(False)
    for axes, (name, values) in zip(grid.flat, found.items(), strict=False):
        n = study.n_tasks
        places = [str(i + 1) for i in range(n)]
        image = _matrix(axes, values, ["before", *places], places, n * across <= NUMBERS_UP_TO, 25 // across)
        for i in range(n):
            axes.add_patch(Rectangle((i - 0.47, i + 0.53), 0.94, 0.94, fill=False, ec=COLOURS[1], lw=1.8))
        axes.set_title(name, fontsize=10)
    figure.supxlabel("performance in the task learned in this place", fontsize=10)
    figure.supylabel("after learning the task in this place", fontsize=10)
    _bar(figure, image, grid, "normalised")
    return figure


def _evaluation_matrix(run: Run) -> FloatArray:
    history = metrics.in_learned_order(run.performance(), run.settings["protocol"]["order"])
    return metrics.evaluation_matrix(history, n_final(run))


def communication(study: Study, styles: Styles) -> Figure | None:
    """Performance against bytes sent so far, of the learners whose agents send any."""
    figure = new_figure()
    axes = figure.subplots()
    ranges = {}
    for name, runs in study.runs.items():
        sent = [[0 if c is None else c.bytes for c in run.communication] for run in runs]
        curve = _curve(sent, [run.performance().mean(axis=1) for run in runs])
        if curve.times[-1] == 0:
            continue
        some = curve.times > 0
        line(axes, curve.times[some], curve.mean[some], (curve.low[some], curve.high[some]), styles[name], name)
        ranges[name] = (float(curve.low.min()), float(curve.high.max()))
    if not ranges:
        return None
    _levels(axes, list(ranges.values()), study.zero)
    axes.set(xscale="log", xlabel="bytes sent by all agents so far", ylabel=PERFORMANCE)
    engineering(axes.xaxis, "B")
    tidy(axes)
    _legend(figure, list(ranges))
    return figure


def profiles(scores: Scores, styles: Styles, what: str) -> Figure:
    """Share of runs and tasks that score above each threshold, with 95% bands."""
    at = thresholds(scores)
    figure = new_figure()
    axes = figure.subplots()
    for name, array in scores.items():
        drawn = profile(array, at)
        line(axes, at, drawn.estimate, (drawn.low, drawn.high), styles[name], name)
    axes.set(xlabel=f"{what} τ (normalised)", ylabel="share of runs and tasks\nthat score above τ", ylim=(-0.02, 1.02))
    axes.margins(x=0.01)
    tidy(axes)
    _legend(figure, list(scores))
    return figure


def improvement_matrix(chances: Chances) -> Figure:
    """Probability that the learner of a row beats that of a column."""
    names = list(dict.fromkeys(a for a, _ in chances))
    values = np.array([[np.nan if a == b else chances[a, b].estimate for b in names] for a in names])
    size = 2.2 + 0.62 * len(names)
    figure = new_figure(min(8.0, size + 1.2), 0.6 * size + 0.9)
    axes = figure.subplots()
    _tiles(axes, values, "RdBu", -0.2, 1.2)
    axes.set_xticks(range(len(names)), names, rotation=30, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)
    for (i, j), value in np.ndenumerate(values):
        if not np.isnan(value):
            colour = "white" if abs(value - 0.5) > 0.45 else "black"
            axes.text(j, i, f"{value:.2f}", ha="center", va="center", color=colour, fontsize=9)
    axes.set(xlabel="… than this one", ylabel="this one scores higher …")
    return figure
