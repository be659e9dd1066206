"""An archive is whole, or what is wrong with it is named; it carries weights, and its scores come out again."""

import json
import os
import re
import shutil
import zipfile
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from benchmarks.config.configuration import resolve
from benchmarks.config.sections import DataConfig
from benchmarks.config.settings import FOLDER, load
from benchmarks.execution.job import ExecutionContext, execute
from benchmarks.execution.plan import Plan
from benchmarks.run import parser as run_parser
from reports.build import _parsed as build_parsed
from results.archive import main as keep
from results.archive import write_runs
from results.kept import kept_runs
from results.verify import main as verify
from results.verify import parser

EMA = Path(__file__).parents[2] / "results" / "measured" / "ema"


@pytest.fixture(scope="module")
def four(tmp_path_factory):
    """Four runs of those that are kept in git: mix and art, seeds 0 and 1."""
    folder = tmp_path_factory.mktemp("four")
    entries = [(number, entry, entry["config.json"]) for number, entry in enumerate(entries_of(EMA))]
    chosen = {
        number: entry
        for number, entry, record in entries
        if record["config"]["baseline"] == "nafnet" and record["config"]["seed"] < 2 and len(record["overrides"]) == 1
    }
    for path in EMA.glob("*.parquet"):
        table = pd.read_parquet(path)
        table = table[table["run"].isin(list(chosen))]
        table.assign(run=table["run"].map(list(chosen).index).astype(int)).to_parquet(folder / path.name, index=False)
    write_runs(folder, list(chosen.values()))
    return folder


@pytest.fixture
def archive(four, tmp_path):
    """A copy of them."""
    return Path(shutil.copytree(four, tmp_path / "an archive"))


@pytest.fixture(scope="module")
def output(three_task_root, tmp_path_factory):
    """Runs of one step: mix and art."""
    folder = tmp_path_factory.mktemp("runs")
    train(load("three_task"), ("mix", "art"), three_task_root, folder)
    return folder


def train(setting, strategies, root, folder):
    """Train for one step."""
    data, small = DataConfig(source="files", root=str(root)), ["train.steps=1", "train.batch=5", "train.patch=64"]
    for strategy in strategies:
        planned = Plan.of(setting, resolve(setting, "nafnet", strategy, data=data, overrides=small), folder)
        execute(planned, ExecutionContext(folder / "cache", "cpu", "none", "a test"))
        assert planned.status.state == "done", planned.status.reason


def entries_of(archive):
    return json.loads((archive / "runs.json").read_text("utf-8"))["runs"]


def edited(archive, change):
    """Let ``change`` edit the entries, and make all digests anew, as one who wants to deceive would."""
    entries = entries_of(archive)
    write_runs(archive, change(entries) or entries)


def scored(archive, change):
    """The same with the table of scores."""
    table = pd.read_parquet(archive / "scores.parquet")
    change(table).to_parquet(archive / "scores.parquet", index=False)
    edited(archive, lambda entries: None)


def without(archive, number):
    """Without one run, and with all digests made anew."""
    for path in archive.glob("*.parquet"):
        table = pd.read_parquet(path)
        table = table[table["run"] != number]
        table.assign(run=table["run"] - (table["run"] > number)).to_parquet(path, index=False)
    edited(archive, lambda entries: entries[:number] + entries[number + 1 :])


def put(entries, number, *path_and_value):
    *path, last, value = path_and_value
    place = entries[number]
    for key in path:
        place = place[key]
    place[last] = value


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def number_of(archive, strategy):
    strategies = [entry["config.json"]["config"]["strategy"] for entry in entries_of(archive)]
    return strategies.index(strategy)


def as_another(archive, name, content):
    (archive / name).write_bytes(content)
    edited(archive, lambda entries: None)


