"""Fused rollouts on numba: physics, policy, noise and statistics in one pass, all in L1."""

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import Any

import numpy as np

from lifelong_gym.envs.backends.numba_compile import (
    compile_template,
    described,
    fields,
    lane_kernels,
    noise_size,
    table_data,
)
from lifelong_gym.envs.backends.numba_math import load, store
from lifelong_gym.envs.backends.numba_policies import draw_policy_noise, linear_code, table_code
from lifelong_gym.envs.backends.numba_tables import tables_of
from lifelong_gym.envs.backends.rollout_plan import (
    LinearPolicies,
    LinearSums,
    RolloutPlan,
    RolloutSums,
    SoftmaxSums,
    TrajectoryArrays,
    lacking,
)
from lifelong_gym.envs.backends.text import Program, Text
from lifelong_gym.envs.backends.threads import in_chunks
from lifelong_gym.envs.family import never
from lifelong_gym.numerics.philox import uniform_pair

LANES = 56  # an odd number of cache lines a field: of a power of two, many fields would fall on the same few lines
LANES_OF_TABLES = 16  # a block goes on until its last episode ends, and looking up tables isn't vectorised anyway
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


def begin_block(b, lane, last, tasks, uids, visits, K, slots, data, policies, states, n_states, k0, k1):
    """Constants, parameters and start states of ``WIDTH`` trajectories; lanes beyond ``last`` repeat it."""
    for j in range(WIDTH):
        task = tasks[min(lane + j, last)]
        b[SLOT * WIDTH + j] = slots[task]
        for m in range(N_CONSTANTS):
            b[(CONSTANTS + m) * WIDTH + j] = K[slots[task], m]
        take_policy(b, j, task, policies)
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


def is_running(b):
    """Whether some lane's episode goes on; a family without an end isn't asked."""
    n = 0.0
    for j in range(WIDTH):
        n += b[RUNNING * WIDTH + j]
    return n > 0.0


def sum_rollouts(
    first,
    last,
    tasks,
    uids,
    visits,
    K,
    slots,
    data,
    policies,
    states,
    n_states,
    k0,
    k1,
    sigma,
    horizon,
    weights,
    out,
    sums,
):
    """Sums over trajectories ``first`` to ``last``: into ``out``, shape (n_trajectories, N_SUMS), and ``sums``.

    Returns how many observations the policies lack.
    """
    b = np.empty(N_FIELDS * WIDTH)
    n_lacking = 0
    for lane in range(first, last, WIDTH):
        n = min(WIDTH, last - lane)
        begin_block(b, lane, last - 1, tasks, uids, visits, K, slots, data, policies, states, n_states, k0, k1)
        for j in range(WIDTH):
            b[WEIGHT * WIDTH + j] = 1.0
        for t in range(horizon):
            n_lacking += act_block(b, data, t, k0, k1, policies, sigma)
            if len(weights) > 0:
                for j in range(WIDTH):
                    b[WEIGHT * WIDTH + j] = weights[min(lane + j, last - 1), t]
            sums_block(b, lane, n, sums)
            advance_block(b, data)
            if ENDS and not is_running(b):
                break
        for j in range(n):
            for m in range(N_SUMS):
                out[lane + j, m] = b[(RETURN + m) * WIDTH + j]
    return n_lacking


def record_rollouts(
    first, last, tasks, uids, visits, K, slots, data, policies, states, n_states, k0, k1, sigma, horizon, Y, U, R, A
):
    """Trajectories: observations Y, actions U, rewards R and living steps A, each (n_trajectories, time, ...).

    Returns how many observations the policies lack.
    """
    b = np.empty(N_FIELDS * WIDTH)
    n_lacking = 0
    for lane in range(first, last, WIDTH):
        n = min(WIDTH, last - lane)
        begin_block(b, lane, last - 1, tasks, uids, visits, K, slots, data, policies, states, n_states, k0, k1)
        for t in range(horizon + 1):
            for j in range(n):
                k, tables = load(b, CONSTANTS, WIDTH, j, N_CONSTANTS), tables_of(data, b[SLOT * WIDTH + j])
                at = ((lane + j) * (horizon + 1) + t) * N_OBSERVATION
                show(load(b, STATE, WIDTH, j, N_STATE), k, tables, Y, at)
            if t == horizon:
                break
            n_lacking += act_block(b, data, t, k0, k1, policies, sigma)
            for j in range(n):
                A[(lane + j) * horizon + t] = b[ALIVE * WIDTH + j] > 0.0
                at = ((lane + j) * horizon + t) * N_ACTION
                store(U, 0, 1, at, load(b, ACTION, WIDTH, j, N_ACTION))
            advance_block(b, data)
            for j in range(n):
                R[(lane + j) * horizon + t] = b[REWARD * WIDTH + j]
    return n_lacking


