"""Running experiments in parallel processes, with progress and the time left."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from lifelong_gym.benchmark.checkpoints import Checkpoints
from lifelong_gym.benchmark.disk import claim_folder
from lifelong_gym.benchmark.experiment import Experiment, ExperimentError, Levels, together
from lifelong_gym.benchmark.families import FamilySpec
from lifelong_gym.benchmark.folder import References, describe, refuse_other_labels, sweep
from lifelong_gym.benchmark.forecast import Forecast, Kind
from lifelong_gym.benchmark.locks import locked
from lifelong_gym.benchmark.outputs import Outputs
from lifelong_gym.benchmark.records import read_run
from lifelong_gym.benchmark.run import Progress as Report
from lifelong_gym.benchmark.run import RunSpec
from lifelong_gym.benchmark.terminal import say, working
from lifelong_gym.benchmark.workers import TRACE, Event, Workers
from lifelong_gym.benchmark.writer import SUFFIX, FinishedRunError, RunBusyError

LITTLE_HEADROOM = 0.1
POLL_SECONDS = 0.2
RETRY_SECONDS = 1.0  # until a run that another process is at is tried again
BROKEN = ".broken"


class Job(Kind, Protocol):
    """What a worker can carry out; a `RunSpec` is one."""

    @property
    def name(self) -> str:
        """Unlike that of all others."""

    @property
    def title(self) -> str:
        """For people."""

    def execute(self, folder: Path, progress: Report) -> Path:
        """Do it and write the file, whose path is returned; ``progress`` is called with the share that is done.

        Raises:
            FinishedRunError: it is done already.
            RunBusyError: another process is at it.
        """


@dataclass
class Outcome:
    """What became of an experiment.

    Attributes:
        written: run files of this call.
        skipped: run files that were finished before, or by others meanwhile.
        failed: why, by name of the run.
    """

    written: list[Path] = field(default_factory=list)
    skipped: list[Path] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def run_experiment(
    experiment: Experiment,
    folder: Path,
    console: Console,
    n_processes: int | None = None,
    outputs: Outputs | None = None,
) -> Outcome:
    """Run what is missing of an experiment in a folder; finished runs are kept, unfinished ones go on.

    The folder may hold runs of other experiments, and others may work on it at the same time: every run is done once.

    Args:
        experiment: what to run; its description is written into the folder.
        folder: for the run files.
        console: for progress and warnings.
        n_processes: default: the number of cores.
        outputs: what to write besides the run files; default: nothing.

    Raises:
        ExperimentError: a learner doesn't fit a family, or the folder holds runs of another learner or family with
            the same label; nothing has begun.
        MissingLibraryError: an output needs a library that isn't installed.
    """
    outputs = outputs or Outputs()
    experiment.check()
    outputs.check()
    claim_folder(folder)
    n_processes = n_processes or os.cpu_count() or 1
    outcome = Outcome()
    with Workers(n_processes) as workers:
        with locked(folder, lambda: console.status("waiting for another command in this folder")):
            refuse_other_labels(folder, experiment)
            missing = [(f, spec) for f, spec in experiment.runs() if not _is_finished(spec, folder, outcome, console)]
            sweep(folder)
            describe(folder, experiment)
            families = list(dict.fromkeys(spec for family, _ in missing for spec in (family, *family.sets.values())))
            with working(console, "measuring reference controllers and headroom"):
                levels = References(folder, experiment.protocol).measured(families, workers)
        _tell_headroom({family: levels[family] for family, _ in missing}, console)
        outputs.tell(experiment.learners, outcome.skipped, console)
        jobs = [replace(spec, references=together(family, levels), outputs=outputs) for family, spec in missing]
        if jobs:
            with _bars(console) as bars:
                _Running(workers, Forecast(jobs, n_processes), folder, outcome, bars).all()
    return outcome


def run_jobs(jobs: Sequence[Job], folder: Path, console: Console, n_processes: int | None = None) -> Outcome:
    """Carry out jobs of any sort in parallel processes.

    Args:
        jobs: with different names; they must be picklable.
        folder: that they write into; it is made when missing.
        console: for progress; of a finished job only a failure leaves a line.
        n_processes: default: the number of cores.

    Raises:
        ValueError: two jobs have the same name.
    """
    outcome = Outcome()
    names = [job.name for job in jobs]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"`jobs` must have different names, or they would share a file. Received {name!r} twice")
    claim_folder(folder)
    if jobs:
        n_processes = min(n_processes or os.cpu_count() or 1, len(jobs))
        with Workers(n_processes) as workers, _bars(console) as bars:
            _Running(workers, Forecast(jobs, n_processes), folder, outcome, bars, tell_each=False).all()
    return outcome


def _tell_headroom(levels: dict[FamilySpec, Levels], console: Console) -> None:
    for family, level in levels.items():
        if level.headroom is not None and level.headroom < LITTLE_HEADROOM:
            say(
                console,
                ("warning: ", "yellow"),
                f"on {family.name}, preset `{family.preset}`, one policy for all tasks reaches "
                f"{1 - level.headroom:.0%} of what per-task policies gain: methods that share can't be told "
                "apart there",
            )


def _is_finished(spec: RunSpec, folder: Path, outcome: Outcome, console: Console) -> bool:
    """Whether there is nothing to do; a damaged file is set aside, and the run is done again."""
    path = folder / f"{spec.name}{SUFFIX}"
    if not path.exists():
        return False
    try:
        settings = read_run(path).settings
    except ValueError as error:
        aside = path.with_name(path.name + BROKEN)
        os.replace(path, aside)
        say(console, ("warning: ", "yellow"), f"{error}; it is now {aside.name}, and run again")
        return False
    if settings != spec.settings:
        raise ExperimentError(f"{path} is a run with other settings: choose another folder")
    Checkpoints(folder, spec.name).sweep()
    outcome.skipped.append(path)
    return True


def _execute(job: Job, folder: Path, progress: Report) -> tuple[Path, bool] | None:
    """In a worker: the file, and whether it was written just now; None while another process is at it."""
    try:
        return job.execute(folder, progress), True
    except FinishedRunError as error:
        return error.path, False
    except RunBusyError:
        return None


@dataclass
class _Running:
    """Jobs under way."""

    workers: Workers
    forecast: Forecast
    folder: Path
    outcome: Outcome
    bars: Progress
    tell_each: bool = True
    lines: dict[int, TaskID] = field(default_factory=dict)
    later: dict[int, float] = field(default_factory=dict)  # when to try again what another process is at

    def all(self) -> None:
        """Until every one of them is done, by whomever."""
        left = set(range(len(self.forecast.specs)))
        overall = self.bars.add_task("all runs", total=len(left), left="")
        for number in left:
            self._submit(number)
        while left:
            for event in self.workers.events(POLL_SECONDS):
                if not event.is_over:
                    self._show(event)
                elif event.error is None and event.value is None:
                    self.later[event.number] = time.monotonic() + RETRY_SECONDS
                    self._line(event.number, " (another command is at it)")
                else:
                    left.remove(event.number)
                    self._settle(event)
                    self.bars.advance(overall)
            for number in [number for number, due in self.later.items() if due <= time.monotonic()]:
                del self.later[number]
                self._submit(number)
            self.bars.update(overall, left=self.forecast.left())

    def _submit(self, number: int) -> None:
        self.workers.submit(number, _execute, self.forecast.specs[number], self.folder)

    def _line(self, number: int, more: str = "") -> TaskID:
        title = self.forecast.specs[number].title + more
        if number not in self.lines:
            self.lines[number] = self.bars.add_task(title, total=1.0, left="")
        self.bars.update(self.lines[number], description=title)
        return self.lines[number]

    def _show(self, event: Event) -> None:
        self.forecast.update(event.number, event.share)
        self.bars.update(self._line(event.number), completed=event.share)

    def _settle(self, event: Event) -> None:
        job, seconds = self.forecast.specs[event.number], self.forecast.finish(event.number)
        if event.number in self.lines:
            self.bars.remove_task(self.lines.pop(event.number))
        trace = self.folder / f"{job.name}{TRACE}"
        if event.error is not None:
            why = self.outcome.failed[job.name] = event.why(trace)
            say(self.bars.console, ("failed: ", "red"), f"{job.title}: {why}")
            return
        path, is_new = event.value
        (self.outcome.written if is_new else self.outcome.skipped).append(path)
        trace.unlink(missing_ok=True)
        if self.tell_each:
            say(self.bars.console, f"{job.title}: {f'{seconds:.0f} s' if is_new else 'done by another'}")


def _bars(console: Console) -> Progress:
    title = TextColumn("{task.description}", markup=False)
    columns = (title, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, TextColumn("{task.fields[left]}"), console=console)
