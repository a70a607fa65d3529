"""Agents that explore linear MDPs without an environment, all at once: for tests of what they make of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lifelong_gym.agents.value.features import DenseFeatures, Features
from lifelong_gym.agents.value.regressions import Regressions
from lifelong_gym.envs.tabular.linear_models import LinearModels
from lifelong_gym.numerics.arrays import FloatArray, IntArray

Step = tuple[int, int, int, float, int]  # h, observation, action, reward, next observation


def features_of(models: LinearModels) -> Features:
    """Over stages and states, as the family has them."""
    return DenseFeatures(np.tile(models.features(), (models.n_stages + 1, 1, 1)))


def explored(
    models: LinearModels,
    tasks: Sequence[tuple[int, float | None]],
    n_episodes: int,
    beta: float = 0.3,
    seed: int = 0,
    features: Features | None = None,
    at_random: bool = False,
) -> tuple[Regressions, list[list[list[Step]]]]:
    """Regressions of an agent a task, (kernel, value), and the steps of each agent's episodes."""
    n, n_states = len(tasks), models.n_states
    P, r = (np.stack(each) for each in zip(*[models.process(k, v, 0.25) for k, v in tasks], strict=True))
    below, rng, everybody = np.cumsum(P, axis=-1), np.random.default_rng(seed), np.arange(n)
    known = Regressions(features or features_of(models), n, models.n_stages)
    episodes: list[list[list[Step]]] = [[] for _ in tasks]
    for _ in range(n_episodes):
        known.replan(everybody, beta)
        states: IntArray = np.zeros(n, np.int64)
        known.begin(everybody, states)
        steps: list[list[Step]] = [[] for _ in tasks]
        for h in range(models.n_stages):
            seen, at = h * n_states + states, np.full(n, h)
            actions = rng.integers(models.n_actions, size=n) if at_random else known.actions(everybody, at, seen, beta)
            chances = below[everybody, h, states, actions, :-1]
            rewards: FloatArray = r[everybody, h, states, actions]
            states = (rng.random(n)[:, None] >= chances).sum(axis=1)
            after, ended = (h + 1) * n_states + states, np.full(n, h + 1 == models.n_stages)
            known.observe(everybody, at, seen, actions, rewards, after, ended)
            for i in range(n):
                steps[i].append((h, int(seen[i]), int(actions[i]), float(rewards[i]), int(after[i])))
        for i in range(n):
            episodes[i].append(steps[i])
    return known, episodes
