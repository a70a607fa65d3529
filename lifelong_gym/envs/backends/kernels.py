"""The text of one step, one reset and one policy action, on tuples: every backend binds these same functions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from lifelong_gym.envs.family import Constants, Continuous, KernelFamily, role_of
from lifelong_gym.numerics.bind import ROLES, Binder
from lifelong_gym.numerics.scalar import Vector, add, bounded, choose, matvec, mul, scale, where

# Bound per family; the values here are those of a family with one state, one action and no failure.
BOUND: Vector = (1.0,)
LOW: Vector = (-1.0,)
HIGH: Vector = (1.0,)
CLIP_LOW: Vector = (0.0,)
CLIP_HIGH: Vector = (0.0,)
FAILURE_COST = 0.0
ENDS_ON_FAILURE = False
INVERSE_BOUND: Vector = (1.0,)
INVERSE_SCALE: Vector = (1.0,)


def transition(state: Vector, action: Vector, noise: Vector, k: Vector) -> Vector:
    """The family's role of that name."""
    raise NotImplementedError


def reward(state: Vector, action: Vector, next_state: Vector, noise: Vector, k: Vector) -> float:
    """The family's role of that name."""
    raise NotImplementedError


def failed(state: Vector, k: Vector) -> bool:
    """The family's role of that name."""
    raise NotImplementedError


def terminated(state: Vector, k: Vector) -> bool:
    """The family's role of that name."""
    raise NotImplementedError


def observation(state: Vector, k: Vector) -> Vector:
    """The family's role of that name."""
    raise NotImplementedError


def physical(action: Vector) -> Vector:
    """What the family sees of a continuous action u: clipped to [-1, 1], times the bound."""
    return mul(BOUND, bounded(action, LOW, HIGH))


def index(action: Vector) -> Vector:
    """What the family sees of a discrete action."""
    return action


def advance(
    state: Vector, action: Vector, noise: Vector, k: Vector, has_failed: bool
) -> tuple[Vector, float, bool, bool]:
    """One step without failure handling: ``(next state, reward, terminated, failed)``."""
    a = physical(action)
    moved = transition(state, a, noise, k)
    return moved, reward(state, a, moved, noise, k), terminated(moved, k), has_failed


def advance_or_freeze(
    state: Vector, action: Vector, noise: Vector, k: Vector, has_failed: bool
) -> tuple[Vector, float, bool, bool]:
    """One step of a family that can fail: on failing, the state is clipped and then frozen, at a constant cost."""
    a = physical(action)
    moved = transition(state, a, noise, k)
    fails = has_failed | failed(moved, k)
    following = choose(has_failed, state, choose(fails, bounded(moved, CLIP_LOW, CLIP_HIGH), moved))
    r = where(fails, -FAILURE_COST, reward(state, a, moved, noise, k))
    return following, r, terminated(following, k) | (fails & ENDS_ON_FAILURE), fails


def features(state: Vector, k: Vector) -> Vector:
    """Features of a linear policy: the observation over its scale, and the constant 1."""
    return mul(INVERSE_SCALE, observation(state, k)) + (1.0,)  # noqa: RUF005 (numba knows no unpacking here)


def features_without_bias(state: Vector, k: Vector) -> Vector:
    """Features of a linear policy without the constant."""
    return mul(INVERSE_SCALE, observation(state, k))


def act(phi: Vector, theta: Vector, sigma: float, noise: Vector) -> Vector:
    """A linear-Gaussian policy: ``a = theta phi + sigma noise``, as the action ``u = a / bound`` in [-1, 1]."""
    a = add(matvec(theta, phi), scale(sigma, noise))
    return bounded(mul(INVERSE_BOUND, a), LOW, HIGH)


