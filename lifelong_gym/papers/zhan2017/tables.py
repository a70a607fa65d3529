"""The page's tables of figures, in Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lifelong_gym.measures.statistics import Interval
from lifelong_gym.papers.compare import mean_of, median_of, shown
from lifelong_gym.papers.findings import markdown
from lifelong_gym.papers.paper import Summary
from lifelong_gym.papers.zhan2017 import methods, plan
from lifelong_gym.papers.zhan2017.readings import best_row, cost_ratio, error_at, gap_closed, novel_cost, row_of

DASH = "-"


def _means(study: Mapping[str, Mapping[str, Sequence[float]]], label: str, key: str) -> str:
    return shown(mean_of(study[label][key])) if label in study else DASH


def returns(summary: Summary, studies: Mapping[str, str], labels: Sequence[str], key: str = "final") -> str:
    """Mean reward per step: a row a method, a column a study (its heading by name)."""
    known = summary["learning"]
    start = [
        "before learning",
        *(f"{mean_of(next(iter(known[name].values()))['start']).estimate:.3g}" for name in studies),
    ]
    rows = [[label, *(_means(known[name], label, key) for name in studies)] for label in labels]
    return markdown(["", *studies.values()], [start, *rows])


def main_studies() -> dict[str, str]:
    """Those of the paper's Fig. 1."""
    return {f"main-{key}": key for key in plan.DOMAINS}


def sweeps_to_level(summary: Summary) -> str:
    """Median number of sweeps to 90% of the best method's gain."""
    rows = [
        [label, *(shown(median_of(summary["learning"][name][label]["sweeps_to_level"])) for name in main_studies())]
        for label in methods.MAIN
    ]
    return markdown(["", *plan.DOMAINS], rows)


def seconds(summary: Summary) -> str:
    """Milliseconds of processor time a sweep."""
    rows = []
    for label in methods.MAIN:
        values = (summary["learning"][name][label]["seconds_per_sweep"] for name in main_studies())
        rows.append([label, *(shown(mean_of([1000 * x for x in row])) for row in values)])
    return markdown(["ms", *plan.DOMAINS], rows)


def _both(row: Mapping[str, Sequence[float | None]]) -> str:
    return " / ".join(
        f"{median_of(row[name]).estimate:.3g}".replace("inf", "never") for name in ("to_coarse", "to_fine")
    )


def consensus(summary: Summary) -> str:
    """Iterations to 1e-2 / 1e-8, by domain."""
    rows = []
    for name, of in summary["consensus"].items():
        key, algorithm, graph = name.split(" ")
        if graph == plan.GRAPH:
            best = best_row(summary, name, plan.RAW)
            one, white = row_of(summary, name, plan.RAW, 1.0), row_of(summary, name, plan.WHITENED, plan.PENALTY)
            what = f"{key}, {'θ' if algorithm == 'theta' else 'L'}"
            condition = f"{median_of(of['condition']).estimate:.3g}"
            errors = (f"{error_at(one, which, 30):.1e}" for which in ("agreement", "distance"))
            rows.append(
                [what, condition, f"{_both(best)} (ρ = {best['penalty']:g})", _both(one), *errors, _both(white)]
            )
    head = ("", "condition", "P = I, best ρ", "P = I, ρ = 1", "agreement error, K = 30", "distance, K = 30")
    return markdown([*head, f"whitened, ρ = {plan.PENALTY:g}"], rows)


def graphs(summary: Summary) -> str:
    """Iterations and rounds by graph, whitened."""
    rows = []
    for graph in plan.GRAPHS:
        name = f"HC theta {graph}"
        best, own = best_row(summary, name, plan.WHITENED), row_of(summary, name, plan.WHITENED, plan.PENALTY)
        colours = int(summary["consensus"][name]["colours"])
        rounds = median_of(best["to_fine"]).estimate * colours
        shown = f"{rounds:.3g}".replace("inf", "never")
        rows.append([graph, str(colours), _both(own), f"{_both(best)} (ρ = {best['penalty']:g})", shown])
    return markdown(["graph", "rounds an iteration", f"ρ = {plan.PENALTY:g}", "best ρ", "rounds to 1e-8, best ρ"], rows)


def novel(summary: Summary, study: str = "novel-HC") -> str:
    """Mean reward per step in novel tasks by sweep, and (HC) the share of the way that costs no data."""
    found, has_share = summary["novel"][study], study == "novel-HC"
    last = len(next(iter(found.values()))["curve"]["mean"]) - 1
    sweeps = sorted({0, min(5, last), last})
    rows = []
    for label in found:
        row = [label, *(shown(mean_of([-c for c in novel_cost(summary, label, sweep, study)])) for sweep in sweeps)]
        if has_share:
            row.append(shown(gap_closed(summary, label)) if label in methods.BASES else DASH)
        rows.append(row)
    return markdown(["", *(f"sweep {s}" for s in sweeps), *["share of the way without data"] * has_share], rows)


def channels(summary: Summary) -> str:
    """What is sent, and what it buys."""
    study, rows = summary["learning"]["channel-HC"], []
    for label in methods.CHANNELS:
        of = study[label]
        sweeps = len(of["bytes"])
        sent, rounds = of["bytes"][-1] / sweeps, of["rounds"] / sweeps
        errors = [f"{mean_of(of['errors'][name]).estimate:.1e}" for name in ("agreement", "distance")]
        rows.append([label, f"{sent / 1e6:.2f}", f"{rounds:.0f}", *errors, shown(mean_of(of["final"]))])
    head = ["", "MB a sweep", "rounds a sweep", "worst agreement error", "worst distance", "mean reward per step"]
    return markdown(head, rows)


def hidden(summary: Summary) -> str:
    """Angles and rewards on the presets whose basis is known."""
    rows = []
    for key, domain in plan.DOMAINS.items():
        of = summary["hidden"][key]
        found = of["methods"]
        angles = [shown(mean_of(found[label]["angle"])) for label in (methods.GOMTL_R, methods.EPG_R)]
        ends = [shown(mean_of(found[label]["final"])) for label in methods.HIDDEN_LABELS]
        rows.append([key, str(domain.n_hidden), *angles, f"{of['best']:.3g}", *ends])
    head = ["", "k", f"angle, {methods.GOMTL_R}", f"angle, {methods.EPG_R}", "best policies", methods.REINFORCE]
    return markdown([*head, methods.GOMTL_R, methods.EPG_R], rows)


def hetero_loss(summary: Summary) -> str:
    """What ADMM under loss costs on CP, over what the exact sums cost; at the end."""
    return shown(cost_ratio(summary, "hetero-CP", methods.LOST_R, methods.EPG_R))


def hetero_ratios(summary: Summary) -> str:
    """Cost over that of every task alone, early and at the end."""
    rows = []
    for key in plan.DOMAINS:
        cells: list[Interval] = []
        for when in ("early", "final"):
            for label in methods.HETERO_LABELS[1:]:
                cells.append(cost_ratio(summary, f"hetero-{key}", label, methods.REINFORCE, when))
        rows.append([key, *map(shown, cells)])
    labels = ("PG-ELLA", "GO-MTL", "ePG-ELLA", "one policy")
    return markdown(["", *(f"{label}, {when}" for when in ("early", "end") for label in labels)], rows)
