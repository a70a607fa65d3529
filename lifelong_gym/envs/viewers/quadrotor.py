"""The quadrotor from behind and above: its attitude against a ghost of the goal, and its rotors' thrusts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lifelong_gym.envs.viewers.canvas import Canvas, Point
from lifelong_gym.envs.viewers.palette import (
    ACTION,
    BODY,
    BODY_DARK,
    GHOST,
    GOAL,
    INK,
    LIMIT,
    LINE,
    MUTED,
    PAPER,
    Colour,
    mix,
)
from lifelong_gym.envs.viewers.panel import ControlViewer, Gauge, Scene, number, sized
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.tasks.task_set import Task

CENTER = (240.0, 208.0)
CAMERA = 620.0  # pixels from the centre
AZIMUTH, ELEVATION = 0.5, 0.5
BARS, BAR_HEIGHT = (486.0, 250.0), 120.0
SPEED, BOUND, MAX_SPEED, GRAVITY = 20.0, 8.0, 400.0, 9.81
LIMITS = (1.5, 10.0, 1.5, 10.0, 3.0, 10.0)


def rotation(roll: float, pitch: float, yaw: float) -> FloatArray:
    """Body to world, both with x forward, y right and z down; shape (3, 3)."""
    (a, b, c), (p, q, r) = (([f(x) for x in (roll, pitch, yaw)]) for f in (math.sin, math.cos))
    about_x = np.array([[1, 0, 0], [0, p, -a], [0, a, p]])
    about_y = np.array([[q, 0, b], [0, 1, 0], [-b, 0, q]])
    about_z = np.array([[r, -c, 0], [c, r, 0], [0, 0, 1]])
    result: FloatArray = about_z @ about_y @ about_x
    return result


def project(points: FloatArray) -> tuple[list[Point], float]:
    """World points in pixels, shape (n, 3), on the canvas; and how far away they are on average."""
    sine, cosine = math.sin(AZIMUTH), math.cos(AZIMUTH)
    ahead, right = cosine * points[:, 0] + sine * points[:, 1], cosine * points[:, 1] - sine * points[:, 0]
    up = -points[:, 2]
    depth = math.cos(ELEVATION) * ahead - math.sin(ELEVATION) * up
    raised = math.sin(ELEVATION) * ahead + math.cos(ELEVATION) * up
    scale = CAMERA / (CAMERA + depth)
    places = zip((CENTER[0] + scale * right).tolist(), (CENTER[1] - scale * raised).tolist(), strict=True)
    return list(places), float(depth.mean())


def rotor_speeds(scene: Scene) -> list[float]:
    """Speeds of the rotors in rad/s; hovering before the first step."""
    actions = scene.action or (0.0,) * 4
    change = SPEED * BOUND * scene.task["actuator_gain"]
    return [min(max(hover_speed(scene.task) + change * min(max(u, -1.0), 1.0), 0.0), MAX_SPEED) for u in actions]


def hover_speed(task: Task) -> float:
    """At which four rotors carry the weight, in rad/s."""
    return math.sqrt(task["mass"] * GRAVITY / (4.0 * task["thrust_coefficient"]))


@dataclass(frozen=True)
class Airframe:
    """A quadrotor's frame in body coordinates and pixels.

    Attributes:
        hubs: of the rotors, shape (4, 3).
        plate: corners of the body, shape (n, 3).
        nose: a triangle on the body that points forward, shape (3, 3).
        radius: of a rotor.
    """

    hubs: FloatArray
    plate: FloatArray
    nose: FloatArray
    radius: float

    @classmethod
    def of(cls, task: Task) -> Airframe:
        """Arms as long as the task's; the body reaches far along x where inertia about y is large."""
        angles = task["mount_angle"] + 0.5 * math.pi * np.arange(4)
        arm = sized(task["arm_length"], 0.23, 118, 0.15)
        hubs = arm * np.stack([np.cos(angles), np.sin(angles), np.full(4, -0.06)], axis=1)
        x, y = sized(task["inertia_y"], 7.5e-3, 38), sized(task["inertia_x"], 7.5e-3, 30)
        plate = np.array([(x, 0.5 * y, 0), (x, -0.5 * y, 0), (-x, -y, 0), (-x, y, 0)], float)
        nose = np.array([(0.9 * x, 0, -3), (0.35 * x, -0.4 * y, -3), (0.35 * x, 0.4 * y, -3)])
        return cls(hubs, plate, nose, sized(task["thrust_coefficient"], 3.13e-5, 40, 0.12))


def disc(center: FloatArray, radius: float) -> FloatArray:
    """Points on a horizontal circle of the body, shape (n, 3)."""
    angles = np.linspace(0.0, 2.0 * math.pi, 48)
    return center + radius * np.stack([np.cos(angles), np.sin(angles), np.zeros(48)], axis=1)


