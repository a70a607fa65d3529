"""Table 1: drones, each in a world of its own, that learn alone, together, or as one, and how far they fly abroad."""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pettingzoo
import torch as th
from stable_baselines3.common.vec_env import VecEnv

from lifelong_gym import registry
from lifelong_gym.agents import DCPG
from lifelong_gym.benchmark.results import rounded
from lifelong_gym.envs.navigation.worlds import WORLDS
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.papers.sweeps import Progress, Values
from lifelong_gym.wrappers import Faults, ParameterSharing, as_vec_env

from . import learning

ID, EVALUATION_SEED, TUNING, UNSEEN = "LifelongDrone-v0", 2**31 - 2, 10**6, 1000  # seeds; the last one is added
N_TURNS, LEVEL = 5, 2
BATCH = 256  # of PPO
BASES: Mapping[str, Mapping[str, Any]] = {
    "ppo": {"n_epochs": 3, "gae_lambda": 0.95},
    "a2c": {"n_steps": 8, "gae_lambda": 0.95, "use_rms_prop": False},
    "reinforce": {"n_episodes": 1},
}
Task = dict[str, Any]


def layouts(world: str, n: int, seed: int) -> list[Task]:
    """Tasks of one world, whose look is its own."""
    return [dict(task) for task in registry.sample_tasks(ID, n, seed, world)]


def camera(settings: Values) -> dict[str, Any]:
    """Arguments of all environments."""
    return {"camera": settings["camera"], "resolution": settings["resolution"], "horizon": settings["horizon"]}


def learner(settings: Values, rate: float, seed: int) -> DCPG:
    """Agent i in world i, silent, mixing, or one for all, with the same rows and steps."""
    rows, n = settings["rows"], settings["n_layouts"]
    own = [layouts(world, n, settings["seed"]) for world in WORLDS]
    tasks = [own[world][row % n] for world in range(len(WORLDS)) for row in range(rows)]
    nodes = {f"agent_{i}": [f"task_{i * rows + row}" for row in range(rows)] for i in range(len(WORLDS))}
    if settings["nodes"] == "one":
        nodes = {"agent": [task for of_agent in nodes.values() for task in of_agent]}
    weights = {"weights": np.eye(len(nodes))} if settings["weights"] == "none" else {}
    faults = Faults(**settings["faults"], seed=seed) if settings["faults"] else None
    channel = {"topology": settings["topology"], "compress": settings["compress"] or None, **weights}
    env = pettingzoo.make("parallel", ID, tasks=tasks, **camera(settings))
    network = {
        **{"features_extractor_class": settings["network"], "share_features_extractor": False, "net_arch": []},
        "features_extractor_kwargs": {"standardise": settings["standardise"]},
    }
    sharing = ParameterSharing(env, nodes=nodes, faults=faults, seed=seed, **channel)
    mixing = {name: settings[name] for name in ("share", "share_moments", "relative_entropy")}
    base = {**BASES[settings["base"]], "gamma": settings["gamma"]}
    if settings["base"] == "ppo":
        base |= {"n_steps": settings["n_steps"], "batch_size": min(BATCH, settings["n_steps"] * rows)}
    common: dict[str, Any] = {"base": settings["base"], "base_kwargs": base, "policy_kwargs": network, **mixing}
    return DCPG("CnnPolicy", sharing, rate, seed=seed, device=settings["device"], **common)


class RandomFlight:
    """Actions at random."""

    def __init__(self, seed: int) -> None:
        """See the class."""
        self._rng = np.random.default_rng(seed)

    def predict(self, seen: npt.NDArray[Any], deterministic: bool = False) -> tuple[npt.NDArray[Any], None]:
        """As policies of SB3."""
        return self._rng.integers(0, N_TURNS**2, len(seen)), None


