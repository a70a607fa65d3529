"""So many environment steps for each task: which rows take the next ones, and where they go on when a task has none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lifelong_gym.envs.backends.rows import Results
from lifelong_gym.envs.core import Core
from lifelong_gym.errors import INT64, CheckpointError
from lifelong_gym.numerics.arrays import BoolArray, FloatArray, IntArray
from lifelong_gym.numerics.states import Change, State, StateReader, plain


@dataclass(frozen=True)
class Stage:
    """Tasks that come up together.

    Attributes:
        tasks: which.
        timesteps: environment steps that each of them gets.
    """

    tasks: tuple[int, ...]
    timesteps: int

    @property
    def total_timesteps(self) -> int:
        """Of all its tasks."""
        return len(self.tasks) * self.timesteps


class Budget:
    """Exactly so many environment steps for each task, stage by stage.

    An episode that runs when the steps of its task are spent ends there, truncated; its row goes on in the scheduled
    task, or, where that has no step for it, in the one with most steps left. A row for which there is none idles: it
    isn't stepped, counted or drawn for, and nothing that it shows changes, until it begins another episode. When all
    steps of a stage are spent, the tasks of the next one are admitted.

    Args:
        core: the rows; its tasks are admitted stage by stage.
        stages: one after another.
        taken: steps that each task has taken already, of a run that goes on, shape (n_tasks,); None: none.

    Attributes:
        stage: index of the stage that the next steps belong to; as many as there are when all steps are spent.
        left: steps that each task has left in it, int64, shape (n_tasks,).
        taken: steps that each task has taken in all, int64, shape (n_tasks,).
        running: rows in the middle of an episode, bool, shape (n_rows,); all others idle.

    Raises:
        ValueError: a task out of range, or more steps ``taken`` than the stages hold.
    """

    def __init__(self, core: Core, stages: Sequence[Stage], taken: npt.ArrayLike | None = None) -> None:
        """See the class."""
        self._core, self.stages = core, tuple(stages)
        self.left = np.zeros(self._n_accounts, np.int64)
        self.taken = np.zeros_like(self.left) if taken is None else np.array(taken, np.int64)
        self.running = np.zeros(core.n_rows, bool)
        self.stage = -1
        beyond = self._advance(self.taken)
        if beyond.any():
            raise ValueError(f"`taken` must be steps of the stages. Received {taken!r}, {beyond.tolist()} too many")

    def _advance(self, taken: IntArray) -> IntArray:
        """Go to the first stage with steps left when so many have been taken; what it doesn't hold is returned."""
        while not self.left.any() and self.stage < len(self.stages):
            self.stage += 1
            self.running[:] = False
            if self.is_over:
                break
            stage = self.stages[self.stage]
            self.left[list(stage.tasks)] = stage.timesteps
            self._enter(stage)
            spent = np.minimum(self.left, taken)
            self.left, taken = self.left - spent, taken - spent
        return taken

    @property
    def _n_accounts(self) -> int:
        return len(self._core.tasks)

    @property
    def _accounts(self) -> IntArray:
        """What each row's steps are taken from, shape (n_rows,)."""
        return self._core.task_of_row

    def _enter(self, stage: Stage) -> None:
        self._core.admit(stage.tasks)

    @property
    def is_over(self) -> bool:
        """Whether all steps are spent."""
        return self.stage == len(self.stages)

    @property
    def has_begun(self) -> bool:
        """Whether steps of the present stage have been taken."""
        return not self.is_over and int(self.left.sum()) < self.stages[self.stage].total_timesteps

    @property
    def present(self) -> IntArray:
        """The tasks that have steps left, in increasing order."""
        return np.flatnonzero(self.left)

    def state_dict(self) -> State:
        """What has been taken of which stages, and who is in the middle of an episode."""
        return {
            "stages": plain([asdict(stage) for stage in self.stages]),
            "stage": self.stage,
            "left": self.left.copy(),
            "taken": self.taken.copy(),
            "running": self.running.copy(),
        }

    def loading(self, state: Any, name: str) -> Change:
        """Check a `state_dict`; the function that takes it up. Which tasks are admitted, the core's own state says.

        Raises:
            CheckpointError: it is of other stages, or doesn't fit.
        """
        own = self.state_dict()
        reader = StateReader(state, name, own)
        reader.same("stages", own["stages"])
        stage = reader.integer("stage")
        if stage is None or not 0 <= stage <= len(self.stages):
            raise CheckpointError(f"`{reader.name('stage')}` must be from 0 to {len(self.stages)}. Received {stage}")
        left = reader.numbers("left", 0, INT64, len(self.left))
        taken = reader.numbers("taken", 0, INT64, len(self.taken))
        running = reader.array("running", np.bool_, len(self.running))

        def change() -> None:
            self.stage, self.left, self.taken, self.running = stage, left, taken, running

        return change

    def check_tasks(self, tasks: IntArray | None) -> None:
        """Raise `ValueError` unless these tasks may come up now; None: whatever the schedule says."""
        for task in [] if tasks is None else tasks.tolist():
            if self.left[task] == 0:
                present = np.flatnonzero(self.left).tolist()
                raise ValueError(f"`task` must be one that has steps left, of {present}. Received {task}")

    def check_steps(self, steps: IntArray) -> None:
        """Raise `ValueError` unless each task has so many steps left, shape (n_tasks,)."""
        for task in np.flatnonzero(steps > self.left).tolist():
            raise ValueError(
                f"task {task} has {self.left[task]} steps left (see `episodes_left`). Received {steps[task]}"
            )

    def take(self, steps: IntArray) -> None:
        """Count steps that are about to be taken in each task, shape (n_tasks,).

        Raises:
            ValueError: more than it has left; nothing has changed then.
        """
        self.check_steps(steps)
        self.left -= steps
        self.taken += steps
        self._advance(np.zeros_like(self.left))

    def active(self, rows: IntArray | None = None) -> BoolArray:
        """Of these rows (None: all) those that can take a step, shape (n_rows,).

        In each task these are the first ones, as many as it has steps left.
        """
        active = self.running.copy()
        if rows is not None:
            active[np.setdiff1d(np.arange(len(active)), rows)] = False
        accounts = self._accounts[active]
        if len(accounts) and self.left[accounts].min() < len(accounts):
            active[active] = _first(accounts, self.left)
        return active

    def take_step(self, rows: IntArray | None = None) -> BoolArray:
        """Count a step of every one of these rows (None: all) that can take one; which do, shape (n_rows,)."""
        active = self.active(rows)
        self.take(np.bincount(self._accounts[active], minlength=len(self.left)))
        return active

    def after_step(self, results: Results, active: BoolArray, rows: IntArray) -> int:
        """Write into a step's results who of these rows idled and whose episode ends; returns how many rows ended."""
        idle = np.flatnonzero(~active)
        self._core.observe(rows[~active[rows]], results.observations)
        results.rewards[idle] = 0.0
        for flags in (results.terminated, results.truncated, results.failed):
            flags[idle] = False
        done = results.terminated | results.truncated
        self.running[rows] &= (active & ~done)[rows]
        self.running = self.active()
        results.truncated[:] |= active & ~done & ~self.running
        return int(np.count_nonzero(active & ~self.running))

    def begin(
        self,
        rows: IntArray,
        observations: npt.NDArray[np.float32],
        tasks: IntArray | None = None,
        states: FloatArray | None = None,
        stay: bool = False,
    ) -> None:
        """Begin these rows' next episodes, as `Core.begin` does, as far as there are steps; the others idle.

        Where ``stay``, a row begins in the task that the schedule, or ``tasks``, says or not at all: its steps are not
        taken from tasks that others, who step in turns with it, are in.
        """
        self.running[rows] = False
        free = np.maximum(self.left - np.bincount(self._core.task_of_row[self.running], minlength=len(self.left)), 0)
        wanted = None if not stay else self._core.scheduled(rows) if tasks is None else tasks
        going = np.arange(len(rows)) < int(free.sum()) if wanted is None else _first(wanted, free)
        idle = rows[~going]
        if not self._core.begun and len(idle):  # they have nothing to show yet
            self._core.begin(idle, observations)
        self._core.observe(idle, observations)
        if not going.any():
            return
        if wanted is None:
            said = self._core.scheduled(rows[going]) if tasks is None else tasks[going]
            placed = self._placed(said, free)
        else:
            placed = wanted[going]
        self._core.begin(rows[going], observations, placed, None if states is None else states[going])
        self.running[rows[going]] = True

    def _placed(self, wanted: IntArray, free: IntArray) -> IntArray:
        """The tasks wanted by rows, or where one has no step free, the one with most; so many steps are free."""
        if (np.bincount(wanted, minlength=len(free)) <= free).all():
            return wanted
        placed = wanted.copy()
        for i, task in enumerate(wanted.tolist()):
            placed[i] = task if free[task] else np.argmax(free)
            free[placed[i]] -= 1
        return placed


def _first(tasks: IntArray, left: IntArray) -> BoolArray:
    """Of rows in these tasks, in each the first ones, as many as the task has left."""
    order = np.argsort(tasks, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order)) - np.searchsorted(tasks[order], tasks[order])
    first: BoolArray = rank < left[tasks]
    return first
