"""What Bou Ammar, Tutunov and Eaton (2015) need: first policies, safe sets, and rounds that are counted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from scipy.integrate import trapezoid
from stable_baselines3.common.utils import LinearSchedule

from lifelong_gym import agents, registry
from lifelong_gym.agents.linear.operating_point import OperatingPoint
from lifelong_gym.agents.safety.safe_tasks import constraints_of
from lifelong_gym.benchmark.learners import learner_class
from lifelong_gym.benchmark.results import rounded
from lifelong_gym.measures.statistics import Interval
from lifelong_gym.numerics.arrays import BoolArray, FloatArray, IntArray
from lifelong_gym.papers import sweeps
from lifelong_gym.papers.numbers import Numbers
from lifelong_gym.papers.specs import FigureSpec
from lifelong_gym.papers.sweeps import Progress, SweepRun, Watcher
from lifelong_gym.references.lqr import Linearised, lqr_policies, scale_of
from lifelong_gym.reports.plots import COLOURS, new_figure, tidy
from lifelong_gym.tasks.task_set import TaskSet
from lifelong_gym.wrappers import as_vec_env

from . import regions

FALLEN = 10.0  # cost over that of the regulator, above which a policy has lost control in some trajectories
EVERY_ROUND, THEN = 20, 5  # rounds that are all evaluated, and how many lie between evaluations from there on
LAST, FIRST = 3, 10  # evaluations that make a final cost, and rounds that count as the beginning

Settings = Mapping[str, Any]


class StartedSharer(agents.BasisSharer):
    """Policies ``theta_j = start_j + L s_j``; ``warm``: a task not yet observed has the others' mean code, not 0."""

    warm: bool
    start: FloatArray

    def _learn(self, tasks: IntArray, point: OperatingPoint, rng: np.random.Generator, record: Any) -> None:
        super()._learn(tasks, point._replace(target=point.target - self.start[tasks]), rng, record)

    def _policies(self) -> FloatArray:
        moved = super()._policies()
        return self.start + (moved if self.warm else np.where(self.knowledge.observed[:, None], moved, 0.0))


class StartedPGELLA(agents.PolicySearch):
    """`PGELLA` about a ``start`` that is set before learning; the published has none."""

    def __init__(self, policy: Any, env: Any, n_basis: int, base: str, base_settings: Any, **more: Any) -> None:
        self.started = StartedSharer(agents.BasisSettings(n_basis), agents.InTurns())
        self.started.warm, rate = more.pop("warm", True), more.pop("learning_rate")
        chosen, common = agents.BaseSettings(base, base_settings), agents.CommonSettings(seed=more.pop("seed"))
        super().__init__(policy, env, rate, chosen.learner, self.started, agents.Sampler(**more), common)


class Situation:
    """Where policies ``start``, (d,); the tasks' regulators, ``optimal``, (n_tasks, d); safe ``sets`` or None."""

    def __init__(self, settings: Settings, tasks: TaskSet) -> None:
        self.settings, self.tasks = settings, tasks
        family = registry.family(settings["env"])
        self.optimal: FloatArray = lqr_policies(family, tasks, bias=False)
        nominal = lqr_policies(family, family.parameters.tasks([{}]), time=settings["nominal"], bias=False)[0]
        self.start: FloatArray = settings["share"] * nominal
        sets = {"around": regions.around(self.optimal, settings["width"])}
        self.sets = (sets | {"beyond": regions.beyond(self.optimal, settings["beyond"])}).get(settings["region"])

    def safe(self, theta: FloatArray) -> BoolArray:
        """Whose policies are in their sets, as floating-point numbers; all, where there are none: (n_tasks,)."""
        if self.sets is None:
            return np.ones(len(theta), bool)
        return np.array([one.holds(row) for one, row in zip(self.sets, theta, strict=True)])

    def unstable(self, theta: FloatArray) -> int:
        """Tasks whose closed loop, linearised at the goal, doesn't contract."""
        family = registry.family(self.settings["env"])
        loops = Linearised.of(family, self.tasks).closed_loop(theta, scale_of(family))
        return int((np.abs(np.linalg.eigvals(loops)).max(axis=1) >= 1.0).sum())

    def made(self, kind: Any, arguments: Settings) -> Any:
        """A learner, at its first policies."""
        known = {"nominal": self.settings["anchors"] or None, "constraints": self.sets}
        first = self.settings["step"] * self.settings["factor"]
        step = LinearSchedule(first, 0.0 if self.settings["decay"] else first, 1.0)
        given = {**arguments, **(known if issubclass(kind, agents.SafeSearch) else {})}
        env = as_vec_env(self.settings["env"], tasks=self.tasks)
        return kind("LinearGaussianPolicy", env, learning_rate=step, seed=self.settings["seed"], **given)


