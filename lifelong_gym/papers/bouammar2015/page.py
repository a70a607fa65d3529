"""The page: claims, expectations, figures and tables, all from the summary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lifelong_gym.papers.bouammar2015 import methods, plan, tables
from lifelong_gym.papers.bouammar2015.acceptance import expectations
from lifelong_gym.papers.bouammar2015.claims import TIE, claims
from lifelong_gym.papers.bouammar2015.learning import N_STARTS
from lifelong_gym.papers.bouammar2015.plan import RoundBudget
from lifelong_gym.papers.findings import claims_section, expectations_section, warning
from lifelong_gym.papers.paper import Summary

FIGURES = "bouammar2015"

INTRODUCTION = """# Safe lifelong policy search (Bou Ammar, Tutunov and Eaton, 2015), run again

The paper: *Safe policy search for lifelong reinforcement learning with sublinear regret*, ICML 2015. This page, its
figures and [its numbers]({figures}/summary.json) are written by

    lifelong reproduce bouammar2015{option}

{n_tasks} tasks a system, drawn anew for each of {n_seeds} seeds from the preset `safe2015`: the published ranges, and
the quadratic reward, for which a task's linear-quadratic regulator is the yardstick. A *round* observes one task, drawn
at random, through 50 trajectories of 150 steps (quadrotor: 100); PG (eNAC) gets twice as many, as in the paper. Steps
are natural gradients, their length capped, falling to 0 over the run. *Costs* are a step's, of the mean policies of all
tasks from {n_starts} fixed starts each. {warning}Brackets hold 95% bootstrap intervals over seeds; every method has
the same tasks, rounds and first policies in a seed. Where methods are compared by their costs, less than {tie:.0%} is a
tie, whatever the interval. SM: simple mass, CP: cart-pole, QR: quadrotor.

**Ours** is `SafeLifelongPG`, the corrected method: policies vary about anchors that are strictly inside their safe
sets; codes move before the basis; an exact quadratic program projects codes in place of the paper's semidefinite one,
which loses directions and freezes; what is deployed is checked in floating point. *Literal* is variant A, the
algorithm as it is written apart from that: accumulated losses, no warm start, steps not compensated for accumulation.
*Linearised* is B, which the proof is about. The others are C, with 1 to 100 inner iterations. **Projected PG** is as
safe and shares nothing. PG-ELLA, too, varies about the first policies; *warm*: tasks that haven't been observed use the
mean code of the others, as ours do.

First policies are a share of the nominal task's regulator ({shares}): from the whole of it, as the paper
starts its quadrotors, there is hardly anything left to learn. Sets come in two kinds: boxes of ±35% and ±60% *around*
each task's own optimal gains; and polytopes *beyond* which the optimum lies (all gains weaker than the optimal ones,
and a cut through their mean), where learners start from anchors, the quadrotor's with the regulator among their
candidates.
"""

SECTIONS = """## Figures 2a, 2b and 3: cost against rounds, without sets

![Cost of the median task against rounds, for three systems]({figures}/costs.png)

The figure shows the median task's cost over that of its own regulator. In a mean, a single task that falls outweighs
all else, and without sets that happens: a moving basis can push a cart-pole over that isn't observed for a while, with
PG-ELLA as with ours. Seeds in which some task's cost rose above ten times its regulator's:

{falls}

Mean cost over the first ten rounds:

{begun}

At the end:

{final}

## With safe sets that leave the optimum out

![Cost of the median task against rounds, and policies outside their sets]({figures}/constrained.png)

At the end, all from the same anchors; PG and PG-ELLA know nothing of the sets and leave them:

{bound}

Policies that were executed outside their sets, over all seeds, and tasks whose closed loop is unstable at the end:

{violations}

## Figures 2c and 2d: paths through the safe region

![Paths of policies, and the safe region]({figures}/paths.png)

One task, observed in every round. The region shown for the cart-pole is the shadow of a set in four dimensions.

## Figure 4: observations until safe

![Observations of a task until its policy is safe]({figures}/until.png)

Medians over tasks and seeds; boxes around the optimum, first policies outside. All tasks come up in each of {until}
rounds; *never*: not within these. Ours and projected PG know the sets and start inside:

{observations}

## Theorem 1: regret

![Cumulative regret against rounds]({figures}/regret.png)

A game of its own, for exact comparators: ten tasks, d = 4, k = 2, quadratic losses, boxes that bind, {games} seeds,
R = {rounds} (L learned: {joint}). The adversary of the adaptive order sees the policy and takes the
worse of a task's two losses. The curves are of the longest games; dots are the regrets of games of each length.
Exponents x of regret ~ R^x against the best fixed safe parameters of the learner's own class in hindsight (L learned:
found by local search from several starts, so a lower bound) / against each task's own optimum, which no basis
restricts, where that differs:

{regret}

## p and q

![Final cost by the bounds on the basis]({figures}/spectral.png)

Mean final cost by p, q:

{spectral}

## Time

Milliseconds of processor time a round, simulation included; how it grows with the number of tasks is measured by
`benchmarks/bench_safe.py`:

{seconds}
"""


def written(summary: Summary, budget: Mapping[str, Any], figures: str = FIGURES) -> str:
    """The page's Markdown.

    Args:
        summary: see `summarised`.
        budget: attributes of the `RoundBudget`.
        figures: folder of the figures, relative to the page.
    """
    given = RoundBudget(**budget)
    return "\n".join(
        [
            INTRODUCTION.format(
                figures=figures,
                option=" --quick" if given.quick else "",
                n_tasks=given.n_tasks,
                n_seeds=given.n_seeds,
                n_starts=N_STARTS,
                shares=", ".join(f"{of.share:g} {key}" for key, of in plan.SYSTEMS.items()),
                tie=TIE,
                warning=warning(given.quick, given.n_seeds),
            ),
            claims_section(claims(summary), figures, given.n_seeds),
            expectations_section(expectations(summary)),
            SECTIONS.format(
                figures=figures,
                falls=tables.falls(summary),
                begun=tables.costs(summary, "free", methods.FREE, "begun"),
                final=tables.costs(summary, "free", methods.FREE, "final"),
                bound=tables.costs(summary, "bound", methods.BOUND, "final"),
                violations=tables.violations(summary),
                until=given.rounds(plan.UNTIL_ROUNDS),
                observations=tables.observations(summary),
                games=given.n_games,
                rounds=", ".join(f"{n:,}" for n in given.n_rounds),
                joint=", ".join(f"{n:,}" for n in given.n_joint),
                regret=tables.regret(summary),
                spectral=tables.spectral(summary),
                seconds=tables.seconds(summary),
            ),
        ]
    )