BROKEN = {
    "cut runs": (lambda a: cut(a / "runs.json"), "runs.json is damaged: it is no JSON"),
    "cut table": (lambda a: cut(a / "rhythm.parquet"), "rhythm.parquet is damaged: it is not as it was written"),
    "lost table": (lambda a: (a / "scores.parquet").unlink(), "scores.parquet is missing"),
    "no table": (lambda a: as_another(a, "scores.parquet", b"PK\3\4zip"), "it cannot be read as a table"),
    "other columns": (lambda a: scored(a, lambda t: t.drop(columns="value")), "it lacks the column value"),
    "no text": (lambda a: scored(a, lambda t: t.assign(image=[[1]] * len(t))), "image holds other things than text"),
    "strange rows": (lambda a: scored(a, lambda t: t.assign(run=t["run"] + 1)), "rows of runs that runs.json lacks"),
    "high score": (lambda a: scored(a, lambda t: t.assign(value=t["value"] * 99)), "scores: a psnr outside -200"),
    "lost image": (lambda a: scored(a, lambda t: t[1:]), "Photos-s15: images without psnr"),
    "other input": (
        lambda a: scored(a, lambda t: t.assign(input_value=t["input_value"] + t["run"].eq(3))),
        "other images than those",
    ),
    "lost mix": (lambda a: without(a, number_of(a, "mix")), "no run of mix with the seed, network and data of"),
    "unknown key": (
        lambda a: edited(a, lambda e: put(e, 0, "config.json", "config", "train", "momentum", 0.9)),
        "configuration: train.momentum: unknown key",
    ),
    "unknown fact": (
        lambda a: edited(a, lambda e: put(e, 0, "environment.json", "luck", 1)), "unknown key luck in the environment"
    ),
    "other rate": (
        lambda a: edited(a, lambda e: put(e, 3, "config.json", "config", "train", "lr", 0.5)), "do not give their hash"
    ),
    "other table": (
        lambda a: edited(a, lambda e: put(e, 3, "config.json", "pair", "12345678")), "do not give their pair"
    ),
    "unknown strategy": (
        lambda a: edited(a, lambda e: put(e, 0, "config.json", "config", "strategy", "artt")), "did you mean 'art'?"
    ),
    "unknown network": (
        lambda a: edited(a, lambda e: put(e, 0, "config.json", "config", "baseline", "resnet")),
        "resnet: no such network",
    ),
    "newer version": (
        lambda a: edited(a, lambda e: put(e, 0, "config.json", "store", 99)), "runs of a newer version of this project"
    ),
    "older version": (lambda a: (a / "runs.json").write_text("{}"), "it holds no runs; one of an older version"),
    "other photographs": (
        lambda a: edited(a, lambda e: [put(e, n, "data.json", -1, "digest", f"p{0:016}") for n in range(4)] and e),
        "test images that are not this version's: Photos-haze",
    ),
    "no such set": (
        lambda a: edited(a, lambda e: put(e, 0, "data.json", e[0]["data.json"][:-1])), "that the run does not name"
    ),
    "place outside": (
        lambda a: edited(a, lambda e: put(e, 0, "folder", "runs/../../../etc/0-1")), "it is no place of a run"
    ),
    "one place": (lambda a: edited(a, lambda e: put(e, 1, "folder", e[0]["folder"])), "stands in it twice"),
    "state": (lambda a: edited(a, lambda e: put(e, 1, "status", ["asleep", ""])), "run 2 of 4: it holds no Entry: "),
    "no role": (lambda a: edited(a, lambda e: put(e, 1, "data.json", 0, "role", "play")), "unknown role or origin"),
    "no digest": (lambda a: edited(a, lambda e: put(e, 1, "data.json", 0, "digest", "")), "no digest of its train"),
    "link out": (
        lambda a: ((a / "curve.parquet").unlink(), (a / "curve.parquet").symlink_to(EMA / "curve.parquet")),
        "links that leave the folder (curve.parquet)",
    ),
    "circle": (lambda a: (a / "reports").symlink_to(a / "reports"), "links that leave the folder (reports)"),
    "pipe": (lambda a: ((a / "runs.json").unlink(), os.mkfifo(a / "runs.json")), "it is no regular file"),
}  # fmt: skip


