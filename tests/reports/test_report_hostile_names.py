"""Names and reasons of strangers: text in every file of a report, and nothing but text."""

import csv
import io
import re
import warnings
from html import unescape
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from synthetic_store import SETS, records, renamed, simulate, write_run

from reports.build import build
from reports.formats.latex import escape
from reports.formats.markdown import escaped
from results import schema
from results.visible import spreadsheet, visible

FORMULA = "=cmd|'/C calc'!A0"
LINK = "[x](javascript:alert(1)) ![y](http://evil/z.png) <img src=x onerror=alert(1)> `c` $\\end$ _a_ ~~b~~ &lt;b&gt;"
ESCAPES = "\33[2J\33]0;owned\7\r\u202ereversed\nnew line"
STRATEGIES = ["_hidden:$\\x$^{_", f"@own:{LINK}", f"-{ESCAPES}", "pkg.mod:\N{CJK UNIFIED IDEOGRAPH-4E2D}" + "x" * 300]
SET = f"+{LINK}{ESCAPES}"
MARKDOWN = MarkdownIt("gfm-like", {"html": True, "linkify": False})


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A report of runs in which whatever can be named by others has a hostile name."""
    output = tmp_path_factory.mktemp("hostile")
    data = records()
    for record in data:
        record["dataset"] = SET if record["dataset"] == SETS[0] else record["dataset"]
    psnr = {name: 25.0 for name in [SET, *SETS[1:]]}
    runs = [("mix", 0, 0), *((f"{STRATEGIES[0]}:p={step}", 1, step) for step in range(3)),
            *((name, number, 0) for number, name in enumerate(STRATEGIES[1:], 2))]  # fmt: skip
    for strategy, number, step in runs:  # p: a parameter to sweep
        run = write_run(
            output, "transweather", f"s{number}-{step}" if number else "mix", 0,
            {name: value + 0.1 * number + 0.1 * step for name, value in psnr.items()}, data=data,
            rhythm=simulate("mix", steps=20, tasks=["denoise_15", f"task$\\y$ {ESCAPES}"]),
            parameters={"p": step}, overrides=(f"train.x={FORMULA}",), status=("done", f"careful: {LINK}"),
        )  # fmt: skip
        run.write_record(renamed(run.record, strategy))
        scores = run.scores()
        scores["image"] = FORMULA + scores["image"]
        run.write_scores(scores.assign(metric=scores["metric"].replace("ssim", f"\t@m}}{LINK}")))
    write_run(output, "transweather", "lost", 0, data=data, status=("failed", f"{FORMULA} {LINK} {ESCAPES}"),
              overrides=(f"train.x={FORMULA}",))  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # no spam about glyphs, no formula, no label left out
        report = build("three_task", output)
    return report, {path.name: path for path in report.files}


def test_csv_files_hold_no_formula(built):
    _, files = built
    assert {"gains.csv", "runs.csv"} <= files.keys()
    for name in files:
        if name.endswith(".csv"):
            content = files[name].read_text(encoding="utf-8")
            rows = list(csv.reader(io.StringIO(content)))
            texts = [cell for row in rows for cell in row if not re.fullmatch(r"[-+]?[\d.]+(e[-+]?\d+)?", cell)]
            assert not [cell for cell in texts if cell.lstrip()[:1] in ("=", "+", "-", "@") or ";=" in cell]
            assert any(cell.startswith("'@own") for cell in texts) and visible(content, lines=True) == content


def test_markdown_has_no_link_picture_or_html_of_theirs(built):
    report, files = built
    text = files["gains.md"].read_text(encoding="utf-8")
    html = MARKDOWN.render(text)
    pictures = re.findall(r"<img [^>]*>", html)
    drawn = [path.name for path in report.files if path.suffix == ".png"]
    assert len(pictures) == len(drawn) and all(
        any(f'src="{name}"' in picture for name in drawn) for picture in pictures
    )
    assert not re.findall(r"<(a|script|em|s|blockquote|code|pre)\b", re.sub(r"<img [^>]*>|<code>report.html", "", html))
    assert "onerror=alert(1)&gt;" in html and "$\\end$ _a_ ~~b~~ &amp;lt;b&amp;gt;" in html  # and yet all is readable
    assert len({line.count("|") - line.count("\\|") for line in text.splitlines() if line.startswith("|")}) <= 4
    assert not re.search(r"javascript:|http:", text)  # nor where a renderer makes links of bare addresses


@settings(max_examples=300, deadline=None)
@given(st.text(st.sampled_from("_*[]()<>!`~#+-=.1|$&;:/\\ \nab@"), max_size=14))
def test_any_text_is_a_paragraph_of_that_text(text):
    html = MARKDOWN.render(escaped(f"x {text}")) + MARKDOWN.render(f"x\n\n{escaped(text.strip(), first=True)}")
    assert not re.search(r"<(?!/?p>)", html)
    words = re.sub(r"\s+", " ", MARKDOWN.renderInline(escaped(text)))
    assert unescape(words).strip() == re.sub(r"\s+", " ", text).strip()


def test_figures_draw_dollars_and_leave_nobody_out(built):
    report, _ = built
    drawn = [path for path in report.files if path.suffix == ".svg"]
    assert any("sweep" in path.name for path in drawn) and all(len(path.name.encode()) < 255 for path in drawn)
    words = {path.name: " ".join(ElementTree.parse(path).getroot().itertext()) for path in drawn}  # and well-formed
    assert "_hidden:$\\x$^{_" in re.sub(r"\s+", "", words["gains.svg"])
    assert "task$\\y$" in words["rhythm-transweather.svg"]


def test_nothing_reaches_the_terminal_but_text(built):
    report, files = built
    assert visible(report.text, lines=True) == report.text and "\\x1b[2J" in report.text
    assert visible(files["gains.tex"].read_text(encoding="utf-8"), lines=True) == files["gains.tex"].read_text(
        encoding="utf-8"
    )


def test_the_page_and_tables_in_latex_stay_whole(built):
    _, files = built
    page = files["report.html"].read_text(encoding="utf-8")
    assert "<img src=x" not in page and 'href="javascript' not in page
    body = [line for line in files["gains.tex"].read_text(encoding="utf-8").splitlines() if not line.startswith("%")]
    plain = re.sub(r"\\[\\{}$&%#_]", "", "\n".join(body))
    assert plain.count("{") == plain.count("}") and not re.search(r"[#~^`](?!\{)(?=[\w])", plain)
    assert escape("a--b\nc") == "a-{}-b c"


def test_ordinary_names_stay_as_they_are():
    for name in ("denoise_15", "art:tau=0.1", "Rain100L (2 of 100)", "data: embedded", "-0.12", "5 < 6"[:1], "a & b"):
        assert escaped(name) == name
    for value in (-0.5, "mix", "a-b", "2 of 100", None, True):
        assert spreadsheet(value) is value or spreadsheet(value) == value
    assert visible("Übung 中 ±0.1 – “a”") == "Übung 中 ±0.1 – “a”"
    assert schema.SCORES == "scores.csv"
