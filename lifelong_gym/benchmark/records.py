"""Reading run files: one as a `Run`, a folder of them as a list or as a DataFrame. `writer` describes the format."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lifelong_gym.benchmark.families import SETTINGS, TRAINING
from lifelong_gym.benchmark.lines import MALFORMED, check_parts, parsed, yardstick
from lifelong_gym.benchmark.protocol import ROUNDS
from lifelong_gym.benchmark.results import digest
from lifelong_gym.benchmark.writer import CONTINUED, PART, SCHEMA, SUFFIX, RunWriter, end_of, make_header
from lifelong_gym.errors import MissingExtraError
from lifelong_gym.measures.metrics import Communication, normalised
from lifelong_gym.numerics.arrays import FloatArray, IntArray

if TYPE_CHECKING:
    import pandas

__all__ = ["Found", "Run", "RunWriter", "find_runs", "load", "make_header", "read_run", "read_runs", "united"]

LONGEST = 40  # characters of an argument in a title
NOTICEABLE = 1e-6  # difference of references, as a share of what lies between doing nothing and the best


@dataclass(frozen=True, eq=False)
class Run:
    """A finished run.

    Attributes:
        path: of the file.
        header: its first line; see `writer`.
        times: environment steps of training before each evaluation, shape (n_evaluations,).
        stages: of the protocol at each evaluation, n_evaluations of them.
        returns: raw, shape (n_evaluations, n_tasks, n_episodes).
        failed: share of the episodes that failed, shape (n_evaluations, n_tasks).
        communication: of the learner's agents up to each evaluation, or None.
        task_timesteps: environment steps that each task got in training before each evaluation, shape
            (n_evaluations, n_tasks); None where the file doesn't say.
        changes: ``versions``, ``machine`` and ``revision`` that the run went on with after interruptions, where these
            differ from what they were before.
        violations: share of the evaluations' steps in which a constraint was violated, shape (n_evaluations, n_tasks);
            None where there are no constraints.
        sets: the same run in further sets of tasks, by name; see protocol ``generalise``.
        meeting_steps: environment steps by which each agent recognised each task before it was evaluated there, shape
            (n_evaluations, n_tasks, n_agents), which ``times`` don't count; None where nobody does.
    """

    path: Path
    header: Mapping[str, Any]
    times: IntArray
    stages: tuple[int | None, ...]
    returns: FloatArray
    failed: FloatArray
    communication: tuple[Communication | None, ...]
    changes: tuple[Mapping[str, Any], ...] = ()
    task_timesteps: IntArray | None = None
    violations: FloatArray | None = None
    sets: Mapping[str, Run] = field(default_factory=dict)
    meeting_steps: IntArray | None = None

    def __repr__(self) -> str:
        what = f"{self.learner!r} on {self.family} ({self.preset}), {self.protocol}, seed {self.seed}"
        return f"Run({what}: {len(self.times)} evaluations of {self.n_tasks} tasks)"

    @property
    def settings(self) -> Mapping[str, Any]:
        """What reproduces the run: ``learner``, ``family``, ``protocol``, ``seed``."""
        settings: Mapping[str, Any] = self.header["settings"]
        return settings

    @property
    def learner(self) -> str:
        """The learner's label."""
        return str(self.settings["learner"]["label"])

    @property
    def alone(self) -> bool:
        """Whether each task was learned by a fresh learner of its own."""
        return bool(self.settings["learner"].get("alone", False))

    @property
    def family(self) -> str:
        """Its label, or else the id of the environment, with what it was made with unless that is the default."""
        family = self.settings["family"]
        return str(family["label"]) if "label" in family else self.made

    @property
    def made(self) -> str:
        """Id of the environment, with arguments and settings that aren't the defaults."""
        family = self.settings["family"]
        values = {**family.get("arguments", {}), **{name: family[name] for name in SETTINGS if name in family}}
        given = ", ".join(f"{name}={_brief(value)}" for name, value in values.items())
        return f"{family['id']} ({given})" if given else str(family["id"])

    @property
    def preset(self) -> str:
        """What the tasks were drawn from."""
        return str(self.settings["family"]["preset"])

    @property
    def n_tasks(self) -> int:
        """How many tasks."""
        return int(self.returns.shape[1])

    @property
    def protocol(self) -> str:
        """Its name, such as ``multi_task``."""
        return str(self.settings["protocol"]["name"])

    @property
    def seed(self) -> int:
        """Of the learning."""
        return int(self.settings["seed"])

    @property
    def is_normalised(self) -> bool:
        """Whether the family names references, by which `performance` is normalised."""
        return self.header["references"] is not None

    @property
    def n_agents(self) -> int:
        """Under the protocol ``rounds`` how many agents there are, else 1."""
        protocol = self.settings["protocol"]
        return int(protocol["n_agents"]) if protocol["name"] == ROUNDS else 1

    def agent(self, number: int) -> Run:
        """What one agent earned in all tasks; shares of failed episodes stay those of all agents."""
        return replace(self, returns=np.array_split(self.returns, self.n_agents, axis=2)[number])

    def of_agents(self) -> FloatArray:
        """Mean over episodes of each agent, shape (n_evaluations, n_agents, n_tasks), normalised as `performance`."""
        return np.stack([self.agent(i).performance() for i in range(self.n_agents)], axis=1)

    def reference(self, name: str) -> FloatArray:
        """Returns of ``best``, ``zero`` or ``random``, shape (n_tasks,); NaN where the family names no references."""
        references = self.header["references"] or {name: np.full(self.n_tasks, np.nan)}
        return np.asarray(references[name], np.float64)

    def performance(self) -> FloatArray:
        """Mean over episodes, shape (n_evaluations, n_tasks), normalised: 0 is ``zero``, 1 is ``best``.

        Raw returns where the family names no references.
        """
        means: FloatArray = self.returns.mean(axis=2)
        return normalised(means, self.reference("zero"), self.reference("best")) if self.is_normalised else means


