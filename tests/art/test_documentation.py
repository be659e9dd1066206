"""art/README.md is true: its table is the registry's, its loop runs, its examples conform and train."""

import re
from pathlib import Path

import torch
from small_network import SMALL

import art.__main__
from art import conformance
from benchmarks.run import main
from results import find_runs

TEXT = (Path(art.__file__).parent / "README.md").read_text()


def code_below(heading):
    """The one Python block below a heading of the page."""
    (section,) = re.findall(rf"^#+ {heading}\n(.*?)(?=^##|\Z)", TEXT, re.MULTILINE | re.DOTALL)
    (code,) = re.findall(r"^```python\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    return code


def test_the_table_is_the_registrys():
    assert art.__main__.table() in TEXT and art.__main__.likenesses() in TEXT


def test_the_page_names_those_that_need_every_task():
    (named,) = re.findall(r"^\*\*Absent tasks\.\*\*.*?but for (.*?):", TEXT, re.MULTILINE | re.DOTALL)
    tasks = ["denoise_25", "derain", "dehaze"]
    lacking = art.Conditions(absent_tasks=True)
    refusing = {name for name in art.names() if art.make(name, tasks).unsupported(lacking)}
    assert set(re.findall(r"`(\w+)`", named)) == refusing


def test_art_in_a_foreign_training_loop():
    loop = code_below("In your own training loop")
    assert len([line for line in loop.splitlines() if line.strip()]) < 10
    torch.manual_seed(0)
    network = torch.nn.Conv2d(3, 3, 1)
    clean = torch.rand(12, 3, 8, 8)
    task = torch.arange(12) % 2  # the third task is absent
    scope = {
        "network": network,
        "optimizer": torch.optim.SGD(network.parameters(), lr=1.0),
        "batches": [(clean * 0.5, clean, task)] * 40,
    }
    before = (network(clean * 0.5) - clean).abs().mean()
    exec(loop, scope)
    criterion, after = scope["criterion"], (network(clean * 0.5) - clean).abs().mean()
    assert isinstance(criterion, art.Art) and criterion.weights[2] == 0
    assert after < 0.6 * before and scope["losses"][:2].lt(before).all()


def test_the_examples_conform_and_train_beside_the_others(three_task_root, tmp_path, monkeypatch, capsys):
    code = code_below("Your own")
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
