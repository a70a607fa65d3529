"""Figures of a paper's page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from lifelong_gym.benchmark.disk import replace_file
from lifelong_gym.measures.intervals import mean_band, mean_interval
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.papers.code import Code
from lifelong_gym.papers.numbers import NotRunError, Numbers
from lifelong_gym.papers.specs import FILM, FigureSpec, PaperSpec
from lifelong_gym.reports.plots import line, new_figure, styles, tidy

SMALL_DPI = 80
COLUMNS = 3
HATCHES = {"-": "", "--": "///", ":": "...", "-.": "xxx"}  # where lines tell methods of one colour apart
FPS = 10  # of films
ROOM = 0.15  # beyond what methods gain: what goes farther is cut off


def draw(whole: FigureSpec, paper: PaperSpec, numbers: Numbers, code: Code, path: Path) -> bool:
    """Write a small PNG and, where there is one, a film beside it, each of them all or nothing.

    Returns:
        Whether they are there: not where what they show wasn't run.
    """
    for file in (path, path.with_suffix(FILM)):
        file.unlink(missing_ok=True)
    if (spec := numbers.part_of(whole)) is None:
        return False
    try:
        figure: Figure = (
            code.load(spec.kind)(numbers, spec) if ":" in spec.kind else KINDS[spec.kind](spec, paper, numbers)
        )
    except NotRunError:
        return False
    figure.set_dpi(SMALL_DPI)
    replace_file(path, lambda part: FigureCanvasAgg(figure).print_png(str(part)))
    if spec.film:
        film = [Image.fromarray(frame) for frame in code.load(spec.film)(numbers, spec)]
        kept: dict[str, Any] = {"append_images": film[1:], "duration": 1000 // FPS, "loop": 0, "quality": 70}
        replace_file(path.with_suffix(FILM), lambda part: film[0].save(part, "WEBP", save_all=True, **kept))
    return True


def _panels(n: int) -> tuple[Figure, list[Axes]]:
    columns = min(n, COLUMNS)
    rows = -(-n // columns)
    figure = new_figure(3.7 * columns, 3.3 * rows + 0.5)
    panels = list(np.ravel(figure.subplots(rows, columns, squeeze=False)))
    for unused in panels[n:]:
        unused.axis("off")
    return figure, panels[:n]


def finish(figure: Figure, panels: Sequence[Axes], label: str) -> Figure:
    """Tidy panels, with the first one's label of its y axis, and its legend below them all."""
    for axes in panels:
        tidy(axes)
    panels[0].set_ylabel(label)
    handles, labels = panels[0].get_legend_handles_labels()
    ncols = 4 if len(panels) > 1 else 2
    figure.legend(handles, labels, loc="outside lower center", ncols=ncols, frameon=False, fontsize=8)
    return figure


def curves(spec: FigureSpec, paper: PaperSpec, numbers: Numbers) -> Figure:
    """Means over seeds with 95% intervals against sweeps, a panel a system, a line a method."""
    figure, panels = _panels(len(spec.systems))
    look = styles(list(paper.methods))
    for axes, system in zip(panels, spec.systems, strict=True):
        means = []
        for method in spec.methods:
            runs = numbers.by_seed(spec.study, system, method, spec.of[0])
            mean, low, high = mean_band([run["values"] for run in runs])
            means.append(mean)
            if len(mean) == 1:  # it doesn't learn
                axes.axhline(mean[0], color="black", lw=0.8, ls=":", label=method)
            else:
                line(axes, runs[0]["at"], mean, None if len(runs) == 1 else (low, high), look[method], method)
        name = paper.systems[system].name or system
        axes.set(title=system if name == system else f"{system}: {name}", xlabel=spec.across)
        if spec.log and runs[0]["at"][0] > 0:
            axes.set(xscale="log")
        if spec.cut:
            _limit(axes, means, spec.log)
    return finish(figure, panels, spec.label or "cost per step")


def _limit(axes: Axes, means: Sequence[FloatArray], log: bool) -> None:
    """What falls far behind the start is cut off; on logarithms whatever lies far from all means, as intervals may."""
    axes.margins(x=0.01)
    top, bottom = max(mean[0] for mean in means), min(mean.min() for mean in means)
    if log and bottom > 0:
        axes.set(yscale="log", ylim=(0.7 * bottom, 1.5 * max(top, *(mean.max() for mean in means))))
        return
    room = max(top - bottom, 1e-9)
    axes.set_ylim(bottom - 0.05 * room, top + ROOM * room)


def bars(spec: FigureSpec, paper: PaperSpec, numbers: Numbers) -> Figure:
    """Means over seeds with 95% intervals, a panel a quantity, a group a system, a bar a method."""
    figure, panels = _panels(len(spec.of))
    look, width, groups = styles(list(paper.methods)), 0.8 / len(spec.methods), np.arange(len(spec.systems))
    for axes, of in zip(panels, spec.of, strict=True):
        for i, method in enumerate(spec.methods):
            found = np.array([mean_interval(numbers.by_seed(spec.study, s, method, of)) for s in spec.systems])
            error = np.nan_to_num(np.abs(found[:, 1:] - found[:, :1]).T, posinf=0.0)
            style: dict[str, Any] = {"color": look[method].colour, "hatch": HATCHES[look[method].line]}
            places = groups + (i - (len(spec.methods) - 1) / 2) * width
            axes.bar(places, found[:, 0], 0.9 * width, yerr=error, label=method, capsize=1, edgecolor="white", **style)
        axes.set_xticks(groups, list(spec.systems))
        axes.set_title(of, fontsize=10)
        if spec.log:
            axes.set_yscale("log")
    return finish(figure, panels, spec.label)


def matrix(spec: FigureSpec, _: PaperSpec, numbers: Numbers) -> Figure:
    """Means over seeds as coloured tiles: a row a method, a column a system."""
    means = [[np.mean(numbers.by_seed(spec.study, s, m, spec.of[0])) for s in spec.systems] for m in spec.methods]
    figure = new_figure(1.6 + 0.9 * len(spec.systems), 1.0 + 0.4 * len(spec.methods))
    axes = figure.subplots()
    tiles = axes.pcolormesh(means, cmap="viridis", norm="log" if spec.log else None)
    axes.set_xticks(np.arange(len(spec.systems)) + 0.5, list(spec.systems))
    axes.set_yticks(np.arange(len(spec.methods)) + 0.5, list(spec.methods))
    axes.invert_yaxis()
    figure.colorbar(tiles, ax=axes, label=spec.label or spec.of[0])
    return figure


KINDS: Mapping[str, Callable[[FigureSpec, PaperSpec, Numbers], Figure]] = {
    "curves": curves,
    "bars": bars,
    "matrix": matrix,
}
