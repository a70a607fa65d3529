"""A rule of thumb for federated learning; FedAvg is the action 0."""

from __future__ import annotations

from typing import Any, final

import numpy as np

from lifelong_gym.agents.allocation.rule import SharesRule
from lifelong_gym.errors import as_float
from lifelong_gym.numerics.arrays import BoolArray, FloatArray


@final
class AccuracySoftmax(SharesRule):
    """Weights in proportion to ``exp(-sharpness * accuracy)`` of the clients' last networks.

    Whoever knows rare digits tells fewer images right, and counts more: a good rule where labels are skewed in just
    this way and sharpness is right, and a trap elsewhere.

    Args:
        env: an SB3 `VecEnv` of federated learning.
        seed: nothing is drawn.
        sharpness: 0 is FedAvg; negative: the most accurate count most.

    Raises:
        ValueError: another family, or a sharpness that isn't finite.
    """

    def __init__(self, env: Any, seed: int = 0, sharpness: float = 5.0) -> None:
        """See the class."""
        super().__init__(env, seed)
        if not np.isfinite(as_float(sharpness)):
            raise ValueError(f"`sharpness` must be finite. Received {sharpness}")
        self._column, self._sharpness = self._column_of_accuracies(), float(sharpness)

    def _column_of_accuracies(self) -> int:
        """The last of them."""
        columns = [i for i, channel in enumerate(self._observations.channels) if channel.name.startswith("accuracy_")]
        if not columns:
            seen = ", ".join(channel.name for channel in self._observations.channels)
            raise ValueError(f"`env` must show accuracies, and weigh whose they are. It shows {seen}")
        return columns[-1]

    def choose(self, observations: Any, state: Any, begins: BoolArray) -> tuple[FloatArray, None]:
        """See `SharesRule`."""
        return self.shares(observations), None

    def shares(self, observations: Any) -> FloatArray:
        """The weights, shape (n_rows, n_clients)."""
        there = self._observations.present(observations)
        accuracies = self._observations.blocks(observations)[..., self._column].astype(np.float64)
        scores = np.where(there, -self._sharpness * accuracies, -np.inf)
        weights: FloatArray = np.exp(scores - scores.max(axis=1, keepdims=True))
        return weights / weights.sum(axis=1, keepdims=True)
