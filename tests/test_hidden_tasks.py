"""Learners that must not know their tasks: what they are given doesn't tell, and is otherwise the same env."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import pettingzoo
import pytest
from gymnasium.error import ResetNeeded
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecNormalize

from lifelong_gym.agents import REINFORCE
from lifelong_gym.envs.core import Core
from lifelong_gym.envs.family import Family, KnownFamily
from lifelong_gym.envs.settings import Settings
from lifelong_gym.registry import family
from lifelong_gym.tasks.task_set import TaskSet
from lifelong_gym.testing import check_family
from lifelong_gym.wrappers import Budget, HiddenTasks, Stage, as_vec_env
from tests.broken_families import Room
from tests.making import CART_POLE, same

SETTINGS: dict[str, Any] = {"n_tasks": 3, "horizon": 6, "backend": "numpy"}
POLICY = "LinearGaussianPolicy"
TELLING = (TaskSet, Core, Settings, Family)


def rows(**settings: Any) -> Any:
    """A VecEnv whose tasks are hidden."""
    return as_vec_env(CART_POLE, **{**SETTINGS, "hide_task_id": True, **settings})


def reachable(thing: Any, depth: int = 5) -> list[Any]:
    """What public attributes lead to."""
    found, seen, edge = [], set(), [thing]
    for _ in range(depth):
        following = []
        for one in edge:
            if id(one) in seen:
                continue
            seen.add(id(one))
            found.append(one)
            if isinstance(one, dict):
                following += list(one.values())
            elif isinstance(one, (list, tuple)):
                following += list(one)[:20]
            elif type(one).__module__.startswith(("lifelong_gym", "tests")):
                for name in (name for name in dir(one) if not name.startswith("_")):
                    with suppress(AttributeError, ValueError, ResetNeeded):
                        following.append(getattr(one, name))
        edge = following
    return found


def test_nothing_tells_the_tasks() -> None:
    """Whatever public attributes lead to, and whatever SB3's own ways ask for."""
    env = rows()
    hidden = HiddenTasks(env)
    hidden.reset()
    hidden.step(np.zeros((3, 1)))
    assert any(isinstance(one, TELLING) for one in reachable(env))
    assert [type(one) for one in reachable(hidden) if isinstance(one, TELLING)] == []
    for name in ("tasks", "core", "spec", "state_dict", "sharing_env", "present", "episodes_left", "budget", "_env"):
        assert not hidden.has_attr(name)
        with pytest.raises(AttributeError):
            hidden.get_attr(name)
    with pytest.raises(AttributeError, match="no method 'next_round'"):
        hidden.env_method("next_round")
    with pytest.raises(ValueError, match=r"option .task. can't be given where tasks are hidden. Received 1"):
        hidden.set_options({"task": 1})
    assert hidden.unwrapped is hidden
    assert hidden.get_images() == [None] * 3
    assert hidden.render_mode is None


@pytest.mark.parametrize(
    "make",
    [
        lambda **settings: gym.make(CART_POLE, **settings).unwrapped,
        lambda **settings: gym.make_vec(CART_POLE, num_envs=2, **settings).unwrapped,
        lambda **settings: pettingzoo.make("parallel", CART_POLE, **settings),
        lambda **settings: as_vec_env(CART_POLE, **settings),
    ],
    ids=["single", "vector", "parallel", "sb3"],
)
def test_no_env_has_tasks_where_they_are_hidden(make: Callable[..., Any]) -> None:
    """As if there were none; their owner's way, through the core, stays."""
    env = make(**SETTINGS, hide_task_id=True)
    assert env.hide_task_id
    assert not hasattr(env, "tasks")
    with pytest.raises(AttributeError, match="`tasks` can't be read where `hide_task_id` is True"):
        _ = env.tasks
    assert isinstance(env.family, KnownFamily)
    assert make(**SETTINGS).family.parameters == env.core.family.parameters
    assert len(env.core.tasks) == 3
    assert len(make(**SETTINGS).tasks) == 3


def test_what_the_same_everywhere_is_known() -> None:
    """Spaces, horizon, scales; anything else is refused with a list of what is known."""
    known, whole = HiddenTasks(rows()).family, family(CART_POLE)
    for name in ("actions", "observations", "horizon", "time_step", "feature_scale"):
        assert getattr(known, name) == getattr(whole, name)
    assert HiddenTasks(rows()).horizon == SETTINGS["horizon"]
    with pytest.raises(AttributeError, match=r"'parameters' isn't known .* Known are: actions, obs"):
        _ = known.parameters


