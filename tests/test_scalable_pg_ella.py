"""Learning in many places: what nodes find together, what they send, and what they do when messages are lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pettingzoo
import pytest
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecNormalize

from lifelong_gym import rollout, sample_tasks
from lifelong_gym.agents import PGELLA, ScalablePGELLA
from lifelong_gym.agents.linear.operating_point import with_eigenvalues_of_at_least
from lifelong_gym.agents.shared_basis import basis, distributed_basis
from lifelong_gym.agents.shared_basis.admm import Consensus, distance
from lifelong_gym.agents.shared_basis.shards import Shards
from lifelong_gym.errors import CheckpointError
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.wrappers import Channel, Faults, ParameterSharing, as_vec_env, graph_of

ID = "LifelongCartPole-v0"
POLICY = "LinearGaussianPolicy"
HORIZON, N = 40, 12
TASKS = sample_tasks(ID, 7, preset="hetero")
BASES = ("reinforce", "enac", "rwr")


def sharing(topology: Any = "ring", **settings: Any) -> ParameterSharing:
    """Seven agents."""
    return ParameterSharing(pettingzoo.make("parallel", ID, tasks=TASKS, horizon=HORIZON), topology, **settings)


def make(kind: Any = ScalablePGELLA, env: Any = None, **arguments: Any) -> Any:
    """A learner of seven tasks."""
    env = as_vec_env(ID, tasks=TASKS, horizon=HORIZON) if env is None else env
    return kind(POLICY, env, **{"seed": 0, "n_trajectories": N, "n_basis": 2, **arguments})


def sweeps(n: int) -> int:
    """In environment steps."""
    return n * len(TASKS) * N * HORIZON


class Errors(BaseCallback):
    """The largest errors that were logged."""

    def __init__(self) -> None:
        """None yet."""
        super().__init__()
        self.worst: dict[str, float] = {}

    def _on_step(self) -> bool:
        for name, value in self.logger.name_to_value.items():
            if name.endswith(("agreement_error", "distance_to_central")):
                self.worst[name] = max(self.worst.get(name, 0.0), value)
        return True


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("mean_basis", [False, True])
def test_exact_sums_learn_what_one_place_learns(base: str, mean_basis: bool) -> None:
    """By sums over a tree, nodes find the policies that `PGELLA` finds with all data in one place."""
    settings = {"base": base, "mean_basis": mean_basis}
    central, nodes = make(PGELLA, **settings), make(consensus="all_reduce", **settings)
    for _ in range(2):
        expected = central.learn(1).policy.thetas
        np.testing.assert_allclose(
            nodes.learn(1).policy.thetas, expected, rtol=1e-5, atol=1e-6 * np.abs(expected).max()
        )


@pytest.mark.parametrize("base", BASES)
def test_admm_comes_near_the_solution_in_one_place(base: str) -> None:
    """Thirty iterations, each sweep, on the ten nodes and the graph of the paper; both errors are in the log."""
    tasks = sample_tasks(ID, 12, preset="hetero")
    model = make(env=as_vec_env(ID, tasks=tasks, horizon=HORIZON), base=base)
    assert (model.n_nodes, model.channel.graph.number_of_edges()) == (10, 29)
    errors = Errors()
    model.learn(4 * 12 * N * HORIZON, callback=errors, log_interval=None)
    assert errors.worst.keys() == {
        "train/agreement_error",
        "train/distance_to_central",
        "train/basis_agreement_error",
        "train/basis_distance_to_central",
    }
    assert 0.0 < errors.worst["train/distance_to_central"] <= 2e-2
    assert 0.0 < errors.worst["train/basis_distance_to_central"] <= 1e-3


def test_more_iterations_come_nearer() -> None:
    """To the learner in one place."""
    expected = make(PGELLA, base="rwr").learn(1).policy.thetas
    distances = [
        np.linalg.norm(make(admm_iterations=k).learn(1).policy.thetas - expected) / np.linalg.norm(expected)
        for k in (3, 12, 60)
    ]
    assert distances[2] < 1e-4 < distances[0]
    assert distances[2] < distances[1] < distances[0]


def test_the_metric_decides_how_soon_not_what() -> None:
    """With P = I, scaled to the trace of the whitening one, nodes are far off after 30 iterations, and near in time."""
    expected = make(PGELLA, base="rwr").learn(1).policy.thetas
    settings = {"whitened": ("whitened", 30), "identity": ("identity", 30), "later": ("identity", 300)}
    off = {}
    for name, (metric, iterations) in settings.items():
        found = make(metric=metric, admm_iterations=iterations).learn(1).policy.thetas
        off[name] = np.linalg.norm(found - expected) / np.linalg.norm(expected)
    assert off["whitened"] < 0.02 < 0.1 < off["identity"]
    assert off["later"] < 0.7 * off["identity"]


def test_uses_the_channel_of_its_environment() -> None:
    """Its nodes, its graph and its ledger; tasks belong to their agents' nodes, and the results hardly depend on it."""
    env = sharing("ring", nodes=3)
    model = make(env=env)
    assert model.channel is env.channel
    assert model.n_nodes == 3
    assert model.knowledge.owners.tolist() == [0, 0, 1, 1, 2, 2, 2]
    model.learn(1)
    assert env.ledger.rounds > 0
    np.testing.assert_allclose(
        model.policy.thetas, make(PGELLA, base="rwr").learn(1).policy.thetas, rtol=0.05, atol=1e-3
    )
    wrapped = VecNormalize(as_vec_env(sharing("star")), norm_reward=False)
    assert make(env=wrapped).n_nodes == 7


