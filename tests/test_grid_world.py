"""The grid world against hand computation, breadth-first search and published optima; integer parameters."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import pytest

import lifelong_gym
from lifelong_gym.envs.models import tabular_model
from lifelong_gym.envs.tabular.grid_world import DOWN, LEFT, RIGHT, UP, GridWorld
from lifelong_gym.envs.tabular.maps import MAPS, grid_world_map
from lifelong_gym.numerics.optima import joint_optimum, optimal_actions, optimal_values
from lifelong_gym.numerics.tabular import TabularModel
from lifelong_gym.tasks.distributions import Constant, Integer, Uniform
from lifelong_gym.tasks.parameter_space import ParameterSpace, Preset
from lifelong_gym.tasks.parameters import Parameter
from lifelong_gym.tasks.task_set import TaskSet

ID = "LifelongGridWorld-v0"
WORLD = GridWorld()
GAMMA = 0.99
NO_OBSTACLES = {f"obstacle_{i}_{axis}": -1.0 for i in (1, 2, 3) for axis in ("row", "column")}
MOVES = {UP: (-1, 0), DOWN: (1, 0), LEFT: (0, -1), RIGHT: (0, 1)}

Cell = tuple[int, int]


def world(**parameters: float) -> dict[str, float]:
    """A task without obstacles but those that are given."""
    return {**NO_OBSTACLES, **parameters}


def make(task: Mapping[str, float], **settings: Any) -> gym.Env[Any, Any]:
    """A single environment of one task, on plain Python."""
    return gym.make(ID, tasks=[task], backend="python", **settings)


def move(state: tuple[float, float], action: float, noise: tuple[float, float] = (1.0, 0.0)) -> tuple[float, ...]:
    """The family's transition without goal, obstacles and slip."""
    nowhere = (-1.0, -1.0)
    result: tuple[float, ...] = GridWorld.transition(state, (action,), noise, nowhere, nowhere * 3, (0.0,))
    return result


def cells_of(task: Mapping[str, float]) -> tuple[Cell, set[Cell], Cell]:
    """Goal, obstacles and start."""
    full = GridWorld.parameters.tasks([task])[0]

    def cell(name: str) -> Cell:
        return int(full[f"{name}_row"]), int(full[f"{name}_column"])

    return cell("goal"), {cell(f"obstacle_{i}") for i in (1, 2, 3)}, cell("start")


def model(task: Mapping[str, float]) -> TabularModel:
    """The task as tables."""
    return tabular_model(WORLD, task)


def distances(task: Mapping[str, float]) -> npt.NDArray[np.float64]:
    """Moves to the goal around the obstacles, by breadth-first search; shape (10, 10), inf where there is no way."""
    goal, obstacles, _ = cells_of(task)
    result = np.full((10, 10), np.inf)
    result[goal] = 0.0
    queue = deque([goal])
    while queue:
        row, column = queue.popleft()
        for down, right in MOVES.values():
            cell = row + down, column + right
            if min(cell) >= 0 and max(cell) <= 9 and cell not in obstacles and np.isinf(result[cell]):
                result[cell] = result[row, column] + 1
                queue.append(cell)
    return result


def test_actions_move_by_one_cell() -> None:
    """Up, down, left and right, as rows are counted from the top."""
    assert [move((4.0, 6.0), action) for action in (UP, DOWN, LEFT, RIGHT)] == [(3, 6), (5, 6), (4, 5), (4, 7)]


@pytest.mark.parametrize("action", [UP, DOWN, LEFT, RIGHT])
def test_walls_stop(action: float) -> None:
    """Ten moves into any direction end at the wall, and nothing but the wall stops."""
    state = (3.0, 4.0)
    for _ in range(10):
        state = move(state, action)  # type: ignore[assignment]
    assert state == {UP: (0, 4), DOWN: (9, 4), LEFT: (3, 0), RIGHT: (3, 9)}[action]
    assert move(state, action) == state


