"""A chain of five states, in which the better end, and what a move does, differ from task to task."""

from __future__ import annotations

from typing import final

import numpy as np

from lifelong_gym.envs.family import Columns, Groups, KernelFamily
from lifelong_gym.envs.spaces import Discrete, Quantity
from lifelong_gym.errors import one_of
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.numerics.scalar import Vector, where
from lifelong_gym.tasks.distributions import Uniform
from lifelong_gym.tasks.joint import Listed
from lifelong_gym.tasks.parameter_space import ParameterSpace, Preset
from lifelong_gym.tasks.parameters import Parameter

N_STATES = 5
LEFT, RIGHT = 0.0, 1.0
FIRST, SECOND, THIRD, LAST = 0.0, 1.0, 2.0, 4.0


def move(state: int, action: str, nominal: float) -> Parameter:
    """Which way an action leads in one of the states beside the ends."""
    name = f"s{state}_left_under_{action.lower()}"
    return Parameter(name, "1", f"probability that {action} moves left in S{state}", (0.0, 1.0), Uniform(0, 1), nominal)


def prize(state: int, nominal: float) -> Parameter:
    """Of one of the ends."""
    return Parameter(f"reward_s{state}", "1", f"for arriving in S{state}", (-100.0, 100.0), nominal=nominal)


MOVES = (move(2, "L", 1.0), move(2, "R", 0.0), move(4, "L", 1.0), move(4, "R", 0.0))
PRIZES = (prize(1, 1.0), prize(5, -1.0))
START = Parameter("start", "1", "number of the state that episodes start in", (2, 4), nominal=3, integer=True)
PRIZE_LEFT, PRIZE_RIGHT = ({"reward_s1": sign, "reward_s5": -sign} for sign in (1.0, -1.0))


def chain_tasks(which: int, p: float = 0.8) -> list[dict[str, float]]:
    """The two tasks of a chain of Zeng et al. (2021), section 2.2.

    In chain 1, L moves left and R right in the first task; in the second one both are turned round in S2 and S4. In
    chain 2 the moves in S2 and S4 are left to chance. Both pay for S1 in the first task, for S5 in the second one, and
    fine the other end.

    >>> import gymnasium as gym, lifelong_gym
    >>> from lifelong_gym.envs.tabular.chain import chain_tasks
    >>> env = gym.make("LifelongChain-v0", tasks=chain_tasks(2, p=0.7))
    >>> len(env.unwrapped.tasks)
    2

    Args:
        which: 1 or 2.
        p: in chain 2, the probability to move away from the task's prize in S2 and S4, in [0, 1]; the paper's is more
            than 0.5. Chain 1 has none.

    Raises:
        ValueError: another chain, or ``p`` out of range.
    """
    one_of("chain", str(which), ["1", "2"])
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"`p` must be in [0, 1]. Received {p}")
    left = ((1.0, 0.0), (0.0, 1.0)) if which == 1 else ((1.0 - p, 1.0 - p), (p, p))
    names = [parameter.name for parameter in MOVES]
    return [
        {**dict(zip(names, under * 2, strict=True)), **prizes}
        for under, prizes in zip(left, (PRIZE_LEFT, PRIZE_RIGHT), strict=True)
    ]


def is_end(state: Vector) -> bool:
    """Whether the chain ends here."""
    return (state[0] == FIRST) | (state[0] == LAST)


def reward_end(state: Vector, next_state: Vector, prizes: Vector) -> float:
    """What an end pays when it is reached; staying there pays nothing."""
    paid = where(next_state[0] == FIRST, prizes[0], where(next_state[0] == LAST, prizes[1], 0.0))
    return where(is_end(state), 0.0, paid)


