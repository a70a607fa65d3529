"""Protocols, the referee, evaluation and runs of the benchmark."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.evaluation import evaluate_policy

from lifelong_gym import rollout, sample_tasks
from lifelong_gym.benchmark.baselines import measured_references
from lifelong_gym.benchmark.evaluation import Evaluation
from lifelong_gym.benchmark.experiment import Experiment, ExperimentError, levels_of
from lifelong_gym.benchmark.families import FamilySpec
from lifelong_gym.benchmark.learners import LearnerError, LearnerSpec
from lifelong_gym.benchmark.protocol import EVALUATION_SEED, PLANS, Protocol
from lifelong_gym.benchmark.records import Run, read_run
from lifelong_gym.benchmark.referee import BudgetError, Mark, Plan, Referee
from lifelong_gym.benchmark.run import RunSpec, execute
from lifelong_gym.benchmark.writer import RunWriter
from lifelong_gym.wrappers import CoreVecEnv, Stage, as_vec_env
from tests.toy_learners import Interrupted

ID = "LifelongSimpleMass-v0"
HORIZON = 150
N_TASKS = 3
TASKS = sample_tasks(ID, N_TASKS, preset="hetero")
SMALL: dict[str, Any] = {"episodes_per_task": 10, "n_evaluations": 2, "n_eval_episodes": 2}
REFERENCES = measured_references(ID, TASKS, 2, EVALUATION_SEED)
assert REFERENCES is not None


def spec(learner: str, protocol: str = "multi_task", seed: int = 0, **settings: Any) -> RunSpec:
    """A small run on three mass-springs."""
    small = Protocol(name=protocol, **{**SMALL, **settings})
    return RunSpec(LearnerSpec.of(learner), FamilySpec.of(ID, N_TASKS), TASKS, small, seed, REFERENCES)


def run(folder: Path, *arguments: Any, **settings: Any) -> Run:
    """Its file, read again."""
    return read_run(execute(spec(*arguments, **settings), folder))


def env(n_rows: int = N_TASKS) -> CoreVecEnv:
    """For training."""
    venv = as_vec_env(gym.make_vec(ID, num_envs=n_rows, tasks=TASKS))
    assert isinstance(venv, CoreVecEnv)
    return venv


def test_marks_of_plans() -> None:
    """One before training, n in each stage at equal distances, the last at its end."""
    plan = Plan((Stage((0,), 10), Stage((1, 2), 10)), 2)
    assert plan.marks == [Mark(0, 0), Mark(5, 0), Mark(10, 0), Mark(20, 1), Mark(30, 1)]
    assert plan.total_timesteps == 30


def test_stages_of_protocols() -> None:
    """Who is trained on what, until when, with 10 steps a task."""
    order = (2, 0, 1)
    assert PLANS["multi_task"](order, 10) == PLANS["distributed"](order, 10) == (Stage(order, 10),)
    assert PLANS["lifelong"](order, 10) == (Stage((2,), 10), Stage((0,), 10), Stage((1,), 10))
    assert PLANS["transfer"](order, 10) == (Stage((2, 0), 10), Stage((1,), 10))


def test_orders_are_drawn_by_the_seed() -> None:
    """Another one for another seed, and as they come where nothing is shuffled."""
    protocol = Protocol(name="lifelong")
    orders = {tuple(protocol.order(5, seed)) for seed in range(20)}
    assert len(orders) > 10
    assert all(sorted(order) == list(range(5)) for order in orders)
    assert protocol.order(5, 3) == protocol.order(5, 3)
    assert Protocol(name="lifelong", shuffle=False).order(5, 3) == list(range(5))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "multitask"}, "unknown protocol 'multitask'. Did you mean 'multi_task'"),
        ({"episodes_per_task": 0}, "`episodes_per_task` must be an integer of at least 1. Received 0"),
        ({"n_evaluations": 2.5}, "`n_evaluations` must be an integer of at least 1. Received 2.5"),
        ({"n_episodes": 3}, "unknown key 'n_episodes'"),
    ],
)
def test_bad_protocols(arguments: dict[str, Any], message: str) -> None:
    """Names and numbers are checked."""
    with pytest.raises(ValueError, match=message):
        Protocol.of(**arguments)


def test_one_task_is_too_few_for_transfer() -> None:
    """There is nothing to transfer from."""
    with pytest.raises(ValueError, match=r"`transfer` needs at least 2 tasks. Received 1"):
        Protocol(name="transfer").plan(1, HORIZON, 0)


def test_no_evaluation_sees_more_steps_than_its_mark() -> None:
    """Sweeps of any width: the policy at mark m was trained on at most m steps, and on all sweeps that fit in."""
    for width in (1, 2, 4, 5, 10, 20):
        venv = env()
        seen: dict[int, int] = {}

        def note(mark: Mark) -> None:
            seen[mark.num_timesteps] = referee.num_timesteps  # noqa: B023

        referee = Referee(venv, Plan((Stage((0, 1, 2), 20),), 4), note)
        for _ in range(20 // width):
            venv.announce(np.arange(3), width)
        referee.finish()
        assert seen == {mark: mark // (3 * width) * 3 * width for mark in (0, 15, 30, 45, 60)}, width


def test_lifelong_stages_change_the_tasks(tmp_path: Path) -> None:
    """Rows meet one task after the other, for their episodes, in the order of the run."""
    made = spec("tests.toy_learners:Counter", "lifelong", seed=1)
    venv = made.training_env(TASKS, 1)
    learner = made.learner.make(venv, 1)
    plan = made.protocol.plan(N_TASKS, HORIZON, 1)
    Referee(venv, plan, lambda mark: None)
    learner.learn(plan.total_timesteps)
    order = made.protocol.order(N_TASKS, 1)
    # 2 rows divide the 10 episodes of a task.
    assert learner.tasks_met == [[task] * 2 for task in order for _ in range(5 * HORIZON)]


@pytest.mark.parametrize(
    ("learner", "protocol"),
    [
        ("PPO", "lifelong"),
        ("REINFORCE+append", "transfer"),
        ("SafeLifelongPG", "lifelong"),
        ("tests.toy_learners:Overshooting", "transfer"),
        ("REINFORCE+scratch", "multi_task"),
        ("ScalablePGELLA", "distributed"),
    ],
)
def test_runs_say_what_each_task_got(tmp_path: Path, learner: str, protocol: str) -> None:
    """Its episodes to the last one, at the end; before, no more than the time of evaluation."""
    made = run(tmp_path, learner, protocol, n_eval_episodes=1)
    taken = made.task_timesteps
    assert taken is not None
    assert taken[-1].tolist() == [10 * HORIZON] * N_TASKS
    assert (taken.sum(axis=1) <= made.times).all()
    assert (np.diff(taken, axis=0) >= 0).all()


def test_learners_that_don_t_train_get_nothing(tmp_path: Path) -> None:
    """And the file says so; nor do those tasks that a fresh learner for each leaves out."""
    taken = run(tmp_path, "zero", "lifelong").task_timesteps
    assert taken is not None
    assert not taken.any()
    made = run(tmp_path, "REINFORCE+scratch", "transfer")
    novel = made.settings["protocol"]["order"][-1]
    assert made.task_timesteps is not None
    assert made.task_timesteps[-1].tolist() == [10 * HORIZON * (task == novel) for task in range(N_TASKS)]


@pytest.mark.parametrize(("protocol", "n_tasks", "episodes"), [("lifelong", 40, 30), ("transfer", 50, 30)])
def test_no_task_of_many_is_left_out(tmp_path: Path, protocol: str, n_tasks: int, episodes: int) -> None:
    """Where there are more tasks than episodes, too."""
    tasks = sample_tasks(ID, n_tasks, preset="hetero")
    references = {name: np.full(n_tasks, value).tolist() for name, value in (("best", 1.0), ("zero", 0), ("random", 0))}
    small = Protocol(name=protocol, episodes_per_task=episodes, n_evaluations=1, n_eval_episodes=1)
    learner = LearnerSpec.of("REINFORCE")
    made = RunSpec(learner, FamilySpec.of(ID), tasks, small, 0, {"version": 1, **references})
    taken = read_run(execute(made, tmp_path)).task_timesteps
    assert taken is not None
    assert taken[-1].tolist() == [episodes * HORIZON] * n_tasks


def test_plans_that_can_t_be_kept_are_refused() -> None:
    """Before anything runs."""
    content = {"families": [ID], "protocol": {"name": "lifelong", "episodes_per_task": 3}, "seeds": 1}
    with pytest.raises(ExperimentError, match=r"learners.ENAC on families.*: a sweep of 3 episodes a task"):
        Experiment.of_dict({**content, "learners": ["zero", "ENAC"]}).check()
    many = {"name": "lifelong", "episodes_per_task": 3, "n_evaluations": 451}
    with pytest.raises(ExperimentError, match=r"learners.zero .*`n_evaluations` must be at most 450"):
        Experiment.of_dict({**content, "learners": ["zero"], "protocol": many}).check()


def test_evaluation_is_what_rollouts_say() -> None:
    """Episode j of task i is the mean policy's rollout under the row's seed."""
    learner = LearnerSpec.of("REINFORCE").make(env(), 0).learn(1)
    measured = Evaluation.of(ID, TASKS, 2, 100, "hide").measure(learner)
    for episode in range(2):
        for task in range(N_TASKS):
            expected = rollout(
                ID,
                tasks=TASKS[[task]],
                theta=learner.policy.thetas[[task]],
                n_trajectories=1,
                seed=100 + task + 3 * episode,
                sigma=0.0,
                reward="norm",
            )
            assert measured.returns[task, episode] == pytest.approx(expected.returns[0, 0], rel=1e-5)
    only = Evaluation.of(ID, TASKS, 2, 100, "hide").only(1)
    assert np.array_equal(only.seeds, [[101], [104]])


def test_evaluation_agrees_with_sb3() -> None:
    """SB3's own evaluation of ``for_task`` on one task earns the same."""
    learner = LearnerSpec.of("REINFORCE").make(env(), 0).learn(1)
    measured = Evaluation.of(ID, TASKS, 1, 7, "hide").measure(learner)
    single = gym.make(ID, tasks=TASKS, schedule=[2])
    single.reset(seed=9)
    single.unwrapped.core.seed(np.array([0]), [9])  # type: ignore[attr-defined]
    mean, _ = evaluate_policy(learner.for_task(2), single, n_eval_episodes=1, warn=False)
    assert mean == pytest.approx(measured.returns[2, 0], rel=1e-4)


