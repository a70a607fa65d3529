"""The drone: its camera against rays of their own, its flights against geometry, its reward against a sort."""

from __future__ import annotations

import pickle
import tracemalloc
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import pytest

import lifelong_gym
from lifelong_gym.envs.backends.table_views import RowTable, row_tables
from lifelong_gym.envs.engines.mujoco import drone as engine
from lifelong_gym.envs.navigation import columns, patterns, worlds
from lifelong_gym.envs.navigation.drone import RADIUS, STEP, Drone, touches
from lifelong_gym.envs.navigation.worlds import WORLDS
from lifelong_gym.envs.tables import Tables
from lifelong_gym.errors import MissingLibraryError
from lifelong_gym.numerics.scalar import sincos
from lifelong_gym.testing import check_family, check_parity

ID = "LifelongDrone-v0"
SIDE = columns.SIDE


def tables_of(task: dict[str, Any]) -> tuple[RowTable, ...]:
    """A task's tables: heights, surfaces, materials, patterns, starts."""
    family = Drone()
    return row_tables(Tables.of(family, family.parameters.tasks([task])), 0)


def poses(task: dict[str, Any], n: int, seed: int = 0) -> npt.NDArray[np.float64]:
    """States that flights begin from, (n, 6)."""
    env: Any = gym.make_vec(ID, num_envs=n, tasks=[task], resolution=8)
    env.reset(seed=seed)
    states: npt.NDArray[np.float64] = env.unwrapped.state
    return states


def ray(
    heights: npt.NDArray[Any], place: Sequence[float], dx: float, dy: float, slope: float
) -> tuple[float, int, tuple[int, int]]:
    """What one pixel's ray hits, from cell to cell: depth, face and cell."""
    x, y, z = place
    i, j = int(x * 5.0), int(y * 5.0)
    step_i, step_j = (1 if dx > 0 else -1), (1 if dy > 0 else -1)
    inverse_x, inverse_y = (1.0 / dx if dx else 1e30), (1.0 / dy if dy else 1e30)
    next_x = ((i + (dx > 0)) * 0.2 - x) * inverse_x if dx else 1e30
    next_y = ((j + (dy > 0)) * 0.2 - y) * inverse_y if dy else 1e30
    span_x, span_y = abs(0.2 * inverse_x), abs(0.2 * inverse_y)
    while True:
        floor, ceiling = heights[i, j]
        leaving = min(next_x, next_y)
        if z + slope * leaving < floor:
            return (floor - z) / slope, 2, (i, j)
        if z + slope * leaving > ceiling:
            return (ceiling - z) / slope, 3, (i, j)
        if next_x < next_y:
            i, next_x, side = i + step_i, next_x + span_x, 0
        else:
            j, next_y, side = j + step_j, next_y + span_y, 1
        floor, ceiling = heights[i, j]
        if not floor <= z + slope * leaving <= ceiling:
            return leaving, side, (i, j)


@pytest.mark.parametrize("world", WORLDS)
def test_columns_are_rays(world: str) -> None:
    """Depth, face and cell of every pixel, to the bit, from several poses."""
    tables = tables_of({"world": world})
    heights = np.array([tables[0][i] for i in range(2 * SIDE * SIDE)]).reshape(SIDE, SIDE, 2)
    height = width = 9  # odd: the middle row is level
    slopes = [columns.slope_of(row, height) for row in range(height)]
    along = poses({"world": world}, 4)
    along[:, 2:4] = [[0.5, 0.0], [1.2, np.pi / 2], [1.7, np.pi], [2.4, 1.0]]  # the middle column sees along an axis
    for state in [*poses({"world": world}, 4), *along]:
        sine, cosine = sincos(state[3])
        for column in range(width):
            u = (2.0 * (column + 0.5) / width - 1.0) * columns.TAN_H
            dx, dy = cosine + u * sine, sine - u * cosine
            depth, face, cell = np.zeros((3, height))
            columns.look(tables[0], tuple(state[:3]), dx, dy, height, slopes, depth, face, cell)
            for row, slope in enumerate(slopes):
                t, side, (i, j) = ray(heights, state[:3], dx, dy, slope)
                assert (depth[row], face[row], cell[row]) == (t, side, i * SIDE + j)


