"""What holds of every family whatever its interface: spaces, seeds, changes of task."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from lifelong_gym.envs.family import KernelFamily
from lifelong_gym.testing.common import QUICK, SEED, draw_actions, task_sets, with_tasks

SHORT = 20  # steps of an episode where only the order of episodes matters
Visits = dict[tuple[int, int], bytes]


def check_spaces(id: str, kind: KernelFamily, settings: dict[str, Any]) -> None:
    """Every observation lies in its space, also the last and failed ones; rewards are finite."""
    for name, tasks in task_sets(kind, 8).items():
        chosen = with_tasks(kind, {**QUICK, **settings, "tasks": tasks}, 0)
        env: Any = gym.make_vec(id, num_envs=len(tasks), **chosen)
        actions = draw_actions(env.single_action_space, (len(tasks), env.unwrapped.core.horizon))
        observations, _ = env.reset(seed=SEED)
        _check_inside(id, env.observation_space, observations, f"{name}, after `reset`")
        for step in range(actions.shape[1]):
            observations, rewards, *_ = env.step(actions[:, step])
            _check_inside(id, env.observation_space, observations, f"{name}, step {step}")
            if not np.isfinite(rewards).all():
                raise AssertionError(f"{id}: a reward is not finite ({name}, step {step}). Received {rewards}")
        env.close()


def _check_inside(id: str, space: spaces.Space[Any], observations: Any, where: str) -> None:
    if observations.dtype != space.dtype:
        raise AssertionError(f"{id}: observations must be {space.dtype} ({where}). Received {observations.dtype}")
    if space.contains(observations):
        return
    if isinstance(space, spaces.Box):
        row, i = np.argwhere(~((observations >= space.low) & (observations <= space.high)))[0]
        bounds = f"[{space.low[row, i]:g}, {space.high[row, i]:g}]"
        raise AssertionError(
            f"{id}: observation {i} must be in {bounds} ({where}, row {row}). Received {observations[row, i]}"
        )
    raise AssertionError(f"{id}: observations must be in {space} ({where}). Received {observations}")


def check_seeds(id: str, kind: KernelFamily, settings: dict[str, Any]) -> None:
    """The seed of `reset` decides on the episodes and on nothing else; the schedule decides on their order alone."""
    settings = {**with_tasks(kind, {**QUICK, **settings}, 2), "horizon": SHORT}
    env: Any = gym.make(id, **settings)
    tasks, visits = env.unwrapped.tasks, _visits(env)
    if _visits(env) != visits:
        raise AssertionError(f"{id}: the same seed gives other episodes in an env that is reset")
    if _visits(gym.make(id, **settings)) != visits:
        raise AssertionError(f"{id}: the same seed gives other episodes in a new env")
    if env.unwrapped.tasks != tasks:
        raise AssertionError(f"{id}: `reset` changes the tasks")
    for (task, visit), episode in _visits(gym.make(id, **settings, schedule="random")).items():
        if visits.get((task, visit), episode) != episode:
            raise AssertionError(f"{id}: visit {visit} to task {task} is another one under another schedule")


def _visits(env: Any, n_episodes: int = 6) -> Visits:
    """What happens in each visit to each task, as bytes."""
    actions = draw_actions(env.action_space, (SHORT,))
    visits: Visits = {}
    for episode in range(n_episodes):
        observation, _ = env.reset(seed=SEED if episode == 0 else None)
        seen, ended = [observation.tobytes()], False
        for action in actions:
            if not ended:
                observation, reward, terminated, truncated, _ = env.step(action)
                seen += [observation.tobytes(), np.float64(reward).tobytes()]
                ended = terminated or truncated
        task = int(env.unwrapped.core.task_of_row[0])
        visits[task, sum(other == task for other, _ in visits)] = b"".join(seen)
    return visits


def check_boundaries(id: str, kind: KernelFamily, settings: dict[str, Any]) -> None:
    """A task changes when an episode ends, and only then: row i of R is in task ``(i + k R) mod n_tasks``."""
    n_rows, n_tasks = 2, 3
    settings = {**with_tasks(kind, {**QUICK, **settings}, n_tasks), "horizon": SHORT}
    env: Any = gym.make_vec(id, num_envs=n_rows, autoreset_mode="SameStep", **settings)
    actions = draw_actions(env.single_action_space, (n_rows, 3 * SHORT))
    env.reset(seed=SEED)
    episodes = np.zeros(n_rows, np.int64)
    for step in range(actions.shape[1]):
        _, _, terminated, truncated, _ = env.step(actions[:, step])
        episodes += terminated | truncated
        expected = (np.arange(n_rows) + n_rows * episodes) % len(env.unwrapped.tasks)
        found = env.unwrapped.core.task_of_row
        if not np.array_equal(found, expected):
            raise AssertionError(f"{id}: at step {step} the rows are in tasks {found} instead of {expected}")
