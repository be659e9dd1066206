"""Numbers in prose about the runs kept in git are those of the files.

``python tests/results/test_measured.py`` writes the tables anew.
"""

import re
import sys
from functools import cache
from pathlib import Path
from unittest import mock

import pytest

ROOT = Path(__file__).parents[2]
MEASURED = ROOT / "results" / "measured"
KEPT = ("real", "length", "batch", "leaderboard", "race")
OLDER = ("uw", "dwa")  # before the race of a definition that is no more; their rows are not quoted
TABLE = re.compile(r"<!-- gains (\w+)(.*?) -->\n(?:\n(?:\|.*\n)+\nBold: .*\n)?")
PACKAGES = ("art", "baselines", "benchmarks", "reports", "results", "tests")
MARKDOWN = [*ROOT.glob("*.md"), *(page for package in PACKAGES for page in (ROOT / package).rglob("*.md"))]
PAGES = [page for page in sorted(MARKDOWN) if TABLE.search(page.read_text(encoding="utf-8"))]


@cache
def findings_of(folder):
    """What a report says of a kept grid; computed once for prose and tables, as it takes seconds."""
    from reports.numbers.cohorts import gather
    from reports.numbers.findings import find
    from results.kept import kept_runs
    from results.tuning import searches

    (cohort,) = gather(kept_runs(MEASURED / folder))
    return find(cohort, searches(MEASURED / folder, cohort.setting))


def table_of(folder):
    return findings_of(folder).table


def quoted(folder, baselines):
    """The Markdown table of the average gains of a kept grid, by falling gain of the last baseline."""
    rows = {}
    for row in table_of(folder).rows:
        cell = row.average
        older = row.strategy in OLDER and folder != "race"
        if not (row.is_reference or row.control or older):
            bold = "**" if cell.verdict in ("gain", "loss") else ""
            told = f"{bold}{cell.gain.mean:+.2f} ±{cell.gain.std:.2f}{bold}"
            rows.setdefault(row.strategy, {})[row.display] = (cell.gain.mean, cell.gain.n, told)
    order = sorted(rows, key=lambda name: -rows[name][baselines[-1]][0])
    lines = [f"| strategy | n | {' | '.join(baselines)} |", f"|---|--:|{'--:|' * len(baselines)}"]
    for name in order:
        cells = [rows[name][baseline] for baseline in baselines]
        lines.append(f"| `{name}` | {cells[0][1]} | {' | '.join(told for _, _, told in cells)} |")
    return "\n".join([*lines, "", f"Bold: a verdict, corrected for {table_of(folder).comparisons} comparisons."])


def renewed(text):
    """The page with every table made from the files."""

    def one(match):
        head = f"<!-- gains {match[1]}{match[2]} -->"
        return f"{head}\n\n{quoted(match[1], match[2].split())}\n"

    return TABLE.sub(one, text)


def test_the_pages_with_such_tables_are_found():
    assert {MEASURED / "README.md", ROOT / "README.md"} <= {*PAGES}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_tables_in_prose_are_those_of_the_files(page):
    text = page.read_text(encoding="utf-8")
    assert renewed(text) == text


def test_the_kept_reports_are_those_of_the_files(tmp_path):
    from reports.build import build
    from results.kept import kept_runs

    for folder in KEPT:
        found = findings_of(folder)
        with mock.patch("reports.numbers.findings.find", lambda cohort, searched, pool, found=found: found):
            build("three_task", tmp_path / folder, kept_runs(MEASURED / folder), formats=["md", "csv"])
        for name in ("gains.md", "gains.csv"):
            ours = (tmp_path / folder / "reports/three_task" / name).read_text(encoding="utf-8")
            kept = (MEASURED / folder / "reports/three_task" / name).read_text(encoding="utf-8")
            assert re.sub(r"!\[.*\n", "", ours).split() == re.sub(r"!\[.*\n", "", kept).split(), (folder, name)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    for page in PAGES:
        page.write_text(renewed(page.read_text(encoding="utf-8")), encoding="utf-8", newline="\n")
