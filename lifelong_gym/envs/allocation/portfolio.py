"""A portfolio of instruments whose prices have happened: tasks are subsets, periods and costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, final

import numpy as np
import numpy.typing as npt

from lifelong_gym.envs.allocation import trading
from lifelong_gym.envs.allocation.account import Account
from lifelong_gym.envs.allocation.constant import best_constant_shares
from lifelong_gym.envs.allocation.prices import FIELDS, Prices
from lifelong_gym.envs.allocation.seen import Seen, seen
from lifelong_gym.envs.allocation.sources import load, named
from lifelong_gym.envs.arguments import Argument
from lifelong_gym.envs.family import Columns, Groups, KernelFamily
from lifelong_gym.envs.spaces import Entities, Quantity, Simplex, simplex_or_logits
from lifelong_gym.numerics.arrays import BoolArray, FloatArray
from lifelong_gym.tasks.joint import Distinct
from lifelong_gym.tasks.parameter_space import ParameterSpace, Preset
from lifelong_gym.tasks.parameters import Parameter
from lifelong_gym.tasks.rules import Rule

M, WINDOW, DAYS = 5, 20, 50
LOGITS = 3.0  # bound: one share may be 400 times another
COST, HIGHEST_COST = 0.0025, 0.2
ABSENT = -1
HELD_OUT, TEST = 4, 4  # a quarter of the instruments, and one more; a quarter of the days

STATE = (
    Quantity("day", "1", "row of the prices, of the day to come"),
    Quantity("age", "1", "days since the start"),
    Quantity("wealth", "1", "over that at the start"),
    Quantity("market", "1", "wealth of equal shares, over that at the start"),
    Quantity("peak", "1", "highest wealth so far"),
)
SHARE, PRESENT = Quantity("share", "1", "times their number, less 1"), Quantity("present", "1", "whether it is there")


def in_order(first: FloatArray, last: FloatArray) -> BoolArray:
    """Periods of at least a day."""
    ordered: BoolArray = first <= last
    return ordered


def different(*instruments: FloatArray) -> BoolArray:
    """At least one instrument, and none twice."""
    table = np.sort(np.stack(instruments, axis=1), axis=1)
    twice = (table[:, 1:] == table[:, :-1]) & (table[:, 1:] != ABSENT)
    good: BoolArray = ~twice.any(axis=1) & (table[:, -1] != ABSENT)
    return good


def space_of(m: int, window: int, prices: Prices, cost: float) -> ParameterSpace:
    """The parameters of portfolios of up to m of these instruments."""
    names = tuple(f"instrument_{i + 1}" for i in range(m))
    columns, last = len(prices.names), prices.n_days - 1
    instruments = [
        Parameter(name, "1", f"column of the prices, {ABSENT}: none", (ABSENT, columns - 1), nominal=i, integer=True)
        for i, name in enumerate(names)
    ]
    period = [
        Parameter(
            "first_day", "1", "row of the prices, of the first day", (window, last), nominal=window, integer=True
        ),
        Parameter("last_day", "1", "row of the prices, of the last day", (window, last), nominal=last, integer=True),
    ]
    return ParameterSpace(
        [*instruments, *period, Parameter("cost", "1", "of selling and of buying", (0.0, HIGHEST_COST), nominal=cost)],
        _presets(names, window, columns, prices.n_days),
        rules=(
            Rule(("first_day", "last_day"), "`last_day` must not be before `first_day`", in_order),
            Rule(names, f"instruments must differ, and one at least be there ({ABSENT}: none)", different),
        ),
    )


def _presets(names: tuple[str, ...], window: int, columns: int, n_days: int) -> dict[str, Preset]:
    """Draws of instruments: in all days, or apart in time, or in time and instruments, for those who test."""
    from lifelong_gym.tasks.distributions import Constant

    every = (Distinct(names, 0, columns - 1),)
    presets = {"default": Preset({}, "any instruments, all days", joint=every)}
    test = max(n_days - n_days // TEST, window + 1)
    early, late = {"last_day": Constant(test - 1)}, {"first_day": Constant(test)}
    if test < n_days:
        presets["train"] = Preset(early, "any instruments, the first three quarters of the days", joint=every)
        presets["test"] = Preset(late, "any instruments, the last quarter of the days", joint=every)
    known = columns - max(columns // HELD_OUT + 1, len(names))
    if test < n_days and known >= len(names):
        seen, unseen = (Distinct(names, 0, known - 1),), (Distinct(names, known, columns - 1),)
        presets["train_seen"] = Preset(early, f"as `train`, of the first {known} instruments", joint=seen)
        presets["test_seen"] = Preset(late, f"as `test`, of the first {known} instruments", joint=seen)
        presets["test_unseen"] = Preset(late, f"as `test`, of the last {columns - known} instruments", joint=unseen)
    return presets


def channels(window: int, has_range: bool) -> tuple[Quantity, ...]:
    """What is seen of an instrument."""
    last = 0 if has_range else 1  # series are of equal length; the last close over itself tells nothing alone
    past = [
        Quantity(f"{field}_{lag}", "1", f"20 times the {field} price {lag} days ago over the last close, less 1")
        for field in (FIELDS if has_range else FIELDS[:1])
        for lag in range(window, last, -1)
    ]
    return (*past, SHARE, PRESENT)


@final
class Portfolio(KernelFamily):
    """A portfolio of instruments: shares of the wealth, which drift with prices that have happened.

    ## Description
    On the evening of a day the agent sees past prices and its shares, and chooses other shares; trading costs; on the
    next day prices change, and shares drift. Prices don't depend on actions. A task is up to m of the instruments, a
    period and a cost rate, so tasks may differ in instruments, as held-out instruments do, in days, as walk-forward
    splits do, and in what trading costs; see `lifelong_gym.envs.allocation.splits`.

    Arguments:
    - ``prices``: ``"skfolio"`` (the default, twenty stocks of the S&P 500, adjusted closing prices of 1990 to 2022,
      all of which have survived; extra ``portfolio``); ``"planted"``, prices that revert, whose settings a dict may
      give, as in ``{"source": "planted", "seed": 7}``; ``"nyse_o"``, ``"nyse_n"``, ``"tse"``, ``"sp500"``, ``"djia"``,
      ``"msci"``, the sets of universal-portfolios, which have neither dates nor names (extra ``olps``); a CSV or
      Parquet file, whose path begins in the current folder wherever an env is made, unless it is absolute; a pandas
      DataFrame, which is kept in the folder that ``LIFELONG_GYM_CACHE`` names and known by its hash; or
      ``{"source": "yfinance", "tickers": [...], "start": ..., "end": ...}``, downloaded once. High and low prices are
      seen where there are any.
    - ``m``: instruments of a task at most; ``window``: days that are seen.
    - ``days``: of an episode, which starts on any day from which it fits into the task's period; 0: the whole period,
      and the reference is then the best constant portfolio in hindsight (best CRP).
    - ``cost_model``: ``"exact"``, or ``"approximate"``: ``1 - c sum |w - a|``, as it is often written.

    ## Action Space
    Shares of the wealth: ``Box(0, 1, (m,))``, which is divided by its sum, so that 0 is equal shares; or with
    ``actions="logits"`` ``Box(-1, 1, (m,))``, whose softmax at a bound of 3 they are.

    ## Observation Space
    Instruments side by side; of each one, where v are prices, n is the day to come and h counts down, ``window ... 2``.
    Where there are high and low prices, h goes down to 1, and those follow, as two further series of the same length:

    | Num | Observation | Min | Max | Unit |
    |---|---|---|---|---|
    | 0 ... | ``20 (v[n - h] / v[n - 1] - 1)``, clipped | -20 | 100 | 1 |
    | -2 | share times the number of instruments, less 1 | -1 | m | 1 |
    | -1 | whether it is there; if not, all else is 0 | 0 | 1 | 1 |

    ## Rewards
    In per cent of log-return, costs paid: ``excess``, over equal shares that are restored every day (equal CRP), which
    pay as well; ``log_return``. The last day's wealth isn't turned into cash.

    ## Starting State
    Equal shares.

    ## Episode End
    Termination after the last day of the period; truncation after ``days`` days.

    ## Parameters
    | Parameter | Nominal | Unit | Meaning |
    |---|---|---|---|
    | ``instrument_1`` ... ``instrument_m`` | 0 ... m - 1 | 1 | columns of the prices, all different; -1: none |
    | ``first_day``, ``last_day`` | all days that have a past | 1 | rows of the prices |
    | ``cost`` | 0.0025; of planted prices 0 | 1 | of what is sold and of what is bought |

    ## Presets
    ``default``: any instruments, all days. ``train`` and ``test``: the first three quarters of the days, and the last.
    ``train_seen``, ``test_seen``, ``test_unseen``: likewise, of most of the instruments and of the rest of them, where
    there are enough.

    ## References
    - Multi-Task Learning for Resource Allocation with Permutation Invariance (anonymous).
    - T. M. Cover: Universal Portfolios. Mathematical Finance 1(1), 1991: constant rebalanced portfolios (CRP).

    ## Version History
    - v0: first version.
    """

    arguments: ClassVar[tuple[Argument, ...]] = (
        Argument(
            "prices", (str, dict), "skfolio", "a source's name, a path, a dict of settings or a DataFrame", named=named
        ),
        Argument("m", int, M, "instruments of a task, at most"),
        Argument("window", int, WINDOW, "days that are seen"),
        Argument("days", int, DAYS, "of an episode; 0: the task's whole period"),
        Argument(
            "cost_model",
            str,
            "exact",
            "what trading costs",
            {"exact": trading.remaining, "approximate": trading.roughly_remaining},
        ),
        simplex_or_logits(M, LOGITS),
    )
    prices: str | dict[str, Any]
    m: int
    window: int
    days: int
    cost_model: trading.Cost
    actions: Simplex
    observations: Entities
    rewards = {"excess": trading.reward_excess, "log_return": trading.reward_log_return}  # noqa: RUF012 (a ClassVar)
    viewer = "lifelong_gym.envs.viewers.portfolio:PortfolioViewer"
    render_fps = 10
    known = ("seen",)
    n_initial_noise = 1
    clock = "day"

    initial = staticmethod(trading.initial)
    exogenous = staticmethod(trading.exogenous)
    present = staticmethod(trading.present)
    terminated = staticmethod(trading.terminated)

    def __init__(self, **arguments: Any) -> None:
        """Of these prices.

        Raises:
            ValueError: ``m``, ``window`` or ``days`` isn't what the prices allow, or prices that can't be used.
            MissingLibraryError: a package isn't installed that has the prices.
        """
        super().__init__(**arguments)
        self.data = load(self.prices)
        self._check_sizes()
        source = self.prices if isinstance(self.prices, str) else self.prices["source"]
        self.parameters = space_of(self.m, self.window, self.data, 0.0 if source == "planted" else COST)
        self.state = (*STATE, *[Quantity(f"share_{i + 1}", "1", "of the wealth") for i in range(self.m)])
        self.actions = replace(self.actions, m=self.m)
        self.horizon = self.days or self.data.n_days - self.window
        # What is best over a period may be worse than equal shares in the episodes that happen to be evaluated.
        self.reference = None if self.days else "lifelong_gym.references.constant_shares:ConstantShares"
        self.n_noise = 2 * self.m
        has_range = self.data.high is not None
        shown = channels(self.window, has_range)
        past = len(shown) - 2
        low, high = (-trading.FEATURE_SCALE,) * past, (trading.FEATURE_LIMIT,) * past
        n_series = len(self.data.fields)
        bounds = (*high, float(self.m), 1.0), (*low, -1.0, 0.0)
        self.observations = Entities(self.m, shown, *bounds, past // n_series, n_series)
        self.seen: Callable[[npt.ArrayLike], Seen] = partial(seen, self.observations)
        self.TABLES = tuple((name, "shared") for name in ("relatives", *self.data.fields))
        texts = {
            "transition": trading.transition_text(self.m, self.cost_model),
            "observation": trading.observation_text(self.window, has_range, self._leaves_space()),
        }
        for role, text in texts.items():
            setattr(self, role, text)

    def __reduce__(self) -> tuple[Any, ...]:
        """Made anew from its arguments, wherever a pickle is read: prices aren't copied into it."""
        return partial(Portfolio, **self.given_arguments), ()

    def _leaves_space(self) -> bool:
        """Whether some price in a window is so much higher than the last close that it must be clipped."""
        ratio = 0.99 * (1.0 + trading.FEATURE_LIMIT / trading.FEATURE_SCALE)  # rounding is far less
        close = self.data.close
        return any(
            (values[: len(values) - ago] > ratio * close[ago:]).any()
            for values in self.data.fields.values()
            for ago in range(self.window)
        )

    def _check_sizes(self) -> None:
        n_days, n_instruments = self.data.n_days, len(self.data.names)
        for name, value, least, most, what in (
            ("m", self.m, 1, n_instruments, "instruments there are"),
            ("window", self.window, 2, n_days - 1, "days that come before another"),
            ("days", self.days, 0, n_days - self.window, "days that have a window before them"),
        ):
            if not least <= value <= most:
                raise ValueError(f"`{name}` must be from {least} to {most}, as many {what}. Received {value}")

    def shared_tables(self, arguments: Mapping[str, Any]) -> tuple[npt.ArrayLike, ...]:
        """Relatives day by day; prices instrument by instrument, so that a window is read in one go."""
        return (self.data.relatives, *[values.T for values in self.data.fields.values()])

    def constants(self, parameters: Columns) -> Groups:
        """Which columns, who is there, from when to when, and at what cost."""
        instruments = np.stack([parameters[f"instrument_{i + 1}"] for i in range(self.m)])
        there = (instruments != ABSENT).astype(np.float64)
        first, last = parameters["first_day"], parameters["last_day"]
        starts = np.maximum(last - first + 2.0 - self.days, 1.0) if self.days else np.ones_like(first)
        return {
            "columns": tuple(np.maximum(instruments, 0.0)),
            "there": tuple(there),
            "equal": tuple(there / there.sum(axis=0)),
            "period": (first, last, starts),
            "universe": (float(len(self.data.names)), float(self.data.n_days)),
            "cost": (parameters["cost"],),
        }

    def constant_shares(self, parameters: Columns) -> FloatArray:
        """Equal shares, and those that would have grown most over a task's period restored daily at no cost (best CRP).

        Args:
            parameters: arrays of shape (n_tasks,).

        Returns:
            Shape (n_tasks, 2, m).
        """
        instruments = np.stack([parameters[f"instrument_{i + 1}"] for i in range(self.m)], axis=1).astype(int)
        first, last = parameters["first_day"].astype(int), parameters["last_day"].astype(int)
        found = np.zeros((len(instruments), 2, self.m))
        for task, (columns, start, end) in enumerate(zip(instruments, first, last, strict=True)):
            there = columns != ABSENT
            found[task, 0, there] = 1.0 / there.sum()
            found[task, 1, there] = best_constant_shares(self.data.relatives[start : end + 1, columns[there]])
        return found

    def account(self, task: Mapping[str, float], states: FloatArray) -> Account:
        """What was done in an episode of a task, and what it earned.

        Args:
            task: by name of its parameters.
            states: physical ones from the start of the episode on, shape (n_days + 1, n_state).

        Raises:
            ValueError: states that aren't of days one after another.
        """
        days, shares = states[:, trading.DAY], states[:, trading.SHARES :]
        if len(states) < 2 or (np.diff(days) != 1.0).any():
            raise ValueError(f"`states` must be of days one after another, two at least. Received days {days}")
        instruments = np.array([int(task[f"instrument_{i + 1}"]) for i in range(self.m)])
        there = instruments != ABSENT
        relatives = self.data.relatives[days[:-1].astype(int)][:, instruments[there]]
        chosen = shares[1:, there] / relatives
        return Account(relatives, chosen / chosen.sum(axis=1, keepdims=True), task["cost"], self.cost_model)

    def history(self, parameters: Columns) -> list[FloatArray]:
        """See `Historic`: equal shares and a wealth of 1 on every day of each task's period."""
        equal = np.stack(self.constants(parameters)["equal"], axis=1)
        found = []
        for shares, first, last in zip(equal, parameters["first_day"], parameters["last_day"], strict=True):
            days = np.arange(first, last + 1.0)
            wealths = np.ones((len(days), trading.SHARES - trading.WEALTH))
            found.append(np.column_stack([days, days - first, wealths, np.broadcast_to(shares, (len(days), self.m))]))
        return found

    def check_state(self, state: FloatArray) -> None:
        """Raise `ValueError` unless ``state`` is a day with a past, positive wealths, and shares of a whole."""
        super().check_state(state)
        day, shares = state[trading.DAY], state[trading.SHARES :]
        if day != np.floor(day) or not self.window <= day < self.data.n_days:
            raise ValueError(
                f"`state`: day must be an integer from {self.window} to {self.data.n_days - 1}. Received {day}"
            )
        if state[trading.AGE] < 0:
            raise ValueError(f"`state`: age must not be negative. Received {state[trading.AGE]}")
        for i in (trading.WEALTH, trading.MARKET, trading.PEAK):
            if not state[i] > 0:
                raise ValueError(f"`state`: {self.state[i].name} must be positive. Received {state[i]}")
        if (shares < 0).any() or abs(shares.sum() - 1.0) > 1e-9:
            raise ValueError(f"`state`: shares must be at least 0 and sum to 1. Received {shares}")
