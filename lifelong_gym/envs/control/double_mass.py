"""Two masses in a row on springs, pushed at the first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, final

import numpy as np

from lifelong_gym.envs.control.base import ControlFamily, control_parameters, default_draws, sensors
from lifelong_gym.envs.control.integrators import linear_step, zero_order_hold
from lifelong_gym.envs.family import Columns, Groups
from lifelong_gym.envs.spaces import Continuous, Quantity
from lifelong_gym.numerics.scalar import Vector
from lifelong_gym.tasks.distributions import LogUniform, RandomSign, SameAs, Uniform
from lifelong_gym.tasks.parameter_space import Preset
from lifelong_gym.tasks.parameters import Parameter

DT = 0.1
FORCE = 10.0
LIMITS = (10.0, 10.0, 10.0, 10.0)
STATE = (
    Quantity("position_1", "m", "of the first mass, from equilibrium"),
    Quantity("velocity_1", "m/s", "of the first mass"),
    Quantity("position_2", "m", "of the second mass, from equilibrium"),
    Quantity("velocity_2", "m/s", "of the second mass"),
)
OWN = (
    Parameter("mass_1", "kg", "first mass, which is pushed", (0.1, 100.0), Uniform(1.0, 7.0)),
    Parameter("mass_2", "kg", "second mass", (0.1, 100.0), Uniform(1.0, 10.0)),
    Parameter("stiffness_1", "N/m", "between wall and first mass", (0.0, 100.0), Uniform(1.0, 5.0)),
    Parameter("stiffness_2", "N/m", "between the masses", (0.0, 100.0), Uniform(1.0, 7.0)),
    Parameter("damping_1", "N s/m", "between wall and first mass", (0.0, 10.0), Uniform(0.01, 0.1)),
    Parameter("damping_2", "N s/m", "between the masses", (0.0, 10.0), Uniform(0.01, 0.1)),
)
PRESETS = {
    "paper": Preset(default_draws(OWN), "Table 1 of Zhan et al. (2017); the same as `default`"),
    "hetero": Preset(
        {
            **default_draws(OWN),
            "actuator_gain": RandomSign(LogUniform(1.0, 10.0)),
            "goal_1": Uniform(-1.5, 1.5),
            "goal_3": SameAs("goal_1"),
        },
        "strength and direction of the force, and the goal of both masses differ",
    ),
    "known_basis": Preset(
        {
            "actuator_gain": RandomSign(),
            "sensor_offset_1": Uniform(-1.5, 1.5),
            "sensor_offset_3": SameAs("sensor_offset_1"),
        },
        "one system, direction of force and zero of sensors differ: 2 basis vectors give every optimum",
    ),
}


@final
class DoubleMass(ControlFamily):
    """Two masses in a row on springs and dampers, to be held still by a force on the first.

    ## Description
    ``m1 x1'' = F - (k1 + k2) x1 - (d1 + d2) x1' + k2 x2 + d2 x2'`` and ``m2 x2'' = k2 (x1 - x2) + d2 (x1' -
    x2')``, solved exactly while the force is held (100 ms). The second mass can be reached only through the
    spring.

    ## Action Space
    ``Box(-1, 1, (1,))``, a = 2u.

    | Num | Action | a | Unit |
    |---|---|---|---|
    | 0 | force on the first mass | -2 to 2 | 10 N |

    ## Observation Space
    ``Box(shape=(4,))``; the limits below are those beyond which a state fails.

    | Num | Observation | Min | Max | Unit |
    |---|---|---|---|---|
    | 0 | position of the first mass | -10 | 10 | m |
    | 1 | velocity of the first mass | -10 | 10 | m/s |
    | 2 | position of the second mass | -10 | 10 | m |
    | 3 | velocity of the second mass | -10 | 10 | m/s |

    ## Rewards
    ``norm`` or ``quadratic``, see `ControlFamily`; a failed step costs 10, or 100.

    ## Starting State
    Each channel uniform in [-1, 1].

    ## Episode End
    After 150 steps of 100 ms; a state beyond the limits above fails, see `ControlFamily`.

    ## Parameters
    ``lifelong list LifelongDoubleMass-v0`` prints the table.

    ## Arguments
    Those of every env, see `LifelongEnv`; ``reward="norm"`` or ``"quadratic"``; ``physics="mujoco"`` (extra
    ``mujoco``) replaces the kernel's transition.

    ## Presets
    ``default``, ``single``, ``wide``, ``paper``, ``hetero``, ``known_basis``.

    ## References
    See `ControlFamily`.

    ## Version History
    - v0: first version; failure cost 10.
    """

    parameters = control_parameters(OWN, STATE, LIMITS, (1.0, 1.0, 1.0, 1.0), PRESETS)
    state = STATE
    actions = Continuous((Quantity("force", "10 N", "on the first mass, before actuator_gain"),), (2.0,))
    observations = sensors(STATE, LIMITS)
    time_step = DT
    n_initial_noise = 4
    state_limits = LIMITS
    failure_cost = 10.0
    simulators: ClassVar[Mapping[str, str]] = {
        "mujoco": "lifelong_gym.envs.engines.mujoco.masses:MujocoDoubleMass",
    }
    viewer = "lifelong_gym.envs.viewers.double_mass:DoubleMassViewer"

    @staticmethod
    def transition(state: Vector, action: Vector, system: Vector, input_matrix: Vector) -> Vector:
        """One step, exact."""
        return linear_step(state, action, system, input_matrix)

    def physics(self, p: Columns) -> Groups:
        """The matrices of one step."""
        m1, m2, k2, d2 = p["mass_1"], p["mass_2"], p["stiffness_2"], p["damping_2"]
        a, b = np.zeros((4, 4, len(m1))), np.zeros((4, 1, len(m1)))
        a[0, 1] = a[2, 3] = 1.0
        a[1] = -(p["stiffness_1"] + k2) / m1, -(p["damping_1"] + d2) / m1, k2 / m1, d2 / m1
        a[3] = k2 / m2, d2 / m2, -k2 / m2, -d2 / m2
        b[1, 0] = FORCE * p["actuator_gain"] / m1
        return zero_order_hold(a, b, DT)
