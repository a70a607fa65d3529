"""What exploring agents do at every step and episode, compiled by numba: nothing in it grows with the episodes so far.

All arrays hold one entry an agent; ``agents`` says whose turn it is. Observations that an agent has come to after h
steps are listed in ``order[agent, h, : n_seen[agent, h]]``: values are needed of these alone.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import FunctionType, SimpleNamespace
from typing import Any

# mypy: disable-error-code="no-untyped-def"


@functools.cache
def compiled() -> Any:
    """The functions of `dense` and `tabular`, compiled: ``replan``, ``act`` and ``observe`` of each."""
    from numba import njit

    from lifelong_gym.envs.backends.numba_cache import keep

    inner = {"optimism": njit(nogil=True)(optimism)}

    def kept(function: Callable[..., Any]) -> Any:
        clone = FunctionType(function.__code__, {**globals(), **inner}, function.__name__)
        clone.__qualname__ = function.__qualname__
        return keep(njit(nogil=True)(clone))

    return SimpleNamespace(
        dense=SimpleNamespace(replan=kept(replan_dense), act=kept(act_dense), observe=kept(observe_dense)),
        tabular=SimpleNamespace(replan=kept(replan_tabular), act=kept(act_tabular), observe=kept(observe_tabular)),
    )


def optimism(features, inverse, theta, beta, horizon):
    """ExpPh, lines 7 to 10: the value of an action, by the bonus and what follows; all of one agent and step."""
    width, worth = 0.0, 0.0
    for i in range(len(features)):
        row = 0.0
        for j in range(len(features)):
            row += inverse[i, j] * features[j]
        width += row * features[i]
        worth += theta[i] * features[i]
    bonus = min(beta * max(width, 0.0) ** 0.5, horizon)
    return min(worth + bonus + bonus / horizon, horizon)


def replan_dense(agents, phi, inverse, following, order, n_seen, beta, values, theta):
    """ExpPh, lines 5 to 11: values of the bonuses to be met, from the last step to the first.

    Args:
        agents: whose, shape (n,).
        phi: features, (n_obs, n_actions, d).
        inverse: of the Gram matrices, (n_agents, horizon, d, d).
        following: sums of features by what was observed next, (n_agents, horizon, d, n_obs).
        order: (n_agents, horizon, n_obs).
        n_seen: (n_agents, horizon).
        beta: of the bonus.
        values: written to, (n_agents, horizon + 1, n_obs).
        theta: written to, (n_agents, horizon, d).
    """
    horizon, d = theta.shape[1], theta.shape[2]
    for agent in agents:
        for h in range(horizon - 1, -1, -1):
            for i in range(d):
                theta[agent, h, i] = 0.0
            for i in range(d):
                total = 0.0
                for k in range(n_seen[agent, h + 1] if h + 1 < horizon else 0):
                    s = order[agent, h + 1, k]
                    total += following[agent, h, i, s] * values[agent, h + 1, s]
                for j in range(d):
                    theta[agent, h, j] += inverse[agent, h, j, i] * total
            for k in range(n_seen[agent, h]):
                s, best = order[agent, h, k], -1.0
                for a in range(phi.shape[1]):
                    best = max(best, optimism(phi[s, a], inverse[agent, h], theta[agent, h], beta, horizon))
                values[agent, h, s] = best


def act_dense(agents, steps, seen, phi, inverse, theta, beta, actions):
    """The action of largest value of each of these agents, written to ``actions``, shape (n,); of equal ones the first.

    Args:
        agents: whose, shape (n,).
        steps: taken in their episodes, shape (n,).
        seen: what they observe, shape (n,).
        phi: see `replan_dense`, as what follows.
        inverse: see there.
        theta: see there.
        beta: see there.
        actions: written to.
    """
    horizon = theta.shape[1]
    for k in range(len(agents)):
        agent, h, s, best = agents[k], steps[k], seen[k], -1.0
        for a in range(phi.shape[1]):
            value = optimism(phi[s, a], inverse[agent, h], theta[agent, h], beta, horizon)
            if value > best:
                best = value
                actions[k] = a


def observe_dense(
    agents, steps, seen, actions, rewards, after, ended, phi, gram, inverse, following, earned, order, n_seen, marks
):
    """Add a step of each of these agents to its sums; the inverse by Sherman and Morrison.

    Args:
        agents: whose, shape (n,), as all up to ``ended``.
        steps: taken before.
        seen: what they observed.
        actions: what they did.
        rewards: in [0, 1].
        after: what they observed then.
        ended: whether that ends the episode for good.
        phi: features.
        gram: ``I + sum phi phi'``, (n_agents, horizon, d, d).
        inverse: of ``gram``.
        following: ``sum phi e'`` of what was observed next.
        earned: ``sum phi r``, (n_agents, horizon, d).
        order: see the module.
        n_seen: see the module.
        marks: by agent, (n_agents, horizon + 2, n_obs): whether an observation is listed in each step's order, has been
            passed through, or has ended an episode.
    """
    horizon, d = gram.shape[1], gram.shape[2]
    for k in range(len(agents)):
        agent, h, s, t = agents[k], steps[k], seen[k], after[k]
        f = phi[s, actions[k]]
        if not marks[agent, h, s]:
            marks[agent, h, s] = True
            order[agent, h, n_seen[agent, h]] = s
            n_seen[agent, h] += 1
        row, scale = inverse[agent, h] @ f, 1.0
        for i in range(d):
            scale += row[i] * f[i]
        for i in range(d):
            for j in range(d):
                gram[agent, h, i, j] += f[i] * f[j]
                inverse[agent, h, i, j] -= row[i] * row[j] / scale
            following[agent, h, i, t] += f[i]
            earned[agent, h, i] += f[i] * rewards[k]
        marks[agent, horizon, s] = True
        if ended[k]:
            marks[agent, horizon + 1, t] = True
        elif h + 1 < horizon and not marks[agent, h + 1, t]:
            marks[agent, h + 1, t] = True
            order[agent, h + 1, n_seen[agent, h + 1]] = t
            n_seen[agent, h + 1] += 1


def replan_tabular(agents, phi, gram, following, order, n_seen, beta, values, theta):
    """`replan_dense` where features are one-hot: all is diagonal, ``phi`` is empty, ``gram`` in place of its inverse.

    ``gram`` and ``theta`` have shape (n_agents, horizon, n_obs, n_actions), ``following`` (..., n_actions, n_obs).
    """
    horizon = theta.shape[1]
    for agent in agents:
        for h in range(horizon - 1, -1, -1):
            for k in range(n_seen[agent, h]):
                s, best = order[agent, h, k], -1.0
                for a in range(theta.shape[3]):
                    total = 0.0
                    for m in range(n_seen[agent, h + 1] if h + 1 < horizon else 0):
                        t = order[agent, h + 1, m]
                        total += following[agent, h, s, a, t] * values[agent, h + 1, t]
                    theta[agent, h, s, a] = total / gram[agent, h, s, a]
                    bonus = min(beta / gram[agent, h, s, a] ** 0.5, horizon)
                    best = max(best, min(theta[agent, h, s, a] + bonus + bonus / horizon, horizon))
                values[agent, h, s] = best


def act_tabular(agents, steps, seen, phi, gram, theta, beta, actions):
    """`act_dense` where features are one-hot."""
    horizon = theta.shape[1]
    for k in range(len(agents)):
        agent, h, s, best = agents[k], steps[k], seen[k], -1.0
        for a in range(theta.shape[3]):
            bonus = min(beta / gram[agent, h, s, a] ** 0.5, horizon)
            value = min(theta[agent, h, s, a] + bonus + bonus / horizon, horizon)
            if value > best:
                best = value
                actions[k] = a


def observe_tabular(
    agents, steps, seen, actions, rewards, after, ended, phi, gram, inverse, following, earned, order, n_seen, marks
):
    """`observe_dense` where features are one-hot."""
    horizon = gram.shape[1]
    for k in range(len(agents)):
        agent, h, s, t, a = agents[k], steps[k], seen[k], after[k], actions[k]
        if not marks[agent, h, s]:
            marks[agent, h, s] = True
            order[agent, h, n_seen[agent, h]] = s
            n_seen[agent, h] += 1
        gram[agent, h, s, a] += 1.0
        following[agent, h, s, a, t] += 1.0
        earned[agent, h, s, a] += rewards[k]
        marks[agent, horizon, s] = True
        if ended[k]:
            marks[agent, horizon + 1, t] = True
        elif h + 1 < horizon and not marks[agent, h + 1, t]:
            marks[agent, h + 1, t] = True
            order[agent, h + 1, n_seen[agent, h + 1]] = t
            n_seen[agent, h + 1] += 1