def make(run: SweepRun) -> agents.PolicySearch:
    """A run's learner: those that know the sets start at anchors in them, the others at the same place if they can."""
    situation, wanted = Situation(run.settings, run.tasks), run.settings["learner"]
    kind = learner_class(run.code.qualified(wanted["class"]))
    learner: agents.PolicySearch = situation.made(kind, wanted["arguments"])
    start = np.broadcast_to(situation.start, situation.optimal.shape).copy()
    if situation.sets is not None and isinstance(learner, agents.SafeSearch):
        return learner
    if run.settings["region"] == "beyond":
        start = situation.made(agents.ProjectedPG, {"bias": False}).safe_sets.anchors
    if isinstance(learner, agents.SafeSearch):
        learner.safety.register(constraints_of(learner.constraints, *start.shape), start)
    elif isinstance(learner, StartedPGELLA):
        learner.started.start = start
    learner.policy.thetas = start
    return learner


class Rounds(Watcher):
    """Costs after some ``rounds``, and which policies were safe.

    ``costs``: mean over tasks; ``typical``: median over tasks of the cost over that of the task's own regulator;
    ``fallen``: how many of these were above `FALLEN`; ``optimal``: mean cost of the regulators; ``unstable``: closed
    loops at the end. Of policies that were executed, ``checked``, ``outside``: those outside their sets. ``until``:
    observations of a task after which it was inside first, or None; ``again``: times outside later on. Where two
    parameters are ``shown``, the ``path`` of the first task's policy, the ``best`` and the ``outline`` of its set.
    """

    def __init__(self, run: SweepRun) -> None:
        super().__init__(run)
        self.situation, n = Situation(run.settings, run.tasks), len(run.tasks)
        self.rounds: list[int] = []
        self.costs: list[FloatArray] = []
        self.path: list[FloatArray] = []
        self.checked = self.outside = 0
        self.observations, self.until, self.again = np.zeros(n, np.int64), np.full(n, -1), np.zeros(n, np.int64)

    def after(self, done: int) -> None:
        """Note what was safe, and evaluate."""
        present, theta = self.run.present, self.run.theta
        safe = self.situation.safe(theta)
        if done:
            self.observations[present[done - 1]] += 1
        if done < len(present):
            self.checked += len(present[done])
            self.outside += int((~safe[present[done]]).sum())
        self.again += ~safe & (self.until >= 0)
        self.until = np.where(safe & (self.until < 0), self.observations, self.until)
        self.path.append(theta[0])
        if done <= EVERY_ROUND or done % THEN == 0 or done == len(present):
            self.rounds.append(done)
            self.costs.append(self.run.costs(theta))

    def figures(self) -> Mapping[str, Any]:
        """See the class."""
        costs, optimal = np.array(self.costs), self.run.costs(self.situation.optimal)
        found: dict[str, Any] = {
            "rounds": self.rounds,
            "costs": rounded(costs.mean(axis=1)),
            "typical": rounded(np.median(costs / optimal, axis=1)),
            "fallen": int((costs > FALLEN * optimal).sum()),
            "optimal": float(rounded(optimal.mean())),
            "unstable": self.situation.unstable(self.run.theta),
            "checked": self.checked,
            "outside": self.outside,
            "until": [None if n < 0 else int(n) for n in self.until],
            "again": int(self.again.sum()),
        }
        shown = self.run.settings["shown"]
        if shown and self.situation.sets is not None:
            best, outline = self.situation.optimal[0][shown], regions.outline(self.situation.sets[0], shown)
            found["shown"] = {"path": rounded(np.array(self.path)[:, shown]), "best": best, "outline": outline}
        return found


