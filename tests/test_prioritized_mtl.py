"""Direct policy gradients through what has happened: rewards are the env's own, sampling is Algorithm 1's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch as th
from stable_baselines3.common.callbacks import StopTrainingOnMaxEpisodes
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecNormalize
from typer.testing import CliRunner

import lifelong_gym
from lifelong_gym.agents import PrioritizedMTL
from lifelong_gym.agents.equivariant.differentiable import DifferentiableTasks
from lifelong_gym.agents.equivariant.prioritized_mtl import steps_back
from lifelong_gym.agents.equivariant.samplers import effective_share
from lifelong_gym.agents.equivariant.scorers import SCORERS, Batch
from lifelong_gym.benchmark.families import FamilySpec
from lifelong_gym.benchmark.learners import LearnerSpec
from lifelong_gym.benchmark.protocol import Protocol
from lifelong_gym.benchmark.run import RunSpec, execute
from lifelong_gym.cli.main import app
from lifelong_gym.errors import CheckpointError, FamilyError
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.wrappers import Budget, Stage, as_vec_env
from tests.market import DAYS, EQUAL, HORIZON, WINDOW, Market
from tests.test_going_on import gone_on, killed

ID = "LifelongPortfolio-v0"
PRICES = {"source": "planted", "days": 60, "instruments": 8, "reversion": 0.5}
ARGUMENTS: dict[str, Any] = {"prices": PRICES, "m": 3, "window": 4, "days": 0}
SMALL: dict[str, Any] = {**ARGUMENTS, "backend": "numpy"}
ABSENT = {"instrument_1": 5, "instrument_2": -1, "instrument_3": 2, "cost": 0.02}


class Looked(Market):
    """A market whose past can be looked at."""

    clock = "day"

    def history(self, parameters: dict[str, FloatArray]) -> list[FloatArray]:
        """Equal shares on all days that episodes may reach."""
        days = np.arange(WINDOW, DAYS - 1.0)
        return [np.column_stack([np.tile(EQUAL, (len(days), 1)), days]) for _ in parameters["first"]]


def rows(**settings: Any) -> Any:
    """A VecEnv of small portfolios, a row a task."""
    return as_vec_env(ID, **{**({} if "tasks" in settings else {"n_tasks": 3}), **SMALL, **settings})


def learner(env: Any = None, **own: Any) -> PrioritizedMTL:
    """A small one."""
    settings = {"batch_size": 10, "policy_kwargs": {"hidden": 8}, "seed": 0, "device": "cpu", **own}
    return PrioritizedMTL("EquivariantPolicy", rows() if env is None else env, **settings)


def parameters(model: PrioritizedMTL) -> dict[str, Any]:
    """Of the policy."""
    return model.get_parameters()["policy"]


def assert_same(one: PrioritizedMTL, other: PrioritizedMTL) -> None:
    """Policy, optimiser, scores and memory are equal to the bit."""
    for name, tensor in parameters(one).items():
        assert tensor.equal(parameters(other)[name]), name
    for mine, its in zip(one.policy.optimizer.state.values(), other.policy.optimizer.state.values(), strict=True):
        assert all(th.equal(mine[name], its[name]) for name in mine)
    np.testing.assert_array_equal(one.sampler.scores, other.sampler.scores)
    assert one.memory.tasks == other.memory.tasks
    for task in one.memory.tasks:
        np.testing.assert_array_equal(one.memory.states[task], other.memory.states[task])


# ------------------------------------------------------------------------------------------------- rewards on tensors


@pytest.mark.parametrize(
    ("id", "settings", "n_steps"),
    [
        (ID, {**SMALL, "tasks": [{"cost": 0.02}, ABSENT], "reward": "log_return"}, 30),
        (ID, {**SMALL, "tasks": [{"cost": 0.1}], "cost_model": "approximate", "actions": "logits"}, 30),
        ("tests.test_prioritized_mtl:Looked", {"n_tasks": 3, "backend": "numpy"}, HORIZON - 1),
    ],
    ids=["exact", "approximate-logits", "market"],
)
def test_rewards_and_observations_are_the_envs_own(id: str, settings: dict[str, Any], n_steps: int) -> None:
    """To 1e-6, from the first step on, in every task: costs, drift, absent entities, logits, another family."""
    env: Any = as_vec_env(id, **settings)
    core, low = env.core, env.action_space.low
    tasks = DifferentiableTasks(core, core.tasks)
    env.seed(3)
    seen, states, rewards = [env.reset()], [core.states()], list[Any]()
    actions = np.random.default_rng(0).uniform(low, 1.0, (n_steps, env.num_envs, len(low))).astype(np.float32)
    for action in actions:
        observation, reward, *_ = env.step(action)
        seen, states, rewards = [*seen, observation], [*states, core.states()], [*rewards, reward]
    visited = np.array(states)
    for task in range(env.num_envs):
        first = int(visited[0, task, tasks.clock] - tasks.history(task)[0, tasks.clock])
        if id == ID:
            np.testing.assert_array_equal(tasks.history(task)[first], visited[0, task])
        at = tasks.history(task)[first : first + n_steps]
        shares, present = tasks.shares(task, at, th.from_numpy(actions[:, task]))
        after, found = tasks.chained(task, at, shares)
        np.testing.assert_allclose(found.numpy(), np.array(rewards)[:, task], atol=1e-6)
        own = [i for i, channel in enumerate(core.family.state) if channel.name.startswith("share")]
        np.testing.assert_allclose(after.numpy()[:, own], visited[1:, task][:, own], atol=1e-12)
        np.testing.assert_allclose(
            tasks.observe(task, visited[:-1, task]).numpy(), np.array(seen)[:-1, task], atol=1e-6
        )
        assert bool(((present > 0) | (shares == 0)).all())


def test_the_gradient_is_that_of_chained_rewards() -> None:
    """Finite differences agree; an action's derivative reaches its own reward and the next one's cost, and no other."""
    env = rows(tasks=[{"cost": 0.05}])
    tasks = DifferentiableTasks(env.core, env.core.tasks)
    states, rng = tasks.history(0)[:6], np.random.default_rng(1)
    shares = th.from_numpy(rng.dirichlet(np.ones(3), 6)).requires_grad_()
    rewards = tasks.chained(0, states, shares)[1]
    jacobian = np.array([th.autograd.grad(reward, shares, retain_graph=True)[0].numpy() for reward in rewards])
    numeric = np.zeros_like(jacobian)
    for n in range(6):
        for i in range(3):
            step = th.zeros_like(shares)
            step[n, i] = 1e-6
            up, down = (tasks.chained(0, states, (shares + sign * step).detach())[1] for sign in (1, -1))
            numeric[:, n, i] = ((up - down) / 2e-6).numpy()
    np.testing.assert_allclose(jacobian, numeric, atol=1e-5)
    touched = np.abs(jacobian).max(axis=2) > 1e-9
    np.testing.assert_array_equal(touched, np.eye(6, dtype=bool) | np.eye(6, k=-1, dtype=bool))


# ---------------------------------------------------------------------------------------------- sampling and weights


def test_probabilities_and_weights_are_algorithm_1s() -> None:
    """``p ~ s^alpha``, ``w = (T p)^-beta / max``; with beta 1 the expected gradient is the mean's, to 1e-12."""
    model = learner(alpha=0.5, beta=1.0)
    model.learn(3)
    model.sampler.scores[:] = scores = np.array([0.1, 0.4, 0.9])
    tasks, p, w = model._sampling()
    np.testing.assert_array_equal(tasks, [0, 1, 2])
    np.testing.assert_allclose(p, scores**0.5 / (scores**0.5).sum())
    np.testing.assert_allclose(w, (1 / (3 * p)) / (1 / (3 * p)).max())
    gradients = np.random.default_rng(0).standard_normal((3, 4))
    np.testing.assert_allclose((p * w) @ gradients / (p @ w), gradients.mean(axis=0), atol=1e-12)
    model.by_max, model.beta = False, 0.5
    np.testing.assert_allclose(model._sampling()[2], (3 * p) ** -0.5)
    assert effective_share(p, model._sampling()[2]) < 1.0


