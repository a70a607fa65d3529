"""Texts bound to NumPy arrays; roles that have one row to themselves go through the rows in plain Python."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from lifelong_gym.envs.backends.kernels import Kernels, bind_family
from lifelong_gym.envs.backends.table_views import ArrayTable
from lifelong_gym.envs.backends.text import Text
from lifelong_gym.numerics import numpy_math
from lifelong_gym.numerics.bind import Binder
from lifelong_gym.numerics.scalar import contents, room


def bind_arrays(text: Text, replaced: Mapping[str, Any] = MappingProxyType({})) -> Kernels:
    """`bind_family` to NumPy arrays, an element a row."""
    plain = text.bound_roles(Binder({})) if text.alone else {}
    by_rows = {role: row_by_row(plain[role], n) for role, n in text.alone.items()}
    return bind_family(text, numpy_math.binder(), {**by_rows, **replaced})


def row_by_row(write: Callable[..., None], n: int) -> Callable[..., None]:
    """What writes one row's ``n`` numbers, as a function of arrays."""

    def write_all(state: tuple[Any, ...], k: tuple[Any, ...], tables: tuple[ArrayTable, ...], out: Any) -> None:
        numbers = *state, *k
        shape = np.broadcast_shapes(*(np.shape(x) for x in numbers), *(table.shape for table in tables))
        columns = [np.broadcast_to(x, shape).ravel().tolist() for x in numbers]
        written = np.empty((n, *shape))
        for row, at in enumerate(np.ndindex(shape)):
            own = tuple([float(column[row]) for column in columns])
            of_row = room(n)
            write(own[: len(state)], own[len(state) :], tuple([table.row(at) for table in tables]), of_row)
            written[(slice(None), *at)] = contents(of_row, n)
        for i in range(n):
            out[i] = written[i]

    return write_all
