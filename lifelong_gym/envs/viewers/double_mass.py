"""Two blocks on springs, the first one pushed."""

from __future__ import annotations

from lifelong_gym.envs.viewers.mass_spring import LIMIT_STATE, Block, MassSpringViewer
from lifelong_gym.envs.viewers.panel import Gauge


class DoubleMassViewer(MassSpringViewer):
    """Draws `DoubleMass`."""

    gauges = (
        Gauge("x1", "m", LIMIT_STATE),
        Gauge("v1", "m/s", LIMIT_STATE),
        Gauge("x2", "m", LIMIT_STATE),
        Gauge("v2", "m/s", LIMIT_STATE),
    )
    blocks = (Block("_1", 235.0, 4.0, 3.0, 0.055), Block("_2", 465.0, 5.5, 4.0, 0.055))
    floor = 240.0
    side = 64.0
    pixels = 38.0
