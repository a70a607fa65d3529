"""Sets of tasks: immutable tables of parameter values."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from lifelong_gym.errors import floats, integer
from lifelong_gym.numerics.arrays import FloatArray, IntArray
from lifelong_gym.tasks.parameters import Columns, Parameter, Value
from lifelong_gym.tasks.text_table import text_table

if TYPE_CHECKING:
    import pandas as pd

FORMAT = 1
MAX_UID = 2**32 - 1
WIDTH = 120  # characters of a line, in tables that are printed


class Task(Mapping[str, Any]):
    """One task: a read-only mapping from parameter to value, with the uid that names its noise.

    A value is a float, or of an enumeration the name.
    """

    def __init__(self, space: Columns, values: FloatArray, uid: int) -> None:
        """Take one row of a `TaskSet`."""
        self._space = space
        self._row = values
        self._values = {p.name: p.value(number) for p, number in zip(space, values.tolist(), strict=True)}
        self.uid = uid

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        cells = [f"{p.name}={p.text(number)}" for p, number in zip(self._space, self._row, strict=True)]
        return f"Task({', '.join(cells)}, uid={self.uid})"


class TaskSet(Sequence[Task]):
    """An immutable table of tasks.

    Attributes:
        space: the columns: the family's `ParameterSpace`.
        values: float64, shape (n_tasks, n_parameters), read-only; of an enumeration the index of the name.
        uids: int64, shape (n_tasks,): names of the tasks, which key their noise and survive `split`.
        seed: the seed the set was drawn with, None if given explicitly.
        preset: the preset it was drawn from, None if given explicitly.

    >>> from lifelong_gym import sample_tasks
    >>> train, test = sample_tasks("LifelongCartPole-v0", 50, seed=0).split(40, seed=0)
    >>> len(train), len(test), TaskSet.from_json(train.to_json(), train.space) == train
    (40, 10, True)
    """

    def __init__(
        self,
        space: Columns,
        values: npt.ArrayLike,
        uids: npt.ArrayLike | None = None,
        seed: int | None = None,
        preset: str | None = None,
    ) -> None:
        """Check and freeze a table.

        Raises:
            ValueError: empty, of the wrong shape, a value out of its bounds or not finite, a task that breaks a rule,
                uids not unique.
        """
        self.space = space
        self.values: FloatArray = floats("values", values).copy()
        n_parameters = len(space)
        if self.values.ndim != 2 or self.values.shape[1] != n_parameters:
            raise ValueError(f"`values` must have shape (n_tasks, {n_parameters}). Received {self.values.shape}")
        if len(self.values) == 0:
            raise ValueError("a TaskSet needs at least one task. Received none")
        space.check(self.values)
        self.uids: IntArray = np.arange(len(self.values)) if uids is None else _uids(uids, len(self.values))
        self.values.setflags(write=False)
        self.uids.setflags(write=False)
        self.seed = seed
        self.preset = preset

    @classmethod
    def of(cls, space: Columns, tasks: TaskSet | Mapping[str, Any] | Iterable[Mapping[str, Value]]) -> TaskSet:
        """A TaskSet from whatever a user passes as ``tasks=``: a set, its JSON form, or dicts of parameters."""
        if isinstance(tasks, TaskSet):
            if tasks.space.names != space.names:
                raise ValueError(f"`tasks` belong to a family with other parameters: {', '.join(tasks.space.names)}")
            return tasks._in(space)
        if isinstance(tasks, Mapping):
            return cls.from_dict(tasks, space)
        if not isinstance(tasks, Iterable):
            raise ValueError(f"`tasks` must be a list of dicts of parameters. Received {tasks!r}")
        rows = [space.row(task) for task in tasks]
        return cls(space, np.array(rows, np.float64).reshape(len(rows), len(space)))

    def _in(self, space: Columns) -> TaskSet:
        """The same tasks in a space with parameters of the same names, whose bounds, rules and names may differ."""
        if space is self.space:
            return self
        if any(own.unit != p.unit or own.names != p.names for own, p in zip(self.space, space, strict=True)):
            return TaskSet.from_dict(self.to_dict(), space)
        return TaskSet(space, self.values, self.uids, self.seed, self.preset)

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: Any) -> Any:
        """``tasks[3]`` is a `Task`; a slice, mask or index array gives a TaskSet."""
        if isinstance(index, (int, np.integer)):
            if not -len(self) <= index < len(self):
                raise IndexError(f"`task` must be in [0, {len(self) - 1}]. Received {index}")
            return Task(self.space, self.values[index], int(self.uids[index]))
        return TaskSet(self.space, self.values[index], self.uids[index], self.seed, self.preset)

    def __iter__(self) -> Iterator[Task]:
        return (self[i] for i in range(len(self)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TaskSet) and self.hash == other.hash

    def __hash__(self) -> int:
        return hash(self.hash)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self  # immutable

    def __reduce__(self) -> tuple[Any, ...]:
        return TaskSet, (self.space, np.array(self.values), np.array(self.uids), self.seed, self.preset)

    def __repr__(self) -> str:
        varying = [i for i in range(len(self.space)) if np.ptp(self.values[:, i]) > 0] or list(range(len(self.space)))
        shown = range(len(self)) if len(self) <= 10 else [*range(5), *range(len(self) - 3, len(self))]
        header = ("task", *[_header(self.space.parameters[i]) for i in varying])
        rows = [(str(j), *[self.space.parameters[i].text(self.values[j, i]) for i in varying]) for j in shown]
        if len(self) > 10:
            rows.insert(5, ("...",) * len(header))
        origin = f", preset={self.preset!r}, seed={self.seed}" if self.preset is not None else ""
        constant = len(self.space) - len(varying)
        note = f"; {constant} more parameters are the same in all" if constant else ""
        return f"TaskSet({len(self)} tasks{origin}, hash={self.hash}{note})\n{text_table(header, rows, WIDTH)}"

    @functools.cached_property
    def hash(self) -> str:
        """Content hash of names, units, values and uids (16 hex digits); see also `Parameter.added`."""
        nominal = (self.values == self.space.nominal).all(axis=0)
        told = [i for i, p in enumerate(self.space) if not (p.added and nominal[i])]
        parameters = [self.space.parameters[i] for i in told]
        digest = hashlib.sha256(json.dumps([[p.name for p in parameters], [p.unit for p in parameters]]).encode())
        numbers = np.ascontiguousarray(self.values[:, told], "<f8")
        for i, parameter in enumerate(parameters):
            if parameter.names:  # what a task is doesn't depend on the order in which a family lists its names
                digest.update(json.dumps(self._column(parameter)).encode())
                numbers[:, i] = 0.0
        digest.update(numbers.tobytes())
        digest.update(self.uids.astype("<i8").tobytes())
        return digest.hexdigest()[:16]

    def column(self, name: str) -> FloatArray:
        """All tasks' values of one parameter, shape (n_tasks,); of an enumeration the names' indices."""
        return self.values[:, self.space.index(name)]

    def _column(self, parameter: Parameter) -> list[Value]:
        """All tasks' values of one parameter, as users say them."""
        column: list[float] = self.column(parameter.name).tolist()
        return [parameter.value(number) for number in column] if parameter.names else list(column)

    def split(self, n_first: int, seed: int = 0) -> tuple[TaskSet, TaskSet]:
        """Two disjoint sets, of ``n_first`` tasks and the rest, chosen at random; tasks keep their uids."""
        if not 0 < integer("n_first", n_first) < len(self):
            raise ValueError(f"`n_first` must be in [1, {len(self) - 1}]. Received {n_first}")
        order = np.random.default_rng(seed).permutation(len(self))
        return self[np.sort(order[:n_first])], self[np.sort(order[n_first:])]

    def perturb(self, relative: float, seed: int = 0) -> TaskSet:
        """Move every value by a uniform factor in [1 - relative, 1 + relative], clipped to its bounds.

        What must be an integer is rounded; enumerations stay.
        """
        if not 0 <= relative <= 1:
            raise ValueError(f"`relative` must be in [0, 1]. Received {relative}")
        factor = 1 + relative * np.random.default_rng(seed).uniform(-1, 1, self.values.shape)
        moved = self.values * factor
        moved = np.where(self.space.integer, np.round(moved), moved)
        moved = np.where([bool(parameter.names) for parameter in self.space], self.values, moved)
        return TaskSet(self.space, np.clip(moved, *self.space.bounds), self.uids)

    def to_frame(self) -> pd.DataFrame:
        """The table as a pandas DataFrame indexed by uid, enumerations as categories (needs the extra ``frames``)."""
        try:
            import pandas as pd
        except ImportError as error:
            from lifelong_gym.errors import MissingExtraError

            raise MissingExtraError("pandas", "frames") from error
        frame = pd.DataFrame(self.values, index=pd.Index(self.uids, name="uid"), columns=list(self.space.names))
        for p in self.space:
            if p.names:
                frame[p.name] = pd.Categorical(self._column(p), categories=list(p.names))
        return frame

    def to_dict(self) -> dict[str, Any]:
        """JSON-native form; parameters that all tasks share at their nominal value are left out."""
        names = [n for n in self.space.names if np.any(self.column(n) != self.space[n].nominal)]
        return {
            "format": FORMAT,
            "units": {name: self.space[name].unit for name in names},
            "values": {name: self._column(self.space[name]) for name in names},
            "uids": self.uids.tolist(),
            "seed": self.seed,
            "preset": self.preset,
            "hash": self.hash,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], space: Columns) -> TaskSet:
        """The inverse of `to_dict`.

        Raises:
            ValueError: another format, other units, or contents that don't match the hash.
        """
        try:
            return cls._parsed(data, space)
        except (TypeError, AttributeError, OverflowError) as error:
            raise ValueError(f"not a TaskSet: {error}") from error

    @classmethod
    def _parsed(cls, data: Mapping[str, Any], space: Columns) -> TaskSet:
        missing = {"format", "units", "values", "uids", "hash"} - set(data)
        if missing:
            raise ValueError(f"not a TaskSet: {', '.join(sorted(missing))} missing. Received keys {sorted(data)}")
        if data["format"] != FORMAT:
            raise ValueError(f"TaskSet format {data['format']!r} is not known, only {FORMAT}")
        values = np.tile(space.nominal, (len(data["uids"]), 1))
        for name, column in data["values"].items():
            if space[name].unit != data["units"].get(name):
                raise ValueError(f"parameter {name!r} is in {space[name].unit}. Received {data['units'].get(name)}")
            if len(column) != len(values):
                raise ValueError(
                    f"parameter {name!r} must have {len(values)} values, one a uid. Received {len(column)}"
                )
            values[:, space.index(name)] = [space[name].number(x) for x in column] if space[name].names else column
        result = cls(space, values, data["uids"], data.get("seed"), data.get("preset"))
        if result.hash != data["hash"]:
            raise ValueError(f"the tasks' contents have hash {result.hash}, not {data['hash']} as they claim")
        return result

    def to_json(self) -> str:
        """`to_dict` as text."""
        return json.dumps(self.to_dict())

    @classmethod
    def from_json(cls, text: str, space: Columns) -> TaskSet:
        """The inverse of `to_json`."""
        return cls.from_dict(json.loads(text), space)


def _uids(uids: npt.ArrayLike, n: int) -> IntArray:
    given = np.array(uids)
    if given.shape != (n,) or given.dtype.kind not in "iu" or len(np.unique(given)) != n:
        raise ValueError(f"`uids` must be {n} different integers. Received {uids!r}")
    if given.min() < 0 or given.max() > MAX_UID:
        raise ValueError(f"`uids` must be in [0, {MAX_UID}]. Received {given.min()} to {given.max()}")
    return given.astype(np.int64)


def _header(parameter: Parameter) -> str:
    return parameter.name if parameter.unit == "1" else f"{parameter.name} [{parameter.unit}]"
