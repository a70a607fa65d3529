"""Learners over all tasks of several families: aggregates, performance profiles, probabilities of improvement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lifelong_gym.measures import statistics
from lifelong_gym.measures.statistics import Interval, Profile
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.reports.markup import plain
from lifelong_gym.reports.metric_tables import INTERVALS, PAR
from lifelong_gym.reports.scales import stretched, unstretched, visible
from lifelong_gym.reports.study import Study
from lifelong_gym.reports.tables import Cell, Column, Table

N_THRESHOLDS = 121
RULED = "by whole runs, because the tasks of a run share its luck"
AGGREGATES = (
    (
        Column("IQM", "1", True, "interquartile mean: of the middle half of all scores", 0),
        statistics.interquartile_mean,
    ),
    (Column("mean", "1", True, "over all runs and tasks", 0), statistics.mean),
    (Column("optimality gap", "1", False, "mean of ``max(1 - x, 0)``", 1), statistics.optimality_gap),
)

Scores = Mapping[str, FloatArray]


def pooled(studies: Sequence[Study]) -> tuple[dict[str, FloatArray], list[str]]:
    """Scores side by side, a column a task of any family, of the learners that are in all studies.

    Returns:
        By learner, shape (n_runs, n_tasks of all families): with the seeds that it was run with in every family; and
        the learners that are left out, with the reason.
    """
    scores: dict[str, FloatArray] = {}
    left_out = []
    for learner in dict.fromkeys(name for study in studies for name in study.runs):
        missing = [study.family for study in studies if learner not in study.runs]
        if missing:
            left_out.append(f"{plain(learner)}: no runs on {plain(', '.join(missing))}")
            continue
        seeds = [{run.seed for run in study.runs[learner]} for study in studies]
        common = set.intersection(*seeds)
        if not common:
            left_out.append(f"{plain(learner)}: no seed in common between the families")
            continue
        scores[learner] = np.concatenate([_of_seeds(study, learner, common) for study in studies], axis=1)
    return scores, left_out


def _of_seeds(study: Study, learner: str, seeds: set[int]) -> FloatArray:
    keep = [run.seed in seeds for run in study.runs[learner]]
    return study.scores(learner)[keep]


def aggregates(
    name: str, title: str, scores: Scores, notes: Sequence[str], outside: Sequence[str], raw: bool = False
) -> Table:
    """Interquartile mean, mean and optimality gap; ``outside`` are the rows that aren't learners'.

    Of raw returns, without the gap to the best policy, which nobody knows.
    """
    kept = list(AGGREGATES)
    if raw:
        kept = [(column._replace(unit="return", par=None), of) for column, of in AGGREGATES[:-1]]
    rows = {}
    for learner, array in scores.items():
        rows[learner] = [Cell(aggregate_interval(array, aggregate)) for _, aggregate in kept]
    said = f"{INTERVALS}." if raw else PAR
    return Table(name, title, [column for column, _ in kept], rows, [f"{said} Resampled {RULED}.", *notes], outside)


def aggregate_interval(scores: FloatArray, aggregate: statistics.Aggregate) -> Interval:
    """An aggregate of scores (n_runs, n_tasks); no limits where there is a single run."""
    if len(scores) > 1:
        return statistics.stratified_bootstrap(scores, aggregate, whole_runs=True)
    return Interval(float(aggregate(scores)), np.nan, np.nan)


def improvement(a: FloatArray, b: FloatArray) -> Interval:
    """Probability that a run of A beats one of B in the same task; no limits where either has a single run."""
    if min(len(a), len(b)) > 1:
        return statistics.improvement_interval(a, b, whole_runs=True)
    return Interval(statistics.probability_of_improvement(a, b), np.nan, np.nan)


Chances = Mapping[tuple[str, str], Interval]


def all_improvements(scores: Scores) -> Chances:
    """`improvement` of every learner over every other one."""
    return {(a, b): improvement(x, y) for a, x in scores.items() for b, y in scores.items() if a != b}


def improvements(name: str, title: str, chances: Chances) -> Table:
    """Probability of improvement of the learner of each row over that of each column."""
    names = list(dict.fromkeys(a for a, _ in chances))
    columns = [Column(f"over {b}", "1", None) for b in names]
    rows = {a: [Cell(text="") if a == b else Cell(chances[a, b]) for b in names] for a in names}
    note = (
        "Probability that a run of the row's learner scores higher than one of the column's in the same task, ties "
        f"counted half; averaged over tasks; in brackets 95% bootstrap intervals, resampled {RULED}. "
        "A whole interval above 0.5 means better. Comparisons are not corrected for being several."
    )
    return Table(name, title, columns, rows, [note])


def thresholds(scores: Scores, raw: bool = False) -> FloatArray:
    """For performance profiles: from the lowest score, at most 0, to the highest, at least 1, as close as they show.

    Of raw returns, from the lowest to the highest.
    """
    low, high = min(float(x.min()) for x in scores.values()), max(float(x.max()) for x in scores.values())
    if raw:
        return np.linspace(low, high, N_THRESHOLDS)
    first, last = stretched(visible([min(0.0, low), max(1.0, high)]))
    return unstretched(np.linspace(first, last, N_THRESHOLDS))


def profile(scores: FloatArray, at: FloatArray) -> Profile:
    """Share of runs and tasks above each threshold; a band of no width for a single run."""
    several = scores if len(scores) > 1 else np.repeat(scores, 2, axis=0)
    return statistics.performance_profile(several, at, n_resamples=1999, whole_runs=True)