def test_evaluation_leaves_generators_alone() -> None:
    """Training draws the same numbers whether or not it is evaluated in between."""
    learner = LearnerSpec.of("tests.toy_learners:Greedy").make(env(), 0)
    np.random.seed(5)
    first = np.random.random()
    np.random.seed(5)
    Evaluation.of(ID, TASKS, 1, 7, "hide").measure(learner)
    assert np.random.random() == first


@pytest.mark.parametrize("learner", ["PPO", "REINFORCE"])
def test_evaluation_doesn_t_touch_training(learner: str) -> None:
    """Ten times as many evaluations, and the same final policy."""
    one, other = (_trained(learner, n) for n in (1, 10))
    assert np.array_equal(one, other)


def _trained(learner: str, n_evaluations: int) -> Any:
    """All parameters of the final policy."""
    made = spec(learner, n_evaluations=n_evaluations)
    venv = made.training_env(TASKS, 0)
    model = made.learner.make(venv, 0)
    measured = []
    plan = made.protocol.plan(N_TASKS, HORIZON, 0)
    referee = Referee(venv, plan, lambda mark: measured.append(made.evaluation.measure(model)))
    model.learn(plan.total_timesteps)
    referee.finish()
    assert len(measured) == n_evaluations + 1
    return np.concatenate([p.detach().numpy().ravel() for p in model.policy.parameters()])


