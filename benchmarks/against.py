"""Speed against another commit, in one run: ``python benchmarks/against.py COMMIT``. Read the ratios.

The commit is checked out beside this folder's package, in a worktree of its own. A process of either waits for its
turn: they alternate round by round, so that what else the machine does falls on both. Where in memory a process
happens to lie makes a few per cent, so there are several pairs of them. CPU time of one thread.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

REPOSITORY = Path(__file__).parents[1]
ENV = "LifelongCartPole-v0"
N_TASKS, N_TRAJECTORIES, HORIZON = 50, 50, 150
Work = tuple[Callable[[], object], int]  # what is timed, and how many env steps it is


def single_step() -> Work:
    """A thousand steps of a single env with its default wrappers."""
    env = gym.make(ENV)
    env.reset(seed=0)
    action = np.zeros(1, np.float32)

    def steps() -> None:
        for _ in range(1000):
            _, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                env.reset()

    return steps, 1000


def vector_step(n: int, n_tasks: int) -> Work:
    """Some steps of a vector env."""
    env = gym.make_vec(ENV, num_envs=n, n_tasks=n_tasks)
    env.reset(seed=0)
    actions = env.action_space.sample()
    n_steps = max(1, 200_000 // n)

    def steps() -> None:
        for _ in range(n_steps):
            env.step(actions)

    return steps, n * n_steps


def rollouts(trajectories: bool) -> Work:
    """Fused rollouts with statistics, or with everything that happened."""
    import lifelong_gym

    tasks = lifelong_gym.sample_tasks(ENV, N_TASKS, preset="hetero")
    theta = [[1.0, 1.5, 3.0, 5.0, 0.0]]

    def run() -> object:
        given: dict[str, Any] = {"n_trajectories": N_TRAJECTORIES, "trajectories": trajectories}
        return lifelong_gym.rollout(ENV, tasks=tasks, theta=theta, **given)

    return run, N_TASKS * N_TRAJECTORIES * HORIZON


CASES: dict[str, Callable[[], Work]] = {
    "single step": single_step,
    "vector, 64 rows": lambda: vector_step(64, N_TASKS),
    "vector, 2500 rows": lambda: vector_step(2500, N_TASKS),
    "vector, 100000 rows": lambda: vector_step(100_000, N_TASKS),
    "vector, 100000 rows of one task": lambda: vector_step(100_000, 1),
    "rollouts, statistics": lambda: rollouts(False),
    "rollouts, trajectories": lambda: rollouts(True),
}


def serve() -> None:
    """Time the case that each line of the standard input names; answer nanoseconds of CPU per env step."""
    import lifelong_gym
    from lifelong_gym.envs.backends.threads import set_num_threads

    warnings.simplefilter("ignore")
    set_num_threads(1)
    print(lifelong_gym.__file__, flush=True)
    ready: dict[str, Work] = {}
    for line in sys.stdin:
        name = line.strip()
        if name not in ready:
            ready = {name: CASES[name]()}  # one at a time: the last one's memory is free again
            ready[name][0]()
        work, n_steps = ready[name]
        start = time.process_time()
        work()
        print(1e9 * (time.process_time() - start) / n_steps, flush=True)


class Side:
    """A process that measures one checkout."""

    def __init__(self, checkout: Path) -> None:
        """Start it, and see that it has imported that checkout."""
        environment = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--serve"], env=environment, stdin=-1, stdout=-1, text=True, cwd=checkout
        )
        imported = self._answer()
        if not imported.startswith(str(checkout)):
            raise RuntimeError(f"the process for {checkout} imported {imported}")

    def _answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def measure(self, case: str) -> float:
        """Nanoseconds of CPU per env step."""
        assert self.process.stdin is not None
        print(case, file=self.process.stdin, flush=True)
        answer = self._answer()
        if not answer:
            raise RuntimeError(f"the process for {case!r} has ended; what it said is above")
        return float(answer)

    def close(self) -> None:
        """End it."""
        self.process.communicate()


@contextmanager
def checked_out(commit: str) -> Iterator[Path]:
    """A worktree of ``commit``, for as long as it is used."""
    git = ["git", "-C", str(REPOSITORY), "worktree"]
    with tempfile.TemporaryDirectory() as folder:
        checkout = Path(folder).resolve() / "checkout"
        subprocess.run([*git, "add", "--detach", "--quiet", str(checkout), commit], check=True)
        try:
            yield checkout
        finally:
            subprocess.run([*git, "remove", "--force", str(checkout)], check=True)


def alternate(sides: tuple[Side, Side], case: str, rounds: int) -> list[tuple[float, float]]:
    """Times of either side, round by round; each goes first in every other round."""
    times = []
    for i in range(rounds):
        order = (0, 1) if i % 2 == 0 else (1, 0)
        found = {side: sides[side].measure(case) for side in order}
        times.append((found[0], found[1]))
    return times


def line(case: str, pairs: list[tuple[float, float]]) -> str:
    """A line of the table: medians of both, the median of the rounds' ratios and their quartiles."""
    times = np.array(pairs)
    before, after = np.median(times, axis=0)
    low, ratio, high = np.quantile(times[:, 1] / times[:, 0], (0.25, 0.5, 0.75))
    return f"{case:34}{before:10.1f}{after:10.1f}{ratio:9.3f}   ({low:.3f} to {high:.3f})"


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("commit", help="what to compare with: a hash, a branch, HEAD~1")
    parser.add_argument("--pairs", type=int, default=3, help="pairs of processes")
    parser.add_argument("--rounds", type=int, default=5, help="of each pair")
    parser.add_argument("--only", default="", help="a part of the names of the cases to measure")
    arguments = parser.parse_args()
    times: dict[str, list[tuple[float, float]]] = {case: [] for case in CASES if arguments.only in case}
    with checked_out(arguments.commit) as checkout:
        for _ in range(arguments.pairs):
            sides = Side(checkout), Side(REPOSITORY)
            for case, pairs in times.items():
                pairs += alternate(sides, case, arguments.rounds)
            for side in sides:
                side.close()
    print(f"{'ns per env step':34}{arguments.commit[:9]:>10}{'here':>10}{'ratio':>9}")
    for case, pairs in times.items():
        print(line(case, pairs))


if __name__ == "__main__":
    if sys.argv[1:] == ["--serve"]:
        serve()
    else:
        main()