def test_what_is_kept_in_git_is_whole(archive, capsys):
    assert verify([str(EMA)]) == 0
    told = capsys.readouterr().out
    assert "32 runs of three_task" in told and "This archive is whole." in told
    assert verify([str(archive)]) == 0
    told = capsys.readouterr().out
    assert "4 runs of three_task" in told and "This archive is whole." in told and "note" not in told


@pytest.mark.parametrize("kind", BROKEN)
def test_what_is_wrong_is_named(archive, kind, capsys):
    spoil, message = BROKEN[kind]
    spoil(archive)
    assert verify([str(archive)]) == 1
    told = capsys.readouterr()
    assert message in told.out and "problem" in told.out and "Traceback" not in told.err
    assert "This archive is whole" not in told.out


def test_what_a_stranger_writes_cannot_look_like_a_verdict(archive, capsys):
    words = "\n  This archive is whole.\x1b[2J"
    edited(archive, lambda e: put(e, 0, "config.json", "config", "evaluate", "protocol", words))
    assert verify([str(archive)]) == 1
    told = capsys.readouterr().out
    assert "  This archive is whole." not in told.splitlines() and "\x1b[2J" not in told


def test_a_table_of_endless_rows_is_not_unpacked(archive, monkeypatch, capsys):
    monkeypatch.setattr("results.integrity.MOST_ROWS", 100)
    assert verify([str(archive)]) == 1
    assert "rows are too many" in capsys.readouterr().out


def test_what_is_no_folder_of_runs_is_a_mistake(archive, tmp_path, capsys):
    packed = tmp_path / "a.zip"
    with zipfile.ZipFile(packed, "w") as file:
        file.writestr("../runs.json", "{}")
    (tmp_path / "empty").mkdir()
    for place, message in ((packed, "is no folder; unpack it"), (tmp_path / "empty", "holds neither an archive"),
                           (tmp_path / "nowhere", "is not there")):  # fmt: skip
        assert verify([str(place)]) == 2
        assert message in capsys.readouterr().err
    assert verify([str(archive), "--rescore"]) == 2
    assert "no run in" in capsys.readouterr().err


def test_an_output_folder_with_its_checkpoints(output, tmp_path, capsys):
    assert verify([str(output), "--rescore", "1", "--device", "cpu"]) == 0
    told = capsys.readouterr().out
    assert "scored again: 1 run; every image as recorded" in told and "This output folder is whole." in told
    other = Path(shutil.copytree(output, tmp_path / "other"))
    (run,) = other.glob("runs/*/*/mix/*")
    shutil.rmtree(run)
    (art,) = other.glob("runs/*/*/art/*")
    (art / "scores.csv").write_bytes((art / "scores.csv").read_bytes()[:-9])
    assert verify([str(other)]) == 1
    told = capsys.readouterr().out
    assert "scores.csv is damaged" in told and "no run of mix" in told
    assert "scores of 0 images" not in told  # what is damaged is not looked into


@pytest.fixture
def kept(output, tmp_path, capsys):
    """An archive and its weights."""
    folder, weights = tmp_path / "kept", tmp_path / "weights"
    assert keep([str(output), str(folder), "--setting", "three_task", "--weights", str(weights)]) == 0
    assert "Weights of 2 of them" in capsys.readouterr().out
    return folder, weights


def test_weights_beside_the_archive_give_its_scores_again(kept, output, three_task_root, tmp_path, capsys):
    folder, weights = kept
    command = [str(folder), "--weights", str(weights), "--data-root", str(three_task_root), "--rescore"]
    assert verify(command) == 0
    assert "scored again: 2 runs; every image as recorded" in capsys.readouterr().out
    (checkpoint,) = output.glob("runs/*/*/art/*/checkpoint.pt")
    (slim,) = weights.glob("runs/*/*/art/*.pt")
    assert slim.stat().st_size < checkpoint.stat().st_size / 2  # without the optimizer's moments
    scored(folder, lambda table: table.assign(value=table["value"] + 0.02 * table["run"].eq(1)))
    assert verify(command) == 1
    told = capsys.readouterr().out
    assert "restored images with another psnr than recorded, by up to 0.02" in told
    assert keep([str(output), str(folder), "--setting", "three_task", "--add"]) == 0  # what is there stays
    assert all(run.entry.weights for run in kept_runs(folder))


