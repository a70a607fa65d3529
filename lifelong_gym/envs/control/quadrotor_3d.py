"""A quadrotor in space that follows a moving target, steered by the speeds of its four rotors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, final

import numpy as np

from lifelong_gym.envs.control.airframes import CRAZYFLIE, CRAZYFLIE_LAG, HUMMINGBIRD, PELICAN
from lifelong_gym.envs.control.base import EFFORT_WEIGHT
from lifelong_gym.envs.control.integrators import rk4_between
from lifelong_gym.envs.control.paths import FARTHEST, FASTEST, PATHS, path_constants, target
from lifelong_gym.envs.family import Columns, Groups, KernelFamily
from lifelong_gym.envs.spaces import Bounded, Continuous, Quantity
from lifelong_gym.numerics import numpy_math
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.numerics.scalar import (
    Vector,
    add,
    beyond,
    clip,
    mul,
    scale,
    shift,
    sincos,
    sqrt,
    sub,
    total,
)
from lifelong_gym.tasks.distributions import Choice, Constant, LogUniform, RandomSign, Uniform
from lifelong_gym.tasks.parameter_space import ParameterSpace, Preset
from lifelong_gym.tasks.parameters import Parameter

DT = 0.02
GRAVITY = 9.81
PERCENT = 0.01
N_BODY, CLOCK = 12, 16
LOWEST, MOST_LIFT = 0.02, 4.0 / 15.0
BODY = (
    Quantity("x", "m", "position, forward"),
    Quantity("y", "m", "position, to the left"),
    Quantity("z", "m", "height of the centre above the ground"),
    Quantity("x_velocity", "m/s", "of x"),
    Quantity("y_velocity", "m/s", "of y"),
    Quantity("z_velocity", "m/s", "of z"),
    Quantity("roll", "rad", "about the body's x axis, left side up"),
    Quantity("pitch", "rad", "about the y axis that yaw has turned, nose down"),
    Quantity("yaw", "rad", "about the vertical, to the left"),
    Quantity("roll_rate", "rad/s", "of the body about its x axis"),
    Quantity("pitch_rate", "rad/s", "of the body about its y axis"),
    Quantity("yaw_rate", "rad/s", "of the body about its z axis"),
)
STATE = (
    *BODY,
    *(Quantity(f"rotor_{i}", "1", "speed over hover speed") for i in range(1, 5)),
    Quantity("clock", "steps", "since the target set out; below 0 it waits"),
)
LIMITS = (5.0, 5.0, 5.0, 10.0, 10.0, 10.0, 1.3, 1.3, 3.0, 20.0, 20.0, 20.0, 4.0, 4.0, 4.0, 4.0, 1e9)
WEIGHTS = (*(3.0,) * 3, *(0.5,) * 6, *(0.1,) * 3, *(0.0,) * 5)  # so that the best policies stay near the target
SEEN = (
    *(Quantity(f"{c.name}_error", c.unit, f"{c.name} less the target's") for c in BODY[:6]),
    *BODY[6:],
    *(Quantity(f"target_{axis}", "m", f"{axis} of the target") for axis in "xyz"),
)

AIRFRAME = {**CRAZYFLIE, "rotor_time_constant": CRAZYFLIE_LAG}


def of_body(name: str, unit: str, meaning: str, bounds: tuple[float, float], draws: Uniform | None = None) -> Parameter:
    """A parameter of the airframe, nominally the Crazyflie's."""
    return Parameter(name, unit, meaning, bounds, draws, AIRFRAME[name])


