"""Films of learned policies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import pettingzoo

from lifelong_gym.errors import MissingExtraError
from lifelong_gym.tasks.task_set import TaskSet

Frame = npt.NDArray[np.uint8]
MOST_PIXELS = 720  # of an animation's longer side
SUFFIXES = (".gif", ".webp", ".mp4")


def check_suffix(path: Path) -> None:
    """Raise `ValueError` unless films can be written in the format of ``path``."""
    if path.suffix not in SUFFIXES:
        raise ValueError(f"a film must end in {', '.join(SUFFIXES)}. Received {path.name!r}")


def write_film(path: Path, frames: Sequence[Frame], fps: float) -> None:
    """Write GIF, WebP (Pillow) or MP4 (extra ``video``), as the suffix says."""
    check_suffix(path)
    if path.suffix == ".mp4":
        try:
            import imageio
        except ImportError as error:
            raise MissingExtraError("imageio", "video") from error
        imageio.mimsave(path, list(frames), fps=fps, macro_block_size=1)
        return
    from PIL import Image

    images = [Image.fromarray(frame) for frame in frames]
    for image in images:
        image.thumbnail((MOST_PIXELS, MOST_PIXELS))
    first, *rest = images
    arguments: dict[str, Any] = {"optimize": True} if path.suffix == ".gif" else {"quality": 80}
    first.save(path, save_all=True, append_images=rest, duration=round(1000 / fps), loop=0, **arguments)


def animate(path: Path, env_id: str, tasks: TaskSet, chosen: Sequence[int], learner: Any, every: int = 2) -> None:
    """Film the mean policies of some tasks side by side, one episode.

    Args:
        path: of the film.
        env_id: id of the family.
        tasks: all tasks of the learner.
        chosen: indices of those to show.
        learner: has ``for_task(i)``.
        every: keep one frame of so many.
    """
    env = pettingzoo.make("parallel", env_id, tasks=tasks[np.array(chosen)], render_mode="rgb_array")
    policies = {f"task_{i}": learner.for_task(task) for i, task in enumerate(chosen)}
    frames = list(_frames(env, policies, every))
    write_film(path, frames, env.metadata["render_fps"] / every)
    env.close()


def _frames(env: Any, policies: dict[str, Any], every: int) -> Iterator[Frame]:
    observations, _ = env.reset(seed=0)
    step = 0
    while env.agents:
        if step % every == 0:
            yield env.render()
        actions = {agent: policies[agent].predict(observations[agent], deterministic=True)[0] for agent in env.agents}
        observations, *_ = env.step(actions)
        step += 1


def film_episode(path: Path, env: gym.Env[Any, Any], policy: Any, task: int, seed: int) -> float:
    """Film one episode of a single env; returns its sum of rewards."""
    frames = []

    def frame() -> None:
        frames.append(env.render())

    total = play(env, policy, task, seed, frame)
    write_film(path, frames, env.metadata["render_fps"])  # type: ignore[arg-type]
    return total


def play(env: gym.Env[Any, Any], policy: Any, task: int, seed: int, each_step: Any = lambda: None) -> float:
    """Run the mean policy for one episode in a task; returns the sum of rewards."""
    observation, _ = env.reset(seed=seed, options={"task": task})
    total, done = 0.0, False
    while not done:
        action, _ = policy.predict(observation, deterministic=True)
        observation, reward, terminated, truncated, _ = env.step(action)
        total += float(reward)
        done = terminated or truncated
        each_step()
    return total
