"""How long it takes: to convergence, on two real processes, and as tasks, dimensions and nodes grow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from lifelong_gym.agents import ScalablePGELLA
from lifelong_gym.benchmark.results import rounded
from lifelong_gym.measures.intervals import mean_interval, ratio_interval
from lifelong_gym.measures.statistics import Interval
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.papers import sweeps
from lifelong_gym.papers.code import Code
from lifelong_gym.papers.numbers import Numbers, flat_times
from lifelong_gym.papers.plotting import finish
from lifelong_gym.papers.specs import FigureSpec, TableSpec
from lifelong_gym.papers.sweeps import Progress
from lifelong_gym.papers.tabulating import DASH, shown
from lifelong_gym.reports.plots import COLOURS, new_figure

from .nodes import a_sweep, together

Settings = Mapping[str, Any]
TO_LEVEL = "sweeps to 90%"
TIMED = 6  # sweeps of nodes, at most
MEASURED = ("seconds", "busiest", "bytes")
NODES = "ePG-ELLA, ADMM"


class Growth(NamedTuple):
    """What grows in a study of that name."""

    label: str
    value: str  # of the settings
    sizes: tuple[int, ...]  # as many as ``n_problems`` says


GROWING = {
    "tasks": Growth("tasks", "n_tasks", (10, 100, 1000, 10_000)),
    "dimensions": Growth("d p", "n_basis", (1, 2, 4, 8, 16)),
    "nodes": Growth("nodes", "n_nodes", (2, 5, 10, 20, 50)),
}


class Stopwatch(sweeps.Watcher):
    """``seconds`` a sweep takes: of one processor where all is in one place, else along the nodes' critical path.

    Also ``busiest`` and ``bytes``, see `a_sweep`; medians, all three.
    """

    def after(self, done: int) -> None:
        """It is taken at the end."""

    def figures(self) -> Mapping[str, Any]:
        """See the class."""
        settings = self.run.settings
        if isinstance(self.run.learner, ScalablePGELLA):
            found = a_sweep(together({**settings, "sweeps": min(settings["sweeps"], TIMED)}, settings["n_nodes"])[1])
            times = found["critical"], found["busiest"], found["bytes"]
        else:
            times = *2 * (float(np.median(self.run.seconds[1:])),), 0.0
        return dict(zip(MEASURED, rounded(np.array(times), 4).tolist(), strict=True))


def exact(run: sweeps.SweepRun) -> Any:
    """The method's learner; where nodes share the work, by all-reduce, whose solution ADMM nears."""
    own = run.settings["learner"]
    arguments = own["arguments"] | ({"consensus": "all_reduce"} if own["class"] == "ScalablePGELLA" else {})
    settings = {**run.settings, "learner": {**own, "arguments": arguments}}
    return sweeps.make_learner(run.code, settings, sweeps.environment(settings, run.tasks))


def _made(settings: Settings) -> sweeps.SweepRun:
    return sweeps.SweepRun(Code(str(Path(__file__).parent)), settings)


def growth(settings: Settings, progress: Progress) -> dict[str, Any]:
    """A `Stopwatch` at each size of what grows in this study: ``at``, and there what is measured."""
    _, value, sizes = GROWING[settings["study"]]
    sizes, own, found = sizes[: max(2, settings["n_problems"])], settings["learner"], []
    for size in sizes:
        arguments = own["arguments"] | ({value: size} if value in own["arguments"] else {})
        run = _made({**settings, value: size, "learner": {**own, "arguments": arguments}})
        if not isinstance(run.learner, ScalablePGELLA):
            sweeps.sweep(run, [], lambda share: None)
        at = size * run.theta.shape[1] if value == "n_basis" else size
        found.append({"at": at, **Stopwatch(run).figures()})
        progress(len(found) / len(sizes))
    return {name: [each[name] for each in found] for name in ("at", *MEASURED)}


def processes(settings: Settings, progress: Progress) -> dict[str, float]:
    """Two nodes in two real processes: seconds a sweep by the clock on the ``wall`` and by the ``model``.

    ``one``: what one process takes, on the wall. ``difference`` of policies from those that the learner finds, relative
    to the largest parameter.
    """
    thetas, ticks = together(settings, 2, in_processes=True)
    progress(0.5)
    found, alone, run = a_sweep(ticks), a_sweep(together(settings, 1)[1]), _made(settings)
    sweeps.sweep(run, [], lambda share: None)
    wanted = run.theta
    difference = float(np.abs(thetas - wanted).max() / np.abs(wanted).max())
    figures = {"wall": found["wall"], "model": found["critical"], "one": alone["wall"], "difference": difference}
    return {name: float(f"{value:.3g}") for name, value in figures.items()}


