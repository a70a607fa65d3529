"""Actions of numbers: continuous ones, and shares of a whole."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from lifelong_gym.envs.arguments import Argument
from lifelong_gym.envs.spaces.codecs import ActionCodec, ActionText, Array, Quantity, not_positive
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.numerics.scalar import Vector, bounded, mul, shares, softmax

ROUNDING = 1e-6  # of float32 numbers up to 1
ANY_FINITE = (-sys.float_info.max, sys.float_info.max)
MAX_LOGIT = 100.0  # sums of exponentials stay finite

# Filled in when a text is bound; the values here are those of one number.
BOUND: Vector = (1.0,)
LOW: Vector = (-1.0,)
HIGH: Vector = (1.0,)


def bounded_action(action: Vector, present: Vector) -> Vector:
    """U clipped to [-1, 1], times the bound."""
    return mul(BOUND, bounded(action, LOW, HIGH))


def shares_action(action: Vector, present: Vector) -> Vector:
    """Weights in [0, 1] divided by their sum."""
    return shares(bounded(action, LOW, HIGH), present)


def softmax_action(action: Vector, present: Vector) -> Vector:
    """U clipped to [-1, 1], times the bound, through softmax."""
    return softmax(mul(BOUND, bounded(action, LOW, HIGH)), present)


@dataclass(frozen=True)
class Continuous(ActionCodec):
    """Actions u in [-1, 1]; the family sees ``a = bound * u``."""

    channels: tuple[Quantity, ...] = field()
    bound: tuple[float, ...] = field()
    valid: ClassVar[tuple[float, float]] = ANY_FINITE

    @property
    def size(self) -> int:
        """Numbers an action consists of."""
        return len(self.bound)

    @property
    def space(self) -> spaces.Box:
        """``Box(-1, 1)``."""
        return spaces.Box(-1.0, 1.0, (self.size,), np.float32)

    def text(self) -> tuple[ActionText, Mapping[str, Any]]:
        """See `ActionCodec`."""
        return bounded_action, {"BOUND": tuple(map(float, self.bound)), **_limits(-1.0, self.size)}

    def check_values(self, actions: FloatArray) -> None:
        """All finite: what is beyond [-1, 1] is clipped."""
        check_finite(actions)

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        """See `ActionCodec`."""
        return rng.uniform(-1.0, 1.0, (*shape, self.size)).astype(np.float32)

    def try_out(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        """At -1, 0 or 1 for an episode, with noise, so that some episodes reach the limits of the state."""
        held = rng.integers(-1, 2, (*shape[:-1], 1, self.size))
        return np.clip(held + rng.uniform(-0.5, 0.5, (*shape, self.size)), -1.0, 1.0).astype(np.float32)

    @property
    def rest(self) -> Array:
        """Zeros."""
        return np.zeros(self.size, np.float32)

    @cached_property
    def _column(self) -> FloatArray:
        return np.array(self.bound, np.float64)[:, None]

    def measured(self, actions: FloatArray) -> FloatArray:
        """The clipped actions a."""
        a: FloatArray = self._column * np.minimum(np.maximum(actions.T, -1.0), 1.0)
        return a

    def faults(self) -> Iterator[str]:
        """A positive bound a channel."""
        yield from not_positive("actions.bound", self.bound, len(self.channels))


@dataclass(frozen=True)
class Simplex(ActionCodec):
    """Shares of a whole among m entities; the family sees numbers of at least 0 that sum to 1.

    A user sends ``Box(0, 1, (m,))``, which is divided by its sum; a sum of 0 is equal shares. With ``logits``, the
    bound b, a user sends u in ``Box(-1, 1, (m,))``, and the shares are the softmax of ``b * u``, for stock Gaussian
    policies; `simplex_or_logits` lets users choose. Where the family's ``present`` says that an entity is absent, it
    gets 0 and the others share the whole.
    """

    m: int
    logits: float | None = None

    @property
    def valid(self) -> tuple[float, float]:  # type: ignore[override]
        """Logits are clipped, weights are not."""
        return (-ROUNDING, 1.0 + ROUNDING) if self.logits is None else ANY_FINITE

    @property
    def size(self) -> int:
        """Number of entities."""
        return self.m

    @property
    def space(self) -> spaces.Box:
        """See the class."""
        return spaces.Box(0.0 if self.logits is None else -1.0, 1.0, (self.m,), np.float32)

    def text(self) -> tuple[ActionText, Mapping[str, Any]]:
        """See `ActionCodec`."""
        if self.logits is None:
            return shares_action, _limits(0.0, self.m)
        return softmax_action, {"BOUND": (float(self.logits),) * self.m, **_limits(-1.0, self.m)}

    def check_values(self, actions: FloatArray) -> None:
        """All finite; weights also in [0, 1], up to rounding."""
        check_finite(actions)
        off = (actions < self.valid[0]) | (actions > self.valid[1])
        if self.logits is None and off.any():
            raise ValueError(f"weights must be in [0, 1]. Received {actions[off][0]}")

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        """See `ActionCodec`."""
        space = self.space
        return rng.uniform(space.low, space.high, (*shape, self.m)).astype(np.float32)

    @property
    def rest(self) -> Array:
        """Zeros: equal shares."""
        return np.zeros(self.m, np.float32)

    def asking_for(self, wanted: npt.ArrayLike) -> Array:
        """Actions that give these shares, shape (..., m), or with logits the nearest that their bound allows.

        Of two entities that are there, logits give one at most ``exp(2 * logits)`` times the other's share.
        """
        asked = np.asarray(wanted, np.float64)
        if self.logits is None:
            return asked.astype(np.float32)
        with np.errstate(divide="ignore"):
            depth = np.log(asked) - np.log(asked.max(axis=-1, keepdims=True))
        return np.maximum(1.0 + depth / self.logits, -1.0).astype(np.float32)

    def faults(self) -> Iterator[str]:
        """An entity or more; logits within what sums of exponentials bear."""
        if self.m < 1:
            yield f"`actions.m` must be at least 1. Received {self.m}"
        if self.logits is not None and not 0 < self.logits <= MAX_LOGIT:
            yield f"`actions.logits` must be in (0, {MAX_LOGIT:g}]. Received {self.logits}"


def simplex_or_logits(m: int, bound: float) -> Argument:
    """The argument ``actions`` of a family whose actions are shares: ``"simplex"``, the default, or ``"logits"``.

    It stands among ``Family.arguments``; the family's ``actions`` are then set by whoever makes it. Where m depends on
    other arguments, the family's ``__init__`` sets it: ``self.actions = replace(self.actions, m=...)``.

    Args:
        m: number of entities.
        bound: of logits, see `Simplex`.
    """
    choices = {"simplex": Simplex(m), "logits": Simplex(m, bound)}
    meaning = "what users send: weights in [0, 1], or in [-1, 1] for stock Gaussian policies"
    return Argument("actions", str, "simplex", meaning, choices)


def check_finite(actions: FloatArray) -> None:
    """Raise `ValueError` unless all are finite."""
    # The sum of squares is the quickest look at all of them; it can also overflow.
    if not math.isfinite(np.vdot(actions, actions)) and not np.isfinite(actions).all():
        raise ValueError(f"actions must be finite. Received {actions[~np.isfinite(actions)][0]} in {actions!r}")


def _limits(low: float, size: int) -> dict[str, Any]:
    return {"LOW": (low,) * size, "HIGH": (1.0,) * size}
