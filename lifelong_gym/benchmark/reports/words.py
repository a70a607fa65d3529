"""What came out, in plain sentences that claim no more than the intervals do. ``**bold**`` marks learners."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from lifelong_gym.benchmark.records import Run
from lifelong_gym.benchmark.reports.measures import AREA, LIFELONG
from lifelong_gym.benchmark.reports.metric_tables import estimate
from lifelong_gym.benchmark.reports.overall import Scores, aggregate_interval, improvement
from lifelong_gym.benchmark.reports.study import PROTOCOLS, Study
from lifelong_gym.benchmark.reports.tables import interval_text, number
from lifelong_gym.benchmark.statistics import Interval, interquartile_mean
from lifelong_gym.tasks import FloatArray

# Measured on normal runs: nominal 95% intervals of 3 hold the mean in 74% of studies, of 5 in 83%, of 10 in 90%.
FEW = 5
LITTLE = 0.2

Intervals = Mapping[str, Interval]


def listed(names: Iterable[str]) -> str:
    """``a, b and c``.

    >>> listed("abc")
    'a, b and c'
    """
    *rest, last = names
    return f"{', '.join(rest)} and {last}" if rest else last


def plural(n: int, noun: str) -> str:
    """``1 task``, ``2 tasks``."""
    return f"{n} {noun}{'s' * (n != 1)}"


def seeds_of(runs: Iterable[Run]) -> str:
    """``0 to 4``, or the seeds one by one."""
    seeds = sorted({run.seed for run in runs})
    if len(seeds) > 2 and seeds == list(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]} to {seeds[-1]}"
    return listed(map(str, seeds))


def protocol_name(study: Study) -> str:
    """In words."""
    return PROTOCOLS.get(study.protocol, study.protocol)


def compared(study: Study) -> str:
    """What a study is made of."""
    run, counts = study.any, sorted({len(runs) for runs in study.runs.values()})
    seeds = plural(counts[0], "seed") if len(counts) == 1 else f"{counts[0]} to {counts[-1]} seeds"
    protocol = run.settings["protocol"]
    form = f" ({protocol['topology']})" if study.protocol == "distributed" and protocol.get("topology") else ""
    return (
        f"**{study.family}**, {protocol_name(study)} protocol{form}: {plural(len(study.runs), 'learner')} on "
        f"{plural(study.n_tasks, 'task')}, {seeds} each; {number(protocol['total_timesteps'], 'steps')} environment "
        f"steps a run, {plural(len(run.times), 'evaluation')} with {plural(run.returns.shape[2], 'episode')} a task."
    )


def verdict(study: Study) -> list[str]:
    """Who leads, by how much, and how sure that is."""
    learners = study.learners or list(study.runs)
    scores = {name: study.scores(name) for name in learners}
    means = {name: estimate(array.mean(axis=1)) for name, array in scores.items()}
    sentences = _leading(scores, means, study.score_name, f"from {study.zero} (0) to the best known policy (1)")
    if max(interval.estimate for interval in means.values()) < LITTLE:
        sentences.append("Within this budget, little is learned here.")
    sentences.extend(unmoved(study))
    if study.protocol in ("multi_task", "distributed") and len(scores) > 1:
        sentences.append(_fastest(study, means))
    if study.protocol == "lifelong":
        sentences.extend(_forgetting(study))
    fixed = {name: estimate(study.scores(name).mean(axis=1)) for name in study.runs if name not in learners}
    if fixed:
        values = listed(f"{name} {number(interval.estimate)}" for name, interval in fixed.items())
        sentences.append(f"For comparison: {values}.")
    return [*sentences, *_few(list(scores.values()))]


def _leading(scores: Scores, means: Intervals, what: str, scale: str) -> list[str]:
    leader, *others = sorted(scores, key=lambda name: means[name].estimate, reverse=True)
    if not others:
        return [f"**{leader}** has a {what} of {interval_text(means[leader])}, {scale}; it is the only learner."]
    first = f"**{leader}** has the highest {what}: {interval_text(means[leader])} on the scale {scale}."
    return [first, *_against(leader, others, scores, means)]


def _against(leader: str, others: Sequence[str], scores: Scores, means: Intervals) -> list[str]:
    """The leader's runner-up in full, the others by name."""
    chances = {name: improvement(scores[leader], scores[name]) for name in others}
    second, *rest = others
    behind = [name for name in rest if _clear(scores[leader], scores[name], chances[name])]
    near = [name for name in rest if name not in behind]
    sentences = [_duel(leader, second, scores, means, chances[second])]
    if behind:
        sentences.append(f"Clearly behind it: {_names(behind, means)}.")
    if near and _too_few(scores, [leader, *near]):
        sentences.append(f"Then {'follows' if len(near) == 1 else 'follow'} {_names(near, means)}.")
    elif near:
        sentences.append(f"Behind it, but not clearly: {_names(near, means)}.")
    return sentences


