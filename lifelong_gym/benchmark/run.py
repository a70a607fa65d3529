"""One run of a benchmark: a learner, a task set, a protocol and a seed, from the beginning to its file."""

from __future__ import annotations

import glob
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lifelong_gym import registry
from lifelong_gym.benchmark.evaluation import Evaluation, Measured
from lifelong_gym.benchmark.learners import LearnerSpec, learner_class
from lifelong_gym.benchmark.metrics import Communication
from lifelong_gym.benchmark.protocol import Protocol
from lifelong_gym.benchmark.referee import Mark, Plan, Referee
from lifelong_gym.benchmark.results import write_atomically
from lifelong_gym.benchmark.writer import PART, SUFFIX, RunWriter, make_header
from lifelong_gym.envs.parallel import LifelongParallelEnv
from lifelong_gym.envs.vector import LifelongVectorEnv
from lifelong_gym.tasks import IntArray, TaskSet
from lifelong_gym.wrappers import Budget, CoreVecEnv, ParameterSharing, as_vec_env

Progress = Callable[[float], None]
TIMING = ".timing.json"
MODEL, CHANNEL = ".model.zip", ".channel.json"


@dataclass(frozen=True)
class RunSpec:
    """What decides a run.

    Attributes:
        learner: who learns.
        env_id: of the family.
        preset: name of what the tasks were drawn from.
        task_seed: of that draw.
        tasks: the tasks.
        protocol: how they are presented and evaluated.
        seed: of the learner and its environment, and of the order of tasks.
        references: returns of ``best``, ``zero`` and ``random`` policies per task, and their ``version``; None where
            the family names none.
    """

    learner: LearnerSpec
    env_id: str
    preset: str
    task_seed: int
    tasks: TaskSet
    protocol: Protocol
    seed: int
    references: Mapping[str, Any] | None

    @property
    def horizon(self) -> int:
        """Of the family."""
        return registry.family(self.env_id).horizon

    @property
    def name(self) -> str:
        """Of the file."""
        parts = (self.protocol.name, self.env_id, self.preset, self.learner.label, f"seed{self.seed}")
        return "--".join("".join(c if c.isalnum() or c in "-+_." else "_" for c in part) for part in parts)

    @property
    def title(self) -> str:
        """For people."""
        return f"{self.learner.label} on {self.env_id}, seed {self.seed}"

    @property
    def kind(self) -> tuple[str, str]:
        """Runs of one learner on one family take about as long."""
        return self.learner.label, self.env_id

    def execute(self, folder: Path, progress: Progress) -> Path:
        """See `execute`."""
        return execute(self, folder, progress)

    @property
    def header(self) -> dict[str, Any]:
        """First line of the file."""
        n = len(self.tasks)
        settings = {
            "learner": self.learner.to_dict(),
            "family": {
                "id": self.env_id,
                "preset": self.preset,
                "n_tasks": n,
                "task_seed": self.task_seed,
                "tasks": self.tasks.to_dict(),
            },
            "protocol": self.protocol.to_dict(n, self.horizon, self.seed),
            "seed": self.seed,
        }
        return make_header(settings, self.tasks.hash, self.references)

    @property
    def evaluation(self) -> Evaluation:
        """The episodes that everybody is evaluated on."""
        p = self.protocol
        return Evaluation.of(
            self.env_id, self.tasks, p.n_eval_episodes, p.evaluation_seed, self.learner.task_observation
        )

    def plan(self, n_tasks: int) -> Plan:
        """Of training in so many tasks; a learner that has one for itself is trained on nothing else."""
        if self.learner.alone and n_tasks == 1:
            return self.protocol.plan_alone(self.horizon)
        return self.protocol.plan(n_tasks, self.horizon, self.seed)

    def check(self) -> None:
        """Make the learner, without training.

        Raises:
            ValueError: it can't be made, or the protocol doesn't fit it or the tasks.
        """
        tasks = self.tasks[[0]] if self.learner.alone else self.tasks
        self.protocol.plan(len(self.tasks), self.horizon, self.seed)
        env = self.training_env(tasks, self.seed)
        env.budget = Budget(env.core, self.plan(len(tasks)).stages)
        self.learner.make(env, self.seed)

    def training_env(self, tasks: TaskSet, seed: int) -> CoreVecEnv:
        """With the protocol's rows; under ``distributed``, agents reach each other."""
        arguments: dict[str, Any] = {"tasks": tasks, "task_observation": self.learner.task_observation}
        inner: Any = LifelongVectorEnv(self.env_id, self.protocol.n_rows(len(tasks)), **arguments)
        if self.protocol.name == "distributed" and len(tasks) > 1:
            inner = ParameterSharing(LifelongParallelEnv(self.env_id, **arguments), self.protocol.topology)
        env = as_vec_env(inner)
        assert isinstance(env, CoreVecEnv)
        env.seed(seed)
        return env


def execute(spec: RunSpec, folder: Path, progress: Progress = lambda share: None) -> Path:
    """Run to the end and write the file; a run that was interrupted goes on, and ends in the same bytes.

    Learners whose class says ``resumes_exactly`` go on from their last evaluation, others begin again.

    Args:
        spec: what to run.
        folder: for ``NAME.jsonl`` and, beside it, the time that it took.
        progress: called with the share that is done.

    Returns:
        Path of the run file.

    Raises:
        FileExistsError: the run is finished already.
        ValueError: an unfinished run with other settings is in the way.
        LearnerError, BudgetError: see there.
    """
    path = folder / f"{spec.name}{SUFFIX}"
    began = time.monotonic()
    with _writer(spec, path) as writer:
        if spec.learner.alone:
            _run_alone(spec, writer, progress)
        else:
            _Together(spec, folder, writer, progress).run()
        writer.finish()
    write_atomically(path.with_suffix(TIMING), json.dumps({"seconds": round(time.monotonic() - began, 3)}) + "\n")
    forget_checkpoints(spec, folder)
    return path


