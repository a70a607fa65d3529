"""What Zhan, Bou Ammar and Taylor (2017) need beyond learning curves."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from scipy.linalg import subspace_angles

from lifelong_gym import agents, registry
from lifelong_gym.agents.linear.base_learners import RewardWeighted
from lifelong_gym.agents.linear.operating_point import ONE_PLACE, Pool
from lifelong_gym.benchmark.results import rounded
from lifelong_gym.measures.intervals import mean_interval
from lifelong_gym.measures.statistics import Interval
from lifelong_gym.numerics.arrays import BoolArray, FloatArray
from lifelong_gym.papers import sweeps
from lifelong_gym.papers.code import Code
from lifelong_gym.papers.numbers import Numbers
from lifelong_gym.papers.specs import FigureSpec, TableSpec
from lifelong_gym.papers.tabulating import shown
from lifelong_gym.references.linear import best_policies
from lifelong_gym.reports.plots import COLOURS, new_figure, tidy
from lifelong_gym.tasks.task_set import TaskSet

from .consensus import best_row, typical

Settings = Mapping[str, Any]
Progress = Callable[[float], None]
ITERATIONS = 30  # a sweep, of the learner here; the paper prints none
TAIL = 10  # iterations before which an error's rate isn't looked at


def printed_weights(rewards: FloatArray, alive: BoolArray, pool: Pool = ONE_PLACE) -> FloatArray:
    """Each trajectory's mean reward R over all of them, with mean 1: where R < 0, the worst weigh most.

    The printed H = sum R F is negative definite then, and so is H / sum R positive definite; the solution of the
    linear system is the same. Rewards and whether they count: (n_tasks, n_trajectories, horizon).
    """
    returns = rewards.sum(axis=2)
    weights: FloatArray = (returns / (pool.total(returns) / returns.shape[1]))[..., None] * alive
    return weights


class _Printed(RewardWeighted):
    """Reward-weighted regression, weighted by the reward itself."""

    def credit(self, pool: Pool) -> Callable[[FloatArray, BoolArray], FloatArray]:
        """The printed weights."""
        return lambda rewards, alive: printed_weights(rewards, alive, pool)


class PrintedRWR(agents.PolicySearch):
    """`RWR` with the printed weights, and the same cap on its steps. With negative rewards it gets worse."""

    def __init__(self, policy: Any, env: Any, **more: Any) -> None:
        common = agents.CommonSettings(seed=more.pop("seed", None), device=more.pop("device", "auto"))
        super().__init__(policy, env, None, _Printed(), agents.Taskwise(), agents.Sampler(**more), common)


def split_tasks(settings: Settings) -> tuple[TaskSet, TaskSet]:
    """The known tasks, and this seed's novel ones behind them in the same draw."""
    known, n, seed = settings["n_tasks"], settings["n_novel"], settings["seed"]
    drawn = registry.sample_tasks(settings["env"], known + n * (seed + 1), settings["task_seed"], settings["preset"])
    return drawn[np.arange(known)], drawn[known + n * seed + np.arange(n)]


def novel(settings: Settings, progress: Progress) -> dict[str, Any]:
    """Learn the known tasks together, then each novel task by itself, always from the same state.

    Where learning is from ``scratch``, only the novel ones. Returns ``values``: costs in these before their first sweep
    (without data) and after each, (n_sweeps + 1, n_novel).
    """
    code = Code(str(Path(__file__).parent))
    known, new = split_tasks(settings)
    scratch = settings["scratch"]
    learner = sweeps.make_learner(code, settings, sweeps.environment(settings, new if scratch else known))
    if not scratch:
        sweeps.sweep(sweeps.SweepRun(code, settings, known, learner), [], lambda done: progress(0.5 * done))
        learner.add_tasks(new)
    state = copy.deepcopy(learner.get_parameters())
    alone = {**settings, "sweeps": settings["novel_sweeps"]}
    values = []
    for i in range(len(new)):
        learner.set_parameters(state)
        learner.set_env(sweeps.environment(settings, new[[i]]))
        run = sweeps.SweepRun(code, alone, new[[i]], learner, [i if scratch else len(known) + i])
        watcher = sweeps.MeanCost(run)
        sweeps.sweep(run, [watcher], lambda done: None)
        values.append(np.asarray(watcher.figures()["values"])[:, 0])
        progress(0.5 + 0.5 * (i + 1) / len(new))
    return {"values": np.array(values).T}


