"""PPO with a head for each task."""

from __future__ import annotations

from typing import Any, ClassVar

import torch as th
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv, Schedule

from lifelong_gym.agents.deep.multi_task.algorithms import TaskPPO
from lifelong_gym.agents.deep.multi_task.multi_head import MultiHeadPolicy, checked_rate
from lifelong_gym.agents.deep.multi_task.popart import PopArt


class MultiHeadPPO(TaskPPO):
    """SB3's PPO with a body that all tasks share and a head for each, which the task's columns choose.

    In an env of one task it learns what PPO learns without the task's column, to the bit. With ``popart``, returns of
    each task are learned on a scale of their own (Hessel et al. 2019): before a rollout is trained on, its returns move
    the task's mean mu and deviation sigma, heads of values are changed so that they say what they said, and returns
    become ``(G - mu) / sigma``, advantages ``A / sigma``.

    Args:
        policy: ``"MlpPolicy"``, or a subclass of `MultiHeadPolicy`.
        env: as in SB3, with a column for each task at the end of observations, as ``task_observation="one_hot"`` adds.
        learning_rate: as in SB3.
        n_steps: as in SB3.
        n_tasks: how many tasks there are; None: what an env of ours says.
        pcgrad: whether tasks' gradients of what they share are brought together by PCGrad's surgery (Yu et al. 2020).
        popart: beta in (0, 1], by which statistics of returns follow a rollout's; None: returns are as they are.
        **more: as of SB3's PPO.

    Raises:
        ValueError: a bad argument, or an env that doesn't tell tasks so.

    >>> from lifelong_gym.wrappers import as_vec_env
    >>> env = as_vec_env("LifelongSimpleMass-v0", n_tasks=2, task_observation="one_hot")
    >>> model = MultiHeadPPO("MlpPolicy", env, n_steps=32, popart=0.1, seed=0, device="cpu").learn(64)
    >>> model.policy.value_net.heads.weight.shape
    torch.Size([2, 1, 64])
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {"MlpPolicy": MultiHeadPolicy}

    def __init__(
        self,
        policy: str | type[BasePolicy],
        env: GymEnv | str | None,
        learning_rate: float | Schedule = 3e-4,
        n_steps: int = 2048,
        *,
        n_tasks: int | None = None,
        pcgrad: bool = False,
        popart: float | None = None,
        **more: Any,
    ) -> None:
        """See the class."""
        self.popart = checked_rate(popart)
        super().__init__(policy, env, learning_rate, n_steps, n_tasks=n_tasks, pcgrad=pcgrad, **more)

    def _of_policy(self) -> dict[str, Any]:
        return {**super()._of_policy(), "popart": self.popart}

    def train(self) -> None:
        """Update the policy by the rollout in the buffer."""
        values = self.policy.value_net
        if isinstance(values, PopArt):
            self._rescale(values)
        super().train()

    def _rescale(self, popart: PopArt) -> None:
        """Let PopArt see the rollout's returns, and put the rollout on the scale that its heads have then."""
        buffer = self.rollout_buffer
        assert self.n_tasks is not None
        tasks = th.as_tensor(buffer.observations[..., -self.n_tasks :].argmax(axis=-1), device=self.device)
        returns = th.as_tensor(buffer.returns, device=self.device)
        popart.update(returns.flatten(), tasks.flatten())
        values = th.as_tensor(buffer.values, device=self.device)
        buffer.returns = popart.normalised(returns, tasks).cpu().numpy()
        buffer.values = popart.normalised(values, tasks).cpu().numpy()
        buffer.advantages = buffer.returns - buffer.values
