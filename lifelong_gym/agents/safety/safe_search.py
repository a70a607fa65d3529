"""What the learners have in common whose policies always satisfy constraints."""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import Any, NamedTuple, Self

import numpy as np
import torch as th
from stable_baselines3.common.vec_env import VecEnv

from lifelong_gym.agents.contract.base import MultiTaskAlgorithm
from lifelong_gym.agents.contract.environment import core_of, tasks_of, units_of
from lifelong_gym.agents.contract.roster import NewTasks, Roster
from lifelong_gym.agents.linear.policies import LinearGaussianPolicy
from lifelong_gym.agents.linear.sharers import Sharer
from lifelong_gym.agents.safety.anchors import RolloutTrial, choose_anchors
from lifelong_gym.agents.safety.constraints import PolicyConstraints
from lifelong_gym.agents.safety.projection import SafeSets
from lifelong_gym.agents.safety.safe_tasks import SafeSettings, SafeTasks, Stated, centres, constraints_of, to_json
from lifelong_gym.envs.core import Core
from lifelong_gym.envs.family import Constants
from lifelong_gym.errors import CheckpointError
from lifelong_gym.numerics.arrays import FloatArray, IntArray
from lifelong_gym.references.lqr import lqr_policies
from lifelong_gym.tasks.task_set import TaskSet


class Newcomers(NamedTuple):
    """Tasks that are about to become known.

    Attributes:
        constraints: of each.
        anchors: of each, shape (n, d).
        stated: the JSON form of everybody's constraints, theirs included.
    """

    constraints: list[PolicyConstraints]
    anchors: FloatArray
    stated: Any


class SafeSharer(Sharer):
    """A `Sharer` of safe policies: it keeps the tasks' safe sets with their anchors, and refuses whatever is outside.

    Args:
        settings: what is safe, and where learning begins.

    Attributes:
        constraints: their JSON form, as a model file holds it.
        n_violations: policies that violated their constraints when they were to be executed.
        n_failed_projections: rounds after which the last policies had to stay.
    """

    safety: SafeTasks

    def __init__(self, settings: SafeSettings) -> None:
        """See the class."""
        self._settings = settings
        self.constraints: Any = settings.constraints
        self.n_violations = self.n_failed_projections = 0

    @property
    def sets(self) -> SafeSets:
        """Of all tasks, with their anchors."""
        return self.safety.sets

    def parts(self) -> dict[str, th.nn.Module]:
        """The `SafeTasks`."""
        return {"safety": self.safety}

    def counters(self) -> dict[str, int]:
        """Of the whole life."""
        return {"n_violations": self.n_violations, "n_failed_projections": self.n_failed_projections}

    def totals(self) -> dict[str, int]:
        """The same."""
        return {"safety/violations": self.n_violations, "safety/failed_projections": self.n_failed_projections}

    def set_up(self, policy: LinearGaussianPolicy, env: VecEnv | None, roster: Roster, from_file: bool) -> None:
        """Register all tasks; their first policies are the anchors."""
        d = policy.theta.shape[1]
        made = constraints_of(self.constraints, roster.n_tasks, d)
        self.safety = SafeTasks(roster.n_tasks, d)
        tried = self.constraints is not None
        anchors = centres(made) if from_file else self._anchors(made, policy, env, roster.tasks, tried=tried)
        self.safety.register(made, anchors)
        policy.thetas = self.sets.anchors

    def _anchors(
        self,
        constraints: Sequence[PolicyConstraints],
        policy: LinearGaussianPolicy,
        env: VecEnv | None,
        tasks: TaskSet | None,
        first: int = 0,
        tried: bool = True,
    ) -> FloatArray:
        """Of these tasks, the first of which has the index ``first``; chosen by trial if they may be."""
        given, d = self._settings.anchors, policy.theta.shape[1]
        if given is not None and (first == 0 or np.ndim(given) == 1):
            return _given_anchors(np.array(given, np.float64), constraints, d, first)
        core = _model(env)
        if core is None or tasks is None or not tried:
            return centres(constraints, first)
        trial = RolloutTrial(core.family, tasks, reward=core.reward, bias=policy.bias, horizon=core.horizon)
        nominal = self._nominal_policy(core, policy.bias)
        return choose_anchors(constraints, trial, np.zeros(d), nominal, first=first).thetas

    def _nominal_policy(self, core: Core, bias: bool) -> FloatArray | None:
        time, nominal = self._settings.nominal, core.family.parameters.tasks([{}])
        if time is None or "goal" not in Constants.of(core.family, nominal.values).groups:
            return None
        return lqr_policies(core.family, nominal, time=time, bias=bias)[0]

    def newcomers(
        self, stated: Stated | None, policy: LinearGaussianPolicy, env: VecEnv | None, tasks: TaskSet, n_known: int
    ) -> Newcomers:
        """Those of the tasks that come after the first ``n_known``; nothing has changed yet.

        Args:
            stated: constraints of the new ones; None: those that hold for all.
            policy: of the known ones.
            env: to try anchors in, if it can.
            tasks: all.
            n_known: how many are known.
        """
        n_new, d = len(tasks) - n_known, policy.theta.shape[1]
        if stated is None and isinstance(self.constraints, list):
            raise ValueError(f"`constraints` of {n_new} new tasks must be given: each task has its own. Received None")
        own = self.constraints if stated is None else to_json(stated)
        known, made = constraints_of(self.constraints, n_known, d), constraints_of(own, n_new, d)
        new = tasks[np.arange(n_known, len(tasks))]
        anchors = self._anchors(made, policy, env, new, n_known, tried=own is not None)
        return Newcomers(made, anchors, self.constraints if stated is None else to_json([*known, *made]))

    def grown(self, thetas: FloatArray, n_tasks: int) -> FloatArray:
        """The new tasks aren't registered yet; see `welcomed`."""
        self.safety.grow(n_tasks)
        return super().grown(thetas, n_tasks)

    def welcomed(self, new: Newcomers, thetas: FloatArray) -> FloatArray:
        """Register the last tasks; all policies, theirs being their first ones."""
        self.constraints = new.stated
        self.safety.register(new.constraints, new.anchors)
        thetas = thetas.copy()
        n_known = len(thetas) - len(new.anchors)
        thetas[n_known:] = self._first_policies(n_known)
        return thetas

    def _first_policies(self, n_known: int) -> FloatArray:
        """Of the tasks from this index on: the anchors."""
        return self.sets.anchors[n_known:]

    def settled(self, thetas: FloatArray, given: Set[str]) -> FloatArray:
        """Anchors and policies must satisfy the constraints, whoever they are from."""
        everyone = np.arange(len(thetas))
        for what, values in (("anchors", self.sets.anchors), ("policies", thetas)):
            outside = self._outside(values, everyone)
            if outside:
                raise CheckpointError(f"{what} must satisfy `constraints`. Those of tasks {outside} don't")
        return thetas

    def allow(self, thetas: FloatArray, tasks: IntArray) -> None:
        """Check the policies that are about to be executed."""
        outside = self._outside(thetas, tasks)
        self.n_violations += len(outside)
        if outside:
            raise ValueError(
                f"policies must satisfy `constraints` to be executed. Those of tasks {outside} don't: something has "
                "written into `policy`. `safe_sets.project_policies` finds the nearest that do"
            )

    def _outside(self, thetas: FloatArray, tasks: IntArray) -> list[int]:
        """Of which of these tasks a policy violates its constraints."""
        holds = self.sets.holds(thetas)
        return [int(task) for task in tasks if not holds[task]]


