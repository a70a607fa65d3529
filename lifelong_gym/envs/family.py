"""What a task family declares. A family is physics and tables: it knows no interface, no backend and no learner.

It declares parameters, spaces, horizon and rewards; how its tasks are simulated is said apart from that. The tasks of
a *simulator family* are objects, one a row: see `Simulation`.

A *kernel family* states its physics as small pure functions on tuples of floats (static methods), in the vocabulary
of `lifelong_gym.numerics.scalar`. They are never called as they stand: a backend binds them. Each names the
arguments it needs:

===============  =========================================================  =====================================
role             arguments to choose from                                   returns
===============  =========================================================  =====================================
``initial``      noise, tables, groups                                      state
``exogenous``    state, tables, groups                                      noise of the step; optional
``present``      state, tables, groups                                      1 or 0 per number of an action; optional
``transition``   state, action, noise, tables, groups                       next state
``measure``      state, tables, groups, out                                 writes ``out[i]``; optional
reward           state, action, next_state, noise, tables, groups, measured float
``failed``       state, tables, groups                                      bool; optional
``terminated``   state, tables, groups, measured                            bool; optional
``observation``  state, tables, groups, out                                 tuple, as float64, or writes ``out[i]``
===============  =========================================================  =====================================

``noise`` are uniforms in [0, 1), or what ``exogenous`` returns: noise that has already happened, such as prices.
``action`` is what the codec of its space makes of it, for one in [-1, 1] clipped and in physical or dimensionless
units (``bound * u``). *Groups* are the named tuples that `KernelFamily.constants` derives from a task's parameters;
all of them side by side are called k elsewhere. ``present`` says the same as the last channel of `Entities`, where
observations are such.

``tables`` is a tuple in the order of ``TABLES``. A table is read by a flat index, ``window[int(x)]``, and gives a
float. Compiled code doesn't look whether it lies in range (the other backends do), and the roles are evaluated at
terminal states too, where nobody uses what they return: clamp the stage, and let ``check_state`` refuse states that
have no entry. NaN must not get as far as ``int``.

An observation of many numbers is written: a role that names ``out`` sets each of ``out[0] ... out[n - 1]`` and returns
nothing. Elsewhere, too, `int`, `float`, `min`, `max`, `abs`, `len` and loops over a constant `range` are at hand.

``measure`` looks at the state that a step leads to and writes the ``n_measures`` numbers that reward and
``terminated`` read as ``measured``, a tuple: what both need and costs much, such as distances to walls. It, and an
``observation`` that writes an `Image`, have one row to themselves on every backend: they may branch and loop as they
like, on floats and integers. Of an image, numbers from 0 to below 256 are written; the fraction is cut off.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import FunctionType, MappingProxyType
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from lifelong_gym.envs.arguments import Argument, argument_values
from lifelong_gym.envs.spaces import ActionCodec, ObservationCodec, Quantity
from lifelong_gym.errors import FamilyError, one_of
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.tasks.parameter_space import ParameterSpace

Columns = dict[str, FloatArray]
Groups = dict[str, tuple[FloatArray | float, ...]]


def never() -> bool:
    """``failed`` and ``terminated`` of a family that doesn't define them."""
    return False


