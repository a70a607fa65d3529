"""What Zhan, Bou Ammar and Taylor (2017) need beyond learning curves."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from scipy.linalg import subspace_angles

from lifelong_gym import agents, registry
from lifelong_gym.agents.linear.base_learners import RewardWeighted
from lifelong_gym.agents.linear.operating_point import Pool
from lifelong_gym.benchmark.results import rounded
from lifelong_gym.measures.intervals import mean_interval
from lifelong_gym.measures.statistics import Interval
from lifelong_gym.measures.verdicts import BAND
from lifelong_gym.numerics.arrays import BoolArray, FloatArray
from lifelong_gym.papers import sweeps
from lifelong_gym.papers.numbers import Numbers, flat_times
from lifelong_gym.papers.quantities import LAST, OF_VALUES
from lifelong_gym.papers.specs import FigureSpec, TableSpec
from lifelong_gym.papers.sweeps import Progress, Values
from lifelong_gym.papers.writing import DASH, Rows, shown
from lifelong_gym.references.linear import Trial, best_policies
from lifelong_gym.reports.plots import COLOURS, new_figure, tidy
from lifelong_gym.tasks.task_set import TaskSet

from .nodes import CODE, with_arguments

ITERATIONS = 30  # a sweep, of the learner here; the paper prints none
TAIL = 10  # iterations before which an error's rate isn't looked at
ALONE = {"PG-ELLA": "eNAC", "GO-MTL": "eNAC", "GO-MTL (RWR)": "RWR", "ePG-ELLA": "RWR"}  # who shares, and who doesn't


@dataclass(frozen=True)
class ByRewards(RewardWeighted):
    """Weights as printed: each trajectory's reward R over the mean of all; where R < 0, the worst weigh most.

    The printed H = sum R F is negative definite then, and so is H / sum R positive definite; the solution of the
    linear system is the same. Repaired, R less the least takes the place of R.
    """

    repaired: bool = False

    def credit(self, pool: Pool) -> Callable[[FloatArray, BoolArray], FloatArray]:
        """Rewards and whether they count, (n_tasks, n_trajectories, horizon), make weights of the same shape."""

        def weights(rewards: FloatArray, alive: BoolArray) -> FloatArray:
            returns = pool.gathered(rewards.sum(axis=2))
            least = returns.min(axis=1, keepdims=True) if self.repaired else np.zeros((len(returns), 1))
            total = returns.mean(axis=1, keepdims=True) - least
            out = np.ones(rewards.shape[:2])
            return np.divide(rewards.sum(axis=2) - least, total, out=out, where=total != 0)[..., None] * alive

        return weights


class PrintedRWR(agents.PolicySearch):
    """`RWR` with the printed weights, or with repaired ones, and the same cap on its steps; may share a basis."""

    def __init__(
        self, policy: Any, env: Any, repaired: bool = False, max_kl: float = 0.03, n_basis: int = 0, **more: Any
    ) -> None:
        common = agents.CommonSettings(seed=more.pop("seed", None), device=more.pop("device", "auto"))
        basis = agents.BasisSharer(agents.BasisSettings(n_basis), agents.InTurns()) if n_basis else None
        base = ByRewards(max_kl=max_kl, repaired=repaired)
        super().__init__(policy, env, None, base, basis or agents.Taskwise(), agents.Sampler(**more), common)


def best(settings: Values, progress: Progress) -> dict[str, Any]:
    """Costs of the best linear policies that search finds, or of doing nothing: ``values``, (1, n_tasks).

    Of novel tasks, where there are any.
    """
    family = registry.family(settings["env"])
    tasks = split_tasks(settings)[1] if settings["n_novel"] else sweeps.drawn_tasks(settings)
    thetas = best_policies(family, tasks) if settings["searched"] else Trial.of(family, tasks).zero
    return {"values": rounded(sweeps.mean_costs(settings, tasks, thetas, bias=True)[None])}


def grid(settings: Values, progress: Progress) -> dict[str, Any]:
    """A base learner alone, with every width and step: ``costs`` in the end, (n_sigmas, n_steps)."""
    sigmas, steps, costs = settings["sigmas"], settings["steps"], []
    step = "max_kl" if "max_kl" in settings["learner"]["arguments"] else "learning_rate"
    for sigma, length in product(sigmas, steps):
        run = {**with_arguments(settings, **{"sigma": sigma, step: length}), "watch": ["mean_cost"]}
        costs.append(OF_VALUES["final"](sweeps.learn(CODE, run)["values"]))
        progress(len(costs) / (len(sigmas) * len(steps)))
    return {"costs": rounded(costs).reshape(len(sigmas), -1), "sigmas": sigmas, "steps": steps}


def split_tasks(settings: Values) -> tuple[TaskSet, TaskSet]:
    """This seed's known tasks, and the novel ones behind them in the same draw."""
    known, n, seed = settings["n_tasks"], settings["n_novel"], settings["task_seed"] + settings["seed"]
    drawn = registry.sample_tasks(settings["env"], known + n, seed, settings["preset"])
    return drawn[np.arange(known)], drawn[known + np.arange(n)]


