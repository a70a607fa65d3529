"""The kernels on numba: blocks of 64 rows side by side, which LLVM vectorises; one row alone in a block of one.

A block is a flat float64 array of fields, each ``WIDTH`` lanes wide. Where there are many, blocks are packed: they hold
what a row can't do without, and are laid out one by one in a space that stays in the cache of a core, beside the
constants of their tasks, which blocks of one task find there already. Results depend on neither.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from lifelong_gym.envs.backends.numba_compile import compile_template, described, fields, lane_kernels, noise_size
from lifelong_gym.envs.backends.numba_math import choose, cursor, load, store
from lifelong_gym.envs.backends.numba_tables import tables_of
from lifelong_gym.envs.backends.text import Text
from lifelong_gym.numerics.philox import uniform_pair

# ruff: noqa: F821 (names in capitals, and the family's roles, are filled in when a template is compiled)
# mypy: disable-error-code="name-defined, no-untyped-def"


def draw(b, j, out, first, n, step, stream):
    """Fill ``n`` noise lanes of ``out`` from field ``first`` on, for the row in lane j of block b."""
    for pair in range((n + 1) // 2):
        x, y = uniform_pair(
            np.uint64(step),
            np.uint64(b[UID * WIDTH + j]),
            np.uint64(b[VISIT * WIDTH + j]),
            np.uint64(stream + pair),
            np.uint64(b[KEY * WIDTH + j]),
            np.uint64(b[(KEY + 1) * WIDTH + j]),
        )
        out[(first + 2 * pair) * WIDTH + j] = x
        out[(first + 2 * pair + 1) * WIDTH + j] = y


def drawn_noise(b, data, steps, base, n):
    """The noise of a step, from the rows' streams; lanes beyond ``n`` repeat the last row's step."""
    if N_NOISE > 0:
        for j in range(WIDTH):
            draw(b, j, b, NOISE, N_NOISE, steps[base + min(j, n - 1)], TRANSITION)


def exogenous_noise(b, data, steps, base, n):
    """The noise of a step, from tables: a pass of its own, so that what reads it can be vectorised."""
    for j in range(WIDTH):
        tables = tables_of(data, b[SLOT * WIDTH + j])
        k = load(b, CONSTANTS, WIDTH, j, N_CONSTANTS)
        store(b, NOISE, WIDTH, j, exogenous(load(b, STATE, WIDTH, j, N_STATE), k, tables))


def restart_rows(B, rows, slots, uids, visits, keys, K, data, states, n_states, obs, pitch):
    """Begin episodes; start states are given for the first ``n_states`` of them."""
    noise = np.empty(NOISE_SIZE * WIDTH)
    for i in range(len(rows)):
        b, j = B[rows[i] // WIDTH], rows[i] % WIDTH
        if len(b) == N_FIELDS * WIDTH:
            for m in range(N_CONSTANTS):
                b[(CONSTANTS + m) * WIDTH + j] = K[slots[i], m]
        b[SLOT * WIDTH + j] = slots[i]
        b[UID * WIDTH + j] = uids[i]
        b[VISIT * WIDTH + j] = visits[i]
        b[KEY * WIDTH + j] = keys[i, 0]
        b[(KEY + 1) * WIDTH + j] = keys[i, 1]
        b[FAILED * WIDTH + j] = 0.0
        k, tables = load(K, 0, 1, slots[i] * N_CONSTANTS, N_CONSTANTS), tables_of(data, slots[i])
        if i < n_states:
            for m in range(N_STATE):
                b[(STATE + m) * WIDTH + j] = states[i, m]
        else:
            draw(b, j, noise, 0, N_INITIAL, 0, INITIAL)
            store(b, STATE, WIDTH, j, initial(load(noise, 0, WIDTH, j, N_INITIAL), k, tables))
        show(load(b, STATE, WIDTH, j, N_STATE), k, tables, obs, rows[i] * pitch)


def observe_rows(B, rows, K, data, obs, pitch):
    """Write the observation of these rows."""
    for row in rows:
        b, j = B[row // WIDTH], row % WIDTH
        slot = np.int64(b[SLOT * WIDTH + j])
        k = load(K, 0, 1, slot * N_CONSTANTS, N_CONSTANTS)
        show(load(b, STATE, WIDTH, j, N_STATE), k, tables_of(data, slot), obs, row * pitch)


def unpack(p, b, K, held):
    """Lay a packed block out in b.

    Its lanes' constants are copied there too, unless all of them are in the slot ``held`` whose constants b has in all
    its lanes. Returns that slot, or -1 where the lanes are in several.
    """
    for i in range(N_UNPACKED * WIDTH):
        b[i] = p[i]
    slot, others = p[SLOT * WIDTH], 0
    for j in range(WIDTH):
        others += p[SLOT * WIDTH + j] != slot
    if others == 0 and slot == held:
        return held
    for j in range(WIDTH):
        store(b, CONSTANTS, WIDTH, j, load(K, 0, 1, np.int64(p[SLOT * WIDTH + j]) * N_CONSTANTS, N_CONSTANTS))
    return slot if others == 0 else -1.0


def pad(b, n):
    """Let the lanes from ``n`` on live the life of the row before them: whatever they read is there."""
    for field in range(ACTION):
        for j in range(n, WIDTH):
            b[field * WIDTH + j] = b[field * WIDTH + n - 1]


def take_actions(b, actions, active, base, n):
    """Copy a block's actions, and which of its rows are active."""
    a = cursor(actions, base * N_ACTION)
    for i in range(N_ACTION):
        for j in range(WIDTH):
            b[(ACTION + i) * WIDTH + j] = a[min(j, n - 1) * N_ACTION + i]
    for j in range(WIDTH):
        b[ACTIVE * WIDTH + j] = 1.0 if active[base + min(j, n - 1)] else 0.0


