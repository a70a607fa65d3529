"""Whether what a family declares fits together; nothing is stepped."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from lifelong_gym.envs.family import Bounded, Constants, Continuous, KernelFamily, reward_name
from lifelong_gym.errors import FamilyError
from lifelong_gym.testing.common import running, task_sets

SECTIONS = (
    "Description",
    "Action Space",
    "Observation Space",
    "Rewards",
    "Starting State",
    "Episode End",
    "Parameters",
    "Version History",
)


def check_declarations(id: str, kind: KernelFamily) -> None:
    """Numbers in their ranges, tuples of equal lengths, presets that can be drawn from."""
    names = [channel.name for channel in kind.state]
    _require(id, len(set(names)) == len(names) > 0, f"`state` must have channels of different names. Received {names}")
    for name, least in (("horizon", 1), ("n_noise", 0), ("n_initial_noise", 0)):
        value = getattr(kind, name)
        _require(id, isinstance(value, int) and value >= least, f"`{name}` must be at least {least}. Received {value}")
    _require(id, kind.time_step > 0, f"`time_step` must be positive. Received {kind.time_step}")
    _require(id, len(kind.rewards) > 0, "`rewards` must name at least one")
    _check_lengths(id, kind)
    for preset in kind.parameters.presets:
        with running(id, f"preset {preset!r}"):
            reward_name(kind, preset, None)
            kind.parameters.sample(64, preset=preset)


def _check_lengths(id: str, kind: KernelFamily) -> None:
    if isinstance(kind.actions, Continuous):
        _check_positive(id, "actions.bound", kind.actions.bound, len(kind.actions.channels))
    if isinstance(kind.observations, Bounded):
        _check_positive(id, "observations.high", kind.observations.high, len(kind.observations.channels))
    if kind.state_limits:
        _check_positive(id, "state_limits", kind.state_limits, len(kind.state))
    if kind.feature_scale:
        _check_positive(id, "feature_scale", kind.feature_scale, kind.observations.size)


def _check_positive(id: str, name: str, values: Sequence[float], length: int) -> None:
    fine = len(values) == length and all(0 < value < np.inf for value in values)
    _require(id, fine, f"`{name}` must be {length} positive numbers, one a channel. Received {values}")


def _require(id: str, fact: bool, otherwise: str) -> None:
    if not fact:
        raise FamilyError(f"{id}: {otherwise}")


def check_docstring(id: str, kind: KernelFamily) -> None:
    """The sections of an env's docstring, in Gymnasium's order."""
    text = inspect.getdoc(type(kind)) or ""
    found = [title for title in re.findall(r"^## (.+?)\s*$", text, re.MULTILINE) if title in SECTIONS]
    for section in SECTIONS:
        _require(id, section in found, f"the docstring has no section {section!r}. There are: {', '.join(found)}")
    _require(id, found == list(SECTIONS), f"the docstring's sections must be in the order {', '.join(SECTIONS)}")


def check_constants(id: str, kind: KernelFamily) -> None:
    """Constants are finite, and a task's don't depend on the tasks beside it."""
    for name, tasks in task_sets(kind, 8).items():
        table = Constants.of(kind, tasks.values).table
        for i, row in enumerate(table):
            alone: Any = Constants.of(kind, tasks.values[i : i + 1]).table[0]
            same = np.array_equal(row, alone)
            _require(id, same, f"`constants` of a task depend on the tasks beside it ({name}, task {i})")
