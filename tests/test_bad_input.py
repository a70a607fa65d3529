"""Bad input to envs: an error that names argument and value, before anything has changed.

Each test drives two equal envs. One of them gets bad calls besides, after which both must go on alike.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pettingzoo
import pytest
from gymnasium.error import ResetNeeded

import lifelong_gym
from lifelong_gym.envs.vector import AutoresetMode
from lifelong_gym.errors import FamilyError, MissingExtraError, UnknownNameError
from lifelong_gym.registry import FAMILIES, register_family
from lifelong_gym.wrappers import as_vec_env
from tests.making import CART_POLE, GRID_WORLD, parallel, same
from tests.test_sb3_rows import Foreign

NAN, INF = float("nan"), float("inf")
Bad = list[tuple[Any, str]]


def each(bad: Bad) -> Any:
    """One test per bad value, named after it."""
    return pytest.mark.parametrize(("given", "message"), bad, ids=[str(value)[:50] for value, _ in bad])


def refused(call: Callable[[], Any], message: str, error: type[Exception] = ValueError) -> None:
    """The call raises."""
    with pytest.raises(error, match=message):
        call()


# ------------------------------------------------------------------------------------------------------ the single

SETTINGS: list[dict[str, Any]] = [{}, {"backend": "python"}, {"task_observation": "one_hot"}, {"physics": "mujoco"}]
ACTIONS: Bad = [
    (np.array([NAN]), "must be finite. Received .*nan"),
    (np.array([INF], np.float32), "must be finite. Received .*inf"),
    ([-INF], "must be finite. Received .*-inf"),
    (np.zeros(2), r"an action must have shape \(1,\). Received array\(\[0., 0.\]\)"),
    (np.zeros((1, 1)), r"an action must have shape \(1,\). Received array\(\[\[0.\]\]\)"),
    (0.5, r"an action must have shape \(1,\). Received 0.5"),
    (None, r"an action must have shape \(1,\). Received None"),
    ([], r"an action must have shape \(1,\). Received \[\]"),
    (["left"], "actions must be numbers. Received .*'left'"),
    ([{}], r"actions must be numbers. Received .*\{\}"),
    ([None], "must be finite. Received nan"),
    ([10**400], "actions must be numbers. Received .*1000"),
    ([[1.0], [1.0, 2.0]], "an action must have shape"),
]
RESETS: Bad = [
    ({"options": 1}, "`options` must be a dict or None. Received 1"),
    ({"options": []}, r"`options` must be a dict or None. Received \[\]"),
    ({"options": {"task": 2**64}}, "`task` must be an integer, or an array of 1. Received 18446744073709551616"),
    ({"options": {"task": [[0], [0, 1]]}}, "`task` must be an integer, or an array of 1. Received"),
    ({"options": {"state": [10**400, 0, 0, 0]}}, "`state` must be numbers within the range of a float. Received"),
    ({"options": {"state": "centre"}}, "`state` must be numbers within the range of a float. Received 'centre'"),
    ({"options": {"task": 10}}, r"unknown task 10. There are: 0 ... 9"),
    ({"options": {"task": -1}}, "unknown task -1"),
    ({"options": {"task": 1.0}}, "`task` must be an integer, or an array of 1. Received 1.0"),
    ({"options": {"task": "2"}}, "`task` must be an integer, or an array of 1. Received '2'"),
    ({"options": {"task": [0, 1]}}, r"`task` must be an integer, or an array of 1. Received \[0, 1\]"),
    ({"options": {"task": True}}, "`task` must be an integer"),
    ({"options": {"state": np.zeros(3)}}, r"`state` must have shape \(4,\). Received \(3,\)"),
    ({"options": {"state": np.zeros((2, 4))}}, "`state` must be one state, or 1. Received 2"),
    ({"options": {"state": [0, 0, 0.6, 0]}}, "`state`: angle must be finite and within 0.5 rad. Received 0.6"),
    ({"options": {"state": [0, NAN, 0, 0]}}, "`state`: velocity must be finite and within 10 m/s. Received nan"),
    ({"seed": -1}, "`seed` must be a Python integer of at least 0, or None. Received -1"),
    ({"seed": 1.5}, "`seed` must be a Python integer of at least 0, or None. Received 1.5"),
    ({"seed": "1"}, "`seed` must be a Python integer of at least 0, or None. Received '1'"),
    ({"seed": 3, "options": {"task": 11}}, "unknown task 11"),
]


def twins(make: Callable[[], Any]) -> tuple[Any, Any]:
    """Two equal envs within their second episode."""
    envs = make(), make()
    for env in envs:
        env.reset(seed=4)
        env.reset()
        env.step(0.5 * np.ones(env.action_space.shape))
    return envs


def go_on_alike(env: Any, twin: Any, horizon: int) -> None:
    """To the end of the episode, and in the next two."""
    for episode in range(3):
        for step in range(horizon):
            action = np.cos(step) * np.ones(env.action_space.shape)
            results, expected = env.step(action), twin.step(action)
            assert same(results, expected)
            if np.all(results[3]):
                break
        assert same(env.reset(seed=[None, None, 8][episode]), twin.reset(seed=[None, None, 8][episode]))


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_a_single_env_goes_on_after_bad_calls(settings: dict[str, Any]) -> None:
    """All of them, one after another."""
    env, twin = twins(lambda: gym.make(CART_POLE, horizon=6, **settings).unwrapped)
    for action, message in ACTIONS:
        refused(lambda action=action: env.step(action), message)  # type: ignore[misc]
    for arguments, message in RESETS:
        refused(lambda arguments=arguments: env.reset(**arguments), message)  # type: ignore[misc]
    for state in (np.zeros(3), [0, 0, 0.6, 0], np.zeros((2, 4))):
        with pytest.raises(ValueError, match="`state`"):
            env.state = state
    go_on_alike(env, twin, 6)


@pytest.mark.parametrize("action", [-1, 4, 1.5, NAN, "up", None, [0, 1], [[0]]], ids=str)
def test_bad_discrete_actions(action: Any) -> None:
    """Anything but one of the actions."""
    envs = [gym.make(GRID_WORLD, backend="numpy").unwrapped for _ in range(2)]
    for env in envs:
        env.reset(seed=0)
    refused(lambda: envs[0].step(action), "an action must|actions must")
    assert same(envs[0].step(3), envs[1].step(3))
    assert same(envs[0].step(np.array([1])), envs[1].step(np.int64(1)))


def test_a_seed_is_a_python_integer() -> None:
    """As Gymnasium wants it, in every interface."""
    for make in (gym.make, lambda id: gym.make_vec(id, num_envs=2), lambda id: pettingzoo.make("parallel", id)):
        env = make(CART_POLE)
        env = getattr(env, "unwrapped", env)
        for seed in (np.int64(3), -1, "3", 3.0):
            refused(lambda env=env, seed=seed: env.reset(seed=seed), "`seed` must be")  # type: ignore[misc]


def test_swapped_bytes_and_read_only_arrays_are_actions() -> None:
    """They are good input."""
    env, twin = twins(lambda: gym.make(CART_POLE).unwrapped)
    for action in (np.array([0.25], ">f8"), np.array([1], np.int8), np.broadcast_to(np.float32(0.5), (1,)), [0.5]):
        assert same(env.step(action), twin.step(np.array(action, np.float64)))


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_stepping_needs_an_episode(settings: dict[str, Any]) -> None:
    """Before the first and after the last; the state can't be had or set either."""
    env: Any = gym.make(CART_POLE, horizon=2, **settings).unwrapped
    refused(lambda: env.step(np.zeros(1)), "call `reset` first", ResetNeeded)
    refused(lambda: env.state, "call `reset` first", ResetNeeded)
    env.reset(seed=0)
    env.step(np.zeros(1))
    env.step(np.zeros(1))
    before = env.state
    refused(lambda: env.step(np.zeros(1)), "call `reset` first", ResetNeeded)
    with pytest.raises(ResetNeeded, match="call `reset` first"):
        env.state = np.zeros(4)
    np.testing.assert_array_equal(env.state, before)
    assert env.reset()[1]["task_id"] == 1


