"""Maps of several grid worlds: those that are drawn at random are as they were wanted, and their picture shows all."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from matplotlib.patches import Polygon, Rectangle

from lifelong_gym.envs.models import tabular_model
from lifelong_gym.envs.tabular.grid_world import GridWorld
from lifelong_gym.envs.tabular.maps import grid_world_map
from lifelong_gym.envs.tabular.random_maps import random_grid_world_map
from lifelong_gym.numerics.optima import joint_optimum, optimal_values
from lifelong_gym.reports.grid_worlds import GOAL, OBSTACLE, grid_worlds_figure

WORLD = GridWorld()
Cell = tuple[int, int]


def cells(task: dict[str, float], *names: str) -> list[Cell]:
    """As (row, column)."""
    return [(int(task[f"{name}_row"]), int(task[f"{name}_column"])) for name in names]


def obstacles(task: dict[str, float]) -> list[Cell]:
    """All three."""
    return cells(task, "obstacle_1", "obstacle_2", "obstacle_3")


def conflicts(tasks: list[dict[str, float]]) -> int:
    """How many obstacles lie on another's goal."""
    goals = [cells(task, "goal")[0] for task in tasks]
    return sum(goals.count(cell) for task in tasks for cell in obstacles(task))


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(
    ("n", "conflict", "reached"),
    [
        (1, "none", 1),
        (4, "none", 4),
        (5, "none", 5),
        (2, "solvable", 2),
        (5, "solvable", 5),
        (2, "unsolvable", 0),
        (3, "unsolvable", 2),
        (5, "unsolvable", 4),
    ],
)
def test_conflicts_are_as_wanted(n: int, conflict: str, reached: int, seed: int) -> None:
    """By the exact optimum; alone, each task can be solved; goals, obstacles and the start are apart."""
    tasks = random_grid_world_map(n, seed, conflict)
    models = [tabular_model(WORLD, task) for task in tasks]
    path = joint_optimum(models)
    assert (path.returns > 0.0).sum() == reached
    assert path.returns.sum() == pytest.approx(path.value, abs=1e-12)
    assert len(set(path.states.tolist())) == len(path.states)
    assert all(optimal_values(model) @ model.start > 0.0 for model in models)
    assert len({cells(task, "goal")[0] for task in tasks}) == len(tasks) == n
    for task in tasks:
        assert len({*cells(task, "start", "goal"), *obstacles(task)}) == 5
    assert conflicts(tasks) == {"none": 0, "solvable": 1}.get(conflict, conflicts(tasks))
    assert (conflicts(tasks) >= 2) == (conflict == "unsolvable")


def test_a_seed_decides_the_map() -> None:
    """The same one gives the same map, another one another."""
    maps = [random_grid_world_map(4, seed, "solvable") for seed in (0, 0, 1)]
    assert maps[0] == maps[1] != maps[2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_tasks": 0}, "`n_tasks` must be .* Received 0"),
        ({"n_tasks": 17}, "`n_tasks` must be .* Received 17"),
        ({"n_tasks": 1, "conflict": "solvable"}, "`n_tasks` must be .* Received 1"),
        ({"n_tasks": 3, "conflict": "mild"}, "unknown conflict 'mild'"),
        ({"n_tasks": 3, "seed": -1}, "`seed` must be .* Received -1"),
    ],
)
def test_maps_that_cannot_be_are_refused(arguments: dict[str, Any], message: str) -> None:
    """By name and value."""
    with pytest.raises(ValueError, match=message):
        random_grid_world_map(**arguments)


# ------------------------------------------------------------------------------------------------------ the picture


def numbers(axes: Any) -> Counter[str]:
    """The texts in the grid."""
    return Counter(text.get_text() for text in axes.texts if text.get_text())


@pytest.mark.parametrize("name", ["A", "B", "C", "D"])
def test_the_picture_shows_every_cell(name: str) -> None:
    """Goals and obstacles with their numbers, cells of both halved, the start, and the path."""
    tasks = WORLD.parameters.tasks(grid_world_map(name))
    path = joint_optimum([tabular_model(WORLD, task) for task in tasks])
    figure = grid_worlds_figure(tasks, path.states, f"Map {name}")
    (axes,) = figure.axes
    both = conflicts([dict(task) for task in tasks])
    tiles: Counter[Any] = Counter(
        (type(patch), patch.get_facecolor()[:3]) for patch in axes.patches if type(patch) in (Rectangle, Polygon)
    )
    green, red = (tuple(int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)) for colour in (GOAL, OBSTACLE))
    assert tiles[Rectangle, green] == len(tasks) - both
    assert tiles[Polygon, green] == tiles[Polygon, red] == both
    found = {cell for task in tasks for cell in obstacles(dict(task)) if min(cell) >= 0}
    assert tiles[Rectangle, red] == len(found) - both
    shown = [number for text, n in numbers(axes).items() for number in text.split(",") * n]
    n_obstacles = sum(min(cell) >= 0 for task in tasks for cell in obstacles(dict(task)))
    assert len(shown) == len(tasks) + n_obstacles
    assert set(shown) == {str(i + 1) for i in range(len(tasks))}
    line = next(line for line in axes.lines if np.size(line.get_xdata()) == len(path.states))
    np.testing.assert_array_equal(line.get_xydata(), np.stack([path.states % 10, path.states // 10], axis=1))
    assert axes.get_title() == f"Map {name}"
    (legend,) = figure.legends
    assert len(legend.get_texts()) == 4


def test_a_picture_needs_no_path() -> None:
    """And tasks may start apart."""
    tasks = WORLD.parameters.tasks([{}, {"start_row": 5}])
    (axes,) = grid_worlds_figure(tasks).axes
    starts = [line for line in axes.lines if line.get_marker() == "o"]
    assert np.concatenate([line.get_xydata() for line in starts]).tolist() == [[0, 0], [0, 5]]
