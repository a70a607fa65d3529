"""Whether a task gives the same numbers through every interface and on every backend."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from inspect import signature
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import pettingzoo
from gymnasium.vector import SyncVectorEnv

from lifelong_gym.envs.backends.rollout_plan import theta_shape
from lifelong_gym.envs.family import Family, KernelFamily
from lifelong_gym.envs.rollout import rollout
from lifelong_gym.envs.vector import AutoresetMode
from lifelong_gym.registry import family, own_arguments
from lifelong_gym.testing.common import SEED, draw_actions, running, with_tasks
from lifelong_gym.wrappers import as_vec_env

N_TASKS, N_EPISODES = 2, 3
SHORT = 60  # steps of an episode in which rows are to fail
SYNC_HAS_MODES = "autoreset_mode" in signature(SyncVectorEnv).parameters  # from Gymnasium 1.1 on


@dataclass
class Episode:
    """What happened in an episode; T steps make T + 1 observations."""

    task: list[int]
    observation: list[Any]
    reward: list[float] = field(default_factory=list)
    terminated: list[bool] = field(default_factory=list)
    truncated: list[bool] = field(default_factory=list)
    failed: list[bool] = field(default_factory=list)

    def add(self, observation: Any, reward: Any, terminated: Any, truncated: Any, failed: Any) -> None:
        """Add a step."""
        self.observation.append(observation)
        self.reward.append(float(reward))
        self.terminated.append(bool(terminated))
        self.truncated.append(bool(truncated))
        self.failed.append(bool(failed))


@dataclass(frozen=True)
class ParityPlan:
    """What every interface is to do: row i, seeded with ``seeds[i]``, runs task ``i mod n_tasks``.

    Attributes:
        id: of the family.
        settings: with the tasks.
        seeds: one a row.
        actions: per row, episode and step.
    """

    id: str
    settings: dict[str, Any]
    seeds: list[int]
    actions: npt.NDArray[Any]

    @property
    def n_tasks(self) -> int:
        """Number of tasks."""
        return len(self.settings["tasks"])

    @property
    def n_episodes(self) -> int:
        """Number of episodes."""
        return int(self.actions.shape[1])

    def on(self, backend: str) -> ParityPlan:
        """The same on another backend."""
        return replace(self, settings={**self.settings, "backend": backend})

    def action(self, row: int, episodes: list[Episode]) -> Any:
        """What a row does next; after the last episode they begin again."""
        return self.actions[row, (len(episodes) - 1) % self.n_episodes, len(episodes[-1].reward)]

    def next_actions(self, history: History) -> npt.NDArray[Any]:
        """What all rows do next."""
        return np.stack([self.action(row, episodes) for row, episodes in enumerate(history)])

    def is_unfinished(self, history: History) -> bool:
        """Whether some row hasn't begun an episode beyond the last one."""
        return min(len(episodes) for episodes in history) <= self.n_episodes


History = list[list[Episode]]  # per row, per episode


def check_parity(id: str, **settings: Any) -> None:
    """Check that a task gives the same numbers, to the bit, through every interface and on every backend.

    The reference is the single env on plain Python floats, over several episodes. Compared with it are the single
    and the vector env on every backend, the parallel env, the SB3 VecEnv and `rollout`. The vector env is also
    compared, step by step, with Gymnasium's SyncVectorEnv of single envs in all three autoreset modes, where one row
    resets apart from the others.

    Args:
        id: of a registered family.
        **settings: as in `gymnasium.make`.

    Raises:
        AssertionError: two of them differ.
        FamilyError: the family's functions don't run on some backend.
    """
    kind = family(id, **own_arguments(id, settings))
    settings = with_tasks(kind, settings, N_TASKS)
    is_kernel = isinstance(kind, KernelFamily) and settings.get("physics", "kernel") == "kernel"
    if is_kernel and kind.state_limits:  # rows that end apart from each other; numba would compile these anew
        plan = _plan(id, kind, {"horizon": SHORT, **settings, "terminate_on_failure": True})
        _check_ways(plan, ["numpy", "python"])
    plan = _plan(id, kind, settings)
    _check_ways(plan, ["python", "numpy", "numba"] if is_kernel else ["python"])
    if is_kernel and theta_shape(kind) is not None and settings.get("task_observation", "hide") == "hide":
        with running(id, "`rollout`"):
            _check_rollout(kind, plan)


def _plan(id: str, kind: Family, settings: dict[str, Any]) -> ParityPlan:
    n_rows, horizon = 2 * len(settings["tasks"]), settings.get("horizon") or kind.horizon
    actions = draw_actions(kind, (n_rows, N_EPISODES, horizon))
    return ParityPlan(id, settings, [SEED + row for row in range(n_rows)], actions)


