"""The figure that portfolios are known by: wealth, what was lost from its peaks, and shares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, PercentFormatter, ScalarFormatter

from lifelong_gym.measures.portfolios import drawdowns, wealth
from lifelong_gym.reports.plots import COLOURS, Style, line, new_figure, styles, tidy

SHARES = 0.75  # opacity of the stacked areas
BESIDE: dict[str, Any] = {"fontsize": 8, "loc": "center left", "bbox_to_anchor": (1.0, 0.5), "frameon": False}


def wealth_figure(
    returns: Mapping[str, npt.ArrayLike],
    days: npt.ArrayLike | None = None,
    shares: npt.ArrayLike | None = None,
    names: Sequence[str] = (),
    grey: Sequence[str] = (),
) -> Figure:
    """Wealth on a logarithmic scale, drawdowns below it, and stacked shares of one of them below these.

    Args:
        returns: of each portfolio by name, costs paid, each of shape (n_days,).
        days: when, shape (n_days,), anything that matplotlib can draw; None: counted from 1.
        shares: those of the first portfolio, shape (n_days, m); None: no third panel.
        names: of the m instruments.
        grey: portfolios that the others are compared with.

    Raises:
        ValueError: portfolios or days of unlike lengths, or shares of another shape.
    """
    counted = {name: np.asarray(its, np.float64) for name, its in returns.items()}
    lengths = {name: len(its) for name, its in counted.items()}
    n_days = next(iter(lengths.values()), 0)
    when = np.arange(1, n_days + 1) if days is None else np.asarray(days)
    if not n_days or {*lengths.values(), len(when)} != {n_days}:
        raise ValueError(f"`returns` and `days` must be of the same days. Received {lengths} and {len(when)} days")
    stack = None if shares is None else np.asarray(shares, np.float64)
    if stack is not None and stack.shape != (n_days, len(names)):
        raise ValueError(f"`shares` must have shape ({n_days}, {len(names)}), a name each. Received {stack.shape}")
    n_panels = 2 if stack is None else 3
    figure = new_figure(8.0, 3.8 + 1.3 * (n_panels - 1))
    top, below, *last = figure.subplots(n_panels, 1, sharex=True, height_ratios=[3.0, 1.2, 1.5][:n_panels])
    style = styles(list(counted), grey)
    _draw_wealth(top, when, counted, style)
    for name, its in counted.items():
        line(below, when, -drawdowns(its)[1:], None, style[name], name)
    _as_share(below, "drawdown")
    if stack is not None:
        _draw_shares(last[0], when, stack, names, next(iter(counted)))
    if days is None:
        figure.axes[-1].set_xlabel("days")
    return figure


def _draw_wealth(axes: Axes, when: Any, returns: Mapping[str, Any], style: Mapping[str, Style]) -> None:
    axes.axhline(1.0, color="#bbbbbb", lw=1)
    for name, its in returns.items():
        line(axes, when, wealth(its)[1:], None, style[name], name)
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
    axes.yaxis.set_major_formatter(ScalarFormatter())
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_ylabel("wealth, costs paid")
    axes.legend(**BESIDE)
    tidy(axes)


def _draw_shares(axes: Axes, when: Any, shares: Any, names: Sequence[str], whose: str) -> None:
    hues = [COLOURS[i % len(COLOURS)] for i in range(len(names))]
    axes.stackplot(when, shares.T, labels=names, colors=hues, alpha=SHARES, lw=0.3, edgecolor="white")
    axes.set_ylim(0.0, 1.0)
    _as_share(axes, f"shares: {whose}")
    axes.legend(**BESIDE, reverse=True)


def _as_share(axes: Axes, label: str) -> None:
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_ylabel(label)
    tidy(axes)
