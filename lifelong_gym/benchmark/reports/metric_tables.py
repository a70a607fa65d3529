"""Tables of a study's metrics, with intervals over seeds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from lifelong_gym.benchmark.records import Run
from lifelong_gym.benchmark.reports.measures import AGAINST_SCRATCH, FAILED, MEASURES, MULTI_TASK, Measure, Scratch
from lifelong_gym.benchmark.reports.study import Study
from lifelong_gym.benchmark.reports.tables import Cell, Table
from lifelong_gym.benchmark.statistics import Interval, bootstrap

INTERVALS = (
    "In brackets: 95% percentile bootstrap intervals over seeds. Bold: the best estimate, and every learner whose "
    "interval overlaps with the best one's."
)


def estimate(values: npt.ArrayLike, statistic: Callable[..., Any] = np.mean) -> Interval:
    """Over runs, with a 95% interval where there are several."""
    runs = np.asarray(values, np.float64)
    if len(runs) > 1:
        return bootstrap(runs, statistic)
    return Interval(float(runs[0]), np.nan, np.nan)


def _cell(measure: Measure, runs: Sequence[Run], scratch: Scratch) -> Cell:
    try:
        values = np.array([measure.value(run, scratch) for run in runs], np.float64)
    except ValueError as error:
        return Cell(reason=str(error))
    undefined = int(np.isnan(values).sum())
    if undefined:
        return Cell(reason=f"the denominator of the ratio is too small in {undefined} of {len(values)} runs")
    return Cell(estimate(values, measure.statistic))


def _table(study: Study, name: str, title: str, measures: Sequence[Measure], learners: Sequence[str]) -> Table:
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
        notes=[*_unsaid(measures, rows, keep), INTERVALS],
        outside=[learner for learner in learners if study.fixed(learner)],
    )


def _unsaid(measures: Sequence[Measure], rows: Mapping[str, Sequence[Cell]], keep: Sequence[int]) -> list[str]:
    """For every column that is left out because nothing in it is defined, why."""
    lines = []
    for i in set(range(len(measures))) - set(keep):
        reasons = dict.fromkeys(row[i].reason for row in rows.values() if row[i].reason)
        if reasons:
            lines.append(f"{measures[i].column.name} is undefined for all: {'; '.join(reasons)}.")
    return sorted(lines)


def _says_something(measure: Measure, cells: Sequence[Cell]) -> bool:
    """A column of dashes, or of failures that never happened, is left out."""
    estimates = [cell.interval.estimate for cell in cells if cell.interval is not None]
    return bool(estimates) and (measure is not FAILED or any(estimates))


def tables(study: Study) -> list[Table]:
    """The study's metrics, a row a learner; those against learning from scratch in a table of their own."""
    measures = MEASURES.get(study.protocol, MULTI_TASK)
    made = [_table(study, "metrics", f"{study.family}: metrics", measures, list(study.runs))]
    compared = [name for name in study.runs if study.baseline(name) is not None]
    if study.protocol in ("multi_task", "distributed") and compared:
        baselines = {str(study.baseline(name)) for name in compared}
        title = f"{study.family}: against learning every task from scratch ({', '.join(sorted(baselines))})"
        made.append(_table(study, "scratch", title, AGAINST_SCRATCH, compared))
    return made
