"""What updates of many DQNs in one call cost beside updates in turns: ``make bench``."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch as th

from lifelong_gym.agents import SharedExperienceDQN
from lifelong_gym.agents.deep.sharing.batched import Together
from lifelong_gym.envs.vector import LifelongVectorEnv
from lifelong_gym.wrappers import as_vec_env

N_AGENTS, UPDATES, PAIRS = 20, 10, 6


def learner() -> SharedExperienceDQN:
    """Twenty agents on vectors, each with some replay, and a gradient step each four steps."""
    env = as_vec_env(LifelongVectorEnv("LifelongChain-v0", N_AGENTS, n_tasks=2, backend="numpy"))
    own: dict[str, Any] = {"borrow": None, "threshold": 1.0, "meeting_steps": 32, "seed": 0, "device": "cpu"}
    return SharedExperienceDQN("MlpPolicy", env, policy_kwargs={"net_arch": [64, 64]}, **own).learn(N_AGENTS * 40)


def seconds(update: Any) -> float:
    """CPU time of some updates of all."""
    start = time.process_time()
    for _ in range(UPDATES):
        update()
    return time.process_time() - start


def test_updates_in_one_call(benchmark: Any) -> None:
    """Beside the same updates in turns."""
    n_threads = th.get_num_threads()
    th.set_num_threads(1)
    try:
        model, together = learner(), Together()

        def in_turns() -> None:
            for agent in model.agents:
                agent.train()

        ratios = [seconds(in_turns) / seconds(lambda: together.train(model.agents)) for _ in range(PAIRS)]
        print(f"{np.median(ratios):.2f} times faster than in turns")
        benchmark.extra_info["times faster than in turns"] = float(np.median(ratios))
        benchmark(lambda: together.train(model.agents))
    finally:
        th.set_num_threads(n_threads)