def test_an_episode_by_hand() -> None:
    """Around an obstacle to the goal: cells, rewards and the end."""
    env = make(world(goal_row=2, goal_column=1, obstacle_1_row=1, obstacle_1_column=1))
    assert env.reset(seed=0)[0] == 0
    observed = [env.step(np.int64(action)) for action in (UP, DOWN, LEFT, DOWN, RIGHT)]
    assert [step[0] for step in observed] == [0, 10, 10, 20, 21]
    assert [step[1] for step in observed] == [0.0, 0.0, 0.0, 0.0, 1.0]
    assert [step[2] for step in observed] == [False, False, False, False, True]
    assert not any(step[3] or step[4]["failed"] for step in observed)


def test_an_obstacle_ends_the_episode() -> None:
    """With -1, and for the task that has it there: for its sibling the cell is the goal."""
    tasks = [world(obstacle_2_row=0, obstacle_2_column=1), world(goal_row=0, goal_column=1)]
    env = gym.make(ID, tasks=tasks, backend="python")
    outcomes = []
    for task in (0, 1):
        env.reset(seed=0, options={"task": task})
        outcomes.append(env.step(np.int64(RIGHT))[:3])
    assert outcomes == [(1, -1.0, True), (1, 1.0, True)]


def test_the_horizon_truncates() -> None:
    """After 200 steps on the spot."""
    env = make(world())
    env.reset(seed=0)
    steps = [env.step(np.int64(UP)) for _ in range(200)]
    assert not any(step[2] for step in steps)
    assert [step[3] for step in steps] == [False] * 199 + [True]


@pytest.mark.parametrize("action", [UP, DOWN, LEFT, RIGHT])
@pytest.mark.parametrize(("cell", "reward"), [((5.0, 5.0), 1.0), ((3.0, 3.0), -1.0)])
def test_goal_and_obstacles_are_never_left(action: float, cell: tuple[float, float], reward: float) -> None:
    """An episode that starts there gets its reward and ends with the first step."""
    env = make(world(goal_row=5, goal_column=5, obstacle_3_row=3, obstacle_3_column=3, slip=0.5))
    number = int(10 * cell[0] + cell[1])
    assert env.reset(seed=0, options={"state": cell})[0] == number
    assert env.step(np.int64(action))[:3] == (number, reward, True)


def test_a_goal_wins_over_an_obstacle_in_the_same_cell() -> None:
    """And an obstacle with only one coordinate is none."""
    env = make(world(goal_row=0, goal_column=1, obstacle_1_row=0, obstacle_1_column=1, obstacle_2_column=0))
    env.reset(seed=0)
    assert env.step(np.int64(DOWN))[1:3] == (0.0, False)
    env.reset(seed=0)
    assert env.step(np.int64(RIGHT))[1:3] == (1.0, True)


