"""States that files can hold: nested dicts, lists and tuples of arrays, numbers, texts, flags and None.

What has a state tells it by ``state_dict()`` and takes it up by ``loading(state)``, which checks all of it, changes
nothing, and returns the function that does: so several take up their states together, or none of them does.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from lifelong_gym.errors import CheckpointError
from lifelong_gym.numerics.arrays import IntArray

State = dict[str, Any]
Change = Callable[[], None]


class StateReader:
    """Reads a state's parts; errors name the part, what it must be and what it was.

    Args:
        state: a mapping from part to value.
        name: what the state is called in errors.
        parts: the names that it must have, and no others.

    Raises:
        CheckpointError: it isn't a mapping, or it lacks a part or has another one.
    """

    def __init__(self, state: Any, name: str, parts: Collection[str]) -> None:
        """See the class."""
        if not isinstance(state, Mapping):
            raise CheckpointError(f"`{name}` must be a dict of its parts. Received {type(state).__name__}")
        for part in sorted(set(parts) ^ set(state), key=str):
            raise CheckpointError(f"`{name}`: part {part!r} is {'missing' if part in parts else 'not known here'}")
        self._state, self._name = state, name

    def __getitem__(self, part: str) -> Any:
        """As it was given."""
        return self._state[part]

    def name(self, part: str) -> str:
        """What a part is called in errors."""
        return f"{self._name}.{part}"

    def array(self, part: str, dtype: Any, *shape: int | None) -> npt.NDArray[Any]:
        """A copy of an array of this dtype and shape; None stands for any length.

        Raises:
            CheckpointError: anything else.
        """
        value = self._state[part]
        fits = isinstance(value, np.ndarray) and value.dtype == dtype and len(value.shape) == len(shape)
        if not fits or any(n not in (None, found) for n, found in zip(shape, value.shape, strict=True)):
            lengths = ", ".join("n" if n is None else str(n) for n in shape)
            given = f"{value.dtype} of shape {value.shape}" if isinstance(value, np.ndarray) else repr(value)
            raise CheckpointError(
                f"`{self.name(part)}` must be {np.dtype(dtype)} of shape ({lengths}). Received {given}"
            )
        return value.copy()

    def numbers(self, part: str, low: int, high: int, *shape: int | None) -> IntArray:
        """A copy of an int64 array with values from ``low`` to ``high``.

        Raises:
            CheckpointError: anything else.
        """
        value = self.array(part, np.int64, *shape)
        if value.size and not low <= value.min() <= value.max() <= high:
            raise CheckpointError(
                f"`{self.name(part)}` must be from {low} to {high}. Received {value.min()} to {value.max()}"
            )
        return value

    def integer(self, part: str) -> int | None:
        """An integer or None; raises `CheckpointError` where it is neither."""
        value = self._state[part]
        if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
            raise CheckpointError(f"`{self.name(part)}` must be an integer or None. Received {value!r}")
        return value

    def flag(self, part: str) -> bool:
        """True or False; raises `CheckpointError` where it is neither."""
        value = self._state[part]
        if not isinstance(value, bool):
            raise CheckpointError(f"`{self.name(part)}` must be True or False. Received {value!r}")
        return value

    def same(self, part: str, own: Any) -> None:
        """Raise `CheckpointError` unless the part equals what it is here; of a mapping, the first that differs."""
        value = self._state[part]
        if isinstance(own, Mapping):
            reader = StateReader(value, self.name(part), own)
            for name, expected in own.items():
                reader.same(name, expected)
        elif not (np.array_equal(value, own) if np.ndarray in (type(value), type(own)) else value == own):
            raise CheckpointError(f"`{self.name(part)}` must be {own!r}, as it is here. Received {value!r}")

    def optional(self, part: str, is_there: bool) -> bool:
        """Whether a part is not None; raises `CheckpointError` where that isn't as it must be."""
        if (self._state[part] is not None) != is_there:
            wanted = "a state" if is_there else "None"
            raise CheckpointError(f"`{self.name(part)}` must be {wanted}. Received {self._state[part]!r}")
        return is_there


def together(changes: Iterable[Change]) -> Change:
    """One change that makes several."""
    every = list(changes)

    def change() -> None:
        for one in every:
            one()

    return change


def plain(value: Any) -> Any:
    """A copy of a nested state, NumPy's scalars as Python's.

    Raises:
        TypeError: it holds something that a file of arrays and JSON doesn't; the message names it.
    """
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        return value.copy()
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, (list, tuple)) and type(value) in (list, tuple):
        return type(value)(plain(one) for one in value)
    if isinstance(value, Mapping) and all(isinstance(key, (str, int)) for key in value):
        return {key: plain(one) for key, one in value.items()}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"arrays, numbers, texts, flags, None, and dicts, lists and tuples of these. Received {value!r}")


def generator(state: Any, name: str) -> np.random.Generator | None:
    """The generator, as Gymnasium's `seeding` makes them, of this state; None stays None.

    Raises:
        CheckpointError: it is no such state.
    """
    if state is None:
        return None
    rng = np.random.Generator(np.random.PCG64())
    try:
        rng.bit_generator.state = state
    except (TypeError, ValueError, KeyError, OverflowError) as error:
        raise CheckpointError(f"`{name}` must be the state of a NumPy generator: {error!r}") from error
    return rng
