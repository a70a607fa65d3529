"""Whether every declared parameter matters."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from lifelong_gym.envs.family import Family
from lifelong_gym.registry import family, own_arguments
from lifelong_gym.tasks.parameter_space import ParameterSpace
from lifelong_gym.tasks.parameters import Parameter
from lifelong_gym.testing.common import SEED, FaultList, draw_actions, finite_bounds, running

# Rows and steps of an attempt. Most parameters show at once; a cell of a maze must be found first.
ATTEMPTS = ((8, 25), (64, 200), (256, 500))
N_VALUES = 64  # of a parameter that can't be moved half-way to its bounds
N_INTEGERS = 10_000  # among which valid ones are looked for


def check_parameters(id: str, **settings: Any) -> None:
    """Check that moving any parameter alone, from its nominal value, changes states, observations or rewards.

    Those that the family calls idle must change nothing.

    Args:
        id: of a registered family.
        **settings: as in `gymnasium.make`, but for the tasks.

    Raises:
        AssertionError: parameters that change nothing, and idle ones that change something, all of them.
        FamilyError: the family's functions don't run.
    """
    kind = family(id, **own_arguments(id, settings))
    faults = FaultList(id)
    with running(id, "stepping"):
        for parameter in kind.parameters:
            faults.collect(_check, id, kind, parameter, settings)
    faults.tell()


def _check(id: str, kind: Family, parameter: Parameter, settings: dict[str, Any]) -> None:
    column = kind.parameters.index(parameter.name)
    values = other_values(kind.parameters, parameter, [bound[column] for bound in finite_bounds(kind)])
    if not values:
        raise AssertionError(f"{id}: parameter {parameter.name!r} has no other valid value while all else is nominal")
    if parameter.name in kind.idle_parameters:
        _check_idle(id, kind, parameter, values[-1], settings)
        return
    for n_rows, n_steps in ATTEMPTS:
        nominal = _history(id, kind, {}, n_rows, n_steps, settings)
        for value in values:
            if _history(id, kind, {parameter.name: value}, n_rows, n_steps, settings) != nominal:
                return
    nominal_text, moved = parameter.text(parameter.nominal), " or ".join(map(parameter.text, values))
    raise AssertionError(
        f"{id}: parameter {parameter.name!r} changes nothing: moved from {nominal_text} to {moved}, it leaves "
        f"states, observations and rewards of {n_rows} rows as they are for {n_steps} steps"
    )


def _check_idle(id: str, kind: Family, parameter: Parameter, value: float, settings: dict[str, Any]) -> None:
    n_rows, n_steps = ATTEMPTS[0]
    nominal, moved = (_history(id, kind, task, n_rows, n_steps, settings) for task in ({}, {parameter.name: value}))
    if moved != nominal:
        raise AssertionError(f"{id}: parameter {parameter.name!r} is called idle, and changes something")


def other_values(space: ParameterSpace, parameter: Parameter, bounds: Sequence[float]) -> list[float]:
    """Values half-way between the nominal one and its bounds; where none of these is another valid one, any others.

    Of an enumeration all others. Valid are those that keep the rules while all else is nominal; they may be few among
    many integers.
    """
    low, high = bounds
    half_way = [0.5 * (parameter.nominal + bound) for bound in bounds]
    anywhere = list(np.linspace(low, high, min(N_INTEGERS, int(high - low) + 1) if parameter.integer else N_VALUES))
    for values in [anywhere] if parameter.names else [half_way, anywhere]:
        others = np.unique(np.round(values) if parameter.integer else values)
        others = others[others != parameter.nominal]
        tasks = np.tile(space.nominal, (len(others), 1))
        tasks[:, space.index(parameter.name)] = others
        valid = others[space.keeping(tasks)]
        if len(valid) > 0:
            chosen = np.linspace(0, len(valid) - 1, min(N_VALUES, len(valid))).round().astype(int)
            found: list[float] = (valid if parameter.names else valid[chosen]).tolist()
            return found
    return []


def _history(
    id: str, kind: Family, task: dict[str, float], n_rows: int, n_steps: int, settings: dict[str, Any]
) -> bytes:
    """A digest of all that rows of one task go through, under the same noise and actions whatever the task."""
    env: Any = gym.make_vec(id, num_envs=n_rows, tasks=[task], **settings)
    actions = draw_actions(kind, (n_rows, n_steps))
    seen = hashlib.blake2b(env.reset(seed=SEED)[0].tobytes())
    for step in range(n_steps):
        observations, rewards, terminated, *_ = env.step(actions[:, step])
        for array in (observations, rewards, terminated, *([env.unwrapped.state] if kind.state else [])):
            seen.update(array.tobytes())
    env.close()
    return seen.digest()
