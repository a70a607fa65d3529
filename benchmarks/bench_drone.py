"""The drone's camera: columns against ray by ray, steps against bare frames, two threads against one: ``make bench``.

Read the ratios. Both renderers are compiled by numba and give the same bytes; 64 rows in four worlds, one thread.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import pytest
from numba import njit

from benchmarks.sizes import QUICK
from lifelong_gym.envs.backends.text import Program
from lifelong_gym.envs.backends.threads import set_num_threads
from lifelong_gym.envs.navigation import columns
from lifelong_gym.envs.navigation.worlds import WORLDS
from lifelong_gym.numerics.scalar import sincos

ID = "LifelongDrone-v0"
N_ROWS, N_TASKS = 64, len(WORLDS)
N_ROUNDS = 1 if QUICK else 15
TAN_H, TAN_V = columns.TAN_H, columns.TAN_V
_slope = njit(columns.slope_of)


@njit(error_model="numpy")
def _texel(patterns: Any, pattern: float, a: float, b: float, footprint: float) -> float:
    """How bright a pattern is, in the finest picture whose texels are no smaller than a pixel."""
    size, first, width = 64, 0, 2.0 / 64
    while width < footprint and size > 1:
        first, size, width = first + size * size, size // 2, 2.0 * width
    row, column = int(b * (size / 2.0)) & (size - 1), int(a * (size / 2.0)) & (size - 1)
    return patterns[int(pattern) * 5461 + first + row * size + column]


@njit(error_model="numpy")
def _trace(heights: Any, x: float, y: float, z: float, dx: float, dy: float, slope: float) -> tuple[float, int, int]:
    """Depth, face and cell of one ray, from cell to cell."""
    i, j = int(x * 5.0), int(y * 5.0)
    step_i, step_j = (1 if dx > 0.0 else -1), (1 if dy > 0.0 else -1)
    inverse_x, inverse_y = (1.0 / dx if dx != 0.0 else 1e30), (1.0 / dy if dy != 0.0 else 1e30)
    next_x = ((i + (1 if dx > 0.0 else 0)) * 0.2 - x) * inverse_x
    next_y = ((j + (1 if dy > 0.0 else 0)) * 0.2 - y) * inverse_y
    span_x, span_y = abs(0.2 * inverse_x), abs(0.2 * inverse_y)
    at = i * 120 + j
    floor, ceiling = np.float64(heights[2 * at]), np.float64(heights[2 * at + 1])
    while True:
        leaving = next_x if next_x < next_y else next_y
        there = z + slope * leaving
        if there < floor:
            return (floor - z) / slope, 2, at
        if there > ceiling:
            return (ceiling - z) / slope, 3, at
        if next_x < next_y:
            i, next_x, side = i + step_i, next_x + span_x, 0
        else:
            j, next_y, side = j + step_j, next_y + span_y, 1
        at = i * 120 + j
        floor, ceiling = np.float64(heights[2 * at]), np.float64(heights[2 * at + 1])
        if there < floor or there > ceiling:
            return leaving, side, at


@njit(error_model="numpy")
def _ray_pictures(
    poses: Any, slots: Any, headings: Any, tables: Any, patterns: Any, lamps: Any, size: int, out: Any
) -> None:
    """Every pixel by a ray of its own."""
    pixel_u, pixel_v = 2.0 * TAN_H / size, 2.0 * TAN_V / size
    for n in range(len(poses)):
        x, y, z = poses[n, 0], poses[n, 1], poses[n, 2]
        heights, cells, material = tables[0][slots[n]], tables[1][slots[n]], tables[2][slots[n]]
        lamp = lamps[slots[n]]
        sine, cosine = headings[n, 0], headings[n, 1]
        for column in range(size):
            u = (2.0 * (column + 0.5) / size - 1.0) * TAN_H
            dx, dy = cosine + u * sine, sine - u * cosine
            for row in range(size):
                slope = _slope(row, size)
                t, face, at = _trace(heights, x, y, z, dx, dy, slope)
                hit_x, hit_y, hit_z = x + dx * t, y + dy * t, z + slope * t
                if face == 0:
                    slot, a, b, shade, coarse = cells[3 * at], hit_y, hit_z, 0.86, max(pixel_u / abs(dx), pixel_v)
                elif face == 1:
                    slot, a, b, shade, coarse = cells[3 * at], hit_x, hit_z, 0.72, max(pixel_u / abs(dy), pixel_v)
                else:
                    slot = cells[3 * at + 1] if face == 2 else np.float32(2.0)
                    a, b, shade, coarse = hit_x, hit_y, 0.95 if face == 2 else 0.62, max(pixel_u, pixel_v / abs(slope))
                first = 4 * int(slot)
                bright = 255.0 * shade * np.float64(cells[3 * at + 2]) / (1.0 + 0.004 * t * t)
                bright = bright * np.float64(_texel(patterns, material[first], a, b, t * coarse))
                for channel in range(3):
                    v = bright * (np.float64(material[first + 1 + channel]) * lamp[channel])
                    out[n, row, column, channel] = np.uint8(min(v, 255.0))


class Cameras:
    """Rows that have begun, and their pictures by either renderer.

    Args:
        size: height and width in pixels.
    """

    def __init__(self, size: int) -> None:
        """See the class."""
        env: Any = gym.make_vec(ID, num_envs=N_ROWS, tasks=[{"world": world} for world in WORLDS], resolution=size)
        self.env, self.core, self.size = env, env.unwrapped.core, size
        env.reset(seed=0)
        self.rows, self.seen = np.arange(N_ROWS), self.core.empty_observations()
        program = Program.of(self.core.family, self.core.tasks)
        *own, patterns, _ = program.tables.arrays
        lamps = program.constants[:, program.groups["lamp"]]
        states = self.core.states()
        headings = np.array([sincos(yaw) for yaw in states[:, 3].tolist()])
        tables = tuple(table.reshape(N_TASKS, -1) for table in own)
        self.given = states[:, :3].copy(), self.core.task_of_row.copy(), headings, tables, patterns, lamps, size
        self.by_rays = np.zeros((N_ROWS, size, size, 3), np.uint8)
        self.actions = np.full(N_ROWS, 12)

    def columns(self) -> npt.NDArray[Any]:
        """All pictures."""
        self.core.observe(self.rows, self.seen)
        return self.seen.reshape(self.by_rays.shape)

    def rays(self) -> npt.NDArray[Any]:
        """The same."""
        _ray_pictures(*self.given, self.by_rays)
        return self.by_rays

    def step(self) -> None:
        """A step of all rows; those that crashed begin anew."""
        self.env.step(self.actions)


def seconds(clock: Callable[[], float], work: Callable[[], object]) -> float:
    """Time of a call."""
    start = clock()
    work()
    return clock() - start


def ratio(
    one: Callable[[], object], other: Callable[[], object], clock: Callable[[], float] = time.process_time
) -> float:
    """How many times longer ``one`` takes than ``other``: the median of calls that take turns."""
    one(), other()
    return statistics.median(seconds(clock, one) / max(seconds(clock, other), 1e-9) for _ in range(N_ROUNDS))


@pytest.mark.benchmark(timer=time.process_time)
@pytest.mark.parametrize("size", [32, 64, 103])
def test_columns_against_rays(benchmark: Any, size: int) -> None:
    """The same bytes; of few rows, the walk is most of the time."""
    set_num_threads(1)
    cameras = Cameras(size)
    assert np.array_equal(cameras.columns(), cameras.rays())
    found = ratio(cameras.rays, cameras.columns)
    benchmark.extra_info["ratio"] = found
    benchmark(cameras.columns)
    print(f"{size} px: columns {found:.1f} times as fast as rays, {N_ROWS} pictures a round")


@pytest.mark.benchmark(timer=time.process_time)
@pytest.mark.parametrize("size", [32, 64])
def test_columns_against_mujoco(benchmark: Any, size: int) -> None:
    """Beside colours and depths off-screen, without a GPU."""
    engine = pytest.importorskip("lifelong_gym.envs.engines.mujoco.drone")
    try:
        engine.gl_library()
    except ImportError as error:
        pytest.skip(str(error))
    set_num_threads(1)
    cameras = Cameras(size)
    states, tasks = cameras.core.states(), cameras.core.task_of_row.tolist()
    painter = engine.DronePainter(cameras.core.family, cameras.core.tasks)

    def paint() -> None:
        for task, state in zip(tasks, states, strict=True):
            painter.draw(task, state, size)

    found = ratio(paint, cameras.columns)
    benchmark.extra_info["ratio"] = found
    benchmark(cameras.columns)
    print(f"{size} px: columns {found:.1f} times as fast as MuJoCo off-screen")
    painter.close()


@pytest.mark.benchmark(timer=time.process_time)
def test_steps_against_bare_frames(benchmark: Any) -> None:
    """Flight, reward and picture of 32 px, beside the picture."""
    set_num_threads(1)
    cameras = Cameras(32)
    found = ratio(cameras.columns, cameras.step)
    benchmark.extra_info["ratio"] = found
    benchmark(cameras.step)
    print(f"steps at 32 px: {found:.2f} of bare frames")


def test_two_threads_against_one(benchmark: Any) -> None:
    """Rows are shared out; on quiet cores."""
    cameras = Cameras(64)

    def with_threads(n: int) -> None:
        set_num_threads(n)
        for _ in range(5):
            cameras.step()

    found = ratio(partial(with_threads, 1), partial(with_threads, 2), time.perf_counter)
    benchmark.extra_info["ratio"] = found
    benchmark(with_threads, 1)
    print(f"two threads: {found:.2f} times one")
