"""How long it takes: to convergence, on two real processes, and as tasks, dimensions and nodes grow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import product
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from lifelong_gym.agents import ScalablePGELLA
from lifelong_gym.benchmark.results import short
from lifelong_gym.measures.intervals import mean_interval, ratio_interval
from lifelong_gym.measures.statistics import Interval
from lifelong_gym.papers import sweeps
from lifelong_gym.papers.numbers import Numbers, flat_times
from lifelong_gym.papers.plotting import finish
from lifelong_gym.papers.specs import FigureSpec, TableSpec
from lifelong_gym.papers.sweeps import Progress, Values
from lifelong_gym.papers.writing import DASH, Rows, shown
from lifelong_gym.reports.plots import COLOURS, new_figure

from .nodes import CODE, a_sweep, together, with_arguments

TO_LEVEL = "sweeps to 90%"
TIMED = 6  # sweeps of nodes, at most
MEASURED = ("seconds", "busiest", "bytes")
NODES = "ePG-ELLA, ADMM"
GROWING: Mapping[str, tuple[str, str, str, tuple[int, ...]]] = {  # by study: its system, label, value, and sizes
    "tasks": ("SM", "tasks", "n_tasks", (10, 100, 1000, 10_000)),
    "dimensions": ("QR", "d p", "n_basis", (1, 2, 4, 8, 16)),
    "nodes": ("SM", "nodes", "n_nodes", (2, 5, 10, 20, 50)),
}


class Stopwatch(sweeps.Watcher):
    """``seconds`` a sweep takes: of one processor where all is in one place, else along the nodes' critical path.

    Also ``busiest`` and ``bytes``, see `a_sweep`; medians, all three.
    """

    def figures(self) -> Values:
        """See the class."""
        settings = self.run.settings
        if isinstance(self.run.learner, ScalablePGELLA):
            found = a_sweep(together({**settings, "sweeps": min(settings["sweeps"], TIMED)}, settings["n_nodes"])[1])
            times = found["critical"], found["busiest"], found["bytes"]
        else:
            times = *2 * (float(np.median(self.run.seconds[1:])),), 0.0
        return dict(zip(MEASURED, short(times), strict=True))


def exact(run: sweeps.SweepRun) -> Any:
    """The method's learner; where nodes share the work, by all-reduce, whose solution ADMM nears."""
    is_shared = run.settings["learner"]["class"] == "ScalablePGELLA"
    settings = with_arguments(run.settings, **({"consensus": "all_reduce"} if is_shared else {}))
    return sweeps.make_learner(run.code, settings, sweeps.environment(settings, run.tasks))


def growth(settings: Values, progress: Progress) -> dict[str, Any]:
    """A `Stopwatch` at each size of what grows in this study: ``at``, and there what is measured."""
    *_, value, sizes = GROWING[settings["study"]]
    sizes, found = sizes[: max(2, settings["n_problems"])], []
    for size in sizes:
        arguments = {value: size} if value in settings["learner"]["arguments"] else {}
        run = sweeps.SweepRun(CODE, with_arguments({**settings, value: size}, **arguments))
        if not isinstance(run.learner, ScalablePGELLA):
            sweeps.sweep(run)
        at = size * run.theta.shape[1] if value == "n_basis" else size
        found.append({"at": at, **Stopwatch(run).figures()})
        progress(len(found) / len(sizes))
    return {name: [each[name] for each in found] for name in ("at", *MEASURED)}


def processes(settings: Values, progress: Progress) -> dict[str, float]:
    """Two nodes in two real processes: seconds a sweep by the clock on the ``wall`` and by the ``model``.

    ``one``: what one process takes, on the wall. ``difference`` of policies from those that the learner finds, relative
    to the largest parameter.
    """
    thetas, ticks = together(settings, 2, in_processes=True)
    progress(0.5)
    found, alone, run = a_sweep(ticks), a_sweep(together(settings, 1)[1]), sweeps.SweepRun(CODE, settings)
    sweeps.sweep(run)
    difference = np.abs(thetas - run.theta).max() / np.abs(run.theta).max()
    figures = {"wall": found["wall"], "model": found["critical"], "one": alone["wall"], "difference": difference}
    return {name: short(value, 3) for name, value in figures.items()}


