"""What clients rely on: words of errors, specs that say the horizon, infos and attributes of rows."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from functools import partial
from inspect import signature
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import SyncVectorEnv
from gymnasium.wrappers import TimeAwareObservation, TimeLimit
from sb3_contrib.common.wrappers import TimeFeatureWrapper
from stable_baselines3.common.vec_env import DummyVecEnv

from lifelong_gym import family, sample_tasks
from lifelong_gym.envs.single import LifelongEnv
from lifelong_gym.envs.vector import AutoresetMode
from lifelong_gym.errors import UnexpectedArgumentError
from lifelong_gym.registry import FAMILIES
from lifelong_gym.wrappers import as_vec_env
from tests.making import CART_POLE, aec, parallel, same
from tests.test_sb3_rows import Foreign

# -------------------------------------------------------------------------------------------- unexpected arguments

MAKERS: dict[str, Callable[..., Any]] = {
    "LifelongEnv": gym.make,
    "LifelongVectorEnv": gym.make_vec,
    "LifelongParallelEnv": parallel,
    "LifelongParallelEnv in AEC": aec,
    "LifelongParallelEnv in SB3": as_vec_env,
}


@pytest.mark.parametrize("kind", MAKERS)
def test_an_unexpected_argument_is_a_type_error_in_pythons_words(kind: str) -> None:
    """Through every interface, with the nearest name behind them, an interface's own names among them."""
    name = kind.partition(" ")[0]
    with pytest.raises(TypeError) as caught:
        MAKERS[kind](CART_POLE, frameskip=1)
    assert str(caught.value).startswith(
        f"{name}.__init__() got an unexpected keyword argument 'frameskip'. There are: "
    )
    own = {"LifelongEnv": "render_mode", "LifelongVectorEnv": "max_episode_steps", "LifelongParallelEnv": "max_cycles"}
    with pytest.raises(TypeError, match=f"'{own[name][:-1]}'. Did you mean '{own[name]}'") as caught:
        MAKERS[kind](CART_POLE, **{own[name][:-1]: 7})
    assert type(caught.value) is UnexpectedArgumentError
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_unexpected_parameters_of_a_grid_are_arguments_too() -> None:
    """They are named by keywords."""
    with pytest.raises(TypeError, match=r"grid\(\) got an unexpected keyword argument 'cart_mas'. Did you mean"):
        family(CART_POLE).parameters.grid(cart_mas=[1.0])


def made_as_torchrl_does(id: str, **kwargs: Any) -> gym.Env[Any, Any]:
    """`torchrl.envs.GymEnv._build_env`: arguments are dropped where an error says so in these words."""
    kwargs["frameskip"] = 1
    while True:
        try:
            return gym.make(id, **kwargs)
        except TypeError as error:
            if "unexpected keyword argument 'frameskip'" in str(error):
                kwargs.pop("frameskip")
            elif "__init__() got an unexpected keyword argument 'render_mode'" in str(error):
                kwargs.pop("render_mode")
            else:
                raise


@pytest.mark.parametrize("id", sorted(FAMILIES))
def test_torchrl_makes_every_id(id: str) -> None:
    """With our own arguments beside its own."""
    env: Any = made_as_torchrl_does(id, render_mode="rgb_array", n_tasks=2)
    assert env.render_mode == "rgb_array"
    assert len(env.unwrapped.tasks) == 2


# ------------------------------------------------------------------------------------------ specs say the horizon


def lengths(env: Any, n_episodes: int = 2) -> list[int]:
    """Steps of the first episodes, of row 0 where there are several."""
    env.reset(seed=0)
    found, n = [], 0
    for _ in range(n_episodes * 600):
        *_, terminated, truncated, _ = env.step(0 * env.action_space.sample())
        n += 1
        if np.any(terminated) or np.any(truncated):
            found.append(n)
            n = 0
            if len(found) == n_episodes:
                break
            env.reset()
    return found


def said(env: Any) -> int:
    """What a spec says."""
    assert env.spec.max_episode_steps == env.unwrapped.spec.max_episode_steps
    return int(env.spec.max_episode_steps)


@pytest.mark.parametrize("id", sorted(FAMILIES))
def test_a_spec_says_the_horizon(id: str) -> None:
    """Of every family, through pickles and JSON too; the registry says nothing, so that `make` adds no limit."""
    envs: list[Any] = [gym.make(id), gym.make_vec(id, num_envs=2)]
    for env in envs:
        horizon = env.unwrapped.core.horizon
        assert type(env.spec.max_episode_steps) is int
        assert said(env) == said(pickle.loads(pickle.dumps(env))) == horizon
        assert EnvSpec.from_json(env.spec.to_json()).max_episode_steps == horizon
    assert gym.spec(id).max_episode_steps is None
    assert "TimeLimit" not in str(gym.make(id))


