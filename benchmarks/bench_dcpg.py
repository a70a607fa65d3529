"""What a round of agents that mix costs beside the same agents alone: ``make bench``."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pettingzoo
import torch as th

from benchmarks.sizes import QUICK
from lifelong_gym.agents import DCPG, MultiAgentAlgorithm
from lifelong_gym.wrappers import ParameterSharing

N_AGENTS, N_STEPS = 4, 256
N_PAIRS = 1 if QUICK else 6


def learner(kind: Any) -> Any:
    """PPO agents in tasks of their own, which have had a round."""
    env = pettingzoo.make("parallel", "LifelongCartPole-v0", n_tasks=N_AGENTS, backend="numpy")
    arguments: dict[str, Any] = {"n_steps": N_STEPS, "n_epochs": 10}
    own = {"base_kwargs": arguments} if kind is DCPG else {"algorithm_kwargs": arguments}
    model = kind("MlpPolicy", ParameterSharing(env), seed=0, device="cpu", **own)
    return model.learn(N_AGENTS * N_STEPS)


def seconds(model: Any) -> float:
    """CPU time of a round."""
    start = time.process_time()
    model.learn(N_AGENTS * N_STEPS, reset_num_timesteps=False)
    return time.process_time() - start


def test_a_round(benchmark: Any) -> None:
    """Beside agents that tell each other nothing, in turns."""
    n_threads = th.get_num_threads()
    th.set_num_threads(1)
    try:
        mixing, silent = learner(DCPG), learner(MultiAgentAlgorithm)
        ratios = [seconds(mixing) / seconds(silent) for _ in range(N_PAIRS)]
        print(f"{np.median(ratios):.3f} times the same agents alone")
        benchmark.extra_info["times the same agents alone"] = float(np.median(ratios))
        benchmark(lambda: seconds(mixing))
    finally:
        th.set_num_threads(n_threads)
