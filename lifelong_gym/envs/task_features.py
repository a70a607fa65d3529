"""What an observation says of the task: numbers behind the family's own, and the bounds that they keep."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lifelong_gym.envs.family import Family
from lifelong_gym.errors import one_of
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.tasks.parameter_space import ParameterSpace
from lifelong_gym.tasks.task_set import TaskSet

HIDE, APPEND, STANDARDISED, ONE_HOT = "hide", "append", "standardised", "one_hot"
TASK_OBSERVATIONS = (HIDE, APPEND, STANDARDISED, ONE_HOT)
N_DRAWS, DRAW_SEED = 1024, 0  # of a preset, to learn its scale

Features = npt.NDArray[np.float32]


class TaskFeatures(NamedTuple):
    """Numbers behind an observation's own.

    Attributes:
        values: of each task, shape (n_tasks, n_features).
        low: smallest that a task of the family may have, shape (n_features,).
        high: largest.
    """

    values: Features
    low: Features
    high: Features

    @property
    def width(self) -> int:
        """Number of features."""
        return self.values.shape[1]

    @classmethod
    def of(cls, family: Family, tasks: TaskSet, task_observation: Any) -> TaskFeatures:
        """What ``task_observation`` of `Settings` shows of these tasks.

        Raises:
            ValueError: no such kind or preset, observations that aren't vectors, or bounds that "append" can't use.
        """
        kind, preset = kind_and_preset(task_observation)
        if kind == HIDE:
            return _within_unit(np.zeros((len(tasks), 0)))
        if not family.observations.is_vector:
            of = type(family.observations).__name__
            raise ValueError(f'`task_observation` must be "hide" where observations are {of}. Received {kind!r}')
        if kind == ONE_HOT:
            return _within_unit(np.eye(len(tasks)))
        if kind == STANDARDISED:
            return _standardised(family.parameters, tasks, preset)
        try:
            return _within_unit(family.parameters.scaled(tasks.values))
        except ValueError as error:
            raise ValueError(f'`task_observation="append"`: {error}') from None


def kind_and_preset(task_observation: Any) -> tuple[str, str | None]:
    """What is shown, and of ``"standardised:PRESET"`` whose scale.

    >>> kind_and_preset("standardised:hetero"), kind_and_preset("append")
    (('standardised', 'hetero'), ('append', None))

    Raises:
        ValueError: no such kind.
    """
    if isinstance(task_observation, str) and task_observation.startswith(f"{STANDARDISED}:"):
        return STANDARDISED, task_observation.partition(":")[2]
    return one_of("task_observation", task_observation, TASK_OBSERVATIONS), None


def on_scale_of(task_observation: str, preset: str) -> str:
    """The same, with the scale of a preset where it would be that of the tasks that are shown."""
    return f"{STANDARDISED}:{preset}" if task_observation == STANDARDISED else task_observation


def _within_unit(values: FloatArray) -> TaskFeatures:
    """Features in [0, 1]."""
    low, high = np.zeros(values.shape[1], np.float32), np.ones(values.shape[1], np.float32)
    return TaskFeatures(values.astype(np.float32), low, high)


def _standardised(space: ParameterSpace, tasks: TaskSet, preset: str | None) -> TaskFeatures:
    """Parameters less their mean, over their deviation, in what a preset draws; default: that of the tasks.

    What the preset always draws alike is left in its unit: the deviation counts as 1.
    """
    if preset is None:
        preset = "default" if tasks.preset is None else tasks.preset
    drawn = space.sample(N_DRAWS, DRAW_SEED, preset).values
    varies = np.ptp(drawn, axis=0) > 0  # rounding makes means and deviations of equal numbers others
    mean = np.where(varies, drawn.mean(axis=0), drawn[0])
    deviation = np.where(varies, drawn.std(axis=0), 1.0)

    def features(values: FloatArray) -> Features:
        with np.errstate(over="ignore"):  # bounds beyond float32 are infinite there
            return space.expanded((values - mean) / deviation, values).astype(np.float32)

    low, high = (features(bound[None])[0] for bound in space.bounds)
    names = space.of_names
    return TaskFeatures(features(tasks.values), np.where(names, 0, low), np.where(names, 1, high))