def read_run(path: Path | str) -> Run:
    """Read a finished run.

    Raises:
        ValueError: not a run file, of another schema, truncated, or edited since it was written.
    """
    path = Path(path)
    lines = path.read_bytes().splitlines(keepends=True)
    header = parsed(lines[0]) if lines else None
    if header is None or "schema" not in header:
        raise ValueError(f"{path} is not a run file: its first line is no header")
    if header["schema"] != SCHEMA:
        raise ValueError(f"{path} has schema {header['schema']!r}; this version reads {SCHEMA}")
    end = parsed(lines[-1])
    if end is None or "end" not in end or not lines[-1].endswith(b"\n"):
        raise ValueError(f"{path} is truncated: its last line is no end; run it again")
    if end != end_of(lines[:-1]):
        raise ValueError(f"{path} was edited: its hash is not {end.get('hash')}")
    try:
        return _run(path, header, [parsed(line) or {} for line in lines[1:-1]])
    except MALFORMED as error:
        raise ValueError(f"{path} is not a run file: {type(error).__name__}: {error}") from None


def _run(path: Path, header: Mapping[str, Any], lines: list[dict[str, Any]]) -> Run:
    check_parts(header)
    evaluations = [line for line in lines if CONTINUED not in line]
    communication = (line["communication"] for line in evaluations)
    taken, meetings = ([line.get(name) for line in evaluations] for name in ("task_timesteps", "meeting_steps"))
    run = Run(
        path=path,
        header=header,
        times=np.array([line["num_timesteps"] for line in evaluations], np.int64),
        stages=tuple(line["stage"] for line in evaluations),
        **_columns_of(evaluations),
        communication=tuple(None if counts is None else Communication(**counts) for counts in communication),
        task_timesteps=None if None in taken else np.array(taken, np.int64),
        meeting_steps=None if None in meetings else np.array(meetings, np.int64),
        changes=tuple(line[CONTINUED] for line in lines if CONTINUED in line),
    )
    others = header["settings"]["family"].get("evaluate", {})
    run = replace(run, sets={name: _within(run, name, [line["sets"][name] for line in evaluations]) for name in others})
    for one in (run, *run.sets.values()):
        one.performance()  # raises, where references and returns don't fit
    return run


