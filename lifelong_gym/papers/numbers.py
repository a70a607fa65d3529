"""From the files of all cells to the numbers that a page is written from, and from these to verdicts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import groupby, product
from pathlib import Path
from typing import Any, Generic, NamedTuple

import numpy as np

from lifelong_gym.benchmark.results import content_hash
from lifelong_gym.errors import LifelongGymError
from lifelong_gym.measures import intervals, verdicts
from lifelong_gym.measures.statistics import Interval
from lifelong_gym.measures.verdicts import COUNT, RATIO, Evidence, Judgement
from lifelong_gym.papers.cells import PaperCell, Place
from lifelong_gym.papers.code import Code
from lifelong_gym.papers.quantities import TO_LEVEL, sweeps_to
from lifelong_gym.papers.specs import LEARNING, MEAN, MEDIAN, ClaimSpec, ComparisonSpec, PaperSpec, Said, Shown
from lifelong_gym.papers.sweeps import Values

PARTS = QUANTITIES, VALUES, FINGERPRINTS = "quantities", "values", "fingerprints"  # of settings
SHOWN = ("n_tasks", "sweeps", "preset")  # values of every study of learning, which the page states


class NotRunError(LifelongGymError, LookupError):
    """A number of what wasn't run."""


@dataclass(frozen=True)
class Numbers:
    """Of all that was run, by study, system and method: quantities, each a list by seed, and the values of the runs."""

    content: Mapping[str, Any]  # JSON-native; `PARTS`, mappings by study, system and method; old ones lack the last

    def has(self, *place: str) -> bool:
        """Whether the study, the system in it, or the method there was run."""
        within: Any = self.content[QUANTITIES]
        for name in place:
            if name not in within:
                return False
            within = within[name]
        return True

    def of(self, part: str, place: Place) -> Any:
        """One of `PARTS`, of a study, system and method.

        Raises:
            NotRunError: there is none.
        """
        if not self.has(*place):
            raise NotRunError(f"{'/'.join(place)} wasn't run")
        study, system, method = place
        return self.content[part][study][system][method]

    def by_seed(self, study: str, system: str, method: str, of: str) -> list[Any]:
        """A quantity, by seed.

        Raises:
            NotRunError: there is none.
        """
        found: list[Any] = self.of(QUANTITIES, (study, system, method))[of]
        return found

    def values(self, study: str, system: str, method: str) -> Values:
        """What these runs were made with; ``seeds``: how many there are.

        Raises:
            NotRunError: there are none.
        """
        values: Values = self.of(VALUES, (study, system, method))
        return values

    def missing(self, places: Iterable[Place]) -> list[Place]:
        """Those that weren't run, once each; where nothing of a study or system was, it stands for all of them."""
        shorter = (place[:n] for place in places for n in (1, 2, 3) if not self.has(*place[:n]))
        found = dict.fromkeys(shorter)
        return [place for place in found if not any(place[:n] in found for n in range(1, len(place)))]

    def part_of(self, spec: Shown) -> Shown | None:
        """A figure or table of what was run: the most of its systems and methods that can stand side by side."""

        def shared(methods: Sequence[str]) -> tuple[str, ...]:
            return tuple(system for system, own in there.items() if set(methods) <= set(own))

        there = {s: tuple(m for m in spec.methods if self.has(spec.study, s, m)) for s in spec.systems}
        methods = max(there.values(), key=lambda methods: len(methods) * len(shared(methods)))
        return spec.model_copy(update={"systems": shared(methods), "methods": methods}) if methods else None


def flat_times(by_seed: Sequence[Any]) -> list[float]:
    """Times of all runs, infinite where they never came; of a list a run, all of them.

    >>> flat_times([3, None]), flat_times([[1, None], [2, 4]])
    ([3.0, inf], [1.0, inf, 2.0, 4.0])
    """
    flat = [each for of_run in by_seed for each in (of_run if isinstance(of_run, list) else [of_run])]
    return [np.inf if each is None else float(each) for each in flat]


def known(paper: PaperSpec, cells: Sequence[PaperCell], earlier: Numbers) -> set[Place]:
    """Places whose cells had these settings when a page was written earlier, and of which it has all that is needed."""
    needed, places = paper.needed(), _by_place(cells)
    same = {
        place
        for place, own in places.items()
        if FINGERPRINTS in earlier.content
        and earlier.has(*place)
        and earlier.of(FINGERPRINTS, place) == _fingerprint(own)
        and needed.get((place[0], place[2]), set()) <= earlier.of(QUANTITIES, place).keys()
    }
    return _together(paper, places, same)


