"""Figures like the paper's, and those of what it proves or leaves open."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, ScalarFormatter

from lifelong_gym.measures.statistics import Interval
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.papers.bouammar2015 import methods, plan
from lifelong_gym.papers.bouammar2015.drawing import (
    BLACK,
    GREEN,
    GREY,
    LEAVING,
    PALE,
    PURPLE,
    STYLES,
    VERMILION,
    draw_costs,
    order_of,
    width_of,
)
from lifelong_gym.papers.bouammar2015.game import BASES, NAMES, ORDERS
from lifelong_gym.papers.bouammar2015.readings import cost_ratio, exponent, until, until_studies
from lifelong_gym.papers.drawing import add_legend, write_all
from lifelong_gym.papers.paper import Summary
from lifelong_gym.reports.plots import Style, new_figure, tidy

GAINS = {"SM": ("position", "velocity"), "CP": ("angle", "angular rate")}
ORDER_TITLES = {"iid": "tasks at random", "blocked": "one task after the other", "adaptive": "adversary"}
LOOKS = {
    "A": ("A: all losses, then a Euclidean projection", Style(GREEN, "-"), 4.0),
    "B": ("B: linearised losses", Style(PURPLE, "-"), 2.4),
    "C": ("C: all losses, constrained", Style(VERMILION, "-"), 1.2),
}
WIDEST = (0.1, 10.0)  # the spectral bounds that others are compared with
COUNTS = (0, 1, 2, 5, 10, 20, 50, 100)
DECADES = 1e4  # of regret are shown at most
FAN = 20  # rounds at the end of a line that shows a slope, over those at its beginning
LEGEND = 0.45  # room for a legend over that for curves
LITTLE = 0.02  # differences of costs that aren't magnified


def draw_all(summary: Summary, folder: Path) -> list[str]:
    """Write every figure as a small PNG; returns their names."""
    drawings: dict[str, Callable[[Summary], Figure]] = {
        "costs": costs,
        "constrained": constrained,
        "paths": paths,
        "until": until_safe,
        "regret": regret,
        "spectral": spectral,
    }
    return write_all(drawings, summary, folder)


def costs(summary: Summary) -> Figure:
    """The paper's Fig. 2a, 2b and 3."""
    figure = new_figure(11.5, 4.2)
    grid = figure.subplots(1, 3)
    for axes, (key, of) in zip(grid, plan.SYSTEMS.items(), strict=True):
        draw_costs(axes, summary["learning"][f"free-{key}"], f"{key}: {of.name}")
    grid[0].set_ylabel("median task's cost over its regulator's")
    add_legend(figure, grid[0])
    return figure


def constrained(summary: Summary) -> Figure:
    """Costs where the optimum isn't safe, and how often what was executed wasn't."""
    figure = new_figure(11.5, 6.2)
    top, bottom = figure.subplots(2, 3, height_ratios=(1.6, 1))
    for upper, lower, (key, of) in zip(top, bottom, plan.SYSTEMS.items(), strict=True):
        study = summary["learning"][f"bound-{key}"]
        draw_costs(upper, study, f"{key}: {of.name}", leaving=True)
        _draw_outside(lower, study)
    for lower in bottom[1:]:
        lower.set_yticklabels([])
    top[0].set_ylabel("median task's cost over its regulator's")
    add_legend(figure, top[0])
    return figure


def _draw_outside(axes: Axes, study: Mapping[str, Any]) -> None:
    labels = list(methods.BOUND)[::-1]
    shares = [100 * study[label]["executed_outside"] / study[label]["checked"] for label in labels]
    colours = [(STYLES | LEAVING)[label].colour for label in labels]
    bars = axes.barh(range(len(labels)), shares, color=colours)
    axes.bar_label(bars, [f"{share:.3g}%" if share else "0" for share in shares], padding=3, fontsize=8)
    axes.set_yticks(range(len(labels)), labels, fontsize=8)
    axes.set(xlim=(0, 115), xticks=range(0, 101, 25), xlabel="executed outside the safe sets [%]")
    tidy(axes)


def paths(summary: Summary) -> Figure:
    """The paper's Fig. 2c and 2d."""
    figure = new_figure(10, 5)
    grid = figure.subplots(1, 2)
    for axes, (key, gains) in zip(grid, GAINS.items(), strict=True):
        _draw_paths(axes, summary["paths"][key])
        axes.set(title=f"{key}: {plan.SYSTEMS[key].name}", xlabel=f"gain on {gains[0]}", ylabel=f"gain on {gains[1]}")
        tidy(axes)
    add_legend(figure, grid[0], 5)
    return figure


