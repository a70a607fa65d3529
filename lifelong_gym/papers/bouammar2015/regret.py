"""Regret of the safe lifelong learner against the best fixed safe parameters in hindsight, and how it grows.

Comparators are of the learner's own class, for freer ones would seem to win by ever more with each round:

========  ===========================================================================================================
basis     comparator
========  ===========================================================================================================
identity  each task's best safe policy: a convex program, exact
fixed     each task's best safe code for that L: a convex program, exact
joint     the best L with its best safe codes: not convex. Codes are exact for each L; over L, local searches go down
          from several starts. What they miss makes the comparator worse, so that this regret is a lower bound
========  ===========================================================================================================

The regret against each task's best safe policy, whatever the basis, stands beside it: for ``joint`` an upper bound.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.optimize

from lifelong_gym.agents.safety.nearest import nearest, times
from lifelong_gym.agents.safety.projection import SafeSets
from lifelong_gym.agents.safety.steps import Losses, Regulariser, code_system
from lifelong_gym.measures.statistics import Interval, bootstrap
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.papers.bouammar2015.game import BOUNDS, JOINT, Game, Played, first_of, play
from lifelong_gym.papers.jobs import Progress

NOTHING = Regulariser(1e-12, 1e-12)  # so that tasks that were never named have a best code too: 0
N_STARTS = 10
ALIKE = 0.01  # of the regret: searches that end so close have found the same
N_POINTS = 40  # of the curve


def best_policies(sets: SafeSets, losses: Losses, basis: FloatArray) -> FloatArray:
    """The safe policies ``a_t + L s_t`` that lose least for a given L, shape (n_tasks, d): exact."""
    matrix, vector = code_system(basis, sets.anchors, losses, NOTHING)
    codes = np.asarray(np.linalg.solve(matrix, vector[:, :, None])[:, :, 0], np.float64)
    return sets.project(basis, codes, BOUNDS, metric=matrix).policies


def value_of_basis(sets: SafeSets, losses: Losses, basis: FloatArray) -> tuple[float, FloatArray]:
    """What the best safe codes for L lose, but for a constant, and its gradient by L, shape (d, k).

    By the envelope theorem it is that of the Lagrangian: ``sum_t (H_t theta_t - h_t + A_t' lambda_t) s_t'``.
    """
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
    """A basis for which the best safe codes lose less than for all near it.

    Policies depend on L through the space that its columns span only. So orthonormal columns, which the spectral
    bounds allow, are as good as any.
    """
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
    """Bases to search from: the learner's last, the hidden one, the per-task optima's, and random ones.

    With ten random ones, what the best end missed of the best among a hundred was less than 2% of the regret in each
    of five games. From the learner's last alone, searches missed up to a third.
    """
    d, k = game.basis.shape
    optima = best_policies(game.sets, losses, np.eye(d)) - game.sets.anchors
    leading = np.linalg.svd(optima.T, full_matrices=False)[0][:, :k]
    return [last, game.basis, leading, *np.random.default_rng(seed).normal(size=(n_random, d, k))]


def losses_of(game: Game, played: Played, policies: FloatArray) -> FloatArray:
    """What fixed policies (n_tasks, d) would have been charged in each round, (n_rounds,)."""
    return game.losses(played.tasks, policies[played.tasks])[np.arange(len(played.tasks)), played.which]


class Hindsight(NamedTuple):
    """Of a game.

    Attributes:
        regret: so far, against the comparator of the whole game, shape (n_rounds,).
        per_task: the whole game's against each task's best safe policy.
        agreement: share of the local searches that found the comparator; 1 where it is exact.
    """

    regret: FloatArray
    per_task: float
    agreement: float


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
    """Play the game with one learner, once for each number of rounds.

    Args:
        settings: ``variant`` (A, B, C), ``order`` (iid, blocked, adaptive), ``basis`` (identity, fixed, joint),
            ``n_rounds`` (a list, rising), ``n_tasks``, ``d``, ``k``, ``n_inner`` (of A and C, for ``joint``), ``seed``,
            and ``n_starts``, random ones of the comparator's searches (default 10).
        progress: is called with the share done.

    Returns:
        For each number of rounds ``regret``, ``regret_per_task_optimum``, ``loss`` (what was charged), ``agreement``
        (see `Hindsight`) and ``seconds`` of the processor. ``curve``: regret of the longest game after the rounds
        ``at``. ``violations`` of ``A theta <= b`` in all games, among ``checks`` policies.
    """
    game = Game.drawn(settings["n_tasks"], settings["d"], settings["k"], settings["seed"])
    figures: dict[str, Any] = {name: [] for name in ("regret", "regret_per_task_optimum", "loss", "agreement")}
    figures |= {"rounds": list(settings["n_rounds"]), "seconds": [], "violations": 0, "checks": 0}
    for i, n_rounds in enumerate(settings["n_rounds"]):
        begun = time.process_time()
        played = play(game, settings, n_rounds)
        found = outcome(game, played, settings["basis"], settings.get("n_starts", N_STARTS), settings["seed"])
        figures["regret"].append(float(found.regret[-1]))
        figures["regret_per_task_optimum"].append(found.per_task)
        figures["loss"].append(float(played.losses.sum()))
        figures["agreement"].append(found.agreement)
        figures["violations"] += played.violations
        figures["checks"] += played.checks
        figures["curve"] = curve(found.regret)
        figures["seconds"].append(round(time.process_time() - begun, 3))
        progress(sum(settings["n_rounds"][: i + 1]) / sum(settings["n_rounds"]))
    return figures


def curve(regret: FloatArray) -> dict[str, list[Any]]:
    """Of regret by round, (n_rounds,): some rounds, about as far from each other on a logarithmic scale."""
    at = np.unique(np.geomspace(1, len(regret), N_POINTS).round().astype(int))
    return {"at": at.tolist(), "regret": regret[at - 1].tolist()}


class Growth(NamedTuple):
    """Exponents x of regret ``~ R^x``, with 95% intervals over seeds; None where some regret isn't above 0.

    Attributes:
        exponent: fitted to all numbers of rounds.
        tail: of the last step alone, to the largest number of rounds.
    """

    exponent: Interval | None
    tail: Interval | None

    def __str__(self) -> str:
        """As in a table."""
        return "not above 0" if self.exponent is None else f"{self.exponent}, at the end {self.tail}"


def growth(rounds: Sequence[int], regrets_by_seed: npt.ArrayLike) -> Growth:
    """Fit how regret grows: by least squares on logarithms for each seed, then the mean over seeds.

    Args:
        rounds: R, at least two, rising.
        regrets_by_seed: shape (n_seeds, n_rounds), with at least two seeds.

    Raises:
        ValueError: other shapes, or regrets that are no numbers.
    """
    at, regrets = np.asarray(rounds, np.float64), np.asarray(regrets_by_seed, np.float64)
    if len(at) < 2 or not (np.diff(at) > 0).all() or at[0] <= 0:
        raise ValueError(f"`rounds` must be at least two positive numbers, rising. Received {list(rounds)}")
    if regrets.ndim != 2 or regrets.shape[0] < 2 or regrets.shape[1:] != at.shape or not np.isfinite(regrets).all():
        raise ValueError(f"`regrets_by_seed` must be finite, (n_seeds, {len(at)}), n_seeds >= 2. Received {regrets}")
    if (regrets <= 0).any():
        return Growth(None, None)
    x, y = np.log(at), np.log(regrets)
    return Growth(bootstrap(np.polyfit(x, y.T, 1)[0]), bootstrap((y[:, -1] - y[:, -2]) / (x[-1] - x[-2])))
