"""What came out, in plain sentences that claim no more than the intervals do. ``**bold**`` marks learners."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from lifelong_gym.benchmark.records import Run
from lifelong_gym.measures.statistics import Interval, interquartile_mean
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.reports.markup import bold, plain
from lifelong_gym.reports.measures import AREA, LIFELONG
from lifelong_gym.reports.metric_tables import estimate
from lifelong_gym.reports.overall import Scores, aggregate_interval, improvement
from lifelong_gym.reports.study import PROTOCOLS, Study
from lifelong_gym.reports.tables import interval_text, number

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
    others = [plain(name) for name in study.runs if study.fixed(name)]
    beside = f", and {listed(others)} for comparison," if others else ""
    form = f" ({protocol['topology']})" if study.protocol == "distributed" and protocol.get("topology") else ""
    agents = f" for each of {plural(run.n_agents, 'agent')}" if study.protocol == "rounds" else ""
    episodes = f"{plural(run.returns.shape[2] // run.n_agents, 'episode')} a task{agents}"
    source = "" if run.family == run.made else f" ({plain(run.made)}, preset {plain(run.preset)})"
    who = plural(len(study.learners), "learner") + beside
    return (
        f"{bold(study.family)}{source}, {protocol_name(study)} protocol{form}: {who} "
        f"on {plural(study.n_tasks, 'task')}, {seeds} each; {number(protocol['total_timesteps'], 'steps')} environment "
        f"steps a run, {plural(len(run.times), 'evaluation')} with {episodes}{_elsewhere(study)}."
    )


def _elsewhere(study: Study) -> str:
    """Where else learners are evaluated."""
    named = [
        f"{plain(name)} ({plain(part.made)}, preset {plain(part.preset)}, {plural(part.n_tasks, 'task')})"
        for name, part in study.any.sets.items()
    ]
    return f", and in {listed(named)}" if named else ""


def verdict(study: Study) -> list[str]:
    """Who leads, by how much, and how sure that is. Every sentence names whom it is about."""
    learners = study.learners or list(study.runs)
    scores = {name: study.scores(name) for name in learners}
    means = {name: estimate(array.mean(axis=1)) for name, array in scores.items()}
    scale = "" if study.raw else f"on the scale from {study.zero} (0) to the best known policy (1)"
    sentences = _leading(scores, means, study.score_name, scale)
    if not study.raw and max(interval.estimate for interval in means.values()) < LITTLE:
        sentences.append(f"No learner reaches {number(LITTLE)}: within this budget, little is learned here.")
    sentences.extend(unmoved(study))
    if study.protocol in ("multi_task", "distributed", "rounds") and len(scores) > 1:
        sentences.append(_fastest(study, means))
    if study.protocol == "lifelong":
        sentences.extend(_forgetting(study))
    fixed = {name: estimate(study.scores(name).mean(axis=1)) for name in study.runs if name not in learners}
    if fixed:
        values = listed(f"{plain(name)} {number(interval.estimate, study.unit)}" for name, interval in fixed.items())
        sentences.append(f"For comparison: {values}.")
    return [*sentences, *_few(scores)]


def _leading(scores: Scores, means: Intervals, what: str, scale: str) -> list[str]:
    """Who has the highest mean, and how the others compare; ``scale`` is empty for raw returns."""
    unit = "performance" if scale else "return"
    ranked = sorted(scores, key=lambda name: means[name].estimate, reverse=True)
    level, where = interval_text(means[ranked[0]], unit), f" {scale}" if scale else ""
    if len(ranked) == 1:
        return [f"{bold(ranked[0])} has a {what} of {level}{where}; no other learner was run."]
    first = [name for name in ranked if means[name].estimate == means[ranked[0]].estimate]
    if len(first) > 1:
        leading = f"{listed(map(bold, first))} share the highest {what}: {level}{where}."
    else:
        leading = f"{bold(first[0])} has the highest {what}: {level}{where}."
    return [leading, *_against(first[0], ranked[len(first) :], scores, means, unit)]


def _names(names: Sequence[str], means: Intervals, unit: str) -> str:
    return listed(f"{bold(name)} ({interval_text(means[name], unit)})" for name in names)


def _against(leader: str, others: Sequence[str], scores: Scores, means: Intervals, unit: str) -> list[str]:
    """The leader's runner-up in full, the others by name."""
    if not others:
        return []
    chances = {name: improvement(scores[leader], scores[name]) for name in others}
    second, *rest = others
    behind = [name for name in rest if _clear(scores[leader], scores[name], chances[name])]
    near = [name for name in rest if name not in behind]
    sentences = [_duel(leader, second, scores, _names([second], means, unit), chances[second])]
    if behind:
        sentences.append(f"{bold(leader)} is clearly ahead of {_names(behind, means, unit)}.")
    if near and _too_few(scores, [leader, *near]):
        sentences.append(f"Then {'follows' if len(near) == 1 else 'follow'} {_names(near, means, unit)}.")
    elif near:
        sentences.append(f"{bold(leader)} is ahead of {_names(near, means, unit)}, but not clearly.")
    return sentences


