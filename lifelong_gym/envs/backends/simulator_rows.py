"""Rows of objects: an external simulator per row, or the kernels on plain Python floats (the reference backend)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from lifelong_gym.envs.backends.kernels import Kernels, bind_family
from lifelong_gym.envs.backends.rows import Clock, Episodes, Results, kernel_state, read_kernel_state
from lifelong_gym.envs.backends.table_views import RowTable, row_tables
from lifelong_gym.envs.backends.text import Program
from lifelong_gym.envs.backends.threads import in_chunks
from lifelong_gym.envs.family import KernelFamily
from lifelong_gym.errors import CheckpointError, FamilyError
from lifelong_gym.numerics import philox
from lifelong_gym.numerics.arrays import BoolArray, FloatArray, IntArray
from lifelong_gym.numerics.bind import Binder
from lifelong_gym.numerics.scalar import Vector, room
from lifelong_gym.numerics.states import Change, State, StateReader, plain
from lifelong_gym.tasks.task_set import TaskSet


@dataclass(frozen=True)
class EpisodeStream:
    """The random numbers of one episode.

    Attributes:
        uid: of the task.
        visit: the row's earlier episodes in that task.
        key: of the row.
    """

    uid: int
    visit: int
    key: tuple[int, int]

    def uniforms(self, n: int, stream: int, step: int = 0) -> Vector:
        """The first ``n`` uniforms in [0, 1) of a stream at one step."""
        draws: Vector = ()
        for pair in range((n + 1) // 2):
            draws += philox.uniform_pair(step, self.uid, self.visit, stream + pair, *self.key)
        return draws[:n]

    def generator(self) -> np.random.Generator:
        """A NumPy generator for a simulator that draws its own noise."""
        words = philox.philox(0, self.uid, self.visit, philox.SIMULATOR, *self.key)
        return np.random.default_rng(words)


class Simulator(Protocol):
    """One task's simulation as an object."""

    state: Vector

    def reset(self, stream: EpisodeStream) -> None:
        """Begin an episode."""
        ...

    def step(self, action: Vector, step: int) -> tuple[float, bool, bool]:
        """Take the ``step``-th action u of the episode: ``(reward, terminated, failed)``."""
        ...

    def observe(self) -> Sequence[float] | npt.NDArray[Any]:
        """The observation, flat and without task features."""
        ...

    def snapshot(self) -> Any:
        """What tells this simulator from a new one of its task, within an episode too; see `states`."""
        ...

    def restore(self, snapshot: Any) -> None:
        """Go on where ``snapshot`` was taken."""
        ...

    def close(self) -> None:
        """Release what is held."""
        ...


class KernelSimulator:
    """A kernel family's task on plain Python floats."""

    def __init__(self, family: KernelFamily, kernels: Kernels, k: Vector, tables: tuple[RowTable, ...] = ()) -> None:
        """Bind one task's constants and tables."""
        self._family = family
        self._kernels = kernels
        self._data = k, tables
        self.failed = False
        self._state: Vector = ()

    @property
    def state(self) -> Vector:
        """The physical state; setting it ends a failure."""
        return self._state

    @state.setter
    def state(self, state: Vector) -> None:
        self._state = state
        self.failed = False

    def reset(self, stream: EpisodeStream) -> None:
        """See `Simulator`."""
        self._stream = stream
        noise = stream.uniforms(self._family.n_initial_noise, philox.INITIAL)
        self.state = self._kernels.initial(noise, *self._data)

    def step(self, action: Vector, step: int) -> tuple[float, bool, bool]:
        """See `Simulator`."""
        kernels = self._kernels
        if kernels.exogenous is None:
            noise = self._stream.uniforms(self._family.n_noise, philox.TRANSITION, step)
        else:
            noise = kernels.exogenous(self._state, *self._data)
        self._state, reward, terminated, self.failed = kernels.advance(
            self._state, action, noise, *self._data, self.failed
        )
        return reward, terminated, self.failed

    def observe(self) -> Sequence[float]:
        """See `Simulator`."""
        if self._kernels.observation is None:
            out: Sequence[float] = room(self._family.observations.size)
            self._kernels.write(self._state, *self._data, out)
            return out
        observation: Vector = self._kernels.observation(self._state, *self._data)
        return observation

    def present(self) -> Vector:
        """1 or 0 per number of an action: who is there now."""
        there: Vector = self._kernels.present(self._state, *self._data)
        return there

    def snapshot(self) -> Any:
        """See `Simulator`."""
        return self._stream, self._state, self.failed

    def restore(self, snapshot: Any) -> None:
        """See `Simulator`."""
        self._stream, self._state, self.failed = snapshot

    def close(self) -> None:
        """Nothing to release."""


