"""What a rule is: shares of a whole that follow from what has been seen since the episode began."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Self

import numpy as np

from lifelong_gym.envs.spaces import Entities, Simplex
from lifelong_gym.numerics.arrays import BoolArray, FloatArray


class SharesRule(ABC):
    """A benchmark's learner that needs no training, for families whose actions are shares among what they show.

    Args:
        env: an SB3 `VecEnv` of such a family.
        seed: nothing is drawn.

    Raises:
        ValueError: another family.
    """

    def __init__(self, env: Any, seed: int = 0) -> None:
        """See the class."""
        family = getattr(env, "family", None)
        actions, observations = getattr(family, "actions", None), getattr(family, "observations", None)
        if not (isinstance(actions, Simplex) and isinstance(observations, Entities) and actions.m == observations.m):
            raise ValueError(f"`env` must share among the entities that it shows. Received {env.action_space}")
        self._actions, self._observations, self._family = actions, observations, family

    def learn(self, total_timesteps: int) -> Self:
        """Nothing."""
        return self

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = True
    ) -> tuple[Any, Any]:
        """Actions, with as much of the past as the next call needs, as recurrent policies of SB3 hand it on.

        Args:
            observation: of one row, or of all.
            state: what the last call returned; None: an episode begins in each row.
            episode_start: whether one begins, shape (n_rows,); None: in no row.
            deterministic: makes no difference.
        """
        rows = np.atleast_2d(np.asarray(observation))
        begins = np.zeros(len(rows), bool) if episode_start is None else np.asarray(episode_start, bool).reshape(-1)
        shares, state = self.choose(rows, state, np.ones(len(rows), bool) if state is None else begins)
        return self._actions.asking_for(shares).reshape(*np.shape(observation)[:-1], -1), state

    @abstractmethod
    def choose(self, observations: Any, state: Any, begins: BoolArray) -> tuple[FloatArray, Any]:
        """Shares (n_rows, m), and the state to go on from; ``begins`` says in which rows there is nothing to go on."""


class PriceRule(SharesRule):
    """A rule for portfolios: it sees past prices, and what it holds.

    The family has a method ``seen(observations)``, which gives ``past``, closing prices over the last one, oldest
    first, shape (n_rows, m, window), ``held``, the shares, and ``present``, both of shape (n_rows, m).

    Raises:
        ValueError: another family.
    """

    def __init__(self, env: Any, seed: int = 0) -> None:
        """See the class."""
        super().__init__(env, seed)
        if not callable(getattr(self._family, "seen", None)):
            raise ValueError("`env` must show past prices: its family must have a method `seen(observations)`")

    def _seen(self, observations: Any) -> Any:
        return self._family.seen(observations)  # type: ignore[union-attr]


def equal(present: BoolArray) -> FloatArray:
    """Equal shares of those who are there, shape (..., m)."""
    shares: FloatArray = present / present.sum(axis=-1, keepdims=True)
    return shares
