"""Runs kept in a few small files (:mod:`results.archive`), read as if they were run folders."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from pydantic import Field, JsonValue, field_validator

from results import integrity, schema
from results.integrity import Damaged
from results.records import WRITTEN, DataRecord, Environment, Record, RunRecord, Status
from results.store import Run

if TYPE_CHECKING:
    import pandas as pd

RUNS = "runs.json"
DEPTH = 5  # of a run's folder below the output folder
_LEAVES = re.compile(r"^\.*$|[\\:\x00-\x1f]")  # of a part of a path: it may lead elsewhere
TABLES = {
    "scores": schema.SCORE_COLUMNS,
    "rhythm": schema.RHYTHM_COLUMNS,
    "conflicts": schema.CONFLICT_COLUMNS,
    "curve": schema.CURVE_COLUMNS,
}


def digest(tables: JsonValue, entries: list[JsonValue]) -> str:
    """Of an archive: of the digests of its tables, and its runs."""
    return integrity.digest(json.dumps([tables, entries], sort_keys=True).encode())


class Weights(Record):
    """The final weights of a run, a file outside the archive (:func:`results.archive.pack`).

    Attributes:
        sha256: of the file.
        bytes: its size.
    """

    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    bytes: int


class Entry(Record):
    """A run in ``runs.json``; its place there is the number of its rows in the tables."""

    folder: str  # of the run, below the output folder that it is from
    status: list[str]  # state and words
    config: RunRecord = Field(alias=schema.CONFIG)
    environment: Environment = Field(Environment(), alias=schema.ENVIRONMENT)
    data: list[DataRecord] = Field([], alias=schema.DATA)
    weights: Weights | None = None

    @field_validator("folder")
    @classmethod
    def _inside(cls, folder: str) -> str:
        """Nothing that is read by this name may lie elsewhere."""
        parts = folder.split("/")
        if len(parts) != DEPTH or parts[0] != "runs" or any(_LEAVES.search(part) for part in parts):
            raise ValueError("it is no place of a run, runs/SETTING/BASELINE/STRATEGY/SEED-HASH")
        return folder

    @field_validator("status")
    @classmethod
    def _one_of_the_states(cls, status: list[str]) -> list[str]:
        if len(status) != 2 or status[0] not in WRITTEN:
            raise ValueError(f"it is not one of {', '.join(WRITTEN)} with words")
        return status

    def content(self) -> dict[str, JsonValue]:
        """What is written."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)


class KeptRun(Run):
    """A run kept by :func:`results.archive.pack`; it has no files of its own.

    Attributes:
        archive: the folder that keeps it.
        number: its place there.
        entry: what is kept of it beside the tables.
        origin: the archive as people named it, where there are several (:mod:`results.together`).
    """

    def __init__(self, archive: Path, number: int, entry: Entry, origin: str = "", precedence: int = 0):
        super().__init__(archive / PurePosixPath(entry.folder))
        self.archive, self.number, self.entry, self.origin, self.precedence = archive, number, entry, origin, precedence

    def damage(self) -> dict[str, str]:
        """Nothing: :func:`kept_runs` has looked at the whole archive."""
        return {}

    def legible(self) -> Run:
        """Itself: nothing of it is damaged."""
        return self

    @property
    def record(self) -> RunRecord:
        """Configuration and identities."""
        return self.entry.config

    @property
    def environment(self) -> Environment:
        """What it was computed with."""
        return self.entry.environment

    @property
    def data(self) -> list[DataRecord]:
        """The sets it used."""
        return self.entry.data

    @property
    def status(self) -> Status:
        """Its state."""
        return Status.of(*self.entry.status)

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

        path = self.archive / f"{name}.parquet"
        found = _tables(path, path.stat().st_mtime_ns if path.exists() else 0).get(self.number)
        return pd.DataFrame(columns=list(TABLES[name])) if found is None else found


@lru_cache(maxsize=32)
def _tables(path: Path, changed: int) -> dict[int, pd.DataFrame]:
    """The rows, by run, of a table that was ``changed`` last at this time; 0 where there is none."""
    found = integrity.content(path) if changed else None
    if found is None:
        return {}
    columns = list(TABLES[path.stem])
    table = integrity.of_several(path, found, columns, integrity.NUMBERS[path.stem])
    groups = table.groupby("run", sort=False)
    return {int(float(str(number))): rows[columns].reset_index(drop=True) for number, rows in groups}


def kept_runs(folder: Path, setting: str | None = None) -> list[KeptRun]:
    """The runs kept in ``folder``, of one setting or of all; none where it keeps no runs.

    Raises:
        Damaged: where a file is not as it was written.
    """
    runs, damage = opened(folder)
    if damage:
        raise damage[0]
    return [run for run in runs if setting in (None, run.record.config.setting)]


def opened(folder: Path) -> tuple[list[KeptRun], list[Damaged]]:
    """The runs kept in ``folder`` that can be read, and everything in it that is not as it was written."""
    path = folder / RUNS
    try:
        found = integrity.content(path)
        content = {} if found is None else integrity.parsed(path, found)
    except Damaged as damaged:
        return [], [damaged]
    if found is None:
        return [], []
    tables, entries = content.get("tables"), content.get("runs")
    if not (isinstance(tables, dict) and isinstance(entries, list)):
        return [], [Damaged(path, "it holds no runs; one of an older version is to be made anew by results.archive")]
    damage: list[Damaged] = []
    if digest(tables, entries) != content.get("digest"):
        damage.append(Damaged(path, "it is not as it was written"))
    damage += _damaged_tables(folder, tables)
    runs: list[KeptRun] = []
    for number, value in enumerate(entries):
        try:
            runs.append(KeptRun(folder, number, integrity.record(Entry, path, value)))
        except Damaged as damaged:
            damage.append(Damaged(path, f"run {number + 1} of {len(entries)}: {damaged.reason}"))
    twice = [place for place, count in Counter(run.entry.folder for run in runs).items() if count > 1]
    damage += [Damaged(path, f"{place} stands in it twice") for place in twice]
    return runs, damage


def _damaged_tables(folder: Path, recorded: dict[str, JsonValue]) -> list[Damaged]:
    """Tables that are not those of the digests, and those without one."""
    names = [f"{name}.parquet" for name in TABLES]
    damage = [Damaged(folder / RUNS, f"it names a table {name!r}") for name in recorded if name not in names]
    for name in names:
        try:
            table = integrity.content(folder / name)
        except Damaged as damaged:
            damage.append(damaged)
            continue
        if table is None and name in recorded:
            damage.append(Damaged(folder / name, integrity.GONE))
        elif table is not None and integrity.digest(table) != recorded.get(name):
            known = "it is not as it was written" if name in recorded else f"{RUNS} does not know it"
            damage.append(Damaged(folder / name, known))
    return damage


def weights_at(weights: Path, place: str) -> Path:
    """Where the weights of a run with this place lie below a folder of weights."""
    return weights / f"{place}.pt"


def sha256(path: Path) -> str:
    """Of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