def _columns_of(measured: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What evaluations in one set of tasks gave, as attributes of a `Run`."""
    shares = [each.get("violations") for each in measured]
    return {
        "returns": np.array([each["returns"] for each in measured], np.float64),
        "failed": np.array([each["failed"] for each in measured], np.float64),
        "violations": None if None in shares else np.array(shares, np.float64),
    }


def _within(run: Run, name: str, measured: Sequence[Mapping[str, Any]]) -> Run:
    """The run in a further set of tasks."""
    family, references = run.settings["family"]["evaluate"][name], run.header["references"]
    header = {
        **run.header,
        "settings": {**run.settings, "family": family},
        "tasks_hash": family["tasks"]["hash"],
        "references": None if references is None else references["sets"][name],
    }
    return replace(run, header=header, task_timesteps=None, **_columns_of(measured))


def united(runs: Iterable[Run]) -> tuple[list[Run], list[str]]:
    """Give runs on the same tasks and evaluation episodes the same references: those of the first of them.

    References are measured once in a folder. Where folders of several machines were put together there are several of
    the same kind, and the arithmetic of two kinds of CPU differs in the last bits.

    Returns:
        The runs, and for every one whose references differed by more than that, by how much.
    """
    first: dict[str, Run] = {}
    same, notes = [], []
    for run in runs:
        protocol = run.settings["protocol"]
        episodes = [protocol.get(name) for name in ("n_eval_episodes", "evaluation_seed")]
        sets = {name: [other.made, other.header["tasks_hash"]] for name, other in run.sets.items()}
        kind = [run.made, run.header["tasks_hash"], sets, episodes, yardstick(run.header["references"])]
        model = first.setdefault(json.dumps(kind, sort_keys=True), run)
        if run.header["references"] != model.header["references"]:
            notes += _difference(run, model)
            run = _measured_by(run, model)
        same.append(run)
    return same, notes


def _measured_by(run: Run, model: Run) -> Run:
    """The run with the references of another."""
    sets = {name: _measured_by(own, model.sets[name]) for name, own in run.sets.items()}
    return replace(run, header={**run.header, "references": model.header["references"]}, sets=sets)


def _difference(run: Run, model: Run) -> list[str]:
    best, zero = model.reference("best"), model.reference("zero")
    differences = np.array([run.reference("best") - best, run.reference("zero") - zero])
    apart = float(np.max(np.abs(differences) / (best - zero)))
    if apart <= NOTICEABLE:
        return []
    return [f"{run.path} has references that differ by up to {apart:.1g} from those of {model.path}, which are used"]


class Found(NamedTuple):
    """What is in a folder.

    Attributes:
        runs: the finished ones, by path.
        unfinished: files of runs that were interrupted, or are under way.
        broken: for each file that can't be read, why.
        notes: what else a reader must know; see `united`.
    """

    runs: list[Run]
    unfinished: list[Path]
    broken: list[str]
    notes: Sequence[str] = ()

    def __repr__(self) -> str:
        return f"Found({len(self.runs)} runs, {len(self.unfinished)} unfinished, {len(self.broken)} broken)"


def find_runs(folder: Path | str) -> Found:
    """Read all runs below a folder.

    Raises:
        FileNotFoundError: there is no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"`folder` must be a folder with runs. There is none at {folder}")
    runs, broken = [], []
    for path in sorted(folder.rglob(f"*{SUFFIX}")):
        try:
            runs.append(read_run(path))
        except (OSError, ValueError) as error:
            broken.append(str(error))
    runs, notes = united(runs)
    return Found(runs, sorted(folder.rglob(f"*{SUFFIX}{PART}")), broken, notes)


