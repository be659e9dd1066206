"""The worked example of baselines/README.md builds, trains and is scored."""

import re
from pathlib import Path

import baselines
from benchmarks.run import main
from results import find_runs

TEXT = (Path(baselines.__file__).parent / "README.md").read_text()


def test_the_worked_example_runs(tmp_path, monkeypatch):
    code = re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)[1]
    (description,) = re.findall(r"^```toml\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    assert len((code + description).splitlines()) < 60
    (tmp_path / "plain.py").write_text(code)
    (tmp_path / "plain.toml").write_text(description)
    monkeypatch.setattr(baselines, "FOLDER", tmp_path)
    monkeypatch.setattr(baselines, "__path__", [*baselines.__path__, str(tmp_path)])
    assert baselines.names() == ["plain"]
    command = ["--setting", "three_task", "--baselines", "plain", "--strategies", "mix", "art", "tur", "--jobs", "1"]
    command += ["--output", str(tmp_path / "out"), "--tracking-uri", "none", "--device", "cpu"]
    assert main([*command, "--set", "train.steps=30", "train.batch=5", "train.patch=32"]) == 0
    runs = find_runs(tmp_path / "out", "three_task")
    assert len(runs) == 3 and all(run.status.state == "done" for run in runs)
