"""The same numbers through every interface, and how tasks are drawn, split and shown to a policy."""

import gymnasium as gym
import numpy as np
import pettingzoo

import lifelong_gym
from lifelong_gym.wrappers import as_vec_env

ID, SEED, STEPS = "LifelongCartPole-v0", 7, 20

# Tasks are rows of a table; a split keeps each task's noise.
train, test = lifelong_gym.sample_tasks(ID, 6, seed=0).split(4, seed=0)
print(f"{len(train)} tasks to learn from, {len(test)} to be tested on; the first has", dict(list(train[0].items())[:3]))

vector = gym.make_vec(ID, num_envs=len(train), tasks=train)
parallel = pettingzoo.make("parallel", ID, tasks=train)
rows = as_vec_env(parallel)  # what Stable-Baselines3 takes

# A linear policy theta (cart position, cart speed, angle / 0.1, angular speed, 1) with force a = 2u.
theta = np.array([0.5, 0.8, 0.9, 1.5, 0.0])
trajectories = lifelong_gym.rollout(
    ID, tasks=train, theta=theta, n_trajectories=1, seed=SEED, sigma=0.0, horizon=STEPS, trajectories=True
)
actions = trajectories.actions[0, 0]  # those of task 0, played to everyone: (STEPS, 1)

single = gym.make(ID, tasks=train)
single.reset(seed=SEED, options={"task": 0})
vector.reset(seed=SEED)
parallel.reset(seed=SEED)
rows.seed(SEED)
rows.reset()
rewards: dict[str, list[float]] = {name: [] for name in ("single", "vector", "parallel", "SB3 rows")}
for action in actions:
    everyone = np.tile(action, (len(train), 1))
    rewards["single"].append(float(single.step(action)[1]))
    rewards["vector"].append(float(vector.step(everyone)[1][0]))
    rewards["parallel"].append(parallel.step(dict.fromkeys(parallel.agents, action))[1]["task_0"])
    rewards["SB3 rows"].append(float(rows.step(everyone)[1][0]))  # float32, as SB3 wants it
rewards["rollout"] = trajectories.rewards[0, 0].tolist()

for name, got in rewards.items():
    dtype = np.float32 if name == "SB3 rows" else np.float64
    assert np.array_equal(got, np.array(rewards["single"], dtype)), name
    print(f"{name:>9}: return {sum(got):.6f}, last reward {got[-1]:.6f}")

# A policy may be told its task: by its number, by its parameters, or not at all.
for how in ("hide", "one_hot", "append"):
    env = gym.make(ID, tasks=train, task_observation=how)
    observation, info = env.reset(seed=SEED, options={"task": 2})
    print(f"{how:>9}: task {info['task_id']}, observations of {observation.size} numbers")
