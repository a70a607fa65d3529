"""From numbers to verdicts: what is compared, with which interval, and what that says of claims and expectations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np

from lifelong_gym.measures import intervals, verdicts
from lifelong_gym.measures.statistics import Interval
from lifelong_gym.measures.verdicts import COUNT, RATIO, Evidence, Judgement
from lifelong_gym.papers.code import Code
from lifelong_gym.papers.numbers import Numbers, flat_times
from lifelong_gym.papers.specs import FUNCTION, MEAN, MEDIAN, ClaimSpec, ComparisonSpec, ExpectationSpec

Said = TypeVar("Said", ClaimSpec, ExpectationSpec)


class Judged(NamedTuple, Generic[Said]):
    """A claim or an expectation with what was measured."""

    said: Said
    evidence: tuple[Evidence, ...]  # of every system, pair and part
    verdict: Judgement  # on all of it; of an expectation, whether it is met


def judge(said: Said, numbers: Numbers, code: Code) -> Judged[Said]:
    """Hold a claim or an expectation against the numbers."""
    evidence = tuple(each for part in said.parts for each in _compared(part, numbers, code))
    if isinstance(said, ClaimSpec):
        return Judged(said, evidence, verdicts.judged(evidence))
    return Judged(said, evidence, Judgement(verdicts.worst(verdicts.met(e.interval, e.bound) for e in evidence)))


def _compared(part: ComparisonSpec, numbers: Numbers, code: Code) -> Iterator[Evidence]:
    """What each system, and each pair of methods, says."""
    if part.kind == FUNCTION:
        found = code.load(part.function or "")(numbers, part.study, tuple(part.bounds))
        tested = all(_is_tested(part, numbers, system) for system in part.bounds)
        yield from (part.evidence(next(iter(part.bounds)), name, of, tested) for name, of in found.items())
        return
    for system in part.bounds:
        tested = _is_tested(part, numbers, system)
        for name, interval in _intervals(part, numbers, system).items():
            yield part.evidence(system, name, interval, tested)


def _is_tested(part: ComparisonSpec, numbers: Numbers, system: str) -> bool:
    """Whether runs are as long or as large as they must be; what is no number must be the same."""

    def reaches(value: Any, least: Any) -> bool:
        is_number = isinstance(least, int | float) and not isinstance(least, bool)
        return bool(value >= least if is_number else value == least)

    by_method, (first, second) = numbers.content["values"][part.study][system], part.methods
    runs = [by_method[method] for method in (*first, *second) or by_method]
    return all(reaches(values[name], least) for values in runs for name, least in part.needs.items())


def _intervals(part: ComparisonSpec, numbers: Numbers, system: str) -> Mapping[str, Interval]:
    """By system, and what tells pairs apart."""
    (first, second), found = part.methods, {}
    if part.kind == COUNT:
        total = float(sum(np.sum(numbers.by_seed(part.study, system, method, part.of[0])) for method in first))
        return {system: Interval(total, total, total)}
    for a, b in product(first, second or ("",)):
        runs = numbers.by_seed(part.study, system, a, part.of[0])
        if part.kind == MEAN:
            interval = intervals.mean_interval(runs)
        elif part.kind == MEDIAN:
            lasted = float(numbers.values(part.study, system, a)[part.lasted])
            interval = intervals.median_time(flat_times(runs), lasted)
        else:
            compare = intervals.ratio_interval if part.kind == RATIO else intervals.difference_interval
            interval = compare(runs, numbers.by_seed(part.study, system, b, part.of[-1]))
        over = f"over {b}" if part.kind == RATIO else f"less {b}"
        names = [a] * (len(first) > 1) + [over] * (len(second) > 1)
        found[" ".join((f"{system}:", *names)) if names else system] = interval
    return found
