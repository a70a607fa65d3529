"""Looking at a task outside of rounds, as at the beginning of one."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.utils import set_random_seed
from stable_baselines3.common.vec_env import VecEnv

from lifelong_gym.agents.deep.replay.packing import StepForm, Transitions
from lifelong_gym.agents.deep.sharing.agent import SCRIPT
from lifelong_gym.agents.deep.sharing.signatures import Report, Signature
from lifelong_gym.agents.deep.streams import RandomStreams
from lifelong_gym.wrappers import steps_left


def report_in(env: VecEnv, signature: Signature, n_steps: int, seed: int) -> Report:
    """The report of the task that an env's one row is in, under actions at random, or by the script.

    Args:
        env: of one row.
        signature: by which tasks are recognised.
        n_steps: that it takes.
        seed: of what is drawn.

    Raises:
        ValueError: the env hasn't got so many steps, or they are too few for the signature.
    """
    left = steps_left(env)
    if left is not None and left < n_steps:
        raise ValueError(
            f"`meeting_steps` of the evaluation must be at least the learner's, {n_steps}. Received {left}"
        )
    streams = RandomStreams(th.device("cpu"))
    with streams:
        set_random_seed(seed)
        return signature.report(_played(env, signature, n_steps, seed))


def _played(env: VecEnv, signature: Signature, n_steps: int, seed: int) -> Transitions:
    form, actions = _form(env), copy.deepcopy(env.action_space)
    steps, seen = form.room(n_steps), env.reset()
    actions.seed(SCRIPT if signature.scripted else seed)
    for t in range(n_steps):
        action = actions.sample()
        then, rewards, dones, infos = env.step(np.array([action]))
        steps.observations[t], steps.actions[t], steps.rewards[t] = np.asarray(seen)[0], action, rewards[0]
        steps.next_observations[t] = infos[0]["terminal_observation"] if dones[0] else np.asarray(then)[0]
        if dones[0]:
            steps.dones[t], steps.timeouts[t] = 1.0, infos[0]["TimeLimit.truncated"]
            if signature.scripted:
                actions.seed(SCRIPT)
        seen = then
    return steps


def _form(env: VecEnv) -> StepForm:
    """As replay holds them, where a code has one place."""
    space: Any = env.observation_space
    shape = (1,) if isinstance(space, spaces.Discrete) else space.shape
    return StepForm(shape, space.dtype, (1,), np.dtype(np.int64))
