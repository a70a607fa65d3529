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
    """Always the same value."""

    value: float

    def quantile(self, u: FloatArray) -> FloatArray:
        """The value, once per entry of ``u``."""
        return np.full_like(u, self.value)

    @property
    def support(self) -> tuple[float, float]:
        """The value, twice."""
        return self.value, self.value


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


Distribution = Uniform | Integer | LogUniform | Constant | RandomSign | SameAs


def draw(distribution: Distribution, name: str, n: int, seed: int) -> FloatArray:
    """Values of one parameter in tasks 0 ... n - 1: that of task j depends on the name, the seed and j alone."""
    if isinstance(distribution, Constant):
        return distribution.quantile(np.empty(n))
    rows = np.arange(n, dtype=np.uint64)
    key = philox.row_key(int(seed))
    value, sign = numpy_math.uniform_pair(zlib.crc32(name.encode()), rows, 0, philox.TASKS, *key)
    if not isinstance(distribution, RandomSign):
        assert not isinstance(distribution, SameAs)
        return distribution.quantile(value)
    first = np.where(sign[(rows // 2 * 2).astype(np.int64)] < 0.5, -1.0, 1.0)
    return first * np.where(rows % 2 == 0, 1.0, -1.0) * distribution.magnitude.quantile(value)
