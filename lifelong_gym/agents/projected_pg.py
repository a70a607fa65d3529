"""Projected policy gradients: every task on its own, each always in its safe set."""

from __future__ import annotations

from lifelong_gym.agents.safe_search import SafeSearch
from lifelong_gym.errors import ProjectionError


class ProjectedPG(SafeSearch):
    """Every task on its own: a step of the base learner, then the nearest policy in the task's safe set.

    As safe as `SafeLifelongPG` (see `SafeSearch`), without what tasks could learn from each other.

    Paper: Thomas, Dabney, Giguere and Mahadevan, Projected natural actor-critic, NIPS 2013. Departs from it: the
    projection is Euclidean, and policies start at the same anchors as those of `SafeLifelongPG`.

    Args:
        **safe: see `SafeSearch`.
    """

    def train(self) -> None:
        """Move to the operating points, or as near to them as is safe."""
        thetas, tasks = self.policy.thetas, self._observed
        wanted = thetas.copy()
        wanted[tasks] = self._operating_point().target
        try:
            now = self.safe_sets.project_policies(wanted)
        except ProjectionError:
            self.n_failed_projections += 1
            return
        thetas[tasks] = now.policies[tasks]
        self.policy.thetas = thetas
        self.logger.record("train/projected", float(now.solved[tasks].mean()))
