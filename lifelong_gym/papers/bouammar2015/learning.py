"""One learner over rounds in each of which some tasks come up; costs of all policies, and which were safe."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.utils import LinearSchedule

from lifelong_gym import registry
from lifelong_gym.agents import PolicyConstraints, PolicySearch, ProjectedPG, SafeSearch
from lifelong_gym.agents.safety.safe_tasks import constraints_of
from lifelong_gym.benchmark.results import rounded, short
from lifelong_gym.envs.rollout import rollout
from lifelong_gym.imports import load
from lifelong_gym.numerics.arrays import BoolArray, FloatArray, IntArray
from lifelong_gym.papers.bouammar2015 import regions
from lifelong_gym.papers.bouammar2015.started import StartedPGELLA
from lifelong_gym.papers.jobs import Progress
from lifelong_gym.references.lqr import Linearised, scale_of
from lifelong_gym.tasks.task_set import TaskSet
from lifelong_gym.wrappers import CoreVecEnv, as_vec_env

EVALUATION_SEED = 2**31  # far from the seeds that anything is trained with
N_STARTS = 100  # as in the paper
FALLEN = 10.0  # cost over that of the regulator, above which a policy has lost control in some trajectories
EVERY_ROUND, THEN = 20, 5  # rounds that are all evaluated, and how many lie between evaluations from there on
EVERYBODY, RANDOM, ONE = "all", "random", "one"  # tasks that come up in a round


@dataclass(frozen=True)
class Situation:
    """The tasks of one seed, where their policies start, and what is safe.

    Attributes:
        env: its id.
        tasks: drawn for this seed from the preset whose reward is quadratic.
        start: policy that all begin with where no set is given, shape (d,).
        optimal: policies of the tasks' own regulators, shape (n_tasks, d).
        sets: one a task, or None.
    """

    env: str
    tasks: TaskSet
    start: FloatArray
    optimal: FloatArray
    sets: list[PolicyConstraints] | None

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Situation:
        """As settings describe it; ``region`` is None, ``["around", width]`` or ``["beyond", low, high]``."""
        env = settings["env"]
        family = registry.family(env)
        tasks = registry.sample_tasks(env, settings["n_tasks"], settings["seed"], "safe2015")
        optimal = regions.regulators(family, tasks)
        start = regions.start_policy(family, settings["share"], settings["nominal"])
        region = settings["region"]
        if region is None:
            return cls(env, tasks, start, optimal, None)
        name, *numbers = region
        sets = regions.around(optimal, *numbers) if name == regions.AROUND else regions.beyond(optimal, tuple(numbers))
        return cls(env, tasks, start, optimal, sets)

    def costs(self, theta: FloatArray) -> FloatArray:
        """Of mean policies, (n_tasks, d), a step, on the same starts for everybody: (n_tasks,)."""
        ran = rollout(
            self.env,
            tasks=self.tasks,
            theta=theta,
            n_trajectories=N_STARTS,
            seed=EVALUATION_SEED,
            sigma=0.0,
            bias=False,
        )
        return np.asarray(-ran.returns.mean(axis=1) / registry.family(self.env).horizon, np.float64)

    def safe(self, theta: FloatArray) -> BoolArray:
        """Whose policies are in their sets, as floating-point numbers; all, where there are none: (n_tasks,)."""
        if self.sets is None:
            return np.ones(len(theta), bool)
        return np.array([one.holds(row) for one, row in zip(self.sets, theta, strict=True)])

    @cached_property
    def _tangent(self) -> Linearised:
        return Linearised.of(registry.family(self.env), self.tasks)

    def unstable(self, theta: FloatArray) -> int:
        """Tasks whose closed loop, linearised at the goal, doesn't contract."""
        loops = self._tangent.closed_loop(theta, scale_of(registry.family(self.env)))
        return int((np.abs(np.linalg.eigvals(loops)).max(axis=1) >= 1.0).sum())

    def learner(self, settings: Mapping[str, Any]) -> Any:
        """What settings describe, at its first policies."""
        wanted = settings["learner"]
        kind, arguments = load(wanted["class"]), dict(wanted["arguments"])
        if issubclass(kind, SafeSearch):
            arguments |= {"nominal": settings["anchors"], "constraints": self.sets}
        learner = self._make(kind, settings, arguments)
        if self.sets is None:
            begin_at(learner, np.broadcast_to(self.start, self.optimal.shape).copy())
        elif not isinstance(learner, SafeSearch):
            outside = settings["region"][0] == regions.AROUND
            begin_at(
                learner, np.broadcast_to(self.start, self.optimal.shape).copy() if outside else self.anchors(settings)
            )
        return learner

    def anchors(self, settings: Mapping[str, Any]) -> FloatArray:
        """Where safe learners begin."""
        arguments = {"nominal": settings["anchors"], "constraints": self.sets, "bias": False}
        anchors: FloatArray = self._make(ProjectedPG, settings, arguments).safe_sets.anchors
        return anchors

    def _make(self, kind: Any, settings: Mapping[str, Any], arguments: Mapping[str, Any]) -> Any:
        env, (first, last) = as_vec_env(self.env, tasks=self.tasks), settings["step"]
        step = LinearSchedule(first, last, 1.0)
        return kind("LinearGaussianPolicy", env, learning_rate=step, seed=settings["seed"], **arguments)


