"""Pictures: that they show what there is to see, and that frames and windows behave."""

from __future__ import annotations

import functools
import importlib
import math
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import pygame
import pytest

import lifelong_gym
from lifelong_gym.envs.control.base import ControlFamily
from lifelong_gym.envs.control.ch47 import CH47
from lifelong_gym.envs.control.quadrotor import Quadrotor
from lifelong_gym.envs.family import SimulatorFamily
from lifelong_gym.envs.spaces import Discrete
from lifelong_gym.envs.tabular.grid_world import GridWorld
from lifelong_gym.envs.viewers import canvas, ch47, grid_world, palette, panel, pendulum, quadrotor
from lifelong_gym.envs.viewers.screen import LARGEST, Scene, Screen, layout
from lifelong_gym.errors import LifelongGymError, MissingLibraryError
from lifelong_gym.imports import load
from lifelong_gym.registry import FAMILIES
from lifelong_gym.testing.parameters import other_values

Image = npt.NDArray[np.uint8]

IDS = list(FAMILIES)
CONTROL = [id for id in IDS if lifelong_gym.family(id).state_limits]
CART_POLE = "LifelongCartPole-v0"
STATES = {
    "LifelongGridWorld-v0": (4.0, 6.0),
    "LifelongChain-v0": (4.0,),
    "LifelongLinearMDP-v0": (2.0, 7.0),
    "LifelongDrone-v0": (2.0, 2.2, 1.3, 0.4, 3.2, 0.0),
}


@functools.cache
def last_state(id: str) -> tuple[float, ...]:
    """Where an episode of doing nothing ends."""
    env: Any = gym.make(id, backend="numpy").unwrapped
    env.reset(seed=0)
    for _ in range(env.core.horizon):
        env.step(np.zeros_like(env.action_space.sample()))
    state: tuple[float, ...] = tuple(env.state.tolist())
    return state


def scene_of(id: str, task: Mapping[str, float] | None = None, **changes: object) -> Scene:
    """A scene of a nominal task near its goal, and what is to be different."""
    family = lifelong_gym.family(id)
    discrete = isinstance(family.actions, Discrete)
    near = tuple(0.1 * limit for limit in family.state_limits)
    no_state = isinstance(family, SimulatorFamily) and not family.state
    scene = Scene(
        state=() if no_state else STATES.get(id) or near or last_state(id),
        action=(1.0,) if discrete else (0.5,) * family.actions.size,
        task=family.parameters.tasks([task or {}])[0],
        label="task 3",
        failed=False,
        step=12,
        episode_return=-3.4,
    )
    return replace(scene, **changes)  # type: ignore[arg-type]


def frame(id: str, *scenes: Scene) -> Image:
    """An rgb_array of scenes."""
    viewer = lifelong_gym.family(id).viewer
    assert viewer is not None
    image = Screen(viewer, "rgb_array", 50).show(scenes)
    assert image is not None
    return image


def window(id: str = CART_POLE, fps: float = 1000.0) -> Screen:
    """A screen in human mode."""
    viewer = lifelong_gym.family(id).viewer
    assert viewer is not None
    return Screen(viewer, "human", fps)


def where(image: Image, colour: palette.Colour) -> npt.NDArray[np.bool_]:
    """The pixels of a colour, but for the rounding of the scaling."""
    return np.all(np.abs(image.astype(int) - colour) <= 2, axis=2)


def middle(image: Image, colour: palette.Colour) -> tuple[float, float]:
    """Mean x and y of the pixels of a colour on the stage."""
    rows, columns = np.nonzero(where(image[60:330], colour))
    assert len(rows) > 0
    return float(columns.mean()), float(rows.mean()) + 60.0


@pytest.fixture(autouse=True)
def _no_window_is_left() -> Iterator[None]:
    """Every test begins and ends without a window."""
    pygame.display.quit()
    yield
    pygame.display.quit()


def size_of(id: str) -> tuple[int, int]:
    """Width and height that a family's viewer declares."""
    width, height = load(lifelong_gym.family(id).viewer or "")().size
    return width, height


@pytest.mark.parametrize("id", IDS)
def test_a_frame_is_an_image(id: str) -> None:
    """Of the declared size, uint8, writable, and with something on it."""
    image = frame(id, scene_of(id))
    width, height = size_of(id)
    assert image.shape == (height, width, 3)
    assert image.dtype == np.uint8
    assert image.flags.writeable
    assert len(np.unique(image.reshape(-1, 3), axis=0)) > 20


