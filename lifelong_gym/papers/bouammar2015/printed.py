"""The paper's projection of the basis as it is printed, beside ours: how much of a wanted step each lets happen.

It projects ``X = L'L`` by a semidefinite program: ``s' X s = |A^+ (b - c)|^2`` for each known task's code s, where
``A L s = b - c`` now, and ``p I <= X <= q I``. Each task takes one of X's k (k + 1) / 2 dimensions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lifelong_gym.agents.safety.projection import SpectralBounds
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.papers.sweeps import Progress

from .game import BOUNDS, Game

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


def measure(settings: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Safe policies about anchors, and a random step of L: what is left of X's way, by number of known tasks.

    ``kept``: with 1 to ``n_tasks`` of them, of ``variant`` ``SDP``, as printed, or ``QP``, ours: there L keeps its step
    and codes give way. ``still``: from how many tasks on nothing is left.
    """
    game = Game.drawn(settings["n_tasks"], settings["d"], settings["k"], settings["seed"])
    rng = np.random.default_rng(settings["seed"])
    basis, step = game.basis, 0.3 * rng.normal(size=game.basis.shape)
    codes = game.sets.project(basis, INSIDE * rng.normal(size=(settings["n_tasks"], settings["k"])), BOUNDS).codes
    now, wanted = basis.T @ basis, (basis + step).T @ (basis + step)
    kept = []
    for n in range(1, len(codes) + 1):
        if settings["variant"] == "SDP":
            moved = projected(codes[:n], now, wanted, BOUNDS)
        else:
            found = game.sets.project(basis + step, codes, BOUNDS).basis
            moved = found.T @ found
        kept.append(float(np.linalg.norm(moved - now) / np.linalg.norm(wanted - now)))
        progress(n / len(codes))
    moving = [n for n, share in enumerate(kept, 1) if share > STILL]
    return {"kept": {"at": [*range(1, len(kept) + 1)], "values": kept}, "still": moving[-1] + 1 if moving else 1}
