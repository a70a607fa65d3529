"""The quadrotor in space: its target and path, where it has been, rotors, wind, and how far off it is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pygame

from lifelong_gym.envs.viewers.canvas import Canvas
from lifelong_gym.envs.viewers.palette import (
    ACTION,
    ALARM,
    BODY,
    BODY_DARK,
    GHOST,
    GOAL,
    ICE,
    INK,
    LIMIT,
    LINE,
    MUTED,
    PAPER,
    SECOND,
    Colour,
    mix,
)
from lifelong_gym.envs.viewers.panel import WORDS, Scene, heading, legend, number, sized, words
from lifelong_gym.envs.viewers.space import Camera, ring, rotation
from lifelong_gym.imports import load
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.tasks.task_set import Task

FAMILY = "lifelong_gym.envs.control.quadrotor_3d:Quadrotor3D"
TARGET = "lifelong_gym.envs.control.paths:target"
STAGE, STAGE_SIZE = (250.0, 212.0), 132.0
FARTHEST, DT = 12.0, 0.02
AZIMUTH, SWAY, ELEVATION = 0.55, 0.25, 0.42
ARM = 0.16  # of what is in the picture: drones are drawn larger than they are
N_STREAKS, TRAIL = 22, 150
BOUND = 5.0
DIALS = ("error  x y z", "velocity", "roll pitch yaw", "rates")
UNITS = ("m", "m/s", "rad", "rad/s")
SPANS = (1.0, 2.0, 0.5, 5.0)  # at the end of a bar


@dataclass(frozen=True)
class Flight:
    """What there is to draw of a scene.

    Attributes:
        positions: of the drone, the last one now, (n, 3).
        targets: of the target at the same times, (n, 3).
        error: the state less that of a drone which flies with the target, (12,).
        attitude: body to world, (3, 3).
        rotors: speeds over hover speed.
        commands: the last ones, from hover, in percent.
        clock: steps since the target set out.
        lap: once round the path, (m, 3).
    """

    positions: FloatArray
    targets: FloatArray
    error: FloatArray
    attitude: FloatArray
    rotors: tuple[float, ...]
    commands: tuple[float, ...]
    clock: float
    lap: FloatArray

    @classmethod
    def of(cls, scene: Scene) -> Flight:
        """Look up where the target was."""
        states = np.array([*scene.past, scene.state])
        path, target = _path(tuple(scene.task.items())), load(TARGET)
        moving = np.array([target(clock, path) for clock in states[:, -1].tolist()])
        period = scene.task["path_period"] / DT
        lap = np.array([target(share * period, path)[:3] for share in np.linspace(0.0, 1.0, 97).tolist()])
        gain = scene.task["actuator_gain"]
        commands = tuple(BOUND * gain * min(max(u, -1.0), 1.0) for u in scene.action or (0.0,) * 4)
        error = np.clip(np.concatenate([states[-1, :6] - moving[-1], states[-1, 6:12]]), -1e6, 1e6)
        angles = np.remainder(states[-1, 6:9], 2.0 * math.pi).tolist()
        return cls(
            np.clip(states[:, :3], -FARTHEST, FARTHEST),
            moving[:, :3],
            error,
            rotation(*angles),
            tuple(min(max(w, 0.0), 4.0) for w in states[-1, 12:16].tolist()),
            commands,
            float(states[-1, -1]),
            lap,
        )

    def camera(self) -> tuple[Camera, float]:
        """One that sees path, flight and the ground below, and how far these reach from its middle, in metres."""
        seen = np.concatenate([self.lap, self.positions])
        low, high = seen.min(axis=0), seen.max(axis=0)
        low[2] = min(low[2], 0.0)
        half = max(0.5 * float(np.max(high - low)), 0.6)
        azimuth = AZIMUTH + SWAY * math.sin(0.008 * min(self.clock, 1e6))
        return Camera(0.5 * (low + high), STAGE, STAGE_SIZE / half, 5.0 * half, azimuth, ELEVATION), half


@lru_cache(maxsize=64)
def _path(task: tuple[tuple[str, float | str], ...]) -> tuple[float, ...]:
    family = load(FAMILY)()
    columns = family.parameters.columns(family.parameters.tasks([dict(task)]).values)
    return tuple(float(np.ravel(x)[0]) for x in family.constants(columns)["path"])


def draw_path(canvas: Canvas, flight: Flight, camera: Camera) -> None:
    """The target's path and its shadow, the target, and the drone's trail."""
    flat = flight.lap * (1.0, 1.0, 0.0)
    canvas.path(mix(MUTED, PAPER, 0.25), camera.project(flat)[0], 1.5)
    lap, _ = camera.project(flight.lap)
    canvas.path(mix(GOAL, PAPER, 0.45), lap, 2.5)
    for corner in lap[::24]:
        canvas.circle(mix(GOAL, PAPER, 0.45), corner, 4)
    places, _ = camera.project(flight.positions[-TRAIL:])
    for i in range(1, len(places)):
        canvas.line(mix(BODY, PAPER, 0.25 + 0.75 * i / len(places)), places[i - 1], places[i], 1 + 3 * i / len(places))
    goal = flight.targets[-1]
    (place, foot), _ = camera.project(np.array([goal, goal * (1.0, 1.0, 0.0)]))
    canvas.dashes(GOAL, place, foot, 1.2, 7)
    canvas.circle(GHOST, place, 11, GOAL)
    canvas.circle(GOAL, place, 5)


def draw_wind(canvas: Canvas, flight: Flight, camera: Camera, half: float, task: Task) -> None:
    """Streaks that the air carries along; there are none where it stands still."""
    wind = np.array([task["wind_x"], task["wind_y"], 0.0])
    speed = float(np.linalg.norm(wind))
    if speed == 0.0:
        return
    numbers = np.arange(N_STREAKS)[:, None]
    shares = np.remainder(numbers * (0.754877, 0.569840, 0.430160), 1.0)  # a sequence that fills the cube evenly
    box = np.array([2.6 * half, 2.6 * half, 1.6 * half])
    moved = np.remainder(shares * box + DT * flight.clock * wind, box) - 0.5 * box + camera.at
    moved[:, 2] = np.maximum(moved[:, 2], 0.02)
    streak = wind * (0.08 + 0.06 * speed) * half / speed
    for start, end in zip(camera.project(moved)[0], camera.project(moved + streak)[0], strict=True):
        canvas.line(mix(BODY, ICE, 0.35), start, end, 2)


def draw_drone(canvas: Canvas, flight: Flight, camera: Camera, half: float, task: Task) -> None:
    """Arms, propellers and thrusts, farthest first; a payload hangs below, the nose is at the front."""
    here, turn = flight.positions[-1], flight.attitude.T
    arm = ARM * half * sized(task["arm_length"], 0.0397, 1.0, 0.25)
    radius = 0.58 * arm * sized(task["propeller_radius"] / task["arm_length"], 0.583, 1.0, 0.6)
    shadow = ring() * (arm, arm, 0.0) + here * (1.0, 1.0, 0.0)
    canvas.polygon(mix(MUTED, PAPER, 0.4), camera.project(shadow)[0])
    angles = task["mount_angle"] - 0.5 * math.pi * np.arange(4)
    hubs = arm * np.stack([np.cos(angles), np.sin(angles), np.full(4, 0.15)], axis=1)

    def place(points: FloatArray) -> list[tuple[float, float]]:
        return camera.project(points @ turn + here)[0]

    if task["payload"] != 0.0:
        drop = 0.25 + 2.0 * abs(task["payload"])
        box = arm * np.array([(0.2, 0, -0.1), (0.2, 0, -drop), (-0.2, 0, -drop), (-0.2, 0, -0.1)])
        canvas.polygon(SECOND, place(box), INK, 1)
    order = np.argsort(-camera.project(hubs @ turn + here)[1], kind="stable")
    for i in order.tolist():
        canvas.path(BODY_DARK, place(np.array([(0.0, 0.0, 0.0), hubs[i]])), 5)
    body = 0.3 * arm * ring(8) * (1.0, 0.8, 0.0)
    canvas.polygon(BODY_DARK, place(body))
    canvas.polygon(PAPER, place(arm * np.array([(0.45, 0, 0.02), (0.1, 0.16, 0.02), (0.1, -0.16, 0.02)])), BODY_DARK, 1)
    for i in order.tolist():
        disc = place(radius * ring() + hubs[i])
        canvas.polygon(mix(BODY, PAPER, 0.35), disc, BODY if i % 2 == 0 else SECOND, 2)
        spin = 0.7 * (flight.clock % 1e4) * flight.rotors[i] * (1 if i % 2 == 0 else -1)
        blade = radius * np.array([math.cos(spin), math.sin(spin), 0.0])
        canvas.path(INK, place(np.array([hubs[i] + blade, hubs[i] - blade])), 2)
        thrust = 0.9 * arm * min(flight.rotors[i] ** 2, 3.0)
        start, tip = place(np.array([hubs[i], hubs[i] + [0.0, 0.0, thrust]]))
        canvas.arrow(ACTION, start, (tip[0] - start[0], tip[1] - start[1]), 3)


def draw_rotors(canvas: Canvas, flight: Flight, task: Task) -> None:
    """Seen from above: how much faster than hovering each rotor turns, and what is asked of it."""
    middle, reach, tall = (556.0, 128.0), 46.0, 22.0
    angles = [task["mount_angle"] - 0.5 * math.pi * i for i in range(4)]
    hubs = [(middle[0] - reach * math.sin(a), middle[1] - reach * math.cos(a)) for a in angles]
    full = BOUND * max(abs(task["actuator_gain"]), 0.2)
    for hub in hubs:
        canvas.line(LINE, middle, hub, 5)
    for i, ((x, y), speed, asked) in enumerate(zip(hubs, flight.rotors, flight.commands, strict=True)):
        canvas.circle(PAPER, (x, y), tall + 3, BODY if i % 2 == 0 else SECOND)
        share = min(max((100.0 * speed - 100.0) / full, -1.0), 1.0)
        canvas.rectangle(BODY if share > 0 else LIMIT, (x, y - 0.5 * tall * share), (14, abs(tall * share)))
        canvas.line(MUTED, (x - 14, y), (x + 14, y), 1)
        at = y - tall * min(max(asked / full, -1.0), 1.0)
        canvas.line(ACTION, (x - 12, at), (x + 12, at), 3)
    if not canvas.is_small:
        canvas.text(MUTED, (middle[0], middle[1] + 86), f"rotors, hover ± {number(full)} %", 16)


def draw_distance(canvas: Canvas, flight: Flight) -> None:
    """How far from the target the drone has been, over the episode; 1 m and more at the top."""
    left, bottom, width, height = 480.0, 322.0, 146.0, 70.0
    canvas.rectangle(mix(LINE, PAPER, 0.45), (left + 0.5 * width, bottom - 0.5 * height), (width, height))
    apart = np.minimum(np.linalg.norm(flight.positions - flight.targets, axis=1), 1.0)
    across = left + width * np.linspace(0.0, min(len(apart) / 250.0, 1.0), len(apart))
    curve = list(zip(across.tolist(), (bottom - height * apart).tolist(), strict=True))
    canvas.polygon(mix(LIMIT, PAPER, 0.25), [(left, bottom), *curve, (curve[-1][0], bottom)])
    canvas.path(LIMIT, curve, 2)
    if not canvas.is_small:
        metres = number(float(np.linalg.norm(flight.error[:3])))
        canvas.text(INK, (left + width, bottom - height - 10), f"{metres} m off target", 17, "right")


def draw_dials(canvas: Canvas, flight: Flight) -> None:
    """Three bars a kind of channel, from zero, green while small."""
    for kind, (name, unit, span) in enumerate(zip(DIALS, UNITS, SPANS, strict=True)):
        left, width, top = 20.0 + 153.0 * kind, 138.0, 352.0
        middle = left + 0.5 * width
        if not canvas.is_small:
            canvas.text(MUTED, (left, top - 6), name, 16, "left")
            canvas.text(MUTED, (left + width, top - 6), f"± {number(span)} {unit}", 15, "right")
        for i, value in enumerate(flight.error[3 * kind : 3 * kind + 3].tolist()):
            share, y = math.tanh(value / span), top + 7 + 10 * i
            canvas.rectangle(LINE, (middle, y), (width, 7))
            at = 0.5 * width * share
            canvas.rectangle(_alert(share), (middle + 0.5 * at, y), (abs(at), 7))
        canvas.line(MUTED, (middle, top + 2), (middle, top + 32), 1)


def _alert(share: float) -> Colour:
    return mix(LIMIT, GOAL, min(abs(share), 1.0))


def facts(task: Task) -> tuple[str, str]:
    """The drone's parameters, and those of its surroundings, in a line each."""
    inertias = ", ".join(number(1e6 * task[f"inertia_{axis}"]) for axis in "xyz")
    drag = ", ".join(number(1e6 * task[f"air_drag_{along}"]) for along in ("xy", "z"))
    start = ", ".join(
        f"{number(task[f'start_{what}'])} {unit}"
        for what, unit in zip(("position", "velocity", "angle", "rate"), UNITS, strict=True)
    )
    return (
        f"mass {number(1e3 * task['mass'])} g {100 * task['payload']:+.3g} %    arm {number(task['arm_length'])} m"
        f"    inertias {inertias} mg m²    thrust {number(1e6 * task['thrust_coefficient'])} µN s²"
        f"    torque {number(1e9 * task['drag_coefficient'])} nN m s²    lag {number(task['rotor_time_constant'])} s",
        f"air drag {drag} mg    ground effect {number(task['ground_effect'])}"
        f"    wind {number(task['wind_x'])}, {number(task['wind_y'])} m/s    actuator × {number(task['actuator_gain'])}"
        f"    starts ± {start}",
    )


