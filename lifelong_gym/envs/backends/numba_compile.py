"""Compiling templates for a family: free names in capitals and the family's roles are filled in, results cached."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from numba import njit

from lifelong_gym.envs.backends import numba_cache, numba_math, numba_tables
from lifelong_gym.envs.backends.kernels import Kernels, bind_family
from lifelong_gym.envs.backends.numba_math import cursor, store
from lifelong_gym.envs.backends.text import Program, Text
from lifelong_gym.numerics import philox

# ruff: noqa: F821 (names in capitals, and the family's roles, are filled in when a template is compiled)
# mypy: disable-error-code="name-defined, no-untyped-def"

LOOP: dict[str, Any] = {"error_model": "numpy", "nogil": True}


def compile_template(template: Callable[..., Any], kernels: Kernels, given: Mapping[str, Any]) -> Any:
    """Compile ``template`` with the names in ``given``.

    Numba's disk cache knows neither the functions a template calls nor its globals, so the compiled function's
    name carries a hash of all of them.
    """
    clone = kernels.binder.raw(template, given)
    clone.__qualname__ = f"{template.__name__}_{kernels.binder.digest}"
    clone.__module__ = template.__module__
    clone.__globals__["__name__"] = template.__module__
    return numba_cache.keep(njit(**LOOP)(clone))


def show_returned(state, k, tables, obs, at):
    """Write an observation, which the family returns, from the flat index ``at`` on."""
    store(obs, 0, 1, at, observation(state, k, tables))


def show_written(state, k, tables, obs, at):
    """Let the family write its observation from the flat index ``at`` on."""
    write(state, k, tables, cursor(obs, at))


def described(text: Text, kernels: Kernels, width: int) -> dict[str, Any]:
    """What every template knows of a family, by the names that templates use."""
    return {
        "WIDTH": width,
        "N_STATE": text.n_state,
        "N_CONSTANTS": text.n_constants,
        "N_OBSERVATION": text.n_observation,
        "N_ACTION": text.n_action,
        "VALID": text.valid or (0.0, 0.0),
        "N_NOISE": text.n_noise,
        "N_INITIAL": text.n_initial_noise,
        "INITIAL": philox.INITIAL,
        "TRANSITION": philox.TRANSITION,
        "POLICY": philox.POLICY,
        "initial": kernels.initial,
        "observation": kernels.observation,
        "exogenous": kernels.exogenous,
        "advance": kernels.advance,
        "show": kernels.binder.bind(
            show_written if text.writes else show_returned,
            {"write": kernels.write, "observation": kernels.observation},
        ),
    }


def table_data(program: Program) -> Any:
    """Tables as templates take them: their arrays and their strides; without any 0, which numba takes fastest."""
    tables = program.tables
    return (tables.arrays, tables.strides) if tables.names else 0


def noise_size(text: Text) -> int:
    """Fields for a step's or a start's noise, which is drawn in pairs."""
    n = max(text.n_noise, text.n_initial_noise)
    return n + n % 2


def fields(**sizes: int) -> dict[str, int]:
    """First row of each named field of a block, and ``N_FIELDS``, the number of rows in all."""
    result, row = {}, 0
    for name, size in sizes.items():
        result[name] = row
        row += size
    return {**result, "N_FIELDS": row}


@functools.cache
def _machinery() -> str:
    """Hash of what compiled code is made by, besides the texts that are bound: intrinsics and compiler options."""
    files = (numba_math.__file__, numba_tables.__file__, __file__)
    return hashlib.sha256(b"".join(Path(file).read_bytes() for file in files)).hexdigest()


@functools.lru_cache(maxsize=64)
def _bound(text: Text) -> Kernels:
    binder = numba_math.binder(__name__, numba_tables.NAMES)
    binder.note(_machinery())
    return bind_family(text, binder)


def lane_kernels(text: Text) -> Kernels:
    """A family bound for templates, with a binder whose clones numba can cache.

    Blocks of any width and rollouts share what numba compiles of the family; each goes on with a binder of its own.
    """
    kernels = _bound(text)
    return replace(kernels, binder=kernels.binder.copy())
