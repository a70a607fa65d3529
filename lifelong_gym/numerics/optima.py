"""Exact optima of tasks that are tables: of one task, and of one policy that serves several at once."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from lifelong_gym.numerics.arrays import FloatArray, IntArray
from lifelong_gym.numerics.directions import first_best
from lifelong_gym.numerics.tabular import TabularModel, check_discount

TOLERANCE = 1e-13  # relative to the largest value, if that is more than 1
MAX_TASKS = 16


def optimal_values(model: TabularModel, gamma: float = 0.99) -> FloatArray:
    """Largest expected discounted return of a task, without a time limit, by the state an episode starts in.

    Args:
        model: the task.
        gamma: discount, in [0, 1).

    Returns:
        Shape (n_states,). The first reward isn't discounted.

    Raises:
        ValueError: ``gamma`` is out of range.
    """
    check_discount(gamma)
    return _fixed_point(np.zeros(model.n_states), lambda values: model.action_values(values, gamma))


def optimal_actions(model: TabularModel, gamma: float = 0.99) -> IntArray:
    """The best action in every state for the discounted return, without a time limit; arguments as above.

    Returns:
        Shape (n_states,); of equally good actions the first.
    """
    return first_best(model.action_values(optimal_values(model, gamma), gamma))


def optimal_return(model: TabularModel, horizon: int) -> float:
    """Largest expected sum of rewards over ``horizon`` steps from the start, by backward induction."""
    *_, first = _backwards(model, horizon)
    return float(model.start @ first.max(axis=1))


def optimal_action_values(model: TabularModel, horizon: int) -> FloatArray:
    """Q*: the largest expected sum of rewards after each action, by the steps taken and the state.

    Args:
        model: the task.
        horizon: steps of an episode.

    Returns:
        Shape (horizon, n_states, n_actions); V* is its maximum over actions.
    """
    return np.stack([*_backwards(model, horizon)][::-1])


def _backwards(model: TabularModel, horizon: int) -> Iterator[FloatArray]:
    """Q* of the last step, shape (n_states, n_actions), of the last but one, ..., of the first."""
    values = np.zeros(model.n_states)
    for _ in range(horizon):
        following = model.action_values(values, 1.0)
        values = following.max(axis=1)
        yield following


def policy_return(model: TabularModel, policy: FloatArray, horizon: int) -> float:
    """Expected sum of rewards over ``horizon`` steps from the start.

    Args:
        model: the task.
        policy: probabilities, shape (n_states, n_actions), or by the steps taken, (horizon, n_states, n_actions).
        horizon: steps of an episode.

    Raises:
        ValueError: another shape.
    """
    of_steps, shape = np.asarray(policy, np.float64), (horizon, model.n_states, model.n_actions)
    if of_steps.shape not in (shape, shape[1:]):
        raise ValueError(f"`policy` must have shape {shape[1:]} or {shape}. Received {of_steps.shape}")
    values = np.zeros(model.n_states)
    for chosen in np.broadcast_to(of_steps, shape)[::-1]:
        values = (chosen * model.action_values(values, 1.0)).sum(axis=1)
    return float(model.start @ values)


@dataclass(frozen=True, eq=False)
class JointPath:
    """The way that several tasks go together, each until its own end.

    Attributes:
        value: expected sum over the tasks of their discounted returns.
        states: from the most likely start to where all tasks have ended, nothing more can be earned, or the way comes
            back to where it was, shape (n_moves + 1,).
        actions: shape (n_moves,).
        returns: discounted return of each task on this way, shape (n_tasks,).
    """

    value: float
    states: IntArray
    actions: IntArray
    returns: FloatArray


def joint_optimum(models: Sequence[TabularModel], gamma: float = 0.99) -> JointPath:
    """The largest sum of discounted returns that one policy, blind to the task, earns in several tasks, and its way.

    Where nothing is left to chance and the tasks share their moves, all of them go through the same states, each
    until its own end. Value iteration therefore runs over pairs of a state and the set of tasks still alive. Where
    the best path visits no state twice, a policy that sees only the state attains the optimum; elsewhere this is what
    policies with a memory attain, and a bound for the others.

    Args:
        models: at most 16, with the same start, and the same moves wherever they haven't ended.
        gamma: discount, in [0, 1).

    Raises:
        ValueError: the tasks are none or too many, start apart or at an end, have moves of their own, or leave
            something but the start to chance.
    """
    check_discount(gamma)
    joint = _Joint(models, gamma)
    values = joint.values()
    return joint.path(float(joint.start @ values[joint.everybody]), functools.partial(joint.best, values))


def joint_path(models: Sequence[TabularModel], policy: FloatArray, gamma: float = 0.99) -> JointPath:
    """The way of the most likely actions of a policy through several tasks, and its exact value.

    Args:
        models: as for `joint_optimum`.
        policy: probabilities, shape (n_states, n_actions).
        gamma: discount, in [0, 1).

    Raises:
        ValueError: see `joint_optimum`; or a policy of another shape, or that isn't one.
    """
    joint = _Joint(models, gamma)
    value = sum(model.value(policy, gamma) for model in models)
    return joint.path(value, lambda state, alive: int(policy[state].argmax()))


class _Joint:
    """Tasks side by side that go through the same states; sets of tasks are the bits of an integer."""

    def __init__(self, models: Sequence[TabularModel], gamma: float) -> None:
        self.start, moves = _shared(models)
        self.gamma, self._successor = gamma, moves.argmax(axis=2)
        self._rewards = np.array([model.R for model in models])
        self._ended = np.array([model.ends * 2**i for i, model in enumerate(models)]).sum(axis=0)
        self.everybody = 2 ** len(models) - 1

    def _members(self, alive: int) -> FloatArray:
        return np.array([float(alive >> i & 1) for i in range(len(self._rewards))])

    def _sets(self) -> list[int]:
        """Those that may be alive together, smaller ones first."""
        sets, apart = np.array([self.everybody]), np.unique(self._ended)
        while len(grown := np.unique(sets[:, None] & ~apart)) > len(sets):
            sets = grown
        return [int(alive) for alive in sets if alive]

    def values(self) -> FloatArray:
        """By the set of tasks that are alive and the state, shape (2 ** n_tasks, n_states)."""
        values = np.zeros((self.everybody + 1, len(self.start)))
        for alive in self._sets():
            action_values = self._action_values(values, alive)
            values[alive] = _fixed_point(values[alive], action_values)
        return values

    def _action_values(self, values: FloatArray, alive: int) -> Callable[[FloatArray], FloatArray]:
        """A function of the values of a set, shape (n_states,): its actions', shape (n_states, n_actions)."""
        rewards = np.tensordot(self._members(alive), self._rewards, 1)
        remaining = alive & ~self._ended
        following = values[remaining, np.arange(len(self.start))]

        def action_values(own: FloatArray) -> FloatArray:
            arriving = np.where(remaining < alive, following, own)
            result: FloatArray = rewards + self.gamma * arriving[self._successor]
            return result

        return action_values

    def best(self, values: FloatArray, state: int, alive: int) -> int | None:
        """The first of the best actions; None where nothing more can be earned."""
        if values[alive, state] == 0.0:
            return None
        return int(first_best(self._action_values(values, alive)(values[alive])[state]))

    def path(self, value: float, choose: Callable[[int, int], int | None]) -> JointPath:
        """Where choices by state and set lead, until all have ended, there is none, or one comes up again."""
        state, alive = int(self.start.argmax()), self.everybody
        states, returns = [state], np.zeros(len(self._rewards))
        actions: list[int] = []
        seen: set[tuple[int, int]] = set()
        while alive and (state, alive) not in seen and (action := choose(state, alive)) is not None:
            seen.add((state, alive))
            returns += self.gamma ** len(actions) * self._members(alive) * self._rewards[:, state, action]
            state = int(self._successor[state, action])
            alive &= ~int(self._ended[state])
            states.append(state)
            actions.append(action)
        return JointPath(value, np.array(states), np.array(actions, np.int64), returns)