def test_pictures_hold_what_pixels_hit() -> None:
    """Depth in bytes, and the colour of a pixel from its material; gray is the colours' luminance."""
    task: dict[str, Any] = {"world": "cloud"}
    state = poses(task, 1)[0]
    seen = {}
    for camera in ("rgb", "gray", "depth"):
        env = gym.make(ID, camera=camera, resolution=16, tasks=[task])
        seen[camera] = env.reset(seed=0, options={"state": state})[0].astype(float)
    tables = tables_of(task)
    slopes = [columns.slope_of(row, 16) for row in range(16)]
    sine, cosine = sincos(state[3])
    for column in range(16):
        u = (2.0 * (column + 0.5) / 16 - 1.0) * columns.TAN_H
        depth, face, cell = np.zeros((3, 16))
        dx, dy = cosine + u * sine, sine - u * cosine
        columns.look(tables[0], tuple(state[:3]), dx, dy, 16, slopes, depth, face, cell)
        expected = np.floor(255.0 * np.minimum(depth, columns.FAR) / columns.FAR)
        assert np.array_equal(seen["depth"][:, column, 0], expected)
        for row in np.flatnonzero(face < columns.UPWARDS):  # walls: the tint of the material, between red and blue
            material = 4 * int(tables[1][3 * int(cell[row]) + columns.SIDES])
            tint = np.array([tables[2][material + 1 + i] for i in range(3)]) * patterns.LOOKS["cloud"][1]
            pixel = seen["rgb"][row, column]
            assert np.allclose(pixel / pixel.max(), tint / tint.max(), atol=0.03)
    assert np.abs(seen["gray"][..., 0] - seen["rgb"] @ [0.299, 0.587, 0.114]).max() <= 1.5


def flown(task: dict[str, Any], n_steps: int = 12, n: int = 4, **arguments: Any) -> tuple[Any, Any]:
    """Pictures, and all else, of flights of one task."""
    env: Any = gym.make_vec(ID, num_envs=n, tasks=[task], **{"resolution": 16, **arguments})
    pictures, rest = [env.reset(seed=5)[0]], [env.unwrapped.state]
    rng = np.random.default_rng(1)
    for _ in range(n_steps):
        observation, *numbers, _ = env.step(rng.integers(0, 25, n))
        pictures.append(observation)
        rest += [*numbers, env.unwrapped.state]
    return pictures, np.concatenate([np.ravel(each) for each in rest])


def test_looks_change_pixels_alone() -> None:
    """Each parameter of the look, the camera's kind and its size; each of the layout changes the flight."""
    pictures, flight = flown({})
    for look in ({"light": 0.5}, {"hue": 0.3}, {"textures": 7}):
        others, same = flown(dict(look))
        assert np.array_equal(same, flight)
        assert any((a != b).any() for a, b in zip(pictures, others, strict=True))
    for camera in ({"camera": "gray"}, {"camera": "depth"}, {"resolution": 33}):
        others, same = flown({}, **camera)
        assert np.array_equal(same, flight)
        assert others[0].shape != pictures[0].shape
    for layout in ({"world": "cloud"}, {"layout": 1}, {"width": 1.5}, {"density": 0.1}, {"ceiling": 2.5}):
        assert not np.array_equal(flown(dict(layout))[1], flight)


def test_far_patterns_dont_shimmer() -> None:
    """A small picture is near what a large one is on average: no texel that a pixel happens to hit stands for all."""
    errors = []
    for world in WORLDS:
        small, large = (gym.make(ID, resolution=n, tasks=[{"world": world}]).reset(seed=3)[0] for n in (32, 256))
        mean = large.reshape(32, 8, 32, 8, 3).mean((1, 3))
        errors.append(np.median(np.abs(small.astype(float) - mean)))
    assert max(errors) < 4.0


