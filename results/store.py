"""The run store: one folder a run, plain files as the source of truth."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import JsonValue, TypeAdapter, ValidationError

from results import integrity, schema
from results.integrity import GONE, Damaged
from results.records import (
    WRITTEN,
    DataRecord,
    Environment,
    Progress,
    Record,
    RunRecord,
    State,
    Status,
)

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")
R = TypeVar("R", bound=Record)
E = TypeVar("E")


def write_atomically(
    path: Path,
    write: Callable[[Path], object],
    keep: Path | None = None,
    before: Callable[[Path], None] = lambda temporary: None,
) -> None:
    """Call ``write`` on a temporary file beside ``path``, then move it there: readers see the old or the new file.

    Args:
        path: the file.
        write: writes a file of that path.
        keep: where the old file goes.
        before: called with the whole new file just before it is moved.

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
        before(temporary)
        temporary.replace(path)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise OSError(error.errno, f"cannot be written ({reason})", str(path)) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    r"""The same bytes on every system: UTF-8, lines that end with ``\n``; what is not UTF-8 in a name as ``\udcff``,
    which JSON reads back as that name."""
    path.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")


def check_writable(folder: Path) -> None:
    """Whether files can be written in the folder, which is made where it is missing.

    Raises:
        OSError: if not; its ``filename`` is the folder, its ``strerror`` says why in words.
    """
    probe = folder / ".writable"
    try:
        write_atomically(probe, lambda path: None)
        probe.unlink(missing_ok=True)  # another command may have done so
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(folder)) from error


def _also_at(path: Path, keep: Path) -> None:
    """Give the file a second name; where the file system has no links, move it."""
    keep.unlink(missing_ok=True)
    try:
        os.link(path, keep)
    except OSError:
        path.replace(keep)


