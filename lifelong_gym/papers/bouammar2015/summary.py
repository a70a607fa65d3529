"""From all result files to one small mapping that the page is written from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.integrate import trapezoid

from lifelong_gym.benchmark.results import short
from lifelong_gym.numerics.arrays import FloatArray, IntArray
from lifelong_gym.papers.bouammar2015.plan import GAMES, INSIDE
from lifelong_gym.papers.bouammar2015.regret import growth
from lifelong_gym.papers.compare import bands
from lifelong_gym.papers.jobs import Collected, Figures, Measurement

LAST = 3  # evaluations that make a final cost
FIRST = 10  # rounds that count as the beginning

Runs = Sequence[tuple[Measurement, Figures]]


def summarised(found: Collected) -> dict[str, Any]:
    """Everything that page and figures show."""
    learning = {name: variants for name, variants in found.items() if name not in (GAMES, INSIDE)}
    paths = {name.removeprefix("path-"): learning.pop(name) for name in list(learning) if name.startswith("path-")}
    return {
        "learning": {
            name: {label: _variant(runs) for label, runs in variants.items()} for name, variants in learning.items()
        },
        "paths": {
            key: {label: _path(runs[0][1]) for label, runs in variants.items()} for key, variants in paths.items()
        },
        "inside": {key: _inside(runs) for key, runs in found[INSIDE].items()},
        "games": {name: _game(runs) for name, runs in found[GAMES].items()},
    }


def _variant(runs: Runs) -> dict[str, Any]:
    """Lists are by seed."""
    figures = [of for _, of in runs]
    rounds = np.array(figures[0]["rounds"])
    costs = np.array([of["costs"] for of in figures])
    typical = np.array([of["typical"] for of in figures])
    third = rounds <= max(1, rounds[-1] // 3)
    row: dict[str, Any] = {
        "rounds": rounds.tolist(),
        "curve": bands(typical),
        "start": short(costs[:, 0]),
        "begun": short(costs[:, (rounds > 0) & (rounds <= FIRST)].mean(axis=1)),
        "early": short(_area(rounds[third], costs[:, third])),
        "typical": short(_area(rounds[third], typical[:, third])),
        "fallen": [of["fallen"] for of in figures],
        "evaluated": int(np.sum([of["evaluated"] for of in figures])),
        "final": short(costs[:, -LAST:].mean(axis=1)),
        "optimal": short([of["optimal"] for of in figures]),
        "unstable": [of["unstable"] for of in figures],
        "seconds": short([of["seconds"] for of in figures], 3),
    }
    if "checked" in figures[0]:
        row |= {name: int(np.sum([of[name] for of in figures])) for name in ("checked", "executed_outside", "again")}
        row["until"] = [[None if n < 0 else n for n in of["until"]] for of in figures]
    return row


def _area(rounds: IntArray, costs: FloatArray) -> FloatArray:
    """Mean over rounds, of which not all are evaluated."""
    return np.asarray(trapezoid(costs, rounds, axis=1) / (rounds[-1] - rounds[0]), np.float64)


def _path(figures: Figures) -> dict[str, Any]:
    return {name: short(np.array(figures[name])) for name in ("path", "best", "outline")}


def _inside(runs: Runs) -> dict[str, Any]:
    shares = np.mean([of["unstable"] for _, of in runs], axis=0)
    return {"widths": list(runs[0][0].settings["widths"]), "unstable": short(shares, 3)}


def _game(runs: Runs) -> dict[str, Any]:
    figures = [of for _, of in runs]
    rounds = figures[0]["rounds"]
    regret, upper = (np.array([of[name] for of in figures]) for name in ("regret", "regret_per_task_optimum"))
    return {
        "rounds": rounds,
        "regret": short(regret),
        "growth": _growth(rounds, regret),
        "upper_growth": _growth(rounds, upper),
        "at": figures[0]["curve"]["at"],
        "curve": short(np.mean([of["curve"]["regret"] for of in figures], axis=0)),
        "agreement": short(np.min([of["agreement"] for of in figures])),
        **{name: int(np.sum([of[name] for of in figures])) for name in ("violations", "checks")},
    }


def _growth(rounds: Sequence[int], regret: FloatArray) -> dict[str, list[float] | None]:
    found = growth(rounds, regret)
    return {name: None if part is None else short(part, 3) for name, part in found._asdict().items()}
