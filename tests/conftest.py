"""What must be set before anything imports pygame, matplotlib or torch: no screen, and no thread per core."""

import os
from collections.abc import Callable, Iterator

import pytest
from hypothesis import settings

os.environ["SDL_VIDEODRIVER"] = "dummy"
os.environ["SDL_AUDIODRIVER"] = "dummy"
os.environ["PYGAME_HIDE_SUPPORT_PROMPT"] = "1"
os.environ["MPLBACKEND"] = "Agg"
os.environ["OMP_NUM_THREADS"] = "1"  # workers and subprocesses share the cores; ours are set by set_num_threads

# Other people's packages, which are installed, and papers, which are loaded by their path: not imported from here.
collect_ignore = ["strangers", "papers"]

# The same examples on every run; a first call may compile, which takes longer than any deadline.
settings.register_profile("tests", derandomize=True, deadline=None)
settings.load_profile("tests")


@pytest.fixture
def register() -> Iterator[Callable[..., str]]:
    """Registers a family of `tests.broken_families`, or another module, until the test ends; returns its id."""
    import gymnasium as gym
    import pettingzoo

    from lifelong_gym.registry import FAMILIES, register_family

    ids = []

    def register_one(name: str, module: str = "broken_families") -> str:
        ids.append(f"{name}-v0")
        register_family(ids[-1], f"tests.{module}:{name}")
        return ids[-1]

    yield register_one
    for id in ids:
        del FAMILIES[id], gym.registry[id], pettingzoo.parallel_registry[id], pettingzoo.aec_registry[id]
