"""Fifty cart-poles that differ: learning them with a shared basis, each alone, and all with one policy.

Sensors have different polarities and actuators different gains, so that no policy fits all; with five episodes a
task and sweep, what the tasks have in common is worth knowing.
"""

from __future__ import annotations

import os

import gymnasium as gym
import numpy as np
import pettingzoo
from stable_baselines3.common.evaluation import evaluate_policy

import lifelong_gym  # noqa: F401 (registers the environments)
from lifelong_gym.agents import PGELLA, REINFORCE, MultiTaskAlgorithm

QUICK = os.environ.get("LIFELONG_GYM_QUICK") == "1"
ID, POLICY = "LifelongCartPole-v0", "LinearGaussianPolicy"
N_SWEEPS = 2 if QUICK else 20

par = pettingzoo.make("parallel", ID, n_tasks=5 if QUICK else 50, preset="hetero")
n_steps = N_SWEEPS * len(par.tasks) * 5 * par.max_cycles

models: dict[str, MultiTaskAlgorithm] = {
    "a shared basis (PG-ELLA)": PGELLA(POLICY, par, n_basis=3, seed=0),
    "each task alone": REINFORCE(POLICY, par, seed=0),
    "one policy for all": REINFORCE(POLICY, par, shared=True, seed=0),
}
for model in models.values():
    model.learn(total_timesteps=n_steps, progress_bar=True)

# A task's policy is an SB3 policy; the single env is the same task.
for name, model in models.items():
    total = 0.0
    for task in range(model.n_tasks):
        env = gym.make(ID, tasks=par.tasks, schedule=[task])
        env.reset(seed=0)
        mean, _ = evaluate_policy(model.for_task(task), env, n_eval_episodes=3, warn=False)
        total += float(np.mean(mean))
    print(f"{name:25} mean return {total / model.n_tasks:7.1f}")

# Saved, loaded and continued, learning gives what it would have given without the break.
models["a shared basis (PG-ELLA)"].save("cartpole")
resumed = PGELLA.load("cartpole", env=par)
resumed.learn(total_timesteps=n_steps // N_SWEEPS, reset_num_timesteps=False)
print(f"{resumed.num_timesteps:,} steps in {resumed.n_tasks} tasks")
