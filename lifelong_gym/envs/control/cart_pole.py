"""A pole on a cart, balanced by a continuous force."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, final

from lifelong_gym.envs.control.base import ControlFamily, control_parameters, default_draws, safe2015, sensors
from lifelong_gym.envs.control.integrators import rk4
from lifelong_gym.envs.family import Columns, Groups
from lifelong_gym.envs.spaces import Continuous, Quantity
from lifelong_gym.numerics.scalar import Vector, sincos
from lifelong_gym.tasks.distributions import Constant, LogUniform, RandomSign, Uniform
from lifelong_gym.tasks.parameter_space import Preset
from lifelong_gym.tasks.parameters import Parameter

DT = 0.02
FORCE = 10.0
LIMITS = (2.4, 10.0, 0.5, 10.0)
STATE = (
    Quantity("position", "m", "of the cart"),
    Quantity("velocity", "m/s", "of the cart"),
    Quantity("angle", "rad", "of the pole from upright"),
    Quantity("angular_velocity", "rad/s", "of the pole"),
)
OWN = (
    Parameter("cart_mass", "kg", "mass of the cart", (0.01, 20.0), Uniform(0.3, 1.0)),
    Parameter("pole_mass", "kg", "mass of the pole", (0.01, 20.0), Uniform(0.1, 1.0)),
    Parameter("pole_half_length", "m", "half the length of the pole", (0.05, 5.0), Uniform(0.2, 0.8)),
    Parameter("gravity", "m/s^2", "gravitational acceleration", (0.0, 30.0), nominal=9.81),
)
POLARITIES = {"sensor_gain_3": RandomSign(), "sensor_gain_4": RandomSign()}
WIDE_START = {f"start_{i}": Constant(width) for i, width in enumerate((0.3, 0.3, 0.1, 0.5), 1)}
PRESETS = {
    "paper": Preset(
        {**default_draws(OWN), "cart_mass": Uniform(0.01, 1.0), "pole_mass": Uniform(0.01, 1.0)},
        "Table 1 of Zhan et al. (2017), masses from 0.01 kg on because the equations divide by their sum",
    ),
    "hetero": Preset(
        {**default_draws(OWN), **POLARITIES, **WIDE_START, "actuator_gain": LogUniform(0.5, 2.0)},
        "strength of the motor and polarities of the pole's two sensors differ",
    ),
    "known_basis": Preset(
        {**POLARITIES, "actuator_gain": RandomSign()},
        "one cart-pole, polarities of motor and sensors differ: 3 basis vectors give every optimum",
    ),
    "safe2015": safe2015(OWN),
}


def derivative(state: Vector, inputs: Vector, k: Vector) -> Vector:
    """Barto, Sutton and Anderson (1983) without friction; the pole is a uniform rod of half length l."""
    _, velocity, angle, spin = state
    force_per_mass, gravity, lever, length = k
    sine, cosine = sincos(angle)
    push = force_per_mass * inputs[0] + lever * spin * spin * sine
    spin_rate = (gravity * sine - cosine * push) / (length - lever * cosine * cosine)
    return velocity, push - lever * spin_rate * cosine, spin, spin_rate


@final
class CartPole(ControlFamily):
    """A pole on a cart, to be held upright in the middle of the track by a continuous force.

    ## Description
    The system of Gymnasium's CartPole (Barto, Sutton and Anderson, 1983) with a continuous force, and with
    masses, length, gravity, motor and sensors that differ from task to task. RK4 at 20 ms: a nominal pole that
    falls and swings for three seconds keeps its energy to 2e-5 of its value, with explicit Euler to a half.

    ## Action Space
    ``Box(-1, 1, (1,))``, a = 2u.

    | Num | Action | a | Unit |
    |---|---|---|---|
    | 0 | force on the cart | -2 to 2 | 10 N |

    ## Observation Space
    ``Box(shape=(4,))``; the limits below are those beyond which a state fails.

    | Num | Observation | Min | Max | Unit |
    |---|---|---|---|---|
    | 0 | position of the cart | -2.4 | 2.4 | m |
    | 1 | velocity of the cart | -10 | 10 | m/s |
    | 2 | angle of the pole from upright, positive to the right | -0.5 | 0.5 | rad |
    | 3 | angular velocity of the pole | -10 | 10 | rad/s |

    ## Rewards
    ``norm`` or ``quadratic``, see `ControlFamily`; a failed step costs 5, or 25.

    ## Starting State
    Each channel uniform in [-0.05, 0.05].

    ## Episode End
    After 150 steps of 20 ms; a state beyond the limits above fails, see `ControlFamily`.

    ## Parameters
    ``lifelong list LifelongCartPole-v0`` prints the table.

    ## Arguments
    Those of every env, see `LifelongEnv`; ``reward="norm"`` or ``"quadratic"``; ``physics="mujoco"`` or
    ``"pybullet"`` (extras of these names) replaces the kernel's transition.

    ## Presets
    ``default``, ``single``, ``wide``, ``paper``, ``hetero``, ``known_basis``, ``safe2015``.

    ## References
    - A. G. Barto, R. S. Sutton, C. W. Anderson: Neuronlike Adaptive Elements That Can Solve Difficult
      Learning Control Problems. IEEE Transactions on Systems, Man, and Cybernetics, 1983.

    ## Version History
    - v0: first version; failure cost 5.
    """

    parameters = control_parameters(OWN, STATE, LIMITS, (0.05, 0.05, 0.05, 0.05), PRESETS)
    state = STATE
    actions = Continuous((Quantity("force", "10 N", "on the cart, before actuator_gain"),), (2.0,))
    observations = sensors(STATE, LIMITS)
    time_step = DT
    n_initial_noise = 4
    state_limits = LIMITS
    failure_cost = 5.0
    simulators: ClassVar[Mapping[str, str]] = {
        "mujoco": "lifelong_gym.envs.engines.mujoco.cart_pole:MujocoCartPole",
        "pybullet": "lifelong_gym.envs.engines.pybullet.cart_pole:PybulletCartPole",
    }
    feature_scale = (1.0, 1.0, 0.1, 1.0)
    viewer = "lifelong_gym.envs.viewers.cart_pole:CartPoleViewer"

    @staticmethod
    def transition(state: Vector, action: Vector, mechanics: Vector) -> Vector:
        """One step of RK4."""
        return rk4(derivative, state, action, mechanics, DT)

    def physics(self, p: Columns) -> Groups:
        """Divisions done once per task."""
        total_mass = p["cart_mass"] + p["pole_mass"]
        return {
            "mechanics": (
                FORCE * p["actuator_gain"] / total_mass,
                p["gravity"],
                p["pole_mass"] * p["pole_half_length"] / total_mass,
                4.0 / 3.0 * p["pole_half_length"],
            )
        }
