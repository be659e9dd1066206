"""art/README.md is true: its table is the registry's, its examples conform and train."""

import re
from pathlib import Path

from small_network import SMALL

import art.__main__
from art import conformance
from benchmarks.run import main
from results import find_runs

TEXT = (Path(art.__file__).parent / "README.md").read_text()


def test_the_table_is_the_registrys():
    assert art.__main__.table() in TEXT and art.__main__.likenesses() in TEXT


def test_the_page_names_those_that_need_every_task():
    (named,) = re.findall(r"^\*\*Absent tasks\.\*\*.*?but for (.*?):", TEXT, re.MULTILINE | re.DOTALL)
    tasks = ["denoise_25", "derain", "dehaze"]
    lacking = art.Conditions(absent_tasks=True)
    refusing = {name for name in art.names() if art.make(name, tasks).unsupported(lacking)}
    assert set(re.findall(r"`(\w+)`", named)) == refusing


def test_the_examples_conform_and_train_beside_the_others(three_task_root, tmp_path, monkeypatch, capsys):
    (code,) = re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    package = tmp_path / "mypkg"
    package.mkdir()
    (package / "opt.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    assert conformance.main(["mypkg.opt:Mine:gamma=1", "mypkg.opt:Inverse"]) == 0
    specs = ["mypkg.opt:Mine:gamma=1", "mypkg.opt:Inverse"]
    command = [
        "--setting",
        "three_task",
        "--data-root",
        str(three_task_root),
        "--output",
        str(tmp_path / "out"),
        "--device",
        "cpu",
        "--tracking-uri",
        "none",
    ]
    command += ["--baselines", SMALL, "--strategies", "mix", *specs, "--jobs", "1"]
    assert main([*command, "--set", "train.steps=3", "train.batch=5", "train.patch=32"]) == 0
    assert specs[0] in capsys.readouterr().out
    for spec in specs:
        (run,) = find_runs(tmp_path / "out", "three_task", {"strategy": [spec]})
        assert run.status.state == "done"
        assert run.rhythm().groupby("step")["weight"].sum().between(0.999, 1.001).all()
