"""What Gymnasium, PettingZoo and Stable-Baselines3 require of every registered id."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import types
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils import env_checker
from gymnasium.vector import AsyncVectorEnv
from gymnasium.vector.utils import CloudpickleWrapper
from gymnasium.wrappers.vector import RecordEpisodeStatistics
from pettingzoo.test import api_test, max_cycles_test, parallel_api_test, parallel_seed_test, render_test
from stable_baselines3.common import env_checker as sb3_checker

import lifelong_gym
from lifelong_gym.envs.backends.threads import set_num_threads
from lifelong_gym.envs.spaces import Simplex
from lifelong_gym.envs.vector import AutoresetMode
from lifelong_gym.registry import FAMILIES
from tests.making import CART_POLE, GRID_WORLD, LIMITS, aec, parallel, rows_for_sb3, same, sizes, within

# The other way round than in `test_promises`: two workers that start together don't compile the same families.
each_id = pytest.mark.parametrize("id", sorted(FAMILIES, reverse=True))
CHAIN = "LifelongChain-v0"
UNENDING = {f"s{i}_left_under_{action}": float(i == 4) for i in (2, 4) for action in "lr"}
some_ids = pytest.mark.parametrize("id", [CART_POLE, GRID_WORLD])


# ----------------------------------------------------------------------------------------------------------- checkers


@each_id
def test_gymnasiums_checker(id: str) -> None:
    """On the bare env, rendering included, and as `gymnasium.make` gives it."""
    env_checker.check_env(gym.make(id, render_mode="rgb_array", **sizes(id)).unwrapped)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*is different from the unwrapped version")
        env_checker.check_env(gym.make(id, **sizes(id)), skip_render_check=True)


@each_id
def test_stable_baselines_checker(id: str) -> None:
    """Single env and VecEnv have the spaces and types that SB3 asks for; of shares it recommends logits."""
    family = lifelong_gym.family(id)
    chosen: dict[str, Any] = {"actions": "logits"} if isinstance(family.actions, Simplex) else {}
    if "resolution" in family.argument_values:
        chosen["resolution"] = 36  # the smallest that its networks take
    sb3_checker.check_env(gym.make(id, **{**sizes(id), **chosen}))
    env = rows_for_sb3(id, n_tasks=2)
    assert env.reset().shape == (2, *(env.observation_space.shape or ()))


@each_id
def test_pettingzoos_checkers(id: str) -> None:
    """All of them; only `api_test` may warn, that a tabular family's observations are no arrays."""
    parallel_api_test(parallel(id), num_cycles=250)
    parallel_seed_test(lambda: parallel(id))
    api_test(aec(id, horizon=within(id, 40)), num_cycles=150)
    longer: dict[str, Any] = {"tasks": 3 * [UNENDING], "n_tasks": None} if id == CHAIN else {}  # than a few cycles
    module = types.SimpleNamespace(parallel_env=partial(parallel, id, **longer), env=partial(aec, id, **longer))
    max_cycles_test(module)


@each_id
def test_pettingzoos_render_test(id: str) -> None:
    """In both modes."""
    render_test(partial(aec, id))


@each_id
def test_parallel_envs_repeat_themselves(id: str) -> None:
    """Over whole episodes; PettingZoo's own test stops after one cycle with string agents."""
    one: dict[int, list[Any]] = {}
    other: dict[int, list[Any]] = {}
    for log in (one, other):
        env = parallel(id, **LIMITS.get(id, {}))
        for agent in env.possible_agents:
            env.action_space(agent).seed(7)
        for episode in range(3):
            log[episode] = [env.reset(seed=9 if episode == 0 else None)]
            while env.agents:
                log[episode].append(env.step({agent: env.action_space(agent).sample() for agent in env.agents}))
    assert all(same(one[episode], other[episode]) for episode in range(3))


# ---------------------------------------------------------------------------------------------- making, specs, copies


