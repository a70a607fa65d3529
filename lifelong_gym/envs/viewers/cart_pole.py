"""The cart-pole: sizes grow with masses and length, the ghost is the goal, the arrow the force."""

from __future__ import annotations

from lifelong_gym.envs.viewers.canvas import Canvas
from lifelong_gym.envs.viewers.panel import ControlViewer, Gauge, Scene, number, sized
from lifelong_gym.envs.viewers.pendulum import LIMIT_ANGLE, LIMIT_X, Pole, draw_pendulum
from lifelong_gym.tasks.task_set import Task


class CartPoleViewer(ControlViewer):
    """Draws `CartPole`."""

    gauges = (
        Gauge("x", "m", LIMIT_X),
        Gauge("v", "m/s", 10.0),
        Gauge("θ", "rad", LIMIT_ANGLE),
        Gauge("ω", "rad/s", 10.0),
    )

    def stage(self, canvas: Canvas, scene: Scene) -> None:
        """See `ControlViewer`."""
        task = scene.task
        thickness = sized(task["pole_mass"], 0.55, 9)
        pole = Pole(2.0 * task["pole_half_length"], thickness, 0.0, scene.state[2], task["goal_3"])
        draw_pendulum(canvas, scene, task["cart_mass"], 0.65, [pole])

    def facts(self, task: Task) -> str:
        """See `ControlViewer`."""
        return (
            f"cart {number(task['cart_mass'])} kg    pole {number(task['pole_mass'])} kg,"
            f" {number(2.0 * task['pole_half_length'])} m    gravity {number(task['gravity'])} m/s²"
        )
