"""Scalable lifelong policy search, ePG-ELLA (Zhan, Bou Ammar and Taylor 2017): a shared basis among nodes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch as th
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import Schedule

from lifelong_gym.agents.contract.arguments import CommonSettings
from lifelong_gym.agents.linear.base_learners import BaseSettings
from lifelong_gym.agents.linear.policy_search import PolicySearch
from lifelong_gym.agents.linear.sampling import Sampler
from lifelong_gym.agents.shared_basis.distributed_basis import ConsensusSettings, DistributedBasis
from lifelong_gym.agents.shared_basis.nodes import NodesSharer
from lifelong_gym.agents.shared_basis.sharers import BasisSettings, InTurns
from lifelong_gym.wrappers import Channel


class ScalablePGELLA(PolicySearch):
    """Policies that share a basis, found by nodes that each run a part of every task's trajectories.

    See `BasisSharer` for what is minimised. Each node keeps the codes of a part of the tasks.

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
        policy: ``"LinearGaussianPolicy"``.
        env: an id, a PettingZoo ParallelEnv, a vector env of ours, or any SB3 VecEnv, with one-dimensional Boxes. The
            channel of a `ParameterSharing` is used; without one, ten nodes (or one a task, if fewer) are linked by a
            chain and 20 random edges, as in the paper.
        learning_rate: step size of the base learner, or a function of the remaining progress; None: the one that suits
            it, 0.1 for ``"reinforce"``, 5 for ``"enac"``, 1 for ``"rwr"``.
        consensus: ``"admm"``, or ``"all_reduce"``, which is exact and, for small policies and bases, takes fewer bytes
            and rounds.
        admm_iterations: K.
        penalty: rho, in units of the nodes' mean matrix.
        alternations: how often codes and L take turns in a sweep.
        metric: P of the ADMM: ``"whitened"``, the nodes' mean matrix, or ``"identity"``, the paper's, scaled to the
            same trace: with it, badly scaled problems take thousands of iterations.
        n_basis: columns of L, at most a policy's parameters.
        base: ``"reinforce"``, ``"enac"`` or ``"rwr"``; see `REINFORCE`, `ENAC` and `RWR`.
        base_settings: the base learner's own arguments, such as ``{"max_kl": 0.1}``.
        sparsity: the papers' mu_1.
        ridge: the papers' mu_2.
        mean_basis: let ``theta_j = mean + L s_j``, the mean being one more column of L, which every task uses.
        n_trajectories: episodes a task and sweep, as many as the base learner needs.
        sigma: standard deviation of the exploration, in units of the action a.
        bias: whether policies have a constant feature.
        tensorboard_log: folder for TensorBoard; None: no logging.
        verbose: 0: silent, 1: the log, 2: more.
        seed: decides everything that is random; None: different every time.
        device: part of SB3's signature; the arithmetic is NumPy's.

    Attributes:
        knowledge: the `DistributedBasis`.
        channel: between the nodes; ``channel.ledger`` counts what was sent. A model file doesn't hold it: to go on to
            the bit with faults, restore it by `Channel.load_state_dict`.
        n_nodes: how many nodes there are; fixed once learning has begun.
    """

    knowledge: DistributedBasis
    _sharer: NodesSharer

    def __init__(
        self,
        policy: str | type[BasePolicy],
        env: Any,
        learning_rate: float | Schedule | None = None,
        consensus: str = "admm",
        admm_iterations: int = 30,
        penalty: float = 0.3,
        alternations: int = 5,
        *,
        metric: str = "whitened",
        n_basis: int = 2,
        base: str = "rwr",
        base_settings: Mapping[str, Any] | None = None,
        sparsity: float = 1e-3,
        ridge: float = 1e-4,
        mean_basis: bool = False,
        n_trajectories: int = 5,
        sigma: float = 0.6,
        bias: bool = True,
        tensorboard_log: str | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: th.device | str = "auto",
        _init_setup_model: bool = True,
    ) -> None:
        """See the class."""
        fit, basis = InTurns(alternations), BasisSettings(n_basis, sparsity, ridge, mean_basis)
        agreement = ConsensusSettings(consensus, admm_iterations, penalty, metric)
        chosen = BaseSettings(base, base_settings)
        sampler = Sampler(n_trajectories, sigma, bias)
        common = CommonSettings(tensorboard_log, verbose, seed, device, _init_setup_model)
        sharer = NodesSharer(basis, fit, agreement)
        super().__init__(
            policy, env, learning_rate, chosen.learner, sharer, sampler, common, [agreement, fit, basis, chosen]
        )

    @property
    def channel(self) -> Channel | None:
        """See the class; None without an environment after `load`."""
        return self._sharer.channel

    @property
    def n_nodes(self) -> int:
        """See the class."""
        return self._sharer.n_nodes

    @n_nodes.setter
    def n_nodes(self, n_nodes: int) -> None:
        self._sharer.n_nodes = n_nodes
