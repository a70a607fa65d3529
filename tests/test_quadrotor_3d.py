"""The quadrotor in space: against equations written independently, published figures, and its reference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import lifelong_gym
from lifelong_gym.envs.control import quadrotor_3d
from lifelong_gym.envs.control.airframes import CRAZYFLIE, RPM
from lifelong_gym.envs.control.integrators import rk4
from lifelong_gym.envs.control.paths import path_constants, target
from lifelong_gym.envs.control.quadrotor_3d import Quadrotor3D
from lifelong_gym.envs.viewers import space
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.numerics.scalar import Vector
from lifelong_gym.references.lqr import Linearised, lqr_policies, scale_of
from lifelong_gym.tasks.task_set import Task, TaskSet
from tests.test_physics import solved_step

ID = "LifelongQuadrotor3D-v0"
FAMILY = Quadrotor3D()
SPACE = FAMILY.parameters
CALM = {f"start_{of}": 0.0 for of in ("position", "velocity", "angle", "rate")}
HOVER: dict[str, float | str] = {**CALM, "path": "hover"}


def group(name: str, task: Mapping[str, Any] | None = None) -> Vector:
    """One group of constants of one task."""
    constants = FAMILY.constants(SPACE.columns(SPACE.tasks([task or {}]).values))
    return tuple(float(np.ravel(x)[0]) for x in constants[name])


def flown(tasks: TaskSet, actions: FloatArray, state: FloatArray | None = None, **settings: Any) -> FloatArray:
    """States of a row a task under actions u of shape (n_steps, n_tasks, 4): (n_steps + 1, n_tasks, 17)."""
    env: Any = gym.make_vec(ID, num_envs=len(tasks), tasks=tasks, backend="numpy", **settings)
    env.reset(seed=0, options=None if state is None else {"state": state})
    states = [env.state.copy()]
    for u in actions:
        env.step(u.astype(np.float32))
        states.append(env.state.copy())
    return np.array(states)


def rate(p: Task, x: FloatArray, a: FloatArray) -> FloatArray:
    """Newton and Euler in vectors: rotors at their places, angular momentum, attitude as a matrix; 16 states."""
    turn = Rotation.from_euler("ZYX", x[[8, 7, 6]]).as_matrix()
    speeds = np.sqrt(p["mass"] * 9.81 / (4 * p["thrust_coefficient"])) * x[12:]
    angles = p["mount_angle"] - np.pi / 2 * np.arange(4)
    places = p["arm_length"] * np.stack([np.cos(angles), np.sin(angles), 0 * angles], axis=1)
    thrusts = np.outer(p["thrust_coefficient"] * speeds**2, [0.0, 0.0, 1.0])
    torque = np.cross(places, thrusts).sum(axis=0)
    torque[2] = p["drag_coefficient"] * np.array([-1.0, 1.0, -1.0, 1.0]) @ speeds**2
    air = turn.T @ (x[3:6] - [p["wind_x"], p["wind_y"], 0.0])
    drag = -speeds.sum() * np.array([p["air_drag_xy"], p["air_drag_xy"], p["air_drag_z"]]) * air
    near = 1.0 + min(p["ground_effect"] * (p["propeller_radius"] / (4 * x[2])) ** 2, 4 / 15)
    force = turn @ (near * thrusts.sum(axis=0) + drag)
    acceleration = force / (p["mass"] * (1.0 + p["payload"])) - [0.0, 0.0, 9.81]
    inertia, rates = np.array([p["inertia_x"], p["inertia_y"], p["inertia_z"]]), x[9:12]
    spin = (torque - np.cross(rates, inertia * rates)) / inertia
    (sr, sp, _), (cr, cp, _) = np.sin(x[6:9]), np.cos(x[6:9])
    of_angles = np.array([[1.0, 0.0, -sp], [0.0, cr, sr * cp], [0.0, -sr, cr * cp]])  # body rates of the angles' rates
    lag = (1.0 + 0.01 * p["actuator_gain"] * a - x[12:]) / p["rotor_time_constant"]
    return np.concatenate([x[3:6], acceleration, np.linalg.solve(of_angles, rates), spin, lag])


@pytest.mark.parametrize(("preset", "bound"), [("hetero", 1e-6), ("wide", 1e-5), ("hummingbird", 2e-5)])
def test_a_step_equals_solve_ivp(preset: str, bound: float) -> None:
    """In all sixteen numbers, near the ground and in wind; the shorter the rotors' lag, the coarser."""
    tasks = TaskSet(SPACE, SPACE.sample(3, preset=preset).values).perturb(0.1)
    low = TaskSet(SPACE, np.where(np.array(SPACE.names) == "target_z", 0.5, tasks.values))
    actions = np.random.default_rng(0).uniform(-0.3, 0.3, (20, 3, 4))
    states = flown(low, actions)
    for j, task in enumerate(low):
        for k, u in enumerate(actions[:, j].astype(np.float32).astype(float)):
            before, after = states[k : k + 2, j]
            if after[2] <= 0.0:
                break
            exact = solved_step(rate, task, before[:16], 5.0 * u, 0.02)
            np.testing.assert_allclose(after[:16], exact, rtol=0, atol=bound)
            assert after[16] == before[16] + 1
        assert k > 10


