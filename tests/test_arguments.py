"""Arguments are written once and repeated by constructors; learners are composed; bad calls change nothing."""

from __future__ import annotations

import dataclasses
import inspect
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lifelong_gym import sample_tasks
from lifelong_gym.agents import (
    ENAC,
    GOMTL,
    PGELLA,
    REINFORCE,
    RWR,
    MultiTaskAlgorithm,
    PolicySearch,
    ProjectedPG,
    SafeLifelongPG,
    ScalablePGELLA,
)
from lifelong_gym.agents.contract import persistence
from lifelong_gym.agents.contract.arguments import CommonSettings, argument_names
from lifelong_gym.agents.linear.base_learners import BaseSettings, NaturalActorCritic, Reinforce, RewardWeighted
from lifelong_gym.agents.linear.operating_point import OperatingPoint
from lifelong_gym.agents.linear.sampling import Sampler
from lifelong_gym.agents.linear.sharers import Record, Sharer, Sweep, Taskwise
from lifelong_gym.agents.safety.safe_basis import SafeBasisSettings
from lifelong_gym.agents.safety.safe_tasks import SafeSettings
from lifelong_gym.agents.shared_basis.distributed_basis import ConsensusSettings
from lifelong_gym.agents.shared_basis.go_mtl import UntilSettled
from lifelong_gym.agents.shared_basis.sharers import BasisSettings, InTurns
from lifelong_gym.errors import UnknownNameError
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.wrappers import as_vec_env

ENV = "LifelongCartPole-v0"
POLICY = "LinearGaussianPolicy"


LEVELS: dict[Any, list[Any]] = {
    MultiTaskAlgorithm: [],
    REINFORCE: [Taskwise, Sampler],
    ENAC: [NaturalActorCritic, Taskwise, Sampler],
    RWR: [RewardWeighted, Taskwise, Sampler],
    PGELLA: [InTurns, BasisSettings, BaseSettings, Sampler],
    GOMTL: [UntilSettled, BasisSettings, BaseSettings, Sampler],
    ScalablePGELLA: [ConsensusSettings, InTurns, BasisSettings, BaseSettings, Sampler],
    ProjectedPG: [SafeSettings, BaseSettings, Sampler],
    SafeLifelongPG: [SafeBasisSettings, SafeSettings, BaseSettings, Sampler],
}
OWN_DEFAULTS: dict[Any, dict[str, Any]] = {
    ENAC: {"n_trajectories": 50},
    ScalablePGELLA: {"base": "rwr", "n_basis": 2},
    ProjectedPG: {"base": "enac", "n_trajectories": 50},
    SafeLifelongPG: {"base": "enac", "n_trajectories": 50},
}
OWN_MEANINGS = {"policy", "env", "learning_rate", "n_trajectories", "device"}  # which depend on the learner
every_learner = pytest.mark.parametrize("kind", LEVELS)


def meanings(kind: Any, section: str) -> dict[str, str]:
    """What a docstring says of each name under a heading."""
    text = str(inspect.getdoc(kind)).partition(f"\n{section}:\n")[2].partition("\n\n")[0]
    entries = re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", text, re.MULTILINE)
    return {name: " ".join(meaning.split()) for name, meaning in entries}


@every_learner
def test_a_constructor_repeats_its_levels(kind: Any) -> None:
    """Names, types and defaults of arguments, each of which is in one settings class, are those of the signature."""
    parameters = dict(inspect.signature(kind).parameters)
    for name in ("policy", "env", "learning_rate"):
        del parameters[name]
    fields = [field for level in [*LEVELS[kind], CommonSettings] for field in dataclasses.fields(level)]
    assert sorted(field.name for field in fields) == sorted(parameters)
    for field in fields:
        default = OWN_DEFAULTS.get(kind, {}).get(field.name, field.default)
        assert (parameters[field.name].annotation, parameters[field.name].default) == (field.type, default), field.name


