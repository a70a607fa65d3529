"""How the methods look in every figure, and curves of costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from lifelong_gym.papers.bouammar2015 import methods
from lifelong_gym.reports.plots import COLOURS, Style, line, tidy

ROOM = 0.5  # beyond start and optimum, as a share of what lies between: what goes farther is cut off
MARGIN = 0.05
OPTIMAL = "the tasks' own LQR"

BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY = COLOURS
BLACK, GREY, DARK, PALE = "#000000", "#8a8a8a", "#444444", "#bbbbbb"
STYLES = {
    methods.PG: Style(GREY, "--"),
    methods.COLD: Style(BLUE, "--"),
    methods.WARM: Style(SKY, "-"),
    methods.PPG: Style(BLUE, "-"),
    methods.LITERAL: Style(GREEN, "-"),
    methods.LINEAR: Style(PURPLE, "-."),
    methods.ONE: Style(BLACK, ":"),
    methods.TEN: Style(VERMILION, "-"),
    methods.HUNDRED: Style(ORANGE, "-"),
}
LEAVING = {methods.PG: Style(GREY, ":"), methods.WARM: Style(DARK, ":")}  # among those that keep to the sets
USUAL = 2.0
WIDTHS = {methods.WARM: 7.0, methods.HUNDRED: 4.5, methods.ONE: 1.3}  # seen where they coincide: the wider, the lower


def width_of(label: str) -> float:
    """Of a method's line, in points."""
    return WIDTHS.get(label, USUAL)


def order_of(width: float) -> float:
    """At which height a line of some width lies: thin ones above."""
    return 2.0 + 1.0 / width


def draw_costs(axes: Axes, study: Mapping[str, Any], title: str, leaving: bool = False) -> None:
    """The median task's cost over that of its own regulator, against rounds.

    Args:
        axes: where.
        study: figures of the methods, by label.
        title: of the panel.
        leaving: whether methods that don't know the safe sets are grey.
    """
    unlike = LEAVING if leaving else {}
    for label, of in study.items():
        curve, width = of["curve"], USUAL if label in unlike else width_of(label)
        line(axes, of["rounds"], curve["mean"], (curve["low"], curve["high"]), (STYLES | unlike)[label], label)
        axes.lines[-1].set(linewidth=width, zorder=order_of(width))
        axes.collections[-1].set_alpha(0.12)
    axes.axhline(1.0, color=BLACK, lw=1, ls="--", label=OPTIMAL)
    axes.set_ylim(*_limits([of["curve"] for of in study.values()]))
    axes.locator_params("y", nbins=6)
    axes.set(title=title, xlabel="rounds")
    axes.margins(x=0.01)
    tidy(axes)


def _limits(curves: Sequence[Mapping[str, Sequence[float]]]) -> tuple[float, float]:
    start = max(curve["mean"][0] for curve in curves)
    span = abs(start - 1.0)
    top = min(max(max(curve["high"]) for curve in curves), start + ROOM * span)
    bottom = max(min(min(curve["low"]) for curve in curves), 1.0 - ROOM * span)
    return min(bottom, 1.0) - MARGIN * span, top + MARGIN * span
