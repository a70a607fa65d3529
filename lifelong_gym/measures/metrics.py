"""Metrics of learning: what a method reached, how fast, what it passed on, what it kept, and what it cost.

Shapes: a *curve* is the performance in one thing (a task, or the mean over tasks) at every evaluation,
(..., n_evaluations); a *history* is that in every task, (..., n_evaluations, n_tasks). Leading axes are runs (seeds).

Evaluation 0 is before any training; higher is better. No metric averages over runs: that, with an interval, is the
business of `statistics`. In *lifelong* metrics, column i of a history is the task learned in i-th place (see
`in_learned_order`), and each task has n evaluations of its own while it is learned: n_evaluations = n_tasks * n + 1.
Ratios need *normalised* performance: 0 for the zero or random policy, 1 for the reference. Numbers that are not finite
and shapes that don't fit raise a ValueError.

Sources: Wolczyk et al., Continual World, NeurIPS 2021 (CW); Lopez-Paz and Ranzato, Gradient Episodic Memory, NeurIPS
2017 (GEM); Taylor and Stone, Transfer Learning for Reinforcement Learning Domains, JMLR 2009 (TS); Amani et al.,
Scaling Distributed Multi-task Reinforcement Learning with Experience Sharing, 2023 (DistMT-LSVI).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.integrate import trapezoid

from lifelong_gym.numerics.arrays import FloatArray

CURVE = ("n_evaluations",)
HISTORY = ("n_evaluations", "n_tasks")
LAST = 5  # evaluations that are averaged where a learned performance is meant, as in CW
HEADROOM = 0.1  # with a smaller denominator, the noise of a ratio is more than ten times that of its numerator


def _finite(name: str, values: npt.ArrayLike, axes: tuple[str, ...] = ()) -> FloatArray:
    array = np.asarray(values, np.float64)
    if array.ndim < len(axes) or array.size == 0:
        raise ValueError(f"`{name}` must have axes (..., {', '.join(axes)}), not empty. Received shape {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"`{name}` must be finite. Received {array[~np.isfinite(array)][0]}")
    return array


def _last(array: FloatArray, last: int, axis: int) -> FloatArray:
    """Mean over the end of an axis, or over all of it when it is shorter."""
    if last < 1:
        raise ValueError(f"`last` must be at least 1. Received {last}")
    n = array.shape[axis]
    return np.asarray(array.take(range(max(0, n - last), n), axis).mean(axis))


def _times(times: npt.ArrayLike | None, n_evaluations: int) -> FloatArray:
    array = _finite("times", np.arange(n_evaluations) if times is None else times, CURVE)
    if array.shape != (n_evaluations,) or np.any(np.diff(array) <= 0):
        raise ValueError(f"`times` must be {n_evaluations} increasing numbers, one per evaluation. Received {array}")
    return array


def _ratio(numerator: FloatArray, denominator: FloatArray, least: float) -> FloatArray:
    """NaN where the denominator is below ``least``."""
    if least <= 0:
        raise ValueError(f"`headroom` must be above 0. Received {least}")
    return np.where(denominator >= least, numerator / np.maximum(denominator, least), np.nan)


def normalised(performance: Any, zero: Any, reference: Any) -> FloatArray:
    """``(p - p_zero) / (p_reference - p_zero)``: 0 is doing nothing, 1 the reference controller. All broadcast.

    Where reference and zero performance coincide, it is undefined: a ValueError.
    """
    bottom = _finite("zero", zero)
    gap = _finite("reference", reference) - bottom
    if np.any(gap == 0):
        raise ValueError("`reference` must differ from `zero` for every task; normalising has no meaning otherwise")
    return np.asarray((_finite("performance", performance) - bottom) / gap)


def jump_start(curve: npt.ArrayLike, baseline: npt.ArrayLike, at: int = 0) -> FloatArray:
    """``p(at) - p_b(at)``: the lead at the beginning, in units of the performance (TS).

    Curve and baseline broadcast; ``at`` is the index of the evaluation, 0 before any training on the task.
    """
    values, base = _finite("curve", curve, CURVE), _finite("baseline", baseline, CURVE)
    if not 0 <= at < min(values.shape[-1], base.shape[-1]):
        raise ValueError(f"`at` must be one of {min(values.shape[-1], base.shape[-1])} evaluations. Received {at}")
    return np.asarray(values[..., at] - base[..., at])


def area_under_curve(curve: npt.ArrayLike, first: int | None = None, times: npt.ArrayLike | None = None) -> FloatArray:
    """``integral of p / (t_n - t_0)`` by the trapezoidal rule: the mean performance while learning (TS).

    Divided by the width, so that budgets can differ: the unit is that of the performance.

    Args:
        curve: shape (..., n_evaluations).
        first: how many evaluations count (default: all).
        times: of the evaluations, shape (n_evaluations,), in any unit; default: equally far apart.
    """
    values = _finite("curve", curve, CURVE)
    if first is not None and first < 1:
        raise ValueError(f"`first` must be at least 1. Received {first}")
    x, values = _times(times, values.shape[-1])[:first], values[..., :first]
    return np.asarray(values[..., 0] if len(x) == 1 else trapezoid(values, x, axis=-1) / (x[-1] - x[0]))


def asymptote(curve: npt.ArrayLike, last: int = LAST) -> FloatArray:
    """Mean of the ``last`` evaluations (of all, when there are fewer), in units of the performance."""
    return _last(_finite("curve", curve, CURVE), last, -1)


def asymptotic_gain(curve: npt.ArrayLike, baseline: npt.ArrayLike, last: int = LAST) -> FloatArray:
    """``p(end) - p_b(end)``, each the mean of the ``last`` evaluations, in units of the performance (TS)."""
    return asymptote(curve, last) - _last(_finite("baseline", baseline, CURVE), last, -1)


def time_to_threshold(curve: npt.ArrayLike, threshold: float, times: npt.ArrayLike | None = None) -> FloatArray:
    """``min {t : p(t) >= threshold}`` over evaluations; infinite (censored) when never reached (TS).

    Args:
        curve: shape (..., n_evaluations).
        threshold: in units of the performance.
        times: of the evaluations, shape (n_evaluations,), in the unit of the result; default: their indices.
    """
    reached = _finite("curve", curve, CURVE) >= _finite("threshold", threshold)
    when = _times(times, reached.shape[-1])
    return np.where(reached.any(axis=-1), when[reached.argmax(axis=-1)], np.inf)


def transfer_ratio(curve: npt.ArrayLike, baseline: npt.ArrayLike, headroom: float = HEADROOM) -> FloatArray:
    """``(A - A_b) / A_b`` of the areas under normalised curve and baseline, of equal length; no unit (TS).

    NaN where ``A_b < headroom``: relative to nearly nothing, or to a loss, every gain is arbitrary.
    """
    _finite("baseline", baseline, CURVE)
    area, base = area_under_curve(curve), area_under_curve(baseline)
    return _ratio(area - base, base, headroom)


def average_performance(history: npt.ArrayLike, last: int = LAST) -> FloatArray:
    """``1/N sum_i p_i(T)``, each the mean of the ``last`` evaluations, in units of the performance (CW)."""
    return np.asarray(_last(_finite("history", history, HISTORY), last, -2).mean(axis=-1))


def generalisation_gap(training: npt.ArrayLike, elsewhere: npt.ArrayLike) -> FloatArray:
    """``mean p(training) - mean p(elsewhere)`` over tasks, shape (...): what is lost in tasks that weren't learned.

    Args:
        training: performance in the tasks learned, shape (..., n_tasks), in units of the performance.
        elsewhere: performance in others, shape (..., n_other_tasks).
    """
    learned, others = (
        _finite(name, values, ("n_tasks",)) for name, values in {"training": training, "elsewhere": elsewhere}.items()
    )
    return np.asarray(learned.mean(axis=-1) - others.mean(axis=-1))


def in_learned_order(history: npt.ArrayLike, order: npt.ArrayLike) -> FloatArray:
    """The history with its tasks permuted: column i becomes ``order[i]``, the task learned in i-th place.

    ``order`` has shape (n_tasks,) or, another one per run, (..., n_tasks).
    """
    values, index = _finite("history", history, HISTORY), np.asarray(order)
    n_tasks = values.shape[-1]
    if index.shape[-1:] != (n_tasks,) or np.any(np.sort(index, axis=-1) != np.arange(n_tasks)):
        raise ValueError(f"`order` must be permutations of {n_tasks} tasks. Received {index}")
    columns = np.broadcast_to(index, (*values.shape[:-2], n_tasks))
    return np.take_along_axis(values, columns[..., None, :], axis=-1)


def _windows(history: npt.ArrayLike) -> FloatArray:
    """Shape (..., n_tasks, n, n_tasks): the n evaluations while each task was learned."""
    values = _finite("history", history, HISTORY)
    n_evaluations, n_tasks = values.shape[-2:]
    n, rest = divmod(n_evaluations - 1, n_tasks)
    if rest or n == 0:
        form = f"one evaluation before training and equally many for each of {n_tasks} tasks"
        raise ValueError(f"`history` must hold {form}. Received {n_evaluations} evaluations")
    return values[..., 1:, :].reshape(*values.shape[:-2], n_tasks, n, n_tasks)


def evaluation_matrix(history: npt.ArrayLike, last: int = LAST) -> FloatArray:
    """``R[j, i]``: performance in task i after the first j tasks were learned; row 0 is before training (GEM, CW).

    Shape (..., n_tasks + 1, n_tasks), in units of the performance.

    Args:
        history: shape (..., n_tasks * n + 1, n_tasks), tasks in learned order.
        last: how many evaluations at the end of a task's n are averaged (at most all n); row 0 is a single one.
    """
    after = _last(_windows(history), last, -2)
    return np.concatenate([np.asarray(history, np.float64)[..., :1, :], after], axis=-2)


def _matrix(matrix: npt.ArrayLike, least: int = 1) -> FloatArray:
    values = _finite("matrix", matrix, ("n_tasks + 1", "n_tasks"))
    if values.shape[-2] != values.shape[-1] + 1 or values.shape[-1] < least:
        form = f"(..., n_tasks + 1, n_tasks), n_tasks >= {least}"
        raise ValueError(f"`matrix` must have shape {form}. Received shape {values.shape}")
    return values


def forgetting(matrix: npt.ArrayLike) -> FloatArray:
    """``F_i = R[i, i] - R[N, i]`` of an `evaluation_matrix`: what was lost of each task since it was learned (CW).

    Shape (..., n_tasks), in units of the performance, less is better. CW's figure is the mean over all tasks; that of
    the last one is 0 by definition.
    """
    values = _matrix(matrix)
    return np.diagonal(values[..., 1:, :], axis1=-2, axis2=-1) - values[..., -1, :]


def gem_bwt(matrix: npt.ArrayLike) -> FloatArray:
    """``BWT = 1/(N-1) sum_{i<N} (R[N, i] - R[i, i])``, in units of the performance; shape (...) (GEM).

    The mean of ``-F_i`` of `forgetting`, to which the last task doesn't count.
    """
    return np.asarray(-forgetting(_matrix(matrix, 2))[..., :-1].mean(axis=-1))


def gem_fwt(matrix: npt.ArrayLike) -> FloatArray:
    """``FWT = 1/(N-1) sum_{i>1} (R[i-1, i] - R[0, i])``, in units of the performance; shape (...) (GEM).

    What earlier tasks did to each before it was trained; CW's `forward_transfer` is about the speed of learning it.
    """
    values = _matrix(matrix, 2)
    before = np.diagonal(values[..., :-1, :], axis1=-2, axis2=-1)
    return np.asarray((before - values[..., 0, :])[..., 1:].mean(axis=-1))


class ForwardTransfer(NamedTuple):
    """Of each task, shape (..., n_tasks); see `forward_transfer`."""

    ratio: FloatArray
    difference: FloatArray

    def mean_ratio(self) -> FloatArray:
        """CW's figure, the mean over the tasks whose ratio is defined (NaN when none is), shape (...)."""
        return np.asarray(np.ma.filled(np.ma.masked_invalid(self.ratio).mean(axis=-1), np.nan))


