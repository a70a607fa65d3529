"""A method that isn't ours, in the benchmark: PPO with a body that all tasks share and a head for each.

All it needs is a constructor that takes an SB3 VecEnv (row i is task i), ``learn`` and ``predict``. From this folder:
``lifelong benchmark --quick --agents PGELLA,ENAC,PPO,third_party_method:MultiHeadPPO``
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch as th
from rich.console import Console
from stable_baselines3 import PPO
from stable_baselines3.common.policies import ActorCriticPolicy


class Body(th.nn.Module):
    """Features of the observation, times the one-hot task: a linear layer on them is a head for each task."""

    def __init__(self, n_inputs: int, n_tasks: int, width: int = 64) -> None:
        super().__init__()
        self.split = [n_inputs - n_tasks, n_tasks]
        self.latent_dim_pi = self.latent_dim_vf = width * n_tasks
        linear, tanh = th.nn.Linear, th.nn.Tanh()
        self.actor = th.nn.Sequential(linear(self.split[0], width), tanh, linear(width, width), tanh)
        self.critic = th.nn.Sequential(linear(self.split[0], width), tanh, linear(width, width), tanh)

    def forward(self, inputs: th.Tensor) -> tuple[th.Tensor, th.Tensor]:
        """Features for actor and critic."""
        return self.forward_actor(inputs), self.forward_critic(inputs)

    def forward_actor(self, inputs: th.Tensor) -> th.Tensor:
        """Features for the mean action."""
        observation, task = inputs.split(self.split, dim=1)
        return th.einsum("bi,bt->bit", self.actor(observation), task).flatten(1)

    def forward_critic(self, inputs: th.Tensor) -> th.Tensor:
        """Features for the value."""
        observation, task = inputs.split(self.split, dim=1)
        return th.einsum("bi,bt->bit", self.critic(observation), task).flatten(1)


class MultiHeadPolicy(ActorCriticPolicy):
    """SB3's policy on that body."""

    def __init__(self, *arguments: Any, n_tasks: int, **others: Any) -> None:
        self.n_tasks = n_tasks
        super().__init__(*arguments, **others)

    def _build_mlp_extractor(self) -> None:
        self.mlp_extractor = Body(self.features_dim, self.n_tasks)  # type: ignore[assignment]


class MultiHeadPPO:
    """PPO with a body that all tasks share and a head for each."""

    task_observation = "one_hot"  # what it wants to see of the task

    def __init__(self, env: Any, seed: int = 0, n_steps: int = 256) -> None:
        heads = {"n_tasks": env.num_envs}
        self.model = PPO(MultiHeadPolicy, env, n_steps=n_steps, policy_kwargs=heads, seed=seed, device="cpu")

    def learn(self, total_timesteps: int) -> None:
        """Learn in the env."""
        self.model.learn(total_timesteps)

    def predict(self, observations: Any) -> Any:
        """Actions of a batch."""
        return self.model.predict(observations, deterministic=True)[0]


if __name__ == "__main__":
    from lifelong_gym.benchmark import Experiment, read_runs, run_experiment

    learners = ["PGELLA", "REINFORCE", "third_party_method:MultiHeadPPO"]
    families = {"LifelongDoubleMass-v0": {"n_tasks": 4}}
    experiment = Experiment.of_dict({"learners": learners, "families": families, "seeds": 1, "quick": True})
    with TemporaryDirectory() as folder:
        run_experiment(experiment, Path(folder), Console())
        for run in read_runs(folder):
            print(f"{run.learner}: {run.performance()[-1].mean():.2f} of the way from doing nothing to the reference")
