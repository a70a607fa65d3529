"""Portfolios to learn from and portfolios to test on: other days, and where wanted other instruments."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from lifelong_gym.envs.allocation.portfolio import Portfolio
from lifelong_gym.envs.allocation.prices import days_of
from lifelong_gym.errors import integer, unknown
from lifelong_gym.tasks.distributions import Constant
from lifelong_gym.tasks.joint import Distinct
from lifelong_gym.tasks.parameter_space import ParameterSpace, Preset
from lifelong_gym.tasks.task_set import TaskSet

Day = int | str
Period = tuple[Day, Day]


@dataclass(frozen=True)
class Split:
    """Tasks of one family, apart from each other.

    Attributes:
        train: to learn from.
        test: on later days.
    """

    train: TaskSet
    test: TaskSet


def day(family: Portfolio, when: Day) -> int:
    """The row of a day: a row, or a date in ISO 8601, of which the first day from it on counts.

    Raises:
        ValueError: outside of the data, or a date where the prices have none.
    """
    data = family.data
    if isinstance(when, str):
        if data.days is None:
            raise ValueError(
                f"these prices have no dates: days must be rows, 0 to {data.n_days - 1}. Received {when!r}"
            )
        row = int(np.searchsorted(data.days, days_of([when])[0]))
        if row >= data.n_days or days_of([when])[0] < data.days[0]:
            ends = f"{data.day_text(0)} to {data.day_text(data.n_days - 1)}"
            raise ValueError(f"a day must be within {ends}. Received {when!r}")
        return row
    return integer("day", when, 0, data.n_days - 1)


def rows_of(family: Portfolio, period: Period) -> tuple[int, int]:
    """First and last row of a period, both within it; a date may fall between two days.

    Raises:
        ValueError: the period is empty, begins before there is a window, or leaves the data.
    """
    first, last = day(family, period[0]), day(family, period[1])
    days = family.data.days
    if isinstance(period[1], str) and days is not None and days[last] > days_of([period[1]])[0]:
        last -= 1
    if first < family.window:
        raise ValueError(
            f"a period must leave {family.window} days before it, which are seen. "
            f"Received {period}, from row {first} on"
        )
    if last < first:
        raise ValueError(f"a period must hold a day. Received {period}")
    return first, last


def portfolios(
    family: Portfolio,
    n_tasks: int,
    period: Period,
    instruments: Sequence[int | str] | None = None,
    cost: float | None = None,
    seed: int = 0,
) -> TaskSet:
    """Tasks of a period: each of m instruments, drawn from those given, every choice and order as likely.

    Args:
        family: whose tasks.
        n_tasks: at least 1.
        period: first and last day, as rows or dates.
        instruments: columns or names, all different; None: all.
        cost: of trading; None: nominal.
        seed: of the draw.

    Raises:
        ValueError: fewer instruments than m, one twice or unknown, or see `rows_of`.
    """
    columns = columns_of(family, instruments)
    names = tuple(f"instrument_{i + 1}" for i in range(family.m))
    if len(columns) < family.m:
        raise ValueError(f"there must be at least m = {family.m} instruments to draw from. Received {len(columns)}")
    first, last = rows_of(family, period)
    fixed = {"first_day": first, "last_day": last} | ({} if cost is None else {"cost": cost})
    drawn = Preset(
        {name: Constant(float(x)) for name, x in fixed.items()}, "", joint=(Distinct(names, 0, len(columns) - 1),)
    )
    space = ParameterSpace(family.parameters.parameters, {"drawn": drawn}, rules=family.parameters.rules)
    values = space.sample(n_tasks, seed, "drawn").values.copy()
    places = [space.index(name) for name in names]
    values[:, places] = np.array(columns, np.float64)[values[:, places].astype(np.int64)]
    return TaskSet(family.parameters, values, seed=seed)


def columns_of(family: Portfolio, instruments: Sequence[int | str] | None) -> list[int]:
    """Columns of instruments, which are columns or names; None: all.

    Raises:
        ValueError: an unknown one, or one twice.
    """
    names = family.data.names
    if instruments is None:
        return list(range(len(names)))
    found = []
    for instrument in instruments:
        if isinstance(instrument, str) and instrument not in names:
            raise unknown("instrument", instrument, names)
        column = names.index(instrument) if isinstance(instrument, str) else instrument
        found.append(integer("instrument", column, 0, len(names) - 1))
    for column in found:
        if found.count(column) > 1:
            raise ValueError(f"instruments must differ. Received {names[column]!r} twice")
    return found


def held_out(
    family: Portfolio,
    train: Period,
    test: Period,
    n_held_out: int = 0,
    n_train: int = 30,
    n_test: int = 10,
    cost: float | None = None,
    seed: int = 0,
) -> Split:
    """Tasks of a period to learn from, and of a later one to test on, where wanted of other instruments.

    Args:
        family: whose tasks.
        train: first and last day, as rows or dates.
        test: likewise; it begins after ``train`` has ended.
        n_held_out: instruments, chosen by the seed, that only the test knows; 0: both draw from all.
        n_train: tasks to learn from.
        n_test: tasks to test on.
        cost: of trading; None: nominal.
        seed: of all draws.

    Raises:
        ValueError: periods that overlap, instruments too few to be split so, or see `portfolios`.
    """
    if rows_of(family, test)[0] <= rows_of(family, train)[1]:
        raise ValueError(f"`test` must begin after `train` has ended. Received train={train}, test={test}")
    columns = len(family.data.names)
    n_held_out = integer("n_held_out", n_held_out, 0)
    if n_held_out and not family.m <= n_held_out <= columns - family.m:
        raise ValueError(
            f"`n_held_out` must leave m = {family.m} of {columns} instruments on either side, or be 0. "
            f"Received {n_held_out}"
        )
    order = np.random.default_rng(seed).permutation(columns).tolist()
    known, unseen = (order[n_held_out:], order[:n_held_out]) if n_held_out else (order, order)
    return Split(
        portfolios(family, n_train, train, sorted(known), cost, seed),
        portfolios(family, n_test, test, sorted(unseen), cost, seed + 1),
    )


def walk_forward(
    family: Portfolio,
    train_size: int,
    test_size: int,
    purged_size: int = 0,
    first: Day | None = None,
    n_tasks: int = 30,
    cost: float | None = None,
    seed: int = 0,
) -> Iterator[Split]:
    """Splits that walk through the days: each test follows its training, and the next one's test follows that.

    The same instruments are drawn in all of them. The words are skfolio's and scikit-learn's.

    Args:
        family: whose tasks.
        train_size: days to learn from.
        test_size: days to test on; what is left in the end is no split.
        purged_size: days between the two that nobody uses.
        first: the first day; None: the first that has a window before it.
        n_tasks: in each period.
        cost: of trading; None: nominal.
        seed: of the draws.

    Raises:
        ValueError: sizes that aren't positive, or more days than there are.
    """
    sizes = integer("train_size", train_size), integer("test_size", test_size), integer("purged_size", purged_size, 0)
    start = family.window if first is None else day(family, first)
    if start + sum(sizes) > family.data.n_days:
        raise ValueError(
            f"a split takes {sum(sizes)} days from row {start} on, and there are {family.data.n_days} in all"
        )
    return _walk(family, start, sizes, n_tasks, cost, seed)


def _walk(
    family: Portfolio, start: int, sizes: tuple[int, int, int], n_tasks: int, cost: float | None, seed: int
) -> Iterator[Split]:
    train_size, test_size, purged_size = sizes
    while start + sum(sizes) <= family.data.n_days:
        test = start + train_size + purged_size
        periods = (start, start + train_size - 1), (test, test + test_size - 1)
        yield Split(*[portfolios(family, n_tasks, period, None, cost, seed) for period in periods])
        start += test_size