def novel(settings: Values, progress: Progress) -> dict[str, Any]:
    """Learn the known tasks together, then each novel task by itself, always from the same state.

    Where learning is from ``scratch``, only the novel ones. Returns ``values``: costs in these before their first sweep
    (without data) and after each, (n_sweeps + 1, n_novel).
    """
    known, new = split_tasks(settings)
    n_known = 0 if settings["scratch"] else len(known)
    learner = sweeps.make_learner(CODE, settings, sweeps.environment(settings, known if n_known else new))
    if n_known:
        sweeps.sweep(sweeps.SweepRun(CODE, settings, known, learner), progress=lambda done: progress(0.5 * done))
        learner.add_tasks(new)
    state, values = copy.deepcopy(learner.get_parameters()), []
    for i in range(len(new)):
        learner.set_parameters(state)
        learner.set_env(sweeps.environment(settings, new[[i]]))
        alone = {**settings, "sweeps": settings["novel_sweeps"]}
        costs = sweeps.MeanCost(sweeps.SweepRun(CODE, alone, new[[i]], learner, [n_known + i]))
        sweeps.sweep(costs.run, [costs])
        values.append(costs.figures()["values"][:, 0])
        progress(0.5 + 0.5 * (i + 1) / len(new))
    return {"values": np.transpose(values)}


def gap_closed(numbers: Numbers, study: str, systems: Sequence[str]) -> Mapping[str, Interval]:
    """Share of the way from doing nothing to the best policies that each basis goes without any data."""
    of = numbers.content["quantities"][study][systems[0]]
    costs = {method: np.array(found["start"]) for method, found in of.items()}
    zero, best = costs["eNAC"], costs["best policies"]
    return {method: mean_interval((zero - costs[method]) / (zero - best)) for method in costs if method in ALONE}


def carried_over(theta: FloatArray, tasks: TaskSet, n_action: int) -> FloatArray:
    """The nominal task's best policy, seen through each task's isometry.

    Actuators and sensors of opposite sign, sensors' zeros that are moved, and inputs that are turned. Of a policy on
    the features ``(y / c, 1)``, n_action rows one after another; c = 1 wherever zeros are moved. Returns (n_tasks, d).
    """
    gains = np.tile(theta.reshape(1, n_action, -1), (len(tasks), 1, 1))
    if "input_rotation" in tasks.space.names:
        cos, sin = (turn(tasks.column("input_rotation")) for turn in (np.cos, np.sin))
        gains = np.array([[cos, -sin], [sin, cos]]).T @ gains
    for i in range(gains.shape[2] - 1):
        gains[:, :, i] /= tasks.column(f"sensor_gain_{i + 1}")[:, None]
        gains[:, :, -1] += gains[:, :, i] * tasks.column(f"sensor_offset_{i + 1}")[:, None]
    gains *= tasks.column("actuator_gain")[:, None, None]
    return gains.reshape(len(tasks), -1)


def truth(settings: Values, progress: Progress) -> dict[str, Any]:
    """Hidden: an orthonormal ``basis`` of the best policies, (d, k), and ``values``, their costs, (1, n_tasks)."""
    family, tasks = registry.family(settings["env"]), sweeps.drawn_tasks(settings)
    nominal = best_policies(family, family.parameters.tasks([{}]))[0]
    progress(0.9)
    thetas = carried_over(nominal, tasks, family.actions.size)
    basis = np.linalg.svd(thetas.T, full_matrices=False)[0][:, : settings["n_basis"]]
    return {"basis": basis, "values": rounded(sweeps.mean_costs(settings, tasks, thetas, bias=True)[None])}


def largest_angle(basis: Any, hidden: Any) -> float:
    """Between the spans of two bases, (d, k) each, in degrees: 0 where they are equal, 90 where one misses a part."""
    return float(np.degrees(subspace_angles(basis, hidden).max()))


def by_chance(d: int, k: int, n: int = 2000) -> list[float]:
    """Largest angles between a fixed span of k dimensions and n that are drawn, of d."""
    rng, fixed = np.random.default_rng(0), np.eye(d)[:, :k]
    return [largest_angle(rng.standard_normal((d, k)), fixed) for _ in range(n)]


