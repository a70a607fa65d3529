"""Envs through every interface, and a comparison of what they return."""

from __future__ import annotations

from typing import Any

import numpy as np
import pettingzoo

from lifelong_gym.wrappers import as_vec_env

CART_POLE, GRID_WORLD = "LifelongCartPole-v0", "LifelongGridWorld-v0"


def parallel(id: str, **settings: Any) -> Any:
    """A parallel env of three tasks."""
    return pettingzoo.make("parallel", id, **{"n_tasks": 3, **settings})


def aec(id: str, **settings: Any) -> Any:
    """The same agents, one after another."""
    return pettingzoo.make("aec", id, **{"n_tasks": 3, **settings})


def rows_for_sb3(env: Any, **settings: Any) -> Any:
    """What `as_vec_env` makes of an env or id."""
    return as_vec_env(env, **settings)


def same(a: Any, b: Any) -> bool:
    """Equality of nested tuples, lists, dicts and arrays, but for the time of day in SB3's episode statistics."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a if key != "t")
    if isinstance(a, (tuple, list)) or (isinstance(a, np.ndarray) and a.dtype.kind == "O"):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return type(a) is type(b) and np.array_equal(a, b)
