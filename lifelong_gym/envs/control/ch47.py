"""The CH-47 tandem-rotor helicopter at 40 knots: its longitudinal motion, linearised."""

from __future__ import annotations

from typing import final

import numpy as np

from lifelong_gym.envs.control.base import ControlFamily, control_parameters, default_draws, sensors
from lifelong_gym.envs.control.integrators import linear_step, zero_order_hold
from lifelong_gym.envs.family import Columns, Groups
from lifelong_gym.envs.spaces import Continuous, Quantity
from lifelong_gym.numerics.scalar import Vector
from lifelong_gym.tasks.distributions import LogUniform, RandomSign, Uniform
from lifelong_gym.tasks.parameter_space import Preset
from lifelong_gym.tasks.parameters import Parameter

DT = 0.02
GAIN = 5.0
LIMITS = (50.0, 50.0, 5.0, 3.0)
STATE = (
    Quantity("longitudinal_speed", "ft/s", "along the body's long axis, relative to 40 knots"),
    Quantity("vertical_speed", "ft/s", "along the body's vertical axis"),
    Quantity("pitch_rate", "rad/s", "turning nose up"),
    Quantity("pitch", "rad", "nose above level flight"),
)
# Doyle and Stein (1981); the last row of A says that pitch integrates the pitch rate, that of B is zero.
SYSTEM = {
    "a_11": (-0.02, "1/s"),
    "a_12": (0.005, "1/s"),
    "a_13": (2.4, "ft/(s rad)"),
    "a_14": (-32.0, "ft/(s^2 rad)"),
    "a_21": (-0.14, "1/s"),
    "a_22": (0.44, "1/s"),
    "a_23": (-1.3, "ft/(s rad)"),
    "a_24": (-30.0, "ft/(s^2 rad)"),
    "a_32": (0.018, "rad/(s ft)"),
    "a_33": (-1.6, "1/s"),
    "a_34": (1.2, "1/s^2"),
}
INPUTS = {
    "b_11": (0.14, "ft/s^2"),
    "b_12": (-0.12, "ft/s^2"),
    "b_21": (0.36, "ft/s^2"),
    "b_22": (-8.6, "ft/s^2"),
    "b_31": (0.35, "rad/s^2"),
    "b_32": (0.009, "rad/s^2"),
}
MAX_SYSTEM, MAX_INPUT = 100.0, 50.0


def entry(name: str, nominal: float, unit: str, bound: float) -> Parameter:
    """A parameter for one entry of A or B, nominal value +-30%."""
    low, high = sorted((0.7 * nominal, 1.3 * nominal))
    meaning = f"entry {name[2]}, {name[3]} of {name[0].upper()}"
    return Parameter(name, unit, meaning, (-bound, bound), Uniform(low, high), nominal)


ENTRIES = (
    *(entry(name, nominal, unit, MAX_SYSTEM) for name, (nominal, unit) in SYSTEM.items()),
    *(entry(name, nominal, unit, MAX_INPUT) for name, (nominal, unit) in INPUTS.items()),
)
ROTATION = Parameter("input_rotation", "rad", "by which the inputs are turned", (-np.pi, np.pi), nominal=0.0)
PRESETS = {
    "paper": Preset(
        {**dict.fromkeys(SYSTEM, Uniform(-32.0, 3.0)), **dict.fromkeys(INPUTS, Uniform(-9.0, 1.0))},
        "Table 1 of Zhan et al. (2017): uniform entries; three in four such systems are unstable, most violently",
    ),
    "hetero": Preset(
        {
            **default_draws(ENTRIES),
            "actuator_gain": RandomSign(LogUniform(0.5, 2.0)),
            "goal_1": Uniform(-5.0, 5.0),
            "goal_2": Uniform(-5.0, 5.0),
        },
        "strength and direction of the inputs, and the wanted speeds differ",
    ),
    "known_basis": Preset(
        {"input_rotation": Uniform(-np.pi, np.pi)},
        "one helicopter with rotated inputs: 2 basis vectors give every optimum while no input saturates",
    ),
}


