"""Parts that figures of all papers are made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lifelong_gym.papers.paper import Summary
from lifelong_gym.reports.plots import tidy

SMALL_DPI = 80


def write_all(drawings: Mapping[str, Callable[[Summary], Figure]], summary: Summary, folder: Path) -> list[str]:
    """Write every figure as a small PNG; returns their names."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, draw in drawings.items():
        figure = draw(summary)
        figure.set_dpi(SMALL_DPI)
        FigureCanvasAgg(figure).print_png(str(folder / f"{name}.png"))
    return list(drawings)


def add_legend(figure: Figure, axes: Axes, columns: int = 4) -> None:
    """Below, of what one of the axes shows."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False)


def draw_bars(axes: Axes, names: Sequence[str], values: Sequence[Sequence[float]], colour: Any) -> None:
    """Estimates with intervals; what is infinite isn't drawn."""
    finite = np.array([[np.nan if not np.isfinite(x) else x for x in row] for row in values], np.float64)
    mean = finite[:, 0]
    around = np.stack([mean - finite[:, 1], finite[:, 2] - mean])
    axes.bar(range(len(names)), mean, yerr=np.nan_to_num(np.maximum(around, 0)), color=colour, capsize=2)
    axes.set_xticks(range(len(names)), names, rotation=30, ha="right", fontsize=8)
    tidy(axes)
