"""Named parameters with units and bounds, as the columns of a task table."""

from __future__ import annotations

import numbers
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lifelong_gym.errors import as_float, unknown
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.tasks.distributions import Integer, Uniform


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


class Columns:
    """Named parameters in the order of a task table's columns."""

    def __init__(self, parameters: Iterable[Parameter]) -> None:
        """Collect them.

        Raises:
            ValueError: two share a name.
        """
        self.parameters = tuple(parameters)
        self.names = tuple(parameter.name for parameter in self.parameters)
        self.units = tuple(parameter.unit for parameter in self.parameters)
        self._index = {name: i for i, name in enumerate(self.names)}
        if len(self._index) != len(self.names):
            raise ValueError(f"parameter names must differ. Received {self.names}")

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

    def columns(self, values: FloatArray) -> dict[str, FloatArray]:
        """A task table as ``{parameter: column}``."""
        return dict(zip(self.names, np.asarray(values, np.float64).T, strict=True))

    def row(self, task: Mapping[str, float]) -> FloatArray:
        """The values of one task; what it leaves out is nominal.

        Raises:
            ValueError: not a dict, an unknown parameter, or a value that is no number.
        """
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
