"""One run of a benchmark: a learner, a task set, a protocol and a seed, from the beginning to its file."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lifelong_gym.benchmark.baselines import BestKnown
from lifelong_gym.benchmark.checkpoints import Checkpoints
from lifelong_gym.benchmark.evaluation import Evaluation, Measured
from lifelong_gym.benchmark.families import FamilySpec
from lifelong_gym.benchmark.learners import LearnerSpec, learner_class
from lifelong_gym.benchmark.logs import Logs
from lifelong_gym.benchmark.outputs import Outputs, model_name
from lifelong_gym.benchmark.protocol import ROUNDS, Protocol
from lifelong_gym.benchmark.referee import Mark, Plan, Referee
from lifelong_gym.benchmark.results import content_hash, file_name, native, write_atomically
from lifelong_gym.benchmark.writer import SUFFIX, RunWriter, make_header
from lifelong_gym.envs.parallel import LifelongParallelEnv
from lifelong_gym.envs.task_features import on_scale_of
from lifelong_gym.envs.vector import LifelongVectorEnv
from lifelong_gym.measures.metrics import Communication
from lifelong_gym.numerics.arrays import IntArray
from lifelong_gym.tasks.task_set import TaskSet
from lifelong_gym.wrappers import CoreVecEnv, HiddenTasks, ParameterSharing, as_vec_env

Progress = Callable[[float], None]
TIMING = ".timing.json"


@dataclass(frozen=True)
class RunSpec:
    """What decides a run.

    Attributes:
        learner: who learns.
        family: of the tasks, and what their envs are made with.
        tasks: the tasks.
        protocol: how they are presented and evaluated.
        seed: of the learner and its environment, and of the order of tasks.
        references: returns of ``best``, ``zero`` and ``random`` policies per task, and their ``version``; under
            ``sets`` those of further sets of tasks, by name; None where the family names none.
        outputs: what is written besides the run file.
    """

    learner: LearnerSpec
    family: FamilySpec
    tasks: TaskSet
    protocol: Protocol
    seed: int
    references: Mapping[str, Any] | None
    outputs: Outputs = field(default_factory=Outputs)

    @property
    def _family(self) -> dict[str, Any]:
        named = {"id": self.family.id, **self.family.world, "n_tasks": len(self.tasks)}
        return {**named, **({"label": self.family.label} if self.family.label else {})}

    @property
    def _sets(self) -> dict[str, Any]:
        return {name: {"id": spec.id, **spec.world} for name, spec in self.family.sets.items()}

    @property
    def name(self) -> str:
        """Of the file: what the run is, and a hash of all settings but the seed, so that no two runs share one."""
        family = {**self._family, **({"evaluate": self._sets} if self._sets else {})}
        settings = {"learner": self.learner.to_dict(), "family": family, "protocol": self.protocol.settings}
        named = file_name(self.protocol.name, self.family.name, self.family.preset, self.learner.label)
        return f"{named}--{content_hash(settings)[:8]}--seed{self.seed}"

    @property
    def title(self) -> str:
        """For people."""
        return f"{self.learner.label} on {self.family.name}, seed {self.seed}"

    @property
    def kind(self) -> tuple[str, str]:
        """Runs of one learner on one family take about as long."""
        return self.learner.label, self.family.name

    def execute(self, folder: Path, progress: Progress) -> Path:
        """See `execute`."""
        return execute(self, folder, progress)

    @property
    def settings(self) -> dict[str, Any]:
        """What reproduces the run, JSON-native."""
        settings = {
            "learner": self.learner.to_dict(),
            "family": {**self._family, "tasks": self.tasks.to_dict(), **self._drawn_sets},
            "protocol": self.protocol.to_dict(len(self.tasks), self.family.horizon, self.seed),
            "seed": self.seed,
        }
        plain: dict[str, Any] = json.loads(json.dumps(settings, default=native))
        return plain

    @property
    def header(self) -> dict[str, Any]:
        """First line of the file."""
        return make_header(self.settings, self.tasks.hash, self.references)

    @property
    def _drawn_sets(self) -> dict[str, Any]:
        if not self.family.sets:
            return {}
        tasks = {name: spec.tasks.to_dict() for name, spec in self.family.sets.items()}
        return {"evaluate": {name: {**world, "tasks": tasks[name]} for name, world in self._sets.items()}}

    @property
    def evaluation(self) -> Evaluation:
        """The episodes that everybody is evaluated on."""
        return self._evaluation(self.family, self.tasks)

    @property
    def elsewhere(self) -> dict[str, Evaluation]:
        """Of further sets of tasks, by name."""
        return {name: self._evaluation(spec, spec.tasks) for name, spec in self.family.sets.items()}

    @property
    def _sees(self) -> str:
        """What is seen of tasks, by the scale of those that are learned, wherever a learner acts."""
        return on_scale_of(self.learner.task_observation, self.family.preset)

    def _evaluation(self, family: FamilySpec, tasks: TaskSet) -> Evaluation:
        p, sees = self.protocol, self._sees
        agents = (p.n_rows(len(tasks)), p.steps_of_meetings(family.horizon)) if p.name == ROUNDS else ()
        return Evaluation.of(family.id, tasks, p.n_eval_episodes, p.evaluation_seed, sees, family.made_with, *agents)

    def plan(self, n_tasks: int) -> Plan:
        """Of training in so many tasks; a learner that has one for itself is trained on nothing else."""
        if self.learner.alone and n_tasks == 1:
            return self.protocol.plan_alone(self.family.horizon)
        return self.protocol.plan(n_tasks, self.family.horizon, self.seed)

    def check(self) -> None:
        """Make the learner, without training.

        Raises:
            ValueError: it can't be made, or the protocol doesn't fit it or the tasks.
        """
        if self.protocol.name == ROUNDS:
            self._check_agents()
        tasks = self.tasks[[0]] if self.learner.alone else self.tasks
        self.protocol.plan(len(self.tasks), self.family.horizon, self.seed)
        env = self.training_env(tasks, self.seed)
        env.budget = self.plan(len(tasks)).budget(env.core)
        learner = self.learner.make(self.seen(env), self.seed)
        for name, evaluation in self.elsewhere.items():
            self._check_set(name, evaluation, env, learner)

    def _check_agents(self) -> None:
        """Raise `ValueError` where agents would know tasks."""
        if self.learner.alone:
            raise ValueError(
                "it learns every task from scratch, and agents in rounds don't know which task they are in"
            )
        if self.learner.task_observation != "hide":
            sees = self.learner.task_observation
            raise ValueError(f'`task_observation` must be "hide" under the protocol `{ROUNDS}`. Received {sees!r}')
        if issubclass(learner_class(self.learner.kind), BestKnown):
            raise ValueError("the best policies known are those of tasks, which agents in rounds don't know")

    def _check_set(self, name: str, evaluation: Evaluation, env: CoreVecEnv, learner: Any) -> None:
        """Raise `ValueError` unless what is learned can act in a further set of tasks."""
        there = evaluation.env(1)
        pairs = {
            "observations": (env.observation_space, there.single_observation_space),
            "actions": (env.action_space, there.single_action_space),
        }
        there.close()
        for what, (own, other) in pairs.items():
            if own != other:
                raise ValueError(
                    f"`evaluate.{name}` must have the {what} of the tasks learned, {own}. Received {other}"
                )
        if self.learner.alone:
            raise ValueError(f"it learns every task from scratch, and has nothing for `evaluate.{name}`")
        own_only = self.learner.task_observation == "one_hot" or _is_of_tasks(learner)
        if own_only and evaluation.tasks != self.tasks:
            raise ValueError(
                f"what it learns is a task's own, and the tasks of `evaluate.{name}` aren't those that are learned "
                f"(hash {evaluation.tasks.hash}, not {self.tasks.hash})"
            )

    def training_env(self, tasks: TaskSet, seed: int) -> CoreVecEnv:
        """With the protocol's rows; under ``distributed`` and ``rounds``, agents reach each other."""
        settings: dict[str, Any] = {"tasks": tasks, "task_observation": self._sees}
        settings.update(self.family.made_with)
        n_rows = self.protocol.n_rows(len(tasks))
        if self.protocol.name == ROUNDS:
            settings["schedule"] = {"rounds": self.protocol.rounds}
        inner: Any = LifelongVectorEnv(self.family.id, n_rows, **settings)
        if self.protocol.name == ROUNDS and n_rows > 1:
            settings["n_agents"] = n_rows
        if self.protocol.name in ("distributed", ROUNDS) and n_rows > 1:
            inner = ParameterSharing(LifelongParallelEnv(self.family.id, **settings), self.protocol.topology)
        env = as_vec_env(inner)
        assert isinstance(env, CoreVecEnv)
        env.seed(seed)
        return env

    def seen(self, env: CoreVecEnv) -> CoreVecEnv | HiddenTasks:
        """What a learner gets of its training env: under ``rounds``, nothing that tells of tasks."""
        return HiddenTasks(env) if self.protocol.name == ROUNDS else env


