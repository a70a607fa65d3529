"""What a paper's file claims and expects: numbers that are compared, and what is said of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from lifelong_gym.errors import unknown
from lifelong_gym.measures import verdicts
from lifelong_gym.measures.statistics import Interval
from lifelong_gym.measures.verdicts import ABOVE, BELOW, EFFECT, WITHIN, Bound, Evidence
from lifelong_gym.papers.known import Known
from lifelong_gym.papers.schema import Reader
from lifelong_gym.papers.specs import (
    COMPARISONS,
    COUNT,
    DIFFERENCE,
    FUNCTION,
    PAPER,
    RATIO,
    US,
    ClaimSpec,
    ComparisonSpec,
    ExpectationSpec,
    FigureSpec,
    StudySpec,
)

EVERYTHING = Interval(0.0, -math.inf, math.inf)
CLAIM_SIDES = {"below": BELOW, "above": ABOVE, "within": WITHIN}
EXPECTED_SIDES = {"at_most": BELOW, "at_least": ABOVE, "within": WITHIN}


def read_claim(reader: Reader, known: Known, figures: Mapping[str, FigureSpec]) -> ClaimSpec:
    """A claim of the paper's, or of ours."""
    text, where, remark = reader.text("text"), reader.text("where", ""), reader.text("remark", "")
    (by,) = reader.named("by", (PAPER, US), (PAPER,))
    if by == PAPER and not where:
        raise reader.fail("where", "must say where the paper claims it")
    figure = "".join(reader.named("figure", figures, ()))
    parts = _parts(reader, known, CLAIM_SIDES)
    reader.done()
    return ClaimSpec(text, by, where, parts, figure, remark)


def read_expectation(reader: Reader, known: Known) -> ExpectationSpec:
    """What was expected."""
    text, remark = reader.text("text"), reader.text("remark", "")
    parts = _parts(reader, known, EXPECTED_SIDES)
    reader.done()
    return ExpectationSpec(text, parts, remark)


def _parts(reader: Reader, known: Known, sides: Mapping[str, str]) -> tuple[ComparisonSpec, ...]:
    parts = reader.tables("parts")
    if not parts:
        return (_comparison(reader, known, sides),)
    found = tuple(_comparison(each, known, sides) for each in parts)
    for each in parts:
        each.done()
    return found


def _comparison(reader: Reader, known: Known, sides: Mapping[str, str]) -> ComparisonSpec:
    kinds = [kind for kind in COMPARISONS if reader.has(kind)]
    if len(kinds) != 1:
        raise reader.fail("ratio", f"there must be one of {', '.join(COMPARISONS)}. Received {kinds or 'none'}")
    (kind,) = kinds
    study, systems = known.where(reader)
    pair = _compared(reader, known, kind, study)
    bounds = _bounds(reader, sides, systems)
    spans = _by_system(reader, "span", systems) if kind == DIFFERENCE or reader.has("span") else {}
    scale = _scale(reader, kind, bool(spans))
    effect, lasted = reader.number("effect", EFFECT), known.lasted(reader)
    needs = Reader(reader.table("needs"), reader.key("needs")).rest(known.values)
    of = known.of(reader, "of", () if kind == FUNCTION else ("final",))
    for system, bound in bounds.items():
        try:
            Evidence(system, EVERYTHING, bound, scale, spans.get(system, 1.0), effect)
        except ValueError as error:
            raise reader.fail(kind, error) from error
    return ComparisonSpec(kind, *pair, of, study.name, bounds, scale, spans, effect, needs, lasted)


def _scale(reader: Reader, kind: str, has_spans: bool) -> str:
    if kind == FUNCTION:
        return reader.text("scale", verdicts.COUNT)
    if kind == COUNT:
        return verdicts.COUNT
    return verdicts.DIFFERENCE if has_spans else verdicts.RATIO


def _compared(reader: Reader, known: Known, kind: str, study: StudySpec) -> tuple[tuple[str, ...], tuple[str, ...]]:
    given = reader.take(kind, object)
    if kind == FUNCTION:
        known.load(reader, kind, str(given))
        return (str(given),), ()
    sides = given if kind in (RATIO, DIFFERENCE) else [given, []]
    if not isinstance(sides, list) or len(sides) != 2:
        raise reader.fail(kind, f"must be a pair, each a method or a list of methods. Received {given!r}")
    methods = dict.fromkeys(study.methods)
    first, second = (
        known.names(Reader({kind: side}, reader.where), kind, methods, ()) if side != [] else () for side in sides
    )
    return first, second


def _bounds(reader: Reader, sides: Mapping[str, str], systems: tuple[str, ...]) -> dict[str, Bound]:
    given = [key for key in sides if reader.has(key)]
    if len(given) != 1:
        raise reader.fail(next(iter(sides)), f"there must be one of {', '.join(sides)}. Received {given or 'none'}")
    (key,) = given
    value = reader.take(key, object)
    by_system = dict(value) if isinstance(value, Mapping) else dict.fromkeys(systems, value)
    found = {}
    for system, bound in by_system.items():
        if system not in systems:
            raise reader.fail(key, unknown("system", system, systems))
        numbers: list[Any] = bound if isinstance(bound, list) else [bound]
        try:
            found[system] = Bound.of(sides[key], *(float(number) for number in numbers))
        except (TypeError, ValueError) as error:
            raise reader.fail(key, error) from error
    return found


def _by_system(reader: Reader, key: str, systems: tuple[str, ...]) -> dict[str, float]:
    table = reader.take(key, object)
    given = table if isinstance(table, Mapping) else dict.fromkeys(systems, table)
    within = Reader(given, reader.key(key))
    return {system: within.number(system) for system in systems}
