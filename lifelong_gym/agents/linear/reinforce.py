"""REINFORCE (Williams 1992) with steps of fixed length."""

from __future__ import annotations

from lifelong_gym.agents.linear.base_learners import BaseLearner, Reinforce
from lifelong_gym.agents.linear.policy_search import TaskwiseSearch


class REINFORCE(TaskwiseSearch):
    """Every task on its own, or all with one policy, by likelihood-ratio gradients.

    Each sweep moves theta by ``learning_rate`` along ``g / |g|``, where ``g = sum_t A_t d log pi(a_t) / d theta``,
    averaged over the task's trajectories, and A_t is the reward still to come less its mean over those
    trajectories. Steps after a failure don't count. It is the simplest learner, and on unstable systems hard to
    beat: the length of g says little there.

    Paper: Williams, Simple statistical gradient-following algorithms for connectionist reinforcement learning,
    Machine Learning 8, 1992. Departs from it in the normalised step.

    Args:
        learning_rate: Euclidean length of a step, or a function of the remaining progress (1 to 0); None: 0.1.
        n_trajectories: episodes a task and sweep, at least 2.
        **search: see `TaskwiseSearch`.
    """

    def _base_learner(self) -> BaseLearner:
        return Reinforce()
