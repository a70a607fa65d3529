"""Writes the table of Atari's flavours: `python -m tests.atari_survey [GAME ...]`, some minutes of CPU for all."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import lifelong_gym.envs.arcade.atari
from lifelong_gym.envs.arcade.atari_emulators import emulator, libraries

# Loading them ends the process.
UNUSABLE = ("combat", "joust", "maze_craze", "warlords")
STEPS, SKIP, SEEDS = 500, 4, (0, 1)
Memory = npt.NDArray[np.uint8]


def table(game: str) -> dict[str, list[int]]:
    """Modes, difficulties, and the bytes of the RAM that tell them; shape of a row of the table."""
    ale = emulator(game)
    flavours = [(mode, d) for mode in ale.getAvailableModes() for d in ale.getAvailableDifficulties()]
    kept = [constants(ale, *flavour) for flavour in (flavours if len(flavours) > 1 else [])]
    telling = []
    if kept:
        values, same = (np.array(part) for part in zip(*kept, strict=True))
        telling = np.flatnonzero(same.all(axis=0) & (values != values[0]).any(axis=0)).tolist()
    modes, difficulties = (sorted(set(part)) for part in zip(*flavours, strict=True))
    return {"modes": list(map(int, modes)), "difficulties": list(map(int, difficulties)), "telling": telling}


def constants(ale: Any, mode: int, difficulty: int) -> tuple[Memory, npt.NDArray[np.bool_]]:
    """The RAM at an episode's beginning, and which bytes stay so under random actions."""
    ale.setMode(mode)
    ale.setDifficulty(difficulty)
    ale.reset_game()
    start, first, same = ale.cloneSystemState(), None, np.ones(128, bool)
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        ale.restoreSystemState(start)
        for _ in range(int(rng.integers(1, 31))):
            ale.act(0)
        first = ale.getRAM().copy() if first is None else first
        same &= ale.getRAM() == first
        for action in rng.integers(18, size=STEPS).tolist():
            for _ in range(SKIP):
                ale.act(action)
            if ale.game_over():
                ale.restoreSystemState(start)
            same &= ale.getRAM() == first
    assert first is not None
    return first, same


def main(*chosen: str) -> None:
    """Of these games, or of all that can be loaded; the others' rows stay as they are."""
    path = Path(lifelong_gym.envs.arcade.atari.__file__).parent / "atari_games.json"
    rows = json.loads(path.read_text(encoding="utf-8"))
    for game in chosen or libraries()[0].roms.get_all_rom_ids():
        if game not in UNUSABLE:
            rows[game] = table(game)
            lines = [f"  {json.dumps(name)}: {json.dumps(rows[name])}" for name in sorted(rows)]
            path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
