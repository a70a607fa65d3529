"""The attitude of a quadrotor, steered by the speeds of its four rotors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, final

import numpy as np

from lifelong_gym.envs.control.base import ControlFamily, control_parameters, default_draws, safe2015, sensors
from lifelong_gym.envs.control.integrators import rk4
from lifelong_gym.envs.family import Columns, Groups
from lifelong_gym.envs.spaces import Continuous, Quantity
from lifelong_gym.numerics.scalar import Vector, clip
from lifelong_gym.tasks.distributions import LogUniform, RandomSign, Uniform
from lifelong_gym.tasks.parameter_space import Preset
from lifelong_gym.tasks.parameters import Parameter

DT = 0.02
GRAVITY = 9.81
SPEED = 20.0
MAX_SPEED = 400.0
LIMITS = (1.5, 10.0, 1.5, 10.0, 3.0, 10.0)
STATE = (
    Quantity("roll", "rad", "to the right"),
    Quantity("roll_rate", "rad/s", "of the roll"),
    Quantity("pitch", "rad", "nose up"),
    Quantity("pitch_rate", "rad/s", "of the pitch"),
    Quantity("yaw", "rad", "of the nose"),
    Quantity("yaw_rate", "rad/s", "of the yaw"),
)
# Bounds of mass and thrust keep the hover speed within the rotors' range.
INERTIAS = (
    Parameter("inertia_x", "kg m^2", "about the roll axis", (1e-3, 0.1), Uniform(3.75e-3, 15e-3), 7.5e-3),
    Parameter("inertia_y", "kg m^2", "about the pitch axis", (1e-3, 0.1), Uniform(3.75e-3, 15e-3), 7.5e-3),
    Parameter("inertia_z", "kg m^2", "about the yaw axis", (1e-3, 0.1), Uniform(6.5e-3, 26e-3), 13e-3),
)
OWN = (
    Parameter("mass", "kg", "mass, which sets the hover speed", (0.05, 1.3), nominal=0.65),
    Parameter("arm_length", "m", "from the centre to a rotor", (0.05, 1.0), nominal=0.23),
    *INERTIAS,
    Parameter("thrust_coefficient", "N s^2", "thrust per squared speed", (2e-5, 1e-3), nominal=3.13e-5),
    Parameter("drag_coefficient", "N m s^2", "drag torque per squared speed", (0.0, 1e-4), nominal=7.5e-7),
    Parameter("rotor_inertia", "kg m^2", "of one rotor", (0.0, 1e-3), nominal=6e-5),
    Parameter("mount_angle", "rad", "angle of the frame about the yaw axis", (-np.pi, np.pi), nominal=0.0),
)
PRESETS = {
    "paper": Preset(
        default_draws(INERTIAS),
        "inertias differ as in Bou Ammar et al. (2015), who print no ranges; the same as `default`",
    ),
    "hetero": Preset(
        {
            **default_draws(INERTIAS),
            "actuator_gain": RandomSign(LogUniform(0.5, 2.0)),
            "goal_1": Uniform(-0.6, 0.6),
            "goal_3": Uniform(-0.6, 0.6),
        },
        "strength and direction of the rotors' response, inertias, and wanted roll and pitch differ",
    ),
    "known_basis": Preset(
        {"mount_angle": Uniform(-np.pi, np.pi)},
        "one quadrotor whose frame is turned: 3 basis vectors give every optimum of the linearised mixing",
    ),
    "safe2015": safe2015(INERTIAS),
}


def angular_inputs(action: Vector, rotors: Vector) -> Vector:
    """Angular accelerations that the rotors cause about the three axes, and their residual speed."""
    hover, speed, per_thrust_x, per_thrust_y, per_drag, cosine, sine = rotors
    w1 = clip(hover + speed * action[0], 0.0, MAX_SPEED)
    w2 = clip(hover + speed * action[1], 0.0, MAX_SPEED)
    w3 = clip(hover + speed * action[2], 0.0, MAX_SPEED)
    w4 = clip(hover + speed * action[3], 0.0, MAX_SPEED)
    front_back, left_right = w1 * w1 - w3 * w3, w4 * w4 - w2 * w2
    roll, pitch = cosine * left_right - sine * front_back, sine * left_right + cosine * front_back
    turning = (w2 * w2 + w4 * w4) - (w1 * w1 + w3 * w3)
    return per_thrust_x * roll, per_thrust_y * pitch, per_drag * turning, (w2 + w4) - (w1 + w3)


def derivative(state: Vector, inputs: Vector, k: Vector) -> Vector:
    """Euler's equations with the rotors' gyroscopic torque, angles by their rates (Bouabdallah, 2007)."""
    _, roll_rate, _, pitch_rate, _, yaw_rate = state
    x, y, z, residual = inputs
    coupling_x, coupling_y, coupling_z, gyroscopic_x, gyroscopic_y = k
    return (
        roll_rate,
        pitch_rate * yaw_rate * coupling_x + gyroscopic_x * pitch_rate * residual + x,
        pitch_rate,
        roll_rate * yaw_rate * coupling_y - gyroscopic_y * roll_rate * residual + y,
        yaw_rate,
        roll_rate * pitch_rate * coupling_z + z,
    )


@final
class Quadrotor(ControlFamily):
    """A quadrotor whose attitude is to be held, steered by the speeds of its four rotors.

    ## Description
    Roll, pitch and yaw of the OS4 quadrotor (Bouabdallah, 2007), RK4 at 20 ms. Rotors 1 (front) and 3 (rear) pitch,
    2 (right) and 4 (left) roll, both pairs against each other yaw; their speeds are the hover speed (225.7 rad/s
    nominally, from mass and thrust coefficient) plus 20 rad/s times a, clipped to [0, 400] rad/s.

    ## Action Space
    ``Box(-1, 1, (4,))``, a = 8u.

    | Num | Action | a | Unit |
    |---|---|---|---|
    | 0-3 | speed of rotors 1 to 4, from hover | -8 to 8 | 20 rad/s |

    ## Observation Space
    ``Box(shape=(6,))``; the limits below are those beyond which a state fails.

    | Num | Observation | Min | Max | Unit |
    |---|---|---|---|---|
    | 0 | roll | -1.5 | 1.5 | rad |
    | 1 | roll rate | -10 | 10 | rad/s |
    | 2 | pitch | -1.5 | 1.5 | rad |
    | 3 | pitch rate | -10 | 10 | rad/s |
    | 4 | yaw | -3 | 3 | rad |
    | 5 | yaw rate | -10 | 10 | rad/s |

    ## Rewards
    ``norm`` or ``quadratic``, see `ControlFamily`; a failed step costs 35, or 1225.

    ## Starting State
    Angles uniform in [-0.3, 0.3], rates in [-0.5, 0.5].

    ## Episode End
    After 150 steps of 20 ms; a state beyond the limits above fails, see `ControlFamily`.

    ## Parameters
    ``lifelong list LifelongQuadrotor-v0`` prints the table.

    ## Arguments
    Those of every env, see `LifelongEnv`; ``reward="norm"`` or ``"quadratic"``; ``physics="mujoco"`` or
    ``"pybullet"`` (extras of these names) replaces the kernel's transition.

    ## Presets
    ``default``, ``single``, ``wide``, ``paper``, ``hetero``, ``known_basis``, ``safe2015``.

    ## References
    - S. Bouabdallah: Design and Control of Quadrotors with Application to Autonomous Flying. EPFL thesis
      3727, 2007.

    ## Version History
    - v0: first version; failure cost 35, because 10 is less than the ||a|| of an untrained policy (up to 16).
    """

    parameters = control_parameters(OWN, STATE, LIMITS, (0.3, 0.5, 0.3, 0.5, 0.3, 0.5), PRESETS)
    state = STATE
    actions = Continuous(
        tuple(Quantity(f"rotor_{i}", "20 rad/s", "from hover, before actuator_gain") for i in range(1, 5)),
        (8.0, 8.0, 8.0, 8.0),
    )
    observations = sensors(STATE, LIMITS)
    time_step = DT
    n_initial_noise = 6
    state_limits = LIMITS
    failure_cost = 35.0
    simulators: ClassVar[Mapping[str, str]] = {
        "mujoco": "lifelong_gym.envs.engines.mujoco.quadrotor:MujocoQuadrotor",
        "pybullet": "lifelong_gym.envs.engines.pybullet.quadrotor:PybulletQuadrotor",
    }
    viewer = "lifelong_gym.envs.viewers.quadrotor:QuadrotorViewer"

    @staticmethod
    def transition(state: Vector, action: Vector, mechanics: Vector, rotors: Vector) -> Vector:
        """One step of RK4 with the rotors' torques held."""
        return rk4(derivative, state, angular_inputs(action, rotors), mechanics, DT)

    def physics(self, p: Columns) -> Groups:
        """Divisions and trigonometry done once per task."""
        x, y, z = p["inertia_x"], p["inertia_y"], p["inertia_z"]
        thrust, rotor = p["thrust_coefficient"], p["rotor_inertia"]
        return {
            "mechanics": ((y - z) / x, (z - x) / y, (x - y) / z, rotor / x, rotor / y),
            "rotors": (
                np.sqrt(p["mass"] * GRAVITY / (4.0 * thrust)),
                SPEED * p["actuator_gain"],
                p["arm_length"] * thrust / x,
                p["arm_length"] * thrust / y,
                p["drag_coefficient"] / z,
                np.cos(p["mount_angle"]),
                np.sin(p["mount_angle"]),
            ),
        }