# ------------------------------------------------------------------------------------------------------ the vector

VECTOR_ACTIONS: Bad = [
    (np.array([[0.0], [NAN]]), r"actions must be finite. Received nan in array"),
    (np.array([[0.0], [INF]], np.float32), "actions must be finite. Received inf"),
    (np.zeros((3, 1)), r"actions must have shape \(2, 1\). Received \(3, 1\)"),
    (np.zeros(2), r"actions must have shape \(2, 1\). Received \(2,\)"),
    (0.0, r"actions must have shape \(2, 1\). Received \(\)"),
    ([["a"], ["b"]], "actions must be numbers. Received"),
    ([[0.0], [0.0, 0.0]], "actions must be numbers. Received"),
    ([[0.0], [10**400]], "actions must be numbers. Received"),
]
VECTOR_RESETS: Bad = [
    ({"options": 1}, "`options` must be a dict or None. Received 1"),
    ({"options": {"state": [[10**400] * 4] * 2}}, "`state` must be numbers within the range of a float. Received"),
    ({"options": {"task": [0, 10]}}, "unknown task 10"),
    ({"options": {"task": [0, 1, 2]}}, r"`task` must be an integer, or an array of 2. Received \[0, 1, 2\]"),
    ({"options": {"task": [0.0, 1.0]}}, "`task` must be an integer"),
    ({"options": {"state": np.zeros((3, 4))}}, "`state` must be one state, or 2. Received 3"),
    ({"options": {"state": np.array([[0.0] * 4, [0, 0, 0, NAN]])}}, "angular_velocity must be finite .* nan"),
    ({"options": {"reset_mask": np.zeros(2, bool)}}, "`reset_mask` must choose at least one row"),
    ({"options": {"reset_mask": [True, False]}}, r"`reset_mask` must be a bool array of shape \(2,\). Received"),
    ({"options": {"reset_mask": np.ones(3, bool)}}, "`reset_mask` must be a bool array"),
    ({"options": {"reset_mask": np.ones(2)}}, "`reset_mask` must be a bool array"),
    ({"seed": [1, 2, 3]}, "`seed` must be an integer or 2 of them. Received 3"),
    ({"seed": [1, -2]}, "`seed` must be a Python integer of at least 0, or None. Received -2"),
    ({"seed": [1, 0.5]}, "`seed` must be a Python integer of at least 0, or None. Received 0.5"),
    ({"seed": 5, "options": {"task": 99}}, "unknown task 99"),
]


