"""Named parameters with units and bounds, as the columns of a task table."""

from __future__ import annotations

import numbers
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from lifelong_gym.errors import as_float, listed, one_of, unknown
from lifelong_gym.numerics.arrays import BoolArray, FloatArray
from lifelong_gym.tasks.distributions import Choice, Constant, Integer, Uniform
from lifelong_gym.tasks.rules import Rule

EXACT = 2**53  # up to here a float holds every integer
Value = float | str  # what users say and see of a parameter: a number, or an enumeration's name
D = TypeVar("D")


@dataclass(frozen=True)
class Parameter:
    """One named parameter of a task family.

    An enumeration has ``names``: users say and see them, task tables hold their indices.

    >>> game = Parameter("game", "1", "which game", names=("breakout", "pong"), draws=Integer(0, 1))
    >>> game.number("pong"), game.value(0.0), game.nominal
    (1.0, 'breakout', 0.0)

    Attributes:
        name: as in ``tasks=[{name: value}]``.
        unit: SI symbol, or "1" for a pure number.
        meaning: one line.
        bounds: what is physically valid; values outside raise `ValueError`. An enumeration's follow from its names.
        draws: what the ``default`` preset draws from; None: always nominal.
        nominal: value where nothing is said; default: the midpoint of ``draws``, rounded down where it must be an
            integer; of a `Choice` the first value; of an enumeration else the first name.
        integer: whether only integers are valid; those of an enumeration are.
        names: of an enumeration's values, all different; none: the parameter is a number.
        added: whether the family has it since later than its first version. Task sets from before load, and as long as
            it is nominal in all tasks, a set's hash is what it was without it.

    Raises:
        ValueError: without bounds and names, or with both; names that aren't different, non-empty strings; no nominal
            value, or one that isn't valid.
    """

    name: str
    unit: str
    meaning: str
    bounds: tuple[float, float] = (float("nan"), float("nan"))
    draws: Uniform | Integer | Choice | None = None
    nominal: float = float("nan")
    integer: bool = False
    names: tuple[str, ...] = ()
    added: bool = False

    def __post_init__(self) -> None:
        if self.names:
            self._enumerate()
        elif np.isnan(self.bounds).any():
            raise ValueError(f"parameter {self.name!r} needs `bounds` or `names`")
        if isinstance(self.draws, Choice):
            object.__setattr__(self, "draws", self.in_numbers(self.draws))
        nominal = self.number(self.nominal)
        object.__setattr__(self, "nominal", self._default() if np.isnan(nominal) else nominal)
        self.check(self.nominal)

    def _enumerate(self) -> None:
        """Check the names, and let the bounds follow from them."""
        names = self.names
        if isinstance(names, str) or not all(isinstance(n, str) and n for n in names) or len(set(names)) < len(names):
            raise ValueError(f"parameter {self.name!r} must have different, non-empty `names`. Received {names!r}")
        bounds = (0.0, len(names) - 1.0)
        if not np.isnan(self.bounds).all() and tuple(self.bounds) != bounds:
            raise ValueError(f"parameter {self.name!r}: `bounds` follow from its names. Received {self.bounds}")
        for field, value in (("names", tuple(names)), ("bounds", bounds), ("integer", True)):
            object.__setattr__(self, field, value)

    def _default(self) -> float:
        """The nominal value where none is given."""
        if isinstance(self.draws, Choice):
            return float(self.draws.values[0])
        if self.names:
            return 0.0
        if self.draws is None:
            raise ValueError(f"parameter {self.name!r} needs `nominal` or `draws`")
        middle = 0.5 * (self.draws.low + self.draws.high)
        return float(np.floor(middle)) if self.integer else middle

    def number(self, value: object) -> float:
        """What a task table holds where a user says ``value``: an enumeration's index for its name.

        Raises:
            ValueError: neither a number nor, of an enumeration, one of its names; or a number that a float can't hold.
        """
        if self.names and isinstance(value, str):
            return float(self.names.index(one_of(self.name, value, self.names)))
        if not isinstance(value, numbers.Real):
            raise ValueError(f"parameter {self.name!r} must be {self._kind}. Received {value!r}")
        if isinstance(value, numbers.Rational) and np.isinf(as_float(value)):
            raise ValueError(f"parameter {self.name!r} must be within the range of a float. Received {value}")
        if self.integer and isinstance(value, numbers.Integral) and abs(int(value)) > EXACT:
            raise ValueError(f"parameter {self.name!r} must be an integer that a float holds exactly. Received {value}")
        return float(value)

    @property
    def _kind(self) -> str:
        return f"one of {listed(self.names)}" if self.names else "a number"

    def value(self, number: float) -> Value:
        """What users see of a valid number in a task table: of an enumeration the name, else the number itself."""
        return self.names[int(number)] if self.names else float(number)

    def text(self, number: float) -> str:
        """A valid number in few characters: a name, an integer in full, else four digits."""
        if self.names:
            return self.names[int(number)]
        return f"{number:.0f}" if self.integer else f"{number:.4g}"

    def in_numbers(self, draws: D) -> D:
        """A distribution with an enumeration's names replaced by what a task table holds."""
        if isinstance(draws, Choice):
            return replace(draws, values=tuple(self.number(value) for value in draws.values))
        if isinstance(draws, Constant):
            return replace(draws, value=self.number(draws.value))
        return draws

    def check(self, value: float) -> None:
        """Raise `ValueError` unless ``value`` is a number inside the bounds, and an integer where it must be."""
        low, high = self.bounds
        if self.names and not (low <= value <= high and value == np.floor(value)):
            raise ValueError(f"parameter {self.name!r} must be {self._kind}, or an index of them. Received {value}")
        if not (low <= value <= high and np.isfinite(value)):
            finite = "" if np.isfinite(self.bounds).all() else "finite and "
            raise ValueError(
                f"parameter {self.name!r} must be {finite}in [{low:g}, {high:g}] {self.unit}. Received {value}"
            )
        if self.integer and value != np.floor(value):
            raise ValueError(f"parameter {self.name!r} must be an integer. Received {value}")


