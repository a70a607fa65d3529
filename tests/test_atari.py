"""`LifelongAtari-v0`: Gymnasium's pixels, ALE's own flavours, and a seed that decides."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import lifelong_gym
from lifelong_gym.envs.arcade.atari import CORA, FRAMES, PAPER20, SWITCHING, Atari, games
from lifelong_gym.envs.arcade.atari_emulators import emulator, give_back, libraries, start_of
from lifelong_gym.envs.arcade.atari_game import AtariGame
from lifelong_gym.errors import CheckpointError, MissingExtraError, UnknownNameError
from tests import atari_survey
from tests.making import ATARI

SMALL: dict[str, Any] = {"screen_size": 24, "stack_size": 2}


@pytest.fixture
def emulators() -> Iterator[Any]:
    """Lends emulators of games, and takes them back."""
    lent: list[tuple[str, Any]] = []

    def lend(game: str) -> Any:
        lent.append((game, emulator(game)))
        return lent[-1][1]

    yield lend
    for game, ale in lent:
        give_back(game, ale)


def row(game: str, mode: int = -1, difficulty: int = -1, sticky: float = 0.0, **arguments: Any) -> AtariGame:
    """One game."""
    task = {"game": game, "mode": float(mode), "difficulty": float(difficulty), "sticky": sticky}
    return AtariGame(Atari(**arguments), task, "score")


def history(game: AtariGame, n: int, seed: int = 0) -> list[bytes]:
    """What is seen under random actions."""
    rng, seen = np.random.default_rng(seed), []
    actions = np.random.default_rng(7).integers(0, 18, n).tolist()
    seen.append(game.reset(rng).tobytes())
    for action in actions:
        observation, reward, over = game.step(action, rng)
        seen += [observation.tobytes(), bytes([over]), np.float64(reward).tobytes()]
        if over:
            break
    return seen


@pytest.mark.parametrize(("game", "mode", "difficulty"), [("breakout", 4, 1), ("pong", None, None)])
def test_pixels_are_those_of_gymnasium(game: str, mode: int | None, difficulty: int | None) -> None:
    """Of `AtariPreprocessing` and `FrameStackObservation`, to the last frame of a game that ends within a step."""
    from gymnasium.wrappers import AtariPreprocessing, FrameStackObservation

    libraries()
    from ale_py.env import AtariEnv  # by its class: beside Gymnasium 1.0 no id is registered

    made: Any = AtariEnv(
        game,
        frameskip=1,
        repeat_action_probability=0.0,
        full_action_space=True,
        mode=mode,
        difficulty=difficulty,
    )
    made.reset(seed=3)
    made.np_random = np.random.default_rng(11)
    theirs = FrameStackObservation(AtariPreprocessing(made, noop_max=30), 4)
    ours, rng = row(game, -1 if mode is None else mode, -1 if difficulty is None else difficulty), None
    rng = np.random.default_rng(11)
    expected, _ = theirs.reset()
    assert np.array_equal(ours.reset(rng), np.moveaxis(expected, 0, -1))
    ended = False
    for action in np.random.default_rng(0).integers(0, 18, 250).tolist():
        expected, reward, ended, *_ = theirs.step(action)
        found, score, over = ours.step(action, rng)
        assert np.array_equal(found, np.moveaxis(expected, 0, -1))
        assert (score, over) == (reward, ended)
        if ended:
            break
    assert ended == (game == "breakout")
    theirs.close()
    ours.close()


def test_an_action_is_held_as_often_as_is_said(emulators: Any) -> None:
    """Frame by frame, by the episode's numbers: the memory of an emulator that is driven by hand."""
    ours, rng, same = (
        row("freeway", sticky=0.3, observation="ram", mask_ram=False, noop_max=0),
        *(np.random.default_rng(2) for _ in range(2)),
    )
    ours.reset(rng)
    ale = emulators("freeway")
    ale.restoreSystemState(ours._start.state)
    held, kept = 0, 0
    for action in np.random.default_rng(1).integers(0, 18, 60).tolist():
        for luck in same.random(4):
            kept += luck < 0.3
            held = held if luck < 0.3 else action
            ale.act(held)
        seen, *_ = ours.step(action, rng)
        assert np.array_equal(np.rint(255 * seen), ale.getRAM())
    assert 40 < kept < 110
    ours.close()


