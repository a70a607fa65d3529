"""A DQN that goes from task to task: it meets one, is told which it is, learns, and leaves what it has seen."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch as th

from lifelong_gym.agents.contract.checks import MOST
from lifelong_gym.agents.deep.agent import Agent, Tally
from lifelong_gym.agents.deep.continual.base import Continual
from lifelong_gym.agents.deep.replay.buffer import PackedReplayBuffer, Supply
from lifelong_gym.agents.deep.replay.store import Store
from lifelong_gym.agents.deep.sharing.hub import REPLAY, WEIGHTS, Message, replay_in, weights_in
from lifelong_gym.agents.deep.sharing.settings import SharingSettings, is_present
from lifelong_gym.agents.deep.sharing.signatures import Report, Signature
from lifelong_gym.errors import CheckpointError

BORROWED = "borrowed"
PATIENCE = 50  # sweeps in which an agent asks the hub before it takes the task for one that nobody knows
SCRIPT = 20  # seed of the script
AWAY, MEETING, ASKING, LEARNING = "away", "meeting", "asking", "learning"


class Watch(Tally):
    """Also notices where a round begins, and where an episode of a script does."""

    def __init__(self, agent: SharingAgent) -> None:
        """Of an agent."""
        super().__init__()
        self._agent = agent

    def _on_step(self) -> bool:
        info = self.locals["infos"][0]
        if "idle" not in info:
            self._agent.in_round(int(info.get("round", 0)))
            if self.locals["dones"][0]:
                self._agent.begin_script()
        return super()._on_step()


class Desk:
    """Where an agent is with its task, and what it has to send.

    Attributes:
        round: of its task; -1: none yet.
        stage: ``"away"``, ``"meeting"``: it acts at random; ``"asking"``, ``"learning"``.
        label: of the task; meaningful while learning.
        begun: its environment steps when the task began.
        n_asked: sweeps in which it has asked for the label.
        wanted: whether the hub wants the task's replay.
        report: of the task, while asking.
        outbox: what the hub has not yet got, by name.
        borrowed: the chunks of replay that are borrowed.
    """

    def __init__(self) -> None:
        """No task."""
        self.round, self.stage, self.label, self.begun, self.n_asked, self.wanted = -1, AWAY, 0, 0, 0, False
        self.report: Report | None = None
        self.outbox: Message = {}
        self.borrowed: Message = {}

    def state_dict(self) -> dict[str, Any]:
        """All of it."""
        return dict(vars(self))

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state_dict`.

        Raises:
            CheckpointError: it isn't one; nothing has changed then.
        """
        if state.keys() != vars(self).keys() or state["stage"] not in (AWAY, MEETING, ASKING, LEARNING):
            raise CheckpointError(f"it must have {sorted(vars(self))}. Received {sorted(state)}")
        vars(self).update(copy.deepcopy(dict(state)))


class TaskExploration:
    """An exploration rate that falls in each task, and begins anew in the next.

    Args:
        agent: whose.
        n_steps: over which it falls.
    """

    def __init__(self, agent: SharingAgent, n_steps: int) -> None:
        """See the class."""
        self._agent, self._n_steps = agent, n_steps

    def __call__(self, progress_remaining: float) -> float:
        """Of the step that is taken now, whatever the progress of all tasks."""
        algorithm = self._agent.algorithm
        done = min((algorithm.num_timesteps - self._agent.desk.begun) / self._n_steps, 1.0)
        rate: float = (1 - done) * algorithm.exploration_initial_eps + done * algorithm.exploration_final_eps
        return rate


