"""The measured run: a learner sweeps over tasks, and watchers note what came of every sweep.

Evaluation is by fused rollouts of mean policies, which take a fraction of the time of stepping episodes.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from lifelong_gym import registry
from lifelong_gym.agents import PolicySearch
from lifelong_gym.benchmark.learners import LearnerSpec
from lifelong_gym.benchmark.results import rounded
from lifelong_gym.envs.parallel import LifelongParallelEnv
from lifelong_gym.envs.rollout import rollout
from lifelong_gym.errors import one_of
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.papers.code import Code
from lifelong_gym.tasks.task_set import TaskSet
from lifelong_gym.wrappers import CoreVecEnv, Faults, ParameterSharing, as_vec_env

Values = Mapping[str, Any]

EVERYBODY, RANDOM, ONE = "all", "random", "one"  # tasks that come up in a sweep
SINGLY = "singly"  # all tasks in a sweep, but the learner learns from each before the next comes
VALUES: Values = {
    "seeds": 5,  # runs of every method
    "n_tasks": 10,
    "preset": "default",
    "task_seed": 0,
    "tasks_per_seed": False,  # whether every seed draws its own tasks
    "sweeps": 10,
    "order": EVERYBODY,
    "n_starts": 4,  # trajectories a task of an evaluation
    "nodes": 0,  # of a network between the tasks; 0: learners that need one have their own
    "topology": "ring",
    "faults": {},
}
EVALUATION_SEED = 2**31  # far from the seeds that anything is trained with
ERRORS = {
    "agreement": "train/agreement_error",
    "distance": "train/distance_to_central",
    "basis_agreement": "train/basis_agreement_error",
    "basis_distance": "train/basis_distance_to_central",
}

Progress = Callable[[float], None]


class SweepRun:
    """A learner on its tasks."""

    def __init__(
        self,
        code: Code,
        settings: Values,
        tasks: TaskSet | None = None,
        learner: PolicySearch | None = None,
        rows: Sequence[int] | None = None,
    ) -> None:
        """Draw the tasks and make the learner, where they aren't given.

        Args:
            code: the paper's.
            settings: what decides the run.
            tasks: what is learned.
            learner: who learns.
            rows: which of the learner's policies these tasks have; None: all.
        """
        self.code, self.settings = code, settings
        self.tasks = drawn_tasks(settings) if tasks is None else tasks
        self.learner = self._made() if learner is None else learner
        self.rows = slice(None) if rows is None else list(rows)  # a policy that is shared has one row
        # The tasks that come up, by visit of the learner; a sweep has one, or one a task.
        self.present = tasks_of_sweeps(settings["order"], len(self.tasks), settings["sweeps"], settings["seed"])
        self.visits = len(self.present) // settings["sweeps"]  # of a sweep
        self.seconds: list[float] = []  # of the processor, a sweep so far; watching isn't counted

    @property
    def theta(self) -> FloatArray:
        """Of the mean policies now, shape (n_tasks, d), or (1, d) where all share one."""
        return np.asarray(self.learner.policy.thetas)[self.rows]

    def costs(self, theta: FloatArray) -> FloatArray:
        """Of mean policies, per step, on the same starts for everybody: (n_tasks,)."""
        return mean_costs(self.settings, self.tasks, theta, self.learner.bias)

    def _made(self) -> PolicySearch:
        if self.settings["maker"]:
            made = self.code.load(self.settings["maker"])(self)
        else:
            made = make_learner(self.code, self.settings, environment(self.settings, self.tasks))
        if not isinstance(made, PolicySearch):
            must = "what is measured by sweeps must be a `PolicySearch`; others need a `measure` of the study's own"
            raise TypeError(f"{must}. Received {type(made).__name__}")
        return made


class Watcher(ABC):
    """Notes something of a run: ``noted``, if it looks after every sweep."""

    def __init__(self, run: SweepRun) -> None:
        self.run = run
        self.noted: list[Any] = []

    def after(self, done: int) -> None:
        """So many sweeps are done; 0: learning hasn't begun."""
        del done  # some look at the end only

    @abstractmethod
    def figures(self) -> Values:
        """What was noted, JSON-native but for arrays."""


class MeanCost(Watcher):
    """``values``: minus the mean reward per step, (n_sweeps + 1, n_tasks)."""

    def after(self, done: int) -> None:
        """Evaluate."""
        self.noted.append(self.run.costs(self.run.theta))

    def figures(self) -> Values:
        """See the class."""
        return {"values": rounded(np.array(self.noted))}


class _ProcessorTime(Watcher):
    """``seconds`` of the processor, a sweep."""

    def figures(self) -> Values:
        return {"seconds": rounded(self.run.seconds, 3)}


class _Sent(Watcher):
    """``bytes``, ``messages`` and ``rounds`` so far after each sweep; empty where nothing is sent."""

    def after(self, done: int) -> None:
        channel = getattr(self.run.learner, "channel", None)
        if channel is not None and done:
            self.noted.append(channel.ledger.snapshot())

    def figures(self) -> Values:
        return {name: [sent[name] for sent in self.noted] for name in ("bytes", "messages", "rounds")}


