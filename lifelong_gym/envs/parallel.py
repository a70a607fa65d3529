"""The PettingZoo interface: one agent a task, or agents that meet their tasks in rounds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from gymnasium.utils import seeding
from pettingzoo.utils.conversions import parallel_to_aec
from pettingzoo.utils.env import AECEnv, ParallelEnv

from lifelong_gym.envs.adapter import (
    NativeSpec,
    OverCore,
    Renderer,
    check_options,
    check_seed,
    generator_state,
    make_core,
    metadata,
    row_infos,
    visible_tasks,
)
from lifelong_gym.errors import CheckpointError, integer, unknown
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.numerics.states import Change, State, StateReader, generator
from lifelong_gym.tasks.schedule import rows_are_agents
from lifelong_gym.tasks.task_set import TaskSet

Dicts = tuple[dict[str, Any], dict[str, float], dict[str, bool], dict[str, bool], dict[str, dict[str, Any]]]


class LifelongParallelEnv(OverCore, NativeSpec, ParallelEnv[str, Any, Any]):
    """Agents ``task_0``, ``task_1``, ... live each in its own task and end at different times.

    Agent ``task_i`` equals the single env reset with ``seed=seed + i, options={"task": i}``, to the bit.

    Under ``schedule={"rounds": ...}`` or ``{"weights": [...]}`` agents aren't tasks: ``agent_0``, ``agent_1``, ...,
    more or fewer than there are tasks. In rounds each stays in its task until `next_round`, and infos hold ``round`` in
    place of ``task_id``; by weights each draws a task every episode. Agent i is seeded with ``seed + i``.

    Args:
        family: id of the task family.
        max_cycles: steps after which every agent is truncated, PettingZoo's name for ``horizon``; default: the family's
            horizon.
        n_agents: how many, where agents aren't tasks; default: as many as tasks.
        render_mode: None, ``"rgb_array"`` or ``"human"``.
        **settings: see `lifelong_gym.envs.settings.Settings`.

    ``reset(options={"state": x})``: one physical start state for all, or a dict from agent to state. Unknown
    options are ignored.
    """

    def __init__(
        self,
        family: str,
        max_cycles: int | None = None,
        render_mode: str | None = None,
        n_agents: int | None = None,
        **settings: Any,
    ) -> None:
        """See the class."""
        if max_cycles is not None:
            if settings.get("horizon") not in (None, max_cycles):
                raise ValueError(
                    f"`max_cycles` and `horizon` must agree. Received {max_cycles} and {settings['horizon']}"
                )
            settings["horizon"] = integer("max_cycles", max_cycles)
        self._free = rows_are_agents(settings.get("schedule"))
        if n_agents is not None and not self._free:
            raise ValueError(
                "`n_agents` goes with a `schedule` of rounds or weights; under any other there is one agent a task. "
                f"Received n_agents={n_agents!r}, schedule={settings.get('schedule')!r}"
            )
        n_rows = None if n_agents is None else integer("n_agents", n_agents)
        self.core = make_core(type(self), family, n_rows, settings)
        self.metadata = {**metadata(self.core), "name": family, "is_parallelizable": True}
        self.render_mode = render_mode
        kind = "agent" if self._free else "task"
        self.possible_agents = [f"{kind}_{i}" for i in range(self.core.n_rows)]
        self.agents: list[str] = []
        self._row = {agent: i for i, agent in enumerate(self.possible_agents)}
        self.observation_spaces = dict.fromkeys(self.possible_agents, self.core.single_observation_space)
        self.action_spaces = {agent: self.core.family.actions.space for agent in self.possible_agents}
        self._renderer = Renderer(self.core, render_mode)
        self._one = self.core.family.observations.one
        self._np_random: np.random.Generator | None = None

    @property
    def tasks(self) -> TaskSet:
        """The agents' tasks, in order; in rounds those that may come up."""
        return visible_tasks(self.core)

    @property
    def max_cycles(self) -> int:
        """Steps after which every agent is truncated."""
        return self.core.clock.horizon

    @max_cycles.setter
    def max_cycles(self, max_cycles: int) -> None:
        self.core.clock.horizon = integer("max_cycles", max_cycles)

    @property
    def states(self) -> FloatArray:
        """Physical states, a copy of shape (n_agents, n_state)."""
        return self.core.states()

    def observation_space(self, agent: str) -> spaces.Space[Any]:
        """Of one agent; always the same object."""
        return self.observation_spaces[self._known(agent)]

    def action_space(self, agent: str) -> spaces.Space[Any]:
        """Of one agent; always the same object."""
        return self.action_spaces[self._known(agent)]

    def next_round(self, agents: Iterable[str] | str | None = None) -> None:
        """Let these agents (None: all) go on to their next tasks when their next episodes begin.

        Raises:
            UnknownNameError: an agent that isn't there.
            ValueError, ResetNeeded: see `Core.next_round`. Nothing has changed then.
        """
        chosen = [agents] if isinstance(agents, str) else agents
        self.core.next_round(None if chosen is None else [self._row[self._known(agent)] for agent in chosen])

    def _known(self, agent: str) -> str:
        if agent not in self._row:
            raise unknown("agent", agent, self.possible_agents)
        return agent

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        """Begin all agents' episodes; agent i gets ``seed + i``.

        Raises:
            ValueError: options that are no dict, or states or a seed that don't fit; nothing has changed then.
        """
        check_seed(seed)
        states = self._states(check_options(options).get("state"))
        if seed is not None or self._np_random is None:
            self._np_random, _ = seeding.np_random(seed)
            base = int(self._np_random.integers(2**62)) if seed is None else seed
            self.core.seed(np.arange(self.core.n_rows), range(base, base + self.core.n_rows))
        rows = np.arange(self.core.n_rows)
        observations = self.core.empty_observations()
        self.core.begin(rows, observations, None if self._free else rows, states)
        self._renderer.began(rows)
        self.agents = self.possible_agents[:]
        if self.render_mode == "human":
            self.render()
        infos = dict(zip(self.agents, row_infos(self.core, np.zeros(self.core.n_rows, bool)), strict=True))
        return {agent: self._public(observations[i]) for i, agent in enumerate(self.agents)}, infos

    def _states(self, given: Any) -> FloatArray | None:
        if isinstance(given, Mapping):
            missing = set(self.possible_agents) - {self._known(agent) for agent in given}
            if missing:
                raise ValueError(f"`state` must name every agent. Missing: {', '.join(sorted(missing))}")
            given = [given[agent] for agent in self.possible_agents]
        return self.core.check_states(given, self.core.n_rows)

    def step(self, actions: dict[str, Any]) -> Dicts:
        """Step the agents that are still alive; those that end leave `agents`.

        Actions of agents that have ended are ignored, whatever they are.

        Raises:
            ValueError: an unknown agent, a living one left out, or its action doesn't fit; nothing has changed.
            ResetNeeded: before the first reset.
        """
        if not self.core.begun:
            raise ResetNeeded("no episode has begun: call `reset` first")
        rows = self._acting(actions)
        if not rows:
            return {}, {}, {}, {}, {}
        everybody = np.zeros((self.core.n_rows, self.core.family.actions.size))
        given = [self._shaped(agent, actions[agent]) for agent in self.agents]
        everybody[rows] = self.core.check_actions(np.stack(given), len(rows))
        active = np.zeros(self.core.n_rows, bool)
        active[rows] = True
        results, _ = self.core.step(everybody, active)
        self._renderer.stepped(everybody, results.rewards, results.failed, active)
        pairs = list(zip(self.agents, rows, strict=True))
        observations = {agent: self._public(results.observations[i]) for agent, i in pairs}
        rewards = {agent: float(results.rewards[i]) for agent, i in pairs}
        terminations = {agent: bool(results.terminated[i]) for agent, i in pairs}
        truncations = {agent: bool(results.truncated[i]) for agent, i in pairs}
        all_infos = row_infos(self.core, results.failed)
        infos = {agent: all_infos[i] for agent, i in pairs}
        self.agents = [agent for agent, _ in pairs if not (terminations[agent] or truncations[agent])]
        if self.render_mode == "human":
            self.render()
        return observations, rewards, terminations, truncations, infos

    def _acting(self, actions: Mapping[str, Any]) -> list[int]:
        for agent in actions:
            self._known(agent)
        missing = [agent for agent in self.agents if agent not in actions]
        if missing:
            raise ValueError(f"`actions` must hold every agent that is alive. Missing: {', '.join(missing)}")
        return [self._row[agent] for agent in self.agents]

    def _shaped(self, agent: str, action: Any) -> npt.NDArray[Any]:
        try:
            return self.core.check_action(action)
        except ValueError as error:
            raise ValueError(f"{agent}: {error}") from None

    def _public(self, observation: Any) -> Any:
        return self._one(observation).copy()

    def _own_state(self) -> State:
        return {"agents": list(self.agents), "np_random": generator_state(self._np_random)}

    def _loading(self, state: StateReader) -> Change:
        agents, np_random = state["agents"], generator(state["np_random"], state.name("np_random"))
        if not isinstance(agents, list) or [name for name in self.possible_agents if name in agents] != agents:
            raise CheckpointError(f"`{state.name('agents')}` must be some of `possible_agents`. Received {agents!r}")

        def change() -> None:
            self.agents, self._np_random = list(agents), np_random

        return change

    def render(self) -> Any:
        """One picture in which the agents are tiled (rgb_array: uint8), or None."""
        return None if self.render_mode is None else self._renderer.show(range(self.core.n_rows))

    def close(self) -> None:
        """Close the window and the simulators."""
        self._renderer.close()
        self.core.close()


def aec_env(**kwargs: Any) -> AECEnv[str, Any, Any]:
    """The same agents, acting one after another."""
    env: AECEnv[str, Any, Any] = parallel_to_aec(LifelongParallelEnv(**kwargs))
    return env
