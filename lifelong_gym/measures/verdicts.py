"""One rule by which what was measured says that a claim holds, or doesn't, or can't be told."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from lifelong_gym.errors import one_of
from lifelong_gym.measures.statistics import Interval

VERDICTS = "holds", "partly", "doesn't hold", "the opposite is seen", "not shown", "not tested"
HOLDS, PARTLY, FAILS, OPPOSITE, NOT_SHOWN, NOT_TESTED = VERDICTS
EXPECTATIONS = MET, UNSURE, MISSED = "met", "met, but not surely", "not met"
BAND, EFFECT = 0.03, 0.10
RATIO, DIFFERENCE, COUNT = "ratio", "difference", "count"
BELOW, ABOVE, WITHIN = "below", "above", "within"
RULE = (
    "Every claim names a number, a bound and a side. In a system it is *seen* if the whole 95% interval lies beyond "
    f"the bound by more than a tie, *opposite* if it lies as far on the other side, and a *tie* if it lies between. A "
    f"tie is {BAND:.0%}: of a ratio or of a mean's bound; for differences, of the way from doing nothing to the "
    "reference; counts have none. (A new draw of tasks or starts moves means by as much, and nobody would choose a "
    f"method for less.) A claim **{HOLDS}** if it is seen in all systems that it is about; **{PARTLY}** if in some, "
    f"and the opposite in none; **{OPPOSITE}** if it is in some system, which is named. Where neither is seen, it "
    f"**{FAILS}** if every interval was narrow enough to show an effect of the size that the paper prints (or of "
    f"{EFFECT:.0%}) and excludes it; otherwise it is **{NOT_SHOWN}**. It is **{NOT_TESTED}** if the setting or the "
    "length of run that it is about wasn't run."
)


class Bound(NamedTuple):
    """What a claim says of a number."""

    side: str  # ``below``, ``above`` or ``within``
    at: float  # of ``within`` the lower one
    to: float  # of ``within`` the upper one, else the same

    @classmethod
    def of(cls, side: str, *numbers: float) -> Bound:
        """From one number, of ``within`` two.

        Raises:
            ValueError: no such side, or other numbers, or these aren't finite and rising.
        """
        n = 2 if one_of("side", side, (BELOW, ABOVE, WITHIN)) == WITHIN else 1
        if len(numbers) != n or not all(map(math.isfinite, numbers)) or numbers != tuple(sorted({*numbers})):
            raise ValueError(f"`{side}` must be a finite number, and `within` two rising numbers. Received {numbers}")
        return cls(side, numbers[0], numbers[-1])


@dataclass(frozen=True)
class Evidence:
    """What one system says of a claim.

    Raises:
        ValueError: a span or effect that makes no sense, or a ratio or mean whose bound is 0.
    """

    system: str
    interval: Interval  # of the compared number
    bound: Bound
    scale: str = RATIO  # also of means, whose bound isn't 0; or ``difference`` or ``count``
    span: float = 1.0  # of a difference: from doing nothing to the reference, above 0
    effect: float = EFFECT  # that the paper prints: a share, of the bound (``ratio``) or of the span
    is_tested: bool = True  # whether the setting and the length of run that the claim is about were run

    def __post_init__(self) -> None:
        one_of("scale", self.scale, (RATIO, DIFFERENCE, COUNT))
        if not self.span > 0 or not BAND < self.effect < 1:
            raise ValueError(
                f"`span` must be above 0, `effect` between {BAND:g}, a tie, and 1. Received {self.span}, {self.effect}"
            )
        if self.scale == RATIO and 0 in (self.bound.at, self.bound.to):
            raise ValueError("a bound of 0 is for differences and counts: a share of it is nothing")

    @property
    def found(self) -> str:
        """``seen``, ``opposite``, ``tie``, ``excluded`` (an effect of this size), ``open`` or ``missing``."""
        if not self.is_tested:
            return "missing"
        (low, high), tie, effect = self._beyond(self.bound.at), self._size(BAND), self._size(self.effect)
        if self.bound.side == WITHIN:
            low_of_upper, high_of_upper = self._beyond(self.bound.to)
            if low >= 0 and high_of_upper <= 0:
                return "seen"
            is_opposite = high < -tie or low_of_upper > tie
            return "opposite" if is_opposite else "tie" if high < 0 or low_of_upper > 0 else "open"
        low, high = (-high, -low) if self.bound.side == ABOVE else (low, high)
        if high < -tie:
            return "seen"
        if low > tie or (low == 0 and self.scale == COUNT):
            return "opposite"
        is_excluded = low > -effect and (high - low) / 2 < effect - tie
        return "tie" if -tie <= low and high <= tie else "excluded" if is_excluded else "open"

    def _beyond(self, bound: float) -> tuple[float, float]:
        """How far the limits lie above a bound; of ratios, on the logarithmic scale, and where all are negative too."""
        low, high = self.interval[1:]
        if self.scale != RATIO:
            return (low - bound) / self.span, (high - bound) / self.span
        logs = (math.log(x / bound) if x / bound > 0 else -math.inf for x in (low, high))
        first, second = (math.copysign(1.0, bound) * each for each in logs)
        return first, second

    def _size(self, share: float) -> float:
        """Of a share, as `_beyond` has it: A over B is as far beyond a bound as B over A."""
        return {RATIO: -math.log(1 - share), DIFFERENCE: share, COUNT: 0.0}[self.scale]


class Judgement(NamedTuple):
    """Of a claim."""

    word: str  # one of `VERDICTS`
    opposite: tuple[str, ...] = ()  # systems in which the opposite is seen


def judged(evidence: Iterable[Evidence]) -> Judgement:
    """The verdict on a claim from what all its systems say; see `RULE`.

    Raises:
        ValueError: no evidence at all.
    """
    found = [(each.system, each.found) for each in evidence]
    if not found:
        raise ValueError("`evidence` must be of at least one system. Received none")
    words = {word for _, word in found}
    if "opposite" in words:
        return Judgement(OPPOSITE, tuple(system for system, word in found if word == "opposite"))
    if "seen" in words:
        return Judgement(HOLDS if words == {"seen"} else PARTLY)
    return Judgement(NOT_TESTED if "missing" in words else FAILS if words <= {"tie", "excluded"} else NOT_SHOWN)


def met(interval: Interval, bound: Bound) -> str:
    """Whether a number is as it was expected: its whole interval, its estimate only, or not."""
    low, high = {BELOW: (-math.inf, bound.at), ABOVE: (bound.at, math.inf), WITHIN: (bound.at, bound.to)}[bound.side]
    if low <= interval.low and interval.high <= high:
        return MET
    return UNSURE if low <= interval.estimate <= high else MISSED


def worst(words: Iterable[str]) -> str:
    """Of several expectations the worst word."""
    return max(words, key=EXPECTATIONS.index)
