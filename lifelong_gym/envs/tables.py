"""Tables of a family: data that its texts read, shared by all tasks or one set for each task that differs."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary, WeakValueDictionary

import numpy as np
import numpy.typing as npt

from lifelong_gym.envs.family import KernelFamily
from lifelong_gym.errors import FamilyError
from lifelong_gym.numerics.arrays import IntArray
from lifelong_gym.tasks.task_set import TaskSet

Array = npt.NDArray[np.floating[Any]]  # of float64 or float32
KINDS = ("shared", "task")


@dataclass(frozen=True, eq=False)
class Tables:
    """The tables of a family's tasks, checked and read-only; equal tasks share theirs.

    Attributes:
        names: of the tables, in the order of ``TABLES``.
        arrays: one a table, float64 or float32, flat: a shared table, or those of the distinct tasks one after another.
        strides: numbers from one distinct task's table to the next one's; 0: shared.
        slots: which of the distinct tasks each task is, shape (n_tasks,).
        firsts: the first task of each slot, shape (n_slots,).
    """

    names: tuple[str, ...]
    arrays: tuple[Array, ...]
    strides: tuple[int, ...]
    slots: IntArray
    firsts: IntArray

    @classmethod
    def of(cls, family: KernelFamily, tasks: TaskSet) -> Tables:
        """Those of these tasks; made once for as long as they are in use, and as the family's attributes are the same.

        Raises:
            FamilyError: what the family returns isn't what ``TABLES`` declares, has another shape in another task, or
                isn't finite; the error names family, table, task and entry.
        """
        if not family.TABLES:
            each = np.arange(len(tasks))
            return cls((), (), (), each, each)
        made, key = _Made.of(family), tasks.values.tobytes()
        found = made.in_use.get(key)
        if found is None:
            found = made.in_use[key] = made.latest = _make(family, tasks, made.shared)
        return found

    @functools.cached_property
    def hash(self) -> str | None:
        """Of everything the tasks can read, in their order; None where the family has no tables."""
        if not self.names:
            return None
        digests = [self._digests(i) for i in range(len(self.names))]
        parts = [f"{name} {bool(stride)}" for name, stride in zip(self.names, self.strides, strict=True)]
        for own, stride in zip(digests, self.strides, strict=True):
            parts += [own[slot] for slot in self.slots] if stride else own
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def _digests(self, table: int) -> list[str]:
        array, stride = self.arrays[table], self.strides[table]
        each = array.reshape(-1, stride) if stride else array[None]
        return [hashlib.sha256(f"{row.dtype}".encode() + row.tobytes()).hexdigest() for row in each]


@dataclass(eq=False)
class _Made:
    """What has been made of one instance of a family.

    Attributes:
        attributes: of the instance, as they were then.
        shared: the shared tables.
        in_use: tables by the values of their tasks, as long as somebody has them.
        latest: keeps the last ones, for those who come back for them.
    """

    attributes: dict[str, Any]
    shared: tuple[Array, ...]
    in_use: WeakValueDictionary[bytes, Tables] = field(default_factory=WeakValueDictionary)
    latest: Tables | None = None

    @classmethod
    def of(cls, family: KernelFamily) -> _Made:
        """Made now, unless it has been and the instance has the same attributes still."""
        found, attributes = _made.get(family), dict(vars(family))
        if found is None or not _identical(found.attributes, attributes):
            found = _made[family] = cls(attributes, _shared(family))
        return found


_made: WeakKeyDictionary[KernelFamily, _Made] = WeakKeyDictionary()


def _identical(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return a.keys() == b.keys() and all(a[name] is b[name] for name in a)


def _names(family: KernelFamily, kind: str) -> list[str]:
    """The tables of one kind; the declaration is checked as a whole."""
    said = type(family).__name__
    for entry in family.TABLES:
        if not isinstance(entry, tuple) or len(entry) != 2 or entry[1] not in KINDS:
            raise FamilyError(f'{said}: `TABLES` must be pairs (name, "shared" or "task"). Received {entry!r}')
    names = [name for name, _ in family.TABLES]
    if len(set(names)) != len(names):
        raise FamilyError(f"{said}: names in `TABLES` must differ. Received {', '.join(names)}")
    return [name for name, its_kind in family.TABLES if its_kind == kind]


def _shared(family: KernelFamily) -> tuple[Array, ...]:
    names = _names(family, "shared")
    return _checked(family, names, "shared_tables", family.shared_tables(family.argument_values)) if names else ()


def _make(family: KernelFamily, tasks: TaskSet, shared: tuple[Array, ...]) -> Tables:
    """Tables of tasks, one set for each that differs from those before it."""
    known: dict[bytes, int] = {}
    slots = np.array([known.setdefault(row.tobytes(), len(known)) for row in tasks.values])
    firsts = np.unique(slots, return_index=True)[1]
    names = _names(family, "task")
    own = [_of_task(family, tasks, task, names, shared) for task in firsts.tolist()] if names else []
    for of_task, task in zip(own, firsts.tolist(), strict=False):
        _check_shapes(family, names, of_task, own[0], task)
    stacked = [np.stack(each) for each in zip(*own, strict=True)]
    by_name = dict(zip([*_names(family, "shared"), *names], [*shared, *stacked], strict=True))
    strides = tuple(by_name[name][0].size if kind == "task" else 0 for name, kind in family.TABLES)
    arrays = tuple(by_name[name].reshape(-1) for name, _ in family.TABLES)
    for array in arrays:
        array.setflags(write=False)
    return Tables(tuple(name for name, _ in family.TABLES), arrays, strides, slots, firsts)


def _of_task(
    family: KernelFamily, tasks: TaskSet, task: int, names: list[str], shared: tuple[Array, ...]
) -> tuple[Array, ...]:
    parameters = dict(zip(tasks.space.names, tasks.values[task].tolist(), strict=True))
    return _checked(family, names, "tables", family.tables(parameters, *shared), f" of task {task}")


def _checked(family: KernelFamily, names: list[str], method: str, returned: Any, whose: str = "") -> tuple[Array, ...]:
    """What a family returned, as arrays of its own that are finite and read-only; float32 stays so."""
    said = type(family).__name__
    if not isinstance(returned, (tuple, list)) or len(returned) != len(names):
        received = len(returned) if isinstance(returned, (tuple, list)) else type(returned).__name__
        raise FamilyError(
            f"{said}: `{method}`{whose} must return a tuple of {len(names)}: {', '.join(names)}. Received {received}"
        )
    return tuple(_array(f"{said}: table {name!r}{whose}", value) for name, value in zip(names, returned, strict=True))


def _array(called: str, value: Any) -> Array:
    try:
        given = np.asarray(value)
    except ValueError:  # lists of different lengths
        raise FamilyError(f"{called} must be an array of numbers. Received {value!r}") from None
    if given.dtype.kind not in "buif" or given.size == 0:
        raise FamilyError(f"{called} must be an array of numbers. Received {given.dtype} of shape {given.shape}")
    array: Array = np.array(given, np.float32 if given.dtype == np.float32 else np.float64, order="C")
    if not np.isfinite(array).all():
        entry = tuple(np.argwhere(~np.isfinite(array))[0].tolist())
        raise FamilyError(f"{called}, entry {entry}, must be finite. Received {given[entry]}")
    array.setflags(write=False)
    return array


def _check_shapes(
    family: KernelFamily, names: list[str], tables: tuple[Array, ...], first: tuple[Array, ...], task: int
) -> None:
    """A task's tables must be of the shapes and types of the first task's."""
    for name, table, model in zip(names, tables, first, strict=True):
        if (table.shape, table.dtype) != (model.shape, model.dtype):
            raise FamilyError(
                f"{type(family).__name__}: table {name!r} of task {task} must have the shape and type of task 0's, "
                f"{model.shape} {model.dtype}. Received {table.shape} {table.dtype}"
            )
