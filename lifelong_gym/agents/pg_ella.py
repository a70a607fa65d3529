"""PG-ELLA (Bou Ammar, Eaton, Ruvolo and Taylor 2014): policies that share a basis."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch as th
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import Schedule

from lifelong_gym.agents.basis import SharedBasis
from lifelong_gym.agents.checks import number
from lifelong_gym.agents.operating_point import NaturalActorCritic, Reinforce
from lifelong_gym.agents.policy_search import SIGMA, PolicySearch
from lifelong_gym.errors import integer, unknown

BASES: dict[str, type[Reinforce] | type[NaturalActorCritic]] = {"reinforce": Reinforce, "enac": NaturalActorCritic}


class PGELLA(PolicySearch):
    """Lifelong policy search: task j's policy is ``theta_j = L s_j``, with a basis L that all tasks share.

    Each sweep runs every task that comes up with its theta_j; a base learner says where each task would like to go
    (the target) and how the objective curves there (H, scaled to trace d). Then codes s_j, by LASSO, and L, by ridge
    regression in closed form, take turns in minimising
    ``1/T sum_j [|target_j - L s_j|^2_{H_j} + sparsity |s_j|_1] + ridge |L|^2``. L starts as the leading left
    singular vectors of the first targets; columns that nothing uses are drawn anew. A task that hasn't been observed
    has the mean code of those that have.

    Paper: Bou Ammar, Eaton, Ruvolo and Taylor, Online multi-task learning for policy gradient methods, ICML 2014.
    Departs from it: L is solved once all tasks of a sweep are in rather than after each one, codes and L
    alternate, curvatures are scaled, and the next sweep starts from ``L s_j``.

    Args:
        policy: ``"LinearGaussianPolicy"``.
        env: an id, a PettingZoo ParallelEnv, a vector env of ours, or any SB3 VecEnv, with one-dimensional Boxes.
        learning_rate: step size of the base learner, or a function of the remaining progress (1 to 0); None: the
            one that suits it, 0.1 for ``"reinforce"`` and 5 for ``"enac"``.
        n_basis: columns of L, at most a policy's parameters.
        base: ``"reinforce"`` or ``"enac"``; see `REINFORCE` and `ENAC`.
        sparsity: the paper's mu_1.
        ridge: the paper's mu_2.
        alternations: how often codes and L take turns in a sweep.
        n_trajectories: episodes a task and sweep, as many as the base learner needs.
        sigma: standard deviation of the exploration, in units of the action a.
        bias: whether policies have a constant feature.
        tensorboard_log: folder for TensorBoard; None: no logging.
        verbose: 0: silent, 1: the log.
        seed: decides everything that is random; None: different every time.
        device: part of SB3's signature; the arithmetic is NumPy's.

    Attributes:
        knowledge: the `SharedBasis`.
    """

    knowledge: SharedBasis

    def __init__(
        self,
        policy: str | type[BasePolicy],
        env: Any,
        learning_rate: float | Schedule | None = None,
        n_basis: int = 3,
        base: str = "reinforce",
        sparsity: float = 1e-3,
        ridge: float = 1e-4,
        alternations: int = 5,
        n_trajectories: int = 5,
        sigma: float = SIGMA,
        bias: bool = True,
        tensorboard_log: str | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: th.device | str = "auto",
        _init_setup_model: bool = True,
    ) -> None:
        """See the class."""
        if base not in BASES:
            raise unknown("base", base, BASES)
        self.base = base
        self.n_basis = integer("n_basis", n_basis, least=1)
        self.sparsity = number("sparsity", sparsity)
        self.ridge = number("ridge", ridge, open_at_low=True)
        self.alternations = integer("alternations", alternations, least=1)
        super().__init__(
            policy,
            env,
            BASES[base].learning_rate if learning_rate is None else learning_rate,
            base=BASES[base](),
            n_trajectories=n_trajectories,
            sigma=sigma,
            bias=bias,
            tensorboard_log=tensorboard_log,
            verbose=verbose,
            seed=seed,
            device=device,
            _init_setup_model=_init_setup_model,
        )

    def _setup_model(self, policy_arguments: dict[str, Any] | None = None) -> None:
        super()._setup_model(policy_arguments)
        d = self.policy.theta.shape[1]
        if self.n_basis > d:
            raise ValueError(f"`n_basis` must be at most {d}, a policy's parameters. Received {self.n_basis}")
        self.knowledge = SharedBasis(self.n_tasks, d, self.n_basis, self.sparsity, self.ridge)

    def _module_names(self) -> tuple[str, ...]:
        return ("policy", "knowledge")

    def train(self) -> None:
        """Fit codes and basis to the operating points, and move the policies there."""
        point = self._operating_point()
        rng = np.random.default_rng([self.noise_seed, self._n_updates])
        self.knowledge.observe(self._observed, point, self.alternations, rng)
        self.policy.thetas = self.knowledge.policies(np.arange(self.n_tasks))
        missed = float(np.linalg.norm(point.target - self.policy.thetas[self._observed]))
        self.logger.record("train/target_missed", missed / max(float(np.linalg.norm(point.target)), 1e-300))
        self.logger.record("train/codes_used", float(np.mean(self.knowledge.array("codes") != 0)))
