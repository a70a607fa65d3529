"""What the paper claims, beside what came out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lifelong_gym.papers.bouammar2015 import game, methods, plan
from lifelong_gym.papers.bouammar2015.readings import (
    again,
    executed,
    exponent,
    fallen,
    length,
    ratios,
    spectral_spread,
    until,
    until_range,
    until_studies,
)
from lifelong_gym.papers.compare import FAILS, HOLDS, PARTLY, judged, share_word, shown
from lifelong_gym.papers.findings import Claim, listed
from lifelong_gym.papers.paper import Summary

ROOT = 0.55  # an exponent up to which regret counts as growing like the root of the number of rounds
PRINTED = {methods.PG: 545, methods.WARM: 510}  # observations of a quadrotor until safe
SAME = 2.0  # factor within which counts agree
SPREAD = 1.1  # between the largest and the least cost, up to which bounds don't matter
TIE = 0.03  # cost by which a method must be better
FIXED_ONES = (game.IDENTITY, game.FIXED)
STRAIGHTER = 0.95  # of a path's length


def claims(summary: Summary) -> list[Claim]:
    """All rows."""
    return [
        _violations(summary),
        *_observations(summary),
        _behaviour(summary),
        *_regret(summary),
        *_performance(summary),
        *_inner(summary),
        _spectral(summary),
        _sharing(summary),
    ]


def _violations(summary: Summary) -> Claim:
    outside, checked = executed(summary, safe=True)
    others, of_others = executed(summary, safe=False)
    games = summary["games"].values()
    lost, played = (sum(of[name] for of in games) for name in ("violations", "checks"))
    measured = (
        f"Ours and projected PG: {outside} of {checked:,} policies that were executed, and {lost} of {played:,} in the "
        f"games of the regret study, tested as floating-point numbers without tolerance; PG and PG-ELLA: {others:,} of "
        f"{of_others:,}"
    )
    text = "no policy of ours violates its constraints; those of PG and PG-ELLA do"
    word = FAILS if outside or lost else HOLDS if others else PARTLY
    return Claim(text, "Sections 1, 5, Fig. 2c, d", measured, word, "constrained")


def _observations(summary: Summary) -> Iterator[Claim]:
    most = {
        label: max(until_range(summary, key, label)[1] for key in plan.SYSTEMS) for label in (methods.TEN, methods.PPG)
    }
    measured = (
        "Observations before the policy is safe, the most in any study: "
        f"ours {most[methods.TEN]:.0f}, projected PG {most[methods.PPG]:.0f}. Both know the set when a task is "
        "registered, and start inside it: this is by construction, and needs no sharing"
    )
    word = HOLDS if most[methods.TEN] <= 1 else FAILS
    yield Claim("one observation of a task is enough for a safe policy", "Fig. 4", measured, word, "until")
    parts, agree, n = [], 0, 0
    for label, printed in PRINTED.items():
        for key in plan.SYSTEMS:
            counts = [until(summary, name, label).estimate for name in until_studies(key)]
            agree += sum(printed / SAME <= count <= printed * SAME for count in counts)
            n += len(counts)
            parts.append(f"{label} {key} {', '.join(f'{count:.0f}' for count in counts).replace('inf', 'never')}")
    back = {label: again(summary, label) for label in PRINTED}
    sizes = ", ".join(f"±{width:.0%} by {step}" for width in plan.WIDTHS for step in plan.STEPS)
    measured = (
        f"Medians ({sizes}): {'; '.join(parts)} (never: not in {summary_rounds(summary)}). The count measures the size "
        f"of the set and of the step. And it isn't kept: {back[methods.PG]:,} and {back[methods.WARM]:,} times a "
        "policy was outside again"
    )
    text = "PG needs 545 observations, PG-ELLA 510 (here: these counts within a factor of 2)"
    yield Claim(text, "Fig. 4", measured, share_word(agree, n), "until")


def summary_rounds(summary: Summary) -> int:
    """Observations of a task in the studies of how many it takes."""
    of = summary["learning"][until_studies("SM")[0]][methods.PG]
    return int(of["rounds"][-1])


def _behaviour(summary: Summary) -> Claim:
    parts = []
    for key, of in summary["inside"].items():
        widths = zip(of["widths"], of["unstable"], strict=True)
        parts.append(f"{key} {', '.join(f'±{width:.0%}: {share:.1%}' for width, share in widths)}")
    some = any(share > 0 for of in summary["inside"].values() for share in of["unstable"])
    measured = f"Policies drawn from boxes around the optimum that don't stabilise their task: {'; '.join(parts)}"
    text = "safe parameters make safe behaviour (not said, but meant)"
    return Claim(text, "Section 1", measured, FAILS if some else HOLDS, "")


def _growing(summary: Summary, variants: Sequence[str], bases: Sequence[str]) -> tuple[str, str]:
    """Exponents, and the verdict on all of them."""
    parts, roots = [], []
    for variant in variants:
        for basis in bases:
            found = {order: exponent(summary, variant, order, basis) for order in game.ORDERS}
            roots += [each is None or each.high <= ROOT for each in found.values()]
            cells = (f"{order} {'not above 0' if each is None else shown(each)}" for order, each in found.items())
            parts.append(f"{variant}, {game.NAMES[basis]}: {', '.join(cells)}")
    return "; ".join(parts), share_word(sum(roots), len(roots))


def _regret(summary: Summary) -> Iterator[Claim]:
    rows = (
        (f"with L fixed and linearised losses, as the proof needs (x up to {ROOT:g})", "B", FIXED_ONES),
        ("... with L fixed and all losses, as the algorithm is written", "A", FIXED_ONES),
        ("... with L learned, as stated", "AB", (game.JOINT,)),
        ("... and of our variant C, L fixed (not in the paper)", "C", FIXED_ONES),
        ("... and L learned", "C", (game.JOINT,)),
    )
    for i, (text, variants, bases) in enumerate(rows):
        measured, word = _growing(summary, variants, bases)
        full = text if i else f"regret grows like the root of the number of rounds, R^x with x = 1/2, {text}"
        yield Claim(full, "Theorem 1", f"x by order of tasks: {measured}", word, "regret")


def _performance(summary: Summary) -> Iterator[Claim]:
    for key, text, name in (
        ("begun", "better initial performance than {}", "first ten rounds"),
        ("early", "faster learning than {}", "first third of the rounds"),
        ("final", "better policies in the end than {}", "last evaluations"),
    ):
        for other, title in (
            (methods.PG, "PG"),
            (methods.COLD, "PG-ELLA"),
            (methods.WARM, "PG-ELLA that starts new tasks as ours does"),
        ):
            found = list(ratios(summary, "free", methods.TEN, other, key))
            measured = f"Cost of ours (variant C) over that of {other}, {name}: {listed(found)}"
            if key == "early":
                typical = ratios(summary, "free", methods.TEN, other, "typical")
                measured += f"; of the median task, over its regulator's: {listed(typical)}"
            where = "Fig. 2a, b, 3" if other != methods.WARM else "not in the paper"
            yield Claim(text.format(title), where, measured, judged(found, 1 - TIE), "costs")
    both = [
        (f"{key} against {other}", interval)
        for other in (methods.PG, methods.COLD)
        for key, interval in ratios(summary, "free", methods.LITERAL, other, "early")
    ]
    measured = f"Cost of variant A over the other's, first third of the rounds: {listed(both)}"
    text = "faster learning than PG and PG-ELLA, as the algorithm is written (losses accumulated)"
    yield Claim(text, "Fig. 2a, b, 3", measured, judged(both, 1 - TIE), "costs")


def _inner(summary: Summary) -> Iterator[Claim]:
    pairs = ((methods.TEN, methods.ONE), (methods.HUNDRED, methods.TEN))
    found = [
        (f"{key} {a.split()[1]} over {b.split()[1]}", interval)
        for a, b in pairs
        for key, interval in ratios(summary, "free", a, b, "early")
    ]
    measured = f"Cost by number of iterations, first third of the rounds: {listed(found)}"
    text = "performance increases with inner iterations"
    yield Claim(text, "Fig. 2a, b, 3", measured, judged(found, 1 - TIE), "costs")
    shares = {}
    for key, of in summary["paths"].items():
        shares[key] = length(of[methods.HUNDRED]["path"]) / length(of[methods.TEN]["path"])
    word = share_word(sum(share < STRAIGHTER for share in shares.values()), len(shares))
    measured = "Length of the path over the distance of its ends, 100 iterations over 10 (one run each): "
    measured += "; ".join(f"{key} {share:.3f}" for key, share in shares.items())
    text = f"more inner iterations take a more direct path (here: shorter than {STRAIGHTER:g} of the other)"
    yield Claim(text, "Fig. 2c, d", measured, word, "paths")


def _spectral(summary: Summary) -> Claim:
    names = {"free": "without sets", "bound": "with sets"}
    spreads = {
        f"{key} {names[kind]}": spectral_spread(summary, f"spectral-{kind}-{key}", methods.TEN)
        for kind in names
        for key in ("SM", "CP")
    }
    word = share_word(sum(spread <= SPREAD for spread in spreads.values()), len(spreads))
    parts = "; ".join(f"{name} {spread:.3g}" for name, spread in spreads.items())
    falls = {fallen(summary, "spectral-free-CP", plan.spectral_name(methods.TEN, bounds)) for bounds in plan.BOUNDS}
    measured = (
        f"Largest over least mean final cost of six pairs: {parts}. Without sets some cart-pole falls for a while in "
        f"{' or '.join(sorted(falls))} seeds, whatever the pair, which decides that mean"
    )
    text = f"p and q from 0.1 to 10 make no difference (here: up to a factor of {SPREAD:g})"
    return Claim(text, "Section 5", measured, word, "spectral")


def _sharing(summary: Summary) -> Claim:
    early = [
        (f"{key} early", interval) for key, interval in ratios(summary, "bound", methods.TEN, methods.PPG, "early")
    ]
    final = [(f"{key} end", interval) for key, interval in ratios(summary, "bound", methods.TEN, methods.PPG)]
    found = [*early, *final]
    measured = f"Cost of ours over that of projected PG, equally safe and from the same anchors: {listed(found)}"
    text = "sharing is worth it among safe learners (not shown in the paper: projecting every task alone)"
    return Claim(text, "Section 1", measured, judged(found, 1 - TIE), "constrained")