def _check_ways(plan: ParityPlan, backends: Sequence[str]) -> None:
    """Single and vector env on these backends, the other interfaces on the last one."""
    expected = single(plan.on("python"))
    for backend in backends:
        variant = plan.on(backend)
        # NumPy is slow where it has single rows: one will do.
        _compare(expected, single, replace(variant, seeds=plan.seeds[:1]) if backend == "numpy" else variant)
        _compare(expected, vector, variant)
    _compare(expected, parallel, variant)
    _compare([[_as_sb3_has_it(episode) for episode in row] for row in expected], sb3, variant)
    for mode in AutoresetMode if SYNC_HAS_MODES else ():
        with running(plan.id, f"{mode} on {variant.settings['backend']}"):
            _check_autoreset(variant, mode)


def single(plan: ParityPlan) -> History:
    """Row by row, through `gymnasium.make`."""
    history: History = []
    for row, seed in enumerate(plan.seeds):
        env = gym.make(plan.id, **plan.settings)
        episodes: list[Episode] = []
        history.append(episodes)
        for k in range(plan.n_episodes):
            task = row % plan.n_tasks
            observation, info = env.reset(seed=seed if k == 0 else None, options={"task": task})
            episodes.append(Episode([info.get("task_id", task)], [observation]))
            ended = False
            while not ended:
                observation, reward, terminated, truncated, info = env.step(plan.action(row, episodes))
                episodes[-1].add(observation, reward, terminated, truncated, info["failed"])
                ended = terminated or truncated
        env.close()
    return history


def vector(plan: ParityPlan) -> History:
    """All rows at once, through `gymnasium.make_vec`, ended ones beginning anew in the same step."""
    env: Any = gym.make_vec(plan.id, num_envs=len(plan.seeds), autoreset_mode="SameStep", **plan.settings)
    tasks = env.unwrapped.core.task_of_row
    observations, _ = env.reset(seed=plan.seeds)
    history = [[Episode([int(tasks[row])], [observation])] for row, observation in enumerate(observations)]
    while plan.is_unfinished(history):
        observations, rewards, terminated, truncated, infos = env.step(plan.next_actions(history))
        for row, episodes in enumerate(history):
            ended = terminated[row] or truncated[row]
            last = infos["final_obs"][row] if ended else observations[row]
            failed = infos["final_info"]["failed"][row] if ended else infos["failed"][row]
            episodes[-1].add(last, rewards[row], terminated[row], truncated[row], failed)
            if ended:
                episodes.append(Episode([int(tasks[row])], [observations[row]]))
    env.close()
    return history


def parallel(plan: ParityPlan) -> History:
    """One row a task, through `pettingzoo.make`."""
    env = pettingzoo.make("parallel", plan.id, **plan.settings)
    history: History = [[] for _ in env.possible_agents]
    for k in range(plan.n_episodes):
        observations, _ = env.reset(seed=plan.seeds[0] if k == 0 else None)
        for row, agent in enumerate(env.possible_agents):
            history[row].append(Episode([row], [observations[agent]]))
        while env.agents:
            rows = {agent: env.possible_agents.index(agent) for agent in env.agents}
            *results, infos = env.step({agent: plan.action(row, history[row]) for agent, row in rows.items()})
            for agent, row in rows.items():
                history[row][-1].add(*[result[agent] for result in results], infos[agent]["failed"])
    env.close()
    return history


def sb3(plan: ParityPlan) -> History:
    """All rows at once, through `as_vec_env`."""
    env: Any = as_vec_env(gym.make_vec(plan.id, num_envs=len(plan.seeds), **plan.settings).unwrapped)
    env.seed(plan.seeds[0])
    tasks = env.core.task_of_row
    history = [[Episode([int(tasks[row])], [seen])] for row, seen in enumerate(env.reset())]
    while plan.is_unfinished(history):
        observations, rewards, done, infos = env.step(plan.next_actions(history))
        for row, (episodes, info) in enumerate(zip(history, infos, strict=True)):
            truncated = info.get("TimeLimit.truncated", False)
            last = info.get("terminal_observation", observations[row])
            episodes[-1].add(last, rewards[row], done[row] and not truncated, truncated, info["failed"])
            if done[row]:
                episodes.append(Episode([int(tasks[row])], [observations[row]]))
    env.close()
    return history


def _as_sb3_has_it(episode: Episode) -> Episode:
    """Rewards in float32, and no truncation where an episode also terminates."""
    rewards = [float(np.float32(reward)) for reward in episode.reward]
    truncated = [cut and not end for cut, end in zip(episode.truncated, episode.terminated, strict=True)]
    return Episode(episode.task, episode.observation, rewards, episode.terminated, truncated, episode.failed)


def _compare(expected: History, way: Callable[[ParityPlan], History], plan: ParityPlan) -> None:
    name = f"{way.__name__} env on {plan.settings.get('backend', 'numba')}"
    with running(plan.id, name):
        found = way(plan)
    _compare_episodes(plan, name, expected, found)


