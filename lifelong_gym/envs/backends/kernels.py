"""The text of one step, one reset and one policy action, on tuples: every backend binds these same functions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lifelong_gym.envs.family import Continuous, KernelFamily, reward_of
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


def bind_policy(family: KernelFamily, kernels: Kernels, bias: bool) -> tuple[Any, Any]:
    """``features`` and ``act`` of a linear-Gaussian policy, bound to the backend of ``kernels``."""
    assert isinstance(family.actions, Continuous)
    size = family.actions.size
    scales = family.feature_scale or (1.0,) * family.observations.size
    given = {
        "observation": kernels.observation,
        "INVERSE_SCALE": tuple(1.0 / c for c in scales),
        "INVERSE_BOUND": tuple(1.0 / bound for bound in family.actions.bound),
        "LOW": (-1.0,) * size,
        "HIGH": (1.0,) * size,
    }
    binder = kernels.binder
    phi = binder.bind(features if bias else features_without_bias, given)
    return phi, binder.bind(act, given)


@dataclass(frozen=True)
class Kernels:
    """A family bound to a backend: each attribute takes its arguments and ``k``."""

    initial: Any
    observation: Any
    advance: Any
    binder: Binder


def bind_family(
    family: KernelFamily,
    groups: Mapping[str, slice],
    binder: Binder,
    reward_name: str | None = None,
    terminate_on_failure: bool = False,
    transition_role: Any = None,
) -> Kernels:
    """Bind a family's roles, and the step around them, to a backend.

    Args:
        family: the family.
        groups: where each group of constants lies in k.
        binder: of the backend.
        reward_name: key of ``family.rewards``; None: the default.
        terminate_on_failure: end the episode at a failure rather than freeze it.
        transition_role: replaces the family's transition by a callable ``(state, action, noise, k)``.
    """
    name = type(family).__name__
    roles = {role: getattr(type(family), role) for role in ROLES if role != "reward"}
    roles["reward"] = reward_of(family, reward_name)
    bound = {role: binder.role(roles[role], arguments, groups, name) for role, arguments in ROLES.items()}
    if transition_role is not None:
        bound["transition"] = transition_role
    can_fail = bool(family.state_limits)
    limits = tuple(2.0 * float(limit) for limit in family.state_limits)
    given: dict[str, Any] = {
        **bound,
        "CLIP_LOW": tuple(-limit for limit in limits),
        "CLIP_HIGH": limits,
        "FAILURE_COST": float(family.cost_of_failing(reward_name)),
        "ENDS_ON_FAILURE": terminate_on_failure,
    }
    if isinstance(family.actions, Continuous):
        size = family.actions.size
        scale_of = {"BOUND": tuple(map(float, family.actions.bound)), "LOW": (-1.0,) * size, "HIGH": (1.0,) * size}
        given["physical"] = binder.bind(physical, scale_of)
    else:
        given["physical"] = binder.bind(index)
    step = binder.bind(advance_or_freeze if can_fail else advance, given)
    return Kernels(bound["initial"], bound["observation"], step, binder)
