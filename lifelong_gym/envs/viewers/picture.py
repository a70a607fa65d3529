"""Pictures of what a simulation shows of itself, such as a game's screen."""

from __future__ import annotations

import pygame

from lifelong_gym.envs.viewers.canvas import Canvas
from lifelong_gym.envs.viewers.palette import ACTION, LINE, MUTED, PAPER
from lifelong_gym.envs.viewers.panel import heading, number, words
from lifelong_gym.envs.viewers.screen import Scene

TOP, BOTTOM, LINES = 48, 472, 488


class PictureViewer:
    """Draws the picture in a scene as large as it goes, every pixel a square, above the task in words.

    Attributes:
        size: width and height of a picture in pixels.
    """

    size: tuple[int, int] = (440, 528)

    def draw(self, surface: pygame.Surface, scene: Scene) -> None:
        """Fill the surface with a picture of the scene."""
        canvas = Canvas(surface, self.size, PAPER)
        canvas.rectangle(LINE, (0.5 * self.size[0], 0.5 * (TOP + BOTTOM)), (self.size[0], BOTTOM - TOP))
        facts = [x if isinstance(x, str) else f"{name} {number(x)}" for name, x in scene.task.items()]
        words(canvas, MUTED, LINES, "    ".join(facts))
        if scene.action is not None:
            words(canvas, ACTION, LINES + 22, f"action {' '.join(map(number, scene.action))}")
        heading(canvas, scene)
        canvas.finish()
        if scene.picture is not None:
            self._paste(surface, pygame.surfarray.make_surface(scene.picture.swapaxes(0, 1)))

    def _paste(self, surface: pygame.Surface, picture: pygame.Surface) -> None:
        shrink = surface.get_width() / self.size[0]
        width, height = picture.get_size()
        scale = min(surface.get_width() / width, shrink * (BOTTOM - TOP) / height)
        large = pygame.transform.scale(picture, (int(scale * width), int(scale * height)))
        left = (surface.get_width() - large.get_width()) // 2
        top = int(shrink * TOP) + (int(shrink * (BOTTOM - TOP)) - large.get_height()) // 2
        surface.blit(large, (left, top))