class Run:
    """One run folder: the one reader and writer of all its files. What is not there is empty or ``None``.

    Attributes:
        precedence: of runs whose time is not known, the one with the higher number counts as the newer one.

    Raises:
        Damaged: by whatever reads a file that is not as it was written, or is gone although it was.
    """

    precedence = 0

    def __init__(self, folder: Path | str):
        self.folder = Path(folder)

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r})"

    def write(self, name: str, write: Callable[[Path], object], keep: str | None = None) -> None:
        """Write one file of the run as :func:`write_atomically` does; ``keep``: the name the old file gets.

        Its digest is noted before it takes its place, beside that of the file that is there: whenever a process ends
        in between, one of the two is true.
        """
        path = self.folder / name
        note = self._note if name in schema.GUARDED else lambda temporary, _: None
        write_atomically(path, write, self.folder / keep if keep else None, lambda new: note(new, name))

    def _note(self, new: Path, name: str) -> None:
        paths = (new, self.folder / name)
        digests = [integrity.digest(path.read_bytes()) if path.is_file() else _NONE for path in paths]
        try:
            known = self._digests()
        except Damaged:  # those of the files that are written from now on are kept
            known = {}
        self._write_digests(known | {name: digests})

    def _write_digests(self, files: dict[str, list[str]]) -> None:
        text = json.dumps({"digest": _digest_of(files), "files": files}, indent=1, sort_keys=True)
        write_atomically(self.folder / schema.DIGESTS, lambda path: write_text(path, text))

    def _digests(self) -> dict[str, list[str]]:
        path = self.folder / schema.DIGESTS
        found = integrity.content(path)
        if found is None:
            return {}
        value = integrity.parsed(path, found)
        try:
            digests = _DIGESTS.validate_python(value.get("files"))
        except ValidationError:
            raise Damaged(path, "it is not as it was written") from None
        if value.get("digest") != _digest_of(digests):
            raise Damaged(path, "it is not as it was written")
        return digests

    def keep(self, name: str, ending: str) -> None:
        """Keep a copy of a file before it is written anew, as ``NAME.ENDING``; an earlier one goes."""
        shutil.copyfile(self.folder / name, self.folder / f"{name}.{ending}")

    def set_aside(self, name: str) -> None:
        """Make a damaged file one that is not there; it is kept as ``NAME.damaged``."""
        if name == schema.DIGESTS:
            (self.folder / name).unlink(missing_ok=True)
            return
        if (self.folder / name).exists():
            (self.folder / name).replace(self.folder / f"{name}.damaged")
        self._write_digests({other: known for other, known in self._digests().items() if other != name})

    def _read(self, name: str, read: Callable[[Path, bytes, bool], T], empty: E) -> T | E:
        """What ``read`` makes of a file, its bytes, and whether they are known to be as they were written."""
        path = self.folder / name
        found, known = integrity.content(path), self._digests().get(name)
        while known is not None and (_NONE if found is None else integrity.digest(found)) not in known:
            again = integrity.content(path)
            if again == found:  # not written by another process just now
                raise Damaged(path, self._difference(path, found))
            found, known = again, self._digests().get(name)
        return empty if found is None else read(path, found, known is not None)

    def _difference(self, path: Path, found: bytes | None) -> str:
        if found is None:
            return GONE
        striking = integrity.striking(path, found) if path.name == schema.SCORES else ""
        return "it is not as it was written" + (f"; it holds {striking}" if striking else "")

    def damage(self) -> dict[str, str]:
        """What is wrong with the run's files, by name; empty where all are as they were written."""
        found = {}
        for name, read in READERS.items():
            try:  # what fits its digest need not be read
                self._read(name, lambda path, content, sure, read=read: sure or read(path, content, sure), None)
            except Damaged as damaged:
                found[damaged.path.name] = str(damaged)
        if not found and self.status.state == State.DONE:
            gone = [self.folder / name for name in self._digests() if not (self.folder / name).exists()]
            found = {path.name: str(Damaged(path, GONE)) for path in gone}
        if not found and not self._digests() and (record := self.record) and record.store >= schema.STORE:
            found[schema.DIGESTS] = str(Damaged(self.folder / schema.DIGESTS, GONE))
        return found

    def legible(self) -> Run:
        """The run without its damaged files."""
        return _Legible(self)

    def write_json(self, name: str, content: JsonValue) -> None:
        """Write one of the run's JSON files."""
        text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
        self.write(name, lambda path: write_text(path, text))

    def read_json(self, name: str) -> dict[str, JsonValue]:
        """One of the run's other JSON files, such as what MLflow knows it by; empty where there is none."""
        return self._read(name, lambda path, found, sure: integrity.parsed(path, found), {})

    @property
    def record(self) -> RunRecord | None:
        """``config.json``; ``None`` where there is none yet."""
        return self._read(schema.CONFIG, _json(RunRecord), None)

    def write_record(self, record: RunRecord) -> None:
        """Write ``config.json``."""
        self.write_json(schema.CONFIG, record.content())

    @property
    def environment(self) -> Environment:
        """``environment.json``."""
        return self._read(schema.ENVIRONMENT, _json(Environment), Environment())

    def write_environment(self, environment: Environment) -> None:
        """Write ``environment.json``."""
        self.write_json(schema.ENVIRONMENT, environment.content())

    @property
    def data(self) -> list[DataRecord]:
        """``data.json``."""
        return self._read(schema.DATA, _data, [])

    def write_data(self, records: Sequence[DataRecord]) -> None:
        """Write ``data.json``."""
        self.write_json(schema.DATA, [record.content() for record in records])

    @property
    def status(self) -> Status:
        """``status``."""
        return self._read(schema.STATUS, _status, Status(State.ABSENT))

    def write_status(self, status: Status) -> None:
        """Write ``status``."""
        text = f"{status.state}\n{status.words}\n" if status.words else f"{status.state}\n"
        self.write(schema.STATUS, lambda path: write_text(path, text))

    def progress(self) -> Progress | None:
        """What a run at work last said of itself."""
        try:
            return self._read(schema.PROGRESS, _json(Progress), None)
        except Damaged:  # words only
            return None

    def write_progress(self, progress: Progress) -> None:
        """Write ``progress.json``."""
        self.write_json(schema.PROGRESS, progress.content())

    def scores(self) -> pd.DataFrame:
        """Per-image scores with :data:`results.schema.SCORE_COLUMNS`; empty where there are none yet."""
        return self._read(schema.SCORES, integrity.scores, _table(schema.SCORE_COLUMNS))

    def write_scores(self, scores: pd.DataFrame) -> None:
        """Write ``scores.csv``, numbers with six digits."""
        table = scores.reindex(columns=list(schema.SCORE_COLUMNS))

        def write(path: Path) -> None:
            table.to_csv(path, index=False, float_format="%.6f", lineterminator="\n", errors="backslashreplace")

        self.write(schema.SCORES, write)

    def rhythm(self) -> pd.DataFrame:
        """The rhythm with :data:`results.schema.RHYTHM_COLUMNS`; empty where there is none yet."""
        return self._read(schema.RHYTHM, integrity.rhythm, _table(schema.RHYTHM_COLUMNS))

    def write_rhythm(self, rhythm: pd.DataFrame) -> None:
        """Write ``rhythm.parquet``."""
        self._write_table(schema.RHYTHM, rhythm[list(schema.RHYTHM_COLUMNS)])

    def conflicts(self) -> pd.DataFrame:
        """Probed conflicts with :data:`results.schema.CONFLICT_COLUMNS`; empty where none were probed."""
        return self._read(schema.CONFLICTS, integrity.conflicts, _table(schema.CONFLICT_COLUMNS))

    def write_conflicts(self, conflicts: pd.DataFrame) -> None:
        """Write ``conflicts.parquet``."""
        self._write_table(schema.CONFLICTS, conflicts[list(schema.CONFLICT_COLUMNS)])

    def curve(self) -> pd.DataFrame:
        """The validation curve with :data:`results.schema.CURVE_COLUMNS`; empty where there is none."""
        return self._read(schema.CURVE, integrity.curve, _table(schema.CURVE_COLUMNS))

    def write_curve(self, curve: pd.DataFrame) -> None:
        """Write ``curve.parquet``."""
        self._write_table(schema.CURVE, curve[list(schema.CURVE_COLUMNS)])

    def _write_table(self, name: str, table: pd.DataFrame) -> None:
        def write(path: Path) -> None:
            with path.open("wb") as file:  # pyarrow opens no path that is not UTF-8
                table.to_parquet(file, index=False)

        self.write(name, write)


