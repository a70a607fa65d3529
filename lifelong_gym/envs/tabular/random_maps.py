"""Random maps of several grid worlds for one policy, whose conflicts are as wanted: the exact optimum confirms them."""

from __future__ import annotations

import numpy as np

from lifelong_gym.envs.models import tabular_model
from lifelong_gym.envs.tabular.grid_world import SIZE, GridWorld
from lifelong_gym.envs.tabular.maps import Square, World, world_tasks
from lifelong_gym.errors import integer, one_of
from lifelong_gym.numerics.optima import MAX_TASKS, joint_optimum, optimal_values

CONFLICTS = ("none", "solvable", "unsolvable")
START = (0, 0)
N_OBSTACLES = 3
ATTEMPTS = 200
GAMMA = 0.99
MOVES = ((-1, 0), (1, 0), (0, -1), (0, 1))
BOARD = [(row, column) for row in range(SIZE) for column in range(SIZE)]


def random_grid_world_map(n_tasks: int, seed: int = 0, conflict: str = "none") -> list[dict[str, float]]:
    """Grid worlds with a goal and three obstacles each, as tasks for `GridWorld` that start in the upper left corner.

    Each can be solved alone. How far they stand in each other's way is confirmed by `joint_optimum`, whose time doubles
    with each task: seconds for 10, minutes for 16. The best path visits no cell twice, so that a policy without memory
    attains it.

    >>> from lifelong_gym.envs.tabular.random_maps import random_grid_world_map
    >>> len(random_grid_world_map(5, seed=1, conflict="solvable"))
    5

    Args:
        n_tasks: 1 to 16; with a conflict at least 2.
        seed: decides the map.
        conflict: ``"none"``: no obstacle lies on another's goal, and one path reaches all goals. ``"solvable"``: an
            obstacle does lie on another's goal, and the best path still reaches all. ``"unsolvable"``: the best path
            leaves out exactly one goal; of two tasks, whose goals are each other's obstacles, nothing is better than
            to stay.

    Raises:
        ValueError: an argument out of range, or no such map in 200 attempts.
    """
    one_of("conflict", conflict, CONFLICTS)
    integer("n_tasks", n_tasks, 1 if conflict == "none" else 2, MAX_TASKS)
    rng = np.random.default_rng(integer("seed", seed, 0))
    for _ in range(ATTEMPTS):
        worlds = _draw(rng, n_tasks, conflict)
        if worlds is not None and _confirmed(worlds, conflict):
            return world_tasks(START, worlds)
    raise ValueError(f"no map of {n_tasks} tasks with conflict={conflict!r} in {ATTEMPTS} attempts at seed {seed}")


def _draw(rng: np.random.Generator, n: int, conflict: str) -> list[World] | None:
    """Goals, and obstacles off a path that reaches them all; then those that are in the way."""
    goals = _draw_goals(rng, n, behind=conflict == "unsolvable" and n > 2)
    order, path = _nearest_first(goals)
    free = [cell for cell in BOARD if cell not in {*path, *goals, START}]
    if len(free) < N_OBSTACLES:
        return None
    worlds: list[World] = [(goal, _choose(rng, free, N_OBSTACLES)) for goal in goals]
    if conflict == "solvable":
        earlier, later = sorted(rng.choice(n, 2, replace=False), key=order.index)
        worlds[earlier][1][1] = goals[later]
    if conflict == "unsolvable":
        worlds[0][1][1], worlds[1][1][1] = goals[1], goals[0]
        if n > 2:
            worlds[2] = (goals[2], _around(goals[2], goals[0], worlds[2][1]))
    return worlds


def _draw_goals(rng: np.random.Generator, n: int, behind: bool) -> list[Square]:
    """Different cells; where one is to be ``behind``, the third beside the first."""
    goals = _choose(rng, [cell for cell in BOARD if cell != START], n)
    if behind:
        beside = [cell for cell in _neighbours(goals[0]) if cell not in {START, *goals[:2], *goals[3:]}]
        goals[2] = _choose(rng, beside or [goals[2]], 1)[0]
    return goals


def _around(goal: Square, gate: Square, others: list[Square]) -> list[Square]:
    """Obstacles on every side of a goal but at the gate; at the wall fewer are needed."""
    walls = [cell for cell in _neighbours(goal) if cell not in (gate, START)]
    return [*walls, *others][:N_OBSTACLES]


def _neighbours(cell: Square) -> list[Square]:
    around = [(cell[0] + down, cell[1] + right) for down, right in MOVES]
    return [(row, column) for row, column in around if min(row, column) >= 0 and max(row, column) < SIZE]


def _nearest_first(goals: list[Square]) -> tuple[list[int], set[Square]]:
    """In which order a walk reaches the goals that always goes on to the nearest, rows first, and its cells."""
    here, order, path = START, list[int](), {START}
    while len(order) < len(goals):
        left = [i for i in range(len(goals)) if i not in order]
        nearest = min(left, key=lambda i: abs(goals[i][0] - here[0]) + abs(goals[i][1] - here[1]))
        row, column = goals[nearest]
        path |= {(r, here[1]) for r in range(min(here[0], row), max(here[0], row) + 1)}
        path |= {(row, c) for c in range(min(here[1], column), max(here[1], column) + 1)}
        here = (row, column)
        order.append(nearest)
    return order, path


def _choose(rng: np.random.Generator, cells: list[Square], n: int) -> list[Square]:
    return [cells[i] for i in rng.choice(len(cells), n, replace=False)]


def _confirmed(worlds: list[World], conflict: str) -> bool:
    """Whether each task can be solved, and the best path reaches as many goals as wanted."""
    family, n = GridWorld(), len(worlds)
    try:
        models = [tabular_model(family, task) for task in world_tasks(START, worlds)]
    except ValueError:  # a goal on an obstacle of its own
        return False
    if not all(optimal_values(model, GAMMA) @ model.start > 0.0 for model in models):
        return False
    best = joint_optimum(models, GAMMA)
    reached, once = np.count_nonzero(best.returns > 0.0), len(np.unique(best.states)) == len(best.states)
    return once and reached == (n if conflict != "unsolvable" else n - 1 if n > 2 else 0)