def advance_block(b, data):
    """Step all lanes of a block in place; lanes not active stay."""
    for j in range(WIDTH):
        state = load(b, STATE, WIDTH, j, N_STATE)
        k = load(b, CONSTANTS, WIDTH, j, N_CONSTANTS)
        tables = tables_of(data, b[SLOT * WIDTH + j])
        action = load(b, ACTION, WIDTH, j, N_ACTION)
        noise = load(b, NOISE, WIDTH, j, N_NOISE)
        has_failed = b[FAILED * WIDTH + j] > 0.0
        moving = b[ACTIVE * WIDTH + j] > 0.0
        following, reward, terminated, failed = advance(state, action, noise, k, tables, has_failed)
        store(b, STATE, WIDTH, j, choose(moving, following, state))
        b[REWARD * WIDTH + j] = reward
        b[TERMINATED * WIDTH + j] = 1.0 if terminated else 0.0
        b[FAILED * WIDTH + j] = 1.0 if (failed if moving else has_failed) else 0.0


def step_rows(
    first, last, B, n_rows, K, data, actions, active, steps, horizon, obs, pitch, rewards, terminated, truncated, failed
):
    """Step blocks ``first`` to ``last``; returns how many rows ended."""
    n_ended = 0
    packed = B.shape[1] < N_FIELDS * WIDTH
    space = np.empty(N_FIELDS * WIDTH) if packed else B[first]
    held = -1.0
    for q in range(first, last):
        b = B[q]
        if packed:
            held = unpack(B[q], space, K, held)
            b = space
        base = q * WIDTH
        n = min(WIDTH, n_rows - base)
        if N_TABLES > 0 and n < WIDTH:
            pad(b, n)
        take_actions(b, actions, active, base, n)
        make_noise(b, data, steps, base, n)
        advance_block(b, data)
        r = cursor(rewards, base)
        for j in range(n):
            r[j] = b[REWARD * WIDTH + j]
        for j in range(n):
            i = base + j
            steps[i] += active[i]
            terminated[i] = b[TERMINATED * WIDTH + j] > 0.0
            failed[i] = b[FAILED * WIDTH + j] > 0.0
            truncated[i] = steps[i] >= horizon
            n_ended += active[i] & (terminated[i] | truncated[i])
        for j in range(n):
            k, tables = load(b, CONSTANTS, WIDTH, j, N_CONSTANTS), tables_of(data, b[SLOT * WIDTH + j])
            show(load(b, STATE, WIDTH, j, N_STATE), k, tables, obs, (base + j) * pitch)
        if packed:
            for i in range(N_CHANGING * WIDTH):
                B[q, i] = b[i]
    return n_ended


