"""Scalable lifelong policy search, ePG-ELLA (Zhan, Bou Ammar and Taylor 2017): a shared basis among nodes."""

from __future__ import annotations

from typing import Any, ClassVar, Unpack

import numpy as np
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import Schedule

from lifelong_gym.agents.contract.checks import choice, count, number
from lifelong_gym.agents.contract.environment import sharing_of, to_vec_env
from lifelong_gym.agents.linear.operating_point import OperatingPoint, solved
from lifelong_gym.agents.shared_basis.admm import agreement_error, distance
from lifelong_gym.agents.shared_basis.basis_search import BasisArguments, BasisSearch
from lifelong_gym.agents.shared_basis.distributed_basis import ConsensusSettings, DistributedBasis
from lifelong_gym.agents.shared_basis.shards import Shards, counts
from lifelong_gym.errors import integer
from lifelong_gym.numerics.arrays import FloatArray, IntArray
from lifelong_gym.wrappers import Channel, ParameterSharing, graph_of

CONSENSUS = ("admm", "all_reduce")
DEFAULT_N_NODES = 10
N_RANDOM_EDGES = 20
MOST_NODES = 10_000  # without a channel of one's own


def default_channel(n_nodes: int) -> Channel:
    """A chain and 20 random edges, or as many as there is room for."""
    integer("n_nodes", n_nodes, least=1, most=MOST_NODES)
    room = (n_nodes - 1) * (n_nodes - 2) // 2
    return Channel(graph_of(f"chain+{min(N_RANDOM_EDGES, room)}" if room > 0 else "chain", range(n_nodes)))


