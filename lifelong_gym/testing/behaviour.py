"""What holds of every family whatever its interface: spaces, seeds, changes of task."""

from __future__ import annotations

import pickle
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from lifelong_gym.envs.family import Family
from lifelong_gym.testing.common import QUICK, SEED, draw_actions, task_sets, with_tasks

SHORT = 20  # steps of an episode, at most
Visits = dict[tuple[int, int], bytes]


def check_spaces(id: str, kind: Family, settings: dict[str, Any]) -> None:
    """Every observation lies in its space, also the last and failed ones; rewards are finite."""
    for name, tasks in task_sets(kind, 8).items():
        chosen = with_tasks(kind, {**QUICK, **settings, "tasks": tasks}, 0)
        env: Any = gym.make_vec(id, num_envs=len(tasks), **chosen)
        actions = draw_actions(kind, (len(tasks), env.unwrapped.core.horizon))
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
        at = tuple(np.argwhere(~((observations >= space.low) & (observations <= space.high)))[0])
        row, i = at[0], at[1] if len(at) == 2 else tuple(map(int, at[1:]))
        bounds = f"[{space.low[at]:g}, {space.high[at]:g}]"
        raise AssertionError(
            f"{id}: observation {i} must be in {bounds} ({where}, row {row}). Received {observations[at]}"
        )
    raise AssertionError(f"{id}: observations must be in {space} ({where}). Received {observations}")


def _short(kind: Family) -> int:
    """Steps of an episode where only the order of episodes matters."""
    return min(SHORT, kind.longest or SHORT)


def check_seeds(id: str, kind: Family, settings: dict[str, Any]) -> None:
    """The seed of `reset` decides on the episodes and on nothing else; the schedule decides on their order alone."""
    settings = {**with_tasks(kind, {**QUICK, **settings}, 2), "horizon": _short(kind)}
    env: Any = gym.make(id, **settings)
    tasks, visits = env.unwrapped.core.tasks, _visits(env, kind)
    if _visits(env, kind) != visits:
        raise AssertionError(f"{id}: the same seed gives other episodes in an env that is reset")
    if _visits(gym.make(id, **settings), kind) != visits:
        raise AssertionError(f"{id}: the same seed gives other episodes in a new env")
    if env.unwrapped.core.tasks != tasks:
        raise AssertionError(f"{id}: `reset` changes the tasks")
    for (task, visit), episode in _visits(gym.make(id, **settings, schedule="random"), kind).items():
        if visits.get((task, visit), episode) != episode:
            raise AssertionError(f"{id}: visit {visit} to task {task} is another one under another schedule")


def _visits(env: Any, kind: Family, n_episodes: int = 6) -> Visits:
    """What happens in each visit to each task, as bytes."""
    actions = draw_actions(kind, (SHORT,))
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


def check_snapshots(id: str, kind: Family, settings: dict[str, Any]) -> None:
    """A copy of an env within an episode, pickled or from its state, goes on exactly as the env itself does."""
    settings = {**with_tasks(kind, {**QUICK, **settings}, 2), "horizon": _short(kind)}
    env: Any = gym.make_vec(id, num_envs=2, autoreset_mode="SameStep", **settings)
    actions = draw_actions(kind, (2, 2 * SHORT))
    env.reset(seed=SEED)
    for step in range(SHORT // 2):
        env.step(actions[:, step])
    loaded: Any = gym.make_vec(id, num_envs=2, autoreset_mode="SameStep", **settings)
    loaded.unwrapped.load_state_dict(env.unwrapped.state_dict())
    copies = {"copy": pickle.loads(pickle.dumps(env.unwrapped)), "state": loaded}
    for step in range(SHORT // 2, 2 * SHORT):
        expected = env.step(actions[:, step])[:4]
        for way, copy in copies.items():
            found = copy.step(actions[:, step])[:4]
            if not all(np.array_equal(a, b) for a, b in zip(expected, found, strict=True)):
                raise AssertionError(f"{id}: a {way} made within an episode goes on in another way (step {step})")
    for each in (env, *copies.values()):
        each.close()


def check_boundaries(id: str, kind: Family, settings: dict[str, Any]) -> None:
    """A task changes when an episode ends, and only then: row i of R is in task ``(i + k R) mod n_tasks``."""
    n_rows, n_tasks = 2, 3
    settings = {**with_tasks(kind, {**QUICK, **settings}, n_tasks), "horizon": _short(kind)}
    env: Any = gym.make_vec(id, num_envs=n_rows, autoreset_mode="SameStep", **settings)
    actions = draw_actions(kind, (n_rows, 3 * SHORT))
    env.reset(seed=SEED)
    episodes = np.zeros(n_rows, np.int64)
    for step in range(actions.shape[1]):
        _, _, terminated, truncated, _ = env.step(actions[:, step])
        episodes += terminated | truncated
        expected = (np.arange(n_rows) + n_rows * episodes) % len(env.unwrapped.core.tasks)
        found = env.unwrapped.core.task_of_row
        if not np.array_equal(found, expected):
            raise AssertionError(f"{id}: at step {step} the rows are in tasks {found} instead of {expected}")