def test_alpha_0_is_multi_task_learning() -> None:
    """Whatever is scored and however it is corrected, the same parameters: tasks are drawn alike."""
    one, other = learner(alpha=0.0).learn(20), learner(alpha=0.0, scorer="reward_variance", beta=0.0).learn(20)
    for name, tensor in parameters(one).items():
        assert tensor.equal(parameters(other)[name]), name
    assert not np.array_equal(one.sampler.scores, other.sampler.scores)
    np.testing.assert_allclose(one._sampling()[1], 1 / 3)
    drawn = [int(np.random.default_rng([0, n]).choice(3)) for n in range(300)]
    assert np.bincount(drawn).min() > 70
    prioritised = learner(alpha=2.0).learn(20)
    assert any(not tensor.equal(parameters(prioritised)[name]) for name, tensor in parameters(one).items())


def test_one_task_is_single_task_learning() -> None:
    """Priorities and corrections change nothing where there is no other task."""
    one, other = (learner(rows(n_tasks=1), alpha=alpha, beta=beta).learn(15) for alpha, beta in ((0.5, 1.0), (0, 0)))
    assert_same(one, other)


def test_recent_batches() -> None:
    """Steps back from the last possible beginning are geometric, cut where the data begin; without bias uniform."""
    draws = (np.arange(20_000) + 0.5) / 20_000
    back = np.bincount([steps_back(9, 0.3, u) for u in draws], minlength=10) / len(draws)
    expected = 0.7 ** np.arange(10)
    np.testing.assert_allclose(back, expected / expected.sum(), atol=1e-3)
    np.testing.assert_allclose(np.bincount([steps_back(9, 0.0, u) for u in draws]) / len(draws), 0.1, atol=1e-3)
    assert {steps_back(0, q, u) for q in (0.0, 0.5) for u in (0.0, 0.999999)} == {0}
    assert steps_back(4, 1e-3, 1.0 - 2**-53) == 4


