"""Safe lifelong policy search (Bou Ammar, Tutunov and Eaton 2015): a shared basis, and no violation ever."""

from __future__ import annotations

from collections.abc import Set
from typing import Any, Unpack

import numpy as np
import torch as th
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import Schedule

from lifelong_gym.agents.contract.checks import choice, count, flag, number
from lifelong_gym.agents.linear.operating_point import OperatingPoint
from lifelong_gym.agents.safety.projection import Projection, SpectralBounds
from lifelong_gym.agents.safety.safe_search import SafeArguments, SafeSearch
from lifelong_gym.agents.safety.steps import (
    LinearisedStep,
    Losses,
    Regulariser,
    SafeStep,
    compensation,
    first_basis,
    warm_started,
)
from lifelong_gym.errors import CheckpointError, ProjectionError
from lifelong_gym.numerics.arrays import FloatArray

VARIANTS = ("A", "B", "C")
LOSSES = ("curvature", "pull", "rounds")
LINEARISED = ("start", "basis_gradient", "code_gradient")
OF_TASKS = ("codes", *LOSSES, "code_gradient")


class SafeBasis(th.nn.Module):
    """What the rounds have taught: policies are ``theta_t = a_t + L s_t``.

    Args:
        n_tasks: number of tasks.
        basis: L to begin with, shape (d, k).
    """

    def __init__(self, n_tasks: int, basis: FloatArray) -> None:
        """Nothing has been observed yet."""
        super().__init__()
        self._set(basis=basis, codes=np.zeros((n_tasks, basis.shape[1])))
        self.losses = Losses.none(n_tasks, len(basis))
        self.linearised = LinearisedStep.begin(basis, n_tasks)

    def _set(self, **arrays: FloatArray) -> None:
        for name, array in arrays.items():
            self.register_buffer(name, th.from_numpy(np.array(array)))

    def array(self, name: str) -> Any:
        """A buffer as a NumPy array that shares its memory."""
        return self.get_buffer(name).numpy()

    @property
    def losses(self) -> Losses:
        """Of all rounds; what variants A and C learn from."""
        return Losses(*(self.array(name) for name in LOSSES))

    @losses.setter
    def losses(self, losses: Losses) -> None:
        self._set(**losses._asdict())

    @property
    def linearised(self) -> LinearisedStep:
        """Of all rounds; what variant B learns from."""
        return LinearisedStep(*(self.array(name) for name in LINEARISED))

    @linearised.setter
    def linearised(self, step: LinearisedStep) -> None:
        self._set(**{name: getattr(step, name) for name in LINEARISED})

    def begin(self, basis: FloatArray) -> None:
        """Another L to begin with."""
        self._set(basis=basis, start=basis)

    def move(self, now: Projection) -> None:
        """To safe parameters."""
        self._set(basis=now.basis, codes=now.codes)

    def grow(self, n_tasks: int) -> None:
        """Make room for so many tasks in all, the new ones not observed."""
        for name in OF_TASKS:
            old = self.get_buffer(name)
            self.register_buffer(name, th.cat([old, old.new_zeros((n_tasks - len(old), *old.shape[1:]))]))