def _compare_episodes(plan: ParityPlan, way: str, expected: History, found: History) -> None:
    for row, episodes in enumerate(found):
        for k in range(plan.n_episodes):
            for name, values in vars(episodes[k]).items():
                wanted = getattr(expected[row][k], name)
                step = _first_difference(wanted, values)
                if step is not None:
                    raise AssertionError(
                        f"{plan.id}: {way} differs from the single env on plain floats: {name} {step} of row {row}, "
                        f"episode {k}, is {values[step : step + 1]} instead of {wanted[step : step + 1]}"
                    )


def _first_difference(a: list[Any], b: list[Any]) -> int | None:
    for i, (x, y) in enumerate(zip(a, b, strict=False)):
        if type(x) is not type(y) or not (np.array_equal(x, y) and np.asarray(x).dtype == np.asarray(y).dtype):
            return i
    return None if len(a) == len(b) else min(len(a), len(b))


def _check_autoreset(plan: ParityPlan, mode: AutoresetMode) -> None:
    """Native rows against SyncVectorEnv of single envs, each staying in its row's task; row 1 resets on its own."""
    n_rows, n_steps = len(plan.seeds), int(2.2 * plan.actions.shape[2])
    native: Any = gym.make_vec(plan.id, num_envs=n_rows, autoreset_mode=mode.value, **plan.settings)
    makers = [partial(gym.make, plan.id, **plan.settings, schedule=[row % plan.n_tasks]) for row in range(n_rows)]
    sync = SyncVectorEnv(makers, autoreset_mode=mode)
    where = f"{plan.id}: vector env and SyncVectorEnv differ in mode {mode.value}"
    _check_same(native.reset(seed=plan.seeds[0]), sync.reset(seed=plan.seeds[0]), f"{where}, `reset`")
    actions = draw_actions(family(plan.id, **own_arguments(plan.id, plan.settings)), (n_rows, n_steps))
    for step in range(n_steps):
        results = native.step(actions[:, step])
        _check_same(results, sync.step(actions[:, step]), f"{where}, step {step}")
        mask = (results[2] | results[3]) & (mode == AutoresetMode.DISABLED)
        mask[1] |= step == plan.actions.shape[2] // 3
        if mask.any():
            one, other = (env.reset(options={"reset_mask": mask.copy()}) for env in (native, sync))
            _check_same(one, other, f"{where}, `reset` of rows {np.flatnonzero(mask)} after step {step}")
    native.close()
    sync.close()


def _check_same(a: Any, b: Any, where: str) -> None:
    """Equal values of equal types, in nested tuples, dicts and arrays of objects."""
    if isinstance(b, dict):
        if a.keys() != b.keys():
            raise AssertionError(f"{where}: infos {sorted(a)} instead of {sorted(b)}")
        for name, value in b.items():
            _check_same(a[name], value, f"{where}, {name!r}")
    elif isinstance(b, tuple) or (isinstance(b, np.ndarray) and b.dtype.kind == "O"):
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            _check_same(x, y, f"{where}, item {i}")
    elif type(a) is not type(b) or getattr(a, "dtype", None) != getattr(b, "dtype", None) or not np.array_equal(a, b):
        raise AssertionError(f"{where}: {a!r} instead of {b!r}")


def _check_rollout(kind: Family, plan: ParityPlan) -> None:
    """Trajectories of random policies against single envs that take the same actions."""
    shape = theta_shape(kind)
    assert shape is not None, "checked by whoever calls"
    theta = np.random.default_rng(SEED).normal(size=(plan.n_tasks, *shape))
    given: dict[str, Any] = {
        name: plan.settings[name] for name in ("tasks", "reward", "horizon") if name in plan.settings
    }
    # Tables add nothing to the family's text, which runs on numba above: spare them a compilation.
    backend = "numba" if kind.actions.bound else "numpy"
    given |= {"n_trajectories": N_EPISODES, "seed": SEED, "trajectories": True}
    ran = rollout(kind, theta=theta, backend=backend, **given)
    replay = ParityPlan(plan.id, plan.settings, [SEED] * plan.n_tasks, ran.actions).on("python")
    expected = single(replay)
    found = [[Episode([], []) for _ in row] for row in expected]
    for row, episodes in enumerate(expected):
        for k, episode in enumerate(episodes):
            n = len(episode.reward)
            found[row][k] = Episode(
                episode.task,
                _as_envs_have_it(kind, ran.observations[row, k, : n + 1]),
                ran.rewards[row, k, :n].tolist(),
                episode.terminated,
                episode.truncated,
                [*(~ran.alive[row, k, 1:n]).tolist(), episode.failed[-1]],
            )
    _compare_episodes(replay, "rollout", expected, found)


def _as_envs_have_it(kind: Family, observations: npt.NDArray[Any]) -> list[Any]:
    """Observations of a rollout, a step an entry, in the type that an env returns."""
    return list(kind.observations.rows(observations.reshape(len(observations), -1).astype(kind.observations.dtype)))
