"""Decentralised policy gradient: agents, each in tasks of its own, that learn one policy by mixing parameters."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch as th
from stable_baselines3 import PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
from stable_baselines3.common.type_aliases import Schedule
from stable_baselines3.common.vec_env import VecEnv

from lifelong_gym import imports
from lifelong_gym.agents.contract.environment import to_vec_env
from lifelong_gym.agents.contract.state import Parts
from lifelong_gym.agents.decentralised import entropy
from lifelong_gym.agents.decentralised.forms import FORMS
from lifelong_gym.agents.decentralised.relays import Relay
from lifelong_gym.agents.decentralised.settings import MixingSettings
from lifelong_gym.agents.decentralised.shared import (
    NamedTensors,
    Share,
    Tensors,
    check_alike,
    copies,
    moments_of,
    not_finite,
    numbers_of,
    shared_names,
)
from lifelong_gym.agents.decentralised.tabular import SoftmaxPolicy
from lifelong_gym.agents.deep.agent import Agent, refuse_memory
from lifelong_gym.agents.deep.environment_state import channel_of
from lifelong_gym.agents.deep.multi_agent import Finished, MultiAgentAlgorithm
from lifelong_gym.errors import unknown
from lifelong_gym.wrappers import Channel, graph_of, rows_of_nodes

ROOM = "lifelong_gym.agents.decentralised"
BASES = {
    "ppo": "PPO",
    "a2c": "A2C",
    "reinforce": f"{ROOM}.reinforce:NeuralREINFORCE",
    "exact": f"{ROOM}.tabular:ExactPolicyGradient",
    "monte_carlo": f"{ROOM}.tabular:MonteCarloPolicyGradient",
}


class DCPG(MultiAgentAlgorithm):
    """Decentralised policy gradient (Zeng et al., 2021): one policy for all tasks, no agent in all of them.

    The agents are the nodes of the env's `ParameterSharing`, each with an on-policy algorithm of Stable-Baselines3's in
    the tasks of its rows; nodes without rows are relays, which hold a policy and average. Without a `ParameterSharing`,
    each row is an agent, in a ring. After all agents' training and before anybody collects, they mix what they share
    with their neighbours. With ``weights=np.eye(n)`` and ``same_start=False`` that is n separate runs of the algorithm,
    to the bit.

    An optimiser such as Adam divides each agent's gradient by its own size, so that tasks count alike however large
    their rewards are; plain SGD, or mixed moments, keep the sum of returns as the objective. Image features that
    actor and critic have in common, as by SB3's default, are mixed below a critic's head that isn't: give the critic
    its own by ``policy_kwargs={"share_features_extractor": False}``.

    Args:
        policy: name of one of the algorithm's policies, such as ``"MlpPolicy"``, or its class.
        env: an id, a PettingZoo ParallelEnv of ours, in a `ParameterSharing` or not, a vector env of ours, or what
            `as_vec_env` made of one.
        learning_rate: positive, or a function of the remaining progress; None: the algorithm's own.
        base: ``"ppo"``, ``"a2c"``; ``"reinforce"``: a gradient step on whole episodes; with the `SoftmaxPolicy` of
            Discrete spaces ``"exact"``: from models, which are known, and ``"monte_carlo"``: from whole episodes; or an
            on-policy class in SB3's form, such as sb3-contrib's `TRPO`, or its ``module:Class``.
        base_kwargs: others of the base's arguments; JSON-native, if the learner is to be saved.
        policy_kwargs: of the policy; JSON-native, if the learner is to be saved: classes may be names, such as
            ``{"optimizer_class": "SGD", "features_extractor_class": "SmallCNN"}``, or ``module:Class``.
        form: ``"adapt"``: step, then mix; ``"literal"``: the step is added to mixed parameters, as in the paper;
            ``"tracking"``: agents also mix an estimate of the mean step, which has no bias, and sends twice as much.
        share: ``"policy"``: all but the critic; ``"all"``; ``"features"``: all but the critic and the actor's last
            layer; or patterns of parameters' names, such as ``["action_net.*"]``.
        share_moments: whether what optimisers keep of shared parameters is mixed too.
        n_mixing: rounds of mixing each time.
        mix_every: sweeps between two mixings.
        task_weights: by which the steps of each task's agent are multiplied, (n_tasks,); None: 1.
        relative_entropy: weight of the policies' divergence from uniform choice; Discrete actions only.
        same_start: whether all agents begin with the first one's parameters.
        tensorboard_log: folder for TensorBoard; None: no logging.
        verbose: 0: silent, 1: the log, 2: more.
        seed: decides everything that is random; None: different every time.
        device: of PyTorch.

    Attributes:
        agents: one a node with rows, in the order of nodes; none before there is an env or a file.
        relays: one a node without rows.

    Raises:
        ValueError: arguments that don't fit, or networks that differ between nodes.
        TypeError: a base that isn't on-policy, or whose policies are recurrent.
    """

    default: ClassVar[str] = "PPO"
    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {**PPO.policy_aliases, "SoftmaxPolicy": SoftmaxPolicy}
    relays: Sequence[Relay] = ()
    _shared: Sequence[str] = ()
    _start: Mapping[Any, Tensors] | None = None  # what was shared before the training that is going on

    def __init__(
        self,
        policy: str | type[BasePolicy],
        env: Any,
        learning_rate: float | Schedule | None = None,
        base: str | type[BaseAlgorithm] = "ppo",
        base_kwargs: Mapping[str, Any] | None = None,
        policy_kwargs: Mapping[str, Any] | None = None,
        form: str = "adapt",
        share: Share = "policy",
        share_moments: bool = False,
        n_mixing: int = 1,
        mix_every: int = 1,
        task_weights: Sequence[float] | None = None,
        relative_entropy: float = 0.0,
        same_start: bool = True,
        *,
        tensorboard_log: str | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: th.device | str = "auto",
        _init_setup_model: bool = True,
    ) -> None:
        """See the class."""
        self.base = f"{base.__module__}:{base.__qualname__}" if isinstance(base, type) else base
        for name, given in (("base_kwargs", base_kwargs), ("policy_kwargs", policy_kwargs)):
            if not isinstance(given, Mapping | None):
                raise ValueError(f"`{name}` must be a mapping from argument to value. Received {given!r}")
        self.base_kwargs = dict(base_kwargs or {})
        algorithm = _algorithm_of(self.base)
        settings = MixingSettings(
            form, share, share_moments, n_mixing, mix_every, task_weights, relative_entropy, same_start
        )
        self.form, self.share_moments, self.same_start = settings.form, settings.share_moments, settings.same_start
        self.share, self.task_weights = settings.share, settings.task_weights
        self.n_mixing, self.mix_every = settings.n_mixing, settings.mix_every
        self.relative_entropy = settings.relative_entropy
        super().__init__(
            policy,
            env,
            learning_rate,
            algorithm,
            _with_entropy(algorithm, self.base_kwargs, self.relative_entropy),
            policy_kwargs,
            tensorboard_log=tensorboard_log,
            verbose=verbose,
            seed=seed,
            device=device,
            _init_setup_model=_init_setup_model,
        )

    # How it is made.

    def _setup_model(self, policy_arguments: dict[str, Any] | None = None) -> None:
        super()._setup_model(policy_arguments)
        idle = [] if self.env is None else _idle_nodes(self.env)
        saved = [str(node) for node in idle] if policy_arguments is None else policy_arguments["relays"]
        if self.env is not None and saved != [str(node) for node in idle]:
            raise ValueError(f"`env` must have nodes without rows {saved}. Received {idle}")
        first, n = self.agents[0], len(self.agents)
        names = idle or saved
        self.relays = [Relay(node, first.policy, self.seed_of(n + i)) for i, node in enumerate(names)]
        self._shared = shared_names(first.policy, self.share)
        check_alike(self._policies(), self._shared)
        if self.form == "tracking":
            _check_plain(first.policy)
        self._kept = {str(node): NamedTensors() for node in self._policies()}
        self._weights = self._weights_of_agents()
        for policy in self._policies().values() if self.same_start else ():
            policy.load_state_dict(first.policy.state_dict())

    def _kind_of_policy(self) -> Any:
        kind: Any = self.policy_aliases[self.policy_name]
        if self.relative_entropy == 0 or not issubclass(kind, ActorCriticPolicy):
            return super()._kind_of_policy()
        entropy.check_discrete(self.action_space)
        return entropy.with_relative_entropy(kind)

    def _weights_of_agents(self) -> list[float]:
        """By which each agent's steps are multiplied."""
        given, of_task = self.task_weights, self.policy.agent_of_task
        if given is None:
            return [1.0] * len(self.agents)
        if len(given) != self.n_tasks:
            raise ValueError(f"`task_weights` must be of {self.n_tasks} tasks. Received {len(given)}")
        found = []
        for i, agent in enumerate(self.agents):
            own = {given[task] for task in range(self.n_tasks) if of_task(task) == i}
            if len(own) != 1:
                raise ValueError(f"`task_weights` must be the same in all tasks of a node. {agent.node!r} has {own}")
            found.append(own.pop())
        return found

    def _channel_in(self, env: VecEnv) -> Channel | None:
        return channel_of(env) or Channel(graph_of("ring", rows_of_nodes(env)))

    def set_env(self, env: Any, force_reset: bool = True) -> None:
        """Go on in another environment, of the same nodes with the same rows.

        Raises:
            ValueError: other spaces, nodes or unknown tasks; nothing has changed then.
        """
        venv = to_vec_env(env)
        idle = _idle_nodes(venv)
        if self.agents and [str(node) for node in idle] != [str(relay.node) for relay in self.relays]:
            own = [str(relay.node) for relay in self.relays]
            raise ValueError(f"`env` must have nodes without rows {own}. Received {idle}")
        super().set_env(venv, force_reset)
        for relay, node in zip(self.relays, idle, strict=False):
            relay.node = node

    def _policy_arguments(self) -> dict[str, Any]:
        return {**super()._policy_arguments(), "relays": [str(relay.node) for relay in self.relays]}

    def _parts(self) -> Parts:
        own: dict[str, Any] = {str(relay.node): relay for relay in self.relays}
        tracked = {"tracking": self._kept} if self.form == "tracking" else {}
        return {**super()._parts(), **own, **tracked}

    # What it has learned.

    def _holders(self) -> list[Agent | Relay]:
        """Of policies: all nodes, relays last."""
        return [*self.agents, *self.relays]

    def _policies(self) -> dict[Any, BasePolicy]:
        """Of all nodes, relays last, as they are."""
        return {holder.node: holder.policy for holder in self._holders()}

    def _shared_of(self, policy: BasePolicy) -> Tensors:
        """What is shared of a policy, to be written to."""
        numbers = numbers_of(policy)
        return {name: numbers[name] for name in self._shared}

    def for_node(self, node: Any) -> BasePolicy:
        """The policy of a node as it is now, a copy; also of one without tasks.

        Raises:
            UnknownNameError: no such node.
        """
        for holder in self._holders():
            if node == holder.node or node == str(holder.node):
                return holder.copy_of_policy()
        raise unknown("node", node, self._policies())

    def consensus_error(self) -> dict[str, float]:
        """How far the nodes are from agreeing: 0 where all are equal.

        Returns:
            The root of the mean squared distance of nodes from their mean, relative to the mean's size: ``"all"``
            that is shared, and each layer's.
        """
        held = [self._shared_of(policy) for policy in self._policies().values()]
        layers = {name: th.stack([tensors[name].double().flatten() for tensors in held]) for name in self._shared}
        everything = th.cat(list(layers.values()), dim=1)
        return {name: _spread(values) for name, values in {"all": everything, **layers}.items()}

    # How it learns.

    def collect_rollouts(self) -> tuple[Finished, int]:
        """Let the agents collect in turns, each until it has something to train on.

        Raises:
            ValueError: an agent's policy isn't finite; nothing has been collected or mixed then.
        """
        for node, policy in self._policies().items():
            _check_finite(node, numbers_of(policy), ValueError)
        return super().collect_rollouts()

    def train(self) -> None:
        """Let the agents train in turns, and then mix what they share."""
        if self.form != "adapt" or self.task_weights is not None:
            self._start = {node: copies(self._shared_of(policy)) for node, policy in self._policies().items()}
        try:
            super().train()
        finally:
            self._start = None

    def communicate(self) -> None:
        """Mix what is shared: in every ``mix_every``-th sweep.

        Raises:
            FloatingPointError: an agent's parameters aren't finite; nothing has been mixed then.
        """
        ends = {node: self._shared_of(policy) for node, policy in self._policies().items()}
        for node, tensors in ends.items():
            _check_finite(node, tensors, FloatingPointError)
        starts = self._start or ends
        for agent, weight in zip(self.agents, self._weights, strict=True):
            for name, end in ends[agent.node].items() if weight != 1 else ():
                end.copy_(starts[agent.node][name].lerp(end, weight))
        if (self._n_updates + 1) % self.mix_every == 0:
            self._mix(starts, ends)

    def _mix(self, starts: Mapping[Any, Tensors], ends: Mapping[Any, Tensors]) -> None:
        form, moments = FORMS[self.form], self._moments() if self.share_moments else {}
        kept = {node: self._kept[str(node)].tensors for node in ends}
        values = {n: {**form.sent(starts[n], ends[n], kept[n]), **moments.get(n, {})} for n in ends}
        for node, mixed in self.channel.mix(values, self.n_mixing).items():
            new = form.received(mixed, starts[node], ends[node], kept[node])
            for name, tensor in ends[node].items():
                tensor.copy_(new[name])
            for name, tensor in moments.get(node, {}).items():
                tensor.copy_(mixed[name])

    def _moments(self) -> dict[Any, Tensors]:
        """What the optimisers keep, to be written to; zeros where they keep nothing yet."""
        found = {agent.node: moments_of(agent.policy, self._shared) for agent in self.agents}
        like = {name: tensor for tensors in found.values() for name, tensor in tensors.items()}
        for relay in self.relays:
            relay.moments.tensors = {n: relay.moments.tensors.get(n, th.zeros_like(t)) for n, t in like.items()}
            found[relay.node] = relay.moments.tensors
        return {n: {name: own.get(name, th.zeros_like(t)) for name, t in like.items()} for n, own in found.items()}

    def _log_rollouts(self) -> None:
        super()._log_rollouts()
        record = self.logger.record
        for task, total in self._rollouts.of_task.items() if isinstance(self._rollouts, Finished) else ():
            record(f"rollout/ep_rew_task_{task}", total)
        record("sharing/consensus_error", self.consensus_error()["all"])
        record("sharing/sigma_2", self.channel.sigma_2)
        for name, value in self.channel.ledger.snapshot().items():
            record(f"sharing/{name}", value)


