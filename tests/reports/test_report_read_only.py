"""A disk that cannot be written: one sentence and exit code 2, before anything is computed."""

import errno
import os

import pytest
from synthetic_store import write_run

from reports import build, published
from results import archive


@pytest.mark.parametrize("command", ["build", "published", "archive"])
def test_a_read_only_disk_is_one_sentence(command, tmp_path, monkeypatch, capsys):
    write_run(tmp_path, psnr=3.0)

    def refused(*_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("tempfile.mkstemp", refused)
    known = ["--setting", "three_task"]
    calls = {
        "build": lambda: build.main([*known, "--output", str(tmp_path)]),
        "published": lambda: published.main([*known, "--output", str(tmp_path)]),
        "archive": lambda: archive.main([str(tmp_path), str(tmp_path / "kept"), *known]),
    }
    assert calls[command]() == 2
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1 and "cannot be written (Read-only file system);" in told[0] and str(tmp_path) in told[0]
