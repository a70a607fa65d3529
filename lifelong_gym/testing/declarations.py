"""Whether what a family declares fits together; nothing is stepped."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from lifelong_gym.envs.family import Constants, Family, KernelFamily, kernel_of, reward_name
from lifelong_gym.envs.spaces.codecs import not_positive
from lifelong_gym.envs.tables import Tables
from lifelong_gym.errors import FamilyError
from lifelong_gym.references.reference import reference_class
from lifelong_gym.testing.common import FaultList, running, task_sets

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


def check_declarations(id: str, kind: Family) -> None:
    """Numbers in their ranges, tuples of equal lengths, presets that can be drawn from; all faults at once."""
    faults = FaultList(id)
    for fault in [*_wrong_numbers(kind), *_wrong_lengths(kind)]:
        faults.add(fault)
    faults.collect(_check_text, id, kind)
    faults.collect(_check_reference, id, kind)
    for preset in kind.parameters.presets:
        faults.collect(_check_preset, id, kind, preset)
    faults.tell()


def _wrong_numbers(kind: Family) -> Iterator[str]:
    names = [channel.name for channel in kind.state]
    is_kernel = isinstance(kind, KernelFamily)
    if len(set(names)) < len(names) or (is_kernel and not names):
        yield f"`state` must have channels of different names. Received {names}"
    of_kernel = ("n_noise", 0), ("n_initial_noise", 0), ("n_measures", 0)
    for name, least in (("horizon", 1), *(of_kernel if is_kernel else ())):
        value = getattr(kind, name)
        if not (isinstance(value, int) and value >= least):
            yield f"`{name}` must be at least {least}. Received {value}"
    if isinstance(kind, KernelFamily) and (kind.measure is not None) != (kind.n_measures > 0):
        yield f"`n_measures` must be what `measure` writes, 0 where there is none. Received {kind.n_measures}"
    if not kind.time_step > 0:
        yield f"`time_step` must be positive. Received {kind.time_step}"
    for name in kind.known:
        if not hasattr(kind, name):
            yield f"`known` must name attributes. Received {name!r}, which there isn't"
    if not kind.rewards:
        yield "`rewards` must name at least one"


def _wrong_lengths(kind: Family) -> Iterator[str]:
    yield from kind.actions.faults()
    yield from kind.observations.faults()
    if kind.state_limits:
        yield from not_positive("state_limits", kind.state_limits, len(kind.state))
    if kind.feature_scale:
        yield from not_positive("feature_scale", kind.feature_scale, kind.observations.size)


def _check_text(id: str, kind: Family) -> None:
    for name, value in kind.actions.text()[1].items():
        try:
            hash(value)
        except TypeError:
            raise FamilyError(f"{id}: {name!r} of `actions.text` must be hashable. Received {value!r}") from None


def _check_reference(id: str, kind: Family) -> None:
    with running(id, f"`reference` {kind.reference!r}"):
        reference_class(kind)


def _check_preset(id: str, kind: Family, preset: str) -> None:
    with running(id, f"preset {preset!r}"):
        reward_name(kind, preset, None)
        kind.parameters.sample(64, preset=preset)


def check_docstring(id: str, kind: Family) -> None:
    """The sections of an env's docstring, in Gymnasium's order."""
    faults = FaultList(id)
    text = inspect.getdoc(type(kind)) or ""
    found = [title for title in re.findall(r"^## (.+?)\s*$", text, re.MULTILINE) if title in SECTIONS]
    missing = [section for section in SECTIONS if section not in found]
    if missing:
        faults.add(f"the docstring lacks the sections {', '.join(missing)}. There are: {', '.join(found) or 'none'}")
    if found != [section for section in SECTIONS if section in found]:
        faults.add(f"the docstring's sections must be in the order {', '.join(SECTIONS)}. Received {', '.join(found)}")
    faults.tell()


def check_constants(id: str, kind: Family) -> None:
    """Constants and tables are as declared and finite, and a task's constants don't depend on the tasks beside it."""
    for name, tasks in task_sets(kind, 8).items():
        Tables.of(kernel_of(kind, "a table"), tasks)
        table = Constants.of(kind, tasks.values).table
        for i, row in enumerate(table):
            alone: Any = Constants.of(kind, tasks.values[i : i + 1]).table[0]
            if not np.array_equal(row, alone):
                raise FamilyError(f"{id}: `constants` of a task depend on the tasks beside it ({name}, task {i})")
