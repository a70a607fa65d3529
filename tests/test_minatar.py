"""`LifelongMinAtar-v0`: MinAtar's own games, by our random numbers."""

from __future__ import annotations

import importlib
import subprocess
import sys
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import lifelong_gym
from lifelong_gym.envs.arcade import minatar
from lifelong_gym.envs.arcade.minatar import CHANNELS, GAMES, SIDE, MinAtar, MinAtarGame
from lifelong_gym.errors import CheckpointError, MissingExtraError, UnknownNameError
from lifelong_gym.wrappers import as_vec_env
from tests.making import MINATAR

each_game = pytest.mark.parametrize("game", GAMES)


def played(game: str, n: int = 400, **task: float) -> list[Any]:
    """What happens under random actions, episode after episode."""
    env = gym.make(MINATAR, tasks=[{"game": game, **task}])
    actions = np.random.default_rng(0).integers(0, 6, n)
    log, ended = [env.reset(seed=1)[0].tobytes()], False
    for action in actions.tolist():
        if ended:
            log.append(env.reset()[0].tobytes())
        observation, reward, terminated, truncated, _ = env.step(action)
        ended = terminated or truncated
        log += [(observation.tobytes(), reward, terminated)]
    return log


@each_game
def test_it_is_minatars_own_environment(game: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Boards, points and ends of its wrapper with the same bits, sticky actions and ramping included."""
    monkeypatch.setitem(sys.modules, "seaborn", None)  # which it can do without, and which takes seconds
    theirs = importlib.import_module("minatar.environment").Environment(game, sticky_action_prob=0.3)
    rng = np.random.default_rng(5)
    theirs.random = theirs.env.random = np.random.RandomState(np.random.default_rng(5).bit_generator)
    ours = MinAtarGame(MinAtar(), {"game": game, "sticky": 0.3, "ramping": 1.0}, "score")
    actions = np.random.default_rng(0).integers(0, 6, 600).tolist()
    ended = True
    for action in actions:
        if ended:
            theirs.reset()
            theirs.last_action = 0  # which it keeps from the last episode; ours depend on nothing before them
            seen = ours.reset(rng)
        board = theirs.state()
        padded = seen.reshape(SIDE, SIDE, CHANNELS)
        assert np.array_equal(padded[..., : board.shape[2]], board)
        assert not padded[..., board.shape[2] :].any()
        reward, ended = theirs.act(action)
        seen, ours_reward, terminated = ours.step(action, rng)
        assert (ours_reward, terminated) == (reward, ended)


@each_game
def test_sticky_games_dont_obey(game: str) -> None:
    """At 1 the action is always the first, nothing; at 0 it is always what is asked for."""
    deaf = MinAtarGame(MinAtar(), {"game": game, "sticky": 1.0, "ramping": 0.0}, "score")
    idle, same = (MinAtarGame(MinAtar(), {"game": game, "sticky": 0.0, "ramping": 0.0}, "score") for _ in range(2))
    one, other, third = (np.random.default_rng(3) for _ in range(3))
    assert np.array_equal(deaf.reset(one), idle.reset(other))
    same.reset(third)
    moved = False
    for action in [1, 2, 2, 2, 2, 3]:
        seen, still, asked = deaf.step(action, one), idle.step(0, other), same.step(action, third)
        assert np.array_equal(seen[0], still[0])
        moved |= not np.array_equal(asked[0], still[0])
    assert moved


def test_ramping_makes_it_harder() -> None:
    """Asterix's things come faster; Breakout knows no such thing."""
    assert played("asterix", ramping=1) != played("asterix", ramping=0)
    assert played("breakout", ramping=1) == played("breakout", ramping=0)


@each_game
def test_a_state_goes_on_to_the_bit(game: str) -> None:
    """Anywhere within an episode, through files' own types."""
    env: Any = gym.make(MINATAR, tasks=[{"game": game, "sticky": 0.5}]).unwrapped
    again: Any = gym.make(MINATAR, tasks=[{"game": game, "sticky": 0.5}]).unwrapped
    actions = np.random.default_rng(2).integers(0, 6, 200).tolist()
    env.reset(seed=2)
    for i, action in enumerate(actions):
        if i % 37 == 0:
            again.load_state_dict(env.state_dict())
        one, other = env.step(action), again.step(action)
        assert np.array_equal(one[0], other[0])
        assert one[1:4] == other[1:4]
        if one[2]:
            env.reset()
            again.reset()


def test_the_state_of_another_game_is_refused() -> None:
    """Nothing has changed then."""
    env: Any = gym.make(MINATAR, tasks=[{"game": "breakout"}]).unwrapped
    env.reset(seed=0)
    state = env.state_dict()
    before = state["core"]["rows"]["snapshots"][0]
    name, damaged = next((i, part) for i, part in enumerate(before) if isinstance(part, dict) and "game" in part)
    for wrong in ({"pos": 1}, {**damaged["game"], "brick_map": np.zeros((3, 3))}):
        parts = [*before[:name], {**damaged, "game": wrong}, *before[name + 1 :]]
        state["core"]["rows"]["snapshots"] = [tuple(parts)]
        with pytest.raises(CheckpointError, match="snapshots`: that of row 0 doesn't fit"):
            env.load_state_dict(state)
    assert env.core.begun


def test_the_default_tasks_are_the_five_games() -> None:
    """All of them, then all again; `plain` and `varied` change the rest."""
    tasks = lifelong_gym.sample_tasks(MINATAR, 10)
    assert sorted(task["game"] for task in tasks[:5]) == sorted(task["game"] for task in tasks[5:]) == list(GAMES)
    plain = lifelong_gym.sample_tasks(MINATAR, 5, preset="plain")
    assert {(task["sticky"], task["ramping"]) for task in plain} == {(0.0, 0.0)}
    assert len({task["sticky"] for task in lifelong_gym.sample_tasks(MINATAR, 5, preset="varied")}) == 5


def test_pictures_show_the_board() -> None:
    """A pixel a cell: the paddle is where the observation says."""
    game = MinAtarGame(MinAtar(), {"game": "breakout", "sticky": 0.0, "ramping": 0.0}, "score")
    board = game.reset(np.random.default_rng(0)).reshape(SIDE, SIDE, CHANNELS)
    picture = game.picture()
    assert picture.shape == (SIDE, SIDE, 3)
    assert np.array_equal((picture != minatar.COLOURS[0]).any(axis=2), board.any(axis=2))
    assert np.array_equal(picture[9, 4], minatar.COLOURS[1])
    env = gym.make(MINATAR, render_mode="rgb_array")
    env.reset(seed=0)
    frame: Any = env.render()
    assert frame.shape == (528, 440, 3)


def test_a_stock_network_trains_on_it() -> None:
    """DQN with ``MlpPolicy``, on numbers as they are."""
    from stable_baselines3 import DQN

    env = as_vec_env(MINATAR, n_tasks=5)
    model = DQN("MlpPolicy", env, buffer_size=200, learning_starts=20, batch_size=8, device="cpu", seed=0).learn(60)
    observations: Any = env.reset()
    assert env.action_space.contains(model.predict(observations)[0][0])


def test_unknown_games_are_told() -> None:
    """With the nearest that there is."""
    with pytest.raises(UnknownNameError, match="Did you mean 'breakout'"):
        gym.make(MINATAR, tasks=[{"game": "breakot"}])
    with pytest.raises(ValueError, match=r"'sticky' must be in \[0, 1\]"):
        gym.make(MINATAR, tasks=[{"sticky": 1.5}])


def test_without_minatar_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """When an env is made; the family is listed nevertheless."""
    monkeypatch.setitem(sys.modules, "minatar", None)
    assert lifelong_gym.family(MINATAR).parameters["game"].names == GAMES
    with pytest.raises(MissingExtraError, match=r"lifelong-gym\[minatar\]"):
        gym.make(MINATAR)


def test_seaborn_isnt_imported() -> None:
    """Nor is matplotlib; the package would take seconds."""
    code = f"""
import sys, gymnasium as gym, lifelong_gym
env = gym.make("{MINATAR}"); env.reset(seed=0); env.step(0)
print([name for name in ("seaborn", "matplotlib.pyplot", "pandas") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