@pytest.mark.parametrize("protocol", PLANS)
def test_shape_of_runs(tmp_path: Path, protocol: str) -> None:
    """Evaluations at the protocol's times and stages; the reference is 1 and doing nothing 0, everywhere."""
    reference = run(tmp_path, "reference", protocol)
    plan = spec("reference", protocol).protocol.plan(N_TASKS, HORIZON, 0)
    assert reference.times.tolist() == [mark.num_timesteps for mark in plan.marks]
    assert list(reference.stages) == [mark.stage for mark in plan.marks]
    assert reference.returns.shape == (len(plan.marks), N_TASKS, 2)
    zero = run(tmp_path, "zero", protocol)
    assert reference.performance() == pytest.approx(1.0, abs=1e-9)  # measured on the very same episodes
    assert zero.performance() == pytest.approx(0.0, abs=1e-9)
    assert (reference.communication[-1] is None) == (protocol != "distributed")


def test_levels_of_a_family() -> None:
    """Best above random and zero in every task, and much headroom on the mass-springs that differ."""
    levels = levels_of(FamilySpec.of(ID, N_TASKS), Protocol(**SMALL))
    assert levels.references == REFERENCES
    assert REFERENCES is not None
    assert np.less(REFERENCES["random"], REFERENCES["best"]).all()
    assert np.less(REFERENCES["zero"], REFERENCES["best"]).all()
    assert levels.headroom is not None
    assert levels.headroom > 0.5


