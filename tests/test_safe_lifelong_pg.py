"""Safe learners: no violation ever, constraints that bind, and learning all the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stable_baselines3.common.logger import configure
from stable_baselines3.common.utils import LinearSchedule

from lifelong_gym.agents import ENAC, PolicyConstraints, SafeLifelongPG
from lifelong_gym.agents.safety.projection import SafeSets
from lifelong_gym.errors import CheckpointError, InfeasibleConstraintsError, ProjectionError
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.references.lqr import lqr_policies
from lifelong_gym.registry import family
from lifelong_gym.wrappers import as_vec_env
from tests.safe_learners import (
    HORIZON,
    MASS,
    N_TASKS,
    N_TRAJECTORIES,
    POLE,
    POLICY,
    Watch,
    admit,
    boxes,
    costs,
    every_kind,
    make,
    tasks_of,
)


@every_kind
@pytest.mark.parametrize("name", [MASS, POLE])
@pytest.mark.parametrize("order", ["all", "random", "blocks"])
def test_no_policy_ever_violates_its_constraints(kind: str, name: str, order: str) -> None:
    """In whatever order tasks come, though learning runs against the constraints."""
    model = make(name, kind)
    watch, before = Watch(boxes(name, tasks_of(name))), model.policy.thetas
    rng = np.random.default_rng(1)
    rounds = {"all": [list(range(N_TASKS))] * 12, "random": [[t] for t in rng.integers(0, N_TASKS, 32).tolist()]}
    for present in rounds.get(order, [[t] for t in range(N_TASKS) for _ in range(8)]):
        admit(model, present)
        model.learn(1, callback=watch, reset_num_timesteps=False)
    assert watch.n_checks >= 2 * 12 * N_TASKS
    assert model.n_violations == model.n_failed_projections == 0
    assert np.all(model.policy.thetas != before, axis=1).all()


def trained(name: str, kind: str, seed: int = 0) -> tuple[float, float]:
    """Mean cost of the anchors, and of the policies after 20 rounds, whose steps become shorter."""
    model = make(name, kind, learning_rate=LinearSchedule(5.0, 0.0, 1.0), n_trajectories=100, seed=seed)
    before = float(costs(model.policy.thetas, name, model.tasks).mean())
    model.learn(20 * N_TASKS * 100 * HORIZON)
    return before, float(costs(model.policy.thetas, name, model.tasks).mean())


@every_kind
def test_policies_become_better_than_their_anchors(kind: str) -> None:
    """Though the optimum is out of reach. Measured: .09 to .21 of the cost on masses, .74 to .86 on cart-poles."""
    before, after = trained(MASS, kind)
    assert after < 0.3 * before
    before, after = trained(POLE, kind)
    assert after < 0.9 * before


def test_sharing_beats_projecting_alone() -> None:
    """A little, from the same anchors; measured cost on cart-poles: .0050 and .0052."""
    shared, alone = (np.mean([trained(POLE, kind, seed)[1] for seed in range(3)]) for kind in ("C", "projected"))
    assert shared < 0.99 * alone


@pytest.mark.parametrize("name", [MASS, POLE])
def test_constraints_bind(name: str) -> None:
    """A learner that doesn't know of them leaves the safe sets from the same anchors; ours ends at their boundary."""
    model, limits = make(name), boxes(name, tasks_of(name))
    free = ENAC(POLICY, as_vec_env(name, tasks=tasks_of(name), horizon=HORIZON), seed=0, sigma=0.5, n_trajectories=30)
    free.policy.thetas = model.policy.thetas
    n_steps = 12 * N_TASKS * N_TRAJECTORIES * HORIZON
    left = np.zeros(N_TASKS, bool)

    def look(*_: Any) -> bool:
        np.logical_or(left, ~model.safe_sets.holds(free.policy.thetas), out=left)
        return True

    free.learn(n_steps, callback=look)
    assert left.all()
    model.learn(n_steps)
    slack = [-one.violation(theta) for one, theta in zip(limits, model.policy.thetas, strict=True)]
    assert 0 <= min(slack) < 1e-9


