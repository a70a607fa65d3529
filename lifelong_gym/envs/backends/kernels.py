"""The text of one step, one reset and one policy action, on tuples: every backend binds these same functions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from lifelong_gym.envs.backends.text import Text
from lifelong_gym.numerics.bind import Binder
from lifelong_gym.numerics.scalar import Vector, add, bounded, choose, contents, matvec, mul, room, scale, where

Tables = tuple[Any, ...]  # in the order that the family declares

# Bound per family; the values here are those of a family with one state, one action and no failure.
LOW: Vector = (-1.0,)
HIGH: Vector = (1.0,)
CLIP_LOW: Vector = (0.0,)
CLIP_HIGH: Vector = (0.0,)
FAILURE_COST = 0.0
ENDS_ON_FAILURE = False
INVERSE_BOUND: Vector = (1.0,)
INVERSE_SCALE: Vector = (1.0,)
N_OBSERVATION = 1
N_MEASURES = 1
PRESENT: Vector = (1.0,)


def transition(state: Vector, action: Vector, noise: Vector, k: Vector, tables: Tables) -> Vector:
    """The family's role of that name."""
    raise NotImplementedError


def measure(state: Vector, k: Vector, tables: Tables, out: Any) -> None:
    """The family's role of that name."""
    raise NotImplementedError


def reward(
    state: Vector, action: Vector, next_state: Vector, noise: Vector, k: Vector, tables: Tables, measured: Vector
) -> float:
    """The family's role of that name."""
    raise NotImplementedError


def failed(state: Vector, k: Vector, tables: Tables) -> bool:
    """The family's role of that name."""
    raise NotImplementedError


def terminated(state: Vector, k: Vector, tables: Tables, measured: Vector) -> bool:
    """The family's role of that name."""
    raise NotImplementedError


def observation(state: Vector, k: Vector, tables: Tables) -> Vector:
    """The family's role of that name."""
    raise NotImplementedError


def write(state: Vector, k: Vector, tables: Tables, out: Any) -> None:
    """The family's role ``observation``, where that writes."""
    raise NotImplementedError


def written(state: Vector, k: Vector, tables: Tables) -> Vector:
    """What the family's observation writes, as a tuple."""
    out = room(N_OBSERVATION)
    write(state, k, tables, out)
    return contents(out, N_OBSERVATION)


def measured(state: Vector, k: Vector, tables: Tables) -> Vector:
    """What the family's ``measure`` writes, as a tuple."""
    out = room(N_MEASURES)
    measure(state, k, tables, out)
    return contents(out, N_MEASURES)


def nothing_measured(state: Vector, k: Vector, tables: Tables) -> Vector:
    """Of a family without ``measure``."""
    return ()


def seen(action: Vector, present: Vector) -> Vector:
    """The text of the family's `ActionCodec`."""
    raise NotImplementedError


def present(state: Vector, k: Vector, tables: Tables) -> Vector:
    """The family's ``present``, or else: everybody is there."""
    return PRESENT


def advance(
    state: Vector, action: Vector, noise: Vector, k: Vector, tables: Tables, has_failed: bool
) -> tuple[Vector, float, bool, bool]:
    """One step without failure handling: ``(next state, reward, terminated, failed)``."""
    a = seen(action, present(state, k, tables))
    moved = transition(state, a, noise, k, tables)
    found = measured(moved, k, tables)
    r = reward(state, a, moved, noise, k, tables, found)
    return moved, r, terminated(moved, k, tables, found), has_failed


def advance_or_freeze(
    state: Vector, action: Vector, noise: Vector, k: Vector, tables: Tables, has_failed: bool
) -> tuple[Vector, float, bool, bool]:
    """One step of a family that can fail: on failing, the state is clipped and then frozen, at a constant cost."""
    a = seen(action, present(state, k, tables))
    moved = transition(state, a, noise, k, tables)
    fails = has_failed | failed(moved, k, tables)
    following = choose(has_failed, state, choose(fails, bounded(moved, CLIP_LOW, CLIP_HIGH), moved))
    found = measured(following, k, tables)
    r = where(fails, -FAILURE_COST, reward(state, a, moved, noise, k, tables, found))
    return following, r, terminated(following, k, tables, found) | (fails & ENDS_ON_FAILURE), fails


