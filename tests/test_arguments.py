"""Arguments that learners hand on are spelled out where one looks for them; bad calls change nothing."""

from __future__ import annotations

import inspect
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lifelong_gym import sample_tasks
from lifelong_gym.agents import ENAC, GOMTL, PGELLA, REINFORCE, RWR, ProjectedPG, SafeLifelongPG, ScalablePGELLA
from lifelong_gym.agents.contract import persistence
from lifelong_gym.errors import UnknownNameError
from lifelong_gym.wrappers import as_vec_env

ENV = "LifelongCartPole-v0"
POLICY = "LinearGaussianPolicy"


@pytest.mark.parametrize("kind", [ENAC, GOMTL, PGELLA, ProjectedPG, REINFORCE, RWR, SafeLifelongPG, ScalablePGELLA])
def test_every_argument_is_spelled_out(kind: Any) -> None:
    """Signature and docstring name all arguments, in the same order, with the defaults that hold."""
    parameters = dict(inspect.signature(kind).parameters)
    del parameters["_init_setup_model"]
    documented = re.findall(
        r"^    (\*{0,2}\w+): ", str(inspect.getdoc(kind)).partition("\nArgs:\n")[2].partition("\n\n")[0], re.M
    )
    assert documented == list(parameters)
    model = kind(POLICY, ENV, n_trajectories=50)
    for name in parameters.keys() - {"policy", "env", "learning_rate", "n_trajectories", "device"}:
        default = parameters[name].default
        assert getattr(model, name) == ({} if name == "base_settings" else default)


def test_a_learner_of_one_s_own_spells_out_too() -> None:
    """What it adds comes first; a class without a constructor has its parent's."""

    class Own(PGELLA):
        """Mine.

        Args:
            depth: of mine.
            **more: see `PGELLA`.
        """

        def __init__(self, policy: Any, env: Any, depth: int = 3, **more: Any) -> None:
            self.depth = depth
            super().__init__(policy, env, **more)

    assert list(inspect.signature(Own).parameters)[:4] == ["policy", "env", "depth", "learning_rate"]
    assert "depth: of mine.\n    learning_rate:" in str(Own.__doc__)
    model = Own(POLICY, ENV, depth=4, n_basis=2)
    assert persistence.describe(model).arguments["depth"] == 4
    assert persistence.describe(model).arguments["n_basis"] == 2


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
