"""The pages of the papers that come with the package, from runs that are as small as can be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lifelong_gym.benchmark.results import write_result
from lifelong_gym.measures.verdicts import EXPECTATIONS, VERDICTS
from lifelong_gym.papers import reproduce
from lifelong_gym.papers.numbers import judge
from lifelong_gym.papers.reproduce import Reproduction, folder_of, names
from lifelong_gym.papers.specs import PAPER, US

TINY: Mapping[str, Any] = {"n_tasks": 3, "seeds": 1, "sweeps": 2}
FEWER: Mapping[str, Mapping[str, Any]] = {
    "amani2023": {
        **{"k1": 10, "k2": 20, "most_rounds": 1, "draws": 20, "steps": 70, "meeting_steps": 60},
        **{"marks": 1, "episodes": 1, "horizon": 12, "n_agents": 2},
    },
    "bouammar2015": {"n_policies": 2, "n_rounds": [10, 40], "n_searches": 0},
    "permutation_invariant_mtl": {
        **{"n_states": 20, "n_actions": 30, "sizes": [20, 40, 60], "n_tasks": 5, "n_compared": 2, "n_unseen": 2},
        **{"periods": {"train": [20, 45], "valid": [46, 50], "test": [51, 60]}, "n_days": 70, "m": 3, "n_held_out": 4},
        **{"updates": 12, "gradient_steps": 1, "every": 4, "rows": 4, "steps": 160, "backend": "numpy"},
        **{"data": "digits", "setting": "quick"},
    },
    "zeng2021": {
        **{"rounds": 3, "stride": 10, "n_episodes": 1, "steps": 4, "rows": 1, "n_steps": 4, "n_layouts": 1},
        "horizon": 4,
        **{"rates": [0.001], "flights": 1, "few": 1, "marks": 1, "resolution": 24},
    },
    "zhan2017": {
        "n_tasks": 10,
        "n_trajectories": 12,
        "n_problems": 1,
        "iterations": 15,
        "n_novel": 1,
        "novel_sweeps": 2,
        "sigmas": [0.3],
        "steps": [0.1],
        "n_nodes": 3,
        "graph": "chain",
    },
}
# Studies of which one method is run here: `test_zeng2021` and `test_shared_experience` make the others' learners.
ALIKE = ("ablations", "forgetting")


@pytest.fixture(scope="module", params=names())
def tiny(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Reproduction:
    """A paper whose methods were all run in the first system of each study; the other systems have their figures."""
    folder = tmp_path_factory.mktemp(request.param)
    read = Reproduction.of(folder_of(request.param), "quick", folder)
    small = {**TINY, **FEWER[request.param]}
    studies = {name: study.model_copy(update={"quick": small}) for name, study in read.paper.studies.items()}
    reproduction = replace(read, paper=read.paper.model_copy(update={"studies": studies}))
    measured: dict[tuple[str, str], Any] = {}
    for cell in reproduction.cells:
        study, _, method = cell.place
        method = "" if study in ALIKE else method
        path = reproduction.runs / f"{cell.name}.json"
        if (study, method) not in measured:
            cell.execute(reproduction.runs, lambda share: None)
            measured[study, method] = cell.figures(reproduction.runs)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_result(path, cell.settings, measured[study, method])
    reproduction.write(folder)
    return reproduction


def test_a_page_says_everything(tiny: Reproduction) -> None:
    """Every claim with a verdict and a figure that exists, every expectation, every table, and no gap."""
    paper, folder = tiny.paper, tiny.runs.parent
    page = (folder / f"{tiny.code.name}.md").read_text()
    numbers = tiny.summary(folder)
    for claim in paper.claims:
        assert judge(claim, paper, numbers, tiny.code).verdict.word in VERDICTS
        assert f"| {claim.text} |" in page
    for expectation in paper.expectations:
        assert judge(expectation, paper, numbers, tiny.code).verdict.word in EXPECTATIONS
        assert f"| {expectation.text} |" in page
    for name, figure in paper.figures.items():
        for file in (f"{name}.png", f"{name}.webp")[: 2 if figure.film else 1]:
            assert 5000 < (folder / tiny.code.name / file).stat().st_size < 2e6
            assert f"]({tiny.code.name}/{file})" in page
    shown = [name for section in paper.sections for name in (*section.figures, *section.tables)]
    assert sorted(shown) == sorted([*paper.figures, *paper.tables])
    assert "quick version" in page
    assert "nan" not in page


def test_nothing_is_measured_again(tiny: Reproduction, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the page that is written again, from the numbers alone, is the same to the letter, with all figures."""
    assert all(cell.figures(tiny.runs) is not None for cell in tiny.cells)
    page = tiny.runs.parent / f"{tiny.code.name}.md"
    before, drawn = page.read_bytes(), list[Path]()

    def noted(*given: Any) -> bool:
        """In place of drawing: the fixture drew from numbers, too."""
        drawn.append(given[-1])
        return True

    monkeypatch.setattr(reproduce, "draw", noted)
    page.unlink()
    assert tiny.write_page(tiny.runs.parent).read_bytes() == before
    assert [path.stem for path in drawn] == list(tiny.paper.figures)


@pytest.mark.parametrize(
    ("name", "lines", "python"),
    [
        ("amani2023", 400, 700),
        ("bouammar2015", 280, 640),
        ("permutation_invariant_mtl", 350, 704),
        ("zeng2021", 450, 700),
        ("zhan2017", 300, 885),
    ],
)
def test_a_paper_comes_with_what_is_asked_of_it(name: str, lines: int, python: int) -> None:
    """Its own claims apart from ours, settings beside its own, whoever prints them, and few lines."""
    folder = folder_of(name)
    paper = Reproduction.of(folder, "default", Path("nowhere")).paper
    assert {claim.by for claim in paper.claims} == {PAPER, US}
    assert any(not setting.theirs for setting in paper.settings.values())
    assert len((folder / "paper.toml").read_text().splitlines()) <= lines
    assert sum(len(path.read_text().splitlines()) for path in folder.glob("*.py")) <= python
