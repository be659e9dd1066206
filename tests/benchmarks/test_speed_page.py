"""The GPU table of the speed page is that of its file.

``python tests/benchmarks/test_speed_page.py`` writes it anew.
"""

import csv
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "benchmarks/speed/README.md"
MEASURED = ROOT / "results/measured/speed-gpu.csv"
TABLE = re.compile(r"<!-- gpu -->\n.*?<!-- end of gpu -->", re.DOTALL)
HEAD = ["| what | case | ratio | goal | medians |", "|---|---|--:|---|---|"]


def rows_of(path):
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def table(rows):
    """The Markdown table of the file's rows, missed goals in bold; what there is to measure where there are none."""
    if not rows:
        from benchmarks.speed.gpu import WHATS

        return "\n".join([*HEAD, *(f"| {what[4:]} | {about} | not measured | | |" for what, about in WHATS.items())])
    lines = []
    for row in rows:
        ratio = f"**{row['ratio']}**" if row["met"] == "no" else row["ratio"]
        medians = row["medians"].replace("=", " ").replace("_", " ").replace(";", ",")
        lines.append(f"| {row['what'][4:]} | {row['case']} | {ratio} | {row['goal']} | {medians} |")
    made = {(row["device"], row["torch"], row["commit"]) for row in rows}
    origins = [f"Measured on {device}, torch {torch}, commit {commit}." for device, torch, commit in sorted(made)]
    return "\n".join([*HEAD, *lines, "", *origins])


def renewed(text, rows):
    return TABLE.sub(lambda _: f"<!-- gpu -->\n\n{table(rows)}\n\n<!-- end of gpu -->", text)


def test_the_table_is_that_of_the_file():
    text = PAGE.read_text(encoding="utf-8")
    assert TABLE.search(text) and renewed(text, rows_of(MEASURED)) == text


@pytest.mark.parametrize(("met", "shown"), [("no", "**0.9**"), ("yes", "| 0.9 |")])
def test_a_missed_goal_is_bold(tmp_path, met, shown):
    file = tmp_path / "speed.csv"
    file.write_text(
        "what,case,ratio,goal,met,medians,rounds,device,torch,commit\n"
        f'gpu art,"art over mix, tiny",0.9,<= 1,{met},mix_ms=2; ours_ms=1.8,3,H200,2.11,abc\n'
    )
    made = table(rows_of(file))
    assert shown in made and "| mix ms 2, ours ms 1.8 |" in made and "on H200, torch 2.11, commit abc" in made


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8"), rows_of(MEASURED)), encoding="utf-8", newline="\n")
