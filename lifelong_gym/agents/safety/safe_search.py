"""What the learners have in common whose policies always satisfy constraints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Any, ClassVar, Self, Unpack

import numpy as np
import numpy.typing as npt
import torch as th
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import Schedule

from lifelong_gym.agents.contract.checks import choice, real
from lifelong_gym.agents.contract.environment import core_of, present_tasks, tasks_of, units_of
from lifelong_gym.agents.contract.roster import NewTasks
from lifelong_gym.agents.linear.base_learners import BaseLearner, base_learner, checked_settings
from lifelong_gym.agents.linear.policy_search import PolicySearch, SearchArguments
from lifelong_gym.agents.safety.anchors import RolloutTrial, choose_anchors
from lifelong_gym.agents.safety.constraints import PolicyConstraints
from lifelong_gym.agents.safety.projection import SafeSets
from lifelong_gym.envs.core import Core
from lifelong_gym.envs.family import Constants
from lifelong_gym.envs.rollout import RolloutStatistics
from lifelong_gym.errors import CheckpointError
from lifelong_gym.numerics.arrays import FloatArray, IntArray
from lifelong_gym.references.lqr import lqr_policies
from lifelong_gym.tasks.task_set import TaskSet

WIDEST = 100.0  # largest |theta_i| where no constraints are stated
REGULATORS = ("discrete", "continuous")

OneTask = PolicyConstraints | Mapping[str, Any]
Stated = OneTask | Sequence[OneTask]


class SafeArguments(SearchArguments, total=False):
    """Arguments of all learners with safe sets; see `SafeSearch` for what they mean."""

    constraints: Stated | None
    base: str
    base_settings: Mapping[str, Any] | None
    nominal: str | None
    anchors: npt.ArrayLike | None


def _json(constraints: OneTask) -> dict[str, Any]:
    made = _constraints(constraints)
    return {"matrix": made.matrix.tolist(), "bound": made.bound.tolist(), "names": list(made.names)}


def _constraints(given: Any) -> PolicyConstraints:
    if isinstance(given, PolicyConstraints):
        return given
    if isinstance(given, Mapping) and given.keys() == {"low", "high"}:
        return PolicyConstraints.gains(**given)
    if isinstance(given, Mapping) and {"matrix", "bound"} <= given.keys() <= {"matrix", "bound", "names"}:
        return PolicyConstraints.polytope(**given)
    raise ValueError(
        "`constraints` must be PolicyConstraints or a dict with `matrix` and `bound`, or with `low` and `high`; for "
        f"all tasks, or a list of one each. Received {given!r}"
    )


def to_json(stated: Stated | None) -> Any:
    """Constraints as a model file holds them: a dict for all tasks, or a list of one each; None stays None.

    Raises:
        ValueError: neither constraints nor their JSON form, or bad numbers.
    """
    if stated is None:
        return None
    return [_json(one) for one in stated] if isinstance(stated, (list, tuple)) else _json(stated)  # type: ignore[arg-type]


def constraints_of(json: Any, n_tasks: int, d: int) -> list[PolicyConstraints]:
    """One a task, from their JSON form.

    Raises:
        ValueError: not as many as tasks, or on another number of parameters than d.
    """
    if json is None:
        return [PolicyConstraints.gains(np.full(d, -WIDEST), np.full(d, WIDEST))] * n_tasks
    made = [_constraints(one) for one in json] if isinstance(json, list) else [_constraints(json)] * n_tasks
    if len(made) != n_tasks:
        raise ValueError(f"`constraints` must be one for all tasks, or one for each of {n_tasks}. Received {len(made)}")
    for task, one in enumerate(made):
        if one.d != d:
            raise ValueError(
                f"`constraints` of task {task} must be on {d} parameters, a policy's. Received a matrix of shape "
                f"{one.matrix.shape}"
            )
    return made


def _centres(constraints: Sequence[PolicyConstraints], first: int = 0) -> FloatArray:
    centres: dict[int, FloatArray] = {}  # tasks may share their constraints
    for task, one in enumerate(constraints, first):
        if id(one) not in centres:
            centres[id(one)] = one.centre(task)[0]
    return np.stack([centres[id(one)] for one in constraints])


class SafeTasks(th.nn.Module):
    """Safe sets, whose anchors are a tensor, as a learner's files hold them; all else follows from its constraints."""

    def __init__(self, n_tasks: int, d: int) -> None:
        """No task is registered yet."""
        super().__init__()
        self._sets = SafeSets(n_tasks, d)
        self.register_buffer("anchors", th.from_numpy(self._sets.anchors))

    @property
    def sets(self) -> SafeSets:
        """The sets, with the tensor's anchors."""
        self._sets.anchors = self.get_buffer("anchors").numpy()
        return self._sets

    def register(self, constraints: Sequence[PolicyConstraints], anchors: FloatArray) -> None:
        """Register the last tasks."""
        sets = self.sets
        first = len(sets.registered) - len(constraints)
        for i, (one, anchor) in enumerate(zip(constraints, anchors, strict=True)):
            sets.register(first + i, one, anchor)

    def grow(self, n_tasks: int) -> None:
        """Make room for so many tasks in all, the new ones not registered."""
        self.sets.grow(n_tasks)
        self.register_buffer("anchors", th.from_numpy(self._sets.anchors))


