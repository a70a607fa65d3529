"""Portfolios: who learns on which instruments and days, and what comes of it in days and instruments never seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback

from lifelong_gym import registry
from lifelong_gym.agents import EquivariantPolicy, FlatSimplexPolicy, PrioritizedMTL, TaskSampling
from lifelong_gym.benchmark.learners import learner_class
from lifelong_gym.benchmark.results import rounded
from lifelong_gym.envs.allocation.account import DEAREST, Account
from lifelong_gym.envs.allocation.portfolio import Portfolio
from lifelong_gym.envs.allocation.splits import held_out, rows_of
from lifelong_gym.measures.portfolios import annual_return, portfolio_measures
from lifelong_gym.papers.sweeps import Progress, Values
from lifelong_gym.tasks.task_set import TaskSet
from lifelong_gym.wrappers import as_vec_env

ID = "LifelongPortfolio-v0"
N_STEPS, DAYS = 64, 50  # of PPO: steps of a row before an update, days of an episode
POLICIES: dict[str, Any] = {"equivariant": EquivariantPolicy, "flat": FlatSimplexPolicy}
ENDLESS = 10**9  # steps: callbacks end the learning
SHARES = (0.0, 0.01, 1 / 30, 0.1, 0.2, 0.5, 1.0)  # of the updates, after which policies are evaluated


class Market:
    """What one repetition knows: its tasks to learn from, and where policies are tested.

    Attributes:
        train: tasks of the training period.
        known: the same instruments' in later periods, by name: ``valid`` and ``test``.
        unseen: tasks of the test period, of instruments that training doesn't know.
    """

    def __init__(self, settings: Values) -> None:
        """Choose instruments and days."""
        prices = settings["prices"]
        if prices == "planted":
            prices = {"source": prices, "seed": settings["seed"], "days": settings["n_days"]}
        actions = {"actions": "logits"} if settings["head"] == "logits" else {}
        self.arguments: dict[str, Any] = {"prices": prices, "m": settings["m"], "days": 0, **actions}
        self.family = cast(Portfolio, registry.family(ID, **self.arguments))
        self.arguments["backend"] = settings["backend"]
        periods = settings["periods"] or _quarters(self.family)
        draws = settings["n_held_out"], settings["n_tasks"], settings["n_unseen"], settings["cost"], settings["seed"]
        split = held_out(self.family, tuple(periods["train"]), tuple(periods["test"]), *draws)
        self.train, self.unseen = split.train, split.test
        self.known = {name: self._moved(self.train, periods[name]) for name in ("valid", "test")}

    def _moved(self, tasks: TaskSet, period: Sequence[Any]) -> TaskSet:
        """The same portfolios in another period."""
        values = tasks.values.copy()
        for name, day in zip(("first_day", "last_day"), rows_of(self.family, (period[0], period[1])), strict=True):
            values[:, self.family.parameters.index(name)] = day
        return TaskSet(self.family.parameters, values)

    def followed(self, policies: Sequence[Any], tasks: TaskSet) -> list[Account]:
        """What policies do, one for all tasks or one a task, each over its task's whole period."""
        env = gym.make_vec(ID, num_envs=len(tasks), tasks=tasks, **self.arguments)
        inner: Any = env.unwrapped
        seen, _ = env.reset(seed=0)
        states, state, starts, ended = [inner.state.copy()], None, np.ones(len(tasks), bool), np.zeros(1, bool)
        while not ended.all():
            if len(policies) == 1:
                actions, state = policies[0].predict(seen, state, starts, deterministic=True)
            else:
                own = [policy.predict(row, deterministic=True)[0] for policy, row in zip(policies, seen, strict=True)]
                actions = np.stack(own)
            seen, _, ended, *_ = env.step(actions)
            starts = np.zeros(len(tasks), bool)
            states.append(inner.state.copy())
        return [self.family.account(tasks[i], np.array(states)[:, i]) for i in range(len(tasks))]

    def direct(self, settings: Values, tasks: TaskSet, number: int = 0) -> PrioritizedMTL:
        """A learner by direct policy gradients, as in Algorithm 1."""
        env = as_vec_env(ID, tasks=tasks, **self.arguments)
        own = {name: settings[name] for name in ("alpha", "learning_rate", "gradient_steps", "scorer")}
        policy = {"encoder": settings["encoder"], "hidden": settings["hidden"]}
        seed = 1000 * settings["seed"] + number
        return PrioritizedMTL("EquivariantPolicy", env, seed=seed, policy_kwargs=policy, device="cpu", **own)

    def ppo(self, settings: Values) -> PPO:
        """A learner by PPO, in episodes that begin on any day."""
        weighted = {"schedule": {"weights": [1.0] * len(self.train)}} if settings["sampler"] else {}
        given = {**self.arguments, "days": DAYS, **weighted}
        env = as_vec_env(gym.make_vec(ID, num_envs=settings["rows"], tasks=self.train, **given))
        policy: dict[str, Any] = {"head": settings["head"], "spread_init": settings["spread"]}
        if settings["network"] == "equivariant":
            policy["context"] = settings["context"]
        own: dict[str, Any] = {"gamma": settings["discount"], "learning_rate": 1e-3, "n_epochs": 4, "batch_size": 256}
        kind = POLICIES[settings["network"]]
        return PPO(kind, env, n_steps=N_STEPS, seed=settings["seed"], policy_kwargs=policy, device="cpu", **own)


