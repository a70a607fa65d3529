"""Tasks: named parameters, the distributions they are drawn from, sets of tasks, and the order they are met in."""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import numbers
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from lifelong_gym.distributions import Constant, Distribution, Integer, SameAs, Uniform, draw
from lifelong_gym.errors import as_float, floats, integer, one_of, unexpected, unknown
from lifelong_gym.numerics.arrays import FloatArray, IntArray

if TYPE_CHECKING:
    import pandas as pd


FORMAT = 1
MAX_UID = 2**32 - 1
WIDTH = 120  # characters of a line, in tables that are printed


@dataclass(frozen=True)
class Parameter:
    """One named parameter of a task family.

    Attributes:
        name: as in ``tasks=[{name: value}]``.
        unit: SI symbol, or "1" for a pure number.
        meaning: one line.
        bounds: what is physically valid; values outside raise `ValueError`.
        draws: what the ``default`` preset draws from; None: always nominal.
        nominal: value where nothing is said; default: the midpoint of ``draws``.
        integer: whether only integers are valid.
    """

    name: str
    unit: str
    meaning: str
    bounds: tuple[float, float]
    draws: Uniform | Integer | None = None
    nominal: float = float("nan")
    integer: bool = False

    def __post_init__(self) -> None:
        if np.isnan(self.nominal):
            if self.draws is None:
                raise ValueError(f"parameter {self.name!r} needs `nominal` or `draws`")
            object.__setattr__(self, "nominal", 0.5 * (self.draws.low + self.draws.high))
        self.check(self.nominal)

    def check(self, value: float) -> None:
        """Raise `ValueError` unless ``value`` is a number inside the bounds, and an integer where it must be."""
        low, high = self.bounds
        if not (low <= value <= high and np.isfinite(value)):
            finite = "" if np.isfinite(self.bounds).all() else "finite and "
            raise ValueError(
                f"parameter {self.name!r} must be {finite}in [{low:g}, {high:g}] {self.unit}. Received {value}"
            )
        if self.integer and value != np.floor(value):
            raise ValueError(f"parameter {self.name!r} must be an integer. Received {value}")


@dataclass(frozen=True)
class Preset:
    """A named way to draw tasks.

    Attributes:
        draws: distribution per parameter; what isn't listed stays nominal.
        meaning: one line.
        reward: the reward that goes with it, if not the family's own.
    """

    draws: Mapping[str, Distribution]
    meaning: str
    reward: str | None = None