@dataclass(frozen=True)
class Text:
    """All that code takes from a family: families, instances and data that agree in it share compiled code.

    Attributes:
        name: of the family, for errors.
        roles: the family's functions by role.
        groups: name, first and last index (exclusive) of each group of constants in k.
        n_state, n_constants, n_observation, n_action, n_initial_noise, n_noise: sizes.
        bound: of continuous actions; None: actions are discrete.
        limits: what a failing state is clipped to; empty: nothing fails.
        failure_cost: of every step from the failing one on.
        ends_on_failure: whether a failure ends the episode rather than freezes it.
        feature_scale: per observation, the scale c of a linear policy's features.
    """

    name: str = field(compare=False)
    roles: tuple[tuple[str, Any], ...]
    groups: tuple[tuple[str, int, int], ...]
    n_state: int
    n_constants: int
    n_observation: int
    n_action: int
    n_initial_noise: int
    n_noise: int
    bound: Vector | None
    limits: Vector
    failure_cost: float
    ends_on_failure: bool
    feature_scale: Vector

    @classmethod
    def of(
        cls,
        family: KernelFamily,
        constants: Constants,
        reward_name: str | None = None,
        terminate_on_failure: bool = False,
    ) -> Text:
        """Read it off an instance, whose attributes need not be its class's.

        Args:
            family: the family.
            constants: of any of its tasks.
            reward_name: key of ``family.rewards``; None: the default.
            terminate_on_failure: end the episode at a failure rather than freeze it.
        """
        n_observation = family.observations.size
        return cls(
            name=type(family).__name__,
            roles=tuple((role, role_of(family, role, reward_name)) for role in ROLES),
            groups=tuple((name, at.start, at.stop) for name, at in constants.groups.items()),
            n_state=len(family.state),
            n_constants=constants.table.shape[1],
            n_observation=n_observation,
            n_action=family.actions.size,
            n_initial_noise=family.n_initial_noise,
            n_noise=family.n_noise,
            bound=tuple(map(float, family.actions.bound)) if isinstance(family.actions, Continuous) else None,
            limits=tuple(2.0 * float(limit) for limit in family.state_limits),
            failure_cost=float(family.cost_of_failing(reward_name)),
            ends_on_failure=terminate_on_failure,
            feature_scale=tuple(map(float, family.feature_scale)) or (1.0,) * n_observation,
        )

    def bound_roles(self, binder: Binder) -> dict[str, Any]:
        """The family's functions by role, bound to a backend: each takes the arguments of its role, and ``k``."""
        groups = {name: slice(first, last) for name, first, last in self.groups}
        return {role: binder.role(function, ROLES[role], groups, self.name) for role, function in self.roles}


def bind_policy(text: Text, kernels: Kernels, bias: bool) -> tuple[Any, Any]:
    """``features`` and ``act`` of a linear-Gaussian policy, bound to the backend of ``kernels``."""
    assert text.bound is not None
    given = {
        "observation": kernels.observation,
        "INVERSE_SCALE": tuple(1.0 / c for c in text.feature_scale),
        "INVERSE_BOUND": tuple(1.0 / bound for bound in text.bound),
        "LOW": (-1.0,) * text.n_action,
        "HIGH": (1.0,) * text.n_action,
    }
    binder = kernels.binder
    phi = binder.bind(features if bias else features_without_bias, given)
    return phi, binder.bind(act, given)


@dataclass(frozen=True)
class Kernels:
    """A text bound to a backend: each attribute takes its arguments and ``k``."""

    initial: Any
    observation: Any
    advance: Any
    binder: Binder


def bind_family(text: Text, binder: Binder, transition_role: Any = None) -> Kernels:
    """Bind a family's roles, and the step around them, to a backend.

    Args:
        text: of the family.
        binder: of the backend.
        transition_role: replaces the family's transition by a callable ``(state, action, noise, k)``.
    """
    bound = text.bound_roles(binder)
    if transition_role is not None:
        bound["transition"] = transition_role
    given: dict[str, Any] = {
        **bound,
        "CLIP_LOW": tuple(-limit for limit in text.limits),
        "CLIP_HIGH": text.limits,
        "FAILURE_COST": text.failure_cost,
        "ENDS_ON_FAILURE": text.ends_on_failure,
    }
    if text.bound is None:
        given["physical"] = binder.bind(index)
    else:
        size = text.n_action
        given["physical"] = binder.bind(physical, {"BOUND": text.bound, "LOW": (-1.0,) * size, "HIGH": (1.0,) * size})
    step = binder.bind(advance_or_freeze if text.limits else advance, given)
    return Kernels(bound["initial"], bound["observation"], step, binder)
