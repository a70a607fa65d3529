"""Cameras that are broken each in a way of its own."""

from __future__ import annotations

from typing import Any

import numpy as np

from lifelong_gym.envs.arguments import Argument
from tests.camera import Camera, View


class Named(Camera):
    """Its argument hides what the family has."""

    arguments = (Argument("simulator", str, "", "hides"),)


class Blind(Camera):
    """Declares no state."""

    state = ()


class Grey(View):
    """Sees floats."""

    def _look(self) -> Any:
        return super()._look() / 255.0


class Slow(View):
    """Sees floats after its first step, a flag that is no flag, or no reward, as it is told."""

    wrong: Any = None

    def step(self, action: int, rng: np.random.Generator) -> Any:
        """What it is told."""
        return self.wrong


class GreyCamera(Camera):
    """Wrong from the start."""

    simulator = "tests.broken_cameras:Grey"


class SlowCamera(Camera):
    """Wrong from the first step on."""

    simulator = "tests.broken_cameras:Slow"


class NoCamera(Camera):
    """Names a class that simulates nothing."""

    simulator = "tests.camera:Camera"
