"""The order in which a row meets its tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lifelong_gym.errors import integer, unknown
from lifelong_gym.numerics import numpy_math, philox
from lifelong_gym.numerics.arrays import IntArray

Keys = Any  # uint64 array of shape (n_rows, 2): the halves of each row's Philox key
NAMES = ("sequential", "random")


class Schedule:
    """Which task a row runs in its k-th episode.

    Args:
        spec: None: row i of R runs task ``(i + k R) mod n_tasks``; ``"sequential"``: every row runs tasks
            0, 1, 2, ...; ``"random"``: each row draws its tasks from a stream of its own, keyed by its seed;
            ``{"blocked": b}``: b episodes in each task, then the next; a list of task indices, run in a circle.
        n_tasks: size of the task set.
        n_rows: number of rows R.
        among: with ``spec=None``: row i of R runs task ``among[(i + k R) mod len(among)]``.

    Raises:
        ValueError: unknown name, an empty list, or a task index out of range.
    """

    def __init__(
        self,
        spec: str | Mapping[str, int] | Sequence[int] | None,
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
        self._kind = "rows"
        if isinstance(spec, str):
            if spec not in NAMES:
                raise unknown("schedule", spec, [*NAMES, '{"blocked": k}', "a list of tasks"])
            self._kind = spec
        elif isinstance(spec, Mapping):
            if set(spec) != {"blocked"}:
                raise ValueError(f'`schedule` must be {{"blocked": k}}. Received {dict(spec)}')
            self._kind, self._block = "sequential", integer("blocked", spec["blocked"])
        elif spec is not None:
            self._kind, self._list = "sequential", _task_list("schedule", spec, n_tasks)

    @property
    def present(self) -> IntArray:
        """The tasks that come up, in increasing order."""
        return np.unique(self._among if self._list is None else self._list)

    def task(self, rows: IntArray, episodes: IntArray, keys: Keys) -> IntArray:
        """Task indices for the given rows in their k-th episodes, shape of ``rows``."""
        if self._kind == "rows":
            return self._among[(rows + episodes * self._n_rows) % len(self._among)]
        if self._kind == "random":
            u, _ = numpy_math.uniform_pair(episodes, 0, 0, philox.SCHEDULE, keys[rows, 0], keys[rows, 1])
            return np.floor(u * self._n_tasks).astype(np.int64)
        position = episodes // self._block
        if self._list is not None:
            return self._list[position % len(self._list)]
        return position % self._n_tasks


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