def test_scorers() -> None:
    """Of two days and three instruments, one of them absent on both."""
    shares, present = th.tensor([[0.5, 0.5, 0.0], [0.9, 0.1, 0.0]]), th.tensor([[1.0, 1.0, 0.0]] * 2)
    batch = Batch(shares, present, th.tensor([1.0, 3.0]), 0.25)
    expected = {"deviation": 0.4, "mean_deviation": 0.2, "reward_variance": 1.0, "gradient_norm": 0.25}
    assert {name: pytest.approx(score(batch)) for name, score in SCORERS.items()} == expected


def test_the_gradients_norm_is_the_unweighted_ones() -> None:
    """As computed from the policy by itself."""
    model = learner(rows(n_tasks=1), scorer="gradient_norm", smoothing=0.0, batch_size=100)
    before = learner(rows(n_tasks=1), batch_size=100)
    model.learn(1)
    tasks = DifferentiableTasks(model.env.core, model.tasks)  # type: ignore[union-attr, arg-type]
    states = tasks.history(0)
    states[1, 5:] = model.env.core.states()[0, 5:]  # type: ignore[union-attr]  # where the first action has led
    actions = before.policy.get_distribution(tasks.observe(0, states)).mode()
    loss = tasks.chained(0, states, tasks.shares(0, states, actions)[0])[1].mean()
    loss.backward()
    gradients = [p.grad for p in before.policy.parameters() if p.grad is not None]
    assert model.sampler.scores[0] == pytest.approx(float(th.cat([g.flatten() for g in gradients]).norm()), rel=1e-5)


# ----------------------------------------------------------------------------------------------------- memory, acting


def test_the_memory_is_overwritten_by_what_actions_lead_to() -> None:
    """Those days alone that follow the batch's; what is shown of shares comes from it."""
    model = learner(rows(n_tasks=1), batch_size=10, recency=0.9, learning_rate=0.1)
    model.learn(12)
    before = model.memory.states[0].copy()
    assert model._model is not None
    shown = model._model.observe(0, before)
    np.testing.assert_allclose(shown.numpy().reshape(-1, 3, 5)[..., 3], 3 * before[:, 5:] - 1, atol=1e-6)
    actions = model.predict(shown.numpy(), deterministic=True)[0].astype(np.float64)
    model.train()
    after = model.memory.states[0]
    changed = np.flatnonzero((before != after).any(axis=1))
    assert 0 < len(changed) <= 10
    days = before[changed - 1, 0].astype(int)
    family: Any = model.env.core.family  # type: ignore[union-attr]
    columns = [int(model.tasks[0][f"instrument_{i + 1}"]) for i in range(3)]  # type: ignore[index]
    grown = actions[changed - 1] * family.data.relatives[days][:, columns]
    np.testing.assert_allclose(after[changed, 5:], grown / grown.sum(axis=1, keepdims=True), atol=1e-6)
    np.testing.assert_array_equal(after[:, 0], before[:, 0])


def test_tasks_that_were_learned_from_act_from_their_own_clock() -> None:
    """The others stay where they are; the memory holds what actions led to; at the period's end it goes on in front."""
    model = learner(n_steps=7, gradient_steps=1)
    model.learn(1)
    core = model.env.core  # type: ignore[union-attr]
    assert model.num_timesteps == 21
    for sweep in range(12):
        (task,) = model._drawn
        days = core.states()[:, 0].copy()
        model.learn(1, reset_num_timesteps=False)
        moved = core.states()[:, 0] != days
        np.testing.assert_array_equal(moved, np.arange(3) == task)
        assert model.num_timesteps == 21 + 7 * (sweep + 1)
        assert (core.states()[task, 0] - 4) % 56 == (days[task] - 4 + 7) % 56
    remembered = learner(rows(n_tasks=1), n_steps=3).learn(3)
    remembered.collect_rollouts()
    state = remembered.env.core.states()[0]  # type: ignore[union-attr]
    np.testing.assert_array_equal(remembered.memory.states[0][6], state)


