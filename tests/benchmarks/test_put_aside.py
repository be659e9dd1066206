"""``--fresh`` moves all runs of a grid aside, or none."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks.errors import UserError
from benchmarks.locks import locked
from benchmarks.run import _put_aside


@pytest.fixture
def plans(tmp_path):
    folders = [tmp_path / f"runs/three_task/airnet/{name}/0-1234" for name in ("mix", "art", "dwa", "none-yet")]
    for folder in folders[:3]:
        folder.mkdir(parents=True)
        (folder / "status").write_text("done\n")
    return [SimpleNamespace(folder=folder) for folder in folders]


def files(folder):
    return sorted(path.relative_to(folder).parts[-3:] for path in folder.rglob("status"))


def test_nothing_is_moved_while_one_run_is_busy(plans, tmp_path):
    before = files(tmp_path / "runs")
    with (
        locked(plans[2].folder / ".lock"),
        pytest.raises(UserError, match=r"another process is working on .*Nothing was"),
    ):
        _put_aside(plans, tmp_path)
    assert files(tmp_path / "runs") == before and not (tmp_path / "replaced").exists()
    _put_aside(plans, tmp_path)  # and the locks of the others were given back
    assert not files(tmp_path / "runs") and files(tmp_path / "replaced") == before


def test_runs_put_aside_stay_readable_for_all_who_read_the_output(plans, tmp_path):
    _put_aside(plans, tmp_path)
    (aside,) = (tmp_path / "replaced").iterdir()
    assert os.stat(aside).st_mode == os.stat(tmp_path / "runs").st_mode
    for plan in plans[:2]:
        plan.folder.mkdir(parents=True)
        _put_aside(plans, tmp_path)  # in the same second
    assert len(list((tmp_path / "replaced").iterdir())) == 3
    _put_aside(plans, tmp_path)  # nothing there: no empty folder
    assert len(list((tmp_path / "replaced").iterdir())) == 3


def test_where_one_cannot_be_moved_all_come_back(plans, tmp_path, monkeypatch):
    before, rename = files(tmp_path / "runs"), Path.rename

    def refusing(path, target):
        if path == plans[2].folder:
            raise OSError(18, "Invalid cross-device link")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refusing)
    with pytest.raises(UserError, match=r"dwa.* cannot be moved .*Invalid cross-device link"):
        _put_aside(plans, tmp_path)
    assert files(tmp_path / "runs") == before and not files(tmp_path / "replaced")
