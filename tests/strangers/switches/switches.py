"""A learner of somebody else's: a switch that finds by trial where to turn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Self

import numpy as np


class Switch:
    """Turns on below a threshold, the best of those that it has tried."""

    def __init__(self, env: Any = None, seed: int = 0, widest: float = 3.0) -> None:
        """Begin at the threshold 0."""
        self.env, self.widest = env, widest
        self.rng = np.random.default_rng(seed)
        self.threshold, self.earned = 0.0, -np.inf

    def learn(self, total_timesteps: int) -> None:
        """Try a threshold for ten steps after another, until the budget is spent."""
        observations = self.env.reset()
        for _ in range(total_timesteps // (10 * self.env.num_envs)):
            threshold, earned = self.rng.uniform(-self.widest, self.widest), 0.0
            for _ in range(10):
                observations, rewards, *_ = self.env.step((observations[:, 0] < threshold).astype(np.int64))
                earned += float(np.mean(rewards))
            if earned > self.earned:
                self.threshold, self.earned = threshold, earned

    def predict(self, observations: Any) -> Any:
        """On below the threshold."""
        return (observations[:, 0] < self.threshold).astype(np.int64)

    def save(self, path: Path) -> None:
        """What was found, as JSON."""
        Path(path).write_text(json.dumps({"threshold": self.threshold}), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Self:
        """What was saved."""
        model = cls()
        model.threshold = json.loads(Path(path).read_text(encoding="utf-8"))["threshold"]
        return model
