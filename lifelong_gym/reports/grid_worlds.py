"""All environments of a grid world in one grid, with the way that a policy takes through them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Polygon, Rectangle

from lifelong_gym.reports.plots import GREY, new_figure

SIZE = 10
GOAL, OBSTACLE, PATH, INK = "#2a946e", "#ce5c54", "#3a6ea5", "#2b2d42"
Cell = tuple[int, int]


def grid_worlds_figure(tasks: Sequence[Mapping[str, Any]], states: npt.ArrayLike = (), title: str = "") -> Figure:
    """A figure of one grid, see `draw_grid_worlds`, with its legend below."""
    figure = new_figure(4.2, 4.6)
    axes = figure.subplots()
    draw_grid_worlds(axes, tasks, states)
    axes.set_title(title, fontsize=10)
    figure.legend(handles=legend_handles(), loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    return figure


def draw_grid_worlds(axes: Axes, tasks: Sequence[Mapping[str, Any]], states: npt.ArrayLike = ()) -> None:
    """Goals and obstacles, numbered by environment from 1 on, starts, and a path.

    Args:
        axes: to draw into.
        tasks: of `LifelongGridWorld-v0`, complete.
        states: cells of the path as they are observed, ``10 row + column``; none: no path. A path that comes back to a
            cell is drawn beside itself.
    """
    _board(axes)
    goals, obstacles = _numbers(tasks, ["goal"]), _numbers(tasks, [f"obstacle_{i}" for i in (1, 2, 3)])
    for cell in sorted({*goals, *obstacles}):
        _tile(axes, cell, goals.get(cell, ""), obstacles.get(cell, ""))
    for row, column in _numbers(tasks, ["start"]):
        axes.plot(column, row, "o", ms=15, mfc="none", mec=INK, mew=1.6, zorder=4)
    _path(axes, np.asarray(states, np.int64).ravel())


def legend_handles() -> list[Any]:
    """What the marks mean."""
    return [
        Patch(color=GOAL, label="goal of that environment"),
        Line2D([], [], color=PATH, lw=2.5, marker=">", ms=5, label="most travelled path"),
        Patch(color=OBSTACLE, label="obstacle of that environment"),
        Line2D([], [], ls="none", marker="o", ms=9, mfc="none", mec=INK, mew=1.6, label="start"),
    ]


def _board(axes: Axes) -> None:
    axes.set(xlim=(-0.5, SIZE - 0.5), ylim=(SIZE - 0.5, -0.5), xticks=range(SIZE), yticks=range(SIZE), aspect="equal")
    axes.tick_params(length=0, labelsize=7, labelcolor=GREY, top=True, labeltop=True, bottom=False, labelbottom=False)
    for at in np.arange(0.5, SIZE - 1):
        axes.axhline(at, color="#d8d3c8", lw=0.8, zorder=0)
        axes.axvline(at, color="#d8d3c8", lw=0.8, zorder=0)


def _numbers(tasks: Sequence[Mapping[str, Any]], names: Sequence[str]) -> dict[Cell, str]:
    """Which environments have one of these at which cell."""
    found: dict[Cell, list[str]] = {}
    for number, task in enumerate(tasks, 1):
        for name in names:
            cell = int(task[f"{name}_row"]), int(task[f"{name}_column"])
            if min(cell) >= 0:
                found.setdefault(cell, []).append(str(number))
    return {cell: ",".join(numbers) for cell, numbers in found.items()}


def _tile(axes: Axes, cell: Cell, goal: str, obstacle: str) -> None:
    """Of one colour, or halved where one environment's goal is another's obstacle."""
    row, column = cell
    left, right, top, bottom = column - 0.5, column + 0.5, row - 0.5, row + 0.5
    if not (goal and obstacle):
        axes.add_patch(Rectangle((left, top), 1.0, 1.0, color=GOAL if goal else OBSTACLE, alpha=0.9, lw=0, zorder=1))
        _text(axes, column, row, goal or obstacle)
        return
    axes.add_patch(Polygon([(left, top), (right, top), (left, bottom)], color=GOAL, alpha=0.9, lw=0, zorder=1))
    axes.add_patch(Polygon([(right, bottom), (right, top), (left, bottom)], color=OBSTACLE, alpha=0.9, lw=0, zorder=1))
    _text(axes, column - 0.22, row - 0.2, goal)
    _text(axes, column + 0.22, row + 0.22, obstacle)


def _text(axes: Axes, x: float, y: float, text: str) -> None:
    size = 10.0 if len(text) == 1 else max(10.0 - 1.2 * len(text), 5.0)
    axes.text(x, y, text, color="white", size=size, weight="bold", ha="center", va="center", zorder=5)


def _path(axes: Axes, states: npt.NDArray[np.int64]) -> None:
    """A line with an arrow in the middle of each move."""
    before = np.array([np.count_nonzero(states[:i] == state) for i, state in enumerate(states)])
    points = np.stack([states % SIZE, states // SIZE], axis=1) + 0.12 * before.reshape(-1, 1)
    axes.plot(*points.T, color=PATH, lw=2.5, alpha=0.85, solid_joinstyle="round", zorder=3)
    for (x, y), (dx, dy) in _moves(points):
        middle, style = (
            (x + 0.5 * dx, y + 0.5 * dy),
            {"arrowstyle": "-|>", "color": PATH, "lw": 0, "mutation_scale": 12},
        )
        axes.annotate("", (middle[0] + 0.1 * dx, middle[1] + 0.1 * dy), middle, arrowprops=style, zorder=3)


def _moves(points: npt.NDArray[np.float64]) -> Iterator[tuple[Any, Any]]:
    """Where each begins, and by how much it goes on; staying is none."""
    for here, there in itertools.pairwise(points):
        if np.abs(there - here).max() > 0.5:
            yield here, there - here
