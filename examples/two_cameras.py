"""Two drones, each in a world of its own, learn one policy from what their cameras see.

After every round of PPO they mix the parameters of their policies; nothing else is sent. What each sees is brought to
mean 0 and deviation 1, so that brightness doesn't tell the worlds apart. ``LIFELONG_GYM_QUICK=1`` shortens it.
"""

import os

import pettingzoo
from stable_baselines3.common.evaluation import evaluate_policy

import lifelong_gym  # noqa: F401 (registers the environments)
from lifelong_gym.agents import DCPG
from lifelong_gym.wrappers import ParameterSharing, as_vec_env

QUICK = os.environ.get("LIFELONG_GYM_QUICK") == "1"
ID, ROWS, STEPS = "LifelongDrone-v0", 4, 32  # flights side by side in each world; steps of each in a round
WORLDS = [{"world": "long"}, {"world": "pyramid"}]

drones = pettingzoo.make("parallel", ID, tasks=WORLDS * ROWS, resolution=32, horizon=100)  # task i: world i mod 2
agents = {f"agent_{i}": [f"task_{j}" for j in range(i, 2 * ROWS, 2)] for i in range(2)}
model = DCPG(
    "CnnPolicy",
    ParameterSharing(drones, topology="ring", nodes=agents),
    learning_rate=1e-3,
    base="ppo",
    base_kwargs={"n_steps": STEPS, "batch_size": 64, "n_epochs": 4},
    policy_kwargs={
        "features_extractor_class": "SmallCNN",
        "features_extractor_kwargs": {"standardise": True},
        "share_features_extractor": False,
        "net_arch": [],
    },
    seed=0,
)
model.learn(2 * ROWS * STEPS * (2 if QUICK else 200))

for node in agents:
    for world in WORLDS:
        env = as_vec_env(ID, tasks=[world], resolution=32, horizon=100)
        env.seed(1)
        mean, _ = evaluate_policy(model.for_node(node), env, n_eval_episodes=2 if QUICK else 20, deterministic=False)
        print(f"{node} in {world['world']}: return {mean:.2f}")
print(f"Apart by {model.consensus_error()['all']:.1%}; sent: {model.channel.ledger}")
