"""From all result files to one small mapping that the page is written from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lifelong_gym.benchmark.results import short
from lifelong_gym.measures import metrics
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.papers.compare import bands
from lifelong_gym.papers.jobs import Collected, Figures, Measurement
from lifelong_gym.papers.zhan2017 import plan
from lifelong_gym.papers.zhan2017.hidden import largest_angle

LAST = 5  # evaluations that make an asymptote
THRESHOLD = 0.9


def summarised(found: Collected) -> dict[str, Any]:
    """Everything that page and figures show."""
    learning = {name: variants for name, variants in found.items() if name.partition("-")[0] not in ("novel", "truth")}
    learning.pop("consensus", None)
    return {
        "learning": {name: _study(variants) for name, variants in learning.items()},
        "novel": {
            study: {label: _novel(runs) for label, runs in found[study].items()} for study in ("novel-HC", "novel-CP")
        },
        "consensus": {name: _consensus(runs[0][1]) for name, runs in found["consensus"].items()},
        "hidden": {key: _hidden(found, key) for key in plan.DOMAINS},
    }


def _study(variants: Mapping[str, Sequence[tuple[Measurement, Figures]]]) -> dict[str, Any]:
    """Of each variant; the level for sweeps to 90% is the best variant's."""
    values = {label: np.array([f["values"] for _, f in runs]) for label, runs in variants.items()}
    curves = {label: array.mean(axis=2) for label, array in values.items()}
    start = float(next(iter(curves.values()))[:, 0].mean())
    best = max(float(metrics.asymptote(curve, LAST).mean()) for curve in curves.values())
    level = start + THRESHOLD * (best - start)
    return {label: _variant(runs, values[label], curves[label], level) for label, runs in variants.items()}


def _variant(
    runs: Sequence[tuple[Measurement, Figures]], values: FloatArray, curve: FloatArray, level: float
) -> dict[str, Any]:
    seconds = np.array([figures["seconds"] for _, figures in runs])
    to_level = metrics.time_to_threshold(curve, level)
    tenth = np.percentile(values[:, -LAST:].mean(axis=1), 10, axis=1)
    result: dict[str, Any] = {
        "curve": bands(curve),
        "start": short(curve[:, 0]),
        "first": short(curve[:, 1]),
        "final": short(metrics.asymptote(curve, LAST)),
        "early": short(metrics.area_under_curve(curve, max(2, len(curve[0]) // 5))),
        "tenth": short(tenth),
        "sweeps_to_level": [None if np.isinf(n) else int(n) for n in to_level],
        "seconds_per_sweep": short(np.median(seconds[:, 1:], axis=1), 3),
        "forty": short(curve[:, min(40, curve.shape[1] - 1)]),
        "end": short(curve[:, -1]),
    }
    first = runs[0][1]
    if first["bytes"]:
        result["bytes"] = [
            int(np.mean([figures["bytes"][k] for _, figures in runs])) for k in range(len(first["bytes"]))
        ]
        result["rounds"] = int(np.mean([figures["rounds"][-1] for _, figures in runs]))
    if first["errors"]:
        result["errors"] = {
            name: short(np.array([np.max(figures["errors"][name]) for _, figures in runs]), 3)
            for name in first["errors"]
        }
    return result


def _consensus(figures: Figures) -> dict[str, Any]:
    """Curves of the penalties that are drawn alone."""
    curves, drawn = ("agreement", "distance", "average", "at"), ((plan.RAW, 1.0), (plan.WHITENED, plan.PENALTY))
    rows = [
        row if (row["metric"], row["penalty"]) in drawn else {k: v for k, v in row.items() if k not in curves}
        for row in figures["rows"]
    ]
    return {**figures, "rows": rows}


def _novel(runs: Sequence[tuple[Measurement, Figures]]) -> dict[str, Any]:
    """A seed's tasks count as one number."""
    curves = np.array([np.mean(figures["values"], axis=0) for _, figures in runs])
    return {"curve": bands(curves), "seeds": [short(curve) for curve in curves]}


def _hidden(found: Collected, key: str) -> dict[str, Any]:
    """Angles, and how far each method is from the best policies."""
    ((_, truth),) = found["truth"][key]
    best, study = np.array(truth["values"]), found[f"hidden-{key}"]
    result: dict[str, Any] = {"best": float(best.mean()), "singular": truth["singular"], "methods": {}}
    for label, runs in study.items():
        figures = [f for _, f in runs]
        cost = [float(np.mean(f["values"], axis=1)[-LAST:].mean()) for f in figures]
        row: dict[str, Any] = {"final": short(np.array(cost))}
        if figures[0]["basis"] is not None:
            angles = [largest_angle(np.array(f["basis"]), np.array(truth["basis"])) for f in figures]
            row["angle"] = short(np.array(angles), 4)
        result["methods"][label] = row
    return result
