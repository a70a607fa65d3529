"""Projected policy gradients: every task on its own, each always in its safe set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch as th
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import Schedule

from lifelong_gym.agents.contract.arguments import CommonSettings
from lifelong_gym.agents.linear.base_learners import BaseSettings
from lifelong_gym.agents.linear.operating_point import OperatingPoint, regularised
from lifelong_gym.agents.linear.policy_search import PolicySearch
from lifelong_gym.agents.linear.sampling import Sampler
from lifelong_gym.agents.linear.sharers import Record, Sweep
from lifelong_gym.agents.safety.safe_search import SafeSearch, SafeSharer
from lifelong_gym.agents.safety.safe_tasks import SafeSettings, Stated
from lifelong_gym.errors import ProjectionError
from lifelong_gym.numerics.arrays import FloatArray


class ProjectingSharer(SafeSharer):
    """Every task for itself, at the point of its safe set that is nearest to where it would like to go."""

    def learned(self, sweep: Sweep, point: OperatingPoint, rng: np.random.Generator, record: Record) -> FloatArray:
        """Move to the operating points, or as near to them as is safe."""
        thetas, tasks = sweep.thetas.copy(), sweep.rows
        wanted, metric = thetas.copy(), np.tile(np.eye(thetas.shape[1]), (len(thetas), 1, 1))
        wanted[tasks], metric[tasks] = point.target, regularised(point.curvature)
        try:
            now = self.sets.project_policies(wanted, metric)
        except ProjectionError:
            self.n_failed_projections += 1
            return thetas
        thetas[tasks] = now.policies[tasks]
        record("train/projected", float(now.solved[tasks].mean()))
        return thetas


class ProjectedPG(SafeSearch, PolicySearch):
    """Every task on its own: a step of the base learner, then the nearest policy in the task's safe set.

    Near is meant in the metric of the objective's curvature, which for natural gradients is the Fisher information: in
    the Euclidean one, oblique constraints can undo steps (cart-poles then end at up to 7 times the cost).

    As safe as `SafeLifelongPG` (see `SafeSearch`), without what tasks could learn from each other.

    Paper: Thomas, Dabney, Giguere and Mahadevan, Projected natural actor-critic, NIPS 2013. Departs from it: policies
    start at the same anchors as those of `SafeLifelongPG`.

    Args:
        policy: ``"LinearGaussianPolicy"``.
        env: an id, a PettingZoo ParallelEnv, a vector env of ours, or any SB3 VecEnv, with one-dimensional Boxes.
        learning_rate: step size of the base learner, or a function of the remaining progress (1 to 0); None: the one
            that suits it.
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
    """

    _sharer: ProjectingSharer

    def __init__(
        self,
        policy: str | type[BasePolicy],
        env: Any,
        learning_rate: float | Schedule | None = None,
        constraints: Stated | None = None,
        base: str = "enac",
        base_settings: Mapping[str, Any] | None = None,
        nominal: str | None = "discrete",
        anchors: npt.ArrayLike | None = None,
        *,
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
        safe, chosen = SafeSettings(constraints, nominal, anchors), BaseSettings(base, base_settings)
        sampler = Sampler(n_trajectories, sigma, bias)
        common = CommonSettings(tensorboard_log, verbose, seed, device, _init_setup_model)
        sharer = ProjectingSharer(safe)
        super().__init__(policy, env, learning_rate, chosen.learner, sharer, sampler, common, [safe, chosen])
