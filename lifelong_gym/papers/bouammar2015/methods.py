"""The methods that are compared, by the labels that tables and figures call them."""

from __future__ import annotations

from typing import Any

PG, COLD, WARM, PPG = "PG (eNAC)", "PG-ELLA", "PG-ELLA, warm", "projected PG"
ONE, TEN, HUNDRED = "ours, 1 inner", "ours, 10 inner", "ours, 100 inner"
LITERAL, LINEAR = "ours, literal", "ours, linearised"
INNER = {ONE: 1, TEN: 10, HUNDRED: 100}
FREE = (PG, COLD, WARM, LITERAL, *INNER)
BOUND = (PPG, LITERAL, LINEAR, TEN, HUNDRED, PG, WARM)
UNTIL = (PG, WARM, PPG, TEN)
SAFE = (PPG, LITERAL, LINEAR, *INNER)  # those that know the safe sets
PG_TRAJECTORIES = 2  # times as many as the others have, as in the paper


def _class(name: str) -> str:
    return f"lifelong_gym.agents:{name}"


def all_methods(n_trajectories: int, sigma: float, n_basis: int, max_kl: float) -> dict[str, dict[str, Any]]:
    """Every method with its class and arguments, by label."""
    common = {"n_trajectories": n_trajectories, "sigma": sigma, "bias": False, "base_settings": {"max_kl": max_kl}}
    sharing = {**common, "n_basis": n_basis, "base": "enac"}
    started = f"{__package__}.started:StartedPGELLA"
    literal = {"variant": "A", "n_inner": 10, "forget": 1.0, "warm_start": False, "compensate": False}
    made = {
        COLD: (started, {**sharing, "warm": False}),
        WARM: (started, sharing),
        PPG: (_class("ProjectedPG"), {**common, "base": "enac"}),
        LITERAL: (_class("SafeLifelongPG"), {**sharing, **literal}),
        LINEAR: (_class("SafeLifelongPG"), {**sharing, "variant": "B"}),
        **{label: (_class("SafeLifelongPG"), {**sharing, "n_inner": n}) for label, n in INNER.items()},
    }
    alone = {**common, "n_trajectories": PG_TRAJECTORIES * n_trajectories}
    alone["max_kl"] = alone.pop("base_settings")["max_kl"]  # type: ignore[index]
    made[PG] = (_class("ENAC"), alone)
    return {label: {"class": name, "arguments": arguments} for label, (name, arguments) in made.items()}
