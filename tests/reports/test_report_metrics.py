"""Which way is better: read from the runs, for every metric that can be asked for."""

import re

import pandas as pd
import pytest
from synthetic_store import records, write_run

from benchmarks.scoring.metrics import facts
from benchmarks.scoring.torchvision_compat import prepare
from reports.build import build
from reports.formats.latex import latex
from reports.formats.markdown import page
from reports.formats.text import terminal
from reports.formats.tidy import tidy
from reports.numbers.cohorts import gather
from reports.numbers.findings import Findings
from reports.numbers.metrics import known
from reports.numbers.model import AVERAGE
from reports.numbers.tables import gain_table
from results import find_runs
from results.records import PROTOCOL_METRICS, MetricFacts

prepare()
import pyiqa  # noqa: E402

NAMES = [name for name in pyiqa.list_models() if name not in ("psnr", "ssim")]
LOWER = re.compile(r"(st)?lpips|dists|deepdc|gmsd|nlpd|mad$|pieapp|msswd|dmm|s?fid|(il)?niqe|piqe|brisque|pi$|afine")
"""By meaning and not by pyiqa's table: distances, errors, and scores of unnaturalness."""

UNKNOWN = {"entropy"}


def write(output, told, art, mix):
    """Two seeds of mix and art, each with its value of every further metric."""
    for seed in range(2):
        for strategy, values in (("mix", mix), ("art", art)):
            run = write_run(
                output, strategy=strategy, seed=seed, psnr=3.0, data=records(sets=["Rain100L"]), metrics=told
            )
            scores = run.scores()
            rows = scores[scores["metric"] == "psnr"]
            extra = [rows.assign(metric=name, value=value + 0.002 * seed) for name, value in values.items()]
            run.write_scores(pd.concat([scores, *extra]))


def table_of(output):
    return gain_table(gather(find_runs(output, "three_task"))[0], images=False)


def verdicts(table):
    row = next(row for row in table.rows if row.strategy == "art")
    return {name: row.cells[AVERAGE, name].verdict for name in table.metrics if name in NAMES}


@pytest.fixture(scope="module")
def better(tmp_path_factory):
    """A store in which art is far better than mix by every metric."""
    output = tmp_path_factory.mktemp("better")
    lower = {name: bool(LOWER.match(name)) for name in NAMES}
    art = {name: 0.1 if low else 0.9 for name, low in lower.items()}
    write(output, facts(NAMES), art, {name: 1 - value for name, value in art.items()})
    return output


def test_a_far_better_strategy_gains_by_every_metric_of_pyiqa(better):
    table = table_of(better)
    found = verdicts(table)
    assert len(found) == len(NAMES) > 100
    assert {name for name, word in found.items() if word != "gain"} == UNKNOWN
    assert {found[name] for name in UNKNOWN} == {"direction not known: no verdict"}


def test_a_far_worse_one_loses(tmp_path):
    told = facts(["pieapp", "mad", "pi", "lpips-vgg", "vif"])
    art = {name: 0.1 if name == "vif" else 0.9 for name in told if name in NAMES}
    write(tmp_path, told, art, {name: 1 - value for name, value in art.items()})
    assert set(verdicts(table_of(tmp_path)).values()) == {"loss"}


def test_bold_headings_and_captions_follow(better):
    table = table_of(better)
    paper, markdown, text = latex(Findings(table)), page(Findings(table)), terminal(Findings(table))
    for name in NAMES:
        digits = table.metrics[name].digits
        best = f"{0.101 if LOWER.match(name) else 0.901:.{digits}f}"
        (body,) = re.findall(rf"label{{tab:three_task-{re.escape(name)}-\w{{8}}}}.*?end{{table}}", paper, re.S)
        bold = set(re.findall(r"\\textbf{([\d.]+)}", body))
        assert bold == (set() if name in UNKNOWN else {best}), name
        words = {True: "lower is better", False: "higher is better", None: "no verdict"}
        heading = f"{table.metrics[name].name} ({words[None if name in UNKNOWN else bool(LOWER.match(name))]})"
        assert f"## {heading}\n" in markdown and f"\n{heading}; " in text
    assert "change from mix (below 0 is better)" in markdown and "No value is marked as the best." in paper
    assert any(n.code == "no-direction" and "no best value with ENTROPY:" in n.text for n in table.notes)
    columns = tidy(table).drop_duplicates("metric").set_index("metric")["lower_is_better"]
    assert columns["psnr"] is False and columns["mad"] is True and columns["entropy"] is None


def test_the_page_says_which_way_is_better(tmp_path):
    write(tmp_path, facts(["mad"]), {"mad": 10.0}, {"mad": 90.0})
    build("three_task", tmp_path, formats=["html"])
    html = (tmp_path / "reports/three_task/report.html").read_text()
    assert "<h3>MAD (lower is better)</h3>" in html and "<h3>PSNR, dB</h3>" in html


def test_runs_that_recorded_nothing_or_contradict_each_other_get_no_verdict():
    up, down = ({"musiq": MetricFacts(lower_is_better=way, title="MUSIQ", digits=2)} for way in (False, True))
    assert known(["musiq"], [up, None]) == up
    assert known(["musiq"], [up, down])["musiq"].lower_is_better is None
    assert known(["musiq"], [None])["musiq"].lower_is_better is None
    assert known(["psnr"], []) == {"psnr": PROTOCOL_METRICS["psnr"]}
