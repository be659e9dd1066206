"""What is said of the runs kept in git is what their files say (:mod:`measured_pages` writes it)."""

import re
from unittest import mock

import pytest
from measured_pages import MEASURED, ROOT, Claim, cohorts_of, grid, holds, pages

KEPT = sorted(path.parent for path in MEASURED.glob("*/runs.json"))


@pytest.mark.parametrize("folder", KEPT, ids=lambda folder: folder.name)
def test_every_grid_is_named_on_the_page(folder):
    assert f"## {folder.name}" in (MEASURED / "README.md").read_text(encoding="utf-8")


def test_the_pages_are_those_of_the_files():
    for path, content in pages().items():
        assert path.read_text(encoding="utf-8") == content, f"{path.relative_to(ROOT)}: run measured_pages.py"


def test_a_sentence_that_does_not_hold_stops_the_page():
    with pytest.raises(Claim):
        holds(grid("weather", steps=800, mixing="shuffled").value("art") > 100)


@pytest.mark.parametrize("folder", [path for path in KEPT if (path / "reports").exists()], ids=lambda path: path.name)
def test_the_kept_reports_are_those_of_the_files(folder, tmp_path):
    """Tables to the last digit; figures that are not kept in git are not named in the kept tables."""
    from reports.build import build
    from results.kept import kept_runs

    (setting,) = (path.name for path in (folder / "reports").iterdir())
    found = {one.cohort.key: one for one in cohorts_of(folder.name)}
    with mock.patch("reports.numbers.findings.find", lambda cohort, searched, pool: found[cohort.key]):
        build(setting, tmp_path, kept_runs(folder), formats=["md", "csv"])
    kept = [path for path in (folder / "reports" / setting).iterdir() if path.suffix in (".md", ".csv")]
    assert kept
    for path in kept:
        ours = (tmp_path / "reports" / setting / path.name).read_text(encoding="utf-8")
        theirs = path.read_text(encoding="utf-8")
        assert re.sub(r"!\[.*\n", "", ours).split() == re.sub(r"!\[.*\n", "", theirs).split(), path
