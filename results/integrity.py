"""Noticing that a file of a run is not as it was written: digests beside the files, and what tables may hold."""

from __future__ import annotations

import hashlib
import io
import json
import stat
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import JsonValue, ValidationError

from results import schema
from results.records import DataRecord, Record, Role

if TYPE_CHECKING:
    import pandas as pd

R = TypeVar("R", bound=Record)
T = TypeVar("T")
J = TypeVar("J", dict[str, JsonValue], list[JsonValue])

LARGEST = 2**30  # bytes of a file that is read whole
MOST_ROWS = 3 * 10**7  # of a table; a small file can unpack to any number
DIGITS = 32  # of a digest, hexadecimal
PSNR = (-200.0, 200.0)  # dB, of what a score may be; infinite where nothing differs
SSIM = (-1.0, 1.0)
NAMED = 3  # images that a sentence names
NUMBERS = {
    "scores": ("value", "input_value"),
    "rhythm": ("step", "loss", "running", "pace", "weight"),
    "conflicts": ("step", "cosine", "norm"),
    "curve": ("step", "images", "seconds", "psnr"),
}
"""Columns of each table that hold numbers."""


class Damaged(ValueError):
    """A file is not as it was written, or is gone: ``FILE is damaged: reason``."""

    def __init__(self, path: Path, reason: str):
        self.path, self.reason = path, reason
        super().__init__(f"{path.name} is damaged: {reason}" if reason != GONE else f"{path.name} is missing")


GONE = "it is missing"


def digest(content: bytes) -> str:
    """SHA-256, shortened to :data:`DIGITS`."""
    return hashlib.sha256(content).hexdigest()[:DIGITS]


def content(path: Path) -> bytes | None:
    """The bytes of a file; ``None`` where there is none.

    Raises:
        Damaged: for what cannot be read, is no regular file, or is too large for what it should be.
    """
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise Damaged(path, "it is no regular file")
        if found.st_size > LARGEST:
            raise Damaged(path, f"{found.st_size:,} bytes are too many")
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise Damaged(path, f"it cannot be read ({error.strerror})") from None


def parsed(path: Path, found: bytes, kind: type[J] = dict) -> J:
    """JSON of that kind.

    Raises:
        Damaged: for anything else.
    """
    try:
        value = json.loads(found)
    except (ValueError, RecursionError) as error:
        reason = error.msg if isinstance(error, json.JSONDecodeError) else type(error).__name__
        raise Damaged(path, f"it is no JSON ({reason})") from None
    if not isinstance(value, kind):
        raise Damaged(path, f"it holds no {kind.__name__} but a {type(value).__name__}")
    return value


def record(kind: type[R], path: Path, value: JsonValue) -> R:
    """A record of that kind.

    Raises:
        Damaged: where a field is missing or of another type, naming it.
    """
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise Damaged(path, f"it holds no {kind.__name__}: {f'{where}: ' if where else ''}{first['msg']}") from None


def records(path: Path, found: bytes) -> list[DataRecord]:
    """``data.json``.

    Raises:
        Damaged: for anything else.
    """
    return [record(DataRecord, path, value) for value in parsed(path, found, list)]


def differing(recorded: Sequence[DataRecord], now: Sequence[DataRecord], *roles: Role) -> list[str]:
    """Sets whose images have other pixels in one list of records than in another, as far as both know them in the same
    way: the first letter of a digest tells of what it is."""
    digests = [
        {record.dataset: record.digest for record in records if record.role in roles and record.digest}
        for records in (recorded, now)
    ]
    shared = digests[0].keys() & digests[1].keys()
    pairs = {name: (digests[0][name], digests[1][name]) for name in shared}
    return sorted(name for name, (old, new) in pairs.items() if old != new and old[0] == new[0])