def _is_of_tasks(learner: Any) -> bool:
    """Whether a learner has a policy for each task and none for others; one that all tasks share is no such."""
    return isinstance(learner, BestKnown) or (hasattr(learner, "for_task") and not getattr(learner, "shared", False))


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
        FinishedRunError: the run is finished already.
        RunBusyError: another process is at it.
        LearnerError, BudgetError: see there.
    """
    path = folder / f"{spec.name}{SUFFIX}"
    began = time.monotonic()
    checkpoints = Checkpoints(folder, spec.name)
    with RunWriter(path, spec.header) as writer:
        if not _resumes(spec):
            writer.begin_again()
        checkpoints.sweep(keep=writer.n_written)
        if spec.learner.alone:
            _run_alone(spec, folder, writer, progress)
        else:
            _Together(spec, folder, checkpoints, writer, progress).run()
        seconds = round(time.monotonic() - began, 3)
        write_atomically(path.with_suffix(TIMING), json.dumps({"seconds": seconds}) + "\n")
        writer.finish()
    checkpoints.sweep()
    return path


def _resumes(spec: RunSpec) -> bool:
    if spec.learner.alone or spec.learner.norm or spec.protocol.name == ROUNDS:
        return False  # under `rounds`, what agents go on from would tell of their tasks
    return getattr(learner_class(spec.learner.kind), "resumes_exactly", False)


class _Together:
    """A run of one learner over all tasks."""

    def __init__(
        self, spec: RunSpec, folder: Path, checkpoints: Checkpoints, writer: RunWriter, progress: Progress
    ) -> None:
        self._spec, self._folder, self._writer, self._progress = spec, folder, writer, progress
        self._plan = spec.plan(len(spec.tasks))
        self._evaluation, self._elsewhere = spec.evaluation, spec.elsewhere
        self._resumes, self._checkpoints = _resumes(spec), checkpoints
        self._run_id: str | None = None
        restored = self._restored()
        self._learner = spec.learner.make(self._seen, spec.seed) if restored is None else restored
        what = (spec.outputs, folder, spec.name, spec.settings, spec.references)
        self._logs = Logs(*what, goes_on=restored is not None, run_id=self._run_id)

    def run(self) -> None:
        done = self._writer.n_written
        taken = self._learner.num_timesteps if done else 0
        left = self._plan.total_timesteps - taken
        with self._logs, self._referee.hearing(self._learner):
            if left > 0:
                more = {"reset_num_timesteps": False} if done else {}
                self._learner.learn(left, **self._logs.attached(self._learner), **more)
            self._referee.finish()
        if done == len(self._plan.marks):
            self._keep()

    def _evaluate(self, mark: Mark) -> None:
        measured = self._evaluation.measure(self._learner)
        sets = {name: evaluation.measure(self._learner) for name, evaluation in self._elsewhere.items()}
        n = self._writer.n_written
        if n + 1 == len(self._plan.marks):
            self._keep()
        sent, taken = self._communication(), self._referee.of_tasks
        self._writer.evaluation(
            mark.num_timesteps, measured.returns, measured.failed, mark.stage, sent, taken, self._save,
            measured.violations, {name: other._asdict() for name, other in sets.items()}, measured.meeting_steps,
        )  # fmt: skip
        self._checkpoints.forget(n)
        self._logs.evaluation(mark.num_timesteps, measured)
        self._progress(mark.num_timesteps / self._plan.total_timesteps)

    def _communication(self) -> Communication | None:
        channel = self._env.channel
        return None if channel is None else Communication(**channel.ledger.snapshot())

    def _keep(self) -> None:
        """The last policy that is evaluated, which is not always the last one that is learned."""
        if self._spec.outputs.keep_models and hasattr(self._learner, "save"):
            self._learner.save(self._folder / model_name(self._spec.name))

    def _save(self, fingerprint: str) -> None:
        if self._resumes:
            channel = None if self._env.channel is None else self._env.channel.state_dict()
            state = {"num_timesteps": self._learner.num_timesteps, "channel": channel, "log": self._logs.run_id}
            self._checkpoints.save(self._writer.n_written + 1, fingerprint, self._learner, state)

    def _prepare(self, n_done: int = 0, taken: Sequence[int] | None = None) -> None:
        """The environment and its referee, as they are after so many evaluations and steps of each task."""
        self._env = self._spec.training_env(self._spec.tasks, self._spec.seed)
        self._seen = self._spec.seen(self._env)
        self._referee = Referee(self._env, self._plan, self._evaluate, n_done, taken, self._seen)

    def _restored(self) -> Any | None:
        """The learner of an interrupted run, or None, and then the run begins again."""
        n = self._writer.n_written
        learner = self._checkpoints.load(n, self._writer.fingerprint, self._loaded) if n else None
        if learner is None:
            self._prepare()
            if n:
                self._writer.begin_again()
        return learner

    def _loaded(self, model: Path, state: Mapping[str, Any]) -> Any:
        last = self._writer.last
        assert last is not None
        self._prepare(self._writer.n_written, last["task_timesteps"])
        if self._env.channel is not None:
            self._env.channel.load_state_dict(state["channel"])
        learner = learner_class(self._spec.learner.kind).load(model, env=self._seen)
        found = (getattr(learner, "seed", self._spec.seed), learner.num_timesteps)
        if found != (self._spec.seed, state["num_timesteps"]):
            raise ValueError(f"{model} is of another seed, or taken after other steps: {found}")
        self._run_id = state["log"]
        return learner


def _run_alone(spec: RunSpec, folder: Path, writer: RunWriter, progress: Progress) -> None:
    """A fresh learner for each task, written side by side; in ``transfer`` for the novel one only."""
    plan, everything, n_tasks = spec.plan(1), spec.evaluation, len(spec.tasks)
    chosen = np.arange(n_tasks)
    if spec.protocol.name == "transfer":
        chosen = np.array(spec.protocol.order(n_tasks, spec.seed)[-1:])
    untrained = everything.measure(spec.learner.make(spec.training_env(spec.tasks, spec.seed), spec.seed))
    histories = []
    with Logs(spec.outputs, folder, spec.name, spec.settings, spec.references, False) as logs:
        for done, task in enumerate(chosen.tolist()):
            histories.append(_alone(spec, folder, logs, plan, everything.only(task), task))
            progress((done + 1) / len(chosen))
        for mark, *columns in zip(plan.marks, *histories, strict=True):
            taken = np.zeros(n_tasks, np.int64)
            taken[chosen] = np.concatenate([steps for _, steps in columns])
            measured = untrained.but(chosen, [measured for measured, _ in columns])
            num_timesteps = len(chosen) * mark.num_timesteps
            more: dict[str, Any] = {"task_timesteps": taken, "violations": measured.violations}
            writer.evaluation(num_timesteps, measured.returns, measured.failed, mark.stage, **more)
            logs.evaluation(num_timesteps, measured)


def _alone(
    spec: RunSpec, folder: Path, logs: Logs, plan: Plan, evaluation: Evaluation, task: int
) -> list[tuple[Measured, IntArray]]:
    """At each mark, what was measured, and the steps taken."""
    seed = int(np.random.SeedSequence([spec.seed, task]).generate_state(1)[0])
    env = spec.training_env(spec.tasks[[task]], seed)
    history: list[tuple[Measured, IntArray]] = []

    def evaluate(mark: Mark) -> None:
        history.append((evaluation.measure(learner), referee.of_tasks.copy()))
        if spec.outputs.keep_models and len(history) == len(plan.marks) and hasattr(learner, "save"):
            learner.save(folder / model_name(spec.name, task))

    referee = Referee(env, plan, evaluate)
    learner = spec.learner.make(env, seed)
    with referee.hearing(learner):
        learner.learn(plan.total_timesteps, **logs.attached(learner, task))
        referee.finish()
    return history
