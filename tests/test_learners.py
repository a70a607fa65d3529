"""Learners keep Stable-Baselines3's contract, and learn."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pettingzoo
import pytest
from stable_baselines3.common.callbacks import (
    BaseCallback,
    CheckpointCallback,
    EvalCallback,
    StopTrainingOnMaxEpisodes,
)
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.logger import configure
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecNormalize

from lifelong_gym import rollout, sample_tasks
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
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.wrappers import as_vec_env

ID = "LifelongCartPole-v0"
POLICY = "LinearGaussianPolicy"
N_TASKS, HORIZON = 3, 20
TASKS = sample_tasks(ID, N_TASKS, seed=0, preset="hetero")

Maker = Callable[..., MultiTaskAlgorithm]


def maker(kind: Any, **own: Any) -> Maker:
    """A learner with arguments of its own."""
    return lambda env, **more: kind(POLICY, env, **{"seed": 0, **own, **more})


LEARNERS: dict[str, Maker] = {
    "reinforce": maker(REINFORCE),
    "reinforce-shared": maker(REINFORCE, shared=True),
    "enac": maker(ENAC, n_trajectories=8),
    "enac-shared": maker(ENAC, n_trajectories=4, shared=True),
    "rwr": maker(RWR),
    "rwr-shared": maker(RWR, shared=True, reward_to_go=True),
    "pgella": maker(PGELLA),
    "pgella-enac": maker(PGELLA, base="enac", n_trajectories=8, n_basis=2),
    "gomtl": maker(GOMTL, base="rwr", mean_basis=True),
    "scalable": maker(ScalablePGELLA),
    "safe": maker(SafeLifelongPG, n_trajectories=8),
    "safe-regret": maker(SafeLifelongPG, n_trajectories=8, regret_mode=True),
    "projected": maker(ProjectedPG, n_trajectories=8),
    "scalable-all-reduce": maker(ScalablePGELLA, consensus="all_reduce", base="reinforce", mean_basis=True),
}
every_learner = pytest.mark.parametrize("make", LEARNERS.values(), ids=LEARNERS)


def env() -> VecEnv:
    """One row a task."""
    return as_vec_env(ID, tasks=TASKS, horizon=HORIZON)


def sweep(model: MultiTaskAlgorithm) -> int:
    """Environment steps of one sweep."""
    n: int = getattr(model, "n_trajectories")  # noqa: B009 (only policy search has it)
    return model.n_tasks * n * HORIZON


def thetas(model: MultiTaskAlgorithm) -> FloatArray:
    """What was learned."""
    assert isinstance(model.policy, LinearGaussianPolicy)
    return model.policy.thetas


class Recorder(BaseCallback):
    """Writes down what it is told, and stops after some sweeps."""

    def __init__(self, n_sweeps: int = 10**9) -> None:
        """Stop after ``n_sweeps``."""
        super().__init__()
        self.events: list[str] = []
        self._n_sweeps = n_sweeps

    def _on_training_start(self) -> None:
        self.events.append("training_start")

    def _on_rollout_start(self) -> None:
        self.events.append("rollout_start")

    def _on_rollout_end(self) -> None:
        self.events.append("rollout_end")

    def _on_step(self) -> bool:
        self.events.append(f"step {self.num_timesteps}")
        return self.n_calls < self._n_sweeps

    def _on_training_end(self) -> None:
        self.events.append("training_end")


@every_learner
def test_learns_in_whole_sweeps(make: Maker) -> None:
    """At least as many steps as asked for, counted over all tasks; the parameters move and stay finite."""
    model = make(env())
    assert model.learn(sweep(model) + 1) is model
    assert model.num_timesteps == 2 * sweep(model)
    assert np.isfinite(thetas(model)).all()
    assert thetas(model).any()


@every_learner
def test_the_seed_decides(make: Maker) -> None:
    """The same seed twice gives the same bits; another seed, or none, others."""
    runs = [make(env(), seed=seed).learn(1) for seed in (0, 0, 1, None, None)]
    first, again, other, free, freer = (thetas(model) for model in runs)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert not np.array_equal(free, freer)


@every_learner
def test_two_calls_of_learn_are_one_long_one(make: Maker) -> None:
    """Learning goes on where it stopped, whether or not steps are counted anew."""
    long, short = make(env()), make(env())
    long.learn(3 * sweep(long))
    short.learn(1)
    short.learn(1, reset_num_timesteps=False)
    assert short.num_timesteps == 2 * sweep(short)
    short.learn(1)
    assert short.num_timesteps == sweep(short)
    assert np.array_equal(thetas(long), thetas(short))


@pytest.mark.parametrize("kind", ["id", "parallel", "vector", "gym", "vec_env"])
def test_takes_every_interface(kind: str) -> None:
    """An id, the three interfaces and an SB3 VecEnv."""
    arguments: dict[str, Any] = {"n_tasks": 2, "horizon": HORIZON}
    made: dict[str, Callable[[], Any]] = {
        "id": lambda: ID,
        "parallel": lambda: pettingzoo.make("parallel", ID, **arguments),
        "vector": lambda: gym.make_vec(ID, num_envs=4, **arguments),
        "gym": lambda: gym.make(ID, **arguments),
        "vec_env": lambda: as_vec_env(ID, **arguments),
    }
    model = PGELLA(POLICY, made[kind](), n_trajectories=2, seed=0).learn(1)
    assert model.n_tasks == (10 if kind == "id" else 2)
    assert thetas(model).shape == (model.n_tasks, 5)
    assert np.all(thetas(model).any(axis=1))


@every_learner
def test_for_task_is_that_task_s_policy(make: Maker) -> None:
    """The model acts for all tasks at once as each task's policy does alone, within the action space."""
    model = make(env()).learn(1)
    observations = np.random.default_rng(0).normal(size=(2 * N_TASKS, 4)).astype(np.float32)
    together, state = model.predict(observations, deterministic=True)
    assert state is None
    assert together.dtype == np.float32
    for row, observation in enumerate(observations):
        alone, _ = model.for_task(row % N_TASKS).predict(observation, deterministic=True)
        assert model.action_space.contains(alone)
        np.testing.assert_array_equal(together[row], alone)
    kept = model.for_task(0)
    before = kept.predict(observations, deterministic=True)[0]
    model.learn(1)
    np.testing.assert_array_equal(kept.predict(observations, deterministic=True)[0], before)


