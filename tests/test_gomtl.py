"""Batches: codes of all tasks and their basis alternate until they settle; and policies around a mean."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from stable_baselines3.common.vec_env import VecEnv

from lifelong_gym import rollout, sample_tasks
from lifelong_gym.agents import GOMTL, PGELLA, RWR
from lifelong_gym.tasks.task_set import TaskSet
from lifelong_gym.wrappers import as_vec_env

ID = "LifelongCartPole-v0"
POLICY = "LinearGaussianPolicy"
TASKS = sample_tasks(ID, 6, preset="hetero")


def env(tasks: TaskSet = TASKS) -> VecEnv:
    """Short episodes."""
    return as_vec_env(ID, tasks=tasks, horizon=20)


def test_equals_pg_ella_where_all_tasks_come_up_and_both_alternate_as_often() -> None:
    """To the bit: the methods differ in nothing else."""
    online = PGELLA(POLICY, env(), seed=0, alternations=4).learn(2000)
    batch = GOMTL(POLICY, env(), seed=0, alternations=4, tolerance=0.0).learn(2000)
    np.testing.assert_array_equal(batch.policy.thetas, online.policy.thetas)


def test_earlier_tasks_get_new_codes() -> None:
    """When other tasks move the basis, their codes follow; online, they wait for the next visit."""
    for kind, follows in ((GOMTL, True), (PGELLA, False)):
        model = kind(POLICY, env(TASKS[:3]), seed=0, n_basis=2).learn(1).add_tasks(TASKS)
        model.set_env(env(TASKS[3:]))
        before = model.knowledge.array("codes")[:3].copy()
        model.learn(1)
        assert (model.knowledge.array("codes")[:3] != before).all() == follows


def test_alternations_end_when_policies_settle() -> None:
    """With a loose tolerance after one, with none not before the limit; what is logged is how many there were."""
    counts = {}
    for tolerance in (1e3, 0.0):
        model = GOMTL(POLICY, env(), seed=0, alternations=7, tolerance=tolerance).learn(1, log_interval=None)
        counts[tolerance] = model.logger.name_to_value["train/alternations"]
    assert counts == {1e3: 1, 0.0: 7}
    settled = GOMTL(POLICY, env(), seed=0, alternations=10_000, tolerance=1e-9, sparsity=1e-2).learn(1)
    knowledge, rng = settled.knowledge, np.random.default_rng(0)
    before = knowledge.policies(np.arange(6))
    knowledge.solve(rng)
    knowledge.encode(np.arange(6), knowledge.points(np.arange(6)))
    np.testing.assert_allclose(knowledge.policies(np.arange(6)), before, atol=1e-6 * np.abs(before).max())


def test_a_mean_helps_when_data_are_scarce() -> None:
    """Nearly equal helicopters, ten trajectories: around a mean, tasks learn faster than in a basis, or than alone."""
    id, n = "LifelongCH47-v0", 20
    costs = {}
    arms: dict[str, tuple[Any, dict[str, Any]]] = {
        "alone": (RWR, {}),
        "basis": (GOMTL, {"base": "rwr", "n_basis": 2}),
        "mean": (GOMTL, {"base": "rwr", "n_basis": 2, "mean_basis": True, "alternations": 3, "sparsity": 1e-2}),
    }
    for name, (kind, arguments) in arms.items():
        model = kind(POLICY, as_vec_env(id, n_tasks=n), seed=0, n_trajectories=10, sigma=0.3, bias=False, **arguments)
        model.learn(15 * n * 10 * 150, log_interval=None)
        run = rollout(
            id, tasks=model.tasks, theta=model.policy.thetas, n_trajectories=8, seed=999, sigma=0.0, bias=False
        )
        costs[name] = -run.returns.mean() / 150
    assert costs["mean"] < 0.75 * costs["basis"] < 0.75 * costs["alone"]


@pytest.mark.parametrize("kind", [GOMTL, PGELLA])
def test_with_a_mean_every_task_uses_it(kind: Any) -> None:
    """Its coefficient is 1, also where a penalty empties all codes: then all policies are the mean."""
    model = kind(POLICY, env(), seed=0, mean_basis=True, sparsity=1e9).learn(1)
    codes = model.knowledge.array("codes")
    np.testing.assert_array_equal(codes, [[1.0, 0.0, 0.0, 0.0]] * 6)
    np.testing.assert_array_equal(model.policy.thetas, np.tile(model.knowledge.array("basis")[:, 0], (6, 1)))