class SharingAgent(Agent):
    """See the module.

    Args:
        settings: of all agents.
        signature: by which tasks are recognised.
        way: not to forget; None: none.
        **given: as `Agent`'s.

    Attributes:
        desk: where it is.
        way: as given.
    """

    def __init__(self, settings: SharingSettings, signature: Signature, way: Continual | None, **given: Any) -> None:
        """See the class."""
        super().__init__(**given)
        self.settings, self.signature, self.way = settings, signature, way
        self.desk, self.tally = Desk(), Watch(self)
        self.algorithm.exploration_schedule = TaskExploration(self, settings.exploration_steps)
        self.algorithm.learning_starts = MOST
        self._unpacked: tuple[Message, list[Store]] = ({}, [])
        self.buffer.sources[BORROWED] = Supply(settings.borrow_share, self._borrowed)
        if way is not None:
            way.attach(self.algorithm)

    @property
    def buffer(self) -> PackedReplayBuffer:
        """Its replay."""
        buffer: PackedReplayBuffer = self.algorithm.replay_buffer
        return buffer

    @property
    def store(self) -> Store:
        """The transitions of its task."""
        return self.buffer.stores[0]

    @property
    def is_learning(self) -> bool:
        """Whether it knows its task, and trains."""
        return self.desk.stage == LEARNING

    # Rounds.

    def in_round(self, round: int) -> None:
        """A step was taken in this round, which may be a new one; it isn't in the replay yet."""
        if round == self.desk.round:
            return
        self.end_task()
        desk = self.desk
        self.buffer.reset()
        self.buffer.open = is_present(self.settings.presence, self.node, round)
        desk.round, desk.stage, desk.n_asked = round, MEETING if self.buffer.open else AWAY, 0
        desk.begun, desk.wanted = self.algorithm.num_timesteps - 1, False
        self.algorithm.learning_starts = MOST
        self.begin_script()

    def begin_script(self) -> None:
        """Where all play one script, from its beginning."""
        if self.signature.scripted and self.desk.stage in (MEETING, ASKING):
            self.algorithm.action_space.seed(SCRIPT)

    def end_task(self) -> None:
        """Remember the task, put what the hub wants into the outbox, and forget what was borrowed."""
        desk = self.desk
        if desk.stage in (MEETING, ASKING) and desk.round >= 0:
            warnings.warn(
                f"agent {self.node!r} didn't learn in round {desk.round}: its task changed before it was recognised, "
                f"which takes `meeting_steps`, {self.settings.meeting_steps}, and the hub's answer",
                stacklevel=2,
            )
        if desk.stage == LEARNING:
            desk.outbox = self._left()
            if self.way is not None:
                self.way.on_task_end({"task": desk.label})
        if desk.stage != AWAY:
            self.buffer.reset()
        desk.borrowed, self._unpacked = {}, ({}, [])
        desk.stage, desk.report, self.buffer.open = AWAY, None, False
        self.algorithm.learning_starts = MOST

    def _left(self) -> Message:
        """What the hub is to get of the task."""
        desk, found = self.desk, Message()
        if desk.wanted and len(self.store):
            found |= {f"{REPLAY}{name}": chunk for name, chunk in self.store.sent().items()}
        if self.settings.borrows_weights and desk.label >= 0:
            net = self.algorithm.q_net.state_dict()
            found |= {f"{WEIGHTS}{name}": tensor.detach().cpu().numpy().copy() for name, tensor in net.items()}
        return {**found, "of": np.array(desk.label)} if found else {}

    # Recognition.

    def ask(self) -> None:
        """Once enough has been seen of a task, make a report of it."""
        n, desk = self.settings.meeting_steps, self.desk
        if desk.stage == MEETING and len(self.store) >= n:
            with self.streams:
                desk.report = self.signature.report(self.store.read(np.arange(n)))
            desk.stage = ASKING

    def answered(self, message: Mapping[str, Any]) -> None:
        """The hub, or one's own catalogue, says which task it is.

        Raises:
            CheckpointError: what is borrowed is damaged or of another space.
        """
        desk, chunks = self.desk, replay_in(message)
        self._unpacked = (chunks, [Store.received(chunks, self.buffer.form)] if chunks else [])
        desk.label, desk.wanted, desk.borrowed = int(message["label"]), bool(message.get("wanted", False)), chunks
        self._learn(weights_in(message))

    def unanswered(self) -> None:
        """The hub was asked in vain; in the end, the task is taken for one that nobody knows."""
        self.desk.n_asked += 1
        if self.desk.n_asked >= PATIENCE:
            self.answered({"label": -1 - self.desk.round})

    def _learn(self, weights: Message) -> None:
        """Begin to learn in the task."""
        desk, algorithm = self.desk, self.algorithm
        desk.stage, desk.report = LEARNING, None
        with self.streams:
            algorithm.policy.optimizer.state.clear()
            if self.way is not None:
                self.way.on_task_start({"task": desk.label})
            if weights:
                algorithm.q_net.load_state_dict({name: th.as_tensor(array) for name, array in weights.items()})
            algorithm.q_net_target.load_state_dict(algorithm.q_net.state_dict())
            if desk.borrowed and self.settings.pretrain:
                algorithm.train(self.settings.pretrain, algorithm.batch_size)
        algorithm.learning_starts = algorithm.num_timesteps - 1

    def _borrowed(self) -> list[Store]:
        """What is borrowed, also where that was read from a file."""
        chunks, stores = self._unpacked
        if chunks is not self.desk.borrowed:
            chunks = self.desk.borrowed
            stores = [Store.received(chunks, self.buffer.form)] if chunks else []
            self._unpacked = (chunks, stores)
        return stores

    def begin(self, total_timesteps: float, reset_num_timesteps: bool) -> None:
        """See `Agent.begin`; the task that it is in goes on, also where steps are counted anew."""
        before = self.algorithm.num_timesteps
        super().begin(total_timesteps, reset_num_timesteps)
        shift = self.algorithm.num_timesteps - before
        self.desk.begun += shift
        if self.desk.stage == LEARNING:
            self.algorithm.learning_starts += shift

    # What is kept.

    def parts(self) -> dict[str, Any]:
        """All that going on depends on."""
        kept = super().parts()
        kept["replay_buffer"] = Replayed(self)
        kept["desk"] = self.desk
        if self.way is not None:
            kept["way"] = self.way
        return kept


class Replayed:
    """An agent's replay as a part, and what follows from it and the desk."""

    def __init__(self, agent: SharingAgent) -> None:
        """Of an agent."""
        self._agent = agent

    def state_dict(self) -> dict[str, Any]:
        """Its own transitions, and whether more are taken in."""
        agent = self._agent
        starts = agent.algorithm.learning_starts
        return {"own": agent.store.state_dict(), "open": agent.buffer.open, "learning_starts": starts}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state_dict`.

        Raises:
            CheckpointError: it is of other spaces or damaged; nothing has changed then.
        """
        buffer, agent = self._agent.buffer, self._agent
        if state.keys() != {"own", "open", "learning_starts"}:
            raise CheckpointError(f"it must have 'own', 'open' and 'learning_starts'. Received {sorted(state)}")
        agent.store.load_state_dict(state["own"])
        buffer.pos, buffer.full, buffer.open = agent.store.pos, agent.store.full, bool(state["open"])
        agent.algorithm.learning_starts = int(state["learning_starts"])