def test_a_drone_hovers_whatever_it_weighs_and_sinks_under_a_load_that_it_does_not_know() -> None:
    """By the weight that is missing; with too little mass it rises."""
    still: dict[str, float | str] = {
        **HOVER,
        "air_drag_z": 0.0,
        "air_drag_xy": 0.0,
        "ground_effect": 0.0,
        "target_z": 2.0,
    }
    loads = np.array([0.0, 0.0, 0.05, -0.05])
    tasks = SPACE.tasks(
        [{**still, "mass": m, "payload": w} for m, w in zip((0.02, 1.0, 0.03, 0.03), loads, strict=True)]
    )
    states = flown(tasks, np.zeros((25, 4, 4)))
    np.testing.assert_allclose(states[-1, :, :2], 0.0, atol=1e-12)
    fallen = -0.5 * 9.81 * loads / (1.0 + loads) * 0.5**2
    np.testing.assert_allclose(states[-1, :, 2] - 2.0, fallen, atol=1e-9)


def test_a_body_that_nothing_pushes_falls_and_keeps_its_angular_momentum() -> None:
    """In the world's frame, to the vector; its energy of rotation stays, and the centre falls freely."""
    task = {"inertia_x": 1e-5, "inertia_y": 2e-5, "inertia_z": 2.5e-5, "ground_effect": 0.0}
    inertia = np.array([1e-5, 2e-5, 2.5e-5])
    start: Vector = (0.0, 0.0, 5.0, 1.0, -2.0, 3.0, 0.1, -0.2, 0.3, 2.0, -1.0, 1.5)
    state = start
    for _ in range(25):
        state = rk4(quadrotor_3d.derivative, state, (0.0,) * 5, group("body", task), 0.02)

    def momentum(x: Vector) -> FloatArray:
        return np.asarray(Rotation.from_euler("ZYX", [x[8], x[7], x[6]]).apply(inertia * x[9:]))

    assert np.abs(np.subtract(state[9:], start[9:])).max() > 0.2  # it tumbles
    np.testing.assert_allclose(momentum(state), momentum(start), rtol=0, atol=1e-11)
    assert inertia @ np.square(state[9:]) == pytest.approx(inertia @ np.square(start[9:]), rel=1e-7)
    np.testing.assert_allclose(state[:3], [0.5, -1.0, 5.0 + 1.5 - 0.5 * 9.81 * 0.25], atol=1e-12)


def test_the_ground_carries_and_the_wind_takes_along() -> None:
    """Thrust grows by 4/15 at most; a level drone ends up as fast as the air."""
    lift = 9.81
    for height, share in ((1.0, 11.36859 * (0.0231348 / 4.0) ** 2), (0.001, 4 / 15)):
        body = group("body")
        x = (0.0, 0.0, height, *(0.0,) * 9)
        climb = quadrotor_3d.derivative(x, (lift, 0.0, 0.0, 0.0, 0.0), body)[5]
        assert climb == pytest.approx(lift * share, rel=2e-3)
    windy = SPACE.tasks([{**HOVER, "wind_x": 2.0, "wind_y": -1.0, "air_drag_xy": 1e-4, "target_z": 2.0}])
    np.testing.assert_allclose(flown(windy, np.zeros((50, 1, 4)))[-1, 0, 3:5], [2.0, -1.0], atol=1e-3)


