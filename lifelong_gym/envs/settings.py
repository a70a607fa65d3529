"""The arguments that all interfaces share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lifelong_gym.envs.family import Family
from lifelong_gym.errors import flag, integer
from lifelong_gym.tasks.parameters import Value
from lifelong_gym.tasks.schedule import ScheduleSpec, in_rounds
from lifelong_gym.tasks.task_set import TaskSet

DEFAULT_N_TASKS = 10


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The arguments that all interfaces share.

    Attributes:
        tasks: a `TaskSet`, its JSON form, or dicts of parameters (what is left out is nominal); None: drawn.
        n_tasks: number of tasks to draw; default 10.
        task_seed: seed of that draw.
        preset: what to draw from; default ``"default"``.
        schedule: see `Schedule`.
        task_observation: ``"hide"``; ``"append"``: parameters scaled by their bounds to [0, 1], names one-hot;
            ``"standardised"``: each less its mean, over its deviation, in 1,024 draws of the tasks' preset
            (``"default"`` where they were given), ``"standardised:PRESET"``: of that one; or ``"one_hot"``.
        hide_task_id: leave ``task_id`` out of the infos and ``tasks`` out of the attributes; `HiddenTasks` keeps a
            learner from all the rest. None: only where rows are agents, under ``{"rounds": ...}``.
        reward: name of the family's reward; default: the preset's, or else the family's first.
        physics: ``"kernel"``, the family's own way, or one of its simulators.
        terminate_on_failure: end the episode at a failure rather than freeze it at a constant cost.
        horizon: steps after which an episode is truncated; default: the family's.
        backend: ``"numba"``, ``"numpy"`` or ``"python"``; the results are the same to the bit. Where the environment
            variable ``NUMBA_DISABLE_JIT`` turns numba's compiler off, ``"numba"`` steps in Python.
        constraints: largest magnitude by name of a state's or action's channel, or ``<action>_change`` for a change
            of action from step to step, such as ``{"angle": 0.2, "force": 1.5}``. Infos then hold
            ``constraint_values``, ``|x| - limit`` of each in this order, float64, and ``constraint_violation``, whether
            one is positive; `Core.safety` counts. None: nothing is evaluated.

    Raises:
        ValueError: a flag that isn't one, or a seed that isn't an integer from 0 on.
    """

    tasks: TaskSet | Mapping[str, Any] | Iterable[Mapping[str, Value]] | None = None
    n_tasks: int | None = None
    task_seed: int = 0
    preset: str | None = None
    schedule: ScheduleSpec = None
    task_observation: str = "hide"
    hide_task_id: bool | None = None
    reward: str | None = None
    physics: str = "kernel"
    terminate_on_failure: bool = False
    horizon: int | None = None
    backend: str = "numba"
    constraints: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        if self.hide_task_id is None:
            object.__setattr__(self, "hide_task_id", in_rounds(self.schedule))
        for name in ("hide_task_id", "terminate_on_failure"):
            object.__setattr__(self, name, flag(name, getattr(self, name)))
        integer("task_seed", self.task_seed, 0, most=None)

    def task_set(self, family: Family) -> TaskSet:
        """The tasks these settings name."""
        if self.tasks is None:
            n_tasks = DEFAULT_N_TASKS if self.n_tasks is None else self.n_tasks
            return family.parameters.sample(n_tasks, self.task_seed, "default" if self.preset is None else self.preset)
        if self.n_tasks is not None or self.preset is not None:
            raise ValueError("`tasks` can't be combined with `n_tasks` or `preset`: they say how to draw tasks")
        return TaskSet.of(family.parameters, self.tasks)