def features(state: Vector, k: Vector, tables: Tables) -> Vector:
    """Features of a linear policy: the observation over its scale, and the constant 1."""
    return mul(INVERSE_SCALE, observation(state, k, tables)) + (1.0,)  # noqa: RUF005 (numba knows no unpacking here)


def features_without_bias(state: Vector, k: Vector, tables: Tables) -> Vector:
    """Features of a linear policy without the constant."""
    return mul(INVERSE_SCALE, observation(state, k, tables))


def act(phi: Vector, theta: Vector, sigma: float, noise: Vector) -> Vector:
    """A linear-Gaussian policy: ``a = theta phi + sigma noise``, as the action ``u = a / bound`` in [-1, 1]."""
    a = add(matvec(theta, phi), scale(sigma, noise))
    return bounded(mul(INVERSE_BOUND, a), LOW, HIGH)


def pick(thresholds: Any, start: int, n: int, u: float) -> float:
    """The action of a table's policy: how many of its n thresholds, the last one left out, ``u`` in [0, 1) reaches."""
    action = 0.0
    for i in range(n - 1):
        action = action + where(u < thresholds[start + i], 0.0, 1.0)
    return action


def bind_policy(text: Text, kernels: Kernels, bias: bool) -> tuple[Any, Any]:
    """``features`` and ``act`` of a linear-Gaussian policy, bound to the backend of ``kernels``."""
    assert text.bound, "checked by whoever plans a rollout"
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
    """A text bound to a backend.

    Attributes:
        initial: ``(noise, k, tables)``.
        transition: ``(state, action, noise, k, tables)``, with an action in the family's units.
        exogenous: ``(state, k, tables)``, or None: noise is drawn.
        observation: ``(state, k, tables)``, a tuple; None where it is an image, which can only be written.
        write: ``(state, k, tables, out)``, or None: the family's observation returns a tuple.
        present: ``(state, k, tables)``, see `present`.
        advance: ``(state, action, noise, k, tables, has_failed)``, see `advance`.
        binder: of the backend.
    """

    initial: Any
    transition: Any
    exogenous: Any
    observation: Any
    write: Any
    present: Any
    advance: Any
    binder: Binder


def bind_family(text: Text, binder: Binder, replaced: Mapping[str, Any] = MappingProxyType({})) -> Kernels:
    """Bind a family's roles, and the step around them, to a backend.

    Args:
        text: of the family.
        binder: of the backend.
        replaced: by role, callables that take the place of the family's own; with all the role's arguments.
    """
    bound = {**text.bound_roles(binder), **replaced}
    function, values = text.seen
    given: dict[str, Any] = {
        "present": binder.bind(present, {"PRESENT": (1.0,) * text.n_action}),
        **bound,
        "seen": binder.bind(function, dict(values)),
        "measured": _bound_measures(text, binder, bound),
        "CLIP_LOW": tuple(-limit for limit in text.limits),
        "CLIP_HIGH": text.limits,
        "FAILURE_COST": text.failure_cost,
        "ENDS_ON_FAILURE": text.ends_on_failure,
    }
    step = binder.bind(advance_or_freeze if text.limits else advance, given)
    observation, write = bound["observation"], None
    if text.writes:
        write = observation
        size = {"write": write, "N_OBSERVATION": text.n_observation}
        observation = None if text.is_image else binder.bind(written, size)
    roles = bound["initial"], bound["transition"], bound.get("exogenous")
    return Kernels(*roles, observation, write, given["present"], step, binder)


def _bound_measures(text: Text, binder: Binder, bound: Mapping[str, Any]) -> Any:
    if not text.n_measures:
        return binder.bind(nothing_measured)
    return binder.bind(measured, {"measure": bound["measure"], "N_MEASURES": text.n_measures})
