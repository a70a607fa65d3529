"""The online game that regret is measured in: quadratic losses of linear policies, boxes, and who chooses.

A round names a task and one of its two losses ``l = (theta - target)' F_t (theta - target) / 2``. The learner is
charged for the policy that it has before it is told. A task's targets are ``a_t + w_t + v_t`` and ``a_t + w_t - v_t``,
equally bad at the anchor a_t (``w_t' F_t v_t = 0``), both w_t and v_t being combinations of a hidden basis's columns.
They reach far beyond the task's box of half-width 0.3, so that constraints bind throughout; and an adversary changes
sides in every other of a task's rounds.

Tasks come up ``iid``, by chance, as does the loss; or ``blocked``, each with all its rounds in a row; or ``adaptive``:
in turn, and the adversary sees the policy and takes the loss that is larger. As the learner is deterministic, the same
sequence could have been written down beforehand.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from lifelong_gym.agents.safety.constraints import PolicyConstraints
from lifelong_gym.agents.safety.projection import Projection, SafeSets, SpectralBounds
from lifelong_gym.agents.safety.steps import LinearisedStep, Losses, Regulariser, SafeStep, first_basis
from lifelong_gym.errors import one_of
from lifelong_gym.numerics.arrays import FloatArray, IntArray
from lifelong_gym.numerics.directions import first_best

BOUNDS = SpectralBounds()
MU = Regulariser(0.5, 0.5)
HALF_WIDTH = 0.3
REACH = 2.0  # of w and v, in the norm of F
IDENTITY, FIXED, JOINT = "identity", "fixed", "joint"
VARIANTS, ORDERS, BASES = ("A", "B", "C"), ("iid", "blocked", "adaptive"), (IDENTITY, FIXED, JOINT)


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
        curvature = np.asarray(product * d / np.trace(product, axis1=1, axis2=2)[:, None, None], np.float64)
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
        return np.asarray(0.5 * ((away @ self.curvature[tasks]) * away).sum(axis=2), np.float64)

    def hindsight(self, tasks: IntArray, which: IntArray) -> Losses:
        """The sum of the losses of all these rounds."""
        n = len(self.targets)
        counts = np.bincount(2 * tasks + which, minlength=2 * n).reshape(n, 2)
        wanted = (counts[:, :, None] * self.targets).sum(axis=1)
        rounds = counts.sum(axis=1)
        pull = (self.curvature @ wanted[:, :, None])[:, :, 0]
        return Losses(rounds[:, None, None] * self.curvature, pull, rounds)


def _norm(vectors: FloatArray, metric: FloatArray) -> FloatArray:
    return np.asarray(np.sqrt(np.einsum("nd,nde,ne->n", vectors, metric, vectors)), np.float64)


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


class Player:
    """A learner in the game, of variant A, B or C, with ``eta = 1 / sqrt(n_rounds)`` and without forgetting."""

    def __init__(self, settings: Mapping[str, Any], sets: SafeSets, start: FloatArray, n_rounds: int) -> None:
        n, d = sets.anchors.shape
        self.sets, self.eta = sets, 1.0 / np.sqrt(n_rounds)
        self.fixed = settings["basis"] != JOINT
        self.linear = LinearisedStep.begin(start, n) if settings["variant"] == "B" else None
        self.losses = Losses.none(n, d)
        step = "A" if settings["variant"] == "A" else "C"
        self.step = SafeStep(step, BOUNDS, MU, settings["n_inner"], fixed_basis=self.fixed, warm_start=False)
        self.now: Projection = sets.project(start, np.zeros((n, start.shape[1])), BOUNDS)

    def observe(self, tasks: IntArray, targets: FloatArray, curvature: FloatArray) -> None:
        """Be told the losses of some tasks, each once: (n,), (n, d) and (n, d, d)."""
        if self.linear is None:
            self.losses = self.losses.observed(tasks, targets, curvature, self.eta)
            self.now = self.step(self.sets, self.losses, self.now.basis)
        else:
            slopes = (curvature @ (self.now.policies[tasks] - targets)[:, :, None])[:, :, 0]
            self.linear = self.linear.observed(tasks, slopes, self.now.basis, self.now.codes, self.eta)
            self.now = self.linear(self.sets, BOUNDS, MU, self.fixed)


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


def play(game: Game, settings: Mapping[str, Any], n_rounds: int, one_by_one: bool | None = None) -> Played:
    """Play ``n_rounds``, which the learner knows; those of different tasks at once where L is fixed."""
    for name, known in (("variant", VARIANTS), ("turns", ORDERS), ("basis", BASES)):
        one_of(name, settings[name], known)
    tasks, drawn = schedule(settings["turns"], len(game.targets), n_rounds, settings["seed"])
    player = Player(settings, game.sets, first_of(game, settings["basis"]), n_rounds)
    which, losses = np.zeros(n_rounds, np.int64), np.zeros(n_rounds)
    safe = [game.sets.holds(player.now.policies)]
    for rounds in batches(tasks, not player.fixed if one_by_one is None else one_by_one):
        at = tasks[rounds]
        both = game.losses(at, player.now.policies[at])
        which[rounds] = first_best(both) if drawn is None else drawn[rounds]
        losses[rounds] = both[np.arange(len(at)), which[rounds]]
        player.observe(at, game.targets[at, which[rounds]], game.curvature[at])
        safe.append(game.sets.holds(player.now.policies))
    held = np.array(safe)
    return Played(tasks, which, losses, held.size, int((~held).sum()), player.now.basis)
