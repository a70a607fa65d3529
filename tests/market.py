"""A family with tables, data that have happened, shares, entities that may be absent, and arguments: a small market."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from lifelong_gym.envs.arguments import Argument
from lifelong_gym.envs.family import Columns, Groups, KernelFamily
from lifelong_gym.envs.spaces import Entities, Quantity, Simplex, simplex_or_logits
from lifelong_gym.numerics.scalar import Vector, absolute, log, mul, put, scale, shift, sub, take, total, where
from lifelong_gym.tasks.distributions import Integer, Uniform
from lifelong_gym.tasks.parameter_space import ParameterSpace
from lifelong_gym.tasks.parameters import Parameter

M, UNIVERSE, WINDOW, DAYS, STARTS, HORIZON = 3, 6, 4, 40, 20, 12
SEEN = tuple(Quantity(f"relative_{day}", "1", "price over yesterday's") for day in range(WINDOW))
SHARE, LISTED = Quantity("share", "1", "of the wealth"), Quantity("listed", "1", "whether it is traded")
EQUAL = (1.0 / M,) * M


def prices(seed: int = 0) -> npt.NDArray[np.float64]:
    """Price relatives, (days, universe): the later an instrument stands the faster it grows; the first comes late."""
    noise = np.random.default_rng(seed).standard_normal((DAYS, UNIVERSE))
    relatives = np.exp(0.02 * noise + 0.01 * np.arange(UNIVERSE))
    relatives[: DAYS // 4, 0] = 0.0
    return relatives


def grown(positions: Vector, relatives: Vector) -> float:
    """The wealth over yesterday's."""
    return 1.0 + total(mul(positions, shift(-1.0, relatives)))


def reward_growth(state: Vector, action: Vector, noise: Vector, cost: Vector) -> float:
    """Logarithm of the wealth over yesterday's; trading costs its share."""
    return log((1.0 - cost[0] * total(absolute(sub(state[:M], action)))) * grown(action, noise))


class Market(KernelFamily):
    """Up to three of six instruments, whose prices are data.

    ## Description
    A portfolio; a price relative of 0 says that an instrument isn't traded on that day.

    ## Action Space
    Shares of the wealth: ``Box(0, 1, (3,))``, or logits in ``Box(-1, 1, (3,))``.

    ## Observation Space
    Of each instrument four days of relatives, its share, and whether it is traded.

    ## Rewards
    Growth.

    ## Starting State
    Equal shares, on some day.

    ## Episode End
    After 12 days, or where the data end.

    ## Parameters
    ``cost``, the first instrument, and how many are held.

    ## Version History
    - v0: first version.
    """

    parameters = ParameterSpace(
        [
            Parameter("cost", "1", "of trading", (0.0, 0.1), Uniform(0.0, 0.01)),
            Parameter("first", "1", "of the instruments", (0, 3), Integer(0, 3), 1, integer=True),
            Parameter("held", "1", "how many", (1, M), Integer(2, M), 2, integer=True),
        ]
    )
    arguments: ClassVar[tuple[Argument, ...]] = (
        Argument("relatives", list, prices(), "of prices, a row a day"),
        simplex_or_logits(M, bound=4.0),
    )
    relatives: list[list[float]]
    state = (*[Quantity(f"share_{i}", "1", "of the wealth") for i in range(M)], Quantity("day", "1", "since the first"))
    observations = Entities(M, (*SEEN, SHARE, LISTED), (2.0,) * WINDOW + (1.0, 1.0), (0.0,) * (WINDOW + 2), WINDOW)
    horizon = HORIZON
    n_initial_noise = 1
    n_noise = M
    rewards: ClassVar[Mapping[str, Any]] = {"growth": reward_growth}
    reference = "lifelong_gym.references.closed_form:ClosedForm"
    TABLES = (("window", "task"), ("relatives", "shared"))

    def shared_tables(self, arguments: Mapping[str, Any]) -> tuple[npt.ArrayLike, ...]:
        """The prices of all."""
        return (arguments["relatives"],)

    def tables(self, parameters: Mapping[str, float], *shared: Any) -> tuple[npt.ArrayLike, ...]:
        """The task's own columns side by side, which are merely observed."""
        first = int(parameters["first"])
        return (shared[0][:, first : first + M].astype(np.float32),)

    def constants(self, parameters: Columns) -> Groups:
        """What trading costs, which columns, and whether so many are held."""
        columns = tuple(parameters["first"] + i for i in range(M))
        held = tuple((parameters["held"] > i).astype(float) for i in range(M))
        return {"cost": (parameters["cost"],), "columns": columns, "held": held}

    @staticmethod
    def initial(noise: Vector) -> Vector:
        """Any of the first days that have a past."""
        return EQUAL + (float(WINDOW + int(noise[0] * STARTS)),)  # noqa: RUF005 (numba knows no unpacking here)

    @staticmethod
    def exogenous(state: Vector, tables: Any, columns: Vector) -> Vector:
        """What the day brings."""
        return take(tables[1], state[M] * UNIVERSE, columns)

    @staticmethod
    def present(state: Vector, tables: Any, columns: Vector, held: Vector) -> Vector:
        """Those that are held, as far as they are traded."""
        there = take(tables[1], state[M] * UNIVERSE, columns)
        for i in range(M):
            there = put(there, i, where(there[i] > 0.0, held[i], 0.0))
        return there

    @staticmethod
    def transition(state: Vector, action: Vector, noise: Vector) -> Vector:
        """Shares drift with the prices; the last day has no morrow."""
        drifted = scale(1.0 / grown(action, noise), mul(action, noise))
        return drifted + (min(state[M] + 1.0, DAYS - 1.0),)  # noqa: RUF005 (numba knows no unpacking here)

    @staticmethod
    def terminated(state: Vector) -> bool:
        """Where the data end."""
        return state[M] >= DAYS - 1.0

    @staticmethod
    def observation(state: Vector, tables: Any, columns: Vector, held: Vector, out: Any) -> None:
        """The days before this one, the share, and whether the day trades it."""
        for i in range(M):
            at = i * (WINDOW + 2)
            for day in range(WINDOW):
                out[at + day] = tables[0][int(state[M] - WINDOW + day) * M + i]
            out[at + WINDOW] = state[i]
            out[at + WINDOW + 1] = where(tables[0][int(state[M]) * M + i] > 0.0, held[i], 0.0)

    def best_actions(self, parameters: Columns, observations: Any, reward: str) -> Any:
        """All on the instrument that has grown most in the end: constant, and in hindsight."""
        assert isinstance(self.actions, Simplex)
        growth = np.where(np.equal(self.relatives, 0.0), 1.0, self.relatives).prod(axis=0)
        own = growth[parameters["first"].astype(int)[:, None] + np.arange(M)]
        best = np.where(self.observations.present(observations), own, -1.0).argmax(axis=1)
        return self.actions.asking_for(np.eye(M)[best])
