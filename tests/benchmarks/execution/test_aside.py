"""``--fresh`` moves all runs of a grid aside, or none."""

import os
from pathlib import Path

import pytest

from benchmarks.config.errors import UserError
from benchmarks.execution import aside
from benchmarks.execution.locks import locked


@pytest.fixture
def folders(tmp_path):
    folders = [tmp_path / f"runs/three_task/airnet/{name}/0-1234" for name in ("mix", "art", "dwa", "none-yet")]
    for folder in folders[:3]:
        folder.mkdir(parents=True)
        (folder / "status").write_text("done\n")
    return folders


def files(folder):
    return sorted(path.relative_to(folder).parts[-3:] for path in folder.rglob("status"))


def test_nothing_is_moved_while_one_run_is_busy(folders, tmp_path):
    before = files(tmp_path / "runs")
    with (
        locked(folders[2] / ".lock"),
        pytest.raises(UserError, match=r"another process is working on .*Nothing was"),
    ):
        aside.put(folders, tmp_path)
    assert files(tmp_path / "runs") == before and not (tmp_path / "replaced").exists()
    aside.put(folders, tmp_path)  # and the locks of the others were given back
    assert not files(tmp_path / "runs") and files(tmp_path / "replaced") == before


def test_runs_put_aside_stay_readable_for_all_who_read_the_output(folders, tmp_path):
    aside.put(folders, tmp_path)
    (kept,) = (tmp_path / "replaced").iterdir()
    assert os.stat(kept).st_mode == os.stat(tmp_path / "runs").st_mode
    for folder in folders[:2]:
        folder.mkdir(parents=True)
        aside.put(folders, tmp_path)  # in the same second
    assert len(list((tmp_path / "replaced").iterdir())) == 3
    aside.put(folders, tmp_path)  # nothing there: no empty folder
    assert len(list((tmp_path / "replaced").iterdir())) == 3


def test_where_one_cannot_be_moved_all_come_back(folders, tmp_path, monkeypatch):
    before, rename = files(tmp_path / "runs"), Path.rename

    def refusing(path, target):
        if path == folders[2]:
            raise OSError(18, "Invalid cross-device link")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refusing)
    with pytest.raises(UserError, match=r"dwa.* cannot be moved .*Invalid cross-device link"):
        aside.put(folders, tmp_path)
    assert files(tmp_path / "runs") == before and not files(tmp_path / "replaced")
