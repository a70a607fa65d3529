"""Safe lifelong policy search (Bou Ammar, Tutunov and Eaton 2015): a shared basis, and no violation ever."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy.typing as npt
import torch as th
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import Schedule

from lifelong_gym.agents.contract.arguments import CommonSettings
from lifelong_gym.agents.linear.base_learners import BaseSettings
from lifelong_gym.agents.linear.policy_search import PolicySearch
from lifelong_gym.agents.linear.sampling import Sampler
from lifelong_gym.agents.safety.safe_basis import SafeBasis, SafeBasisSettings, SafeBasisSharer
from lifelong_gym.agents.safety.safe_search import SafeSearch
from lifelong_gym.agents.safety.safe_tasks import SafeSettings, Stated


class SafeLifelongPG(SafeSearch, PolicySearch):
    """Policies ``theta_t = a_t + L s_t`` about anchors a_t, with a basis L that all tasks share, always in safe sets.

    In each round a base learner says where the observed tasks would like to go and how their objectives curve there.
    Codes, then L, minimise the sum of these quadratic losses and ``mu_2 |L|^2 + mu_1 |S|^2``, and are projected so that
    ``A @ (a + L @ s) <= b`` holds for every known task and ``p I <= L'L <= q I``. L starts as the leading directions of
    the first steps. See `SafeSearch` for what is promised, and `lifelong_gym.agents.safety` for how it is kept.

    Paper: Bou Ammar, Tutunov and Eaton, Safe policy search for lifelong reinforcement learning with sublinear regret,
    ICML 2015. Departs from it: anchors; losses about natural-gradient steps; codes before L; a projection by
    quadratic programs, exact in the codes, in place of its semidefinite ones; L'L is bounded rather than LL'.

    Args:
        policy: ``"LinearGaussianPolicy"``.
        env: an id, a PettingZoo ParallelEnv, a vector env of ours, or any SB3 VecEnv, with one-dimensional Boxes.
        learning_rate: step size of the base learner, or a function of the remaining progress (1 to 0); None: the one
            that suits it.
        n_basis: k, columns of L, at most a policy's parameters.
        variant: ``"A"``: all losses, then a Euclidean projection; ``"B"``: linearised losses; ``"C"``: all losses,
            codes constrained in their metric. None: ``"C"``, in regret mode ``"B"``.
        p: least eigenvalue of L'L, positive.
        q: its largest, at least p.
        mu_1: weight of the codes' squares; None: 1e-3, with B and in regret mode 0.5.
        mu_2: weight of L's squares; None: the same.
        n_inner: times that codes and L take turns in a round.
        forget: factor in (0, 1] on a task's earlier losses when it is observed; less than 1 voids the regret's bound.
            None: 0.7, in regret mode 1. B doesn't forget.
        warm_start: tasks that haven't been observed have the mean code of those that have.
        compensate: multiply steps so that they don't shrink as losses accumulate; not in regret mode, nor with B.
        regret_mode: L stays as it is after the first round, and a round counts ``1 / sqrt(n_rounds)``: with B, convex
            losses' cumulative regret then grows like the square root of the number of rounds.
        n_rounds: R, sweeps planned, for regret mode.
        constraints: `PolicyConstraints`, or a dict with their ``matrix`` and ``bound``, or with ``low`` and ``high`` of
            theta; for all tasks, or a list of one each. The model keeps their JSON form. None: ``|theta_i| <= 100``,
            which hardly constrains anything; anchors that aren't given are then 0 and not tried.
        base: ``"reinforce"``, ``"enac"`` or ``"rwr"``; see `REINFORCE`, `ENAC` and `RWR`.
        base_settings: the base learner's own arguments, such as ``{"max_kl": 0.1}``.
        nominal: the regulator of the family's nominal task that is among the anchors' candidates: ``"discrete"`` or
            ``"continuous"``, as for the paper's quadrotors; None: none.
        anchors: policies to begin with and to vary about, strictly inside the safe sets, such as `lqr_policies` gives:
            one for all tasks, shape (d,), or one each, (n_tasks, d). The model keeps them as lists. None: chosen.
        n_trajectories: episodes a task and sweep; more than a policy's parameters plus 1 for ``"enac"``.
        sigma: standard deviation of the exploration, in units of the action a.
        bias: whether policies have a constant feature.
        tensorboard_log: folder for TensorBoard; None: no logging.
        verbose: 0: silent, 1: the log, 2: more.
        seed: decides everything that is random; None: different every time.
        device: part of SB3's signature; the arithmetic is NumPy's.

    Attributes:
        knowledge: the `SafeBasis`.
    """

    knowledge: SafeBasis
    _sharer: SafeBasisSharer

    def __init__(
        self,
        policy: str | type[BasePolicy],
        env: Any,
        learning_rate: float | Schedule | None = None,
        n_basis: int = 2,
        variant: str | None = None,
        p: float = 0.1,
        q: float = 10.0,
        mu_1: float | None = None,
        mu_2: float | None = None,
        n_inner: int = 3,
        forget: float | None = None,
        warm_start: bool = True,
        compensate: bool = True,
        regret_mode: bool = False,
        n_rounds: int = 1000,
        *,
        constraints: Stated | None = None,
        base: str = "enac",
        base_settings: Mapping[str, Any] | None = None,
        nominal: str | None = "discrete",
        anchors: npt.ArrayLike | None = None,
        n_trajectories: int = 50,
        sigma: float = 0.6,
        bias: bool = True,
        tensorboard_log: str | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: th.device | str = "auto",
        _init_setup_model: bool = True,
    ) -> None:
        """See the class."""
        basis = SafeBasisSettings(
            n_basis, variant, p, q, mu_1, mu_2, n_inner, forget, warm_start, compensate, regret_mode, n_rounds
        )
        safe, chosen = SafeSettings(constraints, nominal, anchors), BaseSettings(base, base_settings)
        sampler = Sampler(n_trajectories, sigma, bias)
        common = CommonSettings(tensorboard_log, verbose, seed, device, _init_setup_model)
        sharer = SafeBasisSharer(safe, basis)
        super().__init__(policy, env, learning_rate, chosen.learner, sharer, sampler, common, [basis, safe, chosen])
