"""Evaluation: what a learner earns in every task, in an environment of its own that no training ever sees."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import torch as th

from lifelong_gym.benchmark.acting import Acting
from lifelong_gym.benchmark.meeting import met
from lifelong_gym.envs.vector import LifelongVectorEnv
from lifelong_gym.numerics.arrays import BoolArray, FloatArray, IntArray
from lifelong_gym.tasks.task_set import TaskSet
from lifelong_gym.wrappers import AgentBudget, CoreVecEnv, as_vec_env


class Measured(NamedTuple):
    """What the evaluation episodes gave.

    Attributes:
        returns: undiscounted sums of raw rewards, shape (n_tasks, n_episodes); where rows are agents
            (n_tasks, n_agents * n_episodes), the first agent's episodes first.
        failed: share of each task's episodes in which the state left the family's limits, shape (n_tasks,).
        violations: share of each task's steps in which a constraint was violated, shape (n_tasks,); None where there
            are no constraints.
        meeting_steps: environment steps by which each agent recognised each task, shape (n_tasks, n_agents); None where
            nobody does.
    """

    returns: FloatArray
    failed: FloatArray
    violations: FloatArray | None = None
    meeting_steps: IntArray | None = None

    def but(self, tasks: IntArray, others: Sequence[Measured]) -> Measured:
        """The same, but of these tasks, shape (n,), what was measured in each alone."""
        columns = {name: column.copy() for name, column in self._asdict().items() if column is not None}
        for name, column in columns.items():
            column[tasks] = np.concatenate([getattr(other, name) for other in others])
        return Measured(**columns)


@dataclass(frozen=True)
class Evaluation:
    """The same episodes every time: the same starts and noise for all learners and at all times.

    Attributes:
        env_id: of the family.
        tasks: which are evaluated.
        seeds: row seeds of the episodes, shape (n_episodes, n_tasks).
        task_observation: what a learner sees of the task; see `Settings`.
        made_with: further arguments of the envs: the family's own, and those of `Settings`.
        n_agents: rows that act, in one task after another; None: all tasks at once.
        meeting_steps: environment steps that each agent may take to recognise a task, see `Protocol`; 0: none.
    """

    env_id: str
    tasks: TaskSet
    seeds: IntArray
    task_observation: str = "hide"
    made_with: Mapping[str, Any] = field(default_factory=dict)
    n_agents: int | None = None
    meeting_steps: int = 0

    @classmethod
    def of(
        cls,
        env_id: str,
        tasks: TaskSet,
        n_episodes: int,
        seed: int,
        task_observation: str,
        made_with: Mapping[str, Any] | None = None,
        n_agents: int | None = None,
        meeting_steps: int = 0,
    ) -> Evaluation:
        """Of all tasks, with consecutive seeds."""
        seeds = seed + np.arange(n_episodes * len(tasks)).reshape(n_episodes, -1)
        return cls(env_id, tasks, seeds, task_observation, made_with or {}, n_agents, meeting_steps)

    def only(self, task: int) -> Evaluation:
        """The same episodes of one task alone."""
        return replace(self, tasks=self.tasks[[task]], seeds=self.seeds[:, [task]])

    def measure(self, learner: Any) -> Measured:
        """Run the episodes with a learner's deterministic actions.

        ``learner.predict`` gets a batch of observations, of which row i is from task ``i mod n_tasks``, or of agent i,
        all agents then being in one task, in the same episode, which the learner may `meet` before. Generators that the
        learner trains with are left as they were.

        Raises:
            ValueError: actions that don't fit the action space.
            BudgetError: more steps of a meeting than there are.
        """
        with untouched_generators():
            return self._measure(learner)

    def env(self, n_rows: int, **more: Any) -> LifelongVectorEnv:
        """With so many rows, of which the i-th begins in task ``i mod n_tasks``, and perhaps more settings."""
        settings = {"tasks": self.tasks, "task_observation": self.task_observation, **self.made_with, **more}
        return LifelongVectorEnv(self.env_id, n_rows, **settings)

    def _measure(self, learner: Any) -> Measured:
        if self.n_agents is not None:
            return self._measure_agents(learner, self.n_agents)
        env = self.env(self.seeds.size)
        counts = run_episodes(env, learner, self.seeds.reshape(-1).tolist())
        env.close()
        return counts.measured(lambda values: values.reshape(self.seeds.shape).T)

    def _measure_agents(self, learner: Any, n_agents: int) -> Measured:
        env, (n_episodes, n_tasks) = self.env(n_agents), self.seeds.shape
        counts, meetings = [], []
        for task, seeds in enumerate(self.seeds.T.tolist()):
            acting = learner
            if self.meeting_steps and callable(getattr(learner, "meet", None)):
                acting, taken = met(learner, self._rooms(task, n_agents))
                meetings.append(taken)
            counts += [run_episodes(env, acting, [seed] * n_agents, {"task": task}) for seed in seeds]
        env.close()

        def of_tasks(columns: Any) -> Any:
            return np.array(columns).reshape(n_tasks, n_episodes, n_agents).swapaxes(1, 2).reshape(n_tasks, -1)

        together: dict[str, Any] = {name: [getattr(count, name) for count in counts] for name in Counts._fields}
        measured = Counts(**{name: of for name, of in together.items() if of[0] is not None}).measured(of_tasks)
        return measured._replace(meeting_steps=np.array(meetings)) if meetings else measured

    def _rooms(self, task: int, n_agents: int) -> Iterator[CoreVecEnv]:
        """For each agent a row of its own in this task, with noise that no episode is measured in."""
        alone, first = replace(self, tasks=self.tasks[[task]]), int(self.seeds[0, task])
        for agent in range(n_agents):
            env: Any = as_vec_env(alone.env(1, schedule={"rounds": "uniform"}))
            env.budget = AgentBudget(env.core, 1, self.meeting_steps)
            env.seed(int(np.random.SeedSequence([first, agent]).generate_state(1)[0]))
            yield env


class Counts(NamedTuple):
    """Of an episode a row, each of shape (n_rows,).

    Attributes:
        returns: sums of raw rewards.
        failed: whether the state left the family's limits.
        steps: how many there were.
        violations: those of them in which a constraint was violated.
    """

    returns: FloatArray
    failed: BoolArray
    steps: IntArray
    violations: IntArray | None = None

    def measured(self, of_tasks: Callable[[Any], Any]) -> Measured:
        """By task; ``of_tasks`` makes (n_tasks, n_episodes) of what is counted."""
        failed = of_tasks(self.failed).mean(axis=1)
        if self.violations is None:
            return Measured(of_tasks(self.returns), failed)
        shares = of_tasks(self.violations).sum(axis=1) / of_tasks(self.steps).sum(axis=1)
        return Measured(of_tasks(self.returns), failed, shares)


def run_episodes(
    env: LifelongVectorEnv, learner: Any, seeds: Sequence[int], options: dict[str, Any] | None = None
) -> Counts:
    """An episode in each row, with a learner's deterministic actions.

    Args:
        env: the rows.
        learner: has ``predict``.
        seeds: of the rows.
        options: of the reset.
    """
    observations, _ = env.reset(seed=list(seeds), options=options)
    act, n_rows = Acting(learner), env.num_envs
    returns, running, failed = np.zeros(n_rows), np.ones(n_rows, bool), np.zeros(n_rows, bool)
    steps, violations = np.zeros((2, n_rows), np.int64)
    while running.any():
        observations, rewards, terminated, truncated, infos = env.step(act(observations))
        returns += np.where(running, rewards, 0.0)
        failed |= running & infos["failed"]
        steps += running
        if env.core.safety is not None:
            violations += running & infos["constraint_violation"]
        running &= ~(terminated | truncated)
    return Counts(returns, failed, steps, None if env.core.safety is None else violations)


@contextmanager
def untouched_generators() -> Iterator[None]:
    """Restore the global generators of Python, NumPy and torch afterwards."""
    states = random.getstate(), np.random.get_state(), th.get_rng_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        th.set_rng_state(states[2])
