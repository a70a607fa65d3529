"""A block on a spring."""

from __future__ import annotations

from lifelong_gym.envs.viewers.mass_spring import LIMIT_STATE, Block, MassSpringViewer
from lifelong_gym.envs.viewers.panel import Gauge


class SimpleMassViewer(MassSpringViewer):
    """Draws `SimpleMass`."""

    gauges = (Gauge("x", "m", LIMIT_STATE), Gauge("v", "m/s", LIMIT_STATE))
    blocks = (Block("", 330.0, 4.0, 4.0, 0.105),)
    floor = 270.0
    side = 80.0
    pixels = 64.0
