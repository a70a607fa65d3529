"""Which metrics suit which protocol. Every number comes from `metrics` and `statistics`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lifelong_gym.benchmark.records import Run
from lifelong_gym.measures import metrics
from lifelong_gym.measures.statistics import optimality_gap
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.reports.study import FIXED, Study, final_performance, n_final, novel_curve, novel_tasks
from lifelong_gym.reports.tables import Column

THRESHOLD = 0.9
EARLY = 0.2  # of the evaluations

Scratch = Sequence[Run]


class MetricColumn(NamedTuple):
    """A column, and the function that fills it.

    Attributes:
        column: its heading and unit.
        value: one number of a run; a ValueError or NaN where it is undefined.
        statistic: over runs.
        raw: whether it has a meaning for raw returns too.
    """

    column: Column
    value: Callable[[Run, Scratch], Any]
    statistic: Callable[..., Any] = np.mean
    raw: bool = True


def _measure(
    name: str,
    metric: str,
    value: Callable[[Run, Scratch], Any],
    more: str = "",
    par: float | None = None,
    raw: bool = True,
) -> MetricColumn:
    """A measure by one of `metrics.METRICS`, whose docstring says what it is."""
    known = metrics.METRICS[metric]
    unit = "steps" if known.unit == "time" else known.unit
    first, _, _ = (inspect.getdoc(known.function) or "").partition("\n")
    formula = first.rstrip(".").replace("; shape (...)", "")
    estimator = f"{formula}{f'; {more}' if more else ''}"
    column = Column(name, unit, known.higher_is_better, estimator, par)
    return MetricColumn(column, value, np.median if unit == "steps" else np.mean, raw)


def suited(measures: Sequence[MetricColumn], raw: bool) -> list[MetricColumn]:
    """All of them, or those that have a meaning for raw returns, in whose unit they then are."""
    if not raw:
        return list(measures)
    return [measure._replace(column=_in_returns(measure.column)) for measure in measures if measure.raw]


def _in_returns(column: Column) -> Column:
    if column.unit != "performance":
        return column
    return column._replace(name=column.name.replace("performance", "return"), unit="return", par=None)


def _curve(run: Run) -> FloatArray:
    return np.asarray(run.performance().mean(axis=1))


def _n_early(run: Run) -> int:
    return 1 + max(1, round(EARLY * (len(run.times) - 1)))


def _check(run: Run, scratch: Scratch) -> None:
    """That there is something to compare a run with."""
    if run.alone:
        raise ValueError("it learned every task from scratch itself")
    if run.settings["learner"].get("class") in FIXED:
        raise ValueError("it doesn't learn")
    if not scratch:
        raise ValueError("nothing was learned from scratch")


def _twin(run: Run, scratch: Scratch) -> Run:
    """The run from scratch with the same seed: runs in pairs, so that the interval holds the spread of both."""
    _check(run, scratch)
    for other in scratch:
        if other.seed == run.seed:
            return other
    raise ValueError(f"there is no run from scratch with seed {run.seed}")


def _history(run: Run) -> FloatArray:
    if run.alone:
        raise ValueError("it learned every task on its own, not one after another")
    return metrics.in_learned_order(run.performance(), run.settings["protocol"]["order"])


def _matrix(run: Run) -> FloatArray:
    return metrics.evaluation_matrix(_history(run), n_final(run))


def _forward(run: Run, scratch: Scratch) -> metrics.ForwardTransfer:
    _check(run, scratch)
    order = run.settings["protocol"]["order"]
    alone = np.array([metrics.in_learned_order(other.performance(), order) for other in scratch])
    return metrics.forward_transfer(_history(run), alone)


def _novel(run: Run) -> FloatArray:
    return np.asarray(novel_curve(run).performance.mean(axis=0))


def _novel_times(run: Run) -> npt.NDArray[np.int64]:
    return novel_curve(run).times


def _old(run: Run) -> FloatArray:
    if run.alone:
        raise ValueError("it learned the novel task only")
    others = [task for task in range(run.n_tasks) if task not in novel_tasks(run)]
    return np.asarray(run.performance()[:, others].mean(axis=1))


def _last_sent(name: str) -> Callable[[Run, Scratch], float]:
    def value(run: Run, _: Scratch) -> float:
        sent = run.communication[-1]
        if sent is None:
            raise ValueError("its agents send nothing")
        return float(getattr(sent, name))

    return value


def _violations(run: Run) -> FloatArray:
    if run.violations is None:
        raise ValueError("there are no constraints")
    return run.violations


def _agent_reward(run: Run, scratch: Scratch) -> FloatArray:
    _check(run, scratch)
    n = n_final(run)
    isolated = np.mean([metrics.asymptote(other.returns.mean(axis=2).T, n) for other in scratch], axis=0)
    mine = metrics.asymptote(run.returns.mean(axis=2).T, n)
    return metrics.agent_reward(mine[None], run.reference("random"), isolated)


MEAN = "of the mean over tasks"
LAST = "here the last fifth, at most five"
FINAL = _measure("final performance", "asymptote", lambda run, _: final_performance(run).mean(), f"{MEAN}; {LAST}", 0)
AREA = _measure(
    "area under the curve",
    "area under the curve",
    lambda run, _: metrics.area_under_curve(_curve(run), None, run.times),
    MEAN,
    par=0,
)
GAP = MetricColumn(
    Column("optimality gap", "1", False, "mean over tasks of ``max(1 - p, 0)`` of the final performance p", 1),
    lambda run, _: optimality_gap(final_performance(run)[None]),
    raw=False,
)
TIME = _measure(
    f"time to {THRESHOLD:g}",
    "time to threshold",
    lambda run, _: metrics.time_to_threshold(_curve(run), THRESHOLD, run.times),
    f"{MEAN}; median over runs",
    raw=False,
)
VIOLATED = MetricColumn(
    Column("violations", "share", False, "steps of the evaluations at the end in which a constraint was violated"),
    lambda run, _: metrics.asymptote(_violations(run).T, n_final(run)).mean(),
)
FAILED = MetricColumn(
    Column("failures", "share", False, "of the evaluation episodes at the end"),
    lambda run, _: metrics.asymptote(run.failed.T, n_final(run)).mean(),
)
MULTI_TASK = (
    FINAL,
    AREA,
    _measure(
        "early area",
        "area under the curve",
        lambda run, _: metrics.area_under_curve(_curve(run), _n_early(run), run.times),
        f"{MEAN}, over the first {EARLY:.0%} of the evaluations",
        par=0,
    ),
    MetricColumn(
        Column("worst task", "performance", True, "the least final performance among the tasks of a run", 0),
        lambda run, _: final_performance(run).min(),
    ),
    GAP,
    TIME,
    FAILED,
)
AGAINST_SCRATCH = (
    _measure(
        "jump-start",
        "jump-start",
        lambda run, scratch: metrics.jump_start(_curve(run), _curve(_twin(run, scratch)), at=1),
        "at the first evaluation after training began",
        par=0,
    ),
    _measure(
        "asymptotic gain",
        "asymptotic gain",
        lambda run, scratch: metrics.asymptotic_gain(_curve(run), _curve(_twin(run, scratch)), n_final(run)),
        LAST,
        par=0,
    ),
    _measure(
        "transfer ratio",
        "transfer ratio",
        lambda run, scratch: metrics.transfer_ratio(_curve(run), _curve(_twin(run, scratch))),
        par=0,
        raw=False,
    ),
)
LIFELONG = (
    _measure(
        "average performance",
        "average performance",
        lambda run, _: metrics.average_performance(run.performance(), n_final(run)),
        f"{LAST}, of a task's own",
        par=0,
    ),
    _measure(
        "forgetting",
        "forgetting",
        lambda run, _: metrics.forgetting(_matrix(run)).mean(),
        "mean over all tasks; backward transfer is its negative",
    ),
    _measure("BWT (GEM)", "BWT (GEM)", lambda run, _: metrics.gem_bwt(_matrix(run))),
    _measure("FWT (GEM)", "FWT (GEM)", lambda run, _: metrics.gem_fwt(_matrix(run)), par=0),
    _measure(
        "forward transfer",
        "forward transfer",
        lambda run, scratch: _forward(run, scratch).mean_ratio(),
        "scratch is averaged over its runs, the interval is over those of the learner",
        par=0,
        raw=False,
    ),
    MetricColumn(
        Column("forward difference", "performance", True, "``A_i - A_b,i`` of the areas, mean over tasks", 0),
        lambda run, scratch: _forward(run, scratch).difference.mean(),
    ),
    FAILED,
)
TRANSFER = (
    _measure(
        "area",
        "area under the curve",
        lambda run, _: metrics.area_under_curve(_novel(run), None, _novel_times(run)),
        par=0,
    ),
    _measure(
        "jump-start",
        "jump-start",
        lambda run, scratch: metrics.jump_start(_novel(run), _novel(_twin(run, scratch))),
        "before any training on the novel task",
        par=0,
    ),
    _measure(
        "asymptotic gain",
        "asymptotic gain",
        lambda run, scratch: metrics.asymptotic_gain(_novel(run), _novel(_twin(run, scratch)), n_final(run)),
        par=0,
    ),
    _measure(
        "transfer ratio",
        "transfer ratio",
        lambda run, scratch: metrics.transfer_ratio(_novel(run), _novel(_twin(run, scratch))),
        par=0,
        raw=False,
    ),
    _measure(
        f"time to {THRESHOLD:g}",
        "time to threshold",
        lambda run, _: metrics.time_to_threshold(_novel(run), THRESHOLD, _novel_times(run)),
        "on the novel task; median over runs",
        raw=False,
    ),
    _measure(
        "old tasks",
        "asymptote",
        lambda run, _: metrics.asymptote(_old(run), n_final(run)),
        "the other tasks' mean",
        par=0,
    ),
)
DISTRIBUTED = (
    FINAL,
    AREA,
    TIME,
    _measure(
        "agent reward",
        "agent reward",
        _agent_reward,
        "1 is the learner from scratch, averaged over its runs",
        par=1,
        raw=False,
    ),
    *(
        MetricColumn(Column(name, name, False, f"{name} of all agents together, training included"), _last_sent(name))
        for name in ("rounds", "messages", "bytes")
    ),
    FAILED,
)
ROUNDS = (
    *MULTI_TASK[:3],
    MetricColumn(
        Column("worst agent", "performance", True, "the least final performance among a run's agents, mean over tasks"),
        lambda run, _: metrics.asymptote(run.of_agents().mean(axis=2).T, n_final(run)).min(),
    ),
    *MULTI_TASK[3:],
)
GENERALISE = (FINAL, AREA, FAILED)
MEASURES = {
    "multi_task": MULTI_TASK,
    "lifelong": LIFELONG,
    "transfer": TRANSFER,
    "distributed": DISTRIBUTED,
    "generalise": GENERALISE,
    "rounds": ROUNDS,
}


def measures_in(name: str) -> tuple[MetricColumn, MetricColumn]:
    """Of a further set of tasks: what is reached there, and how much less that is than in the tasks learned."""

    def there(run: Run) -> FloatArray:
        return metrics.asymptote(run.sets[name].performance().T, n_final(run))

    return (
        _measure(f"final performance in {name}", "asymptote", lambda run, _: there(run).mean(), f"{MEAN}; {LAST}", 0),
        _measure(
            f"gap to {name}",
            "generalisation gap",
            lambda run, _: metrics.generalisation_gap(final_performance(run), there(run)),
            "of the final performance",
        ),
    )


def measures_of(study: Study) -> list[MetricColumn]:
    """What suits a study's protocol, its further sets of tasks, and its constraints."""
    first, *others = MEASURES.get(study.protocol, MULTI_TASK)
    within = [measure for name in study.sets for measure in measures_in(name)]
    broken = [] if study.any.violations is None else [VIOLATED]
    return suited([first, *within, *others, *broken], study.raw)
