"""Tasks are sampled by what has been measured of them, and the objective stays what it is said to be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3 import A2C, DQN, PPO, SAC, TD3
from stable_baselines3.common.callbacks import BaseCallback, CallbackList
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.logger import KVWriter, Logger
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from lifelong_gym.agents import TaskReplayBuffer, TaskSampling
from lifelong_gym.agents.equivariant.samplers import (
    SAMPLERS,
    PrioritizedSampler,
    ProgressSampler,
    RegretSampler,
    TaskSampler,
    UniformSampler,
    effective_share,
    importance,
)
from lifelong_gym.errors import CheckpointError
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.wrappers import as_vec_env
from tests.test_equivariant_policies import Bandit

ID, GRID, N_TASKS, HORIZON = "LifelongSimpleMass-v0", "LifelongGridWorld-v0", 3, 7
WEIGHTED = {"schedule": {"weights": [1.0] * N_TASKS}}


def rows(id: str = ID, **settings: Any) -> Any:
    """A VecEnv of three rows."""
    env = as_vec_env(id, n_tasks=N_TASKS, horizon=HORIZON, **{**WEIGHTED, **settings})
    env.seed(0)
    return env


def ppo(env: Any, **own: Any) -> PPO:
    """Small rollouts, in which episodes begin and end."""
    arguments = {"n_steps": 16, "batch_size": 24, "n_epochs": 2, "policy_kwargs": {"net_arch": [8]}, **own}
    return PPO("MlpPolicy", env, seed=0, device="cpu", **arguments)


def told(sampler: TaskSampler, n: int = 40) -> TaskSampler:
    """The sampler after random scores of random tasks."""
    rng = np.random.default_rng(1)
    for task, score in zip(rng.integers(sampler.n_tasks, size=n), rng.uniform(0.1, 5.0, n), strict=True):
        sampler.update(int(task), float(score))
    return sampler


@pytest.mark.parametrize("kind", SAMPLERS.values())
def test_beta_one_leaves_the_mean_over_tasks(kind: type[TaskSampler]) -> None:
    """The expectation of weighted gradients is their plain mean, to 1e-12, and all tasks can come up."""
    p = told(kind(30)).probabilities()
    gradients = np.random.default_rng(2).standard_normal((30, 5))
    assert p.min() > 0
    assert p.sum() == pytest.approx(1.0, abs=1e-12)
    np.testing.assert_allclose((p * importance(p, 1.0)) @ gradients, gradients.mean(axis=0), atol=1e-12)
    assert effective_share(p, importance(p, 1.0)) == pytest.approx(1.0 / (p @ importance(p, 1.0) ** 2))
    np.testing.assert_array_equal(importance(p, 0.0), 1.0)


def test_prioritized_follows_its_formula() -> None:
    """Smoothed scores to a power; with alpha 0 all tasks alike."""
    sampler = PrioritizedSampler(2, alpha=0.5, gamma=0.2)
    sampler.update(1, 5.0)
    score = 0.2 * 1.0 + 0.8 * 5.0
    np.testing.assert_allclose(sampler.probabilities(), np.array([1.0, score**0.5]) / (1.0 + score**0.5))
    np.testing.assert_allclose(told(PrioritizedSampler(7, alpha=0.0)).probabilities(), 1.0 / 7)
    np.testing.assert_allclose(told(UniformSampler(7)).probabilities(), 1.0 / 7)


def test_regret_goes_by_ranks_and_age() -> None:
    """The largest score first, by rank alone; what wasn't seen for long comes back."""
    sampler = RegretSampler(3, temperature=0.5, staleness=0.0, explore=1e-6)
    for task, score in enumerate((1.0, 100.0, 3.0)):
        sampler.update(task, score)
    ranked = np.array([1 / 9, 1.0, 1 / 4])
    np.testing.assert_allclose(sampler.probabilities(), ranked / ranked.sum(), atol=1e-5)
    ages = RegretSampler(3, staleness=1.0, explore=1e-6)
    for task in (0, 1, 2, 2):
        ages.update(task, 1.0)
    np.testing.assert_allclose(ages.probabilities(), np.array([3, 2, 0]) / 5, atol=1e-5)
    fresh = RegretSampler(2, temperature=0.1, staleness=0.0)
    fresh.update(0, 1e6)
    assert fresh.probabilities()[1] > 0.9


