"""What a codec is: one for a family's actions, one for its observations."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from lifelong_gym.errors import FamilyError
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.numerics.scalar import Vector

Array = npt.NDArray[Any]
ActionText = Callable[[Vector, Vector], Vector]


@dataclass(frozen=True)
class Quantity:
    """One number of a state, observation or action: its name, unit and meaning."""

    name: str
    unit: str
    meaning: str


class Codec(ABC):
    """A kind of space."""

    @property
    @abstractmethod
    def size(self) -> int:
        """Numbers that backends hold of one row."""

    @property
    @abstractmethod
    def space(self) -> spaces.Space[Any]:
        """Of one row; a new one at each call, as each has a generator of its own."""

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """The space's."""
        return self.space.shape or ()

    def faults(self) -> Iterator[str]:
        """What is wrong with the declaration."""
        yield from ()


class ActionCodec(Codec):
    """A kind of action.

    Attributes:
        channels: names of the numbers that constraints may limit; empty: none.
        bound: largest magnitudes where the family sees ``a = bound * u``, u in [-1, 1]; empty for other kinds, for
            which there are no linear-Gaussian policies.
        valid: every number from the one to the other is valid, so that nothing else need be looked at; None: ask
            ``check_values``.
    """

    channels: tuple[Quantity, ...] = ()
    bound: tuple[float, ...] = ()
    valid: ClassVar[tuple[float, float] | None] = None

    @abstractmethod
    def text(self) -> tuple[ActionText, Mapping[str, Any]]:
        """What backends bind: a function ``(action, present)`` of tuples in the vocabulary of `scalar`, and its names.

        It gives what the family sees. ``present`` holds 1 or 0 per number: what the family's ``present`` says. The
        values of the names are hashable, such as numbers and tuples of them: families that agree in text and values
        share compiled code.
        """

    @abstractmethod
    def check_values(self, actions: FloatArray) -> None:
        """Raise `ValueError` on values, shape (n, size), that are no actions."""

    @abstractmethod
    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        """Uniform actions, as users send them: shape (``*shape``, ``*space.shape``)."""

    def try_out(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        """Actions that test a family, as of `draw`; the last axis of ``shape`` is time."""
        return self.draw(rng, shape)

    @property
    def rest(self) -> Array | None:
        """The action that does nothing; None where there is none."""
        return None

    def for_simulator(self, seen: Vector) -> Any:
        """What a simulator without kernel gets, of what ``text`` gives."""
        return seen

    def measured(self, actions: FloatArray) -> FloatArray:
        """The values of ``channels``, shape (n_channels, n), of actions (n, size)."""
        return np.zeros((0, len(actions)))

    def check_shape(self, action: Any) -> Array:
        """One row's action, shape (size,); raises `ValueError` on a wrong shape, values are not looked at."""
        given, shape = _as_array(action), self.shape
        if given.shape not in (shape, (self.size,)):
            raise ValueError(f"an action must have shape {shape}. Received {action!r}")
        return given.reshape(-1)

    def check(self, actions: Any, n: int) -> FloatArray:
        """Actions of ``n`` rows as float64 (n, size); raises `ValueError` on a wrong shape or value."""
        try:
            given = np.ascontiguousarray(actions, np.float64)
        except (TypeError, ValueError, OverflowError):
            raise ValueError(f"actions must be numbers. Received {actions!r}") from None
        if given.shape != (n, self.size):
            if given.shape != (n, *self.shape):
                raise ValueError(f"actions must have shape {(n, self.size)}. Received {np.shape(actions)}")
            given = given.reshape(n, self.size)
        self.check_values(given)
        return given if given.flags.writeable else given.copy()


class ObservationCodec(Codec):
    """A kind of observation.

    Attributes:
        is_vector: whether it is a vector of float32 numbers, as linear policies, constraints and task features need.
        is_image: whether it is pixels, which a kernel family writes one row at a time.
    """

    is_vector: ClassVar[bool] = False
    is_image: ClassVar[bool] = False

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        """In which rows are held: the space's."""
        dtype = self.space.dtype
        assert dtype is not None
        return np.dtype(dtype)

    def one(self, row: Array) -> Any:
        """What a user gets of one row, shape (size,)."""
        return row.reshape(self.shape)

    def rows(self, rows: Array) -> Array:
        """What a user gets of many, shape (n, size)."""
        return rows.reshape(len(rows), *self.shape)

    def flat(self, observation: Any) -> Array:
        """A simulator's observation as a row; raises `FamilyError` unless it has the space's dtype and shape."""
        wanted = self.dtype, self.shape
        if not isinstance(observation, np.ndarray) or (observation.dtype, observation.shape) != wanted:
            kind = getattr(observation, "dtype", type(observation).__name__)
            shown = f"{kind} of shape {np.shape(observation)}"
            raise FamilyError(f"an observation must be {wanted[0]} of shape {wanted[1]}. Received {shown}")
        return observation.reshape(-1)

    def with_features(self, low: Array, high: Array) -> spaces.Space[Any]:
        """The space with numbers in ``[low, high]`` behind an observation's own, float32 (n_features,); for vectors."""
        space = self.space
        assert isinstance(space, spaces.Box)
        return spaces.Box(np.concatenate([space.low, low]), np.concatenate([space.high, high]), dtype=np.float32)


def not_positive(name: str, values: Sequence[float], length: int) -> Iterator[str]:
    """A fault unless there are so many numbers, all positive and finite."""
    if len(values) != length or not all(0 < value < np.inf for value in values):
        yield f"`{name}` must be {length} positive numbers, one a channel. Received {values}"


def _as_array(value: Any) -> Array:
    try:
        return np.asarray(value)
    except ValueError:  # lists of different lengths: no shape that anybody asks for
        return np.empty(0)
