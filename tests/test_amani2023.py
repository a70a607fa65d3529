"""The paper of agents that share experience: its science against known truths."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lifelong_gym.numerics.optima import optimal_actions
from lifelong_gym.papers.amani2023 import deep, science, signatures, theory
from lifelong_gym.papers.numbers import Numbers
from lifelong_gym.papers.reproduce import Reproduction, folder_of

PAPER = Reproduction.of(folder_of("amani2023"), "default", Path("nowhere"))
SETTINGS = {"/".join(cell.place): cell.settings for cell in PAPER.cells}
GRID = SETTINGS["grid worlds/grid worlds/isolated"]


@pytest.mark.parametrize(("n_agents", "speed_up"), [(1, 1.0), (3, 2.60), (5, 3.95), (7, 5.05), (10, 6.35), (20, 8.69)])
def test_what_coverage_alone_can_give(n_agents: int, speed_up: float) -> None:
    """Ten tasks, each agent in an order of its own."""
    assert 10 / theory.expected_scratch(10, n_agents) == pytest.approx(speed_up, abs=0.005)


def test_draws_agree_with_the_formula() -> None:
    """Tasks from scratch as expected; N T = M log(M / delta) covers ten tasks with 1 - 10 (1 - 1/10)^54, nearly."""
    settings = {**SETTINGS["coverage/10 tasks/N = 5"], "draws": 4000}
    found = theory.coverage(settings, lambda share: None)
    assert found["scratch"] == pytest.approx(found["expected"], abs=0.02)
    length = 5 * theory.rounds_of(10, 5, 0.05, 1.0)
    assert found["one"] == pytest.approx(1 - 10 * 0.9**length, abs=0.015)
    assert found["six"] == 1.0


class Follows:
    """Does what is best in one task."""

    def __init__(self, actions: Any) -> None:
        self._actions = actions

    def predict(self, seen: Any, deterministic: bool = False) -> tuple[Any, None]:
        """In each cell."""
        return self._actions[seen], None


def test_returns_are_exact() -> None:
    """The best policy of a task earns nearly 1 there, at most 1 anywhere, and more than acting at random."""
    test = deep.Exact(GRID)
    for task in test.tasks:
        worth = test([Follows(optimal_actions(test.models[task]))] * len(test.tasks))
        assert 0.85 < worth[task] < 1.0
        assert max(worth) < 1.0
        assert worth[task] > test.random[task] + 0.5


def test_random_reports_tell_the_grid_worlds_apart() -> None:
    """Scripts repeat from each start, and reports of one task are nearest to each other."""
    settings = {**SETTINGS["signatures/grid worlds/observation"], "meeting_steps": 500, "seed": 100}
    assert signatures.measure(settings, lambda share: None)["nearest"] == 1.0


def numbers(**by_method: list[Any]) -> Numbers:
    """Returns over time, (n_agents, n_evaluations) a seed, of three tasks alike; acting at random earns 1."""
    cells = {
        method: {
            "history": runs,
            "final": [[[agent[-1]] * 3 for agent in run] for run in runs],
            "random": [[1.0] * 3 for _ in runs],
        }
        for method, runs in by_method.items()
    }
    return Numbers({"quantities": {"s": {"w": cells}}, "values": {"s": {"w": {key: {} for key in cells}}}})


def test_agent_reward_and_time() -> None:
    """0 is random, 1 the isolated agent at its end; who never gets there counts as all steps."""
    told = {science.ISOLATED: [[[1, 1, 2, 2, 3]], [[1, 2, 2, 3, 3]]], "N = 2": [[[1, 3, 3, 3, 5], [1, 1, 1, 1, 1]]] * 2}
    found = numbers(**told)
    assert science.rewards(found, "s", "w", science.ISOLATED) == [1.0, 1.0]
    assert science.rewards(found, "s", "w", "N = 2") == [1.0, 1.0]
    assert science.times(found, "s", "w", science.ISOLATED, 0.9) == [1.0, 0.75]
    assert science.times(found, "s", "w", science.ISOLATED, 0.4) == [0.5, 0.25]
    assert science.times(found, "s", "w", "N = 2", 0.9) == [(0.25 + 1.0) / 2] * 2
    assert science.slope(found, "s", ("w",))["w, N = 2"].estimate == pytest.approx(1 / 1.76)
    assert science.time_growth(found, "s", ("w",))["w"].estimate == pytest.approx(0.625 / np.sqrt(0.75))
