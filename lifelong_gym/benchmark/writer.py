"""Writing run files: one JSON-lines file a run, a line an evaluation.

While a run is under way its lines go to ``NAME.jsonl.part``; a run that was killed continues after its last whole line.
At the end the file becomes ``NAME.jsonl`` in one move. It holds no times of day and no durations, so a run that was
interrupted ends in the same bytes as one that wasn't, as long as it goes on with the same versions on the same machine;
else a line says what changed.

Lines:
    header: ``schema``, ``versions``, ``machine``, ``revision``, ``settings`` (``learner``, ``family``, ``protocol``,
        ``seed``), ``tasks_hash``, ``references`` (``version``, ``how``; ``best``, ``zero``, ``random``, each a return
        per task; null where the family names none) and ``estimators``.
    evaluation: ``num_timesteps``, ``returns`` [task][episode], ``failed`` [task], ``stage``, ``communication``,
        ``task_timesteps`` [task]; with constraints ``violations`` [task]; where learners are evaluated in further sets,
        ``sets`` {name: ``returns``, ``failed``, ``violations``}, and ``references`` have ``sets`` too; where agents
        recognise tasks before, ``meeting_steps`` [task][agent].
    change: ``continued``: the ``versions``, ``machine`` and ``revision`` of what follows.
    end: ``end``, ``n_evaluations``, and a ``hash`` of all that stands before.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import numpy.typing as npt

from lifelong_gym.benchmark.lines import MALFORMED, check_header, check_parts, checked, parsed, yardstick
from lifelong_gym.benchmark.locks import lock
from lifelong_gym.benchmark.results import digest, machine, native, revision, versions
from lifelong_gym.errors import LifelongGymError
from lifelong_gym.measures.metrics import Communication

SCHEMA = 2
SUFFIX = ".jsonl"
PART = ".part"
ORIGIN = ("versions", "machine", "revision")  # what may change while a run is under way
CONTINUED = "continued"
ESTIMATORS = {
    "returns": "undiscounted sum of raw rewards of each evaluation episode",
    "failed": "share of the evaluation episodes that ended in failure",
    "normalised": "(mean return over episodes - zero) / (best - zero), per task; without references the mean return",
}


class RunBusyError(LifelongGymError, RuntimeError):
    """A run that another process is writing."""


class FinishedRunError(LifelongGymError, FileExistsError):
    """A run that is finished already.

    Attributes:
        path: of its file.
    """

    def __init__(self, path: Path) -> None:
        """Name the file."""
        self.path = path
        super().__init__(f"{path} holds a finished run already; delete it to run it again")


def make_header(settings: Mapping[str, Any], tasks_hash: str, references: Mapping[str, Any] | None) -> dict[str, Any]:
    """The first line of a run file, with what this machine and checkout add to it.

    Args:
        settings: ``learner``, ``family``, ``protocol`` and ``seed``; see the module.
        tasks_hash: of the task set.
        references: ``version``, and ``best``, ``zero``, ``random``: returns, each of shape (n_tasks,); None where
            the family names none.

    Raises:
        ValueError: a part is missing, or references that nothing can be normalised by.
    """
    header = {
        "schema": SCHEMA,
        "versions": versions(),
        "machine": machine(),
        "revision": revision(),
        "settings": settings,
        "tasks_hash": tasks_hash,
        "references": references,
        "estimators": ESTIMATORS,
    }
    plain: dict[str, Any] = json.loads(_line(header))
    check_header(plain)
    return plain


def _line(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, default=native, allow_nan=False).encode() + b"\n"


class RunWriter:
    """Writes a run file, line by line; use it in a ``with`` statement, or call `close`.

    Attributes:
        n_written: evaluations that the file holds; more than none when an interrupted run is continued.
    """

    def __init__(self, path: Path, header: Mapping[str, Any]) -> None:
        """Begin the file, or continue what an interrupted run left.

        What is damaged, or belongs to a run with other settings, is begun again. What was written with other
        versions, on another machine or from another revision is continued, and the file says so.

        Args:
            path: of the finished file, ``NAME.jsonl``; its folder is made when missing.
            header: from `make_header`.

        Raises:
            FinishedRunError: a finished run is there.
            RunBusyError: another process is writing it.
            ValueError: the header isn't one.
        """
        if path.suffix != SUFFIX:
            raise ValueError(f"`path` must end in {SUFFIX}. Received {path}")
        self._path, self._part = path, path.with_name(path.name + PART)
        self._header: dict[str, Any] = json.loads(_line(header))
        check_parts(self._header)
        self._part.parent.mkdir(parents=True, exist_ok=True)
        self._file = _opened(path, self._part)
        self._file.seek(0)
        self._lines = _unfinished(self._file.read(), self._header)
        self.n_written = n_evaluations(self._lines)
        self._file.truncate(sum(map(len, self._lines)))
        if not self._lines:
            self.begin_again()

    def begin_again(self) -> None:
        """Forget what was written, if anything was."""
        self._file.truncate(0)
        self._lines, self.n_written = [], 0
        self._write(_line(self._header))

    def _write(self, *lines: bytes) -> None:
        """To the file at once."""
        self._file.write(b"".join(lines))
        self._file.flush()
        self._lines.extend(lines)

    @property
    def fingerprint(self) -> str:
        """Of all that is written."""
        return digest(b"".join(self._lines))

    @property
    def last(self) -> dict[str, Any] | None:
        """The last evaluation, as it stands in the file."""
        return json.loads(self._lines[-1]) if self.n_written else None

    def _change(self) -> list[bytes]:
        """A line that says what has changed since the last one, if anything has."""
        now = {name: self._header[name] for name in ORIGIN}
        return [] if now == _origin(self._lines) else [_line({CONTINUED: now})]

    def evaluation(
        self,
        num_timesteps: int,
        returns: npt.ArrayLike,
        failed: npt.ArrayLike,
        stage: int | None = None,
        communication: Communication | None = None,
        task_timesteps: npt.ArrayLike | None = None,
        before: Callable[[str], None] = lambda fingerprint: None,
        violations: npt.ArrayLike | None = None,
        sets: Mapping[str, Mapping[str, Any]] | None = None,
        meeting_steps: npt.ArrayLike | None = None,
    ) -> None:
        """Write one evaluation.

        Args:
            num_timesteps: environment steps of training so far; more than at the last evaluation.
            returns: raw, shape (n_tasks, n_episodes).
            failed: share of the episodes that failed, in [0, 1], shape (n_tasks,).
            stage: of the protocol: index of the task being learned, in learned order.
            communication: of the learner's agents so far.
            task_timesteps: environment steps that each task got in training so far, shape (n_tasks,).
            before: called before anything is written, with the `fingerprint` that there will be.
            violations: share of the steps in which a constraint was violated, in [0, 1], shape (n_tasks,).
            sets: ``returns``, ``failed`` and ``violations`` in the family's further sets, by name.
            meeting_steps: environment steps by which agents recognised tasks before, shape (n_tasks, n_agents).

        Raises:
            ValueError: shapes or numbers that don't fit.
        """
        content: dict[str, Any] = {
            "num_timesteps": int(num_timesteps),
            "returns": returns,
            "failed": failed,
            "stage": stage,
            "communication": None if communication is None else asdict(communication),
            "task_timesteps": task_timesteps,
        }
        for name, values in (("violations", violations), ("meeting_steps", meeting_steps)):
            if values is not None:
                content[name] = values
        if sets:
            content["sets"] = sets
        whole = checked(content, self._header["settings"]["family"], self.last)
        lines = [*self._change(), _line(whole)]
        before(digest(b"".join([*self._lines, *lines])))
        self._write(*lines)
        self.n_written += 1

    def finish(self) -> Path:
        """Write the end and give the file its name, which is returned.

        Raises:
            ValueError: nothing was evaluated.
        """
        if self.n_written == 0:
            raise ValueError(f"{self._part}: a run must hold at least one evaluation")
        self._file.write(_line(end_of(self._lines)))
        self._file.flush()
        os.fsync(self._file.fileno())
        if os.name == "nt":  # an open file can't be moved there
            self.close()
        os.replace(self._part, self._path)  # under the lock, or another process could take the file for unfinished
        self.close()
        return self._path

    def close(self) -> None:
        """Close the file; without `finish` before, the run can be continued."""
        self._file.close()

    def __enter__(self) -> RunWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def end_of(lines: Sequence[bytes]) -> dict[str, Any]:
    """What the last line says of all earlier ones."""
    return {"end": True, "n_evaluations": n_evaluations(lines), "hash": digest(b"".join(lines))}


def n_evaluations(lines: Sequence[bytes]) -> int:
    """Of a run's lines, how many are evaluations."""
    return sum("num_timesteps" in (parsed(line) or {}) for line in lines)


