"""The episodic natural actor-critic (Peters and Schaal 2008)."""

from __future__ import annotations

from typing import Any

import torch as th
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import Schedule

from lifelong_gym.agents.checks import number
from lifelong_gym.agents.operating_point import NaturalActorCritic
from lifelong_gym.agents.policy_search import SIGMA, PolicySearch


class ENAC(PolicySearch):
    """Every task on its own, or all with one policy, by natural gradients.

    Each sweep regresses a task's standardised returns on ``[psi, 1]``, psi being the score of a trajectory; the
    coefficients of psi are the natural gradient. The step is cut to a Kullback-Leibler divergence of ``max_kl`` per
    living step.

    Paper: Peters and Schaal, Natural actor-critic, Neurocomputing 71, 2008. Departs from it in standardised
    returns and in the cap.

    Args:
        policy: ``"LinearGaussianPolicy"``.
        env: an id, a PettingZoo ParallelEnv, a vector env of ours, or any SB3 VecEnv, with one-dimensional Boxes.
        learning_rate: factor on the natural gradient, or a function of the remaining progress (1 to 0).
        n_trajectories: episodes a task and sweep; more than a policy's parameters plus 1 (of all tasks together
            where ``shared``).
        sigma: standard deviation of the exploration, in units of the action a.
        bias: whether policies have a constant feature.
        shared: learn one policy for all tasks rather than one each.
        max_kl: see above.
        tensorboard_log: folder for TensorBoard; None: no logging.
        verbose: 0: silent, 1: the log.
        seed: decides everything that is random; None: different every time.
        device: part of SB3's signature; the arithmetic is NumPy's.

    Raises:
        ValueError: fewer trajectories than the regression needs.
    """

    def __init__(
        self,
        policy: str | type[BasePolicy],
        env: Any,
        learning_rate: float | Schedule = NaturalActorCritic.learning_rate,
        n_trajectories: int = 50,
        sigma: float = SIGMA,
        bias: bool = True,
        shared: bool = False,
        max_kl: float = 0.03,
        tensorboard_log: str | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: th.device | str = "auto",
        _init_setup_model: bool = True,
    ) -> None:
        """See the class."""
        self.max_kl = number("max_kl", max_kl, open_at_low=True)
        super().__init__(
            policy,
            env,
            learning_rate,
            base=NaturalActorCritic(self.max_kl),
            n_trajectories=n_trajectories,
            sigma=sigma,
            bias=bias,
            shared=shared,
            tensorboard_log=tensorboard_log,
            verbose=verbose,
            seed=seed,
            device=device,
            _init_setup_model=_init_setup_model,
        )
