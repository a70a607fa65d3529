"""What a report says: every sentence names whom it is about, and user text stands as it is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from lifelong_gym.benchmark.records import read_runs
from lifelong_gym.reports.markup import as_html, as_markdown, bare, bold, code, plain
from lifelong_gym.reports.overall import pooled
from lifelong_gym.reports.report import write_report
from lifelong_gym.reports.study import Study, studies
from lifelong_gym.reports.words import verdict, verdict_overall
from tests.synthetic_runs import distributed, lifelong, multi_task, settings, transfer, write

# Of those that don't begin with a name, how they begin; what follows is a name, or they are about all learners.
OPENINGS = (
    r"Next comes \*\*",
    r"Then follows? \*\*",
    r"There is no clear difference between \*\*",
    r"The budget was too small for \*\*",
    "No learner reaches ",
    "For comparison: ",
    r"\d seeds are few: ",
    "One seed gives no interval: ",
)


def study_of(folder: Path) -> Study:
    """The only study in a folder."""
    (study,), _ = studies(read_runs(folder))
    return study


def curve(*means: float) -> np.ndarray:
    """The same in four tasks."""
    return np.repeat(np.array(means)[:, None], 4, axis=1)


def learners(folder: Path, **curves: np.ndarray) -> Study:
    """A study of these learners, with six equal runs each, so that there is no chance in it."""
    for label, performance in curves.items():
        for seed in range(6):
            write(folder, settings(label, seed=seed), performance)
    return study_of(folder)


def test_each_sentence_names_its_subject(tmp_path: Path) -> None:
    """The best at the end, the best while learning, the one that never moved, and chance are four different ones."""
    study = learners(
        tmp_path,
        Late=curve(0.0, 0.1, 0.2, 0.4, 0.6, 0.9),
        Early=curve(0.0, 0.7, 0.7, 0.7, 0.7, 0.7),
        Still=curve(0.2, 0.2, 0.2, 0.2, 0.2, 0.2),
        random=curve(-0.3, -0.3, -0.3, -0.3, -0.3, -0.3),
    )
    assert verdict(study) == [
        "**Late** has the highest final performance: 0.90 [0.90, 0.90] on the scale from doing nothing (0) to the best "
        "known policy (1).",
        "**Late** is clearly ahead of **Early** (0.70 [0.70, 0.70]): a run of Late scores higher than one of Early "
        "with probability 1.00 [1.00, 1.00].",
        "**Late** is clearly ahead of **Still** (0.20 [0.20, 0.20]).",
        "The budget was too small for **Still**: its policy never changed (a larger budget or smaller batches may "
        "help).",
        "**Early** has the largest area under the learning curve, 0.63 [0.63, 0.63], against 0.35 [0.35, 0.35] of "
        "**Late**.",
        "For comparison: random −0.30.",
    ]


def test_the_area_is_credited_to_the_leader_not_to_the_unmoved(tmp_path: Path) -> None:
    """Whoever is named last before it."""
    study = learners(tmp_path, Best=curve(0, 0.5, 0.8, 0.9, 0.9, 0.9), Still=curve(0, 0, 0, 0, 0, 0))
    said = verdict(study)
    assert "**Best** also has the largest area under the learning curve, 0.71 [0.71, 0.71]." in said


def test_equals_share_what_they_have(tmp_path: Path) -> None:
    """No order is made up between learners with the same numbers."""
    same = curve(0, 0.5, 0.8, 0.9, 0.9, 0.9)
    said = verdict(learners(tmp_path, A=same, B=same, C=same / 2))
    assert said[0].startswith("**A** and **B** share the highest final performance: 0.90")
    assert said[1].startswith("**A** is clearly ahead of **C**")
    assert "**A** and **B** share the largest area under the learning curve, 0.71 [0.71, 0.71]." in said


@pytest.mark.parametrize("n_seeds", [1, 3, 5])
def test_no_sentence_hangs_on_the_one_before(tmp_path: Path, n_seeds: int) -> None:
    """Under every protocol: it begins with a name or says one at once, and none says "it" or "they"."""
    seeds = range(n_seeds)
    for label, top in (("A", 0.9), ("B", 0.88), ("C", 0.87), ("D", 0.3), ("random", -0.1)):
        multi_task(tmp_path, label, seeds, top=top)
        multi_task(tmp_path, label, seeds, "LifelongDoubleMass-v0", top=top)
    for label, kept in (("A", 0.9), ("B", 0.3)):
        lifelong(tmp_path, label, seeds, kept=kept)
        transfer(tmp_path, label, seeds, start=kept / 2)
        distributed(tmp_path, label, seeds, bytes_per_step=4)
    compared, _ = studies(read_runs(tmp_path))
    scores, _ = pooled(compared[:2])
    said = [verdict_overall(scores, ["x", "y"], "final performance"), *map(verdict, compared)]
    assert len(said) == 6
    for sentence in (sentence for sentences in said for sentence in sentences):
        assert sentence.startswith("**") or re.match("|".join(OPENINGS), sentence), sentence
        assert not re.search(r"\b([Ii]t|[Tt]hey)\b", sentence), sentence


def test_few_seeds_of_one_learner_are_its_own(tmp_path: Path) -> None:
    """The others are compared as clearly as they can be."""
    multi_task(tmp_path, "A", range(5), top=0.9)
    multi_task(tmp_path, "B", range(5), top=0.3)
    multi_task(tmp_path, "C", range(1), top=0.5)
    said = verdict(study_of(tmp_path))
    assert any(line.startswith("**A** is clearly ahead of **B**") for line in said)
    assert said[-1] == "**C** (1 seed) ran too seldom for any difference to be called clear."


LABELS = (r"$\foo$", "**a** `b` [c]", "_hidden", "[x]/y", "50% & <b>", "x^2_~|\\")


def labelled(folder: Path, labels: Sequence[str]) -> Path:
    """Runs whose learners are called so; the page of their report."""
    for i, label in enumerate(labels):
        for seed in range(2):
            run = settings(label, seed=seed) | {"learner": {**settings("PPO")["learner"], "label": label}}
            write(folder / str(i), run, curve(0, 0.2, 0.4 + 0.1 * i))
    page, *_ = write_report(folder)
    return page


def test_a_label_is_text_everywhere(tmp_path: Path) -> None:
    """Neither a formula in figures, nor markup in sentences, nor hidden from the legend."""
    page = labelled(tmp_path, LABELS).read_text(encoding="utf-8")
    text = re.sub(r"<svg.*?</svg>|<style.*?</style>|<[^>]*>", " ", page, flags=re.DOTALL)
    for label in LABELS:
        escaped = label.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        assert text.count(escaped) >= 4, label
    svg = next((tmp_path / "report" / "figures").glob("*-curves.svg")).read_text(encoding="utf-8")
    assert all(f"<!-- {label} -->" in svg for label in (r"$\foo$", "_hidden"))  # as matplotlib notes a text


def test_markup_gives_a_text_back() -> None:
    """Whatever is in it, in a sentence or as code."""
    for label in LABELS:
        assert bare(plain(label)) == label
        assert as_markdown(code(label)) == f"`{label}`"
        shown = label.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        assert as_html(f"{bold(label)}, {code(label)}") == f"<strong>{shown}</strong>, <code>{shown}</code>"