def forward_transfer(history: npt.ArrayLike, scratch: npt.ArrayLike, headroom: float = HEADROOM) -> ForwardTransfer:
    """``FT_i = (A_i - A_b,i) / (1 - A_b,i)``: how much faster each task is learned than from scratch (CW).

    A_i is the mean of the n evaluations of task i while it was learned, A_b,i that of learning it from scratch,
    averaged over runs (so that runs needn't be paired, and a noisy denominator doesn't bias the ratio). The ratio
    blows up as A_b,i nears 1, and has no meaning beyond: there it is NaN and the difference alone remains.

    The ratio has no unit; the difference ``A_i - A_b,i``, in units of the performance, is always defined.

    Args:
        history: normalised, shape (..., n_tasks * n + 1, n_tasks), tasks in learned order.
        scratch: normalised, shape (..., n + 1, n_tasks): column i of a learner of task i alone, equally long.
        headroom: least ``1 - A_b,i`` for a ratio.
    """
    windows, base = _windows(history), _finite("scratch", scratch, HISTORY)
    n, n_tasks = windows.shape[-2:]
    if base.shape[-2:] != (n + 1, n_tasks):
        raise ValueError(f"`scratch` must have shape (..., {n + 1}, {n_tasks}). Received shape {base.shape}")
    area = base[..., 1:, :].reshape(-1, n_tasks).mean(axis=0)
    difference = np.diagonal(windows.mean(axis=-2), axis1=-2, axis2=-1) - area
    return ForwardTransfer(_ratio(difference, 1 - area, headroom), difference)


