"""Envs through every interface, and a comparison of what they return."""

from __future__ import annotations

from typing import Any

import numpy as np
import pettingzoo

from lifelong_gym.registry import family
from lifelong_gym.wrappers import as_vec_env

CART_POLE, GRID_WORLD = "LifelongCartPole-v0", "LifelongGridWorld-v0"
FEDERATED, DRONE = "LifelongFederatedMNIST-v0", "LifelongDrone-v0"
ATARI, MINATAR = "LifelongAtari-v0", "LifelongMinAtar-v0"

# Arguments with which a step takes a fraction of a millisecond, of families that take long as they come.
SIZES: dict[str, dict[str, Any]] = {
    ATARI: {"screen_size": 36, "stack_size": 1, "noop_max": 2},
    DRONE: {"resolution": 8},
    FEDERATED: {
        "data": "digits",
        "n_clients": 3,
        "n_rare": 1,
        "rounds": 6,
        "local_steps": 2,
        "batch_size": 8,
        "images_per_client": 40,
        "evaluation_images": 60,
        "filters": 4,
        "history": 3,
        "actions": "logits",  # as SB3's checker wants them
    },
}


# Where an episode may take thousands of steps.
LIMITS: dict[str, dict[str, Any]] = {ATARI: {"horizon": 30}, MINATAR: {"horizon": 60}}


def sizes(id: str) -> dict[str, Any]:
    """What a test over all ids makes this one with."""
    return dict(SIZES.get(id, {}))


def within(id: str, horizon: int) -> int:
    """A horizon that the family has, at most this one."""
    return min(horizon, family(id).longest or horizon)


def parallel(id: str, **settings: Any) -> Any:
    """A parallel env of three tasks."""
    return pettingzoo.make("parallel", id, **{"n_tasks": 3, **sizes(id), **settings})


def aec(id: str, **settings: Any) -> Any:
    """The same agents, one after another."""
    return pettingzoo.make("aec", id, **{"n_tasks": 3, **sizes(id), **settings})


def rows_for_sb3(env: Any, **settings: Any) -> Any:
    """What `as_vec_env` makes of an env or id."""
    return as_vec_env(env, **{**(sizes(env) if isinstance(env, str) else {}), **settings})


def same(a: Any, b: Any) -> bool:
    """Equality of nested tuples, lists, dicts and arrays, but for the time of day in SB3's episode statistics."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a if key != "t")
    if isinstance(a, (tuple, list)) or (isinstance(a, np.ndarray) and a.dtype.kind == "O"):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return type(a) is type(b) and np.array_equal(a, b)