def test_exploration_has_the_stated_spread() -> None:
    """Without ``deterministic``, actions vary by sigma around the mean, in units of the action a."""
    model = REINFORCE(POLICY, env(), sigma=0.5, seed=0)
    actions, _ = model.for_task(0).predict(np.zeros((4000, 4), np.float32))
    assert np.std(2.0 * actions) == pytest.approx(0.5, rel=0.05)  # a = 2 u on the cart-pole
    assert np.mean(actions) == pytest.approx(0.0, abs=0.02)


@every_learner
def test_evaluate_policy_agrees_with_rollout(make: Maker) -> None:
    """SB3's evaluation of ``for_task`` on the single env is the mean policy's return in a rollout."""
    model = make(env()).learn(1)
    single = gym.make(ID, tasks=TASKS, horizon=HORIZON, schedule=[1])
    single.reset(seed=5)
    mean, _ = evaluate_policy(model.for_task(1), single, n_eval_episodes=3, warn=False)
    expected = rollout(
        ID,
        tasks=TASKS,
        theta=thetas(model),
        n_trajectories=3,
        first_visit=1,
        seed=5,
        sigma=0.0,
        horizon=HORIZON,
    )
    assert mean == pytest.approx(expected.returns[1].mean(), rel=1e-4)  # actions travel as float32


def test_a_batch_of_other_tasks_is_refused() -> None:
    """A single observation has no task; the error says what to use."""
    model = REINFORCE(POLICY, env(), seed=0)
    with pytest.raises(ValueError, match=r"3 tasks.*Received 1.*for_task"):
        model.predict(np.zeros(4, np.float32))
    assert REINFORCE(POLICY, env(), seed=0, shared=True).predict(np.zeros(4, np.float32))[0].shape == (1,)


@every_learner
def test_callbacks_are_called_in_order_and_can_stop(make: Maker) -> None:
    """One step event a sweep, after training on it; returning False ends learning."""
    model, recorder = make(env()), Recorder(n_sweeps=2)
    n = sweep(model)
    model.learn(10 * n, callback=recorder)
    sweeps = [["rollout_start", "rollout_end", f"step {k * n}"] for k in (1, 2)]
    assert recorder.events == ["training_start", *sweeps[0], *sweeps[1], "training_end"]
    assert model.num_timesteps == 2 * n


