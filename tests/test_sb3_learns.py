"""Stock Stable-Baselines3 learns on every id, through every interface.

Each id has a lesson that a linear policy can learn within seconds: short episodes and, where zero action is hard to
beat, tasks that reward acting. Longer training on the default presets is a matter for benchmarks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import pettingzoo
import pytest
import torch
from stable_baselines3 import A2C, PPO, SAC
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from lifelong_gym import sample_tasks
from lifelong_gym.registry import FAMILIES
from lifelong_gym.wrappers import as_vec_env

N_TASKS = 10
EVALUATION_SEED = 100
GRID, CHAIN, LINEAR = "LifelongGridWorld-v0", "LifelongChain-v0", "LifelongLinearMDP-v0"
TABULAR = (GRID, CHAIN, LINEAR)


@dataclass(frozen=True)
class Lesson:
    """What is to be learnt.

    Attributes:
        horizon: steps of an episode.
        task: parameters that all tasks share; the others are drawn.
        reward: name of the reward.
        single_steps: training steps through the single env.
        row_steps: training steps through the interfaces of ten rows, all rows together.
        arguments: of the family.
        gain: of an episode's return; None: a fifth of the cost.
    """

    horizon: int
    task: Mapping[str, float | str] = field(default_factory=dict)
    reward: str = "norm"
    single_steps: int = 3000
    row_steps: int = 6000
    arguments: Mapping[str, Any] = field(default_factory=dict)
    gain: float | None = None


LESSONS = {
    "LifelongSimpleMass-v0": Lesson(100),
    "LifelongDoubleMass-v0": Lesson(100),
    # Poles so long that they hardly turn while the cart gathers the wanted speed of 1 m/s.
    "LifelongCartPole-v0": Lesson(50, {"pole_half_length": 5.0, "goal_2": 1.0}),
    "LifelongDoubleInvertedPendulum-v0": Lesson(50, {"length_1": 5.0, "length_2": 5.0, "goal_2": 1.0}),
    "LifelongCH47-v0": Lesson(50, {"goal_2": 5.0}),
    # Rotors so weak that exploring doesn't overturn it, and a start that turns quickly.
    "LifelongQuadrotor-v0": Lesson(
        30, {"actuator_gain": 0.3, "start_2": 1.5, "start_4": 1.5, "start_6": 1.5}, "quadratic"
    ),
    # A start that tips over unless its turning is stopped, and an episode too short to drift away.
    "LifelongQuadrotor3D-v0": Lesson(
        40,
        {"path": "hover", "start_position": 0.0, "start_velocity": 0.0, "start_angle": 0.1, "start_rate": 2.5},
        "quadratic",
        single_steps=4500,
    ),
    # Goals are found at least in a third of the tasks more than before.
    GRID: Lesson(30, {"start_row": 5, "start_column": 5, "goal_row": 7, "goal_column": 6}, "goal", gain=1 / 3),
    CHAIN: Lesson(30, {"reward_s1": 1.0, "reward_s5": -1.0}, "end", 1500, 3000, gain=1 / 3),
    # One task in all rows; chance leaves two thirds of a reward to be gained.
    LINEAR: Lesson(
        5,
        {"kernel": 3, "value": 3.5, "contrast": 0.9},
        "linear",
        arguments={"d": 4, "n_states": 4, "n_stages": 5},
        gain=1 / 3,
    ),
    # So cold that spreading is worth little.
    "LifelongAllocation-v0": Lesson(
        20, {f"beta_{i + 1}": 0.05 for i in range(3)}, "worth", arguments={"m": 3, "actions": "logits"}, gain=2.0
    ),
    # Most of a day's move is taken back on the next one.
    "LifelongPortfolio-v0": Lesson(
        20,
        reward="excess",
        arguments={
            "prices": {"source": "planted", "instruments": 6, "days": 300, "reversion": 0.9},
            "m": 3,
            "window": 2,
            "actions": "logits",
        },
        gain=10.0,
    ),
}


def settings(id: str) -> dict[str, Any]:
    """The arguments that all interfaces are made with."""
    lesson = LESSONS[id]
    tasks = [{**task, **lesson.task} for task in sample_tasks(id, N_TASKS, **lesson.arguments)]
    return {"tasks": tasks, "horizon": lesson.horizon, "reward": lesson.reward, **lesson.arguments}


def single(id: str) -> VecEnv:
    """One env that walks through the tasks."""
    return make_vec_env(id, 1, env_kwargs=settings(id))


def vector(id: str) -> VecEnv:
    """A row a task."""
    return as_vec_env(gym.make_vec(id, num_envs=N_TASKS, **settings(id)))


def parallel(id: str) -> VecEnv:
    """An agent a task."""
    return as_vec_env(pettingzoo.make("parallel", id, **settings(id)))


class Zero:
    """Never acts.

    Args:
        size: number of actions.
    """

    def __init__(self, size: int) -> None:
        """See the class."""
        self.size = size

    def predict(
        self,
        observation: Any,
        state: tuple[npt.NDArray[Any], ...] | None = None,
        episode_start: npt.NDArray[Any] | None = None,
        deterministic: bool = False,
    ) -> tuple[npt.NDArray[Any], tuple[npt.NDArray[Any], ...] | None]:
        """Zeros, shape (n_envs, n_actions)."""
        return np.zeros((len(observation), self.size)), state


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def evaluated(model: Any, env: VecNormalize, make: Callable[[str], VecEnv], id: str) -> float:
    """Mean return of an episode in each task, the same episodes every time."""
    fresh = VecNormalize(make(id), training=False, norm_obs=env.norm_obs, norm_reward=False)
    if env.norm_obs:
        fresh.obs_rms = env.obs_rms
    fresh.seed(EVALUATION_SEED)
    mean, _ = evaluate_policy(model, fresh, n_eval_episodes=N_TASKS)
    assert isinstance(mean, float)
    return mean


def ppo(id: str, env: VecNormalize, seed: int) -> PPO:
    """A linear Gaussian policy, or a table."""
    tabular = id in TABULAR
    return PPO(
        "MlpPolicy",
        env,
        learning_rate=1e-2 if tabular else 3e-3,
        n_steps=500 // env.num_envs,
        batch_size=100,
        n_epochs=5,
        gamma=env.gamma,
        policy_kwargs={"net_arch": {"pi": [], "vf": [32]}, "log_std_init": 0.0 if tabular else -1.0},
        seed=seed,
        device="cpu",
    )


def trained(id: str, make: Callable[[str], VecEnv], seed: int = 0) -> tuple[PPO, float, float]:
    """A model, and its returns before and after training."""
    lesson = LESSONS[id]
    env = VecNormalize(make(id), norm_obs=id not in TABULAR, gamma=0.9)
    model = ppo(id, env, seed)
    before = evaluated(model, env, make, id)
    model.learn(lesson.single_steps if make is single else lesson.row_steps)
    return model, before, evaluated(model, env, make, id)


def assert_learnt(id: str, before: float, after: float) -> None:
    """A fifth of the cost is gone, or as much is gained as the lesson says."""
    gain = LESSONS[id].gain
    assert after > (0.8 * before if gain is None else before + gain)


def test_every_id_has_a_lesson() -> None:
    """None is left out, but federated learning, of which a step trains ten networks, games, and what sees pictures."""
    left_out = {"LifelongFederatedMNIST-v0", "LifelongDrone-v0", "LifelongAtari-v0", "LifelongMinAtar-v0"}
    assert set(FAMILIES) - set(LESSONS) == left_out


@pytest.mark.parametrize("id", LESSONS)
def test_ppo_learns_through_the_single_env(id: str) -> None:
    """One env in a DummyVecEnv, a task after another; at the end better than idle, too."""
    model, before, after = trained(id, single)
    assert_learnt(id, before, after)
    env = model.get_vec_normalize_env()
    if id not in TABULAR:  # whose action zero is a move
        assert env is not None
        assert model.action_space.shape is not None
        assert after > evaluated(Zero(*model.action_space.shape), env, single, id)


@pytest.mark.parametrize("id", LESSONS)
def test_ppo_learns_the_same_through_vector_and_parallel(id: str) -> None:
    """Both are trained, and end at the same numbers to the bit."""
    results = [trained(id, make) for make in (vector, parallel)]
    for _, before, after in results:
        assert_learnt(id, before, after)
    (one, *returns), (other, *others) = results
    assert returns == others
    parameters = other.policy.state_dict()
    assert all(torch.equal(value, parameters[name]) for name, value in one.policy.state_dict().items())


@pytest.mark.parametrize("make", [single, parallel])
@pytest.mark.parametrize("kind", ["SAC", "A2C"])
def test_other_learners_learn(make: Callable[[str], VecEnv], kind: str) -> None:
    """One off-policy on continuous actions, one on-policy on discrete ones."""
    id = "LifelongSimpleMass-v0" if kind == "SAC" else GRID
    env = VecNormalize(make(id), norm_obs=False, norm_reward=False)
    model = sac(env) if kind == "SAC" else a2c(env)
    before = evaluated(model, env, make, id)
    model.learn(8000 if kind == "A2C" else 1500 if make is single else 3000)
    assert_learnt(id, before, evaluated(model, env, make, id))


def sac(env: VecEnv) -> SAC:
    """Small networks; five updates a call among ten rows, one with one."""
    return SAC(
        "MlpPolicy",
        env,
        learning_rate=1e-3,
        gamma=0.9,
        batch_size=64,
        learning_starts=200,
        gradient_steps=min(5, env.num_envs),
        policy_kwargs={"net_arch": [64, 64]},
        seed=0,
        device="cpu",
    )


def a2c(env: VecEnv) -> A2C:
    """A table."""
    return A2C(
        "MlpPolicy",
        env,
        learning_rate=3e-3,
        gamma=0.9,
        n_steps=40 if env.num_envs == 1 else 10,
        ent_coef=0.02,
        policy_kwargs={"net_arch": {"pi": [], "vf": [32]}},
        seed=0,
        device="cpu",
    )
