"""The methods that are compared, by the labels that tables and figures call them."""

from __future__ import annotations

from typing import Any

ENAC, REINFORCE, RWR = "eNAC", "REINFORCE", "RWR"
PGELLA, GOMTL, GOMTL_RWR, EPG = "PG-ELLA", "GO-MTL", "GO-MTL (RWR)", "ePG-ELLA"
SHARED = "one policy for all"
MEAN = "ePG-ELLA + mean"
K3, K10, REDUCE = "ePG-ELLA, K=3", "ePG-ELLA, K=10", "ePG-ELLA, all-reduce"
LOST, REDUCE_LOST = "ePG-ELLA, 10% lost", "all-reduce, 10% lost"
PRINTED = "RWR, weights as printed"
PGELLA_R, GOMTL_R, EPG_R = "PG-ELLA (REINFORCE)", "GO-MTL (REINFORCE)", "ePG-ELLA (REINFORCE)"
SHARED_R = "one policy (REINFORCE)"
LOST_R = "ePG-ELLA (REINFORCE), ADMM, 10% lost"
MAIN = (ENAC, REINFORCE, RWR, PGELLA, GOMTL, GOMTL_RWR, EPG, SHARED)
SCRATCH = (ENAC, RWR, REINFORCE)
BASES = (PGELLA, GOMTL, REDUCE)
BASES_R = (PGELLA_R, GOMTL_R, EPG_R)
LOSSY = (LOST, REDUCE_LOST, LOST_R)
FEW_LABELS = tuple(REDUCE if label == EPG else label for label in MAIN)
HETERO_LABELS = (REINFORCE, PGELLA_R, GOMTL_R, EPG_R, SHARED_R)
HIDDEN_LABELS = (REINFORCE, GOMTL_R, EPG_R)
CHANNELS = (EPG, K3, K10, REDUCE, LOST, REDUCE_LOST)
PRINTED_CLASS = "lifelong_gym.papers.zhan2017.printed:PrintedRWR"


def _class(name: str) -> str:
    return f"lifelong_gym.agents:{name}"


def _search(n_trajectories: int, sigma: float, bias: bool, **arguments: Any) -> dict[str, Any]:
    return {"n_trajectories": n_trajectories, "sigma": sigma, "bias": bias, **arguments}


def all_methods(n_trajectories: int, sigma: float, n_basis: int, bias: bool = False) -> dict[str, dict[str, Any]]:
    """Every method with its class and arguments, by label."""
    common = _search(n_trajectories, sigma, bias)
    basis = {**common, "n_basis": n_basis}
    admm = {"class": _class("ScalablePGELLA"), "arguments": basis}
    reduced = {**basis, "consensus": "all_reduce"}
    classes = {
        ENAC: ("ENAC", common),
        REINFORCE: ("REINFORCE", common),
        RWR: ("RWR", common),
        PGELLA: ("PGELLA", {**basis, "base": "enac"}),
        GOMTL: ("GOMTL", {**basis, "base": "enac"}),
        GOMTL_RWR: ("GOMTL", {**basis, "base": "rwr"}),
        SHARED: ("RWR", {**common, "shared": True}),
        MEAN: ("ScalablePGELLA", {**reduced, "mean_basis": True, "n_basis": 1}),
        K3: ("ScalablePGELLA", {**basis, "admm_iterations": 3}),
        K10: ("ScalablePGELLA", {**basis, "admm_iterations": 10}),
        REDUCE: ("ScalablePGELLA", reduced),
        PGELLA_R: ("PGELLA", {**basis, "base": "reinforce"}),
        GOMTL_R: ("GOMTL", {**basis, "base": "reinforce"}),
        EPG_R: ("ScalablePGELLA", {**reduced, "base": "reinforce"}),
        LOST_R: ("ScalablePGELLA", {**basis, "base": "reinforce", "admm_iterations": 5}),
        SHARED_R: ("REINFORCE", {**common, "shared": True}),
    }
    made = {label: {"class": _class(name), "arguments": arguments} for label, (name, arguments) in classes.items()}
    made |= {EPG: admm, LOST: admm, REDUCE_LOST: made[REDUCE]}
    return {**made, PRINTED: {"class": PRINTED_CLASS, "arguments": common}}