def gap_closed(numbers: Numbers, study: str, systems: tuple[str, ...]) -> Mapping[str, Interval]:
    """Share of the way from doing nothing to the best final cost that each basis goes without any data."""
    (system,) = systems
    zero = np.array(numbers.by_seed(study, system, "eNAC", "start"))
    methods = list(numbers.content["values"][study][system])
    best = min(np.mean(numbers.by_seed(study, system, method, "end")) for method in methods)
    costs = {method: np.array(numbers.by_seed(study, system, method, "start")) for method in methods}
    bases = [method for method in methods if "ELLA" in method or method.startswith("GO-MTL")]
    return {method: mean_interval((zero - costs[method]) / (zero - best)) for method in bases}


def carried_over(theta: FloatArray, tasks: TaskSet, n_action: int) -> FloatArray:
    """The nominal task's best policy, seen through each task's isometry.

    Actuators and sensors of opposite sign, sensors' zeros that are moved, and inputs that are turned. Of a policy on
    the features ``(y / c, 1)``, n_action rows one after another; c = 1 wherever zeros are moved. Returns (n_tasks, d).
    """
    gains = np.tile(theta.reshape(1, n_action, -1), (len(tasks), 1, 1))
    names, n = tasks.space.names, gains.shape[2] - 1
    if "input_rotation" in names:
        cos, sin = (turn(tasks.column("input_rotation")) for turn in (np.cos, np.sin))
        turned = np.stack([np.stack([cos, -sin], axis=1), np.stack([sin, cos], axis=1)], axis=1)
        gains = turned.transpose(0, 2, 1) @ gains
    for i in range(n):
        gains[:, :, i] /= tasks.column(f"sensor_gain_{i + 1}")[:, None]
        gains[:, :, n] += gains[:, :, i] * tasks.column(f"sensor_offset_{i + 1}")[:, None]
    gains *= tasks.column("actuator_gain")[:, None, None]
    return gains.reshape(len(tasks), -1)


def truth(settings: Settings, progress: Progress) -> dict[str, Any]:
    """What is hidden: an orthonormal ``basis`` of the best policies, (d, k), and ``values``, their costs, (1, n_tasks).

    ``singular``: all their singular values, relative to the first.
    """
    family, tasks = registry.family(settings["env"]), sweeps.drawn_tasks(settings)
    nominal = best_policies(family, family.parameters.tasks([{}]))[0]
    progress(0.9)
    thetas = carried_over(nominal, tasks, family.actions.size)
    left, singular, _ = np.linalg.svd(thetas.T, full_matrices=False)
    costs = sweeps.mean_costs(settings, tasks, thetas, bias=True)
    basis = left[:, : settings["n_basis"]]
    return {"basis": basis, "singular": rounded(singular / singular[0]), "values": rounded(costs[None])}


def largest_angle(basis: FloatArray, hidden: FloatArray) -> float:
    """Between the spans of two bases, (d, k) each, in degrees: 0 where they are the same, 90 where one misses a part.

    >>> largest_angle(np.eye(3)[:, :1], np.eye(3)[:, 1:2])
    90.0
    """
    return float(np.degrees(subspace_angles(basis, hidden).max()))


