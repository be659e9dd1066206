"""Grids kept in git: all runs of an output folder in a few small files, read as if they were run folders.

python -m results.archive results results/measured/NAME --setting three_task
"""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from results import integrity, schema
from results.command import announce, framed, leave
from results.integrity import Damaged
from results.store import Run, Status, check_writable, find_runs, write_atomically, write_text

if TYPE_CHECKING:
    import pandas as pd

RUNS = "runs.json"
TABLES = {"scores": schema.SCORE_COLUMNS, "rhythm": schema.RHYTHM_COLUMNS, "conflicts": schema.CONFLICT_COLUMNS}
STEPS = 1000  # of a rhythm that are kept; from longer ones evenly spaced
DIGITS = {"value": 6, "input_value": 6}  # decimals kept of scores
MANTISSA = 10  # bits kept of a rhythm's and a probe's numbers: to one in two thousand


class CannotKeep(ValueError):
    """There is no finished run, or no place for it; the message says which in one sentence."""


def pack(output: Path, setting: str, folder: Path) -> tuple[int, list[str]]:
    """Keep the finished and failed runs of a setting below ``output`` in ``folder``.

    ``folder`` then holds ``runs.json`` (configuration, environment, data and status of every run, the digests of the
    tables and its own) and the tables ``scores``, ``rhythm`` and ``conflicts`` as Parquet, with a column ``run``, the
    run's place in ``runs.json``. Rhythms are thinned to :data:`STEPS` steps and numbers rounded, so that a grid of
    dozens of runs fits into a repository. Checkpoints and sample images are left out.

    Returns:
        How many runs are kept, and which were left out because files of theirs are damaged, in words.

    Raises:
        CannotKeep: if there is no such run, or the folder cannot be written.
    """
    import pandas as pd

    found = [(run, run.damage()) for run in find_runs(output, setting)]
    damaged = [f"{run.folder}: {'; '.join(told.values())}" for run, told in found if told]
    runs = [run for run, told in found if not told and run.status.state in ("done", "failed")]
    if not runs:
        more = "".join(f"\n{told}" for told in damaged)
        raise CannotKeep(f"no finished run of {setting!r} below {output / 'runs'}.{more}")
    try:
        check_writable(folder)
    except OSError as error:
        raise CannotKeep(f"{folder} {error.strerror}; name another folder.") from error
    for name in TABLES:
        parts = [_slim(getattr(run, name)()).assign(run=number) for number, run in enumerate(runs)]
        table = pd.concat([part for part in parts if len(part)] or parts, ignore_index=True)
        _write(table, folder / f"{name}.parquet")
    entries = [
        {
            "folder": run.folder.relative_to(output).as_posix(),
            "status": [run.status.state, run.status.reason],
            schema.CONFIG: _placeless(run.record),
            schema.ENVIRONMENT: run.environment,
            schema.DATA: run.data,
        }
        for run in runs
    ]
    write_runs(folder, entries)
    return len(runs), damaged


def write_runs(folder: Path, entries: Sequence[dict[str, Any]]) -> None:
    """Write ``runs.json``: ``runs``, a line each; ``tables``, the digests of the tables beside; ``digest``, of both."""
    tables = {path.name: integrity.digest(path.read_bytes()) for path in sorted(folder.glob("*.parquet"))}
    content = {"digest": _digest(tables, entries), "tables": tables}
    head = json.dumps(content, sort_keys=True)[:-1]
    lines = ",\n".join(json.dumps(entry, ensure_ascii=False, sort_keys=True) for entry in entries)
    text = f'{head},\n"runs": [\n{lines}\n]}}\n'
    write_atomically(folder / RUNS, lambda path: write_text(path, text))


def _digest(tables: dict[str, str], entries: Sequence[dict[str, Any]]) -> str:
    return integrity.digest(json.dumps([tables, list(entries)], sort_keys=True).encode())


def _placeless(record: dict[str, Any]) -> dict[str, Any]:
    """The record without the folder that images were in, which is no part of a run's identity."""
    config = record.get("config", {})
    if not config.get("data", {}).get("root"):
        return record
    return record | {"config": config | {"data": config["data"] | {"root": None}}}


