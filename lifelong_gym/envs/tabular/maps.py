"""The five maps of Zeng et al. (2021), section 5: several environments that one policy is to serve.

The paper prints pictures only; these cells were found by search, so that the exact joint optimum (see `joint_optimum`
in `lifelong_gym.numerics.optima`) reaches as many goals as the paper reports: all four in A and B, three of four in
C, where goal 4 lies behind goal 2, five of six in D and all six in E.
"""

from __future__ import annotations

from collections.abc import Sequence

from lifelong_gym.errors import unknown

Square = tuple[int, int]
World = tuple[Square, list[Square]]

_A: list[World] = [
    ((2, 5), [(4, 2), (6, 6), (8, 3)]),
    ((4, 8), [(1, 3), (7, 7), (5, 1)]),
    ((7, 5), [(0, 8), (3, 3), (9, 8)]),
    ((8, 1), [(3, 7), (6, 3), (1, 1)]),
]
_C: list[World] = [
    ((2, 5), [(4, 2), (6, 6), (8, 3)]),
    ((5, 5), [(1, 3), (8, 1), (7, 7)]),
    ((8, 1), [(0, 8), (5, 5), (9, 8)]),
    ((6, 5), [(6, 4), (6, 6), (7, 5)]),
]
_D: list[World] = [
    ((9, 7), [(7, 0), (4, 9)]),
    ((8, 1), [(1, 7), (9, 0)]),
    ((3, 4), [(6, 1), (5, 5)]),
    ((5, 1), [(2, 0), (0, 2)]),
    ((1, 6), [(2, 7), (4, 8)]),
    ((8, 3), [(2, 5), (6, 6)]),
]
# Per map the start cell, and per environment the goal and its obstacles; cells are (row, column).
MAPS: dict[str, tuple[Square, list[World]]] = {
    "A": ((0, 0), _A),
    "B": ((0, 0), [_A[0], ((4, 8), [(1, 3), (7, 5), (5, 1)]), *_A[2:]]),
    "C": ((0, 0), _C),
    "D": ((0, 0), _D),
    "E": ((0, 9), _D),
}


def grid_world_map(name: str) -> list[dict[str, float]]:
    """One of the maps "A" to "E" as tasks for `GridWorld`.

    >>> import gymnasium as gym, lifelong_gym
    >>> from lifelong_gym.envs.tabular.maps import grid_world_map
    >>> env = gym.make("LifelongGridWorld-v0", tasks=grid_world_map("C"))
    >>> len(env.unwrapped.tasks)
    4

    Raises:
        ValueError: no such map.
    """
    if name not in MAPS:
        raise unknown("map", name, MAPS)
    return world_tasks(*MAPS[name])


def world_tasks(start: Square, worlds: Sequence[World]) -> list[dict[str, float]]:
    """Tasks for `GridWorld`: a start, and a goal and at most three obstacles each, as (row, column)."""
    return [_task(start, goal, obstacles) for goal, obstacles in worlds]


def _task(start: Square, goal: Square, obstacles: Sequence[Square]) -> dict[str, float]:
    cells = {"start": start, "goal": goal, **{f"obstacle_{i}": (-1, -1) for i in (1, 2, 3)}}
    cells.update({f"obstacle_{i}": at for i, at in enumerate(obstacles, 1)})
    return {
        f"{cell}_{axis}": float(x) for cell, at in cells.items() for axis, x in zip(("row", "column"), at, strict=True)
    }
