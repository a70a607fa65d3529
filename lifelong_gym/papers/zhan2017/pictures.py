"""Figures like the paper's, and those of what it lacks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from lifelong_gym.papers.compare import mean_of, median_of
from lifelong_gym.papers.drawing import add_legend, draw_bars, write_all
from lifelong_gym.papers.paper import Summary
from lifelong_gym.papers.zhan2017 import methods, plan
from lifelong_gym.papers.zhan2017.drawing import DOMAIN_COLOURS, STYLES, VERMILION, draw_curves
from lifelong_gym.papers.zhan2017.readings import best_row, case, cost, novel_cost, row_of
from lifelong_gym.reports.plots import line, new_figure, tidy


def draw_all(summary: Summary, folder: Path) -> list[str]:
    """Write every figure as a small PNG; returns their names."""
    drawings: dict[str, Callable[[Summary], Figure]] = {
        "learning": learning,
        "few": few,
        "consensus": consensus,
        "bars": bars,
        "novel": novel,
        "draws": draws,
        "channel": channel,
        "hetero": hetero,
        "hidden": hidden,
    }
    return write_all(drawings, summary, folder)


def learning(summary: Summary) -> Figure:
    """The paper's Fig. 1."""
    figure = new_figure(11, 6.8)
    grid = figure.subplots(2, 3).flat
    for axes, (key, domain) in zip(grid, plan.DOMAINS.items(), strict=False):
        draw_curves(axes, summary["learning"][f"main-{key}"], methods.MAIN, f"{key}: {domain.name}")
    add_legend(figure, grid[0])
    for key in ("SM", "HC", "CP"):
        row, colour = row_of(summary, case(key), plan.RAW, 1.0), DOMAIN_COLOURS[key]
        grid[5].loglog(row["at"], row["agreement"], color=colour, ls="--", label=f"{key}, agreement")
        grid[5].loglog(row["at"], row["distance"], color=colour, label=f"{key}, distance")
    grid[5].set(title="nodes, the paper's P = I, ρ = 1", xlabel="iterations", ylabel="relative error", ylim=(1e-9, 10))
    grid[5].legend(frameon=False, fontsize=8)
    tidy(grid[5])
    return figure


def few(summary: Summary) -> Figure:
    """Ten trajectories."""
    figure = new_figure(10, 4.4)
    left, right = figure.subplots(1, 2)
    draw_curves(
        left, summary["learning"]["few-HC"], (*methods.FEW_LABELS, methods.MEAN), "HC, 10 trajectories a task and sweep"
    )
    draw_curves(right, summary["learning"]["few-DM"], methods.FEW_LABELS, "DM, 10 trajectories a task and sweep")
    add_legend(figure, left, 5)
    return figure


def consensus(summary: Summary) -> Figure:
    """Errors by domain, as the paper has it and whitened; and how fast by graph."""
    figure = new_figure(11, 3.8)
    left, middle, right = figure.subplots(1, 3)
    for axes, metric, penalty, title in (
        (left, plan.RAW, 1.0, "P = I, ρ = 1"),
        (middle, plan.WHITENED, plan.PENALTY, f"whitened, ρ = {plan.PENALTY}"),
    ):
        for key, colour in DOMAIN_COLOURS.items():
            row = row_of(summary, case(key), metric, penalty)
            axes.loglog(row["at"], row["distance"], color=colour, label=key)
            axes.loglog(row["at"], row["agreement"], color=colour, ls="--", lw=1)
        axes.set(title=title, xlabel="iterations", ylim=(1e-9, 10))
        tidy(axes)
    left.set_ylabel("distance to the solution\n(dashed: agreement error)")
    left.legend(frameon=False, fontsize=8)
    counts = [median_of(best_row(summary, f"HC theta {g}", plan.WHITENED)["to_fine"]) for g in plan.GRAPHS]
    draw_bars(right, plan.GRAPHS, [[c.estimate, c.low, c.high] for c in counts], VERMILION)
    right.set(title="by graph, best ρ (HC)", ylabel="iterations to 1e-8")
    return figure


def bars(summary: Summary) -> Figure:
    """The paper's Fig. 2a-c: gains after one sweep and at the end over eNAC, and processor time a sweep."""
    figure = new_figure(11, 4)
    labels = (methods.ENAC, methods.PGELLA, methods.GOMTL, methods.EPG, methods.RWR, methods.SHARED)
    pictures: tuple[tuple[str, Callable[[str, str], Sequence[float]]], ...] = (
        ("cost after the first sweep /\ncost of the start", lambda s, x: _relative(summary, s, x, "first")),
        ("asymptotic cost /\ncost of the start", lambda s, x: _relative(summary, s, x, "final")),
        ("processor seconds a sweep", lambda s, x: list(summary["learning"][s][x]["seconds_per_sweep"])),
    )
    for axes, (title, values) in zip(figure.subplots(1, 3), pictures, strict=True):
        for i, label in enumerate(labels):
            intervals = np.array([mean_of(values(f"main-{key}", label)) for key in plan.DOMAINS])
            places = np.arange(len(plan.DOMAINS)) + (i - (len(labels) - 1) / 2) * 0.13
            error = np.nan_to_num(np.abs(intervals[:, 1:] - intervals[:, :1]).T, posinf=0.0)
            axes.bar(places, intervals[:, 0], 0.12, yerr=error, color=STYLES[label].colour, label=label, capsize=1)
        axes.set_xticks(range(len(plan.DOMAINS)), list(plan.DOMAINS))
        axes.set_title(title, fontsize=10)
        tidy(axes)
    add_legend(figure, axes, 6)
    return figure


