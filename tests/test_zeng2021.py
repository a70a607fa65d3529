"""What the paper of decentralised policy gradients measures, against numbers that are known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lifelong_gym.papers.numbers import Numbers
from lifelong_gym.papers.reproduce import Reproduction, folder_of
from lifelong_gym.papers.zeng2021 import chains, drones, grids, science
from lifelong_gym.wrappers import as_vec_env

PAPER = Reproduction.of(folder_of("zeng2021"), "default", Path("nowhere"))
SETTINGS = {"/".join(cell.place): cell.settings for cell in PAPER.cells}


def measured(measure: Any, place: str, **own: Any) -> dict[str, Any]:
    """Figures of a cell of the default run, some of whose settings are others."""
    found: dict[str, Any] = measure({**SETTINGS[place], **own}, lambda share: None)
    return found


def test_the_second_chain() -> None:
    """Values at p = .7, those that are printed, and the entries of matrices that are wrong; uniform is a minimum."""
    found = measured(chains.stationary, "chain 2/p 0.7/exact")
    close = {"pi_1": -0.25597, "pi_3": -0.37712, "printed_1": -0.016, "printed_3": -0.53333}
    for name, value in close.items():
        assert found[name] == pytest.approx(value, abs=1e-5)
    assert found["wrong"] == ["D1 of π3 (3,2)", "D2 of π3 (1,4)"]
    assert found["off_general"] < 1e-12
    assert found["curvature_seen"] == pytest.approx(found["curvature"], rel=1e-4)


def test_the_first_chain() -> None:
    """The best of a grid is the stochastic policy, worth 2 g / (2 - g^2)."""
    found = measured(chains.stochastic, "chain 1/γ 0.9/exact", stride=5)
    assert (found["q"], found["others"]) == (0.5, 1.0)
    assert found["best"] == pytest.approx(1.8 / (2 - 0.81), abs=1e-12)
    assert chains.theorem_1([0.9] * 2, 0.0) == pytest.approx(3.1e-5, rel=0.02)


def test_what_theorem_2_asks_for() -> None:
    """Map B, nothing absorbs, starts anywhere: optimum, mismatch, weight, step and rounds."""
    found = measured(grids.within, "assumption 2/map B/tracking", rounds=1)
    assert found["optimum"] == pytest.approx(4.1676, abs=1e-4)
    assert found["coefficient"] == pytest.approx(158, abs=1)
    assert found["weight"] == pytest.approx(1.65e-4, rel=0.01)
    assert found["step"] == pytest.approx(1.6e-14, rel=0.05)
    assert 9e29 <= found["rounds"] < 1e30
    assert found["never"] > 0


def test_recorded_flights_are_flown_again() -> None:
    """By their actions alone, before another camera: as many metres."""
    few = {**SETTINGS["drones/PPO/DCPG"], "resolution": 24, "horizon": 12}
    tasks = drones.places(few, 1, 0)
    env = as_vec_env(drones.ID, tasks=tasks, **drones.camera(few))
    lengths, flown = drones.safe_flights(drones.RandomFlight(0), env)
    eyes = as_vec_env(drones.ID, tasks=tasks, **drones.camera({**few, "camera": "depth"}))
    again, _ = drones.safe_flights(Recorded(flown), eyes)
    np.testing.assert_array_equal(again, lengths)
    assert np.ptp(lengths) > 0


@pytest.mark.parametrize("method", PAPER.paper.studies["ablations"].methods)
def test_ablations_can_be_made(method: str) -> None:
    """Four agents each, with what is changed; those alone hear nobody."""
    few = {"resolution": 24, "rows": 1, "n_steps": 4, "n_layouts": 1}
    model = drones.learner({**SETTINGS[f"ablations/PPO/{method}"], **few}, 0.001, 0)
    assert len(model.agents) == 4
    assert not method.startswith("alone") or model.channel.sigma_2 == pytest.approx(1.0)


class Recorded:
    """Actions of so many flights, one after the other."""

    def __init__(self, flown: list[list[int]]) -> None:
        self._flown, self._step = flown, -1

    def predict(self, seen: Any, deterministic: bool = False) -> tuple[Any, None]:
        """The next ones; of flights that have ended the last."""
        self._step += 1
        return np.array([actions[min(self._step, len(actions) - 1)] for actions in self._flown]), None


def test_seeds_are_counted_that_reach_what_is_known() -> None:
    """Of map D five goals at .80 to .86 of the optimum."""
    runs = {"share": [0.82, 0.9, 0.85, 0.81], "goals": [5, 5, 5, 4]}
    numbers = Numbers({"quantities": {"maps": {"D": {"DCPG": runs}}}, "values": {}})
    assert science.reached(numbers, "maps", ("D",))["D"].estimate == 2
