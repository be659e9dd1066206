"""Runs that are to be done again are put aside (``--fresh``, or other training images)."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.config.errors import UserError
from benchmarks.execution.locks import Busy, locked


def put(folders: Sequence[Path], output: Path) -> None:
    """Move runs to ``<output>/replaced``, so that nothing computed is lost: all of them, or none where one is busy.

    Args:
        folders: of the runs, below ``<output>/runs``; those that do not exist are left out.
        output: the output folder.

    Raises:
        UserError: where another process works on one of the runs, or one cannot be moved; nothing was moved then.
    """
    present = [folder for folder in folders if folder.exists()]
    with ExitStack() as held:
        try:
            for folder in present:
                held.enter_context(locked(folder / ".lock", wait=False))
        except Busy as busy:
            raise UserError(f"{busy}; stop it, or wait for it. Nothing was moved.") from None
        if os.name == "nt":  # where a folder with an open file cannot be moved
            held.close()
        if present:
            _move(present, output / "runs", _new_folder(output / "replaced"))


def _new_folder(parent: Path) -> Path:
    """A folder named by the time; clocks may go back, and others may do the same at once."""
    number = 0
    while True:
        folder = parent / (time.strftime("%Y%m%d-%H%M%S") + (f"-{number}" if number else ""))
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            number += 1


def _move(folders: Sequence[Path], top: Path, aside: Path) -> None:
    """Move run folders from below ``top`` to the same places below ``aside``; where one refuses, all come back."""
    moved: list[tuple[Path, Path]] = []
    try:
        for folder in folders:
            target = aside / folder.relative_to(top)
            target.parent.mkdir(parents=True, exist_ok=True)
            folder.rename(target)
            moved.append((folder, target))
    except OSError as error:
        for folder, target in moved:
            target.rename(folder)
        reason = error.strerror or error
        raise UserError(
            f"{folders[len(moved)]} cannot be moved to {aside} ({reason}); all runs are where they were."
        ) from error
