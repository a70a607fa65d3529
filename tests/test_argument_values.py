"""Values of learners' arguments: NumPy's are as good as Python's, and bad ones are refused by name."""

from __future__ import annotations

import importlib.metadata
import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lifelong_gym.agents import RWR
from lifelong_gym.wrappers import as_vec_env

ENV = "LifelongCartPole-v0"
POLICY = "LinearGaussianPolicy"
GOOD: dict[str, Any] = {  # of every argument of any learner, but for those that aren't values
    "learning_rate": 0.25,
    "n_trajectories": 8,
    "sigma": 0.5,
    "bias": True,
    "seed": 3,
    "verbose": 0,
    "tensorboard_log": None,
    "shared": True,
    "max_kl": 0.125,
    "beta": 2.0,
    "reward_to_go": True,
    "n_basis": 2,
    "base": "rwr",
    "base_settings": {"beta": 2.0, "reward_to_go": True, "max_kl": 0.25},
    "sparsity": 0.5,
    "ridge": 0.5,
    "mean_basis": True,
    "alternations": 2,
    "tolerance": 0.5,
    "consensus": "all_reduce",
    "admm_iterations": 3,
    "penalty": 0.5,
    "metric": "identity",
    "variant": "A",
    "p": 0.5,
    "q": 2.0,
    "mu_1": 0.5,
    "mu_2": 0.25,
    "n_inner": 1,
    "forget": 0.5,
    "warm_start": False,
    "compensate": False,
    "regret_mode": True,
    "n_rounds": 4,
    "constraints": {"low": [-2.0] * 5, "high": [2.0] * 5},
    "nominal": "continuous",
    "anchors": [0.0] * 5,
}
NO_VALUES = {"policy", "env", "device", "_init_setup_model"}
REGISTERED = {
    point.name: point
    for point in importlib.metadata.entry_points(group="lifelong_gym.agents")
    if POLICY in point.load().policy_aliases
}
every_learner = pytest.mark.parametrize("name", REGISTERED)


def arguments_of(kind: Any) -> set[str]:
    """Those that are values."""
    return inspect.signature(kind).parameters.keys() - NO_VALUES


def of_numpy(value: Any) -> Any:
    """The same value in NumPy's types, which are exact for these."""
    if isinstance(value, dict):
        return {np.str_(key): of_numpy(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return np.array(value, np.float32)
    types: dict[type, Any] = {bool: np.bool_, int: np.int32, float: np.float32, str: np.str_}
    return None if value is None else types[type(value)](value)


def is_python(value: Any) -> bool:
    """Whether nothing in it is NumPy's."""
    if isinstance(value, (list, dict)):
        return all(map(is_python, value if isinstance(value, list) else [*value, *value.values()]))
    return type(value) in (bool, int, float, str, type(None))


@every_learner
def test_numbers_of_numpy_are_numbers(name: str, tmp_path: Path) -> None:
    """Every argument of every learner: kept in Python's types, and equal after learning, saving and loading."""
    kind = REGISTERED[name].load()
    names = arguments_of(kind)
    assert names <= GOOD.keys()
    arguments = {name: GOOD[name] for name in names}
    env = as_vec_env(ENV, n_tasks=2, horizon=5)
    expected = kind(POLICY, env, **arguments)
    model = kind(np.str_(POLICY), env, **{name: of_numpy(value) for name, value in arguments.items()})
    for argument in names:
        value = getattr(model, argument)
        assert is_python(value), argument
        assert value == getattr(expected, argument), argument
    assert np.array_equal(model.learn(np.int64(1)).policy.thetas, expected.learn(1).policy.thetas)
    model.save(tmp_path / "model")
    loaded = kind.load(tmp_path / "model", sigma=np.float32(0.25))
    assert all(getattr(loaded, name) == getattr(model, name) for name in names - {"sigma", "verbose"})
    assert (loaded.sigma, loaded.policy.sigma) == (0.25, 0.25)


@every_learner
@pytest.mark.parametrize("value", [10**400, 2**64, np.nan, -1, "much", [1]], ids=lambda value: str(value)[:9])
def test_values_that_are_none_are_refused(name: str, value: Any) -> None:
    """Every argument of every learner: what isn't of its kind or range raises a `ValueError` that says which."""
    kind, env = REGISTERED[name].load(), as_vec_env(ENV, n_tasks=2, horizon=5)
    for argument in arguments_of(kind) - {"tensorboard_log"}:
        if value == 2**64 and isinstance(GOOD[argument], float):
            continue  # a number like any other
        given = {"n_trajectories": 8, argument: value} | ({"p": value} if argument == "q" else {})
        is_name = argument in ("nominal", "base", "variant", "consensus", "metric")
        with pytest.raises(ValueError, match="`p`" if argument == "q" else argument if is_name else f"`{argument}`"):
            kind(POLICY, env, **given)


def test_numbers_of_numpy_for_a_learner_of_one_s_own(tmp_path: Path) -> None:
    """It needn't do anything about them."""

    class Own(RWR):
        def __init__(self, policy: Any, env: Any, depth: int = 3, **more: Any) -> None:
            self.depth = depth
            super().__init__(policy, env, **more)

    given: dict[str, Any] = {"depth": np.int8(4), "max_kl": np.float32(0.5)}
    model = Own(POLICY, ENV, **given)
    model.save(tmp_path / "model")
    assert type(model.depth) is int
    assert Own.load(tmp_path / "model").depth == 4
