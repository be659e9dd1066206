"""The LaTeX table: what it prints, and that a real LaTeX sets it on its page."""

import re
import shutil
import subprocess

import pytest
from synthetic_store import records, renamed, write_run

from reports.build import build
from reports.formats.latex import PREAMBLE, escape

ODD = r"my_pkg.optim%z:Mine & Co:a=0.5:rate#=$1:{b}=~^\\:<c>=|d|"


def tex_of(output):
    build("three_task", output, formats=["tex"])
    return (output / "reports/three_task/gains.tex").read_text(encoding="utf-8")


def compiled(text, folder):
    """The log of a document that holds the table and nothing else."""
    if shutil.which("pdflatex") is None:
        pytest.skip("no pdflatex here; texlive-latex-recommended gives one")
    (folder / "gains.tex").write_text(text, encoding="utf-8")
    lines = [r"\documentclass{article}", PREAMBLE, r"\begin{document}", r"\input{gains}", r"\end{document}"]
    (folder / "document.tex").write_text("\n".join(lines))
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "document"]
    told = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", check=False)
    assert told.returncode == 0, told.stdout[-3000:]
    return told.stdout


def test_names_are_escaped(tmp_path):
    assert escape("a_b & 100% #1 {x} ~^ \\|") == (
        r"a\_b \& 100\% \#1 \{x\} \textasciitilde{}\textasciicircum{} \textbackslash{}\textbar{}"
    )
    write_run(tmp_path, baseline="odd_name", strategy="my_pkg:Opt:a=0.5", psnr=3.0)
    text = tex_of(tmp_path)
    assert r"Odd\_Name \& 100\%" in text and r"my\_pkg:Opt:a=0.5" in text
    body = [line for line in text.splitlines() if not line.startswith("%") and r"\label" not in line]
    assert not any("_" in line.replace(r"\_", "") for line in body)


def test_a_leaderboard_of_odd_names_fits_its_page(tmp_path):
    data = records("real", {"Rain100L": 2})
    names = ["mix", "art", ODD, *(f"peer_{i}:rate=0.0{i}:momentum=0.9" for i in range(9))]
    for baseline in ("transweather", "odd_name"):
        for place, strategy in enumerate(names):
            for seed in range(2):
                psnr = 3 + 0.1 * place + 0.01 * seed
                run = write_run(tmp_path, baseline, f"s{place}", seed, psnr, data=data, config={"data.source": "files"})
                run.write_record(renamed(run.record, strategy))
    log = compiled(tex_of(tmp_path), tmp_path)
    assert "Overfull" not in log and "Float too large" not in log
    assert re.search(r"\(2 pages", log)  # PSNR and SSIM


def test_what_does_not_fit_one_table_is_printed_in_parts(tmp_path):
    sets = [f"a_long_name-of-set-{i}" for i in range(11)]
    test = [{"role": "test", "task": "t", "dataset": s, "found": 5, "expected": 5, "origin": "real"} for s in sets]
    for i in range(30):
        write_run(tmp_path, strategy=f"s{i}" if i else "mix", psnr=3 + 0.1 * i, data=test)
    text = tex_of(tmp_path)
    assert "Part 4 of 4." in text and len(set(re.findall(r"\\label{(.*)}", text))) == 2 * 4
    assert [text.count(rf"\textbf{{{value}}}") for value in ("25.90", "24.40")] == [12, 0]  # best of all, not of a part
    log = compiled(text, tmp_path)
    assert "Overfull" not in log and "Float too large" not in log
