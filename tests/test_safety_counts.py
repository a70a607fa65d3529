"""How often the safety signal tells of a violation over the whole life, and that learners don't notice it."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecEnv

from lifelong_gym import rollout
from lifelong_gym.agents import REINFORCE
from lifelong_gym.agents.linear import sampling as sampling_module
from lifelong_gym.envs.control.cart_pole import CartPole
from lifelong_gym.envs.core import Core
from lifelong_gym.envs.rollout import count_violations
from lifelong_gym.envs.settings import Settings
from lifelong_gym.envs.spaces import Continuous
from lifelong_gym.envs.vector import AutoresetMode
from lifelong_gym.numerics.scalar import Vector
from lifelong_gym.wrappers import as_vec_env
from tests.broken_families import Room, variant
from tests.making import CART_POLE, same
from tests.test_safety_signal import HORIZON, LIMITS, N_TASKS, TASKS, make_single, signal


def test_counts_are_per_task_and_last_for_life() -> None:
    """Through tasks, seeds and copies; other rows' values don't leak in."""
    env = make_single(tasks=TASKS, horizon=10, constraints={"force": 1.0})
    n_steps, n_violations = np.zeros((2, N_TASKS), np.int64)
    rng = np.random.default_rng(2)
    for episode in range(9):
        _, info = env.reset(seed=0 if episode % 4 == 0 else None)
        for _ in range(10):
            n_steps[info["task_id"]] += 1
            *_, info = env.step(rng.uniform(-1, 1, 1))
            n_violations[info["task_id"]] += info["constraint_violation"]
        if episode == 4:
            env = pickle.loads(pickle.dumps(copy.deepcopy(env)))
    np.testing.assert_array_equal(env.core.safety.n_steps, n_steps)
    np.testing.assert_array_equal(env.core.n_violations, n_violations)
    assert env.core.n_violations.dtype == np.int64
    env.core.n_violations[:] = 0
    np.testing.assert_array_equal(env.core.n_violations, n_violations)


@pytest.mark.parametrize("mode", AutoresetMode)
def test_only_steps_are_counted(mode: AutoresetMode) -> None:
    """Not the call in which a row begins anew, nor rows that wait."""
    env: Any = gym.make_vec(
        CART_POLE, num_envs=2, n_tasks=2, horizon=3, autoreset_mode=mode, constraints={"force": 1.0}, backend="numpy"
    )
    env.reset(seed=0)
    actions = np.array([[1.0], [0.1]])
    for step in range(1, 8):
        *_, truncated, infos = env.step(actions)
        is_start = mode == AutoresetMode.NEXT_STEP and step % 4 == 0
        told = infos.get("final_info", infos)
        assert told["constraint_violation"].tolist() == [not is_start, False]
        if mode == AutoresetMode.DISABLED and truncated.any():
            _, infos = env.reset(options={"reset_mask": np.array([True, False])})
            assert infos["_constraint_values"].tolist() == infos["_constraint_violation"].tolist() == [True, False]
            np.testing.assert_array_equal(infos["constraint_values"], [[-1.0], [0.0]])
            env.reset(options={"reset_mask": np.array([False, True])})
    n = 6 if mode == AutoresetMode.NEXT_STEP else 7
    assert env.unwrapped.core.safety.n_steps.tolist() == [n, n]
    assert env.unwrapped.core.n_violations.tolist() == [n, 0]


def test_nothing_told_belongs_to_the_env() -> None:
    """Writing into infos changes neither the next ones nor the counts."""
    envs = [as_vec_env(CART_POLE, tasks=TASKS, horizon=5, constraints=LIMITS) for _ in range(2)]
    vectors = [gym.make_vec(CART_POLE, num_envs=3, tasks=TASKS, horizon=5, constraints=LIMITS) for _ in range(2)]
    for env in envs:
        env.seed(0)
        env.reset()
    for vector in vectors:
        vector.reset(seed=0)
    for _ in range(8):
        one, other = (env.step(np.full((3, 1), 0.9))[3] for env in envs)
        assert [signal(info) for info in one] == [signal(info) for info in other]
        infos, expected = (vector.step(np.full((3, 1), 0.9))[4] for vector in vectors)
        assert same(infos, expected)
        for array in [infos["constraint_values"], infos["constraint_violation"]]:
            array[...] = 1
        for info in one:
            info["constraint_values"][:] = 1.0
    mine, theirs = (vector.unwrapped.core.n_violations for vector in vectors)  # type: ignore[attr-defined]
    np.testing.assert_array_equal(mine, theirs)


def replayed(runs: list[dict[str, Any]], **settings: Any) -> Any:
    """Steps with a violation per task, if single envs take the actions of these rollouts of all tasks."""
    counts = np.zeros(N_TASKS, np.int64)
    for run in runs:
        actions = rollout(CartPole(), **run).actions
        for task in range(N_TASKS):
            env = make_single(tasks=TASKS, constraints=LIMITS, **settings)
            env.reset(seed=run["seed"], options={"task": task})
            for _ in range(run["first_visit"]):
                env.reset(options={"task": task})
            for trajectory in actions[task]:
                counts[task] += sum(env.step(action)[-1]["constraint_violation"] for action in trajectory)
                env.reset(options={"task": task})
    return counts


@pytest.mark.parametrize("backend", ["numba", "numpy"])
@pytest.mark.parametrize("at_once", [2**22, 1])
def test_a_learner_that_simulates_whole_episodes_is_counted(
    monkeypatch: pytest.MonkeyPatch, backend: str, at_once: int
) -> None:
    """It learns what it learns without constraints, and the counts are those of its trajectories in single envs."""
    monkeypatch.setattr(sampling_module, "MOST_STEPS_AT_ONCE", at_once)
    runs: list[dict[str, Any]] = []

    def spy(family: Any, **arguments: Any) -> Any:
        if arguments.get("trajectories") and at_once > 1:
            runs.append(arguments)
        return rollout(family, **arguments)

    def learn(**settings: Any) -> Any:
        venv = as_vec_env(CART_POLE, tasks=TASKS, horizon=HORIZON, backend=backend, **settings)
        return REINFORCE("LinearGaussianPolicy", venv, seed=0, n_trajectories=4, sigma=0.8).learn(2 * 4 * 3 * HORIZON)

    expected = learn()
    monkeypatch.setattr(sampling_module, "rollout", spy)
    learner = learn(constraints=LIMITS)
    np.testing.assert_array_equal(learner.policy.thetas, expected.policy.thetas)
    safety = learner.get_env().core.safety
    assert safety.n_steps.tolist() == [2 * 4 * HORIZON] * N_TASKS
    assert (safety.n_violations > 0).all()
    if at_once > 1:
        assert len(runs) == 2
        np.testing.assert_array_equal(safety.n_violations, replayed(runs, backend=backend, horizon=HORIZON))


def counted(learner: Callable[[VecEnv], Any], **settings: Any) -> tuple[Any, Any, Any]:
    """The learner, what its env counted, and how many of the infos it was given tell of violations."""
    venv: Any = as_vec_env(CART_POLE, tasks=TASKS, horizon=HORIZON, **settings)
    told = np.zeros(N_TASKS, np.int64)
    step = venv.step_wait

    def step_wait() -> Any:
        results = step()
        np.add.at(told, [info["task_id"] for info in results[3] if info.get("constraint_violation")], 1)
        return results

    venv.step_wait = step_wait
    model = learner(venv)
    return model, venv.core.safety, told


@pytest.mark.parametrize("kind", ["REINFORCE", "PPO"])
def test_a_learner_that_steps_is_counted(kind: str) -> None:
    """It learns what it learns without constraints."""

    def learn(venv: VecEnv) -> Any:
        if kind == "PPO":
            policy = {"net_arch": [8]}
            model = PPO("MlpPolicy", venv, seed=0, n_steps=32, batch_size=32, device="cpu", policy_kwargs=policy)
            return model.learn(200)
        return REINFORCE("LinearGaussianPolicy", venv, seed=0, n_trajectories=4, sigma=0.8).learn(300)

    plain, nothing, _ = counted(learn, backend="python")
    watched, safety, told = counted(learn, backend="python", constraints=LIMITS)
    assert nothing is None
    one, other = (model.policy.parameters_to_vector() for model in (plain, watched))
    np.testing.assert_array_equal(one, other)
    assert safety.n_steps.sum() >= 200
    np.testing.assert_array_equal(safety.n_violations, told)
    assert told.sum() > 0


def is_hot(state: Vector) -> bool:
    """Warmer than 0.8."""
    return state[0] > 0.8


Cellar = variant("Cellar", actions=Continuous(Room.actions.channels, (12.0,)), terminated=is_hot)


def test_what_follows_a_termination_is_not_counted() -> None:
    """Rollouts go on to their horizon, lives don't."""
    kind = Cellar()
    tasks = kind.parameters.sample(3)
    run = rollout(kind, tasks=tasks, theta=[[0.0, 4.0]], n_trajectories=5, seed=2, trajectories=True, backend="numpy")
    settings = Settings(tasks=tasks, constraints={"power": 4.1, "temperature": 0.7}, backend="numpy")
    core = Core(kind, 1, settings)
    count_violations(core, np.arange(3), run.actions, seed=2, first_visit=0)
    assert core.safety is not None
    np.testing.assert_array_equal(core.safety.n_steps, run.alive.sum(axis=(1, 2)))
    x = np.abs(np.concatenate([run.observations[:, :, 1:] / 0.7, 12.0 * run.actions / 4.1], axis=-1))
    violated = (x > 1).any(axis=-1) & run.alive
    np.testing.assert_array_equal(core.n_violations, violated.sum(axis=(1, 2)))
    assert 0 < violated.sum() < run.alive.sum() < run.alive.size
