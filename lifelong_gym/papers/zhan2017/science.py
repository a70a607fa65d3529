"""What Zhan, Bou Ammar and Taylor (2017) need beyond learning curves."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
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
from lifelong_gym.measures.verdicts import BAND
from lifelong_gym.numerics.arrays import BoolArray, FloatArray
from lifelong_gym.papers import sweeps
from lifelong_gym.papers.code import Code
from lifelong_gym.papers.numbers import Numbers
from lifelong_gym.papers.quantities import LAST, OF_VALUES
from lifelong_gym.papers.specs import FigureSpec, TableSpec
from lifelong_gym.papers.tabulating import DASH, shown
from lifelong_gym.references.linear import Trial, best_policies
from lifelong_gym.reports.plots import COLOURS, new_figure, tidy
from lifelong_gym.tasks.task_set import TaskSet

from .consensus import best_row, typical

Settings = Mapping[str, Any]
Progress = Callable[[float], None]
ITERATIONS = 30  # a sweep, of the learner here; the paper prints none

TAIL = 10  # iterations before which an error's rate isn't looked at


def reward_weights(rewards: FloatArray, alive: BoolArray, repaired: bool, pool: Pool = ONE_PLACE) -> FloatArray:
    """Each trajectory's mean reward R over all of them, with mean 1: where R < 0, the worst weigh most.

    The printed H = sum R F is negative definite then, and so is H / sum R positive definite; the solution of the
    linear system is the same. Repaired, R less the least takes the place of R. Rewards and whether they count:
    (n_tasks, n_trajectories, horizon).
    """
    returns = pool.gathered(rewards.sum(axis=2))
    least = returns.min(axis=1, keepdims=True) if repaired else np.zeros((len(returns), 1))
    total = returns.mean(axis=1, keepdims=True) - least
    weights = np.divide(rewards.sum(axis=2) - least, total, out=np.ones(rewards.shape[:2]), where=total != 0)
    found: FloatArray = weights[..., None] * alive
    return found


@dataclass(frozen=True)
class _ByRewards(RewardWeighted):
    """Reward-weighted regression, weighted by the reward itself."""

    repaired: bool = False

    def credit(self, pool: Pool) -> Callable[[FloatArray, BoolArray], FloatArray]:
        """Without an exponential."""
        return lambda rewards, alive: reward_weights(rewards, alive, self.repaired, pool)


class PrintedRWR(agents.PolicySearch):
    """`RWR` with the printed weights, or with repaired ones, and the same cap on its steps; may share a basis."""

    def __init__(
        self, policy: Any, env: Any, repaired: bool = False, max_kl: float = 0.03, n_basis: int = 0, **more: Any
    ) -> None:
        common = agents.CommonSettings(seed=more.pop("seed", None), device=more.pop("device", "auto"))
        basis = agents.BasisSettings(n_basis) if n_basis else None
        sharer = agents.BasisSharer(basis, agents.InTurns()) if basis else agents.Taskwise()
        base = _ByRewards(max_kl=max_kl, repaired=repaired)
        super().__init__(policy, env, None, base, sharer, agents.Sampler(**more), common)


def best(settings: Settings, progress: Progress) -> dict[str, Any]:
    """Costs of the best linear policies that search finds, or of doing nothing: ``values``, (1, n_tasks).

    Of novel tasks, where there are any.
    """
    family = registry.family(settings["env"])
    tasks = split_tasks(settings)[1] if settings["n_novel"] else sweeps.drawn_tasks(settings)
    thetas = best_policies(family, tasks) if settings["searched"] else Trial.of(family, tasks).zero
    return {"values": rounded(sweeps.mean_costs(settings, tasks, thetas, bias=True)[None])}


def grid(settings: Settings, progress: Progress) -> dict[str, Any]:
    """A base learner alone, with every width and step: ``costs`` in the end, (n_sigmas, n_steps)."""
    code, learner = Code(str(Path(__file__).parent)), settings["learner"]
    step = "max_kl" if "max_kl" in learner["arguments"] else "learning_rate"
    costs = np.zeros((len(settings["sigmas"]), len(settings["steps"])))
    for (i, sigma), (j, length) in itertools.product(enumerate(settings["sigmas"]), enumerate(settings["steps"])):
        chosen = {**learner, "arguments": {**learner["arguments"], "sigma": sigma, step: length}}
        run = {**settings, "learner": chosen, "watch": ["mean_cost"]}
        costs[i, j] = OF_VALUES["final"](sweeps.learn(code, run, lambda done: None)["values"])
        progress((i * costs.shape[1] + j + 1) / costs.size)
    return {"costs": rounded(costs), "sigmas": settings["sigmas"], "steps": settings["steps"]}


def split_tasks(settings: Settings) -> tuple[TaskSet, TaskSet]:
    """This seed's known tasks, and the novel ones behind them in the same draw."""
    known, n = settings["n_tasks"], settings["n_novel"]
    drawn = registry.sample_tasks(
        settings["env"], known + n, settings["task_seed"] + settings["seed"], settings["preset"]
    )
    return drawn[np.arange(known)], drawn[known + np.arange(n)]


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
    """Share of the way from doing nothing to the best policies that each basis goes without any data."""
    (system,) = systems
    methods = list(numbers.content["values"][study][system])
    costs = {method: np.array(numbers.by_seed(study, system, method, "start")) for method in methods}
    zero, best = costs["eNAC"], costs["best policies"]
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