def angles(numbers: Numbers, spec: TableSpec) -> tuple[list[str], list[list[str]]]:
    """Largest angle between learned and true basis, and costs beside those of the best policies."""
    sharing = [method for method in spec.methods if method != "REINFORCE"]
    rows = []
    for system in spec.systems:
        (hidden,) = numbers.by_seed("truth", system, "truth", "basis")
        row = [system, str(np.shape(hidden)[1])]
        for method in sharing:
            found = numbers.by_seed(spec.study, system, method, "basis")
            row.append(shown(mean_interval([largest_angle(np.array(each), np.array(hidden)) for each in found])))
        row.append(f"{numbers.by_seed('truth', system, 'truth', 'start')[0]:.3g}")
        row += [shown(mean_interval(numbers.by_seed(spec.study, system, m, "final"))) for m in spec.methods]
        rows.append(row)
    head = [
        "",
        "k",
        *(f"angle, {method}" for method in sharing),
        "best policies",
        *(f"cost, {m}" for m in spec.methods),
    ]
    return head, rows


def to_fine(figures: Settings) -> list[float | None]:
    """Iterations to a distance of 1e-8 with the best penalty, a number a problem; None: never."""
    found: list[float | None] = best_row(figures["rows"])["to_fine"]
    return found


def _drawn(figures: Settings) -> Mapping[str, Any]:
    found: Mapping[str, Any] = next(row for row in figures["rows"] if row["penalty"] == figures["penalty"])
    return found


def curves(figures: Settings) -> Mapping[str, Any]:
    """Errors by iteration with the penalty of the study's own."""
    return {name: _drawn(figures)[name] for name in ("at", "agreement", "distance")}


def agreement(figures: Settings, name: str = "agreement") -> float:
    """How far nodes are apart after the learner's number of iterations."""
    row = _drawn(figures)
    return float(row[name][int(np.flatnonzero(np.array(row["at"]) <= ITERATIONS)[-1])])


def distance(figures: Settings) -> float:
    """How far they are from the solution by then."""
    return agreement(figures, "distance")


def slope(figures: Settings) -> float:
    """Of the average's log error against log iteration, from the tenth on: k^slope."""
    row = _drawn(figures)
    at, curve = np.array(row["at"], np.float64), np.array(row["average"])
    late = at >= TAIL
    return float(np.polyfit(np.log(at[late]), np.log(np.maximum(curve[late], 1e-300)), 1)[0])


def rate(figures: Settings) -> float:
    """Factor by which the last iterate's error falls in an iteration."""
    row = _drawn(figures)
    last, steps = row["distance"], max(row["at"][-1] - row["at"][0], 1)
    return float((last[-1] / last[0]) ** (1 / steps))


def spread(numbers: Numbers, study: str, systems: tuple[str, ...]) -> Mapping[str, Interval]:
    """Most over least iterations to 1e-8, over systems."""
    found = [typical(numbers.by_seed(study, system, "P = I", "science:to_fine")[0]) for system in systems]
    most = max(found) / min(found) if np.isfinite(min(found)) else np.inf
    return {"most over least": Interval(most, most, most)}


def errors(numbers: Numbers, spec: FigureSpec) -> Figure:
    """Errors of nodes against iterations, a panel a method, a colour a system."""
    figure = new_figure(4.5 * len(spec.methods), 4.0)
    panels = np.ravel(figure.subplots(1, len(spec.methods), squeeze=False))
    for axes, method in zip(panels, spec.methods, strict=True):
        for system, colour in zip(spec.systems, COLOURS, strict=False):
            (found,) = numbers.by_seed(spec.study, system, method, "science:curves")
            axes.loglog(found["at"], found["distance"], color=colour, label=system)
            axes.loglog(found["at"], found["agreement"], color=colour, ls="--", lw=1)
        axes.set(title=method, xlabel="iterations", ylim=(1e-9, 10))
        tidy(axes)
    panels[0].set_ylabel("distance to the solution\n(dashed: agreement error)")
    panels[0].legend(frameon=False, fontsize=8)
    return figure
