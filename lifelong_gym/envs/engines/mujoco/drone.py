"""The drone's worlds drawn by MuJoCo: the same boxes off-screen, by EGL or OSMesa."""

from __future__ import annotations

import ctypes.util
import os
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any, final

import numpy as np
import numpy.typing as npt

from lifelong_gym.envs.engines.mujoco.engine import imported
from lifelong_gym.envs.navigation.columns import CELL, DEPTH, FAR, GRAY, SIDE, TAN_H, TAN_V, TEXELS, TILE
from lifelong_gym.envs.navigation.drone import Drone
from lifelong_gym.envs.navigation.patterns import CEILING, GROUND, LOOKS, SLOTS, materials, patterns
from lifelong_gym.envs.navigation.worlds import WORLDS, Layout, layout_of
from lifelong_gym.errors import MissingLibraryError
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.tasks.task_set import TaskSet

NEAR, FARTHEST, LID = 0.01, 60.0, 0.002  # m; of what is seen, and how thick the tops of things are
FORWARD = (0.5, 0.5, -0.5, -0.5)  # a camera that looks along its body's x axis
LIBRARIES = {"egl": "EGL", "osmesa": "OSMesa"}
Box = tuple[int, int, int, int, float]  # first and last cells in x and y, the latter exclusive, and a value


def gl_library() -> str:
    """``"egl"`` or ``"osmesa"``: what MUJOCO_GL says, or else the first that is installed.

    Raises:
        MissingLibraryError: neither is.
    """
    asked = os.environ.get("MUJOCO_GL", "").lower()
    for name in [asked] if asked in LIBRARIES else LIBRARIES:
        if ctypes.util.find_library(LIBRARIES[name]):
            return name
    raise MissingGLError(asked)


class MissingGLError(MissingLibraryError):
    """There is no library to draw off-screen with."""

    def __init__(self, asked: str) -> None:
        """``asked``: what MUJOCO_GL says."""
        ImportError.__init__(
            self,
            '`renderer="mujoco"` needs EGL or OSMesa. Install one of the Debian packages libegl1 and libosmesa6; the '
            f"environment variable MUJOCO_GL chooses, egl or osmesa. It is {asked!r}",
        )


def merged(values: FloatArray) -> Iterator[Box]:
    """Cells of equal values, but for NaN, in rectangles."""
    left = ~np.isnan(values)
    for i, j in np.argwhere(left).tolist():
        if not left[i, j]:
            continue
        value, i1, j1 = values[i, j], i + 1, j + 1
        while j1 < SIDE and left[i, j1] and values[i, j1] == value:
            j1 += 1
        while i1 < SIDE and left[i1, j:j1].all() and (values[i1, j:j1] == value).all():
            i1 += 1
        left[i:i1, j:j1] = False
        yield i, i1, j, j1, float(value)


class BoxWorld:
    """A task's world as MuJoCo has it.

    Args:
        parameters: of the task.
    """

    def __init__(self, parameters: Mapping[str, float]) -> None:
        """Build it."""
        mujoco = imported()
        world = WORLDS[int(parameters["world"])]
        sizes = parameters["width"], parameters["density"], parameters["ceiling"]
        layout = layout_of(world, int(parameters["layout"]), *sizes)
        spec = mujoco.MjSpec()
        spec.stat.extent, spec.visual.map.znear, spec.visual.map.zfar = 1.0, NEAR, FARTHEST
        spec.visual.quality.offsamples, spec.visual.quality.shadowsize = 0, 0
        spec.visual.global_.offwidth = spec.visual.global_.offheight = 256
        self._add_materials(mujoco, spec, world, parameters)
        self._add_boxes(mujoco, spec, layout)
        light = LOOKS[world][2] * parameters["light"] * np.array(LOOKS[world][1])
        spec.visual.headlight.ambient, spec.visual.headlight.diffuse = 0.8 * light, 0.3 * light
        spec.visual.headlight.specular = np.zeros(3)
        body = spec.worldbody.add_body(name="drone", mocap=True)
        body.add_camera(
            name="eye",
            quat=FORWARD,
            sensor_size=[2 * TAN_H * NEAR, 2 * TAN_V * NEAR],
            focal_length=[NEAR, NEAR],
            resolution=[256, 256],
        )
        self.model = spec.compile()
        self.data = mujoco.MjData(self.model)

    @staticmethod
    def _add_materials(mujoco: Any, spec: Any, world: str, parameters: Mapping[str, float]) -> None:
        finest = patterns().reshape(-1, 5461)[:, : TEXELS**2]
        own = materials(world, parameters["hue"], int(parameters["textures"]))
        for slot, (pattern, *tint) in zip(SLOTS, own.tolist(), strict=True):
            pixels = finest[int(pattern)].reshape(TEXELS, TEXELS, 1) * np.array(tint) * 255.0
            texture = spec.add_texture(
                name=slot, type=mujoco.mjtTexture.mjTEXTURE_2D, width=TEXELS, height=TEXELS, nchannel=3
            )
            texture.data = pixels.astype(np.uint8).tobytes()
            material = spec.add_material(name=slot, texuniform=True, texrepeat=[1.0 / TILE, 1.0 / TILE])
            material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = slot

    @staticmethod
    def _add_boxes(mujoco: Any, spec: Any, layout: Layout) -> None:
        highest = float(layout.ceiling.max())

        def add(box: Box, low: float, high: float, slot: int) -> None:
            i, i1, j, j1, _ = box
            middle = [0.5 * (i + i1) * CELL, 0.5 * (j + j1) * CELL, 0.5 * (low + high)]
            half = [0.5 * (i1 - i) * CELL, 0.5 * (j1 - j) * CELL, 0.5 * (high - low)]
            spec.worldbody.add_geom(type=mujoco.mjtGeom.mjGEOM_BOX, pos=middle, size=half, material=SLOTS[slot])

        everything = 0, SIDE, 0, SIDE, 0.0
        add(everything, -1.0, 0.0, GROUND)
        add(everything, highest, highest + 1.0, CEILING)
        for slot in np.unique(layout.sides).astype(int).tolist():
            for box in merged(np.where((layout.floor > 0.0) & (layout.sides == slot), layout.floor, np.nan)):
                add(box, 0.0, box[4] - LID, slot)
                add(box, box[4] - LID, box[4], int(layout.top[box[0], box[2]]))
        for box in merged(np.where(layout.ceiling < highest, layout.ceiling, np.nan)):
            add(box, box[4], highest, int(layout.sides[box[0], box[2]]))


