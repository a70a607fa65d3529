"""Projected policy gradients: every task on its own, each always in its safe set."""

from __future__ import annotations

import numpy as np

from lifelong_gym.agents.linear.operating_point import regularised
from lifelong_gym.agents.safety.safe_search import SafeSearch
from lifelong_gym.errors import ProjectionError


class ProjectedPG(SafeSearch):
    """Every task on its own: a step of the base learner, then the nearest policy in the task's safe set.

    Near is meant in the metric of the objective's curvature, which for natural gradients is the Fisher information: in
    the Euclidean one, oblique constraints can undo steps (cart-poles then end at up to 7 times the cost).

    As safe as `SafeLifelongPG` (see `SafeSearch`), without what tasks could learn from each other.

    Paper: Thomas, Dabney, Giguere and Mahadevan, Projected natural actor-critic, NIPS 2013. Departs from it: policies
    start at the same anchors as those of `SafeLifelongPG`.

    Args:
        **safe: see `SafeSearch`.
    """

    def train(self) -> None:
        """Move to the operating points, or as near to them as is safe."""
        thetas, tasks = self.policy.thetas, self._observed
        point = self._operating_point()
        wanted, metric = thetas.copy(), np.tile(np.eye(thetas.shape[1]), (len(thetas), 1, 1))
        wanted[tasks], metric[tasks] = point.target, regularised(point.curvature)
        try:
            now = self.safe_sets.project_policies(wanted, metric)
        except ProjectionError:
            self.n_failed_projections += 1
            return
        thetas[tasks] = now.policies[tasks]
        self.policy.thetas = thetas
        self.logger.record("train/projected", float(now.solved[tasks].mean()))
