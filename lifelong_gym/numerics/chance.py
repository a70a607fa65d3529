"""All outcomes of a text that takes uniform noise, with their probabilities, instead of one that is drawn.

The text runs on symbols in place of its noise. Where it asks for what they leave open, such as whether a uniform is
below 0.3, it runs once for every answer, and each run has the probability of its answers. That is exact for texts that
compare an affine function of a uniform with a number, or round it: whatever draws from finitely many outcomes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

from lifelong_gym.errors import FamilyError

T = TypeVar("T")


@dataclass(eq=False)
class Course:
    """One way that chance may take.

    Attributes:
        answers: to the questions that were open, in order; at first those that are prescribed.
        bounds: of each uniform, what the answers leave of [0, 1).
        n_asked: how many questions have been open so far.
    """

    answers: list[bool]
    bounds: list[tuple[float, float]]
    n_asked: int = 0

    def below(self, which: int, bound: float) -> bool:
        """Whether a uniform is below ``bound``; where that is open, the next answer says it, or else yes."""
        low, high = self.bounds[which]
        if bound <= low or bound >= high:
            return bound >= high
        if self.n_asked == len(self.answers):
            self.answers.append(True)
        answer = self.answers[self.n_asked]
        self.n_asked += 1
        self.bounds[which] = (low, bound) if answer else (bound, high)
        return answer

    @property
    def probability(self) -> float:
        """Of going this way."""
        product = 1.0
        for low, high in self.bounds:
            product *= high - low
        return product


def outcomes(function: Callable[[tuple[Any, ...]], T], n: int) -> Iterator[tuple[float, T]]:
    """Each probability and result of a function of a tuple of ``n`` independent uniforms in [0, 1).

    >>> [(p, result) for p, result in outcomes(lambda noise: "ill" if noise[0] < 0.25 else "well", 1)]
    [(0.25, 'ill'), (0.75, 'well')]

    Args:
        function: of plain Python, without memory.
        n: how many uniforms.

    Raises:
        FamilyError: it does with a uniform what isn't counted here, such as a product of two.
    """
    answers: list[bool] = []
    while True:
        course = Course(answers, [(0.0, 1.0)] * n)
        result = function(tuple(Affine(course, i) for i in range(n)))
        yield course.probability, result
        while answers and not answers[-1]:
            answers.pop()
        if not answers:
            return
        answers[-1] = False


def mean(number: Any) -> float:
    """Of a number that may be affine in a uniform, over what is left of that."""
    return number.mean if isinstance(number, Affine) else float(number)


def refuse(self: object, *others: object) -> NoReturn:
    """What isn't counted."""
    raise FamilyError("noise must be compared with numbers, shifted, scaled or rounded to be counted")


@dataclass(frozen=True, eq=False)
class Affine:
    """``scale u + shift`` of a uniform u, whose bounds the course knows."""

    course: Course
    which: int
    scale: float = 1.0
    shift: float = 0.0

    @property
    def mean(self) -> float:
        """Over what is left of the uniform."""
        low, high = self.course.bounds[self.which]
        return self.scale * 0.5 * (low + high) + self.shift

    def __lt__(self, bound: float) -> bool:
        if isinstance(bound, Affine):
            refuse(self)
        if self.scale == 0.0:
            return self.shift < bound
        at = (bound - self.shift) / self.scale
        return self.course.below(self.which, at) if self.scale > 0.0 else not self.course.below(self.which, at)

    def __ge__(self, bound: float) -> bool:
        return not self < bound

    __le__, __gt__ = __lt__, __ge__  # a single number has no probability

    def __add__(self, number: float) -> Affine:
        if isinstance(number, Affine):
            refuse(self)
        return Affine(self.course, self.which, self.scale, self.shift + number)

    def __mul__(self, number: float) -> Affine:
        if isinstance(number, Affine):
            refuse(self)
        return Affine(self.course, self.which, self.scale * number, self.shift * number)

    __radd__, __rmul__ = __add__, __mul__

    def __neg__(self) -> Affine:
        return self * -1.0

    def __sub__(self, number: float) -> Affine:
        return self + -number

    def __rsub__(self, number: float) -> Affine:
        return -self + number

    def __truediv__(self, number: float) -> Affine:
        return self * (1.0 / number)

    def __floor__(self) -> int:
        low, high = self.course.bounds[self.which]
        ends = sorted((self.scale * low + self.shift, self.scale * high + self.shift))
        last = int(-(-ends[1] // 1)) - 1  # the largest integer below the upper end
        for n in range(int(ends[0] // 1), last):
            if self < n + 1:
                return n
        return last

    def __int__(self) -> int:
        floor = math.floor(self)
        return floor + 1 if floor < 0 else floor

    def __eq__(self, other: object) -> bool:
        refuse(self)

    __hash__ = None  # type: ignore[assignment]
    __bool__ = __float__ = __abs__ = __rtruediv__ = __pow__ = __mod__ = __index__ = refuse
