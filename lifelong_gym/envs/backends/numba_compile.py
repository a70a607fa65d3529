"""Compiling templates for a family: free names in capitals and the family's roles are filled in, results cached."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from numba import njit

from lifelong_gym.envs.backends import numba_cache, numba_math
from lifelong_gym.envs.backends.kernels import Kernels
from lifelong_gym.envs.family import KernelFamily
from lifelong_gym.numerics import philox

LOOP: dict[str, Any] = {"error_model": "numpy", "nogil": True}


def compile_template(template: Callable[..., Any], kernels: Kernels, given: Mapping[str, Any], tag: str) -> Any:
    """Compile ``template`` with the names in ``given``.

    Numba's disk cache knows neither the functions a template calls nor its globals, so the compiled function's
    name carries a hash of all of them.
    """
    clone = kernels.binder.raw(template, given)
    clone.__qualname__ = f"{template.__name__}_{tag}_{kernels.binder.digest}"
    clone.__module__ = template.__module__
    clone.__globals__["__name__"] = template.__module__
    return numba_cache.keep(njit(**LOOP)(clone))


def described(family: KernelFamily, kernels: Kernels, n_constants: int, width: int) -> dict[str, Any]:
    """What every template knows of a family, by the names that templates use."""
    return {
        "WIDTH": width,
        "N_STATE": len(family.state),
        "N_CONSTANTS": n_constants,
        "N_OBSERVATION": family.observations.size,
        "N_ACTION": family.actions.size,
        "N_NOISE": family.n_noise,
        "N_INITIAL": family.n_initial_noise,
        "INITIAL": philox.INITIAL,
        "TRANSITION": philox.TRANSITION,
        "POLICY": philox.POLICY,
        "initial": kernels.initial,
        "observation": kernels.observation,
        "advance": kernels.advance,
    }


def noise_size(family: KernelFamily) -> int:
    """Fields for a step's or a start's noise, which is drawn in pairs."""
    n = max(family.n_noise, family.n_initial_noise)
    return n + n % 2


def fields(**sizes: int) -> dict[str, int]:
    """First row of each named field of a block, and ``N_FIELDS``, the number of rows in all."""
    result, row = {}, 0
    for name, size in sizes.items():
        result[name] = row
        row += size
    return {**result, "N_FIELDS": row}


def lane_binder() -> Any:
    """A binder whose clones numba can cache."""
    return numba_math.binder(__name__)
