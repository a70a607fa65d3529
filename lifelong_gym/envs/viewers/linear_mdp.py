"""A linear Markov decision process: the states that an episode went through, stage by stage, and what it earned."""

from __future__ import annotations

import itertools

import pygame

from lifelong_gym.envs.viewers.canvas import Canvas, Point
from lifelong_gym.envs.viewers.palette import ACTION, ALARM, BODY, BODY_DARK, GOAL, INK, LINE, MUTED, PAPER, mix
from lifelong_gym.envs.viewers.panel import MARGIN, Scene, heading, legend, number, words
from lifelong_gym.tasks.task_set import Task

LEFT, RIGHT, TOP, BOTTOM = 60.0, 530.0, 84.0, 330.0
N_STAGES, N_STATES, N_ACTIONS = 5, 20, 4  # that there is room for; more where an episode has come further
ACTIONS = 566.0
BAR, EARNED = 480.0, 368.0
PATH = 3.0


class LinearMDPViewer:
    """Draws `LinearMDP`."""

    size = (600, 440)

    def draw(self, surface: pygame.Surface, scene: Scene) -> None:
        """Fill the surface with a picture of the scene."""
        canvas = Canvas(surface, self.size, ALARM if scene.failed else PAPER)
        heading(canvas, scene)
        self._draw_way(canvas, scene)
        self._draw_actions(canvas, scene)
        self._draw_earned(canvas, scene)
        if not canvas.is_small:
            legend(canvas, [("state", BODY), ("action", ACTION), ("earned", GOAL)])
            words(canvas, MUTED, 414, self._facts(scene.task))
        canvas.finish()

    def _draw_way(self, canvas: Canvas, scene: Scene) -> None:
        """A column a stage, a dot a state, and the way through them."""
        way = [(max(stage, 0.0), max(state, 0.0)) for stage, state in (*scene.past, scene.state)]
        n_stages = max(N_STAGES, *(int(stage) for stage, _ in way))
        n_states = max(N_STATES, *(int(state) + 1 for _, state in way))

        def place(stage: float, state: float) -> Point:
            return LEFT + (RIGHT - LEFT) * stage / n_stages, TOP + (BOTTOM - TOP) * state / (n_states - 1)

        for stage in range(n_stages + 1):
            for state in range(n_states):
                canvas.circle(LINE, place(stage, state), 3.5)
            canvas.text(MUTED, (place(stage, 0)[0], BOTTOM + 18), str(stage), 18)
        for one, other in itertools.pairwise(way):
            canvas.line(mix(BODY, PAPER, 0.6), place(*one), place(*other), PATH)
        for each in way[:-1]:
            canvas.circle(mix(BODY, PAPER, 0.6), place(*each), 6)
        canvas.circle(BODY, place(*way[-1]), 10, BODY_DARK)

    def _draw_actions(self, canvas: Canvas, scene: Scene) -> None:
        """One above the other; the one that was taken is filled."""
        taken = -1 if scene.action is None else int(scene.action[0])
        for action in range(max(N_ACTIONS, taken + 1)):
            at = ACTIONS, TOP + 14.0 + 34.0 * action
            canvas.circle(ACTION if action == taken else mix(ACTION, PAPER, 0.15), at, 13, ACTION)
            canvas.text(PAPER if action == taken else MUTED, at, str(action), 18)

    def _draw_earned(self, canvas: Canvas, scene: Scene) -> None:
        """The return so far, as a share of what the best policy earns on average, which is three quarters of a bar."""
        share = min(max(0.75 * scene.episode_return / max(scene.task["value"], 1e-6), 0.0), 1.0)
        left, mark = 0.5 * (canvas.width - BAR), 0.5 * (canvas.width - BAR) + 0.75 * BAR
        canvas.rectangle(LINE, (0.5 * canvas.width, EARNED), (BAR, 12))
        canvas.rectangle(GOAL, (left + 0.5 * share * BAR, EARNED), (share * BAR, 12))
        canvas.line(INK, (mark, EARNED - 10), (mark, EARNED + 10), 2.5)
        if not canvas.is_small:
            canvas.text(INK, (mark, EARNED + 22), f"V* {number(scene.task['value'])}", 17)
            canvas.text(MUTED, (MARGIN, EARNED), "earned", 17, "left")

    def _facts(self, task: Task) -> str:
        return f"kernel {task['kernel']:.0f}    value {number(task['value'])}    contrast {number(task['contrast'])}"
