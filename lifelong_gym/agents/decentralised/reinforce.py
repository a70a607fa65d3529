"""REINFORCE with networks: whole episodes, returns from every visit on."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch as th
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.policies import ActorCriticCnnPolicy, ActorCriticPolicy, BasePolicy
from stable_baselines3.common.type_aliases import Schedule
from stable_baselines3.common.vec_env import VecEnv

from lifelong_gym.agents.contract.checks import count, flag, number, positive, within
from lifelong_gym.agents.decentralised.episodes import FlatEpisodes, most_steps, stepped

LEAST_DEVIATION = 1e-8


class NeuralREINFORCE(OnPolicyAlgorithm):
    """REINFORCE in Stable-Baselines3's form: one gradient step on the whole episodes that were just observed.

    All rows' episodes are begun anew for each step. The policy's critic isn't used.

    Args:
        policy: ``"MlpPolicy"``, ``"CnnPolicy"``, or the class of one.
        env: of any kind that SB3 takes.
        learning_rate: positive, or a function of the remaining progress.
        n_episodes: whole episodes a row and step.
        gamma: discount, in [0, 1].
        ent_coef: weight of the policy's entropy.
        normalize_advantage: whether returns are brought to mean 0 and deviation 1 in each batch.
        max_grad_norm: to which gradients are clipped.
        policy_kwargs: of the policy.
        verbose: 0: silent, 1: the log, 2: more.
        seed: decides everything that is random; None: different every time.
        device: of PyTorch.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "MlpPolicy": ActorCriticPolicy,
        "CnnPolicy": ActorCriticCnnPolicy,
    }

    def __init__(
        self,
        policy: str | type[ActorCriticPolicy],
        env: VecEnv | str,
        learning_rate: float | Schedule = 1e-3,
        n_episodes: int = 1,
        gamma: float = 0.99,
        ent_coef: float = 0.0,
        normalize_advantage: bool = True,
        max_grad_norm: float = 0.5,
        policy_kwargs: dict[str, Any] | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: th.device | str = "auto",
    ) -> None:
        """See the class."""
        self.n_episodes = count("n_episodes", n_episodes)
        self.normalize_advantage = flag("normalize_advantage", normalize_advantage)
        self._episodes: FlatEpisodes | None = None
        super().__init__(
            policy,
            env,
            learning_rate,
            n_steps=1,
            gamma=within("gamma", gamma, 0.0, 1.0),
            gae_lambda=1.0,
            ent_coef=number("ent_coef", ent_coef),
            vf_coef=0.0,
            max_grad_norm=positive("max_grad_norm", max_grad_norm),
            use_sde=False,
            sde_sample_freq=-1,
            policy_kwargs=policy_kwargs,
            verbose=verbose,
            seed=seed,
            device=device,
            monitor_wrapper=False,
        )

    @property
    def n_ahead(self) -> int:
        """Environment steps of the next collecting, at most; 0 where nobody knows."""
        return most_steps(self.env, self.n_episodes)

    def collect_rollouts(
        self, env: VecEnv, callback: BaseCallback, rollout_buffer: RolloutBuffer, n_rollout_steps: int
    ) -> bool:
        """Observe whole episodes."""
        self.policy.set_training_mode(False)
        callback.on_rollout_start()
        self._episodes = stepped(self, env, callback, self.n_episodes, self.gamma)
        callback.on_rollout_end()
        return True

    def train(self) -> None:
        """A step up the gradient of the return."""
        if self._episodes is None:
            return
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        seen, actions = (
            th.as_tensor(array, device=self.device) for array in (self._episodes.observations, self._episodes.actions)
        )
        _, log_prob, entropy = self.policy.evaluate_actions(seen, actions)
        gained = th.as_tensor(self._advantages(self._episodes.returns), dtype=log_prob.dtype, device=self.device)
        spread = -log_prob if entropy is None else entropy
        loss = -(log_prob * gained).mean() - self.ent_coef * spread.mean()
        self.policy.optimizer.zero_grad()
        loss.backward()
        th.nn.utils.clip_grad_norm_(self.policy.parameters(), self.max_grad_norm)
        self.policy.optimizer.step()
        self._n_updates += 1
        self._episodes = None
        self.logger.record("train/loss", loss.item())

    def _advantages(self, returns: Any) -> Any:
        if not self.normalize_advantage:
            return returns
        return (returns - returns.mean()) / (np.std(returns) + LEAST_DEVIATION)