def test_a_server_runs_no_trajectories() -> None:
    """A node without agents passes on what others know, and has no tasks."""
    agents = {f"task_{i}": [f"task_{i}"] for i in range(7)}
    env = sharing("star", nodes={"server": [], **agents})
    model = make(env=env, consensus="all_reduce")
    assert model.knowledge.owners.tolist() == [1, 2, 3, 4, 5, 6, 7]
    parts = model._sharer.pool.parts(np.ones((7, N, 2)))
    assert not parts[0].any()
    assert parts.sum() == 7 * N * 2
    np.testing.assert_allclose(model.learn(1).policy.thetas, make(PGELLA, base="rwr").learn(1).policy.thetas, rtol=1e-7)


@pytest.mark.parametrize("consensus", ["admm", "all_reduce"])
def test_the_ledger_counts_what_is_sent(consensus: str) -> None:
    """Every number that travels in a sweep, by hand."""
    env = sharing("ring")
    model = make(env=env, consensus=consensus, alternations=2, admm_iterations=4)
    model.learn(1)
    after_first = env.ledger.snapshot()
    model.learn(1)
    second = {name: count - after_first[name] for name, count in env.ledger.snapshot().items()}
    v, n, d, k = 7, 7, 5, 2
    edges, tree = 2 * 7, 2 * (v - 1)
    weights = n * N * 2  # returns and lengths
    matrices = n * d * (d + 1) // 2
    lengths = n
    policies, mean_code = n * d, k + 1
    systems, known = k * d * (k * d + 1) // 2, k + 1
    by_tree = weights + matrices + lengths + policies + mean_code + 2 * (systems + known)
    if consensus == "all_reduce":
        by_tree += n * d + 2 * k * d
        by_edge = 0
    else:
        by_edge = 4 * n * d + 2 * (1 + 4) * k * d
    assert second["bytes"] == 8 * (tree * by_tree + edges * by_edge)


