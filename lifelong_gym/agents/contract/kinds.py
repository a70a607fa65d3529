"""The kinds of parts that a learner's state may have, besides modules: how each is told, checked and taken up."""

from __future__ import annotations

import copy
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch as th
from stable_baselines3.common.buffers import BaseBuffer, ReplayBuffer

from lifelong_gym.errors import CheckpointError

State = Any  # nested dicts, lists and tuples of arrays, tensors, numbers, texts, flags and None


class PartKind(Protocol):
    """What is done with the parts of one kind.

    Attributes:
        is_sure: that `load` of a state that `check` let pass can't fail.
    """

    is_sure: bool

    def state(self, part: Any) -> State:
        """All of the part; may share memory with it."""

    def check(self, part: Any, state: State) -> None:
        """Raise `CheckpointError` unless the state fits; the part doesn't change."""

    def load(self, part: Any, state: State) -> None:
        """Take it up."""


@runtime_checkable
class HasStateDict(Protocol):
    """What tells its state by itself."""

    def state_dict(self) -> dict[str, Any]:
        """All of it."""

    def load_state_dict(self, state: Any) -> Any:
        """Take it up, or raise before anything has changed."""


@dataclass(frozen=True)
class Attributes:
    """A part made of an object's attributes: numbers, texts, flags, arrays, None, and lists and dicts of these.

    Attributes:
        owner: the object.
        names: of its attributes.
        arrays: those that are None or arrays, with the shape and dtype they then have.
    """

    owner: Any
    names: Sequence[str]
    arrays: Mapping[str, tuple[tuple[int, ...], Any]] = field(default_factory=dict)


class _OfAttributes:
    is_sure = True

    def state(self, part: Attributes) -> State:
        return {name: getattr(part.owner, name) for name in [*part.names, *part.arrays]}

    def check(self, part: Attributes, state: State) -> None:
        own = self.state(part)
        _check_names("value", state, own)
        for name in part.names:
            if not _alike(own[name], state[name]):
                raise CheckpointError(f"{name!r} must be of {type(own[name])}. Received {state[name]!r}")
        for name, (shape, dtype) in part.arrays.items():
            if state[name] is not None:
                _check_array(name, state[name], shape, np.dtype(dtype))

    def load(self, part: Attributes, state: State) -> None:
        for name, value in state.items():
            setattr(part.owner, name, copy.deepcopy(value))


def _alike(own: Any, given: Any) -> bool:
    """Whether a value may stand for another: flags for flags, whole numbers also for other numbers."""
    if isinstance(own, float):
        return isinstance(given, float | int) and not isinstance(given, bool)
    return type(own) is type(given)


class _OfOptimiser:
    is_sure = True

    def state(self, part: th.optim.Optimizer) -> State:
        return part.state_dict()

    def check(self, part: th.optim.Optimizer, state: State) -> None:
        own = part.state_dict()
        _check_names("entry", state, own)
        groups = state["param_groups"]
        if not isinstance(groups, list) or len(groups) != len(own["param_groups"]):
            raise CheckpointError(f"there must be {len(own['param_groups'])} groups of parameters. Received {groups!r}")
        for mine, group in zip(own["param_groups"], groups, strict=True):
            _check_names("setting", group, mine)
            if group["params"] != mine["params"]:
                raise CheckpointError(f"a group must be of parameters {mine['params']}. Received {group['params']}")
            for name, value in mine.items():
                if type(value) in (int, float) and not (_alike(float(value), group[name]) and np.isfinite(group[name])):
                    raise CheckpointError(f"{name!r} must be a finite number. Received {group[name]!r}")
        self._check_kept(part, state["state"])

    def _check_kept(self, part: th.optim.Optimizer, kept: Any) -> None:
        expected = _after_a_step(part)
        if not isinstance(kept, dict) or not kept.keys() <= expected.keys():
            raise CheckpointError(f"it must be of {len(expected)} parameters. Received {kept!r}")
        for index, entry in kept.items():
            _check_names(f"entry of parameter {index},", entry, expected[index])
            for name, value in expected[index].items():
                if isinstance(value, th.Tensor):
                    _check_array(f"{name} of parameter {index}", entry[name], tuple(value.shape), value.dtype)

    def load(self, part: th.optim.Optimizer, state: State) -> None:
        part.load_state_dict(copy.deepcopy(state))


def _after_a_step(optimiser: th.optim.Optimizer) -> dict[int, dict[str, Any]]:
    """What an optimiser of this class and these settings keeps of each parameter."""
    scratch = copy.deepcopy(optimiser)
    scratch.state.clear()
    clones = [parameter for group in scratch.param_groups for parameter in group["params"]]
    for clone in clones:
        clone.grad = th.zeros_like(clone)
    scratch.step()
    return {index: dict(scratch.state[clone]) for index, clone in enumerate(clones)}


class _OfArray:
    is_sure = True

    def state(self, part: Any) -> State:
        return part.detach() if isinstance(part, th.Tensor) else part

    def check(self, part: Any, state: State) -> None:
        _check_array("it", state, tuple(part.shape), part.dtype)

    def load(self, part: Any, state: State) -> None:
        if isinstance(part, th.Tensor):
            part.detach().copy_(state)
        else:
            part[...] = state


