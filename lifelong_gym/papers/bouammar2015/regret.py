"""Regret of the safe lifelong learner against the best fixed safe parameters in hindsight, and how it grows.

In an online game, a round names a task and one of its two losses ``l = (theta - target)' F_t (theta - target) / 2``,
of linear policies in boxes. The learner is charged for the policy that it has before it is told. A task's targets are
``a_t + w_t + v_t`` and ``a_t + w_t - v_t``, equally bad at the anchor a_t (``w_t' F_t v_t = 0``), both w_t and v_t
being combinations of a hidden basis's columns. They reach far beyond the task's box of half-width 0.3, so that
constraints bind throughout; and an adversary changes sides in every other of a task's rounds.

Tasks come up ``iid``, by chance, as does the loss; or ``blocked``, each with all its rounds in a row; or ``adaptive``:
in turn, and the adversary sees the policy and takes the loss that is larger. As the learner is deterministic, the same
sequence could have been written down beforehand.

Comparators are of the learner's own class, for freer ones would seem to win by ever more with each round. With L = I,
or fixed, that is each task's best safe policy, or code: a convex program, exact. With L learned (``joint``) it is the
best L with its best safe codes: exact for each L; over L, local searches go down from several starts. What they miss
makes the comparator worse, so that this regret is a lower bound, and that against each task's best safe policy,
whatever the basis, an upper one.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import scipy.optimize

from lifelong_gym.agents.safety.constraints import PolicyConstraints
from lifelong_gym.agents.safety.nearest import nearest, times
from lifelong_gym.agents.safety.projection import SafeSets, SpectralBounds
from lifelong_gym.agents.safety.steps import LinearisedStep, Losses, Regulariser, SafeStep, code_system, first_basis
from lifelong_gym.errors import one_of
from lifelong_gym.numerics.arrays import FloatArray, IntArray
from lifelong_gym.numerics.directions import first_best
from lifelong_gym.papers.sweeps import Progress, Values

BOUNDS = SpectralBounds()
MU = Regulariser(0.5, 0.5)
HALF_WIDTH = 0.3
REACH = 2.0  # of w and v, in the norm of F
IDENTITY, FIXED, JOINT = "identity", "fixed", "joint"
VARIANTS, ORDERS, BASES = ("A", "B", "C"), ("iid", "blocked", "adaptive"), (IDENTITY, FIXED, JOINT)
NOTHING = Regulariser(1e-12, 1e-12)  # so that tasks that were never named have a best code too: 0
ALIKE = 0.01  # of the regret: searches that end so close have found the same
N_POINTS = 40  # of the curve


class Game(NamedTuple):
    """Tasks, their safe sets (a box about a random anchor each) and their losses; the hidden basis is orthonormal."""

    sets: SafeSets
    targets: FloatArray  # (n_tasks, 2, d)
    curvature: FloatArray  # F, of trace d, (n_tasks, d, d)
    basis: FloatArray  # (d, k)

    @classmethod
    def drawn(cls, n_tasks: int, d: int, k: int, seed: int) -> Game:
        """A random game; k is at least 2."""
        rng = np.random.default_rng(seed)
        sets = SafeSets(n_tasks, d)
        for task, middle in enumerate(rng.normal(size=(n_tasks, d))):
            sets.register(task, PolicyConstraints.gains(middle - HALF_WIDTH, middle + HALF_WIDTH), middle)
        root = rng.normal(size=(n_tasks, d, d))
        product = root @ root.transpose(0, 2, 1)
        curvature = product * d / np.trace(product, axis1=1, axis2=2)[:, None, None]
        basis = np.linalg.qr(rng.normal(size=(d, k)))[0]
        w, v = (rng.normal(size=(n_tasks, k)) @ basis.T for _ in range(2))
        w *= REACH / _norm(w, curvature)[:, None]
        v -= np.einsum("nd,nde,ne->n", v, curvature, w)[:, None] * w / REACH**2
        v *= REACH / _norm(v, curvature)[:, None]
        targets = sets.anchors[:, None] + np.stack([w + v, w - v], axis=1)
        return cls(sets, targets, curvature, basis)

    def losses(self, tasks: IntArray, policies: FloatArray) -> FloatArray:
        """Both losses of tasks (n,) under policies (n, d): (n, 2)."""
        away = policies[:, None] - self.targets[tasks]
        return 0.5 * ((away @ self.curvature[tasks]) * away).sum(axis=2)

    def hindsight(self, tasks: IntArray, which: IntArray) -> Losses:
        """The sum of the losses of all these rounds."""
        n = len(self.targets)
        counts = np.bincount(2 * tasks + which, minlength=2 * n).reshape(n, 2)
        wanted = (counts[:, :, None] * self.targets).sum(axis=1)
        rounds = counts.sum(axis=1)
        return Losses(rounds[:, None, None] * self.curvature, times(self.curvature, wanted), rounds)


def _norm(vectors: FloatArray, metric: FloatArray) -> FloatArray:
    return np.sqrt(np.einsum("nd,nde,ne->n", vectors, metric, vectors))


def schedule(order: str, n_tasks: int, n_rounds: int, seed: int) -> tuple[IntArray, IntArray | None]:
    """The task of each round, and which target, both (n_rounds,); None leaves the latter to the adversary."""
    rounds = np.arange(n_rounds)
    if order == "adaptive":
        return rounds % n_tasks, None
    rng = np.random.default_rng([seed, n_rounds])
    by_chance, which = rng.integers(n_tasks, size=n_rounds), rng.integers(2, size=n_rounds)
    return by_chance if order == "iid" else rounds * n_tasks // n_rounds, which


def batches(tasks: IntArray, one_by_one: bool) -> Iterator[IntArray]:
    """Rounds that are played at once: each on its own, or the first ones of all tasks, the second ones, and so on."""
    if one_by_one:
        yield from np.arange(len(tasks))[:, None]
        return
    by_task = np.argsort(tasks, kind="stable")
    counts = np.bincount(tasks)
    turn = np.arange(len(tasks)) - np.repeat(np.cumsum(counts) - counts, counts)
    order = by_task[np.argsort(turn, kind="stable")]
    yield from np.split(order, np.cumsum(np.bincount(turn))[:-1])


class Played(NamedTuple):
    """A game that is over; (n_rounds,) each."""

    tasks: IntArray
    which: IntArray  # of the task's targets
    losses: FloatArray  # that the learner was charged
    checks: int  # policies that were ever in force, of all tasks
    violations: int  # how many of them are outside their safe sets, without tolerance
    basis: FloatArray  # the learner's last, (d, k)


def first_of(game: Game, basis: str) -> FloatArray:
    """L_1: the identity, the hidden basis, or the first axes, which know nothing of it."""
    d, k = game.basis.shape
    return {IDENTITY: np.eye(d), FIXED: game.basis, JOINT: first_basis(d, k, BOUNDS)}[basis]


def play(game: Game, settings: Values, n_rounds: int, one_by_one: bool | None = None) -> Played:
    """Play ``n_rounds``, which the learner knows; those of different tasks at once where L is fixed.

    Of variant A, B or C, with ``eta = 1 / sqrt(n_rounds)`` and without forgetting.
    """
    for name, known in (("variant", VARIANTS), ("turns", ORDERS), ("basis", BASES)):
        one_of(name, settings[name], known)
    sets, start = game.sets, first_of(game, settings["basis"])
    variant, is_fixed = settings["variant"], settings["basis"] != JOINT
    (n, d), k, eta = sets.anchors.shape, start.shape[1], 1.0 / np.sqrt(n_rounds)
    step = SafeStep("A" if variant == "A" else "C", BOUNDS, MU, settings["n_inner"], is_fixed, warm_start=False)
    linear = LinearisedStep.begin(start, n) if variant == "B" else None
    told, now = Losses.none(n, d), sets.project(start, np.zeros((n, k)), BOUNDS)
    tasks, drawn = schedule(settings["turns"], n, n_rounds, settings["seed"])
    which, losses, safe = np.zeros(n_rounds, np.int64), np.zeros(n_rounds), [sets.holds(now.policies)]
    for rounds in batches(tasks, not is_fixed if one_by_one is None else one_by_one):
        at = tasks[rounds]
        both = game.losses(at, now.policies[at])
        which[rounds] = first_best(both) if drawn is None else drawn[rounds]
        losses[rounds] = both[np.arange(len(at)), which[rounds]]
        targets, curvature = game.targets[at, which[rounds]], game.curvature[at]
        if linear is None:
            told = told.observed(at, targets, curvature, eta)
            now = step(sets, told, now.basis)
        else:
            slopes = times(curvature, now.policies[at] - targets)
            linear = linear.observed(at, slopes, now.basis, now.codes, eta)
            now = linear(sets, BOUNDS, MU, is_fixed)
        safe.append(sets.holds(now.policies))
    return Played(tasks, which, losses, np.size(safe), int(np.sum(~np.array(safe))), now.basis)


def free_codes(sets: SafeSets, losses: Losses, basis: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Those that lose least for a given L, safe or not, (n_tasks, k), and how losses curve there, (n_tasks, k, k)."""
    matrix, vector = code_system(basis, sets.anchors, losses, NOTHING)
    return np.asarray(np.linalg.solve(matrix, vector[:, :, None])[:, :, 0], np.float64), matrix


