"""Finding a learner's settings on a family, by trials on tasks and seeds that no benchmark reports."""

from __future__ import annotations

import importlib.util
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tomli_w
from rich.console import Console

from lifelong_gym.benchmark.disk import claim_folder
from lifelong_gym.benchmark.evaluation import Evaluation
from lifelong_gym.benchmark.experiment import ExperimentError, together
from lifelong_gym.benchmark.families import FamilySpec
from lifelong_gym.benchmark.folder import References
from lifelong_gym.benchmark.learners import LearnerSpec
from lifelong_gym.benchmark.locks import locked
from lifelong_gym.benchmark.protocol import Protocol
from lifelong_gym.benchmark.referee import Mark, Referee
from lifelong_gym.benchmark.results import content_hash, file_name, write_atomically
from lifelong_gym.benchmark.run import Progress, RunSpec
from lifelong_gym.benchmark.runner import run_jobs
from lifelong_gym.benchmark.search_spaces import Search
from lifelong_gym.benchmark.terminal import working
from lifelong_gym.benchmark.workers import Workers
from lifelong_gym.errors import LifelongGymError, MissingExtraError
from lifelong_gym.measures.metrics import normalised

if TYPE_CHECKING:
    import optuna

TASK_SEED, LEARNING_SEED, EVALUATION_SEED = 900_000, 900_000, 2_000_000  # a benchmark's are 0 on, and 1,000,000 on
STUDY, JOURNAL, TUNED = "tune", ".journal", "tuned.toml"
N_STARTUP = 4  # trials that the median needs, the first being the defaults
ARGUMENTS, WHY = "arguments", "why"  # what a trial remembers


class TuningError(LifelongGymError, RuntimeError):
    """A study in which no trial came to its end."""


@dataclass(frozen=True)
class Tuning:
    """What is searched for, and on what.

    Attributes:
        learner: what it has besides; its arguments hold in every trial.
        family: of the tasks, drawn with `TASK_SEED`.
        protocol: budget and evaluations of a trial, whose episodes begin at `EVALUATION_SEED`.
        search: what trials draw from.
        folder: of the study.
        command: that finds the same again.
    """

    learner: LearnerSpec
    family: FamilySpec
    protocol: Protocol
    search: Search
    folder: Path
    command: str

    @property
    def name(self) -> str:
        """Of the study's file."""
        return file_name(STUDY, self.family.name, self.family.preset, self.learner.label)

    @property
    def journal(self) -> Path:
        """Where all trials are kept."""
        return self.folder / f"{self.name}{JOURNAL}"

    @property
    def settings(self) -> dict[str, Any]:
        """What trials can be compared under."""
        return {
            "learner": self.learner.to_dict(),
            "family": {"id": self.family.id, **self.family.world, "tasks_hash": self.family.tasks.hash},
            "protocol": self.protocol.settings,
            "seed": LEARNING_SEED,
            "space": self.search.describe(),
        }

    def study(self) -> optuna.Study:
        """As the file has it; a new one where there is none."""
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        return optuna.create_study(
            storage=JournalStorage(JournalFileBackend(str(self.journal))),
            study_name=STUDY,
            direction="maximize",
            pruner=optuna.pruners.MedianPruner(n_startup_trials=N_STARTUP, n_warmup_steps=1),
            load_if_exists=True,
        )

    def opened(self) -> optuna.Study:
        """The study, fit to go on: trials that were killed don't count.

        Raises:
            ExperimentError: the file is of other settings.
        """
        _repair(self.journal)
        study, settings = self.study(), self.settings
        there = study.user_attrs.get("settings")
        if there is None:
            study.set_user_attr("settings", settings)
        elif content_hash(there) != content_hash(settings):
            keys = [key for key in settings if content_hash({"": there.get(key)}) != content_hash({"": settings[key]})]
            raise ExperimentError(
                f"{self.journal} is a study with other settings ({', '.join(keys)}): choose another folder, or "
                "the same settings"
            )
        for trial in study.get_trials(deepcopy=False):
            if trial.state.name == "RUNNING":
                study.tell(trial.number, state=_state("FAIL"))
        return study


def _state(name: str) -> optuna.trial.TrialState:
    from optuna.trial import TrialState

    return TrialState[name]


def _repair(journal: Path) -> None:
    """A kill may have cut the last line; what stands before it holds."""
    if journal.exists():
        content = journal.read_bytes()
        if content and not content.endswith(b"\n"):
            journal.write_bytes(content[: content.rfind(b"\n") + 1])


def tune(tuning: Tuning, n_trials: int, console: Console, n_processes: int | None = None) -> dict[str, Any]:
    """Carry out what is missing of a study, and write down the best settings.

    The first trial has the learner's own defaults, so that what is found is no worse than these on the study's tasks.

    Args:
        tuning: what to search for.
        n_trials: all together, those of earlier calls too; pruned ones and ones that end in an error count.
        console: for progress.
        n_processes: default: the number of cores.

    Returns:
        The table of the learner as an experiment's file takes it, as it stands in ``tuned.toml``.

    Raises:
        MissingExtraError: Optuna isn't installed.
        ExperimentError: the study's file is of other settings, or the learner doesn't fit the family.
        TuningError: no trial came to its end.
    """
    if importlib.util.find_spec("optuna") is None:
        raise MissingExtraError("optuna", "tune")
    tuning.search.describe()
    spec = RunSpec(tuning.learner, tuning.family, tuning.family.tasks, tuning.protocol, LEARNING_SEED, None)
    spec.check()
    claim_folder(tuning.folder)
    with locked(tuning.folder, lambda: console.status("waiting for another command in this folder")):
        study = tuning.opened()
        done = [trial for trial in study.get_trials(deepcopy=False) if trial.state.name != "FAIL"]
        if len(done) < n_trials:
            with working(console, "measuring what returns are compared with"), Workers(1) as workers:
                levels = References(tuning.folder, tuning.protocol).measured([tuning.family], workers)
            spec = replace(spec, references=together(tuning.family, levels))
            first = not any(trial.user_attrs.get(ARGUMENTS) == {} for trial in done)
            left = range(len(done), n_trials)
            jobs = [TuningTrial(tuning, spec, k, first and k == left[0]) for k in left]
            run_jobs(jobs, tuning.folder, console, n_processes)
        return _written(tuning, tuning.study())


