"""What is said of the measurements: agent reward, agent time, and pictures that need several methods at once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lifelong_gym.measures import metrics
from lifelong_gym.measures.intervals import difference_interval, mean_interval, ratio_interval
from lifelong_gym.measures.statistics import Interval
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.papers.numbers import Numbers
from lifelong_gym.papers.specs import FigureSpec, TableSpec
from lifelong_gym.reports.plots import new_figure, tidy

from .theory import expected_scratch

ISOLATED, OWN, LIBRARY = "isolated", "isolated + own replay", "isolated, library"
SHARES = (0.2, 0.4, 0.6, 0.8, 0.99)
NINE_TENTHS, PAPER_SLOPE, BEST_OF = 0.9, 0.88, 5
LEAST = 1e-6  # return, by which isolated and random agents differ
Table = tuple[list[str], list[list[str]]]


def isolated(numbers: Numbers, study: str, system: str) -> FloatArray:
    """Mean return of isolated agents at the end, by task."""
    found: FloatArray = np.mean(numbers.by_seed(study, system, ISOLATED, "final"), axis=(0, 1))
    return found


def rewards(numbers: Numbers, study: str, system: str, method: str) -> list[float]:
    """AR, by seed: 0 is acting at random, 1 the isolated agent; of tasks in which these two differ, else 0."""
    runs = np.array(numbers.by_seed(study, system, method, "final"), np.float64)
    random = np.mean(numbers.by_seed(study, system, ISOLATED, "random"), axis=0)
    alone = isolated(numbers, study, system)
    told = np.abs(alone - random) > LEAST
    if not told.any():
        return [0.0] * len(runs)
    return [float(metrics.agent_reward(run[:, told], random[told], alone[told])) for run in runs]


def sharing(numbers: Numbers, study: str, system: str, methods: Sequence[str]) -> dict[int, str]:
    """Methods that differ in the number of agents alone, by that number; one is the isolated one."""
    named = [ISOLATED, *(method for method in methods if method.startswith("N = ") and "," not in method)]
    return {len(numbers.by_seed(study, system, method, "history")[0]): method for method in named}


def normalised(numbers: Numbers, study: str, system: str, method: str) -> list[FloatArray]:
    """Mean returns of all tasks over time, (n_agents, n_evaluations) a seed: 0 is random, 1 isolated at the end."""
    random = np.mean(numbers.by_seed(study, system, ISOLATED, "random"))
    span = max(float(isolated(numbers, study, system).mean() - random), LEAST)
    return [(np.asarray(run) - random) / span for run in numbers.by_seed(study, system, method, "history")]


def times(numbers: Numbers, study: str, system: str, method: str, share: float) -> list[float]:
    """Steps of an agent, the mean of agents, until that share of the isolated one's reward.

    Whoever has it from the start takes the steps to the first evaluation; never counts as all steps. One number a
    seed; 1 is how long there was.
    """
    found = []
    for run in normalised(numbers, study, system, method):
        last = run.shape[1] - 1
        found.append(float(np.clip(metrics.time_to_threshold(run, share), 1, last).mean() / last))
    return found


def own_times(numbers: Numbers, study: str, system: str, method: str) -> list[float]:
    """The same until 90% of what the method has at the end itself, the mean of its agents and seeds."""
    runs = normalised(numbers, study, system, method)
    level = NINE_TENTHS * float(np.mean([run[:, -1] for run in runs]))
    last = runs[0].shape[1] - 1
    return [float(np.clip(metrics.time_to_threshold(run, level), 1, last).mean() / last) for run in runs]


def _most(numbers: Numbers, study: str, system: str) -> str:
    by_number = sharing(numbers, study, system, list(numbers.content["values"][study][system]))
    return by_number[max(by_number)]


def slope(numbers: Numbers, study: str, systems: tuple[str, ...]) -> dict[str, Interval]:
    """AR of most agents over .88 N."""
    found = {}
    for system in systems:
        method = _most(numbers, study, system)
        n = len(numbers.by_seed(study, system, method, "history")[0])
        own = np.array(rewards(numbers, study, system, method)) / (PAPER_SLOPE * n)
        found[f"{system}, {method}"] = mean_interval(own)
    return found


def reward_growth(numbers: Numbers, study: str, systems: tuple[str, ...]) -> dict[str, Interval]:
    """AR of most agents less that of one."""
    pairs = {system: (_most(numbers, study, system), ISOLATED) for system in systems}
    return {s: difference_interval(*(rewards(numbers, study, s, m) for m in pairs[s])) for s in systems}


def time_growth(numbers: Numbers, study: str, systems: tuple[str, ...]) -> dict[str, Interval]:
    """AT of most agents over that of one, until 90% of the isolated one's reward."""
    pairs = {system: (_most(numbers, study, system), ISOLATED) for system in systems}
    return {s: ratio_interval(*(times(numbers, study, s, m, NINE_TENTHS) for m in pairs[s])) for s in systems}


def over_ceiling(numbers: Numbers, study: str, systems: tuple[str, ...]) -> dict[str, Interval]:
    """AR of most agents over that of a network a task."""
    found = {}
    for system in systems:
        pair = (rewards(numbers, study, system, method) for method in (_most(numbers, study, system), LIBRARY))
        found[system] = difference_interval(*pair)
    return found