@pytest.mark.parametrize(
    ("u", "channel"),
    [((-1, -1, 1, 1), 9), ((-1, 1, 1, -1), 10), ((-1, 1, -1, 1), 11), ((1, 1, 1, 1), 5)],
    ids=["roll", "pitch", "yaw", "climb"],
)
def test_rotors_turn_the_crazyflie_as_its_urdf_has_them(u: tuple[float, ...], channel: int) -> None:
    """Front right, rear right, rear left, front left; each pattern moves one channel, and forwards."""
    tasks = SPACE.tasks([{**HOVER, **CRAZYFLIE, "rotor_time_constant": 0.0, "ground_effect": 0.0, "air_drag_z": 0.0}])
    after = flown(tasks, np.array([[u]], float))[1, 0]
    assert after[channel] > 0.01
    others = [i for i in (5, 9, 10, 11) if i != channel]
    assert np.abs(after[others]).max() < 0.02 * after[channel]


def test_the_crazyflie_hovers_at_the_speed_of_gym_pybullet_drones() -> None:
    """14468.43 revolutions a minute with its 9.8 m/s^2; an action of 1 is five percent more, at once."""
    hover = np.sqrt(CRAZYFLIE["mass"] * 9.8 / (4 * CRAZYFLIE["thrust_coefficient"])) / RPM
    assert hover == pytest.approx(14468.429183500699, rel=1e-12)
    task = SPACE.sample(1, preset="cf2x")
    np.testing.assert_allclose(flown(task, np.ones((1, 1, 4)))[1, 0, 12:16], 1.05, rtol=1e-12)
    for name in ("hummingbird", "pelican", "cf2x"):
        assert len(np.unique(SPACE.sample(20, preset=name).column("mass"))) == 1


def test_targets_go_where_they_are_said_to_go() -> None:
    """The eight is closed and as fast as it moves; waypoints are corners of a square; all wait before they set out."""
    place = {"path_size": 0.8, "path_height": 0.3, "path_period": 5.0, "target_x": 0.5, "target_z": 1.2}
    begin = (0.5, 0.0, 1.2)
    for name in ("hover", "waypoints", "figure_eight"):
        path = group("path", {**place, "path": name})
        assert target(-3.0, path) == target(-1000.0, path) == (*begin, 0.0, 0.0, 0.0)
        at = np.array([target(clock, path) for clock in np.arange(0.0, 250.0, 0.01).tolist()])
        np.testing.assert_allclose(at[-1, :3], begin if name != "waypoints" else (0.5, 0.8, 1.5), atol=1e-2)
        if name == "figure_eight":
            speeds = np.gradient(at[:, :3], 0.01 * 0.02, axis=0)
            np.testing.assert_allclose(speeds[5:-5], at[5:-5, 3:], atol=1e-4)
            np.testing.assert_allclose(at[:, 0].max() - 0.5, 0.8, atol=1e-6)
            np.testing.assert_allclose(at[:, 2].max() - 1.2, 0.3, atol=1e-6)
        if name == "waypoints":
            corners = [[0.5, 0, 1.2], [0.5, 0.8, 1.5], [1.3, 0, 1.5], [1.3, 0.8, 1.2]]
            np.testing.assert_allclose(np.unique(at[:, :3], axis=0), corners, atol=1e-12)
            np.testing.assert_allclose(at[6300, :3], [1.3, 0.0, 1.5], atol=1e-12)
    columns = SPACE.columns(SPACE.sample(3, preset="default").values)
    assert all(np.shape(x) == (3,) for x in path_constants(columns, 0.02)[:7])


def test_it_fails_on_the_ground_when_it_tips_over_and_far_away() -> None:
    """A state beyond its limits, or below the ground, costs 35 a step and stays; on the ground nobody starts."""
    hovering = np.array([0.0, 0.0, 1.0, *(0.0,) * 9, *(1.0,) * 4, 0.0])
    falls = [(2, 0.01, 5, -1.0), (7, 1.29, 10, 5.0), (0, 4.99, 3, 2.0)]
    states = np.tile(hovering, (3, 1))
    for row, (place, x, speed, v) in zip(states, falls, strict=True):
        row[place], row[speed] = x, v
    env: Any = gym.make_vec(ID, num_envs=3, tasks=[HOVER], backend="numpy")
    env.reset(seed=0, options={"state": states})
    for _ in range(2):
        rewards = env.step(np.zeros((3, 4), np.float32))[1]
        np.testing.assert_array_equal(rewards, -35.0)
    assert FAMILY.cost_of_failing("quadratic") == 35.0**2
    for channel, name in ((2, "z"), (12, "rotor_1")):
        wrong = hovering.copy()
        wrong[channel] = -0.1
        with pytest.raises(ValueError, match=f"`state`: {name} must be at least 0. Received -0.1"):
            env.reset(options={"state": wrong})


