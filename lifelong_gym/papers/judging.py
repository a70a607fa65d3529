"""From numbers to verdicts: what is compared, with which interval, and what that says of claims and expectations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from lifelong_gym.measures import verdicts
from lifelong_gym.measures.intervals import difference_interval, mean_interval, median_time, ratio_interval
from lifelong_gym.measures.statistics import Interval
from lifelong_gym.measures.verdicts import Evidence, Judgement
from lifelong_gym.papers.code import Code
from lifelong_gym.papers.numbers import Numbers, flat_times
from lifelong_gym.papers.specs import (
    COUNT,
    FUNCTION,
    MEAN,
    MEDIAN,
    RATIO,
    ClaimSpec,
    ComparisonSpec,
    ExpectationSpec,
)


class Judged(NamedTuple):
    """A claim with what was measured.

    Attributes:
        claim: what is claimed.
        evidence: of every system, pair and part.
        verdict: on all of it.
    """

    claim: ClaimSpec
    evidence: tuple[Evidence, ...]
    verdict: Judgement


class Checked(NamedTuple):
    """An expectation with what was measured.

    Attributes:
        expectation: what was expected.
        evidence: of every system, pair and part.
        word: whether it is met.
    """

    expectation: ExpectationSpec
    evidence: tuple[Evidence, ...]
    word: str


def judge(claim: ClaimSpec, numbers: Numbers, code: Code) -> Judged:
    """Hold a claim against the numbers."""
    evidence = tuple(each for part in claim.parts for each in compared(part, numbers, code))
    return Judged(claim, evidence, verdicts.judged(evidence))


def check(expectation: ExpectationSpec, numbers: Numbers, code: Code) -> Checked:
    """Hold an expectation against the numbers."""
    evidence = tuple(each for part in expectation.parts for each in compared(part, numbers, code))
    return Checked(expectation, evidence, verdicts.worst(verdicts.met(each.interval, each.bound) for each in evidence))


def compared(part: ComparisonSpec, numbers: Numbers, code: Code) -> Iterator[Evidence]:
    """What each system, and each pair of methods, says."""
    if part.kind == FUNCTION:
        bound = next(iter(part.bounds.values()))
        for name, interval in code.load(part.first[0])(numbers, part.study, tuple(part.bounds)).items():
            yield Evidence(name, interval, bound, part.scale, effect=part.effect)
        return
    for system, bound in part.bounds.items():
        span = part.spans.get(system, 1.0)
        tested = all(_is_tested(part, numbers, system, method) for method in (*part.first, *part.second))
        for name, interval in _intervals(part, numbers, system).items():
            yield Evidence(name, interval, bound, part.scale, span, part.effect, tested)


def _intervals(part: ComparisonSpec, numbers: Numbers, system: str) -> Mapping[str, Interval]:
    if part.kind == COUNT:
        total = float(sum(np.sum(numbers.by_seed(part.study, system, method, part.of[0])) for method in part.first))
        return {system: Interval(total, total, total)}
    pairs = [(a, b) for a in part.first for b in part.second or ("",)]
    return {_name(part, system, a, b): _interval(part, numbers, system, a, b) for a, b in pairs}


def _name(part: ComparisonSpec, system: str, a: str, b: str) -> str:
    """The system, and what tells pairs apart."""
    methods = [a] * (len(part.first) > 1) + [f"over {b}" if part.kind == RATIO else f"less {b}"] * (
        len(part.second) > 1
    )
    return " ".join((f"{system}:", *methods)) if methods else system


def _interval(part: ComparisonSpec, numbers: Numbers, system: str, a: str, b: str) -> Interval:
    first = numbers.by_seed(part.study, system, a, part.of[0])
    if part.kind == MEAN:
        return mean_interval(first)
    if part.kind == MEDIAN:
        return median_time(flat_times(first), float(numbers.values(part.study, system, a)[part.lasted]))
    second = numbers.by_seed(part.study, system, b, part.of[-1])
    return ratio_interval(first, second) if part.kind == RATIO else difference_interval(first, second)


def _is_tested(part: ComparisonSpec, numbers: Numbers, system: str, method: str) -> bool:
    """Whether the runs are as long and as large as the claim needs; what is no number must be the same."""
    values = numbers.values(part.study, system, method)
    return all(
        values[name] >= least
        if isinstance(least, int | float) and not isinstance(least, bool)
        else values[name] == least
        for name, least in part.needs.items()
    )
