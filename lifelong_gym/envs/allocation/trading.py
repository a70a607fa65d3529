"""The text of portfolios: what trading costs, how wealth grows, and what is seen of the past.

The state is (day, age, wealth, market, peak, share_1 ... share_m): the row of the day to come, days since the start,
the wealth and that of equal shares as multiples of the start's, the highest wealth so far, and what has become of the
shares since they were chosen.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from lifelong_gym.numerics.scalar import (
    Vector,
    above,
    absolute,
    bounded,
    clip,
    fill,
    log,
    mul,
    scale,
    shift,
    sub,
    take,
    total,
    where,
)

DAY, AGE, WEALTH, MARKET, PEAK = 0, 1, 2, 3, 4
SHARES = 5  # from here on
PER_CENT = 100.0
FEATURE_SCALE, FEATURE_LIMIT = 20.0, 100.0
Cost = Callable[[Vector, Vector, float], float]


def remaining(held: Vector, wanted: Vector, cost: float) -> float:
    """What is left of the wealth after trading from one portfolio to another.

    It is the mu for which ``mu = 1 - (2 c - c^2) sum_i max(held_i - mu wanted_i, 0)``: selling and buying cost c each,
    and there is no cash. The function is convex and piecewise linear, so Newton's steps end at it: after four of them
    for c up to 20%.
    """
    both, left = cost * (2.0 - cost), 1.0
    for _ in range(4):
        is_sold = above(held, scale(left, wanted))
        left = (1.0 - both * total(mul(is_sold, held))) / (1.0 - both * total(mul(is_sold, wanted)))
    return left


def roughly_remaining(held: Vector, wanted: Vector, cost: float) -> float:
    """The common approximation of `remaining`, ``1 - c sum |held - wanted|``."""
    return 1.0 - cost * total(absolute(sub(held, wanted)))


def reward_excess(state: Vector, next_state: Vector) -> float:
    """By how much the wealth has grown more than that of equal shares, in per cent of log-return."""
    return PER_CENT * log(next_state[WEALTH] * state[MARKET] / (state[WEALTH] * next_state[MARKET]))


def reward_log_return(state: Vector, next_state: Vector) -> float:
    """By how much the wealth has grown, in per cent of log-return."""
    return PER_CENT * log(next_state[WEALTH] / state[WEALTH])


def initial(noise: Vector, period: Vector, equal: Vector) -> Vector:
    """Equal shares, on one of the days from which an episode fits into the period."""
    day = period[0] + float(int(noise[0] * period[2]))
    return (day, 0.0, 1.0, 1.0, 1.0) + equal  # noqa: RUF005 (numba knows no unpacking here)


def present(there: Vector) -> Vector:
    """Those that the task names."""
    return there


def exogenous(state: Vector, tables: Any, columns: Vector, universe: Vector) -> Vector:
    """Each instrument's relative on the day before, and on the day that comes."""
    day = min(state[DAY], universe[1] - 1.0)
    return take(tables[0], (day - 1.0) * universe[0], columns) + take(tables[0], day * universe[0], columns)


@functools.lru_cache(maxsize=64)  # one function: families of other prices share compiled code
def transition_text(m: int, remaining: Cost) -> Callable[..., Vector]:
    """Trading, and the day's prices: the shares drift with them. Equal shares, by the side, are restored every day."""

    def transition(state: Vector, action: Vector, noise: Vector, equal: Vector, cost: Vector) -> Vector:
        relatives, drifted = noise[m:], mul(equal, noise[:m])
        restored = where(state[AGE] > 0.0, remaining(scale(1.0 / total(drifted), drifted), equal, cost[0]), 1.0)
        grown = mul(action, relatives)
        growth = total(grown)
        wealth = state[WEALTH] * (remaining(state[SHARES:], action, cost[0]) * growth)
        market = state[MARKET] * (restored * total(mul(equal, relatives)))
        account = (state[DAY] + 1.0, state[AGE] + 1.0, wealth, market, max(state[PEAK], wealth))
        return account + scale(1.0 / growth, grown)

    return transition


def terminated(state: Vector, period: Vector) -> bool:
    """After the last day of the period."""
    return state[DAY] > period[1]


@functools.lru_cache(maxsize=64)
def observation_text(window: int, has_range: bool, clips: bool) -> Callable[..., None]:
    """Of each instrument its past prices over yesterday's, less 1 and scaled, its share, and whether it is there.

    Args:
        window: days that are seen.
        has_range: whether there are tables of high and low prices too.
        clips: whether there are prices that would leave the space; to look at each costs half as much again.
    """
    width = 3 * window + 2 if has_range else window + 1
    before = window - 1  # closing prices besides yesterday's
    days, closing = tuple(map(float, range(window))), tuple(map(float, range(before)))
    low, high = (-FEATURE_SCALE,) * window, (FEATURE_LIMIT,) * window
    closing_low, closing_high = low[1:], high[1:]

    def as_it_is(feature: Vector, low: Vector, high: Vector) -> Vector:
        return feature

    limit = bounded if clips else as_it_is

    def features(table: Any, days: Vector, first: float, factor: float, there: float) -> Vector:
        return shift(-FEATURE_SCALE * there, scale(factor, take(table, first, days)))

    def closes(state: Vector, tables: Any, columns: Vector, there: Vector, universe: Vector, out: Any) -> None:
        n = total(there)
        for i in range(len(columns)):
            first = columns[i] * universe[1] + min(state[DAY], universe[1]) - window
            factor = FEATURE_SCALE * there[i] / tables[1][int(first) + before]
            past = features(tables[1], closing, first, factor, there[i])
            fill(out, i * width, limit(past, closing_low, closing_high))
            out[i * width + width - 2] = there[i] * clip(n * state[SHARES + i] - 1.0, -1.0, n)
            out[i * width + width - 1] = there[i]

    def ranges(state: Vector, tables: Any, columns: Vector, there: Vector, universe: Vector, out: Any) -> None:
        closes(state, tables, columns, there, universe, out)
        for i in range(len(columns)):
            first = columns[i] * universe[1] + min(state[DAY], universe[1]) - window
            factor = FEATURE_SCALE * there[i] / tables[1][int(first) + before]
            highs = features(tables[2], days, first, factor, there[i])
            lows = features(tables[3], days, first, factor, there[i])
            out[i * width + before] = 0.0
            fill(out, i * width + window, limit(highs, low, high))
            fill(out, i * width + 2 * window, limit(lows, low, high))

    return ranges if has_range else closes
