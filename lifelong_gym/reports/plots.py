"""How figures look, how they are written, and the learning curves of the demo."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import EngFormatter

from lifelong_gym.benchmark.results import write_atomically
from lifelong_gym.numerics.arrays import FloatArray

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")  # Okabe and Ito: safe for all eyes
LINES = ("-", "--", ":", "-.")
GREY = "#555555"
DPI = 140


class Style(NamedTuple):
    """How one learner is drawn, in every figure."""

    colour: str
    line: str


def styles(names: Sequence[str], grey: Sequence[str] = ()) -> dict[str, Style]:
    """Six colours, and then the same ones with other lines; grey for what isn't a learner."""
    n = len(COLOURS)
    coloured = [name for name in names if name not in grey]
    return {
        **{name: Style(COLOURS[i % n], LINES[i // n % len(LINES)]) for i, name in enumerate(coloured)},
        **{name: Style("#8a8a8a", LINES[1 + i % (len(LINES) - 1)]) for i, name in enumerate(grey)},
    }


class Picture(NamedTuple):
    """A figure as it was written.

    Attributes:
        svg: text of the SVG, with ids of its own, so that several fit into one page.
        paths: the files.
    """

    svg: str
    paths: list[Path]


def save(figure: Figure, folder: Path, name: str) -> Picture:
    """Write ``NAME.svg``, ``NAME.pdf`` and ``NAME.png``; the same figure gives the same files.

    Its texts are shown as they are: a dollar in a user's label begins no formula.
    """
    svg_path, pdf_path, png_path = (folder / f"{name}{suffix}" for suffix in (".svg", ".pdf", ".png"))
    text = io.StringIO()
    for shown in figure.findobj(Text):
        shown.set_parse_math(False)
    drawing: dict[Any, Any] = {
        "text.parse_math": False,  # of texts that are made while drawing
        "axes.unicode_minus": True,
        "svg.hashsalt": name,
        "svg.fonttype": "path",
        "pdf.fonttype": 42,  # publishers refuse type 3
    }
    with matplotlib.rc_context(drawing):
        FigureCanvasSVG(figure).print_svg(text, metadata={"Date": None, "Creator": None})
        FigureCanvasPdf(figure).print_pdf(pdf_path, metadata=dict.fromkeys(("CreationDate", "Creator", "Producer")))
        FigureCanvasAgg(figure).print_png(png_path)
    write_atomically(svg_path, text.getvalue())
    return Picture(_for_a_page(text.getvalue(), name), [svg_path, pdf_path, png_path])


def _for_a_page(svg: str, name: str) -> str:
    """Without prolog and metadata, and with every id prefixed by the figure's name."""
    prefix = re.sub(r"\W+", "-", name)
    body = re.sub("<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    body = re.sub(r"\bid=\"", f'id="{prefix}-', body)
    body = re.sub(r"href=\"#", f'href="#{prefix}-', body)
    return body.replace("url(#", f"url(#{prefix}-").replace("<svg ", '<svg role="img" ', 1)


def new_figure(width: float = 8.0, height: float = 4.2) -> Figure:
    """In inches; its parts make room for each other."""
    return Figure(figsize=(width, height), dpi=DPI, layout="constrained")


def tidy(axes: Axes) -> None:
    """A faint grid, and no box."""
    axes.grid(alpha=0.25)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def engineering(axis: Any, unit: str = "") -> None:
    """Ticks as ``20 k`` instead of ``20000``."""
    axis.set_major_formatter(EngFormatter(unit=unit))


def line(axes: Axes, x: Any, y: Any, band: tuple[Any, Any] | None, style: Style, label: str) -> None:
    """A line with its interval."""
    axes.plot(x, y, color=style.colour, ls=style.line, lw=2, label=label)
    if band is not None:
        axes.fill_between(x, *band, color=style.colour, alpha=0.18, lw=0)


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
        levels: horizontal lines by name; the legend has them after the methods.
        markers: x positions of vertical lines.
    """
    figure = new_figure(8, 4.8)
    axes = figure.subplots()
    for (name, runs), style in zip(curves.items(), styles(list(curves)).values(), strict=True):
        mean = runs.mean(axis=0)
        half = 1.96 * runs.std(axis=0, ddof=1) / np.sqrt(len(runs)) if len(runs) > 1 else np.zeros_like(mean)
        line(axes, np.arange(len(mean)), mean, (mean - half, mean + half), style, name)
    for name, level in (levels or {}).items():
        axes.axhline(level, color=GREY, lw=1, ls="--", label=name)
    for marker in markers:
        axes.axvline(marker, color="#bbbbbb", lw=1, ls=":")
    axes.set(title=title, xlabel=x_label, ylabel=y_label)
    axes.margins(x=0.01)
    tidy(axes)
    axes.legend(frameon=False)
    FigureCanvasAgg(figure).print_png(str(path))
