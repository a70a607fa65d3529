"""Families with arguments: declared once, taken everywhere, kept in specs."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import gymnasium as gym
import numpy as np
import pettingzoo
import pytest
from gymnasium.envs.registration import EnvSpec

import lifelong_gym
from lifelong_gym.envs.arguments import Argument
from lifelong_gym.envs.family import KernelFamily
from lifelong_gym.envs.spaces import Continuous
from lifelong_gym.errors import FamilyError, UnexpectedArgumentError
from lifelong_gym.registry import FAMILIES, _instance, family, register_family, sample_tasks
from lifelong_gym.testing import check_family
from lifelong_gym.wrappers import as_vec_env
from tests.corridors import Corridor

ID = "Corridor-v0"
NAME, HEAVY = "tests.corridors:Corridor", f"{__name__}:Mass"
ASKED: dict[str, Any] = {"size": np.int64(7), "prices": np.array([0.5, 0.25])}
PLAIN = {"size": 7, "prices": [0.5, 0.25]}


@contextmanager
def known(id: str, name: str) -> Iterator[None]:
    """Registered, and forgotten afterwards."""
    register_family(id, name)
    try:
        yield
    finally:
        for registry in (FAMILIES, gym.registry, pettingzoo.parallel_registry, pettingzoo.aec_registry):
            del registry[id]


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    """Under an id."""
    with known(ID, NAME):
        yield


def interfaces(**arguments: Any) -> dict[str, Any]:
    """The envs that users make."""
    return {
        "make": gym.make(ID, backend="numpy", **arguments).unwrapped,
        "make_vec": gym.make_vec(ID, num_envs=10, backend="numpy", **arguments),
        "parallel": pettingzoo.make("parallel", ID, backend="numpy", **arguments),
        "as_vec_env": as_vec_env(ID, backend="numpy", **arguments),
    }


def test_a_family_is_made_with_its_arguments() -> None:
    """As attributes, JSON-native; those that are left out have their defaults; the same ones give the same object."""
    made = family(ID, **ASKED)
    assert isinstance(made, Corridor)
    assert (made.size, made.prices) == (7, [0.5, 0.25])
    assert made.argument_values == made.given_arguments == PLAIN
    assert made is family(NAME, **PLAIN)
    assert family(ID, size=5) is family(ID)
    assert family(ID).given_arguments == {}
    assert family(ID).observations.size == 1
    assert sample_tasks(ID, 50, **ASKED).values[:, 0].max() == 6


def test_every_interface_takes_them() -> None:
    """The spaces are those of the family so made, and the rewards are the same."""
    for name, env in interfaces(**ASKED).items():
        assert env.core.family is family(ID, **PLAIN), name
        assert env.core.single_observation_space == gym.spaces.Discrete(7), name
    single, rows = gym.make(ID, **ASKED), gym.make_vec(ID, num_envs=1, **ASKED)
    single.reset(seed=0, options={"task": 0})
    rows.reset(seed=0)
    for action in (1, 1, 0, 1):
        assert single.step(action)[:2] == tuple(x[0] for x in rows.step(np.array([action]))[:2])
    assert interfaces()["make"].observation_space == gym.spaces.Discrete(5)


def test_a_spec_keeps_them() -> None:
    """JSON-native, through JSON and pickle, and only those that were given."""
    env = gym.make(ID, tasks=[{"goal": 6}], **ASKED)
    assert env.spec is not None
    assert {name: env.spec.kwargs[name] for name in PLAIN} == PLAIN
    for spec in (EnvSpec.from_json(env.spec.to_json()), pickle.loads(pickle.dumps(env.spec))):
        again = gym.make(spec)
        assert again.unwrapped.core.family is family(ID, **PLAIN)  # type: ignore[attr-defined]
        assert again.observation_space == env.observation_space
    assert "size" not in gym.make(ID).spec.kwargs  # type: ignore[union-attr]
    rows = gym.make_vec(ID, num_envs=2, **ASKED)
    assert rows.spec is not None
    assert rows.spec.kwargs["prices"] == [0.5, 0.25]


def test_rollouts_take_them() -> None:
    """By an id; a family that is made has its own already."""
    made = lifelong_gym.family(HEAVY, weight=2.0)
    theta = np.zeros(3)
    by_id = lifelong_gym.rollout(HEAVY, theta=theta, n_trajectories=2, weight=2, backend="numpy")
    by_object = lifelong_gym.rollout(made, theta=theta, n_trajectories=2, backend="numpy")
    np.testing.assert_array_equal(by_id.returns, by_object.returns)
    plain = lifelong_gym.rollout("LifelongSimpleMass-v0", theta=theta, n_trajectories=2, backend="numpy")
    assert (by_id.returns != plain.returns).all()
    with pytest.raises(ValueError, match="a family that is made has its arguments; name it by its id to pass `weight`"):
        lifelong_gym.rollout(made, theta=theta, n_trajectories=2, weight=2)


class Mass(type(lifelong_gym.family("LifelongSimpleMass-v0"))):  # type: ignore[misc]
    """Masses as heavy as is asked for."""

    arguments = (Argument("weight", float, 1.0, "times the mass"),)
    weight: float

    def constants(self, parameters: Any) -> Any:
        """Of heavier masses."""
        return super().constants({**parameters, "mass": self.weight * parameters["mass"]})


def test_the_family_so_made_keeps_all_promises() -> None:
    """Those that hold by default."""
    check_family(ID, **ASKED)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": "7"}, r"`size` must be int\. Received '7'"),
        ({"size": True}, r"`size` must be int\. Received True"),
        ({"size": 7.0}, r"`size` must be int\. Received 7\.0"),
        ({"size": None}, r"`size` must be int\. Received None"),
        ({"size": 1}, r"`size` must be at least 2\. Received 1"),
        ({"prices": "p.csv"}, r"`prices` must be list or dict\. Received 'p\.csv'"),
        ({"prices": [1.0, np.nan]}, r"`prices` must be list or dict, of what JSON knows: received nan"),
        ({"prices": {"a": object()}}, r"`prices` must be list or dict, of what JSON knows: received <object"),
        ({"siz": 7}, r"got an unexpected keyword argument 'siz'\. Did you mean 'size'\?"),
    ],
)
def test_wrong_arguments(arguments: dict[str, Any], message: str) -> None:
    """Everywhere the same: what it must be and what was received, or the nearest name."""
    calls: list[Callable[..., Any]] = [
        family,
        lambda id, **given: sample_tasks(id, 3, **given),
        gym.make,
        lambda id, **given: gym.make_vec(id, num_envs=2, **given),
        lambda id, **given: pettingzoo.make("parallel", id, **given),
        as_vec_env,
        lambda id, **given: lifelong_gym.rollout(id, theta=np.zeros(2), n_trajectories=1, **given),
    ]
    for call in calls:
        with pytest.raises((ValueError, UnexpectedArgumentError), match=message):
            call(ID, **arguments)


def test_typos_are_told_from_all_arguments_of_a_function() -> None:
    """The nearest may be the interface's own, or the family's."""
    for call, message in (
        (lambda: sample_tasks(ID, 3, presett="default"), r"sample_tasks\(\) got .* 'presett'\. Did you mean 'preset'"),
        (lambda: gym.make(ID, shedule="random"), "'shedule'. Did you mean 'schedule'"),
        (
            lambda: lifelong_gym.rollout(ID, theta=[0], n_trajectories=1, sigm=1),
            r"rollout\(\) got .*Did you mean 'sigma'",
        ),
    ):
        with pytest.raises(UnexpectedArgumentError, match=message):
            call()


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        (("a b", int, 1, ""), "an argument's name must be an identifier. Received 'a b'"),
        (("size", set, None, ""), "`type` of argument 'size' must be of bool, int, float, str, list, dict. Received"),
        (("size", int, "x", ""), "default of `size` must be int. Received 'x'"),
        (
            ("size", int, 1, "", {"one": 1}),
            "`type` of argument 'size' must be str, it has choices. Received <class 'int'>",
        ),
        (("size", str, "ones", "", {"one": 1}), "default of unknown size 'ones'. Did you mean 'one'?"),
    ],
)
def test_wrong_declarations(argument: tuple[Any, ...], message: str) -> None:
    """Where they stand."""
    with pytest.raises(FamilyError, match=message):
        Argument(*argument)


def test_an_argument_may_choose() -> None:
    """By names, for which the family's attribute holds what is chosen."""
    fast, slow = (lifelong_gym.family(f"{__name__}:Paced", **given) for given in ({}, {"pace": "slow"}))
    assert (vars(fast)["pace"], vars(slow)["pace"]) == (2, [1])
    assert slow.given_arguments == {"pace": "slow"}
    assert Paced.arguments[0].type_names == "'fast' or 'slow'"
    with pytest.raises(ValueError, match=r"unknown pace 'slo'\. Did you mean 'slow'\? There are: fast, slow"):
        lifelong_gym.family(f"{__name__}:Paced", pace="slo")


