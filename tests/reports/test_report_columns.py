"""A column of a table is said in one place and found in every format."""

import math

from synthetic_store import write_run

from reports.build import build
from reports.formats.columns import MEASURES, Column


def test_a_new_column_is_found_in_every_format(tmp_path):
    for strategy, gain in (("mix", 3.0), ("art", 3.5)):
        write_run(tmp_path, strategy=strategy, psnr=gain)
    letters = Column(
        "letters",
        lambda row: f"{len(row.strategy)} abc",
        lambda row: 7.0,
        {"letter_count": lambda row: 7},
        "of its name",
    )
    silent = Column("silent", lambda row: "", lambda row: math.nan, {"silence": lambda row: None}, "never to be read")
    MEASURES.extend([letters, silent])
    try:
        report = build("three_task", tmp_path)
    finally:
        del MEASURES[-2:]
    files = {path.name: path.read_text() for path in report.files if path.suffix not in (".png", ".svg")}
    for text in (report.text, files["gains.md"], files["gains.tex"], files["report.html"]):
        text = " ".join(text.split())
        assert "letters: of its name" in text and "3 abc" in text
        assert "silent" not in text and "never to be read" not in text
    assert "silence" in files["gains.csv"].splitlines()[0]
    assert 'data-value="7.0"' in files["report.html"] and "letter_count" in files["gains.csv"].splitlines()[0]
