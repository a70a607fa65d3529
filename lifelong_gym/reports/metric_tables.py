"""Tables of a study's metrics, with intervals over seeds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from lifelong_gym.benchmark.records import Run
from lifelong_gym.measures.statistics import Interval, bootstrap
from lifelong_gym.reports.measures import AGAINST_SCRATCH, FAILED, MetricColumn, Scratch, measures_of, suited
from lifelong_gym.reports.study import Study
from lifelong_gym.reports.tables import Cell, Table

INTERVALS = (
    "In brackets: 95% percentile bootstrap intervals over seeds. Bold: no worse than the best within intervals, that "
    "is, an estimate that lies in the interval of the best one, or whose own interval reaches that"
)
PAR = f"{INTERVALS}; but nobody who does worse than doing nothing, or than learning from scratch."


def estimate(values: npt.ArrayLike, statistic: Callable[..., Any] = np.mean) -> Interval:
    """Over runs, with a 95% interval where there are several."""
    runs = np.asarray(values, np.float64)
    if len(runs) > 1:
        return bootstrap(runs, statistic)
    return Interval(float(runs[0]), np.nan, np.nan)


def _cell(measure: MetricColumn, runs: Sequence[Run], scratch: Scratch) -> Cell:
    """Of the runs that can be compared; a ratio that is undefined in one of them can't be averaged over the others."""
    values, reasons = [], []
    for run in runs:
        try:
            values.append(float(measure.value(run, scratch)))
        except ValueError as error:
            reasons.append(str(error))
    why = "; ".join(dict.fromkeys(reasons))
    if not values:
        return Cell(reason=why)
    undefined = int(np.isnan(values).sum())
    if undefined:
        return Cell(reason=f"the denominator of the ratio is too small in {undefined} of {len(values)} runs")
    return Cell(estimate(values, measure.statistic), reason=why and f"{len(values)} of {len(runs)} runs count; {why}")


def _table(study: Study, name: str, title: str, measures: Sequence[MetricColumn], learners: Sequence[str]) -> Table:
    rows = {}
    for learner in learners:
        scratch = study.runs.get(study.baseline(learner) or "", ())
        rows[learner] = [_cell(measure, study.runs[learner], scratch) for measure in measures]
    keep = [i for i, m in enumerate(measures) if _says_something(m, [row[i] for row in rows.values()])]
    return Table(
        name=f"{study.name}-{name}",
        title=title,
        columns=[measures[i].column for i in keep],
        rows={learner: [row[i] for i in keep] for learner, row in rows.items()},
        notes=[*_unsaid(measures, rows, keep), f"{INTERVALS}." if study.raw else PAR],
        outside=[learner for learner in learners if study.fixed(learner)],
    )


def _unsaid(measures: Sequence[MetricColumn], rows: Mapping[str, Sequence[Cell]], keep: Sequence[int]) -> list[str]:
    """For every column that is left out because nothing in it is defined, why."""
    lines = []
    for i in set(range(len(measures))) - set(keep):
        reasons = dict.fromkeys(row[i].reason for row in rows.values() if row[i].reason)
        if reasons:
            lines.append(f"{measures[i].column.name} is undefined for all: {'; '.join(reasons)}.")
    return sorted(lines)


def _says_something(measure: MetricColumn, cells: Sequence[Cell]) -> bool:
    """A column of dashes, or of failures that never happened, is left out."""
    estimates = [cell.interval.estimate for cell in cells if cell.interval is not None]
    return bool(estimates) and (measure is not FAILED or any(estimates))


def tables(study: Study) -> list[Table]:
    """The study's metrics, a row a learner; those against learning from scratch in a table of their own.

    A table without columns is left out; why it has none is then said below the metrics.
    """
    metrics = _table(study, "metrics", f"{study.family}: metrics", measures_of(study), list(study.runs))
    compared = [name for name in study.runs if study.baseline(name) is not None]
    if study.protocol not in ("multi_task", "distributed") or not compared:
        return [metrics]
    baselines = {str(study.baseline(name)) for name in compared}
    title = f"{study.family}: against learning every task from scratch ({', '.join(sorted(baselines))})"
    scratch = _table(study, "scratch", title, suited(AGAINST_SCRATCH, study.raw), compared)
    if scratch.columns:
        return [metrics, scratch]
    return [replace(metrics, notes=[*scratch.notes[:-1], *metrics.notes])]
