"""Linear MDPs: optimal values are what tasks say, exact tables are what steps do, and locks are hard."""

from __future__ import annotations

import pickle
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import lifelong_gym
from lifelong_gym.envs.models import outcomes_of, tabular_model
from lifelong_gym.envs.tabular.linear_models import LinearModels
from lifelong_gym.numerics.optima import optimal_action_values, optimal_return, policy_return
from lifelong_gym.references.reference import reference_of
from lifelong_gym.testing import check_family
from lifelong_gym.wrappers import HiddenTasks, as_vec_env

ID = "LifelongLinearMDP-v0"
SMALL: dict[str, Any] = {"d": 3, "n_states": 4, "n_actions": 2, "n_stages": 3}
LOCK: dict[str, Any] = {"layout": "lock", "d": 5, "n_states": 3, "n_stages": 8}


@pytest.mark.parametrize(("sizes", "n"), [({}, 1000), ({"d": 20}, 20), (SMALL, 20), (LOCK, 20)], ids=str)
def test_the_best_policy_earns_the_value(sizes: dict[str, Any], n: int) -> None:
    """To 1e-10, by a backward induction of its own; rewards lie in [0, 1], and rows of the kernel are distributions."""
    family: Any = lifelong_gym.family(ID, **sizes)
    for task in lifelong_gym.sample_tasks(ID, n, seed=4, **sizes):
        P, r = family.models.process(int(task["kernel"]), task["value"], task["contrast"])
        values = np.zeros(family.n_states)
        for h in reversed(range(family.n_stages)):
            values = np.max(r[h] + np.einsum("sat,t->sa", P[h], values), axis=-1)
        assert values[0] == pytest.approx(task["value"], abs=1e-10)
        assert 0.0 <= r.min() <= r.max() <= 1.0
        np.testing.assert_allclose(P.sum(axis=-1), 1.0, atol=1e-12)


def test_neither_value_nor_contrast_changes_what_is_best() -> None:
    """The same actions, whatever is earned by them."""
    family = lifelong_gym.family(ID)
    for kernel in range(5):
        tasks = [{"kernel": kernel, "value": v, "contrast": a} for v, a in ((1.5, 0.1), (2.5, 0.25), (3.0, 0.7))]
        first, *others = [optimal_action_values(tabular_model(family, task), 5).argmax(axis=-1) for task in tasks]
        for other in others:
            np.testing.assert_array_equal(other, first)


@pytest.mark.parametrize("sizes", [SMALL, {**LOCK, "n_stages": 3}], ids=str)
def test_the_tables_at_hand_are_those_of_the_text(sizes: dict[str, Any]) -> None:
    """What the family says of a task, and what its text does for every outcome of the noise."""
    family: Any = lifelong_gym.family(ID, **sizes)
    task = {"kernel": 12, "value": 1.4}
    exact, run = tabular_model(family, task), outcomes_of(family, family.parameters.tasks([task]))
    for name in ("P", "R", "start", "ends"):
        np.testing.assert_allclose(getattr(exact, name), getattr(run, name), atol=1e-12, err_msg=name)


def test_policies_earn_what_their_exact_evaluation_says() -> None:
    """The best and a random one, over many episodes in the env; a policy may depend on the steps taken."""
    n, family, task = 4000, lifelong_gym.family(ID, **SMALL), {"kernel": 3, "value": 1.5, "contrast": 0.5}
    model = tabular_model(family, task)
    best = optimal_action_values(model, 3)
    by_step = np.eye(2)[best.argmax(axis=-1)]
    random = np.full(model.R.shape, 0.5)
    assert policy_return(model, by_step, 3) == pytest.approx(1.5) == pytest.approx(optimal_return(model, 3))
    rng = np.random.default_rng(0)
    for policy in (by_step, random):
        env = gym.make_vec(ID, num_envs=n, tasks=[task], backend="numpy", **SMALL)
        seen, returns = env.reset(seed=1)[0], np.zeros(n)
        for step in range(3):
            chances = np.broadcast_to(policy, by_step.shape)[step, seen, 1]
            seen, rewards, terminated, *_ = env.step((rng.random(n) < chances).astype(np.int64))
            returns += rewards
            assert terminated.all() == (step == 2)
        error = 5 * returns.std() / np.sqrt(n)
        assert returns.mean() == pytest.approx(policy_return(model, policy, 3), abs=error)
    with pytest.raises(ValueError, match=r"`policy` must have shape \(16, 2\) or \(3, 16, 2\)\. Received \(2, 16, 2\)"):
        policy_return(model, by_step[:2], 3)