def _draw_paths(axes: Axes, of: Mapping[str, Any]) -> None:
    common = of[methods.TEN]
    outline, start = np.array(common["outline"]), common["path"][0]
    axes.fill(*outline.T, facecolor="#0000000d", edgecolor=BLACK, lw=2.5, label="safe set")
    for label, found in of.items():
        path, style, width = np.array(found["path"]), STYLES[label], width_of(label)
        axes.plot(*path.T, color=style.colour, ls=style.line, lw=width, zorder=order_of(width), label=label)
        axes.plot(*path[-1], "o", color=style.colour, ms=5 + width, mec="white", zorder=1 + order_of(width))
    axes.plot(*start, "o", color="white", mec=BLACK, ms=8, mew=1.5, zorder=4, label="start")
    axes.plot([], "o", color=PALE, ms=8, label="end")
    axes.plot(*common["best"], "*", color=BLACK, ms=14, zorder=4, label="optimum")


def until_safe(summary: Summary) -> Figure:
    """The paper's Fig. 4."""
    figure = new_figure(13, 4.6)
    grid = figure.subplots(1, 3, sharey=True)
    for axes, (key, of) in zip(grid, plan.SYSTEMS.items(), strict=True):
        for i, label in enumerate(methods.UNTIL):
            for j, name in enumerate(until_studies(key)):
                _draw_until(axes, j + 0.2 * (i - 1.5), summary, name, label)
        names = [f"±{width:.0%}\n{step}" for width in plan.WIDTHS for step in plan.STEPS]
        axes.set_xticks(range(len(names)), [name.replace(" of", "\nof") for name in names], fontsize=8)
        axes.set(title=f"{key}: {of.name}", xlabel="size of the safe sets, and step")
        tidy(axes)
        axes.grid(visible=False, axis="x")
    for label in methods.UNTIL:
        grid[0].bar(0, 0, color=STYLES[label].colour, label=label)
    grid[0].set_yscale("symlog", linthresh=1, linscale=0.4)
    grid[0].yaxis.set_major_locator(FixedLocator(COUNTS))
    grid[0].yaxis.set_major_formatter(ScalarFormatter())
    n_rounds = _n_rounds(summary, until_studies("SM")[0], methods.PG)
    grid[0].set(ylim=(0, 1.2 * n_rounds), ylabel="median observations of a task\nuntil its policy is safe")
    add_legend(figure, grid[0])
    return figure


def _n_rounds(summary: Summary, study: str, label: str) -> int:
    return int(summary["learning"][study][label]["rounds"][-1])


def _draw_until(axes: Axes, place: float, summary: Summary, study: str, label: str) -> None:
    """A bar to the median with its interval; an empty one to the end of the run where that was too short."""
    found, colour, n_rounds = until(summary, study, label), STYLES[label].colour, _n_rounds(summary, study, label)
    if not np.isfinite(found.estimate):
        axes.bar(place, n_rounds, 0.17, facecolor="white", edgecolor=colour, ls="--")
        text = f"not within {n_rounds}"
        axes.text(place, n_rounds**0.4, text, rotation=90, ha="center", va="center", fontsize=8)
        return
    ends = np.clip(found[1:], 0, n_rounds)
    error = np.abs(ends - found.estimate)[:, None]
    axes.bar(place, found.estimate, 0.17, color=colour, yerr=error if error.any() else None, capsize=2)
    if found.estimate == 0:
        at: dict[str, Any] = {"xytext": (0, 2), "textcoords": "offset points", "ha": "center"}
        axes.annotate("0", (place, ends[1]), color=colour, weight="bold", **at)


