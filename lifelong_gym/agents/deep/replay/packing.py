"""A stretch of transitions as few bytes: frames stored once, XORed with the one before, and deflated."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from lifelong_gym.errors import CheckpointError
from lifelong_gym.numerics.arrays import IntArray

Array = npt.NDArray[Any]
Bytes = npt.NDArray[np.uint8]
LEVEL = 1  # zlib's; higher ones take several times as long for a few per cent
HEADER = np.dtype("<i4")
NO_STACK = 0


@dataclass(frozen=True)
class Transitions:
    """Steps one after another in a row.

    Attributes:
        observations: what was seen, shape (n, ...).
        next_observations: and then, the last one of an episode included, shape (n, ...).
        actions: shape (n, ...).
        rewards: float32, shape (n,).
        dones: whether the episode ended, float32, shape (n,).
        timeouts: whether it was truncated, float32, shape (n,).
    """

    observations: Array
    next_observations: Array
    actions: Array
    rewards: Array
    dones: Array
    timeouts: Array

    def __len__(self) -> int:
        return len(self.rewards)

    def __getitem__(self, places: Any) -> Transitions:
        return Transitions(*(getattr(self, field.name)[places] for field in fields(self)))

    @classmethod
    def joined(cls, parts: list[Transitions]) -> Transitions:
        """Those of several, one after another."""
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))


@dataclass(frozen=True)
class StepForm:
    """What transitions look like, which whoever unpacks them knows.

    Attributes:
        shape: of an observation.
        dtype: of it.
        action_shape: of an action.
        action_dtype: of it.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    action_shape: tuple[int, ...]
    action_dtype: np.dtype[Any]

    @property
    def header(self) -> list[int]:
        """In numbers."""
        kinds = [ord(kind) for dtype in (self.dtype, self.action_dtype) for kind in dtype.char]
        return [len(self.shape), *self.shape, len(self.action_shape), *self.action_shape, *kinds]

    def room(self, n: int) -> Transitions:
        """Zeros for so many."""
        seen, then = np.zeros((2, n, *self.shape), self.dtype)
        return Transitions(
            seen, then, np.zeros((n, *self.action_shape), self.action_dtype), *np.zeros((3, n), np.float32)
        )


def pack(transitions: Transitions, form: StepForm) -> Bytes:
    """Transitions as bytes, from which `unpack` makes the same to the bit.

    Frames are stored once: the next observation of a step is the observation of the one after it, but where an episode
    ends. Of stacked frames (several along the first or the last axis of an image, each step a new one) only the new
    ones are stored.
    """
    n, seen, then = len(transitions), transitions.observations, transitions.next_observations
    follows = np.zeros(n, bool)
    follows[1:] = _equal(seen[1:], then[:-1])
    axis = _stack_axis(seen, then)
    fresh = then if axis == NO_STACK else _newest(then, axis)
    whole = seen[~follows]
    body = zlib.compress(_deltas(whole) + _deltas(fresh) + np.packbits(follows).tobytes() + _rest(transitions), LEVEL)
    header = np.array([n, len(whole), axis, *form.header], HEADER)
    sizes = np.array([len(header)], HEADER)
    return np.frombuffer(sizes.tobytes() + header.tobytes() + body, np.uint8)


class Unpacked:
    """Transitions whose frames are there once; indexing makes observations of them.

    Attributes:
        frames: shape (n_frames, ...): of stacked ones each single.
        seen: which of them make up the observation of each step, shape (n, n_stacked).
        then: and which the next one, shape (n, n_stacked).
    """

    def __init__(
        self, form: StepForm, axis: int, frames: Array, seen: IntArray, then: IntArray, rest: list[Array]
    ) -> None:
        """Of what was read."""
        self.frames, self.seen, self.then = frames, seen, then
        self._form, self._axis, self._rest = form, axis, rest

    def __len__(self) -> int:
        return len(self.seen)

    @property
    def n_bytes(self) -> int:
        """In memory."""
        return sum(array.nbytes for array in (self.frames, self.seen, self.then, *self._rest))

    def __getitem__(self, places: Any) -> Transitions:
        seen, then = (self._observations(index[places]) for index in (self.seen, self.then))
        return Transitions(seen, then, *(array[places] for array in self._rest))

    def _observations(self, index: IntArray) -> Array:
        stacks = self.frames[index]  # (k, n_stacked, ...)
        if self._axis == -1:
            stacks = np.moveaxis(stacks[..., 0], 1, -1)
        return np.ascontiguousarray(stacks).reshape(len(index), *self._form.shape)