def draw_frame(canvas: Canvas, frame: Airframe, attitude: FloatArray, colours: Sequence[Colour]) -> None:
    """Arms, body and rotor discs."""
    fill, edge, glass = colours
    for hub in frame.hubs:
        ends, _ = project(np.array([(0.0, 0.0, 0.0), hub]) @ attitude.T)
        canvas.path(edge, ends, 5)
    canvas.polygon(fill, project(frame.plate @ attitude.T)[0], edge)
    discs = [project(disc(hub, frame.radius) @ attitude.T) for hub in frame.hubs]
    for points, _ in sorted(discs, key=lambda found: -found[1]):
        canvas.polygon(glass, points, edge)


def draw_thrusts(canvas: Canvas, frame: Airframe, attitude: FloatArray, scene: Scene) -> None:
    """An arrow of each rotor's thrust, 28 pixels long when hovering, and the rotors' numbers and blades."""
    hover = hover_speed(scene.task)
    for i, (hub, speed) in enumerate(zip(frame.hubs, rotor_speeds(scene), strict=True)):
        turn = 0.4 * scene.step * speed / hover * (1 if i % 2 == 0 else -1)
        thrust = 28.0 * min((speed / hover) ** 2, 4.0)
        blade = frame.radius * np.array([math.cos(turn), math.sin(turn), 0.0])
        points, _ = project(np.array([hub + blade, hub - blade, hub, hub - [0, 0, thrust]]) @ attitude.T)
        canvas.path(BODY_DARK, points[:2], 3)
        start, tip = points[2:]
        canvas.arrow(ACTION, start, (tip[0] - start[0], tip[1] - start[1]), 4)
        canvas.circle(INK, start, sized(scene.task["rotor_inertia"], 6e-5, 6))
        if not canvas.is_small:
            canvas.text(INK, (tip[0], tip[1] - 10), str(i + 1), 18)


def draw_bars(canvas: Canvas, scene: Scene) -> None:
    """The rotors' speeds from 0 to their limit, and the hover speed."""
    left, bottom = BARS
    hover = bottom - BAR_HEIGHT * hover_speed(scene.task) / MAX_SPEED
    for i, speed in enumerate(rotor_speeds(scene)):
        x, height = left + 16 + 34 * i, BAR_HEIGHT * speed / MAX_SPEED
        canvas.rectangle(LINE, (x, bottom - 0.5 * BAR_HEIGHT), (22, BAR_HEIGHT))
        canvas.rectangle(ACTION, (x, bottom - 0.5 * height), (22, height))
        canvas.text(INK, (x, bottom + 12), str(i + 1), 18)
    canvas.line(LIMIT, (left, bottom - BAR_HEIGHT), (left + 134, bottom - BAR_HEIGHT), 2)
    canvas.dashes(INK, (left, hover), (left + 134, hover), 1.5, 8)
    if not canvas.is_small:
        canvas.text(MUTED, (left + 67, bottom - BAR_HEIGHT - 14), f"rotors, limit {MAX_SPEED:.0f} rad/s", 17)
        canvas.text(INK, (left + 67, bottom + 30), f"hover {hover_speed(scene.task):.0f} rad/s", 17)


class QuadrotorViewer(ControlViewer):
    """Draws `Quadrotor`."""

    gauges = tuple(
        Gauge(symbol, unit, limit)
        for symbol, unit, limit in zip(("φ", "φ'", "θ", "θ'", "ψ", "ψ'"), ("rad", "rad/s") * 3, LIMITS, strict=True)
    )
    action_is = "thrust"

    def stage(self, canvas: Canvas, scene: Scene) -> None:
        """See `ControlViewer`."""
        frame, task = Airframe.of(scene.task), scene.task
        level, _ = project(disc(np.zeros(3), 150))
        canvas.path(LINE, level, 2)
        canvas.polygon(MUTED, project(np.array([(172.0, 0, 0), (148.0, -11, 0), (148.0, 11, 0)]))[0])
        attitude = rotation(scene.state[0], scene.state[2], scene.state[4])
        wanted = rotation(task["goal_1"], task["goal_3"], task["goal_5"])
        draw_frame(canvas, frame, wanted, (GHOST, GOAL, GHOST))
        draw_frame(canvas, frame, attitude, (BODY, BODY_DARK, mix(BODY, PAPER, 0.35)))
        canvas.polygon(PAPER, project(frame.nose @ attitude.T)[0])
        draw_thrusts(canvas, frame, attitude, scene)
        draw_bars(canvas, scene)

    def facts(self, task: Task) -> str:
        """See `ControlViewer`."""
        inertias = ", ".join(number(1e3 * task[f"inertia_{axis}"]) for axis in "xyz")
        return (
            f"mass {number(task['mass'])} kg    arm {number(task['arm_length'])} m    inertias {inertias} g m²"
            f"    drag/thrust {number(task['drag_coefficient'] / task['thrust_coefficient'])} m"
            f"    mount {number(task['mount_angle'])} rad"
        )