@pytest.mark.parametrize("make", [gym.make, partial(gym.make_vec, num_envs=2)], ids=["make", "make_vec"])
@pytest.mark.parametrize("settings", [{}, {"horizon": 7}, {"horizon": 500}, {"max_episode_steps": 9}], ids=str)
def test_a_spec_makes_episodes_of_the_same_length_again(make: Any, settings: dict[str, Any]) -> None:
    """Over three generations, and by JSON."""
    env = make(CART_POLE, **settings)
    n = settings.get("horizon", settings.get("max_episode_steps", 150))
    again = make(env.spec)
    third = make(EnvSpec.from_json(again.spec.to_json()))
    for one in (env, again, third):
        assert one.spec.max_episode_steps == n
        assert lengths(one) == [n, n]
    assert again.spec == third.spec == env.spec


def test_a_spec_can_be_lengthened() -> None:
    """By `horizon`; `make` takes a spec's number for its own limit, as for any env, unless it is told not to."""
    spec = gym.make(CART_POLE, horizon=5).spec
    assert spec is not None
    assert lengths(gym.make(spec, horizon=8, max_episode_steps=-1)) == [8, 8]
    assert lengths(gym.make(spec, horizon=8, max_episode_steps=7)) == [7, 7]
    assert lengths(gym.make_vec(spec, horizon=8, max_episode_steps=-1)) == [8, 8]
    rows = gym.make_vec(CART_POLE, num_envs=2, horizon=5).spec
    assert rows is not None
    for mode in ("vector_entry_point", "sync"):
        rows.kwargs["vectorization_mode"] = mode
        env = gym.make_vec(rows, horizon=8)
        assert ("SyncVectorEnv" in repr(env)) == (mode == "sync")
        assert lengths(env) == [8, 8]


def test_max_episode_steps_only_shorten() -> None:
    """More than the horizon has no effect in `make`, which never shows the argument to an env, and raises elsewhere."""
    assert lengths(gym.make(CART_POLE, max_episode_steps=500)) == [150, 150]
    assert lengths(gym.make(CART_POLE, max_episode_steps=-1)) == [150, 150]
    assert lengths(gym.make_vec(CART_POLE, max_episode_steps=-1, horizon=200)) == [200, 200]
    assert lengths(gym.make_vec(CART_POLE, max_episode_steps=160, horizon=200)) == [160, 160]
    message = "`max_episode_steps` must be at most 150, the horizon: .*, `horizon=` lengthens them. Received 500"
    with pytest.raises(ValueError, match=message):
        gym.make_vec(CART_POLE, max_episode_steps=500)
    for wrong in (0, -2, 2.5):
        with pytest.raises(ValueError, match="`max_episode_steps` must be an integer of at least 1"):
            gym.make_vec(CART_POLE, max_episode_steps=wrong)


def test_a_vec_env_has_the_length_of_what_it_was_made_from() -> None:
    """Also where a number of steps shortened it."""
    assert as_vec_env(gym.make_vec(CART_POLE, max_episode_steps=9)).core.horizon == 9  # type: ignore[attr-defined]
    assert as_vec_env(CART_POLE, max_cycles=9).core.horizon == 9  # type: ignore[attr-defined]


def test_a_spec_that_is_set_stays_as_it_was() -> None:
    """An env takes a copy: the registry's own may be set."""
    env = LifelongEnv(CART_POLE, horizon=7)
    env.spec = gym.spec(CART_POLE)
    assert env.spec.max_episode_steps == 7
    assert gym.spec(CART_POLE).max_episode_steps is None
    assert gym.spec(CART_POLE).kwargs == {"family": CART_POLE}


def test_wrappers_that_ask_for_the_horizon() -> None:
    """Gymnasium's and sb3-contrib's."""
    env: Any = TimeAwareObservation(gym.make(CART_POLE, horizon=4), normalize_time=True)
    env.reset(seed=0)
    assert [env.step(np.zeros(1, np.float32))[0][-1] for _ in range(4)] == [0.25, 0.5, 0.75, 1.0]
    assert TimeAwareObservation(gym.make(CART_POLE, horizon=4)).max_timesteps == 4
    assert TimeAwareObservation(gym.make(CART_POLE, max_episode_steps=3)).max_timesteps == 3
    assert TimeAwareObservation(TimeLimit(gym.make(CART_POLE), 5)).max_timesteps == 5
    timed: Any = TimeFeatureWrapper(gym.make(CART_POLE, horizon=4))
    timed.reset(seed=0)
    assert [timed.step(np.zeros(1, np.float32))[0][-1] for _ in range(4)] == [0.75, 0.5, 0.25, 0.0]


# ----------------------------------------------------------------------------------------------- lists of frames


HAS_MODES = "autoreset_mode" in signature(SyncVectorEnv).parameters  # Gymnasium 1.0 has none but NEXT_STEP