def _origin(lines: Sequence[bytes]) -> dict[str, Any]:
    """Versions, machine and revision of the last lines."""
    said = [content for content in map(parsed, lines) if content and ("schema" in content or CONTINUED in content)]
    return {name: said[-1].get(CONTINUED, said[-1])[name] for name in ORIGIN}


def _opened(path: Path, part: Path) -> IO[bytes]:
    """The file of an unfinished run, from which other processes are kept out until it is closed."""
    while True:
        file = open(part, "a+b")  # noqa: SIM115
        try:
            if not lock(file, wait=False):
                raise RunBusyError(f"{part} is being written by another process")
            is_there = part.exists() and os.path.samestat(os.fstat(file.fileno()), part.stat())
            if path.exists():
                if is_there:
                    part.unlink()
                raise FinishedRunError(path)
        except BaseException:
            file.close()
            raise
        if is_there:
            return file
        file.close()  # since it was opened, another process has given it its final name, which is gone again


def _unfinished(data: bytes, header: Mapping[str, Any]) -> list[bytes]:
    """The lines that an interrupted run can continue after, up to its last whole evaluation.

    None, if any of them is damaged or the run was another one.
    """
    lines = data.splitlines(keepends=True)
    contents = [parsed(line) if line.endswith(b"\n") else None for line in lines]
    while len(contents) > 1 and "num_timesteps" not in (contents[-1] or {}):
        contents.pop()
    try:
        if not contents or not _continues(contents[0] or {}, header):
            return []
        last = None
        for content in contents[1:]:
            last = _valid(content or {}, header, last)
    except MALFORMED:
        return []
    return lines[: len(contents)]


def _continues(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether two headers are of one run, wherever and from whatever revision they were written."""
    check_parts(old)
    decisive = [name for name in new if name not in (*ORIGIN, "references")]
    return (
        old.keys() == new.keys()
        and all(old[name] == new[name] for name in decisive)
        and yardstick(old["references"]) == yardstick(new["references"])
    )


def _valid(content: dict[str, Any], header: Mapping[str, Any], last: dict[str, Any] | None) -> dict[str, Any] | None:
    """The last evaluation, after a further line."""
    if CONTINUED in content:
        _ = [content[CONTINUED][name] for name in ORIGIN]
        return last
    return checked(content, header["settings"]["family"], last)