def kernel_simulator(
    family: KernelFamily, tasks: TaskSet, reward: str | None, terminate_on_failure: bool
) -> Callable[[int], KernelSimulator]:
    """Makes a `KernelSimulator` for a task index."""
    program = Program.of(family, tasks, reward, terminate_on_failure)
    kernels = bind_family(program.text, Binder({}))

    def make(task: int) -> KernelSimulator:
        slot = int(program.tables.slots[task])
        k = tuple(program.constants[slot].tolist())
        return KernelSimulator(family, kernels, k, row_tables(program.tables, slot))

    return make


def _restored(simulators: Sequence[Simulator], state: Any, name: str) -> list[bool]:
    """Let new simulators go on from the snapshots in a state; for which of them there is one."""
    reader = StateReader(state, name, ["snapshots"])
    snapshots = reader["snapshots"]
    if not isinstance(snapshots, list) or len(snapshots) != len(simulators):
        raise CheckpointError(f"`{reader.name('snapshots')}` must be {len(simulators)} of them. Received {snapshots!r}")
    for row, (simulator, snapshot) in enumerate(zip(simulators, snapshots, strict=True)):
        try:
            if snapshot is not None:
                simulator.restore(plain(snapshot))
        except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
            for each in simulators:
                each.close()
            raise CheckpointError(f"`{reader.name('snapshots')}`: that of row {row} doesn't fit: {error!r}") from error
    return [snapshot is not None for snapshot in snapshots]


