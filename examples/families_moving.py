"""Films every family at once, two tasks of each: the picture at the top of the README.

They are under the best policies known, and where none is, under random actions.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from PIL import Image, ImageDraw

from lifelong_gym.benchmark.learners import learner_class
from lifelong_gym.cli.animation import write_film
from lifelong_gym.registry import FAMILIES, family
from lifelong_gym.wrappers import as_vec_env

N_TASKS, COLUMNS, WIDTH, HEIGHT, HEADING = 2, 3, 120, 84, 16  # two by three by 120: as wide as films are
PAPER, INK = "#f8f7f2", "#1f2544"
QUICK = os.environ.get("LIFELONG_GYM_QUICK") == "1"
N_FRAMES, EVERY, FPS = (2 if QUICK else 30), 4, 10
SHOWN = list(FAMILIES)[:2] if QUICK else list(FAMILIES)


def tiles(env_id: str) -> Iterator[Image.Image]:
    """Pictures of one family, its tasks side by side under its name."""
    presets = family(env_id).parameters.presets
    settings: dict[str, Any] = {"n_tasks": N_TASKS, "preset": "hetero" if "hetero" in presets else "default"}
    env: Any = gym.make_vec(env_id, num_envs=N_TASKS, render_mode="rgb_array", **settings)
    known = "random" if family(env_id).reference is None else "reference"
    best = learner_class(known)(as_vec_env(env_id, **settings))
    observations, _ = env.reset(seed=0)
    for _ in range(N_FRAMES):
        tile = Image.new("RGB", (N_TASKS * WIDTH, HEADING + HEIGHT), PAPER)
        ImageDraw.Draw(tile).text((6, 3), env_id, INK)
        for task, pixels in enumerate(env.render()):
            picture = Image.fromarray(pixels)
            picture.thumbnail((WIDTH, HEIGHT), Image.Resampling.LANCZOS)
            tile.paste(picture, (task * WIDTH + (WIDTH - picture.width) // 2, HEADING))
        yield tile
        for _ in range(EVERY):
            observations, *_ = env.step(best.predict(observations))
    env.close()


def sheet(tiles_now: tuple[Image.Image, ...]) -> np.ndarray:
    """All families at one moment."""
    n_lines = -(-len(tiles_now) // COLUMNS)
    width, height = tiles_now[0].size
    page = Image.new("RGB", (COLUMNS * width, n_lines * height), PAPER)
    for i, tile in enumerate(tiles_now):
        page.paste(tile, (i % COLUMNS * width, i // COLUMNS * height))
    return np.asarray(page)


path = Path("families.webp")
write_film(path, [sheet(now) for now in zip(*map(tiles, SHOWN), strict=True)], FPS)
print(f"{path}: {path.stat().st_size / 1000:.0f} kB")
