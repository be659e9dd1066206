"""What is said of the runs kept in git is what their files say (:mod:`measured_pages` writes it)."""

from unittest import mock

import pytest
from measured_pages import MEASURED, ROOT, Claim, built, cohorts_of, grid, holds, kept_reports, pages

KEPT = sorted(path.parent for path in MEASURED.glob("*/runs.json"))


@pytest.mark.parametrize("folder", KEPT, ids=lambda folder: folder.name)
def test_every_grid_is_named_on_the_page(folder):
    assert f"## {folder.name}" in (MEASURED / "README.md").read_text(encoding="utf-8")


def test_the_pages_are_those_of_the_files():
    for path, content in pages().items():
        assert path.read_text(encoding="utf-8") == content, f"{path.relative_to(ROOT)}: run measured_pages.py"


def test_a_sentence_that_does_not_hold_stops_the_page():
    with pytest.raises(Claim):
        holds(grid("weather", steps=2400).value("art") > 100)


@pytest.mark.parametrize("report", kept_reports(), ids=lambda path: path.parents[1].name)
def test_the_kept_reports_are_those_of_the_files(report, tmp_path):
    """Tables to the last digit."""
    found = {one.cohort.key: one for one in cohorts_of(report.parents[1].name)}
    with mock.patch("reports.numbers.findings.find", lambda cohort, searched, pool: found[cohort.key]):
        made = built(report, tmp_path, ["md", "csv"])
    kept = [path for path in report.iterdir() if path.suffix in (".md", ".csv")]
    assert kept
    for path in kept:
        assert path.read_text(encoding="utf-8") == (made / path.name).read_text(encoding="utf-8"), path
