"""Five PPO agents, each alone in its own task, that share what their networks see, within two groups.

Stock Stable-Baselines3: after every rollout the agents of a group average the hidden layers of their networks over a
channel, which counts what that costs; the heads, which turn features into actions and values, stay their own. The
setting (little data, tasks of a group alike) is one in which sharing helps. ``LIFELONG_GYM_QUICK=1`` shortens it.
"""

import os

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.evaluation import evaluate_policy

import lifelong_gym  # noqa: F401 (registers the environments)
from lifelong_gym.wrappers import Channel, as_vec_env, graph_of

QUICK = os.environ.get("LIFELONG_GYM_QUICK") == "1"
ID = "LifelongSimpleMass-v0"
N_ROWS, N_STEPS = 8, 32  # episodes that run side by side; steps of each in a rollout
N_ROLLOUTS = 2 if QUICK else 16

torch.set_num_threads(1)  # such small networks are slower on many
GAINS = {"pushed": [1.0, 1.5, 2.0], "pulled": [-1.0, -2.0]}  # what a motor makes of the same action


def train(share: bool) -> None:
    """Train five agents, and print each one's return and what they sent."""
    tasks = {f"{group}_{i}": {"actuator_gain": gain} for group in GAINS for i, gain in enumerate(GAINS[group])}
    envs = {name: as_vec_env(gym.make_vec(ID, num_envs=N_ROWS, tasks=[task])) for name, task in tasks.items()}
    # The same seed for all: features that began alike can be averaged.
    agents = {
        name: PPO("MlpPolicy", env, n_steps=N_STEPS, batch_size=64, gamma=0.95, learning_rate=3e-3, seed=0)
        for name, env in envs.items()
    }
    groups = {group: [name for name in agents if name.startswith(group)] for group in GAINS}
    channels = {group: Channel(graph_of("complete", names)) for group, names in groups.items()}

    for _ in range(N_ROLLOUTS):
        for agent in agents.values():
            agent.learn(N_ROWS * N_STEPS, reset_num_timesteps=False)
        for group, channel in channels.items() if share else ():
            features = {name: agents[name].policy.mlp_extractor.state_dict() for name in groups[group]}
            for name, mixed in channel.mix(features).items():
                agents[name].policy.mlp_extractor.load_state_dict(mixed)

    returns = []
    for name, agent in agents.items():
        envs[name].seed(100)
        mean, _ = evaluate_policy(agent, envs[name], n_eval_episodes=4 * N_ROWS)
        returns.append(mean)
        print(f"  {name} (gain {tasks[name]['actuator_gain']:4}): mean return {mean:7.2f}")
    print(f"{'sharing within groups' if share else 'each alone'}: mean return {np.mean(returns):7.2f}")
    for group, channel in channels.items() if share else ():
        print(f"{group}: {channel.ledger}")


train(share=False)
train(share=True)
