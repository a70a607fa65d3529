"""The batched state machine over one family: rows, tasks, seeds, schedules, horizon. The only step loop there is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from gymnasium.error import ResetNeeded

from lifelong_gym.envs.backends.making import make_rows
from lifelong_gym.envs.backends.result_memory import ResultMemory
from lifelong_gym.envs.backends.rows import Clock, Episodes, Results
from lifelong_gym.envs.backends.visits import Visits
from lifelong_gym.envs.constraints import SafetySignal
from lifelong_gym.envs.family import Family, reward_name
from lifelong_gym.envs.settings import Settings
from lifelong_gym.envs.tally import StateTally
from lifelong_gym.envs.task_features import TaskFeatures
from lifelong_gym.errors import INT64, FamilyError, floats, integer, unknown
from lifelong_gym.numerics.arrays import BoolArray, FloatArray, IntArray
from lifelong_gym.numerics.states import Change, State, StateReader, together
from lifelong_gym.tasks.walk import Walk


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
        tally: what infos tell of states; None where the family has nothing ``tallied``.
    """

    def __init__(self, family: Family, n_rows: int, settings: Settings) -> None:
        """Check the settings and allocate the rows; no episode has begun."""
        self.family = family
        self.n_rows = integer("num_envs", n_rows)
        self.tasks = settings.task_set(family)
        self.safety = self._safety_signal(settings.constraints)
        self.tally = StateTally(family, self.n_rows) if family.tallied else None
        constraints = None if self.safety is None else dict(self.safety.constraints)
        self.settings = replace(settings, tasks=self.tasks, n_tasks=None, preset=None, constraints=constraints)
        asked = family.horizon if settings.horizon is None else settings.horizon
        horizon = integer("horizon", asked, most=family.longest or INT64)
        self.clock = Clock(n_rows, horizon)
        self.terminate_on_failure = settings.terminate_on_failure
        self.reward = reward_name(family, self.tasks.preset, settings.reward)
        self._features = TaskFeatures.of(family, self.tasks, settings.task_observation)
        self.single_action_space = family.actions.space
        self.single_observation_space = self._observation_space()
        self.walk = Walk(settings.schedule, len(self.tasks), n_rows)
        self._n_observation = family.observations.size + self._features.width
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
        self._visit = np.zeros(n_rows, np.int64)  # the number and key of each row's episode
        self._keys = np.zeros((n_rows, 2), np.uint64)
        self._everybody = np.arange(n_rows)
        self.memory = ResultMemory()  # of all results

    def _safety_signal(self, constraints: Mapping[str, float] | None) -> SafetySignal | None:
        if constraints is None:
            return None
        return SafetySignal(self.family, constraints, self.n_rows, len(self.tasks))

    def _observation_space(self) -> spaces.Space[Any]:
        observations, features = self.family.observations, self._features
        return observations.with_features(features.low, features.high) if features.width else observations.space

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
        return self.memory.empty((self.n_rows, self._n_observation), self._dtype)

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
        if self.tally is not None:
            self.tally.forget(rows)

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
        self.task_of_row[rows], self._visit[rows], self._keys[rows] = tasks, visits, self.walk.keys[rows]
        self.clock.steps[rows] = 0
        self._rows.restart(self._episodes(rows, states), observations)
        self._add_features(rows, observations)
        if self.safety is not None:
            self.safety.begin(rows, self._rows.states()[rows])
        if self.tally is not None:
            self.tally.begin(rows, self._rows.states()[rows])
        self.begun = True

    def _episodes(self, rows: IntArray, states: FloatArray | None = None) -> Episodes:
        tasks = self.task_of_row[rows]
        return Episodes(rows, tasks, self.tasks.uids[tasks], self._visit[rows], self._keys[rows], states)

    def step(self, actions: FloatArray, active: BoolArray) -> tuple[Results, int]:
        """Advance the active rows; an episode's end begins nothing.

        The others show their last observation, reward 0 and no end.

        Args:
            actions: checked by `check_actions`, shape (n_rows, n_action).
            active: shape (n_rows,).

        Returns:
            The results, in arrays of their own, and how many rows ended.
        """
        n = self.n_rows
        flags = (self.memory.empty((n,), bool) for _ in range(3))
        results = Results(self.empty_observations(), self.memory.empty((n,)), *flags)
        n_ended = self._rows.step(actions, active, self.clock, results)
        if np.count_nonzero(active) < n:
            for values in results[1:]:
                values[~active] = 0
        if self._features.width:
            self._add_features(self._everybody, results.observations)
        if self.safety is not None:
            self.safety.step(self._rows.states(), actions, active, self.task_of_row)
        if self.tally is not None:
            self.tally.step(self._rows.states())
        return results, n_ended

    @property
    def step_one(self) -> Callable[..., tuple[bool, float, bool, bool, bool]] | None:
        """The latency path of a single row on numba, if there is one; see `NumbaRows.step_one`."""
        if self.n_rows > 1 or self._features.width:
            return None
        if self.family.actions.valid is None or not self.family.observations.is_vector:
            return None
        if self.safety is not None or self.tally is not None:  # its cost is several times what is saved here
            return None
        return getattr(self._rows, "step_one", None)

    def check_action(self, action: Any) -> npt.NDArray[Any]:
        """See `ActionCodec.check_shape`."""
        return self.family.actions.check_shape(action)

    def check_actions(self, actions: Any, n: int) -> FloatArray:
        """See `ActionCodec.check`."""
        return self.family.actions.check(actions, n)

    def _add_features(self, rows: IntArray, observations: npt.NDArray[Any]) -> None:
        if self._features.width:
            observations[rows, self.family.observations.size :] = self._features.values[self.task_of_row[rows]]

    def states(self) -> FloatArray:
        """Physical states, a copy of shape (n_rows, n_state)."""
        if not self.family.state:
            raise FamilyError(f"{type(self.family).__name__} has no physical state to look at")
        if not self.begun:
            raise ResetNeeded("there is no state before the first episode: call `reset` first")
        return self._rows.states()

    def picture(self, row: int) -> npt.NDArray[np.uint8] | None:
        """What a row's simulator shows of itself, shape (height, width, 3); None where it shows nothing."""
        if not self.begun:
            raise ResetNeeded("there is no picture before the first episode: call `reset` first")
        look: Callable[[int], npt.NDArray[np.uint8] | None] | None = getattr(self._rows, "picture", None)
        return None if look is None else look(row)

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

    def state_dict(self) -> State:
        """All that the rows' future depends on, within episodes too; see `states`.

        Raises:
            FamilyError: a simulator's snapshot holds something that files of arrays and JSON don't.
        """
        return {
            "made_of": self._made_of(),
            "walk": self.walk.state_dict(),
            "visits": self._visits.state_dict(),
            "safety": None if self.safety is None else self.safety.state_dict(),
            "steps": self.clock.steps.copy(),
            "tasks": self.task_of_row.copy(),
            "visit": self._visit.copy(),
            "keys": self._keys.copy(),
            "rows": self._rows.state_dict() if self.begun else None,
            **({} if self.tally is None else {"tally": self.tally.state_dict()}),
        }

    def _made_of(self) -> dict[str, Any]:
        constraints = self.settings.constraints
        return {
            "family": type(self.family).__name__,
            "arguments": dict(self.family.argument_values),
            "tasks": self.tasks.hash,
            "n_rows": self.n_rows,
            "physics": self.settings.physics,
            "reward": self.reward,
            "horizon": self.horizon,
            "terminate_on_failure": self.terminate_on_failure,
            "constraints": None if constraints is None else dict(constraints),
        }

    def read(self, state: Any, name: str = "state") -> StateReader:
        """A reader of a `state_dict`; raises `CheckpointError` unless it is of such rows and has all its parts."""
        parts = "made_of", "walk", "visits", "safety", "steps", "tasks", "visit", "keys", "rows"
        reader = StateReader(state, name, parts if self.tally is None else (*parts, "tally"))
        reader.same("made_of", self._made_of())
        return reader

    def loading(self, state: Any, name: str = "state") -> Change:
        """Check a `state_dict`, of any backend; the function that takes it up.

        Raises:
            CheckpointError: it is of another family, other tasks or settings or another number of rows, or a part is
                missing or doesn't fit.
        """
        reader, n = self.read(state, name), self.n_rows
        changes = [
            part.loading(reader[at], reader.name(at)) for at, part in (("walk", self.walk), ("visits", self._visits))
        ]
        if reader.optional("safety", self.safety is not None):
            assert self.safety is not None
            changes.append(self.safety.loading(reader["safety"], reader.name("safety")))
        if self.tally is not None:
            changes.append(self.tally.loading(reader["tally"], reader.name("tally")))
        steps = reader.numbers("steps", 0, self.horizon, n)
        tasks = reader.numbers("tasks", 0, len(self.tasks) - 1, n)
        visit = reader.numbers("visit", 0, INT64, n)
        keys = reader.array("keys", np.uint64, n, 2)
        begun = reader["rows"] is not None
        if begun:
            episodes = Episodes(self._everybody, tasks, self.tasks.uids[tasks], visit, keys)
            changes.append(self._rows.loading(reader["rows"], reader.name("rows"), episodes, self.empty_observations()))

        def change() -> None:
            self.begun = begun
            self.clock.steps[:], self.task_of_row[:], self._visit, self._keys = steps, tasks, visit, keys

        return together([*changes, change])

    def load_state_dict(self, state: Any) -> None:
        """Go on where a `state_dict` was taken, to the bit; see `loading`, whose errors come before any change."""
        self.loading(state)()

    def close(self) -> None:
        """Release what simulators hold."""
        self._rows.close()
