"""References belong to the families: formulas that a family states, and who solves tasks how often."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lifelong_gym
from lifelong_gym.benchmark.baselines import measured_references
from lifelong_gym.benchmark.experiment import levels_of
from lifelong_gym.benchmark.families import FamilySpec
from lifelong_gym.benchmark.protocol import Protocol
from lifelong_gym.envs.family import Columns
from lifelong_gym.envs.spaces import Continuous
from lifelong_gym.errors import FamilyError
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.references import linear
from lifelong_gym.references.closed_form import ClosedForm
from lifelong_gym.references.linear import LinearSearch
from lifelong_gym.references.reference import reference_of
from tests.broken_families import DT, Room, variant

STRONG = 30.0
BY_FORMULA = {
    "reference": "lifelong_gym.references.closed_form:ClosedForm",
    "actions": Continuous(Room.actions.channels, (STRONG,)),
}


def back_at_once(self: Room, parameters: Columns, observations: Any, reward: str) -> Any:
    """To the goal in one step, but for the wind."""
    warm = observations[:, 0]
    return ((parameters["loss"] - parameters["capacity"] / DT) * warm / STRONG)[:, None].astype(np.float32)


def only_the_wind(self: Room, parameters: Columns, reward: str) -> FloatArray:
    """Its mean square, at every step."""
    return -Room.horizon * np.square(DT / parameters["capacity"]) / 12


def full_power(self: Room, parameters: Columns, observations: Any, reward: str) -> Any:
    """As if the heater were always on."""
    return np.ones((len(observations), 1), np.float32)


Measured = variant("Measured", best_actions=back_at_once, **BY_FORMULA)
Stated = variant("Stated", best_actions=back_at_once, best_returns=only_the_wind, **BY_FORMULA)
Heated = variant("Heated", best_actions=back_at_once, idle_actions=full_power, **BY_FORMULA)


def test_a_formula_is_measured_or_stated() -> None:
    """Returns that are measured agree with the formula for them, and doing nothing is the action 0 or what is said."""
    tasks = lifelong_gym.sample_tasks(f"{__name__}:Stated", 4)
    found = {name: measured_references(f"{__name__}:{name}", tasks, 64, 0) for name in ("Measured", "Stated", "Heated")}
    measured, stated, heated = (found[name] or {} for name in ("Measured", "Stated", "Heated"))
    assert measured["how"] == "closed form"
    assert stated["best"] == only_the_wind(Room(), Room.parameters.columns(tasks.values), "warmth").tolist()
    np.testing.assert_allclose(measured["best"], stated["best"], rtol=0.05)
    assert measured["zero"] == stated["zero"]
    assert max(heated["zero"]) < min(measured["zero"])


def test_a_formula_is_as_good_as_the_search() -> None:
    """The best linear policy is the same one, found otherwise."""
    kind, tasks = lifelong_gym.family(f"{__name__}:Stated"), lifelong_gym.sample_tasks(f"{__name__}:Stated", 3)
    seen = np.linspace(-0.5, 0.5, 9, dtype=np.float32)[:, None]
    by_search = LinearSearch(kind, tasks, "warmth").predict(seen)
    np.testing.assert_allclose(ClosedForm(kind, tasks, "warmth").predict(seen), by_search, atol=0.02)


def test_a_family_without_formula() -> None:
    """What is missing is named."""
    kind = lifelong_gym.family("LifelongSimpleMass-v0")
    with pytest.raises(FamilyError, match=r"SimpleMass must have a method `best_actions\(parameters"):
        ClosedForm(kind, kind.parameters.sample(1), "norm")


def test_a_family_without_reference() -> None:
    """Nothing is known of it: neither levels nor headroom."""
    name = "tests.broken_families:Room"
    assert reference_of(lifelong_gym.family(name), lifelong_gym.sample_tasks(name, 2)) is None
    assert levels_of(FamilySpec.of(name, 2), Protocol()) == (None, None)


def test_tasks_are_solved_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether for the scale or for the headroom."""
    searched: list[str] = []
    search = linear.best_policies

    def counted(*arguments: Any) -> FloatArray:
        searched.append(arguments[2])
        return search(*arguments)

    monkeypatch.setattr(linear, "best_policies", counted)
    levels = levels_of(FamilySpec.of("LifelongSimpleMass-v0", 2), Protocol(n_eval_episodes=2))
    assert levels.headroom is not None
    assert searched == ["norm"]
