"""The protocols: what is trained on in which order, with which budget, and when that is evaluated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from lifelong_gym.benchmark.referee import Plan
from lifelong_gym.errors import integer, one_of, unknown
from lifelong_gym.tasks.schedule import ROUNDS as MEETINGS
from lifelong_gym.wrappers import Stage

GENERALISE, ROUNDS = "generalise", "rounds"
TOGETHER = ("multi_task", "distributed", GENERALISE, ROUNDS)  # all tasks in one stage, a row each
EVALUATION_SEED = 1_000_000  # far from the seeds that runs are trained with


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """Tasks in some order, a budget, and evaluations.

    ``multi_task``: all tasks at once. ``lifelong``: one after another, in an order drawn by the run's seed; all are
    evaluated all the time. ``transfer``: all but one at once, then that one, which the run's seed draws.
    ``distributed``: all at once, each task with an agent of its own; agents reach each other through a channel that
    counts (see `ParameterSharing`). ``generalise``: all at once; also evaluated in further sets of tasks, which the
    family names. ``rounds``: agents that know no tasks draw one each, a round after the other; all are evaluated in all
    tasks after every round.

    The budget is counted in episodes of full length, so that it means the same for families of different horizons:
    each task gets ``episodes_per_task`` times the horizon in environment steps, not one more or less; under ``rounds``
    each agent, in equal shares a round.

    Attributes:
        name: one of these.
        episodes_per_task: training episodes, for each task.
        n_evaluations: how many, besides the one before training: of a run, in ``lifelong`` of each task, in
            ``transfer`` of each of the two stages; under ``rounds``, of the rounds.
        n_eval_episodes: a task and evaluation.
        evaluation_seed: of these episodes; the same ones every time.
        shuffle: whether the seed of a run draws its order of tasks; else they come as they are.
        topology: of ``distributed`` and ``rounds``: who reaches whom.
        n_agents: of ``rounds``; default: as many as tasks.
        rounds: of ``rounds``, how agents meet tasks: ``"uniform"`` or ``"permutation"``, see `Schedule`.
        meeting_steps: of ``rounds``: environment steps that each agent may take, before it is evaluated in a task, to
            recognise it, where the learner has a method ``meet``; default: as many as in a round; 0: none.

    Raises:
        ValueError: an unknown name or a number out of range, or rounds that episodes can't be shared out among.
    """

    name: str = "multi_task"
    episodes_per_task: int = 250
    n_evaluations: int = 25
    n_eval_episodes: int = 8
    evaluation_seed: int = EVALUATION_SEED
    shuffle: bool = True
    topology: str = "ring"
    n_agents: int | None = None
    rounds: str = "uniform"
    meeting_steps: int | None = None

    def __post_init__(self) -> None:
        one_of("protocol", self.name, [*PLANS, ROUNDS])
        if not isinstance(self.shuffle, bool):
            raise ValueError(f"`shuffle` must be true or false. Received {self.shuffle!r}")
        for name in ("episodes_per_task", "n_evaluations", "n_eval_episodes"):
            integer(name, getattr(self, name))
        integer("evaluation_seed", self.evaluation_seed, least=0, most=None)
        self._check_rounds()

    def _check_rounds(self) -> None:
        one_of("rounds", self.rounds, MEETINGS)
        if self.n_agents is not None:
            integer("n_agents", self.n_agents)
        if self.meeting_steps is not None:
            integer("meeting_steps", self.meeting_steps, least=0)
        own = (self.n_agents, self.rounds, self.meeting_steps)
        if self.name != ROUNDS and own != (None, "uniform", None):
            names = "`n_agents`, `rounds` and `meeting_steps`"
            raise ValueError(f"{names} belong to the protocol {ROUNDS!r}. Received {self.name!r}")
        if self.name == ROUNDS and self.episodes_per_task % self.n_evaluations:
            raise ValueError(
                f"`n_evaluations`, the number of rounds, must divide `episodes_per_task`, {self.episodes_per_task}. "
                f"Received {self.n_evaluations}"
            )

    @classmethod
    def of(cls, **given: Any) -> Protocol:
        """From keyword arguments; an unknown one raises with a suggestion."""
        known = [field.name for field in fields(cls)]
        for name in given:
            if name not in known:
                raise unknown("key", name, known)
        return cls(**given)

    def order(self, n_tasks: int, seed: int) -> list[int]:
        """The order of the tasks in the run of this seed."""
        if not self.shuffle or self.name in TOGETHER:
            return list(range(n_tasks))
        return [int(task) for task in np.random.default_rng([seed, n_tasks]).permutation(n_tasks)]

    def n_rows(self, n_tasks: int) -> int:
        """Rows of the training env: one a task, or where rows share one, as many up to that as divide its episodes.

        Under ``rounds`` one an agent.
        """
        if self.name == ROUNDS:
            return self.n_agents or n_tasks
        if self.name in TOGETHER:
            return n_tasks
        return max(n for n in range(1, n_tasks + 1) if self.episodes_per_task % n == 0)

    def plan(self, n_tasks: int, horizon: int, seed: int) -> Plan:
        """Stages and evaluations of a run.

        Raises:
            ValueError: fewer tasks than the protocol needs, or fewer steps in a stage than evaluations.
        """
        if self.name == "transfer" and n_tasks < 2:
            raise ValueError(f"protocol `transfer` needs at least 2 tasks. Received {n_tasks}")
        if self.name == ROUNDS:
            everybody = tuple(range(self.n_rows(n_tasks)))
            stage = Stage(everybody, self._steps_of_round(horizon))
            return Plan((stage,) * self.n_evaluations, 1, in_rounds=True)
        order = tuple(self.order(n_tasks, seed))
        return Plan(PLANS[self.name](order, self.episodes_per_task * horizon), self.n_evaluations)

    def _steps_of_round(self, horizon: int) -> int:
        """Of each agent."""
        return self.episodes_per_task // self.n_evaluations * horizon

    def steps_of_meetings(self, horizon: int) -> int:
        """That each agent may take to recognise a task, under ``rounds``."""
        return self._steps_of_round(horizon) if self.meeting_steps is None else self.meeting_steps

    def plan_alone(self, horizon: int) -> Plan:
        """Of a learner that has one task for itself."""
        return Plan(all_at_once((0,), self.episodes_per_task * horizon), self.n_evaluations)

    @property
    def settings(self) -> dict[str, Any]:
        """All that a file says of it, defaults too, JSON-native; of rounds only where there are any."""
        given = {name: value for name, value in asdict(self).items() if value is not None}
        return given if self.name == ROUNDS else {name: given[name] for name in given if name != "rounds"}

    def to_dict(self, n_tasks: int, horizon: int, seed: int) -> dict[str, Any]:
        """What a run file says of it, JSON-native."""
        plan = self.plan(n_tasks, horizon, seed)
        agents = {}
        if self.name == ROUNDS:
            agents = {"n_agents": self.n_rows(n_tasks), "meeting_steps": self.steps_of_meetings(horizon)}
        order = self.order(n_tasks, seed)
        return {**self.settings, **agents, "order": order, "total_timesteps": plan.total_timesteps}


Order = tuple[int, ...]


def all_at_once(order: Order, timesteps: int) -> tuple[Stage, ...]:
    """A single stage."""
    return (Stage(order, timesteps),)


def one_after_another(order: Order, timesteps: int) -> tuple[Stage, ...]:
    """A stage a task."""
    return tuple(Stage((task,), timesteps) for task in order)


def all_but_one_then_that(order: Order, timesteps: int) -> tuple[Stage, ...]:
    """Two stages; the last task in order is the novel one."""
    *known, novel = order
    return Stage(tuple(known), timesteps), Stage((novel,), timesteps)


PLANS: dict[str, Callable[[Order, int], tuple[Stage, ...]]] = {
    "multi_task": all_at_once,
    "lifelong": one_after_another,
    "transfer": all_but_one_then_that,
    "distributed": all_at_once,
    "generalise": all_at_once,
}