def test_references_of_a_table() -> None:
    """Without slip the best return is exactly 1, chance is below, and is the zero of the scale."""
    id = "LifelongGridWorld-v0"
    found = measured_references(id, sample_tasks(id, 3), 2, 0)
    assert found is not None
    assert found["best"] == [1.0, 1.0, 1.0]
    assert found["zero"] == found["random"]
    assert max(found["random"]) < 0.5


def test_scratch_learners_are_independent(tmp_path: Path) -> None:
    """A fresh learner per task: that of one task is the same whatever other tasks there are."""
    whole = run(tmp_path / "a", "REINFORCE+scratch")
    assert whole.alone
    assert whole.times.tolist() == [0, N_TASKS * 5 * HORIZON, N_TASKS * 10 * HORIZON]
    assert (whole.returns[0] != whole.returns[-1]).all()
    novel = run(tmp_path / "b", "REINFORCE+scratch", "transfer")
    (task,) = novel.settings["protocol"]["order"][-1:]
    others = [i for i in range(N_TASKS) if i != task]
    assert np.array_equal(novel.returns[:, task], whole.returns[:, task])
    assert (novel.returns[:, others] == novel.returns[0, others]).all()
    assert novel.times.tolist() == [0, 5 * HORIZON, 10 * HORIZON]


def test_a_class_says_what_it_wants_to_see(tmp_path: Path) -> None:
    """``task_observation`` of a class reaches training and evaluation."""
    assert LearnerSpec.of("tests.toy_learners:OneHot").task_observation == "one_hot"
    seen = run(tmp_path, "tests.toy_learners:OneHot")
    assert seen.settings["learner"]["task_observation"] == "one_hot"


def test_overspending_ends_the_run(tmp_path: Path) -> None:
    """A learner that ignores its budget is stopped, and no file is written."""
    with pytest.raises(BudgetError, match="must stop after about 4500 steps"):
        run(tmp_path, "tests.toy_learners:Endless")
    assert not list(tmp_path.glob("*.jsonl"))


def test_actions_that_are_no_numbers(tmp_path: Path) -> None:
    """The env's own error comes through."""
    with pytest.raises(ValueError, match="actions must be finite"):
        run(tmp_path, "tests.toy_learners:Diverged")