@every_learner
def test_a_docstring_repeats_its_levels(kind: Any) -> None:
    """It tells all arguments in the signature's order, in the words of their settings class."""
    told = meanings(kind, "Args")
    assert list(told) == [name for name in inspect.signature(kind).parameters if not name.startswith("_")]
    for level in [*LEVELS[kind], CommonSettings]:
        for name, meaning in meanings(level, "Attributes").items():
            assert name in OWN_MEANINGS or told[name] == meaning, name


@pytest.mark.parametrize("kind", [kind for kind in LEVELS if kind is not MultiTaskAlgorithm])
def test_a_learner_has_its_arguments_as_attributes(kind: Any) -> None:
    """Those that are left out with their defaults."""
    model = kind(POLICY, ENV, n_trajectories=50)
    for name, parameter in inspect.signature(kind).parameters.items():
        if name not in OWN_MEANINGS | {"_init_setup_model"}:
            assert getattr(model, name) == ({} if name == "base_settings" else parameter.default), name


@pytest.mark.parametrize("kind", LEVELS)
def test_learners_are_composed(kind: Any) -> None:
    """Between a learner and what all have in common is one class, on whatever way up."""

    def depth(of: type) -> int:
        return max((1 + depth(base) for base in of.__bases__ if issubclass(base, MultiTaskAlgorithm)), default=0)

    assert depth(kind) == (0 if kind is MultiTaskAlgorithm else 2)


