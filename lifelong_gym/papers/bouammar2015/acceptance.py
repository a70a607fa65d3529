"""Figures that were expected beforehand, and whether they are met."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lifelong_gym.measures.statistics import Interval
from lifelong_gym.papers.bouammar2015 import game, methods, plan
from lifelong_gym.papers.bouammar2015.readings import (
    executed,
    exponent,
    fallen,
    ratios,
    spectral_spread,
    to_optimum,
    unstable,
    until,
    until_studies,
)
from lifelong_gym.papers.compare import MET, MISSED, worst
from lifelong_gym.papers.findings import Expectation, Part, at_least, at_most, expectation, listed
from lifelong_gym.papers.paper import Summary


def expectations(summary: Summary) -> list[Expectation]:
    """All rows."""
    checks: dict[str, Callable[[Summary], list[Part]]] = {
        "No policy that is executed violates its constraints, in floating point": _violations,
        "Regret, adaptive order, L fixed: exponent at most 0.55 for B and C": _root,
        "... and above 0.6 for A": _literal,
        "Regret, adaptive order, L learned: exponent of at least 0.7, whatever the variant": _joint,
        "SM, CP: after 20 observations a task within 5% of the regulators' cost": _optimal,
        "CP: no unstable task, from selected anchors": _stable,
        "CP with safe sets: ours at most 0.99 of the cost of projected PG, at most 1 of that of A": _constrained,
        "PG-ELLA with the same warm start begins as well: ours at least 0.97 of its cost": _warm,
        "As written (A, losses accumulated): slower than PG-ELLA with a warm start": _slower,
        "10 or 100 inner iterations: the same within 3%": _inner,
        "p, q from 0.1 to 10: within 3% without sets, within 15% with sets": _spectral,
        "Observations until safe vary at least threefold with the set and the step, PG on SM and CP": _counts,
    }
    return [expectation(text, check(summary), NOTES.get(check, _nothing)(summary)) for text, check in checks.items()]


def _nothing(summary: Summary) -> str:
    del summary
    return ""


def _about_projected(summary: Summary) -> str:
    del summary
    return "projected PG projects in the metric of the curvature here, as published; in the prototype, in the Euclidean"


def _about_falls(summary: Summary) -> str:
    """Of single tasks, which outweigh all else in a mean."""
    typical = dict(ratios(summary, "free", methods.LITERAL, methods.WARM, "typical"))
    return (
        f"under a moving basis single cart-poles fall for a while (seeds: {fallen(summary, 'free-CP', methods.WARM)}); "
        f"the median task's cost: {listed(typical.items())}"
    )


def _about_bounds(summary: Summary) -> str:
    names = (plan.spectral_name(methods.TEN, bounds) for bounds in plan.BOUNDS)
    falls = ", ".join(fallen(summary, "spectral-free-CP", name) for name in names)
    return f"without sets, single cart-poles fall for a while; seeds, by p and q: {falls}"


def _exact(name: str, value: float, most: float) -> Part:
    return Part(name, Interval(value, value, value), MET if value <= most else MISSED)


def _violations(summary: Summary) -> list[Part]:
    outside, checked = executed(summary, safe=True)
    lost = sum(of["violations"] for of in summary["games"].values())
    return [_exact(f"of {checked:,}", outside, 0), _exact("in the games", lost, 0)]


def _exponents(summary: Summary, variants: str, basis: str) -> list[tuple[str, Interval]]:
    found = {variant: exponent(summary, variant, "adaptive", basis) for variant in variants}
    return [(variant, interval) for variant, interval in found.items() if interval is not None]


def _root(summary: Summary) -> list[Part]:
    return [
        at_most(f"{name}, {game.NAMES[basis]}", interval, 0.55)
        for basis in (game.IDENTITY, game.FIXED)
        for name, interval in _exponents(summary, "BC", basis)
    ]


def _literal(summary: Summary) -> list[Part]:
    return [at_least(name, interval, 0.6) for name, interval in _exponents(summary, "A", game.FIXED)]


def _joint(summary: Summary) -> list[Part]:
    return [at_least(name, interval, 0.7) for name, interval in _exponents(summary, "ABC", game.JOINT)]


def _optimal(summary: Summary) -> list[Part]:
    return [at_most(key, to_optimum(summary, f"free-{key}", methods.TEN), 1.05) for key in ("SM", "CP")]


def _stable(summary: Summary) -> list[Part]:
    labels = [label for label in methods.BOUND if label in methods.SAFE]
    return [_exact("tasks", unstable(summary, ["bound-CP"], labels), 0)]


def _constrained(summary: Summary) -> list[Part]:
    bounds = {methods.PPG: 0.99, methods.LITERAL: 1.0}
    return [
        at_most(f"over {other}", dict(ratios(summary, "bound", methods.TEN, other))["CP"], most)
        for other, most in bounds.items()
    ]


def _warm(summary: Summary) -> list[Part]:
    return [at_least(*pair, 0.97) for pair in ratios(summary, "free", methods.TEN, methods.WARM, "begun")]


def _slower(summary: Summary) -> list[Part]:
    return [at_least(*pair, 1.0) for pair in ratios(summary, "free", methods.LITERAL, methods.WARM, "early")]


def _inner(summary: Summary) -> list[Part]:
    return [
        Part(name, ratio, worst([at_most(name, ratio, 1.03).word, at_least(name, ratio, 0.97).word]))
        for name, ratio in ratios(summary, "free", methods.HUNDRED, methods.TEN)
    ]


def _spectral(summary: Summary) -> list[Part]:
    return [
        _exact(f"{key} {kind} {label}", spectral_spread(summary, f"spectral-{kind}-{key}", label), most)
        for kind, most in (("free", 1.03), ("bound", 1.15))
        for key in ("SM", "CP")
        for label in plan.SPECTRAL
    ]


def _counts(summary: Summary) -> list[Part]:
    parts = []
    for key in ("SM", "CP"):
        medians = [until(summary, name, methods.PG).estimate for name in until_studies(key)]
        least = max(min(medians), 1.0)
        share = 1.0 if np.isinf(least) else max(medians) / least
        parts.append(Part(key, Interval(share, share, share), MET if share >= 3 else MISSED))
    return parts


NOTES: dict[Callable[[Summary], list[Part]], Callable[[Summary], str]] = {
    _constrained: _about_projected,
    _slower: _about_falls,
    _spectral: _about_bounds,
}
