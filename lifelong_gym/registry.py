"""The table of ids, and their registration with Gymnasium and PettingZoo under the same names.

A family is named by its id; by ``module:Id``, where importing the module registers the id or the module has a class of
the id's name; or by ``module:Class``, which needs no id. Ids of installed packages come from their entry points in the
group ``lifelong_gym.families``, such as ``MyTask-v0 = "my_module:MyTask"``, and are known at once, as ours are.
"""

from __future__ import annotations

import functools
import importlib
import json
import re
import warnings
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import pettingzoo

from lifelong_gym.envs.arguments import argument_values
from lifelong_gym.errors import FamilyError, UnknownNameError, unknown

if TYPE_CHECKING:
    from lifelong_gym.envs.family import Family
    from lifelong_gym.tasks.task_set import TaskSet

FAMILIES: dict[str, str] = {
    "LifelongSimpleMass-v0": "lifelong_gym.envs.control.simple_mass:SimpleMass",
    "LifelongDoubleMass-v0": "lifelong_gym.envs.control.double_mass:DoubleMass",
    "LifelongCartPole-v0": "lifelong_gym.envs.control.cart_pole:CartPole",
    "LifelongDoubleInvertedPendulum-v0": "lifelong_gym.envs.control.double_inverted_pendulum:DoubleInvertedPendulum",
    "LifelongCH47-v0": "lifelong_gym.envs.control.ch47:CH47",
    "LifelongQuadrotor-v0": "lifelong_gym.envs.control.quadrotor:Quadrotor",
    "LifelongQuadrotor3D-v0": "lifelong_gym.envs.control.quadrotor_3d:Quadrotor3D",
    "LifelongGridWorld-v0": "lifelong_gym.envs.tabular.grid_world:GridWorld",
    "LifelongChain-v0": "lifelong_gym.envs.tabular.chain:Chain",
    "LifelongLinearMDP-v0": "lifelong_gym.envs.tabular.linear_mdp:LinearMDP",
    "LifelongDrone-v0": "lifelong_gym.envs.navigation.drone:Drone",
    "LifelongAllocation-v0": "lifelong_gym.envs.allocation.allocation:Allocation",
    "LifelongPortfolio-v0": "lifelong_gym.envs.allocation.portfolio:Portfolio",
    "LifelongFederatedMNIST-v0": "lifelong_gym.envs.allocation.federated:FederatedMNIST",
    "LifelongAtari-v0": "lifelong_gym.envs.arcade.atari:Atari",
    "LifelongMinAtar-v0": "lifelong_gym.envs.arcade.minatar:MinAtar",
}
GROUP = "lifelong_gym.families"
_ADAPTERS = "lifelong_gym.envs"
_installed: set[str] = set()  # ids that every process knows as soon as it imports this package


def register_family(id: str, entry_point: str) -> None:
    """Register a family for every interface, in this process.

    Where others are to find it too, call this in the module that they name (``my_module:MyTask-v0``), or declare an
    entry point in the group ``lifelong_gym.families``.

    Args:
        id: Gymnasium id, ``Name-vN``.
        entry_point: ``module:Class`` of a `KernelFamily` or `SimulatorFamily`; imported at first use.

    Raises:
        ValueError: the id is taken, or malformed.
    """
    # Whoever gets a pickled spec needn't know the id.
    _register(id, entry_point, entry_point)


def _register(id: str, entry_point: str, family: str) -> None:
    if id in FAMILIES and FAMILIES[id] != entry_point:
        raise ValueError(f"{id!r} is already registered as {FAMILIES[id]!r}; choose another id or version")
    if id not in FAMILIES and id in gym.registry:
        raise ValueError(f"{id!r} is already registered with Gymnasium; choose another id or version")
    if entry_point.count(":") != 1:
        raise ValueError(f'`entry_point` must be "module:Class". Received {entry_point!r}')
    if id in gym.registry:
        return
    kwargs = {"family": family}
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
    """Register the package's own families, and those of installed packages; what can't be is left out and warned of."""
    for id, entry_point in list(FAMILIES.items()):
        _register(id, entry_point, id)
        _installed.add(id)
    for point in entry_points(group=GROUP):
        try:
            _register(point.name, point.value, point.name)
            _installed.add(point.name)
        except (ValueError, gym.error.Error) as error:
            package = point.dist.name if point.dist else "?"
            warnings.warn(f"family {point.name!r} of the package {package!r} is left out: {error}", stacklevel=2)


def registered_here() -> dict[str, str]:
    """Id and ``module:Class`` of the families that other processes don't know by themselves."""
    return {id: entry_point for id, entry_point in FAMILIES.items() if id not in _installed}