def scores(path: Path, found: bytes, sure: bool = True) -> pd.DataFrame:
    """``scores.csv`` with :data:`results.schema.SCORE_COLUMNS`; runs of older versions have no ``pixels``.

    Unless one is ``sure`` that it is as it was written, values are looked at too.

    Raises:
        Damaged: where it cannot be read, or holds what scores cannot be.
    """
    import pandas as pd

    text = dict.fromkeys(("dataset", "task", "image", "protocol", "metric", "pixels"), str)
    table = _read(path, lambda: pd.read_csv(io.BytesIO(found), dtype=text, keep_default_na=False, na_values=[""]))
    if "pixels" not in table:
        table["pixels"] = ""
    table = _with_columns(path, table, schema.SCORE_COLUMNS, numbers=NUMBERS["scores"])
    table["pixels"] = table["pixels"].fillna("")
    if not sure and (reasons := unlikely(table)):
        raise Damaged(path, "; ".join(reasons))
    return table


def unlikely(table: pd.DataFrame) -> list[str]:
    """What scores cannot be, in words: rows without a name, an image twice, values out of range."""
    keys = ["dataset", "image", "protocol", "metric"]
    reasons: list[str] = []
    if table[[*keys, "task"]].isna().any(axis=None):
        reasons.append("rows without data set, task, image, protocol or metric")
    if (twice := table.duplicated(keys)).any():
        reasons.append(f"an image stands twice ({_images(table[twice])})")
    for metric, (low, high) in {"psnr": PSNR, "ssim": SSIM}.items():
        rows = table[table["metric"] == metric]
        values = rows[["value", "input_value"]]
        allowed = values.isna() | values.ge(low - 1e-6) & values.le(high + 1e-6)
        if metric == "psnr":
            allowed |= values == float("inf")
        if (wrong := ~allowed.all(axis=1)).any():
            reasons.append(f"a {metric} outside {low:g} to {high:g} ({_images(rows[wrong])})")
    return reasons


def striking(path: Path, found: bytes) -> str:
    """What stands out in scores that are not as they were written, for people; empty where nothing does."""
    try:
        table = scores(path, found, sure=False)
    except Damaged as worse:
        return worse.reason
    endless = table[table["value"].abs() == float("inf")]
    return f"an infinite value ({_images(endless)})" if len(endless) else ""


def _images(rows: pd.DataFrame) -> str:
    names = [f"{row.dataset} {row.image}" for row in rows.head(NAMED).itertuples()]
    return ", ".join(names) + (f" and {len(rows) - NAMED} more" if len(rows) > NAMED else "")


def rhythm(path: Path, found: bytes, sure: bool = True) -> pd.DataFrame:
    """``rhythm.parquet`` with :data:`results.schema.RHYTHM_COLUMNS`.

    Raises:
        Damaged: as :func:`scores` does.
    """
    return _checked(path, _parquet(path, found, schema.RHYTHM_COLUMNS, NUMBERS["rhythm"]), odd_rhythm, sure)


def odd_rhythm(table: pd.DataFrame) -> list[str]:
    """What a rhythm cannot be, in words."""
    reasons: list[str] = []
    if (table["step"] < 1).any() or table["task"].isna().any() or (table["loss"] < 0).any():
        reasons.append("steps below 1, rows without a task, or losses below 0")
    if table.duplicated(["step", "task"]).any():
        reasons.append("a task stands twice at one step")
    return reasons


def conflicts(path: Path, found: bytes, sure: bool = True) -> pd.DataFrame:
    """``conflicts.parquet`` with :data:`results.schema.CONFLICT_COLUMNS`.

    Raises:
        Damaged: as :func:`scores` does.
    """
    return _checked(path, _parquet(path, found, schema.CONFLICT_COLUMNS, NUMBERS["conflicts"]), odd_conflicts, sure)


def odd_conflicts(table: pd.DataFrame) -> list[str]:
    """What probed conflicts cannot be, in words."""
    outside = (table["cosine"].abs() > 1.01).any() or (table["norm"] < 0).any()
    return ["cosines outside -1 to 1, or norms below 0"] if outside else []