def _written(tuning: Tuning, study: optuna.Study) -> dict[str, Any]:
    """The best settings, put into the folder's file beside those of other learners and families."""
    ended = [trial for trial in study.get_trials(deepcopy=False) if trial.state.name == "COMPLETE"]
    if not ended:
        why = [trial.user_attrs[WHY] for trial in study.get_trials(deepcopy=False) if WHY in trial.user_attrs]
        raise TuningError(f"no trial in {tuning.journal} came to its end{f': {why[-1]}' if why else ''}")
    arguments = {**tuning.learner.arguments, **study.best_trial.user_attrs[ARGUMENTS]}
    spec = replace(tuning.learner, arguments=arguments, command=tuning.command)
    table = {key: value for key, value in spec.to_dict().items() if key != "label"}
    path = tuning.folder / TUNED
    content = tomllib.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    content.setdefault(tuning.family.id, {})[tuning.learner.label] = table
    write_atomically(path, tomli_w.dumps(content))
    return table


@dataclass(frozen=True)
class TuningTrial:
    """One trial, as a job for a worker.

    Attributes:
        tuning: see there.
        spec: of a run with the learner's own arguments.
        number: in this folder.
        defaults: whether it has these and nothing else.
    """

    tuning: Tuning
    spec: RunSpec
    number: int
    defaults: bool

    @property
    def name(self) -> str:
        """Unlike that of all others."""
        return f"{self.tuning.name}--trial{self.number}"

    @property
    def title(self) -> str:
        """For people."""
        return f"{self.spec.learner.label} on {self.spec.family.name}, trial {self.number}"

    @property
    def kind(self) -> str:
        """All take about as long."""
        return STUDY

    def execute(self, folder: Path, progress: Progress) -> Path:
        """Try settings, and report to the study after each evaluation."""
        import optuna

        study = self.tuning.study()
        study.sampler = optuna.samplers.TPESampler(seed=LEARNING_SEED + self.number, n_startup_trials=N_STARTUP + 2)
        study.optimize(lambda trial: self._value(trial, progress), n_trials=1)
        return self.tuning.journal

    def _value(self, trial: optuna.Trial, progress: Progress) -> float:
        import optuna

        arguments = {} if self.defaults else self.tuning.search.draw(trial)
        trial.set_user_attr(ARGUMENTS, arguments)
        learner = self.spec.learner
        spec = replace(self.spec, learner=replace(learner, arguments={**learner.arguments, **arguments}))
        try:
            return _Training(spec, trial, progress).value()
        except (LifelongGymError, ValueError, ArithmeticError) as error:  # settings that can't be, or that diverge
            trial.set_user_attr(WHY, str(error))
            raise optuna.TrialPruned from error


@dataclass
class _Training:
    """A learner's training in a trial; it ends where the trial is pruned."""

    spec: RunSpec
    trial: optuna.Trial
    progress: Progress
    scores: list[float] = field(default_factory=list)

    def value(self) -> float:
        """Its last mean performance over tasks, on the benchmark's scale; raw returns where there is none."""
        spec, n_tasks = self.spec, len(self.spec.tasks)
        if not spec.learner.alone:
            self._learn(range(n_tasks), self._report)
            return self.scores[-1]
        finals: list[float] = []
        for task in range(n_tasks):  # what is reported is the mean of the tasks that are done
            scores: list[float] = []
            self._learn([task], scores.append)
            finals.append(scores[-1])
            self._report(float(np.mean(finals)))
        return self.scores[-1]

    def _report(self, score: float) -> None:
        import optuna

        self.scores.append(score)
        self.trial.report(score, len(self.scores))
        n_reports = len(self.spec.tasks) if self.spec.learner.alone else self.spec.protocol.n_evaluations + 1
        self.progress(min(1.0, len(self.scores) / n_reports))
        if self.trial.should_prune():
            raise optuna.TrialPruned

    def _learn(self, tasks: Sequence[int], hear: Callable[[float], None]) -> None:
        """Train on these tasks, all at once; ``hear`` gets the score of each evaluation."""
        chosen = np.array(list(tasks))
        evaluation = self._evaluation(chosen)
        env = self.spec.training_env(self.spec.tasks[chosen], LEARNING_SEED)

        def evaluate(mark: Mark) -> None:
            hear(self._score(evaluation.measure(learner).returns.mean(axis=1), chosen))

        plan, seen = self.spec.plan(len(chosen)), self.spec.seen(env)
        referee = Referee(env, plan, evaluate, seen=seen)
        learner = self.spec.learner.make(seen, LEARNING_SEED)
        with referee.hearing(learner):
            learner.learn(plan.total_timesteps)
            referee.finish()

    def _evaluation(self, chosen: Any) -> Evaluation:
        everything = self.spec.evaluation
        return replace(everything, tasks=everything.tasks[chosen], seeds=everything.seeds[:, chosen])

    def _score(self, returns: Any, chosen: Any) -> float:
        if self.spec.references is not None:
            zero, best = (np.array(self.spec.references[name])[chosen] for name in ("zero", "best"))
            returns = normalised(returns, zero, best)
        return float(np.mean(returns))