def test_slipping_takes_a_random_direction() -> None:
    """Directions share the unit interval equally, below the probability to slip and not at it."""
    nowhere = (-1.0, -1.0)
    for slip, expected in ((0.3, 4), (0.25, 1)):
        noises = [(0.25, (i + 0.5) / 400) for i in range(400)]
        after = [GridWorld.transition((5.0, 5.0), (UP,), n, nowhere, nowhere * 3, (slip,)) for n in noises]
        counts = {cell: after.count(cell) for cell in after}
        assert len(counts) == expected
        assert set(counts.values()) == {400 // expected}


def test_slip_frequencies() -> None:
    """With slip s the chosen direction has probability 1 - 3 s / 4, every other one s / 4."""
    n, slip = 20_000, 0.4
    task = world(start_row=4, start_column=4, slip=slip)
    envs = gym.make_vec(ID, num_envs=n, tasks=[task], backend="numpy")
    envs.reset(seed=0)
    after = envs.step(np.full(n, int(RIGHT)))[0]
    shares = [(after == cell).mean() for cell in (45, 34, 54, 43)]
    assert shares == pytest.approx([0.7, 0.1, 0.1, 0.1], abs=4 * np.sqrt(0.25 / n))
    assert sum(shares) == pytest.approx(1.0)
    again = envs.step(np.full(n, int(LEFT)))[0]
    assert (again == 44).mean() == pytest.approx(0.7 * 0.7 + 3 * 0.1 * 0.1, abs=4 * np.sqrt(0.25 / n))


def test_backends_agree_to_the_bit() -> None:
    """Plain Python, NumPy and numba over many episodes on slippery floors, with rows that restart apart."""
    n_envs, n_steps = 37, 150
    actions = np.random.default_rng(0).integers(0, 4, (n_steps, n_envs))
    trajectories = {}
    for backend in ("python", "numpy", "numba"):
        envs = gym.make_vec(ID, num_envs=n_envs, n_tasks=15, preset="slippery", backend=backend)
        seen = [[envs.reset(seed=5)[0]], *(list(envs.step(action)[:4]) for action in actions)]
        trajectories[backend] = [np.array(array) for step in seen for array in step]
    terminated = np.array(trajectories["python"][3::4])
    assert terminated.sum() > 50
    for backend in ("numpy", "numba"):
        for expected, array in zip(trajectories["python"], trajectories[backend], strict=True):
            np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize("name", GridWorld.parameters.names)
def test_every_parameter_matters(name: str) -> None:
    """Moving one changes the task's tables."""
    nominal = GridWorld.parameters[name].nominal
    before, after = model({}), model({name: nominal + (0.5 if name == "slip" else 1.0)})
    assert any(not np.array_equal(getattr(before, table), getattr(after, table)) for table in vars(before))


def test_default_tasks_can_all_be_solved() -> None:
    """They differ, have their cells apart, and leave a way from the start to the goal."""
    tasks = lifelong_gym.sample_tasks(ID, 300, seed=1)
    assert len(np.unique(tasks.values, axis=0)) > 290
    for task in tasks:
        goal, obstacles, start = cells_of(task)
        assert len({goal, start, *obstacles}) == 5
        assert np.isfinite(distances(task)[start])


def test_the_worst_worlds_that_presets_can_draw_can_be_solved() -> None:
    """Whatever cells the regions give: the rims of the regions only."""
    space = GridWorld.parameters
    drawn = {name: draws for name, draws in space.presets["default"].draws.items() if isinstance(draws, Integer)}
    rng = np.random.default_rng(0)
    for _ in range(300):
        task = {
            name: float(rng.choice([draws.low, draws.low + 1, draws.high - 1, draws.high]))
            for name, draws in drawn.items()
        }
        assert np.isfinite(distances(task)[0, 0]), task


def test_rows_of_a_set_depend_on_seed_and_row_only() -> None:
    """The first 10 of 50 tasks are the 10 tasks; a set survives JSON."""
    for preset in ("default", "slippery"):
        ten, fifty = (lifelong_gym.sample_tasks(ID, n, seed=3, preset=preset) for n in (10, 50))
        np.testing.assert_array_equal(fifty.values[:10], ten.values)
        assert TaskSet.from_json(fifty.to_json(), fifty.space) == fifty
    assert np.ptp(fifty.column("slip")) > 0.1


@pytest.mark.parametrize("seed", range(5))
def test_optimal_values_are_discounted_distances(seed: int) -> None:
    """Without slipping, the value of a cell d moves from the goal is gamma^(d - 1)."""
    task = lifelong_gym.sample_tasks(ID, 1, seed=seed)[0]
    goal, obstacles, _ = cells_of(task)
    expected = GAMMA ** (distances(task) - 1.0)
    expected[goal] = 1.0
    for obstacle in obstacles:
        expected[obstacle] = -1.0
    np.testing.assert_allclose(optimal_values(model(task)).reshape(10, 10), expected, atol=1e-11)


def test_optimal_values_where_floors_are_slippery() -> None:
    """The greedy policy, played in the environment, earns what value iteration says."""
    n, task = 4000, world(goal_row=2, goal_column=3, obstacle_1_row=0, obstacle_1_column=2, slip=0.3)
    values, policy = optimal_values(model(task)), optimal_actions(model(task))
    envs = gym.make_vec(ID, num_envs=n, tasks=[task], backend="numpy")
    cells, _ = envs.reset(seed=0)
    alive, returns = np.ones(n, bool), np.zeros(n)
    for step in range(150):
        cells, rewards, terminated, _, _ = envs.step(policy[cells])
        returns += alive * GAMMA**step * rewards
        alive &= ~terminated
    assert not alive.any()
    assert returns.mean() == pytest.approx(values[0], abs=4 * returns.std() / np.sqrt(n))


@pytest.mark.parametrize(
    ("name", "optimum"), [("A", 3.4814), ("B", 3.4814), ("C", 1.8459), ("D", 5.1362), ("E", 5.2934)]
)
def test_joint_optima_of_the_maps(name: str, optimum: float) -> None:
    """The published ones, below what every task could earn with a policy of its own."""
    models = [model(task) for task in grid_world_map(name)]
    assert joint_optimum(models, GAMMA).value == pytest.approx(optimum, abs=1e-4)
    assert optimum < sum(optimal_values(each, GAMMA) @ each.start for each in models)


def test_joint_optima_by_hand() -> None:
    """One task; two alike; two goals in a row; and a goal in the other's way, which has to wait."""
    near, far = world(goal_row=0, goal_column=2), world(goal_row=0, goal_column=4)
    blocked = {**far, "obstacle_1_row": 0.0, "obstacle_1_column": 2.0}

    def joint(*tasks: Mapping[str, float]) -> float:
        return joint_optimum([model(task) for task in tasks], 0.9).value

    assert joint(near) == pytest.approx(0.9)
    assert joint(near, near) == pytest.approx(2 * 0.9)
    assert joint(near, far) == pytest.approx(0.9 + 0.9**3)
    assert joint(near, blocked) == joint(blocked, near) == pytest.approx(0.9**5 + 0.9**7)


def test_maps_are_tasks() -> None:
    """Usable as `tasks=`, with the start that the map has."""
    starts = {name: gym.make(ID, tasks=grid_world_map(name), backend="python").reset(seed=0)[0] for name in MAPS}
    assert starts == {"A": 0, "B": 0, "C": 0, "D": 0, "E": 9}
    assert [len(grid_world_map(name)) for name in MAPS] == [4, 4, 4, 6, 6]
    with pytest.raises(ValueError, match="unknown map 'F'"):
        grid_world_map("F")


def test_b_is_a_with_a_conflict() -> None:
    """One obstacle of the second task lies on the goal of the third."""
    a, b = grid_world_map("A"), grid_world_map("B")
    assert [task != other for task, other in zip(a, b, strict=True)] == [False, True, False, False]
    assert cells_of(b[2])[0] in cells_of(b[1])[1]


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ([], "must be 1 to 16. Received 0"),
        ([world(), world(start_row=1)], r"the same states. Received states \[0\] and states \[10\]"),
        ([world(), world(slip=0.1)], r"leave no move to chance. Received chance in tasks \[1\]"),
        (
            [world(), world(goal_row=0, goal_column=0)],
            r"where an episode ends. Received start 0 in tasks \[1\]",
        ),
    ],
)
def test_joint_optimum_refuses(tasks: list[dict[str, float]], message: str) -> None:
    """What has no joint path."""
    with pytest.raises(ValueError, match=message):
        joint_optimum([model(task) for task in tasks])