def test_shards_hold_each_trajectory_once() -> None:
    """Partial sums add up, and everyone's table is whole."""
    shards = Shards(Channel(graph_of("chain", range(4))))
    values = np.random.default_rng(0).normal(size=(3, 5, 2))
    np.testing.assert_allclose(shards.parts(values).sum(axis=0), values.sum(axis=1), rtol=1e-12)
    np.testing.assert_allclose(shards.total(values), values.sum(axis=1, keepdims=True), rtol=1e-12)
    np.testing.assert_array_equal(shards.gathered(values), values)
    symmetric = np.random.default_rng(1).normal(size=(4, 3, 2, 2))
    symmetric = symmetric + symmetric.transpose(0, 1, 3, 2)
    np.testing.assert_allclose(shards.reduced_symmetric(symmetric), symmetric.sum(axis=0), rtol=1e-12)
    told = shards.told(np.array([3, 0, 3]), values)
    np.testing.assert_array_equal(told, values)


def test_large_bases_are_found_by_conjugate_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without forming the system, in one place and in many, the same policies."""
    expected = make(PGELLA, base="rwr").learn(sweeps(2)).policy.thetas
    monkeypatch.setattr(basis, "MOST_DIRECT", 0)
    monkeypatch.setattr(distributed_basis, "MOST_DIRECT", 0)
    for model in (make(PGELLA, base="rwr"), make(consensus="all_reduce")):
        np.testing.assert_allclose(model.learn(sweeps(2)).policy.thetas, expected, rtol=1e-4, atol=1e-5)
        assert "gram" not in model.knowledge.state_dict() or model.knowledge.array("gram").size == 0


def cost(thetas: FloatArray) -> float:
    """Of the mean policies, per step."""
    run = rollout(ID, tasks=TASKS, theta=thetas, n_trajectories=10, seed=999, sigma=0.0)
    return -float(run.returns.mean()) / 150


def test_learns_although_messages_are_lost() -> None:
    """A tenth of them: nearly as good as without losses, and much better than at the start."""
    costs = {}
    for loss in (0.0, 0.1):
        env = ParameterSharing(
            pettingzoo.make("parallel", ID, tasks=TASKS), "ring", faults=Faults(loss=loss, seed=0) if loss else None
        )
        model = make(env=env, base="reinforce", n_trajectories=5).learn(12 * 7 * 5 * 150)
        assert (env.ledger.lost > 0) == (loss > 0)
        costs[loss] = cost(model.policy.thetas)
    assert costs[0.1] < 0.5 * cost(np.zeros((7, 5)))
    assert costs[0.1] < 1.05 * costs[0.0]


def test_goes_on_to_the_bit_with_its_channel(tmp_path: Path) -> None:
    """Also with losses, if the channel goes on where it was."""

    def lossy() -> ParameterSharing:
        return sharing("ring", nodes=4, faults=Faults(loss=0.2, seed=3))

    env = lossy()
    model = make(env=env).learn(1)
    model.save(tmp_path / "model")
    state = env.channel.state_dict()
    expected = model.learn(1).policy.thetas
    again = lossy()
    again.channel.load_state_dict(state)
    loaded = ScalablePGELLA.load(tmp_path / "model", env=again)
    np.testing.assert_array_equal(loaded.learn(1).policy.thetas, expected)
    with pytest.raises(ValueError, match=r"`env` must have a channel of 4 nodes. Received 7"):
        loaded.set_env(sharing("ring"))
    with pytest.raises(CheckpointError, match=r"`env` must have a channel of 4 nodes. Received 3"):
        ScalablePGELLA.load(tmp_path / "model", env=sharing("ring", nodes=3))


@pytest.mark.parametrize("n_tasks", [1, 2, 4])
def test_few_tasks_have_few_nodes(n_tasks: int) -> None:
    """One each."""
    model = make(env=as_vec_env(ID, n_tasks=n_tasks, horizon=HORIZON)).learn(1)
    assert model.n_nodes == n_tasks
    assert np.isfinite(model.policy.thetas).all()
    assert model.policy.thetas.any()


def noisy(noise: float, topology: str = "ring", seed: int = 0) -> ParameterSharing:
    """Four masses, whose messages carry noise."""
    env = pettingzoo.make("parallel", "LifelongSimpleMass-v0", n_tasks=4)
    return ParameterSharing(env, topology, faults=Faults(noise=noise, seed=seed))


@pytest.mark.parametrize("topology", ["ring", "star"])
def test_learns_although_messages_carry_noise(topology: str) -> None:
    """As much as the smallest eigenvalues of what is added up, and more: no worse than without, or hardly."""
    tasks, costs = sample_tasks("LifelongSimpleMass-v0", 4), []
    for noise in (0.0, 1e-4, 1e-3, 1e-2):
        thetas = ScalablePGELLA(POLICY, noisy(noise, topology), seed=0).learn(8 * 4 * 5 * 150).policy.thetas
        run = rollout("LifelongSimpleMass-v0", tasks=tasks, theta=thetas, n_trajectories=10, seed=9, sigma=0.0)
        costs.append(-float(run.returns.mean()))
    assert max(costs) < 1.1 * costs[0] < 0.6 * 123.1, costs  # of doing nothing


@pytest.mark.parametrize("consensus", ["admm", "all_reduce"])
@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("direct", [True, False])
def test_no_noise_makes_numerics_fail(base: str, consensus: str, direct: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """However large it is: no warning (they are errors here), and policies of some thousands at most."""
    if not direct:
        monkeypatch.setattr(distributed_basis, "MOST_DIRECT", 0)
    for noise in (1e-3, 10.0):
        arguments: dict[str, Any] = {"base": base, "consensus": consensus, "mean_basis": base == "reinforce"}
        model = make(env=noisy(noise, "complete"), n_trajectories=6, seed=1, **arguments).learn(3 * 4 * 6 * 150)
        assert np.abs(model.policy.thetas).max() < 1e4


def test_sums_are_brought_back_to_what_is_known_of_them() -> None:
    """No eigenvalue below the least; one that is tells how small an eigenvalue can't be trusted."""
    axes = np.linalg.qr(np.random.default_rng(0).normal(size=(4, 4)))[0]
    given = np.array([[5.0, 1.0, 0.1, -0.4], [5.0, 1.0, 0.3, 0.2], [5.0, 0.0, 0.0, -1e-12]])
    expected = np.array([[5.0, 1.0, 0.6, 0.6], [5.0, 1.0, 0.3, 0.2], [5.0, 0.2, 0.2, 0.2 * 2]])
    matrices = (axes * given[:, None]) @ axes.T
    mended = with_eigenvalues_of_at_least(0.1, matrices)
    np.testing.assert_allclose(np.linalg.eigvalsh(mended)[0], np.sort(expected[0]), rtol=1e-12)
    np.testing.assert_array_equal(mended[1], matrices[1])
    rounded = with_eigenvalues_of_at_least(0.0, matrices[2:])
    np.testing.assert_array_equal(rounded, matrices[2:])
    assert np.linalg.eigvalsh(mended[2]).min() >= 0.1


@pytest.mark.parametrize("topology", ["ring", "complete"])
def test_a_metric_must_be_positive_definite(topology: str) -> None:
    """Any that is leads to the solution, however wrong it is; with one that isn't, iterates grow without bound."""
    rng, link = np.random.default_rng(0), Channel(graph_of(topology, range(6)))
    root = rng.normal(size=(6, 1, 2, 2))
    matrix, vector = root @ root.transpose(0, 1, 3, 2), rng.normal(size=(6, 1, 2))
    exact = np.linalg.solve(matrix.sum(axis=0), vector.sum(axis=0)[..., None])[..., 0]
    for sizes in ((0.1, 5.0), (5.0, 0.1), (20.0, 1.0)):
        x = Consensus(link, matrix, vector, np.diag(sizes)[None]).iterate(400)
        assert distance(x, exact) < 0.01
    least = np.linalg.eigvalsh(matrix.mean(axis=0)).min()
    indefinite = matrix.mean(axis=0) - 1.1 * least * np.eye(2)
    consensus = Consensus(link, matrix, vector, indefinite)
    assert np.abs(consensus.iterate(10)).max() < 0.01 * np.abs(consensus.iterate(90)).max()