def _fixed_point(values: FloatArray, improve: Callable[[FloatArray], FloatArray]) -> FloatArray:
    """Solve ``V = max_a improve(V)``, shape (n_states,)."""
    while True:
        improved: FloatArray = improve(values).max(axis=1)
        if np.abs(improved - values).max() <= TOLERANCE * max(1.0, np.abs(improved).max()):
            return improved
        values = improved


def _shared(models: Sequence[TabularModel]) -> tuple[FloatArray, FloatArray]:
    """Start and moves of tasks that share them; at a state where a task ends, its moves don't count."""
    if not 1 <= len(models) <= MAX_TASKS:
        raise ValueError(f"`models` must be 1 to {MAX_TASKS}. Received {len(models)}")
    shapes = {model.R.shape for model in models}
    if len(shapes) > 1:
        raise ValueError(f"`models` must have the same states and actions. Received shapes {sorted(shapes)}")
    start, moves = models[0].start, models[0].P.copy()
    apart = [i for i, model in enumerate(models) if not np.array_equal(model.start, start)]
    if apart:
        raise ValueError(f"`models` must start in the same states. Received {_starts(models[0], models[apart[0]])}")
    chance = [i for i, model in enumerate(models) if not ((model.P == 0.0) | (model.P == 1.0)).all()]
    if chance:
        raise ValueError(f"`models` must leave no move to chance. Received chance in tasks {chance}")
    ended = models[0].ends.copy()
    for i, model in enumerate(models):
        both = ~(ended | model.ends)
        if not np.array_equal(model.P[both], moves[both]):
            raise ValueError(f"`models` must have the same moves where they haven't ended. Received others in task {i}")
        moves[ended] = model.P[ended]
        ended &= model.ends
    at_an_end = np.flatnonzero([start[model.ends].any() for model in models])
    if len(at_an_end):
        raise ValueError(
            f"`models` must not start where an episode ends. Received start {int(start.argmax())} "
            f"in tasks {at_an_end.tolist()}"
        )
    return start, moves


def _starts(*models: TabularModel) -> str:
    return " and ".join(f"states {np.flatnonzero(model.start).tolist()}" for model in models)
