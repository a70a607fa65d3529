"""Regret of the safe lifelong learner against the best fixed safe parameters in hindsight, and how it grows.

Comparators are of the learner's own class, for freer ones would seem to win by ever more with each round. With L = I,
or fixed, that is each task's best safe policy, or code: a convex program, exact. With L learned (``joint``) it is the
best L with its best safe codes: exact for each L; over L, local searches go down from several starts. What they miss
makes the comparator worse, so that this regret is a lower bound.

The regret against each task's best safe policy, whatever the basis, stands beside it: for ``joint`` an upper bound.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import scipy.optimize

from lifelong_gym.agents.safety.nearest import nearest, times
from lifelong_gym.agents.safety.projection import SafeSets
from lifelong_gym.agents.safety.steps import Losses, Regulariser, code_system
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.papers.sweeps import Progress

from .game import BOUNDS, JOINT, Game, Played, first_of, play

NOTHING = Regulariser(1e-12, 1e-12)  # so that tasks that were never named have a best code too: 0
ALIKE = 0.01  # of the regret: searches that end so close have found the same
N_POINTS = 40  # of the curve


def best_policies(sets: SafeSets, losses: Losses, basis: FloatArray) -> FloatArray:
    """The safe policies ``a_t + L s_t`` that lose least for a given L, shape (n_tasks, d): exact."""
    matrix, vector = code_system(basis, sets.anchors, losses, NOTHING)
    codes = np.asarray(np.linalg.solve(matrix, vector[:, :, None])[:, :, 0], np.float64)
    return sets.project(basis, codes, BOUNDS, metric=matrix).policies


def value_of_basis(sets: SafeSets, losses: Losses, basis: FloatArray) -> tuple[float, FloatArray]:
    """What the best safe codes for L lose, but for a constant, and its gradient, that of the Lagrangian, (d, k)."""
    matrix, vector = code_system(basis, sets.anchors, losses, NOTHING)
    free = np.asarray(np.linalg.solve(matrix, vector[:, :, None])[:, :, 0], np.float64)
    rows, room = sets.matrix @ basis, sets.bound - times(sets.matrix, sets.anchors)
    found = nearest(free, rows, room, matrix)
    length = np.sqrt(np.einsum("nck,nkc->nc", rows, np.linalg.solve(matrix, rows.transpose(0, 2, 1))))
    length[length == 0] = 1.0
    farthest = np.maximum(((times(rows, free) - room) / length).max(axis=1), 0.0)
    multipliers = farthest[:, None] * found.multipliers / length
    policies = sets.policies(basis, found.points)
    slopes = times(losses.curvature, policies) - losses.pull + times(sets.matrix.transpose(0, 2, 1), multipliers)
    return float(losses.values(policies).sum()), np.asarray(slopes.T @ found.points, np.float64)


def improved(sets: SafeSets, losses: Losses, start: FloatArray) -> FloatArray:
    """An orthonormal basis (only its span counts) for which the best safe codes lose less than for all near it."""
    scale = max(1, int(losses.rounds.sum()))

    def value(flat: FloatArray) -> tuple[float, FloatArray]:
        lost, gradient = value_of_basis(sets, losses, flat.reshape(start.shape))
        return lost / scale, gradient.ravel() / scale

    first = np.linalg.qr(start)[0].ravel()
    found = scipy.optimize.minimize(
        value, first, jac=True, method="L-BFGS-B", options={"maxiter": 200, "ftol": 1e-9, "gtol": 1e-9}
    )
    return np.asarray(np.linalg.qr(found.x.reshape(start.shape))[0], np.float64)


def starts(game: Game, losses: Losses, last: FloatArray, n_random: int, seed: int) -> list[FloatArray]:
    """Bases to search from: the learner's last (alone, it missed up to a third), the hidden one, the optima's, random.

    With ten random ones, the best end missed less than 2% of the regret of the best among a hundred, in five games.
    """
    d, k = game.basis.shape
    optima = best_policies(game.sets, losses, np.eye(d)) - game.sets.anchors
    leading = np.linalg.svd(optima.T, full_matrices=False)[0][:, :k]
    return [last, game.basis, leading, *np.random.default_rng(seed).normal(size=(n_random, d, k))]


def losses_of(game: Game, played: Played, policies: FloatArray) -> FloatArray:
    """What fixed policies (n_tasks, d) would have been charged in each round, (n_rounds,)."""
    return game.losses(played.tasks, policies[played.tasks])[np.arange(len(played.tasks)), played.which]


class Hindsight(NamedTuple):
    """Of a game."""

    regret: FloatArray  # so far, against the comparator of the whole game, (n_rounds,)
    per_task: float  # the whole game's against each task's best safe policy
    agreement: float  # share of the local searches that found the comparator; 1 where it is exact


def outcome(game: Game, played: Played, basis: str, n_random: int, seed: int) -> Hindsight:
    """Compare a game with the best in hindsight."""
    summed = game.hindsight(played.tasks, played.which)
    charged = float(played.losses.sum())
    bases = [first_of(game, basis)]
    if basis == JOINT:
        bases = [improved(game.sets, summed, at) for at in starts(game, summed, played.basis, n_random, seed)]
    compared = [losses_of(game, played, best_policies(game.sets, summed, at)) for at in bases]
    totals = np.array([losses.sum() for losses in compared])
    regret = np.cumsum(played.losses - compared[int(totals.argmin())])
    free = best_policies(game.sets, summed, np.eye(len(game.basis)))
    alike = np.mean(totals - totals.min() <= ALIKE * abs(charged - totals.min()))
    return Hindsight(regret, charged - float(losses_of(game, played, free).sum()), float(alike))


def measure(settings: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Play the game with one learner, once for each of ``n_rounds``, which rise.

    Of each ``regret``, ``regret_per_task_optimum``, ``loss`` (what was charged) and ``agreement`` (see `Hindsight`);
    ``curve``: regret of the longest; ``violations`` of ``A theta <= b`` in all of them, among ``checks`` policies.
    """
    game = Game.drawn(settings["n_tasks"], settings["d"], settings["k"], settings["seed"])
    figures: dict[str, Any] = {name: [] for name in ("regret", "regret_per_task_optimum", "loss", "agreement")}
    figures |= {"rounds": list(settings["n_rounds"]), "violations": 0, "checks": 0}
    for i, n_rounds in enumerate(settings["n_rounds"]):
        played = play(game, settings, n_rounds)
        found = outcome(game, played, settings["basis"], settings["n_searches"], settings["seed"])
        figures["regret"].append(float(found.regret[-1]))
        figures["regret_per_task_optimum"].append(found.per_task)
        figures["loss"].append(float(played.losses.sum()))
        figures["agreement"].append(found.agreement)
        figures["violations"] += played.violations
        figures["checks"] += played.checks
        figures["curve"] = curve(found.regret)
        progress(sum(settings["n_rounds"][: i + 1]) / sum(settings["n_rounds"]))
    return figures


def curve(regret: FloatArray) -> dict[str, list[Any]]:
    """Of regret by round, (n_rounds,): some rounds, about as far from each other on a logarithmic scale."""
    at = np.unique(np.geomspace(1, len(regret), N_POINTS).round().astype(int))
    return {"at": at.tolist(), "values": regret[at - 1].tolist()}


def exponent(figures: Mapping[str, Any]) -> float:
    """Power x of regret ``~ R^x``, by least squares on logarithms; 0 where some regret isn't above 0."""
    regret = np.asarray(figures["regret"], np.float64)
    if (regret <= 0).any():
        return 0.0
    return float(np.polyfit(np.log(figures["rounds"]), np.log(regret), 1)[0])


def upper_exponent(figures: Mapping[str, Any]) -> float:
    """The same against each task's best safe policy."""
    return exponent({**figures, "regret": figures["regret_per_task_optimum"]})
