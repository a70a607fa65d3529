"""Writing run files: one JSON-lines file a run, a line an evaluation.

While a run is under way its lines go to ``NAME.jsonl.part``; a run that was killed continues after its last whole line.
At the end the file becomes ``NAME.jsonl`` in one move. It holds no times of day and no durations, so a run that was
interrupted ends in the same bytes as one that wasn't.

Lines:
    header: ``schema``, ``versions``, ``machine``, ``revision``, ``settings`` (``learner``, ``family``, ``protocol``,
        ``seed``), ``tasks_hash``, ``references`` (``version``, ``how``; ``best``, ``zero``, ``random``, each a return
        per task; null where the family names none) and ``estimators``.
    evaluation: ``num_timesteps``, ``returns`` [task][episode], ``failed`` [task], ``stage``, ``communication``,
        ``task_timesteps`` [task].
    end: ``end``, ``n_evaluations``, and a ``hash`` of all that stands before.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from lifelong_gym.benchmark.metrics import Communication
from lifelong_gym.benchmark.results import digest, machine, native, revision, versions
from lifelong_gym.tasks import FloatArray

SCHEMA = 2
SUFFIX = ".jsonl"
PART = ".part"
SETTINGS = ("learner", "family", "protocol", "seed")
LEVELS = ("best", "zero", "random")
ESTIMATORS = {
    "returns": "undiscounted sum of raw rewards of each evaluation episode",
    "failed": "share of the evaluation episodes that ended in failure",
    "normalised": "(mean return over episodes - zero) / (best - zero), per task; without references the mean return",
}


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
    _check_header(plain)
    return plain


def _check_header(header: Mapping[str, Any]) -> None:
    for part, names in {"settings": SETTINGS, "references": ("version", *LEVELS)}.items():
        missing = [] if header[part] is None else [name for name in names if name not in header[part]]
        if missing:
            raise ValueError(f"`{part}` must hold {', '.join(names)}. Missing: {', '.join(missing)}")
    if header["references"] is not None:
        check_levels(header["references"], header["settings"]["family"]["n_tasks"])


def check_levels(references: Mapping[str, Any], n_tasks: int, where: str = "") -> None:
    """Raise `ValueError`, beginning with ``where``, unless returns of ``n_tasks`` can be normalised by references."""
    best, zero, _ = (_numbers(references[name], (n_tasks,), name) for name in LEVELS)
    if (best <= zero).any():
        task = int(np.argmax(best <= zero))
        raise ValueError(
            f"{where}`best` must be above `zero` in every task, or no performance can be normalised. "
            f"Received {best[task]:g} and {zero[task]:g} in task {task}"
        )


def _numbers(values: npt.ArrayLike, shape: tuple[int | None, ...], name: str) -> FloatArray:
    array = np.asarray(values, np.float64)
    fits = array.ndim == len(shape) and all(n in (None, m) for n, m in zip(shape, array.shape, strict=True))
    if not fits or array.size == 0 or not np.isfinite(array).all():
        form = str(shape).replace("None", "n_episodes")
        raise ValueError(f"`{name}` must be finite numbers of shape {form}. Received {values!r}")
    return array


def _counts(values: npt.ArrayLike, n_tasks: int) -> list[int]:
    array = np.asarray(values)
    if array.shape != (n_tasks,) or not np.issubdtype(array.dtype, np.integer) or (array < 0).any():
        raise ValueError(f"`task_timesteps` must be whole numbers, one a task, not negative. Received {values!r}")
    return [int(n) for n in array]


def _line(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, default=native, allow_nan=False).encode() + b"\n"


class RunWriter:
    """Writes a run file, line by line; use it in a ``with`` statement, or call `close`.

    Attributes:
        n_written: evaluations that the file holds; more than none when an interrupted run is continued.
    """

    def __init__(self, path: Path, header: Mapping[str, Any]) -> None:
        """Begin the file, or continue an unfinished one.

        Args:
            path: of the finished file, ``NAME.jsonl``; its folder is made when missing.
            header: from `make_header`.

        Raises:
            FileExistsError: a finished run is there.
            ValueError: an unfinished run with another header is there, or one that another process is writing; or
                the header isn't one.
        """
        if path.suffix != SUFFIX:
            raise ValueError(f"`path` must end in {SUFFIX}. Received {path}")
        if path.exists():
            raise FileExistsError(f"{path} holds a finished run already; delete it to run it again")
        self._path, self._part = path, path.with_name(path.name + PART)
        self._header: dict[str, Any] = json.loads(_line(header))
        _check_header(self._header)
        self._part.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(self._part, "a+b")  # noqa: SIM115
        try:
            self._lines = self._continue()
        except ValueError:
            self.close()
            raise

    def _continue(self) -> list[bytes]:
        """The lines that the file begins with; bytes beyond the last whole line, and they alone, go."""
        _lock(self._file, self._part)
        self._file.seek(0)
        lines = _whole_lines(self._file.read(), self._part)
        if lines:
            _check_same(self._part, json.loads(lines[0]), self._header)
        self._file.truncate(sum(map(len, lines)))
        return lines or [self._write(self._header)]

    def _write(self, content: Mapping[str, Any]) -> bytes:
        """A line, to the file at once."""
        line = _line(content)
        self._file.write(line)
        self._file.flush()
        return line

    @property
    def n_written(self) -> int:
        """How many evaluations the file holds."""
        return len(self._lines) - 1

    @property
    def last(self) -> dict[str, Any] | None:
        """The last evaluation, as it stands in the file."""
        return json.loads(self._lines[-1]) if self.n_written else None

    def evaluation(
        self,
        num_timesteps: int,
        returns: npt.ArrayLike,
        failed: npt.ArrayLike,
        stage: int | None = None,
        communication: Communication | None = None,
        task_timesteps: npt.ArrayLike | None = None,
    ) -> None:
        """Write one evaluation.

        Args:
            num_timesteps: environment steps of training so far; more than at the last evaluation.
            returns: raw, shape (n_tasks, n_episodes).
            failed: share of the episodes that failed, in [0, 1], shape (n_tasks,).
            stage: of the protocol: index of the task being learned, in learned order.
            communication: of the learner's agents so far.
            task_timesteps: environment steps that each task got in training so far, shape (n_tasks,).

        Raises:
            ValueError: shapes or numbers that don't fit.
        """
        n_tasks = self._header["settings"]["family"]["n_tasks"]
        last = self.last
        if num_timesteps < 0 or (last is not None and num_timesteps <= last["num_timesteps"]):
            raise ValueError(f"`num_timesteps` must grow from evaluation to evaluation. Received {num_timesteps}")
        shares = _numbers(failed, (n_tasks,), "failed")
        if (shares < 0).any() or (shares > 1).any():
            raise ValueError(f"`failed` must be shares in [0, 1]. Received {failed!r}")
        content = {
            "num_timesteps": int(num_timesteps),
            "returns": _numbers(returns, (n_tasks, None), "returns"),
            "failed": shares,
            "stage": stage,
            "communication": None if communication is None else asdict(communication),
            "task_timesteps": None if task_timesteps is None else _counts(task_timesteps, n_tasks),
        }
        self._lines.append(self._write(content))

    def finish(self) -> Path:
        """Write the end and give the file its name, which is returned.

        Raises:
            ValueError: nothing was evaluated.
            FileExistsError: meanwhile somebody else finished this run.
        """
        if self.n_written == 0:
            raise ValueError(f"{self._part}: a run must hold at least one evaluation")
        if self._path.exists():
            raise FileExistsError(f"{self._path} was finished by another process; {self._part} is left as it is")
        self._write(end_of(self._lines))
        os.fsync(self._file.fileno())
        self.close()
        os.replace(self._part, self._path)
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
    return {"end": True, "n_evaluations": len(lines) - 1, "hash": digest(b"".join(lines))}


def _lock(file: IO[bytes], part: Path) -> None:
    """Keep other processes out, until the file is closed; not on Windows."""
    try:
        import fcntl
    except ModuleNotFoundError:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ValueError(f"{part} is being written by another process") from None


def _whole_lines(data: bytes, part: Path) -> list[bytes]:
    """Header and evaluations of an unfinished file; its end, if it has one, is written anew."""
    lines: list[bytes] = []
    if b"\n" in data and "schema" not in (parsed(data.partition(b"\n")[0]) or {}):
        raise ValueError(f"{part} is in the way: it is no unfinished run")
    for line in data.splitlines(keepends=True):
        content = parsed(line) if line.endswith(b"\n") else None
        if content is None or "end" in content:
            break
        lines.append(line)
    return lines


def parsed(line: bytes) -> dict[str, Any] | None:
    """A line's content, or None when it isn't a JSON object."""
    try:
        content = json.loads(line)
    except ValueError:
        return None
    return content if isinstance(content, dict) else None


def _check_same(part: Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    different = list(_differences(old, new))
    if different:
        raise ValueError(f"{part} is an unfinished run with another header: {'; '.join(different[:3])}")


def _differences(old: Any, new: Any, name: str = "") -> Iterator[str]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in dict.fromkeys([*old, *new]):
            yield from _differences(old.get(key), new.get(key), f"{name}.{key}".lstrip("."))
    elif old != new:
        was, now = (text if len(text) <= 60 else f"{text[:57]}..." for text in map(repr, (old, new)))
        yield f"`{name}` was {was}, now {now}"
