"""The paper's projection of the basis as it is printed, beside ours: how much of a wanted step each lets happen.

It projects ``X = L'L`` by a semidefinite program: ``s' X s = |A^+ (b - c)|^2`` for each known task's code s, where
``A L s = b - c`` now, and ``p I <= X <= q I``. Each task takes one of X's k (k + 1) / 2 dimensions.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lifelong_gym.agents.safety.projection import SpectralBounds
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.papers.sweeps import Progress, Values

from .regret import BOUNDS, Game

N_ITERATIONS = 2000
INSIDE = 0.1  # size of codes that are well within the game's boxes
STILL = 1e-6  # share of the wanted step


def projected(codes: FloatArray, now: FloatArray, wanted: FloatArray, bounds: SpectralBounds) -> FloatArray:
    """The X nearest to one that is wanted with ``s' X s = s' X_now s`` for all codes, (n, k), within the bounds.

    By Dykstra's alternating projections, from matrices (k, k).
    """
    equations = np.einsum("ni,nj->nij", codes, codes).reshape(len(codes), -1)
    held = np.linalg.pinv(equations) @ equations
    x, correction = wanted, np.zeros_like(wanted)
    for _ in range(N_ITERATIONS):
        size, axes = np.linalg.eigh(x + correction)
        clipped = (axes * np.clip(size, bounds.p, bounds.q)) @ axes.T
        correction = x + correction - clipped
        x = clipped + (held @ (now - clipped).ravel()).reshape(now.shape)
    return np.asarray(x, np.float64)


def measure(settings: Values, progress: Progress) -> dict[str, Any]:
    """Safe policies about anchors, and a random step of L: what is left of X's way, by number of known tasks.

    ``kept``: with 1 to ``n_tasks`` of them, of ``variant`` ``SDP``, as printed, or ``QP``, ours: there L keeps its step
    and codes give way. ``still``: from how many tasks on nothing is left.
    """
    n_tasks, k, seed = settings["n_tasks"], settings["k"], settings["seed"]
    game, rng = Game.drawn(n_tasks, settings["d"], k, seed), np.random.default_rng(seed)
    basis, step = game.basis, 0.3 * rng.normal(size=game.basis.shape)
    codes = game.sets.project(basis, INSIDE * rng.normal(size=(n_tasks, k)), BOUNDS).codes
    now, wanted = basis.T @ basis, (basis + step).T @ (basis + step)
    ours, at, kept = game.sets.project(basis + step, codes, BOUNDS).basis, [*range(1, n_tasks + 1)], []
    for n in at:
        moved = projected(codes[:n], now, wanted, BOUNDS) if settings["variant"] == "SDP" else ours.T @ ours
        kept.append(float(np.linalg.norm(moved - now) / np.linalg.norm(wanted - now)))
        progress(n / n_tasks)
    moving = [n for n, share in zip(at, kept, strict=True) if share > STILL]
    return {"kept": {"at": at, "values": kept}, "still": max(moving, default=0) + 1}
