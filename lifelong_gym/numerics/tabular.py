"""Tasks of finitely many states and actions as tables: exact values, gradients and visits of stochastic policies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import numpy as np
import numpy.typing as npt

from lifelong_gym.numerics.arrays import BoolArray, FloatArray

ROUNDING = 1e-9  # by which probabilities may miss 1


@final
@dataclass(frozen=True, eq=False)
class TabularModel:
    """A task as tables over n_states states, numbered as they are observed, and n_actions actions.

    An episode ends with the step that arrives in a state of ``ends``; one that starts there ends with its first step.
    Policies are probabilities, shape (n_states, n_actions), whose rows sum to 1. Returns are discounted by ``gamma``,
    in [0, 1), and have no time limit; the first reward isn't discounted.

    Attributes:
        P: probability of the next state, per state and action, shape (n_states, n_actions, n_states).
        R: expected reward of the step, shape (n_states, n_actions).
        start: probability that an episode starts in a state, shape (n_states,).
        ends: whether arriving in a state ends the episode, shape (n_states,).

    Raises:
        ValueError: shapes that don't fit together, or what should be probabilities and isn't.
    """

    P: FloatArray
    R: FloatArray
    start: FloatArray
    ends: BoolArray

    def __post_init__(self) -> None:
        n, m = self._set("R", np.float64, None, None).shape
        self._set("P", np.float64, n, m, n)
        self._set("start", np.float64, n)
        self._set("ends", np.bool_, n)
        for name in ("P", "start"):
            _check_probabilities(name, getattr(self, name))
        if not np.isfinite(self.R).all():
            raise ValueError("`R` must be finite")

    def _set(self, name: str, dtype: Any, *shape: int | None) -> npt.NDArray[Any]:
        array = np.array(getattr(self, name), dtype)
        if array.ndim != len(shape) or any(n not in (None, m) for n, m in zip(shape, array.shape, strict=True)):
            wanted = "(n_states, n_actions)" if None in shape else str(shape)
            raise ValueError(f"`{name}` must have shape {wanted}. Received {array.shape}")
        array.setflags(write=False)
        object.__setattr__(self, name, array)
        return array

    @property
    def n_states(self) -> int:
        """Number of states."""
        return self.R.shape[0]

    @property
    def n_actions(self) -> int:
        """Number of actions."""
        return self.R.shape[1]

    def action_values(self, values: FloatArray, gamma: float) -> FloatArray:
        """The return of each action where ``values``, shape (n_states,), follow: shape (n_states, n_actions)."""
        following: FloatArray = self.R + self.P @ np.where(self.ends, 0.0, gamma * values)
        return following

    def values(self, policy: FloatArray, gamma: float) -> FloatArray:
        """Expected return of a policy by the state that an episode starts in, shape (n_states,)."""
        kernel, rewards = self._under(policy, gamma)
        return np.asarray(np.linalg.solve(np.eye(self.n_states) - gamma * kernel * ~self.ends, rewards), np.float64)

    def value(self, policy: FloatArray, gamma: float) -> float:
        """Expected return of a policy, V(rho) of the start."""
        return float(self.start @ self.values(policy, gamma))

    def advantages(self, policy: FloatArray, gamma: float) -> FloatArray:
        """How much better an action is than the policy, shape (n_states, n_actions)."""
        values = self.values(policy, gamma)
        return self.action_values(values, gamma) - values[:, None]

    def visitation(self, policy: FloatArray, gamma: float) -> FloatArray:
        """Discounted share of time that a policy spends in each state, shape (n_states,), summing to 1.

        After its end an episode stays where it ended, for ever.
        """
        kernel, _ = self._under(policy, gamma)
        staying = np.where(self.ends[:, None], np.eye(self.n_states), kernel)
        return np.asarray((1.0 - gamma) * np.linalg.solve(np.eye(self.n_states) - gamma * staying.T, self.start))

    def mismatch(self, policy: FloatArray, gamma: float, mu: FloatArray) -> FloatArray:
        """``d / ((1 - gamma) mu)`` of a policy's visitation d, by state; their largest is the mismatch coefficient.

        Args:
            policy: the one that is to be reached.
            gamma: discount.
            mu: probability that learning starts in a state, shape (n_states,).

        Returns:
            Shape (n_states,); infinite where ``mu`` is 0 and the policy is, and 0 where it never is.
        """
        _check_probabilities("mu", _shaped("mu", mu, self.n_states))
        visits = self.visitation(policy, gamma) / (1.0 - gamma)
        return np.divide(visits, mu, where=np.asarray(mu) > 0.0, out=np.where(visits > 0.0, np.inf, 0.0))

    def objective(self, theta: FloatArray, gamma: float, weight: float = 0.0) -> float:
        """``V(rho) - weight RE`` of the softmax policy of logits ``theta``, shape (n_states, n_actions)."""
        policy = softmax_rows(_shaped("theta", theta, self.n_states, self.n_actions))
        return self.value(policy, gamma) - weight * relative_entropy(policy)

    def gradient(self, theta: FloatArray, gamma: float, weight: float = 0.0) -> FloatArray:
        """Of the `objective` with respect to ``theta``: Zeng et al. (2021), equation (8)."""
        policy = softmax_rows(_shaped("theta", theta, self.n_states, self.n_actions))
        kernel, _ = self._under(policy, gamma)
        decisions = np.linalg.solve((np.eye(self.n_states) - gamma * kernel * ~self.ends).T, self.start)
        slope: FloatArray = decisions[:, None] * policy * self.advantages(policy, gamma)
        return slope + weight / self.n_states * (1.0 / self.n_actions - policy)

    def _under(self, policy: FloatArray, gamma: float) -> tuple[FloatArray, FloatArray]:
        """The kernel, shape (n_states, n_states), and the rewards, shape (n_states,), of a policy; both checked."""
        check_discount(gamma)
        _check_probabilities("policy", _shaped("policy", policy, self.n_states, self.n_actions))
        return np.einsum("sa,sat->st", policy, self.P), (policy * self.R).sum(axis=1)


def softmax_rows(theta: FloatArray) -> FloatArray:
    """Policies of logits, whose last axis are the actions; shape of ``theta``."""
    powers = np.exp(theta - np.max(theta, axis=-1, keepdims=True))
    probabilities: FloatArray = powers / powers.sum(axis=-1, keepdims=True)
    return probabilities


def relative_entropy(policy: FloatArray) -> float:
    """``RE``: the mean over states of the divergence of a policy, (n_states, n_actions), from uniform choice.

    That is ``- mean log policy - log n_actions``: 0 of uniform choice, infinite where an action is never taken.
    """
    with np.errstate(divide="ignore"):
        return float(-np.log(policy).mean() - np.log(policy.shape[1]))


def check_discount(gamma: float) -> None:
    """Raise `ValueError` unless it is one."""
    if not 0.0 <= gamma < 1.0:
        raise ValueError(f"`gamma` must be in [0, 1). Received {gamma}")


def _shaped(name: str, array: npt.ArrayLike, *shape: int) -> FloatArray:
    given = np.asarray(array, np.float64)
    if given.shape != shape:
        raise ValueError(f"`{name}` must have shape {shape}. Received {given.shape}")
    return given


def _check_probabilities(name: str, array: FloatArray) -> None:
    sums = array.sum(axis=-1)
    if not ((array >= 0.0).all() and (np.abs(sums - 1.0) <= ROUNDING).all()):
        raise ValueError(
            f"`{name}` must be probabilities, each at least 0 and in sum 1. "
            f"Received {array.min():g} at least, and sums from {sums.min():g} to {sums.max():g}"
        )