@every_kind
@pytest.mark.parametrize("source", ["file", "with another env"])
def test_going_on_equals_not_stopping(kind: str, source: str, tmp_path: Path) -> None:
    """To the bit, counts included, also when the tasks come one at a time."""
    model = make(MASS, kind)
    for t in (0, 2, 0):
        admit(model, [t])
        model.learn(1, reset_num_timesteps=False)
    model.n_violations = 3  # as if
    model.save(tmp_path / "model")
    env = model.env if source == "file" else as_vec_env(MASS, tasks=tasks_of(MASS), horizon=HORIZON)
    loaded = type(model).load(tmp_path / "model", env)
    for t in (1, 0, 2):
        for one in (model, loaded):
            admit(one, [t])
            one.learn(1, reset_num_timesteps=False)
    assert loaded.n_violations == model.n_violations == 3
    assert loaded.constraints == model.constraints
    saved = model.get_parameters()
    for module, state in loaded.get_parameters().items():
        for key, tensor in state.items():
            assert np.array_equal(tensor.numpy(), saved[module][key].numpy()), key
    assert np.array_equal(loaded.for_task(1).thetas[0], model.policy.thetas[1])


def test_a_task_that_was_not_observed_is_safe_and_knows_what_others_do() -> None:
    """Warm start: the mean code, projected, which is far better than the anchor, where a cold start stays."""
    unseen = []
    for warm in (True, False):
        model = make(MASS, warm_start=warm)
        for t in (0, 1, 0, 1):
            admit(model, [t])
            model.learn(1, reset_num_timesteps=False)
        thetas, anchors = model.policy.thetas, model.safe_sets.anchors
        assert model.safe_sets.holds(thetas).all()
        assert np.array_equal(thetas[3], anchors[3]) != warm
        unseen.append(costs(model.policy.thetas, MASS, model.tasks)[2:].mean())
    assert unseen[0] < 0.7 * unseen[1]


def test_new_tasks_come_with_their_constraints() -> None:
    """They are safe at once and start from the mean code; nothing changes where that is refused."""
    tasks = tasks_of(MASS, 6)
    limits = boxes(MASS, tasks)
    model = make(MASS, constraints=limits[:4]).learn(4 * N_TRAJECTORIES * HORIZON * 4)
    new, before = tasks[[4, 5]], model.policy.thetas
    empty = PolicyConstraints.polytope([[1.0, 0, 0], [-1.0, 0, 0]], [0.0, -1.0], names=("most", "least"))
    box = PolicyConstraints.gains([-9.0] * 3, [9.0] * 3)
    with pytest.raises(ValueError, match=r"`constraints` of 2 new tasks must be given"):
        model.add_tasks(new)
    with pytest.raises(InfeasibleConstraintsError, match=r"task 5 is empty.*In conflict: (most; least|least; most)"):
        model.add_tasks(new, [limits[4], empty & box])
    with pytest.raises(ValueError, match=r"one for each of 2. Received 1"):
        model.add_tasks(new, limits[4:5])
    assert model.n_tasks == len(model.constraints) == len(model.policy.thetas) == 4
    model.add_tasks(new, limits[4:])
    assert np.array_equal(model.policy.thetas[:4], before)
    assert model.safe_sets.holds(model.policy.thetas).all()
    moved = np.linalg.norm(model.policy.thetas - model.safe_sets.anchors, axis=1)
    assert (moved[4:] > 0.5 * moved[:4].min()).all()
    model.set_env(as_vec_env(MASS, tasks=new, horizon=HORIZON))
    model.learn(3 * 2 * N_TRAJECTORIES * HORIZON, callback=Watch(limits))
    assert model.n_violations == 0


def test_one_constraint_for_all_also_holds_for_new_tasks() -> None:
    """In JSON's form too."""
    box = {"low": [-1.5] * 3, "high": [0.5] * 3}
    model = make(MASS, "projected", constraints=box)
    assert isinstance(model.constraints, dict)
    model.add_tasks(tasks_of(MASS, 6))
    assert model.safe_sets.registered.tolist() == [True] * 6
    assert np.abs(model.safe_sets.bound).max() == 1.5
    assert model.safe_sets.holds(model.policy.thetas).all()


