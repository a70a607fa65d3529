"""The colours of all viewers: a colour means the same everywhere."""

from __future__ import annotations

Colour = tuple[int, int, int]

PAPER: Colour = (250, 248, 243)
LINE: Colour = (216, 211, 200)
MUTED: Colour = (128, 130, 140)
INK: Colour = (43, 45, 66)
BODY: Colour = (58, 110, 165)
BODY_DARK: Colour = (33, 68, 110)
SECOND: Colour = (138, 104, 168)
SECOND_DARK: Colour = (90, 62, 120)
GOAL: Colour = (42, 148, 110)
ACTION: Colour = (232, 130, 50)
LIMIT: Colour = (206, 92, 84)
FAILED: Colour = (193, 18, 31)
ICE: Colour = (196, 225, 240)


def mix(a: Colour, b: Colour, share: float) -> Colour:
    """``share`` of ``a`` in ``b``.

    >>> mix((100, 0, 0), (0, 100, 0), 0.25)
    (25, 75, 0)
    """
    red, green, blue = (round(share * x + (1.0 - share) * y) for x, y in zip(a, b, strict=True))
    return red, green, blue


GHOST: Colour = mix(GOAL, PAPER, 0.22)
ALARM: Colour = mix(FAILED, PAPER, 0.10)