def exponents(figures: Values) -> dict[str, float | None]:
    """Of what is measured, over the last three sizes: size^x."""
    at = np.log(figures["at"][-3:])
    last = {name: np.array(figures[name][-3:]) for name in MEASURED}
    return {name: round(float(np.polyfit(at, np.log(v), 1)[0]), 4) if v.all() else None for name, v in last.items()}


def exponent(figures: Values) -> float | None:
    """That of seconds."""
    return exponents(figures)["seconds"]


def _seconds(numbers: Numbers, study: str, system: str, method: str) -> Any:
    """To 90% of the best gain (infinite: never), and how long was waited for that, by seed: (2, n_seeds)."""
    to = flat_times(numbers.by_seed(study, system, method, TO_LEVEL))
    waited = [numbers.values(study, system, method)["sweeps"]] * len(to)
    return np.array([to, waited]) * numbers.by_seed(study, system, method, "seconds")


def sooner(
    numbers: Numbers, study: str, systems: Sequence[str], rivals: Sequence[str] = ("PG-ELLA", "GO-MTL")
) -> Mapping[str, Interval]:
    """Time of ePG-ELLA to convergence over the rivals'; who never comes counts as if at the end.

    Where neither comes in some seed, nothing is known.
    """
    found = {}
    for system, rival in product(systems, rivals):
        own, other = (_seconds(numbers, study, system, method) for method in (NODES, rival))
        is_known = np.isfinite(np.minimum(own[0], other[0])).all()
        ratio = ratio_interval(own.min(axis=0), other.min(axis=0)) if is_known else Interval(1.0, 0.0, np.inf)
        found[f"{system}: over {rival}"] = ratio
    return found


sooner_alike = partial(sooner, rivals=("GO-MTL (RWR)",))


def times(numbers: Numbers, spec: TableSpec) -> Rows:
    """Seconds to convergence, and milliseconds a sweep with those of the busiest node, a row a method."""
    rows = [[method] for method in spec.methods]
    for row, system in product(rows, spec.systems):
        seconds = float(np.median(_seconds(numbers, spec.study, system, row[0])[0]))
        path, busiest = (1e3 * np.mean(numbers.by_seed(spec.study, system, row[0], of)) for of in MEASURED[:2])
        row += [shown(Interval(seconds, seconds, seconds)), f"{path:.3g} ({busiest:.3g})"]
    return ["", *(text for s in spec.systems for text in (f"{s}: seconds", "ms a sweep (busiest)"))], rows


def growths(numbers: Numbers, spec: TableSpec) -> Rows:
    """Exponents of seconds and bytes, a row a method."""
    columns = list(product((spec.study, *spec.also), ("seconds", "bytes")))
    rows = [[method] for method in spec.methods]
    for row, (study, of) in product(rows, columns):
        values = [each[of] for each in numbers.by_seed(study, GROWING[study][0], row[0], "timing:exponents")]
        row.append(DASH if None in values else shown(mean_interval(values)))
    return ["", *(f"{of}, by {GROWING[study][1]}" for study, of in columns)], rows


def grown(numbers: Numbers, spec: FigureSpec) -> Figure:
    """Seconds above and bytes below, a column a study; dashed: the busiest node's processor time."""
    studies = [spec.study, *spec.also]
    figure = new_figure(4.0 * len(studies), 6.5)
    panels = figure.subplots(2, len(studies), squeeze=False)
    for (above, below), study in zip(panels.T, studies, strict=True):
        system, label, *_ = GROWING[study]
        for method, colour in zip(spec.methods, COLOURS, strict=False):
            lines = {of: np.mean(numbers.by_seed(study, system, method, of), axis=0) for of in spec.of}
            above.loglog(lines["at"], lines["seconds"], "o-", color=colour, ms=3, label=method)
            if lines["bytes"].all():
                above.loglog(lines["at"], lines["busiest"], "--", color=colour, lw=1)
                below.loglog(lines["at"], lines["bytes"], "o-", color=colour, ms=3)
        below.set_xlabel(label)
        for axes in (above, below):
            axes.set_xticks(lines["at"], [f"{size:g}" for size in lines["at"]], minor=False)
            axes.xaxis.minorticks_off()
    panels[1, 0].set_ylabel("bytes a sweep")
    return finish(figure, list(panels.flat), "seconds a sweep")
