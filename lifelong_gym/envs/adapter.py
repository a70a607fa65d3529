"""What the three adapters share: a spec that survives JSON, infos, and rendering."""

from __future__ import annotations

import copy
import enum
import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from lifelong_gym.envs.core import Core
from lifelong_gym.envs.family import Family, KnownFamily
from lifelong_gym.envs.settings import Settings
from lifelong_gym.errors import FamilyError, one_of, unexpected
from lifelong_gym.numerics.arrays import BoolArray, FloatArray, IntArray
from lifelong_gym.numerics.states import Change, State, StateReader, together
from lifelong_gym.registry import family, own_arguments
from lifelong_gym.tasks.task_set import TaskSet

RENDER_MODES = ["human", "rgb_array"]
FRAME_LISTS = "rgb_array_list"


def json_native(value: Any) -> Any:
    """The same value in the types JSON knows."""
    if isinstance(value, TaskSet):
        return value.to_dict()
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {str(key): json_native(item) for key, item in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, (str, bytes)):
        return [json_native(item) for item in value]
    return value


class NativeSpec:
    """An env whose ``spec`` says its horizon and holds JSON-native keyword arguments, whatever it was made with."""

    core: Core
    _spec_defaults: ClassVar[Mapping[str, Any]] = {}  # keyword arguments that are written out in every spec
    _spec: Any = None

    @property
    def spec(self) -> Any:
        """The EnvSpec, or None."""
        return self._spec

    @spec.setter
    def spec(self, spec: Any) -> None:
        if spec is not None:
            # Whoever passed a generator has no tasks left in it.
            tasks = {} if spec.kwargs.get("tasks") is None else {"tasks": self.core.tasks}
            values = self.core.family.argument_values
            own = {name: values[name] for name in spec.kwargs if name in values}
            kwargs = json_native({**self._spec_defaults, **spec.kwargs, **own, **tasks})
            spec = copy.copy(spec)  # whoever gives it may go on using it, the registry for one
            spec.kwargs, spec.max_episode_steps = kwargs, self.core.horizon
        self._spec = spec


class OverCore(ABC):
    """An env over a core: how its rows go on through their tasks, and the state from which they go on."""

    core: Core
    _renderer: Renderer

    @property
    def hide_task_id(self) -> bool:
        """Whether neither infos nor ``tasks`` tell what the rows are in."""
        return bool(self.core.settings.hide_task_id)

    @property
    def family(self) -> Family | KnownFamily:
        """The tasks' family or, where tasks are hidden, what is known of it."""
        return KnownFamily(self.core.family) if self.hide_task_id else self.core.family

    def next_round(self, rows: Any = None) -> None:
        """Let these rows (indices; None: all) go on to another task; see `Core.next_round`."""
        self.core.next_round(rows)

    def set_weights(self, weights: Any) -> None:
        """Draw the tasks of all rows' next episodes by these weights, one a task; see `Core.set_weights`."""
        self.core.set_weights(weights)

    def state_dict(self) -> State:
        """All that the env's future depends on, within episodes too, as `states` has it: files need no pickle for it.

        What is drawn, or sampled from its spaces, isn't part of it.

        Raises:
            FamilyError: a simulator's snapshot holds something that files of arrays and JSON don't.
        """
        return {"core": self.core.state_dict(), **self._own_state()}

    def load_state_dict(self, state: Any) -> None:
        """Go on where a `state_dict` was taken, on whichever backend, to the bit.

        Raises:
            CheckpointError: it is of another family, other tasks or settings or another number of rows, or a part is
                missing or doesn't fit; nothing has changed then.
        """
        reader = StateReader(state, "state", ["core", *self._own_state()])
        self.core.read(reader["core"], reader.name("core"))
        together([self._loading(reader), self.core.loading(reader["core"], reader.name("core"))])()
        self._renderer.began(np.arange(self.core.n_rows))

    @abstractmethod
    def _own_state(self) -> State:
        """What belongs to the state besides the core's."""

    @abstractmethod
    def _loading(self, state: StateReader) -> Change:
        """Check it; the function that takes it up."""