def _idle_nodes(env: VecEnv) -> list[Any]:
    """The channel's nodes without rows."""
    channel, busy = channel_of(env), rows_of_nodes(env)
    return [] if channel is None else [node for node in channel.nodes if node not in busy]


def _spread(values: th.Tensor) -> float:
    mean = values.mean(dim=0)
    distance, size = float((values - mean).norm()) / math.sqrt(len(values)), float(mean.norm())
    return distance / size if distance > 0 else 0.0


def _check_finite(node: Any, tensors: Tensors, error: type[Exception]) -> None:
    name = not_finite(tensors)
    if name is not None:
        raise error(f"the policy of node {node!r} must be finite, but {name!r} isn't; nothing was mixed")


def _check_plain(policy: BasePolicy) -> None:
    """Raise `ValueError` unless steps are gradients times a rate, of which a mean makes sense."""
    optimiser: Any = policy.optimizer
    if type(optimiser) is not th.optim.SGD or any(group["momentum"] for group in optimiser.param_groups):
        raise ValueError(
            "`form='tracking'` must have plain gradient steps, of which it tracks the mean: pass "
            f"`policy_kwargs={{'optimizer_class': 'SGD'}}`. The optimiser is {type(optimiser).__name__}"
        )


def _algorithm_of(base: str) -> str:
    """As `MultiAgentAlgorithm` names it.

    Raises:
        TypeError: it isn't on-policy, or its policies remember.
    """
    if not isinstance(base, str) or (base not in BASES and ":" not in base):
        raise unknown("base", base, [*BASES, "module:Class"])
    algorithm = BASES.get(base, base)
    kind = imports.load(algorithm) if ":" in algorithm else OnPolicyAlgorithm
    if not (isinstance(kind, type) and issubclass(kind, OnPolicyAlgorithm)):
        raise TypeError(f"`base` must be an on-policy algorithm in SB3's form. Received {base!r}")
    refuse_memory("base", kind)
    return algorithm


def _with_entropy(algorithm: str, base_kwargs: Mapping[str, Any], weight: float) -> dict[str, Any]:
    """The arguments of the base, by which its loss takes relative entropy."""
    if weight == 0:
        return dict(base_kwargs)
    for name in ("ent_coef", "relative_entropy"):
        if name in base_kwargs:
            raise ValueError(f"`base_kwargs` must not have `{name}` beside `relative_entropy={weight}`")
    kind = imports.load(algorithm if ":" in algorithm else f"stable_baselines3:{algorithm}")
    if "ent_coef" not in inspect.signature(kind).parameters:
        raise ValueError(f"`relative_entropy` must be 0: {algorithm} takes no `ent_coef`. Received {weight}")
    return {**base_kwargs, "ent_coef": weight}
