"""Policies of fused rollouts: what a block of trajectories holds of them, how they act, and what they add up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from lifelong_gym.envs.backends.kernels import Kernels, bind_policy, pick
from lifelong_gym.envs.backends.numba_math import accumulate, cursor, load, outer, packed_square, store
from lifelong_gym.envs.backends.numba_tables import tables_of
from lifelong_gym.envs.backends.text import Text
from lifelong_gym.numerics.philox import normal_pair, uniform_pair

# ruff: noqa: F821 (names in capitals, and the family's roles, are filled in when a template is compiled)
# mypy: disable-error-code="name-defined, no-untyped-def"


def draw_policy_noise(b, field, draw, k0, k1):
    """Draw number ``draw`` of the episode's policy noise; draws come in pairs, every other call has one left."""
    if draw % 2 == 0:
        for j in range(WIDTH):
            uid, visit = np.uint64(b[UID * WIDTH + j]), np.uint64(b[VISIT * WIDTH + j])
            x, y = policy_pair(np.uint64(draw // 2), uid, visit, np.uint64(POLICY), k0, k1)
            b[field * WIDTH + j] = x
            b[SPARE * WIDTH + j] = y
    else:
        for j in range(WIDTH):
            b[field * WIDTH + j] = b[SPARE * WIDTH + j]


# ------------------------------------------------------------------------------------------------ linear-Gaussian


def take_theta(b, j, task, policies):
    """The gains of the policy of lane j."""
    for m in range(N_THETA):
        b[(THETA + m) * WIDTH + j] = policies[task, m]


def act_linearly(b, data, t, k0, k1, policies, sigma):
    """Noise, features and action of step ``t`` for all lanes; no lane goes wrong."""
    for i in range(N_ACTION):
        draw_policy_noise(b, NOISE_OF_POLICY + i, t * N_ACTION + i, k0, k1)
    make_noise(b, data, t, k0, k1)
    linear_block(b, data, sigma)
    return 0


def linear_block(b, data, sigma):
    """Features and action of every lane."""
    for j in range(WIDTH):
        k, tables = load(b, CONSTANTS, WIDTH, j, N_CONSTANTS), tables_of(data, b[SLOT * WIDTH + j])
        phi = features(load(b, STATE, WIDTH, j, N_STATE), k, tables)
        noise = load(b, NOISE_OF_POLICY, WIDTH, j, N_ACTION)
        store(b, PHI, WIDTH, j, phi)
        store(b, ACTION, WIDTH, j, act(phi, load(b, THETA, WIDTH, j, N_THETA), sigma, noise))


def add_products(b, lane, n, sums):
    """Add this step to the sums of the block, times the weight of the step."""
    for j in range(WIDTH):
        w = b[WEIGHT * WIDTH + j] * b[ALIVE * WIDTH + j]
        phi = load(b, PHI, WIDTH, j, N_FEATURES)
        accumulate(b, SCORE, WIDTH, j, w, outer(load(b, NOISE_OF_POLICY, WIDTH, j, N_ACTION), phi))
        accumulate(b, FISHER, WIDTH, j, w, packed_square(phi))
        b[STEPS * WIDTH + j] += b[ALIVE * WIDTH + j]


# ------------------------------------------------------------------------------------------------ tables of logits


def take_task(b, j, task, policies):
    """Which table lane j reads."""
    b[TASK * WIDTH + j] = task


def act_by_table(b, data, t, k0, k1, policies, sigma):
    """Noise, observation and action of step ``t`` for all lanes; returns how many observations the table lacks."""
    draw_policy_noise(b, NOISE_OF_POLICY, t, k0, k1)
    make_noise(b, data, t, k0, k1)
    n_observations = policies.shape[1]
    n_lacking = 0
    for j in range(WIDTH):
        k, tables = load(b, CONSTANTS, WIDTH, j, N_CONSTANTS), tables_of(data, b[SLOT * WIDTH + j])
        seen = observation(load(b, STATE, WIDTH, j, N_STATE), k, tables)[0]
        is_there = (seen >= 0.0) & (seen < n_observations)  # NaN isn't
        n_lacking += not is_there
        row = np.int64(seen) if is_there else 0
        at = (np.int64(b[TASK * WIDTH + j]) * n_observations + row) * N_CHOICES
        b[SEEN * WIDTH + j] = row
        b[ACTION * WIDTH + j] = pick(cursor(policies, at), 0, N_CHOICES, b[NOISE_OF_POLICY * WIDTH + j])
    return n_lacking


def count_visits(b, lane, n, sums):
    """Count this step, and add up its weight, where the first ``n`` lanes live."""
    visits, weighted = sums
    for j in range(n):
        if b[ALIVE * WIDTH + j] > 0.0:
            at = np.int64(b[SEEN * WIDTH + j]) * N_CHOICES + np.int64(b[ACTION * WIDTH + j])
            visits[lane + j, at] += 1
            if len(weighted) > 0:
                weighted[lane + j, at] += b[WEIGHT * WIDTH + j]
            b[STEPS * WIDTH + j] += 1.0


# ------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PolicyCode:
    """What the loops of rollouts need of a kind of policies.

    Attributes:
        fields: of a block, by name, with their sizes.
        sums: further ones, which begin at 0 and come out behind return and steps.
        known: names of the templates below.
        parts: templates that the others call.
        take: template by which a lane gets its policy.
        act: template by which a block acts.
        add: template by which a block's step is added up.
    """

    fields: dict[str, int]
    sums: dict[str, int]
    known: dict[str, Any]
    parts: tuple[Callable[..., Any], ...]
    take: Callable[..., Any]
    act: Callable[..., Any]
    add: Callable[..., Any]


def linear_code(text: Text, kernels: Kernels, bias: bool) -> PolicyCode:
    """Linear-Gaussian policies."""
    features, act = bind_policy(text, kernels, bias)
    n_features = text.n_observation + bias
    n_theta, n_fisher = text.n_action * n_features, n_features * (n_features + 1) // 2
    return PolicyCode(
        fields={"THETA": n_theta, "NOISE_OF_POLICY": text.n_action, "PHI": n_features},
        sums={"SCORE": n_theta, "FISHER": n_fisher},
        known={
            "N_THETA": n_theta,
            "N_FEATURES": n_features,
            "features": features,
            "act": act,
            "policy_pair": kernels.binder.bind(normal_pair),
        },
        parts=(linear_block,),
        take=take_theta,
        act=act_linearly,
        add=add_products,
    )


def table_code(kernels: Kernels, n_actions: int) -> PolicyCode:
    """Tables of logits."""
    return PolicyCode(
        fields={"TASK": 1, "NOISE_OF_POLICY": 1, "SEEN": 1},
        sums={},
        known={"N_CHOICES": n_actions, "policy_pair": kernels.binder.bind(uniform_pair)},
        parts=(),
        take=take_task,
        act=act_by_table,
        add=count_visits,
    )