class ScalablePGELLA(BasisSearch):
    """Policies that share a basis, found by nodes that each run a part of every task's trajectories.

    See `BasisSearch` for what is minimised. Each node keeps the codes of a part of the tasks.

    Nothing but messages through the channel connects nodes. In a sweep they exchange: what weights depend on (returns
    and lengths, or sums over trajectories); sums of curvatures; for each task's operating point (Algorithm 1) and then
    for the basis, ``alternations`` times (Algorithm 2), their solutions, by ADMM with neighbours or by sums over a
    spanning tree; and the policies, told by each task's owner. Codes are found locally. What ADMM converges to is the
    solution in one place, so this learns what `PGELLA` learns; it is for data that lie in many places. See
    `Consensus` and `DistributedBasis`.

    Paper: Zhan, Bou Ammar and Taylor, Scalable lifelong reinforcement learning, Pattern Recognition 72, 2017. Departs
    from it: errata in signs and shapes; exponential weights, over all nodes; capped steps; curvatures scaled to equal
    trace; codes and L alternate; messages whitened by the mean of all nodes' matrices; nodes ordered by colour.

    Args:
        env: an id, a PettingZoo ParallelEnv, a vector env of ours, or any SB3 VecEnv, with one-dimensional Boxes. The
            channel of a `ParameterSharing` is used; without one, ten nodes (or one a task, if fewer) are linked by a
            chain and 20 random edges, as in the paper.
        consensus: ``"admm"``, or ``"all_reduce"``, which is exact and, for small policies and bases, takes fewer bytes
            and rounds.
        admm_iterations: K.
        penalty: rho, in units of the nodes' mean matrix.
        alternations: how often codes and L take turns in a sweep.
        **basis: see `BasisSearch`.

    Attributes:
        channel: between the nodes; ``channel.ledger`` counts what was sent. A model file doesn't hold it: to go on to
            the bit with faults, restore it by `Channel.load_state_dict`.
        n_nodes: how many nodes there are; fixed once learning has begun.
    """

    defaults: ClassVar[BasisArguments] = {"base": "rwr", "n_basis": 2}
    knowledge: DistributedBasis

    def __init__(
        self,
        policy: str | type[BasePolicy],
        env: Any,
        learning_rate: float | Schedule | None = None,
        consensus: str = "admm",
        admm_iterations: int = 30,
        penalty: float = 0.3,
        alternations: int = 5,
        **basis: Unpack[BasisArguments],
    ) -> None:
        """See the class."""
        self.consensus = choice("consensus", consensus, CONSENSUS)
        self.admm_iterations = count("admm_iterations", admm_iterations)
        self.penalty = number("penalty", penalty, open_at_low=True)
        self.alternations = count("alternations", alternations)
        self._settings = ConsensusSettings(self.consensus, self.admm_iterations, self.penalty)
        self.n_nodes = 0
        self.channel: Channel | None = None
        self._sharing: ParameterSharing | None = None
        arguments: BasisArguments = {**self.defaults, **basis}
        super().__init__(policy, env, learning_rate, **arguments)

    def _counters(self) -> dict[str, int]:
        return {**super()._counters(), "n_nodes": self.n_nodes}

    def _setup_model(self, policy_arguments: dict[str, Any] | None = None) -> None:
        if self.channel is None and self.env is not None:
            self._join(sharing_of(self.env))
        integer("n_nodes", self.n_nodes, least=1)
        super()._setup_model(policy_arguments)
        self._assign()

    def _join(self, sharing: ParameterSharing | None) -> None:
        """Use the environment's channel, or make one."""
        self._sharing = sharing
        if sharing is not None:
            self.channel = sharing.channel
            members = list(sharing.members.values())
            self._shards = Shards(self.channel, np.flatnonzero([len(agents) > 0 for agents in members]))
        else:
            self.channel = default_channel(self.n_nodes or min(DEFAULT_N_NODES, self.n_tasks))
            self._shards = Shards(self.channel)
        self._pool, self.n_nodes = self._shards, len(self.channel.nodes)

    def _assign(self) -> None:
        """Tasks belong to the nodes of their agents."""
        if self._sharing is not None:
            index = {agent: i for i, agent in enumerate(self._sharing.possible_agents)}
            for node, members in enumerate(self._sharing.members.values()):
                self.knowledge.owners[self._places[[index[agent] for agent in members]]] = node

    def set_env(self, env: Any, force_reset: bool = True) -> None:
        """Go on in another environment, with some or all of the tasks and the same number of nodes.

        Raises:
            ValueError: other spaces, unknown tasks, or another number of nodes; nothing has changed then.
        """
        venv = to_vec_env(env)
        sharing = sharing_of(venv)
        if sharing is not None and len(sharing.nodes) != self.n_nodes:
            raise ValueError(f"`env` must have a channel of {self.n_nodes} nodes. Received {len(sharing.nodes)}")
        super().set_env(venv, force_reset)
        if sharing is not None or self.channel is None:
            self._join(sharing)
        if hasattr(self, "knowledge"):
            self._assign()

    def _new_basis(self, d: int) -> DistributedBasis:
        return DistributedBasis(self.n_nodes, self.n_tasks, d, self.n_basis, self.sparsity, self.ridge, self.mean_basis)

    def _operating_point(self) -> OperatingPoint:
        """Algorithm 1: each task's, as its owner knows it."""
        shards, thetas = self._shards, self.policy.thetas[self._observed]
        statistics = self._base.compared(self._rollouts, shards)
        parts = [self._base.equations(statistics, share) for share in shards.shares(*statistics.returns.shape)]
        matrix, vector, curvature, weight = (np.array(part) for part in zip(*parts, strict=True))
        total = shards.reduced_symmetric(matrix)
        x = self._settings.solve(shards, matrix, vector, total)
        self.logger.record("train/agreement_error", agreement_error(x))
        self.logger.record("train/distance_to_central", distance(x, solved(total, vector.sum(axis=0))))
        is_known = parts[0].curvature is parts[0].matrix
        information = total if is_known else shards.reduced_symmetric(curvature)
        solution = x[self.knowledge.owners[self._observed], np.arange(len(thetas))]
        n = counts(shards.reduced(weight), least=1.0)  # of living steps or trajectories
        return self._base.arrive(thetas, solution, information, n, self._step_size())

    def _begin(self, tasks: IntArray, point: OperatingPoint, rng: np.random.Generator) -> None:
        self.knowledge.agree_on_first(self._shards, tasks, point.target, rng)

    def _policies(self) -> FloatArray:
        if self.channel is None:  # loaded without an environment
            return super()._policies()
        return self.knowledge.told_policies(self._shards)

    def _fit(self, tasks: IntArray, point: OperatingPoint, rng: np.random.Generator) -> None:
        """Algorithm 2, in turns with local codes."""
        knowledge, shards = self.knowledge, self._shards
        for _ in range(self.alternations):
            knowledge.encode(tasks, point)
            knowledge.agree(shards, self._settings, rng)
        knowledge.encode(tasks, point)
        for name, error in knowledge.errors.items():
            self.logger.record(f"train/basis_{name}", error)
        for name, total in shards.channel.ledger.snapshot().items():
            self.logger.record(f"channel/{name}", total)