def test_learners_that_can_t_be_made() -> None:
    """The learner is named, and what it refuses."""
    with pytest.raises(LearnerError, match=r"'Mute' .tests.toy_learners:Mute. must have a method `predict`"):
        LearnerSpec.of("tests.toy_learners:Mute").make(env(), 0)
    grid = as_vec_env("LifelongGridWorld-v0", n_tasks=2)
    for name in ("SAC", "PGELLA", "zero"):
        with pytest.raises(LearnerError, match=f"learner '{name}' can't be made for GridWorld"):
            LearnerSpec.of(name).make(grid, 0)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["PPO", "A2C", "TQC"])
def test_learners_of_sb3_by_name(name: str) -> None:
    """SB3's and sb3-contrib's are there; rollouts keep SB3's usual size in whole minibatches."""
    model = LearnerSpec.of(name).make(env(), 3)
    assert model.seed == 3
    if name == "PPO":
        assert model.n_steps * N_TASKS % model.batch_size == 0
        assert 1024 <= model.n_steps * N_TASKS <= 2048
        single = LearnerSpec.of(name, arguments={"n_steps": 128}).make(env(), 3)
        assert single.n_steps == 128


class Killed(Exception):
    """Stands for a kill."""


@pytest.mark.parametrize(
    ("learner", "protocol"),
    [
        *itertools.product(
            ["PGELLA", "tests.toy_learners:Counter", "REINFORCE+scratch"], ["multi_task", "lifelong", "transfer"]
        ),
        ("REINFORCE+append", "lifelong"),
        ("ScalablePGELLA", "distributed"),
    ],
)
def test_a_killed_run_ends_in_the_same_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, learner: str, protocol: str
) -> None:
    """Interrupted at any evaluation and run again: the same bytes as in one go."""
    made = spec(learner, protocol, n_evaluations=3)
    whole = execute(made, tmp_path / "whole").read_bytes()
    measure = Evaluation.measure
    for fatal in (1, 3, 4):
        calls = 0

        def measure_or_die(self: Evaluation, learner: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == fatal:  # noqa: B023
                raise Killed
            return measure(self, learner)

        monkeypatch.setattr(Evaluation, "measure", measure_or_die)
        folder = tmp_path / f"killed{fatal}"
        with pytest.raises(Killed):
            execute(made, folder)
        monkeypatch.setattr(Evaluation, "measure", measure)
        path = execute(made, folder)
        assert path.read_bytes() == whole
        assert sorted(p.name for p in folder.iterdir()) == [path.name, f"{made.name}.timing.json"]


def test_a_kill_just_before_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All evaluations are there, only the end is missing: it is written, and nothing is left over."""
    made = spec("PGELLA")
    whole = execute(made, tmp_path / "whole").read_bytes()
    finish = RunWriter.finish

    def die(self: RunWriter) -> Path:
        raise Killed

    monkeypatch.setattr(RunWriter, "finish", die)
    with pytest.raises(Killed):
        execute(made, tmp_path / "killed")
    monkeypatch.setattr(RunWriter, "finish", finish)
    path = execute(made, tmp_path / "killed")
    assert path.read_bytes() == whole
    assert sorted(p.name for p in path.parent.iterdir()) == [path.name, f"{made.name}.timing.json"]


def test_only_whole_learners_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PG-ELLA doesn't take again the steps that it had taken; others begin anew."""
    assert Interrupted.armed
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, "tests.toy_learners:Interrupted")
    (part,) = tmp_path.glob("*.part")
    assert part.read_bytes().count(b"\n") == 3  # header, before training, one evaluation
    monkeypatch.setattr(Interrupted, "armed", False)
    assert len(run(tmp_path, "tests.toy_learners:Interrupted").times) == 3
    assert not list(tmp_path.glob("*.part"))


def test_experiment_runs_learners_side_by_side() -> None:
    """Runs of one seed come together, so that an interrupted benchmark compares everybody."""
    experiment = Experiment.of_dict({"learners": ["zero", "reference"], "families": [ID], "seeds": 2, "quick": True})
    runs = [run for _, run in experiment.runs()]
    assert [(run.seed, run.learner.label) for run in runs] == [
        (0, "zero"),
        (0, "reference"),
        (1, "zero"),
        (1, "reference"),
    ]
    assert len({run.name for run in runs}) == 4
