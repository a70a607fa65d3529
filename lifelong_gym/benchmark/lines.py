"""What the lines of a run file must hold, whoever wrote them; `writer` describes them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from lifelong_gym.measures.metrics import Communication
from lifelong_gym.numerics.arrays import FloatArray

SETTINGS = ("learner", "family", "protocol", "seed")
LEVELS = ("best", "zero", "random")
SETS = "sets"
MALFORMED = (AttributeError, KeyError, OverflowError, TypeError, ValueError)  # what foreign content raises
KINDS: Mapping[str, Any] = {
    "versions": dict,
    "machine": dict,
    "revision": str | None,
    "settings": dict,
    "tasks_hash": str,
    "references": dict | None,
    "estimators": dict,
}


def check_header(header: Mapping[str, Any]) -> None:
    """Raise `ValueError` where a part is missing, or references are none that anything can be normalised by."""
    for part, names in {"settings": SETTINGS, "references": ("version", *LEVELS)}.items():
        missing = [] if header[part] is None else [name for name in names if name not in header[part]]
        if missing:
            raise ValueError(f"`{part}` must hold {', '.join(names)}. Missing: {', '.join(missing)}")
    if header["references"] is not None:
        family = header["settings"]["family"]
        check_levels(header["references"], family["n_tasks"])
        for name, other in family.get("evaluate", {}).items():
            check_levels(header["references"][SETS][name], other["n_tasks"], f"{name}: ")


def check_levels(references: Mapping[str, Any], n_tasks: int, where: str = "") -> None:
    """Raise `ValueError`, beginning with ``where``, unless returns of ``n_tasks`` can be normalised by references."""
    best, zero, _ = (_numbers(references[name], (n_tasks,), name) for name in LEVELS)
    if (best <= zero).any():
        task = int(np.argmax(best <= zero))
        raise ValueError(
            f"{where}`best` must be above `zero` in every task, or no performance can be normalised. "
            f"Received {best[task]:g} and {zero[task]:g} in task {task}"
        )


def check_parts(header: Mapping[str, Any]) -> None:
    """That the first line of a file holds everything that readers ask it for.

    Raises:
        KeyError, TypeError, ValueError: it doesn't.
    """
    for name, kind in KINDS.items():
        if not isinstance(header[name], kind):
            raise TypeError(f"`{name}` is {header[name]!r}")
    settings = header["settings"]
    named = (settings["learner"]["label"], settings["family"]["id"], settings["family"]["preset"])
    if not all(isinstance(name, str) for name in (*named, settings["protocol"]["name"])):
        raise TypeError(f"learner, family, preset and protocol must have names. Received {named!r}")
    if not all(type(number) is int for number in (settings["family"]["n_tasks"], settings["seed"])):
        raise TypeError("`n_tasks` and `seed` must be integers")
    if not all(type(other["n_tasks"]) is int for other in settings["family"].get("evaluate", {}).values()):
        raise TypeError("`n_tasks` of every set must be an integer")
    if header["references"] is not None:
        check_header(header)


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


def _meetings(values: npt.ArrayLike, n_tasks: int) -> list[list[int]]:
    array = np.asarray(values)
    counts = array.ndim == 2 and len(array) == n_tasks and np.issubdtype(array.dtype, np.integer)
    if not counts or (array < 0).any():
        raise ValueError(f"`meeting_steps` must be whole numbers, not negative, a row a task. Received {values!r}")
    found: list[list[int]] = array.tolist()
    return found


def yardstick(references: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What references are, without the returns that they were measured to have: those differ from CPU to CPU."""
    if references is None:
        return None
    kept = {name: value for name, value in references.items() if not isinstance(value, list)}
    return {name: yardstick(value) if isinstance(value, Mapping) else value for name, value in kept.items()}


def checked(content: Mapping[str, Any], family: Mapping[str, Any], last: Mapping[str, Any] | None) -> dict[str, Any]:
    """An evaluation whose numbers can be meant; the last one is None for the first.

    Args:
        content: of the line.
        family: as in the header's ``settings``.
        last: the line before.

    Raises:
        KeyError, TypeError, ValueError: they can't.
    """
    n_tasks, num_timesteps = family["n_tasks"], content["num_timesteps"]
    least = 0 if last is None else last["num_timesteps"] + 1
    if type(num_timesteps) is not int or num_timesteps < least:
        raise ValueError(f"`num_timesteps` must grow from evaluation to evaluation. Received {num_timesteps}")
    if content["communication"] is not None:
        Communication(**content["communication"])
    taken = content.get("task_timesteps")
    counts = None if taken is None else _counts(taken, n_tasks)
    whole = {**content, **_measured(content, n_tasks), "task_timesteps": counts}
    if content.get("meeting_steps") is not None:
        whole["meeting_steps"] = _meetings(content["meeting_steps"], n_tasks)
    others = family.get("evaluate", {})
    if others:
        whole[SETS] = {name: _measured(content[SETS][name], other["n_tasks"]) for name, other in others.items()}
    return whole


def _measured(content: Mapping[str, Any], n_tasks: int) -> dict[str, Any]:
    measured = {"returns": _numbers(content["returns"], (n_tasks, None), "returns")}
    for name in ("failed", "violations"):
        if name == "failed" or content.get(name) is not None:
            measured[name] = shares = _numbers(content[name], (n_tasks,), name)
            if (shares < 0).any() or (shares > 1).any():
                raise ValueError(f"`{name}` must be shares in [0, 1]. Received {content[name]!r}")
    return measured


def parsed(line: bytes) -> dict[str, Any] | None:
    """A line's content, or None when it isn't a JSON object."""
    try:
        content = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None