def forget_checkpoints(spec: RunSpec, folder: Path) -> None:
    """Of a finished run, which a kill may have left behind."""
    for suffix in (MODEL, CHANNEL):
        for checkpoint in folder.glob(f"{glob.escape(spec.name)}.at*{suffix}"):
            checkpoint.unlink()


def _resumes(spec: RunSpec) -> bool:
    return not spec.learner.alone and getattr(learner_class(spec.learner.kind), "resumes_exactly", False)


def _writer(spec: RunSpec, path: Path) -> RunWriter:
    """On a new file, or on the unfinished one where the learner can go on from there."""
    writer = RunWriter(path, spec.header)
    if writer.n_written and not _resumes(spec):
        writer.close()
        path.with_name(path.name + PART).unlink()
        return RunWriter(path, spec.header)
    return writer


class _Together:
    """A run of one learner over all tasks."""

    def __init__(self, spec: RunSpec, folder: Path, writer: RunWriter, progress: Progress) -> None:
        self._spec, self._folder, self._writer, self._progress = spec, folder, writer, progress
        self._plan = spec.plan(len(spec.tasks))
        self._evaluation, self._resumes = spec.evaluation, _resumes(spec)
        self._env = spec.training_env(spec.tasks, spec.seed)
        taken = (writer.last or {}).get("task_timesteps")
        self._referee = Referee(self._env, self._plan, self._evaluate, writer.n_written, taken)
        self._learner = self._restored() if writer.n_written else spec.learner.make(self._env, spec.seed)

    def run(self) -> None:
        done = self._writer.n_written
        taken = self._learner.num_timesteps if done else 0
        left = self._plan.total_timesteps - taken
        with self._referee.hearing(self._learner):
            if left > 0:
                self._learner.learn(left, **({"reset_num_timesteps": False} if done else {}))
            self._referee.finish()

    def _evaluate(self, mark: Mark) -> None:
        measured = self._evaluation.measure(self._learner)
        n = self._writer.n_written
        if self._resumes:
            self._save(n + 1)
        taken = self._referee.budget.taken
        self._writer.evaluation(mark.num_timesteps, *measured, mark.stage, self._communication(), taken)
        self._forget(n)
        self._progress(mark.num_timesteps / self._plan.total_timesteps)

    def _communication(self) -> Communication | None:
        channel = self._env.channel
        return None if channel is None else Communication(**channel.ledger.snapshot())

    def _at(self, n_evaluations: int, suffix: str) -> Path:
        return self._folder / f"{self._spec.name}.at{n_evaluations}{suffix}"

    def _save(self, n: int) -> None:
        if self._env.channel is not None:
            write_atomically(self._at(n, CHANNEL), json.dumps(self._env.channel.state_dict()))
        self._learner.save(self._at(n, MODEL))

    def _restored(self) -> Any:
        n = self._writer.n_written
        if self._env.channel is not None:
            self._env.channel.load_state_dict(json.loads(self._at(n, CHANNEL).read_text()))
        return learner_class(self._spec.learner.kind).load(self._at(n, MODEL), env=self._env)

    def _forget(self, n: int) -> None:
        for suffix in (MODEL, CHANNEL):
            self._at(n, suffix).unlink(missing_ok=True)


def _run_alone(spec: RunSpec, writer: RunWriter, progress: Progress) -> None:
    """A fresh learner for each task, written side by side; in ``transfer`` for the novel one only."""
    plan, everything, n_tasks = spec.plan(1), spec.evaluation, len(spec.tasks)
    chosen = np.arange(n_tasks)
    if spec.protocol.name == "transfer":
        chosen = np.array(spec.protocol.order(n_tasks, spec.seed)[-1:])
    untrained = everything.measure(spec.learner.make(spec.training_env(spec.tasks, spec.seed), spec.seed))
    histories = []
    for done, task in enumerate(chosen.tolist()):
        histories.append(_alone(spec, plan, everything.only(task), task))
        progress((done + 1) / len(chosen))
    for mark, *columns in zip(plan.marks, *histories, strict=True):
        returns, failed, taken = untrained.returns.copy(), untrained.failed.copy(), np.zeros(n_tasks, np.int64)
        returns[chosen] = np.concatenate([measured.returns for measured, _ in columns])
        failed[chosen] = np.concatenate([measured.failed for measured, _ in columns])
        taken[chosen] = np.concatenate([steps for _, steps in columns])
        writer.evaluation(len(chosen) * mark.num_timesteps, returns, failed, mark.stage, task_timesteps=taken)


def _alone(spec: RunSpec, plan: Plan, evaluation: Evaluation, task: int) -> list[tuple[Measured, IntArray]]:
    """At each mark, what was measured, and the steps taken."""
    seed = int(np.random.SeedSequence([spec.seed, task]).generate_state(1)[0])
    env = spec.training_env(spec.tasks[[task]], seed)
    history: list[tuple[Measured, IntArray]] = []

    def evaluate(mark: Mark) -> None:
        history.append((evaluation.measure(learner), referee.budget.taken.copy()))

    referee = Referee(env, plan, evaluate)
    learner = spec.learner.make(env, seed)
    with referee.hearing(learner):
        learner.learn(plan.total_timesteps)
        referee.finish()
    return history