@pytest.mark.parametrize("call", ["make({id!r})", "make_vec({id!r}, num_envs=2)"])
def test_an_id_with_its_module_needs_no_import(call: str) -> None:
    """Spawned workers know nothing else."""
    text = call.format(id=f"lifelong_gym:{CART_POLE}")
    code = f"import gymnasium as gym; env = gym.{text}; env.reset(seed=0); print(type(env.unwrapped).__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] in ("LifelongEnv", "LifelongVectorEnv")


TASKS: list[dict[str, Any]] = [
    {"tasks": lifelong_gym.sample_tasks(CART_POLE, 3, seed=4, preset="hetero").split(2)[0]},
    {"tasks": [{"cart_mass": 0.5}, {"pole_mass": np.float64(0.2), "gravity": 3}]},
    {"n_tasks": np.int64(4), "task_seed": 2, "preset": "wide", "schedule": {"blocked": 2}},
    {"tasks": lifelong_gym.sample_tasks(CART_POLE, 2), "schedule": np.array([1, 0]), "task_observation": "one_hot"},
]


def test_tasks_may_come_from_a_generator() -> None:
    """Which can be read only once."""
    env = gym.make(CART_POLE, tasks=({"cart_mass": mass} for mass in (0.3, 0.5)))
    again: Any = gym.make(env.spec)  # type: ignore[arg-type]
    assert again.unwrapped.tasks.column("cart_mass").tolist() == [0.3, 0.5]


@pytest.mark.parametrize("settings", TASKS, ids=range(len(TASKS)))
def test_a_spec_survives_json_and_pickle(settings: dict[str, Any]) -> None:
    """And makes an equal env again."""
    env = gym.make(CART_POLE, **settings)
    assert env.spec is not None
    for spec in (EnvSpec.from_json(env.spec.to_json()), pickle.loads(pickle.dumps(env.spec)), env.spec):
        again: Any = gym.make(spec)
        assert again.unwrapped.tasks == env.unwrapped.tasks  # type: ignore[attr-defined]
        assert same(again.reset(seed=3), env.reset(seed=3))
        assert same(again.reset(), env.reset())


def test_the_spec_of_a_vector_env_is_json_native() -> None:
    """Autoreset modes are given as enum or as string."""
    tasks = lifelong_gym.sample_tasks(CART_POLE, 2)
    env = gym.make_vec(CART_POLE, num_envs=2, tasks=tasks, autoreset_mode=AutoresetMode.SAME_STEP)
    assert env.spec is not None
    again: Any = gym.make_vec(EnvSpec.from_json(env.spec.to_json()))
    assert again.num_envs == 2
    assert again.unwrapped.tasks == tasks
    assert again.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP


KINDS: dict[str, Callable[..., Any]] = {
    "single": gym.make,
    "vector": partial(gym.make_vec, num_envs=3),
    "parallel": parallel,
    "aec": aec,
    "sb3": lambda id, **settings: rows_for_sb3(parallel(id, **settings)),
}
BACKENDS: list[dict[str, Any]] = [{"backend": backend} for backend in ("numba", "numpy", "python")]


def sample(space: Any, rng: np.random.Generator) -> Any:
    """An action that depends on ``rng`` alone."""
    space.seed(int(rng.integers(1000)))
    return space.sample()


def drive(env: Any, n_steps: int) -> list[Any]:
    """Step any of the interfaces, within its first episode."""
    log: list[Any] = []
    rng = np.random.default_rng(1)
    for _ in range(n_steps):
        if hasattr(env, "agent_iter"):
            agent = env.agent_selection
            log.append((agent, env.last()))
            env.step(sample(env.action_space(agent), rng))
        elif hasattr(env, "possible_agents"):
            log.append(env.step({agent: sample(env.action_space(agent), rng) for agent in env.agents}))
        elif hasattr(env, "num_envs"):
            space = getattr(env, "single_action_space", env.action_space)
            log.append(env.step(np.stack([sample(space, rng) for _ in range(env.num_envs)])))
        else:
            log.append(env.step(sample(env.action_space, rng)))
    return log