def _given_anchors(given: FloatArray, constraints: Sequence[PolicyConstraints], d: int, first: int) -> FloatArray:
    n = len(constraints)
    if given.shape not in ((d,), (n, d)) or not np.isfinite(given).all():
        raise ValueError(f"`anchors` must be finite, of shape ({d},) or ({n}, {d}). Received {given}")
    anchors = np.broadcast_to(given, (n, d))
    for task, (one, anchor) in enumerate(zip(constraints, anchors, strict=True), first):
        if not one.holds_strictly(anchor):
            one.centre(task)  # says so where nothing is inside
            raise ValueError(f"`anchors` must be strictly inside the safe sets. Received {anchor} for task {task}")
    return anchors


def _model(env: VecEnv | None) -> Core | None:
    """What simulates the tasks, where policies act on the family's own observations."""
    return None if env is None or tasks_of(env) is None or not units_of(env) else core_of(env)


class SafeSearch(MultiTaskAlgorithm):
    """What learners show whose policies satisfy ``A @ theta <= b`` whenever they are executed, without tolerance.

    All known tasks are registered when the learner is made, or when they are added. Each gets an *anchor* strictly
    inside its safe set, the first policy it has: the one that is given; or else on our own families the cheapest that
    is stable among some candidates, by simulation (see `choose_anchors`); elsewhere the set's Chebyshev centre, about
    whose stability nothing is known. A `UserWarning` names tasks without a stable candidate.

    A round is a sweep: the tasks that come up in it are observed, all of them or, by the env's schedule, one. Before
    they are executed, policies are checked once more, and refused if someone has written into them what isn't safe; so
    are model files and parameters (`load`, `set_parameters`) that are not. A projection that fails numerically leaves
    the last safe policies in force.

    Attributes:
        n_violations: policies that violated their constraints when they were to be executed, counted in every round. It
            is 0 unless something else has written into the policy's tensors; learning raises then.
        n_failed_projections: rounds after which the last policies had to stay.

    Raises:
        InfeasibleConstraintsError: a safe set is empty; it names the constraints that are in conflict.
        ValueError: constraints of wrong shapes, with numbers that are not finite, or that leave some direction free;
            anchors of a wrong shape, or outside their safe sets.
    """

    policy: LinearGaussianPolicy
    constraints: Any
    safety: SafeTasks
    _sharer: SafeSharer

    @property
    def safe_sets(self) -> SafeSets:
        """Of all tasks, with their anchors."""
        return self._sharer.sets

    @property
    def n_violations(self) -> int:
        """See the class."""
        return self._sharer.n_violations

    @n_violations.setter
    def n_violations(self, n: int) -> None:
        self._sharer.n_violations = n

    @property
    def n_failed_projections(self) -> int:
        """See the class."""
        return self._sharer.n_failed_projections

    @n_failed_projections.setter
    def n_failed_projections(self, n: int) -> None:
        self._sharer.n_failed_projections = n

    def add_tasks(self, tasks: NewTasks, constraints: Stated | None = None) -> Self:
        """Take up further tasks, behind those that are known; see `MultiTaskAlgorithm.add_tasks`.

        Args:
            tasks: which; those that are known already stay as they are.
            constraints: of the new ones, for all of them or a list of one each; default: what the learner was given for
                all tasks.

        Raises:
            InfeasibleConstraintsError: a safe set is empty; nothing has changed then.
            ValueError: constraints or anchors that don't fit, or tasks that can't be added; nothing has changed then.
        """
        n_known, roster = self.n_tasks, self._roster.extended(tasks)
        if roster.n_tasks == n_known or roster.tasks is None:
            return super().add_tasks(tasks)
        new = self._sharer.newcomers(constraints, self.policy, self.env, roster.tasks, n_known)
        super().add_tasks(tasks)
        self.policy.thetas = self._sharer.welcomed(new, self.policy.thetas)
        self.constraints = self._sharer.constraints
        return self