@pytest.mark.parametrize("world", WORLDS)
def test_a_drone_touches_what_is_near(world: str) -> None:
    """Against all cells of the world, for places all over it."""
    heights = tables_of({"world": world})[0]
    table = np.array([heights[i] for i in range(2 * SIDE * SIDE)]).reshape(SIDE, SIDE, 2)
    edges = np.arange(SIDE) * 0.2
    rng, found = np.random.default_rng(0), set()
    for x, y, z in rng.uniform([0.5, 0.5, 0.1], [23.5, 23.5, 3.0], (150, 3)):
        aside_x = np.clip(x, edges, edges + 0.2) - x
        aside_y = np.clip(y, edges, edges + 0.2) - y
        near = aside_x[:, None] ** 2 + aside_y**2 < RADIUS**2
        expected = bool((near & ((table[..., 0] > z - RADIUS) | (table[..., 1] < z + RADIUS))).any())
        assert touches(heights, x, y, z) == expected
        found.add(expected)
    assert found == {False, True}


def test_the_reward_is_the_nearest_of_the_window() -> None:
    """5% of the middle window, by a sort; the window shrinks with the view and lies a little above the middle."""
    heights = tables_of({"world": "frogeyes"})[0]
    for state in poses({"world": "frogeyes"}, 5):
        depths = np.zeros(columns.MAP_SIZE)
        mean = columns.depth_map(tuple(state), heights, depths)
        assert mean == pytest.approx(depths.mean(), rel=1e-12)
        n = max(50.0 * mean / columns.FAR / 3.0, 1.0)
        top, bottom, left, right = columns.window(mean)
        assert abs((bottom - top) - 18 / n) <= 1
        assert abs((right - left) - 32 / n) <= 1
        assert abs((left + right) / 2 - 16) <= 0.5
        nearest = np.sort(depths.reshape(18, 32)[top:bottom, left:right], axis=None)
        count = max(round(0.05 * nearest.size), 1)
        assert columns.clearance(tuple(state), heights) == pytest.approx(
            nearest[:count].mean() / columns.FAR, rel=1e-12
        )
    assert columns.window(1.0) == (0, 18, 0, 32)
    assert columns.window(15.0) == (7, 9, 15, 17)


def test_a_collision_ends_the_flight() -> None:
    """Straight ahead until something is there: -1 and the end, where the drone was; before it 0.4 m a step."""
    env: Any = gym.make(ID, tasks=[{"world": "cloud"}], resolution=8)
    flights: list[float] = []
    for seed in (1, 2, 3):
        _, info = env.reset(seed=seed if seed == 1 else None)
        assert info["path_length"] == 0.0
        n, terminated = 0, False
        while not terminated:
            before = env.unwrapped.state
            _, reward, terminated, truncated, info = env.step(12)
            n += 1
            assert -1.0 <= reward <= 1.0
            assert not truncated
            moved = np.hypot(*(env.unwrapped.state - before)[:2])
            assert moved == pytest.approx(0.0 if terminated else STEP)
        assert reward == -1.0
        assert env.unwrapped.state[5] == 1.0
        flights.append(STEP * (n - 1))
        assert info["path_length"] == pytest.approx(flights[-1])
        assert info["mean_safe_flight"] == pytest.approx(np.mean(flights))
    assert max(flights) > 1.0
    _, info = env.reset(seed=1)
    assert info["mean_safe_flight"] == 0.0


def test_rows_tell_their_own_mean() -> None:
    """In every interface's infos, and a state that is loaded goes on with it."""
    rows: Any = gym.make_vec(ID, num_envs=3, n_tasks=2, resolution=8, autoreset_mode="SameStep")
    _, infos = rows.reset(seed=0)
    lengths: list[list[float]] = [[], [], []]
    rng = np.random.default_rng(0)
    for step in range(40):
        actions = rng.integers(0, 25, 3)
        if step == 20:
            copy: Any = gym.make_vec(ID, num_envs=3, n_tasks=2, resolution=8, autoreset_mode="SameStep")
            copy.unwrapped.load_state_dict(rows.unwrapped.state_dict())
        *_, terminated, _, infos = rows.step(actions)
        for row in np.flatnonzero(terminated):
            lengths[row].append(float(infos["final_info"]["path_length"][row]))
            assert infos["final_info"]["mean_safe_flight"][row] == pytest.approx(np.mean(lengths[row]))
        if step >= 20:
            *_, others = copy.step(actions)
            assert np.array_equal(others["mean_safe_flight"], infos["mean_safe_flight"])
    assert all(lengths)