def visible_tasks(core: Core) -> TaskSet:
    """The tasks, unless they are hidden.

    Raises:
        AttributeError: ``hide_task_id`` is on, so that asking an env or its rows for them says that there are none.
    """
    if core.settings.hide_task_id:
        raise AttributeError("`tasks` can't be read where `hide_task_id` is True")
    return core.tasks


def generator_state(rng: np.random.Generator | None) -> Any:
    """What `generator` makes the same one of."""
    return None if rng is None else rng.bit_generator.state


def check_seed(seed: Any) -> None:
    """Raise `ValueError` unless ``seed`` is None or what Gymnasium takes for a seed."""
    if seed is not None and not (isinstance(seed, int) and seed >= 0):
        raise ValueError(f"`seed` must be a Python integer of at least 0, or None. Received {seed!r}")


def check_options(options: Any) -> Mapping[str, Any]:
    """The options of a reset, none of them where None is given; raises `ValueError` unless they are a dict."""
    if options is not None and not isinstance(options, Mapping):
        raise ValueError(f"`options` must be a dict or None. Received {options!r}")
    return options or {}


def make_core(interface: type, family_id: str, n_rows: int | None, arguments: Mapping[str, Any]) -> Core:
    """A core for a family id and the keyword arguments of an interface; ``n_rows=None``: one row a task.

    Arguments are those of `Settings`, and the family's own.
    """
    known = [field.name for field in fields(Settings)]
    declared = [argument.name for argument in family(family_id).arguments]
    beside = [p.name for p in inspect.signature(interface).parameters.values() if p.kind is not p.VAR_KEYWORD]
    for name in declared:
        if name in (*beside, *known):
            raise FamilyError(f"{family_id}: an argument can't be called {name!r}, every {interface.__name__} has one")
    for name in arguments:
        if name not in (*known, *declared):
            raise unexpected(f"{interface.__name__}.__init__", name, [*beside, *known, *declared])
    own = own_arguments(family_id, arguments)
    settings = Settings(**{name: value for name, value in arguments.items() if name not in own})
    kind = family(family_id, **own)
    if n_rows is None:
        tasks = settings.task_set(kind)
        settings, n_rows = replace(settings, tasks=tasks, n_tasks=None, preset=None), len(tasks)
    return Core(kind, n_rows, settings)


def row_infos(core: Core, failed: BoolArray, rows: IntArray | None = None) -> list[dict[str, Any]]:
    """Infos of all rows, or of these, after their last start or step, which ``failed``, shape (n,), belongs to."""
    flags = failed.tolist()
    if core.settings.hide_task_id:
        infos: list[dict[str, Any]] = [{"failed": flag} for flag in flags]
    else:
        tasks = core.task_of_row if rows is None else core.task_of_row[rows]
        infos = [{"task_id": i, "failed": flag} for i, flag in zip(tasks.tolist(), flags, strict=True)]
    if core.walk.in_rounds:
        rounds = core.walk.rounds if rows is None else core.walk.rounds[rows]
        for number, info in zip(rounds.tolist(), infos, strict=True):
            info["round"] = number
    if core.safety is not None:
        signals = core.safety.infos()
        for row, info in zip(range(core.n_rows) if rows is None else rows.tolist(), infos, strict=True):
            info.update(signals[row])
    if core.tally is not None:
        told = core.tally.infos(list(range(core.n_rows)) if rows is None else rows.tolist())
        for info, numbers in zip(infos, told, strict=True):
            info.update(numbers)
    return infos


def metadata(core: Core) -> dict[str, Any]:
    """Render modes and frames per second of this family."""
    fps = core.family.render_fps or round(1 / core.family.time_step)
    return {"render_modes": RENDER_MODES, "render_fps": fps}