class SafeSearch(PolicySearch):
    """Policy search with policies that satisfy ``A @ theta <= b`` whenever they are executed, without tolerance.

    All known tasks are registered when the learner is made, or when they are added. Each gets an *anchor* strictly
    inside its safe set, the first policy it has: the one that is given; or else on our own families the cheapest that
    is stable among some candidates, by simulation (see `choose_anchors`); elsewhere the set's Chebyshev centre, about
    whose stability nothing is known. A `UserWarning` names tasks without a stable candidate.

    A round is a sweep: the tasks that come up in it are observed, all of them or, by the env's schedule, one. Before
    they are executed, policies are checked once more, and refused if someone has written into them what isn't safe; so
    are model files and parameters (`load`, `set_parameters`) that are not. A projection that fails numerically leaves
    the last safe policies in force.

    Args:
        constraints: `PolicyConstraints`, or a dict with their ``matrix`` and ``bound``, or with ``low`` and ``high`` of
            theta; for all tasks, or a list of one each. The model keeps their JSON form. None: ``|theta_i| <= 100``,
            which hardly constrains anything; anchors that aren't given are then 0 and not tried.
        base: ``"enac"``, ``"reinforce"`` or ``"rwr"``; see `ENAC`, `REINFORCE` and `RWR`.
        base_settings: the base learner's own arguments, such as ``{"max_kl": 0.1}``.
        nominal: the regulator of the family's nominal task that is among the anchors' candidates: ``"discrete"`` or
            ``"continuous"``, as for the paper's quadrotors; None: none.
        anchors: policies to begin with and to vary about, strictly inside the safe sets, such as `lqr_policies` gives:
            one for all tasks, shape (d,), or one each, (n_tasks, d). The model keeps them as lists. None: chosen.
        n_trajectories: episodes a task and sweep; more than a policy's parameters plus 1 for ``"enac"``.
        **search: see `PolicySearch`.

    Attributes:
        n_violations: policies that violated their constraints when they were to be executed, counted in every round. It
            is 0 unless something else has written into the policy's tensors; learning raises then.
        n_failed_projections: rounds after which the last policies had to stay.

    Raises:
        InfeasibleConstraintsError: a safe set is empty; it names the constraints that are in conflict.
        ValueError: constraints of wrong shapes, with numbers that are not finite, or that leave some direction free;
            anchors of a wrong shape, or outside their safe sets.
    """

    defaults: ClassVar[SearchArguments] = {"n_trajectories": 50}
    safety: SafeTasks

    def __init__(
        self,
        policy: str | type[BasePolicy],
        env: Any,
        learning_rate: float | Schedule | None = None,
        constraints: Stated | None = None,
        base: str = "enac",
        base_settings: Mapping[str, Any] | None = None,
        nominal: str | None = "discrete",
        anchors: npt.ArrayLike | None = None,
        **search: Unpack[SearchArguments],
    ) -> None:
        """See the class."""
        self.constraints = to_json(constraints)
        self.base, self.base_settings = base, checked_settings(base, base_settings)
        self.nominal = None if nominal is None else choice("nominal", nominal, REGULATORS)
        self.anchors = None if anchors is None else real("anchors", anchors).tolist()
        self.n_violations = self.n_failed_projections = 0
        arguments: SearchArguments = {**self.defaults, **search}
        super().__init__(policy, env, learning_rate, **arguments)

    @property
    def safe_sets(self) -> SafeSets:
        """Of all tasks, with their anchors."""
        return self.safety.sets

    def _base_learner(self) -> BaseLearner:
        return base_learner(self.base, self.base_settings)

    def _module_names(self) -> tuple[str, ...]:
        return (*super()._module_names(), "safety")

    def _counters(self) -> dict[str, int]:
        counts = {"n_violations": self.n_violations, "n_failed_projections": self.n_failed_projections}
        return {**super()._counters(), **counts}

    def _setup_model(self, policy_arguments: dict[str, Any] | None = None) -> None:
        super()._setup_model(policy_arguments)
        d = self.policy.theta.shape[1]
        made = constraints_of(self.constraints, self.n_tasks, d)
        self.safety = SafeTasks(self.n_tasks, d)
        stated = self.constraints is not None
        from_file = policy_arguments is not None  # which says the anchors
        self.safety.register(made, _centres(made) if from_file else self._anchors(made, self.tasks, tried=stated))
        self.policy.thetas = self.safe_sets.anchors

    def _anchors(
        self, constraints: Sequence[PolicyConstraints], tasks: TaskSet | None, first: int = 0, tried: bool = True
    ) -> FloatArray:
        """Of these tasks, the first of which has the index ``first``; chosen by trial if they may be."""
        if self.anchors is not None and (first == 0 or np.ndim(self.anchors) == 1):
            return self._given_anchors(constraints, first)
        core = self._model()
        if core is None or tasks is None or not tried:
            return _centres(constraints, first)
        trial = RolloutTrial(core.family, tasks, reward=core.reward, bias=self.bias, horizon=core.horizon)
        start = np.zeros(self.policy.theta.shape[1])
        return choose_anchors(constraints, trial, start, self._nominal_policy(core), first=first).thetas

    def _given_anchors(self, constraints: Sequence[PolicyConstraints], first: int) -> FloatArray:
        n, d = len(constraints), self.policy.theta.shape[1]
        given = np.array(self.anchors, np.float64)
        if given.shape not in ((d,), (n, d)) or not np.isfinite(given).all():
            raise ValueError(f"`anchors` must be finite, of shape ({d},) or ({n}, {d}). Received {given}")
        anchors = np.broadcast_to(given, (n, d))
        for task, (one, anchor) in enumerate(zip(constraints, anchors, strict=True), first):
            if not one.holds_strictly(anchor):
                one.centre(task)  # says so where nothing is inside
                raise ValueError(f"`anchors` must be strictly inside the safe sets. Received {anchor} for task {task}")
        return anchors

    def _model(self) -> Core | None:
        """What simulates the tasks, where policies act on the family's own observations."""
        if self.env is None or tasks_of(self.env) is None or not units_of(self.env):
            return None
        return core_of(self.env)

    def _nominal_policy(self, core: Core) -> FloatArray | None:
        nominal = core.family.parameters.tasks([{}])
        if self.nominal is None or "goal" not in Constants.of(core.family, nominal.values).groups:
            return None
        return lqr_policies(core.family, nominal, time=self.nominal, bias=self.bias)[0]

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
        n_new = roster.n_tasks - n_known
        if n_new == 0 or roster.tasks is None:
            return super().add_tasks(tasks)
        if constraints is None and isinstance(self.constraints, list):
            raise ValueError(f"`constraints` of {n_new} new tasks must be given: each task has its own. Received None")
        stated = self.constraints if constraints is None else to_json(constraints)
        d = self.policy.theta.shape[1]
        known, made = constraints_of(self.constraints, n_known, d), constraints_of(stated, n_new, d)
        new = roster.tasks[np.arange(n_known, roster.n_tasks)]
        anchors = self._anchors(made, new, n_known, tried=stated is not None)
        super().add_tasks(tasks)
        if constraints is not None:
            self.constraints = to_json([*known, *made])
        self.safety.register(made, anchors)
        self._welcome(n_known)
        return self

    def _grow(self, n_tasks: int) -> None:
        super()._grow(n_tasks)
        self.safety.grow(n_tasks)

    def _welcome(self, n_known: int) -> None:
        """Give tasks from this index on their first policies: the anchors."""
        thetas = self.policy.thetas
        thetas[n_known:] = self.safe_sets.anchors[n_known:]
        self.policy.thetas = thetas

    def collect_rollouts(self) -> tuple[RolloutStatistics, int]:
        """Check the policies that are about to be executed; run episodes in every task that comes up."""
        assert self.env is not None
        outside = self._outside(self.policy.thetas, self._places[present_tasks(self.env)])
        self.n_violations += len(outside)
        if outside:
            raise ValueError(
                f"policies must satisfy `constraints` to be executed. Those of tasks {outside} don't: something has "
                "written into `policy`. `safe_sets.project_policies` finds the nearest that do"
            )
        return super().collect_rollouts()

    def _settle(self, given: Set[str]) -> None:
        """Anchors and policies must satisfy the constraints, whoever they are from."""
        super()._settle(given)
        everyone = np.arange(self.n_tasks)
        for what, thetas in (("anchors", self.safe_sets.anchors), ("policies", self.policy.thetas)):
            outside = self._outside(thetas, everyone)
            if outside:
                raise CheckpointError(f"{what} must satisfy `constraints`. Those of tasks {outside} don't")

    def _outside(self, thetas: FloatArray, tasks: IntArray) -> list[int]:
        """Of which of these tasks a policy violates its constraints."""
        holds = self.safe_sets.holds(thetas)
        return [int(task) for task in tasks if not holds[task]]

    def dump_logs(self, iteration: int = 0) -> None:
        """Write the log of the last sweep, with the counts of the whole life."""
        self.logger.record("safety/violations", self.n_violations)
        self.logger.record("safety/failed_projections", self.n_failed_projections)
        super().dump_logs(iteration)
