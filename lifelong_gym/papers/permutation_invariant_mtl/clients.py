"""Federated learning: who learns to weigh clients, and what a round's average tells right with unseen clients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3 import PPO

from lifelong_gym import registry
from lifelong_gym.benchmark.results import rounded
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.papers.sweeps import Progress, Values
from lifelong_gym.references.constant_shares import ConstantShares
from lifelong_gym.tasks.task_set import TaskSet
from lifelong_gym.wrappers import as_vec_env

from .markets import POLICIES

ID = "LifelongFederatedMNIST-v0"
N_STEPS = 40  # of PPO: steps of a row before an update
FEDAVG, CONSTANT, EQUIVARIANT = "FedAvg", "constant", "equivariant"

Chooser = Callable[[Any], Any]


def learned(settings: Values, tasks: TaskSet) -> Chooser:
    """A policy, by PPO on the quick setting."""
    env = as_vec_env(gym.make_vec(ID, num_envs=settings["rows"], tasks=tasks, data=settings["data"]))
    policy: dict[str, Any] = {"spread_init": settings["spread"]}
    if settings["network"] == EQUIVARIANT:
        policy |= {name: settings[name] for name in ("context", "encoder", "hidden")}
    own: dict[str, Any] = {"gamma": settings["discount"], "learning_rate": 1e-3, "n_epochs": 10, "batch_size": 80}
    kind, seed = POLICIES[settings["network"]], settings["seed"]
    model = PPO(kind, env, n_steps=N_STEPS, seed=seed, policy_kwargs=policy, device="cpu", **own)
    model.learn(settings["steps"])
    env.close()
    return lambda seen: model.predict(seen, deterministic=True)[0]


def chooser(settings: Values, own: TaskSet) -> Callable[[TaskSet], Chooser]:
    """Who weighs the clients of some tasks; the best constant weights are searched for in the tasks themselves."""
    family: Any = registry.family(ID, data=settings["data"])
    if settings["network"] == FEDAVG:
        return lambda tasks: lambda seen: np.zeros((len(seen), family.n_clients), np.float32)
    if settings["network"] == CONSTANT:
        return lambda tasks: ConstantShares(family, tasks, "accuracy").predict
    policy = learned(settings, own)
    return lambda tasks: policy


def watched(settings: Values, tasks: TaskSet, choose: Chooser) -> tuple[FloatArray, FloatArray]:
    """An episode of each task: accuracies (n_tasks, n_rounds) and weights (n_tasks, n_rounds, n_clients)."""
    arguments = {"data": settings["data"], "setting": settings["setting"]}
    env = gym.make_vec(ID, num_envs=len(tasks), tasks=tasks, reward="test_accuracy", **arguments)
    seen, _ = env.reset(seed=settings["seed"])
    accuracies, weights = [], []
    for _ in range(registry.family(ID, **arguments).horizon):
        actions = choose(seen)
        seen, rewards, *_ = env.step(actions)
        accuracies.append(np.array(rewards))
        some = np.where(actions.sum(axis=1, keepdims=True) > 0.0, actions, 1.0)
        weights.append(some / some.sum(axis=1, keepdims=True))
    env.close()
    return np.array(accuracies).T, np.array(weights).swapaxes(0, 1)


def measure(settings: Values, progress: Progress) -> dict[str, Any]:
    """Learn, and watch episodes with clients that weren't learned from, on images that rewards don't use.

    ``error``: a curve of what the average tells wrong after each round, mean of tasks; ``accuracy``: mean of all
    rounds, and ``own``, of the first tasks that were learned from; ``weights``: of the first task's clients, a row a
    round; ``rare``: which of them know the digits 6 to 9.
    """
    torch.set_num_threads(1)
    n, data, seed = settings["n_unseen"], settings["data"], settings["seed"]
    own = registry.sample_tasks(ID, settings["n_tasks"], seed, "default", data=data)
    unseen = registry.sample_tasks(ID, n, seed, "held_out", data=data)
    choose = chooser(settings, own)
    progress(0.6)
    accuracy, weights = watched(settings, unseen, choose(unseen))
    found: dict[str, Any] = {"accuracy": float(rounded(accuracy.mean())), "weights": rounded(weights[0], 4)}
    if settings["setting"] == "quick":
        found["own"] = float(rounded(watched(settings, own[:n], choose(own[:n]))[0].mean()))
    progress(1.0)
    found["error"] = {"at": [*range(1, accuracy.shape[1] + 1)], "values": rounded(1.0 - accuracy.mean(axis=0))}
    clients = [str(unseen[0][f"client_{i + 1}"]) for i in range(weights.shape[2])]
    return found | {"rare": [client.startswith("rare") for client in clients]}