class Renderer:
    """Draws rows of a core."""

    def __init__(self, core: Core, render_mode: str | None, modes: Sequence[str] = RENDER_MODES) -> None:
        """Nothing is imported or opened before the first frame.

        Raises:
            ValueError: a render mode that isn't one of ``modes``, or a family that can't be drawn.
        """
        if render_mode is not None:
            one_of("render_mode", render_mode, modes)
        if render_mode is not None and core.family.viewer is None:
            raise ValueError(f"`render_mode` must be None: {type(core.family).__name__} has no viewer")
        self._core = core
        self._mode = "rgb_array" if render_mode == FRAME_LISTS else render_mode
        self._lists: list[list[Any]] | None = [[] for _ in range(core.n_rows)] if render_mode == FRAME_LISTS else None
        self._screen: Any = None
        self._actions: FloatArray | None = None
        self._failed = np.zeros(core.n_rows, bool)
        self._returns = np.zeros(core.n_rows)
        self._past: list[list[tuple[float, ...]]] = [[] for _ in range(core.n_rows)]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_screen": None}

    @property
    def is_on(self) -> bool:
        """Whether frames are wanted at all."""
        return self._mode is not None

    def began(self, rows: IntArray) -> None:
        """Episodes began in these rows."""
        if self.is_on:
            self._actions = None
            self._failed[rows], self._returns[rows] = False, 0.0
            states = self._states()
            for row in rows.tolist():
                self._past[row] = [tuple(states[row].tolist())]
        if self._lists is not None:
            for row in rows.tolist():
                self._lists[row] = []

    def stepped(self, actions: Any, rewards: Any, failed: Any, active: Any = True) -> None:
        """A step was taken."""
        if self.is_on:
            self._actions = np.asarray(actions, np.float64).reshape(self._core.n_rows, -1)
            self._failed[:] = failed
            self._returns += np.where(active, rewards, 0.0)
            moved = np.broadcast_to(np.asarray(active, bool), self._core.n_rows)
            for past, state, counts in zip(self._past, self._states().tolist(), moved, strict=True):
                past += [tuple(state)] * bool(counts)

    def collect(self, rows: Iterable[int]) -> None:
        """Keep a frame of each of these rows, where lists of frames are wanted."""
        if self._lists is not None:
            for row in rows:
                self._lists[row].append(self.show([row]))

    def collected(self) -> tuple[list[Any], ...]:
        """Each row's frames since its episode began or they were last asked for."""
        assert self._lists is not None
        taken, self._lists = tuple(self._lists), [[] for _ in self._lists]
        return taken

    def show(self, rows: Iterable[int]) -> npt.NDArray[np.uint8] | None:
        """One picture of the given rows: an array, or shown in a window."""
        from lifelong_gym.envs.viewers.screen import Screen

        assert self._core.family.viewer is not None
        if self._mode is None:
            raise ValueError('`render` needs `render_mode="rgb_array"` or "human". Received None')
        if self._screen is None:
            fps = metadata(self._core)["render_fps"]
            self._screen = Screen(self._core.family.viewer, self._mode, fps)
        states = self._states()
        image: npt.NDArray[np.uint8] | None = self._screen.show([self._scene(row, states) for row in rows])
        return image

    def _states(self) -> FloatArray:
        return self._core.states() if self._core.family.state else np.zeros((self._core.n_rows, 0))

    def _scene(self, row: int, states: FloatArray) -> Any:
        from lifelong_gym.envs.viewers.screen import Scene

        task = int(self._core.task_of_row[row])
        return Scene(
            state=tuple(states[row].tolist()),
            action=None if self._actions is None else tuple(self._actions[row].tolist()),
            task=self._core.tasks[task],
            label=f"task {task}",
            failed=bool(self._failed[row]),
            step=int(self._core.clock.steps[row]),
            episode_return=float(self._returns[row]),
            past=tuple(self._past[row][:-1]),
            picture=self._core.picture(row),
        )

    def close(self) -> None:
        """Close the window, if there is one."""
        if self._screen is not None:
            self._screen.close()
            self._screen = None