def test_progress_goes_by_changes_of_returns() -> None:
    """A task whose returns rise or fall comes up more than one that is solved, and one that is hopeless."""
    sampler = ProgressSampler(3, explore=0.1)
    for k in range(20):
        for task, score in enumerate((-5.0, 0.1 * k, 9.0)):
            sampler.update(task, score)
    p = sampler.probabilities()
    np.testing.assert_allclose(p, [0.1 / 3, 0.9 + 0.1 / 3, 0.1 / 3])


@pytest.mark.parametrize("kind", SAMPLERS.values())
def test_samplers_have_a_state(kind: type[TaskSampler]) -> None:
    """Arrays alone; another sampler goes on from them, and nothing else is taken."""
    one, other = told(kind(4)), kind(4)
    other.loading(one.state_dict(), "sampler")()
    np.testing.assert_array_equal(told(one).probabilities(), told(other).probabilities())
    assert all(isinstance(value, np.ndarray) for value in one.state_dict().values())
    if one.state_dict():
        with pytest.raises(CheckpointError, match="sampler"):
            kind(5).loading(one.state_dict(), "sampler")
        with pytest.raises(CheckpointError, match="must be finite"):
            one.loading({name: np.full(4, np.nan) for name in one.state_dict()}, "sampler")


class Before(BaseCallback):
    """Stands before the sampling and keeps its own account of what each step should count."""

    def __init__(self, beta: float) -> None:
        """Nothing yet."""
        super().__init__()
        self.beta, self.now = beta, np.full(N_TASKS, np.nan)
        self.tasks: list[int] = [0] * N_TASKS

    @property
    def drawn(self) -> FloatArray:
        """What an episode that is drawn now counts, by task."""
        weights = self.training_env.get_attr("core")[0].walk.weights
        return np.asarray((N_TASKS * weights / weights.sum()) ** -self.beta)

    def _on_training_start(self) -> None:
        self.counts = self.drawn[[info["task_id"] for info in self.training_env.reset_infos]]

    def _on_rollout_start(self) -> None:
        self.expected: list[Any] = []

    def _on_step(self) -> bool:
        self.expected.append(self.counts.copy())
        for row in np.flatnonzero(self.locals["dones"]):
            self.counts[row] = self.drawn[self.training_env.reset_infos[row]["task_id"]]
        return True

    def _on_rollout_end(self) -> None:
        self.advantages = self.model.rollout_buffer.advantages.copy()  # type: ignore[attr-defined]


class After(BaseCallback):
    """Stands behind it and compares."""

    def __init__(self, before: Before) -> None:
        """Nothing yet."""
        super().__init__()
        self.before, self.n_uneven = before, 0

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        weighted = self.model.rollout_buffer.advantages  # type: ignore[attr-defined]
        expected = np.array(self.before.expected)
        np.testing.assert_allclose(weighted, self.before.advantages * expected, rtol=1e-6)
        self.n_uneven += int(expected.std() > 0.01)


@pytest.mark.parametrize("beta", [1.0, 0.5])
@pytest.mark.parametrize("sampler", ["prioritized", "regret", "progress"])
def test_advantages_count_by_what_their_episode_was_drawn_with(sampler: str, beta: float) -> None:
    """Step by step, against an account of its own, over rollouts that episodes reach across."""
    before = Before(beta)
    after, sampling = After(before), TaskSampling(sampler, beta=beta)
    model = ppo(rows())
    model.learn(16 * 3 * 5, callback=CallbackList([before, sampling, after]))
    model.learn(16 * 3 * 2, callback=CallbackList([before, sampling, after]))
    assert after.n_uneven >= 4
    np.testing.assert_array_equal(model.get_env().get_attr("core")[0].walk.weights, sampling.sampler.probabilities())  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", [PPO, A2C])
def test_alpha_zero_is_ordinary_multi_task_learning(kind: Any) -> None:
    """To the bit what the algorithm does without it, through a VecNormalize too."""

    def learned(callback: BaseCallback | None) -> dict[str, th.Tensor]:
        env = VecNormalize(rows())
        model = ppo(env) if kind is PPO else A2C("MlpPolicy", env, seed=0, device="cpu")
        return dict(model.learn(150, callback=callback).policy.state_dict())

    plain, sampled = learned(None), learned(TaskSampling(sampler_kwargs={"alpha": 0.0}))
    assert all(th.equal(value, sampled[name]) for name, value in plain.items())