class Basis(Room):
    """Declares what it has in common."""

    __doc__ = Room.__doc__
    known = ("feature_map", "state")
    feature_map: ClassVar[tuple[float, ...]] = (1.0, 0.5)


class Forgetful(Room):
    """Declares what isn't there."""

    __doc__ = Room.__doc__
    known = ("feature_map",)


def test_what_a_family_declares_is_known(register: Callable[..., str]) -> None:
    """Attributes that it names; one that isn't there is told by the checker."""
    known = KnownFamily(Basis())
    assert known.feature_map == (1.0, 0.5)
    assert known.state == Basis.state
    with pytest.raises(AttributeError, match="rewards"):
        _ = known.rewards
    with pytest.raises(TypeError, match=r"`known` must name attributes. Received 'feature_map', which there isn't"):
        check_family(register("Forgetful", "test_hidden_tasks"))


def test_the_rows_are_the_same() -> None:
    """Seeds, options, steps, idle rows, announcements and infos are those of the env behind."""
    behind, env = rows(), rows()
    hidden = HiddenTasks(behind)
    announced: list[list[int]] = [[], []]
    for i, each in enumerate((behind, env)):
        each.budget = Budget(each.core, [Stage((0, 1, 2), 13)])
        each.before_steps = announced[i].append
    starts = []
    for one in (hidden, env):
        one.seed(4)
        one.set_options({"state": [0.0, 0.1, 0.0, 0.0]})
        starts.append(one.reset())
    assert same(*starts)
    for step in range(20):
        actions = np.random.default_rng(step).uniform(-1, 1, (3, 1))
        assert same(hidden.step(actions), env.step(actions))
        assert same(hidden.reset_infos, env.reset_infos)
        assert np.array_equal(hidden.idle, env.idle)
    assert hidden.idle.all()
    assert announced[0] == announced[1] != []


def test_learners_learn_the_same() -> None:
    """A row is a task, of which they know the units; SB3's own, in wrappers too."""
    hidden, open_ = (
        REINFORCE(POLICY, env, seed=0, n_trajectories=2).learn(90) for env in (HiddenTasks(rows()), rows())
    )
    assert hidden.n_tasks == 3
    np.testing.assert_array_equal(hidden.policy.thetas, open_.policy.thetas)
    policy = {"net_arch": [4]}
    models = [
        PPO("MlpPolicy", VecNormalize(env), seed=0, n_steps=8, batch_size=8, device="cpu", policy_kwargs=policy).learn(
            48
        )
        for env in (HiddenTasks(rows()), rows())
    ]
    one, other = (model.policy.parameters_to_vector() for model in models)
    np.testing.assert_array_equal(one, other)


def test_learners_that_need_tasks_say_so() -> None:
    """Where they'd have to know them."""
    hidden = HiddenTasks(rows())
    with pytest.raises(ValueError, match="tasks can only be added where they have parameters"):
        REINFORCE(POLICY, hidden, seed=0).add_tasks([{}])


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: HiddenTasks(rows(hide_task_id=False)), ValueError, "`env` must be made with hide_task_id=True"),
        (lambda: HiddenTasks(rows(task_observation="one_hot")), ValueError, "Received 'one_hot'"),
        (lambda: HiddenTasks(VecNormalize(rows())), TypeError, "`env` must be a VecEnv that `as_vec_env` made"),  # type: ignore[arg-type]
    ],
)
def test_what_would_tell_is_refused(make: Callable[[], Any], error: type[Exception], message: str) -> None:
    """Infos with the task, observations of it, and envs that aren't ours."""
    with pytest.raises(error, match=message):
        make()


def test_rounds_are_hidden_by_default() -> None:
    """Infos say the round; whoever has the env behind ends it."""
    behind: Any = as_vec_env(CART_POLE, n_agents=2, schedule={"rounds": "permutation"}, **SETTINGS)
    hidden = HiddenTasks(behind)
    hidden.seed(0)
    hidden.reset()
    behind.next_round()
    hidden.reset()
    assert hidden.reset_infos == [{"failed": False, "round": 1}] * 2
    assert hidden.in_rounds
    with pytest.raises(ValueError, match="would begin the environment's rounds anew"):
        REINFORCE(POLICY, hidden, seed=0).learn(1)
