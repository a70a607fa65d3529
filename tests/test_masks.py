"""Whether the checkers notice that an observation says otherwise than ``present`` who is there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

import lifelong_gym
from lifelong_gym.envs.family import SimulatorFamily
from lifelong_gym.envs.spaces import Entities, Quantity, Simplex
from lifelong_gym.numerics.scalar import Vector
from lifelong_gym.tasks.distributions import Integer
from lifelong_gym.tasks.parameter_space import ParameterSpace
from lifelong_gym.tasks.parameters import Parameter
from lifelong_gym.testing import check_family
from lifelong_gym.testing.masks import check_masks
from tests.market import WINDOW, M, Market


def always(held: Vector) -> Vector:
    """Those that are held, traded or not."""
    return held


def halves(state: Vector, out: Any) -> None:
    """Nobody is quite there."""
    for i in range(M * (WINDOW + 2)):
        out[i] = 0.5


class Everybody(Market):
    """Nobody says who is there."""

    __doc__ = Market.__doc__
    present = None  # type: ignore[assignment]


class Untraded(Market):
    """Gives shares to what isn't traded."""

    present = staticmethod(always)  # type: ignore[assignment]


class Halves(Market):
    """No mask at all."""

    observation = staticmethod(halves)  # type: ignore[assignment]


class Queues(SimulatorFamily):
    """Up to three queues, of which one is served; the longest is closed."""

    parameters = ParameterSpace([Parameter("queues", "1", "that there are", (1, 3), Integer(1, 3), 3, integer=True)])
    actions = Simplex(3)
    observations = Entities(3, (Quantity("open", "1", "whether it is"),), (1.0,), (0.0,))
    horizon = 5
    rewards = {"none": "nothing"}  # noqa: RUF012 (declared as ClassVar in the base class)
    simulator = f"{__name__}:Served"


class Served:
    """Queues that open one by one."""

    seen_late = 0

    def __init__(self, family: Queues, task: Mapping[str, float], reward: str) -> None:
        """Take the task."""
        self._n, self._clock = int(task["queues"]), 0

    def reset(self, rng: np.random.Generator) -> Any:
        """None is open."""
        self._clock = 0
        return self._look()

    def step(self, action: Any, rng: np.random.Generator) -> tuple[Any, float, bool]:
        """One more is."""
        self._clock += 1
        return self._look(), 0.0, False

    def present(self) -> tuple[float, ...]:
        """Those that are open."""
        return tuple(float(i < min(self._n, self._clock)) for i in range(3))

    def _look(self) -> Any:
        return np.array([i < min(self._n, self._clock - self.seen_late) for i in range(3)], np.float32)

    def snapshot(self) -> Any:
        """How far."""
        return self._clock

    def restore(self, snapshot: Any) -> None:
        """There again."""
        self._clock = snapshot


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Everybody", r"say who is there as `present` does, \(1, 1, 1\) \(preset 'default', task \d, after `reset`\)"),
        ("Untraded", r"as `present` does, \(1, 0, 0\) \(bounds, task \d, after `reset`\)\. Received \(0, 0, 0\)"),
        (
            "Halves",
            r"the last channel of entity 0 must be 1 or 0 \(preset 'default', task 0, after `reset`\)\. .* 0\.5",
        ),
    ],
)
def test_a_mask_that_says_otherwise(name: str, message: str) -> None:
    """The error says where, and both."""
    kind = lifelong_gym.family(f"{__name__}:{name}")
    with pytest.raises(AssertionError, match=f"Mine: .*{message}"):
        check_masks("Mine", kind, {})


def test_masks_of_simulators(monkeypatch: pytest.MonkeyPatch) -> None:
    """As they are, and one that is a step late."""
    kind = lifelong_gym.family(f"{__name__}:Queues")
    check_masks("Queues", kind, {})
    monkeypatch.setattr(Served, "seen_late", 1)
    with pytest.raises(
        AssertionError, match=r"\(1, 0, 0\) \(preset 'default', task 0, step 0\)\. Received \(0, 0, 0\)"
    ):
        check_masks("Queues", kind, {})


def test_a_whole_check_tells_of_masks(register: Callable[..., str]) -> None:
    """It is one of the promises."""
    id = register("Everybody", "test_masks")
    with pytest.raises(AssertionError, match=f"^{id}: observations must say who is there"):
        check_family(id, backend="numpy")
