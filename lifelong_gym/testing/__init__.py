"""Checkers that hold a task family, yours or ours, to what the package promises of every one.

>>> from lifelong_gym.testing import check_parameters
>>> check_parameters("LifelongSimpleMass-v0", backend="numpy")

Each takes the id of a registered family, and settings as `gymnasium.make` does. It returns nothing, or raises
`FamilyError` where declarations or functions don't fit together and `AssertionError` where a promise is broken; the
message names the family, what is wrong, and where.
"""

from __future__ import annotations

from typing import Any

from lifelong_gym.registry import family
from lifelong_gym.testing.behaviour import check_boundaries, check_seeds, check_spaces
from lifelong_gym.testing.common import running
from lifelong_gym.testing.declarations import check_constants, check_declarations, check_docstring
from lifelong_gym.testing.parameters import check_parameters
from lifelong_gym.testing.parity import check_parity

__all__ = ["check_family", "check_parameters", "check_parity"]


def check_family(id: str, **settings: Any) -> None:
    """Check everything: declarations, spaces, seeds, changes of task, parameters and parity.

    Args:
        id: of a registered family.
        **settings: as in `gymnasium.make`, for instance ``physics="mujoco"``.

    Raises:
        FamilyError: declarations that contradict each other, or functions that don't run on some backend.
        AssertionError: an observation outside its space, results that the seed doesn't decide, a task that changes
            within an episode; and what `check_parameters` and `check_parity` find.
    """
    kind = family(id)
    check_declarations(id, kind)
    check_docstring(id, kind)
    with running(id, "`constants`"):
        check_constants(id, kind)
    with running(id, "stepping"):
        check_spaces(id, kind, settings)
        check_seeds(id, kind, settings)
        check_boundaries(id, kind, settings)
    check_parameters(id, **settings)
    check_parity(id, **settings)
