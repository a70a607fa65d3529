"""The page: claims, expectations, figures and tables, all from the summary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lifelong_gym.papers.findings import claims_section, expectations_section, warning
from lifelong_gym.papers.paper import Summary
from lifelong_gym.papers.zhan2017 import methods, plan, tables
from lifelong_gym.papers.zhan2017.acceptance import expectations
from lifelong_gym.papers.zhan2017.claims import claims
from lifelong_gym.papers.zhan2017.plan import SweepBudget

FIGURES = "zhan2017"

INTRODUCTION = """# Scalable lifelong policy search (Zhan, Bou Ammar and Taylor, 2017), run again

The paper: *Scalable lifelong reinforcement learning*, Pattern Recognition 72, 2017. This page, its figures and
[its numbers]({figures}/summary.json) are written by

    lifelong reproduce zhan2017{option}

{n_tasks} tasks a domain, drawn from the preset `default`, which are the paper's ranges in SI units (for the helicopter:
a real one's matrices, every entry within 30%); {n_seeds} seeds; {n_trajectories} trajectories of 150 steps a task and
sweep where nothing else is said. Numbers are mean rewards per step of the mean policies from four fixed starts a task,
averaged over tasks; their negatives are called *costs*. {warning}The asymptote is the mean of the last five
sweeps. Brackets hold 95% bootstrap intervals over seeds.

ePG-ELLA here is the corrected method of `ScalablePGELLA`: exponential weights instead of the printed ones, capped
steps, whitened messages, five turns of codes and basis a sweep. Two controls that the paper lacks stand beside it:
**RWR**, the same steps without sharing, and **one policy for all** tasks. GO-MTL (RWR) has ePG-ELLA's operating points
in one place. SM: simple mass, DM: double mass, CP: cart-pole, DIP: double inverted pendulum, HC: helicopter (CH-47).
"""

SECTIONS = """## Figure 1: rewards against sweeps

![Mean reward per step against sweeps, and errors of nodes against iterations]({figures}/learning.png)

Asymptotes:

{asymptotes}

Tenth percentile of the tasks, the ones that are stuck:

{tenth}

Sweeps to {level} of the best method's gain (median; never: not within the run):

{sweeps}

## Figure 2: jump-start, asymptote, time

![Costs after one sweep, asymptotic costs and processor seconds a sweep, by domain and method]({figures}/bars.png)

Processor time a sweep, observing and learning, all nodes one after another:

{seconds}

![Cost in a novel task against sweeps]({figures}/novel.png)

A helicopter that comes up after {known} others (ePG-ELLA by all-reduce); each basis is tried on {n_novel} of them a
seed, one at a time:

{novel}

## Few trajectories

![Mean reward per step against sweeps, ten trajectories]({figures}/few.png)

Ten trajectories a task and sweep; ePG-ELLA by all-reduce, to which its ADMM converges:

{few}

## Nodes that agree, and what they agree on

![Errors of nodes against iterations, and iterations by graph]({figures}/consensus.png)

Ten nodes, a chain and 20 random edges, {n_problems} problems each, scaled to equal trace. Iterations until the
distance to the solution of all nodes together stays below 1e-2 / 1e-8 (medians; never: not within {most}, where
whitened {most_whitened}):

{consensus}

By graph, for the policies of HC, whitened; nodes of one colour take their turn in one round:

{graphs}

## The paper's literal helicopters, and its weights as printed

![Mean reward per step on Table 1's helicopters, and with the printed weights]({figures}/draws.png)

{draws}

## Beyond the paper

### What messages buy, and what losing them costs

![Mean reward per step against bytes sent, and with 10% of the messages lost]({figures}/channel.png)

HC, 10 trajectories, ten nodes. All-reduce waits for messages that were lost, so loss costs it rounds alone:

{channels}

### Tasks that really differ

![Mean reward per step on the hetero presets]({figures}/hetero.png)

Presets `hetero`, five trajectories a task and sweep, REINFORCE with steps of fixed length as the base of all, three
basis vectors (SM two; ePG-ELLA by all-reduce, to which its ADMM converges). What is far below the start is cut off.
Costs over that of REINFORCE, every task alone: early (mean over the first fifth of the sweeps) and at the end:

{hetero}

On CP, ADMM (K = 5) with 10% of its messages lost ends at {hetero_loss} of the cost of exact sums.

A cart-pole that comes up after {known} others, {n_novel} a seed, one at a time, mean rewards per step:

{novel_hetero}

### A hidden basis

![Largest angle between learned and true basis]({figures}/hidden.png)

Presets `known_basis`: every task is one plant behind an isometry, so the best policies lie in k known dimensions.
Largest angle between the learned span and the true one, in degrees, and rewards, 20 trajectories:

{hidden}
"""


def written(summary: Summary, budget: Mapping[str, Any], figures: str = FIGURES) -> str:
    """The page's Markdown.

    Args:
        summary: see `summarised`.
        budget: attributes of the `SweepBudget`.
        figures: folder of the figures, relative to the page.
    """
    given = SweepBudget(**budget)
    return "\n".join(
        [
            INTRODUCTION.format(
                figures=figures,
                option=" --quick" if given.quick else "",
                n_tasks=given.n_tasks,
                n_seeds=given.n_seeds,
                n_trajectories=given.n_trajectories,
                warning=warning(given.quick, given.n_seeds),
            ),
            claims_section(claims(summary), figures, given.n_seeds),
            expectations_section(expectations(summary)),
            _sections(summary, given, figures),
        ]
    )


def _sections(summary: Summary, budget: SweepBudget, figures: str) -> str:
    studies = tables.main_studies()
    paper = {"paper-HC": "Table 1's draws"}
    few = {"few-HC": "HC", "few-DM": "DM"}
    return SECTIONS.format(
        figures=figures,
        asymptotes=tables.returns(summary, studies, methods.MAIN),
        tenth=tables.returns(summary, studies, methods.MAIN, "tenth"),
        level="90%",
        sweeps=tables.sweeps_to_level(summary),
        seconds=tables.seconds(summary),
        known=budget.n_tasks - 1,
        n_novel=budget.n_novel,
        novel=tables.novel(summary),
        few=tables.returns(summary, few, (*methods.FEW_LABELS, methods.MEAN)),
        n_problems=budget.n_problems,
        most=budget.n_iterations,
        most_whitened=plan.most_whitened(budget),
        consensus=tables.consensus(summary),
        graphs=tables.graphs(summary),
        draws=tables.returns(summary, paper, list(summary["learning"]["paper-HC"])),
        channels=tables.channels(summary),
        hetero=tables.hetero_ratios(summary),
        hetero_loss=tables.hetero_loss(summary),
        novel_hetero=tables.novel(summary, "novel-CP"),
        hidden=tables.hidden(summary),
    )