def best_policies(sets: SafeSets, losses: Losses, basis: FloatArray) -> FloatArray:
    """The safe policies ``a_t + L s_t`` that lose least for a given L, shape (n_tasks, d): exact."""
    codes, matrix = free_codes(sets, losses, basis)
    return sets.project(basis, codes, BOUNDS, metric=matrix).policies


def value_of_basis(sets: SafeSets, losses: Losses, basis: FloatArray) -> tuple[float, FloatArray]:
    """What the best safe codes for L lose, but for a constant, and its gradient, that of the Lagrangian, (d, k)."""
    free, matrix = free_codes(sets, losses, basis)
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

    options: Any = {"maxiter": 200, "ftol": 1e-9, "gtol": 1e-9}
    first = np.linalg.qr(start)[0].ravel()
    found = scipy.optimize.minimize(value, first, jac=True, method="L-BFGS-B", options=options)
    return np.linalg.qr(found.x.reshape(start.shape))[0]


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


def outcome(game: Game, played: Played, basis: str, n_random: int, seed: int) -> tuple[FloatArray, dict[str, float]]:
    """Compare a game with the best in hindsight.

    Returns:
        Regret so far, against the comparator of the whole game, (n_rounds,); and of the game ``regret``,
        ``regret_per_task_optimum`` (against each task's best safe policy), ``loss`` (what was charged) and
        ``agreement`` (share of the local searches that found the comparator; 1 where it is exact).
    """
    summed, loss = game.hindsight(played.tasks, played.which), float(played.losses.sum())
    bases = [first_of(game, basis)]
    if basis == JOINT:
        bases = [improved(game.sets, summed, at) for at in starts(game, summed, played.basis, n_random, seed)]
    compared = [losses_of(game, played, best_policies(game.sets, summed, at)) for at in bases]
    totals = np.array([losses.sum() for losses in compared])
    regret = np.cumsum(played.losses - compared[int(totals.argmin())])
    free = best_policies(game.sets, summed, np.eye(len(game.basis)))
    per_task = loss - float(losses_of(game, played, free).sum())
    alike = float(np.mean(totals - totals.min() <= ALIKE * abs(loss - totals.min())))
    figures = {"regret": float(regret[-1]), "regret_per_task_optimum": per_task, "loss": loss, "agreement": alike}
    return regret, figures


