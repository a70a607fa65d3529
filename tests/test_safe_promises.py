"""What safe learners promise, at any number of tasks and whatever they learn from: not one violation, ever."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pytest

from lifelong_gym.agents import PolicyConstraints
from lifelong_gym.agents.contract import checkpoint, persistence
from lifelong_gym.agents.linear import base_learners, sampling
from lifelong_gym.agents.linear.base_learners import Reinforce
from lifelong_gym.agents.linear.operating_point import OperatingPoint, trace_normalised
from lifelong_gym.agents.safety.projection import SpectralBounds
from lifelong_gym.agents.safety.safe_basis import VARIANTS
from lifelong_gym.envs.rollout import RolloutStatistics
from lifelong_gym.errors import CheckpointError
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.tasks.task_set import TaskSet
from tests.safe_learners import KINDS, MASS, POLE, QUADROTOR, Watch, admit, every_kind, exactly_safe, make, tasks_of

N_TASKS, N_ROUNDS, N_ORDERS = 20, 10, 4
SYSTEMS = {2: (MASS, False), 3: (MASS, True), 4: (POLE, False), 5: (POLE, True), 24: (QUADROTOR, False)}  # by d
STEPS: list[dict[str, Any]] = [
    {"base": "adversary", "n_trajectories": 2},
    {"base": "enac", "learning_rate": 1e4, "base_settings": {"max_kl": 1e6}},
    {"base": "reinforce", "learning_rate": 1e5, "n_trajectories": 2},
    {"base": "rwr", "learning_rate": 1e3, "base_settings": {"max_kl": 1e6}, "n_trajectories": 4},
]
# Random sets that contain no stable policy are as good as any: nothing here depends on whether tasks are controlled.
pytestmark = pytest.mark.filterwarnings("ignore:no stable policy was found")


@dataclass(frozen=True)
class Adversary(Reinforce):
    """Wants policies anywhere, up to ten million away, and reports curvatures that are almost singular."""

    learning_rate: ClassVar[float] = 1.0
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))

    def point(self, theta: FloatArray, statistics: RolloutStatistics, step: float) -> OperatingPoint:
        """Whatever the trajectories were."""
        n, d = theta.shape
        axes = np.linalg.qr(self.rng.normal(size=(n, d, d)))[0]
        bent = axes * 10.0 ** self.rng.uniform(-12, 0, (n, 1, d)) @ axes.transpose(0, 2, 1)
        far = 10.0 ** self.rng.uniform(-3, 7, (n, 1))
        return OperatingPoint(theta + step * far * self.rng.normal(size=(n, d)), trace_normalised(bent))


def box(rng: np.random.Generator, d: int) -> PolicyConstraints:
    """Somewhere, of any width."""
    middle = rng.normal(size=d) * 10.0 ** rng.uniform(-2, 1)
    width = 10.0 ** rng.uniform(-2, 1) * rng.uniform(0.05, 1.0, d)
    return PolicyConstraints.gains(middle - width, middle + width)


def cut(rng: np.random.Generator, d: int, depth: float = 1.0) -> PolicyConstraints:
    """A box cut by half-spaces, whose rows have any length, at up to so many times its width from the middle."""
    whole = box(rng, d)
    high, low = whole.bound[d:], -whole.bound[:d]
    normals = rng.normal(size=(int(rng.integers(1, 3 * d)), d)) * 10.0 ** rng.uniform(-4, 4)
    room = rng.uniform(0.05, depth, len(normals)) * (np.abs(normals) @ (high - low)) / 2
    return whole & PolicyConstraints.polytope(normals, normals @ (high + low) / 2 + room)


def thin(rng: np.random.Generator, d: int) -> PolicyConstraints:
    """A box between two planes with next to nothing between them."""
    whole = box(rng, d)
    normal = rng.normal(size=(1, d))
    level, room = normal @ (whole.bound[d:] - whole.bound[:d]) / 2, 1e-5 * (np.abs(whole.bound).max() + 1.0)
    return whole & PolicyConstraints.polytope(np.concatenate([normal, -normal]), np.r_[level + room, room - level])


def repeated(rng: np.random.Generator, d: int) -> PolicyConstraints:
    """Every row many times, in other units, and each a little off: corners where many more than d planes meet."""
    once = cut(rng, d, depth=0.3)
    units = 10.0 ** rng.uniform(-6, 6, (3, 1, 1))
    off = 1.0 + 1e-15 * rng.normal(size=(3, *once.matrix.shape))
    rows, room = (units * off * once.matrix).reshape(-1, d), (units[:, 0] * once.bound).ravel()
    return once & PolicyConstraints.polytope(rows, room)


SHAPES: list[Callable[[np.random.Generator, int], PolicyConstraints]] = [box, cut, thin, repeated]


def random_limits(rng: np.random.Generator, d: int, n: int) -> list[PolicyConstraints]:
    """Of n tasks, of all shapes in turn."""
    return [SHAPES[t % len(SHAPES)](rng, d) for t in range(n)]


def adversarial(
    monkeypatch: pytest.MonkeyPatch, kind: str, name: str, limits: list[PolicyConstraints], **more: Any
) -> Any:
    """A learner whose base learner is the adversary, unless another is given."""
    monkeypatch.setitem(base_learners.BASES, "adversary", Adversary)
    own = {"base": "adversary", "n_trajectories": 2, "horizon": 8, "tasks": tasks_of(name, len(limits)), **more}
    return make(name, kind, constraints=limits, **own)


def order(kind: int, rng: np.random.Generator) -> list[list[int]]:
    """Which tasks come up in each round: all, one, some, or others every time."""
    everybody = rng.permutation(N_TASKS)
    rounds: list[list[list[int]]] = [
        [list(range(N_TASKS))] * N_ROUNDS,
        [[t] for t in everybody[:N_ROUNDS].tolist()],
        [rng.choice(N_TASKS, rng.integers(1, 9), replace=False).tolist() for _ in range(N_ROUNDS)],
        [part.tolist() for part in np.array_split(everybody, N_ROUNDS)],
    ]
    return rounds[kind]


def checked_when_executed(
    monkeypatch: pytest.MonkeyPatch, limits: list[PolicyConstraints], tasks: TaskSet
) -> list[int]:
    """Check what is handed to the simulator itself; returns the number of policies executed so far, in a list."""
    simulate, executed, by_uid = sampling.rollout, [0], dict(zip((t.uid for t in tasks), limits, strict=True))

    def check_and_simulate(system: Any, *, tasks: TaskSet, theta: FloatArray, **more: Any) -> Any:
        for task, policy in zip(tasks, np.broadcast_to(theta, (len(tasks), theta.shape[1])), strict=True):
            assert np.all(by_uid[task.uid].matrix @ policy <= by_uid[task.uid].bound)
        executed[0] += len(tasks)
        return simulate(system, tasks=tasks, theta=theta, **more)

    monkeypatch.setattr(sampling, "rollout", check_and_simulate)
    return executed


def any_settings(rng: np.random.Generator, kind: str, d: int) -> dict[str, Any]:
    """Of `SafeLifelongPG`; in regret mode any variant."""
    p, q = np.sort(10.0 ** rng.uniform(-1, 1, 2)).tolist()
    own = {"n_basis": int(rng.integers(1, d + 1)), "p": p, "q": q, "n_inner": int(rng.integers(1, 5))}
    own |= {"variant": VARIANTS[rng.integers(3)]} if kind == "regret" else {}
    return own if kind == "C-keeps-all" else own | {"warm_start": bool(rng.integers(2))}


def check_a_life(
    monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator, kind: str, d: int, steps: dict[str, Any], among: int
) -> None:
    """A learner with random settings on random sets of d parameters. All tasks, before and after rounds."""
    name, bias = SYSTEMS[d]
    limits = random_limits(rng, d, N_TASKS)
    own = {"n_trajectories": d + 2, "bias": bias, **({} if kind == "projected" else any_settings(rng, kind, d))}
    model = adversarial(monkeypatch, kind, name, limits, **{**own, **steps})
    watch, executed, rounds = Watch(limits), checked_when_executed(monkeypatch, limits, model.tasks), order(among, rng)
    for present in rounds:
        admit(model, present)
        model.learn(1, callback=watch, reset_num_timesteps=False, log_interval=None)
    assert watch.n_checks == 2 * N_ROUNDS * N_TASKS
    assert executed[0] >= sum(map(len, rounds))
    assert model.n_violations == model.n_failed_projections == 0
    sets, thetas = model.safe_sets, model.policy.thetas
    assert all(exactly_safe(*one) for one in zip(sets.matrix, thetas, sets.bound, strict=True))
    room, full = (sets.bound - (sets.matrix @ at[:, :, None])[:, :, 0] for at in (thetas, sets.anchors))
    assert (room < 1e-6 * full).any(axis=1).mean() >= 0.15  # constraints bind, though some tasks have not come up


@every_kind
@pytest.mark.parametrize("among", range(N_ORDERS))
@pytest.mark.parametrize("steps", STEPS, ids=lambda steps: steps["base"])
def test_nothing_makes_a_learner_violate(
    kind: str, among: int, steps: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it learns from: in all these lives 1920 sets, 19200 pairs of a set and a round, checked in four ways."""
    rng = np.random.default_rng([among, list(KINDS).index(kind), STEPS.index(steps)])
    check_a_life(monkeypatch, rng, kind, int(rng.integers(2, 6)), steps, among)