def inside(settings: Settings, progress: Progress) -> dict[str, Any]:
    """Share of policies drawn from boxes around the optima that don't control their task, linearised: ``unstable``."""
    situation = Situation(settings, sweeps.drawn_tasks(settings))
    n, d = situation.optimal.shape
    draws = np.random.default_rng(settings["seed"]).uniform(-1.0, 1.0, (settings["n_policies"], n, d))
    thetas = situation.optimal + settings["width"] * regions.scales(situation.optimal) * draws
    progress(1.0)
    return {"unstable": float(np.mean([situation.unstable(theta) / n for theta in thetas]))}


def curve(figures: Settings) -> dict[str, Any]:
    """Of the median task's cost over its regulator's."""
    return {"at": figures["rounds"], "values": [round(x, 5) for x in figures["typical"]]}


def final(figures: Settings) -> float:
    """Mean cost of the last evaluations."""
    return float(np.mean(figures["costs"][-LAST:]))


def begun(figures: Settings) -> float:
    """Mean cost over the first ten rounds."""
    return float(np.mean([c for r, c in zip(figures["rounds"], figures["costs"], strict=True) if 0 < r <= FIRST]))


def early(figures: Settings, of: str = "costs") -> float:
    """Mean cost over the first third of the rounds, of which not all are evaluated."""
    third = np.array(figures["rounds"]) <= max(1, figures["rounds"][-1] // 3)
    rounds, costs = np.array(figures["rounds"])[third], np.array(figures[of])[third]
    return float(trapezoid(costs, rounds) / (rounds[-1] - rounds[0]))


def typical(figures: Settings) -> float:
    """The same of the median task's cost over its regulator's."""
    return early(figures, "typical")


def length(figures: Settings) -> float:
    """Way that a policy went, over the distance of its ends."""
    points = np.array(figures["shown"]["path"])
    return float(np.linalg.norm(np.diff(points, axis=0), axis=1).sum() / np.linalg.norm(points[-1] - points[0]))


def spread(numbers: Numbers, study: str, systems: tuple[str, ...]) -> Mapping[str, Interval]:
    """Largest over least mean final cost among the spectral bounds."""
    found = {}
    for system in systems:
        of = numbers.content["quantities"][study][system]
        means = [np.mean(each["science:final"]) for name, each in of.items() if name.startswith("ours, 10 inner")]
        found[system] = Interval(*[float(max(means) / min(means))] * 3)
    return found


def paths(numbers: Numbers, spec: FigureSpec) -> Figure:
    """Paths of policies through the safe region, a panel a system."""
    figure = new_figure(5 * len(spec.systems), 4.6)
    for axes, system in zip(np.ravel(figure.subplots(1, len(spec.systems))), spec.systems, strict=True):
        found = {method: numbers.by_seed(spec.study, system, method, "shown")[0] for method in spec.methods}
        first = next(iter(found.values()))
        axes.fill(*np.array(first["outline"]).T, facecolor="#0000000d", edgecolor="black", label="safe set")
        for (method, of), colour in zip(found.items(), COLOURS, strict=False):
            axes.plot(*np.array(of["path"]).T, color=colour, marker=".", ms=3, label=method)
        axes.plot(*first["best"], "*", color="black", ms=12, label="optimum")
        axes.set_title(system)
        tidy(axes)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    return figure