def test_by_max_no_weight_is_above_one() -> None:
    """As in prioritised experience replay: ratios stay, the largest is 1."""
    plain, largest = (TaskSampling(by_max=by_max) for by_max in (False, True))
    for sampling in (plain, largest):
        ppo(rows()).learn(48, callback=sampling)
    assert plain._weights.max() > 1.0
    np.testing.assert_allclose(largest._weights, plain._weights / plain._weights.max())


class Kept(KVWriter):
    """Keeps what is logged last."""

    values: dict[str, Any]

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        """Keep it."""
        self.values = dict(key_values)

    def close(self) -> None:
        """Nothing to close."""


def test_weights_are_logged() -> None:
    """With their effective sample size."""
    writer, sampling, model = Kept(), TaskSampling(), ppo(rows())
    model.set_logger(Logger(None, [writer]))
    model.learn(48 * 3, callback=sampling)
    p = np.array([writer.values[f"sampling/probability/{task}"] for task in range(N_TASKS)])
    w = np.array([writer.values[f"sampling/weight/{task}"] for task in range(N_TASKS)])
    np.testing.assert_allclose(w, 1.0 / (N_TASKS * p))
    assert writer.values["sampling/effective_share"] == pytest.approx(1.0 / (p @ w**2))
    assert writer.values["sampling/weight_max"] == w.max()


@pytest.mark.parametrize(("kind", "id"), [(SAC, ID), (TD3, ID), (DQN, GRID)])
def test_batches_come_from_the_sampled_task(kind: Any, id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Off-policy algorithms, with rows that take turns in the tasks; drawn as often as the sampler says."""
    env = rows(id, schedule=None)
    own = {"replay_buffer_class": TaskReplayBuffer, "replay_buffer_kwargs": {"n_tasks": N_TASKS}, "buffer_size": 300}
    model = kind("MlpPolicy", env, seed=0, learning_starts=30, device="cpu", policy_kwargs={"net_arch": [8]}, **own)
    sampling = TaskSampling("prioritized")
    model.learn(120, callback=sampling)
    buffer = model.replay_buffer
    np.testing.assert_allclose(buffer.probabilities, sampling.sampler.probabilities())
    np.testing.assert_array_equal(buffer.filled, [40, 40, 40])
    assert buffer.size() == 120
    buffer.rewards[:, 0] = np.arange(300) // buffer.task_size
    buffer.set_probabilities([0.2, 0.0, 0.8])
    drawn = [buffer.sample(8).rewards.numpy().ravel() for _ in range(200)]
    assert all(len(set(batch)) == 1 for batch in drawn)
    first = np.array([batch[0] for batch in drawn])
    assert set(first) == {0.0, 2.0}
    assert np.mean(first == 2.0) == pytest.approx(0.8, abs=0.1)
    buffer.mixed = True
    assert np.mean(buffer.sample(2000).rewards.numpy() == 2.0) == pytest.approx(0.8, abs=0.05)


def test_each_task_has_a_ring_of_its_own() -> None:
    """Old transitions of a task make room for its new ones and no others; idle rows give none."""
    space = spaces.Box(-100.0, 100.0, (1,))
    buffer = TaskReplayBuffer(8, space, spaces.Box(-1.0, 1.0, (1,)), "cpu", 2, n_tasks=3)
    assert buffer.task_size == 2
    for k in range(5):
        infos = [{"task_id": 0}, {"task_id": 2, "idle": k != 1, "TimeLimit.truncated": k == 1}]
        seen = np.array([[k], [10.0 * k]], np.float32)
        buffer.add(seen, seen + 1, np.zeros((2, 1)), seen[:, 0], np.array([False, True]), infos)
    np.testing.assert_array_equal(buffer.filled, [2, 0, 1])
    assert set(buffer.observations[:2, 0, 0]) == {3.0, 4.0}
    assert buffer.observations[4, 0, 0] == 10.0
    buffer.set_probabilities([0.0, 1.0, 0.0])  # nothing there yet: those that have transitions
    assert set(buffer.sample(4).observations.numpy().ravel()) <= {3.0, 4.0, 10.0}
    buffer.set_probabilities([0.0, 0.0, 1.0])
    batch = buffer.sample(4)
    assert set(batch.next_observations.numpy().ravel()) == {11.0}
    assert not batch.dones.any()  # truncated, not terminated
    buffer.reset()
    assert buffer.size() == 0


def test_replay_buffers_are_saved(tmp_path: Path) -> None:
    """By Stable-Baselines3's own means."""
    own: dict[str, Any] = {"replay_buffer_class": TaskReplayBuffer, "replay_buffer_kwargs": {"n_tasks": N_TASKS}}
    model = DQN("MlpPolicy", rows(GRID), seed=0, buffer_size=300, learning_starts=500, device="cpu", **own)
    model.learn(60)
    model.save_replay_buffer(tmp_path / "buffer")
    counts = model.replay_buffer.counts.copy()  # type: ignore[union-attr]
    model.replay_buffer.reset()  # type: ignore[union-attr]
    model.load_replay_buffer(tmp_path / "buffer")
    np.testing.assert_array_equal(model.replay_buffer.counts, counts)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sampler": "prioritised"}, "Did you mean 'prioritized'"),
        ({"beta": 1.5}, r"`beta` must be in \[0, 1\]"),
        ({"by_max": 1}, "`by_max` must be True or False"),
        ({"sampler_kwargs": {"alpha": -1.0}}, "`alpha` must be in"),
        ({"sampler_kwargs": {"gamma": 1.0}}, r"`gamma` must be in \[0, 1\)"),
        ({"sampler": "regret", "sampler_kwargs": {"explore": 0.0}}, "`explore` must be in"),
        ({"sampler": "progress", "sampler_kwargs": {"fast": 0.1, "slow": 0.5}}, "`slow` must be in"),
        ({"sampler": UniformSampler(3), "sampler_kwargs": {"alpha": 1.0}}, "`sampler_kwargs` go with"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], message: str) -> None:
    """Are named at once."""
    with pytest.raises(ValueError, match=message):
        TaskSampling(**arguments)