class _OfGenerator:
    is_sure = True

    def state(self, part: Any) -> State:
        if isinstance(part, np.random.Generator):
            return part.bit_generator.state
        if isinstance(part, np.random.RandomState):
            return part.get_state(legacy=False)
        return part.getstate() if isinstance(part, random.Random) else part.get_state()

    def check(self, part: Any, state: State) -> None:
        other = th.Generator(part.device) if isinstance(part, th.Generator) else copy.deepcopy(part)
        try:
            self.load(other, state)
        except (TypeError, ValueError, KeyError, RuntimeError, AttributeError, OverflowError) as error:
            raise CheckpointError(f"it must be the state of a {type(part).__name__}: {error}") from error

    def load(self, part: Any, state: State) -> None:
        if isinstance(part, np.random.Generator):
            part.bit_generator.state = state
        elif isinstance(part, np.random.RandomState):
            part.set_state(state)
        elif isinstance(part, random.Random):
            part.setstate(state)
        else:
            part.set_state(state)


class _OfBuffer:
    """SB3's buffers: their arrays, of replay as far as they are filled, and where they stand."""

    is_sure = True
    places: ClassVar[tuple[str, ...]] = ("pos", "full", "generator_ready")

    def _arrays(self, part: BaseBuffer) -> dict[str, npt.NDArray[Any]]:
        found: dict[str, npt.NDArray[Any]] = {}
        for name, value in vars(part).items():
            entries = {f"{name}.{key}": entry for key, entry in value.items()} if isinstance(value, dict) else {}
            entries = entries or {name: value}
            found |= {key: entry for key, entry in entries.items() if isinstance(entry, np.ndarray)}
        return found

    def _n_filled(self, part: BaseBuffer, full: bool, pos: int) -> int:
        """Entries that mean something; where memory is saved, one more holds the last step's next observation."""
        if full or not isinstance(part, ReplayBuffer):
            return part.buffer_size
        return min(pos + bool(getattr(part, "optimize_memory_usage", False) and pos), part.buffer_size)

    def state(self, part: BaseBuffer) -> State:
        n, places = self._n_filled(part, part.full, part.pos), [name for name in self.places if hasattr(part, name)]
        arrays = self._arrays(part)
        if isinstance(part, ReplayBuffer):
            arrays = {name: array[:n] for name, array in arrays.items()}
        return {"arrays": arrays, **{name: getattr(part, name) for name in places}}

    def check(self, part: BaseBuffer, state: State) -> None:
        own = self.state(part)
        _check_names("entry", state, own)
        for name in own.keys() - {"arrays"}:
            if not _alike(own[name], state[name]):
                raise CheckpointError(f"{name!r} must be of {type(own[name])}. Received {state[name]!r}")
        if not 0 <= state["pos"] <= part.buffer_size:
            raise CheckpointError(f"'pos' must be from 0 to {part.buffer_size}. Received {state['pos']}")
        arrays = self._arrays(part)
        _check_names("array", state["arrays"], arrays)
        n = self._n_filled(part, state["full"], state["pos"])
        for name, array in arrays.items():
            given = state["arrays"][name]
            shape = (n, *array.shape[1:])
            if not isinstance(part, ReplayBuffer):  # one that is being read is flat
                shape = given.shape if np.size(given) == array.size else array.shape
            _check_array(name, given, shape, array.dtype)

    def load(self, part: BaseBuffer, state: State) -> None:
        for name, array in self._arrays(part).items():
            given = state["arrays"][name]
            if isinstance(part, ReplayBuffer):
                array[: len(given)] = given
            else:
                setattr(part, name, given.copy())
        for name in state.keys() - {"arrays"}:
            setattr(part, name, state[name])


class _OfStateDict:
    is_sure = False  # what doesn't fit, it must say by itself

    def state(self, part: HasStateDict) -> State:
        return part.state_dict()

    def check(self, part: HasStateDict, state: State) -> None:
        """Nothing is known of it."""

    def load(self, part: HasStateDict, state: State) -> None:
        part.load_state_dict(state)


KINDS: tuple[tuple[Any, PartKind], ...] = (
    (th.optim.Optimizer, _OfOptimiser()),
    ((np.ndarray, th.Tensor), _OfArray()),
    ((np.random.Generator, np.random.RandomState, random.Random, th.Generator), _OfGenerator()),
    (BaseBuffer, _OfBuffer()),
    (Attributes, _OfAttributes()),
    (HasStateDict, _OfStateDict()),
)


def kind_of(part: Any) -> PartKind | None:
    """The kind of a part that is no module; None: it has no state to be told."""
    return next((kind for types, kind in KINDS if isinstance(part, types)), None)


def _check_names(what: str, found: Any, expected: Mapping[Any, Any]) -> None:
    if not isinstance(found, Mapping):
        raise CheckpointError(f"its {what} must be given by name. Received {found!r}")
    for name in sorted(expected.keys() ^ found.keys(), key=str):
        raise CheckpointError(f"{what} {name!r} is {'missing' if name in expected else 'not known here'}")


def _check_array(name: str, found: Any, shape: tuple[int, ...], dtype: Any) -> None:
    """Raise `CheckpointError` unless it is an array, or tensor as the dtype says, of that shape and finite."""
    kind = th.Tensor if isinstance(dtype, th.dtype) else np.ndarray
    if not isinstance(found, kind) or tuple(found.shape) != shape or found.dtype != dtype:
        given = f"{found.dtype} of shape {tuple(found.shape)}" if hasattr(found, "shape") else repr(found)
        raise CheckpointError(f"{name} must be {dtype} of shape {shape}. Received {given}")
    numbers = found.detach().cpu().numpy() if isinstance(found, th.Tensor) else found
    if numbers.dtype.kind == "f" and not np.isfinite(numbers).all():
        raise CheckpointError(f"{name} holds values that are not finite")