def unpack(packed: Bytes, form: StepForm) -> Unpacked:
    """The inverse of `pack`.

    Raises:
        CheckpointError: the bytes are damaged, or of other spaces.
    """
    raw = packed.tobytes()
    try:
        length = int(np.frombuffer(raw, HEADER, 1)[0])
        n, n_whole, axis, *told = np.frombuffer(raw, HEADER, length, HEADER.itemsize).tolist()
        if told != form.header:
            raise CheckpointError(
                f"replay must be of observations of shape {form.shape}, {form.dtype}, and of actions of shape "
                f"{form.action_shape}, {form.action_dtype}. Received others"
            )
        return _read(zlib.decompress(raw[HEADER.itemsize * (1 + length) :]), form, n, n_whole, axis)
    except (ValueError, IndexError, OverflowError, zlib.error) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"replay is damaged: {error}") from error


def _equal(one: Array, other: Array) -> npt.NDArray[np.bool_]:
    """Whether entries are the same to the bit, shape (n,)."""
    a, b = _raw(one), _raw(other)
    same: npt.NDArray[np.bool_] = (a == b).all(axis=1)
    return same


def _raw(frames: Array) -> Bytes:
    """The bytes of each, shape (n, n_bytes)."""
    flat = np.ascontiguousarray(frames).reshape(len(frames), int(np.prod(frames.shape[1:])))
    return flat.view(np.uint8)


def _stack_axis(seen: Array, then: Array) -> int:
    """1: frames are stacked along the first axis, -1: along the last one; 0: they aren't."""
    if seen.ndim != 4 or not len(seen):
        return NO_STACK
    for axis in (1, -1):
        if seen.shape[axis] > 1 and np.array_equal(_newest(seen, axis, -1), _oldest(then, axis, -1)):
            return axis
    return NO_STACK


def _newest(stack: Array, axis: int, n: int = 1) -> Array:
    """The last n frames of each, or all but the first -n."""
    at = slice(-n, None)
    return stack[:, at] if axis == 1 else stack[..., at]


def _oldest(stack: Array, axis: int, n: int) -> Array:
    """The first n frames of each, or all but the last -n."""
    return stack[:, :n] if axis == 1 else stack[..., :n]


def _deltas(frames: Array) -> bytes:
    """Each frame XORed with the one before."""
    raw = _raw(frames)
    return raw[:1].tobytes() + (raw[1:] ^ raw[:-1]).tobytes()


def _rest(transitions: Transitions) -> bytes:
    rest = (transitions.actions, transitions.rewards, transitions.dones, transitions.timeouts)
    return b"".join(np.ascontiguousarray(array).tobytes() for array in rest)


class _Reader:
    """Reads arrays one after another."""

    def __init__(self, raw: bytes, dtype: np.dtype[Any]) -> None:
        self.raw, self.at, self._dtype = raw, 0, dtype

    def take(self, shape: tuple[int, ...], dtype: Any) -> Array:
        array = np.frombuffer(self.raw, dtype, int(np.prod(shape)), self.at).reshape(shape)
        self.at += array.nbytes
        return array

    def frames(self, n: int, shape: tuple[int, ...]) -> Array:
        size = int(np.prod(shape)) * self._dtype.itemsize
        raw = np.bitwise_xor.accumulate(self.take((n, size), np.uint8), axis=0)
        return raw.view(self._dtype).reshape(n, *shape)


def _read(raw: bytes, form: StepForm, n: int, n_whole: int, axis: int) -> Unpacked:
    single, m = _single(form.shape, axis)
    reader = _Reader(raw, form.dtype)
    whole = reader.frames(n_whole, form.shape)
    fresh = reader.frames(n, single)
    follows = np.unpackbits(reader.take((-(-n // 8),), np.uint8), count=n).astype(bool)
    rest = [reader.take((n, *form.action_shape), form.action_dtype), *(reader.take((n,), np.float32) for _ in range(3))]
    if reader.at != len(raw) or int((~follows).sum()) != n_whole:
        raise ValueError(f"{len(raw)} bytes, of which {reader.at} are meant")
    if axis == -1:
        whole = np.moveaxis(whole, -1, 1)[..., None]
    frames = np.concatenate([whole.reshape(n_whole * m, *single), fresh])
    return Unpacked(form, axis, frames, *_indices(follows, n_whole, m), rest)


def _single(shape: tuple[int, ...], axis: int) -> tuple[tuple[int, ...], int]:
    """The shape of one of an observation's frames, and how many it has."""
    if axis == NO_STACK:
        return shape, 1
    return ((1, *shape[1:]), shape[0]) if axis == 1 else ((*shape[:-1], 1), shape[-1])


def _indices(follows: npt.NDArray[np.bool_], n_whole: int, m: int) -> tuple[IntArray, IntArray]:
    n = len(follows)
    fresh = n_whole * m + np.arange(n)
    starts = m * (np.cumsum(~follows) - 1)
    if m == 1:
        return np.where(follows, np.roll(fresh, 1), starts)[:, None], fresh[:, None]
    seen, then = np.empty((2, n, m), np.int64)
    for t in range(n):
        seen[t] = then[t - 1] if follows[t] else starts[t] + np.arange(m)
        then[t, :-1], then[t, -1] = seen[t, 1:], fresh[t]
    return seen, then