def register_here(families: Mapping[str, str]) -> None:
    """Register what another process knows: its `registered_here`."""
    for id, entry_point in families.items():
        register_family(id, entry_point)


def resolve(name: str) -> str:
    """The name by which files and other processes find a family: an id of an installed package, or ``module:...``.

    Args:
        name: an id, ``module:Id`` or ``module:Class``.

    Raises:
        UnknownNameError: there is no such id or module, or the module has neither such an id nor such a class.
        ValueError: the module's class and the id are different families.
    """
    module, _, rest = name.rpartition(":")
    if not module:
        if name not in FAMILIES:
            raise unknown("environment id", name, FAMILIES)
        return name if name in _installed else f"{FAMILIES[name].partition(':')[0]}:{name}"
    found = _import(module, name)
    own = re.sub(r"-v\d+$", "", rest)
    if rest not in FAMILIES and rest != own and _is_family(getattr(found, own, None)):
        register_family(rest, f"{module}:{own}")
    if rest in FAMILIES:
        _check_own(rest, f"{module}:{own}", getattr(found, own, None))
        return rest if rest in _installed else name
    ids = [id for id, entry_point in FAMILIES.items() if entry_point == name]
    if ids:
        return ids[0] if ids[0] in _installed else f"{module}:{ids[0]}"
    if not hasattr(found, rest.partition(".")[0]):
        raise UnknownNameError(f"module {module!r} has no {rest!r}: it registers no such id, and has no such class")
    return name


def _import(module: str, name: str) -> object:
    if module.startswith("."):
        raise UnknownNameError(f"a module must be named from its top-level package on. Received {name!r}")
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise
        raise UnknownNameError(f"there is no module {error.name!r} to find {name!r} in") from None


def _is_family(kind: object) -> bool:
    from lifelong_gym.envs.family import KernelFamily, SimulatorFamily

    return isinstance(kind, type) and issubclass(kind, (KernelFamily, SimulatorFamily))


def _check_own(id: str, entry_point: str, kind: object) -> None:
    """Another module's class may be registered under this id."""
    from lifelong_gym.imports import load

    if FAMILIES[id] != entry_point and _is_family(kind) and load(FAMILIES[id]) is not kind:
        raise ValueError(f"{id!r} is already registered as {FAMILIES[id]!r}. Name the class instead: {entry_point!r}")


def names_family(name: str) -> bool:
    """Whether ``name`` is a family's; a module in it is imported."""
    try:
        family(name)
    except (FamilyError, UnknownNameError):
        return False
    return True


def family(name: str, /, **arguments: Any) -> Family:
    """The family behind an id, ``module:Id`` or ``module:Class``; see `resolve`.

    Args:
        name: see there.
        **arguments: of the family itself, see `Family.arguments`; the same ones give the same object.

    >>> import lifelong_gym
    >>> lifelong_gym.family("LifelongCartPole-v0").parameters["cart_mass"].unit
    'kg'

    Raises:
        UnknownNameError: no such id; the nearest is suggested.
        FamilyError: what is registered isn't a family.
        UnexpectedArgumentError: an argument that the family doesn't have; the nearest is suggested.
        ValueError: an argument of a wrong type.
    """
    found = resolve(name)
    made = _instance(FAMILIES.get(found.rpartition(":")[2], found))
    return _with(made, arguments) if arguments else made


@functools.cache
def _instance(entry_point: str) -> Family:
    from lifelong_gym.imports import load

    kind = load(entry_point)
    if not _is_family(kind):
        raise FamilyError(f"{entry_point} must be a subclass of KernelFamily or SimulatorFamily. Received {kind!r}")
    made: Family = kind()
    return made


def _with(default: Family, arguments: Mapping[str, Any]) -> Family:
    kind = type(default)
    values = argument_values(kind.arguments, arguments, kind.__name__)
    return default if values == default.argument_values else _made_with(kind, json.dumps(values))


@functools.lru_cache(maxsize=16)  # with their data: a worker may see many seeds' prices, one after another
def _made_with(kind: type[Family], values: str) -> Family:
    return kind(**json.loads(values))


def own_arguments(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Those of ``given``, keyword arguments of an interface, that are the family's own."""
    declared = [argument.name for argument in family(name).arguments]
    return {argument: given[argument] for argument in declared if argument in given}


def sample_tasks(id: str, n_tasks: int, seed: int = 0, preset: str = "default", **arguments: Any) -> TaskSet:
    """Draw tasks of a family, named as in `family`, with arguments of its own; see `ParameterSpace.sample`."""
    argument_values(family(id).arguments, arguments, "sample_tasks", ("id", "n_tasks", "seed", "preset"))
    return family(id, **arguments).parameters.sample(n_tasks, seed, preset)
