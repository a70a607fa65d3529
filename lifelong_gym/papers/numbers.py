"""From the files of all cells to the numbers that a page is written from, and from these to verdicts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, product
from pathlib import Path
from typing import Any, Generic, NamedTuple

import numpy as np

from lifelong_gym.measures import intervals, verdicts
from lifelong_gym.measures.statistics import Interval
from lifelong_gym.measures.verdicts import COUNT, RATIO, Evidence, Judgement
from lifelong_gym.papers.cells import PaperCell
from lifelong_gym.papers.code import Code
from lifelong_gym.papers.quantities import sweeps_to
from lifelong_gym.papers.specs import LEARNING, MEAN, MEDIAN, ClaimSpec, ComparisonSpec, PaperSpec, Said
from lifelong_gym.papers.sweeps import Values

SHOWN = ("n_tasks", "sweeps", "preset")  # values of every study of learning, which the page states


@dataclass(frozen=True)
class Numbers:
    """By study, system and method: quantities, each a list by seed, and the values of the runs."""

    content: Mapping[str, Any]  # JSON-native: ``quantities`` and ``values``, mappings by study, system and method

    def by_seed(self, study: str, system: str, method: str, of: str) -> list[Any]:
        """A quantity, by seed."""
        found: list[Any] = self.content["quantities"][study][system][method][of]
        return found

    def systems(self, study: str, among: Sequence[str]) -> list[str]:
        """Those that were run."""
        return [system for system in among if system in self.content["values"].get(study, {})]

    def values(self, study: str, system: str, method: str) -> Values:
        """What these runs were made with; ``seeds``: how many there are."""
        values: Values = self.content["values"][study][system][method]
        return values


def flat_times(by_seed: Sequence[Any]) -> list[float]:
    """Times of all runs, infinite where they never came; of a list a run, all of them.

    >>> flat_times([3, None]), flat_times([[1, None], [2, 4]])
    ([3.0, inf], [1.0, inf, 2.0, 4.0])
    """
    flat = [each for of_run in by_seed for each in (of_run if isinstance(of_run, list) else [of_run])]
    return [np.inf if each is None else float(each) for each in flat]


def collected(paper: PaperSpec, cells: Sequence[PaperCell], folder: Path) -> Numbers:
    """The quantities that the page shows, from the files of the cells, which are in their order.

    Raises:
        ValueError: a cell without a file, or a quantity that its figures don't have; the message names the cell.
    """
    needed = paper.needed()
    quantities: dict[str, Any] = {}
    values: dict[str, Any] = {}
    for (study, system), beside in groupby(cells, lambda cell: cell.place[:2]):
        own = {method: list(of_method) for method, of_method in groupby(beside, lambda cell: cell.place[2])}
        found = {method: [cell.measured(folder) for cell in of_method] for method, of_method in own.items()}
        quantities.setdefault(study, {})[system] = {
            method: {
                of: sweeps_to(of, found).get(method)
                or [cell.quantity(of, figures) for cell, figures in zip(own[method], found[method], strict=True)]
                for of in sorted(needed.get((study, method), ()))
            }
            for method in own
        }
        values.setdefault(study, {})[system] = {method: _shown(paper, of_method) for method, of_method in own.items()}
    return Numbers({"quantities": quantities, "values": values})


def _shown(paper: PaperSpec, cells: Sequence[PaperCell]) -> dict[str, Any]:
    """Values that the page states, and those that claims need."""
    settings = cells[0].settings
    study = settings["study"]
    wanted = set(SHOWN if settings["measure"] == LEARNING else ())
    wanted |= {name for each in paper.comparisons() if each.study == study for name in (*each.needs, each.lasted)}
    wanted |= {table.lasted for table in paper.tables.values() if table.study == study}
    return {name: settings[name] for name in sorted(wanted)} | {"seeds": len(cells)}


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
    for systems in [tuple(part.bounds)] if part.function else [(system,) for system in part.bounds]:
        tested = all(_is_tested(part, numbers, system) for system in systems)
        if part.function:
            found: Mapping[str, Interval] = code.load(part.function)(numbers, part.study, systems)
        else:
            found = _intervals(part, numbers, *systems)
        yield from (part.evidence(systems[0], name, interval, tested) for name, interval in found.items())


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