@pytest.mark.parametrize("mode", AutoresetMode)
def test_a_vector_env_goes_on_after_bad_calls(mode: AutoresetMode) -> None:
    """In every mode."""
    env, twin = twins(lambda: gym.make_vec(CART_POLE, num_envs=2, horizon=5, autoreset_mode=mode))
    for actions, message in VECTOR_ACTIONS:
        refused(lambda actions=actions: env.step(actions), message)  # type: ignore[misc]
    for arguments, message in VECTOR_RESETS:
        refused(lambda arguments=arguments: env.reset(**arguments), message)  # type: ignore[misc]
    for states in (np.zeros((3, 4)), np.full(4, NAN)):
        with pytest.raises(ValueError, match="`state`"):
            env.unwrapped.state = states
    np.testing.assert_array_equal(env.unwrapped.state, twin.unwrapped.state)
    go_on_alike(env, twin, 5)


def test_bad_discrete_actions_of_rows() -> None:
    """They name the value."""
    env = gym.make_vec(GRID_WORLD, num_envs=2, backend="numpy")
    env.reset(seed=0)
    for actions, message in (
        ([0, 4], r"an action must be an integer in \[0, 3\]. Received 4"),
        ([0, -1], "Received -1"),
    ):
        refused(lambda actions=actions: env.step(np.array(actions)), message)  # type: ignore[misc]
    refused(lambda: env.step(np.array([0, 1, 2])), r"actions must have shape \(2, 1\). Received \(3,\)")


