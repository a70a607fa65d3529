"""The batched state machine over one family: rows, tasks, seeds, schedules, horizon. The only step loop there is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from gymnasium.error import ResetNeeded

from lifelong_gym.envs.backends.making import make_rows
from lifelong_gym.envs.backends.rows import Clock, Episodes, Results
from lifelong_gym.envs.backends.visits import Visits
from lifelong_gym.envs.constraints import SafetySignal
from lifelong_gym.envs.family import Family, reward_name
from lifelong_gym.errors import FamilyError, flag, floats, integer, one_of, unknown
from lifelong_gym.numerics.arrays import BoolArray, FloatArray, IntArray
from lifelong_gym.tasks.parameters import Value
from lifelong_gym.tasks.schedule import ScheduleSpec, in_rounds
from lifelong_gym.tasks.task_set import TaskSet
from lifelong_gym.tasks.walk import Walk

TASK_OBSERVATIONS = ("hide", "append", "one_hot")
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
        task_observation: ``"hide"``, ``"append"`` (parameters scaled to [0, 1], names one-hot) or ``"one_hot"``.
        hide_task_id: leave ``task_id`` out of the infos. None: only where rows are agents, under ``{"rounds": ...}``.
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


def _as_array(value: Any) -> npt.NDArray[Any]:
    try:
        return np.asarray(value)
    except ValueError:  # lists of different lengths: no shape that anybody asks for
        return np.empty(0)


class Core:
    """Rows of one family's tasks.

    Row i has a seed of its own. In its k-th episode it runs the task that the schedule names; the noise of an
    episode depends on the row's seed, the task's uid and the number of the row's earlier visits to that task.

    Attributes:
        family: the task family.
        tasks: the `TaskSet`.
        n_rows: number of rows.
        clock: steps taken in the current episodes, and the horizon.
        reward: name of the reward.
        settings: the arguments this was made from, with the tasks in place of how to draw them.
        begun: whether any episode has begun.
        task_of_row: int64, shape (n_rows,): the task each row is in.
        walk: the rows' way through the tasks.
        safety: evaluates and counts violated constraints; None where there are no constraints.
    """

    def __init__(self, family: Family, n_rows: int, settings: Settings) -> None:
        """Check the settings and allocate the rows; no episode has begun."""
        self.family = family
        self.n_rows = integer("num_envs", n_rows)
        self.tasks = settings.task_set(family)
        self.safety = self._safety_signal(settings.constraints)
        constraints = None if self.safety is None else dict(self.safety.constraints)
        self.settings = replace(settings, tasks=self.tasks, n_tasks=None, preset=None, constraints=constraints)
        horizon = family.horizon if settings.horizon is None else integer("horizon", settings.horizon)
        self.clock = Clock(n_rows, horizon)
        self.terminate_on_failure = settings.terminate_on_failure
        self.reward = reward_name(family, self.tasks.preset, settings.reward)
        self._features = self._task_features()
        self.single_action_space = family.actions.space
        self.single_observation_space = self._observation_space()
        self.walk = Walk(settings.schedule, len(self.tasks), n_rows)
        self._n_observation = family.observations.size + self._features.shape[1]
        self._dtype = family.observations.dtype
        self._rows = make_rows(
            settings.physics,
            settings.backend,
            self.n_rows,
            family,
            self.tasks,
            self.reward,
            settings.terminate_on_failure,
        )
        self._visits = Visits(n_rows, len(self.tasks))
        self.begun = False
        self.task_of_row = np.zeros(n_rows, np.int64)
        self._everybody = np.arange(n_rows)

    def _safety_signal(self, constraints: Mapping[str, float] | None) -> SafetySignal | None:
        if constraints is None:
            return None
        return SafetySignal(self.family, constraints, self.n_rows, len(self.tasks))

    def _task_features(self) -> npt.NDArray[np.float32]:
        kind = one_of("task_observation", self.settings.task_observation, TASK_OBSERVATIONS)
        if kind == "hide":
            return np.zeros((len(self.tasks), 0), np.float32)
        if not self.family.observations.is_vector:
            of = type(self.family.observations).__name__
            raise ValueError(f'`task_observation` must be "hide" where observations are {of}. Received {kind!r}')
        if kind == "one_hot":
            return np.eye(len(self.tasks), dtype=np.float32)
        try:
            return self.family.parameters.scaled(self.tasks.values).astype(np.float32)
        except ValueError as error:
            raise ValueError(f'`task_observation="append"`: {error}') from None

    def _observation_space(self) -> spaces.Space[Any]:
        observations, width = self.family.observations, self._features.shape[1]
        return observations.with_features(width) if width else observations.space

    @property
    def horizon(self) -> int:
        """Steps after which an episode is truncated."""
        return self.clock.horizon

    @property
    def present(self) -> IntArray:
        """The tasks that the schedule brings, in increasing order."""
        return self.walk.present

    @property
    def n_violations(self) -> IntArray:
        """Steps since the rows were made in which a constraint was violated, per task, a copy of shape (n_tasks,).

        Raises:
            ValueError: there are no constraints.
        """
        if self.safety is None:
            raise ValueError("violations are counted where `constraints` are given. Received constraints=None")
        return self.safety.n_violations.copy()

    def admit(self, tasks: Sequence[int] | IntArray) -> None:
        """From their next episodes on, rows run only these: row i of R runs ``tasks[(i + k R) mod n]`` in episode k.

        Raises:
            ValueError: a ``schedule`` was given, which says by itself which tasks come up; no tasks, or an index out
                of range. Nothing has changed then.
        """
        self.walk.admit(tasks)

    def next_round(self, rows: Any = None) -> None:
        """Let these rows (indices; None: all) go on to their next tasks when their next episodes begin.

        Each call counts: a row that is told twice before it begins leaves a task out.

        Raises:
            ResetNeeded: no episode has begun.
            ValueError: ``schedule`` isn't ``{"rounds": ...}``, or no such rows; nothing has changed then.
        """
        if self.walk.in_rounds and not self.begun:
            raise ResetNeeded("the first round has not begun: call `reset` first")
        self.walk.next_round(rows)

    def set_weights(self, weights: Any) -> None:
        """From their next episodes on, rows draw tasks with probabilities in proportion to these, shape (n_tasks,).

        Raises:
            ValueError: ``schedule`` isn't ``{"weights": ...}``, or not one weight a task, or one that is negative or
                not finite, or all are 0; nothing has changed then.
        """
        self.walk.set_weights(weights)

    def empty_observations(self) -> npt.NDArray[Any]:
        """Room for everybody's observation, shape (n_rows, n_observation)."""
        return np.empty((self.n_rows, self._n_observation), self._dtype)

    def check_tasks(self, tasks: Any, n: int) -> IntArray | None:
        """Task indices from ``options["task"]``: a number, or one per row; None stays None."""
        if tasks is None:
            return None
        given = _as_array(tasks)
        if given.shape not in ((), (n,)) or not np.issubdtype(given.dtype, np.integer):
            raise ValueError(f"`task` must be an integer, or an array of {n}. Received {tasks!r}")
        for task in given.reshape(-1):
            if not 0 <= task < len(self.tasks):
                raise unknown("task", int(task), [f"0 ... {len(self.tasks) - 1}"])
        return np.broadcast_to(given.astype(np.int64), (n,)).copy()  # numba would compile anew for a read-only array

    def check_states(self, states: Any, n: int) -> FloatArray | None:
        """Start states from ``options["state"]``: one, or one per row; None stays None."""
        if states is None:
            return None
        given = np.atleast_2d(floats("state", states))
        for state in given:
            self.family.check_state(state)
        if len(given) not in (1, n):
            raise ValueError(f"`state` must be one state, or {n}. Received {len(given)}")
        return np.broadcast_to(given, (n, given.shape[1])).copy()

    def seed(self, rows: IntArray, seeds: Iterable[int]) -> None:
        """Give rows new seeds: their schedules and visit counts start afresh; the tasks stay."""
        self.walk.seed(rows, seeds)
        self._visits.forget(rows)

    def scheduled(self, rows: IntArray) -> IntArray:
        """The tasks of these rows' next episodes, shape of ``rows``; the schedule advances."""
        return self.walk.next(rows)

    def begin(
        self,
        rows: IntArray,
        observations: npt.NDArray[Any],
        tasks: IntArray | None = None,
        states: FloatArray | None = None,
        visits: IntArray | None = None,
    ) -> None:
        """Begin the rows' next episodes, writing their first observations.

        Args:
            rows: which rows, shape (n,).
            observations: shape (n_rows, n_observation), written in place.
            tasks: overrides the schedule, which then doesn't advance; shape (n,).
            states: start states, shape (n, n_state).
            visits: earlier visits of each row to its task, shape (n,), as if they had been; default: as counted.
        """
        if tasks is None:
            tasks = self.scheduled(rows)
        visits = self._visits.add(rows, tasks) if visits is None else visits
        self.task_of_row[rows] = tasks
        self.clock.steps[rows] = 0
        self._rows.restart(
            Episodes(rows, tasks, self.tasks.uids[tasks], visits, self.walk.keys[rows], states), observations
        )
        self._add_features(rows, observations)
        if self.safety is not None:
            self.safety.begin(rows, self._rows.states()[rows])
        self.begun = True

    def step(self, actions: FloatArray, active: BoolArray) -> tuple[Results, int]:
        """Advance the active rows; an episode's end begins nothing.

        Args:
            actions: checked by `check_actions`, shape (n_rows, n_action).
            active: shape (n_rows,).

        Returns:
            The results, in arrays of their own, and how many rows ended.
        """
        n = self.n_rows
        results = Results(
            self.empty_observations(), np.empty(n), np.empty(n, bool), np.empty(n, bool), np.empty(n, bool)
        )
        n_ended = self._rows.step(actions, active, self.clock, results)
        if self._features.shape[1]:
            self._add_features(self._everybody, results.observations)
        if self.safety is not None:
            self.safety.step(self._rows.states(), actions, active, self.task_of_row)
        return results, n_ended

    @property
    def step_one(self) -> Callable[..., tuple[bool, float, bool, bool, bool]] | None:
        """The latency path of a single row on numba, if there is one; see `NumbaRows.step_one`."""
        if self.n_rows > 1 or self._features.shape[1]:
            return None
        if not (self.family.actions.any_finite and self.family.observations.is_vector):
            return None
        if self.safety is not None:  # its cost is several times what is saved here
            return None
        return getattr(self._rows, "step_one", None)

    def check_action(self, action: Any) -> npt.NDArray[Any]:
        """See `ActionCodec.check_shape`."""
        return self.family.actions.check_shape(action)

    def check_actions(self, actions: Any, n: int) -> FloatArray:
        """See `ActionCodec.check`."""
        return self.family.actions.check(actions, n)

    def _add_features(self, rows: IntArray, observations: npt.NDArray[Any]) -> None:
        if self._features.shape[1]:
            observations[rows, self.family.observations.size :] = self._features[self.task_of_row[rows]]

    def states(self) -> FloatArray:
        """Physical states, a copy of shape (n_rows, n_state)."""
        if not self.family.state:
            raise FamilyError(f"{type(self.family).__name__} has no physical state to look at")
        if not self.begun:
            raise ResetNeeded("there is no state before the first episode: call `reset` first")
        return self._rows.states()

    def set_states(self, states: Any) -> None:
        """Put every row into a physical state, not failed: one for all, or one per row."""
        if not self.begun:
            raise ResetNeeded("there is no state before the first episode: call `reset` first")
        checked = self.check_states(states, self.n_rows)
        assert checked is not None
        for row in range(self.n_rows):
            self._rows.set_state(row, checked[row])

    def observe(self, rows: IntArray, observations: npt.NDArray[Any]) -> None:
        """Write the rows' observations, in place as in `begin`."""
        self._rows.observe(rows, observations)
        self._add_features(rows, observations)

    def close(self) -> None:
        """Release what simulators hold."""
        self._rows.close()