def test_callbacks_of_sb3(tmp_path: Path) -> None:
    """Evaluation, checkpoints, episode counts, functions and lists."""
    model = PGELLA(POLICY, env(), seed=0)
    n = sweep(model)
    evaluation = EvalCallback(env(), eval_freq=2, n_eval_episodes=3, log_path=str(tmp_path), verbose=0)
    saving = CheckpointCallback(save_freq=2, save_path=str(tmp_path), name_prefix="model")
    model.learn(4 * n, callback=[evaluation, saving])
    with np.load(tmp_path / "evaluations.npz") as written:
        assert written["timesteps"].tolist() == [2 * n, 4 * n]
    assert {path.name for path in tmp_path.glob("*.zip")} == {f"model_{k * n}_steps.zip" for k in (2, 4)}
    assert np.array_equal(thetas(PGELLA.load(tmp_path / f"model_{4 * n}_steps")), thetas(model))
    model.learn(10 * n, callback=StopTrainingOnMaxEpisodes(max_episodes=10))  # 5 a task and sweep
    assert model.num_timesteps == 2 * n
    model.learn(10 * n, callback=lambda local, _: local["self"].num_timesteps < 3 * n)
    assert model.num_timesteps == 3 * n


@every_learner
def test_logs(make: Maker, tmp_path: Path) -> None:
    """SB3's logger has the usual keys, every ``log_interval`` sweeps."""
    model = make(env())
    model.set_logger(configure(str(tmp_path), ["json"]))
    model.learn(4 * sweep(model), log_interval=2)
    model.logger.close()
    rows = [json.loads(line) for line in (tmp_path / "progress.json").read_text().splitlines()]
    assert [row["time/total_timesteps"] for row in rows] == [2 * sweep(model), 4 * sweep(model)]
    names = "rollout/ep_rew_mean rollout/ep_len_mean time/fps time/iterations train/learning_rate train/n_updates"
    assert set(names.split()) <= rows[0].keys()
    assert rows[0]["rollout/ep_rew_worst_task"] <= rows[0]["rollout/ep_rew_mean"] < 0
    assert 0 < rows[0]["rollout/ep_len_mean"] <= HORIZON


def test_writes_for_tensorboard(tmp_path: Path) -> None:
    """Scalars arrive under the class's name, numbered by run."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    model = REINFORCE(POLICY, env(), seed=0, tensorboard_log=str(tmp_path))
    model.learn(2 * sweep(model)).logger.close()
    events = EventAccumulator(str(tmp_path / "REINFORCE_1"))
    events.Reload()
    assert [event.step for event in events.Scalars("rollout/ep_rew_mean")] == [sweep(model), 2 * sweep(model)]


@pytest.mark.filterwarnings("ignore:rich is experimental")  # SB3 filters it too, but pytest undoes that
def test_progress_bar_counts_environment_steps(capsys: pytest.CaptureFixture[str]) -> None:
    """It ends at the total, beside another callback."""
    model = REINFORCE(POLICY, env(), seed=0)
    model.learn(2 * sweep(model), progress_bar=True, callback=Recorder())
    assert f"{2 * sweep(model):,}/{2 * sweep(model):,}" in "".join(capsys.readouterr())


def test_learning_rate_may_be_a_schedule() -> None:
    """Steps shrink as SB3's schedules say."""
    model = REINFORCE(POLICY, env(), LinearSchedule(0.2, 0.0, 1.0), seed=0)
    lengths, before = [], thetas(model)
    for _ in range(2):
        model.learn(2 * sweep(model), callback=Recorder(n_sweeps=1))
        lengths.append(np.linalg.norm(thetas(model) - before, axis=1))
        before = thetas(model)
    np.testing.assert_allclose(lengths, 0.1)


@every_learner
def test_progress_goes_from_one_to_zero_and_no_further(make: Maker) -> None:
    """Also in a last sweep that overshoots: a learning rate in proportion isn't negative then, but 0."""
    seen: list[float] = []

    def schedule(progress: float) -> float:
        seen.append(progress)
        return 0.1 * progress

    model = make(env(), learning_rate=schedule)
    seen.clear()
    model.learn(2 * sweep(model) + 1)
    assert seen == pytest.approx([1 - 1 / (2 + 1 / sweep(model)), 1 - 2 / (2 + 1 / sweep(model)), 0.0], abs=1e-9)


