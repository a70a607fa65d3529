"""Checkers that hold a task family, yours or ours, to what the package promises of every one.

>>> from lifelong_gym.testing import check_parameters
>>> check_parameters("LifelongSimpleMass-v0", backend="numpy")

Each takes the id of a registered family, and settings as `gymnasium.make` does. It returns nothing, or raises
`FamilyError` where declarations or functions don't fit together and `AssertionError` where a promise is broken; the
message names the family, what is wrong, and where.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lifelong_gym.envs.family import Family, KernelFamily
from lifelong_gym.registry import family, own_arguments
from lifelong_gym.testing.behaviour import check_boundaries, check_seeds, check_snapshots, check_spaces
from lifelong_gym.testing.common import FaultList, running
from lifelong_gym.testing.declarations import check_constants, check_declarations, check_docstring
from lifelong_gym.testing.masks import check_masks
from lifelong_gym.testing.parameters import check_parameters
from lifelong_gym.testing.parity import check_parity

__all__ = ["check_family", "check_parameters", "check_parity"]


def check_family(id: str, **settings: Any) -> None:
    """Check everything: declarations, docstring, spaces, masks, seeds, changes of task, copies, parameters and parity.

    All faults are told at once, but for those that may follow from others: what doesn't fit together isn't stepped,
    and what misbehaves on one backend isn't compiled for the others.

    Args:
        id: of a registered family.
        **settings: as in `gymnasium.make`, for instance ``physics="mujoco"``.

    Raises:
        FamilyError: declarations that contradict each other, or functions that don't run on some backend.
        AssertionError: an observation outside its space, or one that says otherwise than ``present`` who is there;
            results that the seed doesn't decide, a task that changes within an episode; and what `check_parameters` and
            `check_parity` find.
    """
    kind, faults = family(id, **own_arguments(id, settings)), FaultList(id)
    faults.collect(check_docstring, id, kind)
    if faults.collect(check_declarations, id, kind) and _behaves(id, kind, settings, faults):
        faults.collect(check_parity, id, **settings)
    faults.tell()


def _behaves(id: str, kind: Family, settings: dict[str, Any], faults: FaultList) -> bool:
    """Whether the checks that need no compilation find nothing."""

    def run(what: str, check: Callable[..., None], *arguments: Any) -> None:
        with running(id, what):
            check(id, kind, *arguments)

    fine = [
        not isinstance(kind, KernelFamily) or faults.collect(run, "`constants`", check_constants),
        faults.collect(run, "stepping", check_spaces, settings),
        faults.collect(check_parameters, id, **settings),
    ]
    if fine[1]:
        checks = check_masks, check_seeds, check_boundaries, check_snapshots
        fine += [faults.collect(run, "stepping", check, settings) for check in checks]
    return all(fine)
