"""What is run for Bou Ammar et al. (2015): systems, methods, budgets, and every job."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from lifelong_gym.papers.bouammar2015.game import BASES, JOINT, ORDERS, VARIANTS
from lifelong_gym.papers.bouammar2015.learning import EVERYBODY, ONE, RANDOM
from lifelong_gym.papers.bouammar2015.methods import (
    BOUND,
    FREE,
    HUNDRED,
    LITERAL,
    PG,
    PPG,
    TEN,
    UNTIL,
    WARM,
    all_methods,
)
from lifelong_gym.papers.bouammar2015.regions import AROUND, BEYOND
from lifelong_gym.papers.jobs import Measurement

HERE = "lifelong_gym.papers.bouammar2015"
GAMES, INSIDE = "games", "inside"
LEARN, REGRET, DRAW = f"{HERE}.learning:learn", f"{HERE}.regret:measure", f"{HERE}.inside:measure"


@dataclass(frozen=True)
class System:
    """One of the paper's.

    Attributes:
        name: for people.
        env: its id.
        sigma: of the exploration, in units of a.
        n_basis: columns of L.
        n_trajectories: a task and round; PG has twice as many.
        step: factor on the natural gradient at the start.
        share: of the nominal regulator, where policies start.
        nominal: time of that regulator.
        anchors: time of the regulator among the anchors' candidates; None: none.
        beyond: shares of the optimal gains that make a safe set without the optimum.
        free, bound: rounds in the full version.
        shown: two parameters whose paths are drawn; None: no paths.
    """

    name: str
    env: str
    sigma: float
    n_basis: int
    n_trajectories: int
    step: float
    share: float
    nominal: str
    anchors: str | None
    beyond: tuple[float, float]
    free: int
    bound: int
    shown: tuple[int, int] | None


SYSTEMS = {
    "SM": System(
        name="simple mass",
        env="LifelongSimpleMass-v0",
        sigma=1.0,
        n_basis=2,
        n_trajectories=50,
        step=3.0,
        share=0.2,
        nominal="discrete",
        anchors=None,
        beyond=(0.0, 0.5),
        free=200,
        bound=100,
        shown=(0, 1),
    ),
    "CP": System(
        name="cart-pole",
        env="LifelongCartPole-v0",
        sigma=0.5,
        n_basis=2,
        n_trajectories=50,
        step=2.0,
        share=0.4,
        nominal="discrete",
        anchors=None,
        beyond=(0.4, 0.9),
        free=200,
        bound=100,
        shown=(2, 3),
    ),
    "QR": System(
        name="quadrotor",
        env="LifelongQuadrotor-v0",
        sigma=1.0,
        n_basis=6,
        n_trajectories=100,
        step=3.0,
        share=0.3,
        nominal="continuous",
        anchors="continuous",
        beyond=(0.2, 0.8),
        free=200,
        bound=100,
        shown=None,
    ),
}
MAX_KL = 0.03
WIDTHS, STEPS = (0.35, 0.6), {"full step": 1.0, "third of a step": 1 / 3}
BOUNDS = ((0.1, 0.1), (0.1, 1.0), (0.1, 10.0), (1.0, 1.0), (1.0, 10.0), (10.0, 10.0))
SPECTRAL = (LITERAL, TEN)
PATHS = (PG, WARM, PPG, TEN, HUNDRED)
GAME = {"n_tasks": 10, "d": 4, "k": 2, "n_inner": 1}
UNTIL_ROUNDS, PATH_ROUNDS = 100, 40


@dataclass(frozen=True)
class RoundBudget:
    """How much is run.

    Attributes:
        quick: a look at everything in two minutes: too little for conclusions.
        n_tasks: of each system, drawn anew for each seed.
        n_seeds: runs of each method.
        share: of the full version's rounds.
        n_rounds: of the games whose regret is measured, for one basis.
        n_joint: of those in which the basis is learned.
        n_starts: random bases to search for the best in hindsight from.
        n_games: seeds of these games.
        n_spectral: seeds of the study of p and q.
    """

    quick: bool = False
    n_tasks: int = 10
    n_seeds: int = 5
    share: float = 1.0
    n_rounds: tuple[int, ...] = (400, 1600, 6400)
    n_joint: tuple[int, ...] = (200, 800, 3200)
    n_starts: int = 10
    n_games: int = 4
    n_spectral: int = 3

    def rounds(self, full: int) -> int:
        """At least two."""
        return max(2, round(full * self.share))


FULL = RoundBudget()
QUICK = RoundBudget(
    quick=True,
    n_tasks=5,
    n_seeds=2,
    share=0.05,
    n_rounds=(50, 200),
    n_joint=(25, 100),
    n_starts=0,
    n_games=2,
    n_spectral=1,
)


@dataclass(frozen=True)
class RoundStudy:
    """Methods side by side on the same tasks.

    Attributes:
        name: of the files and in the summary.
        system: key of `SYSTEMS`.
        labels: methods.
        rounds: in the full version.
        order: which tasks come up in a round.
        region: the safe sets, as `learning.Situation.of` takes them.
        decay: whether the step falls to 0 in the end.
        factor: on the step.
    """

    name: str
    system: str
    labels: tuple[str, ...]
    rounds: int
    order: str = RANDOM
    region: Sequence[Any] | None = None
    decay: bool = True
    factor: float = 1.0

    def settings(self, label: str, budget: RoundBudget, **learner: Any) -> dict[str, Any]:
        """Of one method's jobs; further arguments are its own."""
        of = SYSTEMS[self.system]
        made = all_methods(of.n_trajectories, of.sigma, of.n_basis, MAX_KL)[label]
        step = self.factor * of.step
        return {
            **_common(self.system, budget),
            "rounds": budget.rounds(self.rounds),
            "order": self.order,
            "region": self.region,
            "anchors": of.anchors,
            "shown": of.shown,
            "step": [step, 0.0 if self.decay else step],
            "learner": {**made, "arguments": {**made["arguments"], **learner}},
        }