@every_learner
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.1])
def test_a_schedule_that_says_no_learning_rate_is_refused(make: Maker, value: float) -> None:
    """At once, before anything is trained on it."""
    model = make(env(), learning_rate=lambda progress: 0.1 if progress > 0.6 else value)
    model.learn(4 * sweep(model), callback=Recorder(n_sweeps=1))
    before = thetas(model)
    with pytest.raises(ValueError, match=rf"`learning_rate\(0.5\)` must be .*Received {value}"):
        model.learn(2 * sweep(model))
    assert np.array_equal(thetas(model), before)


@every_learner
def test_callbacks_see_episodes(make: Maker) -> None:
    """As those of SB3's own learners do: returns and lengths in the buffer, and in the infos of a sweep."""
    model, seen = make(env()), []

    def look(local: dict[str, Any], _: Any) -> bool:
        returns = [info["episode"]["r"] for info in local["infos"]]
        assert len(returns) == len(local["dones"])
        seen.append((np.mean(returns), np.mean([info["episode"]["l"] for info in local["infos"]])))
        return True

    model.learn(2 * sweep(model), callback=look)
    rollouts, n = model._rollouts, sweep(model) // HORIZON
    assert rollouts is not None
    assert seen[1] == (pytest.approx(rollouts.returns.mean()), pytest.approx(rollouts.steps.mean()))
    assert model.ep_info_buffer is not None
    entries = list(model.ep_info_buffer)
    assert [entry["r"] for entry in entries[-n:]] == rollouts.returns.T.ravel().tolist()
    assert len(entries) == min(100, 2 * n)
    assert all(entry["t"] >= 0 for entry in entries)
    model.learn(1)
    assert len(model.ep_info_buffer) == min(100, n)  # counted anew


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        (REINFORCE, {"policy": "MlpPolicy"}, r"unknown policy 'MlpPolicy'.*LinearGaussianPolicy"),
        (REINFORCE, {"env": None}, r"`env` is needed"),
        (REINFORCE, {"n_trajectories": 1}, r"`n_trajectories` must be at least 2.*Received 1"),
        (REINFORCE, {"n_trajectories": 2.5}, r"`n_trajectories` must be an integer.*Received 2.5"),
        (REINFORCE, {"sigma": float("nan")}, r"`sigma` must be a finite number. Received nan"),
        (REINFORCE, {"sigma": 0.0}, r"`sigma` must be above 0. Received 0.0"),
        (REINFORCE, {"learning_rate": float("inf")}, r"`learning_rate` must be a finite number. Received inf"),
        (REINFORCE, {"learning_rate": -1}, r"`learning_rate` must be above 0. Received -1"),
        (REINFORCE, {"seed": -1}, r"`seed` must be an integer of at least 0 and at most 4294967295. Received -1"),
        (ENAC, {"n_trajectories": 5}, r"at least 7, for 5 policy parameters and a baseline. Received 5"),
        (ENAC, {"max_kl": 0}, r"`max_kl` must be above 0. Received 0"),
        (PGELLA, {"base": "enac"}, r"at least 7, for 5 policy parameters and a baseline. Received 5"),
        (PGELLA, {"base": "reinfroce"}, r"unknown base 'reinfroce'. Did you mean 'reinforce'"),
        (PGELLA, {"n_basis": 6}, r"`n_basis` must be at most 5.*Received 6"),
        (PGELLA, {"n_basis": 0}, r"`n_basis` must be an integer of at least 1. Received 0"),
        (PGELLA, {"sparsity": -0.1}, r"`sparsity` must be at least 0. Received -0.1"),
        (PGELLA, {"ridge": 0.0}, r"`ridge` must be above 0. Received 0.0"),
        (PGELLA, {"alternations": 0}, r"`alternations` must be an integer of at least 1. Received 0"),
        (PGELLA, {"mean_basis": 1}, r"`mean_basis` must be True or False. Received 1"),
        (PGELLA, {"base_settings": {"beta": 1.0}}, r"unknown setting of 'reinforce' 'beta'"),
        (RWR, {"beta": -1.0}, r"`beta` must be above 0. Received -1.0"),
        (RWR, {"n_trajectories": 1}, r"`n_trajectories` must be at least 2.*Received 1"),
        (GOMTL, {"tolerance": -1.0}, r"`tolerance` must be at least 0. Received -1.0"),
        (GOMTL, {"base": "rwr", "base_settings": {"beta": 0}}, r"`beta` must be above 0. Received 0"),
        (ScalablePGELLA, {"consensus": "admmm"}, r"unknown consensus 'admmm'. Did you mean 'admm'"),
        (ScalablePGELLA, {"penalty": 0.0}, r"`penalty` must be above 0. Received 0.0"),
        (ScalablePGELLA, {"admm_iterations": 0}, r"`admm_iterations` must be an integer of at least 1. Received 0"),
        (ScalablePGELLA, {"base": "enac"}, r"at least 7, for 5 policy parameters and a baseline. Received 5"),
    ],
)
def test_bad_arguments_are_refused(kind: Any, arguments: dict[str, Any], message: str) -> None:
    """The error names the argument, the constraint and the value."""
    with pytest.raises(ValueError, match=message):
        kind(**{"policy": POLICY, "env": env(), **arguments})