def _relative(summary: Summary, study: str, label: str, key: str) -> list[float]:
    costs, starts = cost(summary, study, label, key), cost(summary, study, label, "start")
    return [c / s for c, s in zip(costs, starts, strict=True)]


def novel(summary: Summary) -> Figure:
    """The paper's Fig. 2d, as costs on a logarithmic scale."""
    figure = new_figure(7, 4)
    axes = figure.subplots()
    for label, of in summary["novel"]["novel-HC"].items():
        n = len(of["curve"]["mean"])
        intervals = np.array([mean_of(novel_cost(summary, label, k)) for k in range(n)])
        band = tuple(np.clip(np.nan_to_num(x, posinf=1e9), 1e-3, 1e9) for x in intervals.T[1:])
        line(axes, np.arange(n), intervals[:, 0], band, STYLES[label], label)
    axes.set(yscale="log", xlabel="sweeps on the novel task", ylabel="cost per step", title="HC: a task after 49")
    tidy(axes)
    axes.legend(frameon=False)
    return figure


def draws(summary: Summary) -> Figure:
    """Table 1's helicopters, and the weights as printed."""
    figure = new_figure(11, 4)
    grid = figure.subplots(1, 4)
    study = summary["learning"]["paper-HC"]
    draw_curves(grid[0], study, list(study), "HC as in Table 1")
    low = [min(study[label]["curve"]["mean"]) for label in study]
    grid[0].set_ylim(min(low), None)
    grid[0].legend(frameon=False, fontsize=7)
    for axes, key in zip(grid[1:], ("SM", "DM", "HC"), strict=True):
        printed = summary["learning"][f"printed-{key}"]
        draw_curves(axes, printed, (methods.RWR, methods.PRINTED), f"{key}: weights")
        axes.set_ylim(min(printed[methods.PRINTED]["curve"]["mean"]), None)
    grid[1].legend(frameon=False, fontsize=8)
    return figure


def channel(summary: Summary) -> Figure:
    """Reward against what was sent, and under loss."""
    figure = new_figure(10, 4)
    left, right = figure.subplots(1, 2)
    study = summary["learning"]["channel-HC"]
    for label in (methods.EPG, methods.K10, methods.K3, methods.REDUCE):
        curve, sent = study[label]["curve"], np.array(study[label]["bytes"])
        band = (curve["low"][1:], curve["high"][1:])
        line(left, sent / 1e6, curve["mean"][1:], band, STYLES[label], label)
    left.set(xscale="log", xlabel="megabytes sent so far", ylabel="mean reward per step", title="HC, 10 trajectories")
    left.legend(frameon=False, fontsize=8)
    tidy(left)
    draw_curves(
        right, study, (methods.EPG, methods.LOST, methods.REDUCE, methods.REDUCE_LOST), "10% of the messages lost"
    )
    right.legend(frameon=False, fontsize=8)
    return figure


def hetero(summary: Summary) -> Figure:
    """Tasks that really differ, five trajectories."""
    figure = new_figure(11, 6.8)
    grid = figure.subplots(2, 3).flat
    for axes, (key, domain) in zip(grid, plan.DOMAINS.items(), strict=False):
        study = summary["learning"][f"hetero-{key}"]
        draw_curves(axes, study, methods.HETERO_LABELS, f"{key}: {domain.name}")
    handles, labels = grid[0].get_legend_handles_labels()
    grid[5].legend(handles, labels, frameon=False, loc="center")
    grid[5].axis("off")
    return figure


def hidden(summary: Summary) -> Figure:
    """Largest angle between the true basis and the learned one."""
    figure = new_figure(7, 3.6)
    axes = figure.subplots()
    for i, label in enumerate((methods.GOMTL_R, methods.EPG_R)):
        intervals = np.array([mean_of(summary["hidden"][key]["methods"][label]["angle"]) for key in plan.DOMAINS])
        error = np.nan_to_num(np.abs(intervals[:, 1:] - intervals[:, :1]).T, posinf=0.0)
        places = np.arange(len(plan.DOMAINS)) + 0.35 * (i - 0.5)
        axes.bar(places, intervals[:, 0], 0.33, yerr=error, color=STYLES[label].colour, label=label, capsize=2)
    axes.set_xticks(range(len(plan.DOMAINS)), list(plan.DOMAINS))
    axes.set(ylabel="largest subspace angle [°]", ylim=(0, 90))
    axes.legend(frameon=False)
    tidy(axes)
    return figure