def _common(system: str, budget: RoundBudget) -> dict[str, Any]:
    """What decides tasks and where policies start."""
    of = SYSTEMS[system]
    return {"env": of.env, "n_tasks": budget.n_tasks, "share": of.share, "nominal": of.nominal}


def studies() -> Iterator[RoundStudy]:
    """All studies of learning but those of the spectral bounds."""
    for key, of in SYSTEMS.items():
        beyond = [BEYOND, *of.beyond]
        yield RoundStudy(f"free-{key}", key, FREE, of.free)
        yield RoundStudy(f"bound-{key}", key, BOUND, of.bound, region=beyond)
        for width in WIDTHS:
            for name, factor in STEPS.items():
                yield RoundStudy(
                    until_name(key, width, name),
                    key,
                    UNTIL,
                    UNTIL_ROUNDS,
                    EVERYBODY,
                    [AROUND, width],
                    decay=False,
                    factor=factor,
                )
        if of.shown is not None:
            yield RoundStudy(f"path-{key}", key, PATHS, PATH_ROUNDS, ONE, beyond)


def until_name(system: str, width: float, step: str) -> str:
    """Of a study of observations until safe."""
    return f"until-{system}, ±{width:.0%}, {step}"


def spectral_name(label: str, bounds: tuple[float, float]) -> str:
    """Of a variant of a study of the spectral bounds."""
    return f"{label}, p={bounds[0]:g}, q={bounds[1]:g}"


def jobs(budget: RoundBudget) -> list[Measurement]:
    """All jobs, the longest first."""
    return [*_games(budget), *_learning(budget), *_spectral(budget), *_inside(budget)]


def _learning(budget: RoundBudget) -> Iterator[Measurement]:
    for study in studies():
        n_seeds = 1 if study.order == ONE else budget.n_seeds
        for label in study.labels:
            settings = study.settings(label, budget)
            yield from (Measurement(study.name, label, seed, LEARN, settings) for seed in range(n_seeds))


def _spectral(budget: RoundBudget) -> Iterator[Measurement]:
    for key in ("SM", "CP"):
        of = SYSTEMS[key]
        for kind, region in (("free", None), ("bound", [BEYOND, *of.beyond])):
            study = RoundStudy(f"spectral-{kind}-{key}", key, SPECTRAL, of.bound, region=region)
            for label in SPECTRAL:
                for p, q in BOUNDS:
                    settings = study.settings(label, budget, p=p, q=q)
                    for seed in range(budget.n_spectral):
                        yield Measurement(study.name, spectral_name(label, (p, q)), seed, LEARN, settings)


def _inside(budget: RoundBudget) -> Iterator[Measurement]:
    for key in SYSTEMS:
        settings = {**_common(key, budget), "widths": (*WIDTHS, 1.2), "n_policies": 100}
        yield from (Measurement(INSIDE, key, seed, DRAW, settings) for seed in range(budget.n_seeds))


def game_name(variant: str, order: str, basis: str) -> str:
    """Of a variant among the games."""
    return f"{variant} {order} {basis}"


def _games(budget: RoundBudget) -> Iterator[Measurement]:
    for variant, order, basis in itertools.product(VARIANTS, ORDERS, BASES):
        settings = {
            **GAME,
            "variant": variant,
            "order": order,
            "basis": basis,
            "n_rounds": budget.n_joint if basis == JOINT else budget.n_rounds,
            "n_starts": budget.n_starts,
        }
        for seed in range(budget.n_games):
            yield Measurement(GAMES, game_name(variant, order, basis), seed, REGRET, settings)