def test_only_tasks_that_have_come_up_are_learned_from() -> None:
    """Others are met when a row acts in them."""
    model = learner(rows(schedule=[1])).learn(5)
    assert model.memory.tasks == [1]
    assert model.sampler.scores[0] == model.sampler.scores[2] == 1.0


def test_a_stages_tasks_are_met_in_it() -> None:
    """Not before a step is taken in them; of earlier ones it goes on learning, and all get their steps."""
    env = rows()
    env.budget = Budget(env.core, [Stage((1,), 15), Stage((0, 2), 10)])
    model = learner(env, n_steps=2).learn(15)
    assert model.memory.tasks == [1]
    assert model.num_timesteps == 15
    model.learn(1000, reset_num_timesteps=False)
    assert model.memory.tasks == [0, 1, 2]
    np.testing.assert_array_equal(env.budget.taken, [10, 15, 10])
    assert model.num_timesteps == 35


# --------------------------------------------------------------------------------------------------------- it learns


def test_it_learns_what_is_planted() -> None:
    """Prices that revert by half: more than a third of what the rule that knows it earns, on other instruments, too."""
    prices = {"source": "planted", "days": 200, "instruments": 12, "reversion": 0.5}
    given: dict[str, Any] = {"prices": prices, "m": 3, "window": 4, "days": 0}
    env = as_vec_env(ID, n_tasks=4, preset="train_seen", **given)
    model = PrioritizedMTL("EquivariantPolicy", env, 1e-2, gradient_steps=20, seed=0, device="cpu").learn(40)
    unseen = as_vec_env(ID, n_tasks=4, preset="test_unseen", **given)
    learned, rule = np.zeros(4), np.zeros(4)
    for gains, act in ((learned, model.predict), (rule, _on_what_fell)):
        unseen.seed(0)
        observations: Any = unseen.reset()
        for _ in range(50):
            observations, rewards, *_ = unseen.step(act(observations, deterministic=True)[0])
            gains += rewards
    assert learned.sum() > rule.sum() / 3 > 0


def _on_what_fell(observations: Any, deterministic: bool) -> tuple[Any, None]:
    return np.eye(3, dtype=np.float32)[observations.reshape(-1, 3, 5)[:, :, 2].argmax(axis=1)], None


# ------------------------------------------------------------------------------------------------------- the contract


@pytest.mark.parametrize("own", [{}, {"n_steps": 3, "gradient_steps": 4, "scorer": "gradient_norm"}], ids=["1", "3"])
def test_it_goes_on_to_the_bit(own: dict[str, Any], tmp_path: Path) -> None:
    """Saved in the middle of episodes, loaded in another env, without an env in between."""
    straight = learner(**own).learn(30)
    first = learner(**own).learn(14)
    first.save(tmp_path / "model")
    PrioritizedMTL.load(tmp_path / "model", device="cpu").save(tmp_path / "copy")
    again = PrioritizedMTL.load(tmp_path / "copy", rows(), device="cpu")
    assert_same(first, again)
    again.learn(30 - first.num_timesteps, reset_num_timesteps=False)
    assert again.num_timesteps == straight.num_timesteps
    assert_same(straight, again)
    seen: Any = rows().reset()
    for model in (again, PrioritizedMTL.load(tmp_path / "copy", device="cpu").for_task(1)):
        drawn, decided = (model.predict(seen, deterministic=flag)[0] for flag in (False, True))
        np.testing.assert_allclose(drawn, decided, atol=1e-6)


def test_other_files_are_refused(tmp_path: Path) -> None:
    """A memory of other steps, or none at all; nothing has changed then."""
    model = learner().learn(9)
    before = model.memory.state_dict()
    others: list[Any] = [{"x": before["0"]}, {"0": before["0"][1:]}, {"0": before["0"] * np.nan}, []]
    for wrong in others:
        with pytest.raises(CheckpointError):
            model.memory.load_state_dict(wrong)
    assert model.memory.state_dict().keys() == before.keys()
    (tmp_path / "model.zip").write_bytes(b"nothing")
    with pytest.raises(CheckpointError):
        PrioritizedMTL.load(tmp_path / "model.zip")