class Columns:
    """Named parameters in the order of a task table's columns, and the rules that hold among them."""

    def __init__(self, parameters: Iterable[Parameter], rules: Iterable[Rule] = ()) -> None:
        """Collect them.

        Raises:
            ValueError: two share a name, a rule is about an unknown one, or the nominal task breaks a rule.
            FamilyError: a rule that doesn't answer with a bool a task.
        """
        self.parameters = tuple(parameters)
        self.names = tuple(parameter.name for parameter in self.parameters)
        self.units = tuple(parameter.unit for parameter in self.parameters)
        self._index = {name: i for i, name in enumerate(self.names)}
        if len(self._index) != len(self.names):
            raise ValueError(f"parameter names must differ. Received {self.names}")
        self.rules = tuple(rules)
        for name in (name for rule in self.rules for name in rule.parameters):
            self.index(name)
        self._check_rules(self.nominal[None], "the nominal task")

    def __getitem__(self, name: str) -> Parameter:
        return self.parameters[self.index(name)]

    def __iter__(self) -> Iterator[Parameter]:
        return iter(self.parameters)

    def __len__(self) -> int:
        return len(self.parameters)

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

    def check(self, values: FloatArray) -> None:
        """Raise `ValueError` unless all tasks of a table, shape (n_tasks, n_parameters), are valid."""
        low, high = self.bounds
        inside = (values >= low) & (values <= high) & np.isfinite(values)
        integers = self.integer
        inside[:, integers] &= values[:, integers] == np.floor(values[:, integers])
        if not inside.all():
            row, column = np.argwhere(~inside)[0]
            try:
                self.parameters[column].check(values[row, column])
            except ValueError as error:
                raise ValueError(f"task {row}: {error}") from None
        self._check_rules(values)

    def _check_rules(self, values: FloatArray, whose: str | None = None) -> None:
        columns = self.columns(values)
        for rule in self.rules:
            kept = rule.kept(columns)
            if not kept.all():
                row = int(np.argmin(kept))
                received = ", ".join(f"{name}={self[name].text(columns[name][row])}" for name in rule.parameters)
                task = {name: self[name].value(columns[name][row]) for name in rule.parameters}
                valid = "" if rule.valid is None else f"; {rule.valid(task)}"
                raise ValueError(f"{whose or f'task {row}'}: {rule.says}{valid}. Received {received}")

    def keeping(self, values: FloatArray) -> BoolArray:
        """Which tasks of a table keep all rules, shape (n_tasks,)."""
        columns = self.columns(values)
        return np.logical_and.reduce([np.ones(len(values), bool), *[rule.kept(columns) for rule in self.rules]])

    def scaled(self, values: FloatArray) -> FloatArray:
        """A task table scaled by the bounds to [0, 1]; of an enumeration a column a name, 1 where the task has it.

        Raises:
            ValueError: bounds that are infinite or equal.
        """
        for parameter in self.parameters:
            if not (parameter.names or 0 < parameter.bounds[1] - parameter.bounds[0] < np.inf):
                raise ValueError(
                    f"parameters are scaled by their bounds, which must be finite and apart. "
                    f"Received {parameter.name!r} with bounds {parameter.bounds}"
                )
        low, high = self.bounds
        width = np.where([bool(parameter.names) for parameter in self.parameters], 1.0, high - low)
        return self.expanded((values - low) / width, values)

    def expanded(self, numbers: FloatArray, values: FloatArray) -> FloatArray:
        """Numbers that stand for a task table; of an enumeration a column a name instead, 1 where the task has it.

        Args:
            numbers: shape (n_tasks, n_parameters).
            values: the table, of the same shape.

        Returns:
            Shape (n_tasks, n_features).
        """
        columns: list[FloatArray] = []
        for parameter, number, value in zip(self.parameters, numbers.T, values.T, strict=True):
            columns += [1.0 * (value == i) for i in range(len(parameter.names))] or [number]
        return np.stack(columns, axis=1)

    @property
    def of_names(self) -> BoolArray:
        """Which columns of `expanded` stand for names, shape (n_features,)."""
        return np.array([bool(p.names) for p in self.parameters for _ in p.names or (p.name,)], bool)

    def columns(self, values: FloatArray) -> dict[str, FloatArray]:
        """A task table as ``{parameter: column}``."""
        return dict(zip(self.names, np.asarray(values, np.float64).T, strict=True))

    def row(self, task: Mapping[str, Value]) -> FloatArray:
        """The values of one task, as a task table holds them; what it leaves out is nominal.

        Raises:
            ValueError: not a dict, an unknown parameter, or a value that is neither a number nor one of its names.
        """
        if not isinstance(task, Mapping):
            raise ValueError(f"a task must be a dict of parameters. Received {task!r}")
        row = self.nominal
        for name, value in task.items():
            row[self.index(name)] = self[name].number(value)
        return row