class Family(ABC):
    """What every family declares; how its tasks are simulated is said by `KernelFamily` or `SimulatorFamily`.

    Attributes:
        parameters: the `ParameterSpace`, presets included.
        state: the physical state's channels; a `SimulatorFamily` may have none.
        actions: an `ActionCodec`: `Continuous`, `Discrete`, `MultiDiscrete` or `Simplex`, or one of your own.
        observations: an `ObservationCodec`: `Bounded`, `Discrete`, `Entities` or `Image`, or one of your own.
        horizon, longest: steps after which an episode is truncated, and the most one may ask for; None: any number.
        time_step: seconds of one step; 1 where time has no unit.
        state_limits: the state is clipped to twice these when ``failed``; empty where failing isn't defined.
        rewards: reward functions by name, or of a `SimulatorFamily` their meanings; the first is the default.
        simulators: other physics by name, as ``module:Class`` of a `Simulator`.
        feature_scale: per observation, the scale c of a linear policy's features ``y / c``; empty: all 1.
        reference: ``module:Class`` of a `Reference`, the best policy known; None: learners are compared by raw returns.
        viewer: ``module:Class`` that draws a state.
        render_fps: frames per second of a window; None: real time.
        arguments: what the family may be made with. An instance has their values as attributes, and what depends on
            them (``parameters``, spaces, ``horizon``, ...) set in its ``__init__``. One that is called ``actions``
            chooses among codecs, see `simplex_or_logits`.
        argument_values: by name, of the arguments that the family was made with, JSON-native.
        tallied: per channel of the state that infos tell of, the name of its mean over a row's episodes there.
        idle_parameters: those that change nothing with the arguments that the family was made with.
        known: attributes, besides those of every `KnownFamily`, that a learner may read whose tasks are hidden.
    """

    parameters: ParameterSpace
    state: tuple[Quantity, ...] = ()
    actions: ActionCodec
    observations: ObservationCodec
    horizon: int
    longest: int | None = None
    time_step: ClassVar[float] = 1.0
    state_limits: ClassVar[tuple[float, ...]] = ()
    rewards: ClassVar[Mapping[str, Any]]
    simulators: ClassVar[Mapping[str, str]] = {}
    feature_scale: ClassVar[tuple[float, ...]] = ()
    reference: str | None = None
    viewer: ClassVar[str | None] = None
    render_fps: ClassVar[int | None] = None
    arguments: ClassVar[tuple[Argument, ...]] = ()
    argument_values: Mapping[str, Any] = MappingProxyType({})
    tallied: ClassVar[Mapping[str, str]] = {}
    idle_parameters: tuple[str, ...] = ()
    known: ClassVar[tuple[str, ...]] = ()

    def __init__(self, **arguments: Any) -> None:
        """Take the arguments.

        Raises:
            UnexpectedArgumentError: one that isn't declared; the nearest name is suggested.
            ValueError: one of a wrong type, or none of its choices.
            FamilyError: a declared one has the name of something else.
        """
        kinds = [kind for kind in type(self).__mro__ if kind.__module__ == __name__]
        every = {name for kind in kinds for name in (*dir(kind), *vars(kind).get("__annotations__", ()))}
        own = [argument for argument in self.arguments if argument.name != "actions" or argument.choices is None]
        taken = [argument.name for argument in own if argument.name in every]
        if taken:
            raise FamilyError(f"{type(self).__name__}: an argument can't be called {taken[0]!r}, every family has one")
        self.argument_values = argument_values(self.arguments, arguments, type(self).__name__)
        for argument in self.arguments:
            setattr(self, argument.name, argument.attribute(self.argument_values[argument.name]))

    @property
    def given_arguments(self) -> dict[str, Any]:
        """Those that differ from their defaults: with them, the family is made anew."""
        defaults = {argument.name: argument.default for argument in self.arguments}
        return {name: value for name, value in self.argument_values.items() if value != defaults[name]}

    @abstractmethod
    def check_state(self, state: FloatArray) -> None:
        """Raise `ValueError` unless ``state`` is a state an episode may start from."""

    def describe(self, state: FloatArray) -> dict[str, float]:
        """A state as ``{channel: value}``."""
        return {channel.name: float(x) for channel, x in zip(self.state, state, strict=True)}


class KnownFamily:
    """What a learner may know where tasks are hidden: what is the same in all, and what a family names in ``known``.

    Attributes:
        actions: see `Family`.
        observations: see `Family`.
        horizon: the family's own; an env may have another.
        time_step: see `Family`.
        feature_scale: see `Family`.
    """

    actions: ActionCodec
    observations: ObservationCodec
    horizon: int
    time_step: float
    feature_scale: tuple[float, ...]

    def __init__(self, family: Family) -> None:
        """Take it from the family, which isn't kept."""
        for name in (*type(self).__annotations__, *family.known):
            setattr(self, name, getattr(family, name))

    def __getattr__(self, name: str) -> Any:
        known = ", ".join(name for name in vars(self) if not name.startswith("_"))
        raise AttributeError(f"{name!r} isn't known where tasks are hidden. Known are: {known}")


