"""Runs that start from given weights, and finished runs that are trained on, through the real command."""

import json
import shutil

import pytest
import torch
from small_network import SMALL

from benchmarks.run import main
from benchmarks.scoring.weights import load_run
from results import find_runs

FLAT = ["train.schedule=constant", "train.batch=5", "train.patch=16"]


@pytest.fixture(scope="module")
def output(few_embedded, tmp_path_factory):
    return tmp_path_factory.mktemp("a folder") / "out"


def run(output, *more, strategies=("mix", "art"), network=SMALL, overrides=()):
    command = ["--setting", "three_task", "--baselines", network, "--strategies", *strategies, "--jobs", "1"]
    command += ["--tracking-uri", "none", "--output", str(output), "--device", "cpu"]
    return main([*command, "--set", *FLAT, *overrides, *more])


def go_on(output, *runs, overrides=("train.steps=8",), more=()):
    command = ["--continue", *map(str, runs), "--jobs", "1", "--tracking-uri", "none", "--output", str(output)]
    return main([*command, "--device", "cpu", *more, *(["--set", *overrides] if overrides else [])])


def of(output, strategy="mix", **wanted):
    found = [one for one in find_runs(output, "three_task", {"strategy": [strategy]}) if one.status.state == "done"]
    configs = [(one, one.record.config) for one in found]
    (chosen,) = [
        one for one, config in configs
        if (config.train.steps, bool(config.origin.run), bool(config.train.weights))
        == (wanted.get("steps", 4), wanted.get("continued", False), wanted.get("given", False))
    ]  # fmt: skip
    return chosen


def weights(run):
    return load_run(run.folder).network.state_dict()


@pytest.fixture(scope="module")
def finished(output):
    assert run(output, overrides=["train.steps=4", "data.validation=2"]) == 0
    return output


def test_at_a_constant_rate_a_continued_run_is_the_longer_one_bit_for_bit(finished, capsys):
    parents = [of(finished, name).folder for name in ("mix", "art")]
    assert run(finished, overrides=["train.steps=8", "data.validation=2"]) == 0
    assert go_on(finished, *parents, more=["--dry-run"]) == 0
    told = capsys.readouterr().out
    assert "2 runs, 2 to do" in told and "Continued after step 4, up to 8: the schedule (constant) is that of 8" in told
    assert go_on(finished, *parents) == 0
    told = capsys.readouterr().out
    assert told.index("0 done already") < told.index("Continued after step 4") < told.index("Gains over mix")
    assert "trained on from the end of a finished run, after step 4, up to 8" in told
    for name in ("mix", "art"):
        longer, more = of(finished, name, steps=8), of(finished, name, steps=8, continued=True)
        assert all(value.equal(weights(longer)[key]) for key, value in weights(more).items()), name
        assert more.rhythm().equals(longer.rhythm())
        assert list(more.curve()["step"].unique()) == list(longer.curve()["step"].unique())
        assert more.record.cohort != longer.record.cohort
        assert {more.record.hash, longer.record.hash, of(finished, name).record.hash} == {
            json.loads((one.folder / "config.json").read_text())["hash"] for one in (more, longer, of(finished, name))
        }
    pair = {of(finished, name, steps=8, continued=True).record.pair for name in ("mix", "art")}
    assert len(pair) == 1  # so that art has a gain over mix
    assert go_on(finished, *parents) == 0 and "2 runs, 2 done already" in capsys.readouterr().out


def test_an_interrupted_continuation_resumes_without_the_run_it_is_from(finished, tmp_path, monkeypatch, capsys):
    from benchmarks.training.loop import Training

    parent, whole = of(finished), tmp_path / "out"
    assert go_on(whole, parent.folder, overrides=["train.steps=10", "train.checkpoint_every=1"]) == 0
    take = Training._take_step

    def stopped(self):
        if self.step == 7:
            raise KeyboardInterrupt
        take(self)

    monkeypatch.setattr(Training, "_take_step", stopped)
    stopping, again = tmp_path / "again", ["train.steps=10", "train.checkpoint_every=1"]
    assert go_on(stopping, parent.folder, overrides=again) != 0
    monkeypatch.undo()
    assert go_on(stopping, parent.folder, overrides=again) == 0
    ours, theirs = (of(folder, steps=10, continued=True) for folder in (whole, stopping))
    assert ours.folder.name == theirs.folder.name and ours.rhythm().equals(theirs.rhythm())
    assert all(value.equal(weights(ours)[key]) for key, value in weights(theirs).items())


