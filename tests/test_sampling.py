"""Stepping any VecEnv and simulating our own in one call give the same statistics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv, VecCheckNan, VecEnv

from lifelong_gym import sample_tasks
from lifelong_gym.agents import REINFORCE, LinearGaussianPolicy, ScalablePGELLA
from lifelong_gym.agents.linear.base_learners import advantage_to_go
from lifelong_gym.agents.linear.sampling import sample
from lifelong_gym.wrappers import CoreVecEnv, as_vec_env

ID = "LifelongCartPole-v0"
POLICY = "LinearGaussianPolicy"
N_TASKS, HORIZON = 3, 20
TASKS = sample_tasks(ID, N_TASKS, seed=0, preset="hetero")


def env() -> VecEnv:
    """One row a task."""
    return as_vec_env(ID, tasks=TASKS, horizon=HORIZON)


class Beacon(gym.Env[np.ndarray, np.ndarray]):
    """Shows its constant, pays the action it received, and ends after a number of steps that its seed decides."""

    observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = spaces.Box(np.float32(-3.0), np.float32(7.0), (1,), np.float32)

    def __init__(self, constant: float) -> None:
        """Show ``constant``."""
        self.observation = np.array([constant, 1.0], np.float32)
        self.episodes: list[list[float]] = []
        self._length = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Draw a length."""
        super().reset(seed=seed)
        self._length = int(self.np_random.integers(1, 6))
        self.episodes.append([])
        return self.observation.copy(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Pay the action."""
        self.episodes[-1].append(float(action[0]))
        return self.observation.copy(), float(action[0]), len(self.episodes[-1]) == self._length, False, {}


def test_stepping_a_foreign_env_gives_exactly_its_statistics() -> None:
    """Returns, steps, score and Fisher information of each row's first episodes, which end at different times."""
    first, second = Beacon(0.5), Beacon(-2.0)
    policy = LinearGaussianPolicy(first.observation_space, first.action_space, n_policies=2, sigma=0.1)
    policy.thetas = np.array([[0.1, 0.2, -0.1], [0.05, 0.1, 0.1]])
    result = sample(DummyVecEnv([lambda: first, lambda: second]), policy, 4, seed=0, first_visit=0)
    for i, beacon in enumerate((first, second)):
        phi = np.array([*beacon.observation, 1.0])
        for j, received in enumerate(beacon.episodes[:4]):
            a = (np.array(received) - 2.0) / 5.0  # [-3, 7] to [-1, 1]
            score = ((a - policy.thetas[i] @ phi) / 0.1**2).sum() * phi
            assert result.statistics.steps[i, j] == len(received)
            assert result.statistics.returns[i, j] == pytest.approx(sum(received), rel=1e-5)
            np.testing.assert_allclose(result.statistics.score[i, j], score, rtol=1e-3, atol=1e-2)
            fisher = len(received) * np.outer(phi, phi) / 0.1**2
            np.testing.assert_allclose(result.statistics.fisher_matrix()[i, j], fisher, rtol=1e-12)
    assert result.n_steps == sum(len(actions) for beacon in (first, second) for actions in beacon.episodes)


def stepped(rows: str) -> VecEnv:
    """The cart-poles as an env whose episodes must be stepped, with so many rows."""
    if rows == "one a task":
        return VecCheckNan(env())
    if rows == "gymnasium":
        return DummyVecEnv([lambda: gym.make(ID, tasks=TASKS, horizon=HORIZON)] * 2)
    n = {"fewer": 2, "more": 2 * N_TASKS}[rows]
    return VecCheckNan(as_vec_env(gym.make_vec(ID, num_envs=n, tasks=TASKS, horizon=HORIZON)))


@pytest.mark.parametrize("rows", ["one a task", "fewer", "more", "gymnasium"])
@pytest.mark.parametrize("credit", [None, advantage_to_go], ids=["plain", "to-go"])
def test_stepping_and_fused_rollouts_agree_in_distribution(rows: str, credit: Any) -> None:
    """Mean return, steps, score and Fisher information of each task differ by no more than chance."""
    venvs = stepped(rows), env()
    policies = [REINFORCE(POLICY, venv, sigma=1.0).policy for venv in venvs]
    n = 150
    pair = []
    for venv, policy in zip(venvs, policies, strict=True):
        assert np.array_equal(policy.feature_scale, [1, 1, 0.1, 1])
        policy.thetas = np.array([[0.3, 0.5, -1.0, 0.5, 0.2]]) * np.array([[1.0], [2.0], [3.0]])
        pair.append(sample(venv, policy, n, seed=1, first_visit=0, credit=credit).statistics)
    assert 1 < pair[0].steps.mean() < HORIZON  # some fail
    for name in ("returns", "steps", "score", "fisher"):
        one, other = (getattr(statistics, name) for statistics in pair)
        assert one.shape == other.shape
        error = np.sqrt((one.var(axis=1) + other.var(axis=1)) / n)
        assert np.all(np.abs(one.mean(axis=1) - other.mean(axis=1)) <= 4.5 * error + 1e-9), name


def test_memory_bound_does_not_change_results(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks simulated a few at a time give the same bits."""
    whole = REINFORCE(POLICY, env(), seed=0).learn(1).policy.thetas
    monkeypatch.setattr("lifelong_gym.agents.linear.sampling.MOST_STEPS_AT_ONCE", 1)
    assert np.array_equal(REINFORCE(POLICY, env(), seed=0).learn(1).policy.thetas, whole)


@pytest.mark.parametrize(
    "base", [{"base": "rwr"}, {"base": "rwr", "base_settings": {"reward_to_go": True}}, {"base": "reinforce"}], ids=str
)
def test_memory_bound_does_not_change_what_is_sent(monkeypatch: pytest.MonkeyPatch, base: dict[str, Any]) -> None:
    """As many rounds and messages for tasks simulated one at a time as for all together, and the same bits."""

    def learned() -> Any:
        return ScalablePGELLA(POLICY, env(), seed=0, n_trajectories=4, consensus="all_reduce", **base).learn(1)

    whole = learned()
    monkeypatch.setattr("lifelong_gym.agents.linear.sampling.MOST_STEPS_AT_ONCE", 1)
    one_at_a_time = learned()
    assert one_at_a_time.channel.ledger.snapshot() == whole.channel.ledger.snapshot()
    assert np.array_equal(one_at_a_time.policy.thetas, whole.policy.thetas)


def test_tasks_out_of_reach_are_reported() -> None:
    """Foreign rows that never come to a task would be stepped forever."""
    venv = DummyVecEnv([lambda: gym.make(ID, tasks=TASKS, horizon=2, schedule=[0, 2])])
    with pytest.raises(ValueError, match=r"has not come to the tasks \[1\]"):
        REINFORCE(POLICY, venv, seed=0, n_trajectories=2).learn(1)


@pytest.mark.parametrize("wrap", [lambda venv: venv, VecCheckNan], ids=["fused", "stepped"])
def test_only_tasks_that_come_up_are_observed_and_trained(wrap: Callable[[VecEnv], VecEnv]) -> None:
    """A schedule may leave tasks out, and the admitted tasks may change while learning goes on."""
    scheduled = as_vec_env(gym.make_vec(ID, num_envs=2, tasks=TASKS, horizon=4, schedule=[0, 2]))
    venv = as_vec_env(gym.make_vec(ID, num_envs=2, tasks=TASKS, horizon=4))
    assert isinstance(venv, CoreVecEnv)
    venv.core.admit([0, 2])
    model, other = (REINFORCE(POLICY, wrap(e), seed=0, n_trajectories=2).learn(1) for e in (venv, scheduled))
    first = model.policy.thetas
    assert first.any(axis=1).tolist() == other.policy.thetas.any(axis=1).tolist() == [True, False, True]
    venv.core.admit([1])
    model.learn(1)
    assert model.policy.thetas.any(axis=1).all()
    assert np.array_equal(model.policy.thetas[[0, 2]], first[[0, 2]])


@pytest.mark.parametrize("wrap", [lambda venv: venv, VecCheckNan], ids=["fused", "stepped"])
def test_steps_are_announced(wrap: Callable[[VecEnv], VecEnv]) -> None:
    """Whoever counts at the env hears of every step before it is taken, also in fused rollouts."""
    venv, announced = env(), [0]
    assert isinstance(venv, CoreVecEnv)
    venv.before_steps = announced.append
    model = REINFORCE(POLICY, wrap(venv), seed=0, n_trajectories=2).learn(1)
    assert sum(announced) == model.num_timesteps


def test_hidden_tasks_are_rows() -> None:
    """Where infos hide the task, a row is a task; a row that changes its task in hiding is refused."""
    venv = as_vec_env(gym.make_vec(ID, num_envs=2, tasks=TASKS, horizon=2, hide_task_id=True))
    assert REINFORCE(POLICY, venv, seed=0).learn(1).n_tasks == 2
    single = gym.make(ID, tasks=TASKS, horizon=2, hide_task_id=True)
    with pytest.raises(ValueError, match="hide_task_id"):
        REINFORCE(POLICY, single, seed=0).learn(1)


def test_credit_keeps_the_gradient_and_cuts_its_noise() -> None:
    """The advantage to go estimates the same gradient as whole returns, with less variance."""
    gains = np.array([[0.3, 0.5, -1.0, 0.5, 0.2]])
    policy = REINFORCE(POLICY, env(), sigma=0.6, shared=True).policy
    policy.thetas = gains
    n = 20_000
    whole = sample(env(), policy, n, seed=0, first_visit=0).statistics
    to_go = sample(env(), policy, n, seed=0, first_visit=0, credit=advantage_to_go).statistics
    relative = whole.returns - whole.returns.mean(axis=1, keepdims=True)
    terms = [relative[:, :, None] * whole.score, to_go.score]
    error = np.sqrt(sum(term.var(axis=1) for term in terms) / n)
    assert np.all(np.abs(terms[0].mean(axis=1) - terms[1].mean(axis=1)) < 4.5 * error)
    assert np.all(terms[1].var(axis=1).sum(axis=1) < 0.8 * terms[0].var(axis=1).sum(axis=1))
