"""Figures that were expected beforehand, and whether they are met."""

from __future__ import annotations

from collections.abc import Callable

from lifelong_gym.papers.compare import MET, MISSED, mean_of, met, ratio_of, worst
from lifelong_gym.papers.findings import Expectation, Part, at_least, at_most, expectation
from lifelong_gym.papers.paper import Summary
from lifelong_gym.papers.zhan2017 import methods, plan
from lifelong_gym.papers.zhan2017.readings import cost, cost_ratio, gap_closed


def expectations(summary: Summary) -> list[Expectation]:
    """All rows."""
    checks: dict[str, Callable[[Summary], list[Part]]] = {
        "Weights as printed make SM, DM and HC worse, in every seed": _printed,
        "Exponential weights cut the cost to 0.4 (SM), 0.6 (DM), 0.15 (HC) of the start in 20 sweeps": _exponential,
        "ADMM (K = 30, whitened) is within 0.02 of the central solution for θ and 0.001 for L, in every sweep": _errors,
        "50 trajectories, SM, DM, HC: ePG-ELLA within 15% of the cost of RWR without sharing": _same,
        "HC, 10 trajectories: at most 0.6 (GO-MTL, RWR) and 0.25 (one policy) of the cost without sharing": _few,
        "CP: GO-MTL (RWR) at most 0.4 of the cost without sharing": _rescue,
        "CP: ePG-ELLA at most 0.7 of the cost of eNAC, PG-ELLA and GO-MTL": _cart_poles,
        "CP: REINFORCE of normalised steps costs at most 0.08 after 40 sweeps": _reinforce,
        "A novel HC task: 90% of the way to the best, without any data, from each of the three bases": _zero_shot,
        "HC as drawn in Table 1: everything that shares is worse than eNAC": _harm,
    }
    return [expectation(text, check(summary), NOTES.get(check, _nothing)(summary)) for text, check in checks.items()]


def _nothing(summary: Summary) -> str:
    del summary
    return ""


def _mean(summary: Summary, study: str, label: str) -> str:
    return f"{mean_of(summary['learning'][study][label]['final']).estimate:.3g}"


def _about_few(summary: Summary) -> str:
    """The reference itself differs."""
    return f"RWR alone ends at {_mean(summary, 'few-HC', methods.RWR)} here; in the prototype at -2.44 ± 0.70"


def _about_draws(summary: Summary) -> str:
    """So does this one."""
    alone = " and ".join(_mean(summary, "paper-HC", label) for label in (methods.RWR, methods.ENAC))
    return (
        f"RWR and eNAC, each task alone, end at {alone} here; in the prototype, at half the time step, -24.0 and -14.5"
    )


def _printed(summary: Summary) -> list[Part]:
    rows = []
    for key in ("SM", "DM", "HC"):
        end, start = (cost(summary, f"printed-{key}", methods.PRINTED, at) for at in ("end", "start"))
        every = all(b > a for a, b in zip(start, end, strict=True))
        rows.append(Part(f"{key} end over start", ratio_of(end, start), MET if every else MISSED))
    return rows


def _exponential(summary: Summary) -> list[Part]:
    rows = []
    for key, most in (("SM", 0.4), ("DM", 0.6), ("HC", 0.15)):
        end, start = (cost(summary, f"printed-{key}", methods.RWR, at) for at in ("end", "start"))
        rows.append(at_most(key, ratio_of(end, start), most))
    return rows


def _errors(summary: Summary) -> list[Part]:
    rows = []
    for key in plan.DOMAINS:
        errors = summary["learning"][f"main-{key}"][methods.EPG]["errors"]
        rows.append(at_most(f"{key} θ", mean_of(errors["distance"]), 2e-2))
        rows.append(at_most(f"{key} L", mean_of(errors["basis_distance"]), 1e-3))
    return rows


def _same(summary: Summary) -> list[Part]:
    rows = []
    for key in ("SM", "DM", "HC"):
        ratio = cost_ratio(summary, f"main-{key}", methods.EPG, methods.RWR)
        rows.append(Part(key, ratio, worst([met(ratio, 1.15), at_least(key, ratio, 0.85).word])))
    return rows


def _few(summary: Summary) -> list[Part]:
    return [
        at_most(label, cost_ratio(summary, "few-HC", label, methods.RWR), most)
        for label, most in ((methods.GOMTL_RWR, 0.6), (methods.SHARED, 0.25))
    ]


def _rescue(summary: Summary) -> list[Part]:
    return [at_most(methods.GOMTL_RWR, cost_ratio(summary, "main-CP", methods.GOMTL_RWR, methods.RWR), 0.4)]


def _cart_poles(summary: Summary) -> list[Part]:
    others = (methods.ENAC, methods.PGELLA, methods.GOMTL)
    return [at_most(f"over {o}", cost_ratio(summary, "main-CP", methods.EPG, o), 0.7) for o in others]


def _reinforce(summary: Summary) -> list[Part]:
    return [at_most("cost", mean_of(cost(summary, "main-CP", methods.REINFORCE, "forty")), 0.08)]


def _zero_shot(summary: Summary) -> list[Part]:
    return [at_least(label, gap_closed(summary, label), 0.9) for label in methods.BASES]


def _harm(summary: Summary) -> list[Part]:
    sharing = (methods.PGELLA, methods.GOMTL, methods.GOMTL_RWR, methods.REDUCE, methods.SHARED)
    return [at_least(label, cost_ratio(summary, "paper-HC", label, methods.ENAC), 1.0) for label in sharing]


NOTES: dict[Callable[[Summary], list[Part]], Callable[[Summary], str]] = {_few: _about_few, _harm: _about_draws}