@pytest.mark.parametrize("kind", ["C", "projected"])
def test_nothing_makes_it_violate_in_many_dimensions(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sets of quadrotors' 24 gains."""
    check_a_life(monkeypatch, np.random.default_rng(0), kind, 24, STEPS[1], 2)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "projected"])
@pytest.mark.parametrize(("p", "q"), [(0.1, 0.1), (0.1, 1.0), (0.1, 10.0), (1.0, 1.0), (1.0, 10.0), (10.0, 10.0)])
def test_the_basis_stays_within_its_bounds(kind: str, p: float, q: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Singular values of L from sqrt p to sqrt q, to 1e-12, in every round, as `Watch` checks; L is moved there."""
    clip, moved = SpectralBounds.clip, [0]

    def clip_and_count(bounds: SpectralBounds, basis: FloatArray) -> FloatArray:
        clipped = clip(bounds, basis)
        moved[0] += not np.array_equal(clipped, basis)
        return clipped

    monkeypatch.setattr(SpectralBounds, "clip", clip_and_count)
    limits = random_limits(np.random.default_rng(0), 4, 12)
    model, watch = adversarial(monkeypatch, kind, POLE, limits, bias=False, n_basis=3, p=p, q=q), Watch(limits)
    for j in range(12):
        admit(model, [j, (5 * j + 1) % 12])
        model.learn(1, callback=watch, reset_num_timesteps=False, log_interval=None)
    assert watch.n_checks == 2 * 12 * 12
    assert (moved[0] > 0) == (kind != "regret")  # where it stays as it is
    assert model.n_violations == model.n_failed_projections == 0


@every_kind
def test_policies_replaced_from_outside_are_not_executed(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are counted where they were to be; what looks for violations in these tests sees them too."""
    limits = random_limits(np.random.default_rng(1), 3, 8)
    model = adversarial(monkeypatch, kind, MASS, limits)
    safe = model.learn(1).policy.thetas
    unsafe = safe.copy()
    unsafe[:3] = [one.centre()[0] + 1e6 for one in limits[:3]]
    model.policy.thetas = unsafe
    with pytest.raises(AssertionError):
        Watch(limits).check(model)
    with monkeypatch.context() as patched:
        executed = checked_when_executed(patched, limits, model.tasks)
        with pytest.raises(ValueError, match=r"must satisfy `constraints` to be executed. Those of tasks \[0, 1, 2\]"):
            model.learn(1)
        admit(model, [0, 4, 2, 6])
        with pytest.raises(ValueError, match=r"Those of tasks \[0, 2\] don't"):
            model.learn(1)
        assert executed[0] == 0
    assert model.n_violations == 3 + 2
    with pytest.raises(CheckpointError, match=r"nothing was saved.*policies must satisfy `constraints`"):
        model.save(io.BytesIO())
    admit(model, [3, 4, 5])  # whose policies nobody has touched
    model.learn(1)
    model.policy.thetas = model.safe_sets.project_policies(model.policy.thetas).policies
    admit(model, list(range(8)))
    model.learn(1, callback=Watch(limits))
    assert model.n_violations == 3 + 2


@every_kind
def test_parameters_from_outside_must_be_safe(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`set_parameters` and files; refused ones change nothing, safe ones are taken."""
    limits = random_limits(np.random.default_rng(1), 3, 8)
    model, other = (adversarial(monkeypatch, kind, MASS, limits) for _ in range(2))
    given = copy.deepcopy(model.learn(1).get_parameters())
    other.set_parameters(given)
    assert np.array_equal(other.policy.thetas, model.policy.thetas)
    before = copy.deepcopy(other.get_parameters())
    for module, name, what in (("policy", "theta", "policies"), ("safety", "anchors", "anchors")):
        bad = copy.deepcopy(given)
        bad[module][name][1] += 1e6
        for exact_match in (True, False):
            with pytest.raises(CheckpointError, match=rf"{what} must satisfy .* Those of tasks \[1\] don't"):
                other.set_parameters(bad, exact_match)
        described = persistence.describe(model)
        file = io.BytesIO(checkpoint.encoded(described, persistence.flattened(bad)))
        with pytest.raises(CheckpointError, match=rf"{what} must satisfy"):
            type(model).load(file)
        file.seek(0)
        with pytest.raises(CheckpointError, match=rf"{what} must satisfy"):
            other.set_parameters(file)
    after = other.get_parameters()
    assert all(np.array_equal(t, before[m][name]) for m, state in after.items() for name, t in state.items())


@every_kind
def test_parts_from_outside_keep_policies_and_basis_in_agreement(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Policies follow from anchors, basis and codes, or are refused; alone, they have nothing to follow from."""
    limits = random_limits(np.random.default_rng(1), 3, 8)
    model = adversarial(monkeypatch, kind, MASS, limits)
    start, anchors = model.policy.thetas, model.safe_sets.anchors.copy()
    given = copy.deepcopy(model.learn(1).get_parameters())
    theta = {"policy": {"theta": given["policy"]["theta"]}}
    if kind == "projected":
        model.set_parameters({"policy": {"theta": start}}, exact_match=False)
        assert np.array_equal(model.policy.thetas, start)
        return
    with pytest.raises(CheckpointError, match=r"'policy.theta' follows from .*, knowledge.codes, safety.anchors"):
        model.set_parameters(theta, exact_match=False)
    codes = 0.5 * given["knowledge"]["codes"]
    model.set_parameters({"knowledge": {"codes": codes}}, exact_match=False)
    expected = anchors + codes.numpy() @ given["knowledge"]["basis"].numpy().T
    np.testing.assert_allclose(model.policy.thetas, expected, rtol=1e-12, atol=1e-12)
    before = model.policy.thetas
    with pytest.raises(CheckpointError, match="policies must satisfy"):
        model.set_parameters({"knowledge": {"codes": codes + 1e7}}, exact_match=False)
    assert np.array_equal(model.policy.thetas, before)
    assert np.array_equal(model.knowledge.array("codes"), codes)
    model.learn(1, callback=Watch(limits))