def test_rows_must_have_begun() -> None:
    """Before the first reset; and where nobody resets ended rows, they must be reset first."""
    env: Any = gym.make_vec(CART_POLE, num_envs=2, horizon=2, autoreset_mode="Disabled")
    refused(lambda: env.step(np.zeros((2, 1))), "call `reset` first", ResetNeeded)
    refused(lambda: env.state, "call `reset` first", ResetNeeded)
    mask = {"reset_mask": np.array([True, False])}
    refused(lambda: env.reset(options=mask), "the first reset must begin all rows", ResetNeeded)
    env.reset(seed=0)
    env.step(np.zeros((2, 1)))
    env.step(np.zeros((2, 1)))
    refused(lambda: env.step(np.zeros((2, 1))), r"rows \[0, 1\] have ended", ResetNeeded)
    env.reset(options=mask)
    refused(lambda: env.step(np.zeros((2, 1))), r"rows \[1\] have ended", ResetNeeded)
    env.reset(options={"reset_mask": np.array([False, True])})
    env.step(np.zeros((2, 1)))


# ---------------------------------------------------------------------------------------------------- the parallel


def actions_of(env: Any, **changes: Any) -> dict[str, Any]:
    """A good action for every agent that is alive, and some changes."""
    return {**{agent: np.array([0.1]) for agent in env.agents}, **changes}


PARALLEL_STEPS: Bad = [
    ({"task_7": np.zeros(1)}, "unknown agent 'task_7'. Did you mean 'task_"),
    ({"task_1": np.array([NAN])}, "actions must be finite. Received nan"),
    ({"task_1": np.zeros(2)}, r"task_1: an action must have shape \(1,\)"),
    ({"task_2": None}, r"task_2: an action must have shape \(1,\). Received None"),
    ({"task_2": ["a"]}, "actions must be numbers"),
]
PARALLEL_RESETS: Bad = [
    ({"options": 1}, "`options` must be a dict or None. Received 1"),
    ({"options": {"state": np.zeros(3)}}, "`state` must have shape"),
    ({"options": {"state": {"task_0": np.zeros(4)}}}, "`state` must name every agent. Missing: task_1, task_2"),
    ({"options": {"state": {"task_9": np.zeros(4)}}}, "unknown agent 'task_9'"),
    ({"seed": -3}, "`seed` must be"),
]


def test_a_parallel_env_goes_on_after_bad_calls() -> None:
    """Also one that leaves an agent out."""
    env, twin = (pettingzoo.make("parallel", CART_POLE, n_tasks=3, max_cycles=5) for _ in range(2))
    for one in (env, twin):
        one.reset(seed=2)
        one.step(actions_of(one))
    for changes, message in PARALLEL_STEPS:
        refused(lambda changes=changes: env.step(actions_of(env, **changes)), message)  # type: ignore[misc]
    refused(lambda: env.step({"task_0": np.zeros(1)}), "hold every agent that is alive. Missing: task_1, task_2")
    refused(lambda: env.step({}), "Missing: task_0, task_1, task_2")
    for arguments, message in PARALLEL_RESETS:
        refused(lambda arguments=arguments: env.reset(**arguments), message)  # type: ignore[misc]
    refused(lambda: env.unwrapped.observation_space("task_3"), "unknown agent 'task_3'")
    refused(lambda: setattr(env.unwrapped, "max_cycles", 0), "`max_cycles` must be an integer of at least 1")
    for _ in range(2):
        while env.agents:
            assert same(env.step(actions_of(env)), twin.step(actions_of(twin)))
        assert same(env.reset(), twin.reset())