def test_modes_and_difficulties_show() -> None:
    """Freeway's traffic, Breakout's paddle; as it starts is its first mode."""
    freeway = [history(row("freeway", mode, noop_max=0, **SMALL), 20) for mode in (-1, 0, 1, 3)]
    assert freeway[0] == freeway[1]
    assert len({b"".join(seen) for seen in freeway}) == 3
    easy, hard = (history(row("breakout", difficulty=d, noop_max=0, **SMALL), 3) for d in (0, 1))
    assert easy != hard


def test_an_emulator_keeps_nothing_of_what_it_was_used_for() -> None:
    """One that played another mode plays this one as a new one does."""
    first = row("freeway", 2, 1, **SMALL)
    expected = history(first, 15)
    first.close()
    other = row("freeway", 5, 0, **SMALL)
    history(other, 25)
    other.close()
    start_of.cache_clear()
    again = row("freeway", 2, 1, **SMALL)
    assert history(again, 15) == history(again, 15) == expected
    again.close()


def test_bytes_that_tell_the_task_are_hidden() -> None:
    """And are 0; all others are the memory's."""
    hidden, shown = row("freeway", 3, observation="ram"), row("freeway", 3, observation="ram", mask_ram=False)
    one, other = (game.reset(np.random.default_rng(0)) for game in (hidden, shown))
    telling = list(games()["freeway"].telling)
    assert telling
    assert not one[telling].any()
    assert other[telling].any()
    rest = np.setdiff1d(np.arange(128), telling)
    assert np.array_equal(one[rest], other[rest])


def test_the_table_is_what_the_emulator_says(emulators: Any) -> None:
    """Modes and difficulties of some games; 104 games, 1,090 flavours."""
    assert len(games()) == 104
    assert sum(len(row.modes) * len(row.difficulties) for row in games().values()) == 1090
    for game in ("demon_attack", "backgammon"):
        ale = emulators(game)
        assert games()[game].modes == tuple(ale.getAvailableModes())
        assert games()[game].difficulties == tuple(ale.getAvailableDifficulties())
    assert tuple(atari_survey.table("hero")["telling"]) == games()["hero"].telling
    assert set(np.concatenate([row.telling for row in games().values()])) <= set(range(128))
    assert all(not row.telling or len(row.modes) * len(row.difficulties) > 1 for row in games().values())


@pytest.mark.parametrize("observation", ["pixels", "ram"])
def test_a_state_goes_on_to_the_bit(observation: str) -> None:
    """Within an episode, in a new emulator, its picture included."""
    settings: dict[str, Any] = {"tasks": [{"game": "breakout"}], "observation": observation, "render_mode": "rgb_array"}
    env, again = (gym.make(ATARI, **settings, **SMALL).unwrapped for _ in range(2))
    env.reset(seed=4)
    actions = np.random.default_rng(3).integers(0, 18, 40).tolist()
    for action in actions[:20]:
        env.step(action)
    again.load_state_dict(env.state_dict())  # type: ignore[attr-defined]
    pictures = [each.core.picture(0) for each in (env, again)]  # type: ignore[attr-defined]
    assert np.array_equal(*pictures)
    for action in actions[20:]:
        one, other = env.step(action), again.step(action)
        assert np.array_equal(one[0], other[0])
        assert one[1:4] == other[1:4]
    env.close()
    again.close()


@pytest.mark.parametrize("part", ["emulator", "screens", "game"])
def test_a_damaged_state_is_refused(part: str) -> None:
    """Nothing has changed then."""
    env: Any = gym.make(ATARI, tasks=[{"game": "pong"}], **SMALL).unwrapped
    env.reset(seed=0)
    state = env.state_dict()
    snapshot = next(x for x in state["core"]["rows"]["snapshots"][0] if isinstance(x, dict) and part in x)
    snapshot[part] = "alien" if part == "game" else snapshot[part][:40]
    with pytest.raises(CheckpointError, match="snapshots`: that of row 0 doesn't fit"):
        env.load_state_dict(state)
    env.step(0)
    env.close()