def curve(path: Path, found: bytes, sure: bool = True) -> pd.DataFrame:
    """``curve.parquet`` with :data:`results.schema.CURVE_COLUMNS`.

    Raises:
        Damaged: as :func:`scores` does.
    """
    return _checked(path, _parquet(path, found, schema.CURVE_COLUMNS, NUMBERS["curve"]), odd_curve, sure)


def odd_curve(table: pd.DataFrame) -> list[str]:
    """What a validation curve cannot be, in words."""
    reasons: list[str] = []
    if (table[["step", "images", "seconds"]] < 0).any(axis=None) or table["task"].isna().any():
        reasons.append("steps, images or seconds below 0, or rows without a task")
    if (table["psnr"].lt(PSNR[0]) | table["psnr"].gt(PSNR[1])).any():
        reasons.append(f"a psnr outside {PSNR[0]:g} to {PSNR[1]:g}")
    if table.duplicated(["step", "task"]).any():
        reasons.append("a task stands twice at one step")
    return reasons


ODD: dict[str, Callable[[pd.DataFrame], list[str]]] = {
    "scores": unlikely,
    "rhythm": odd_rhythm,
    "conflicts": odd_conflicts,
    "curve": odd_curve,
}
"""What each table of a run cannot be, whatever its digest says: a digest only tells who wrote it last."""


def of_several(path: Path, found: bytes, columns: Sequence[str], numbers: Iterable[str]) -> pd.DataFrame:
    """A Parquet table of several runs: these columns and ``run``, the number of the run that a row is of.

    Raises:
        Damaged: where it cannot be read, or lacks one.
    """
    import pandas as pd

    rows = _read(path, lambda: _rows_of_parquet(found))
    if rows > MOST_ROWS:
        raise Damaged(path, f"{rows:,} rows are too many")
    table = _read(path, lambda: _from_parquet(found))
    if "pixels" in columns and "pixels" not in table:  # kept by an older version
        table["pixels"] = ""
    numbers = ["run", *numbers]
    table = _with_columns(path, table, ["run", *columns], numbers)
    kinds = {name: pd.api.types.infer_dtype(table[name], skipna=True) for name in columns if name not in numbers}
    if strange := [name for name, kind in kinds.items() if kind not in ("string", "empty") and len(table)]:
        raise Damaged(path, f"the column {', '.join(strange)} holds other things than text")
    return table


def _checked(path: Path, table: pd.DataFrame, odd: Callable[[pd.DataFrame], list[str]], sure: bool) -> pd.DataFrame:
    if not sure and len(table) and (reasons := odd(table)):
        raise Damaged(path, "; ".join(reasons))
    return table


def _parquet(path: Path, found: bytes, columns: Sequence[str], numbers: Iterable[str]) -> pd.DataFrame:
    return _with_columns(path, _read(path, lambda: _from_parquet(found)), columns, numbers)


def _rows_of_parquet(found: bytes) -> int:
    import pyarrow.parquet as pq

    return pq.read_metadata(io.BytesIO(found)).num_rows


def _from_parquet(found: bytes) -> pd.DataFrame:
    import pandas as pd

    return pd.read_parquet(io.BytesIO(found))  # pyarrow opens no path that is not UTF-8


def _read(path: Path, read: Callable[[], T]) -> T:
    try:
        return read()
    except (MemoryError, KeyboardInterrupt):
        raise
    except Exception as error:  # pandas and pyarrow raise many kinds for what is no table
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise Damaged(path, f"it cannot be read as a table ({lines[0][:120]})") from None


def _with_columns(path: Path, table: pd.DataFrame, columns: Sequence[str], numbers: Iterable[str]) -> pd.DataFrame:
    if lacking := [name for name in columns if name not in table]:
        raise Damaged(path, f"it lacks the column {', '.join(lacking)}")
    if strange := [name for name in numbers if table[name].dtype.kind not in "if" and len(table)]:
        raise Damaged(path, f"the column {', '.join(strange)} holds other things than numbers")
    return table[list(columns)]
