"""Stock Stable-Baselines3 on a family of tasks: one policy, through each interface, before and after training.

``LIFELONG_GYM_QUICK=1`` makes it a short demonstration.
"""

import os

import gymnasium as gym
import pettingzoo
import torch
from stable_baselines3 import A2C, PPO, SAC
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecEnv

import lifelong_gym
from lifelong_gym.wrappers import as_vec_env

QUICK = os.environ.get("LIFELONG_GYM_QUICK") == "1"
MASS, GRID = "LifelongSimpleMass-v0", "LifelongGridWorld-v0"
STEPS = 1_500 if QUICK else 50_000
SAC_STEPS = 200 if QUICK else 10_000

torch.set_num_threads(1)  # such small networks are slower on many
masses = {"tasks": lifelong_gym.sample_tasks(MASS, 10), "horizon": 100}
near = [{"start_row": 5, "start_column": 5, "goal_row": row, "goal_column": 7} for row in (6, 7)]
grids = {"tasks": near, "horizon": 30}


def single(id: str, settings: dict) -> VecEnv:
    """An env that walks through its tasks, in an order drawn at random."""
    return make_vec_env(id, 1, env_kwargs={**settings, "schedule": "random"})


def vector(id: str, settings: dict) -> VecEnv:
    """Ten rows, each with its task."""
    return as_vec_env(gym.make_vec(id, num_envs=10, **settings))


def parallel(id: str, settings: dict) -> VecEnv:
    """An agent a task."""
    return as_vec_env(pettingzoo.make("parallel", id, **settings))


def mean_return(model: BaseAlgorithm, id: str, settings: dict) -> float:
    """Over one episode in each task, always the same."""
    env = parallel(id, settings)
    env.seed(100)
    return float(evaluate_policy(model, env, n_eval_episodes=env.num_envs)[0])  # type: ignore[arg-type]


def report(name: str, model: BaseAlgorithm, id: str, settings: dict, steps: int) -> None:
    """Train, and print a row of the table."""
    before = mean_return(model, id, settings)
    model.learn(steps)
    print(f"{name:<18} {id:<22} {before:>8.2f} {mean_return(model, id, settings):>8.2f}")


print(f"{'':<18} {'family':<22} {'before':>8} {'after':>8}")
for interface in (single, vector, parallel):
    env = interface(MASS, masses)
    ppo = PPO("MlpPolicy", env, n_steps=500 // env.num_envs, batch_size=100, gamma=0.9, learning_rate=3e-3, seed=0)
    report(f"PPO on {interface.__name__}", ppo, MASS, masses, STEPS)
sac = SAC("MlpPolicy", parallel(MASS, masses), gamma=0.9, learning_starts=100, gradient_steps=4, seed=0)
report("SAC on parallel", sac, MASS, masses, SAC_STEPS)
a2c = A2C("MlpPolicy", vector(GRID, grids), gamma=0.9, learning_rate=3e-3, seed=0)
report("A2C on vector", a2c, GRID, grids, STEPS)