def test_actions_of_agents_that_have_left_are_ignored() -> None:
    """Whatever they are, as PettingZoo's own games do; unknown agents are errors all the same."""
    env = pettingzoo.make("parallel", CART_POLE, n_tasks=2, terminate_on_failure=True, backend="numpy")
    refused(lambda: env.unwrapped.step({}), "call `reset` first", ResetNeeded)
    failing = {"task_0": [0, 10.0, 0.5, 10.0], "task_1": np.zeros(4)}
    twin = pettingzoo.make("parallel", CART_POLE, n_tasks=2, terminate_on_failure=True, backend="numpy")
    for one in (env, twin):
        one.reset(seed=0, options={"state": failing})
        one.step(actions_of(one))
        assert one.agents == ["task_1"]
    for ignored in (np.zeros(1), np.array([NAN]), np.zeros(7), None):
        results = env.step(actions_of(env, task_0=ignored))
        assert list(results[0]) == ["task_1"]
        assert same(results, twin.step(actions_of(twin)))
    refused(lambda: env.step(actions_of(env, task_2=np.zeros(1))), "unknown agent 'task_2'.* There are: task_0, task_1")
    refused(lambda: env.step({"task_0": np.zeros(1)}), "hold every agent that is alive. Missing: task_1")
    while env.agents:
        env.step(actions_of(env))
    assert env.step({"task_0": np.zeros(1), "task_1": np.zeros(1)}) == ({}, {}, {}, {}, {})
    refused(lambda: env.step({"task_2": np.zeros(1)}), "unknown agent 'task_2'")


# ------------------------------------------------------------------------------------------------- the SB3 VecEnv


def test_a_vec_env_goes_on_after_bad_calls() -> None:
    """Actions, options and seeds."""
    env, twin = (as_vec_env(CART_POLE, n_tasks=2, horizon=4) for _ in range(2))
    refused(lambda: env.step(np.zeros((2, 1))), "call `reset` first", ResetNeeded)
    for one in (env, twin):
        one.seed(3)
        one.reset()
        one.step(np.full((2, 1), 0.2))
    for actions, message in VECTOR_ACTIONS:
        refused(lambda actions=actions: env.step(actions), message)  # type: ignore[misc]
    bad_options: Bad = [
        ([{"task": 1}, {}], "option `task` must be given for every row or for none"),
        ({"task": 5}, "unknown task 5"),
        ({"state": np.zeros(3)}, "`state` must have shape"),
    ]
    wrong: Any
    for wrong in (1, [1, {}], [{}]):
        refused(lambda wrong=wrong: env.set_options(wrong), "`options` must be a dict")  # type: ignore[misc]
    env.seed(-7)
    refused(env.reset, "`seed` must be an integer of at least 0. Received -7")
    env._reset_seeds()
    for options, message in bad_options:
        env.set_options(options)
        refused(env.reset, message)
        env.set_options(None)
    for _ in range(10):
        assert same(env.step(np.full((2, 1), 0.3)), twin.step(np.full((2, 1), 0.3)))
    assert same(env.reset(), twin.reset())


def test_what_as_vec_env_refuses() -> None:
    """Settings beside an env, single envs, and other agents than it can step together."""
    parallel = pettingzoo.make("parallel", CART_POLE)
    refused(lambda: as_vec_env(parallel, n_tasks=2), "settings can only be given with an id. Received n_tasks")
    refused(lambda: as_vec_env(gym.make(CART_POLE)), "`env` must be an id, a ParallelEnv", TypeError)
    refused(lambda: as_vec_env("LifelongCartPol-v0"), "Did you mean 'LifelongCartPole-v0'")
    refused(lambda: as_vec_env(Foreign([2, 2], (2, 3))), "'agent_1' and 'agent_0' differ in observation_space")
    env = as_vec_env(Foreign([5, 2]))
    env.reset()
    env.step(np.zeros(2))
    refused(lambda: env.step(np.zeros(2)), "agents must all end in the same step; only agent_1 did")