def collected(paper: PaperSpec, cells: Sequence[PaperCell], folder: Path, earlier: Numbers) -> Numbers:
    """The quantities that the page shows, of all places that are known or whose cells all have their files.

    Args:
        paper: what is shown.
        cells: all of them, in their order.
        folder: of their files.
        earlier: the numbers of the page that was there.

    Raises:
        ValueError: a quantity that a cell's figures don't have, or a file that was edited; the message says which.
    """
    needed, places, taken = paper.needed(), _by_place(cells), known(paper, cells, earlier)
    figures = {place: [cell.figures(folder) for cell in own] for place, own in places.items() if place not in taken}
    measured = {place: [each for each in of if each is not None] for place, of in figures.items() if None not in of}
    there = _together(paper, places, taken | measured.keys())
    content: dict[str, Any] = {part: {} for part in PARTS}
    for place in (place for place in places if place in there):
        (study, system, method), own = place, places[place]
        beside = {other[2]: found for other, found in measured.items() if other[:2] == place[:2]}
        quantities = {
            of: earlier.by_seed(study, system, method, of)
            if place in taken
            else sweeps_to(of, beside).get(method)
            or [cell.quantity(of, figures) for cell, figures in zip(own, measured[place], strict=True)]
            for of in sorted(needed.get((study, method), ()))
        }
        for part, of_place in zip(PARTS, (quantities, _shown(paper, own), _fingerprint(own)), strict=True):
            content[part].setdefault(study, {}).setdefault(system, {})[method] = of_place
    return Numbers(content)


def _by_place(cells: Sequence[PaperCell]) -> dict[Place, list[PaperCell]]:
    return {place: list(own) for place, own in groupby(cells, lambda cell: cell.place)}


def _fingerprint(cells: Sequence[PaperCell]) -> str:
    return content_hash({"settings": [cell.settings for cell in cells]})


def _together(paper: PaperSpec, places: Iterable[Place], found: Set[Place]) -> set[Place]:
    """Those found, but of systems whose methods are all compared none, if one is missing."""
    compared = {study for (study, _), needed in paper.needed().items() if any(map(TO_LEVEL.fullmatch, needed))}
    partly = {place[:2] for place in places if place not in found and place[0] in compared}
    return {place for place in found if place[:2] not in partly}


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
    missing: tuple[Place, ...] = ()  # what it is about, and wasn't run: then it isn't tested


def judge(said: Said, paper: PaperSpec, numbers: Numbers, code: Code) -> Judged[Said]:
    """Hold a claim or an expectation against the numbers."""
    about = (product([part.study], part.bounds, paper.compared(part)) for part in said.parts)
    missing = tuple(numbers.missing(place for places in about for place in places))
    evidence = tuple(each for part in said.parts for each in _compared(part, paper, numbers, code))
    if missing:
        verdict = Judgement(verdicts.NOT_TESTED)
    elif isinstance(said, ClaimSpec):
        verdict = verdicts.judged(evidence)
    else:
        verdict = Judgement(verdicts.worst(verdicts.met(e.interval, e.bound) for e in evidence))
    return Judged(said, evidence, verdict, missing)


def _compared(part: ComparisonSpec, paper: PaperSpec, numbers: Numbers, code: Code) -> Iterator[Evidence]:
    """What each system, and each pair of methods, says, where all of it was run."""
    methods = paper.compared(part)
    for systems in [tuple(part.bounds)] if part.function else [(system,) for system in part.bounds]:
        if numbers.missing(product([part.study], systems, methods)):
            continue
        tested = all(_is_tested(part, numbers.values(part.study, s, m)) for s, m in product(systems, methods))
        if part.function:
            found: Mapping[str, Interval] = code.load(part.function)(numbers, part.study, systems)
        else:
            found = _intervals(part, numbers, *systems)
        yield from (part.evidence(systems[0], name, interval, tested) for name, interval in found.items())


def _is_tested(part: ComparisonSpec, values: Values) -> bool:
    """Whether runs are as long or as large as they must be; what is no number must be the same."""

    def reaches(value: Any, least: Any) -> bool:
        is_number = isinstance(least, int | float) and not isinstance(least, bool)
        return bool(value >= least if is_number else value == least)

    return all(reaches(values[name], least) for name, least in part.needs.items())


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