def agent_time(history: npt.ArrayLike, times: npt.ArrayLike | None = None, threshold: float = 0.9) -> FloatArray:
    """Mean over agents of the time until the mean normalised score over all tasks reaches 90% (DistMT-LSVI).

    Infinite when one agent never gets there; less is better. For the paper's per cent, divide by that of one agent.

    Args:
        history: 0 is random, 1 the isolated agent at its end, shape (..., n_agents, n_evaluations, n_tasks).
        times: of the evaluations, shape (n_evaluations,), in the unit of the result (frames, in the paper).
        threshold: share of the isolated agent's score.
    """
    mean = _finite("history", history, ("n_agents", *HISTORY)).mean(axis=-1)
    return np.asarray(time_to_threshold(mean, threshold, times).mean(axis=-1))


def agent_reward(returns: npt.ArrayLike, random: npt.ArrayLike, isolated: npt.ArrayLike) -> FloatArray:
    """Mean over agents and tasks of ``(r - r_random) / (r_isolated - r_random)`` after training (DistMT-LSVI).

    Raw ``returns`` (..., n_agents, n_tasks) after a fixed amount of training; ``random`` and ``isolated`` (n_tasks,)
    are means over runs of the random policy and of an agent that learned alone as long. 1 is that agent; no unit.
    The paper takes the best of 5 runs, which grows with their number; here all count.
    """
    values = _finite("returns", returns, ("n_agents", "n_tasks"))
    return np.asarray(normalised(values, random, isolated).mean(axis=(-2, -1)))