def test_what_it_sees_is_the_tracking_error_and_the_target() -> None:
    """With rewards of the next state, weighted."""
    env: Any = gym.make(ID, tasks=[{}], backend="numpy", constraints={"pitch": 0.5, "command_1": 4.0}).unwrapped
    env.reset(seed=3)
    for _ in range(5):
        seen, reward, *_, info = env.step(np.array([1.0, 0.5, -0.5, 0.0], np.float32))
    state, wanted = env.state, np.array(target(5.0, group("path")))
    np.testing.assert_allclose(seen, [*(state[:6] - wanted), *state[6:12], *wanted[:3]], atol=1e-6)
    weighted = np.array(quadrotor_3d.WEIGHTS[:12]) * [*(state[:6] - wanted), *state[6:12]]
    assert reward == pytest.approx(-np.linalg.norm(weighted) - np.linalg.norm([5.0, 2.5, 2.5]), abs=1e-9)
    np.testing.assert_allclose(info["constraint_values"], [abs(state[7]) - 0.5, 1.0], atol=1e-9)


def returns(tasks: TaskSet, theta: FloatArray, n_steps: int = 250) -> FloatArray:
    """Of quadratic rewards, in an episode of each task under policies (n_tasks, 64)."""
    env: Any = gym.make_vec(ID, num_envs=len(tasks), tasks=tasks, backend="numpy", reward="quadratic")
    seen, total = env.reset(seed=1)[0], np.zeros(len(tasks))
    gains = theta.reshape(len(tasks), 4, 16)
    for _ in range(n_steps):
        features = np.column_stack([seen / scale_of(FAMILY), np.ones(len(tasks))])
        a = (gains @ features[..., None])[..., 0]
        seen, rewards, *_ = env.step(np.clip(a / 5.0, -1.0, 1.0).astype(np.float32))
        total += rewards
    return total


def test_lqr_about_hover_holds_every_drone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stable where rotors aren't seen and lag, and the better for the reward's own weights; the clock isn't steered."""
    presets = ("default", "wide", "hetero", "cf2x", "hummingbird", "pelican")
    values = np.concatenate([SPACE.sample(5, preset=preset).values for preset in presets])
    values[:, SPACE.index("path")] = 0.0
    tasks = TaskSet(SPACE, values)
    theta, system = lqr_policies(FAMILY, tasks), Linearised.of(FAMILY, tasks)
    assert system.transition.shape == (30, 16, 16)
    radii = np.abs(np.linalg.eigvals(system.closed_loop(theta, scale_of(FAMILY)))).max(axis=1)
    assert radii.max() < 0.995
    assert not theta.reshape(30, 4, 16)[..., 12:15].any()  # where the target is tells nothing
    own = returns(tasks, theta)
    assert own.min() > -700.0  # doing nothing costs 200,000
    monkeypatch.setattr(quadrotor_3d, "WEIGHTS", (1.0,) * 17)
    others = lqr_policies(FAMILY, tasks)
    monkeypatch.undo()
    assert (own > returns(tasks, others)).mean() > 0.9


def test_the_camera_sees_the_world_as_the_equations_have_it() -> None:
    """Attitudes are the matrix of their angles; up is up, and x leads away from a camera that looks along it."""
    angles = (0.4, -1.1, 2.0)
    np.testing.assert_allclose(
        space.rotation(*angles), Rotation.from_euler("ZYX", angles[::-1]).as_matrix(), atol=1e-12
    )
    camera = space.Camera(np.array([0.0, 0.0, 1.0]), (100.0, 100.0), 50.0, 5.0, 0.0, 0.4)
    (here, up, left, ahead), depth = camera.project(np.array([[0, 0, 1], [0, 0, 2], [0, 1, 1], [1, 0, 1]], float))
    assert here == (100.0, 100.0)
    assert up[0] == pytest.approx(100.0)
    assert up[1] < 60.0
    assert left[0] == pytest.approx(50.0)
    assert ahead[0] == pytest.approx(100.0)
    assert depth[3] > 0.9
    assert lifelong_gym.family(ID).viewer is not None