class ParameterSpace:
    """The parameters of a family, in the order of a task table's columns.

    >>> space = ParameterSpace([Parameter("mass", "kg", "of the block", (0.1, 10.0), Uniform(3.0, 5.0))])
    >>> space.tasks([{"mass": 2.0}, {}]).values
    array([[2.],
           [4.]])
    """

    def __init__(
        self,
        parameters: Iterable[Parameter],
        presets: Mapping[str, Preset] | None = None,
        wide: Iterable[str] = (),
    ) -> None:
        """Collect parameters and presets.

        Args:
            parameters: in the order of the columns.
            presets: by name, besides ``default`` and ``single``.
            wide: parameters that a preset ``wide`` draws from [low/2, 2 high] of their default range, mirrored where
                that is negative; all others as by default. Empty: there is no such preset.

        Raises:
            ValueError: two parameters share a name, a preset draws an unknown one or leaves its bounds, or ``wide``
                names one whose range can't be widened.
        """
        self.parameters = tuple(parameters)
        self.names = tuple(parameter.name for parameter in self.parameters)
        self.units = tuple(parameter.unit for parameter in self.parameters)
        self._index = {name: i for i, name in enumerate(self.names)}
        if len(self._index) != len(self.names):
            raise ValueError(f"parameter names must differ. Received {self.names}")
        default = {p.name: p.draws for p in self.parameters if p.draws is not None}
        self.presets: dict[str, Preset] = {
            "default": Preset(default, "the published ranges"),
            "single": Preset({}, "one nominal task, over and over"),
        }
        widened = {name: self._widened(name) for name in wide}
        if widened:
            self.presets["wide"] = Preset({**default, **widened}, "[low/2, 2 high] of the published ranges")
            if presets and "wide" in presets:
                raise ValueError("preset 'wide' must be given by `wide` or in `presets`. Received both")
        self.presets.update(presets or {})
        for name, preset in self.presets.items():
            self._check_preset(name, preset)

    def _widened(self, name: str) -> Uniform:
        draws = self[name].draws
        if not isinstance(draws, Uniform):
            raise ValueError(f"`wide`: parameter {name!r} must draw from a Uniform by default. Received {draws}")
        try:
            return draws.widened()
        except ValueError as error:
            raise ValueError(f"`wide`: parameter {name!r}: {error}") from None

    def _check_preset(self, name: str, preset: Preset) -> None:
        for parameter, draws in preset.draws.items():
            self.index(parameter)
            if isinstance(draws, SameAs):
                if isinstance(preset.draws.get(draws.parameter), (SameAs, type(None))):
                    raise ValueError(f"preset {name!r}: {parameter!r} copies {draws.parameter!r}, which draws nothing")
            else:
                for value in draws.support:
                    try:
                        self[parameter].check(value)
                    except ValueError as error:
                        raise ValueError(f"preset {name!r}: {error}") from None
                if self[parameter].integer and not isinstance(draws, (Integer, Constant)):
                    raise ValueError(f"preset {name!r}: {parameter!r} must be an integer. Received {draws}")

    def __getitem__(self, name: str) -> Parameter:
        return self.parameters[self.index(name)]

    def __iter__(self) -> Iterator[Parameter]:
        return iter(self.parameters)

    def __len__(self) -> int:
        return len(self.parameters)

    def __repr__(self) -> str:
        rows = [(p.name, p.unit, f"{p.nominal:g}", _interval(p.draws), p.meaning) for p in self.parameters]
        return _text_table(("parameter", "unit", "nominal", "default range", "meaning"), rows)

    def index(self, name: str) -> int:
        """Column of a parameter; an unknown name raises with a suggestion."""
        if name not in self._index:
            raise unknown("parameter", name, self.names)
        return self._index[name]

    @property
    def nominal(self) -> FloatArray:
        """Nominal values, shape (n_parameters,)."""
        return np.array([parameter.nominal for parameter in self.parameters])

    @property
    def integer(self) -> npt.NDArray[np.bool_]:
        """Which parameters must be integers, shape (n_parameters,)."""
        return np.array([parameter.integer for parameter in self.parameters], bool)

    @property
    def bounds(self) -> tuple[FloatArray, FloatArray]:
        """Lowest and highest valid values, each of shape (n_parameters,)."""
        low, high = zip(*[parameter.bounds for parameter in self.parameters], strict=True)
        return np.array(low), np.array(high)

    def columns(self, values: FloatArray) -> dict[str, FloatArray]:
        """A task table as ``{parameter: column}``."""
        return dict(zip(self.names, np.asarray(values, np.float64).T, strict=True))

    def sample(self, n_tasks: int, seed: int = 0, preset: str = "default") -> TaskSet:
        """Draw tasks. Row j depends on (seed, j) only, so the first 10 of 50 tasks are the 10 tasks.

        Args:
            n_tasks: at least 1.
            seed: an integer from 0 on.
            preset: a key of `presets`.

        Raises:
            ValueError: unknown preset, ``n_tasks`` not positive, or ``seed`` negative.
        """
        preset = one_of("preset", preset, self.presets)
        n_tasks, seed = integer("n_tasks", n_tasks), integer("seed", seed, 0, most=None)
        values = np.tile(self.nominal, (n_tasks, 1))
        draws = self.presets[preset].draws
        for name, distribution in draws.items():
            if not isinstance(distribution, SameAs):
                values[:, self.index(name)] = draw(distribution, name, n_tasks, seed)
        for name, distribution in draws.items():
            if isinstance(distribution, SameAs):
                values[:, self.index(name)] = values[:, self.index(distribution.parameter)]
        return TaskSet(self, values, seed=seed, preset=preset)

    def tasks(self, tasks: Iterable[Mapping[str, float]]) -> TaskSet:
        """Explicit tasks; what a task leaves out is nominal.

        Raises:
            ValueError: not dicts, an unknown parameter, or a value that is no number or out of its bounds.
        """
        if not isinstance(tasks, Iterable):
            raise ValueError(f"`tasks` must be a list of dicts of parameters. Received {tasks!r}")
        rows = [self._row(task) for task in tasks]
        return TaskSet(self, np.array(rows, np.float64).reshape(len(rows), len(self)))

    def _row(self, task: Mapping[str, float]) -> FloatArray:
        if not isinstance(task, Mapping):
            raise ValueError(f"a task must be a dict of parameters. Received {task!r}")
        row = self.nominal
        for name, value in task.items():
            if not isinstance(value, numbers.Real):
                raise ValueError(f"parameter {name!r} must be a number. Received {value!r}")
            if isinstance(value, numbers.Rational) and np.isinf(as_float(value)):
                raise ValueError(f"parameter {name!r} must be within the range of a float. Received {value}")
            row[self.index(name)] = value
        return row

    def grid(self, **values: Sequence[float]) -> TaskSet:
        """Every combination of the given parameter values; the rest is nominal. The last parameter varies fastest."""
        for name in values:
            if name not in self._index:
                raise unexpected("grid", name, self.names)
        combinations = itertools.product(*values.values())
        return self.tasks([dict(zip(values, row, strict=True)) for row in combinations])


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
        space: the `ParameterSpace` of the columns.
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
        space: ParameterSpace,
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
    def of(cls, space: ParameterSpace, tasks: TaskSet | Mapping[str, Any] | Iterable[Mapping[str, float]]) -> TaskSet:
        """A TaskSet from whatever a user passes as ``tasks=``: a set, its JSON form, or dicts of parameters."""
        if isinstance(tasks, TaskSet):
            if tasks.space.names != space.names:
                raise ValueError(f"`tasks` belong to a family with other parameters: {', '.join(tasks.space.names)}")
            return tasks
        if isinstance(tasks, Mapping):
            return cls.from_dict(tasks, space)
        return space.tasks(tasks)

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
        return f"TaskSet({len(self)} tasks{origin}, hash={self.hash}{note})\n{_text_table(header, rows, WIDTH)}"

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
    def from_dict(cls, data: Mapping[str, Any], space: ParameterSpace) -> TaskSet:
        """The inverse of `to_dict`.

        Raises:
            ValueError: another format, other units, or contents that don't match the hash.
        """
        try:
            return cls._parsed(data, space)
        except (TypeError, AttributeError, OverflowError) as error:
            raise ValueError(f"not a TaskSet: {error}") from error

    @classmethod
    def _parsed(cls, data: Mapping[str, Any], space: ParameterSpace) -> TaskSet:
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
    def from_json(cls, text: str, space: ParameterSpace) -> TaskSet:
        """The inverse of `to_json`."""
        return cls.from_dict(json.loads(text), space)


def _uids(uids: npt.ArrayLike, n: int) -> IntArray:
    given = np.array(uids)
    if given.shape != (n,) or given.dtype.kind not in "iu" or len(np.unique(given)) != n:
        raise ValueError(f"`uids` must be {n} different integers. Received {uids!r}")
    if given.min() < 0 or given.max() > MAX_UID:
        raise ValueError(f"`uids` must be in [0, {MAX_UID}]. Received {given.min()} to {given.max()}")
    return given.astype(np.int64)


def _interval(draws: Uniform | Integer | None) -> str:
    return "" if draws is None else f"{draws.low:g} to {draws.high:g}"


def _header(parameter: Parameter) -> str:
    return parameter.name if parameter.unit == "1" else f"{parameter.name} [{parameter.unit}]"


def _text_table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]], width: int | None = None) -> str:
    """Aligned; of a table that is wider than ``width`` characters, the first columns, and how many more there are."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    n = len(header)
    while width is not None and n > 2 and sum(widths[:n]) + 2 * (n - 1) > width:
        n -= 1
    if n < len(header):
        more = f"... {len(header) - n} more"
        return _text_table((*header[:n], more), [(*row[:n], "") for row in rows])
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in [header, *rows]]
    return "\n".join(lines)
