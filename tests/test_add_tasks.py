"""New tasks may come at any time: what a learner knows of them at once, and how it goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.vec_env import DummyVecEnv

from lifelong_gym import rollout, sample_tasks
from lifelong_gym.agents import (
    GOMTL,
    PGELLA,
    REINFORCE,
    RWR,
    LinearGaussianPolicy,
    MultiTaskAlgorithm,
    PolicySearch,
    ScalablePGELLA,
)
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.tasks.task_set import TaskSet
from lifelong_gym.wrappers import as_vec_env

ID = "LifelongCartPole-v0"
POLICY = "LinearGaussianPolicy"
TASKS = sample_tasks(ID, 8, preset="hetero")
TRAIN, TEST = TASKS.split(5, seed=0)
HORIZON = 12

BASIS: list[type[PolicySearch]] = [PGELLA, GOMTL, ScalablePGELLA]
EVERY: list[type[MultiTaskAlgorithm]] = [*BASIS, REINFORCE, RWR]


def env(tasks: TaskSet) -> Any:
    """Short episodes."""
    return as_vec_env(ID, tasks=tasks, horizon=HORIZON)


def learned(kind: Callable[..., Any], **arguments: Any) -> Any:
    """A learner after two sweeps over the training tasks."""
    model = kind(POLICY, env(TRAIN), seed=0, **arguments)
    return model.learn(2 * 5 * 5 * HORIZON)


def theta(model: MultiTaskAlgorithm, task: Any) -> FloatArray:
    """One task's parameters."""
    policy = model.for_task(task)
    assert isinstance(policy, LinearGaussianPolicy)
    return policy.thetas[0]


@pytest.mark.parametrize("kind", BASIS)
def test_an_unseen_task_has_the_mean_code(kind: type[PolicySearch]) -> None:
    """Zero-shot: what tasks have in common, by index or as a task; the known ones stay as they are."""
    model = learned(kind)
    before = model.policy.thetas
    assert model.add_tasks(TEST) is model
    assert model.n_tasks == 8
    assert model.tasks == TaskSet(TASKS.space, [*TRAIN.values, *TEST.values], [*TRAIN.uids, *TEST.uids])
    np.testing.assert_array_equal(model.policy.thetas[:5], before)
    for i, task in enumerate(TEST):
        np.testing.assert_array_equal(theta(model, task), theta(model, 5 + i))
        # Nodes' own copies of the basis differ a little.
        np.testing.assert_allclose(theta(model, task), before.mean(axis=0), rtol=1e-3)


@pytest.mark.parametrize("kind", [REINFORCE, RWR])
def test_without_a_basis_new_tasks_start_from_nothing(kind: type[Any]) -> None:
    """From zero; with one policy for all, from that one."""
    model = learned(kind).add_tasks(TEST)
    assert not theta(model, TEST[0]).any()
    shared = learned(kind, shared=True).add_tasks(TEST)
    np.testing.assert_array_equal(theta(shared, TEST[0]), theta(shared, 0))


@pytest.mark.parametrize("kind", EVERY)
def test_learning_goes_on_in_the_new_tasks_alone(kind: type[Any]) -> None:
    """The new env may have them only, in any order; the others keep what they learned, or their codes."""
    model = learned(kind).add_tasks(TEST)
    before = model.policy.thetas
    model.set_env(env(TEST[[2, 0]]))
    steps = model.num_timesteps
    model.learn(1, reset_num_timesteps=False)
    assert model.num_timesteps - steps == 2 * 5 * HORIZON
    moved = (model.policy.thetas != before).any(axis=1)
    assert moved[[5, 7]].all()
    if kind in BASIS:
        assert model.knowledge.observed.tolist() == [True] * 6 + [False, True]
    else:
        assert moved.tolist() == [False] * 5 + [True, False, True]
    model.set_env(env(TRAIN))
    model.learn(1)
    assert model.tasks is not None
    assert len(model.tasks) == model.n_tasks == 8


@pytest.mark.parametrize("kind", EVERY)
def test_a_larger_env_at_last_equals_one_from_the_start(kind: type[Any]) -> None:
    """Tasks in another order than the env's: each is run with its own policy."""
    model = learned(kind).add_tasks(TEST)
    whole = env(TASKS)  # uids 0 ... 7 in order, unlike the model's
    model.set_env(whole)
    model.collect_rollouts()
    assert model.tasks is not None
    np.testing.assert_array_equal(model.tasks.uids[model._observed], TASKS.uids)
    expected = rollout(
        ID,
        tasks=TASKS,
        theta=np.array([theta(model, task) for task in TASKS]),
        n_trajectories=5,
        seed=0,
        sigma=model.sigma,
        first_visit=10,
        horizon=HORIZON,
    )
    model._n_visits = 10
    np.testing.assert_array_equal(model.collect_rollouts()[0].returns, expected.returns)