def exponents(figures: Settings) -> dict[str, float | None]:
    """Of what is measured, over the last three sizes: size^x."""
    at = np.log(figures["at"][-3:])
    last = {name: np.array(figures[name][-3:]) for name in MEASURED}
    return {name: round(float(np.polyfit(at, np.log(v), 1)[0]), 4) if v.all() else None for name, v in last.items()}


def exponent(figures: Settings) -> float:
    """That of seconds."""
    found = exponents(figures)["seconds"]
    assert found is not None
    return found


def _seconds(numbers: Numbers, study: str, system: str, method: str) -> tuple[list[float], FloatArray]:
    """To 90% of the best gain (infinite: never), by seed, and how long was waited for that."""
    each = np.array(numbers.by_seed(study, system, method, "seconds"))
    sweeps_to = np.array(flat_times(numbers.by_seed(study, system, method, TO_LEVEL)))
    return (sweeps_to * each).tolist(), numbers.values(study, system, method)["sweeps"] * each


def sooner(
    numbers: Numbers, study: str, systems: tuple[str, ...], rivals: Sequence[str] = ("PG-ELLA", "GO-MTL")
) -> Mapping[str, Interval]:
    """Time of ePG-ELLA to convergence over the rivals'; who never comes counts as if at the end.

    Where neither comes in some seed, nothing is known.
    """
    found = {}
    for system in systems:
        for rival in rivals:
            (own, waited), (other, longer) = (_seconds(numbers, study, system, m) for m in (NODES, rival))
            if np.isinf(np.minimum(own, other)).any():
                found[f"{system}: over {rival}"] = Interval(1.0, 0.0, np.inf)
            else:
                found[f"{system}: over {rival}"] = ratio_interval(np.minimum(own, waited), np.minimum(other, longer))
    return found


def sooner_alike(numbers: Numbers, study: str, systems: tuple[str, ...]) -> Mapping[str, Interval]:
    """The same over one place with the same operating points."""
    return sooner(numbers, study, systems, ("GO-MTL (RWR)",))


def times(numbers: Numbers, spec: TableSpec) -> tuple[list[str], list[list[str]]]:
    """Seconds to convergence, and milliseconds a sweep with those of the busiest node, a row a method."""
    rows = []
    for method in spec.methods:
        row = [method]
        for system in spec.systems:
            seconds = float(np.median(_seconds(numbers, spec.study, system, method)[0]))
            path, busiest = (
                1e3 * np.mean(numbers.by_seed(spec.study, system, method, of)) for of in ("seconds", "busiest")
            )
            row += [shown(Interval(seconds, seconds, seconds)), f"{path:.3g} ({busiest:.3g})"]
        rows.append(row)
    return ["", *(text for s in spec.systems for text in (f"{s}: seconds", "ms a sweep (busiest)"))], rows


def _system(numbers: Numbers, study: str) -> str:
    (system,) = numbers.content["quantities"][study]
    return str(system)


def growths(numbers: Numbers, spec: TableSpec) -> tuple[list[str], list[list[str]]]:
    """Exponents of seconds and bytes, a row a method."""
    studies = [spec.study, *spec.also]
    rows = []
    for method in spec.methods:
        row = [method]
        for study in studies:
            found = numbers.by_seed(study, _system(numbers, study), method, "timing:exponents")
            for of in ("seconds", "bytes"):
                values = [each[of] for each in found]
                row.append(DASH if None in values else shown(mean_interval(values)))
        rows.append(row)
    return ["", *(f"{of}, by {GROWING[study].label}" for study in studies for of in ("seconds", "bytes"))], rows


def grown(numbers: Numbers, spec: FigureSpec) -> Figure:
    """Seconds above and bytes below, a column a study; dashed: the busiest node's processor time."""
    studies = [spec.study, *spec.also]
    figure = new_figure(4.0 * len(studies), 6.5)
    panels = figure.subplots(2, len(studies), squeeze=False)
    for (above, below), study in zip(panels.T, studies, strict=True):
        for method, colour in zip(spec.methods, COLOURS, strict=False):
            lines = {of: np.mean(numbers.by_seed(study, _system(numbers, study), method, of), axis=0) for of in spec.of}
            above.loglog(lines["at"], lines["seconds"], "o-", color=colour, ms=3, label=method)
            if lines["bytes"].all():
                above.loglog(lines["at"], lines["busiest"], "--", color=colour, lw=1)
                below.loglog(lines["at"], lines["bytes"], "o-", color=colour, ms=3)
        below.set_xlabel(GROWING[study].label)
        for axes in (above, below):
            axes.set_xticks(lines["at"], [f"{size:g}" for size in lines["at"]], minor=False)
            axes.xaxis.minorticks_off()
    panels[1, 0].set_ylabel("bytes a sweep")
    return finish(figure, list(panels.flat), "seconds a sweep")