@pytest.mark.parametrize("id", IDS)
def test_the_same_scene_gives_the_same_frame(id: str) -> None:
    """Drawing has no memory and no noise."""
    viewer = lifelong_gym.family(id).viewer
    assert viewer is not None
    screen = Screen(viewer, "rgb_array", 50)
    first = screen.show([scene_of(id)])
    screen.show([scene_of(id, step=13, failed=True)])
    np.testing.assert_array_equal(screen.show([scene_of(id)]), first)


@pytest.mark.parametrize("id", IDS)
def test_everything_in_a_scene_can_be_seen(id: str) -> None:
    """Each number of the state and of the action, the label, the step, the return and a failure."""
    scene = scene_of(id)
    assert scene.action is not None
    others = [
        scene_of(id, label="task 4"),
        scene_of(id, step=13),
        scene_of(id, episode_return=-3.6),
        scene_of(id, failed=True),
        scene_of(id, action=None),
    ]
    for i, x in enumerate(scene.state):
        others.append(scene_of(id, state=(*scene.state[:i], x + 1.0, *scene.state[i + 1 :])))
    for i, u in enumerate(scene.action):
        others.append(scene_of(id, action=(*scene.action[:i], u - 1.0, *scene.action[i + 1 :])))
    images = [frame(id, other).tobytes() for other in (scene, *others)]
    assert len(set(images)) == len(images)


def is_drawn(name: str) -> bool:
    """The spread of the starts is the one thing about a control task that no picture shows."""
    return not name.removeprefix("start_").isdigit()


@pytest.mark.parametrize("id", IDS)
def test_every_parameter_can_be_seen(id: str) -> None:
    """A picture changes with each of the task's parameters."""
    parameters = lifelong_gym.family(id).parameters
    nominal = frame(id, scene_of(id))
    for parameter in filter(lambda p: is_drawn(p.name), parameters):
        low, high = parameter.bounds
        value = parameter.nominal + 0.3 * (high - parameter.nominal if high > parameter.nominal else low - high)
        if parameter.integer:
            value = other_values(parameters, parameter, parameter.bounds)[-1]
        other = frame(id, scene_of(id, {parameter.name: value}))
        assert (other != nominal).any(), parameter.name


@pytest.mark.parametrize("id", CONTROL)
@pytest.mark.parametrize("factor", [2.0, -2.0, math.nan, math.inf, -math.inf, 1e300])
def test_extreme_states_can_be_drawn(id: str, factor: float) -> None:
    """A failed state stays at twice its limits for the rest of the episode; worse must not break the picture."""
    state = tuple(factor * limit for limit in lifelong_gym.family(id).state_limits)
    action = (-1.0,) * lifelong_gym.family(id).actions.size
    image = frame(id, scene_of(id, state=state, action=action, failed=True))
    assert where(image, palette.FAILED).any()


@pytest.mark.parametrize("id", IDS)
@pytest.mark.parametrize("end", [0, 1])
def test_extreme_tasks_can_be_drawn(id: str, end: int) -> None:
    """Every parameter at its lowest or highest; each alone where a rule refuses all together."""
    space = lifelong_gym.family(id).parameters
    rows = space.bounds[end][None]
    if not space.keeping(rows).all():
        rows = np.where(np.eye(len(space), dtype=bool), space.bounds[end], space.nominal)
        rows = rows[space.keeping(rows)]
    assert len(rows) > 0
    for row in rows.tolist():
        task = dict(zip(space.names, row, strict=True))
        assert frame(id, scene_of(id, task)).shape == frame(id, scene_of(id)).shape


@pytest.mark.parametrize("id", [id for id in CONTROL if isinstance(lifelong_gym.family(id), ControlFamily)])
def test_gauges_tell_the_familys_limits(id: str) -> None:
    """In the family's order and units."""
    family = lifelong_gym.family(id)
    viewer = load(family.viewer or "")()
    assert isinstance(viewer, panel.ControlViewer)
    assert tuple(gauge.limit for gauge in viewer.gauges) == family.state_limits
    assert [gauge.unit for gauge in viewer.gauges] == [channel.unit for channel in family.state]


