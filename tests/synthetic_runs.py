"""Run files with made-up curves, for tests of what reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from lifelong_gym.benchmark.writer import RunWriter, make_header
from lifelong_gym.measures.metrics import Communication
from lifelong_gym.numerics.arrays import FloatArray

ZERO, BEST = -200.0, -20.0
RAW = "Raw-v0"  # a family that names no reference


def settings(
    label: str = "PPO",
    family: str = "LifelongCartPole-v0",
    protocol: str = "multi_task",
    n_tasks: int = 4,
    n_evaluations: int = 10,
    seed: int = 0,
    alone: bool = False,
    arguments: dict[str, Any] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """Settings of a run; ``more`` goes to the protocol."""
    return {
        "learner": {
            "label": label,
            "class": label.partition("+")[0],
            "arguments": arguments or {},
            "task_observation": "hide",
            "alone": alone,
        },
        "family": {"id": family, "preset": "hetero", "n_tasks": n_tasks, "task_seed": 0, "tasks": {"uids": []}},
        "protocol": {
            "name": protocol,
            "total_timesteps": 100_000,
            "n_evaluations": n_evaluations,
            "n_eval_episodes": 3,
            "evaluation_seed": 7,
            **more,
        },
        "seed": seed,
    }


def header(run: dict[str, Any]) -> dict[str, Any]:
    """Of a run with these settings; without references for the family ``RAW``."""
    n_tasks = run["family"]["n_tasks"]
    if run["family"]["id"] == RAW:
        return make_header(run, f"tasks-of-{RAW}-{n_tasks}", None)
    levels = {"best": BEST, "zero": ZERO, "random": ZERO - 20}
    references = {
        "version": 1,
        **{name: [level + 2 * task for task in range(n_tasks)] for name, level in levels.items()},
    }
    return make_header(run, f"tasks-of-{run['family']['id']}-{n_tasks}", references)


def returns_of(performance: FloatArray, n_episodes: int = 3) -> FloatArray:
    """Raw returns whose normalised means are ``performance`` (..., n_tasks): shape (..., n_tasks, n_episodes)."""
    zero = ZERO + 2 * np.arange(performance.shape[-1])
    spread = np.linspace(-1, 1, n_episodes)
    return np.asarray((zero + performance * (BEST - ZERO))[..., None] + spread)


def write(
    folder: Path,
    run: dict[str, Any],
    performance: FloatArray,
    stages: list[int | None] | None = None,
    bytes_per_step: int | None = None,
    times: Any = None,
) -> Path:
    """Write a run whose normalised performance is (n_evaluations, n_tasks)."""
    names = (run["learner"]["label"], run["family"]["id"], run["protocol"]["name"], f"seed{run['seed']}")
    path = folder / ("-".join(names).replace(" ", "_") + ".jsonl")
    n = len(performance)
    if times is None:
        times = np.linspace(0, run["protocol"]["total_timesteps"], n).astype(int)
    with RunWriter(path, header(run)) as writer:
        for k in range(n):
            sent = None
            if bytes_per_step is not None:
                sent = Communication(rounds=10 * k, messages=40 * k, bytes=int(bytes_per_step * times[k]))
            failed = np.clip(1 - performance[k], 0, 1)
            stage = None if stages is None else stages[k]
            writer.evaluation(int(times[k]), returns_of(performance[k]), failed, stage, sent)
        return writer.finish()


def rising(
    n: int, n_tasks: int, seed: int, speed: float = 3.0, top: float = 0.9, noise: float = 0.03, luck: float = 0.04
) -> FloatArray:
    """Learning curves (n, n_tasks) that saturate, some tasks harder than others."""
    rng = np.random.default_rng(seed)
    hard = np.linspace(0.7, 1.2, n_tasks)
    x = np.linspace(0, 1, n)[:, None]
    level = top * (1 - 0.25 * (hard - hard.min())) + rng.normal(0, luck)
    curve = level * (1 - np.exp(-speed * x / hard))
    return np.asarray(curve + rng.normal(0, noise, curve.shape))


def multi_task(folder: Path, label: str, seeds: range, family: str = "LifelongCartPole-v0", **more: Any) -> None:
    """Runs of a learner of all tasks at once; ``more`` goes to `rising`, but for ``alone`` and ``n_tasks``."""
    alone, n_tasks = more.pop("alone", False), more.pop("n_tasks", 4)
    for seed in seeds:
        run = settings(label, family, n_tasks=n_tasks, seed=seed, alone=alone)
        write(folder, run, rising(11, n_tasks, sum(map(ord, label + family)) + seed, **more))


def lifelong(
    folder: Path,
    label: str,
    seeds: range,
    kept: float = 0.7,
    n_tasks: int = 4,
    each: int = 5,
    family: str = "LifelongCartPole-v0",
) -> None:
    """Runs that learn one task after another, and keep a share of what they learned."""
    for seed in seeds:
        rng = np.random.default_rng(seed)
        order = rng.permutation(n_tasks).tolist()
        history, level = [np.zeros(n_tasks)], np.zeros(n_tasks)
        for task in order:
            start = level.copy()
            for k in range(1, each + 1):
                level = start * (1 - (1 - kept) * k / each / 2)
                level[task] = start[task] + (0.9 - start[task]) * (1 - np.exp(-3 * k / each))
                history.append(level + rng.normal(0, 0.02, n_tasks))
        stages: list[int | None] = [None, *(i for i in range(n_tasks) for _ in range(each))]
        run = settings(label, family, "lifelong", n_tasks=n_tasks, seed=seed, order=order)
        write(folder, run, np.array(history), stages)


def lifelong_alone(folder: Path, label: str, seeds: range, n_tasks: int = 4, each: int = 5) -> None:
    """Runs of a fresh learner per task, as long as `lifelong` gives each."""
    for seed in seeds:
        run = settings(label, protocol="lifelong", n_tasks=n_tasks, seed=seed, alone=True, order=list(range(n_tasks)))
        times = np.linspace(0, run["protocol"]["total_timesteps"] // n_tasks, each + 1).astype(int)
        write(folder, run, rising(each + 1, n_tasks, seed, top=0.8), [None] * (each + 1), times=times)


def transfer(folder: Path, label: str, seeds: range, start: float, alone: bool = False, n_tasks: int = 4) -> None:
    """Runs that learn all tasks but one, and then that one; or, alone, nothing but that one."""
    for seed in seeds:
        rng = np.random.default_rng(seed)
        order = rng.permutation(n_tasks).tolist()
        before = 0 if alone else 8
        performance = rising(before + 9, n_tasks, seed)
        novel = start + (0.9 - start) * (1 - np.exp(-3 * np.linspace(0, 1, 9)))
        performance[before:, order[-1]] = novel + rng.normal(0, 0.02)
        stages: list[int | None] = [0] * 9 if alone else [*[0] * 9, *[1] * 8]
        run = settings(label, protocol="transfer", n_tasks=n_tasks, seed=seed, alone=alone, order=order)
        times = np.arange(len(stages)) * 1000
        write(folder, run, performance, stages, times=times)


def distributed(folder: Path, label: str, seeds: range, bytes_per_step: int | None, alone: bool = False) -> None:
    """Runs of agents that send something at every step, or nothing."""
    for seed in seeds:
        run = settings(label, protocol="distributed", seed=seed, alone=alone, topology=None if alone else "ring")
        speed = 2.0 if alone else 4.0
        write(folder, run, rising(11, 4, seed, speed=speed), bytes_per_step=bytes_per_step)
