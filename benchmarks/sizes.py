"""How much is measured: with ``LIFELONG_GYM_QUICK`` each benchmark runs once, at its two smallest sizes."""

from __future__ import annotations

import os

QUICK = os.environ.get("LIFELONG_GYM_QUICK") == "1"


def sizes(*ascending: int) -> list[int]:
    """Those that are measured."""
    return [*ascending[:2]] if QUICK else [*ascending]