@final
class DronePainter:
    """Pictures of `Drone` by MuJoCo, see `Painter`. Nothing is opened before the first of them."""

    def __init__(self, family: Drone, tasks: TaskSet) -> None:
        """Check that MuJoCo is there.

        Raises:
            MissingExtraError: it isn't.
        """
        imported()
        self._family, self._tasks = family, tasks
        self._open()

    def _open(self) -> None:
        self._context: Any = None
        self._scenes: dict[int, tuple[BoxWorld, Any, Any]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"_family": self._family, "_tasks": self._tasks}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open()

    def paint(self, task: int, state: FloatArray) -> npt.NDArray[np.uint8]:
        """What the camera sees in that state of that task, flat.

        Raises:
            MissingLibraryError: neither EGL nor OSMesa is installed.
        """
        colours, depths = self.draw(task, state, self._family.resolution)
        if self._family.camera == DEPTH:
            return np.asarray(255.0 * np.minimum(depths, FAR) / FAR, np.uint8).reshape(-1)
        if self._family.camera == GRAY:
            return np.asarray(colours @ np.array([0.299, 0.587, 0.114]), np.uint8).reshape(-1)
        return colours.reshape(-1)

    def draw(self, task: int, state: FloatArray, size: int) -> tuple[npt.NDArray[np.uint8], FloatArray]:
        """Colours (size, size, 3) and depths (size, size) in metres."""
        mujoco = imported()
        scene, seen, context = self._scene(mujoco, task)
        model, data = scene.model, scene.data
        self._context.make_current()
        data.mocap_pos[0] = state[:3]
        data.mocap_quat[0] = np.cos(0.5 * state[3]), 0.0, 0.0, np.sin(0.5 * state[3])
        mujoco.mj_kinematics(model, data)
        mujoco.mj_camlight(model, data)
        camera = mujoco.MjvCamera()
        camera.type, camera.fixedcamid = mujoco.mjtCamera.mjCAMERA_FIXED, 0
        every = mujoco.mjtCatBit.mjCAT_ALL
        mujoco.mjv_updateScene(model, data, mujoco.MjvOption(), None, camera, every, seen)
        view, colours = mujoco.MjrRect(0, 0, size, size), np.zeros((size, size, 3), np.uint8)
        depths = np.zeros((size, size), np.float32)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, context)
        mujoco.mjr_render(view, seen, context)
        mujoco.mjr_readPixels(colours, depths, view, context)
        metres = NEAR / (1.0 - depths.astype(np.float64) * (1.0 - NEAR / FARTHEST))
        return np.ascontiguousarray(colours[::-1]), metres[::-1]

    def _scene(self, mujoco: Any, task: int) -> tuple[BoxWorld, Any, Any]:
        if self._context is None:
            self._context = import_module(f"mujoco.{gl_library()}").GLContext(256, 256)
        if task not in self._scenes:
            scene = BoxWorld(dict(zip(self._tasks.space.names, self._tasks.values[task].tolist(), strict=True)))
            self._context.make_current()
            context = mujoco.MjrContext(scene.model, mujoco.mjtFontScale.mjFONTSCALE_100)
            self._scenes[task] = scene, mujoco.MjvScene(scene.model, 4000), context
        return self._scenes[task]

    def close(self) -> None:
        """Release the contexts."""
        if self._context is not None:
            self._context.make_current()
            for _, _, context in self._scenes.values():
                context.free()
            self._context.free()
        self._open()