def _too_few(scores: Scores, names: Sequence[str]) -> bool:
    return min(len(scores[name]) for name in names) < FEW


def _clear(a: FloatArray, b: FloatArray, chance: Interval) -> bool:
    return min(len(a), len(b)) >= FEW and chance.low > 0.5


def _names(names: Sequence[str], means: Intervals) -> str:
    return listed(f"**{name}** ({interval_text(means[name])})" for name in names)


def _duel(leader: str, second: str, scores: Scores, means: Intervals, chance: Interval) -> str:
    odds = f"a run of {leader} scores higher than one of {second} with probability {interval_text(chance)}"
    if _clear(scores[leader], scores[second], chance):
        return f"It is clearly ahead of {_names([second], means)}: {odds}."
    if _too_few(scores, [leader, second]):
        return f"Next comes {_names([second], means)}: {odds}, too few runs to tell that from chance."
    return f"There is no clear difference to {_names([second], means)}: {odds}."


def _fastest(study: Study, means: Intervals) -> str:
    areas = {name: estimate([AREA.value(run, ()) for run in study.runs[name]]) for name in means}
    first = max(areas, key=lambda name: areas[name].estimate)
    leader = max(means, key=lambda name: means[name].estimate)
    if first == leader:
        return f"It also has the largest area under the learning curve, {interval_text(areas[first])}."
    return (
        f"While learning, **{first}** is best: an area under the curve of {interval_text(areas[first])}, against "
        f"{interval_text(areas[leader])} of {leader}."
    )


def _forgetting(study: Study) -> list[str]:
    measure = next(m for m in LIFELONG if m.column.name == "forgetting")
    sequential = [name for name in study.learners if not study.alone(name)]
    if len(sequential) < 2:
        return []
    lost = {name: estimate([measure.value(run, ()) for run in study.runs[name]]) for name in sequential}
    least, *_, most = sorted(lost, key=lambda name: lost[name].estimate)
    return [
        f"Of what it had learned, **{least}** loses the least by the end (forgetting {interval_text(lost[least])}), "
        f"**{most}** the most ({interval_text(lost[most])})."
    ]


def unmoved(study: Study) -> list[str]:
    """Who did the same at every evaluation: its first update needs more than the budget."""
    names = [name for name in study.learners if all(np.ptp(run.returns, axis=0).max() == 0 for run in study.runs[name])]
    return [
        f"The budget was too small for **{name}**: its policy never changed (give it a larger one, or smaller batches)."
        for name in names
    ]


def _few(scores: Sequence[FloatArray]) -> list[str]:
    n = min(map(len, scores))
    if n == 1:
        return ["One seed gives no interval: this is an example, not a comparison."]
    if n < FEW:
        return [f"{n} seeds are few: intervals from so few runs are too narrow, and no difference is called clear."]
    return []


def verdict_overall(scores: Scores, families: Sequence[str], what: str) -> list[str]:
    """Who leads over all families together, by the interquartile mean."""
    if len(scores) < 2:
        return []
    means = {name: aggregate_interval(array, interquartile_mean) for name, array in scores.items()}
    leader, *others = sorted(scores, key=lambda name: means[name].estimate, reverse=True)
    return [
        f"Over {listed(families)} together, **{leader}** has the highest interquartile mean of the {what}, "
        f"{interval_text(means[leader])}.",
        *_against(leader, others, scores, means),
    ]