class KernelFamily(Family):
    """A family of tasks that differ in the parameters of one kernel, whose text every backend binds.

    Attributes:
        n_initial_noise: uniforms that ``initial`` receives.
        n_noise: uniforms that a step receives, or numbers that ``exogenous`` returns.
        n_measures: numbers that ``measure`` writes; 0 where there is none.
        failure_cost: cost of every step from the failing one on.
        clock: name of the channel of the state that goes up by 1 at each step, whatever is done; None: there is none.
        painter: ``module:Class`` of a `Painter`, which draws images in place of ``observation``; None: nobody does.
        TABLES: name and kind of each table: ``"shared"`` by all tasks, or one a ``"task"``.
    """

    n_initial_noise: int = 0
    n_noise: int = 0
    n_measures: int = 0
    failure_cost: ClassVar[float] = 0.0
    clock: str | None = None
    painter: str | None = None
    TABLES: tuple[tuple[str, str], ...] = ()

    initial: ClassVar[Callable[..., Any]]
    transition: ClassVar[Callable[..., Any]]
    observation: ClassVar[Callable[..., Any]]

    exogenous: ClassVar[Callable[..., Any] | None] = None
    measure: ClassVar[Callable[..., None] | None] = None
    failed: ClassVar[Callable[..., bool]] = staticmethod(never)
    terminated: ClassVar[Callable[..., bool]] = staticmethod(never)
    present: ClassVar[Callable[..., Any] | None] = None

    @abstractmethod
    def constants(self, parameters: Columns) -> Groups:
        """Derive the groups of constants from the parameters, for all tasks at once.

        Args:
            parameters: per parameter an array of shape (n_tasks,).

        Returns:
            Per group a tuple of numbers or of arrays of shape (n_tasks,).
        """

    def shared_tables(self, arguments: Mapping[str, Any]) -> tuple[npt.ArrayLike, ...]:
        """Tables that all tasks share, those in ``TABLES`` of kind ``"shared"``, in that order.

        Args:
            arguments: ``argument_values``.

        Returns:
            Arrays of finite numbers, of any shape; float32 stays so, others become float64.
        """
        raise NotImplementedError(f"{type(self).__name__} declares shared tables, and no `shared_tables`")

    def tables(
        self, parameters: Mapping[str, float], *shared: npt.NDArray[np.floating[Any]]
    ) -> tuple[npt.ArrayLike, ...]:
        """A task's own tables, those in ``TABLES`` of kind ``"task"``, in that order; called once per distinct task.

        Args:
            parameters: of the task.
            *shared: the shared tables, read-only.

        Returns:
            Arrays of finite numbers, of the same shapes for every task; float32 (for what is merely observed) stays
            so, others become float64.
        """
        raise NotImplementedError(f"{type(self).__name__} declares tables of tasks, and no `tables`")

    def discrete_states(self) -> FloatArray:
        """The states behind Discrete observations, in order, shape (n, n_channels); by default the numbers."""
        return np.arange(float(self.observations.space.n))[:, None]  # type: ignore[attr-defined]

    def cost_of_failing(self, reward: str | None) -> float:
        """What every step from the failing one on costs under the reward of that name (None: the default)."""
        return self.failure_cost

    def check_state(self, state: FloatArray) -> None:
        """Raise `ValueError` unless ``state`` is a state an episode may start from."""
        if state.shape != (len(self.state),):
            raise ValueError(f"`state` must have shape ({len(self.state)},). Received {state.shape}")
        limits = np.array(self.state_limits or (np.inf,) * len(self.state))
        for i in np.flatnonzero(~(np.abs(state) <= limits) | ~np.isfinite(state)):
            c = self.state[i]
            raise ValueError(f"`state`: {c.name} must be finite and within {limits[i]:g} {c.unit}. Received {state[i]}")


class SimulatorFamily(Family):
    """A family whose tasks are objects, one a row, as games and engines are. It has no kernel and no rollouts.

    Attributes:
        simulator: ``module:Class`` of a `Simulation`.
    """

    simulator: ClassVar[str]

    def prepare(self) -> None:
        """Load what all tasks share, such as data; called whenever an env is made, which tells what is missing.

        By default there is nothing to load.
        """

    def check_state(self, state: FloatArray) -> None:
        """A simulator begins its episodes by itself."""
        raise ValueError(f"`state` can't be set: {type(self).__name__} is simulated, and begins its episodes by itself")