def step_row(b, data, action, steps, horizon, obs):
    """Step the only row of a block of one; False as first result: an action that isn't valid, nothing was done."""
    for i in range(N_ACTION):
        u = np.float64(action[i])
        if not VALID[0] <= u <= VALID[1]:
            return False, 0.0, False, False, False
        b[ACTION + i] = u
    make_noise(b, data, steps, 0, 1)
    state = load(b, STATE, 1, 0, N_STATE)
    k, tables = load(b, CONSTANTS, 1, 0, N_CONSTANTS), tables_of(data, b[SLOT])
    following, reward, terminated, failed = advance(
        state, load(b, ACTION, 1, 0, N_ACTION), load(b, NOISE, 1, 0, N_NOISE), k, tables, b[FAILED] > 0.0
    )
    store(b, STATE, 1, 0, following)
    b[FAILED] = 1.0 if failed else 0.0
    show(following, k, tables, obs, 0)
    steps[0] += 1
    return True, reward, terminated, steps[0] >= horizon, failed


def step_one(b, action, steps, horizon, obs):
    """`step_row` without tables; to pass what stands for none would cost two per cent of a step."""
    return step_row(b, 0, action, steps, horizon, obs)


def step_one_with_tables(b, action, steps, horizon, obs, data):
    """`step_row` with tables."""
    return step_row(b, data, action, steps, horizon, obs)


@functools.lru_cache(maxsize=64)
def compiled(text: Text, width: int) -> SimpleNamespace:
    """The templates for a family, compiled at their first call or read from numba's cache on disk."""
    kernels = lane_kernels(text)
    known = described(text, kernels, width)
    layout = fields(
        STATE=text.n_state,
        FAILED=1,
        SLOT=1,
        UID=1,
        VISIT=1,
        KEY=2,
        CONSTANTS=text.n_constants,  # packed blocks have what is above
        ACTION=text.n_action,
        NOISE=noise_size(text),
        REWARD=1,
        TERMINATED=1,
        ACTIVE=1,
    )
    is_drawn = text.n_noise > 0 and kernels.exogenous is None
    given: dict[str, Any] = {
        **known,
        **layout,
        "N_TABLES": len(text.tables),
        "NOISE_SIZE": noise_size(text),
        "N_CHANGING": layout["SLOT"],
        "N_UNPACKED": layout["CONSTANTS" if is_drawn else "UID"],
    }
    given["draw"] = kernels.binder.bind(draw, given)
    given["make_noise"] = kernels.binder.bind(drawn_noise if kernels.exogenous is None else exogenous_noise, given)
    given["take_actions"] = kernels.binder.bind(take_actions, given)
    for block in (unpack, pad, advance_block):
        given[block.__name__] = compile_template(block, kernels, given)
    given["step_row"] = kernels.binder.bind(step_row, given) if width == 1 else None
    templates: list[Callable[..., Any]] = [restart_rows, observe_rows, step_rows]
    if width == 1:
        templates.append(step_one_with_tables if text.tables else step_one)
    functions = {t.__name__: compile_template(t, kernels, given) for t in templates}
    return SimpleNamespace(**functions, advance_block=given["advance_block"], **layout)