def begin_at(learner: PolicySearch, start: FloatArray) -> None:
    """Give a learner its first policies, (n_tasks, d), about which those with a basis vary."""
    if isinstance(learner, SafeSearch):
        learner.safety.register(constraints_of(learner.constraints, *start.shape), start)
    elif isinstance(learner, StartedPGELLA):
        learner.begin_at(start)
    learner.policy.thetas = start


@dataclass
class Record:
    """What is noted of a run.

    Attributes:
        rounds: after which costs were measured.
        costs: of all tasks, (n_tasks,) each.
        executed_outside: policies that were executed outside their sets.
        checked: policies that were executed.
        observations: of each task so far, shape (n_tasks,).
        until: observations of each task after which its policy was in its set first; -1: not yet.
        again: rounds in which a policy was outside after it had been inside, shape (n_tasks,).
        seconds: of the processor, a round.
        path: all policies of the first task.
    """

    rounds: list[int] = field(default_factory=list)
    costs: list[FloatArray] = field(default_factory=list)
    executed_outside: int = 0
    checked: int = 0
    observations: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    until: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    again: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    seconds: list[float] = field(default_factory=list)
    path: list[FloatArray] = field(default_factory=list)


class Rounds(BaseCallback):
    """Brings the tasks of each round, and notes what came of it."""

    def __init__(self, situation: Situation, present: list[list[int]], progress: Progress) -> None:
        """``present``: the tasks of each round."""
        super().__init__()
        self._situation, self._present, self._progress = situation, present, progress
        n = len(situation.tasks)
        self.record = Record(
            observations=np.zeros(n, np.int64), until=np.full(n, -1, np.int64), again=np.zeros(n, np.int64)
        )
        self._resumed = 0.0

    def _on_training_start(self) -> None:
        self._note(0)
        self._bring(0)

    def _on_step(self) -> bool:
        self.record.seconds.append(time.process_time() - self._resumed)
        done = len(self.record.seconds)
        self.record.observations[self._present[done - 1]] += 1
        self._note(done)
        self._progress(done / len(self._present))
        if done < len(self._present):
            self._bring(done)
        return True

    def _bring(self, i: int) -> None:
        env, theta = self.model.env, self._theta()
        assert isinstance(env, CoreVecEnv)
        env.core.admit(self._present[i])
        self.record.checked += len(self._present[i])
        self.record.executed_outside += int((~self._situation.safe(theta)[self._present[i]]).sum())
        self._resumed = time.process_time()

    def _note(self, done: int) -> None:
        theta, record = self._theta(), self.record
        safe = self._situation.safe(theta)
        record.again += ~safe & (record.until >= 0)
        record.until = np.where(safe & (record.until < 0), record.observations, record.until)
        record.path.append(theta[0])
        if done <= EVERY_ROUND or done % THEN == 0 or done == len(self._present):
            record.rounds.append(done)
            record.costs.append(self._situation.costs(theta))

    def _theta(self) -> FloatArray:
        theta: FloatArray = self.model.policy.thetas  # type: ignore[assignment]
        return theta


def tasks_of_rounds(order: str, n_tasks: int, n_rounds: int, seed: int) -> list[list[int]]:
    """Which tasks come up: all of them, one drawn at random, or always the first."""
    if order == EVERYBODY:
        return [list(range(n_tasks))] * n_rounds
    if order == ONE:
        return [[0]] * n_rounds
    return [[t] for t in np.random.default_rng([seed, 1]).integers(0, n_tasks, n_rounds).tolist()]


def learn(settings: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Run one learner.

    Returns:
        ``rounds`` of evaluations; ``costs``: mean over tasks; ``typical``: median over tasks of the cost over that of
        the task's own regulator; ``fallen``: how many of these are above `FALLEN`, and ``evaluated``, how many there
        are; ``optimal``: mean cost of the regulators; ``unstable``: closed loops at the end; ``seconds`` a round. Where
        there are sets also ``checked``, ``executed_outside``, ``until`` and ``again`` (see `Record`). Where ``order``
        is ``"one"`` also what a figure shows of the first task: ``path``, (n_rounds + 1, 2), ``best``, (2,), and
        ``outline`` of its set, (n, 2).
    """
    situation = Situation.of(settings)
    learner = situation.learner(settings)
    n_rounds, order = settings["rounds"], settings["order"]
    present = tasks_of_rounds(order, len(situation.tasks), n_rounds, settings["seed"])
    watch = Rounds(situation, present, progress)
    n_steps = sum(map(len, present)) * learner.n_trajectories * learner.env.core.horizon
    learner.learn(n_steps, callback=watch, log_interval=None)
    record = watch.record
    costs, optimal = np.array(record.costs), situation.costs(situation.optimal)
    result: dict[str, Any] = {
        "rounds": record.rounds,
        "costs": rounded(costs.mean(axis=1)),
        "typical": rounded(np.median(costs / optimal, axis=1)),
        "fallen": int((costs > FALLEN * optimal).sum()),
        "evaluated": costs.size,
        "optimal": short(optimal.mean(), 7),
        "unstable": situation.unstable(learner.policy.thetas),
        "seconds": short(np.median(record.seconds), 3),
    }
    if situation.sets is not None:
        names = ("checked", "executed_outside", "until", "again")
        result |= {name: getattr(record, name) for name in names}
    if order == ONE:
        assert situation.sets is not None
        shown = list(settings["shown"])
        result["path"] = rounded(np.array(record.path)[:, shown])
        result["best"] = rounded(situation.optimal[0][shown])
        result["outline"] = rounded(regions.outline(situation.sets[0], shown))
    return result