def measure(settings: Values, progress: Progress) -> dict[str, Any]:
    """Play the game with one learner, once for each of ``n_rounds``, which rise.

    Of each what `outcome` finds; ``curve``: regret of the longest; ``violations`` of ``A theta <= b`` in all of them,
    among ``checks`` policies.
    """
    game = Game.drawn(settings["n_tasks"], settings["d"], settings["k"], settings["seed"])
    rounds, games, checks, violations = list(settings["n_rounds"]), [], 0, 0
    for n_rounds in rounds:
        played = play(game, settings, n_rounds)
        regret, figures = outcome(game, played, settings["basis"], settings["n_searches"], settings["seed"])
        games.append(figures)
        checks, violations = checks + played.checks, violations + played.violations
        progress(sum(rounds[: len(games)]) / sum(rounds))
    found = {name: [figures[name] for figures in games] for name in games[0]}
    return {**found, "rounds": rounds, "violations": violations, "checks": checks, "curve": curve(regret)}


def curve(regret: FloatArray) -> dict[str, list[Any]]:
    """Of regret by round, (n_rounds,): some rounds, about as far from each other on a logarithmic scale."""
    at = np.unique(np.geomspace(1, len(regret), N_POINTS).round().astype(int))
    return {"at": at.tolist(), "values": regret[at - 1].tolist()}


def exponent(figures: Values, of: str = "regret") -> float:
    """Power x of regret ``~ R^x``, by least squares on logarithms; 0 where some regret isn't above 0."""
    if min(figures[of]) <= 0:
        return 0.0
    return float(np.polyfit(np.log(figures["rounds"]), np.log(figures[of]), 1)[0])


upper_exponent = partial(exponent, of="regret_per_task_optimum")  # against each task's best safe policy
