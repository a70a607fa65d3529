"""The table of ids, and their registration with Gymnasium and PettingZoo under the same names."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import gymnasium as gym
import pettingzoo

from lifelong_gym.errors import FamilyError, unknown

if TYPE_CHECKING:
    from lifelong_gym.envs.family import KernelFamily
    from lifelong_gym.tasks import TaskSet

FAMILIES: dict[str, str] = {
    "LifelongSimpleMass-v0": "lifelong_gym.envs.control.simple_mass:SimpleMass",
    "LifelongDoubleMass-v0": "lifelong_gym.envs.control.double_mass:DoubleMass",
    "LifelongCartPole-v0": "lifelong_gym.envs.control.cart_pole:CartPole",
    "LifelongDoubleInvertedPendulum-v0": "lifelong_gym.envs.control.double_inverted_pendulum:DoubleInvertedPendulum",
    "LifelongCH47-v0": "lifelong_gym.envs.control.ch47:CH47",
    "LifelongQuadrotor-v0": "lifelong_gym.envs.control.quadrotor:Quadrotor",
    "LifelongGridWorld-v0": "lifelong_gym.envs.tabular.grid_world:GridWorld",
}
_ADAPTERS = "lifelong_gym.envs"


def register_family(id: str, entry_point: str) -> None:
    """Register a family for every interface.

    Args:
        id: Gymnasium id, ``Name-vN``.
        entry_point: ``module:Class`` of a `KernelFamily`; imported at first use.

    Raises:
        ValueError: the id is taken, or malformed.
    """
    if id in FAMILIES and FAMILIES[id] != entry_point:
        raise ValueError(f"{id!r} is already registered as {FAMILIES[id]!r}; choose another id or version")
    if id not in FAMILIES and id in gym.registry:
        raise ValueError(f"{id!r} is already registered with Gymnasium; choose another id or version")
    if entry_point.count(":") != 1:
        raise ValueError(f'`entry_point` must be "module:Class". Received {entry_point!r}')
    if id in gym.registry:
        return
    kwargs = {"family": id}
    gym.register(
        id,
        entry_point=f"{_ADAPTERS}.single:LifelongEnv",
        vector_entry_point=f"{_ADAPTERS}.vector:LifelongVectorEnv",
        kwargs=kwargs,
    )
    pettingzoo.register("parallel", id, f"{_ADAPTERS}.parallel:LifelongParallelEnv", kwargs=kwargs)
    pettingzoo.register("aec", id, f"{_ADAPTERS}.parallel:aec_env", kwargs=kwargs)
    FAMILIES[id] = entry_point


def register_all() -> None:
    """Register the package's own families."""
    for id, entry_point in list(FAMILIES.items()):
        register_family(id, entry_point)


def family(id: str) -> KernelFamily:
    """The family behind an id (or behind ``module:Class``).

    >>> import lifelong_gym
    >>> lifelong_gym.family("LifelongCartPole-v0").parameters["cart_mass"].unit
    'kg'

    Raises:
        UnknownNameError: no such id; the nearest is suggested.
        FamilyError: what is registered isn't a family.
    """
    if id not in FAMILIES and ":" not in id:
        raise unknown("environment id", id, FAMILIES)
    return _instance(FAMILIES.get(id, id))


@functools.cache
def _instance(entry_point: str) -> KernelFamily:
    from lifelong_gym.envs.family import KernelFamily
    from lifelong_gym.imports import load

    kind = load(entry_point)
    if not (isinstance(kind, type) and issubclass(kind, KernelFamily)):
        raise FamilyError(f"{entry_point} must be a subclass of KernelFamily. Received {kind!r}")
    return kind()


def sample_tasks(id: str, n_tasks: int, seed: int = 0, preset: str = "default") -> TaskSet:
    """Draw tasks of a family; see `ParameterSpace.sample`."""
    return family(id).parameters.sample(n_tasks, seed, preset)
