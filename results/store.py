"""The run store: one folder a run, plain files as the source of truth."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from results import schema

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Status:
    """State of a run: ``absent`` (nothing there yet), ``running`` (started, perhaps interrupted), ``done``, ``failed``.

    ``reason`` says why a run failed; on a finished run it is a warning that tables must show (a collapsed network).
    """

    state: str
    reason: str = ""


def write_atomically(path: Path, write: Callable[[Path], Any], keep: Path | None = None) -> None:
    """Call ``write`` on a temporary file beside ``path``, then move it there: readers see the old or the new file.

    Args:
        path: the file.
        write: writes a file of that path.
        keep: where the old file goes.

    Raises:
        OSError: if it cannot be written, with the file's name; what was there is as it was.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
        os.close(handle)
        temporary = Path(name)
        write(temporary)
        with temporary.open("r+b") as written:  # Windows flushes no file that is open for reading only
            os.fsync(written.fileno())
        temporary.chmod(0o644)  # mkstemp makes private files
        if keep is not None and path.exists():
            _also_at(path, keep)
        temporary.replace(path)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise OSError(error.errno, f"cannot be written ({reason})", str(path)) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """The same bytes on every system: UTF-8, lines that end with ``\\n``; what is not UTF-8 in a name as ``\\udcff``,
    which JSON reads back as that name."""
    path.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")


def _also_at(path: Path, keep: Path) -> None:
    """Give the file a second name; where the file system has no links, move it."""
    keep.unlink(missing_ok=True)
    try:
        os.link(path, keep)
    except OSError:
        path.replace(keep)


class Run:
    """One run folder. Reading never fails on a half-written run: what is not there is empty or ``None``."""

    def __init__(self, folder: Path | str):
        self.folder = Path(folder)

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r})"

    def _json(self, name: str) -> Any:
        try:
            return json.loads((self.folder / name).read_text("utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            return None

    def write(self, name: str, write: Callable[[Path], Any], keep: str | None = None) -> None:
        """Write one file of the run as :func:`write_atomically` does; ``keep``: the name the old file gets."""
        write_atomically(self.folder / name, write, self.folder / keep if keep else None)

    def write_json(self, name: str, content: Any) -> None:
        text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
        self.write(name, lambda path: write_text(path, text))

    @cached_property
    def record(self) -> dict[str, Any]:
        """``config.json``: ``hash``, ``pair`` (hash without the strategy: equal for runs whose difference is the
        strategy's), ``cohort`` (hash of what a table may not mix), ``overrides`` and ``config``."""
        return self._json(schema.CONFIG) or {}

    @property
    def config(self) -> dict[str, Any]:
        """The resolved configuration."""
        return self.record.get("config", {})

    @property
    def environment(self) -> dict[str, Any]:
        return self._json(schema.ENVIRONMENT) or {}

    @property
    def data(self) -> list[dict[str, Any]]:
        """Records of :data:`results.schema.DATA_FIELDS`."""
        return self._json(schema.DATA) or []

    @property
    def status(self) -> Status:
        try:
            state, _, reason = (self.folder / schema.STATUS).read_text("utf-8").partition("\n")
        except (FileNotFoundError, NotADirectoryError):
            return Status("absent")
        return Status(state.strip(), reason.strip())

    def write_status(self, state: str, reason: str = "") -> None:
        text = f"{state}\n{reason}\n" if reason else f"{state}\n"
        self.write(schema.STATUS, lambda path: write_text(path, text))

    def progress(self) -> dict[str, Any] | None:
        """What a run at work last said of itself: phase, done, total, seconds left."""
        try:
            return self._json(schema.PROGRESS)
        except json.JSONDecodeError:
            return None

    def scores(self) -> pd.DataFrame:
        """Per-image scores with :data:`results.schema.SCORE_COLUMNS`; empty where there are none yet."""
        import pandas as pd

        path = self.folder / schema.SCORES
        if not path.exists():
            return pd.DataFrame(columns=list(schema.SCORE_COLUMNS))
        return pd.read_csv(path, dtype={"image": str})

    def write_scores(self, scores: pd.DataFrame) -> None:
        table = scores[list(schema.SCORE_COLUMNS)]
        form = {"float_format": "%.6f", "lineterminator": "\n", "errors": "backslashreplace"}
        self.write(schema.SCORES, lambda path: table.to_csv(path, index=False, **form))

    def rhythm(self) -> pd.DataFrame:
        """The rhythm with :data:`results.schema.RHYTHM_COLUMNS`; empty where there is none yet."""
        return self._table(schema.RHYTHM, schema.RHYTHM_COLUMNS)

    def write_rhythm(self, rhythm: pd.DataFrame) -> None:
        self._write_table(schema.RHYTHM, rhythm[list(schema.RHYTHM_COLUMNS)])

    def conflicts(self) -> pd.DataFrame:
        """Probed conflicts with :data:`results.schema.CONFLICT_COLUMNS`; empty where none were probed."""
        return self._table(schema.CONFLICTS, schema.CONFLICT_COLUMNS)

    def write_conflicts(self, conflicts: pd.DataFrame) -> None:
        self._write_table(schema.CONFLICTS, conflicts[list(schema.CONFLICT_COLUMNS)])

    def _table(self, name: str, columns: Iterable[str]) -> pd.DataFrame:
        import pandas as pd

        path = self.folder / name
        return pd.read_parquet(path) if path.exists() else pd.DataFrame(columns=list(columns))

    def _write_table(self, name: str, table: pd.DataFrame) -> None:
        self.write(name, lambda path: table.to_parquet(path, index=False))


class ReadOnlyRun(Run):
    """A run that another process writes: writing does nothing."""

    def write(self, name: str, write: Callable[[Path], Any], keep: str | None = None) -> None:
        """Leave it to the process that writes."""


def find_runs(output: Path | str, setting: str, wanted: Mapping[str, Iterable] | None = None) -> list[Run]:
    """Runs of ``setting`` below ``<output>/runs``, by path, whatever their state; or those kept in ``output``.

    Args:
        output: the results folder of the command that made them, or a folder of :func:`results.archive.pack`.
        setting: name of the setting.
        wanted: optional filter on top-level configuration values, such as ``{"baseline": ["airnet"]}``.
    """
    from results.archive import kept_runs

    runs = [Run(path.parent) for path in sorted(Path(output, "runs", setting).glob(f"*/*/*/{schema.CONFIG}"))]
    runs = runs or kept_runs(Path(output), setting)
    for key, values in (wanted or {}).items():
        allowed = set(values)
        runs = [run for run in runs if run.config.get(key) in allowed]
    return runs
