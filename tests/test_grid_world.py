"""The grid world against hand computation, breadth-first search and published optima; integer parameters."""

from __future__ import annotations

import hashlib
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
from lifelong_gym.numerics.optima import joint_optimum, joint_path, optimal_actions, optimal_values
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
    result: tuple[float, ...] = GridWorld.transition(state, (action,), noise, nowhere, nowhere * 3, (0.0,), (1.0,))
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


def test_an_obstacle_with_only_one_coordinate_is_none() -> None:
    """Whichever of them it is."""
    env = make(world(obstacle_1_row=0, obstacle_2_column=0))
    env.reset(seed=0)
    for action in (DOWN, UP, RIGHT):
        assert env.step(np.int64(action))[1:3] == (0.0, False)


@pytest.mark.parametrize("name", ["goal", "start"])
@pytest.mark.parametrize("obstacle", [1, 2, 3])
def test_goal_and_start_lie_on_no_obstacle(name: str, obstacle: int) -> None:
    """Of their own task; the error says which, and nothing has been made."""
    good, at = world(), {"row": 4.0, "column": 6.0}
    bad = world(**{f"{cell}_{axis}": x for cell in (name, f"obstacle_{obstacle}") for axis, x in at.items()})
    with pytest.raises(
        ValueError, match=rf"task 1: the {name} must not lie on an obstacle. Received {name}_row=4, .*="
    ):
        gym.make(ID, tasks=[good, bad], backend="python")
    assert make({**bad, f"{name}_row": 5.0}).reset(seed=0)[0] in (0, 56)


def test_slipping_takes_a_random_direction() -> None:
    """Directions share the unit interval equally, below the probability to slip and not at it."""
    nowhere = (-1.0, -1.0)
    for slip, expected in ((0.3, 4), (0.25, 1)):
        noises = [(0.25, (i + 0.5) / 400) for i in range(400)]
        after = [GridWorld.transition((5.0, 5.0), (UP,), n, nowhere, nowhere * 3, (slip,), (1.0,)) for n in noises]
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
    change = {"slip": 0.5, "random_start": 0.5, "absorbing": -1.0}.get(name, 1.0)
    before, after = model({}), model({name: nominal + change})
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
    moved = lifelong_gym.sample_tasks(ID, 200, seed=0, preset="slippery").perturb(0.09, seed=1)
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


# --------------------------------------------------------------------------------- what was added after others saved it

# Two tasks as they were saved before there were `absorbing` and `random_start`.
SAVED: dict[str, Any] = {
    "format": 1,
    "units": {name: "1" for name in GridWorld.parameters.names[:8]} | {"slip": "1"},
    "values": {
        "goal_row": [9.0, 6.0],
        "goal_column": [5.0, 5.0],
        "obstacle_1_row": [0.0, 1.0],
        "obstacle_1_column": [7.0, 6.0],
        "obstacle_2_row": [9.0, 7.0],
        "obstacle_2_column": [4.0, 4.0],
        "obstacle_3_row": [2.0, 2.0],
        "obstacle_3_column": [2.0, 4.0],
        "slip": [0.12921260427481174, 0.29202046142275945],
    },
    "uids": [0, 1],
    "seed": 3,
    "preset": "slippery",
    "hash": "47034b72cbd72486",
}


def test_saved_tasks_load_and_keep_their_hash() -> None:
    """They are nominal in what was added; a set that isn't has a hash of its own, and comes back too."""
    loaded = TaskSet.from_dict(SAVED, GridWorld.parameters)
    assert loaded == lifelong_gym.sample_tasks(ID, 2, seed=3, preset="slippery")
    assert loaded.column("absorbing").tolist() == [1.0, 1.0]
    assert loaded.to_dict() == SAVED
    others = GridWorld.parameters.tasks([{**task, "random_start": 0.5} for task in loaded])
    assert (
        len({loaded.hash, others.hash, GridWorld.parameters.tasks([{**t, "absorbing": 0} for t in loaded]).hash}) == 3
    )
    assert TaskSet.from_json(others.to_json(), GridWorld.parameters) == others


def test_tasks_draws_and_results_are_those_of_before() -> None:
    """Hashes taken when the family had neither of the two parameters."""
    drawn = [(10, 0, "default"), (7, 3, "slippery"), (1, 0, "single")]
    hashes = [lifelong_gym.sample_tasks(ID, n, seed=seed, preset=preset).hash for n, seed, preset in drawn]
    assert hashes == ["af76498d7f1bda25", "fba2efacfda799fe", "d0a20c7c060c1cbb"]
    assert history(n_tasks=5) == "7ea2b5b72a2a5ad1"
    assert history(n_tasks=5, preset="slippery") == "0e57f680784af32b"
    assert history(tasks=grid_world_map("C")) == "a4ee3bce7a283f18"
    tasks = lifelong_gym.sample_tasks(ID, 3, seed=1, preset="slippery")
    theta = np.zeros((3, 100, 4))
    stats = lifelong_gym.rollout(ID, tasks=tasks, theta=theta, n_trajectories=20, horizon=60, seed=2, backend="numpy")
    assert digest(stats.returns, stats.visits.astype("<i8")) == "cb79ea742e6cb112"