def mean_safe_flight(distances: npt.ArrayLike) -> FloatArray:
    """``MSF = 1/E sum_e d_e``: mean path length flown until the collision, in metres; shape (...) (Zeng et al. 2021).

    ``distances`` (..., n_episodes): a flight that was cut off counts with what it flew; the mean is a lower bound.
    """
    values = _finite("distances", distances, ("n_episodes",))
    if (values < 0).any():
        raise ValueError(f"`distances` must not be negative. Received {values.min()}")
    return np.asarray(values.mean(axis=-1))


def consensus_error(parameters: npt.ArrayLike, relative: bool = False) -> FloatArray:
    """``1/n sum_i |theta_i - mean|^2``: how far agents are from agreeing, in squared units of the parameters.

    ``parameters`` (..., n_agents, n_parameters) are all of them or those of one layer; ``relative`` divides by
    ``1/n sum_i |theta_i|^2``: in [0, 1], no unit, comparable between layers and over time.
    """
    theta = _finite("parameters", parameters, ("n_agents", "n_parameters"))
    error = np.asarray(((theta - theta.mean(axis=-2, keepdims=True)) ** 2).sum(axis=-1).mean(axis=-1))
    size = (theta**2).sum(axis=-1).mean(axis=-1)
    return np.where(size > 0, error / np.where(size > 0, size, 1.0), 0.0) if relative else error


@dataclass(frozen=True)
class Communication:
    """What agents sent to each other; adds up with ``+``.

    Attributes:
        rounds: in which agents exchanged something.
        messages: from one agent to one other; a broadcast to k neighbours is k.
        bytes: of the contents of all messages.
    """

    rounds: int = 0
    messages: int = 0
    bytes: int = 0

    def __post_init__(self) -> None:
        if min(astuple(self)) < 0:
            raise ValueError(f"`rounds`, `messages` and `bytes` must not be negative. Received {self}")

    def __add__(self, other: Communication) -> Communication:
        return Communication(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))


class Metric(NamedTuple):
    """What a report needs; formula and estimator are in the function's docstring."""

    function: Callable[..., Any]
    unit: str
    higher_is_better: bool


METRICS: Mapping[str, Metric] = {
    "average performance": Metric(average_performance, "performance", True),
    "generalisation gap": Metric(generalisation_gap, "performance", False),
    "forward transfer": Metric(forward_transfer, "1", True),
    "forgetting": Metric(forgetting, "performance", False),
    "BWT (GEM)": Metric(gem_bwt, "performance", True),
    "FWT (GEM)": Metric(gem_fwt, "performance", True),
    "jump-start": Metric(jump_start, "performance", True),
    "asymptote": Metric(asymptote, "performance", True),
    "asymptotic gain": Metric(asymptotic_gain, "performance", True),
    "time to threshold": Metric(time_to_threshold, "time", False),
    "area under the curve": Metric(area_under_curve, "performance", True),
    "transfer ratio": Metric(transfer_ratio, "1", True),
    "agent time": Metric(agent_time, "time", False),
    "agent reward": Metric(agent_reward, "1", True),
    "mean safe flight": Metric(mean_safe_flight, "m", True),
    "consensus error": Metric(consensus_error, "parameter^2", False),
}
