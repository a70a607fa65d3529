"""Families with tables, as a third party would write them: a small market, and Markov chains with a kernel a task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from lifelong_gym.envs.family import Columns, Groups, KernelFamily
from lifelong_gym.envs.spaces import Bounded, Continuous, Discrete, Quantity
from lifelong_gym.numerics.scalar import Vector, absolute, log, mul, scale, shift, sub, take, total
from lifelong_gym.tasks.distributions import Integer, Uniform
from lifelong_gym.tasks.parameter_space import ParameterSpace
from lifelong_gym.tasks.parameters import Parameter

M, UNIVERSE, WINDOW, DAYS, STARTS, HORIZON = 3, 6, 4, 40, 20, 12
LAST = DAYS - 1.0
SHARES = tuple(Quantity(f"share_{i}", "1", "of the wealth") for i in range(M))
SEEN = tuple(Quantity(f"relative_{day}_{i}", "1", "price over yesterday's") for day in range(WINDOW) for i in range(M))
EQUAL = (1.0 / M,) * M


def prices(seed: int = 0) -> npt.NDArray[np.float64]:
    """Price relatives, (days, universe)."""
    return np.exp(0.02 * np.random.default_rng(seed).standard_normal((DAYS, UNIVERSE)))


def reward_growth(state: Vector, action: Vector, noise: Vector, cost: Vector) -> float:
    """Logarithm of the wealth over yesterday's; trading costs its share."""
    wanted = target(action)
    traded = total(absolute(sub(state[:M], wanted)))
    return log((1.0 - cost[0] * traded) * total(mul(wanted, noise)))


def target(action: Vector) -> Vector:
    """Shares of the wealth."""
    positive = shift(1.01, action)
    return scale(1.0 / total(positive), positive)


class Market(KernelFamily):
    """Three of six instruments, whose prices are data.

    ## Description
    A portfolio.

    ## Action Space
    Weights.

    ## Observation Space
    Four days of relatives, and the shares.

    ## Rewards
    Growth.

    ## Starting State
    Equal shares, on some day.

    ## Episode End
    After 12 days, or where the data end.

    ## Parameters
    ``cost`` and the first instrument.

    ## Version History
    - v0: first version.
    """

    parameters = ParameterSpace(
        [
            Parameter("cost", "1", "of trading", (0.0, 0.1), Uniform(0.0, 0.01)),
            Parameter("first", "1", "of three instruments", (0.0, 3.0), Integer(0, 3), 1.0, integer=True),
        ]
    )
    state = (*SHARES, Quantity("day", "1", "since the first"))
    actions = Continuous(SHARES, (1.0,) * M)
    observations = Bounded((*SEEN, *SHARES), (2.0,) * (WINDOW * M + M))
    horizon = HORIZON
    n_initial_noise = 1
    n_noise = M
    rewards: ClassVar[Mapping[str, Any]] = {"growth": reward_growth}
    TABLES = (("window", "task"), ("relatives", "shared"))

    def __init__(self, relatives: npt.ArrayLike | None = None) -> None:
        """Take the prices, or the usual ones."""
        self.argument_values = {"relatives": prices() if relatives is None else relatives}

    def shared_tables(self, arguments: Mapping[str, Any]) -> tuple[npt.ArrayLike, ...]:
        """The prices of all."""
        return (arguments["relatives"],)

    def tables(self, parameters: Mapping[str, float], *shared: Any) -> tuple[npt.ArrayLike, ...]:
        """The task's own columns side by side, which are merely observed."""
        first = int(parameters["first"])
        return (shared[0][:, first : first + M].astype(np.float32),)

    def constants(self, parameters: Columns) -> Groups:
        """Which columns, and what trading costs."""
        return {
            "cost": (parameters["cost"],),
            "columns": tuple(parameters["first"] + i for i in range(M)),
        }

    @staticmethod
    def initial(noise: Vector) -> Vector:
        """Any of the first days that have a past."""
        return EQUAL + (float(WINDOW + int(noise[0] * STARTS)),)  # noqa: RUF005 (the same)

    @staticmethod
    def exogenous(state: Vector, tables: Any, columns: Vector) -> Vector:
        """What the day brings."""
        return take(tables[1], state[M] * UNIVERSE, columns)

    @staticmethod
    def transition(state: Vector, action: Vector, noise: Vector) -> Vector:
        """Shares drift with the prices; the last day has no morrow."""
        grown = mul(target(action), noise)
        return scale(1.0 / total(grown), grown) + (min(state[M] + 1.0, LAST),)  # noqa: RUF005 (numba knows no unpacking here)

    @staticmethod
    def terminated(state: Vector) -> bool:
        """Where the data end."""
        return state[M] >= LAST

    @staticmethod
    def observation(state: Vector, tables: Any, out: Any) -> None:
        """The days before this one, and the shares."""
        first = int(state[M] - WINDOW) * M
        for i in range(WINDOW * M):
            out[i] = tables[0][first + i]
        for i in range(M):
            out[WINDOW * M + i] = state[i]


S, A, H = 6, 3, 5


def reward_payoff(state: Vector, action: Vector, tables: Any) -> float:
    """What a state and an action are worth."""
    return tables[1][pair(state, action)]


def pair(state: Vector, action: Vector) -> int:
    """Number of a state and an action."""
    return int(state[0]) * A + int(action[0])


class Chain(KernelFamily):
    """A Markov decision process a task, drawn from the task's number.

    ## Description
    Six states, three actions, five steps.

    ## Action Space
    ``Discrete(3)``.

    ## Observation Space
    ``Discrete(6)``.

    ## Rewards
    Payoff.

    ## Starting State
    Any.

    ## Episode End
    Terminates after five steps.

    ## Parameters
    ``number``.

    ## Version History
    - v0: first version.
    """

    parameters = ParameterSpace(
        [Parameter("number", "1", "of the process", (0.0, 1e6), Integer(0, 1000), 3.0, integer=True)]
    )
    state = (Quantity("state", "1", "which"), Quantity("step", "1", "how many"))
    actions = Discrete(A)
    observations = Discrete(S)
    horizon = 20
    n_initial_noise = 1
    n_noise = 1
    rewards: ClassVar[Mapping[str, Any]] = {"payoff": reward_payoff}
    TABLES = (("cumulative", "task"), ("payoff", "task"))

    def tables(self, parameters: Mapping[str, float], *shared: Any) -> tuple[npt.ArrayLike, ...]:
        """The distribution of the next state, cumulative, and the payoffs."""
        rng = np.random.default_rng(int(parameters["number"]))
        return np.cumsum(rng.dirichlet(np.ones(S), (S, A)), -1), rng.uniform(0, 1, (S, A))

    def constants(self, parameters: Columns) -> Groups:
        """None."""
        return {}

    @staticmethod
    def initial(noise: Vector) -> Vector:
        """Any state."""
        return float(int(noise[0] * S)), 0.0

    @staticmethod
    def transition(state: Vector, action: Vector, noise: Vector, tables: Any) -> Vector:
        """Counting, not searching: no branch, and never beyond the last entry."""
        start, n = pair(state, action) * S, 0
        for i in range(S - 1):
            n += noise[0] >= tables[0][start + i]
        return float(n), min(state[1] + 1.0, float(H))

    @staticmethod
    def terminated(state: Vector) -> bool:
        """Time is up."""
        return state[1] >= H

    @staticmethod
    def observation(state: Vector, out: Any) -> None:
        """Which state."""
        out[0] = int(state[0])
