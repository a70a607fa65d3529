"""A rule of thumb for federated learning, beside which learners may be shown; FedAvg is the action 0."""

from __future__ import annotations

from typing import Any

import numpy as np

from lifelong_gym.envs.spaces import Entities, Simplex
from lifelong_gym.errors import as_float
from lifelong_gym.numerics.arrays import FloatArray


class AccuracySoftmax:
    """Weights in proportion to ``exp(-sharpness * accuracy)`` of the clients' last networks.

    Whoever knows rare digits tells fewer images right, and counts more: a good rule where labels are skewed in just
    this way and sharpness is right, and a trap elsewhere. A benchmark's learner, as ``module:AccuracySoftmax``.

    Args:
        env: an SB3 `VecEnv` of such a family.
        seed: nothing is drawn.
        sharpness: 0 is FedAvg; negative: the most accurate count most.

    Raises:
        ValueError: another family, or a sharpness that isn't finite.
    """

    def __init__(self, env: Any, seed: int = 0, sharpness: float = 5.0) -> None:
        """See the class."""
        actions, observations = env.core.family.actions, env.core.family.observations
        if not (isinstance(actions, Simplex) and isinstance(observations, Entities) and actions.m == observations.m):
            raise ValueError(f"`env` must share among the entities that it shows. Received {env.action_space}")
        if not np.isfinite(as_float(sharpness)):
            raise ValueError(f"`sharpness` must be finite. Received {sharpness}")
        self._actions, self._observations, self._sharpness = actions, observations, float(sharpness)

    def learn(self, total_timesteps: int) -> None:
        """Nothing."""

    def predict(self, observations: Any) -> Any:
        """One action a row."""
        return self._actions.asking_for(self.shares(np.asarray(observations)))

    def shares(self, observations: Any) -> FloatArray:
        """The weights, shape (n_rows, n_clients)."""
        there = self._observations.present(observations)
        accuracies = self._observations.blocks(observations)[..., -2].astype(np.float64)
        scores = np.where(there, -self._sharpness * accuracies, -np.inf)
        weights: FloatArray = np.exp(scores - scores.max(axis=1, keepdims=True))
        return weights / weights.sum(axis=1, keepdims=True)