@pytest.mark.parametrize("task", [-1, N_TASKS, 1.0, True, "task_0"])
def test_unknown_tasks_are_refused(task: Any) -> None:
    """Also what only looks like an index."""
    with pytest.raises(ValueError, match="unknown task"):
        REINFORCE(POLICY, env()).for_task(task)


def test_unsuitable_spaces_are_refused() -> None:
    """A linear policy needs one-dimensional, bounded Boxes."""
    with pytest.raises(ValueError, match="actions in a one-dimensional Box"):
        REINFORCE(POLICY, DummyVecEnv([lambda: gym.make("CartPole-v1")]))
    with pytest.raises(ValueError, match="observations in a one-dimensional Box"):
        REINFORCE(POLICY, as_vec_env("LifelongGridWorld-v0"))


def test_another_environment_must_have_the_same_tasks() -> None:
    """`set_env` refuses others before anything changes; with the same ones learning goes on as it would have."""
    model, stays = REINFORCE(POLICY, env(), seed=0).learn(1), REINFORCE(POLICY, env(), seed=0).learn(1)
    for others in (sample_tasks(ID, N_TASKS + 1), sample_tasks(ID, N_TASKS, seed=1)):
        with pytest.raises(ValueError, match=r"`env` must have"):
            model.set_env(as_vec_env(ID, tasks=others))
    model.set_env(pettingzoo.make("parallel", ID, tasks=TASKS, horizon=HORIZON))
    assert np.array_equal(thetas(model.learn(1)), thetas(stays.learn(1)))


@every_learner
@pytest.mark.parametrize("normalise", [False, True])
def test_learns_on_a_third_party_vec_env(make: Maker, normalise: bool) -> None:
    """Row i is task i; observations and actions of any scale; the seed decides there too."""

    def pendulums() -> VecEnv:
        venv: VecEnv = DummyVecEnv([lambda: gym.make("Pendulum-v1", max_episode_steps=8)] * 2)
        return VecNormalize(venv) if normalise else venv

    first, again = (make(pendulums(), n_trajectories=8).learn(1) for _ in range(2))
    assert first.n_tasks == 2
    assert first.num_timesteps == 2 * 8 * 8
    assert np.array_equal(thetas(first), thetas(again))
    assert first.for_task(1).predict(np.zeros(3, np.float32))[0].shape == (1,)


def performance(model: MultiTaskAlgorithm) -> float:
    """Mean reward of a step of the mean policies."""
    tasks = model.tasks
    assert tasks is not None
    run = rollout(ID, tasks=tasks, theta=thetas(model), n_trajectories=10, seed=999, sigma=0.0)
    return float(run.returns.mean()) / 150


def test_sharing_a_basis_wins_early() -> None:
    """Fifty different cart-poles, five trajectories each: a shared basis beats learning alone, and one policy."""
    scores = []
    for seed in range(3):
        par = pettingzoo.make("parallel", ID, n_tasks=50, task_seed=seed, preset="hetero")
        steps = 5 * 50 * 5 * 150
        makers = (maker(PGELLA, n_basis=2), maker(REINFORCE), maker(REINFORCE, shared=True))
        scores.append([performance(make(par, seed=seed).learn(steps)) for make in makers])
    shared_basis, alone, one_policy = np.mean(scores, axis=0)
    assert shared_basis > alone + 0.15  # measured: +.43 +- .04
    assert alone > one_policy + 0.8  # measured: +1.8 +- .3
