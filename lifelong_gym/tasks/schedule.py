"""The order in which a row meets its tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lifelong_gym.errors import floats, integer, one_of, unknown
from lifelong_gym.numerics import numpy_math, philox
from lifelong_gym.numerics.arrays import FloatArray, IntArray

Keys = Any  # uint64 array of shape (n_rows, 2): the halves of each row's Philox key
ScheduleSpec = str | Mapping[str, Any] | Sequence[int] | None

NAMES = ("sequential", "random")
ROUNDS = ("uniform", "permutation")
FORMS = ('{"blocked": k}', '{"rounds": ...}', '{"weights": [...]}')
CHUNK = 2**18  # numbers that are permuted at once


def in_rounds(spec: Any) -> bool:
    """Whether rows are agents: each stays in its task until it is told to go on."""
    return isinstance(spec, Mapping) and set(spec) == {"rounds"}


def rows_are_agents(spec: Any) -> bool:
    """Whether rows go their own ways, so that none stands for a task, and there may be as many as one likes."""
    return in_rounds(spec) or (isinstance(spec, Mapping) and set(spec) == {"weights"})


class Schedule:
    """Which task a row runs in its k-th episode or, ``in_rounds``, in its k-th round.

    Args:
        spec: None: row i of R runs task ``(i + k R) mod n_tasks``; ``"sequential"``: every row runs tasks
            0, 1, 2, ...; ``"random"``: each row draws its tasks from a stream of its own, keyed by its seed;
            ``{"blocked": b}``: b episodes in each task, then the next; a list of task indices, run in a circle;
            ``{"weights": [...]}``: as ``"random"``, with probabilities in proportion to these, one a task;
            ``{"rounds": "uniform"}``: each row draws a task a round, as ``"random"`` does an episode;
            ``{"rounds": "permutation"}``: each row runs through all tasks in an order of its own, then in another one.
        n_tasks: size of the task set.
        n_rows: number of rows R.
        among: with ``spec=None``: row i of R runs task ``among[(i + k R) mod len(among)]``.

    Raises:
        ValueError: unknown name, an empty list, a task index out of range, or weights that aren't finite and at least
            0, one a task, or that sum to nothing.
    """

    def __init__(
        self,
        spec: ScheduleSpec,
        n_tasks: int,
        n_rows: int,
        among: Sequence[int] | IntArray | None = None,
    ) -> None:
        """See the class."""
        self._among = np.arange(n_tasks) if among is None else _task_list("among", among, n_tasks)
        self._n_tasks = n_tasks
        self._n_rows = n_rows
        self._block = 1
        self._list: IntArray | None = None
        self._weights: FloatArray | None = None  # as they are given, and as probabilities
        self._probabilities = np.empty(0)
        self._kind = "rows"
        self.in_rounds = in_rounds(spec)
        if isinstance(spec, str):
            if spec not in NAMES:
                raise unknown("schedule", spec, [*NAMES, *FORMS, "a list of tasks"])
            self._kind = spec
        elif isinstance(spec, Mapping):
            self._take(dict(spec))
        elif spec is not None:
            self._kind, self._list = "sequential", _task_list("schedule", spec, n_tasks)

    def _take(self, spec: dict[Any, Any]) -> None:
        if self.in_rounds:
            rounds = one_of("rounds", spec["rounds"], ROUNDS)
            self._kind = "random" if rounds == "uniform" else rounds
        elif set(spec) == {"blocked"}:
            self._kind, self._block = "sequential", integer("blocked", spec["blocked"])
        elif set(spec) == {"weights"}:
            self._kind, self._weights = "weights", task_weights(spec["weights"], self._n_tasks)
            scaled = self._weights / self._weights.max()  # their sum may be beyond what a float holds
            self._probabilities = scaled / scaled.sum()
        else:
            raise ValueError(f"`schedule` must be {', '.join(FORMS[:-1])} or {FORMS[-1]}. Received {spec}")

    @property
    def weights(self) -> FloatArray | None:
        """Weights of the tasks as they were given, shape (n_tasks,), where they are drawn by them; else None."""
        return self._weights

    @property
    def among(self) -> IntArray:
        """The tasks that rows take turns in where no schedule is given."""
        return self._among

    @property
    def present(self) -> IntArray:
        """The tasks that come up, in increasing order."""
        if self._weights is not None:
            return np.flatnonzero(self._probabilities)
        return np.unique(self._among if self._list is None else self._list)

    def task(self, rows: IntArray, positions: IntArray, keys: Keys) -> IntArray:
        """Task indices for the given rows in their k-th episodes or rounds, shape of ``rows``."""
        if self._kind == "rows":
            return self._among[(rows + positions * self._n_rows) % len(self._among)]
        if self._kind == "permutation":
            return self._permuted(positions, keys[rows])
        if self._kind in ("random", "weights"):
            u, _ = numpy_math.uniform_pair(positions, 0, 0, philox.SCHEDULE, keys[rows, 0], keys[rows, 1])
            return self._drawn(u)
        position = positions // self._block
        if self._list is not None:
            return self._list[position % len(self._list)]
        return position % self._n_tasks

    def _drawn(self, u: FloatArray) -> IntArray:
        if self._weights is None:
            return np.floor(u * self._n_tasks).astype(np.int64)
        below = np.cumsum(self._probabilities)
        below[np.flatnonzero(self._probabilities)[-1] :] = 1.0  # whatever rounding says
        return np.searchsorted(below, u, side="right").astype(np.int64)

    def _permuted(self, positions: IntArray, keys: Keys) -> IntArray:
        """Each row sorts the tasks by numbers that it draws once a pass."""
        tasks, chosen = np.arange(self._n_tasks), np.empty(len(positions), np.int64)
        width = max(1, CHUNK // self._n_tasks)
        for first in range(0, len(positions), width):
            part = slice(first, first + width)
            passes, places = np.divmod(positions[part, None], self._n_tasks)
            key = keys[part, :1], keys[part, 1:]
            u, _ = numpy_math.uniform_pair(tasks[None], passes, 0, philox.SCHEDULE + 1, *key)
            order = np.argsort(u, axis=1, kind="stable")
            chosen[part] = np.take_along_axis(order, places, axis=1)[:, 0]
        return chosen


def task_weights(weights: Any, n_tasks: int) -> FloatArray:
    """Weights of tasks, shape (n_tasks,).

    Raises:
        ValueError: not one a task, one that is negative or not finite, or all are 0.
    """
    try:
        given = floats("weights", weights)
    except ValueError:
        given = np.empty(0)
    if given.shape != (n_tasks,) or not np.isfinite(given).all() or (given < 0).any() or not given.any():
        raise ValueError(
            f"`weights` must be {n_tasks} finite numbers of at least 0, one a task, not all of them 0. "
            f"Received {weights!r}"
        )
    return given.copy()


def _task_list(name: str, spec: Sequence[int] | IntArray, n_tasks: int) -> IntArray:
    try:
        tasks = np.asarray(spec)
    except ValueError:  # lists of different lengths
        raise ValueError(f"`{name}` must be a non-empty list of task indices. Received {spec!r}") from None
    if tasks.ndim != 1 or len(tasks) == 0 or not np.issubdtype(tasks.dtype, np.integer):
        raise ValueError(f"`{name}` must be a non-empty list of task indices. Received {spec!r}")
    if tasks.min() < 0 or tasks.max() >= n_tasks:
        raise ValueError(f"`{name}` must name tasks in [0, {n_tasks - 1}]. Received {tasks.min()} to {tasks.max()}")
    return tasks.astype(np.int64)
