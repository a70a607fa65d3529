"""What Bou Ammar, Tutunov and Eaton (2015) need: first policies, safe sets, and rounds that are counted."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import scipy.optimize
from matplotlib.figure import Figure
from scipy.integrate import trapezoid
from stable_baselines3.common.utils import LinearSchedule

from lifelong_gym import agents, registry
from lifelong_gym.agents.linear.operating_point import OperatingPoint
from lifelong_gym.benchmark.learners import learner_class
from lifelong_gym.benchmark.results import rounded
from lifelong_gym.numerics.arrays import BoolArray, FloatArray, IntArray
from lifelong_gym.papers import sweeps
from lifelong_gym.papers.numbers import Numbers
from lifelong_gym.papers.specs import FigureSpec
from lifelong_gym.papers.sweeps import Progress, SweepRun, Values, Watcher
from lifelong_gym.references.lqr import Linearised, lqr_policies, scale_of
from lifelong_gym.reports.plots import COLOURS, new_figure, tidy
from lifelong_gym.tasks.task_set import TaskSet
from lifelong_gym.wrappers import as_vec_env

FLOOR = 0.1  # of a policy's largest gain: the least scale of the others, many of which are 0
N_DIRECTIONS = 72  # of an outline
FALLEN = 10.0  # cost over that of the regulator, above which a policy has lost control in some trajectories
EVERY_ROUND, THEN = 20, 5  # rounds that are all evaluated, and how many lie between evaluations from there on
POINTS = 40  # of a curve against observations
LAST, FIRST = 3, 10  # evaluations that make a final cost, and rounds that count as the beginning


def scales(optimal: FloatArray) -> FloatArray:
    """Of each gain, (n_tasks, d)."""
    size = np.abs(optimal)
    return np.maximum(size, FLOOR * size.max(axis=1, keepdims=True))


def around(optimal: FloatArray, width: float) -> list[agents.PolicyConstraints]:
    """Boxes around the optima: gains may differ from theirs by this share."""
    room = width * scales(optimal)
    return [agents.PolicyConstraints.gains(low, high) for low, high in zip(optimal - room, optimal + room, strict=True)]


def beyond(optimal: FloatArray, shares: Sequence[float]) -> list[agents.PolicyConstraints]:
    """Sets, a polytope each, whose gains have between these shares of the optimal ones: the optimum lies outside.

    The mean share of the gains that aren't small may not exceed the point three quarters between them.
    """
    low, high = shares
    size, scale = np.abs(optimal), scales(optimal)
    main = size == scale
    most = low + 0.75 * (high - low)
    sets = []
    for gains, unit, is_main in zip(optimal, scale, main, strict=True):
        ends = np.sort(np.where(is_main, np.outer(shares, gains), np.outer((-high, high), unit)), axis=0)
        row = np.where(is_main, np.sign(gains) / unit, 0.0) / is_main.sum()
        cut = agents.PolicyConstraints.polytope([row], [most], ["mean share of the optimal gains"])
        sets.append(agents.PolicyConstraints.gains(*ends) & cut)
    return sets


def outline(region: agents.PolicyConstraints, shown: Sequence[int]) -> FloatArray:
    """Corners of a safe set's shadow on two of its parameters, in order, shape (n, 2)."""
    corners = []
    for angle in np.linspace(0.0, 2 * np.pi, N_DIRECTIONS, endpoint=False):
        wanted = np.zeros(region.d)
        wanted[list(shown)] = np.cos(angle), np.sin(angle)
        found = scipy.optimize.linprog(-wanted, region.matrix, region.bound, bounds=(None, None))
        corners.append(np.asarray(found.x)[list(shown)])
    return np.array(corners)


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
    """`PGELLA` about a ``start``; the published has none."""

    def __init__(self, policy: Any, env: Any, n_basis: int, base: str, base_settings: Any, **more: Any) -> None:
        started, rate = StartedSharer(agents.BasisSettings(n_basis), agents.InTurns()), more.pop("learning_rate")
        started.warm, started.start = more.pop("warm", True), more.pop("start")
        chosen, common = agents.BaseSettings(base, base_settings), agents.CommonSettings(seed=more.pop("seed"))
        super().__init__(policy, env, rate, chosen.learner, started, agents.Sampler(**more), common)


