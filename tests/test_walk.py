"""A newcomer's day (``benchmarks/WALK.md``): its files and its commands, as they stand on the page."""

import glob
import importlib
import json
import os
import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest
from miniature import picture, rainy, save

from baselines import registry
from results import find_runs

PAGE = (Path(__file__).parents[1] / "benchmarks/WALK.md").read_text("utf-8")
FILES = dict(re.findall(r"^`([\w/]+\.\w+)`.*?\n```\w+\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))
COMMANDS = [
    shlex.split(line)
    for language, block in re.findall(r"^```(\w*)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    if not language
    for line in block.replace("\\\n", " ").splitlines()
]


def module_of(words):
    return importlib.import_module("benchmarks.data.__main__" if words[2] == "benchmarks.data" else words[2])


def filled_in(words):
    """As a shell does it with ``*``."""
    return [one for word in words for one in (sorted(glob.glob(word)) if "*" in word else [word])]


def call(words):
    if words[0] == "cp":
        return shutil.copy(*filled_in(words[1:])) and 0
    assert words[:2] == ["python", "-m"]
    try:
        return module_of(words).main(filled_in(words[3:]))
    except SystemExit as stopped:
        return stopped.code


@pytest.fixture
def work(tmp_path, monkeypatch):
    """``~/my work`` with the files of the page and two pairs."""
    folder = tmp_path / "my work"
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, "utf-8")
    for number in (1, 2):
        save(folder / f"street rain/clean/{number}.png", picture(number))
        save(folder / f"street rain/rainy/{number}.png", rainy(picture(number)))
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))  # as python -m does
    forget_mypkg()  # other tests have a package of that name too
    yield folder
    forget_mypkg()


def forget_mypkg():
    registry._described.cache_clear()
    for name in [name for name in sys.modules if name.partition(".")[0] == "mypkg"]:
        del sys.modules[name]


@pytest.mark.skipif(os.name == "nt", reason="submitit's local executor is of POSIX systems")
def test_every_command_of_the_page_does_what_it_says(work, capsys):
    pytest.importorskip("submitit")
    assert set(FILES) == {"mypkg/opt.py", "mypkg/net.py", "mypkg/net.toml", "my_sets.toml"}
    told = []
    for words in COMMANDS:
        code = call(words)
        out, err = capsys.readouterr()
        assert code == 0, (words, out[-3000:], err)
        told.append((" ".join(words), out))

    def said(*parts):
        (text,) = [text for command, text in told if all(part in command for part in parts)]
        return text

    assert "Street        2             complete" in said("data check")
    assert "2 runs, 2 to do" in said("--dry-run") and "4 runs, 2 done already" in said("--slurm")
    assert "Continued after step 20, up to 30" in said("--continue")
    assert "1 search of 2 trials" in said("benchmarks.tune")
    checked_by_others(capsys)
    verified = said("--rescore")
    assert "scored again: 8 runs; every image as recorded" in verified and "not scored" not in verified
    assert "This archive is whole." in verified
    runs = [run.record.config for run in find_runs(Path("results"), "three_task")]
    assert {(one.strategy, one.seed) for one in runs} == {(s, n) for s in ("mix", "mypkg.opt:Late") for n in (0, 1)}
    assert len(runs) == 8 and len([one for one in runs if one.origin.run]) == 2
    assert len([one for one in runs if one.train.weights]) == 2
    joined = Path("joined/reports/three_task")
    assert "Ours" in (joined / "gains.md").read_text() and "kept/first are in kept/mine too" in said(
        "--from", "--label"
    )
    tables = [path.read_text() for path in Path("results/reports/three_task").glob("gains*.tex")]
    assert any("Ours" in table and "Street" in table and "Late" not in table for table in tables)
    assert all(Path(f"sheets/{name}/comparison.png").is_file() for name in ("tests", "street"))
    assert json.loads(next(Path("results/tuning").rglob("best.json")).read_text())


def checked_by_others(capsys):
    """Without leave, nothing from outside is imported or looked up; what that leaves out is told."""
    command = ["kept/mine", "--weights", "kept/weights", "--rescore", "1"]
    verify = importlib.import_module("results.verify").main
    assert verify(command) == 0
    told = capsys.readouterr().out
    assert "not scored again: a network from outside (--trust mypkg.net:Plain imports it)" in told
    assert "no run was scored again" in told
    assert verify([*command, "--trust", "mypkg.nets:Plain"]) == 2
    assert "error: baseline 'mypkg.nets:Plain': there is no module 'mypkg.nets'." in capsys.readouterr().err
    assert verify([*command, "--data-sets", "mypkg/net.toml"]) == 2
    assert "mypkg/net.toml has mistakes" in capsys.readouterr().err
    assert verify([*command, "--trust", "mypkg.net:Plain"]) == 0
    told = capsys.readouterr().out
    assert "not scored again: test sets from outside, Street (--data-sets" in told and "scored again: 1 run; " in told


def test_files_are_as_long_as_the_page_says():
    said = re.findall(r"^`([\w/]+\.\w+)`, (\d+) lines", PAGE, re.MULTILINE)
    assert {name: int(lines) for name, lines in said} == {name: len(text.splitlines()) for name, text in FILES.items()}
    assert f"{sum(int(lines) for _, lines in said)} lines of files" in PAGE


def test_every_feature_of_the_walk_is_on_the_page():
    """What a day's work consists of cannot be dropped from it unnoticed."""
    words = {word.partition("=")[0] for command in COMMANDS for word in command}
    assert words >= {
        "--data-sets", "--dry-run", "--slurm", "--continue", "train.init", "--label", "--columns", "--weights",
        "--rescore", "--from", "--compare", "--trials", "art.conformance", "baselines.conformance",
    }  # fmt: skip