def _slim(table: pd.DataFrame) -> pd.DataFrame:
    """Fewer steps, fewer digits, names as categories."""
    table = table.copy()
    if "loss" in table and len(table):
        steps = table["step"].unique()
        table = table[table["step"].isin(steps[:: -(-len(steps) // STEPS)])]
    for column in table:
        if column in DIGITS:
            table[column] = table[column].round(DIGITS[column])
        elif table[column].dtype.kind == "f":
            table[column] = _rounded(table[column].to_numpy("float32"))
        elif table[column].dtype.kind != "i":
            table[column] = table[column].astype(str)
    return table


def _rounded(values: Any) -> Any:
    """float32 with the last bits of the mantissa rounded away, which compresses well."""
    import numpy as np

    fraction, exponent = np.frexp(values)
    return np.ldexp(np.round(fraction * 2**MANTISSA) / 2**MANTISSA, exponent).astype("float32")


def _write(table: pd.DataFrame, path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrow = pa.Table.from_pandas(table, preserve_index=False)
    names = [field.name for field in arrow.schema if pa.types.is_string(field.type) or field.name in ("run", "step")]
    floats = [field.name for field in arrow.schema if pa.types.is_floating(field.type)]
    form = {"compression": "zstd", "compression_level": 19, "use_dictionary": names, "use_byte_stream_split": floats}

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:  # pyarrow opens no path that is not UTF-8
            pq.write_table(arrow, file, **form)

    write_atomically(path, write)


class KeptRun(Run):
    """A run kept by :func:`pack`; it has no files of its own."""

    def __init__(self, archive: Path, number: int, entry: dict[str, Any]):
        super().__init__(archive / PurePosixPath(entry["folder"]))
        self._archive, self._number, self._entry = archive, number, entry

    def damage(self) -> dict[str, str]:
        """Nothing: :func:`kept_runs` has looked at the whole archive."""
        return {}

    def legible(self) -> Run:
        return self

    @property
    def record(self) -> dict[str, Any]:
        return self._entry.get(schema.CONFIG) or {}

    @property
    def environment(self) -> dict[str, Any]:
        return self._entry.get(schema.ENVIRONMENT) or {}

    @property
    def data(self) -> list[dict[str, Any]]:
        return self._entry.get(schema.DATA) or []

    @property
    def status(self) -> Status:
        return Status(*self._entry["status"])

    def scores(self) -> pd.DataFrame:
        return self._kept("scores")

    def rhythm(self) -> pd.DataFrame:
        return self._kept("rhythm")

    def conflicts(self) -> pd.DataFrame:
        return self._kept("conflicts")

    def _kept(self, name: str) -> pd.DataFrame:
        import pandas as pd

        found = _tables(self._archive / f"{name}.parquet").get(self._number)
        return pd.DataFrame(columns=list(TABLES[name])) if found is None else found


@lru_cache(maxsize=8)
def _tables(path: Path) -> dict[int, pd.DataFrame]:
    """The table's rows by run."""
    import pandas as pd

    if not path.exists():
        return {}
    columns = list(TABLES[path.stem])
    table = pd.read_parquet(io.BytesIO(path.read_bytes()))  # pyarrow opens no path that is not UTF-8
    if path.stem == "scores" and "pixels" not in table:  # kept by an older version
        table["pixels"] = ""
    groups = table.groupby("run", sort=False)
    return {int(number): rows[columns].reset_index(drop=True) for number, rows in groups}


def kept_runs(folder: Path, setting: str | None = None) -> list[Run]:
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
    if _digest(tables, entries) != content.get("digest"):
        raise Damaged(path, "it is not as it was written")
    for name, digest in tables.items():
        table = integrity.content(folder / name)
        if table is None or integrity.digest(table) != digest:
            raise Damaged(folder / name, "it is not as it was written" if table else integrity.GONE)
    runs = [KeptRun(folder, number, entry) for number, entry in enumerate(entries)]
    return [run for run in runs if setting in (None, run.config.get("setting"))]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code, 2 if there is nothing to keep (others: :mod:`results.command`)."""
    return framed(lambda: _main(arguments), (CannotKeep, Damaged))


def _main(arguments: Sequence[str] | None) -> int:
    parser = argparse.ArgumentParser("python -m results.archive", description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path, help="the results folder of the command that made the runs")
    parser.add_argument("folder", type=Path, help="where to keep them, such as results/measured/NAME")
    parser.add_argument("--setting", required=True)
    options = parser.parse_args(arguments)
    announce(f"Keeping the runs on {options.setting} of {options.output} in {options.folder}.", beside=True)
    count, damaged = pack(options.output, options.setting, options.folder)
    for told in damaged:
        print(f"left out: {told}", file=sys.stderr)
    size = sum(path.stat().st_size for path in options.folder.glob("*") if path.is_file())
    print(f"{count} runs kept in {options.folder}, {size / 2**20:.2f} MiB.")
    return 0


if __name__ == "__main__":
    leave(main())