@functools.lru_cache(maxsize=64)
def compiled(text: Text, bias: bool, n_choices: int, width: int) -> SimpleNamespace:
    """The templates for a family, with linear-Gaussian policies, or tables over ``n_choices`` actions if there are."""
    kernels = lane_kernels(text)
    known = described(text, kernels, width)
    policy = table_code(kernels, n_choices) if n_choices > 0 else linear_code(text, kernels, bias)
    n_sums = 2 + sum(policy.sums.values())
    layout = fields(
        STATE=known["N_STATE"],
        CONSTANTS=known["N_CONSTANTS"],
        NOISE=noise_size(text),
        SLOT=1,
        UID=1,
        VISIT=1,
        SPARE=1,
        **policy.fields,
        ACTION=known["N_ACTION"],
        REWARD=1,
        WEIGHT=1,
        RUNNING=1,
        ALIVE=1,
        FAILED=1,
        RETURN=1,
        STEPS=1,
        **policy.sums,
    )
    ends = text.ends_on_failure or dict(text.roles)["terminated"] is not never
    given = {**known, **layout, **policy.known, "N_SUMS": n_sums, "ENDS": ends}
    for inline in (fill, draw_policy_noise, is_running):
        given[inline.__name__] = kernels.binder.bind(inline, given)
    given["make_noise"] = kernels.binder.bind(drawn_noise if kernels.exogenous is None else exogenous_noise, given)
    for block in policy.parts:
        given[block.__name__] = compile_template(block, kernels, given)
    given["take_policy"] = kernels.binder.bind(policy.take, given)
    given["act_block"] = compile_template(policy.act, kernels, given)
    given["sums_block"] = compile_template(policy.add, kernels, given)
    for block in (begin_block, advance_block):
        given[block.__name__] = compile_template(block, kernels, given)
    functions = {t.__name__: compile_template(t, kernels, given) for t in (sum_rollouts, record_rollouts)}
    return SimpleNamespace(**functions, advance_block=given["advance_block"], n_sums=n_sums)


def _prepared(plan: RolloutPlan, width: int | None) -> tuple[SimpleNamespace, tuple[object, ...]]:
    """The plan's compiled code, and the arguments that all of its loops begin with."""
    program, policies = Program.of(plan.family, plan.tasks, plan.reward), plan.policies
    if isinstance(policies, LinearPolicies):
        code = compiled(program.text, policies.bias, 0, width or LANES)
        given, sigma = policies.theta, policies.sigma
    else:
        code = compiled(program.text, False, policies.n_actions, width or LANES_OF_TABLES)
        given, sigma = policies.thresholds, 0.0
    states = np.zeros((1, len(plan.family.state))) if plan.states is None else plan.states
    n_states = 0 if plan.states is None else len(states)
    k0, k1 = map(np.uint64, plan.key)
    where = plan.task, plan.uid, plan.visit, program.constants, program.tables.slots, table_data(program)
    return code, (*where, given, states, n_states, k0, k1, sigma, plan.horizon)


def _run(plan: RolloutPlan, loop: Any, arguments: tuple[object, ...]) -> None:
    if in_chunks(loop, len(plan.task), MIN_LANES_A_THREAD, arguments) > 0:
        raise lacking(plan.family)


def sums(plan: RolloutPlan, width: int | None = None) -> RolloutSums:
    """Sums over each trajectory; ``width`` is for tests."""
    code, arguments = _prepared(plan, width)
    weights = np.zeros((0, 1)) if plan.weights is None else plan.weights
    if isinstance(plan.policies, LinearPolicies):
        out = np.empty((len(plan.task), code.n_sums))
        _run(plan, code.sum_rollouts, (*arguments, weights, out, ()))
        return LinearSums.split(plan.policies, out)
    result = SoftmaxSums.empty(plan, plan.policies)
    weighted = np.zeros((0, 1)) if result.weighted_visits is None else result.weighted_visits
    _run(plan, code.sum_rollouts, (*arguments, weights, result.totals, (result.visits, weighted)))
    return result


def trajectories(plan: RolloutPlan, width: int | None = None) -> TrajectoryArrays:
    """Everything that happened; ``width`` is for tests."""
    code, arguments = _prepared(plan, width)
    arrays = TrajectoryArrays.empty(plan)
    flat = [array.reshape(-1) for array in (arrays.observations, arrays.actions, arrays.rewards, arrays.alive)]
    _run(plan, code.record_rollouts, (*arguments, *flat))
    return arrays
