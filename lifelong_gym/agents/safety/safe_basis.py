"""What safe lifelong policy search keeps, and how it moves: a shared basis about anchors."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch as th
from stable_baselines3.common.vec_env import VecEnv

from lifelong_gym.agents.contract.arguments import check_fields
from lifelong_gym.agents.contract.checks import choice, count, flag, optional, positive
from lifelong_gym.agents.contract.roster import Roster
from lifelong_gym.agents.linear.operating_point import OperatingPoint
from lifelong_gym.agents.linear.policies import LinearGaussianPolicy
from lifelong_gym.agents.linear.sharers import Record, Sweep
from lifelong_gym.agents.safety.projection import Projection, SpectralBounds
from lifelong_gym.agents.safety.safe_search import SafeSharer
from lifelong_gym.agents.safety.safe_tasks import SafeSettings
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


@dataclass(frozen=True)
class SafeBasisSettings:
    """The basis, its bounds, and what is made of the losses.

    Attributes:
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
    """

    n_basis: int = 2
    variant: str | None = None
    p: float = 0.1
    q: float = 10.0
    mu_1: float | None = None
    mu_2: float | None = None
    n_inner: int = 3
    forget: float | None = None
    warm_start: bool = True
    compensate: bool = True
    regret_mode: bool = False
    n_rounds: int = 1000

    def __post_init__(self) -> None:
        check_fields(
            self,
            n_basis=count,
            variant=optional(partial(choice, among=VARIANTS)),
            p=lambda *_: self.bounds.p,
            q=lambda *_: self.bounds.q,
            mu_1=optional(positive),
            mu_2=optional(positive),
            n_inner=count,
            forget=optional(_share),
            warm_start=flag,
            compensate=flag,
            regret_mode=flag,
            n_rounds=count,
        )

    @property
    def bounds(self) -> SpectralBounds:
        """On the basis."""
        return SpectralBounds(self.p, self.q)

    @property
    def kind(self) -> str:
        """The variant."""
        return self.variant or ("B" if self.regret_mode else "C")

    @property
    def mu(self) -> Regulariser:
        """The regulariser."""
        usual = 0.5 if self.regret_mode or self.kind == "B" else 1e-3
        return Regulariser(usual if self.mu_1 is None else self.mu_1, usual if self.mu_2 is None else self.mu_2)

    @property
    def kept(self) -> float:
        """Factor on a task's earlier losses."""
        return self.forget or (1.0 if self.regret_mode else 0.7)

    @property
    def eta(self) -> float:
        """Weight of a round."""
        return self.n_rounds**-0.5 if self.regret_mode else 1.0


def _share(name: str, value: Any) -> float:
    share = positive(name, value)
    if share > 1.0:
        raise ValueError(f"`{name}` must be at most 1. Received {value}")
    return share


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


class SafeBasisSharer(SafeSharer):
    """Policies ``theta_t = a_t + L s_t`` about anchors a_t, with a basis L that all tasks share, always in safe sets.

    Args:
        settings: what is safe, and where learning begins.
        basis: the basis, its bounds, and what is made of the losses.
    """

    knowledge: SafeBasis

    def __init__(self, settings: SafeSettings, basis: SafeBasisSettings) -> None:
        """See the class."""
        super().__init__(settings)
        self._basis = basis

    def parts(self) -> dict[str, th.nn.Module]:
        """The `SafeTasks`, and the `SafeBasis`."""
        return {**super().parts(), "knowledge": self.knowledge}

    def set_up(self, policy: LinearGaussianPolicy, env: VecEnv | None, roster: Roster, from_file: bool) -> None:
        """Nothing has been observed."""
        super().set_up(policy, env, roster, from_file)
        d, n_basis = policy.theta.shape[1], self._basis.n_basis
        if n_basis > d:
            raise ValueError(f"`n_basis` must be at most {d}, a policy's parameters. Received {n_basis}")
        self.knowledge = SafeBasis(roster.n_tasks, first_basis(d, n_basis, self._basis.bounds))

    def settled(self, thetas: FloatArray, given: Set[str]) -> FloatArray:
        """Policies follow from anchors, basis and codes; where all are given, they are taken as they are."""
        sources = {"safety.anchors", "knowledge.basis", "knowledge.codes"}
        if "policy.theta" in given:
            if not given >= sources:
                others = ", ".join(sorted(sources))
                raise CheckpointError(f"'policy.theta' follows from {others}: give these, or everything")
        elif given & sources:
            thetas = self.sets.policies(self.knowledge.array("basis"), self.knowledge.array("codes"))
        return super().settled(thetas, given)

    def grown(self, thetas: FloatArray, n_tasks: int) -> FloatArray:
        """The new tasks are neither registered nor observed."""
        self.knowledge.grow(n_tasks)
        return super().grown(thetas, n_tasks)

    def _first_policies(self, n_known: int) -> FloatArray:
        """About the anchors, with the mean code if wanted."""
        known = self.knowledge
        codes = known.array("codes")
        if self._basis.warm_start:
            codes = warm_started(codes, known.losses.rounds > 0)
        try:
            now = self.sets.project(known.array("basis"), codes, self._basis.bounds)
        except ProjectionError:
            self.n_failed_projections += 1
            return super()._first_policies(n_known)
        known.array("codes")[n_known:] = now.codes[n_known:]
        return now.policies[n_known:]

    def learned(self, sweep: Sweep, point: OperatingPoint, rng: np.random.Generator, record: Record) -> FloatArray:
        """Take what the round says about the observed tasks into account, and move to safe parameters."""
        known, basis = self.knowledge, self._basis
        step = point.target - sweep.thetas[sweep.rows]
        if not known.losses.rounds.any():
            known.begin(first_basis(step.shape[1], basis.n_basis, basis.bounds, step))
        try:
            move = self._linearised if basis.kind == "B" else self._accumulated
            now = move(sweep, step, point)
        except ProjectionError:
            self.n_failed_projections += 1
            return sweep.thetas
        known.move(now)
        record("train/projected", float(now.solved.mean()))
        return now.policies

    def _accumulated(self, sweep: Sweep, step: FloatArray, point: OperatingPoint) -> Projection:
        known, tasks, basis = self.knowledge, sweep.rows, self._basis
        losses = known.losses
        if basis.compensate and not basis.regret_mode:
            step = step * compensation(losses.rounds[tasks] + 1, basis.kept)[:, None]
        target = sweep.thetas[tasks] + step
        known.losses = losses.observed(tasks, target, point.curvature, basis.eta, basis.kept)
        take = SafeStep(basis.kind, basis.bounds, basis.mu, basis.n_inner, basis.regret_mode, basis.warm_start)
        return take(self.sets, known.losses, known.array("basis"))

    def _linearised(self, sweep: Sweep, step: FloatArray, point: OperatingPoint) -> Projection:
        known, tasks, basis = self.knowledge, sweep.rows, self._basis
        gradient = -(point.curvature @ step[:, :, None])[:, :, 0]
        before = known.linearised
        known.linearised = before.observed(tasks, gradient, known.array("basis"), known.array("codes"), basis.eta)
        known.losses.rounds[tasks] += 1
        return known.linearised(self.sets, basis.bounds, basis.mu, basis.regret_mode)