# -------------------------------------------------------------------------------------------------------- making

MAKING: Bad = [
    ({"n_task": 5}, "got an unexpected keyword argument 'n_task'. Did you mean 'n_tasks'"),
    ({"hide_task_id": "no"}, "`hide_task_id` must be True or False. Received 'no'"),
    ({"terminate_on_failure": 1}, "`terminate_on_failure` must be True or False. Received 1"),
    ({"tasks": [{}], "n_tasks": 2}, "`tasks` can't be combined with `n_tasks` or `preset`"),
    ({"tasks": [{}], "preset": "wide"}, "`tasks` can't be combined with `n_tasks` or `preset`"),
    ({"tasks": []}, "a TaskSet needs at least one task. Received none"),
    ({"tasks": [{"cart_mass": 50.0}]}, r"parameter 'cart_mass' must be in \[0.01, 20\] kg. Received 50.0"),
    ({"tasks": [{"cart_mas": 1.0}]}, "unknown parameter 'cart_mas'. Did you mean 'cart_mass'"),
    ({"tasks": [{"cart_mass": NAN}]}, "Received nan"),
    ({"tasks": [{"cart_mass": 10**400}]}, "parameter 'cart_mass' must be within the range of a float. Received 1000"),
    ({"tasks": [{"cart_mass": 2**64}]}, r"task 0: parameter 'cart_mass' must be in .* kg. Received 1.84467\d*e\+19"),
    ({"n_tasks": 0}, "`n_tasks` must be an integer of at least 1. Received 0"),
    ({"n_tasks": 2**64}, "`n_tasks` must be an integer .* Received 18446744073709551616"),
    ({"task_seed": -1}, "`task_seed` must be an integer of at least 0. Received -1"),
    ({"preset": "hetro"}, "unknown preset 'hetro'. Did you mean 'hetero'"),
    ({"preset": [1]}, r"unknown preset \[1\]. There are: default"),
    ({"preset": ""}, "unknown preset ''. There are: default"),
    ({"schedule": "randm"}, "unknown schedule 'randm'. Did you mean 'random'"),
    ({"schedule": {"blocked": 10**400}}, "`blocked` must be an integer of at least 1 and at most .* Received 1000"),
    ({"schedule": [2**64]}, "`schedule` must be a non-empty list of task indices. Received"),
    ({"schedule": [[0], [0, 1]]}, "`schedule` must be a non-empty list of task indices. Received"),
    ({"schedule": [10]}, r"`schedule` must name tasks in \[0, 9\]. Received 10 to 10"),
    ({"task_observation": "onehot"}, "unknown task_observation 'onehot'. Did you mean 'one_hot'"),
    ({"task_observation": np.array(["hide", "append"])}, "unknown task_observation array"),
    ({"reward": ["norm"]}, r"unknown reward \['norm'\]. Did you mean 'norm'"),
    ({"physics": ["mujoco"]}, r"unknown physics \['mujoco'\]. Did you mean 'mujoco'"),
    ({"backend": {}}, r"unknown backend \{\}. There are: numba"),
    ({"reward": "nrom"}, "unknown reward 'nrom'. Did you mean 'norm'"),
    ({"physics": "mujco"}, "unknown physics 'mujco'. Did you mean 'mujoco'"),
    ({"backend": "nunba"}, "unknown backend 'nunba'. Did you mean 'numba'"),
    ({"render_mode": "rgb"}, "unknown render_mode 'rgb'"),
    ({"horizon": 0}, "`horizon` must be an integer of at least 1. Received 0"),
    ({"horizon": 2.5}, "`horizon` must be an integer of at least 1. Received 2.5"),
    ({"horizon": 2**64}, "`horizon` must be an integer of at least 1 and at most .* Received 18446744073709551616"),
    ({"constraints": {"force": 10**400}}, "the limit of force must be positive and finite. Received 1000"),
    ({"constraints": {"angel": 0.1}}, "unknown channel in `constraints` 'angel'. Did you mean 'angle'"),
]