@pytest.mark.parametrize("gamma", [-0.1, 1.0, float("nan")])
def test_discounts_are_checked(gamma: float) -> None:
    """Values would be infinite, or nothing."""
    with pytest.raises(ValueError, match="`gamma` must be in"):
        optimal_values(model(world()), gamma)
    with pytest.raises(ValueError, match="`gamma` must be in"):
        joint_optimum([model(world())], gamma)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ((3.5, 1), "row must be an integer from 0 to 9. Received 3.5"),
        ((3, 10), "column must be an integer from 0 to 9. Received 10"),
        ((-1, 0), "row must be an integer"),
        ((0, float("nan")), "column must be an integer"),
        ((0, float("inf")), "column must be an integer"),
        ((1, 2, 3), r"shape \(2,\). Received \(3,\)"),
    ],
)
def test_states_off_the_board_are_refused(state: tuple[float, ...], message: str) -> None:
    """By name; the environment stays usable."""
    env = make(world())
    with pytest.raises(ValueError, match=message):
        env.reset(options={"state": state})
    assert env.reset(options={"state": (3, 4)})[0] == 34


def test_cells_must_be_integers_on_the_board() -> None:
    """Parameters are refused by name and value, in dicts and in tables."""
    space = GridWorld.parameters
    for task, message in (
        ({"goal_row": 2.5}, "task 0: parameter 'goal_row' must be an integer. Received 2.5"),
        ({"goal_row": -1}, r"'goal_row' must be in \[0, 9\]"),
        ({"obstacle_1_row": 10}, r"'obstacle_1_row' must be in \[-1, 9\]"),
        ({"goal_rwo": 1}, "Did you mean 'goal_row'"),
    ):
        with pytest.raises(ValueError, match=message):
            space.tasks([task])
    values = np.tile(space.nominal, (4, 1))
    values[2, space.index("start_column")] = 0.25
    with pytest.raises(ValueError, match="task 2: parameter 'start_column' must be an integer"):
        TaskSet(space, values)


