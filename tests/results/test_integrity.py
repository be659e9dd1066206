"""Files of a run that are not as they were written: each kind of damage is named, and nothing else is lost."""

import os
import random
import shutil
import threading

import pandas as pd
import pytest
from synthetic_store import learn, probe, simulate, write_run

from results import Damaged, Run, State, Status
from results.archive import pack
from results.kept import kept_runs
from results.schema import DIGESTS, GUARDED


@pytest.fixture
def store(tmp_path):
    for strategy in ("mix", "art"):
        rhythm, conflict = simulate(strategy, 60), probe(strategy, 60)
        curve = learn(strategy == "art")
        write_run(tmp_path, strategy=strategy, psnr=3.0, rhythm=rhythm, conflict=conflict, curve=curve)
    return tmp_path


def run_of(store, strategy="mix"):
    return Run(next((store / f"runs/three_task/transweather/{strategy}").iterdir()))


def test_what_nobody_touched_is_whole(store):
    assert run_of(store).damage() == {} and run_of(store).legible().scores().equals(run_of(store).scores())


@pytest.mark.parametrize("name", [*GUARDED, DIGESTS])
def test_a_changed_byte_a_cut_and_a_doubled_file_are_named(store, name):
    path, chance = run_of(store).folder / name, random.Random(name)
    good = path.read_bytes()
    changed = [good[:-1], good[: len(good) // 2], good + good, b"", os.urandom(len(good))]
    for _ in range(40):
        place = chance.randrange(len(good))
        changed.append(good[:place] + bytes([good[place] ^ 1 << chance.randrange(8)]) + good[place + 1 :])
    for content in changed:
        path.write_bytes(content)
        damage = run_of(store).damage()
        assert damage, content
        assert name == DIGESTS or set(damage) == {name}
        assert all(f"{file} is damaged" in told or f"{file} is missing" in told for file, told in damage.items())
        run_of(store).legible().scores()  # what is not damaged can be read


@pytest.mark.parametrize("name", [*GUARDED, DIGESTS])
def test_a_lost_file_and_what_is_no_file_are_named(store, name):
    path = run_of(store).folder / name
    path.unlink()
    assert f"{name} is missing" in run_of(store).damage()[name]
    os.mkfifo(path)  # to be read by nobody: it would wait for ever
    assert "no regular file" in run_of(store).damage()[name]
    path.unlink()
    path.mkdir()
    assert "no regular file" in run_of(store).damage()[name]


@pytest.mark.parametrize("name", ["scores.csv", "rhythm.parquet", "curve.parquet", "config.json"])
def test_the_file_of_another_strategy_is_named(store, name):
    shutil.copy(run_of(store, "art").folder / name, run_of(store).folder / name)
    if name != "scores.csv":  # in this store the scores of both are the same
        assert list(run_of(store).damage()) == [name]


def test_readers_raise_and_tell_what_stands_out(store):
    run = run_of(store)
    scores = run.scores()
    scores.loc[4, "value"] = float("inf")
    scores.to_csv(run.folder / "scores.csv", index=False)
    with pytest.raises(Damaged, match=r"scores.csv is damaged: .*an infinite value \(CBSD68-s15 0002\)"):
        run.scores()


@pytest.mark.parametrize("told, change", [
    ("an image stands twice", lambda table: pd.concat([table, table.tail(1)])),
    ("a psnr outside", lambda table: table.assign(value=table["value"] * 1e6)),
    ("a ssim outside", lambda table: table.assign(value=table["value"].where(table["metric"] != "ssim", 2))),
    ("rows without", lambda table: table.assign(image=None)),
    ("lacks the column value", lambda table: table.drop(columns="value")),
    ("other things than numbers", lambda table: table.assign(value="many")),
])  # fmt: skip
def test_without_digests_values_are_looked_at(store, told, change):
    run = run_of(store)
    (run.folder / DIGESTS).unlink()  # as of an older version
    change(run.scores()).to_csv(run.folder / "scores.csv", index=False)
    assert told in run.damage()["scores.csv"]


def test_a_kill_between_digest_and_file_leaves_a_whole_run(store, monkeypatch):
    run, replace = run_of(store), os.replace
    moved = []

    def killed(self, target):
        if str(target).endswith(DIGESTS):
            return replace(self, target)
        moved.append(target)
        raise KeyboardInterrupt

    monkeypatch.setattr("pathlib.Path.replace", killed)
    for started in (run, Run(store / "fresh")):
        with pytest.raises(KeyboardInterrupt):
            started.write_status(Status(State.RUNNING))
    assert len(moved) == 2
    assert run.damage() == {} and run.status.state == "done" and Run(store / "fresh").damage() == {}


def test_a_reader_beside_a_writer_sees_no_damage(store):
    run, ended, found = run_of(store), threading.Event(), []

    def look():
        while not ended.is_set():
            found.append(run.damage())

    reader = threading.Thread(target=look)
    reader.start()
    for number in range(60):
        run.write_status(Status(State.DONE, f"word {number}"))
    ended.set()
    reader.join()
    assert found and not any(found)


def test_damage_of_kept_runs_is_named(store, tmp_path):
    (run_of(store, "art").folder / "rhythm.parquet").write_bytes(b"PAR1")
    count, left_out = pack(store, "three_task", kept := tmp_path / "kept")
    assert count == 1 and "rhythm.parquet is damaged" in left_out[0] and "art" in left_out[0]
    for name in ("runs.json", "scores.parquet", "rhythm.parquet", "conflicts.parquet", "curve.parquet"):
        good = (kept / name).read_bytes()
        for content in (good[:-9], good[:99] + bytes([good[99] ^ 1]) + good[100:], None):
            (kept / name).unlink() if content is None else (kept / name).write_bytes(content)
            if (content, name) != (None, "runs.json"):
                with pytest.raises(Damaged, match=f"{name} is (damaged|missing)"):
                    kept_runs(kept)
            (kept / name).write_bytes(good)
    assert len(kept_runs(kept)) == 1


def test_an_archive_tells_nobody_where_its_files_lay(tmp_path):
    config = {
        "setting_place": "/somewhere/lovelace/my sets/harbour.toml",
        "data.root": "/somewhere/lovelace/data",
        "data_sets": {"Harbour": {"root": "/somewhere/lovelace/harbour", "input": "{key}.png"}},
        "train.init": r"C:\somewhere\lovelace\weights.pth",
        "origin": {"folder": "/somewhere/lovelace/results/0-beef", "run": "beef", "step": 3},
    }
    write_run(tmp_path, psnr=3.0, config=config)
    pack(tmp_path, "three_task", kept := tmp_path / "kept")
    assert "lovelace" not in (kept / "runs.json").read_text()
    (run,) = kept_runs(kept)
    found = run.record.config
    assert (found.setting_place, found.train.init, found.origin.folder) == ("harbour.toml", "weights.pth", "0-beef")


def test_a_place_that_is_no_path_stays(tmp_path):
    write_run(tmp_path, psnr=3.0, config={"setting_place": "harbour"})
    pack(tmp_path, "three_task", kept := tmp_path / "kept")
    assert kept_runs(kept)[0].record.config.setting_place == "harbour"
