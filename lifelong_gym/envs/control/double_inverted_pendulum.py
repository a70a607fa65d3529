"""Two pendulums on a cart, one on top of the other, balanced by a continuous force."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, final

from lifelong_gym.envs.control.base import ControlFamily, control_parameters, default_draws, sensors
from lifelong_gym.envs.control.integrators import rk4
from lifelong_gym.envs.family import Columns, Groups
from lifelong_gym.envs.spaces import Continuous, Quantity
from lifelong_gym.numerics.scalar import Vector, sincos
from lifelong_gym.tasks.distributions import Distribution, LogUniform, RandomSign, SameAs, Uniform
from lifelong_gym.tasks.parameter_space import Preset
from lifelong_gym.tasks.parameters import Parameter

DT = 0.01
FORCE = 40.0
LIMITS = (2.4, 10.0, 0.5, 10.0, 0.5, 10.0)
STATE = (
    Quantity("position", "m", "of the cart"),
    Quantity("velocity", "m/s", "of the cart"),
    Quantity("angle_1", "rad", "of the lower rod from upright"),
    Quantity("angular_velocity_1", "rad/s", "of the lower rod"),
    Quantity("angle_2", "rad", "of the upper rod from upright"),
    Quantity("angular_velocity_2", "rad/s", "of the upper rod"),
)
OWN = (
    Parameter("cart_mass", "kg", "mass of the cart", (0.1, 50.0), Uniform(1.5, 3.5)),
    Parameter("mass_1", "kg", "point mass at the joint between the rods", (0.001, 10.0), Uniform(0.055, 0.1)),
    Parameter("mass_2", "kg", "point mass at the top", (0.001, 10.0), Uniform(0.055, 0.1)),
    Parameter("length_1", "m", "length of the lower rod", (0.1, 5.0), Uniform(0.4, 0.8)),
    Parameter("length_2", "m", "length of the upper rod", (0.1, 5.0), Uniform(0.5, 0.9)),
    Parameter("gravity", "m/s^2", "gravitational acceleration", (0.0, 30.0), nominal=9.81),
)
POLARITIES: dict[str, Distribution] = {
    "sensor_gain_3": RandomSign(),
    "sensor_gain_4": SameAs("sensor_gain_3"),
    "sensor_gain_5": RandomSign(),
    "sensor_gain_6": SameAs("sensor_gain_5"),
}
PRESETS = {
    "paper": Preset(default_draws(OWN), "Table 1 of Zhan et al. (2017); the same as `default`"),
    "hetero": Preset(
        {**default_draws(OWN), **POLARITIES, "actuator_gain": LogUniform(0.5, 2.0)},
        "strength of the motor and polarities of the two rods' sensors differ",
    ),
    "known_basis": Preset(
        {**POLARITIES, "actuator_gain": RandomSign()},
        "one system, polarities of motor and sensors differ: 3 basis vectors give every optimum",
    ),
}


def derivative(state: Vector, inputs: Vector, k: Vector) -> Vector:
    """Lagrange's equations ``M(q) q'' = f``, solved for q'' by elimination.

    In units of the two swinging masses, with the rods' tangential accelerations as unknowns instead of their
    angular ones, M has only the masses' ratios in it.
    """
    _, velocity, angle_1, spin_1, angle_2, spin_2 = state
    force_per_mass, gravity, all_masses, upper, length_1, length_2, per_length_1, per_length_2 = k
    s1, c1 = sincos(angle_1)
    s2, c2 = sincos(angle_2)
    sine, cosine = s1 * c2 - c1 * s2, c1 * c2 + s1 * s2
    centripetal_1, centripetal_2 = length_1 * spin_1 * spin_1, length_2 * spin_2 * spin_2
    top = gravity * s2 + sine * centripetal_1
    on_cart = force_per_mass * inputs[0] + s1 * centripetal_1 + upper * (s2 * centripetal_2 - c2 * top)
    on_joint = gravity * s1 - upper * (sine * centripetal_2 + cosine * top)
    cart, joint = all_masses - upper * c2 * c2, 1.0 - upper * cosine * cosine
    coupling = c1 - upper * cosine * c2
    inverse = 1.0 / (cart * joint - coupling * coupling)
    acceleration = inverse * (joint * on_cart - coupling * on_joint)
    tangential_1 = inverse * (cart * on_joint - coupling * on_cart)
    tangential_2 = top - c2 * acceleration - cosine * tangential_1
    return velocity, acceleration, spin_1, per_length_1 * tangential_1, spin_2, per_length_2 * tangential_2


@final
class DoubleInvertedPendulum(ControlFamily):
    """Two pendulums on a cart, one on top of the other, to be held upright by a force on the cart.

    ## Description
    Massless rods with a point mass at the joint and one at the top, no friction; RK4 at 10 ms. Both angles
    are absolute: zero means upright, positive to the right.

    ## Action Space
    ``Box(-1, 1, (1,))``, a = 3u.

    | Num | Action | a | Unit |
    |---|---|---|---|
    | 0 | force on the cart | -3 to 3 | 40 N |

    ## Observation Space
    ``Box(shape=(6,))``; the limits below are those beyond which a state fails.

    | Num | Observation | Min | Max | Unit |
    |---|---|---|---|---|
    | 0 | position of the cart | -2.4 | 2.4 | m |
    | 1 | velocity of the cart | -10 | 10 | m/s |
    | 2 | angle of the lower rod | -0.5 | 0.5 | rad |
    | 3 | angular velocity of the lower rod | -10 | 10 | rad/s |
    | 4 | angle of the upper rod | -0.5 | 0.5 | rad |
    | 5 | angular velocity of the upper rod | -10 | 10 | rad/s |

    ## Rewards
    ``norm`` or ``quadratic``, see `ControlFamily`; a failed step costs 5, or 25.

    ## Starting State
    Each channel uniform in [-0.02, 0.02].

    ## Episode End
    After 150 steps of 10 ms; a state beyond the limits above fails, see `ControlFamily`.

    ## Parameters
    ``lifelong list LifelongDoubleInvertedPendulum-v0`` prints the table.

    ## Arguments
    Those of every env, see `LifelongEnv`; ``reward="norm"`` or ``"quadratic"``; ``physics="mujoco"`` or
    ``"pybullet"`` (extras of these names) replaces the kernel's transition.

    ## Presets
    ``default``, ``single``, ``wide``, ``paper``, ``hetero``, ``known_basis``.

    ## References
    See `ControlFamily`.

    ## Version History
    - v0: first version; failure cost 5.
    """

    parameters = control_parameters(OWN, STATE, LIMITS, (0.02,) * 6, PRESETS)
    state = STATE
    actions = Continuous((Quantity("force", "40 N", "on the cart, before actuator_gain"),), (3.0,))
    observations = sensors(STATE, LIMITS)
    time_step = DT
    n_initial_noise = 6
    state_limits = LIMITS
    failure_cost = 5.0
    simulators: ClassVar[Mapping[str, str]] = {
        "mujoco": "lifelong_gym.envs.engines.mujoco.double_inverted_pendulum:MujocoDoubleInvertedPendulum",
        "pybullet": "lifelong_gym.envs.engines.pybullet.double_inverted_pendulum:PybulletDoubleInvertedPendulum",
    }
    feature_scale = (1.0, 1.0, 0.1, 1.0, 0.1, 1.0)
    viewer = "lifelong_gym.envs.viewers.double_inverted_pendulum:DoubleInvertedPendulumViewer"

    @staticmethod
    def transition(state: Vector, action: Vector, mechanics: Vector) -> Vector:
        """One step of RK4."""
        return rk4(derivative, state, action, mechanics, DT)

    def physics(self, p: Columns) -> Groups:
        """Divisions done once per task."""
        swinging = p["mass_1"] + p["mass_2"]
        return {
            "mechanics": (
                FORCE * p["actuator_gain"] / swinging,
                p["gravity"],
                (p["cart_mass"] + swinging) / swinging,
                p["mass_2"] / swinging,
                p["length_1"],
                p["length_2"],
                1.0 / p["length_1"],
                1.0 / p["length_2"],
            )
        }
