"""Running experiments in parallel processes, with progress and the time left."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import tomli_w
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from lifelong_gym import registry
from lifelong_gym.benchmark.experiment import Experiment, ExperimentError, Levels, levels_of
from lifelong_gym.benchmark.records import read_run
from lifelong_gym.benchmark.results import write_atomically
from lifelong_gym.benchmark.run import Progress as Report
from lifelong_gym.benchmark.run import RunSpec, forget_checkpoints
from lifelong_gym.benchmark.writer import SUFFIX
from lifelong_gym.envs.backends.threads import set_num_threads

EXPERIMENT = "experiment.toml"
LITTLE_HEADROOM = 0.1
POLL_SECONDS = 0.2
# Linear algebra of small systems takes ten times as long where processes side by side each use all cores.
BLAS_THREADS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

_messages: Any = None  # a worker's way to the parent


class Job(Protocol):
    """What a worker can carry out; a `RunSpec` is one."""

    @property
    def name(self) -> str:
        """Unlike that of all others."""

    @property
    def title(self) -> str:
        """For people."""

    @property
    def kind(self) -> Any:
        """Hashable; jobs of one kind take about as long."""

    def execute(self, folder: Path, progress: Report) -> Path:
        """Do it and write the file, whose path is returned; ``progress`` is called with the share that is done."""


@dataclass
class Outcome:
    """What became of an experiment.

    Attributes:
        written: run files of this call.
        skipped: run files that were finished before.
        failed: why, by name of the run.
    """

    written: list[Path] = field(default_factory=list)
    skipped: list[Path] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def run_experiment(experiment: Experiment, folder: Path, console: Console, n_processes: int | None = None) -> Outcome:
    """Run what is missing of an experiment in a folder; finished runs are kept, unfinished ones go on.

    Args:
        experiment: what to run; it is written into the folder.
        folder: for the run files.
        console: for progress and warnings.
        n_processes: default: the number of cores.

    Raises:
        ExperimentError: a learner doesn't fit a family, or the folder holds another experiment; nothing has begun.
    """
    experiment.check()
    _claim(folder, experiment)
    n_processes = n_processes or os.cpu_count() or 1
    with _workers(n_processes) as (pool, messages):
        with console.status("measuring reference controllers and headroom"):
            levels = list(pool.map(levels_of, experiment.families, [experiment.protocol] * len(experiment.families)))
        _tell_headroom(experiment, levels, console)
        outcome = Outcome()
        missing = [spec for spec in experiment.runs(levels) if not _is_finished(spec, folder, outcome)]
        if missing:
            with _bars(console) as bars:
                _run_all(pool, messages, Forecast(missing, n_processes), folder, outcome, bars)
    return outcome


def run_jobs(jobs: Sequence[Job], folder: Path, console: Console, n_processes: int | None = None) -> Outcome:
    """Carry out jobs of any sort in parallel processes.

    Args:
        jobs: with different names; they must be picklable.
        folder: that they write into; it is made when missing.
        console: for progress; of a finished job only a failure leaves a line.
        n_processes: default: the number of cores.
    """
    outcome = Outcome()
    folder.mkdir(parents=True, exist_ok=True)
    if jobs:
        n_processes = min(n_processes or os.cpu_count() or 1, len(jobs))
        with _workers(n_processes) as (pool, messages), _bars(console) as bars:
            _run_all(pool, messages, Forecast(jobs, n_processes), folder, outcome, bars, tell_each=False)
    return outcome


def _claim(folder: Path, experiment: Experiment) -> None:
    path, text = folder / EXPERIMENT, tomli_w.dumps(experiment.to_dict())
    if path.exists() and path.read_text() != text:
        raise ExperimentError(f"{path} describes another experiment: choose another folder, or run that file")
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(path, text)


def _tell_headroom(experiment: Experiment, levels: list[Levels], console: Console) -> None:
    for family, level in zip(experiment.families, levels, strict=True):
        if level.headroom is not None and level.headroom < LITTLE_HEADROOM:
            console.print(
                f"[yellow]warning:[/yellow] on {family.id}, preset `{family.preset}`, one policy for all tasks reaches "
                f"{1 - level.headroom:.0%} of what per-task policies gain: methods that share can't be told apart there"
            )


def _is_finished(spec: RunSpec, folder: Path, outcome: Outcome) -> bool:
    path = folder / f"{spec.name}{SUFFIX}"
    if not path.exists():
        return False
    if read_run(path).settings != spec.header["settings"]:
        raise ExperimentError(f"{path} is a run with other settings: choose another folder")
    forget_checkpoints(spec, folder)
    outcome.skipped.append(path)
    return True


@contextmanager
def _workers(n: int) -> Iterator[tuple[ProcessPoolExecutor, Any]]:
    """Fresh processes that compute on one thread each; they are stopped when something goes wrong."""
    context = multiprocessing.get_context("spawn")
    messages = context.SimpleQueue()
    pool = ProcessPoolExecutor(n, context, _begin_worker, (messages, registry.registered_here()))
    try:
        with _inherited(BLAS_THREADS):
            yield pool, messages
        pool.shutdown()
    except BaseException:
        for process in multiprocessing.active_children():
            process.terminate()
        pool.shutdown(wait=True, cancel_futures=True)
        raise


@contextmanager
def _inherited(variables: Mapping[str, str]) -> Iterator[None]:
    """Environment variables for processes that are started meanwhile."""
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in variables:
            os.environ.pop(name)
        os.environ.update(before)


def _begin_worker(messages: Any, families: Mapping[str, str]) -> None:
    global _messages
    import torch

    _messages = messages
    registry.register_here(families)
    torch.set_num_threads(1)
    set_num_threads(1)


def _execute(number: int, job: Job, folder: Path) -> Path:
    """In a worker."""
    _messages.put((number, 0.0))
    return job.execute(folder, lambda share: _messages.put((number, share)))


def _run_all(
    pool: ProcessPoolExecutor,
    messages: Any,
    forecast: Forecast,
    folder: Path,
    outcome: Outcome,
    bars: Progress,
    tell_each: bool = True,
) -> None:
    specs = forecast.specs
    futures = {pool.submit(_execute, i, spec, folder): i for i, spec in enumerate(specs)}
    waiting: set[Future[Path]] = set(futures)
    overall = bars.add_task("all runs", total=len(specs), left="")
    lines: dict[int, TaskID] = {}
    while waiting:
        done, waiting = wait(waiting, POLL_SECONDS)
        while not messages.empty():
            number, share = messages.get()
            forecast.update(number, share)
            if number not in lines:
                lines[number] = bars.add_task(specs[number].title, total=1.0, left="")
            bars.update(lines[number], completed=share)
        for future in done:
            number = futures[future]
            _settle(future, specs[number], forecast.finish(number), outcome, bars, tell_each)
            if number in lines:
                bars.remove_task(lines[number])
            bars.advance(overall)
        bars.update(overall, left=forecast.left())


def _settle(future: Future[Path], job: Job, seconds: float, outcome: Outcome, bars: Progress, tell_each: bool) -> None:
    error = future.exception()
    if error is None:
        outcome.written.append(future.result())
        if tell_each:
            bars.console.print(f"{job.title}: {seconds:.0f} s", highlight=False)
    else:
        outcome.failed[job.name] = f"{type(error).__name__}: {error}"
        bars.console.print(f"[red]failed:[/red] {job.title}: {outcome.failed[job.name]}", highlight=False)


def _bars(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, TextColumn("{task.fields[left]}"), console=console)


class Forecast:
    """How long the rest will take, from what jobs of the same kind took so far."""

    def __init__(self, specs: Sequence[Job], n_workers: int) -> None:
        """Nothing has begun."""
        self.specs = specs
        self._kinds = [spec.kind for spec in specs]
        self._n_workers = n_workers
        self._began: dict[int, float] = {}
        self._shares = dict.fromkeys(range(len(specs)), 0.0)
        self._seconds: dict[Any, float] = {}

    def update(self, number: int, share: float) -> None:
        """A run has begun, or come so far."""
        now = time.monotonic()
        self._began.setdefault(number, now)
        self._shares[number] = share
        if share > 0:
            self._seconds[self._kinds[number]] = (now - self._began[number]) / share

    def finish(self, number: int) -> float:
        """A run has ended; returns how many seconds it took."""
        seconds = time.monotonic() - self._began.get(number, time.monotonic())
        self._seconds[self._kinds[number]] = seconds
        self._shares.pop(number)
        return seconds

    def left(self) -> str:
        """In words; empty while nothing can be said."""
        if not self._seconds:
            return ""
        typical = sum(self._seconds.values()) / len(self._seconds)
        needed = [(1 - share) * self._seconds.get(self._kinds[i], typical) for i, share in self._shares.items()]
        seconds = max(sum(needed) / self._n_workers, max(needed, default=0.0))
        return f"about {seconds / 60:.0f} min left" if seconds > 90 else f"about {seconds:.0f} s left"