def test_the_file_of_a_setting_from_outside_lets_its_runs_be_checked(three_task_root, tmp_path, capsys):
    mine, weights, output = tmp_path / "mine.toml", tmp_path / "weights", tmp_path / "output"
    shutil.copy(FOLDER / "three_task.toml", mine)
    train(load(str(mine)), ["mix"], three_task_root, output)
    assert keep([str(output), str(tmp_path / "kept"), "--setting", "mine", "--weights", str(weights)]) == 0
    command = [str(tmp_path / "kept"), "--weights", str(weights), "--data-root", str(three_task_root), "--rescore"]
    assert verify(command) == 0
    told = capsys.readouterr().out
    assert "unknown (--settings mine.toml)" in told and "not scored again: its setting is not known" in told
    assert verify([*command, "--settings", str(mine)]) == 0
    told = capsys.readouterr().out
    assert "scored again: 1 run; every image as recorded" in told and "unknown" not in told
    mine.write_text(mine.read_text("utf-8").replace("Rain100L", "Rain100H"), "utf-8")
    assert verify([*command, "--settings", str(mine)]) == 1
    assert "the setting mine of --settings says other things" in capsys.readouterr().out
    assert verify([*command, "--settings", str(tmp_path / "no.toml")]) == 2
    assert "no.toml" in capsys.readouterr().err


def test_the_images_of_runs_on_files_are_those_of_a_folder(kept, three_task_root, tmp_path, capsys):
    folder, _ = kept
    command = [str(folder), "--data-root"]
    assert verify([*command, str(three_task_root)]) == 0
    other = Path(shutil.copytree(three_task_root, tmp_path / "other"))
    name = next((other / "CBSD68").rglob("*.*"))
    with Image.open(name) as picture:
        changed = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    changed.save(name)
    assert verify([*command, str(other)]) == 1
    assert f"test images that are not those in {other}: CBSD68-s15, CBSD68-s25" in capsys.readouterr().out
    assert verify([*command, str(tmp_path)]) == 2
    assert "cannot be used" in capsys.readouterr().err


def test_the_commands_of_the_page_on_submissions_are_understood():
    page = (EMA.parents[1] / "SUBMITTING.md").read_text("utf-8")
    blocks = re.findall(r"```\n(.*?)```", page, re.DOTALL)
    lines = [line.split("#")[0].split() for block in blocks for line in block.splitlines()]
    understood = {
        "results.verify": parser().parse_args,
        "benchmarks.run": run_parser().parse_args,
        "reports.build": build_parsed,
    }
    told = [line[2] for line in lines if line[2] in understood and understood[line[2]](line[3:])]
    assert sorted(set(told)) == sorted(understood)


def test_other_weights_and_places_are_named(kept, output, tmp_path, capsys):
    folder, weights = kept
    one, two = sorted(weights.glob("runs/*/*/*/*.pt"))
    shutil.copy(one, two)
    assert verify([str(folder), "--weights", str(weights)]) == 1
    assert "weights that are not those of the digest" in capsys.readouterr().out
    two.unlink()
    assert verify([str(folder), "--weights", str(weights)]) == 1
    assert f"weights that are not in {weights}" in capsys.readouterr().out
    assert verify([str(folder)]) == 0
    assert "name their folder by --weights" in capsys.readouterr().out
    assert verify([str(folder), "--weights", str(tmp_path / "no")]) == 2
    inside = ["--setting", "three_task", "--weights", str(folder / "weights")]
    assert keep([str(output), str(folder), *inside]) == 2
    assert "lies in the archive" in capsys.readouterr().err


def test_without_the_packages_above_files_are_checked_all_the_same(archive, monkeypatch, capsys):
    monkeypatch.setattr("results.above.MODULE", "benchmarks_that_are_not_there")
    assert verify([str(archive)]) == 0
    assert "not checked" in capsys.readouterr().out
    cut(archive / "scores.parquet")
    assert verify([str(archive)]) == 1