@pytest.mark.filterwarnings("ignore:.*The environment is being initialised with render_mode='rgb':UserWarning")
@each(MAKING)
def test_bad_settings(given: dict[str, Any], message: str) -> None:
    """Through every interface the same error."""
    for make in (
        lambda: gym.make(CART_POLE, **given),
        lambda: gym.make_vec(CART_POLE, num_envs=2, **given),
        lambda: pettingzoo.make("parallel", CART_POLE, **given),
        lambda: pettingzoo.make("aec", CART_POLE, **given),
        lambda: as_vec_env(CART_POLE, **given),
    ):
        refused(make, message)


def test_bad_settings_of_one_interface() -> None:
    """Numbers of rows, autoreset modes; task features where observations are integers."""
    refused(lambda: gym.make_vec(CART_POLE, num_envs=0), "`num_envs` must be an integer of at least 1. Received 0")
    refused(lambda: gym.make_vec(CART_POLE, num_envs=2**64), "`num_envs` must be an integer .* Received 184467440737")
    refused(lambda: parallel(CART_POLE, max_cycles=0), "`max_cycles` must be an integer of at least 1. Received 0")
    refused(lambda: parallel(CART_POLE, max_cycles=5, horizon=6), "`max_cycles` and `horizon` must agree. .* 5 and 6")
    refused(lambda: gym.make_vec(CART_POLE, num_envs=2, autoreset_mode="sometimes"), "'sometimes' is not a valid")
    refused(lambda: gym.make(GRID_WORLD, task_observation="append"), '`task_observation` must be "hide"')


def test_unknown_ids() -> None:
    """The nearest is suggested."""
    refused(lambda: lifelong_gym.family("LifelongCartPol-v0"), "Did you mean 'LifelongCartPole-v0'", UnknownNameError)
    refused(lambda: lifelong_gym.sample_tasks("LifelongCH48-v0", 3), "Did you mean 'LifelongCH47-v0'")
    refused(lambda: gym.make("LifelongCartPol-v0"), "Did you mean", gym.error.NameNotFound)
    refused(
        lambda: lifelong_gym.family("lifelong_gym.tasks.task_set:TaskSet"),
        "must be a subclass of KernelFamily",
        FamilyError,
    )
    refused(lambda: lifelong_gym.family("lifelong_gym.tasks.task_set:Tsk"), "has no 'Tsk'")


@pytest.mark.parametrize(
    ("id", "entry_point", "error", "message"),
    [
        (CART_POLE, "tests.broken_families:Room", ValueError, "is already registered as"),
        ("CartPole-v1", "tests.broken_families:Room", ValueError, "already registered with Gymnasium"),
        ("Room-v0", "tests.broken_families.Room", ValueError, '`entry_point` must be "module:Class"'),
        ("a room!", "tests.broken_families:Room", gym.error.Error, "Malformed environment ID"),
    ],
)
def test_bad_registrations(id: str, entry_point: str, error: type[Exception], message: str) -> None:
    """Nothing is registered then, not even in part."""
    before = dict(FAMILIES), list(gym.registry), list(pettingzoo.parallel_registry)
    refused(lambda: register_family(id, entry_point), message, error)
    assert before == (dict(FAMILIES), list(gym.registry), list(pettingzoo.parallel_registry))


def test_a_missing_simulator_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the command that brings it."""
    monkeypatch.setitem(__import__("sys").modules, "mujoco", None)
    message = r"`mujoco` is not installed. Install it with: pip install 'lifelong-gym\[mujoco\]'"
    refused(lambda: gym.make(CART_POLE, physics="mujoco"), message, MissingExtraError)
