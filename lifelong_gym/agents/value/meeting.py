"""Recognising a task outside of rounds: by as many episodes as in one, and by what the hub knows."""

from __future__ import annotations

import numpy as np
from stable_baselines3.common.vec_env import VecEnv

from lifelong_gym.agents.value.features import Features
from lifelong_gym.agents.value.hub import UNKNOWN, Hub, Report
from lifelong_gym.agents.value.regressions import Regressions
from lifelong_gym.agents.value.settings import Exploration, LSVISettings
from lifelong_gym.agents.value.walkers import Walkers
from lifelong_gym.wrappers import steps_left


def label_in(
    env: VecEnv, horizon: int, features: Features, hub: Hub, settings: LSVISettings, exploration: Exploration
) -> int | None:
    """The label of the task that an env's one row is in; None: nobody has met it. The hub learns nothing of it.

    Raises:
        ValueError: the env hasn't got the steps that it takes (the paper's constants take what there is), or rewards
            are outside of ``reward_range``.
    """
    if not hub.clusters:
        return None
    left, wanted = steps_left(env), exploration.k1 * horizon
    if left is not None and left < wanted and settings.constants != "theory":
        raise ValueError(
            f"`meeting_steps` must hold the {wanted} steps of k1 = {exploration.k1} episodes. Received {left}"
        )
    known = Regressions(features, 1, horizon)
    walkers = Walkers(env, np.zeros(1, np.int64), known, settings.reward_range)  # type: ignore[arg-type]
    walkers.explore(np.full(1, exploration.k1), exploration.beta_1)
    summary = known.summary(0)
    label = hub.recognised(Report(summary.planned(exploration.beta_1, settings.nothing).value, summary))
    return None if label == UNKNOWN else label