@final
class CH47(ControlFamily):
    """The CH-47 tandem-rotor helicopter at 40 knots, to be held at steady speed and level pitch.

    ## Description
    Longitudinal motion, linearised: ``x' = A x + 5 B a``, solved exactly while the inputs are held (20 ms).
    The nominal A and B are those of Doyle and Stein (1981), with eigenvalues -2.23, 0.065 and 0.491 +- 0.415i
    per second; their free entries are the parameters. Lengths are in feet, as published.

    ## Action Space
    ``Box(-1, 1, (2,))``, a = 3u.

    | Num | Action | a | Unit |
    |---|---|---|---|
    | 0 | differential collective | -3 to 3 | 5 |
    | 1 | collective | -3 to 3 | 5 |

    ## Observation Space
    ``Box(shape=(4,))``; the limits below are those beyond which a state fails.

    | Num | Observation | Min | Max | Unit |
    |---|---|---|---|---|
    | 0 | longitudinal speed, relative to 40 knots | -50 | 50 | ft/s |
    | 1 | vertical speed | -50 | 50 | ft/s |
    | 2 | pitch rate | -5 | 5 | rad/s |
    | 3 | pitch | -3 | 3 | rad |

    ## Rewards
    ``norm`` or ``quadratic``, see `ControlFamily`; a failed step costs 50, or 2500.

    ## Starting State
    Speeds uniform in [-1, 1] ft/s, pitch rate and pitch in [-0.1, 0.1].

    ## Episode End
    After 150 steps of 20 ms; a state beyond the limits above fails, see `ControlFamily`.

    ## Parameters
    ``lifelong list LifelongCH47-v0`` prints the table.

    ## Arguments
    Those of every env, see `LifelongEnv`; ``reward="norm"`` or ``"quadratic"``.

    ## Presets
    ``default``, ``single``, ``wide``, ``paper``, ``hetero``, ``known_basis``. In ``paper`` the free entries
    are drawn uniformly, A's from [-32, 3] and B's from [-9, 1]; entry 3, 1 of A and both last rows stay as
    they are.

    ## References
    - J. C. Doyle, G. Stein: Multivariable Feedback Design: Concepts for a Classical/Modern Synthesis. IEEE
      Transactions on Automatic Control, 1981.

    ## Version History
    - v0: first version; failure cost 50, squared under ``quadratic``, where doing nothing already costs 69 a step.
    """

    parameters = control_parameters((*ENTRIES, ROTATION), STATE, LIMITS, (1.0, 1.0, 0.1, 0.1), PRESETS)
    state = STATE
    actions = Continuous(
        (
            Quantity("differential_collective", "5", "input 1, before actuator_gain"),
            Quantity("collective", "5", "input 2, before actuator_gain"),
        ),
        (3.0, 3.0),
    )
    observations = sensors(STATE, LIMITS)
    time_step = DT
    n_initial_noise = 4
    state_limits = LIMITS
    failure_cost = 50.0
    feature_scale = (1.0, 1.0, 0.1, 0.1)
    viewer = "lifelong_gym.envs.viewers.ch47:CH47Viewer"

    @staticmethod
    def transition(state: Vector, action: Vector, system: Vector, input_matrix: Vector) -> Vector:
        """One step, exact."""
        return linear_step(state, action, system, input_matrix)

    def physics(self, p: Columns) -> Groups:
        """The matrices of one step."""
        a, b = np.zeros((4, 4, len(p["a_11"]))), np.zeros((4, 2, len(p["a_11"])))
        a[3, 2] = 1.0
        for name in SYSTEM:
            a[int(name[2]) - 1, int(name[3]) - 1] = p[name]
        gain, angle = GAIN * p["actuator_gain"], p["input_rotation"]
        cosine, sine = np.cos(angle), np.sin(angle)
        for row in range(3):
            first, second = gain * p[f"b_{row + 1}1"], gain * p[f"b_{row + 1}2"]
            b[row] = first * cosine + second * sine, second * cosine - first * sine
        return zero_order_hold(a, b, DT)
