"""Pictures of federated learning: the average's accuracy round by round, and how much each client counts."""

from __future__ import annotations

from dataclasses import dataclass

import pygame

from lifelong_gym.envs.viewers.canvas import Canvas
from lifelong_gym.envs.viewers.palette import (
    ACTION,
    BODY,
    BODY_DARK,
    GOAL,
    INK,
    LINE,
    MUTED,
    PAPER,
    SECOND,
    Colour,
    mix,
)
from lifelong_gym.envs.viewers.panel import heading, legend, number
from lifelong_gym.envs.viewers.screen import Scene

LEFT, RIGHT = 52.0, 620.0
TOP, BOTTOM = 74.0, 232.0  # of the curve
BARS_TOP, BARS_BOTTOM = 284.0, 384.0
KINDS: dict[str, Colour] = {"common": BODY, "rare": SECOND, "dirichlet": GOAL, "iid": MUTED}


@dataclass(frozen=True)
class Progress:
    """What a state says.

    Attributes:
        round: averages taken.
        weights: of the clients in the last one.
        clients: accuracies of their networks.
        averages: accuracies of the average, oldest first.
    """

    round: int
    weights: tuple[float, ...]
    clients: tuple[float, ...]
    averages: tuple[float, ...]

    @classmethod
    def of(cls, scene: Scene) -> Progress:
        """Of as many clients as the task names."""
        m, state = len(scene.task), scene.state
        return cls(round(state[0]), state[1 : m + 1], state[m + 1 : 2 * m + 1], state[2 * m + 1 :])


def height(share: float, bottom: float, top: float) -> float:
    """Where a share lies between bottom (0) and top (1); what is beyond lies just outside."""
    return bottom + (top - bottom) * min(max(share, -0.05), 1.05)


class FederatedViewer:
    """Draws one experiment.

    Attributes:
        size: width and height of a picture in pixels.
    """

    size: tuple[int, int] = (640, 440)

    def draw(self, surface: pygame.Surface, scene: Scene) -> None:
        """Fill the surface with a picture of the scene."""
        canvas, progress = Canvas(surface, self.size, PAPER), Progress.of(scene)
        self._draw_curve(canvas, progress)
        self._draw_clients(canvas, scene, progress)
        heading(canvas, scene)
        if not canvas.is_small:
            legend(canvas, [("average", BODY_DARK), ("weight", ACTION), *KINDS.items()])
        canvas.finish()

    def _draw_curve(self, canvas: Canvas, progress: Progress) -> None:
        for level in (0.0, 0.25, 0.5, 0.75, 1.0):
            y = height(level, BOTTOM, TOP)
            canvas.line(LINE, (LEFT, y), (RIGHT, y), 1.5)
            if not canvas.is_small:
                canvas.text(MUTED, (LEFT - 8, y), number(level), 16, "right")
        n = len(progress.averages)
        shown = progress.averages[n - min(max(progress.round, 0), n) :]
        pitch = (RIGHT - LEFT) / n
        points = [(LEFT + (i + 0.5) * pitch, height(a, BOTTOM, TOP)) for i, a in enumerate(shown)]
        canvas.path(BODY_DARK, points, 3)
        for point in points:
            canvas.circle(BODY_DARK, point, 3.5)
        last = f"round {progress.round}    accuracy {number(shown[-1]) if shown else '–'}"
        canvas.text(INK, (RIGHT, BOTTOM + 16), last, 19, "right")

    def _draw_clients(self, canvas: Canvas, scene: Scene, progress: Progress) -> None:
        most = max(0.5, *progress.weights)
        pitch = (RIGHT - LEFT) / len(progress.weights)
        canvas.text(MUTED, (LEFT - 8, BARS_TOP), number(most), 16, "right")
        canvas.text(MUTED, (LEFT - 8, BARS_BOTTOM), "0", 16, "right")
        for i, client in enumerate(scene.task.values()):
            x, colour = LEFT + (i + 0.5) * pitch, KINDS.get(client.partition("_")[0], LINE)
            self._bar(canvas, mix(ACTION, PAPER, 0.75), x - 0.16 * pitch, 0.3 * pitch, progress.weights[i] / most)
            self._bar(canvas, mix(colour, PAPER, 0.45), x + 0.16 * pitch, 0.3 * pitch, progress.clients[i])
            self._write_client(canvas, x, client, colour)
            if scene.action is not None and not canvas.is_small:
                canvas.text(ACTION, (x, BARS_TOP - 12), number(scene.action[i]), 15)
        canvas.line(INK, (LEFT, BARS_BOTTOM), (RIGHT, BARS_BOTTOM), 2)

    def _bar(self, canvas: Canvas, colour: Colour, x: float, width: float, share: float) -> None:
        top = height(share, BARS_BOTTOM, BARS_TOP)
        canvas.rectangle(colour, (x, 0.5 * (top + BARS_BOTTOM)), (width, abs(BARS_BOTTOM - top)))

    def _write_client(self, canvas: Canvas, x: float, client: str, colour: Colour) -> None:
        kind, _, which = client.rpartition("_")
        if not canvas.is_small:
            canvas.text(colour, (x, BARS_BOTTOM + 14), kind or client, 15)
        canvas.text(colour, (x, BARS_BOTTOM + 30), which if kind else "–", 18)
