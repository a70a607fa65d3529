"""A policy that says whose model counts how much, learned by PPO in the simulator, for ``federated_flower.py``.

``python examples/federated_flower/learn.py`` writes ``runs/federated_flower/policy.zip`` and says what to run next. Its
tasks are other clients than those that Flower's ten are. ``LIFELONG_GYM_QUICK=1`` makes it a short demonstration.
"""

import os
from pathlib import Path
from typing import Any

import gymnasium as gym
import torch
from stable_baselines3 import PPO

from lifelong_gym.agents import EquivariantPolicy
from lifelong_gym.wrappers import as_vec_env

N_TASKS, N_ROUNDS, N_UPDATES = 10, 20, 1 if os.environ.get("LIFELONG_GYM_QUICK") == "1" else 20
PATH = Path("runs/federated_flower/policy.zip")

if __name__ == "__main__":
    torch.set_num_threads(1)  # such small networks are slower on many
    env = as_vec_env(gym.make_vec("LifelongFederatedMNIST-v0", num_envs=N_TASKS, n_tasks=N_TASKS))
    settings: dict[str, Any] = {"gamma": 0.9, "learning_rate": 3e-3, "n_epochs": 10, "batch_size": 100}
    model = PPO(
        EquivariantPolicy, env, n_steps=N_ROUNDS, seed=0, device="cpu", policy_kwargs={"context": "mean"}, **settings
    )
    for i in range(N_UPDATES):
        model.learn(N_TASKS * N_ROUNDS, reset_num_timesteps=i == 0)
        returns = [episode["r"] for episode in model.ep_info_buffer or ()]
        mean = sum(returns) / len(returns) / N_ROUNDS
        print(f"{model.num_timesteps:>5} rounds of the simulator: accuracy {mean:.3f}", flush=True)
    PATH.parent.mkdir(parents=True, exist_ok=True)
    model.save(PATH)
    print(f"""Written: {PATH}. Now:
flwr run {Path(__file__).parent} --stream --run-config "policy='{PATH.resolve()}'" \\
    --federation-config "num-supernodes=10 client-resources-num-cpus=1" """)
