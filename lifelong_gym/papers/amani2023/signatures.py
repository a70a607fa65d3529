"""How well signatures tell tasks apart: two reports of each task, made as agents make theirs."""

from __future__ import annotations

from typing import Any

import numpy as np

from lifelong_gym.agents.deep.replay.packing import Transitions
from lifelong_gym.agents.deep.sharing.signatures import SIGNATURES, Report
from lifelong_gym.numerics.arrays import BoolArray, FloatArray
from lifelong_gym.papers.sweeps import Progress, Values
from lifelong_gym.wrappers import as_vec_env

from .deep import sizes

SCRIPT, N_REPORTS = 20, 2  # seed of the script that all play; reports of each task
THRESHOLDS = tuple(round(0.02 * i, 2) for i in range(51))


def recorded(env: Any, n_steps: int, rng: np.random.Generator, scripted: bool) -> list[Transitions]:
    """So many random steps in each row, one after another; scripted: the same actions from each episode's start."""
    n, n_actions = env.num_envs, int(env.action_space.n)
    script = np.random.default_rng(SCRIPT).integers(0, n_actions, n_steps)
    columns: list[list[Any]] = [[] for _ in range(6)]
    seen, time = env.reset(), np.zeros(n, np.int64)
    for _ in range(n_steps):
        actions = script[time] if scripted else rng.integers(0, n_actions, n)
        then, rewards, dones, infos = env.step(actions)
        last = np.array([info.get("terminal_observation", then[i]) for i, info in enumerate(infos)])
        cut = np.array([info.get("TimeLimit.truncated", False) for info in infos])
        for column, value in zip(columns, (seen, last, actions, rewards, dones, cut), strict=True):
            column.append(np.array(value))
        seen, time = then, np.where(dones, 0, time + 1)
    arrays = [np.stack(column, axis=1) for column in columns]
    return [Transitions(*(a[i] for a in arrays[:3]), *(a[i].astype(np.float32) for a in arrays[3:])) for i in range(n)]


def distances(settings: Values, tasks: list[dict[str, Any]], progress: Progress) -> tuple[FloatArray, BoolArray]:
    """Of all pairs of reports, (n, n), and whether they are of one task."""
    env: Any = as_vec_env(settings["env"], tasks=tasks, **sizes(settings))
    signature = SIGNATURES[settings["signature"]](env.observation_space, env.action_space)
    rng, reports = np.random.default_rng(settings["seed"]), list[Report]()
    for i in range(N_REPORTS):
        env.seed(int(rng.integers(2**31)))
        steps = recorded(env, settings["meeting_steps"], rng, signature.scripted)
        reports += [signature.report(each) for each in steps]
        progress((i + 1) / (N_REPORTS + 1))
    env.close()
    n = len(reports)
    found = np.array([[signature.distance(one, other) for other in reports] for one in reports])
    tasks_of = np.arange(n) % len(tasks)
    return found, tasks_of[:, None] == tasks_of


def measure(settings: Values, progress: Progress) -> dict[str, Any]:
    """Nearest neighbours, and pairs rightly told apart: at the learner's threshold, and at every other one.

    ``accuracy``: the mean of pairs of one task that are held to be one, and of pairs of two that aren't.
    """
    apart, same = distances(settings, settings["tasks"], progress)
    others = ~np.eye(len(apart), dtype=bool)
    nearest = np.where(others, apart, np.inf).argmin(axis=1)
    one, two = apart[same & others], apart[~same]

    def right(threshold: float) -> float:
        return float(((one <= threshold).mean() + (two > threshold).mean()) / 2)

    default = SIGNATURES[settings["signature"]].threshold
    return {
        **{"nearest": float(same[np.arange(len(apart)), nearest].mean()), "accuracy": right(default)},
        **{"same": float(one.max()), "other": float(two.min()), "other_median": float(np.median(two))},
        **{"chance": 1.0 / (len(apart) - 1), "curve": {"at": THRESHOLDS, "values": [right(t) for t in THRESHOLDS]}},
    }