def _too_few(scores: Scores, names: Sequence[str]) -> bool:
    return min(len(scores[name]) for name in names) < FEW


def _clear(a: FloatArray, b: FloatArray, chance: Interval) -> bool:
    return min(len(a), len(b)) >= FEW and chance.low > 0.5


def _duel(leader: str, second: str, scores: Scores, shown: str, chance: Interval) -> str:
    probability = interval_text(chance)
    odds = f"a run of {plain(leader)} scores higher than one of {plain(second)} with probability {probability}"
    if _clear(scores[leader], scores[second], chance):
        return f"{bold(leader)} is clearly ahead of {shown}: {odds}."
    if _too_few(scores, [leader, second]):
        return f"Next comes {shown}: {odds}, too few runs to tell that from chance."
    return f"There is no clear difference between {bold(leader)} and {shown}: {odds}."


def _fastest(study: Study, means: Intervals) -> str:
    areas = {name: estimate([AREA.value(run, ()) for run in study.runs[name]]) for name in means}
    leader = max(means, key=lambda name: means[name].estimate)
    most = max(interval.estimate for interval in areas.values())
    first = [name for name in areas if areas[name].estimate == most]
    largest = f"the largest area under the learning curve, {interval_text(areas[first[0]], study.unit)}"
    if first == [leader]:
        return f"{bold(leader)} also has {largest}."
    if len(first) > 1:
        return f"{listed(map(bold, first))} share {largest}."
    return f"{bold(first[0])} has {largest}, against {interval_text(areas[leader], study.unit)} of {bold(leader)}."


def _forgetting(study: Study) -> list[str]:
    measure = next(m for m in LIFELONG if m.column.name == "forgetting")
    sequential = [name for name in study.learners if not study.alone(name)]
    if len(sequential) < 2:
        return []
    lost = {name: estimate([measure.value(run, ()) for run in study.runs[name]]) for name in sequential}
    least, *_, most = sorted(lost, key=lambda name: lost[name].estimate)
    little, much = (interval_text(lost[name], study.unit) for name in (least, most))
    if lost[least].estimate == lost[most].estimate:
        return [f"{listed(map(bold, sequential))} forget equally much ({little})."]
    return [f"{bold(least)} forgets the least ({little}), {bold(most)} the most ({much})."]


def unmoved(study: Study) -> list[str]:
    """Who did the same at every evaluation: its first update needs more than the budget, or it doesn't learn at all.

    What is named `module:Class` may be a fixed policy; what has a name of its own is a learner.
    """
    names = [name for name in study.learners if all(map(_is_unmoved, study.runs[name]))]
    help = "(a larger budget or smaller batches may help)"
    return [
        f"{bold(name)} did the same at every evaluation: it doesn't learn, or the budget was too small {help}."
        if ":" in study.kind(name)
        else f"The budget was too small for {bold(name)}: its policy never changed {help}."
        for name in names
    ]


def _is_unmoved(run: Run) -> bool:
    return len(run.times) > 1 and bool(np.ptp(run.returns, axis=0).max() == 0)


def _few(scores: Scores) -> list[str]:
    """What few seeds mean; where only some learners have few, which."""
    few = {name: len(array) for name, array in scores.items() if len(array) < FEW}
    if few and len(few) < len(scores):
        shown = listed(f"{bold(name)} ({plural(n, 'seed')})" for name, n in few.items())
        return [f"{shown} ran too seldom for any difference to be called clear."]
    if few and min(few.values()) == 1:
        return ["One seed gives no interval: this is an example, not a comparison."]
    if few:
        n = min(few.values())
        return [f"{n} seeds are few: intervals from so few runs are too narrow, and no difference is called clear."]
    return []


def verdict_overall(scores: Scores, families: Sequence[str], what: str) -> list[str]:
    """Who leads over all families together, by the interquartile mean."""
    if len(scores) < 2:
        return []
    means = {name: aggregate_interval(array, interquartile_mean) for name, array in scores.items()}
    where = f"over {listed(map(plain, families))} together"
    return _leading(scores, means, f"interquartile mean of the {what}", where)
