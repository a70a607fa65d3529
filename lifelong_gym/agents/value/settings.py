"""Arguments of distributed multi-task least-squares value iteration, and the paper's constants."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lifelong_gym.agents.contract.arguments import check_fields
from lifelong_gym.agents.contract.checks import choice, count, flag, optional, positive, real, within

CONSTANTS, IDENTIFY = ("practical", "theory"), ("value", "model")
PRACTICAL_BETA, FEW_FEATURES, K1_FEW, K1_MANY, K2 = 0.3, 5, 500, 1000, 5000


@dataclass(frozen=True)
class LSVISettings:
    """What `DistMTLSVI` may be told, and what follows.

    Attributes:
        constants: ``"practical"``; or ``"theory"``: bonuses and episodes as Amani et al. (2023) have them, all their
            factors being ``c``, for ``max_tasks``.
        identify: by what tasks are told apart: ``"value"``: optimal values, which must be ``c_sep`` apart; or
            ``"model"``: what is observed next, which needs no ``c_sep``.
        reuse: whether learning a task goes on from what was seen to identify it.
        pool: whether agents in the same new task share the episodes that it takes.
        verify: whether agents tell the hub their regressions under ``identify="value"``, too, so that it can warn of
            tasks that it takes for one.
        k1: episodes to identify a task; None: by the constants.
        k2: episodes to learn one; None: by the constants.
        beta: of the bonuses; None: by the constants.
        c: factor of the paper's constants.
        c_sep: by which values of tasks differ, of rewards in [0, 1].
        epsilon: by which policies may miss the optimal value; of the paper's constants.
        delta: probability with which that may fail; of the paper's constants.
        max_tasks: how many tasks there are at most; None: nobody knows.
        reward_range: the smallest and the largest reward; they are scaled to [0, 1].
    """

    constants: str = "practical"
    identify: str = "value"
    reuse: bool = False
    pool: bool = False
    verify: bool = True
    k1: int | None = None
    k2: int | None = None
    beta: float | None = None
    c: float = 1.0
    c_sep: float = 0.25
    epsilon: float = 0.05
    delta: float = 0.05
    max_tasks: int | None = None
    reward_range: Sequence[float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        check_fields(
            self,
            constants=lambda name, value: choice(name, value, CONSTANTS),
            identify=lambda name, value: choice(name, value, IDENTIFY),
            reuse=flag,
            pool=flag,
            verify=flag,
            k1=optional(count),
            k2=optional(count),
            beta=optional(positive),
            c=positive,
            c_sep=positive,
            epsilon=positive,
            delta=_probability,
            max_tasks=optional(count),
            reward_range=_range,
        )
        if self.constants == "theory" and self.max_tasks is None:
            raise ValueError('`max_tasks` must be given where constants="theory". Received None')

    @property
    def nothing(self) -> float:
        """A reward of 0, scaled: what every step after an end pays."""
        low, high = self.reward_range
        return -low / (high - low)

    def scheduled(self, d: int, horizon: int, n_agents: int) -> Exploration:
        """Bonuses and episodes for so many features, steps and agents.

        Raises:
            ValueError: values of episodes can't be ``c_sep`` apart, or miss by ``epsilon``.
        """
        for name, value in (("c_sep", self.c_sep), ("epsilon", self.epsilon)):
            if value > horizon:
                raise ValueError(f"`{name}` must be at most {horizon}, the steps of an episode. Received {value:g}")
        if self.constants == "practical":
            k1 = K1_FEW if d <= FEW_FEATURES else K1_MANY
            made = Exploration(k1, K2, PRACTICAL_BETA, PRACTICAL_BETA)
        else:
            made = self._theory(d, horizon, n_agents)
        betas = (made.beta_1, made.beta_2) if self.beta is None else (self.beta, self.beta)
        return Exploration(self.k1 or made.k1, self.k2 or made.k2, *betas)

    def _theory(self, d: int, horizon: int, n_agents: int) -> Exploration:
        """Theorem 1, with what its proof needs: 1 / epsilon in K2, and delta shared among all agents and rounds."""
        assert self.max_tasks is not None
        m = self.max_tasks
        n_rounds = math.ceil(6.0 * m * math.log(m / self.delta) / n_agents)
        delta = self.delta / (3.0 * n_agents * max(n_rounds, 1))
        size, logs = d**3 * horizon**6, [math.log(d * horizon * m / (delta * x)) for x in (self.c_sep, self.epsilon)]
        k1, k2 = (
            math.ceil(self.c * size * log / x**2) for log, x in zip(logs, (self.c_sep, self.epsilon), strict=True)
        )
        beta_1, beta_2 = (self.c * horizon * d * math.sqrt(log) for log in logs)
        return Exploration(k1, k2, beta_1, beta_2)


@dataclass(frozen=True)
class Exploration:
    """How long agents explore, and how curiously.

    Attributes:
        k1: episodes to identify a task.
        k2: episodes to learn one.
        beta_1: of the bonus in the former.
        beta_2: of the bonus in the latter, and of the policies.
    """

    k1: int
    k2: int
    beta_1: float
    beta_2: float

    @property
    def most(self) -> int:
        """Episodes of an agent in a round."""
        return self.k1 + self.k2


def _probability(name: str, value: Any) -> float:
    return within(name, positive(name, value), 0.0, 1.0, below=True)


def _range(name: str, value: Any) -> tuple[float, float]:
    given = real(name, value)
    if given.shape != (2,) or not -math.inf < given[0] < given[1] < math.inf:
        raise ValueError(f"`{name}` must be the smallest and the largest reward, finite. Received {value!r}")
    return float(given[0]), float(given[1])
