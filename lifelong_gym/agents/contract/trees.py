"""Nested states as JSON, with their arrays and tensors beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch as th

from lifelong_gym.errors import CheckpointError

Arrays = dict[str, npt.NDArray[Any]]
ARRAY, TENSOR, TUPLE, ITEMS = "array", "tensor", "tuple", "items"
TAGS = (ARRAY, TENSOR, TUPLE, ITEMS)


def encode(state: Any, name: str, arrays: Arrays) -> Any:
    """A nested state in JSON's types.

    Args:
        state: dicts, lists and tuples of arrays, tensors, numbers, texts, flags and None.
        name: of what it is the state; arrays are called after it and the way to them.
        arrays: where they are put.

    Raises:
        CheckpointError: anything else in it.
    """
    if isinstance(state, th.Tensor):
        return {TENSOR: _put(state.detach().cpu().numpy(), name, arrays)}
    if isinstance(state, np.ndarray) and state.dtype.kind in "biuf":
        return {ARRAY: _put(state, name, arrays)}
    if isinstance(state, np.generic):
        return encode(state.item(), name, arrays)
    if isinstance(state, tuple):
        return {TUPLE: [encode(value, f"{name}/{i}", arrays) for i, value in enumerate(state)]}
    if isinstance(state, list):
        return [encode(value, f"{name}/{i}", arrays) for i, value in enumerate(state)]
    if isinstance(state, Mapping):
        items = [(key, encode(value, f"{name}/{key}", arrays)) for key, value in state.items()]
        plain = all(isinstance(key, str) for key in state) and not (len(items) == 1 and items[0][0] in TAGS)
        return dict(items) if plain else {ITEMS: [[key, value] for key, value in items]}
    if state is None or isinstance(state, bool | int | float | str):
        return state
    raise CheckpointError(f"{name!r} must consist of arrays, numbers and texts. Received {state!r}")


def _put(array: npt.NDArray[Any], name: str, arrays: Arrays) -> str:
    while name in arrays:  # names with dots or slashes in them may lead to the same place
        name += "'"
    arrays[name] = array
    return name


def decode(tree: Any, arrays: Arrays) -> Any:
    """The inverse of `encode`; takes what belongs to it out of ``arrays``.

    Raises:
        CheckpointError: an array is missing.
    """
    if isinstance(tree, list):
        return [decode(value, arrays) for value in tree]
    if not isinstance(tree, dict):
        return tree
    tag = next(iter(tree)) if len(tree) == 1 else None
    if tag in (ARRAY, TENSOR):
        if not isinstance(tree[tag], str) or tree[tag] not in arrays:
            raise CheckpointError(f"array {tree[tag]!r} is missing")
        array = arrays.pop(tree[tag])
        return array if tag == ARRAY else th.from_numpy(array.copy())
    if tag == TUPLE:
        return tuple(decode(value, arrays) for value in tree[tag])
    if tag == ITEMS:
        return {key: decode(value, arrays) for key, value in tree[tag]}
    return {key: decode(value, arrays) for key, value in tree.items()}