def test_a_frame_shows_the_episode_so_far() -> None:
    """Renderers hand on the states before this one, from the episode's first on; curves are drawn of them."""
    id = "LifelongPortfolio-v0"
    env = gym.make(id, preset="single", backend="python", render_mode="rgb_array", days=5)
    env.reset(seed=0)
    states = [env.unwrapped.state]  # type: ignore[attr-defined]
    for _ in range(3):
        env.step(np.array([1, 0, 0, 0, 0], np.float32))
        states.append(env.unwrapped.state)  # type: ignore[attr-defined]
    core = env.unwrapped.core  # type: ignore[attr-defined]
    scene = env.unwrapped._renderer._scene(0, core.states())  # type: ignore[attr-defined]
    np.testing.assert_array_equal([*scene.past, scene.state], states)
    image = env.render()
    assert isinstance(image, np.ndarray)
    np.testing.assert_array_equal(image, frame(id, scene))
    assert (image != frame(id, replace(scene, past=()))).any()
    env.reset()
    assert env.unwrapped._renderer._scene(0, core.states()).past == ()  # type: ignore[attr-defined]


def test_the_cart_is_where_it_is() -> None:
    """One metre is the ruler's metre; the ghost stands at the goal."""
    here = middle(frame(CART_POLE, scene_of(CART_POLE, state=(0.0, 0, 0, 0), action=None)), palette.BODY)
    there = middle(frame(CART_POLE, scene_of(CART_POLE, state=(1.0, 0, 0, 0), action=None)), palette.BODY)
    ghost = middle(frame(CART_POLE, scene_of(CART_POLE, {"goal_1": -2.0}, action=None)), palette.GHOST)
    assert here[0] == pytest.approx(319.5, abs=1.0)
    assert there[0] - here[0] == pytest.approx(pendulum.METRE, abs=1.0)
    assert ghost[0] - here[0] == pytest.approx(-2.0 * pendulum.METRE, abs=1.0)


@pytest.mark.parametrize("id", ["LifelongCartPole-v0", "LifelongDoubleInvertedPendulum-v0"])
def test_poles_lean_to_the_right_at_positive_angles(id: str) -> None:
    """As the equations have it."""
    angles = [0.0] * len(lifelong_gym.family(id).state)
    upright = middle(frame(id, scene_of(id, state=tuple(angles))), palette.SECOND)
    angles[2] = 0.3
    assert middle(frame(id, scene_of(id, state=tuple(angles))), palette.SECOND)[0] > upright[0] + 10


@pytest.mark.parametrize("id", ["LifelongCartPole-v0", "LifelongSimpleMass-v0", "LifelongDoubleMass-v0"])
@pytest.mark.parametrize("gain", [1.0, -1.0])
def test_the_arrow_shows_the_force_itself(id: str, gain: float) -> None:
    """Not the action: an actuator with the other sign turns it round."""
    still = (0.0,) * len(lifelong_gym.family(id).state)
    image = frame(id, scene_of(id, {"actuator_gain": gain}, state=still, action=(0.8,)))
    assert gain * (middle(image, palette.ACTION)[0] - middle(image, palette.BODY)[0]) > 10


@pytest.mark.parametrize("id", ["LifelongSimpleMass-v0", "LifelongDoubleMass-v0"])
def test_heavy_blocks_are_large(id: str) -> None:
    """Twice the mass, nearly twice the area."""
    name = next(name for name in lifelong_gym.family(id).parameters.names if name.startswith("mass"))
    areas = []
    for mass in (3.0, 6.0):
        image = frame(id, scene_of(id, {name: mass}, action=None))
        areas.append(where(image[:330], palette.BODY).sum())
    assert areas[1] / areas[0] == pytest.approx(2.0, rel=0.15)


def test_the_helicopter_is_drawn_nose_up() -> None:
    """Pitch turns the nose, at positive x, upwards; the table holds the family's own nominal entries."""
    (level,), (up,) = ch47.turned([(100.0, 0.0)], 0.0), ch47.turned([(100.0, 0.0)], 0.3)
    assert up[1] < level[1]
    assert {name: CH47.parameters[name].nominal for name in ch47.NOMINAL} == ch47.NOMINAL
    assert len(ch47.NOMINAL) == 17
    nominal = scene_of("LifelongCH47-v0").task
    assert ch47.fastest_growth(nominal) == pytest.approx(0.491, abs=5e-4)


def test_helicopter_thrusts_follow_the_turned_inputs() -> None:
    """A quarter turn makes the first action the collective, as in the family's matrices."""
    plain = scene_of("LifelongCH47-v0", action=(0.0, 1.0))
    turned = scene_of("LifelongCH47-v0", {"input_rotation": 0.5 * math.pi}, action=(1.0, 0.0))
    assert ch47.rotor_thrusts(plain) == (1.0, 1.0)
    assert ch47.rotor_thrusts(turned) == pytest.approx((1.0, 1.0))
    p = CH47.parameters.columns(CH47.parameters.tasks([dict(plain.task), dict(turned.task)]).values)
    first, second = (np.array(CH47().physics(p)["input_matrix"])[:, i].reshape(4, 2) for i in (0, 1))
    np.testing.assert_allclose(first @ plain.action, second @ turned.action, atol=1e-12)