def test_presets_space_values_as_they_say() -> None:
    """Ten rungs 1.1 separations apart, or 0.3, or none; kernels differ, and features don't."""
    for preset, gap in (("separated", 0.275), ("crowded", 0.075), ("twins", 0.0)):
        for sizes in ({}, {"n_stages": 10}):
            tasks = lifelong_gym.sample_tasks(ID, 10, seed=3, preset=preset, **sizes)
            scale = sizes.get("n_stages", 5) / 5
            np.testing.assert_allclose(np.diff(np.sort(tasks.column("value"))), scale * gap, atol=1e-9)
            assert len(set(tasks.column("kernel"))) == 10
    features: Any = lifelong_gym.family(ID).features  # type: ignore[attr-defined]
    assert features.shape == (120, 4, 5)
    np.testing.assert_allclose(features.sum(axis=-1), 1.0)
    assert features.min() >= 0.0
    rows: Any = as_vec_env(gym.make_vec(ID, num_envs=2, schedule={"rounds": "uniform"}, backend="numpy"))
    np.testing.assert_array_equal(HiddenTasks(rows).family.features, features)


def test_a_lock_opens_to_its_combination_alone() -> None:
    """At 8 stages of 4 actions, acting at random finds it with probability 4^-7; the best policy always does."""
    family = lifelong_gym.family(ID, **LOCK)
    task = {"kernel": 5, "value": 1.0}
    model = tabular_model(family, task)
    wrong = 0.75 / 8  # what a step pays anyway: (value - contrast) / n_stages
    by_chance = policy_return(model, np.full(model.R.shape, 0.25), 8) - 8 * wrong
    assert by_chance == pytest.approx(0.25 * 0.25**7, rel=1e-9)
    best = optimal_action_values(model, 8).argmax(axis=-1)
    env: Any = gym.make(ID, tasks=[task], backend="python", **LOCK)
    seen, total = env.reset(seed=0)[0], 0.0
    for step in range(8):
        seen, reward, terminated, *_ = env.step(best[step, seen])
        total += reward
    assert terminated
    assert total == pytest.approx(1.0)


def test_the_reference_is_exact() -> None:
    """Its best is the value, also of a shorter horizon, and its actions earn it."""
    family = lifelong_gym.family(ID, **SMALL)
    tasks = lifelong_gym.sample_tasks(ID, 3, **SMALL)
    reference = reference_of(family, tasks)
    assert reference is not None
    np.testing.assert_allclose(reference.best(lambda _: np.zeros(3)), tasks.column("value"))
    for horizon in (3, 2):
        short = reference_of(family, tasks, horizon=horizon)
        assert short is not None
        chosen = [short.predict(np.repeat(np.arange(16), 3))[task::3] for task in range(3)]
        for task, actions in enumerate(chosen):
            model = tabular_model(family, tasks[task])
            earned = policy_return(model, np.eye(2)[actions], horizon)
            assert earned == pytest.approx(optimal_return(model, horizon))


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ({"value": 0.5}, r"one that the kernel reaches .*; that is in \[\d\.\d+, \d\.\d+\]\. Received kernel="),
        ({"value": 5.5}, r"'value' must be in \[0, 5\]"),
        ({"contrast": 0.0}, r"'contrast' must be in \[0\.01, 1\]"),
        ({"kernel": 0.5}, r"'kernel' must be an integer"),
    ],
)
def test_tasks_that_can_t_be_are_refused(task: dict[str, float], message: str) -> None:
    """With what could be; the interval that is named is the one that is accepted."""
    space = lifelong_gym.family(ID).parameters
    with pytest.raises(ValueError, match=message):
        space.tasks([task])
    low, high = LinearModels(5, 20, 4, 5).reach(7, 0.25)
    space.tasks([{"kernel": 7, "value": low}, {"kernel": 7, "value": high}])
    with pytest.raises(ValueError, match="reaches"):
        space.tasks([{"kernel": 7, "value": high + 1e-6}])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layout": "lock", "n_actions": 3}, r"`d` must be n_actions \+ 1 = 4 where layout=\"lock\".* Received 5"),
        ({"n_states": 1}, "`n_states` must be an integer of at least 2. Received 1"),
        ({"d": 0}, "`d` must be an integer of at least 1. Received 0"),
        ({"layout": "locks"}, "unknown layout 'locks'. Did you mean 'lock'"),
        ({"horizon": 6}, "`horizon` must be an integer of at least 1 and at most 5. Received 6"),
    ],
)
def test_sizes_that_can_t_be_are_refused(arguments: dict[str, Any], message: str) -> None:
    """Before there is an env."""
    with pytest.raises(ValueError, match=message):
        gym.make(ID, **arguments)


def test_other_sizes_keep_the_promises() -> None:
    """A lock, on the backends that need no compiler; a family can be pickled."""
    check_family(ID, **LOCK, backend="numpy")
    family = lifelong_gym.family(ID, **LOCK)
    again = pickle.loads(pickle.dumps(family))
    np.testing.assert_array_equal(again.features, family.features)  # type: ignore[attr-defined]
    env: Any = gym.make(ID, backend="python")
    for state, message in (((6.0, 0.0), "stage must be an integer from 0 to 5"), ((1.0, 0.5), "state must be an int")):
        with pytest.raises(ValueError, match=message):
            env.reset(options={"state": state})