@final
class Chain(KernelFamily):
    """Five states in a row, S1 to S5, of which one end pays and the other fines.

    ## Description
    In S3, L moves left and R right. In S2 and S4 an action moves left with the probability that the task says, and
    else right; nothing moves at the ends. Zeng et al. (2021) show by two such chains, `chain_tasks`, that the best
    policy for several tasks may have to be stochastic, and that policy gradients may be stuck.

    ## Action Space
    ``Discrete(2)``.

    | Num | Action |
    |---|---|
    | 0 | L |
    | 1 | R |

    ## Observation Space
    ``Discrete(5)``: the state's number minus 1.

    | Num | State | Min | Max | Unit |
    |---|---|---|---|---|
    | 0 | place, from the left | 0 | 4 | 1 |

    ## Rewards
    ``end``: ``reward_s1`` or ``reward_s5`` for arriving at that end, otherwise 0.

    ## Starting State
    S3, or another one between the ends, by the parameter ``start``.

    ## Episode End
    Termination at an end; truncation after 100 steps.

    ## Parameters
    | Parameter | Nominal | Default range | Unit | Meaning |
    |---|---|---|---|---|
    | ``s2_left_under_l``, ``s2_left_under_r`` | 1, 0 | 0 to 1 | 1 | probability that L, R moves left in S2 |
    | ``s4_left_under_l``, ``s4_left_under_r`` | 1, 0 | 0 to 1 | 1 | probability that L, R moves left in S4 |
    | ``reward_s1``, ``reward_s5`` | 1, -1 | 1, -1 or -1, 1 | 1 | for arriving there |
    | ``start`` | 3 | | 1 | number of the state that episodes start in, an integer |

    ## Presets
    ``default``, ``single``, ``chain_1`` and ``chain_2``: the two tasks of `chain_tasks`, for chain 2 with p = 0.8.

    ## References
    - S. Zeng et al.: A Decentralized Policy Gradient Approach to Multi-Task Reinforcement Learning. UAI 2021.

    ## Version History
    - v0: first version.
    """

    parameters = ParameterSpace(
        (*MOVES, *PRIZES, START),
        {
            "chain_1": Preset({}, "what L and R do in S2 and S4 differs", joint=(Listed(tuple(chain_tasks(1))),)),
            "chain_2": Preset({}, "moves in S2 and S4 are chance", joint=(Listed(tuple(chain_tasks(2))),)),
        },
        joint=(Listed((PRIZE_LEFT, PRIZE_RIGHT)),),
    )
    state = (Quantity("place", "1", "from the left, 0 to 4"),)
    actions = Discrete(2, ("L", "R"))
    observations = Discrete(N_STATES)
    horizon = 100
    n_noise = 1
    rewards = {"end": reward_end}  # noqa: RUF012 (declared as ClassVar in the base class)
    reference = "lifelong_gym.references.tabular:ValueIteration"
    render_fps = 3
    viewer = "lifelong_gym.envs.viewers.chain:ChainViewer"

    @staticmethod
    def initial(start: Vector) -> Vector:
        """The start."""
        return start

    @staticmethod
    def transition(state: Vector, action: Vector, noise: Vector, left: Vector) -> Vector:
        """One place to the left or right; the ends are never left."""
        place, is_left = state[0], action[0] == LEFT
        second, fourth = where(is_left, left[0], left[1]), where(is_left, left[2], left[3])
        third = where(is_left, 1.0, 0.0)
        chance = where(place == SECOND, second, where(place == THIRD, third, fourth))
        moved = place + where(noise[0] < chance, -1.0, 1.0)
        return (where(is_end(state), place, moved),)

    @staticmethod
    def terminated(state: Vector) -> bool:
        """At an end."""
        return is_end(state)

    @staticmethod
    def observation(state: Vector) -> Vector:
        """The place."""
        return state

    def constants(self, parameters: Columns) -> Groups:
        """Probabilities to move left, what the ends pay, and the start as a place."""
        return {
            "left": tuple(parameters[parameter.name] for parameter in MOVES),
            "prizes": (parameters["reward_s1"], parameters["reward_s5"]),
            "start": (parameters["start"] - 1.0,),
        }

    def check_state(self, state: FloatArray) -> None:
        """Raise `ValueError` unless ``state`` is a place of the chain."""
        super().check_state(state)
        if state[0] != np.floor(state[0]) or not 0 <= state[0] < N_STATES:
            raise ValueError(f"`state`: place must be an integer from 0 to {N_STATES - 1}. Received {state[0]}")