def test_envs_and_buffers_that_do_not_fit() -> None:
    """Are refused before anything is learned."""
    for env, message in (
        (rows(schedule=None), "must draw its tasks by weights"),
        (rows(hide_task_id=True), "makes of ours, and tell its tasks"),
        (DummyVecEnv([Bandit] * 3), "must be one that `as_vec_env` makes"),
        (make_vec_env(ID, 3, env_kwargs={"n_tasks": N_TASKS, **WEIGHTED}), "must be one that `as_vec_env` makes"),
    ):
        with pytest.raises(ValueError, match=message):
            ppo(env).learn(16, callback=TaskSampling())
    with pytest.raises(ValueError, match="`sampler` must be one of 3 tasks"):
        ppo(rows()).learn(16, callback=TaskSampling(UniformSampler(2)))
    own: dict[str, Any] = {"replay_buffer_class": TaskReplayBuffer, "buffer_size": 30}
    with pytest.raises(ValueError, match="`replay_buffer_class` must be TaskReplayBuffer, of 3 tasks"):
        DQN("MlpPolicy", rows(GRID), buffer_size=30).learn(1, callback=TaskSampling())
    for sampling, message in ((TaskSampling(beta=1.0), "`beta` must be 0"), (TaskSampling("regret"), "advantages")):
        model = DQN("MlpPolicy", rows(GRID), replay_buffer_kwargs={"n_tasks": N_TASKS}, **own)
        with pytest.raises(ValueError, match=message):
            model.learn(1, callback=sampling)
    for more, message in (({"n_tasks": 31}, "at least `n_tasks`"), ({"n_tasks": 0}, "`n_tasks` must be")):
        with pytest.raises(ValueError, match=message):
            DQN("MlpPolicy", rows(GRID), replay_buffer_kwargs=more, **own)
    buffer = TaskReplayBuffer(6, spaces.Discrete(3), spaces.Discrete(2), n_tasks=2)
    for given in ([1.0], [0.0, 0.0], [-1.0, 2.0], [np.nan, 1.0]):
        with pytest.raises(ValueError, match="`probabilities` must be 2 finite numbers"):
            buffer.set_probabilities(given)
    one = np.zeros((1, 1))
    with pytest.raises(ValueError, match="must name the task"):
        buffer.add(one, one, one, one[0], one[0], [{}])