class Simulation(Protocol):
    """One task of a `SimulatorFamily`: ``Class(family, task, reward)``, with a dict of parameters and a name, makes it.

    All chance comes from the generator that is handed in, which the core stores and restores beside the simulation.
    Where the family declares a state, an attribute ``state`` holds it. There may be methods: ``close``, for the end;
    ``present``, 1 or 0 each, where actions are shares; ``picture``, uint8 (height, width, 3), which viewers show.
    """

    def reset(self, rng: np.random.Generator) -> Any:
        """Begin an episode: its first observation."""
        ...

    def step(self, action: Any, rng: np.random.Generator) -> tuple[Any, float, bool]:
        """Take an action, as the family's codec has it for simulators: ``(observation, reward, terminated)``.

        Observations are of the space's dtype and shape.
        """
        ...

    def snapshot(self) -> Any:
        """What tells this simulation from a new one of its task, within an episode too.

        Arrays, numbers, texts, flags and None, and dicts, lists and tuples of these: files hold them without pickle.
        """
        ...

    def restore(self, snapshot: Any) -> None:
        """Go on where ``snapshot`` was taken."""
        ...


@runtime_checkable
class Historic(Protocol):
    """A kernel family whose noise has happened, as prices have: a learner may look back at every step of a task.

    What its roles do with a state and an action is then all that is left to know, and can be differentiated.

    Attributes:
        clock: name of the channel of the state that goes up by 1 at each step and tells when it is.
    """

    clock: str

    def history(self, parameters: Columns) -> list[FloatArray]:
        """Of each task the states at all its steps, in order, as they are while nobody has acted, (n_steps, n_state).

        Args:
            parameters: arrays of shape (n_tasks,).
        """
        ...


def kernel_of(family: Family, what: str) -> KernelFamily:
    """The family, for ``what`` needs its kernel; raises `FamilyError` where it has none."""
    if not isinstance(family, KernelFamily):
        raise FamilyError(f"{what} needs a kernel, and {type(family).__name__} has none: its tasks are simulators")
    return family


@dataclass(frozen=True)
class Constants:
    """A family's constants as a table: one row a task.

    Attributes:
        table: shape (n_tasks, n_constants).
        groups: where each named group lies.
    """

    table: FloatArray
    groups: Mapping[str, slice]

    @classmethod
    def of(cls, family: Family, values: FloatArray) -> Constants:
        """Evaluate ``family.constants`` on a task table of shape (n_tasks, n_parameters)."""
        derived = kernel_of(family, "a table of constants").constants(family.parameters.columns(values))
        groups: dict[str, slice] = {}
        columns: list[Any] = []
        for name, group in derived.items():
            groups[name] = slice(len(columns), len(columns) + len(group))
            columns += group
        table = np.empty((len(values), len(columns)))
        for i, column in enumerate(columns):
            table[:, i] = column
        if not np.isfinite(table).all():
            task = int(np.argwhere(~np.isfinite(table))[0, 0])
            raise FamilyError(f"{type(family).__name__}: constants of task {task} are not finite")
        return cls(table, groups)


def reward_name(family: Family, preset: str | None, name: str | None) -> str:
    """``name``, or where it is None the reward of the preset that tasks were drawn from, or the family's first."""
    if name is None and preset in family.parameters.presets:
        name = family.parameters.presets[preset].reward
    name = next(iter(family.rewards)) if name is None else name
    reward_of(family, name)
    return name


def reward_of(family: Family, name: str | None) -> Callable[..., float]:
    """The family's reward function of that name, or its default."""
    return family.rewards[one_of("reward", next(iter(family.rewards)) if name is None else name, family.rewards)]


def has_role(family: KernelFamily, role: str) -> bool:
    """Whether there is such a role; all but ``exogenous``, ``present`` and ``measure`` are everybody's."""
    return role not in ("exogenous", "present", "measure") or getattr(family, role) is not None


def role_of(family: KernelFamily, role: str, reward: str | None = None) -> FunctionType:
    """The family's function for a role, the instance's own where it has one; ``reward`` is that reward's name.

    Raises:
        FamilyError: it isn't a plain function.
    """
    value = reward_of(family, reward) if role == "reward" else getattr(family, role, None)
    function = getattr(value, "__func__", value)  # a method without `self` is as good as a static one
    if not isinstance(function, FunctionType):
        raise FamilyError(f"{type(family).__name__}: `{role}` must be a function. Received {value!r}")
    return function
