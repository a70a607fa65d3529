"""A shared basis whose tasks and trajectories lie in many places, as a part of a policy search."""

from __future__ import annotations

import numpy as np
from stable_baselines3.common.vec_env import VecEnv

from lifelong_gym.agents.contract.environment import sharing_of
from lifelong_gym.agents.contract.roster import Roster
from lifelong_gym.agents.linear.base_learners import BaseLearner
from lifelong_gym.agents.linear.operating_point import OperatingPoint, Silence, solved
from lifelong_gym.agents.linear.policies import LinearGaussianPolicy
from lifelong_gym.agents.linear.sharers import Record, Sweep
from lifelong_gym.agents.shared_basis.admm import agreement_error, distance
from lifelong_gym.agents.shared_basis.distributed_basis import ConsensusSettings, DistributedBasis
from lifelong_gym.agents.shared_basis.shards import Shards, counts
from lifelong_gym.agents.shared_basis.sharers import BasisSettings, BasisSharer, Fit
from lifelong_gym.errors import integer
from lifelong_gym.numerics.arrays import FloatArray, IntArray
from lifelong_gym.wrappers import Channel, graph_of

DEFAULT_N_NODES = 10
N_RANDOM_EDGES = 20
MOST_NODES = 10_000  # without a channel of one's own


def default_channel(n_nodes: int) -> Channel:
    """A chain and 20 random edges, or as many as there is room for."""
    integer("n_nodes", n_nodes, least=1, most=MOST_NODES)
    room = (n_nodes - 1) * (n_nodes - 2) // 2
    return Channel(graph_of(f"chain+{min(N_RANDOM_EDGES, room)}" if room > 0 else "chain", range(n_nodes)))


class NodesSharer(BasisSharer):
    """A `BasisSharer` among nodes: operating points and the basis are found by messages (Algorithms 1 and 2).

    Args:
        settings: of the basis.
        fit: how codes and basis take turns.
        agreement: how nodes come to a common solution.

    Attributes:
        channel: between the nodes; None until there is an environment.
        n_nodes: how many; 0 until there is an environment or a file says it.
    """

    knowledge: DistributedBasis
    pool: Shards

    def __init__(self, settings: BasisSettings, fit: Fit, agreement: ConsensusSettings) -> None:
        """See the class."""
        super().__init__(settings, fit)
        self._agreement = agreement
        self.n_nodes = 0
        self.channel: Channel | None = None
        self._owned: list[IntArray] = []  # the tasks of each node's agents, where there are agents
        self._errors: dict[str, float] = {}  # of the last operating points

    def counters(self) -> dict[str, int]:
        """The number of nodes, between which a file's tasks and bases are divided."""
        return {"n_nodes": self.n_nodes}

    def refuse(self, env: VecEnv) -> None:
        """Another number of nodes."""
        sharing = sharing_of(env)
        if sharing is not None and len(sharing.nodes) != self.n_nodes:
            raise ValueError(f"`env` must have a channel of {self.n_nodes} nodes. Received {len(sharing.nodes)}")

    def enter(self, env: VecEnv, roster: Roster, places: IntArray) -> None:
        """Use the environment's channel, or make one; tasks belong to the nodes of their agents."""
        sharing = sharing_of(env)
        if sharing is not None:
            members = list(sharing.members.values())
            self._join(sharing.channel, np.flatnonzero([len(agents) > 0 for agents in members]))
            index = {agent: i for i, agent in enumerate(sharing.possible_agents)}
            self._owned = [places[[index[agent] for agent in agents]] for agents in members]
        elif self.channel is None:
            self._join(default_channel(self.n_nodes or min(DEFAULT_N_NODES, roster.n_tasks)))
        if hasattr(self, "knowledge"):
            self._assign()

    def _join(self, channel: Channel, workers: IntArray | None = None) -> None:
        self.channel, self.pool = channel, Shards(channel, workers)
        self.n_nodes = len(channel.nodes)

    def _assign(self) -> None:
        for node, tasks in enumerate(self._owned):
            self.knowledge.owners[tasks] = node

    def set_up(self, policy: LinearGaussianPolicy, env: VecEnv | None, roster: Roster, from_file: bool) -> None:
        """Empty bases."""
        integer("n_nodes", self.n_nodes, least=1)
        super().set_up(policy, env, roster, from_file)
        self._assign()

    def _empty(self, n_tasks: int, d: int) -> DistributedBasis:
        s = self._settings
        return DistributedBasis(self.n_nodes, n_tasks, d, s.n_basis, s.sparsity, s.ridge, s.mean_basis)

    def point(self, improver: BaseLearner, sweep: Sweep, step: float) -> OperatingPoint:
        """Algorithm 1: each task's, as its owner knows it."""
        shards, thetas = self.pool, sweep.thetas[sweep.rows]
        statistics = improver.compared(sweep.statistics, shards)
        parts = [improver.equations(statistics, share) for share in shards.shares(*statistics.returns.shape)]
        matrix, vector, curvature, weight = (np.array(part) for part in zip(*parts, strict=True))
        total = shards.reduced_symmetric(matrix)
        x = Silence.of(total).taken_from(self._agreement.solve(shards, matrix, vector, total))
        self._errors = {
            "agreement_error": agreement_error(x),
            "distance_to_central": distance(x, solved(total, vector.sum(axis=0))),
        }
        is_known = parts[0].curvature is parts[0].matrix
        information = total if is_known else shards.reduced_symmetric(curvature)
        solution = x[self.knowledge.owners[sweep.rows], np.arange(len(thetas))]
        n = counts(shards.reduced(weight), least=1.0)  # of living steps or trajectories
        return improver.arrive(thetas, solution, information, n, step)

    def _learn(self, tasks: IntArray, point: OperatingPoint, rng: np.random.Generator, record: Record) -> None:
        """Algorithm 2, in turns with local codes."""
        knowledge, shards = self.knowledge, self.pool
        knowledge.agree_on_first(shards, tasks, point.target, rng)
        self._fit(knowledge, tasks, point, lambda: knowledge.agree(shards, self._agreement, rng), record)
        figures = {
            **{f"train/{name}": error for name, error in self._errors.items()},
            **{f"train/basis_{name}": error for name, error in knowledge.errors.items()},
            **{f"channel/{name}": total for name, total in shards.channel.ledger.snapshot().items()},
        }
        for name, figure in figures.items():
            record(name, figure)

    def _policies(self) -> FloatArray:
        if self.channel is None:  # loaded without an environment
            return super()._policies()
        return self.knowledge.told_policies(self.pool)