def read_runs(folder: Path | str) -> list[Run]:
    """All finished runs below a folder; unfinished ones are left out with a warning.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: a file that can't be read, or no finished run.
    """
    found = find_runs(folder)
    if found.broken:
        raise ValueError(found.broken[0])
    if not found.runs:
        raise ValueError(f"{folder} holds no finished run ({len(found.unfinished)} unfinished)")
    if found.unfinished:
        names = ", ".join(path.name for path in found.unfinished)
        warnings.warn(f"left out, because they are unfinished: {names}", stacklevel=2)
    for note in found.notes:
        warnings.warn(note, stacklevel=2)
    return found.runs


def load(folder: Path | str) -> pandas.DataFrame:
    """All finished runs below a folder as a tidy table: a row a run, evaluation and task, under ``rounds`` and agent.

    Columns: ``learner``, ``family``, ``preset``, ``protocol``, ``seed``, ``set`` (of tasks: ``training``, or the name
    of one that learners are evaluated in besides), ``agent`` (missing where tasks are the agents), ``num_timesteps``,
    ``stage``, ``task``, ``return`` (raw, mean over episodes), ``normalised``, ``failed`` (share), ``best`` and ``zero``
    (returns of the references; these and ``normalised`` are missing where a family names none), ``rounds``,
    ``messages`` and ``bytes`` (of all agents so far; missing where nothing is sent).

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: a file that can't be read, or no finished run.
        MissingExtraError: pandas isn't installed.
    """
    try:
        import pandas
    except ModuleNotFoundError:
        raise MissingExtraError("pandas", "frames") from None
    columns = [each for run in read_runs(folder) for each in _parts(run)]
    table = pandas.concat([pandas.DataFrame(each) for each in columns], ignore_index=True)
    counts = ["agent", "stage", "rounds", "messages", "bytes"]
    return table.astype(dict.fromkeys(counts, "Int64"))


def _parts(run: Run) -> Iterator[dict[str, Any]]:
    """Columns of each set of tasks and, where agents aren't tasks, of each agent."""
    for name, part in {TRAINING: run, **run.sets}.items():
        if run.protocol == ROUNDS:
            yield from (_columns(part.agent(number), name, number) for number in range(run.n_agents))
        else:
            yield _columns(part, name, None)


def _columns(run: Run, set_name: str, agent: int | None) -> dict[str, Any]:
    n_evaluations, n_tasks, _ = run.returns.shape
    rows = n_evaluations * n_tasks
    sent = {
        name: np.repeat([None if c is None else getattr(c, name) for c in run.communication], n_tasks)
        for name in ("rounds", "messages", "bytes")
    }
    return {
        "learner": np.repeat(run.learner, rows),
        "family": np.repeat(run.family, rows),
        "preset": np.repeat(run.preset, rows),
        "protocol": np.repeat(run.protocol, rows),
        "seed": np.repeat(run.seed, rows),
        "set": np.repeat(set_name, rows),
        "agent": np.repeat(np.array([agent], object), rows),
        "num_timesteps": np.repeat(run.times, n_tasks),
        "stage": np.repeat(np.array(run.stages, object), n_tasks),
        "task": np.tile(np.arange(n_tasks), n_evaluations),
        "return": run.returns.mean(axis=2).ravel(),
        "normalised": run.performance().ravel() if run.is_normalised else np.nan,
        "failed": run.failed.ravel(),
        "best": np.tile(run.reference("best"), n_evaluations),
        "zero": np.tile(run.reference("zero"), n_evaluations),
        **sent,
    }


def _brief(value: Any) -> str:
    """An argument, or a hash of one that is longer than a title."""
    text = json.dumps(value)
    return text if len(text) <= LONGEST else f"#{digest(text.encode())[:8]}"