@pytest.mark.parametrize("settings", [*BACKENDS, {"physics": "mujoco"}], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_goes_on_within_an_episode(kind: str, settings: dict[str, Any]) -> None:
    """By pickle, cloudpickle and deepcopy; compiled code isn't part of it, a failed row stays failed."""
    env = KINDS[kind](CART_POLE, task_observation="append", preset="hetero", **settings)
    env.reset(**({} if kind == "sb3" else {"seed": 2}))
    log = drive(env, 100)
    assert log[-1][-1]["failed"].any() if kind == "vector" else "'failed': True" in str(log)
    by_cloudpickle = pickle.loads(pickle.dumps(CloudpickleWrapper(env))).fn
    copies = [pickle.loads(pickle.dumps(env)), by_cloudpickle, copy.deepcopy(env)]
    logs = [drive(each, 10) for each in [env, *copies]]
    for log in logs[1:]:
        assert same(log, logs[0])
    assert len(pickle.dumps(env)) < 200_000


@some_ids
def test_spawned_workers(id: str) -> None:
    """AsyncVectorEnv with the spawn context equals the native rows."""
    makers = [partial(gym.make, f"lifelong_gym:{id}", n_tasks=2, schedule=[i], backend="numpy") for i in range(2)]
    env = AsyncVectorEnv(makers, context="spawn")
    native = gym.make_vec(id, num_envs=2, n_tasks=2, backend="numpy")
    try:
        assert same(env.reset(seed=3), native.reset(seed=3))
        for _ in range(5):
            actions = native.action_space.sample()
            assert same(env.step(actions), native.step(actions))
    finally:
        env.close()


# ------------------------------------------------------------------------------------------ results of reset and step


def arrays_in(value: Any) -> list[np.ndarray[Any, Any]]:
    """All arrays in nested containers."""
    if isinstance(value, np.ndarray):
        return [value, *(arrays_in(list(value)) if value.dtype.kind == "O" else [])]
    items = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return [array for item in items for array in arrays_in(item)]


@each_id
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_returned_shares_memory(kind: str, id: str) -> None:
    """Two calls return arrays of their own, and none belongs to the env: writing into them changes nothing."""
    env, twin = KINDS[kind](id, horizon=3), KINDS[kind](id, horizon=3)
    if kind == "aec":
        twin.reset(seed=0)
        env.reset(seed=0)
        returned = [env.observe(agent) for agent in env.agents]
    else:
        seed = {} if kind == "sb3" else {"seed": 0}
        for each in (env, twin) if kind == "sb3" else ():
            each.seed(0)
        twin.reset(**seed)
        returned = [env.reset(**seed)]
        space = env.action_space if kind != "parallel" else env.action_space("task_0")
        actions = [space.sample() if kind != "sb3" else [space.sample()] * 3 for _ in range(3)]
        for action in actions:
            given = dict.fromkeys(env.agents, action) if kind == "parallel" else np.array(action)
            expected = copy.deepcopy(twin.step(given))
            returned.append(env.step(given))
            assert same(returned[-1], expected)
            for array in arrays_in(returned):
                if array.dtype.kind != "O":
                    array[...] = 0
    found = [arrays_in(result) for result in returned]
    for i, mine in enumerate(found):
        for array in mine:
            assert not any(np.shares_memory(array, other) for later in found[i + 1 :] for other in later)


@each_id
def test_infos_keep_their_keys_and_types(id: str) -> None:
    """At reset and at every step, so that vector infos and Minari's data sets have one type a key."""
    for make in (gym.make, partial(gym.make_vec, num_envs=2)):
        for hidden in (False, True):
            env: Any = make(id, hide_task_id=hidden, **sizes(id))
            _, info = env.reset(seed=0)
            types_at_reset = {key: getattr(value, "dtype", type(value)) for key, value in info.items()}
            assert ("task_id" in info) is not hidden
            for _ in range(5):
                *_, info = env.step(env.action_space.sample())
                assert {key: getattr(value, "dtype", type(value)) for key, value in info.items()} == types_at_reset


@each_id
def test_types_of_a_step(id: str) -> None:
    """Python's own, where Gymnasium and SB3 insist on them."""
    env = gym.make(id, **sizes(id))
    observation, info = env.reset(seed=0)
    assert type(info["task_id"]) is int
    for _ in range(5):
        observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
        assert (type(reward), type(terminated), type(truncated), type(info["failed"])) == (float, bool, bool, bool)
        assert observation.dtype == env.observation_space.dtype
        assert env.observation_space.contains(observation)


def test_a_learner_that_must_not_know_the_task_isnt_told() -> None:
    """``hide_task_id`` in every interface."""
    env = rows_for_sb3(CART_POLE, hide_task_id=True, n_tasks=2)
    env.reset()
    infos = [*env.reset_infos, *env.step(np.zeros((2, 1)))[3]]
    infos += parallel(CART_POLE, hide_task_id=True).reset()[1].values()
    infos += [gym.make(CART_POLE, hide_task_id=True).reset()[1]]
    assert all(info == {"failed": False} for info in infos)
    assert "task_id" not in gym.make_vec(CART_POLE, num_envs=2, hide_task_id=True).reset()[1]


@pytest.mark.parametrize("kind", KINDS)
def test_closing_twice_does_nothing(kind: str) -> None:
    """With a simulator behind it too; a reset begins anew."""
    env = KINDS[kind](CART_POLE, physics="mujoco")
    env.reset()
    env.close()
    env.close()
    env.reset()


def test_options_are_never_modified() -> None:
    """Gymnasium's own vector envs do it, and break RecordEpisodeStatistics."""
    env = gym.make_vec(CART_POLE, num_envs=2, autoreset_mode=AutoresetMode.DISABLED)
    env.reset(seed=0)
    options = {"reset_mask": np.array([True, False]), "task": np.array([3, 4]), "state": np.zeros(4), "what": 1}
    given = copy.deepcopy(options)
    env.reset(options=options)
    assert same(options, given)


@pytest.mark.parametrize("mode", AutoresetMode)
def test_episode_statistics_of_a_vector_env(mode: AutoresetMode) -> None:
    """Gymnasium's wrapper counts what happened in every mode."""
    env: Any = RecordEpisodeStatistics(gym.make_vec(CART_POLE, num_envs=2, horizon=5, autoreset_mode=mode))
    env.reset(seed=0)
    total = np.zeros(2)
    for _ in range(5):
        _, rewards, _, truncated, infos = env.step(env.action_space.sample())
        total += rewards
    assert truncated.all()
    np.testing.assert_allclose(infos["episode"]["r"], total, rtol=1e-6)
    np.testing.assert_array_equal(infos["episode"]["l"], [5, 5])


# ---------------------------------------------------------------------------------------------------------- processes


def test_a_forked_process_steps_on_threads_of_its_own() -> None:
    """A pool of threads doesn't survive a fork; the child makes a new one."""
    code = """
import os, sys
import gymnasium as gym, numpy as np, lifelong_gym
from lifelong_gym.envs.backends.threads import set_num_threads
set_num_threads(2)
env = gym.make_vec("LifelongCartPole-v0", num_envs=13_000)
env.reset(seed=0)
actions = np.zeros((13_000, 1))
env.step(actions)
child = os.fork()
expected = env.step(actions)[0]
total = float(expected.sum(dtype=np.float64))
if child == 0:
    print("child", total, flush=True)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
print("parent", total)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    (_, child), (_, parent) = (line.split() for line in done.stdout.splitlines())
    assert child == parent


def test_the_number_of_threads_is_positive() -> None:
    """Nothing else is a number of threads."""
    with pytest.raises(ValueError, match=r"`n` must be an integer of at least 1. Received 0"):
        set_num_threads(0)