def digest(*arrays: Any) -> str:
    """Of arrays, one after another."""
    return hashlib.sha256(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)).hexdigest()[:16]


def history(**settings: Any) -> str:
    """Digest of all that eight rows return in 120 steps."""
    envs = gym.make_vec(ID, num_envs=8, backend="numpy", **settings)
    seen = [envs.reset(seed=5)[0]]
    for action in np.random.default_rng(0).integers(0, 4, (120, 8)):
        seen += envs.step(action)[:4]
    return digest(*seen)


def test_nothing_ends_where_nothing_absorbs() -> None:
    """Goal and obstacles are walked through, and pay each time; the horizon still truncates."""
    env = make(world(goal_row=0, goal_column=1, obstacle_1_row=0, obstacle_1_column=2, absorbing=0), horizon=5)
    env.reset(seed=0)
    steps = [env.step(np.int64(action)) for action in (RIGHT, UP, RIGHT, LEFT, RIGHT)]
    assert [step[0] for step in steps] == [1, 1, 2, 1, 2]
    assert [step[1] for step in steps] == [1.0, 1.0, -1.0, 1.0, -1.0]
    assert [step[2] for step in steps] == [False] * 5
    assert steps[-1][3]


@pytest.mark.parametrize("backend", ["python", "numpy", "numba"])
def test_random_starts_are_free_cells(backend: str) -> None:
    """Each as often: all that end no episode, the start cell too; a share of episodes begins there anyway."""
    n, task = 4000 if backend != "python" else 400, grid_world_map("A")[0]
    taken = [25, 42, 66, 83]
    envs = gym.make_vec(ID, num_envs=n, tasks=[{**task, "random_start": 1}], backend=backend)
    cells = envs.reset(seed=0)[0]
    exact = model({**task, "random_start": 1}).start
    assert exact[taken].tolist() == [0.0] * 4
    np.testing.assert_allclose(np.delete(exact, taken), 1 / 96, atol=1e-15)
    assert not np.isin(cells, taken).any()
    assert np.abs(np.bincount(cells, minlength=100) / n - exact).max() < 5 * np.sqrt(0.01 / n)
    half = model({**task, "random_start": 0.5, "absorbing": 0}).start
    np.testing.assert_allclose(half, np.where(np.arange(100) == 0, 0.505, 0.005), atol=1e-15)


def test_starts_agree_on_all_backends() -> None:
    """To the bit, with some cells beside each other, or one, or none taken."""
    tasks = [
        world(goal_row=0, goal_column=0, start_row=3, obstacle_1_row=0, obstacle_1_column=1, random_start=0.9),
        world(goal_row=9, goal_column=9, random_start=0.7),
        world(absorbing=0, random_start=1.0, slip=0.5),
    ]
    starts = [
        gym.make_vec(ID, num_envs=300, tasks=tasks, backend=backend).reset(seed=4)[0].tolist()
        for backend in ("python", "numpy", "numba")
    ]
    assert starts[0] == starts[1] == starts[2]
    assert len(set(starts[0])) > 60


def test_the_case_within_assumption_2() -> None:
    """Map B where nothing absorbs and episodes start anywhere: the sum of tasks is one task with the summed reward."""
    models = [model({**task, "absorbing": 0, "random_start": 1}) for task in grid_world_map("B")]
    path = joint_optimum(models, 0.9)
    assert path.value == pytest.approx(4.1676, abs=1e-4)
    summed = TabularModel(models[0].P, np.sum([each.R for each in models], axis=0), models[0].start, models[0].ends)
    assert path.value == pytest.approx(summed.start @ optimal_values(summed, 0.9), abs=1e-10)
    best = np.eye(4)[optimal_actions(summed, 0.9)]
    assert sum(each.value(best, 0.9) for each in models) == pytest.approx(path.value, abs=1e-9)
    assert max(summed.mismatch(best, 0.9, summed.start)) == pytest.approx(158, abs=1)


@pytest.mark.parametrize(
    ("name", "n_moves", "goals"), [("A", 23, 4), ("B", 23, 4), ("C", 11, 3), ("D", 26, 6), ("E", 23, 6)]
)
def test_joint_paths_of_the_maps(name: str, n_moves: int, goals: int) -> None:
    """Their length, goals and returns; each move is one, and a policy that follows them earns the optimum."""
    models = [model(task) for task in grid_world_map(name)]
    path = joint_optimum(models, GAMMA)
    assert len(path.actions) == len(path.states) - 1 == n_moves
    assert (path.returns > 0.0).sum() == goals
    assert path.returns.sum() == pytest.approx(path.value, abs=1e-12)
    assert len(set(path.states.tolist())) == n_moves + 1
    policy = np.full((100, 4), 0.25)
    policy[path.states[:-1]] = np.eye(4)[path.actions]
    followed = joint_path(models, policy, GAMMA)
    np.testing.assert_array_equal(followed.states, path.states)
    assert followed.value == pytest.approx(path.value, abs=1e-12)
