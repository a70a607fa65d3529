"""Soft modularisation: PPO and SAC with networks of modules, between which a routing network chooses by the task."""

from __future__ import annotations

from typing import Any, ClassVar

from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.torch_layers import MlpExtractor
from torch import nn

from lifelong_gym.agents.contract.checks import count
from lifelong_gym.agents.deep.multi_task.algorithms import TaskPPO, TaskSAC
from lifelong_gym.agents.deep.multi_task.networks import SoftModules
from lifelong_gym.agents.deep.multi_task.policies import TaskActor, TaskCritic, TaskPolicy, TaskSACPolicy

N_MODULES, EMBEDDING = 2, 64


class SoftModularPolicy(TaskPolicy):
    """`TaskPolicy` with `SoftModules` of actor and critic.

    Args:
        *args: as of `TaskPolicy`.
        n_modules: of a layer.
        embedding: width of the embeddings of state and task.
        **kwargs: as of `TaskPolicy`; ``net_arch`` has the widths of a module, and ``activation_fn`` no meaning.

    Raises:
        ValueError: see `TaskPolicy`.
    """

    def __init__(self, *args: Any, n_modules: int = N_MODULES, embedding: int = EMBEDDING, **kwargs: Any) -> None:
        """See the class."""
        self.n_modules, self.embedding = count("n_modules", n_modules), count("embedding", embedding)
        super().__init__(*args, **kwargs)

    def _build_mlp_extractor(self) -> None:
        arch = self.net_arch if isinstance(self.net_arch, dict) else {"pi": self.net_arch, "vf": self.net_arch}
        bodies = MlpExtractor(self.features_dim, [], self.activation_fn, self.device)
        policy, value = (self._modules_of(arch.get(name, [])) for name in ("pi", "vf"))
        bodies.policy_net, bodies.latent_dim_pi = policy, policy.out  # type: ignore[assignment]
        bodies.value_net, bodies.latent_dim_vf = value, value.out  # type: ignore[assignment]
        self.mlp_extractor = bodies

    def _modules_of(self, widths: list[int]) -> SoftModules:
        start = self.features_dim - self.n_tasks
        made = SoftModules(self.features_dim, start, self.n_tasks, widths, self.n_modules, self.embedding)
        return made.to(self.device)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        own = {"n_modules": self.n_modules, "embedding": self.embedding}
        return {**super()._get_constructor_parameters(), **own}


class SoftModularActor(TaskActor):
    """SAC's actor, with `SoftModules`.

    Args:
        net_arch: widths of a module, layer by layer.
        features_dim: width of the features, the task's columns included.
        n_modules: of a layer.
        embedding: width of the embeddings.
        **kwargs: as of `TaskActor`.
    """

    def __init__(
        self, *, net_arch: list[int], features_dim: int, n_modules: int, embedding: int, **kwargs: Any
    ) -> None:
        """See the class."""
        n_tasks = kwargs["n_tasks"]
        modules = SoftModules(features_dim, features_dim - n_tasks, n_tasks, net_arch, n_modules, embedding)
        super().__init__(net_arch=[], features_dim=modules.out, **kwargs)
        self.latent_pi = modules  # type: ignore[assignment]


class SoftModularCritic(TaskCritic):
    """SAC's critics, each with `SoftModules`.

    Args:
        net_arch: widths of a module, layer by layer.
        features_dim: width of the features, the task's columns included.
        n_modules: of a layer.
        embedding: width of the embeddings.
        **kwargs: as of `TaskCritic`.
    """

    def __init__(
        self, *, net_arch: list[int], features_dim: int, n_modules: int, embedding: int, **kwargs: Any
    ) -> None:
        """See the class."""
        n_tasks = kwargs["n_tasks"]
        super().__init__(net_arch=[], features_dim=features_dim, **kwargs)
        for k, network in enumerate(self.q_networks):
            assert isinstance(network, nn.Sequential)
            first = network[0]
            assert isinstance(first, nn.Linear)
            modules = SoftModules(first.in_features, features_dim - n_tasks, n_tasks, net_arch, n_modules, embedding)
            self.q_networks[k] = nn.Sequential(modules, nn.Linear(modules.out, 1))
            self.add_module(f"qf{k}", self.q_networks[k])


class SoftModularSACPolicy(TaskSACPolicy):
    """`TaskSACPolicy` with `SoftModules` of actor and critics.

    Args:
        *args: as of `TaskSACPolicy`.
        n_modules: of a layer.
        embedding: width of the embeddings of state and task.
        **kwargs: as of `TaskSACPolicy`; ``net_arch`` has the widths of a module, and ``activation_fn`` no meaning.

    Raises:
        ValueError: see `TaskPolicy`.
    """

    actor_class = SoftModularActor
    critic_class = SoftModularCritic

    def __init__(self, *args: Any, n_modules: int = N_MODULES, embedding: int = EMBEDDING, **kwargs: Any) -> None:
        """See the class."""
        self.n_modules, self.embedding = count("n_modules", n_modules), count("embedding", embedding)
        super().__init__(*args, **kwargs)

    def _of_tasks(self) -> dict[str, Any]:
        return {**super()._of_tasks(), "n_modules": self.n_modules, "embedding": self.embedding}


class SoftModularPPO(TaskPPO):
    """SB3's PPO with soft modularisation (Yang et al. 2020): which modules a task uses is learned.

    Widths of a module are ``policy_kwargs["net_arch"]``; also ``n_modules`` and ``embedding`` belong there. The paper's
    weights of tasks in the loss are left out.

    Args:
        policy: ``"MlpPolicy"``, or a subclass of `SoftModularPolicy`.
        env: see `MultiHeadPPO`.
        learning_rate: as in SB3.
        n_steps: as in SB3.
        n_tasks: how many tasks there are; None: what an env of ours says.
        pcgrad: whether tasks' gradients are brought together by PCGrad's surgery (Yu et al. 2020).
        **more: as of SB3's PPO.

    Raises:
        ValueError: a bad argument, or an env that doesn't tell tasks so.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {"MlpPolicy": SoftModularPolicy}


class SoftModularSAC(TaskSAC):
    """SB3's SAC with soft modularisation (Yang et al. 2020): which modules a task uses is learned.

    Widths of a module are ``policy_kwargs["net_arch"]``; also ``n_modules`` and ``embedding`` belong there. The paper's
    weights of tasks in the loss are left out.

    Args:
        policy: ``"MlpPolicy"``, or a subclass of `SoftModularSACPolicy`.
        env: see `MultiHeadPPO`.
        learning_rate: as in SB3.
        n_tasks: how many tasks there are; None: what an env of ours says.
        pcgrad: whether tasks' gradients are brought together by PCGrad's surgery, the actor's and the critics' apart.
        **more: as of SB3's SAC.

    Raises:
        ValueError: a bad argument, or an env that doesn't tell tasks so.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {"MlpPolicy": SoftModularSACPolicy}