def test_new_tasks_may_be_the_first_with_constraints(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those known stay unconstrained; where the mean code can't be projected, the anchor is the first policy."""
    model = make(MASS, constraints=None).learn(1)
    elsewhere = PolicyConstraints.gains([-4.0, -4.0, 1.0], [-1.0, -1.0, 2.0])
    with monkeypatch.context() as patched:
        patched.setattr(SafeSets, "project", no_projection)
        model.add_tasks(tasks_of(MASS, 6), elsewhere)
    assert model.n_failed_projections == 1
    assert [len(one["bound"]) for one in model.constraints] == [6] * 6
    assert np.array_equal(model.policy.thetas[4:], model.safe_sets.anchors[4:])
    assert all(elsewhere.holds_strictly(theta) for theta in model.policy.thetas[4:])


def test_new_tasks_without_a_stable_policy_are_named() -> None:
    """By their index among all."""
    model = make(MASS)
    unstable = PolicyConstraints.gains([1.0, 1.0, -1.0], [2.0, 2.0, 1.0])
    with pytest.warns(UserWarning, match="no stable policy was found in the safe sets of tasks 4, 5:"):
        model.add_tasks(tasks_of(MASS, 6), unstable)


def no_projection(*_: Any, **__: Any) -> Any:
    """Numerics that fail."""
    raise ProjectionError("no")


@every_kind
def test_the_last_policies_stay_where_a_projection_fails(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is counted, and learning goes on afterwards."""
    model = make(MASS, kind).learn(1)
    before = model.policy.thetas
    with monkeypatch.context() as patched:
        patched.setattr(SafeSets, "project", no_projection)
        model.learn(1, reset_num_timesteps=False)
    assert np.array_equal(model.policy.thetas, before)
    assert model.n_failed_projections == 1
    model.learn(1, reset_num_timesteps=False)
    assert not np.array_equal(model.policy.thetas, before)
    assert model.n_violations == 0


def test_violations_are_logged(tmp_path: Path) -> None:
    """That there are none."""
    model = make(MASS)
    model.set_logger(configure(str(tmp_path), ["json"]))
    model.learn(1)
    model.logger.close()
    row = json.loads((tmp_path / "progress.json").read_text().splitlines()[-1])
    assert row["safety/violations"] == row["safety/failed_projections"] == 0


def test_other_constraints_than_those_saved(tmp_path: Path) -> None:
    """They are taken where anchors and policies satisfy them, and refused otherwise."""
    model = make(MASS).learn(1)
    model.save(tmp_path / "model")
    elsewhere, wide = {"low": [50.0] * 3, "high": [60.0] * 3}, {"low": [-60.0] * 3, "high": [60.0] * 3}
    with pytest.raises(CheckpointError, match=r"anchors must satisfy .* Those of tasks \[0, 1, 2, 3\] don't"):
        SafeLifelongPG.load(tmp_path / "model", model.env, constraints=elsewhere)
    with pytest.raises(CheckpointError, match=r"one for each of 4. Received 1"):
        SafeLifelongPG.load(tmp_path / "model", model.env, constraints=[elsewhere])
    SafeLifelongPG.load(tmp_path / "model", model.env, constraints=wide).learn(1)


def test_sets_of_unstable_policies_are_reported() -> None:
    """They can be learned in safely, as the constraints say, but the learner says what that is worth."""
    opposite = -lqr_policies(family(POLE), tasks_of(POLE))
    limits = [PolicyConstraints.gains(theta - 0.1, theta + 0.1) for theta in opposite]
    with pytest.warns(UserWarning, match="no stable policy was found in the safe sets of tasks 0, 1, 2, 3:"):
        model = make(POLE, constraints=limits)
    assert model.safe_sets.holds(model.policy.thetas).all()


def test_without_constraints_it_starts_where_others_do() -> None:
    """From nothing, within wide bounds."""
    model = make(MASS, constraints=None)
    assert not model.policy.thetas.any()
    assert np.all(model.safe_sets.bound == 100.0)


def regulators(name: str, n: int = N_TASKS) -> FloatArray:
    """Of each task."""
    return lqr_policies(family(name), tasks_of(name, n), time="continuous")


@pytest.mark.parametrize("constraints", [None, {"low": [-50.0] * 5, "high": [50.0] * 5}])
def test_it_starts_from_the_anchors_it_is_given(constraints: Any, tmp_path: Path) -> None:
    """Each task from its regulator, with constraints or without; files remember them."""
    model = make(POLE, constraints=constraints, anchors=regulators(POLE))
    np.testing.assert_array_equal(model.policy.thetas, regulators(POLE))
    np.testing.assert_array_equal(model.safe_sets.anchors, regulators(POLE))
    model.learn(1)
    model.save(tmp_path / "model")
    loaded = SafeLifelongPG.load(tmp_path / "model", model.env)
    np.testing.assert_array_equal(loaded.safe_sets.anchors, regulators(POLE))
    np.testing.assert_array_equal(loaded.learn(1).policy.thetas, model.learn(1).policy.thetas)


def test_an_anchor_for_all_is_one_for_new_tasks_too() -> None:
    """If it is inside their safe sets; anchors of one task each say nothing about others."""
    one, new = regulators(POLE)[0], tasks_of(POLE, 6)[[4, 5]]
    model = make(POLE, constraints=None, anchors=one).add_tasks(new)
    np.testing.assert_array_equal(model.safe_sets.anchors, np.tile(one, (6, 1)))
    narrow = PolicyConstraints.gains(one + 1.0, one + 2.0)
    model = make(POLE, constraints=None, anchors=one)
    with pytest.raises(ValueError, match=r"`anchors` must be strictly inside the safe sets. Received .* for task 4"):
        model.add_tasks(new, narrow)
    assert model.n_tasks == N_TASKS
    model = make(POLE, constraints=None, anchors=regulators(POLE)).add_tasks(new)
    assert not model.safe_sets.anchors[4:].any()


WIDE = PolicyConstraints.gains([-5.0] * 3, [5.0] * 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"anchors": [0.0] * 4}, r"`anchors` must be finite, of shape \(3,\) or \(4, 3\). Received"),
        ({"anchors": [0.0, np.nan, 0.0]}, "`anchors` must be finite"),
        ({"anchors": [6.0, 0.0, 0.0], "constraints": WIDE}, "`anchors` must be strictly inside the safe sets"),
        ({"constraints": [WIDE] * 3}, r"`constraints` must be one for all tasks, or one for each of 4. Received 3"),
        ({"constraints": {"low": [-1.0] * 5, "high": [1.0] * 5}}, r"task 0 must be on 3 parameters.*\(10, 5\)"),
        ({"constraints": {"low": [0.0] * 3, "high": [-1.0] * 3}}, r"`low` must be below `high`"),
        ({"constraints": {"matrix": np.eye(3), "bound": [1.0, np.nan, 1.0]}}, r"`bound` must be finite. Received nan"),
        ({"constraints": {"matrix": np.eye(3), "bound": [1.0]}}, r"`bound` must have shape \(3,\).*Received \(1,\)"),
        ({"constraints": {"matrix": [[1.0, 0, 0]], "bound": [1.0]}}, r"task 0 must not be singular. Received rank 1"),
        ({"constraints": {"matrix": np.eye(3), "bound": [1.0] * 3}}, r"task 0 must be bounded"),
        ({"constraints": {"matrix": np.eye(3)}}, r"`constraints` must be PolicyConstraints or a dict"),
        ({"constraints": 3.0}, r"`constraints` must be PolicyConstraints or a dict.*Received 3.0"),
        ({"p": 2.0, "q": 1.0}, r"`p` must be at most `q`. Received 2.0 and 1.0"),
        ({"p": float("nan")}, r"`p` must be a finite number. Received nan"),
        ({"variant": "D"}, r"unknown variant 'D'"),
        ({"n_basis": 4}, r"`n_basis` must be at most 3.*Received 4"),
        ({"mu_1": 0.0}, r"`mu_1` must be above 0. Received 0.0"),
        ({"mu_2": -1.0}, r"`mu_2` must be above 0"),
        ({"n_inner": 0}, r"`n_inner` must be an integer of at least 1. Received 0"),
        ({"forget": 1.5}, r"`forget` must be at most 1. Received 1.5"),
        ({"nominal": "descrete"}, r"unknown nominal 'descrete'. Did you mean 'discrete'"),
        ({"n_rounds": 0}, r"`n_rounds` must be an integer of at least 1. Received 0"),
        ({"n_trajectories": 4}, r"at least 5, for 3 policy parameters"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, Any], message: str) -> None:
    """Before anything is run: the error names the argument, the constraint and the value."""
    with pytest.raises(ValueError, match=message):
        make(MASS, **arguments)


def test_an_empty_safe_set_is_reported_at_once() -> None:
    """With its task and the smallest conflict."""
    conflict = WIDE & PolicyConstraints.polytope([[1.0, 1, 0], [-1.0, -1, 0]], [1.0, -2.0], names=("most", "least"))
    with pytest.raises(InfeasibleConstraintsError) as caught:
        make(MASS, constraints=[WIDE, WIDE, conflict, WIDE])
    assert caught.value.task == 2
    assert set(caught.value.conflict) == {"most", "least"}
    assert sum(caught.value.relaxation.values()) == pytest.approx(1.0)
