"""Fused rollouts of linear-Gaussian policies on numba: physics, policy, noise and statistics in one pass, all in L1."""

from __future__ import annotations

import functools
from types import SimpleNamespace

import numpy as np

from lifelong_gym.envs.backends.kernels import bind_family, bind_policy
from lifelong_gym.envs.backends.numba_compile import (
    compile_template,
    described,
    fields,
    lane_binder,
    noise_size,
    table_data,
)
from lifelong_gym.envs.backends.numba_math import accumulate, load, outer, packed_square, store
from lifelong_gym.envs.backends.numba_tables import tables_of
from lifelong_gym.envs.backends.rollout_plan import RolloutPlan, RolloutSums, TrajectoryArrays
from lifelong_gym.envs.backends.text import Program, Text
from lifelong_gym.envs.backends.threads import in_chunks
from lifelong_gym.numerics.philox import normal_pair, uniform_pair

LANES = 64
MIN_LANES_A_THREAD = 256

# ruff: noqa: F821 (names in capitals, and the family's roles, are filled in when a template is compiled)
# mypy: disable-error-code="name-defined, no-untyped-def"


def fill(b, first, n, at, k0, k1, stream):
    """Fill ``n`` uniform fields from ``first`` on for all lanes."""
    for pair in range((n + 1) // 2):
        for j in range(WIDTH):
            uid, visit = np.uint64(b[UID * WIDTH + j]), np.uint64(b[VISIT * WIDTH + j])
            x, y = uniform_pair(np.uint64(at), uid, visit, np.uint64(stream + pair), k0, k1)
            b[(first + 2 * pair) * WIDTH + j] = x
            b[(first + 2 * pair + 1) * WIDTH + j] = y


def fill_normal(b, field, draw, k0, k1):
    """Draw number ``draw`` of the episode's policy noise; normals come in pairs, every other call has one left."""
    if draw % 2 == 0:
        for j in range(WIDTH):
            uid, visit = np.uint64(b[UID * WIDTH + j]), np.uint64(b[VISIT * WIDTH + j])
            x, y = normal_pair(np.uint64(draw // 2), uid, visit, np.uint64(POLICY), k0, k1)
            b[field * WIDTH + j] = x
            b[SPARE * WIDTH + j] = y
    else:
        for j in range(WIDTH):
            b[field * WIDTH + j] = b[SPARE * WIDTH + j]


def begin_block(b, lane, last, tasks, uids, visits, K, slots, data, theta, states, n_states, k0, k1):
    """Constants, parameters and start states of ``WIDTH`` trajectories; lanes beyond ``last`` repeat it."""
    for j in range(WIDTH):
        task = tasks[min(lane + j, last)]
        b[SLOT * WIDTH + j] = slots[task]
        for m in range(N_CONSTANTS):
            b[(CONSTANTS + m) * WIDTH + j] = K[slots[task], m]
        for m in range(N_THETA):
            b[(THETA + m) * WIDTH + j] = theta[task, m]
        b[UID * WIDTH + j] = uids[min(lane + j, last)]
        b[VISIT * WIDTH + j] = visits[min(lane + j, last)]
    fill(b, NOISE, N_INITIAL, 0, k0, k1, INITIAL)
    for j in range(WIDTH):
        k, tables = load(b, CONSTANTS, WIDTH, j, N_CONSTANTS), tables_of(data, b[SLOT * WIDTH + j])
        store(b, STATE, WIDTH, j, initial(load(b, NOISE, WIDTH, j, N_INITIAL), k, tables))
        if n_states > 0:
            for m in range(N_STATE):
                b[(STATE + m) * WIDTH + j] = states[min(lane + j, last), m]
    for m in range(N_SUMS):
        for j in range(WIDTH):
            b[(RETURN + m) * WIDTH + j] = 0.0
    for j in range(WIDTH):
        b[ALIVE * WIDTH + j] = 1.0
        b[RUNNING * WIDTH + j] = 1.0
        b[FAILED * WIDTH + j] = 0.0


def policy_block(b, data, sigma):
    """Features and action of every lane."""
    for j in range(WIDTH):
        k, tables = load(b, CONSTANTS, WIDTH, j, N_CONSTANTS), tables_of(data, b[SLOT * WIDTH + j])
        phi = features(load(b, STATE, WIDTH, j, N_STATE), k, tables)
        noise = load(b, NORMAL, WIDTH, j, N_ACTION)
        store(b, PHI, WIDTH, j, phi)
        store(b, ACTION, WIDTH, j, act(phi, load(b, THETA, WIDTH, j, N_THETA), sigma, noise))


def sums_block(b):
    """Add this step to the sums, times the weight of the step."""
    for j in range(WIDTH):
        w = b[WEIGHT * WIDTH + j] * b[ALIVE * WIDTH + j]
        phi = load(b, PHI, WIDTH, j, N_FEATURES)
        accumulate(b, SCORE, WIDTH, j, w, outer(load(b, NORMAL, WIDTH, j, N_ACTION), phi))
        accumulate(b, FISHER, WIDTH, j, w, packed_square(phi))
        b[STEPS * WIDTH + j] += b[ALIVE * WIDTH + j]


def advance_block(b, data):
    """Physics and reward of every lane."""
    for j in range(WIDTH):
        state = load(b, STATE, WIDTH, j, N_STATE)
        k, tables = load(b, CONSTANTS, WIDTH, j, N_CONSTANTS), tables_of(data, b[SLOT * WIDTH + j])
        action = load(b, ACTION, WIDTH, j, N_ACTION)
        noise = load(b, NOISE, WIDTH, j, N_NOISE)
        running = b[RUNNING * WIDTH + j]
        following, reward, terminated, failed = advance(state, action, noise, k, tables, b[FAILED * WIDTH + j] > 0.0)
        store(b, STATE, WIDTH, j, following)
        r = reward if running > 0.0 else 0.0
        b[REWARD * WIDTH + j] = r
        b[RETURN * WIDTH + j] += r
        b[RUNNING * WIDTH + j] = 0.0 if terminated else running
        b[ALIVE * WIDTH + j] = 0.0 if terminated | failed else b[ALIVE * WIDTH + j]
        b[FAILED * WIDTH + j] = 1.0 if failed else 0.0


def drawn_noise(b, data, t, k0, k1):
    """The noise of step ``t``, from the streams of the episodes."""
    fill(b, NOISE, N_NOISE, t, k0, k1, TRANSITION)


def exogenous_noise(b, data, t, k0, k1):
    """The noise of a step, from tables."""
    for j in range(WIDTH):
        k, tables = load(b, CONSTANTS, WIDTH, j, N_CONSTANTS), tables_of(data, b[SLOT * WIDTH + j])
        store(b, NOISE, WIDTH, j, exogenous(load(b, STATE, WIDTH, j, N_STATE), k, tables))


def act_block(b, data, t, k0, k1, sigma):
    """Noise, features and action of step ``t`` for all lanes."""
    for i in range(N_ACTION):
        fill_normal(b, NORMAL + i, t * N_ACTION + i, k0, k1)
    make_noise(b, data, t, k0, k1)
    policy_block(b, data, sigma)


def sum_rollouts(
    first, last, tasks, uids, visits, K, slots, data, theta, states, n_states, k0, k1, sigma, horizon, weights, out
):
    """Sums over trajectories ``first`` to ``last``: ``out`` has shape (n_trajectories, N_SUMS)."""
    b = np.empty(N_FIELDS * WIDTH)
    for lane in range(first, last, WIDTH):
        begin_block(b, lane, last - 1, tasks, uids, visits, K, slots, data, theta, states, n_states, k0, k1)
        for j in range(WIDTH):
            b[WEIGHT * WIDTH + j] = 1.0
        for t in range(horizon):
            act_block(b, data, t, k0, k1, sigma)
            if len(weights) > 0:
                for j in range(WIDTH):
                    b[WEIGHT * WIDTH + j] = weights[min(lane + j, last - 1), t]
            sums_block(b)
            advance_block(b, data)
        for j in range(min(WIDTH, last - lane)):
            for m in range(N_SUMS):
                out[lane + j, m] = b[(RETURN + m) * WIDTH + j]
    return last - first


def record_rollouts(
    first, last, tasks, uids, visits, K, slots, data, theta, states, n_states, k0, k1, sigma, horizon, Y, U, R, A
):
    """Trajectories: observations Y, actions U, rewards R and living steps A, each (n_trajectories, time, ...)."""
    b = np.empty(N_FIELDS * WIDTH)
    for lane in range(first, last, WIDTH):
        n = min(WIDTH, last - lane)
        begin_block(b, lane, last - 1, tasks, uids, visits, K, slots, data, theta, states, n_states, k0, k1)
        for t in range(horizon + 1):
            for j in range(n):
                k, tables = load(b, CONSTANTS, WIDTH, j, N_CONSTANTS), tables_of(data, b[SLOT * WIDTH + j])
                at = ((lane + j) * (horizon + 1) + t) * N_OBSERVATION
                show(load(b, STATE, WIDTH, j, N_STATE), k, tables, Y, at)
            if t == horizon:
                break
            act_block(b, data, t, k0, k1, sigma)
            for j in range(n):
                A[(lane + j) * horizon + t] = b[ALIVE * WIDTH + j] > 0.0
                at = ((lane + j) * horizon + t) * N_ACTION
                store(U, 0, 1, at, load(b, ACTION, WIDTH, j, N_ACTION))
            advance_block(b, data)
            for j in range(n):
                R[(lane + j) * horizon + t] = b[REWARD * WIDTH + j]
    return last - first


@functools.lru_cache(maxsize=64)
def compiled(text: Text, bias: bool, width: int) -> SimpleNamespace:
    """The templates for a family."""
    kernels = bind_family(text, lane_binder())
    features, act = bind_policy(text, kernels, bias)
    known = described(text, kernels, width)
    n_features = known["N_OBSERVATION"] + bias
    n_theta, n_fisher = known["N_ACTION"] * n_features, n_features * (n_features + 1) // 2
    n_sums = 2 + n_theta + n_fisher
    known |= {"N_FEATURES": n_features, "N_THETA": n_theta, "N_FISHER": n_fisher, "N_SUMS": n_sums}
    layout = fields(
        STATE=known["N_STATE"],
        CONSTANTS=known["N_CONSTANTS"],
        THETA=n_theta,
        NOISE=noise_size(text),
        SLOT=1,
        UID=1,
        VISIT=1,
        SPARE=1,
        NORMAL=known["N_ACTION"],
        PHI=n_features,
        ACTION=known["N_ACTION"],
        REWARD=1,
        WEIGHT=1,
        RUNNING=1,
        ALIVE=1,
        FAILED=1,
        RETURN=1,
        STEPS=1,
        SCORE=n_theta,
        FISHER=n_fisher,
    )
    given = {**known, **layout, "features": features, "act": act}
    for inline in (fill, fill_normal):
        given[inline.__name__] = kernels.binder.bind(inline, given)
    given["make_noise"] = kernels.binder.bind(drawn_noise if kernels.exogenous is None else exogenous_noise, given)
    for block in (begin_block, policy_block, sums_block, advance_block, act_block):
        given[block.__name__] = compile_template(block, kernels, given)
    functions = {t.__name__: compile_template(t, kernels, given) for t in (sum_rollouts, record_rollouts)}
    return SimpleNamespace(**functions, advance_block=given["advance_block"], n_sums=n_sums)


def _prepared(plan: RolloutPlan, width: int) -> tuple[SimpleNamespace, tuple[object, ...]]:
    """The plan's compiled code, and the arguments that all of its loops begin with."""
    program = Program.of(plan.family, plan.tasks, plan.reward)
    code = compiled(program.text, plan.bias, width)
    states = np.zeros((1, len(plan.family.state))) if plan.states is None else plan.states
    n_states = 0 if plan.states is None else len(states)
    k0, k1 = map(np.uint64, plan.key)
    where = plan.task, plan.uid, plan.visit, program.constants, program.tables.slots, table_data(program)
    return code, (*where, plan.theta, states, n_states, k0, k1, plan.sigma, plan.horizon)


def sums(plan: RolloutPlan, width: int = LANES) -> RolloutSums:
    """Sums over each trajectory."""
    code, arguments = _prepared(plan, width)
    out = np.empty((len(plan.task), code.n_sums))
    weights = np.zeros((0, 1)) if plan.weights is None else plan.weights
    in_chunks(code.sum_rollouts, len(plan.task), MIN_LANES_A_THREAD, (*arguments, weights, out))
    return RolloutSums.split(plan, out)


def trajectories(plan: RolloutPlan, width: int = LANES) -> TrajectoryArrays:
    """Everything that happened."""
    code, arguments = _prepared(plan, width)
    arrays = TrajectoryArrays.empty(plan)
    flat = [array.reshape(-1) for array in (arrays.observations, arrays.actions, arrays.rewards, arrays.alive)]
    in_chunks(code.record_rollouts, len(plan.task), MIN_LANES_A_THREAD, (*arguments, *flat))
    return arrays
