"""Numbers that are not finite never stay in a learner, and what `load` refuses is never saved."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lifelong_gym.agents import (
    ENAC,
    GOMTL,
    PGELLA,
    REINFORCE,
    RWR,
    LinearGaussianPolicy,
    MultiTaskAlgorithm,
    ProjectedPG,
    SafeLifelongPG,
    ScalablePGELLA,
)
from lifelong_gym.agents.contract import persistence
from lifelong_gym.agents.shared_basis.sharers import BasisSharer
from lifelong_gym.errors import CheckpointError
from lifelong_gym.wrappers import as_vec_env

ID = "LifelongSimpleMass-v0"
KINDS = (ENAC, GOMTL, PGELLA, ProjectedPG, REINFORCE, RWR, SafeLifelongPG, ScalablePGELLA)
MODELS: dict[Any, Any] = {}
every_learner = pytest.mark.parametrize("kind", KINDS)


def make(kind: Any, **arguments: Any) -> Any:
    """Of three tasks."""
    own = {"seed": 0, "n_trajectories": 8, **arguments}
    return kind("LinearGaussianPolicy", as_vec_env(ID, n_tasks=3, horizon=10), **own)


def arrays(model: MultiTaskAlgorithm) -> dict[str, np.ndarray[Any, Any]]:
    """Copies of all that was learned."""
    return {name: array.copy() for name, array in persistence.flattened(model.get_parameters()).items()}


@every_learner
@pytest.mark.filterwarnings("ignore:(overflow|invalid value) encountered")
def test_the_last_finite_parameters_stay_in_force(kind: Any, tmp_path: Path) -> None:
    """Where an update fails numerically; it is said, learning goes on, and what is saved can be loaded."""
    model = make(kind).learn(1)
    before = arrays(model)
    with pytest.MonkeyPatch.context() as patched:
        train = kind.train

        def diverging(self: Any) -> None:
            train(self)
            self.policy.thetas = self.policy.thetas * np.nan

        patched.setattr(kind, "train", diverging)
        with pytest.warns(UserWarning, match="an update failed: 'policy.theta' holds values that are not finite"):
            model.learn(1, reset_num_timesteps=False)
    after = arrays(model)
    assert all(np.array_equal(array, before[name]) for name, array in after.items())
    model.save(tmp_path / "model")
    assert np.array_equal(kind.load(tmp_path / "model").policy.thetas, model.policy.thetas)
    model.learn(1, reset_num_timesteps=False)
    assert not np.array_equal(model.policy.thetas, before["policy.theta"])


@pytest.mark.parametrize("kind", [PGELLA, RWR, ScalablePGELLA, SafeLifelongPG])
@pytest.mark.filterwarnings("ignore:(overflow|invalid value) encountered")
def test_steps_that_are_too_long_fail(kind: Any) -> None:
    """Where they overflow, in whichever part of the learner."""
    model = make(kind, learning_rate=1.7e308)
    before = model.policy.thetas
    with pytest.warns(UserWarning, match="an update failed: .* The parameters before it stay in force"):
        model.learn(4 * 3 * 8 * 10)
    assert np.array_equal(model.policy.thetas, before)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_interrupted_update_leaves_the_last_parameters(error: type[BaseException]) -> None:
    """All of them, whatever stops it in the middle, and it stops the learner."""
    model = make(PGELLA).learn(1)
    before = arrays(model)

    def interrupted(*_: Any) -> None:
        raise error

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(BasisSharer, "_policies", interrupted)  # codes and basis are new then
        with pytest.raises(error):
            model.learn(1)
    assert all(np.array_equal(array, before[name]) for name, array in arrays(model).items())


def with_bad_number(model: Any, draw: Callable[[Any], Any]) -> None:
    """In any of its tensors, anywhere."""
    everything = [tensor for state in model.get_parameters().values() for tensor in state.values()]
    tensors = [tensor for tensor in everything if tensor.is_floating_point() and tensor.numel()]
    tensor = draw(st.sampled_from(tensors)).view(-1)
    tensor[draw(st.integers(0, len(tensor) - 1))] = draw(st.sampled_from([np.nan, np.inf, -np.inf]))


def with_bad_argument(model: Any, draw: Callable[[Any], Any]) -> None:
    """Any that files hold, replaced by anything."""
    names = [name for name in persistence.describe(model).arguments if name not in ("seed", "nominal")]
    anything = st.sampled_from([np.nan, -1, 10**400, "text", [], {"a": 1}, object(), np.zeros(2), 2**31 - 1])
    setattr(model, draw(st.sampled_from(names)), draw(anything))


def with_bad_counter(model: Any, draw: Callable[[Any], Any]) -> None:
    """Any of them."""
    names = sorted(model._counters().keys() - {"n_tasks"})
    setattr(model, draw(st.sampled_from(names)), draw(st.sampled_from([-1, 2**63, 0.5, None, True])))


@every_learner
@pytest.mark.parametrize("spoil", [None, with_bad_number, with_bad_argument, with_bad_counter])
@settings(max_examples=12)
@given(data=st.data())
def test_what_load_refuses_is_never_saved(kind: Any, spoil: Any, data: st.DataObject) -> None:
    """Whatever was written into a model: either nothing is written, or `load` takes it."""
    if kind not in MODELS:
        file = io.BytesIO()
        make(kind).learn(1).save(file)
        MODELS[kind] = file.getvalue()
    model, file = kind.load(io.BytesIO(MODELS[kind])), io.BytesIO()
    if spoil is None:
        model.save(file)
    else:
        spoil(model, data.draw)
        try:
            model.save(file)
        except CheckpointError:
            assert file.getvalue() == b""
            return
        assert spoil is not with_bad_number
    file.seek(0)
    loaded, expected = kind.load(file), arrays(model)
    assert all(np.array_equal(array, expected[name]) for name, array in arrays(loaded).items())


def generators() -> tuple[Any, Any]:
    """The states of NumPy's and torch's global ones."""
    return np.random.get_state(legacy=False)["state"]["key"].tolist(), torch.random.get_rng_state().tolist()


@every_learner
def test_saving_touches_nothing(kind: Any) -> None:
    """Neither the model nor the global generators that it, and users, may draw from."""
    model = make(kind).learn(1)
    before, drawn = arrays(model), generators()
    model.save(io.BytesIO())
    assert all(np.array_equal(array, before[name]) for name, array in arrays(model).items())
    assert generators() == drawn


def test_a_policy_that_is_not_finite_is_not_saved(tmp_path: Path) -> None:
    """One of `for_task` neither."""
    policy = make(REINFORCE).learn(1).for_task(1)
    assert isinstance(policy, LinearGaussianPolicy)
    policy.thetas = policy.thetas + np.inf
    with pytest.raises(CheckpointError, match="'theta' holds values that are not finite"):
        policy.save(tmp_path / "policy")
    assert not list(tmp_path.iterdir())