def _digest_of(files: dict[str, list[str]]) -> str:
    return integrity.digest(json.dumps(files, sort_keys=True).encode())


def _json(kind: type[R]) -> Callable[[Path, bytes, bool], R]:
    """The reader of a file that holds one record."""
    return lambda path, found, _: integrity.record(kind, path, integrity.parsed(path, found))


def _data(path: Path, found: bytes, _: bool) -> list[DataRecord]:
    return integrity.records(path, found)


def _status(path: Path, found: bytes, _: bool) -> Status:

    state, _newline, words = found.decode("utf-8", errors="replace").partition("\n")
    if state.strip() not in WRITTEN:
        raise Damaged(path, f"it begins with none of {', '.join(WRITTEN)}")
    return Status.of(state.strip(), words.strip())


def _table(columns: Iterable[str]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(columns=list(columns))


_DIGESTS = TypeAdapter(dict[str, list[str]], config={"strict": True})

_NONE = "none"  # stands for the digest of a file that is not there

READERS: dict[str, Callable[[Path, bytes, bool], object]] = {
    schema.CONFIG: _json(RunRecord),
    schema.ENVIRONMENT: _json(Environment),
    schema.DATA: _data,
    schema.STATUS: _status,
    schema.RHYTHM: integrity.rhythm,
    schema.SCORES: integrity.scores,
    schema.CONFLICTS: integrity.conflicts,
    schema.CURVE: integrity.curve,
}
"""How each file is read: from its path (for messages), its bytes, and whether these are known to be as written."""


class _Legible(Run):
    def __init__(self, run: Run):
        super().__init__(run.folder)
        self._damaged = run.damage()

    def damage(self) -> dict[str, str]:
        return self._damaged

    def legible(self) -> Run:
        return self

    def _digests(self) -> dict[str, list[str]]:
        return {} if schema.DIGESTS in self._damaged else super()._digests()

    def _read(self, name: str, read: Callable[[Path, bytes, bool], T], empty: E) -> T | E:
        return empty if name in self._damaged else super()._read(name, read, empty)


class ReadOnlyRun(Run):
    """A run that another process writes: writing does nothing."""

    def write(self, name: str, write: Callable[[Path], object], keep: str | None = None) -> None:
        """Leave it to the process that writes."""

    def keep(self, name: str, ending: str) -> None:
        """Leave it to the process that writes."""