@pytest.mark.parametrize("mode", AutoresetMode if HAS_MODES else [AutoresetMode.NEXT_STEP])
def test_lists_of_frames_of_a_vector_env(mode: AutoresetMode) -> None:
    """Those of Gymnasium's vector env of single envs: per row, what its episode has shown since they were asked for."""
    settings: dict[str, Any] = {"render_mode": "rgb_array_list", "horizon": 3, "n_tasks": 2}
    native: Any = gym.make_vec(CART_POLE, num_envs=2, autoreset_mode=mode, **settings)
    makers = [partial(gym.make, CART_POLE, schedule=[row], **settings) for row in range(2)]
    modes: Any = {"autoreset_mode": mode} if HAS_MODES else {}
    sync = SyncVectorEnv(makers, **modes)
    assert native.render_mode == "rgb_array_list"
    for env in (native, sync):
        env.reset(seed=0)
    for step in range(7):
        ended = native.step(np.full((2, 1), 0.5, np.float32))[3]
        sync.step(np.full((2, 1), 0.5, np.float32))
        if step == 1 or ended.any():
            frames, expected = native.render(), sync.render()
            assert [len(row) for row in frames] == [len(row) for row in expected]
            assert same(frames, expected)
        if ended.all() and mode == AutoresetMode.DISABLED:
            for env in (native, sync):
                env.reset(options={"reset_mask": np.ones(2, bool)})
    assert as_vec_env(native).render_mode == "rgb_array"


# ----------------------------------------------------------------------------------------- rows as SB3 sees them


@pytest.mark.parametrize("settings", [{}, {"hide_task_id": True}, {"constraints": {"angle": 0.01}}], ids=str)
def test_reset_infos_are_those_of_the_running_episodes(settings: dict[str, Any]) -> None:
    """As in SB3's own VecEnv of single envs, whose rows end apart from each other."""
    given = {
        "preset": "hetero",
        "n_tasks": 4,
        "horizon": 30,
        "terminate_on_failure": True,
        "backend": "numpy",
        **settings,
    }
    env = as_vec_env(gym.make_vec(CART_POLE, num_envs=2, **given))
    dummy = DummyVecEnv([partial(gym.make, CART_POLE, **given, schedule=[row, row + 2]) for row in range(2)])
    ends = set()
    for one in (env, dummy):
        one.seed(3)
        one.reset()
    assert same(env.reset_infos, dummy.reset_infos)
    for _ in range(120):
        _, _, done, _ = env.step(np.ones((2, 1)))
        dummy.step(np.ones((2, 1), np.float32))
        ends.add(tuple(done.tolist()))
        assert same(env.reset_infos, dummy.reset_infos)
    assert {(True, False), (False, True)} <= ends


def test_attributes_of_rows() -> None:
    """Those of SB3's own VecEnv of single envs, a state of its own for every row."""
    tasks = sample_tasks(CART_POLE, 2)
    env = as_vec_env(gym.make_vec(CART_POLE, num_envs=2, tasks=tasks, render_mode="rgb_array"))
    settings: dict[str, Any] = {"tasks": tasks, "render_mode": "rgb_array"}
    dummy = DummyVecEnv([partial(gym.make, CART_POLE, schedule=[row], **settings) for row in range(2)])
    for one in (env, dummy):
        one.seed(0)
        one.reset()
    for name in ("tasks", "state", "metadata", "render_mode", "observation_space", "action_space"):
        assert env.has_attr(name)
        assert same(env.get_attr(name), dummy.get_attr(name))
        assert same(env.get_attr(name, indices=[1]), dummy.get_attr(name, indices=[1]))
    properties = {name for name, member in vars(LifelongEnv).items() if isinstance(member, property)}
    assert properties == {"tasks", "state"}
    assert not env.has_attr("tsks")


def test_attributes_of_a_foreign_env() -> None:
    """Its own, once per row."""
    env = as_vec_env(Foreign([5, 5]))
    assert env.get_attr("possible_agents") == [["agent_0", "agent_1"]] * 2


def test_numpy_flags_are_flags() -> None:
    """And Python's own from then on, in JSON too."""
    env = gym.make(CART_POLE, hide_task_id=np.bool_(True), backend="numpy")
    assert env.reset(seed=0)[1] == {"failed": False}
    assert env.spec is not None
    assert EnvSpec.from_json(env.spec.to_json()).kwargs["hide_task_id"] is True


# ------------------------------------------------------------------------------------------------------ long seeds


def test_seeds_that_agree_modulo_2_to_the_64_differ() -> None:
    """In every interface, as seeds of episodes and of tasks; the same long seed repeats itself."""

    def starts(seed: int) -> list[Any]:
        envs = gym.make(CART_POLE), gym.make_vec(CART_POLE, num_envs=2), parallel(CART_POLE)
        return [env.reset(seed=seed)[0] for env in envs]

    single, rows, agents = starts(3 + 2**64)
    assert same([single, rows, agents], starts(3 + 2**64))
    assert not same(starts(10**400), starts(10**400 + 2**64))
    shorter = starts(3)
    assert not np.array_equal(single, shorter[0])
    assert not np.array_equal(rows, shorter[1])
    assert not same(agents, shorter[2])
    np.testing.assert_array_equal(rows[0], single)
    np.testing.assert_array_equal(rows[1], gym.make(CART_POLE, schedule=[1]).reset(seed=4 + 2**64)[0])
    tasks = [sample_tasks(CART_POLE, 3, seed=seed).values for seed in (1, 1 + 2**64, 1 + 2**128, 10**400)]
    assert len({values.tobytes() for values in tasks}) == 4
