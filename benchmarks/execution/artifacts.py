"""Files of runs as artifacts of MLflow: further names of the same files where the store lies beside them, else copies.

An embedded store keeps the place of artifacts as absolute paths. :func:`relocate` mends them where the output folder
was moved or copied.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import url2pathname

if TYPE_CHECKING:
    from mlflow import MlflowClient

_BUSY = 30  # seconds that another writer may take


def put(client: MlflowClient, identifier: str, files: Iterable[Path], folder: str = "", linked: bool = False) -> None:
    """Show files as artifacts of an MLflow run.

    Args:
        client: of the store.
        identifier: of the MLflow run.
        files: those that are there are shown.
        folder: among the artifacts, in which they stand.
        linked: as further names of the same files (hard links: MLflow refuses symbolic ones that lead elsewhere), where
            the file system has such; nothing is on the disk twice, and who deletes an artifact deletes no run's file.
    """
    place = _local(client.get_run(identifier).info.artifact_uri) if linked else None
    for path in files:
        if path.exists() and not (place and _link(path, place / folder / path.name)):
            client.log_artifact(identifier, str(path), folder or None)


def _local(address: str | None) -> Path | None:
    """The folder of a ``file:`` address."""
    parts = urlsplit(address or "")
    return Path(url2pathname(parts.path)) if parts.scheme == "file" else None


def _link(path: Path, target: Path) -> bool:
    """Give the file that further name; whether that worked."""
    new = target.with_name(f".{target.name}.new")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists() and target.samefile(path):
            return True
        new.unlink(missing_ok=True)
        os.link(path.resolve(), new)
        new.replace(target)
    except OSError:  # another file system, or one without links
        with suppress(OSError):
            new.unlink(missing_ok=True)
        return False
    return True


def relocate(database: Path, experiment: str, place: str) -> bool:
    """Let an embedded store find its artifacts at ``place``, where its output folder is now.

    Args:
        database: the SQLite file.
        experiment: whose artifacts lie elsewhere, as the store has it.
        place: ``file:`` address of the folder of artifacts.

    Returns:
        Whether something was changed.

    Raises:
        sqlite3.Error: where the store refuses.
    """
    with closing(sqlite3.connect(database, timeout=_BUSY)) as store, store:
        row = store.execute("SELECT artifact_location FROM experiments WHERE name = ?", (experiment,)).fetchone()
        before = row[0] if row else None
        if not before or before == place:
            return False
        for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri")):
            below = f"substr({column} || '/', 1, ?) = ? || '/'"
            store.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE {below}",
                (place, len(before) + 1, len(before) + 1, before),
            )
        return True