def angles(numbers: Numbers, spec: TableSpec) -> Rows:
    """Largest angle between learned and true basis, beside what chance gives, and costs beside the best policies'."""
    sharing, rows = [method for method in spec.methods if method != "REINFORCE"], []
    for system in spec.systems:
        hidden, best = (numbers.by_seed("truth", system, "truth", of) for of in ("basis", "start"))
        d, k = np.shape(hidden[0])
        chance = np.percentile(by_chance(d, k), [50, 5])
        learned = partial(numbers.by_seed, spec.study, system)
        found = [[*map(largest_angle, learned(method, "basis"), hidden)] for method in sharing]
        found += [best, *(learned(method, "final") for method in spec.methods)]
        means = [shown(mean_interval(of)) for of in found]
        rows.append([system, f"{k} of {d}", "{:.0f}, {:.0f}".format(*chance), *means])
    head = ["", "k of d", "by chance: median, 5%", *(f"angle, {method}" for method in sharing), "best policies"]
    return [*head, *spec.methods], rows


def by_task(figures: Values) -> list[float]:
    """Each task's final cost."""
    return [float(f"{cost:.4g}") for cost in np.mean(figures["values"][-LAST:], axis=0)]


def negative_transfer(
    numbers: Numbers, study: str, systems: Sequence[str], method: str = "ePG-ELLA"
) -> Mapping[str, Interval]:
    """Share of the tasks whose cost is more than 3% above that of the same base learner alone, by system."""
    shares = []
    for system in systems:
        cost, base = (np.array(numbers.by_seed(study, system, m, "science:by_task")) for m in (method, ALONE[method]))
        shares.append(mean_interval(np.mean(cost > (1 + BAND) * base, axis=1)))
    return dict(zip(systems, shares, strict=True))


def worse(numbers: Numbers, spec: TableSpec) -> Rows:
    """Share of worse tasks of each method that shares."""
    sharing = {f"{method} over {ALONE[method]}": method for method in spec.methods if method in ALONE}
    found = {name: negative_transfer(numbers, spec.study, spec.systems, sharing[name]) for name in sharing}
    return ["", *spec.systems], [[name, *map(shown, shares.values())] for name, shares in found.items()]


def variances(numbers: Numbers, spec: TableSpec) -> Rows:
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


def chosen(quantities: Mapping[str, Any]) -> dict[tuple[float, float], float]:
    """Mean costs by width and step of a grid whose ``costs``, ``sigmas`` and ``steps`` are given by seed."""
    pairs = product(quantities["sigmas"][0], quantities["steps"][0])
    return dict(zip(pairs, np.mean(quantities["costs"], axis=0).ravel(), strict=True))


def grids(numbers: Numbers, spec: TableSpec) -> Rows:
    """Costs with each width and step of one base learner; the least, whose pair is chosen, in bold."""
    (method,), rows = spec.methods, []
    for system in spec.systems:
        costs = chosen(numbers.of("quantities", (spec.study, system, method)))
        best = min(costs, key=costs.__getitem__)
        rows.append([system, *(f"**{costs[pair]:.3g}**" if pair == best else f"{costs[pair]:.3g}" for pair in costs)])
    return ["", *(f"{sigma}, {step}" for sigma, step in costs)], rows


def to_fine(figures: Values) -> list[float | None]:
    """Iterations to a distance of 1e-8 with the penalty that is fastest there, or else to 1e-2; None: never."""
    medians = [[np.median(flat_times(row[to])) for to in ("to_fine", "to_coarse")] for row in figures["rows"]]
    found: list[float | None] = figures["rows"][medians.index(min(medians))]["to_fine"]
    return found


def spread(numbers: Numbers, study: str, systems: Sequence[str]) -> Mapping[str, Interval]:
    """Most over least iterations to 1e-8, over systems."""
    counts = [numbers.by_seed(study, system, "P = I", "science:to_fine")[0] for system in systems]
    found = [float(np.median(flat_times(of_system))) for of_system in counts]
    most = max(found) / min(found) if np.isfinite(min(found)) else np.inf
    return {"most over least": Interval(most, most, most)}


def curves(figures: Values, of: Sequence[str] = ("at", "agreement", "distance")) -> dict[str, Any]:
    """Errors by iteration with the penalty of the study's own."""
    (row,) = (row for row in figures["rows"] if row["penalty"] == figures["penalty"])
    return {name: row[name] for name in of}


def agreement(figures: Values, of: str = "agreement") -> float:
    """How far nodes are apart after the learner's number of iterations."""
    at, errors = curves(figures, ("at", of)).values()
    return float(errors[np.searchsorted(at, ITERATIONS, side="right") - 1])


distance = partial(agreement, of="distance")  # from the solution by then


def slope(figures: Values) -> float:
    """Of the average's log error against log iteration, from the tenth on: k^slope."""
    at, errors = map(np.array, curves(figures, ("at", "average")).values())
    late = at >= TAIL
    return float(np.polyfit(np.log(at[late]), np.log(np.maximum(errors[late], 1e-300)), 1)[0])


def rate(figures: Values) -> float:
    """Factor by which the last iterate's error falls in an iteration."""
    at, errors = curves(figures, ("at", "distance")).values()
    return float((errors[-1] / errors[0]) ** (1 / max(at[-1] - at[0], 1)))


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