class Situation:
    """Where policies ``start``, (d,); the tasks' regulators, ``optimal``, (n_tasks, d); safe ``sets`` or None."""

    def __init__(self, settings: Values, tasks: TaskSet) -> None:
        self.settings, self.tasks = settings, tasks
        family = registry.family(settings["env"])
        self.optimal: FloatArray = lqr_policies(family, tasks, bias=False)
        nominal = lqr_policies(family, family.parameters.tasks([{}]), time=settings["nominal"], bias=False)[0]
        self.start: FloatArray = settings["share"] * nominal
        around_them, beyond_which = around(self.optimal, settings["width"]), beyond(self.optimal, settings["beyond"])
        self.sets = {"around": around_them, "beyond": beyond_which}.get(settings["region"])

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

    def made(self, kind: Any, arguments: Values, start: FloatArray) -> Any:
        """A learner: at anchors in the safe sets that it knows, or else at these policies, (n_tasks, d)."""
        first = self.settings["step"] * self.settings["factor"]
        step = LinearSchedule(first, 0.0 if self.settings["decay"] else first, 1.0)
        sets = {"nominal": self.settings["anchors"] or None, "constraints": self.sets}
        safe = sets if self.sets else {"anchors": start}
        own = safe if issubclass(kind, agents.SafeSearch) else {"start": start} if kind is StartedPGELLA else {}
        env = as_vec_env(self.settings["env"], tasks=self.tasks)
        learner = kind("LinearGaussianPolicy", env, learning_rate=step, seed=self.settings["seed"], **arguments, **own)
        if not isinstance(learner, agents.SafeSearch):
            learner.policy.thetas = start
        return learner


def make(run: SweepRun) -> Any:
    """A run's learner: those that know the sets start at anchors in them, the others at the same place if they can."""
    situation, wanted = Situation(run.settings, run.tasks), run.settings["learner"]
    kind = learner_class(run.code.qualified(wanted["class"]))
    start = np.broadcast_to(situation.start, situation.optimal.shape).copy()
    if run.settings["region"] == "beyond" and not issubclass(kind, agents.SafeSearch):
        start = situation.made(agents.ProjectedPG, {"bias": False}, start).safe_sets.anchors
    return situation.made(kind, wanted["arguments"], start)


class Safety(Watcher):
    """Which policies were safe.

    Of policies that were executed, ``checked``, and ``outside``: those outside their sets. ``until``: observations of a
    task after which it was inside first, or None; ``again``: times outside later on. ``unstable``: closed loops at the
    end.
    """

    def __init__(self, run: SweepRun) -> None:
        super().__init__(run)
        self.situation, n = Situation(run.settings, run.tasks), len(run.tasks)
        self.checked = self.outside = self.again = 0
        self.observations, self.until = np.zeros(n, np.int64), np.full(n, -1)

    def after(self, done: int) -> None:
        """Note what was safe."""
        present, safe = self.run.present, self.situation.safe(self.run.theta)
        if done:
            self.observations[present[done - 1]] += 1
        if done < len(present):
            self.checked += len(present[done])
            self.outside += int((~safe[present[done]]).sum())
        self.again += int((~safe & (self.until >= 0)).sum())
        self.until = np.where(safe & (self.until < 0), self.observations, self.until)

    def figures(self) -> Values:
        """See the class."""
        until, lasted = [None if n < 0 else int(n) for n in self.until], int(self.observations.max())
        counts = {"checked": self.checked, "outside": self.outside, "again": self.again}
        return {**counts, "unstable": self.situation.unstable(self.run.theta), "until": until, "lasted": lasted}


class Path(Watcher):
    """Of the first task two parameters: the policy's ``path``, the ``best`` and the ``outline`` of its safe set."""

    def after(self, done: int) -> None:
        """Note where the policy is."""
        self.noted.append(self.run.theta[0, self.run.settings["shown"]])

    def figures(self) -> Values:
        """See the class."""
        situation, shown = Situation(self.run.settings, self.run.tasks), self.run.settings["shown"]
        assert situation.sets is not None
        corners, best = outline(situation.sets[0], shown), situation.optimal[0, shown]
        return {"path": {"path": rounded(np.array(self.noted)), "best": best, "outline": corners}}