def test_settings_are_checked_and_stay() -> None:
    """A bad value is refused by name when they are made, and none can be written later."""
    with pytest.raises(ValueError, match=r"`sparsity` must be at least 0. Received -1"):
        BasisSettings(sparsity=-1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        Sampler().sigma = 2.0  # type: ignore[misc]


def test_a_learner_of_one_s_own_hands_on() -> None:
    """What it takes as ``**more`` is the arguments of the class above; all are saved."""

    class Own(PGELLA):
        def __init__(self, policy: Any, env: Any, depth: int = 3, **more: Any) -> None:
            self.depth = depth
            super().__init__(policy, env, **more)

    names = argument_names(Own)
    assert names[:4] == ["policy", "env", "depth", "learning_rate"]
    assert sorted(names) == sorted(["depth", *inspect.signature(PGELLA).parameters])
    model = Own(POLICY, ENV, depth=4, n_basis=2)
    assert persistence.describe(model).arguments["depth"] == 4
    assert persistence.describe(model).arguments["n_basis"] == 2


def test_a_search_of_one_s_own_parts(tmp_path: Path) -> None:
    """Another sharer is another learner: here policies are drawn together, and a saved one goes on to the bit."""

    class Drawn(Sharer):
        def learned(self, sweep: Sweep, point: OperatingPoint, rng: np.random.Generator, record: Record) -> FloatArray:
            thetas = super().learned(sweep, point, rng, record)
            record("train/spread", float(thetas.std(axis=0).max()))
            return 0.5 * (thetas + thetas.mean(axis=0))

    class DrawnTogether(PolicySearch):
        def __init__(
            self,
            policy: Any,
            env: Any,
            learning_rate: Any = None,
            n_trajectories: int = 4,
            *,
            seed: int | None = None,
            device: Any = "auto",
            _init_setup_model: bool = True,
        ) -> None:
            common = CommonSettings(seed=seed, device=device, _init_setup_model=_init_setup_model)
            super().__init__(policy, env, learning_rate, Reinforce(), Drawn(), Sampler(n_trajectories), common)

    def env() -> Any:
        return as_vec_env(ENV, n_tasks=3, horizon=5)

    alone, drawn = REINFORCE(POLICY, env(), n_trajectories=4, seed=1), DrawnTogether(POLICY, env(), seed=1)
    for model in (alone, drawn):
        model.learn(1, log_interval=None)
    target = alone.policy.thetas
    np.testing.assert_array_equal(drawn.policy.thetas, 0.5 * (target + target.mean(axis=0)))
    assert drawn.logger.name_to_value["train/spread"] > 0
    drawn.save(tmp_path / "model")
    again = DrawnTogether.load(tmp_path / "model", env=env())
    for model in (drawn, again):
        model.learn(1, reset_num_timesteps=False)
    np.testing.assert_array_equal(again.policy.thetas, drawn.policy.thetas)


@pytest.mark.parametrize("kind", [REINFORCE, PGELLA, ScalablePGELLA])
def test_a_learner_goes_on_after_bad_calls(kind: Any, tmp_path: Path) -> None:
    """Environments, tasks, policies and parameters that don't fit."""
    tasks = sample_tasks(ENV, 3)
    model, twin = (kind(POLICY, as_vec_env(ENV, tasks=tasks, horizon=5), seed=0).learn(1) for _ in range(2))
    others, saved = sample_tasks(ENV, 3, seed=1), tmp_path / "model"
    twin.save(saved)
    bad: list[tuple[Callable[[], Any], str, type[Exception]]] = [
        (lambda: model.set_env(as_vec_env(ENV, n_tasks=4)), "must have 3 tasks. Received 4", ValueError),
        (lambda: model.set_env(as_vec_env(ENV, tasks=others)), "must have the tasks with hash", ValueError),
        (lambda: model.set_env("LifelongCH47-v0"), "spaces do not match", ValueError),
        (lambda: model.set_env(None), "`env` must be an id, a ParallelEnv", TypeError),
        (lambda: model.add_tasks(others), "must not change a known task", ValueError),
        (lambda: model.add_tasks([{"cart_mass": float("nan")}]), "Received nan", ValueError),
        (lambda: model.add_tasks({"values": {}}), "not a TaskSet: .* missing", ValueError),
        (lambda: model.for_task(3), r"unknown task 3. There are: 0 ... 2", UnknownNameError),
        (
            lambda: model.set_parameters({"policy": {"theta": np.zeros((2, 5))}}),
            "is missing|must be float64",
            ValueError,
        ),
        (lambda: model.set_parameters({"a": 1}), "must be tensors by module and name. Received 1 for 'a'", ValueError),
        (lambda: model.set_parameters({"policy": {"theta": "x"}}), "'theta' of 'policy' must be a tensor", ValueError),
        (lambda: model.set_parameters(None), "`path` must be a path, or a binary file to read", TypeError),
        (lambda: model.set_parameters({}, exact_match=2), "`exact_match` must be True or False", ValueError),
        (lambda: kind.load(1), "`path` must be a path, or a binary file to read. Received 1", TypeError),
        (lambda: kind.load(io.StringIO()), "`path` must be a path, or a binary file to read", TypeError),
        (lambda: model.save(None), "`path` must be a path, or a binary file to write. Received None", TypeError),
        (lambda: model.save(io.StringIO()), "`path` must be a path, or a binary file to write", TypeError),
        (lambda: model.learn(np.nan), "`total_timesteps` must be a finite number. Received nan", ValueError),
        (lambda: model.learn(np.inf), "`total_timesteps` must be a finite number. Received inf", ValueError),
        (lambda: model.learn(10**400), "`total_timesteps` must be a finite number. Received 1000", ValueError),
        (lambda: model.learn(-5), "`total_timesteps` must be at least 0. Received -5", ValueError),
        (lambda: model.learn("5"), "`total_timesteps` must be a finite number. Received '5'", ValueError),
        (lambda: model.learn(1, log_interval=0), "`log_interval` must be an integer of at least 1", ValueError),
        (lambda: kind(POLICY, ENV, learning_rate=-0.1), "`learning_rate` must be above 0. Received -0.1", ValueError),
        (lambda: kind.load(saved, learning_rate=-1), "`learning_rate` must be above 0. Received -1", ValueError),
        (lambda: model.predict(np.zeros(3, np.float32)), "Unexpected observation shape", ValueError),
    ]
    for call, message, error in bad:
        with pytest.raises(error, match=message):
            call()
    for learner in (model, twin):
        learner.learn(1)
    assert np.array_equal(model.policy.thetas, twin.policy.thetas)
