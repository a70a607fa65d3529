"""What the paper claims, beside what came out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from lifelong_gym.measures.statistics import Interval
from lifelong_gym.papers.compare import FAILS, HOLDS, PARTLY, judged, median_of, ratio_of, share_word
from lifelong_gym.papers.findings import Claim, listed
from lifelong_gym.papers.paper import Summary
from lifelong_gym.papers.zhan2017 import methods, plan
from lifelong_gym.papers.zhan2017.readings import best_row, case, cost, cost_ratio, error_at, novel_cost, row_of, slope

SMALL = 1e-2  # an error of nodes that counts as solved
K = 30  # the paper's iterations a sweep
STEEP = -1.5  # slope in a log-log plot: what falls no faster isn't linear convergence
SAME_SPEED = 2.0  # factor within which numbers of iterations count as the same


def claims(summary: Summary) -> list[Claim]:
    """All rows."""
    return [
        *_returns(summary),
        agreement(summary),
        _rate(summary),
        _dimension(summary),
        _jump_start(summary),
        _time(summary),
        *_novel(summary),
        _printed(summary),
        _draws(summary),
    ]


def _against(summary: Summary, others: Sequence[str], key: str = "final") -> Iterator[tuple[str, Interval]]:
    """Cost of ePG-ELLA over that of others, in each domain."""
    for domain in plan.DOMAINS:
        for other in others:
            name = domain if len(others) == 1 else f"{domain} against {other}"
            yield name, cost_ratio(summary, f"main-{domain}", methods.EPG, other, key)


def _returns(summary: Summary) -> Iterator[Claim]:
    for other, name in ((methods.ENAC, "PG (eNAC)"), (methods.PGELLA, "PG-ELLA"), (methods.GOMTL, "GO-MTL")):
        ratios = list(_against(summary, [other]))
        text = f"ePG-ELLA earns more than {name} in all five domains"
        measured = f"Cost of ePG-ELLA over that of {name}, asymptote: {listed(ratios)}"
        yield Claim(text, "Fig. 1a-e, 2b", measured, judged(ratios), "learning")
    ratios = list(_against(summary, [methods.RWR]))
    text = "... and that is the merit of the shared knowledge (not shown in the paper: the same steps without sharing)"
    measured = f"Cost of ePG-ELLA over that of RWR, each task alone: {listed(ratios)}"
    yield Claim(text, "Sections 1, 6", measured, judged(ratios), "learning")
    ratios = list(_against(summary, [methods.SHARED]))
    text = "... and of codes of their own (not shown in the paper: one policy for all tasks)"
    measured = f"Cost of ePG-ELLA over that of one policy: {listed(ratios)}"
    yield Claim(text, "Sections 1, 6", measured, judged(ratios), "learning")


def agreement(summary: Summary) -> Claim:
    """Whether nodes that agree are right."""
    parts, agree, solved = [], 0, 0
    for domain in plan.DOMAINS:
        row = row_of(summary, case(domain), plan.RAW, 1.0)
        apart, distance = (error_at(row, name, K) for name in ("agreement", "distance"))
        agree, solved = agree + (apart < SMALL), solved + (distance < SMALL)
        parts.append(f"{domain} {apart:.1g} and {distance:.1g}")
    word = HOLDS if solved == len(parts) else PARTLY if agree or solved else FAILS
    measured = f"The paper's P = I, ρ = 1, after {K} iterations, agreement error and distance: {'; '.join(parts)}"
    text = (
        f"a small agreement error shows feasible solutions (here: error and distance to the solution below {SMALL:g})"
    )
    return Claim(text, "Fig. 1f", measured, word, "consensus")


def _rate(summary: Summary) -> Claim:
    parts, averages, last_iterates = [], True, True
    for domain in plan.DOMAINS:
        row = row_of(summary, case(domain), plan.WHITENED, plan.PENALTY)
        at, average, last = (np.array(row[name], np.float64) for name in ("at", "average", "distance"))
        share = float((last[-1] / last[0]) ** (1 / max(at[-1] - at[0], 1)))
        exponent = slope(at, average)
        averages &= exponent < STEEP
        last_iterates &= share < 1.0
        parts.append(f"{domain} k^{exponent:.2f}, {share:.2f} a step")
    text = "linear convergence (proved is O(1/k), which isn't linear, of the average over iterations)"
    measured = f"Error of the average after k steps, and factor by which the last iterate's falls: {'; '.join(parts)}"
    return Claim(text, "Theorems 1, 2", measured, share_word(averages + last_iterates, 2), "consensus")


def _dimension(summary: Summary) -> Claim:
    found = {
        metric: {key: median_of(best_row(summary, case(key), metric)["to_fine"]) for key in plan.DOMAINS}
        for metric in (plan.RAW, plan.WHITENED)
    }
    raw = [interval.estimate for interval in found[plan.RAW].values()]
    word = HOLDS if max(raw) <= SAME_SPEED * min(raw) < np.inf else FAILS
    counts = {metric: listed(intervals.items()) for metric, intervals in found.items()}
    measured = (
        f"Iterations to a distance of 1e-8, best ρ: P = I {counts[plan.RAW]}; whitened (ours) {counts[plan.WHITENED]}"
    )
    text = f"a rate free of the dimension (here: over the domains the same, within a factor of {SAME_SPEED:g})"
    return Claim(text, "Section 5", measured, word, "consensus")


def _jump_start(summary: Summary) -> Claim:
    ratios = list(_against(summary, [methods.PGELLA, methods.GOMTL], "first"))
    measured = f"Cost after the first sweep, of ePG-ELLA over the other's: {listed(ratios)}"
    return Claim("greater jump-start than PG-ELLA and GO-MTL", "Fig. 2a", measured, judged(ratios), "bars")


def _time(summary: Summary) -> Claim:
    ratios = []
    for domain in plan.DOMAINS:
        study = summary["learning"][f"main-{domain}"]
        for other in (methods.PGELLA, methods.GOMTL):
            seconds = (study[label]["seconds_per_sweep"] for label in (methods.EPG, other))
            ratios.append((f"{domain} against {other}", ratio_of(*seconds)))
    measured = f"Processor time a sweep, of ePG-ELLA (ten nodes, one after another) over the other's: {listed(ratios)}"
    return Claim("less time than PG-ELLA and GO-MTL", "Fig. 2c", measured, judged(ratios), "bars")


def early_sweep(summary: Summary) -> int:
    """The fifth, or the last of a quick version."""
    return min(5, len(summary["novel"]["novel-HC"][methods.REDUCE]["curve"]["mean"]) - 1)


def _novel(summary: Summary) -> Iterator[Claim]:
    early = early_sweep(summary)
    scratch = [
        (label, ratio_of(novel_cost(summary, label, early), novel_cost(summary, methods.ENAC, early)))
        for label in methods.BASES
    ]
    text = "a novel helicopter after 49 others is learned faster from the shared basis than from scratch"
    measured = f"Cost after {early} sweeps over that of eNAC from scratch: {listed(scratch)}"
    yield Claim(text, "Fig. 2d", measured, judged(scratch), "novel")
    others = []
    for other in (methods.PGELLA, methods.GOMTL):
        for sweep in (0, early):
            costs = (novel_cost(summary, label, sweep) for label in (methods.REDUCE, other))
            others.append((f"{other} at sweep {sweep}", ratio_of(*costs)))
    measured = f"Cost of ePG-ELLA over that of: {listed(others)}"
    yield Claim("... and fastest from ePG-ELLA's", "Fig. 2d", measured, judged(others), "novel")


def _printed(summary: Summary) -> Claim:
    ratios = []
    for domain in ("SM", "DM", "HC"):
        costs = (cost(summary, f"printed-{domain}", methods.PRINTED, key) for key in ("end", "start"))
        ratios.append((domain, ratio_of(*costs)))
    measured = f"Cost at the end over that at the start, weights as printed: {listed(ratios)}"
    return Claim("the closed forms as printed improve policies", "Eq. 3-5", measured, judged(ratios), "draws")


def _draws(summary: Summary) -> Claim:
    alone = {methods.PGELLA: methods.ENAC, methods.GOMTL: methods.ENAC}
    alone |= {methods.GOMTL_RWR: methods.RWR, methods.REDUCE: methods.RWR}
    ratios = [(f"{label} over {base}", cost_ratio(summary, "paper-HC", label, base)) for label, base in alone.items()]
    text = "sharing helps on helicopters whose matrices are drawn as in Table 1"
    measured = f"Cost over that of the same steps without sharing: {listed(ratios)}"
    return Claim(text, "Table 1", measured, judged(ratios), "draws")
