"""What parameters of tasks are drawn from."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field

import numpy as np

from lifelong_gym.numerics import numpy_math, philox
from lifelong_gym.numerics.arrays import FloatArray


@dataclass(frozen=True)
class Uniform:
    """Uniform on [low, high]."""

    low: float
    high: float

    def quantile(self, u: FloatArray) -> FloatArray:
        """Map uniforms in [0, 1) to this distribution."""
        return self.low + (self.high - self.low) * u

    def widened(self) -> Uniform:
        """Magnitudes from half the smallest to twice the largest: [low / 2, 2 high], mirrored where negative.

        Raises:
            ValueError: the range contains 0, so that there is no smallest magnitude of one sign.
        """
        if self.low <= 0 <= self.high:
            raise ValueError(f"a range can only be widened where it doesn't contain 0. Received {self}")
        if self.low < 0:
            return Uniform(2 * self.low, self.high / 2)
        return Uniform(self.low / 2, 2 * self.high)

    @property
    def support(self) -> tuple[float, float]:
        """Smallest and largest possible value."""
        return self.low, self.high


@dataclass(frozen=True)
class Integer:
    """Uniform on the integers low, low + 1, ... high."""

    low: int
    high: int

    def quantile(self, u: FloatArray) -> FloatArray:
        """Map uniforms in [0, 1) to this distribution."""
        result: FloatArray = self.low + np.floor((self.high - self.low + 1) * u)
        return result

    @property
    def support(self) -> tuple[float, float]:
        """Smallest and largest possible value."""
        return self.low, self.high


@dataclass(frozen=True)
class LogUniform:
    """Log-uniform on [low, high], both positive."""

    low: float
    high: float

    def quantile(self, u: FloatArray) -> FloatArray:
        """Map uniforms in [0, 1) to this distribution."""
        result: FloatArray = self.low * numpy_math.exp(u * numpy_math.log(self.high / self.low))
        return result

    @property
    def support(self) -> tuple[float, float]:
        """Smallest and largest possible value."""
        return self.low, self.high


@dataclass(frozen=True)
class Constant:
    """Always the same value, a number or a name of an enumeration."""

    value: float | str

    def quantile(self, u: FloatArray) -> FloatArray:
        """The value, once per entry of ``u``."""
        return np.full_like(u, float(self.value))

    @property
    def support(self) -> tuple[float, float]:
        """The value, twice; it must be a number."""
        return float(self.value), float(self.value)


@dataclass(frozen=True)
class Choice:
    """Uniform on a list of values, which are numbers or names of an enumeration.

    >>> Choice(("breakout", "pong")), Choice((16, 32, 64))
    (Choice(values=('breakout', 'pong')), Choice(values=(16, 32, 64)))
    """

    values: tuple[float | str, ...]

    def __post_init__(self) -> None:
        if isinstance(self.values, str) or len(self.values) == 0:
            raise ValueError(f"`values` must be a tuple of at least one number or name. Received {self.values!r}")
        object.__setattr__(self, "values", tuple(self.values))

    def quantile(self, u: FloatArray) -> FloatArray:
        """Map uniforms in [0, 1) to this distribution; its values must be numbers, as a `ParameterSpace` makes them."""
        table = np.array(self.values, np.float64)
        return table[np.floor(len(table) * u).astype(np.int64)]

    @property
    def support(self) -> tuple[float, float]:
        """Smallest and largest possible value; they must be numbers."""
        numbers = [float(value) for value in self.values]
        return min(numbers), max(numbers)


@dataclass(frozen=True)
class RandomSign:
    """Plus or minus a magnitude, balanced: rows 2m and 2m+1 of a set have opposite signs."""

    magnitude: Uniform | LogUniform | Constant = field(default_factory=lambda: Constant(1.0))

    @property
    def support(self) -> tuple[float, float]:
        """Smallest and largest possible value."""
        high = self.magnitude.support[1]
        return -high, high


@dataclass(frozen=True)
class SameAs:
    """A copy of what another parameter of the same task drew."""

    parameter: str


Drawn = Uniform | Integer | LogUniform | Constant | Choice | RandomSign
Distribution = Drawn | SameAs


def uniforms(name: str, n: int, seed: int, attempt: int = 0) -> tuple[FloatArray, FloatArray]:
    """Two in [0, 1) a task 0 ... n - 1; those of task j depend on the name, the seed, the attempt and j alone."""
    rows = np.arange(n, dtype=np.uint64)
    key = philox.row_key(int(seed))
    u, v = numpy_math.uniform_pair(zlib.crc32(name.encode()), rows, attempt, philox.TASKS, *key)
    return u, v


def draw(distribution: Distribution, name: str, n: int, seed: int, attempt: int = 0) -> FloatArray:
    """Values of one parameter in tasks 0 ... n - 1: that of task j depends on the name, the seed and j alone.

    Each ``attempt`` gives others, but signs stay: they are balanced among tasks, and an attempt is made for some only.
    """
    if isinstance(distribution, Constant):
        return distribution.quantile(np.empty(n))
    value, sign = uniforms(name, n, seed, attempt)
    if not isinstance(distribution, RandomSign):
        assert not isinstance(distribution, SameAs)
        return distribution.quantile(value)
    rows, sign = np.arange(n), sign if attempt == 0 else uniforms(name, n, seed)[1]
    first = np.where(sign[rows // 2 * 2] < 0.5, -1.0, 1.0)
    return first * np.where(rows % 2 == 0, 1.0, -1.0) * distribution.magnitude.quantile(value)