def _points(axes: Axes, at: Sequence[float], runs: Sequence[Sequence[float]], label: str, marker: str = "o-") -> None:
    bounds = [mean_interval(run) for run in runs]
    middle = np.array([each.estimate for each in bounds])
    ends = np.nan_to_num(np.abs(np.array([[each.low, each.high] for each in bounds]).T - middle), posinf=0.0)
    axes.errorbar(at, middle, ends, fmt=marker, capsize=2, ms=4, lw=1, label=label)


def figure_1(numbers: Numbers, spec: FigureSpec) -> Figure:
    """AR and AT against the number of agents, beside what they are to be compared with; and Figure 2."""
    study, system = spec.study, spec.systems[0]
    by_number, figure = sharing(numbers, study, system, spec.methods), new_figure(12.6, 4.4)
    left, middle, right = figure.subplots(1, 3)
    at = sorted(by_number)
    gained = [rewards(numbers, study, system, by_number[n]) for n in at]
    _points(left, at, gained, "sharing, mean")
    left.plot(at, [max(each[:BEST_OF]) for each in gained], "k+", label=f"best of {BEST_OF}")
    left.plot(at, [PAPER_SLOPE * n for n in at], "k:", label=".88 N")
    for method, line in ((OWN, "--"), (LIBRARY, "-.")):
        left.axhline(float(np.mean(rewards(numbers, study, system, method))), ls=line, lw=1, color="C3", label=method)
    left.set(xlabel="agents N", ylabel="AR: 0 random, 1 isolated", ylim=(-0.2, 1.6 * max(1.0, max(map(max, gained)))))
    ours = [times(numbers, study, system, by_number[n], NINE_TENTHS) for n in at]
    _points(middle, at, ours, "AT, 90% of isolated")
    _points(middle, at, [own_times(numbers, study, system, by_number[n]) for n in at], "AT, 90% of its own", "s--")
    n_tasks, one = len(isolated(numbers, study, system)), float(np.mean(ours[0]))
    middle.plot(at, [one * expected_scratch(n_tasks, n) / n_tasks for n in at], "k:", label="coverage alone")
    middle.set(xlabel="agents N", ylabel="share of all steps")
    for share in SHARES:
        _points(right, at, [times(numbers, study, system, by_number[n], share) for n in at], f"{share:.0%}")
    right.set(xlabel="agents N", ylabel="share of all steps to a share of isolated")
    for axes in (left, middle, right):
        tidy(axes)
        axes.legend(frameon=False, fontsize=8)
    return figure


def episodes(numbers: Numbers, spec: FigureSpec) -> Figure:
    """Episodes an agent until all is solved, and at T, against the number of agents."""
    figure = new_figure(6.0, 4.2)
    axes, system = figure.subplots(), spec.systems[0]
    at = [int(method.removeprefix("N = ")) for method in spec.methods]
    read = partial(numbers.by_seed, spec.study, system)
    for of, label in ((spec.of[0], "until solved"), (spec.of[1], "at T")):
        _points(axes, at, [read(method, of) for method in spec.methods], label)
    first = float(np.mean(read(spec.methods[0], spec.of[0])))
    axes.plot(at, [first / n for n in at], "k:", label="1/N")
    axes.axhline(read(spec.methods[0], spec.of[2])[0], color="black", lw=0.8, ls="--", label="K1 + K2")
    axes.axhline(read(spec.methods[0], spec.of[3])[0], color="C3", lw=0.8, ls="-.", label="M K2, alone, tasks known")
    axes.set(xscale="log", yscale="log", xlabel="agents N", ylabel="episodes an agent")
    tidy(axes)
    axes.legend(frameon=False, fontsize=8)
    return figure


def traffic(numbers: Numbers, spec: FigureSpec) -> Figure:
    """Episodes an agent until all is solved against bytes."""
    figure = new_figure(4.2 * len(spec.systems), 3.8)
    for axes, system in zip(np.ravel(figure.subplots(1, len(spec.systems))), spec.systems, strict=True):
        for method in spec.methods:
            x, y, solved = (numbers.by_seed(spec.study, system, method, of) for of in spec.of)
            axes.plot(np.mean(x), np.mean(y), "o" if all(solved) else "x", label=method)
        axes.set(xscale="log", yscale="log", title=system, xlabel="bytes an agent", ylabel="episodes an agent")
        tidy(axes)
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    return figure


def ar_table(numbers: Numbers, spec: TableSpec) -> Table:
    """Raw means, AR, its best of five, AT, tasks told apart, and bytes; what wasn't run is said."""
    head = [
        "",
        "mean return",
        "AR",
        f"best of {BEST_OF}",
        "AT, 90% of isolated",
        "gone at the end",
        "right",
        "kB an agent",
    ]
    rows = []
    for system in spec.systems:
        for method in spec.methods:
            name = method if len(spec.systems) == 1 else f"{system}, {method}"
            read = partial(numbers.by_seed, spec.study, system, method)
            if not all(read("tested")):
                rows.append([name, *["not tested"] * (len(head) - 1)])
                continue
            own, time = (
                rewards(numbers, spec.study, system, method),
                times(numbers, spec.study, system, method, NINE_TENTHS),
            )
            shown = [[np.mean(each) for each in read("final")], own]
            bounds = [mean_interval(each) for each in shown]
            said = [f"{each.estimate:.2f} [{each.low:.2f}, {each.high:.2f}]" for each in bounds]
            rest = [f"{np.mean(each):.2f}" for each in (time, read("lost"), read("right"))]
            rows.append([name, *said, f"{max(own[:BEST_OF]):.2f}", *rest, f"{np.mean(read('bytes')) / 1000:.0f}"])
    return head, rows