def test_integers_are_drawn_uniformly() -> None:
    """All of low ... high, each as often."""
    integer = Integer(-2, 4)
    u = (np.arange(7000) + 0.5) / 7000
    values, counts = np.unique(integer.quantile(u), return_counts=True)
    assert values.tolist() == [-2, -1, 0, 1, 2, 3, 4]
    assert set(counts) == {1000}
    assert integer.quantile(np.array([0.0, 1 - 2.0**-52])).tolist() == [-2, 4]
    assert integer.support == (-2, 4)
    drawn = lifelong_gym.sample_tasks(ID, 5000, seed=0).column("goal_row")
    assert np.bincount(drawn.astype(int), minlength=10)[5:] == pytest.approx(1000, abs=4 * 30)


def test_integer_parameters_stay_integers() -> None:
    """Under perturbation, in presets, and beside real ones in `wide`."""
    moved = lifelong_gym.sample_tasks(ID, 200, seed=0, preset="slippery").perturb(0.4, seed=1)
    whole = moved.values[:, moved.space.integer]
    np.testing.assert_array_equal(whole, np.round(whole))
    assert (moved.column("slip") != np.round(moved.column("slip"))).all()
    count = Parameter("count", "1", "of things", (0, 9), Integer(1, 4), 2, integer=True)
    length = Parameter("length", "m", "of each", (0.1, 9.0), Uniform(1.0, 2.0))
    wide = ParameterSpace([count, length], wide=["length"]).presets["wide"].draws
    assert wide == {"count": Integer(1, 4), "length": Uniform(0.5, 4.0)}
    assert Parameter("count", "1", "of things", (0, 9), Integer(1, 4), integer=True).nominal == 2.0  # of 2.5
    for draws in (Uniform(1.0, 4.0), Constant(1.5)):
        with pytest.raises(ValueError, match="'count' must be an integer"):
            ParameterSpace([count], {"broken": Preset({"count": draws}, "draws fractions")})
