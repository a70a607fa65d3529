"""The figures of a report that are coloured matrices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from lifelong_gym.benchmark.records import Run
from lifelong_gym.measures import metrics
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.reports.overall import Chances
from lifelong_gym.reports.plots import COLOURS, new_figure
from lifelong_gym.reports.scales import Colours, colours, ink, raw_colours
from lifelong_gym.reports.study import Study, n_final
from lifelong_gym.reports.tables import short

NUMBERS_UP_TO = 14  # tasks, for numbers in a matrix


def _tiles(axes: Axes, values: FloatArray, cmap: Any, norm: Normalize) -> Any:
    """A matrix as a person reads it, the first row above; vectors, which print sharper than an image."""
    gap = {"edgecolors": "white", "linewidth": 1.0} if values.shape[1] <= 25 else {"linewidth": 0.0}
    places = (np.arange(n) for n in values.shape[::-1])
    tiles = axes.pcolormesh(*places, values, cmap=cmap, norm=norm, shading="nearest", **gap)
    axes.set_ylim(len(values) - 0.5, -0.5)  # axes that share theirs would be turned twice
    axes.grid(False)
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)
    return tiles


def _numbers(axes: Axes, tiles: Any, values: FloatArray, size: float = 8) -> None:
    """In every tile that has one."""
    for (i, j), value in np.ndenumerate(values):
        if not np.isnan(value):
            colour = ink(tiles.to_rgba(value))
            axes.text(j, i, short(value), ha="center", va="center", color=colour, fontsize=size)


def _matrix(
    axes: Axes, values: FloatArray, shades: Colours, rows: Sequence[str], columns: Sequence[str], room: int = 25
) -> Any:
    """Named rows and columns; ``room`` is how many columns' names fit."""
    tiles = _tiles(axes, values, shades.cmap, shades.norm)
    every = max(1, -(-len(columns) // room))
    axes.set_xticks(range(0, len(columns), every), columns[::every])
    every = max(1, -(-len(rows) // 20))
    axes.set_yticks(range(0, len(rows), every), rows[::every])
    return tiles


def _bar(figure: Figure, tiles: Any, axes: Any, shades: Colours, raw: bool) -> None:
    """What the colours stand for."""
    bar = figure.colorbar(
        tiles, ax=axes, extend="min" if shades.cut else "neither", label="return" if raw else "normalised",
        fraction=0.03, pad=0.02,
    )  # fmt: skip
    if shades.ticks is not None:
        bar.set_ticks(shades.ticks, labels=[short(x) for x in shades.ticks])
    bar.outline.set_visible(False)


def task_matrix(study: Study) -> Figure | None:
    """Score of every learner in every task, mean over runs; the task that is hardest for all comes first."""
    if study.protocol == "transfer":
        return None  # runs differ in their novel task
    values = np.array([study.scores(name).mean(axis=0) for name in study.runs])
    learn = [not study.fixed(name) for name in study.runs]
    order = np.argsort(values[learn if any(learn) else slice(None)].mean(axis=0), kind="stable")
    columns = [study.task_names[task] for task in order]
    figure = new_figure(8, 1.4 + 0.42 * len(values))
    axes = figure.subplots()
    shades = raw_colours(values) if study.raw else colours(values)
    tiles = _matrix(axes, values[:, order], shades, list(study.runs), columns)
    if len(columns) <= NUMBERS_UP_TO:
        _numbers(axes, tiles, values[:, order])
    axes.set_xlabel("task, from the hardest to the easiest")
    _bar(figure, tiles, axes, shades, study.raw)
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
    everything = np.array(list(found.values()))
    shades = raw_colours(everything) if study.raw else colours(everything)
    for axes in grid.flat[len(found) :]:
        axes.set_visible(False)
    for axes, (name, values) in zip(grid.flat, found.items(), strict=False):
        n = study.n_tasks
        places = [str(i + 1) for i in range(n)]
        tiles = _matrix(axes, values, shades, ["before", *places], places, 25 // across)
        if n * across <= NUMBERS_UP_TO:
            _numbers(axes, tiles, values)
        for i in range(n):
            axes.add_patch(Rectangle((i - 0.47, i + 0.53), 0.94, 0.94, fill=False, ec=COLOURS[1], lw=1.8))
        axes.set_title(name, fontsize=10)
    figure.supxlabel("performance in the task learned in this place", fontsize=10)
    figure.supylabel("after learning the task in this place", fontsize=10)
    _bar(figure, tiles, grid, shades, study.raw)
    return figure


def _evaluation_matrix(run: Run) -> FloatArray:
    history = metrics.in_learned_order(run.performance(), run.settings["protocol"]["order"])
    return metrics.evaluation_matrix(history, n_final(run))


def improvement_matrix(chances: Chances) -> Figure:
    """Probability that the learner of a row beats that of a column."""
    names = list(dict.fromkeys(a for a, _ in chances))
    values = np.array([[np.nan if a == b else chances[a, b].estimate for b in names] for a in names])
    size = 2.2 + 0.62 * len(names)
    figure = new_figure(min(8.0, size + 1.2), 0.6 * size + 0.9)
    axes = figure.subplots()
    tiles = _tiles(axes, values, "RdBu", Normalize(-0.2, 1.2))
    axes.set_xticks(range(len(names)), names, rotation=30, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), names)
    _numbers(axes, tiles, values, 9)
    axes.set(xlabel="… than this one", ylabel="this one scores higher …")
    return figure