class Costs(Watcher):
    """Costs after some ``rounds``.

    ``costs``: mean over tasks; ``typical``: median over tasks of the cost over that of the task's own regulator;
    ``fallen``: how many of these were above `FALLEN`; ``optimal``: mean cost of the regulators.
    """

    def __init__(self, run: SweepRun) -> None:
        super().__init__(run)
        self.optimal = run.costs(Situation(run.settings, run.tasks).optimal)
        self.rounds: list[int] = []

    def after(self, done: int) -> None:
        """Evaluate, not every time."""
        if done <= EVERY_ROUND or done % THEN == 0 or done == len(self.run.present):
            self.rounds.append(done)
            self.noted.append(self.run.costs(self.run.theta))

    def figures(self) -> Values:
        """See the class."""
        costs = np.array(self.noted)
        mean, typical = rounded(costs.mean(axis=1)), rounded(np.median(costs / self.optimal, axis=1))
        fallen, optimal = int((costs > FALLEN * self.optimal).sum()), float(rounded(self.optimal.mean()))
        return {"rounds": self.rounds, "costs": mean, "typical": typical, "fallen": fallen, "optimal": optimal}


def inside(settings: Values, progress: Progress) -> dict[str, Any]:
    """Of policies drawn from boxes around the optima, ``unstable``: share that doesn't control its task, linearised.

    ``unshared``: share of the way from the first policy to the optima that no ``n_basis`` directions can go, at best.
    """
    situation = Situation(settings, sweeps.drawn_tasks(settings))
    n, d = situation.optimal.shape
    draws = np.random.default_rng(settings["seed"]).uniform(-1.0, 1.0, (settings["n_policies"], n, d))
    thetas = situation.optimal + settings["width"] * scales(situation.optimal) * draws
    squares = np.linalg.svd(situation.optimal - situation.start, compute_uv=False) ** 2
    progress(1.0)
    unshared = round(float(np.sqrt(squares[settings["n_basis"] :].sum() / squares.sum())), 6)
    return {"unstable": float(np.mean([situation.unstable(theta) / n for theta in thetas])), "unshared": unshared}


def curve(figures: Values) -> dict[str, Any]:
    """Of the median task's cost over its regulator's."""
    return {"at": figures["rounds"], "values": [round(x, 5) for x in figures["typical"]]}


def final(figures: Values) -> float:
    """Mean cost of the last evaluations."""
    return float(np.mean(figures["costs"][-LAST:]))


def begun(figures: Values) -> float:
    """Mean cost over the first ten rounds."""
    return float(np.mean([c for r, c in zip(figures["rounds"], figures["costs"], strict=True) if 0 < r <= FIRST]))


def early(figures: Values, of: str = "costs") -> float:
    """Mean cost over the first third of the rounds, of which not all are evaluated."""
    third = np.array(figures["rounds"]) <= max(1, figures["rounds"][-1] // 3)
    rounds, costs = np.array(figures["rounds"])[third], np.array(figures[of])[third]
    return float(trapezoid(costs, rounds) / (rounds[-1] - rounds[0]))


typical = partial(early, of="typical")  # the same of the median task's cost over its regulator's


def length(figures: Values) -> float:
    """Way that a policy went, over the distance of its ends."""
    points = np.array(figures["path"]["path"])
    return float(np.linalg.norm(np.diff(points, axis=0), axis=1).sum() / np.linalg.norm(points[-1] - points[0]))


def waiting(figures: Values) -> dict[str, Any]:
    """Share of the tasks whose policies haven't been inside after so many observations."""
    at = np.unique(np.geomspace(1, figures["lasted"] + 1, POINTS).astype(int)) - 1
    until = np.array([np.inf if n is None else n for n in figures["until"]])
    return {"at": at.tolist(), "values": (until > at[:, None]).mean(axis=1).tolist()}


def paths(numbers: Numbers, spec: FigureSpec) -> Figure:
    """Paths of policies through the safe region, a panel a system."""
    figure = new_figure(5 * len(spec.systems), 4.6)
    for axes, system in zip(np.ravel(figure.subplots(1, len(spec.systems))), spec.systems, strict=True):
        found = {method: numbers.by_seed(spec.study, system, method, "path")[0] for method in spec.methods}
        first = next(iter(found.values()))
        axes.fill(*np.array(first["outline"]).T, facecolor="#0000000d", edgecolor="black", label="safe set")
        for (method, of), colour in zip(found.items(), COLOURS, strict=False):
            axes.plot(*np.array(of["path"]).T, color=colour, marker=".", ms=3, label=method)
        axes.plot(*first["best"], "*", color="black", ms=12, label="optimum")
        axes.set_title(system)
        tidy(axes)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    return figure