def test_further_tasks() -> None:
    """They have a policy at once, a first score, and are learned from as soon as an env brings them."""
    tasks = lifelong_gym.family(ID, **ARGUMENTS).parameters.sample(4, seed=0)
    model = learner(rows(tasks=tasks[[0, 1]])).learn(20)
    scores = model.sampler.scores.copy()
    model.add_tasks(tasks)
    assert model.n_tasks == 4
    np.testing.assert_array_equal(model.sampler.scores, [*scores, 1.0, 1.0])
    seen: Any = rows().reset()
    np.testing.assert_array_equal(model.for_task(3).predict(seen)[0], model.for_task(0).predict(seen)[0])
    model.set_env(rows(tasks=tasks[[3, 1]]))
    model.learn(20)
    assert model.memory.tasks == [0, 1, 3]


def test_it_keeps_the_contract(tmp_path: Path) -> None:
    """Callbacks stop it, policies are evaluated, the command line trains it, a recurrent encoder is had by name."""
    env = rows(days=10)
    model = learner(env).learn(10_000, callback=StopTrainingOnMaxEpisodes(4))
    assert model.num_timesteps < 200
    assert np.isfinite(evaluate_policy(model.for_task(0), env, 2)[0])
    options = ["--n-tasks", "2", "--total-timesteps", "6", "-e", "days=0", "-e", f"prices={json.dumps(PRICES)}"]
    options += ["-e", "window=4", "-a", 'policy_kwargs={"encoder": "rnn", "hidden": 5}', "--folder", str(tmp_path)]
    done = CliRunner().invoke(app, ["train", "PrioritizedMTL", ID, *options])
    assert done.exit_code == 0, done.output
    trained = PrioritizedMTL.load(tmp_path / "model.zip", device="cpu")
    assert parameters(trained)["mlp_extractor.encoder.recurrent.weight_ih_l0"].shape == (5, 1)


def test_a_killed_run_of_a_benchmark_ends_in_the_same_bytes(tmp_path: Path) -> None:
    """Stage by stage every task gets its steps to the last one, though tasks are drawn."""
    family = FamilySpec.of(ID, 3, arguments={**ARGUMENTS, "days": 12})
    learners = LearnerSpec.of("PrioritizedMTL", arguments={"batch_size": 10, "n_steps": 5, "gradient_steps": 2})
    for name in ("multi_task", "lifelong"):
        protocol = Protocol(name=name, episodes_per_task=2, n_evaluations=4, n_eval_episodes=1)
        run = RunSpec(learners, family, family.tasks, protocol, 0, None)
        whole = execute(run, tmp_path / f"{name}-whole")
        killed(tmp_path / name, run)
        again, n_measured = gone_on(tmp_path / name, run)
        assert n_measured < len(run.plan(3).marks)
        assert again.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize(
    ("env", "own", "error", "message"),
    [
        ("LifelongAllocation-v0", {}, FamilyError, "all noise has happened.*Received Allocation"),
        ("LifelongSimpleMass-v0", {}, FamilyError, "Received SimpleMass"),
        ("tests.market:Market", {}, FamilyError, "Received Market"),
        ({"hide_task_id": True}, {}, ValueError, "must tell its tasks"),
        ({"task_observation": "append"}, {}, ValueError, "task_observation='hide'"),
        (VecNormalize, {}, ValueError, "unwrapped"),
        ({}, {"alpha": -1}, ValueError, "`alpha` must be in"),
        ({}, {"beta": 1.5}, ValueError, "`beta` must be in"),
        ({}, {"smoothing": 1.0}, ValueError, "`smoothing` must be in"),
        ({}, {"recency": 1.0}, ValueError, "`recency` must be in"),
        ({}, {"scorer": "regret"}, ValueError, "gradient_norm"),
        ({}, {"batch_size": 0}, ValueError, "`batch_size`"),
        ({}, {"policy_kwargs": {"head": "dirichlet"}}, ValueError, "must not have 'head'"),
        ({}, {"policy_kwargs": {"encoder": "lstm"}}, ValueError, "encoder"),
    ],
)
def test_bad_arguments(env: Any, own: dict[str, Any], error: type[Exception], message: str) -> None:
    """Are named before anything has been made; families without a past are refused."""
    made = as_vec_env(env, n_tasks=2) if isinstance(env, str) else env(rows()) if callable(env) else rows(**env)
    with pytest.raises(error, match=message):
        learner(made, **own)
