"""Linear Markov decision processes: what their tasks share, and what is drawn for each."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lifelong_gym.errors import integer
from lifelong_gym.numerics.arrays import BoolArray, FloatArray, IntArray

LAYOUTS = ("random", "lock")
SHARED, OWN = 77, 78  # streams of what all tasks share, and of a task's own
FEATURES, MEASURES = 0.1, 0.3  # concentrations of Dirichlet distributions: low ones leave much to be gained
ROUNDING = 1e-12


@dataclass(frozen=True)
class LinearModels:
    """Processes of ``n_stages`` steps whose kernels and rewards are linear in features that all of them share.

    ``P_h(s' | s, a) = phi(s, a) @ mu_h`` and ``r_h(s, a) = contrast phi(s, a) @ eta_h + shift``. Features are in the
    probability simplex and rows of ``mu_h`` are distributions of the next state, so every kernel is one.

    Attributes:
        d: numbers of a feature vector.
        n_states: of a stage.
        n_actions: in each state.
        n_stages: steps of an episode.
        layout: ``"random"``, or ``"lock"``: a combination lock. One action a stage, drawn for each task, leads on from
            the first state; all others lead to the remaining states, from which there is no way back. Who is in the
            first state at the last stage gets the reward.

    Raises:
        ValueError: a size that isn't positive, or a lock whose ``d`` isn't ``n_actions + 1``.
    """

    d: int
    n_states: int
    n_actions: int
    n_stages: int
    layout: str = "random"

    def __post_init__(self) -> None:
        for name, least in (("d", 1), ("n_states", 2), ("n_actions", 2), ("n_stages", 1)):
            integer(name, getattr(self, name), least)
        if self.layout == "lock" and self.d != self.n_actions + 1:
            raise ValueError(
                f'`d` must be n_actions + 1 = {self.n_actions + 1} where layout="lock": one feature an action, and one '
                f"of those who fell. Received {self.d}"
            )

    def features(self) -> FloatArray:
        """``phi``, shape (n_states, n_actions, d), each in the probability simplex."""
        if self.layout == "lock":
            phi = np.zeros((self.n_states, self.n_actions, self.d))
            phi[0, :, : self.n_actions] = np.eye(self.n_actions)
            phi[1:, :, self.n_actions] = 1.0
            return phi
        rng = np.random.default_rng([SHARED, self.d, self.n_states, self.n_actions])
        return rng.dirichlet(np.full(self.d, FEATURES), (self.n_states, self.n_actions))

    def measures(self, kernel: int) -> tuple[FloatArray, FloatArray]:
        """What the integer ``kernel`` draws: ``mu``, (n_stages, d, n_states), and ``eta``, (n_stages, d) in [0, 1]."""
        rng = np.random.default_rng([OWN, kernel])
        if self.layout == "lock":
            return self._lock(rng.integers(self.n_actions, size=self.n_stages))
        mu = rng.dirichlet(np.full(self.n_states, MEASURES), (self.n_stages, self.d))
        return mu, rng.uniform(0.0, 1.0, (self.n_stages, self.d))

    def _lock(self, combination: IntArray) -> tuple[FloatArray, FloatArray]:
        """Of the right action of each stage, shape (n_stages,); at the last one every action is right."""
        mu = np.zeros((self.n_stages, self.d, self.n_states))
        mu[:, :, 1:] = 1.0 / (self.n_states - 1)
        mu[np.arange(self.n_stages), combination] = np.eye(self.n_states)[0]
        eta = np.zeros((self.n_stages, self.d))
        eta[-1, : self.n_actions] = 1.0
        return mu, eta

    def process(self, kernel: int, value: float | None = None, contrast: float = 1.0) -> tuple[FloatArray, FloatArray]:
        """A task's kernel, (n_stages, n_states, n_actions, n_states), and rewards, (n_stages, n_states, n_actions).

        Args:
            kernel: which measures.
            value: ``V*_1`` of the first state, within `reach`; None: as rewards are without a shift.
            contrast: by which rewards are scaled.
        """
        phi, (mu, eta) = self.features(), self.measures(kernel)
        rewards = contrast * np.einsum("sad,hd->hsa", phi, eta)
        if value is not None:
            shift = (value - contrast * raw_value(self, kernel)) / self.n_stages
            rewards = np.clip(rewards + shift, 0.0, 1.0)  # of rounding only
        return np.einsum("sad,hdt->hsat", phi, mu), rewards

    def reach(self, kernel: int, contrast: float) -> tuple[float, float]:
        """The smallest and the largest ``V*_1`` of the first state that rewards in [0, 1] leave to a task."""
        low = contrast * raw_value(self, kernel)
        return low, low + self.n_stages * (1.0 - contrast)

    def within_reach(self, kernel: FloatArray, value: FloatArray, contrast: FloatArray) -> BoolArray:
        """Which tasks can have their values, shape (n_tasks,); arguments likewise."""
        reaches = [self.reach(int(k), a) for k, a in zip(kernel, contrast, strict=True)]
        low, high = np.array(reaches).reshape(-1, 2).T
        return np.asarray((low - ROUNDING <= value) & (value <= high + ROUNDING))

    def valid(self, task: Mapping[str, Any]) -> str:
        """Which values a task could have, in words."""
        low, high = self.reach(int(task["kernel"]), task["contrast"])
        return f"that is in [{low:.4g}, {high:.4g}]"


@functools.lru_cache(maxsize=2**14)
def raw_value(models: LinearModels, kernel: int) -> float:
    """``V*_1`` of the first state at contrast 1 without a shift, by backward induction."""
    transitions, rewards = models.process(kernel)
    values = np.zeros(models.n_states)
    for P, r in zip(transitions[::-1], rewards[::-1], strict=True):
        values = (r + P @ values).max(axis=1)
    return float(values[0])