class Freest:
    """Level flight to where, of five columns of a depth image, the mean depth is largest."""

    def predict(self, seen: npt.NDArray[Any], deterministic: bool = False) -> tuple[npt.NDArray[Any], None]:
        """As policies of SB3."""
        middle = seen[:, seen.shape[1] // 3 : 2 * seen.shape[1] // 3, :, 0].astype(float)
        columns = np.array_split(middle.mean(axis=1), N_TURNS, axis=1)
        turns = np.stack([column.mean(axis=1) for column in columns], axis=1).argmax(axis=1)
        return N_TURNS * LEVEL + turns, None


def safe_flights(policy: Any, env: VecEnv) -> tuple[FloatArray, list[list[int]]]:
    """Of the first flight in each row: lengths in metres, and actions."""
    env.seed(EVALUATION_SEED)
    lengths, flown, aloft = np.zeros(env.num_envs), [list[int]() for _ in range(env.num_envs)], set(range(env.num_envs))
    with th.random.fork_rng(devices=[]):
        th.manual_seed(EVALUATION_SEED)
        seen: Any = env.reset()
        while aloft:
            actions, _ = policy.predict(seen, deterministic=False)
            seen, _, dones, infos = env.step(actions)
            for i in sorted(aloft):
                flown[i].append(int(actions[i]))
                if dones[i]:
                    lengths[i] = infos[i]["path_length"]
                    aloft.remove(i)
    return lengths, flown


def places(settings: Values, n: int, seed: int) -> list[Task]:
    """Of n flights in every world, one after the other, in layouts of a seed."""
    own = [layouts(world, settings["n_layouts"], seed) for world in WORLDS]
    return [of_world[i % len(of_world)] for of_world in own for i in range(n)]


def flights(policies: Sequence[Any], n: int, settings: Values, seed: int) -> FloatArray:
    """Means of n flights of every policy in every world, (n_policies, n_worlds)."""
    env = as_vec_env(ID, tasks=places(settings, n, seed), **camera(settings))
    return np.array([safe_flights(policy, env)[0].reshape(len(WORLDS), n).mean(axis=1) for policy in policies])


def sums(found: FloatArray) -> dict[str, Any]:
    """By policy and world, ``of``; over worlds: of the mean, best and worst policy, and of each one in its own."""
    over = found.sum(axis=1)
    own = np.diag(found) if len(found) == len(WORLDS) else found.mean(axis=0)
    return {
        **{"of": rounded(found), "worlds": rounded(found.mean(axis=0)), "own_worlds": rounded(own)},
        **{"mean": float(over.mean()), "best": float(over.max()), "worst": float(over.min()), "own": float(own.sum())},
    }


@functools.cache
def chosen(settings: str) -> float:
    """The rate that is best after the steps of tuning, by what the method is compared by later; settings are JSON."""
    told, scores = json.loads(settings), []
    for rate in told["rates"]:
        model = learner(told, rate, told["seed"]).learn(len(WORLDS) * told["tuning_steps"], log_interval=None)
        scores.append(sums(flights(learning.policies(model), told["few"], told, told["seed"]))[told["compared_by"]])
    return float(told["rates"][int(np.argmax(scores))])


def measure(settings: Values, progress: Progress) -> dict[str, Any]:
    """Learn at the rate that does best on another seed, one for all; mean safe flights in known layouts, and others.

    ``seen`` and ``unseen``: `sums`; ``curve``: sum over worlds against steps of an agent, of the mean or of the best
    policy, as the method is ``compared_by``; ``film``: a flight of the first agent in every world.
    """
    th.set_num_threads(1)
    steps, by, seed, rates = (settings[name] for name in ("steps", "compared_by", "seed", "rates"))
    rate = rates[0] if len(rates) == 1 else chosen(json.dumps({**settings, "seed": TUNING}))
    at = np.linspace(0, steps, settings["marks"] + 1).round().astype(int).tolist()
    model, values = learner(settings, rate, seed), []
    policies = learning.policies(model)
    for _, following in itertools.pairwise(at):
        values.append(sums(flights(policies, settings["few"], settings, seed))[by])
        missing = max(len(WORLDS) * following - model.num_timesteps, 1)
        model.learn(missing, log_interval=None, reset_num_timesteps=False)
        progress(0.9 * following / steps)
    n = settings["flights"]
    found = {"seen": sums(flights(policies, n, settings, seed))}
    found["unseen"] = sums(flights(policies, n, settings, seed + UNSEEN))
    one_each = places(settings, 1, seed)
    lengths, flown = safe_flights(policies[0], as_vec_env(ID, tasks=one_each, **camera(settings)))
    curve = {"at": at, "values": rounded([*values, found["seen"][by]])}
    error = model.consensus_error()["all"] if len(policies) > 1 else 0.0
    sent = {"bytes": learning.sent(model, settings), "sigma_2": model.channel.sigma_2}
    film = {"tasks": one_each, "actions": flown, "lengths": rounded(lengths)}
    return {**found, "curve": curve, "rate": rate, "apart": error, **sent, "film": film}


def untrained(settings: Values, progress: Progress) -> dict[str, Any]:
    """The same of flight that isn't learned: at random, or where the depth map is freest."""
    heuristic = settings["camera"] == "depth"
    policies = [Freest() if heuristic else RandomFlight(settings["seed"])]
    seed, n = settings["seed"], settings["flights"]
    seen, unseen = (sums(flights(policies, n, settings, seed + more)) for more in (0, UNSEEN))
    curve = {"at": [0], "values": [seen["mean"]]}
    progress(1.0)
    return {"seen": seen, "unseen": unseen, "curve": curve, "rate": 0.0, "apart": 0.0, "bytes": 0, "sigma_2": 0.0}
