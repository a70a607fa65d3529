"""How the methods look in every figure, and learning curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from lifelong_gym.papers.zhan2017 import methods, plan
from lifelong_gym.reports.plots import COLOURS, Style, line, tidy

ROOM = 0.15  # below the start, as a share of what is gained: what falls lower is cut off

BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY = COLOURS
DOMAIN_COLOURS = dict(zip(plan.DOMAINS, COLOURS, strict=False))
STYLES = {
    methods.EPG: Style(VERMILION, "-"),
    methods.MEAN: Style(ORANGE, "-"),
    methods.GOMTL_RWR: Style(VERMILION, ":"),
    methods.PGELLA: Style(BLUE, "-"),
    methods.GOMTL: Style(GREEN, "-"),
    methods.ENAC: Style(PURPLE, "-"),
    methods.RWR: Style(SKY, "--"),
    methods.REINFORCE: Style(ORANGE, "--"),
    methods.SHARED: Style("#8a8a8a", "-."),
    methods.K3: Style(BLUE, "-"),
    methods.K10: Style(GREEN, "-"),
    methods.REDUCE: Style("#000000", "-"),
    methods.LOST: Style(VERMILION, ":"),
    methods.REDUCE_LOST: Style("#000000", ":"),
    methods.PRINTED: Style("#000000", "-"),
    methods.PGELLA_R: Style(BLUE, "-"),
    methods.GOMTL_R: Style(GREEN, "-"),
    methods.EPG_R: Style(VERMILION, "-"),
    methods.SHARED_R: Style("#8a8a8a", "-."),
}


def draw_curves(axes: Axes, study: Mapping[str, Any], labels: Sequence[str], title: str) -> None:
    """Mean reward per step against sweeps."""
    ends, starts = [], []
    for label in labels:
        curve = study[label]["curve"]
        line(axes, np.arange(len(curve["mean"])), curve["mean"], (curve["low"], curve["high"]), STYLES[label], label)
        ends.append(max(curve["mean"]))
        starts.append(curve["mean"][0])
    top, bottom = max(ends), min(starts)
    gained = max(top - bottom, 1e-9)
    axes.set_ylim(bottom - ROOM * gained, top + 0.05 * gained)
    axes.set(title=title, xlabel="sweeps", ylabel="mean reward per step")
    axes.margins(x=0.01)
    tidy(axes)