class SimulatorRows:
    """One simulator a row, made anew when the row's task changes."""

    def __init__(self, n_rows: int, maker: Callable[..., Callable[[int], Simulator]], *arguments: Any) -> None:
        """``maker(*arguments)(task)`` builds the simulator of a task index."""
        self._maker = maker, arguments
        self._make = maker(*arguments)
        self._simulators: list[Simulator | None] = [None] * n_rows
        self._tasks = np.full(n_rows, -1, np.int64)

    def __getstate__(self) -> dict[str, Any]:
        snapshots = [None if simulator is None else simulator.snapshot() for simulator in self._simulators]
        return {**self.__dict__, "_make": None, "_simulators": snapshots}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        maker, arguments = self._maker
        self._make = maker(*arguments)
        self._simulators = [None] * len(self._tasks)
        for row in np.flatnonzero(self._tasks >= 0).tolist():
            self._simulators[row] = self._make(int(self._tasks[row]))
            self._row(row).restore(state["_simulators"][row])

    def _row(self, row: int) -> Simulator:
        simulator = self._simulators[row]
        assert simulator is not None
        return simulator

    def restart(self, episodes: Episodes, observations: npt.NDArray[Any]) -> None:
        """See `Rows`."""
        for i, (row, task) in enumerate(zip(episodes.rows.tolist(), episodes.tasks.tolist(), strict=True)):
            if self._tasks[row] != task:
                self._release(row)
                self._simulators[row] = self._make(task)
                self._tasks[row] = task
            key = int(episodes.keys[i, 0]), int(episodes.keys[i, 1])
            simulator = self._row(row)
            simulator.reset(EpisodeStream(int(episodes.uids[i]), int(episodes.visits[i]), key))
            if episodes.states is not None:
                simulator.state = tuple(episodes.states[i].tolist())
        self.observe(episodes.rows, observations)

    def step(self, actions: FloatArray, active: BoolArray, clock: Clock, results: Results) -> int:
        """See `Rows`."""
        n_ended = 0
        rows = np.flatnonzero(active).tolist()
        for row, (reward, terminated, failed) in zip(rows, self._stepped(rows, actions, clock), strict=True):
            clock.steps[row] += 1
            truncated = bool(clock.steps[row] >= clock.horizon)
            results.rewards[row], results.failed[row] = reward, failed
            results.terminated[row], results.truncated[row] = terminated, truncated
            n_ended += bool(terminated) or truncated
        self.observe(np.flatnonzero(self._tasks >= 0), results.observations)
        return n_ended

    def _stepped(self, rows: list[int], actions: FloatArray, clock: Clock) -> Iterable[tuple[float, bool, bool]]:
        """Reward, end and failure of each row; threads share those whose simulators say that they may."""

        def one(row: int) -> tuple[float, bool, bool]:
            return self._row(row).step(tuple(actions[row].tolist()), int(clock.steps[row]))

        if len(rows) < 2 or not getattr(self._row(rows[0]), "threads", False):
            return map(one, rows)
        found: list[Any] = [None] * len(rows)

        def some(first: int, last: int) -> int:
            found[first:last] = map(one, rows[first:last])
            return last - first

        in_chunks(some, len(rows), 1, ())
        return found

    def observe(self, rows: IntArray, observations: npt.NDArray[Any]) -> None:
        """See `Rows`."""
        for row in rows.tolist():
            observation = self._row(row).observe()
            observations[row, : len(observation)] = observation

    def states(self) -> FloatArray:
        """See `Rows`."""
        return np.array([self._row(row).state for row in range(len(self._simulators))])

    def picture(self, row: int) -> npt.NDArray[np.uint8] | None:
        """What a row's simulator shows of itself, shape (height, width, 3); None where it shows nothing."""
        look: Callable[[], npt.NDArray[np.uint8] | None] | None = getattr(self._row(row), "picture", None)
        return None if look is None else look()

    def set_state(self, row: int, state: FloatArray) -> None:
        """See `Rows`."""
        self._row(row).state = tuple(state.tolist())

    def state_dict(self) -> State:
        """See `Rows`; of simulators that aren't kernels, their snapshots.

        Raises:
            FamilyError: a snapshot holds something that a file of arrays and JSON doesn't.
        """
        rows = [simulator for simulator in self._simulators if simulator is not None]
        kernels = [simulator for simulator in rows if isinstance(simulator, KernelSimulator)]
        if len(kernels) == len(rows):
            begun, states = self._tasks >= 0, np.zeros((len(self._tasks), self._n_state))
            failed = np.zeros(len(begun), bool)
            states[begun], failed[begun] = [each.state for each in kernels], [each.failed for each in kernels]
            return kernel_state(states, failed)
        try:
            return {"snapshots": [None if one is None else plain(one.snapshot()) for one in self._simulators]}
        except TypeError as error:
            raise FamilyError(f"{type(self._maker[1][0]).__name__}: a snapshot must hold {error}") from None

    def loading(self, state: Any, name: str, episodes: Episodes, observations: npt.NDArray[Any]) -> Change:
        """See `Rows`."""
        first = self._make(int(episodes.tasks[0]))
        if not isinstance(first, KernelSimulator):
            simulators = [first, *(self._make(task) for task in episodes.tasks[1:].tolist())]
            return self._replacing(simulators, _restored(simulators, state, name), episodes.tasks)
        first.close()
        states, failed = read_kernel_state(state, name, len(self._tasks), self._n_state)

        def change() -> None:
            self.restart(replace(episodes, states=states), observations)
            for row, has_failed in enumerate(failed.tolist()):
                simulator = self._row(row)
                assert isinstance(simulator, KernelSimulator)
                simulator.failed = has_failed

        return change

    def _replacing(self, simulators: list[Simulator], there: list[bool], tasks: IntArray) -> Change:
        """A row whose simulator isn't there has begun no episode."""

        def change() -> None:
            for row, (simulator, is_there) in enumerate(zip(simulators, there, strict=True)):
                self._release(row)
                if is_there:
                    self._simulators[row], self._tasks[row] = simulator, tasks[row]
                else:
                    simulator.close()

        return change

    @property
    def _n_state(self) -> int:
        return len(self._maker[1][0].state)

    def close(self) -> None:
        """See `Rows`."""
        for row in range(len(self._simulators)):
            self._release(row)

    def _release(self, row: int) -> None:
        simulator = self._simulators[row]
        if simulator is not None:
            simulator.close()
            self._simulators[row], self._tasks[row] = None, -1
