"""DQN agents that find out which task they face, and borrow what others have experienced in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch as th
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import Schedule
from stable_baselines3.common.vec_env import VecEnv

from lifelong_gym.agents.contract.state import Parts
from lifelong_gym.agents.deep.continual.ways import make_way
from lifelong_gym.agents.deep.environment_state import channel_by_a_hub, channel_of
from lifelong_gym.agents.deep.multi_agent import MultiAgentAlgorithm
from lifelong_gym.agents.deep.replay.buffer import PackedReplayBuffer
from lifelong_gym.agents.deep.replay.memory import Memory
from lifelong_gym.agents.deep.sharing.agent import ASKING, AWAY, SharingAgent
from lifelong_gym.agents.deep.sharing.batched import Together
from lifelong_gym.agents.deep.sharing.hub import Catalogue, ExperienceHub, Message
from lifelong_gym.agents.deep.sharing.meeting import report_in
from lifelong_gym.agents.deep.sharing.settings import Presence, SharingSettings
from lifelong_gym.agents.deep.sharing.signatures import SIGNATURES
from lifelong_gym.errors import unknown
from lifelong_gym.numerics.arrays import IntArray
from lifelong_gym.wrappers import Channel, NodeRows, hub_of

OWN = ("replay_buffer_class", "replay_buffer_kwargs", "learning_starts", "exploration_fraction", "n_steps")


class SharedExperienceDQN(MultiAgentAlgorithm):
    """DQN agents that nobody tells their tasks: they recognise them, ask a hub, and learn from what others experienced.

    After the deep learner of Amani et al. (2023). Each agent is a DQN of Stable-Baselines3's in one row. Where its task
    changes, which the rounds of the env tell, it acts at random for ``meeting_steps``, makes a report of what it saw,
    and sends it to the hub, which knows the reports of all tasks that anybody has met: a task is the nearest one's if
    that is near enough by the agents' own spread, else it is new. The hub answers with a label and what others have
    left of the task; when the task ends, the agent leaves what the hub hasn't got. All goes through the `channel`,
    packed: a node without rows that all others reach, or else an agent that they reach, is the hub. With
    ``borrow=None`` agents are on their own, and know their own tasks by the same reports.

    With each task the optimiser and the exploration rate begin anew, the target network follows at once, and replay is
    of this task alone, but for what is borrowed and, with ``continual="replay"``, remembered.

    Args:
        policy: ``"MlpPolicy"``, ``"CnnPolicy"``, or its class.
        env: an id, a PettingZoo ParallelEnv of ours, in a `ParameterSharing` or not, a vector env of ours, or what
            `as_vec_env` made of one; a row an agent.
        learning_rate: positive, or a function of the remaining progress; None: DQN's own.
        signature: what tasks are recognised by: ``"observation"``; ``"probe"``: all play one script; ``"cosine"``,
            ``"euclidean"``: parameters of a small network, the latter as in the paper.
        threshold: largest distance of reports that are held to be of one task, in [0, 1]; None: the signature's.
        meeting_steps: of each task, at its beginning, under actions at random, by which it is recognised.
        borrow: what an agent gets of a task that others have met: ``"replay"``, ``"weights"``, ``"both"``, or None.
        borrow_share: of each batch that is borrowed, in [0, 1).
        pretrain: gradient steps on what is borrowed before the first step of one's own.
        continual: a way not to forget: ``"ewc"``, ``"online_ewc"``, ``"l2_init"``, ``"redo"``, ``"packnet"``,
            ``"distill"``, ``"replay"``, ``"library"``, or None.
        continual_kwargs: its arguments.
        exploration_steps: of each task, over which exploration falls to its last rate.
        memory_bytes: of all replay that the hub holds, packed.
        presence: the rounds in which agents take part, by node, as intervals ``(first, end)``, the latter excluded,
            None: for good; agents that aren't named always do. One that doesn't acts at random, and neither learns nor
            sends.
        batched: whether all agents' networks are trained in one call.
        algorithm_kwargs: others of DQN's arguments; JSON-native, if the learner is to be saved.
        policy_kwargs: of the policy; JSON-native, if the learner is to be saved: classes may be names, such as
            ``{"optimizer_class": "SGD", "features_extractor_class": "SmallCNN"}``, or ``module:Class``.
        tensorboard_log: folder for TensorBoard; None: no logging.
        verbose: 0: silent, 1: the log, 2: more.
        seed: decides everything that is random; None: different every time.
        device: of PyTorch.

    Attributes:
        agents: one a row.
        hub: what is known of all tasks; with ``borrow=None`` nothing.

    Raises:
        ValueError: arguments that don't fit, agents of several rows, or a channel in which nobody reaches all others.
    """

    default: ClassVar[str] = "DQN"
    hub: ExperienceHub

    def __init__(
        self,
        policy: str | type[BasePolicy],
        env: Any,
        learning_rate: float | Schedule | None = None,
        signature: str = "observation",
        threshold: float | None = None,
        meeting_steps: int = 300,
        borrow: str | None = "replay",
        borrow_share: float = 0.5,
        pretrain: int = 0,
        continual: str | None = None,
        continual_kwargs: Mapping[str, Any] | None = None,
        exploration_steps: int = 1000,
        memory_bytes: int = 200_000_000,
        presence: Presence | None = None,
        batched: bool = False,
        algorithm_kwargs: Mapping[str, Any] | None = None,
        policy_kwargs: Mapping[str, Any] | None = None,
        *,
        tensorboard_log: str | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: th.device | str = "auto",
        _init_setup_model: bool = True,
    ) -> None:
        """See the class."""
        settings = SharingSettings(
            signature, threshold, meeting_steps, borrow, borrow_share, pretrain, continual, continual_kwargs,
            exploration_steps, memory_bytes, presence, batched,
        )  # fmt: skip
        vars(self).update(vars(settings))
        self.settings = settings
        for name in OWN:
            if name in (algorithm_kwargs or {}):
                raise ValueError(f"`algorithm_kwargs` must not have {name!r}, which is decided by other arguments")
        super().__init__(
            policy,
            env,
            learning_rate,
            None,
            algorithm_kwargs,
            policy_kwargs,
            tensorboard_log=tensorboard_log,
            verbose=verbose,
            seed=seed,
            device=device,
            _init_setup_model=_init_setup_model,
        )

    # How it is made.

    def _setup_model(self, policy_arguments: dict[str, Any] | None = None) -> None:
        if not isinstance(self.action_space, spaces.Discrete):
            raise ValueError(f"`env` must have Discrete actions. Received {self.action_space}")
        settings = self.settings
        self._signature = SIGNATURES[settings.signature](self.observation_space, self.action_space)
        super()._setup_model(policy_arguments)
        for agent in self.agents:
            if agent.rows.num_envs != 1:
                raise ValueError(f"each agent must have one row. {agent.node!r} has {agent.rows.num_envs}")
            if agent.algorithm.buffer_size < settings.meeting_steps:
                n, size = settings.meeting_steps, agent.algorithm.buffer_size
                raise ValueError(f"`buffer_size` must hold the {n} steps of `meeting_steps`. Received {size}")
        known = [str(agent.node) for agent in self.agents]
        for node in settings.presence or {} if known else {}:
            if node not in known:
                raise unknown("node of `presence`", node, known)
        self.hub, self._together = ExperienceHub(self._catalogue(), self._memory()), Together()
        self._own = {str(agent.node): self._catalogue() for agent in self.agents if settings.borrow is None}

    def _catalogue(self) -> Catalogue:
        given = self.settings.threshold
        return Catalogue(self._signature, self._signature.threshold if given is None else given)

    def _memory(self) -> Memory:
        memory = Memory(self.settings.memory_bytes)
        if self.agents:
            memory.form = self.agents[0].algorithm.replay_buffer.form
        return memory

    def _agent(self, index: int, node: Any, own: IntArray) -> SharingAgent:
        rows = NodeRows(self.observation_space, self.action_space, own)
        if self.env is not None:
            rows.attach(self.env)
        settings = self.settings
        way = None if settings.continual is None else make_way(settings.continual, settings.continual_kwargs or {})
        arguments = {**self._arguments(), "replay_buffer_class": PackedReplayBuffer}
        return SharingAgent(
            settings,
            self._signature,
            way,
            kind=self._kind,
            policy=self._kind_of_policy(),
            node=node,
            rows=rows,
            seed=self.seed_of(index),
            device=self.device,
            arguments=arguments,
        )

    def _channel_in(self, env: VecEnv) -> Channel | None:
        if self.settings.borrow is None:
            return channel_of(env)
        return channel_by_a_hub(env)

    def _parts(self) -> Parts:
        return {**super()._parts(), "hub": self.hub, **({"own": self._own} if self._own else {})}

    # What agents know.

    def label_of(self, node: Any) -> int | None:
        """The label of the task that an agent is learning in; None while it doesn't know.

        Raises:
            UnknownNameError: no such node.
        """
        for agent in self._members():
            if node in (agent.node, str(agent.node)):
                return None if agent.desk.stage != "learning" else agent.desk.label
        raise unknown("node", node, [agent.node for agent in self.agents])

    def meet(self, env: VecEnv, agent: int) -> BasePolicy | None:
        """The policy that an agent keeps for the task that an env's one row is in, by its report of ``meeting_steps``.

        None, and without a step, where ``continual`` keeps none; after them, where the task is new to the agent.

        Raises:
            ValueError: the env hasn't got these steps.
        """
        member = self._members()[int(self.policy.agent_of_row[agent])]
        catalogue = self._own.get(str(member.node), self.hub.catalogue)
        if member.way is None or not member.way.keeps_policies or not catalogue.entries:
            return None
        seed = self.seed_of(agent)
        label = catalogue.nearest(report_in(env, self._signature, self.settings.meeting_steps, seed))
        kept = None if label is None else member.way.policy_of(label)
        if kept is None:
            return None
        policy = member.copy_of_policy()
        policy.load_state_dict(kept)
        return policy

    def _members(self) -> list[SharingAgent]:
        return [agent for agent in self.agents if isinstance(agent, SharingAgent)]

    # How it learns.

    def on_task_end(self, info: Mapping[str, Any]) -> None:
        """A round ends: agents remember their tasks."""
        for agent in self._members():
            agent.end_task()

    def train(self) -> None:
        """Let the agents train, in turns or in one call, and then `communicate`."""
        if not self.settings.batched:
            super().train()
            return
        due = [a for a in self._members() if a.tally.n_steps and a.is_learning]
        if due:
            self._together.train(due)
        self.communicate()

    def communicate(self) -> None:
        """Let agents ask which task theirs is, and leave what they have experienced; in most sweeps nobody does."""
        for agent in self._members():
            agent.ask()
        if self.settings.borrow is None:
            for agent in self._members():
                if agent.desk.stage == ASKING and agent.desk.report is not None:
                    node = str(agent.node)
                    agent.answered({"label": self._own[node].label(agent.desk.report, node)})
            return
        self._by_the_hub()

    def _by_the_hub(self) -> None:
        asking = {agent.node: agent for agent in self._members() if agent.desk.stage == ASKING}
        sending = {agent.node: agent for agent in self._members() if agent.node in asking or agent.desk.outbox}
        if not sending:
            return
        hub = hub_of(self.channel.graph, [agent.node for agent in self.agents])
        heard = self._up(hub, {node: _request(agent) for node, agent in sending.items()})
        answers: dict[Any, Message] = {}
        for message in heard.values():
            if "of" in message:
                self.hub.keep(message)
        for node, message in heard.items():
            answers[node] = {}
            if "report" in message:
                settings = self.settings
                asked = (message["report"], str(node), settings.borrows_replay, settings.borrows_weights)
                answers[node] = self.hub.answer(*asked)
            if "of" in message:
                answers[node]["kept"] = message["of"]
        self._receive(asking, self._down(hub, answers))

    def _receive(self, asking: Mapping[Any, SharingAgent], answers: Mapping[Any, Message]) -> None:
        for agent in self._members():
            answer = answers.get(agent.node, {})
            if "kept" in answer:
                agent.desk.outbox = {}
            if "label" in answer:
                agent.answered(answer)
            elif agent.node in asking:
                agent.unanswered()

    def _up(self, hub: Any, messages: Mapping[Any, Message]) -> dict[Any, Message]:
        """What the hub hears, in the order of agents; of itself at no cost."""
        sent = {(node, hub): message for node, message in messages.items() if node != hub}
        heard = self.channel.send(sent)[hub]
        return {
            node: messages[node] if node == hub else heard[node] for node in messages if node == hub or node in heard
        }

    def _down(self, hub: Any, answers: Mapping[Any, Message]) -> dict[Any, Message]:
        """What agents hear."""
        inboxes = self.channel.send({(hub, node): answer for node, answer in answers.items() if node != hub})
        heard = {node: inbox[hub] for node, inbox in inboxes.items() if hub in inbox}
        return {**heard, **{node: answer for node, answer in answers.items() if node == hub}}

    def _log_rollouts(self) -> None:
        super()._log_rollouts()
        members = self._members()
        self.logger.record("sharing/n_tasks_known", len(self.hub.catalogue.entries))
        self.logger.record("sharing/n_learning", sum(agent.is_learning for agent in members))
        self.logger.record("sharing/n_away", sum(agent.desk.stage == AWAY for agent in members))
        if self.settings.borrow is not None:
            for name, value in self.channel.ledger.snapshot().items():
                self.logger.record(f"sharing/{name}", value)


def _request(agent: SharingAgent) -> Message:
    """What an agent sends to the hub."""
    report = agent.desk.report
    return {**agent.desk.outbox, **({} if report is None else {"report": report})}