class Paced(Corridor):
    """A corridor at two paces."""

    arguments = (Argument("pace", str, "fast", "of walking", {"fast": 2, "slow": [1]}), *Corridor.arguments)


@pytest.mark.parametrize("name", ["horizon", "parameters", "schedule", "render_mode", "actions"])
def test_an_argument_must_not_hide_another(name: str) -> None:
    """What every family has, or every interface takes."""
    Hidden.arguments = (Argument(name, int, 1, "hides"),)
    _instance.cache_clear()  # a class is made once a process
    with (
        known("Hidden-v0", f"{__name__}:Hidden"),
        pytest.raises(FamilyError, match=f"an argument can't be called '{name}', every"),
    ):
        gym.make("Hidden-v0")


class Hidden(KernelFamily):
    """A corridor that is to be made with something."""

    parameters, state, actions, observations = (
        Corridor.parameters,
        Corridor.state,
        Corridor.actions,
        Corridor.observations,
    )
    horizon, rewards, constants = 3, Corridor.rewards, Corridor.constants


def test_tasks_of_other_arguments_are_checked() -> None:
    """A door beyond the corridor's end is refused."""
    far = sample_tasks(ID, 20, size=9)
    with pytest.raises(ValueError, match=r"parameter 'goal' must be in \[1, 4\]"):
        gym.make(ID, tasks=far)
    assert gym.make(ID, tasks=far, size=9).observation_space == gym.spaces.Discrete(9)


def test_a_learner_knows_the_family_so_made() -> None:
    """Also one that is behind a foreign VecEnv."""
    from stable_baselines3.common.vec_env import DummyVecEnv

    from lifelong_gym.agents.contract.environment import units_of

    with known("Heavy-v0", HEAVY):
        env = DummyVecEnv([lambda: gym.make("Heavy-v0", weight=3.0)])
        actions = lifelong_gym.family(HEAVY).actions
        assert isinstance(actions, Continuous)
        assert units_of(env)["action_bound"] == actions.bound