@pytest.mark.parametrize("kind", EVERY)
def test_new_tasks_are_saved(kind: type[Any], tmp_path: Path) -> None:
    """With an env of all tasks, of some, or none; learning goes on to the bit."""
    model = learned(kind).add_tasks(TEST)
    model.save(tmp_path / "model")
    for venv in (env(TASKS), env(TEST), None):
        loaded = kind.load(tmp_path / "model", env=venv)
        assert loaded.n_tasks == 8
        np.testing.assert_array_equal(theta(loaded, TEST[1]), theta(model, TEST[1]))
        if venv is None:
            with pytest.raises(ValueError, match="unknown task"):
                loaded.for_task(sample_tasks(ID, 9)[8])
            assert loaded.add_tasks(sample_tasks(ID, 9, preset="hetero")).n_tasks == 9
        else:
            model.set_env(venv)
            np.testing.assert_array_equal(loaded.learn(1).policy.thetas, model.learn(1).policy.thetas)
            model = kind.load(tmp_path / "model")


def test_many_arrivals_of_one_task() -> None:
    """Each task in turn, with an env of its own, again and again: all of them are learned."""
    model = PGELLA(POLICY, env(TASKS[:1]), seed=0, n_basis=2)
    for _ in range(2):
        for i in range(len(TASKS)):
            model.add_tasks(TASKS[i : i + 1])
            model.set_env(env(TASKS[i : i + 1]))
            model.learn(1, reset_num_timesteps=False)
    assert model.tasks == TASKS
    assert model.knowledge.observed.all()
    assert model.num_timesteps == 2 * 8 * 5 * HORIZON


def test_what_is_known_is_not_added_twice() -> None:
    """Tasks with the same uids and values stay where they are; parameters alone are new tasks with new uids."""
    model = learned(PGELLA).add_tasks(TASKS).add_tasks(TEST.to_dict()).add_tasks([TEST[0], TRAIN[1]])
    assert model.n_tasks == 8
    model.add_tasks([{"cart_mass": 0.5}, dict(TRAIN[0])])
    assert model.n_tasks == 10
    assert model.tasks is not None
    assert model.tasks.uids[-2:].tolist() == [8, 9]


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        (sample_tasks("LifelongSimpleMass-v0", 3), "belong to a family with other parameters: mass"),
        (
            sample_tasks(ID, 8, seed=1),
            r"must not change a known task: uids \[.*\] are taken by tasks with other values",
        ),
        ([{"cart_mas": 1.0}], "unknown parameter 'cart_mas'. Did you mean 'cart_mass'"),
        ([{"cart_mass": 100.0}], r"parameter 'cart_mass' must be in \[0.01, 20\] kg. Received 100.0"),
        ([], "a TaskSet needs at least one task. Received none"),
        (3, "`tasks` must be a list of dicts of parameters. Received 3"),
        (TEST[0], "not a TaskSet: .* missing"),
    ],
    ids=str,
)
def test_bad_tasks_are_refused(tasks: Any, message: str) -> None:
    """Nothing has changed then."""
    model = learned(PGELLA)
    before = model.policy.thetas
    with pytest.raises(ValueError, match=message):
        model.add_tasks(tasks)
    assert model.n_tasks == 5
    np.testing.assert_array_equal(model.policy.thetas, before)


def test_unknown_tasks_are_refused() -> None:
    """An env with tasks that nobody added, and policies of tasks that aren't there, be it only their values."""
    model = learned(PGELLA)
    with pytest.raises(ValueError, match=r"`env` must have 5 tasks. Received 8 \(new ones: see `add_tasks`\)"):
        model.set_env(env(TASKS))
    with pytest.raises(ValueError, match="`env` must have the tasks with hash"):
        model.set_env(env(TEST))
    for task in (TEST[0], sample_tasks(ID, 1, seed=1)[0], 5, "task_0"):
        with pytest.raises(ValueError, match="unknown task"):
            model.for_task(task)


def test_rows_without_parameters_take_no_tasks() -> None:
    """Where each row of a foreign VecEnv is a task, nobody could say what a new one is."""
    venv = DummyVecEnv([lambda: gym.make("Pendulum-v1", max_episode_steps=8)] * 2)
    with pytest.raises(ValueError, match="tasks can only be added where they have parameters"):
        REINFORCE(POLICY, venv, seed=0).add_tasks(TEST)


def test_a_basis_from_many_tasks_helps_with_new_ones() -> None:
    """Before the first trajectory and after few, novel helicopters do better with what others taught than without."""
    id = "LifelongCH47-v0"
    train, test = sample_tasks(id, 30).split(20, seed=0)

    def cost(thetas: FloatArray) -> float:
        run = rollout(id, tasks=test, theta=thetas, n_trajectories=8, seed=999, sigma=0.0, bias=False)
        return -float(run.returns.mean()) / 150

    model = GOMTL(
        POLICY, as_vec_env(id, tasks=train), base="rwr", n_basis=2, n_trajectories=30, sigma=0.3, bias=False, seed=0
    )
    model.learn(15 * 20 * 30 * 150).add_tasks(test)
    scratch = RWR(POLICY, as_vec_env(id, tasks=test), n_trajectories=30, sigma=0.3, bias=False, seed=0)
    start, zero_shot = cost(scratch.policy.thetas), cost(model.policy.thetas[20:])
    alone = cost(scratch.learn(3 * 10 * 30 * 150).policy.thetas)
    assert zero_shot < 0.15 * start
    assert zero_shot < 0.5 * alone
    model.set_env(as_vec_env(id, tasks=test))
    assert cost(model.learn(3 * 10 * 30 * 150).policy.thetas[20:]) < 1.05 * zero_shot