def test_the_same_weights_in_a_file_elsewhere_or_a_run_are_the_same_run(finished, tmp_path, capsys):
    parent = of(finished)
    wrapped = {"state_dict": {f"module.{key}": value for key, value in weights(parent).items()}, "epoch": 3}
    torch.save(wrapped, tmp_path / "pre trained.pth")
    given = ["train.steps=4", f"train.init={tmp_path / 'pre trained.pth'}"]
    assert run(finished, overrides=given) == 0
    told = capsys.readouterr().out
    assert "Started from the weights in" in told and "(pre trained.pth)" in told
    started = of(finished, given=True)
    first = started.rhythm().query("step == 1")["loss"].tolist()
    assert first == of(finished, "art", given=True).rhythm().query("step == 1")["loss"].tolist()
    assert first != parent.rhythm().query("step == 1")["loss"].tolist()
    assert started.record.cohort != parent.record.cohort
    (tmp_path / "moved").mkdir()
    shutil.move(tmp_path / "pre trained.pth", tmp_path / "moved/weights.pth")
    for place in (tmp_path / "moved/weights.pth", parent.folder):
        assert run(finished, "--dry-run", overrides=["train.steps=4", f"train.init={place}"]) == 0
        assert "2 runs, 0 to do" in capsys.readouterr().out
    changed = {key: value + 1 for key, value in weights(parent).items()}
    torch.save(changed, tmp_path / "moved/weights.pth")
    assert run(finished, "--dry-run", overrides=["train.steps=4", f"train.init={tmp_path / 'moved/weights.pth'}"]) == 0
    assert "2 runs, 2 to do" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("overrides", "more", "sentence"),
    [
        (["train.steps=4"], [], "has done 4 steps; train.steps=4 is no more than that"),
        ([], [], "--continue needs to know to how many steps"),
        (["train.steps=8", "train.lr=1"], [], "train.lr would make another training"),
        (["train.steps=8"], ["--setting", "five_task"], "is a run of three_task, not of --setting five_task"),
        (["train.steps=8"], ["--baselines", "nafnet"], "not of --baselines nafnet"),
        (["train.steps=8"], ["--budget", "cost"], "leave out --budget"),
        (["train.steps=8"], ["--data-root", "nowhere"], "is a run on embedded data"),
    ],
)
def test_what_cannot_be_continued_is_said_before_training(finished, overrides, more, sentence, capsys):
    assert go_on(finished, of(finished).folder, overrides=overrides, more=more) == 2
    assert sentence in capsys.readouterr().err


def test_runs_that_are_none_or_not_finished_are_no_start(finished, tmp_path, capsys):
    shutil.copytree(of(finished).folder, tmp_path / "begun")
    (tmp_path / "begun/digests.json").unlink()
    (tmp_path / "begun/status").write_text("running\n")
    assert go_on(finished, tmp_path / "begun") == 2
    assert run(finished, overrides=[f"train.init={tmp_path / 'begun'}"]) == 2
    assert capsys.readouterr().err.count("is not finished (status: running)") == 2
    assert go_on(finished, tmp_path) == 2 and run(finished, overrides=[f"train.init={tmp_path / 'no.pt'}"]) == 2
    told = capsys.readouterr().err
    assert "is not the folder of a run" in told and "no.pt is not there; name a checkpoint file" in told
    assert run(finished, overrides=[f"train.init={of(finished).folder.parent / '0-*'}"]) == 2
    assert "0-* is not there; behind an = shells fill in no *" in capsys.readouterr().err
    assert run(finished, network="nafnet", overrides=[f"train.init={of(finished).folder}"]) == 2
    assert run(finished, network="nafnet", overrides=[f"train.init={of(finished).folder / 'checkpoint.pt'}"]) == 2
    told = capsys.readouterr().err
    assert f"is a run of {SMALL}, size tiny, not of nafnet" in told and "unexpected first.weight" in told
