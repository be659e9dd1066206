"""Grids kept in git: all runs of an output folder in a few small files, read as if they were run folders.

python -m results.archive results results/measured/NAME --setting three_task
python -m results.archive results results/measured/NAME --setting three_task --add
python -m results.archive results results/measured/NAME --setting three_task --weights /big/disk/NAME
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import JsonValue

from results import integrity, schema, tuning
from results.above import Missing, Unusable, above
from results.command import announce, framed, leave
from results.find import find_runs
from results.integrity import Damaged
from results.kept import RUNS, TABLES, Entry, KeptRun, Weights, digest, kept_runs, sha256, weights_at
from results.records import RunRecord, State
from results.store import Run, check_writable, write_atomically, write_text

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

STEPS = 1000  # of a rhythm that are kept; from longer ones evenly spaced
DIGITS = {"value": 6, "input_value": 6, "psnr": 4, "seconds": 2}  # decimals kept of scores and curves
MANTISSA = 10  # bits kept of a rhythm's and a probe's numbers: to one in two thousand


class CannotKeep(ValueError):
    """There is no finished run, or no place for it; the message says which in one sentence."""


def pack(
    output: Path, setting: str, folder: Path, add: bool = False, weights: Path | None = None
) -> tuple[int, list[str]]:
    """Keep the finished and failed runs of a setting below ``output`` in ``folder``, and its searches for parameters.

    With ``add`` the runs and searches that ``folder`` holds already stay; others of their places are not kept.

    ``folder`` then holds ``runs.json`` (configuration, environment, data and status of every run, the digests of the
    tables and its own) and the tables ``scores``, ``rhythm``, ``conflicts`` and ``curve`` as Parquet, with a column
    ``run``, the run's place in ``runs.json``. Rhythms are thinned to :data:`STEPS` steps and numbers rounded, so that a
    grid of dozens of runs fits into a repository. Checkpoints and sample images are left out; with ``weights`` the
    final weights of every finished run go to that folder, and their digests into ``runs.json``.

    Returns:
        How many runs are kept, and what was left out, in words: runs and weights whose files are damaged or gone.

    Raises:
        CannotKeep: if there is no such run, or a folder cannot be written.
        Damaged: if what it holds already, or a search, is.
        Missing: for ``weights`` without the packages that read checkpoints.
    """
    import pandas as pd

    older = kept_runs(folder) if add else []
    places = {_place(run, folder) for run in older}
    new = [run for run in find_runs(output, setting) if _place(run, output) not in places]
    found = [(run, run.damage()) for run in new]
    damaged = [f"{run.folder}: {'; '.join(damage.values())}" for run, damage in found if damage]
    damaged += [
        f"{run.folder}: {schema.CONFIG} is missing" for run, damage in found if not damage and run.record is None
    ]
    ended = [run for run, damage in found if not damage and run.status.state in (State.DONE, State.FAILED)]
    ended = [(run, folder) for run in older] + [(run, output) for run in ended]
    runs = [(run, record, root) for run, root in ended if (record := run.record)]
    if not runs:
        lines = "".join(f"\n{reason}" for reason in damaged)
        raise CannotKeep(f"no finished run of {setting!r} below {output / 'runs'}.{lines}")
    try:
        check_writable(folder)
    except OSError as error:
        raise CannotKeep(f"{folder} {error.strerror}; name another folder.") from error
    entries = [_entry(run, record, root) for run, record, root in runs]
    if weights is not None:
        entries, lacking = _with_weights(entries, [run for run, *_ in runs], weights, folder)
        damaged += lacking
    for name in TABLES:
        parts = [_slim(getattr(run, name)()).assign(run=number) for number, (run, *_) in enumerate(runs)]
        table = pd.concat([part for part in parts if len(part)] or parts, ignore_index=True)
        _write(table, folder / f"{name}.parquet")
    write_runs(folder, [entry.content() for entry in entries])
    _keep_searches(output, setting, folder, add)
    return len(runs), damaged


def _place(run: Run, root: Path) -> str:
    return run.folder.relative_to(root).as_posix()


def _with_weights(
    entries: Sequence[Entry], runs: Sequence[Run], weights: Path, folder: Path
) -> tuple[list[Entry], list[str]]:
    """The entries with the digests of their weights, which are written; and whose could not be, in words."""
    knows = above("keeping weights")
    if weights.resolve().is_relative_to(folder.resolve()):
        raise CannotKeep(f"{weights} lies in the archive, which is to stay small; name another folder for weights.")
    try:
        check_writable(weights)
    except OSError as error:
        raise CannotKeep(f"{weights} {error.strerror}; name another folder for weights.") from error
    found: list[Entry] = []
    lacking: list[str] = []
    for entry, run in zip(entries, runs, strict=True):
        if isinstance(run, KeptRun) or run.status.state != State.DONE:
            found.append(entry)
            continue
        path = weights_at(weights, entry.folder)
        try:
            knows.write_weights(run.folder, path)
        except Unusable as error:
            lacking.append(f"weights of {run.folder}: {error}")
            found.append(entry)
        else:
            known = Weights(sha256=sha256(path), bytes=path.stat().st_size)
            found.append(entry.model_copy(update={"weights": known}))
    return found, lacking


def _keep_searches(output: Path, setting: str, folder: Path, add: bool) -> None:
    place = tuning.place(folder, setting) / tuning.SEARCHES
    known = {path.name for path in tuning.files(folder, setting)} if add else set[str]()
    for path in tuning.files(output, setting):
        if path.name not in known and (search := tuning.read(path)):
            tuning.write(place / path.name, search)


def _entry(run: Run, record: RunRecord, root: Path) -> Entry:
    known = run.entry.weights if isinstance(run, KeptRun) else None
    content = {
        "folder": _place(run, root),
        "status": [run.status.state, run.status.words],
        schema.CONFIG: _placeless(record),
        schema.ENVIRONMENT: run.environment,
        schema.DATA: run.data,
        **({"weights": known} if known else {}),
    }
    return Entry.model_validate(content)


def write_runs(folder: Path, entries: list[dict[str, JsonValue]]) -> None:
    """Write ``runs.json``: ``runs``, a line each; ``tables``, the digests of the tables beside; ``digest``, of both."""
    tables = {path.name: integrity.digest(path.read_bytes()) for path in sorted(folder.glob("*.parquet"))}
    content = {"digest": digest(dict(tables), list(entries)), "tables": tables}
    head = json.dumps(content, sort_keys=True)[:-1]
    lines = ",\n".join(json.dumps(entry, ensure_ascii=False, sort_keys=True) for entry in entries)
    text = f'{head},\n"runs": [\n{lines}\n]}}\n'
    write_atomically(folder / RUNS, lambda path: write_text(path, text))


def _placeless(record: RunRecord) -> RunRecord:
    """The record without the folders that images, settings and weights were in: no part of a run's identity."""
    config, without = record.config, dict[str, object]()
    if config.data.root:
        without["data"] = config.data.model_copy(update={"root": None})
    if config.data_sets:
        without["data_sets"] = {
            name: {key: value for key, value in fields.items() if key != "root"}
            for name, fields in config.data_sets.items()
        }
    if config.setting_place:
        without["setting_place"] = _name(config.setting_place)
    if config.train.init:
        without["train"] = config.train.model_copy(update={"init": _name(config.train.init)})
    if config.origin.folder:
        without["origin"] = config.origin.model_copy(update={"folder": _name(config.origin.folder)})
    return record.model_copy(update={"config": config.model_copy(update=without)}) if without else record


