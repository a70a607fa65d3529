"""Two poles on a cart: bobs grow with their masses, the ghost is the goal, the arrow the force."""

from __future__ import annotations

from lifelong_gym.envs.viewers.canvas import Canvas
from lifelong_gym.envs.viewers.panel import ControlViewer, Gauge, Scene, number, sized
from lifelong_gym.envs.viewers.pendulum import LIMIT_ANGLE, LIMIT_X, Pole, draw_pendulum
from lifelong_gym.tasks.task_set import Task


class DoubleInvertedPendulumViewer(ControlViewer):
    """Draws `DoubleInvertedPendulum`."""

    gauges = (
        Gauge("x", "m", LIMIT_X),
        Gauge("v", "m/s", 10.0),
        Gauge("θ1", "rad", LIMIT_ANGLE),
        Gauge("ω1", "rad/s", 10.0),
        Gauge("θ2", "rad", LIMIT_ANGLE),
        Gauge("ω2", "rad/s", 10.0),
    )

    def stage(self, canvas: Canvas, scene: Scene) -> None:
        """See `ControlViewer`."""
        task = scene.task
        poles = [
            Pole(
                length=task[f"length_{i}"],
                thickness=5.0,
                bob=sized(task[f"mass_{i}"], 0.08, 10),
                angle=scene.state[2 * i],
                goal=task[f"goal_{2 * i + 1}"],
            )
            for i in (1, 2)
        ]
        draw_pendulum(canvas, scene, task["cart_mass"], 2.5, poles)

    def facts(self, task: Task) -> str:
        """See `ControlViewer`."""
        poles = "    ".join(f"pole {i} {number(task[f'length_{i}'])} m, {number(task[f'mass_{i}'])} kg" for i in (1, 2))
        return f"cart {number(task['cart_mass'])} kg    {poles}    gravity {number(task['gravity'])} m/s²"
