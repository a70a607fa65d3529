"""From a CSV of prices to a trained policy, its walk-forward evaluation after costs, a table and a figure.

``python examples/portfolio.py prices.csv`` takes a row a day, days in the first column, and a column an instrument.
Without a file it writes one, of skfolio's stocks, and takes that. A policy learns by PPO from portfolios drawn among
all instruments and is tested on the days that follow, and then the next one; what is traded costs .25%. A table and a
figure are written into ``runs/portfolio``. ``LIFELONG_GYM_QUICK=1`` makes it a short demonstration.
"""

import csv
import os
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3 import PPO

import lifelong_gym
from lifelong_gym.agents import EquivariantPolicy
from lifelong_gym.benchmark.learners import learner_class
from lifelong_gym.envs.allocation.account import Account
from lifelong_gym.envs.allocation.portfolio import Portfolio
from lifelong_gym.envs.allocation.splits import portfolios, walk_forward
from lifelong_gym.measures.portfolios import portfolio_measures
from lifelong_gym.reports.wealth import wealth_figure
from lifelong_gym.wrappers import as_vec_env

QUICK = os.environ.get("LIFELONG_GYM_QUICK") == "1"
ID, COST, FOLDER = "LifelongPortfolio-v0", 0.0025, Path("runs/portfolio")
M, WINDOW = 5, 20  # instruments of a portfolio, days that are seen
TRAIN_DAYS, TEST_DAYS, N_TESTS = (200, 50, 2) if QUICK else (1000, 250, 4)
N_ROWS, N_STEPS, N_UPDATES = 32, 64, 1 if QUICK else 20
N_DAYS = WINDOW + TRAIN_DAYS + N_TESTS * TEST_DAYS  # the last ones

torch.set_num_threads(1)  # such small networks are slower on many
FOLDER.mkdir(parents=True, exist_ok=True)


def made(**arguments: Any) -> Portfolio:
    """The family of these portfolios."""
    family = lifelong_gym.family(ID, **arguments)
    assert isinstance(family, Portfolio)
    return family


def prices_file() -> Path:
    """The file that was named, or one of skfolio's stocks."""
    if len(sys.argv) > 1:
        return Path(sys.argv[1])
    data = made(prices="skfolio").data
    path = FOLDER / "prices.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["Date", *data.names])
        writer.writerows([data.day_text(i), *data.close[i]] for i in range(-N_DAYS, 0))
    return path


def train(tasks: lifelong_gym.TaskSet) -> PPO:
    """A policy for all of these portfolios; prices don't react, so the discount factor is 0, and it explores widely."""
    env = as_vec_env(gym.make_vec(ID, num_envs=N_ROWS, tasks=tasks, **{**arguments, "days": 50}))
    settings: dict[str, Any] = {"gamma": 0.0, "learning_rate": 1e-3, "n_epochs": 4, "batch_size": 256}
    policy = {"spread_init": 1.0}
    model = PPO(EquivariantPolicy, env, n_steps=N_STEPS, seed=0, policy_kwargs=policy, **settings)
    return model.learn(N_ROWS * N_STEPS * N_UPDATES)


def account(policy: Any, tasks: lifelong_gym.TaskSet) -> Account:
    """What a policy does in the first of these portfolios over its whole period."""
    env: Any = gym.make_vec(ID, num_envs=1, tasks=tasks[:1], **arguments)
    observations, _ = env.reset(seed=0)
    states, state, starts, ended = [env.unwrapped.state[0]], None, np.ones(1, bool), False
    while not ended:
        actions, state = policy.predict(observations, state, starts, deterministic=True)
        observations, _, (ended,), *_ = env.step(actions)
        starts = np.zeros(1, bool)
        states.append(env.unwrapped.state[0])
    return family.account(tasks[0], np.array(states))


def joined(accounts: list[Account]) -> Account:
    """One after another: what was held yesterday is what there is to trade today."""
    relatives, shares = (np.concatenate([getattr(a, name) for a in accounts]) for name in ("relatives", "shares"))
    return Account(relatives, shares, COST)


def measures(account: Account) -> dict[str, float]:
    """Those of its returns, and what its trading means."""
    found = {name: float(value) for name, value in portfolio_measures(account.returns).items()}
    return {**found, "turnover": account.turnover, "break_even_cost": account.break_even_cost}


arguments: dict[str, Any] = {"prices": str(prices_file().resolve()), "m": M, "window": WINDOW, "days": 0}
family = made(**arguments)
start = family.data.n_days - N_DAYS + WINDOW
folds = list(walk_forward(family, TRAIN_DAYS, TEST_DAYS, first=start, cost=COST))
names = [family.data.names[int(folds[0].test[0][f"instrument_{i + 1}"])] for i in range(M)]
days = np.arange(start + TRAIN_DAYS, family.data.n_days)
first, last = (family.data.day_text(day) for day in days[[0, -1]])
print(f"{', '.join(names)}, {first} to {last}, after costs of {COST:.2%}")

accounts = {"PPO": joined([account(train(fold.train), fold.test) for fold in folds])}
period = portfolios(family, 1, (int(days[0]), int(days[-1])), names, COST)
rows = as_vec_env(gym.make_vec(ID, num_envs=1, tasks=period, **arguments))
for name in ("CRP", "BAH", "OLMAR", "MinimumVariance", "RiskParity"):
    accounts[name] = account(learner_class(name)(rows), period)

table = {name: measures(account) for name, account in accounts.items()}
columns = list(next(iter(table.values())))
print(f"{'':<16}" + "".join(f"{column.replace('_', ' '):>16}" for column in columns))
for name, row in table.items():
    print(f"{name:<16}" + "".join(f"{row[column]:>16.4f}" for column in columns))
with (FOLDER / "table.csv").open("w", newline="", encoding="utf-8") as file:
    csv.writer(file).writerows([["", *columns], *[[name, *row.values()] for name, row in table.items()]])

when = None if family.data.days is None else family.data.days[days]
returns = {name: account.returns for name, account in accounts.items()}
figure = wealth_figure(returns, when, accounts["PPO"].shares, names, grey=("CRP", "BAH"))
figure.savefig(FOLDER / "wealth.png")
print(f"Written: table.csv and wealth.png in {FOLDER}")
