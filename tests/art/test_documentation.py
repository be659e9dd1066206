"""art/README.md is true: its table is the registry's, its example conforms and trains."""

import re
from pathlib import Path

import art.__main__
from art import conformance
from benchmarks.run import main
from results import find_runs

TEXT = (Path(art.__file__).parent / "README.md").read_text()


def test_the_table_is_the_registrys():
    assert art.__main__.table() in TEXT


def test_the_example_conforms_and_trains_beside_the_others(tmp_path, monkeypatch, capsys):
    (code,) = re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    package = tmp_path / "mypkg"
    package.mkdir()
    (package / "opt.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    assert conformance.main(["mypkg.opt:Mine:gamma=1"]) == 0
    command = [
        "--setting",
        "three_task",
        "--output",
        str(tmp_path / "out"),
        "--device",
        "cpu",
        "--tracking-uri",
        "none",
    ]
    command += ["--baselines", "nafnet", "--strategies", "mix", "mypkg.opt:Mine:gamma=1", "--jobs", "1"]
    assert main([*command, "--set", "train.steps=3", "train.batch=5", "train.patch=32"]) == 0
    (run,) = find_runs(tmp_path / "out", "three_task", {"strategy": ["mypkg.opt:Mine:gamma=1"]})
    assert run.status.state == "done" and "mypkg.opt:Mine:gamma=1" in capsys.readouterr().out
    assert run.rhythm().groupby("step")["weight"].sum().between(0.999, 1.001).all()