class _NodeErrors(Watcher):
    """``errors`` of nodes that agree, by name, a number a sweep."""

    def after(self, done: int) -> None:
        if done:
            known = self.run.learner.logger.name_to_value
            self.noted.append({name: float(known[key]) for name, key in ERRORS.items() if key in known})

    def figures(self) -> Values:
        return {"errors": {name: rounded([each[name] for each in self.noted], 3) for name in self.noted[-1]}}


class _LastBasis(Watcher):
    """``basis``: L at the end, (d, n_basis), or None."""

    def figures(self) -> Values:
        knowledge = getattr(self.run.learner, "knowledge", None)
        return {"basis": None if knowledge is None else knowledge.array("basis").copy()}


WATCHERS: Mapping[str, type[Watcher]] = {
    "mean_cost": MeanCost,
    "seconds": _ProcessorTime,
    "ledger": _Sent,
    "errors": _NodeErrors,
    "basis": _LastBasis,
}


def learn(code: Code, settings: Values, progress: Progress = lambda done: None) -> dict[str, Any]:
    """Run one learner; what its study's watchers noted."""
    run = SweepRun(code, settings)
    watchers = [(code.load(name) if ":" in name else WATCHERS[name])(run) for name in settings["watch"]]
    sweep(run, watchers, progress)
    return {name: value for watcher in watchers for name, value in watcher.figures().items()}


def sweep(run: SweepRun, watchers: Sequence[Watcher] = (), progress: Progress = lambda done: None) -> None:
    """Learn for all sweeps of a run; ``progress`` is called before them and after each, with the share done."""
    env, n_visits, resumed = run.learner.env, 0, 0.0
    assert isinstance(env, CoreVecEnv)

    def pause() -> None:
        """Watch, after whole sweeps, and bring the next visit's tasks."""
        nonlocal resumed
        if n_visits % run.visits == 0:
            for watcher in watchers:
                watcher.after(len(run.seconds))
            progress(n_visits / len(run.present))
            resumed = time.process_time()
        if run.settings["order"] != EVERYBODY and n_visits < len(run.present):
            env.core.admit(run.present[n_visits])

    def visited(*_: Any) -> bool:
        nonlocal n_visits
        n_visits += 1
        if n_visits % run.visits == 0:
            run.seconds.append(time.process_time() - resumed)
        pause()
        return True

    pause()
    n_steps = sum(map(len, run.present)) * run.learner.n_trajectories * env.core.horizon
    run.learner.learn(n_steps, callback=visited, log_interval=None)


def make_learner(code: Code, settings: Values, env: CoreVecEnv) -> Any:
    """The method's, for an environment."""
    wanted = settings["learner"]
    kind = code.qualified(wanted["class"])
    return LearnerSpec.of(settings["method"], **{**wanted, "class": kind}).make(env, settings["seed"])


def drawn_tasks(settings: Values) -> TaskSet:
    """The tasks that settings speak of."""
    seed = settings["task_seed"] + (settings["seed"] if settings["tasks_per_seed"] else 0)
    env, n, own = settings["env"], settings["n_tasks"], settings["env_arguments"]
    return registry.sample_tasks(env, n, seed, settings["preset"], **own)


def environment(settings: Values, tasks: TaskSet) -> CoreVecEnv:
    """A row a task; where there is a network, nodes reach each other through its channel."""
    parallel: Any = LifelongParallelEnv(settings["env"], tasks=tasks, **settings["env_arguments"])
    if settings["nodes"]:
        faults = Faults(**settings["faults"], seed=settings["seed"])
        parallel = ParameterSharing(parallel, nodes=settings["nodes"], topology=settings["topology"], faults=faults)
    env = as_vec_env(parallel)
    assert isinstance(env, CoreVecEnv)
    return env


def mean_costs(settings: Values, tasks: TaskSet, theta: FloatArray, bias: bool) -> FloatArray:
    """Minus the mean reward per step of mean policies, on the same starts for everybody: (n_tasks,)."""
    env, own = settings["env"], settings["env_arguments"]
    starts = {"n_trajectories": settings["n_starts"], "seed": EVALUATION_SEED}
    run = rollout(env, tasks=tasks, theta=theta, sigma=0.0, bias=bias, **starts, **own)
    return np.asarray(-run.returns.mean(axis=1) / registry.family(env, **own).horizon, np.float64)


def tasks_of_sweeps(order: str, n_tasks: int, n_sweeps: int, seed: int) -> list[list[int]]:
    """Which tasks come up: all of them, one drawn at random, always the first, or one after another.

    >>> tasks_of_sweeps("all", 2, 3, 0)
    [[0, 1], [0, 1], [0, 1]]
    >>> tasks_of_sweeps("singly", 2, 2, 0)
    [[0], [1], [1], [0]]
    """
    one_of("order", order, (EVERYBODY, RANDOM, ONE, SINGLY))
    rng = np.random.default_rng([seed, 1])
    if order == SINGLY:
        return [[task] for _ in range(n_sweeps) for task in rng.permutation(n_tasks).tolist()]
    if order == RANDOM:
        return [[task] for task in rng.integers(0, n_tasks, n_sweeps).tolist()]
    return [[0] if order == ONE else list(range(n_tasks))] * n_sweeps
