"""What the checkers share: tasks, actions, and errors that name the family."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from lifelong_gym.envs.core import Settings
from lifelong_gym.envs.family import KernelFamily
from lifelong_gym.errors import FamilyError
from lifelong_gym.tasks import TaskSet

SEED = 20
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


def with_tasks(kind: KernelFamily, settings: dict[str, Any], n_tasks: int) -> dict[str, Any]:
    """Settings with a `TaskSet` in them: the one they name, or else ``n_tasks`` of the preset they name."""
    how: dict[str, Any] = {
        name: settings[name] for name in ("tasks", "n_tasks", "task_seed", "preset") if name in settings
    }
    if "tasks" not in how:
        how.setdefault("n_tasks", n_tasks)
    rest = {name: value for name, value in settings.items() if name not in how}
    return {**rest, "tasks": Settings.of(how).task_set(kind)}


def task_sets(kind: KernelFamily, n_tasks: int) -> dict[str, TaskSet]:
    """Tasks of every preset, and some at the corners of the bounds."""
    sets = {f"preset {name!r}": kind.parameters.sample(n_tasks, preset=name) for name in kind.parameters.presets}
    low, high = kind.parameters.bounds
    is_low = np.random.default_rng(SEED).random((n_tasks, len(low))) < 0.5
    is_low[0], is_low[-1] = True, False
    return {**sets, "bounds": TaskSet(kind.parameters, np.where(is_low, low, high))}


def draw_actions(space: spaces.Space[Any], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """Random actions, one more axis than ``shape`` unless they are integers.

    The last axis of ``shape`` is time. Continuous ones stay at -1, 0 or 1 for an episode, with noise, so that some
    episodes reach the limits of the state.
    """
    rng = np.random.default_rng(SEED)
    if isinstance(space, spaces.Discrete):
        return rng.integers(0, space.n, shape)
    assert space.shape is not None
    held = rng.integers(-1, 2, (*shape[:-1], 1, *space.shape))
    return np.clip(held + rng.uniform(-0.5, 0.5, (*shape, *space.shape)), -1.0, 1.0).astype(np.float32)