def by_chance(d: int, k: int, n: int = 2000) -> FloatArray:
    """Sorted largest angles between a fixed span of k dimensions and n that are drawn, of d."""
    rng, fixed = np.random.default_rng(0), np.eye(d)[:, :k]
    return np.sort([largest_angle(rng.standard_normal((d, k)), fixed) for _ in range(n)])


def angles(numbers: Numbers, spec: TableSpec) -> tuple[list[str], list[list[str]]]:
    """Largest angle between learned and true basis, beside what chance gives, and costs beside the best policies'."""
    sharing, rows = [method for method in spec.methods if method != "REINFORCE"], []
    for system in spec.systems:
        hidden = [np.array(basis) for basis in numbers.by_seed("truth", system, "truth", "basis")]
        d, k = hidden[0].shape
        chance = by_chance(d, k)
        row = [system, f"{k} of {d}", f"{np.median(chance):.0f}, {np.percentile(chance, 5):.0f}"]
        for method in sharing:
            found = numbers.by_seed(spec.study, system, method, "basis")
            pairs = zip(found, hidden, strict=True)
            row.append(shown(mean_interval([largest_angle(np.array(each), true) for each, true in pairs])))
        row.append(shown(mean_interval(numbers.by_seed("truth", system, "truth", "start"))))
        row += [shown(mean_interval(numbers.by_seed(spec.study, system, m, "final"))) for m in spec.methods]
        rows.append(row)
    learned = [f"angle, {method}" for method in sharing]
    return ["", "k of d", "by chance: median, 5%", *learned, "best policies", *spec.methods], rows


def by_task(figures: Settings) -> list[float]:
    """Each task's final cost."""
    return [float(f"{cost:.4g}") for cost in np.asarray(figures["values"])[-LAST:].mean(axis=0)]


def share_worse(numbers: Numbers, study: str, system: str, method: str, alone: str) -> Interval:
    """Share of the tasks whose cost is more than 3% above that of the same base learner alone."""
    pairs = zip(*(numbers.by_seed(study, system, m, "science:by_task") for m in (method, alone)), strict=True)
    return mean_interval([np.mean(np.array(cost) > (1 + BAND) * np.array(base)) for cost, base in pairs])


def negative_transfer(numbers: Numbers, study: str, systems: tuple[str, ...]) -> Mapping[str, Interval]:
    """Of ePG-ELLA, by system."""
    return {system: share_worse(numbers, study, system, "ePG-ELLA", "RWR") for system in systems}


def worse(numbers: Numbers, spec: TableSpec) -> tuple[list[str], list[list[str]]]:
    """Share of worse tasks of each method that shares."""
    rows = []
    for method in spec.methods:
        alone = "eNAC" if method in ("PG-ELLA", "GO-MTL") else "RWR"
        if method not in ("eNAC", "RWR"):
            found = [shown(share_worse(numbers, spec.study, system, method, alone)) for system in spec.systems]
            rows.append([f"{method} over {alone}", *found])
    return ["", *spec.systems], rows


def variances(numbers: Numbers, spec: TableSpec) -> tuple[list[str], list[list[str]]]:
    """Standard deviation of the final cost over draws of tasks and over seeds of the learner, a draw a method."""
    rows = []
    for system in spec.systems:
        costs = np.array([numbers.by_seed(spec.study, system, draw, "final") for draw in spec.methods])
        found = [DASH, DASH]  # of one seed
        if costs.shape[1] > 1:
            seeds = costs.var(axis=1, ddof=1).mean()
            draws = max(0.0, costs.mean(axis=1).var(ddof=1) - seeds / costs.shape[1])
            found = [f"{np.sqrt(variance):.3g}" for variance in (draws, seeds)]
        rows.append([system, f"{costs.mean():.3g}", *found])
    return ["", "mean cost", "between draws of tasks", "between seeds of the learner"], rows


def chosen(quantities: Mapping[str, Any]) -> tuple[FloatArray, tuple[float, float]]:
    """Mean costs of a grid whose ``costs``, ``sigmas`` and ``steps`` are given by seed; width and step of the least."""
    costs = np.mean(quantities["costs"], axis=0)
    i, j = np.unravel_index(np.argmin(costs), costs.shape)
    return costs, (quantities["sigmas"][0][i], quantities["steps"][0][j])


def grids(numbers: Numbers, spec: TableSpec) -> tuple[list[str], list[list[str]]]:
    """Costs with each width and step of one base learner; those that are chosen in bold."""
    (method,) = spec.methods
    found = {system: numbers.content["quantities"][spec.study][system][method] for system in spec.systems}
    first = found[spec.systems[0]]
    pairs, rows = list(itertools.product(first["sigmas"][0], first["steps"][0])), []
    for system, quantities in found.items():
        costs, best = chosen(quantities)
        cells = zip(costs.ravel(), pairs, strict=True)
        rows.append([system, *(f"**{cost:.3g}**" if pair == best else f"{cost:.3g}" for cost, pair in cells)])
    return ["", *(f"{sigma}, {step}" for sigma, step in pairs)], rows


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
