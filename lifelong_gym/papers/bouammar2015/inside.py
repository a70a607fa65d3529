"""Whether policies that a safe set allows control their task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lifelong_gym.papers.bouammar2015.learning import Situation
from lifelong_gym.papers.bouammar2015.regions import AROUND, scales
from lifelong_gym.papers.jobs import Progress


def measure(settings: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Draw policies uniformly from boxes around the optima, of each of some widths.

    Returns:
        ``unstable``: share of closed loops, linearised at the goal, that don't contract, for each of ``widths``.
    """
    situation = Situation.of({**settings, "region": [AROUND, max(settings["widths"])]})
    n, d = situation.optimal.shape
    draws = np.random.default_rng(settings["seed"]).uniform(-1.0, 1.0, (settings["n_policies"], n, d))
    shares = []
    for i, width in enumerate(settings["widths"]):
        thetas = situation.optimal + width * scales(situation.optimal) * draws
        shares.append(float(np.mean([situation.unstable(theta) / n for theta in thetas])))
        progress((i + 1) / len(settings["widths"]))
    return {"unstable": shares}
