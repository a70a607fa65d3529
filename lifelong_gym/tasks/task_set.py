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
from lifelong_gym.tasks.parameters import Columns, Parameter
from lifelong_gym.tasks.text_table import text_table

if TYPE_CHECKING:
    import pandas as pd

FORMAT = 1
MAX_UID = 2**32 - 1
WIDTH = 120  # characters of a line, in tables that are printed


class Task(Mapping[str, float]):
    """One task: a read-only mapping from parameter to value, with the uid that names its noise."""

    def __init__(self, names: Sequence[str], values: FloatArray, uid: int) -> None:
        """Take one row of a `TaskSet`."""
        self._values = dict(zip(names, map(float, values), strict=True))
        self.uid = uid

    def __getitem__(self, name: str) -> float:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Task({', '.join(f'{name}={value:.4g}' for name, value in self.items())}, uid={self.uid})"


class TaskSet(Sequence[Task]):
    """An immutable table of tasks.

    Attributes:
        space: the columns: the family's `ParameterSpace`.
        values: float64, shape (n_tasks, n_parameters), read-only.
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
            ValueError: empty, of the wrong shape, a value out of its bounds or not finite, uids not unique.
        """
        self.space = space
        self.values: FloatArray = floats("values", values).copy()
        n_parameters = len(space)
        if self.values.ndim != 2 or self.values.shape[1] != n_parameters:
            raise ValueError(f"`values` must have shape (n_tasks, {n_parameters}). Received {self.values.shape}")
        if len(self.values) == 0:
            raise ValueError("a TaskSet needs at least one task. Received none")
        self._check_bounds()
        self.uids: IntArray = np.arange(len(self.values)) if uids is None else _uids(uids, len(self.values))
        self.values.setflags(write=False)
        self.uids.setflags(write=False)
        self.seed = seed
        self.preset = preset

    def _check_bounds(self) -> None:
        low, high = self.space.bounds
        inside = (self.values >= low) & (self.values <= high) & np.isfinite(self.values)
        integers = self.space.integer
        inside[:, integers] &= self.values[:, integers] == np.floor(self.values[:, integers])
        if not inside.all():
            row, column = np.argwhere(~inside)[0]
            try:
                self.space.parameters[column].check(self.values[row, column])
            except ValueError as error:
                raise ValueError(f"task {row}: {error}") from None

    @classmethod
    def of(cls, space: Columns, tasks: TaskSet | Mapping[str, Any] | Iterable[Mapping[str, float]]) -> TaskSet:
        """A TaskSet from whatever a user passes as ``tasks=``: a set, its JSON form, or dicts of parameters."""
        if isinstance(tasks, TaskSet):
            if tasks.space.names != space.names:
                raise ValueError(f"`tasks` belong to a family with other parameters: {', '.join(tasks.space.names)}")
            same = tasks.space is space  # otherwise bounds may be others
            return tasks if same else cls(space, tasks.values, tasks.uids, tasks.seed, tasks.preset)
        if isinstance(tasks, Mapping):
            return cls.from_dict(tasks, space)
        if not isinstance(tasks, Iterable):
            raise ValueError(f"`tasks` must be a list of dicts of parameters. Received {tasks!r}")
        rows = [space.row(task) for task in tasks]
        return cls(space, np.array(rows, np.float64).reshape(len(rows), len(space)))

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: Any) -> Any:
        """``tasks[3]`` is a `Task`; a slice, mask or index array gives a TaskSet."""
        if isinstance(index, (int, np.integer)):
            if not -len(self) <= index < len(self):
                raise IndexError(f"`task` must be in [0, {len(self) - 1}]. Received {index}")
            return Task(self.space.names, self.values[index], int(self.uids[index]))
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
        rows = [(str(j), *[f"{self.values[j, i]:.4g}" for i in varying]) for j in shown]
        if len(self) > 10:
            rows.insert(5, ("...",) * len(header))
        origin = f", preset={self.preset!r}, seed={self.seed}" if self.preset is not None else ""
        constant = len(self.space) - len(varying)
        note = f"; {constant} more parameters are the same in all" if constant else ""
        return f"TaskSet({len(self)} tasks{origin}, hash={self.hash}{note})\n{text_table(header, rows, WIDTH)}"

    @functools.cached_property
    def hash(self) -> str:
        """Content hash of names, units, values and uids (16 hex digits)."""
        digest = hashlib.sha256(json.dumps([self.space.names, self.space.units]).encode())
        digest.update(self.values.astype("<f8").tobytes())
        digest.update(self.uids.astype("<i8").tobytes())
        return digest.hexdigest()[:16]

    def column(self, name: str) -> FloatArray:
        """All tasks' values of one parameter, shape (n_tasks,)."""
        return self.values[:, self.space.index(name)]

    def split(self, n_first: int, seed: int = 0) -> tuple[TaskSet, TaskSet]:
        """Two disjoint sets, of ``n_first`` tasks and the rest, chosen at random; tasks keep their uids."""
        if not 0 < integer("n_first", n_first) < len(self):
            raise ValueError(f"`n_first` must be in [1, {len(self) - 1}]. Received {n_first}")
        order = np.random.default_rng(seed).permutation(len(self))
        return self[np.sort(order[:n_first])], self[np.sort(order[n_first:])]

    def perturb(self, relative: float, seed: int = 0) -> TaskSet:
        """Move every value by a uniform factor in [1 - relative, 1 + relative], clipped to its bounds.

        What must be an integer is rounded.
        """
        if not 0 <= relative <= 1:
            raise ValueError(f"`relative` must be in [0, 1]. Received {relative}")
        factor = 1 + relative * np.random.default_rng(seed).uniform(-1, 1, self.values.shape)
        moved = self.values * factor
        moved = np.where(self.space.integer, np.round(moved), moved)
        return TaskSet(self.space, np.clip(moved, *self.space.bounds), self.uids)

    def to_frame(self) -> pd.DataFrame:
        """The table as a pandas DataFrame indexed by uid (needs the extra ``frames``)."""
        try:
            import pandas as pd
        except ImportError as error:
            from lifelong_gym.errors import MissingExtraError

            raise MissingExtraError("pandas", "frames") from error
        return pd.DataFrame(self.values, index=pd.Index(self.uids, name="uid"), columns=list(self.space.names))

    def to_dict(self) -> dict[str, Any]:
        """JSON-native form; parameters that all tasks share at their nominal value are left out."""
        names = [n for n in self.space.names if np.any(self.column(n) != self.space[n].nominal)]
        return {
            "format": FORMAT,
            "units": {name: self.space[name].unit for name in names},
            "values": {name: self.column(name).tolist() for name in names},
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
            values[:, space.index(name)] = column
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