def regret(summary: Summary) -> Figure:
    """How regret grows with the number of rounds."""
    figure = new_figure(9, 6.6)
    grid = figure.subplots(3, 3, sharex=True, sharey=True)
    for row, order in zip(grid, ORDERS, strict=True):
        for axes, basis in zip(row, BASES, strict=True):
            _draw_regret(axes, [summary["games"][plan.game_name(variant, order, basis)] for variant in LOOKS])
            _write_exponents(axes, [exponent(summary, variant, order, basis) for variant in LOOKS])
            axes.set_title(f"{NAMES[basis]}, {ORDER_TITLES[order]}", fontsize=9)
            tidy(axes)
        row[0].set_ylabel("cumulative regret")
    for axes in grid[-1]:
        axes.set_xlabel("rounds")
    curves = np.concatenate([of["curve"] for of in summary["games"].values()])
    most = max(1.0, curves.max())
    least = max(0.5 * np.min(curves, initial=most, where=curves > 0), most / DECADES)
    grid[0][0].set_ylim(least, most * (most / least) ** LEGEND)
    grid[0][0].minorticks_off()
    add_legend(figure, grid[0][0], 3)
    return figure


def _draw_regret(axes: Axes, games: Sequence[Mapping[str, Any]]) -> None:
    """Curves of the longest games; dots: games of some lengths, to which exponents are fitted; slopes to compare."""
    for (title, style, width), of in zip(LOOKS.values(), games, strict=True):
        look: dict[str, Any] = {"color": style.colour, "zorder": order_of(width)}
        axes.loglog(of["at"], _positive(of["curve"]), ls=style.line, lw=width, label=title, **look)
        axes.loglog(of["rounds"], _positive(np.mean(of["regret"], axis=0)), "o", ms=2.5 + 1.2 * width, **look)
    ends = [of["curve"][-1] for of in games if of["curve"][-1] > 0]
    _draw_slopes(axes, games[0]["at"][-1], min(ends, default=1.0))


def _draw_slopes(axes: Axes, last: float, lowest: float) -> None:
    """A fan below the ends of the curves, whose last round and lowest regret these are."""
    rounds = last * np.array([1 / FAN, 1.0])
    for slope, colour in ((0.5, GREY), (1.0, BLACK)):
        axes.loglog(rounds, lowest / (1.5 * FAN) * (rounds / rounds[0]) ** slope, color=colour, lw=1)
        axes.lines[-1].set_label(f"slope {slope:g}")


def _positive(values: npt.ArrayLike) -> FloatArray:
    array = np.asarray(values, np.float64)
    return np.where(array > 0, array, np.nan)


def _write_exponents(axes: Axes, exponents: Sequence[Interval | None]) -> None:
    """As a legend of the curves."""
    shown = ["not above 0" if x is None else f"{x.estimate:.2f} [{x.low:.2f}, {x.high:.2f}]" for x in exponents]
    handles = [handle for handle, _ in zip(axes.get_lines()[::2], shown, strict=False)]
    labels = [f"{variant}: {text}" for variant, text in zip(LOOKS, shown, strict=True)]
    axes.legend(handles, labels, loc="upper left", fontsize=8, edgecolor="none", labelspacing=0.2)


def spectral(summary: Summary) -> Figure:
    """Final costs by the bounds on the basis."""
    figure = new_figure(12, 3.6)
    grid = figure.subplots(1, 4)
    for axes, (kind, key) in zip(grid, (("free", "SM"), ("free", "CP"), ("bound", "SM"), ("bound", "CP")), strict=True):
        _draw_spectral(axes, summary, f"spectral-{kind}-{key}")
        axes.set_title(f"{key}, {'without' if kind == 'free' else 'with'} safe sets", fontsize=10)
    grid[0].set_ylabel("final cost over\nthat with p = 0.1, q = 10")
    add_legend(figure, grid[0])
    return figure


def _draw_spectral(axes: Axes, summary: Summary, study: str) -> None:
    for i, label in enumerate(plan.SPECTRAL):
        reference = plan.spectral_name(label, WIDEST)
        found = [cost_ratio(summary, study, plan.spectral_name(label, bounds), reference) for bounds in plan.BOUNDS]
        mean, low, high = np.array(found).T
        around = np.nan_to_num(np.maximum([mean - low, high - mean], 0.0), posinf=0.0)
        places = np.arange(len(found)) + 0.2 * (i - 0.5)
        axes.errorbar(places, mean, around, fmt="os"[i], color=STYLES[label].colour, capsize=3, label=label)
    axes.axhline(1.0, color=PALE, lw=1.5, zorder=0)
    least, most = axes.get_ylim()
    axes.set_ylim(min(least, 1 - LITTLE), max(most, 1 + LITTLE))
    axes.set_xticks(range(len(plan.BOUNDS)), [f"{p:g}\n{q:g}" for p, q in plan.BOUNDS], fontsize=8)
    axes.set_xlabel("p above q")
    tidy(axes)
