"""Figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lifelong_gym.tasks import FloatArray

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")  # Okabe and Ito: safe for all eyes


def learning_curves(
    path: Path,
    curves: Mapping[str, FloatArray],
    *,
    title: str,
    x_label: str,
    y_label: str,
    levels: Mapping[str, float] | None = None,
    markers: Sequence[float] = (),
) -> None:
    """Mean over runs with a 95% interval of the mean, one line a method.

    Args:
        path: of the PNG to write.
        curves: per method an array of shape (n_runs, n_evaluations).
        title: of the figure.
        x_label: of the evaluations.
        y_label: with its unit.
        levels: horizontal lines by name.
        markers: x positions of vertical lines.
    """
    figure = Figure(figsize=(8, 4.8), dpi=140, layout="constrained")
    axes = figure.subplots()
    for (name, runs), colour in zip(curves.items(), COLOURS, strict=False):
        mean = runs.mean(axis=0)
        half = 1.96 * runs.std(axis=0, ddof=1) / np.sqrt(len(runs)) if len(runs) > 1 else np.zeros_like(mean)
        x = np.arange(len(mean))
        axes.plot(x, mean, color=colour, lw=2, label=name)
        axes.fill_between(x, mean - half, mean + half, color=colour, alpha=0.2, lw=0)
    for name, level in (levels or {}).items():
        axes.axhline(level, color="#555555", lw=1, ls="--")
        axes.annotate(
            name, (1, level), (-4, -12), xycoords=("axes fraction", "data"), textcoords="offset points", ha="right"
        )
    for marker in markers:
        axes.axvline(marker, color="#bbbbbb", lw=1, ls=":")
    axes.set(title=title, xlabel=x_label, ylabel=y_label)
    axes.margins(x=0.01)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    FigureCanvasAgg(figure).print_png(str(path))