def test_arguments_decide_spaces_and_horizon() -> None:
    """108,000 frames whatever the skip; vectors of the memory take task features."""
    assert lifelong_gym.family(ATARI).horizon == 27_000
    family = lifelong_gym.family(ATARI, frame_skip=5, screen_size=42, stack_size=1)
    assert family.horizon == FRAMES // 5
    assert family.observations.space == gym.spaces.Box(0, 255, (42, 42, 1), np.uint8)
    ram = gym.make(ATARI, observation="ram", task_observation="one_hot", n_tasks=3)
    assert ram.observation_space.shape == (131,)
    for wrong in ({"frame_skip": 0}, {"noop_max": -1}, {"screen_size": 0}, {"stack_size": 0}, {"observation": "sound"}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            lifelong_gym.family(ATARI, **wrong)


def test_rewards_are_points_or_their_sign() -> None:
    """Breakout's upper bricks are worth several."""
    points, signs = (row_rewards(reward) for reward in ("score", "sign"))
    assert np.array_equal(signs, np.sign(points))
    assert points.max() > 0


def row_rewards(reward: str) -> Any:
    """Of a game of Space Invaders, whose points come in fives."""
    task = {"game": "space_invaders", "mode": -1.0, "difficulty": -1.0, "sticky": 0.0}
    game, rng = AtariGame(Atari(observation="ram"), task, reward), np.random.default_rng(0)
    game.reset(rng)
    rewards = [game.step(1, rng)[1] for _ in range(120)]
    game.close()
    return np.array(rewards)


def test_presets_deal_what_they_say() -> None:
    """Each game once, then again; all flavours of one game."""

    def dealt(preset: str, n: int) -> list[Any]:
        return [task["game"] for task in lifelong_gym.sample_tasks(ATARI, n, preset=preset)]

    for preset, expected in (("default", PAPER20), ("paper20", PAPER20), ("switching", SWITCHING), ("cora", CORA)):
        assert sorted(dealt(preset, len(expected))) == sorted(expected)
    tasks = lifelong_gym.sample_tasks(ATARI, 16, preset="modes:freeway")
    assert {(task["mode"], task["difficulty"]) for task in tasks} == {(m, d) for m in range(8) for d in range(2)}
    assert sum(name.startswith("modes:") for name in lifelong_gym.family(ATARI).parameters.presets) == 78


@pytest.mark.parametrize(
    ("task", "error", "message"),
    [
        ({"game": "pongg"}, UnknownNameError, "Did you mean 'pong'"),
        ({"game": "combat"}, UnknownNameError, "unknown game 'combat'"),
        (
            {"game": "freeway", "mode": 9},
            ValueError,
            r"`mode` must be .* freeway are 0, 1, 2, 3, 4, 5, 6, 7\.",
        ),
        (
            {"game": "hero", "difficulty": 2},
            ValueError,
            r"`difficulty` must be .* hero are 0\. Received game=",
        ),
    ],
)
def test_what_a_game_lacks_is_told(task: dict[str, Any], error: type[Exception], message: str) -> None:
    """With what it has, before anything is loaded."""
    with pytest.raises(error, match=message):
        gym.make(ATARI, tasks=[task])


@pytest.mark.parametrize("library", ["ale_py", "cv2"])
def test_without_its_libraries_the_extra_is_named(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """When an env is made; tasks are drawn nevertheless."""
    monkeypatch.setitem(sys.modules, library, None)
    libraries.cache_clear()
    assert len(lifelong_gym.sample_tasks(ATARI, 3)) == 3
    with pytest.raises(MissingExtraError, match=rf"`{library}` .*lifelong-gym\[atari\]"):
        gym.make(ATARI)
    libraries.cache_clear()


def test_a_missing_rom_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """When its game begins."""
    ale_py, _ = libraries()
    monkeypatch.setattr(ale_py.roms, "get_rom_path", lambda game: None)
    with pytest.raises(MissingExtraError, match=r"the ROM of tutankham"):
        row("tutankham")
