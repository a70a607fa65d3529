"""What the checkers share: tasks, actions, and errors that name the family."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from lifelong_gym.envs.family import Family
from lifelong_gym.envs.settings import Settings
from lifelong_gym.errors import FamilyError
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.tasks.task_set import TaskSet

SEED = 20
BULLET = "\n  - "
MOST_PRESETS = 8  # from which tasks are stepped, where a family has one for each of many games
# The checkers that look at the family rather than at backends use the one that needs no compilation.
QUICK = {"backend": "numpy"}


@contextmanager
def running(id: str, what: str) -> Iterator[None]:
    """Turn what a family's functions raise into an error that names the family."""
    try:
        with np.errstate(all="ignore"):  # a checker says what is wrong, not NumPy's warning
            yield
    except (AssertionError, FamilyError):
        raise
    except Exception as error:
        raise FamilyError(f"{id}: {what} raises {type(error).__name__}: {error}") from error


class FaultList:
    """Collects what checks find, so that an author reads all of it at once.

    Args:
        id: of the family, with which messages begin.
    """

    def __init__(self, id: str) -> None:
        """None so far."""
        self._id = id
        self._found: dict[str, type[Exception]] = {}

    def collect(self, check: Callable[..., None], *arguments: Any, **settings: Any) -> bool:
        """Whether a check finds nothing."""
        try:
            check(*arguments, **settings)
        except (AssertionError, FamilyError) as error:
            heading, *several = str(error).removeprefix(f"{self._id}: ").split(BULLET)
            for fault in several or [heading]:
                self.add(fault, type(error))
            return False
        return True

    def add(self, fault: str, kind: type[Exception] = FamilyError) -> None:
        """One more, unless it is known."""
        self._found.setdefault(fault, kind)

    def tell(self) -> None:
        """Raise what was found: a `FamilyError` if one is among it, or else an `AssertionError`."""
        if not self._found:
            return
        lines = list(self._found)
        text = lines[0] if len(lines) == 1 else BULLET.join([f"{len(lines)} faults:", *lines])
        kind = FamilyError if FamilyError in self._found.values() else AssertionError
        raise kind(f"{self._id}: {text}")


def with_tasks(kind: Family, settings: dict[str, Any], n_tasks: int) -> dict[str, Any]:
    """Settings with a `TaskSet` in them: the one they name, or else ``n_tasks`` of the preset they name."""
    how: dict[str, Any] = {
        name: settings[name] for name in ("tasks", "n_tasks", "task_seed", "preset") if name in settings
    }
    if "tasks" not in how:
        how.setdefault("n_tasks", n_tasks)
    rest = {name: value for name, value in settings.items() if name not in how}
    return {**rest, "tasks": Settings(**how).task_set(kind)}


def task_sets(kind: Family, n_tasks: int) -> dict[str, TaskSet]:
    """Tasks of the first presets, and some at the corners of the bounds, as far as the family's rules allow these."""
    presets = list(kind.parameters.presets)[:MOST_PRESETS]
    sets = {f"preset {name!r}": kind.parameters.sample(n_tasks, preset=name) for name in presets}
    low, high = finite_bounds(kind)
    is_low = np.random.default_rng(SEED).random((n_tasks, len(low))) < 0.5
    is_low[0], is_low[-1] = True, False
    corners = np.where(is_low, low, high)
    corners = corners[kind.parameters.keeping(corners)]
    return {**sets, "bounds": TaskSet(kind.parameters, corners)} if len(corners) else sets


def finite_bounds(kind: Family) -> tuple[FloatArray, FloatArray]:
    """The parameters' bounds, each of shape (n_parameters,); where one is infinite, twice as far out as is nominal."""
    low, high = kind.parameters.bounds
    nominal = kind.parameters.nominal
    reach = np.maximum(1.0, np.abs(nominal))
    return np.where(np.isfinite(low), low, nominal - reach), np.where(np.isfinite(high), high, nominal + reach)


def draw_actions(kind: Family, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """Actions that test a family, see `ActionCodec.try_out`; the last axis of ``shape`` is time."""
    return kind.actions.try_out(np.random.default_rng(SEED), shape)