class Quadrotor3DViewer:
    """Draws `Quadrotor3D`; drones are larger than life."""

    size: tuple[int, int] = (640, 440)

    def draw(self, surface: pygame.Surface, scene: Scene) -> None:
        """Fill the surface with a picture of the scene."""
        canvas = Canvas(surface, self.size, ALARM if scene.failed else PAPER)
        flight = Flight.of(scene)
        camera, half = flight.camera()
        camera.draw_floor(canvas, 1.5 * half, 0.25 if half < 1.0 else 0.5 if half < 3.0 else 2.0)
        draw_wind(canvas, flight, camera, half, scene.task)
        draw_path(canvas, flight, camera)
        draw_drone(canvas, flight, camera, half, scene.task)
        canvas.rectangle(ALARM if scene.failed else PAPER, (320.0, 390.0), (640.0, 104.0))
        draw_rotors(canvas, flight, scene.task)
        draw_distance(canvas, flight)
        draw_dials(canvas, flight)
        heading(canvas, scene)
        if not canvas.is_small:
            legend(canvas, [("thrust", ACTION), ("target", GOAL), ("flown", BODY), ("wind", mix(BODY, ICE, 0.35))])
            for line, text in enumerate(facts(scene.task)):
                words(canvas, MUTED, WORDS + 20 * line, text)
        canvas.finish()