def test_safe_flight_may_end_before_the_crash() -> None:
    """With ``crash_depth``, once the nearest things ahead are nearer than that, at a reward of -1."""
    at_walls, before = (gym.make(ID, n_tasks=4, resolution=8, crash_depth=depth) for depth in (0.0, 0.07))
    shorter = 0
    for task in range(4):
        n = {}
        for name, env in (("late", at_walls), ("early", before)):
            env.reset(seed=3, options={"task": task})
            n[name], terminated = 0, False
            while not terminated:
                _, reward, terminated, *_ = env.step(12)
                n[name] += 1
                assert terminated or float(reward) >= (0.07 if name == "early" else 0.0)
            assert reward == -1.0
        assert n["early"] <= n["late"]
        shorter += n["early"] < n["late"]
    assert shorter


@pytest.mark.parametrize("world", WORLDS)
def test_flights_begin_where_there_is_room(world: str) -> None:
    """Nothing within reach, in tight layouts too, and some way ahead is free."""
    for seed, width, density in ((0, 2.0, 0.6), (3, 0.2, 1.0)):
        layout = worlds.layout_of(world, seed, width, density, 2.6)
        free, table = worlds.room_for_starts(layout), worlds.starts(layout, seed)
        i, j = (table[:, :2] * 5).astype(int).T
        assert free[i, j].all()
        heights = tables_of({"world": world, "layout": seed, "width": width, "density": density, "ceiling": 2.6})[0]
        ahead = [
            touches(heights, x + STEP * np.cos(yaw), y + STEP * np.sin(yaw), 1.25) for x, y, yaw in table.astype(float)
        ]
        assert np.mean(ahead) < 0.05
        assert np.unique(table[:, :2], axis=0).shape[0] > 20


def test_rows_share_worlds_and_hold_few_pictures() -> None:
    """Tables are made once a task, whatever the rows; steps take room for at most three pictures a row."""
    n = 64
    env: Any = gym.make_vec(ID, num_envs=n, n_tasks=2, resolution=64)
    tables = env.unwrapped.core._rows._program.tables
    assert tables.arrays[0].size == 2 * SIDE * SIDE * columns.HEIGHTS
    other: Any = gym.make_vec(ID, num_envs=1, n_tasks=2)
    assert other.unwrapped.core._rows._program.tables is tables
    actions = np.full(n, 12)
    env.reset(seed=0)
    env.step(actions)
    tracemalloc.start()
    try:
        for _ in range(4):
            env.step(actions)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most <= 3 * n * 64 * 64 * 3


def test_each_preset_is_a_world() -> None:
    """Of the four; layouts differ, looks are the world's own."""
    for world in WORLDS:
        tasks = lifelong_gym.sample_tasks(ID, 6, preset=world)
        assert {task["world"] for task in tasks} == {world}
        assert len({task["layout"] for task in tasks}) > 1
        assert {(task["light"], task["hue"], task["textures"]) for task in tasks} == {(1.0, 0.0, 0.0)}


def test_every_promise_is_kept() -> None:
    """Of a depth camera too, to which looks are nothing: the checker holds the family to that."""
    check_family(ID, camera="depth", crash_depth=0.05, resolution=8, horizon=6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"resolution": 7}, r"`resolution` must be in \[8, 256\]. Received 7"),
        ({"resolution": 300}, r"`resolution` must be in \[8, 256\]. Received 300"),
        ({"camera": "infrared"}, "camera.*infrared"),
        ({"crash_depth": 1.0}, r"`crash_depth` must be in \[0, 1\). Received 1.0"),
        ({"tasks": [{"world": "moon"}]}, "world.*moon"),
        ({"tasks": [{"ceiling": 1.6}]}, "`ceiling` must be large enough.*room for a start"),
        ({"task_observation": "append"}, '"hide" where observations are Image'),
    ],
)
def test_bad_input_is_refused(arguments: dict[str, Any], message: str) -> None:
    """With what it must be and what it was."""
    with pytest.raises(ValueError, match=message):
        gym.make(ID, **arguments)


