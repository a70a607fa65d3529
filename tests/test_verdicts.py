"""The rule by which claims are judged."""

from __future__ import annotations

import numpy as np
import pytest

from lifelong_gym.measures.statistics import Interval
from lifelong_gym.measures.verdicts import COUNT, DIFFERENCE, RATIO, RULE, VERDICTS, Bound, Evidence, judged, met, worst

ONE = Bound.of("below", 1.0)
NOTHING = Interval(0.9, -np.inf, np.inf)
SEEN, WORSE, TIE, NARROW, WIDE = ((0.8, 0.9), (1.1, 1.3), (0.98, 1.02), (0.95, 1.05), (0.8, 1.1))


def ratio(limits: tuple[float, float] | None, bound: Bound = ONE, system: str = "A") -> Evidence:
    """Of an interval about its geometric middle."""
    low, high = limits or (0.1, 0.2)
    interval = Interval((low * high) ** 0.5, low, high)
    return Evidence(system, interval, bound, is_tested=limits is not None)


@pytest.mark.parametrize(
    ("ranges", "word"),
    [
        ([SEEN, SEEN], "holds"),
        ([SEEN, TIE], "partly"),
        ([SEEN, WIDE], "partly"),
        ([SEEN, None], "partly"),
        ([SEEN, WORSE], "the opposite is seen"),
        ([WIDE, WORSE], "the opposite is seen"),
        ([TIE, NARROW], "doesn't hold"),
        ([TIE, WIDE], "not shown"),
        ([WIDE, None], "not tested"),
        ([None, None], "not tested"),
    ],
)
def test_the_six_words(ranges: list[tuple[float, float] | None], word: str) -> None:
    """Of a claim that a ratio is below 1, in two systems; turned over, the claim is judged alike."""
    assert judged(ratio(limits) for limits in ranges).word == word
    above = Bound.of("above", 1.0)
    turned = [None if limits is None else (1 / limits[1], 1 / limits[0]) for limits in ranges]
    assert judged(ratio(limits, above) for limits in turned).word == word
    assert f"**{word}**" in RULE
    assert word in VERDICTS


def test_systems_are_named() -> None:
    """Those with the opposite."""
    assert judged([ratio(WORSE, system="SM"), ratio(SEEN, system="CP"), ratio(TIE, system="HC")]).opposite == ("SM",)


@pytest.mark.parametrize(
    ("limits", "found"),
    [
        ((0.90, 0.969), "seen"),
        ((0.94, 0.971), "excluded"),  # 3% are a tie
        ((1.02, 1.035), "excluded"),
        ((1.032, 1.2), "opposite"),
        ((0.89, 0.98), "open"),  # narrow, but holds an effect of 10%
        ((0.91, 1.4), "open"),  # too wide to have shown it
    ],
)
def test_ties_and_power(limits: tuple[float, float], found: str) -> None:
    """Within 3% nothing is claimed, and what isn't seen counts only where it would have been."""
    assert ratio(limits).found == found


def test_the_effect_that_a_paper_prints_decides_what_is_narrow() -> None:
    """Half the cost would have been seen in an interval in which a tenth less wouldn't."""
    interval = Interval(0.98, 0.8, 1.2)
    assert Evidence("A", interval, ONE, effect=0.5).found == "excluded"
    assert Evidence("A", interval, ONE).found == "open"


def test_scales() -> None:
    """Differences are measured by their span, counts are what they are, and one run says nothing."""
    zero = Bound.of("above", 0.0)
    assert [Evidence("A", Interval(d, d, d), zero, DIFFERENCE, 10.0).found for d in (0.4, 0.2, -0.2, -0.4)] == [
        "seen",
        "tie",
        "tie",
        "opposite",
    ]
    none = Bound.of("below", 1.0)
    assert [Evidence("A", Interval(n, n, n), none, COUNT).found for n in (0, 1, 2)] == ["seen", "opposite", "opposite"]
    assert judged([Evidence("A", NOTHING, ONE)]).word == "not shown"
    assert Evidence("A", Interval(-2.0, -2.1, -1.9), Bound.of("below", -1.5), RATIO).found == "seen"


def test_within_bounds() -> None:
    """The bounds are the claim's own tolerance; beyond them by 3% is the opposite."""
    bound = Bound.of("within", 10.0, 20.0)
    found = [Evidence("A", Interval(x, x - 1, x + 1), bound).found for x in (15, 20, 30, 5)]
    assert found == ["seen", "open", "opposite", "opposite"]


def test_nonsense_is_refused() -> None:
    """Before anything is judged."""
    with pytest.raises(ValueError, match="at least one system"):
        judged([])
    with pytest.raises(ValueError, match="a bound of 0 is for differences"):
        ratio((0.5, 0.6), Bound.of("below", 0.0))
    with pytest.raises(ValueError, match="`within` two rising numbers"):
        Bound.of("within", 2.0, 1.0)
    with pytest.raises(ValueError, match=r"unknown side 'bellow'. Did you mean 'below'"):
        Bound.of("bellow", 1.0)
    with pytest.raises(ValueError, match=r"`effect` between 0.03, a tie, and 1"):
        Evidence("A", NOTHING, ONE, effect=0.01)


def test_expectations() -> None:
    """Met as a whole, by the estimate only, or not; of several the worst counts."""
    most = Bound.of("below", 1.0)
    words = [met(Interval(x, x - 0.1, x + 0.1), most) for x in (0.9, 0.95, 1.05)]
    assert words == ["met", "met, but not surely", "not met"]
    assert worst(words[:2]) == words[1]
    assert met(Interval(1.0, 0.9, 1.1), Bound.of("within", 0.85, 1.15)) == "met"