def test_rotors_turn_as_fast_as_the_family_turns_them() -> None:
    """Hover speed and gain are the family's, and the speeds are clipped."""
    task = {"mass": 0.5, "actuator_gain": 0.7}
    scene = scene_of("LifelongQuadrotor-v0", task, action=(0.5, -1.0, 0.0, 1.0))
    columns = Quadrotor.parameters.columns(Quadrotor.parameters.tasks([task]).values)
    hover, gain = (float(np.ravel(x)[0]) for x in Quadrotor().physics(columns)["rotors"][:2])
    bound = Quadrotor.actions.bound[0]
    assert quadrotor.rotor_speeds(scene) == pytest.approx([hover + gain * bound * u for u in (0.5, -1.0, 0.0, 1.0)])
    strong = scene_of("LifelongQuadrotor-v0", {"actuator_gain": 20.0}, action=(1.0, -1.0, 0.0, 0.0))
    assert quadrotor.rotor_speeds(strong)[:2] == [400.0, 0.0]


def test_attitudes_are_drawn_as_the_equations_have_them() -> None:
    """Rolling lowers the right rotor, pitching raises the front one, yawing turns it to the right."""
    front, right = np.array([100.0, 0, 0]), np.array([0, 100.0, 0])
    height = -quadrotor.rotation(0.2, 0.0, 0.0) @ right, -quadrotor.rotation(0.0, 0.2, 0.0) @ front
    assert height[0][2] < 0 < height[1][2]
    assert (quadrotor.rotation(0.0, 0.0, 0.2) @ front)[1] > 0
    matrix = quadrotor.rotation(0.4, -1.1, 2.0)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(matrix) == pytest.approx(1.0)
    (low, high), _ = quadrotor.project(np.array([[0, 0, 30.0], [0, 0, -30.0]]))
    assert high[1] < low[1]


@pytest.mark.parametrize("action", [0.0, 1.0, 2.0, 3.0])
def test_the_grids_arrow_points_where_the_agent_goes(action: float) -> None:
    """The viewer's directions are the family's."""
    nowhere = (-1.0, -1.0)
    moved = GridWorld.transition((4.0, 5.0), (action,), (1.0, 0.0), nowhere, nowhere * 3, (0.0,), (1.0,))
    dx, dy = grid_world.DIRECTIONS[int(action)]
    assert moved == (4.0 + dy, 5.0 + dx)
    before, after = (
        middle(frame("LifelongGridWorld-v0", scene_of("LifelongGridWorld-v0", state=cell, action=None)), palette.BODY)
        for cell in ((4.0, 5.0), moved)
    )
    assert (after[0] - before[0], after[1] - before[1]) == pytest.approx((40 * dx, 40 * dy), abs=1.0)


def test_the_agent_shows_how_it_ended() -> None:
    """In the goal's colour at the goal, in that of failure on an obstacle."""
    id = "LifelongGridWorld-v0"
    goal, obstacle = (frame(id, scene_of(id, state=cell, action=None)) for cell in ((7.0, 7.0), (2.0, 7.0)))
    assert middle(obstacle, palette.FAILED) == pytest.approx((341.5, 183.5), abs=1.0)
    assert not where(goal, palette.BODY).any()


@pytest.mark.parametrize("n", range(1, 17))
def test_tiles_are_nearly_square_and_even(n: int) -> None:
    """As many columns as rows, or one more; a frame fits a screen, and video formats."""
    for id in IDS:
        columns, rows, (width, height) = layout(n, size_of(id))
        assert columns * rows >= n > columns * (rows - 1)
        assert columns - rows in (0, 1)
        assert columns * width <= LARGEST[0]
        assert rows * height <= LARGEST[1]
        assert width % 2 == height % 2 == 0
        assert width / height == pytest.approx(size_of(id)[0] / size_of(id)[1], rel=0.02)