class SafeLifelongPG(SafeSearch):
    """Policies ``theta_t = a_t + L s_t`` about anchors a_t, with a basis L that all tasks share, always in safe sets.

    In each round a base learner says where the observed tasks would like to go and how their objectives curve there.
    Codes, then L, minimise the sum of these quadratic losses and ``mu_2 |L|^2 + mu_1 |S|^2``, and are projected so that
    ``A @ (a + L @ s) <= b`` holds for every known task and ``p I <= L'L <= q I``. L starts as the leading directions of
    the first steps. See `SafeSearch` for what is promised, and `lifelong_gym.agents.safety` for how it is kept.

    Paper: Bou Ammar, Tutunov and Eaton, Safe policy search for lifelong reinforcement learning with sublinear regret,
    ICML 2015. Departs from it: anchors; losses about natural-gradient steps; codes before L; a projection by
    quadratic programs, exact in the codes, in place of its semidefinite ones; L'L is bounded rather than LL'.

    Args:
        n_basis: k, columns of L, at most a policy's parameters.
        variant: ``"A"``: all losses, then a Euclidean projection; ``"B"``: linearised losses; ``"C"``: all losses,
            codes constrained in their metric. None: ``"C"``, in regret mode ``"B"``.
        p: least eigenvalue of L'L, positive.
        q: its largest, at least p.
        mu_1: weight of the codes' squares; None: 1e-3, with B and in regret mode 0.5.
        mu_2: weight of L's squares; None: the same.
        n_inner: times that codes and L take turns in a round.
        forget: factor in (0, 1] on a task's earlier losses when it is observed; less than 1 voids the regret's bound.
            None: 0.7, in regret mode 1. B doesn't forget.
        warm_start: tasks that haven't been observed have the mean code of those that have.
        compensate: multiply steps so that they don't shrink as losses accumulate; not in regret mode, nor with B.
        regret_mode: L stays as it is after the first round, and a round counts ``1 / sqrt(n_rounds)``: with B, convex
            losses' cumulative regret then grows like the square root of the number of rounds.
        n_rounds: R, sweeps planned, for regret mode.
        **safe: see `SafeSearch`.

    Attributes:
        knowledge: the `SafeBasis`.
    """

    knowledge: SafeBasis

    def __init__(
        self,
        policy: str | type[BasePolicy],
        env: Any,
        learning_rate: float | Schedule | None = None,
        n_basis: int = 2,
        variant: str | None = None,
        p: float = 0.1,
        q: float = 10.0,
        mu_1: float | None = None,
        mu_2: float | None = None,
        n_inner: int = 3,
        forget: float | None = None,
        warm_start: bool = True,
        compensate: bool = True,
        regret_mode: bool = False,
        n_rounds: int = 1000,
        **safe: Unpack[SafeArguments],
    ) -> None:
        """See the class."""
        self.n_basis = count("n_basis", n_basis)
        self.variant = None if variant is None else choice("variant", variant, VARIANTS)
        self.bounds = SpectralBounds(p, q)
        self.p, self.q = self.bounds.p, self.bounds.q
        self.mu_1, self.mu_2 = (
            None if mu is None else number(name, mu, open_at_low=True) for name, mu in (("mu_1", mu_1), ("mu_2", mu_2))
        )
        self.n_inner = count("n_inner", n_inner)
        self.forget = None if forget is None else number("forget", forget, open_at_low=True)
        if self.forget is not None and self.forget > 1.0:
            raise ValueError(f"`forget` must be at most 1. Received {forget}")
        self.warm_start, self.compensate = flag("warm_start", warm_start), flag("compensate", compensate)
        self.regret_mode = flag("regret_mode", regret_mode)
        self.n_rounds = count("n_rounds", n_rounds)
        super().__init__(policy, env, learning_rate, **safe)

    @property
    def _kind(self) -> str:
        return self.variant or ("B" if self.regret_mode else "C")

    @property
    def _mu(self) -> Regulariser:
        usual = 0.5 if self.regret_mode or self._kind == "B" else 1e-3
        return Regulariser(usual if self.mu_1 is None else self.mu_1, usual if self.mu_2 is None else self.mu_2)

    @property
    def _forget(self) -> float:
        return self.forget or (1.0 if self.regret_mode else 0.7)

    @property
    def _eta(self) -> float:
        return self.n_rounds**-0.5 if self.regret_mode else 1.0

    def _module_names(self) -> tuple[str, ...]:
        return (*super()._module_names(), "knowledge")

    def _setup_model(self, policy_arguments: dict[str, Any] | None = None) -> None:
        super()._setup_model(policy_arguments)
        d = self.policy.theta.shape[1]
        if self.n_basis > d:
            raise ValueError(f"`n_basis` must be at most {d}, a policy's parameters. Received {self.n_basis}")
        self.knowledge = SafeBasis(self.n_tasks, first_basis(d, self.n_basis, self.bounds))

    def _settle(self, given: Set[str]) -> None:
        """Policies follow from anchors, basis and codes; where all are given, they are taken as they are."""
        sources = {"safety.anchors", "knowledge.basis", "knowledge.codes"}
        if "policy.theta" in given:
            if not given >= sources:
                others = ", ".join(sorted(sources))
                raise CheckpointError(f"'policy.theta' follows from {others}: give these, or everything")
        elif given & sources:
            known = self.knowledge
            self.policy.thetas = self.safe_sets.policies(known.array("basis"), known.array("codes"))
        super()._settle(given)

    def _grow(self, n_tasks: int) -> None:
        super()._grow(n_tasks)
        self.knowledge.grow(n_tasks)

    def _welcome(self, n_known: int) -> None:
        """Give tasks from this index on their first policies: about the anchors, with the mean code if wanted."""
        known = self.knowledge
        codes = known.array("codes")
        if self.warm_start:
            codes = warm_started(codes, known.losses.rounds > 0)
        try:
            now = self.safe_sets.project(known.array("basis"), codes, self.bounds)
        except ProjectionError:
            self.n_failed_projections += 1
            super()._welcome(n_known)
            return
        known.array("codes")[n_known:] = now.codes[n_known:]
        thetas = self.policy.thetas
        thetas[n_known:] = now.policies[n_known:]
        self.policy.thetas = thetas

    def train(self) -> None:
        """Take what the round says about the observed tasks into account, and move to safe parameters."""
        point = self._operating_point()
        step = point.target - self.policy.thetas[self._observed]
        known = self.knowledge
        if not known.losses.rounds.any():
            known.begin(first_basis(step.shape[1], self.n_basis, self.bounds, step))
        try:
            now = self._linearised(step, point) if self._kind == "B" else self._accumulated(step, point)
        except ProjectionError:
            self.n_failed_projections += 1
            return
        known.move(now)
        self.policy.thetas = now.policies
        self.logger.record("train/projected", float(now.solved.mean()))

    def _accumulated(self, step: FloatArray, point: OperatingPoint) -> Projection:
        known, tasks = self.knowledge, self._observed
        losses = known.losses
        if self.compensate and not self.regret_mode:
            step = step * compensation(losses.rounds[tasks] + 1, self._forget)[:, None]
        target = self.policy.thetas[tasks] + step
        known.losses = losses.observed(tasks, target, point.curvature, self._eta, self._forget)
        fixed = self.regret_mode
        take = SafeStep(self._kind, self.bounds, self._mu, self.n_inner, fixed, self.warm_start)
        return take(self.safe_sets, known.losses, known.array("basis"))

    def _linearised(self, step: FloatArray, point: OperatingPoint) -> Projection:
        known, tasks = self.knowledge, self._observed
        gradient = -(point.curvature @ step[:, :, None])[:, :, 0]
        before = known.linearised
        known.linearised = before.observed(tasks, gradient, known.array("basis"), known.array("codes"), self._eta)
        known.losses.rounds[tasks] += 1
        return known.linearised(self.safe_sets, self.bounds, self._mu, self.regret_mode)