def _quarters(family: Any) -> dict[str, tuple[int, int]]:
    """The last quarter of the days is the test, the eighth before it the validation."""
    n, valid, test = (family.data.n_days * share // 8 for share in (8, 5, 6))
    return {"train": (family.window, valid - 1), "valid": (valid, test - 1), "test": (test, n - 1)}


class Marks(BaseCallback):
    """Calls a function before learning and after so many updates, and ends the learning after the last of these."""

    def __init__(self, marks: Sequence[int], each: int, note: Callable[[int], None]) -> None:
        """See the class; a sweep makes ``each`` updates."""
        super().__init__()
        self._marks, self._each, self._note, self._done = set(marks), each, note, 0

    def _on_training_start(self) -> None:
        self._note(0)

    def _on_step(self) -> bool:
        self._done += self._each
        if self._done in self._marks:
            self._note(self._done)
        return self._done < max(self._marks)


def marks(settings: Values) -> list[int]:
    """Updates after which policies are evaluated: whole sweeps, a share of the updates that are made of all tasks."""
    each, most = settings["gradient_steps"], settings["updates"]
    own = {each * max(1, round(share * most / each)) for share in SHARES[1:] if share <= settings["share"]}
    return [0, *sorted(own)]


def gain(accounts: Sequence[Account]) -> float:
    """Over equal CRP, in basis points of log-return a day, the mean of portfolios."""
    return float(np.mean([1e4 * np.log(each.growth / each.market.growth).mean() for each in accounts]))


def trained(settings: Values, market: Market, progress: Progress) -> dict[int, list[Any]]:
    """Learn all tasks together, or the first ones alone, each; the policies, by the updates that each has had."""
    torch.set_num_threads(1)
    alone = [market.train[i : i + 1] for i in range(settings["n_alone"])] or [market.train]
    found: dict[int, list[Any]] = {done: [] for done in marks(settings)}
    each = settings["gradient_steps"]
    for number, tasks in enumerate(alone):
        learner = market.direct(settings, tasks, number)
        noting = Marks([*found], each, lambda done, of=learner: found[done].append(of.for_task(0)))  # type: ignore[misc]
        learner.learn(ENDLESS, callback=noting, log_interval=None)
        progress(0.9 * (number + 1) / len(alone))
    return found


def measure(settings: Values, progress: Progress) -> dict[str, Any]:
    """Learn by direct policy gradients.

    Curves ``at`` so many updates of a policy: ``own``, return a year in the test period of the first tasks, mean, and
    ``unseen``, `gain` there on portfolios of instruments that training doesn't know. ``tasks``: ``own`` at the end of
    each task; ``crp``: of equal shares; ``updates``: that are made of all tasks together.
    """
    market, own, unseen, crp = Market(settings), [], [], []
    first = market.known["test"][: settings["n_compared"]]
    found = trained(settings, market, progress)
    for policies in found.values():
        accounts = market.followed(policies[: len(first)], first)
        own.append([float(annual_return(each.returns)) for each in accounts])
        crp = [float(annual_return(each.market.returns)) for each in accounts]
        unseen.append(np.mean([gain(market.followed([policy], market.unseen)) for policy in policies]))
    progress(1.0)
    curves = {"own": np.mean(own, axis=1), "unseen": unseen}
    return {
        **{name: {"at": [*found], "values": rounded(values)} for name, values in curves.items()},
        **{"tasks": rounded(own[-1]), "crp": float(rounded(np.mean(crp))), "updates": settings["updates"]},
    }


def shown(settings: Values, progress: Progress) -> dict[str, Any]:
    """The one of the first tasks in whose validation period MTL gains most over STL, and what both do in its test.

    ``returns``: by policy, of each day; ``shares``: likewise, of each day; ``names``: of the instruments.
    """
    market = Market(settings)
    n = settings["n_compared"]
    together = trained({**settings, "n_alone": 0}, market, progress)[settings["updates"]]
    single = trained({**settings, "n_alone": n, "share": 1.0, "updates": settings["updates"] // n}, market, progress)
    policies = {"MTL": together * n, "STL": [*single.values()][-1]}
    valid = {name: market.followed(each, market.known["valid"][:n]) for name, each in policies.items()}
    growth = {name: [np.log(each.growth).sum() for each in accounts] for name, accounts in valid.items()}
    chosen = int(np.argmax(np.subtract(growth["MTL"], growth["STL"])))
    task = market.known["test"][chosen : chosen + 1]
    accounts = {name: market.followed([each[chosen]], task)[0] for name, each in policies.items()}
    accounts["equal CRP"] = accounts["STL"].market
    names = [market.family.data.names[int(task[0][f"instrument_{i + 1}"])] for i in range(settings["m"])]
    return {
        "returns": {name: rounded(each.returns) for name, each in accounts.items()},
        "shares": {name: rounded(each.shares, 4) for name, each in accounts.items() if name in policies},
        "names": names,
        "task": chosen,
    }


def scores(settings: Values, progress: Progress) -> dict[str, Any]:
    """Single-task learning, update by update.

    ``score`` and ``norm``: of each minibatch, its score and its gradient's norm; ``largest``: score in so many updates,
    and ``change``: how much a training episode's return, in per cent, moved meanwhile.
    """
    torch.set_num_threads(1)
    market = Market(settings)
    task = market.train[:1]
    learner = market.direct(settings, task)
    found: dict[str, list[float]] = {"score": [], "norm": [], "return": []}

    def note(done: int) -> None:
        if done:
            gradients = [p.grad for p in learner.policy.parameters() if p.grad is not None]
            found["norm"].append(float(torch.stack([each.abs().max() for each in gradients]).max()))
            found["score"].append(float(learner.logger.name_to_value["train/score"]))
        if done % settings["every"] == 0:
            found["return"].append(float(100.0 * np.log(market.followed([learner.policy], task)[0].growth).sum()))
            progress(done / settings["updates"])

    learner.learn(ENDLESS, callback=Marks(range(1, settings["updates"] + 1), 1, note), log_interval=None)
    largest = np.array(found["score"]).reshape(-1, settings["every"]).max(axis=1)
    change = np.abs(np.diff(found["return"]))
    return {name: rounded(found[name]) for name in ("score", "norm")} | {"largest": largest, "change": rounded(change)}


class Fallen:
    """The rule that knows the planted sign: everything on what fell most on the last day."""

    def __init__(self, codec: Any) -> None:
        """See the class; ``codec``: of observations."""
        self._codec, self._last = codec, [channel.name for channel in codec.channels].index("close_2")

    def predict(self, seen: Any, state: Any = None, starts: Any = None, deterministic: bool = True) -> tuple[Any, None]:
        """As policies of SB3."""
        return np.eye(self._codec.m)[self._codec.blocks(seen)[..., self._last].argmax(axis=1)].astype(np.float32), None


def ours(settings: Values, progress: Progress) -> dict[str, Any]:
    """Learn by PPO: `gain` in the test period on ``own`` and ``unseen`` instruments, and there `Fallen`'s, ``rule``."""
    torch.set_num_threads(1)
    market = Market(settings)
    model, named = market.ppo(settings), settings["sampler"]
    model.learn(settings["steps"], callback=TaskSampling(named, beta=settings["beta"]) if named else None)
    progress(0.9)
    tested = {"own": market.known["test"][: settings["n_unseen"]], "unseen": market.unseen}
    found = {name: gain(market.followed([model], tasks)) for name, tasks in tested.items()}
    rule = Market({**settings, "head": None}).followed([Fallen(market.family.observations)], market.unseen)
    return found | {"rule": gain(rule)}


def risks(settings: Values, progress: Progress) -> dict[str, Any]:
    """Measures of a rule, or of a policy learned by direct gradients, in the test period: means of portfolios."""
    market = Market(settings)
    wanted = settings["learner"]
    if not wanted["class"]:
        policies = trained(settings, market, progress)[settings["updates"]]
    else:
        rows = as_vec_env(gym.make_vec(ID, num_envs=len(market.unseen), tasks=market.unseen, **market.arguments))
        policies = [learner_class(wanted["class"])(rows, **wanted["arguments"])]
    accounts = market.followed(policies, market.unseen)
    measured = [{**portfolio_measures(each.returns), "turnover": each.turnover} for each in accounts]
    progress(1.0)
    found = {name: float(rounded(np.mean([each[name] for each in measured]))) for name in measured[0]}
    traded = [each for each in accounts if not np.allclose(each.shares, each.market.shares)]  # equal CRP has none
    found["break_even_cost"] = float(np.median([min(each.break_even_cost, DEAREST) for each in traded] or [0.0]))
    return found | {"gain": gain(accounts)}
