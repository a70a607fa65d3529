"""What agents that find out their tasks must know of their environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv

from lifelong_gym.agents.contract.environment import core_of, in_rounds
from lifelong_gym.agents.value.features import DenseFeatures, Features, OneHotFeatures
from lifelong_gym.numerics.arrays import IntArray


def check_agents(env: VecEnv, rows: Mapping[Any, IntArray]) -> None:
    """Raise `ValueError` unless each agent has a row, which stays in a task, and all is Discrete."""
    for name, space in (("observations", env.observation_space), ("actions", env.action_space)):
        if not isinstance(space, spaces.Discrete) or space.start != 0:
            raise ValueError(f"{name} must be Discrete. Received {space}")
    for node, own in rows.items():
        if len(own) != 1:
            raise ValueError(f"each agent must have one row. {node!r} has {len(own)}")
    core = core_of(env)
    if (
        core is not None
        and not in_rounds(env)
        and (core.settings.schedule is not None or core.n_rows != len(core.tasks))
    ):
        raise ValueError(
            'agents must stay in their tasks for a round, as under schedule={"rounds": ...}, or have one each. '
            f"Received schedule={core.settings.schedule!r}, {core.n_rows} rows and {len(core.tasks)} tasks"
        )


def features_of(env: VecEnv) -> Features:
    """The family's, or one-hot ones.

    Raises:
        ValueError: of other observations or actions, or of norms above 1.
    """
    phi = getattr(env.get_attr("family")[0], "features", None)
    assert isinstance(env.observation_space, spaces.Discrete)
    assert isinstance(env.action_space, spaces.Discrete)
    n_obs, n_actions = int(env.observation_space.n), int(env.action_space.n)
    if phi is None:
        return OneHotFeatures(n_obs, n_actions)
    features = DenseFeatures(phi)
    if (features.n_obs, features.n_actions) != (n_obs, n_actions):
        raise ValueError(f"`features` must be of {n_obs} observations and {n_actions} actions. Received {phi.shape}")
    return features


def horizon_of(env: VecEnv) -> int:
    """Steps of an episode, at most."""
    core = core_of(env)
    return int(env.get_attr("horizon")[0]) if core is None else core.horizon
