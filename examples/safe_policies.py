"""Springs whose motor must stay gentle: no policy ever asks for more than a limit, from the first one on.

The limit is promised for all observations in a box. `ENAC`, from the same policies, breaks it as it learns. The env
tells besides how often the velocity, for which no constraint on a policy's parameters can vouch, was beyond a limit.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pettingzoo

import lifelong_gym
from lifelong_gym.agents import ENAC, PolicyConstraints, SafeLifelongPG
from lifelong_gym.agents.safety.constraints import corners
from lifelong_gym.wrappers import CoreVecEnv

QUICK = os.environ.get("LIFELONG_GYM_QUICK") == "1"
ID, POLICY = "LifelongSimpleMass-v0", "LinearGaussianPolicy"
N_SWEEPS, N_TRAJECTORIES = 3 if QUICK else 15, 50
BOX, LIMIT = np.array([1.0, 1.0]), 1.0  # position and velocity between plus and minus these; largest |a| there

gentle = PolicyConstraints.actions([LIMIT], corners(-BOX, BOX), bias=False)
par = pettingzoo.make("parallel", ID, n_tasks=5, preset="safe2015", constraints={"velocity": 1.0})

common: dict[str, Any] = {"n_trajectories": N_TRAJECTORIES, "sigma": 0.5, "bias": False, "seed": 0}
safe = SafeLifelongPG(POLICY, par, constraints=gentle, **common)
free = ENAC(POLICY, par, **common)
free.policy.thetas = safe.policy.thetas

n_steps = N_SWEEPS * len(par.tasks) * N_TRAJECTORIES * par.max_cycles
for name, model in {"safe": safe, "free": free}.items():
    model.learn(total_timesteps=n_steps)
    asked = max(LIMIT + gentle.violation(theta) for theta in model.policy.thetas)
    assert isinstance(model.env, CoreVecEnv)
    n_fast = model.env.core.n_violations.sum()
    ran = lifelong_gym.rollout(ID, tasks=par.tasks, theta=model.policy.thetas, sigma=0.0, bias=False, n_trajectories=20)
    mean = ran.returns.mean() / par.max_cycles
    print(f"{name}: {mean:.4f} a step, asks for {asked:.3f} at most; the velocity was beyond 1 in {n_fast:,} steps")
print(f"policies that broke the limit when they were executed: {safe.n_violations}")