BOUNDS = (1e-6, 0.1)
DRAWN = (
    of_body("mass", "kg", "mass, which sets the hover speed", (0.005, 5.0), Uniform(0.027, 0.042)),
    of_body("inertia_x", "kg m^2", "about the roll axis", BOUNDS, Uniform(1e-5, 2e-5)),
    of_body("inertia_y", "kg m^2", "about the pitch axis", BOUNDS, Uniform(1e-5, 2e-5)),
    of_body("inertia_z", "kg m^2", "about the yaw axis", BOUNDS, Uniform(1.5e-5, 3e-5)),
)
OWN = (
    *DRAWN,
    of_body("arm_length", "m", "from the centre to a rotor", (0.01, 1.0)),
    of_body("mount_angle", "rad", "of rotor 1 from the x axis, to the left", (-np.pi, np.pi)),
    of_body("thrust_coefficient", "N s^2", "thrust per squared speed", (1e-9, 1e-3)),
    of_body("drag_coefficient", "N m s^2", "drag torque of a rotor per squared speed", (0.0, 1e-4)),
    of_body("propeller_radius", "m", "radius of a propeller", (0.005, 0.5)),
    of_body("air_drag_xy", "kg", "force per airspeed across the rotors' axes and speed of the rotors", (0.0, 1e-3)),
    of_body("air_drag_z", "kg", "the same along the axes", (0.0, 1e-3)),
    of_body("ground_effect", "1", "share of thrust won at a height of a quarter radius", (0.0, 50.0)),
    of_body("rotor_time_constant", "s", "of the rotors' lag; 0: none", (0.0, 0.5)),
    Parameter("payload", "1", "mass that the hover speed doesn't count, over mass", (-0.1, 0.5), nominal=0.0),
    Parameter("wind_x", "m/s", "speed of the air along x", (-10.0, 10.0), Uniform(-1.0, 1.0), 0.0),
    Parameter("wind_y", "m/s", "speed of the air along y", (-10.0, 10.0), Uniform(-1.0, 1.0), 0.0),
    Parameter("actuator_gain", "1", "factor on the commands, of either sign", (-10.0, 10.0), nominal=1.0),
    Parameter("path", "1", "what the target does", names=PATHS, draws=Choice(PATHS), nominal=2.0),
    Parameter("path_period", "s", "of once round", (1.0, 60.0), Uniform(4.0, 6.0)),
    Parameter("path_size", "m", "half an eight's length, side of the waypoints' square", (0.0, 2.0), Uniform(0.4, 0.8)),
    Parameter("path_height", "m", "by which the path rises", (0.0, 2.0), Uniform(0.0, 0.4)),
    Parameter("target_x", "m", "where the path begins", (-2.0, 2.0), nominal=0.0),
    Parameter("target_y", "m", "where the path begins", (-2.0, 2.0), nominal=0.0),
    Parameter("target_z", "m", "where the path begins", (0.05, 2.0), Uniform(0.5, 1.5)),
    Parameter("start_position", "m", "half-width of the start about the target", (0.0, 1.0), nominal=0.3),
    Parameter("start_velocity", "m/s", "half-width of the start", (0.0, 5.0), nominal=0.3),
    Parameter("start_angle", "rad", "half-width of the start", (0.0, 1.0), nominal=0.2),
    Parameter("start_rate", "rad/s", "half-width of the start", (0.0, 10.0), nominal=0.5),
)
PUBLISHED = {parameter.name: parameter.draws for parameter in OWN if parameter.draws is not None}
PLACE = {name: PUBLISHED[name] for name in PUBLISHED if name.startswith(("path", "target"))}


def airframe(values: Mapping[str, float], meaning: str) -> Preset:
    """One published quadrotor, whose paths differ."""
    return Preset({**PLACE, **{name: Constant(value) for name, value in values.items()}}, meaning)


PRESETS = {
    "hetero": Preset(
        {
            **PUBLISHED,
            "actuator_gain": RandomSign(LogUniform(0.5, 2.0)),
            "payload": Uniform(0.0, 0.03),
            "wind_x": Uniform(-3.0, 3.0),
            "wind_y": Uniform(-3.0, 3.0),
        },
        "strength and direction of the rotors' response, payloads, winds, inertias and paths differ",
    ),
    "cf2x": airframe(
        {**CRAZYFLIE, "rotor_time_constant": 0.0},
        "the Crazyflie of gym-pybullet-drones, whose rotors answer at once",
    ),
    "hummingbird": airframe(HUMMINGBIRD, "the AscTec Hummingbird of RotorS"),
    "pelican": airframe(PELICAN, "the AscTec Pelican of RotorS"),
}


def tracking_error(state: Vector, path: Vector) -> Vector:
    """The body's state less that of a level drone which flies with the target."""
    return sub(state[:6], target(state[CLOCK], path)) + state[6:N_BODY]


def reward_norm(action: Vector, next_state: Vector, path: Vector, weights: Vector) -> float:
    """``-||e|| - ||a||`` with the weighted tracking error e."""
    error = mul(weights[:N_BODY], tracking_error(next_state, path))
    return -sqrt(total(mul(error, error))) - sqrt(total(mul(action, action)))