def _name(place: str) -> str:
    """The last part of a path of any system; what is no path stays."""
    return re.split(r"[/\\]", place)[-1]


def _slim(table: pd.DataFrame) -> pd.DataFrame:
    """Fewer steps, fewer digits, names as categories."""
    table = table.copy()
    if "loss" in table and len(table):
        steps = table["step"].unique()
        table = table[table["step"].isin(steps[:: -(-len(steps) // STEPS)])]
    for column in map(str, table):
        if column in DIGITS:
            table[column] = table[column].round(DIGITS[column])
        elif table[column].dtype.kind == "f":
            table[column] = _rounded(table[column].to_numpy("float32"))
        elif table[column].dtype.kind != "i":
            table[column] = table[column].astype(str)
    return table


def _rounded(values: NDArray[np.float32]) -> NDArray[np.float32]:
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

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:  # pyarrow opens no path that is not UTF-8
            pq.write_table(
                arrow,
                file,
                compression="zstd",
                compression_level=19,
                use_dictionary=names,  # pyright: ignore[reportArgumentType]: pyarrow takes names as well
                use_byte_stream_split=floats,  # pyright: ignore[reportArgumentType]: as above
            )

    write_atomically(path, write)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code, 2 if there is nothing to keep (others: :mod:`results.command`)."""
    return framed(lambda: _main(arguments), (CannotKeep, Damaged, Missing))


def _main(arguments: Sequence[str] | None) -> int:
    parser = argparse.ArgumentParser(
        "python -m results.archive",
        description="Keep all runs of an output folder in a few small files, read as if they were run folders.",
    )
    parser.add_argument("output", type=Path, help="the results folder of the command that made the runs")
    parser.add_argument("folder", type=Path, help="where to keep them, such as results/measured/NAME")
    parser.add_argument("--setting", required=True)
    parser.add_argument("--add", action="store_true", help="to the runs that are kept there already")
    parser.add_argument(
        "--weights", type=Path, metavar="DIR",
        help="also write the final weights of every run, there and not in the archive, which gets their digests",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    announce(f"Keeping the runs on {options.setting} of {options.output} in {options.folder}.", beside=True)
    count, damaged = pack(options.output, options.setting, options.folder, options.add, options.weights)
    for reason in damaged:
        print(f"left out: {reason}", file=sys.stderr)
    size = sum(path.stat().st_size for path in options.folder.glob("*") if path.is_file())
    print(f"{count} run{'s' * (count != 1)} kept in {options.folder}, {size / 2**20:.2f} MiB.")
    if options.weights:
        known = [entry.weights for run in kept_runs(options.folder) if (entry := run.entry).weights]
        size = sum(one.bytes for one in known if one)
        print(f"Weights of {len(known)} of them in {options.weights}, {size / 2**20:.1f} MiB.")
    return 0


if __name__ == "__main__":
    leave(main())