def test_a_place_outside_is_refused_and_one_inside_a_wall_can_be_seen() -> None:
    """A state that is set lies within the outer walls; in a wall all is black or at hand."""
    env: Any = gym.make(ID, camera="depth", resolution=9, n_tasks=1).unwrapped
    for place in ([-1.0, 5.0, 1.0], [5.0, 24.0, 1.0], [5.0, 5.0, np.nan]):
        with pytest.raises(ValueError, match="`state`"):
            env.reset(seed=0, options={"state": [*place, 0.0, 0.0, 0.0]})
    picture, _ = env.reset(seed=0, options={"state": [0.1, 0.1, 1.0, 0.0, 0.0, 0.0]})
    assert (picture == 0).all()


def has_gl() -> bool:
    """Whether MuJoCo can draw off-screen here."""
    try:
        import mujoco

        return bool(mujoco) and bool(engine.gl_library())
    except ImportError:
        return False


needs_gl = pytest.mark.skipif(not has_gl(), reason="needs mujoco, and EGL or OSMesa")


@needs_gl
def test_mujoco_sees_the_same_boxes() -> None:
    """Depths of all worlds to a thousandth, but for pixels on edges; several worlds take turns."""
    family, size = Drone(resolution=32), 32
    tasks = family.parameters.tasks([{"world": world} for world in WORLDS])
    painter = engine.DronePainter(family, tasks)
    slopes = [columns.slope_of(row, size) for row in range(size)]
    for turn in range(2):
        for task, world in enumerate(WORLDS):
            heights, state = tables_of({"world": world})[0], poses({"world": world}, 2)[turn]
            sine, cosine = sincos(state[3])
            expected = np.zeros((size, size))
            for column in range(size):
                u = (2.0 * (column + 0.5) / size - 1.0) * columns.TAN_H
                depth, face, cell = np.zeros((3, size))
                columns.look(
                    heights, tuple(state[:3]), cosine + u * sine, sine - u * cosine, size, slopes, depth, face, cell
                )
                expected[:, column] = depth
            _, depths = painter.draw(task, state, size)
            agree = np.abs(depths - expected) <= 1e-3 * expected
            assert agree.mean() > 0.97
    painter.close()


@needs_gl
def test_other_eyes_see_alike_through_every_interface() -> None:
    """MuJoCo's pictures, to the byte, on every backend too."""
    check_parity(ID, tasks=[{"world": "long"}], renderer="mujoco", resolution=8, horizon=6)


@needs_gl
def test_renderers_change_pixels_alone() -> None:
    """Flights, rewards and ends are the kernel's; depths are the same in grey levels, and copies go on with theirs."""
    pictures, flight = flown({"world": "cloud"}, camera="depth")
    others, same = flown({"world": "cloud"}, camera="depth", renderer="mujoco")
    assert np.array_equal(same, flight)
    for ours, theirs in zip(pictures, others, strict=True):
        assert np.mean(np.abs(ours.astype(int) - theirs) <= 1) > 0.95
    assert (flown({})[0][0] != flown({}, renderer="mujoco")[0][0]).any()
    env: Any = gym.make_vec(ID, num_envs=2, n_tasks=2, resolution=16, renderer="mujoco").unwrapped
    env.reset(seed=0)
    copies = [pickle.loads(pickle.dumps(env)), gym.make_vec(env.spec).unwrapped]
    copies[1].load_state_dict(env.state_dict())
    expected = env.step(np.array([12, 11]))
    for copy in copies:
        assert np.array_equal(copy.step(np.array([12, 11]))[0], expected[0])
        copy.close()


def test_a_missing_graphics_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the packages that bring it and the variable that chooses, when the first picture is wanted."""
    pytest.importorskip("mujoco")
    monkeypatch.setattr(engine.ctypes.util, "find_library", lambda name: None)
    env = gym.make(ID, renderer="mujoco", n_tasks=1, resolution=8)
    with pytest.raises(MissingLibraryError, match=r"libegl1 and libosmesa6.*MUJOCO_GL"):
        env.reset(seed=0)