def reward_quadratic(action: Vector, next_state: Vector, path: Vector, weights: Vector) -> float:
    """``-e'e - 0.1 a'a``."""
    error = mul(weights[:N_BODY], tracking_error(next_state, path))
    return -total(mul(error, error)) - EFFORT_WEIGHT * total(mul(action, action))


def wrench(rotors: Vector, body: Vector) -> Vector:
    """What rotors at these speeds cause: acceleration along their axes, three angular ones, sum of the speeds."""
    lift, roll, pitch, yaw, cosine, sine = body[:6]
    w1, w2, w3, w4 = mul(rotors, rotors)
    front, right = w1 - w3, w2 - w4
    return (
        lift * ((w1 + w3) + (w2 + w4)),
        roll * (sine * front - cosine * right),
        -pitch * (cosine * front + sine * right),
        yaw * ((w2 + w4) - (w1 + w3)),
        total(rotors),
    )


def lag(time_constant: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """How far the rotors are still from the commanded speeds: at a step's beginning, in the middle and at the end.

    Between them Simpson's rule, by which RK4 weighs, needs no small steps: in the middle stands what gives the mean of
    the exponential exactly.
    """
    lags = np.where(time_constant > 0.0, 1.0, 0.0)
    steps = DT / np.maximum(time_constant, 1e-9)
    last = numpy_math.exp(np.maximum(-steps, -300.0))
    return lags, lags * 0.25 * (6.0 * (1.0 - last) / steps - 1.0 - last), lags * last


def derivative(state: Vector, inputs: Vector, body: Vector) -> Vector:
    """Newton's and Euler's equations; Euler angles in the order yaw, pitch, roll."""
    _, _, z, vx, vy, vz, roll, pitch, yaw, p, q, r = state
    thrust, roll_moment, pitch_moment, yaw_moment, speeds = inputs
    coupling_x, coupling_y, coupling_z, across, along, wind_x, wind_y, ground = body[6:]
    (sr, cr), (sp, cp), (sy, cy) = sincos(roll), sincos(pitch), sincos(yaw)
    ax, ay, az = cr * sp * cy + sr * sy, cr * sp * sy - sr * cy, cr * cp  # the rotors' axis
    ux, uy = vx - wind_x, vy - wind_y
    lift = thrust * (1.0 + clip(ground / clip(z * z, 1e-6, 1e6), 0.0, MOST_LIFT))
    push = lift - along * speeds * (ax * ux + ay * uy + az * vz)
    drag = across * speeds
    turning = sr * q + cr * r
    return (
        vx,
        vy,
        vz,
        ax * push - drag * ux,
        ay * push - drag * uy,
        az * push - drag * vz - GRAVITY,
        p + turning * sp / cp,
        cr * q - sr * r,
        turning / cp,
        q * r * coupling_x + roll_moment,
        p * r * coupling_y + pitch_moment,
        p * q * coupling_z + yaw_moment,
    )


@final
class Quadrotor3D(KernelFamily):
    """A quadrotor that follows a target in space: hovering, from waypoint to waypoint, or on a figure of eight.

    ## Description
    Twelve states of a rigid body and the speeds of four rotors. x points forward, y to the left, z up; rotor i sits
    ``mount_angle`` less (i - 1) quarter turns from the x axis (1 to 4 go round clockwise, seen from above), and 1 and 3
    turn against 2 and 4. A rotor of speed w pushes by ``thrust_coefficient w^2`` and turns the body by
    ``drag_coefficient w^2``; the air drags by ``air_drag`` times the sum of the speeds times the airspeed, across and
    along the rotors' axes (Foerster, 2015), and near the ground thrust grows by ``ground_effect (radius / 4z)^2``, by
    4/15 at most, as in gym-pybullet-drones. Forces act at the centre; the rotors' own angular momentum is left out.
    RK4 at 20 ms; speeds approach the commands exponentially.

    Attitude is yaw, pitch and roll, turned in this order: twelve numbers, as gym-pybullet-drones and linear policies
    have them. They are singular at a pitch of 90 degrees, and the drone has failed before, at 74.

    The target stays at (``target_x``, ``target_y``, ``target_z``) (``hover``); jumps a quarter of ``path_period`` apart
    to the next corner of a square with sides of ``path_size``, every other ``path_height`` higher (``waypoints``); or
    flies Gerono's lemniscate, ``path_size`` to either side, rising by ``path_height`` at its ends (``figure_eight``).

    ## Action Space
    ``Box(-1, 1, (4,))``, a = 5u: gym-pybullet-drones' ``ActionType.RPM``, hover speed times (1 + 0.05 u).

    | Num | Action | a | Unit |
    |---|---|---|---|
    | 0-3 | commanded speed of rotors 1 to 4, from hover | -5 to 5 | % of hover speed |

    The hover speed carries ``mass`` without ``payload``. In percent, exploring by 0.3 or so doesn't overturn a drone.

    ## Observation Space
    ``Box(shape=(15,))``; the limits are those of the state beyond which it fails. Rotor speeds aren't seen.

    | Num | Observation | Min | Max | Unit |
    |---|---|---|---|---|
    | 0-2 | x, y, z less the target's | -5 (z: 0) | 5 | m |
    | 3-5 | velocity less the target's | -10 | 10 | m/s |
    | 6-7 | roll, pitch | -1.3 | 1.3 | rad |
    | 8 | yaw | -3 | 3 | rad |
    | 9-11 | rates of the body about its axes | -20 | 20 | rad/s |
    | 12-14 | x, y, z of the target now | -4 | 4 | m |

    ## Rewards
    ``norm`` (default): ``-||e|| - ||a||``, ``quadratic``: ``-e'e - 0.1 a'a``, where e is observations 0 to 11 of the
    next state, the tracking error: positions times 3, velocities and angles times 0.5, rates times 0.1. A failed step
    costs 35, or 1225.

    ## Starting State
    Hovering; uniform around the target's beginning by 0.3 m, 0.3 m/s, 0.2 rad and 0.5 rad/s, at least 2 cm high.

    ## Episode End
    After 250 steps of 20 ms. A state beyond the limits above or on the ground (z < 0) fails, see `ControlFamily`.

    ## Parameters
    ``lifelong list LifelongQuadrotor3D-v0`` prints the table. Nominal is the Crazyflie with Foerster's motor lag on a
    figure of eight. ``constraints`` are as in `ControlFamily`.

    ## Arguments
    Those of every env, see `LifelongEnv`; ``reward="norm"`` or ``"quadratic"``.

    ## Presets
    ``default``: Crazyflies with payloads that they know (mass up to 42 g, the most Bitcraze allows), inertias, light
    winds, and all three paths. ``single``. ``wide``: masses and inertias from [low/2, 2 high]. ``hetero``: the rotors'
    response is strong or weak, of either sign, payloads are unknown and winds stronger. ``cf2x``: gym-pybullet-drones'
    Crazyflie, whose rotors don't lag. ``hummingbird``, ``pelican``: AscTec's, as RotorS has them. Paths differ in all.

    ## References
    - J. Panerati et al.: Learning to Fly: a Gym Environment with PyBullet Physics for Reinforcement Learning of
      Multi-agent Quadcopter Control. IROS, 2021.
    - J. Foerster: System Identification of the Crazyflie 2.0 Nano Quadrocopter. ETH Zurich, 2015.
    - F. Furrer, M. Burri, M. Achtelik, R. Siegwart: RotorS, a Modular Gazebo MAV Simulator Framework. Robot Operating
      System, Springer, 2016.

    ## Version History
    - v0: first version.
    """

    parameters = ParameterSpace(OWN, PRESETS, wide=[parameter.name for parameter in DRAWN])
    state = STATE
    actions = Continuous(
        tuple(Quantity(f"command_{i}", "%", "of hover speed, before actuator_gain") for i in range(1, 5)),
        (5.0, 5.0, 5.0, 5.0),
    )
    observations = Bounded(
        SEEN,
        (
            *(2.0 * limit + FARTHEST for limit in LIMITS[:3]),
            *(2.0 * limit + FASTEST for limit in LIMITS[3:6]),
            *(2.0 * limit for limit in LIMITS[6:N_BODY]),
            *(FARTHEST,) * 3,
        ),
    )
    horizon = 250
    time_step = DT
    n_initial_noise = N_BODY
    state_limits = LIMITS
    failure_cost = 35.0
    feature_scale = (*(2.0,) * 6, *(0.2,) * 3, *(1.0,) * 3, *(4.0,) * 3)
    rewards: ClassVar[Mapping[str, Any]] = {"norm": reward_norm, "quadratic": reward_quadratic}
    reference = "lifelong_gym.references.linear:LinearSearch"
    clock = "clock"
    viewer = "lifelong_gym.envs.viewers.quadrotor_3d:Quadrotor3DViewer"

    @staticmethod
    def initial(noise: Vector, start: Vector, path: Vector) -> Vector:
        """Around the target's beginning, above the ground, hovering."""
        moved = mul(start, shift(-1.0, scale(2.0, noise)))
        x, y, z = add(path[:3], moved[:3])
        return (x, y, clip(z, LOWEST, z), *moved[3:], 1.0, 1.0, 1.0, 1.0, 0.0)

    @staticmethod
    def transition(state: Vector, action: Vector, body: Vector, rotors: Vector) -> Vector:
        """One step of RK4; the rotors approach the commanded speeds exponentially, which is exact."""
        gain, first, middle, last = rotors
        wanted = shift(1.0, scale(gain, action))
        behind = sub(state[N_BODY:CLOCK], wanted)
        after = add(wanted, scale(last, behind))
        moved = rk4_between(
            derivative,
            state[:N_BODY],
            wrench(add(wanted, scale(first, behind)), body),
            wrench(add(wanted, scale(middle, behind)), body),
            wrench(after, body),
            body,
            DT,
        )
        return moved + after + (state[CLOCK] + 1.0,)

    @staticmethod
    def observation(state: Vector, path: Vector) -> Vector:
        """The tracking error, and where the target is."""
        return tracking_error(state, path) + target(state[CLOCK], path)[:3]

    @staticmethod
    def failed(state: Vector, limits: Vector) -> bool:
        """A state beyond its limit, or on the ground."""
        return beyond(state, limits) | (state[2] < 0.0)

    def cost_of_failing(self, reward: str | None) -> float:
        """The family's cost, squared under the quadratic reward."""
        return self.failure_cost**2 if reward == "quadratic" else self.failure_cost

    def check_state(self, state: FloatArray) -> None:
        """Raise `ValueError` unless ``state`` is within its limits, not underground, and no rotor turns back."""
        super().check_state(state)
        for i in (2, *range(N_BODY, CLOCK)):
            if state[i] < 0.0:
                raise ValueError(f"`state`: {self.state[i].name} must be at least 0. Received {state[i]}")

    def constants(self, parameters: Columns) -> Groups:
        """The groups of the drone itself, of its target, its start and its limits."""
        p = parameters
        start = [p[f"start_{of}"] for of in ("position", "velocity", "angle", "rate") for _ in range(3)]
        path = path_constants(p, DT)
        hovering: tuple[FloatArray | float, ...] = (*path[:3], *(0.0,) * 9, *(1.0,) * 4, -1.0)
        shared: Groups = {"start": tuple(start), "limits": self.state_limits, "goal": hovering, "weights": WEIGHTS}
        return {**self.physics(p), "path": path, **shared}

    def physics(self, p: Columns) -> Groups:
        """Divisions, trigonometry and exponentials done once per task."""
        x, y, z = p["inertia_x"], p["inertia_y"], p["inertia_z"]
        mass, thrust, arm = p["mass"] * (1.0 + p["payload"]), 0.25 * p["mass"] * GRAVITY, p["arm_length"]
        hover = np.sqrt(thrust / p["thrust_coefficient"])
        across, along = p["air_drag_xy"] * hover / mass, p["air_drag_z"] * hover / mass
        return {
            "body": (
                thrust / mass,
                arm * thrust / x,
                arm * thrust / y,
                p["drag_coefficient"] / p["thrust_coefficient"] * thrust / z,
                np.cos(p["mount_angle"]),
                np.sin(p["mount_angle"]),
                (y - z) / x,
                (z - x) / y,
                (x - y) / z,
                across,
                along - across,
                p["wind_x"],
                p["wind_y"],
                p["ground_effect"] * (0.25 * p["propeller_radius"]) ** 2,
            ),
            "rotors": (PERCENT * p["actuator_gain"], *lag(p["rotor_time_constant"])),
        }
