"""Runs kept in a few small files (:mod:`results.archive`), read as if they were run folders."""

from __future__ import annotations

import io
import json
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from pydantic import Field, JsonValue

from results import integrity, schema
from results.integrity import Damaged
from results.records import DataRecord, Environment, Record, RunRecord, Status
from results.store import Run

if TYPE_CHECKING:
    import pandas as pd

RUNS = "runs.json"
TABLES = {
    "scores": schema.SCORE_COLUMNS,
    "rhythm": schema.RHYTHM_COLUMNS,
    "conflicts": schema.CONFLICT_COLUMNS,
    "curve": schema.CURVE_COLUMNS,
}


def digest(tables: JsonValue, entries: list[JsonValue]) -> str:
    """Of an archive: of the digests of its tables, and its runs."""
    return integrity.digest(json.dumps([tables, entries], sort_keys=True).encode())


class Entry(Record):
    """A run in ``runs.json``; its place there is the number of its rows in the tables."""

    folder: str
    status: list[str]  # state and words
    config: RunRecord = Field(alias=schema.CONFIG)
    environment: Environment = Field(Environment(), alias=schema.ENVIRONMENT)
    data: list[DataRecord] = Field([], alias=schema.DATA)

    def content(self) -> dict[str, JsonValue]:
        """What is written."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)


class KeptRun(Run):
    """A run kept by :func:`results.archive.pack`; it has no files of its own."""

    def __init__(self, archive: Path, number: int, entry: Entry):
        super().__init__(archive / PurePosixPath(entry.folder))
        self._archive, self._number, self._entry = archive, number, entry

    def damage(self) -> dict[str, str]:
        """Nothing: :func:`kept_runs` has looked at the whole archive."""
        return {}

    def legible(self) -> Run:
        """Itself: nothing of it is damaged."""
        return self

    @property
    def record(self) -> RunRecord:
        """Configuration and identities."""
        return self._entry.config

    @property
    def environment(self) -> Environment:
        """What it was computed with."""
        return self._entry.environment

    @property
    def data(self) -> list[DataRecord]:
        """The sets it used."""
        return self._entry.data

    @property
    def status(self) -> Status:
        """Its state."""
        return Status.of(*self._entry.status)

    def scores(self) -> pd.DataFrame:
        """Per-image scores."""
        return self._kept("scores")

    def rhythm(self) -> pd.DataFrame:
        """Its rhythm."""
        return self._kept("rhythm")

    def conflicts(self) -> pd.DataFrame:
        """Probed conflicts."""
        return self._kept("conflicts")

    def curve(self) -> pd.DataFrame:
        """Its validation curve."""
        return self._kept("curve")

    def _kept(self, name: str) -> pd.DataFrame:
        import pandas as pd

        path = self._archive / f"{name}.parquet"
        found = _tables(path, path.stat().st_mtime_ns if path.exists() else 0).get(self._number)
        return pd.DataFrame(columns=list(TABLES[name])) if found is None else found


@lru_cache(maxsize=8)
def _tables(path: Path, changed: int) -> dict[int, pd.DataFrame]:
    """The rows, by run, of a table that was ``changed`` last at this time; 0 where there is none."""
    import pandas as pd

    if not changed:
        return {}
    columns = list(TABLES[path.stem])
    table = pd.read_parquet(io.BytesIO(path.read_bytes()))  # pyarrow opens no path that is not UTF-8
    if path.stem == "scores" and "pixels" not in table:  # kept by an older version
        table["pixels"] = ""
    groups = table.groupby("run", sort=False)
    return {int(str(number)): rows[columns].reset_index(drop=True) for number, rows in groups}


def kept_runs(folder: Path, setting: str | None = None) -> list[KeptRun]:
    """The runs kept in ``folder``, of one setting or of all; none where it keeps no runs.

    Raises:
        Damaged: where a file is not as it was written.
    """
    path = folder / RUNS
    found = integrity.content(path)
    if found is None:
        return []
    content = integrity.parsed(path, found)
    tables, entries = content.get("tables"), content.get("runs")
    if not (isinstance(tables, dict) and isinstance(entries, list)):
        raise Damaged(path, "it holds no runs; one of an older version is to be made anew by results.archive")
    if digest(tables, entries) != content.get("digest"):
        raise Damaged(path, "it is not as it was written")
    for name, recorded in tables.items():
        table = integrity.content(folder / name)
        if table is None or integrity.digest(table) != recorded:
            raise Damaged(folder / name, "it is not as it was written" if table else integrity.GONE)
    runs = [KeptRun(folder, number, integrity.record(Entry, path, entry)) for number, entry in enumerate(entries)]
    return [run for run in runs if setting in (None, run.record.config.setting)]