def test_each_tile_shows_its_scene() -> None:
    """In reading order."""
    a, b, c = (scene_of(CART_POLE, label=f"task {i}", state=(0.5 * i, 0, 0, 0)) for i in range(3))
    image = frame(CART_POLE, a, b, c)
    height, width = image.shape[0] // 2, image.shape[1] // 2
    expected = frame(CART_POLE, a, a, a), frame(CART_POLE, b, b, b), frame(CART_POLE, c, c, c)
    for i, (row, column) in enumerate([(0, 0), (0, 1), (1, 0)]):
        tile = np.s_[row * height : (row + 1) * height, column * width : (column + 1) * width]
        np.testing.assert_array_equal(image[tile], expected[i][tile])
    assert (image[height:, width:] == np.array(palette.LINE)).all()


def test_more_than_sixteen_scenes_are_counted_in_the_corner() -> None:
    """The first sixteen are shown, and how many are not."""
    scenes = [scene_of(CART_POLE, label=f"task {i}") for i in range(40)]
    full, more, many = (frame(CART_POLE, *scenes[:n]) for n in (16, 17, 40))
    assert full.shape == more.shape == many.shape
    rows, columns = np.nonzero((full != more).any(axis=2))
    assert rows.min() > 0.9 * full.shape[0]
    assert columns.min() > 0.75 * full.shape[1]
    assert not np.array_equal(more, many)


def test_arrays_need_no_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    """`rgb_array` opens no display, not even where there is none; a window is refused with advice."""
    monkeypatch.setenv("SDL_VIDEODRIVER", "no-such-driver")
    frame(CART_POLE, scene_of(CART_POLE))
    assert not pygame.display.get_init()
    with pytest.raises(LifelongGymError, match="SDL_VIDEODRIVER=dummy"):
        window().show([scene_of(CART_POLE)])


@pytest.mark.parametrize("id", IDS)
def test_a_window_shows_what_an_array_holds(id: str) -> None:
    """Pixel by pixel, under the dummy driver."""
    screen = window(id)
    assert screen.show([scene_of(id)]) is None
    surface = pygame.display.get_surface()
    assert surface is not None
    shown = pygame.surfarray.array3d(surface).swapaxes(0, 1)
    np.testing.assert_array_equal(shown, frame(id, scene_of(id)))
    screen.close()
    screen.close()
    assert not pygame.display.get_init()


def test_a_window_keeps_the_pace() -> None:
    """Frames come at `fps`."""
    screen = window(fps=50)
    screen.show([scene_of(CART_POLE)])
    start = time.perf_counter()
    for _ in range(5):
        screen.show([scene_of(CART_POLE)])
    assert time.perf_counter() - start > 0.08


def test_a_window_that_the_user_closes_stays_closed() -> None:
    """The program goes on without it."""
    screen = window()
    screen.show([scene_of(CART_POLE)])
    pygame.event.post(pygame.event.Event(pygame.QUIT))
    screen.show([scene_of(CART_POLE)])
    assert not pygame.display.get_init()
    screen.show([scene_of(CART_POLE)])
    assert not pygame.display.get_init()
    screen.close()


def test_a_window_follows_the_number_of_scenes_and_other_peoples_quits() -> None:
    """It is resized for more tiles, and opened again when another library has shut pygame down."""
    screen = window()
    screen.show([scene_of(CART_POLE)])
    assert pygame.display.get_window_size() == size_of(CART_POLE)
    screen.show([scene_of(CART_POLE)] * 2)
    assert pygame.display.get_window_size() == (1280, 440)
    pygame.quit()
    screen.show([scene_of(CART_POLE)])
    assert pygame.display.get_window_size() == size_of(CART_POLE)
    screen.close()


def test_a_missing_pygame_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the command that installs it."""
    monkeypatch.setitem(sys.modules, "pygame", None)
    monkeypatch.delitem(sys.modules, canvas.__name__)
    with pytest.raises(MissingLibraryError, match="pip install pygame-ce"):
        importlib.import_module(canvas.__name__)


def test_bad_input_is_refused() -> None:
    """A mode that doesn't exist, no pace, no viewer, nothing to show."""
    viewer = lifelong_gym.family(CART_POLE).viewer or ""
    with pytest.raises(ValueError, match=r"'humans'.*Did you mean 'human'"):
        Screen(viewer, "humans", 50)
    with pytest.raises(ValueError, match="`fps` must be positive"):
        Screen(viewer, "human", 0)
    with pytest.raises(ValueError, match="has no 'NoViewer'"):
        Screen(viewer.replace("CartPoleViewer", "NoViewer"), "rgb_array", 50)
    with pytest.raises(ValueError, match="at least one scene"):
        Screen(viewer, "rgb_array", 50).show([])
