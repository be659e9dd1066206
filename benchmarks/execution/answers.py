"""What a worker of a cluster sends of its run: data with a schema, checked before anything is written.

An answer is a list of pieces (bytes). Put together they are one line of JSON, ``{"state": ..., "reason": ..., "files":
[[name, bytes], ...]}``, and behind it the contents of the files one after the other.
"""

from __future__ import annotations

import json
import math
import os
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PureWindowsPath
from typing import Any

from pydantic import TypeAdapter

from results import Damaged, Status
from results import schema as names
from results.records import WRITTEN, Progress, RunRecord, State, TaskProgress
from results.store import READERS
from results.visible import visible

FILES = (names.CONFIG, names.ENVIRONMENT, names.DATA, names.RHYTHM, names.SCORES, names.CONFLICTS, names.CURVE,
         names.CHECKPOINT, names.PREVIOUS, names.STATUS, names.DIGESTS)  # fmt: skip
"""Files that travel both ways."""

TRACE = "traceback.txt"
DONE = (names.ENVIRONMENT, names.DATA, names.RHYTHM, names.SCORES, names.CHECKPOINT)
"""Files without which no run is done."""

SMALL = 256 * 2**20  # bytes of a file that is no checkpoint
MOST = 1000  # files of a run
PIECE = 256 * 2**20  # bytes of a piece: Dask's messages are made of parts below 2 GiB

_SAMPLE = re.compile(r"samples/\w[\w.,:+()=&' -]*\.png")
_LONGEST_REASON = 2000

Files = dict[str, bytes]
_MESSAGE = TypeAdapter[tuple[str, Progress]](tuple[str, Progress])


class AnswerError(ValueError):
    """What was sent is none of a run; the message says why."""


def packed(folder: Path, wanted: Iterable[str]) -> Files:
    """The contents of those of the wanted files that are there."""
    return {name: (folder / name).read_bytes() for name in wanted if (folder / name).is_file()}


def sealed(status: Status, files: Files) -> list[bytes]:
    """An answer's pieces."""
    listed = [[name, len(content)] for name, content in files.items()]
    head = json.dumps({"state": status.state, "reason": status.words, "files": listed}).encode() + b"\n"
    whole = b"".join([head, *files.values()])
    return [whole[start : start + PIECE] for start in range(0, len(whole), PIECE)]


def opened(answer: Any, record: RunRecord, needed: Sequence[str] = DONE) -> tuple[Status, Files]:
    """Status and files of an answer, without those that the command writes itself: configuration, status, digests.

    Args:
        answer: what came.
        record: the ``config.json`` of the run that was asked for.
        needed: files without which it is not done.

    Raises:
        AnswerError: if it is no answer, or that of another run.
    """
    if isinstance(answer, str):  # the transport's words
        raise AnswerError(visible(answer))
    if not (isinstance(answer, list | tuple) and all(isinstance(piece, bytes) for piece in answer)):
        raise AnswerError(f"an answer of {type(answer).__name__}")
    head, _, body = b"".join(answer).partition(b"\n")
    status, sizes = _head(head)
    if sum(size for _, size in sizes) != len(body):
        raise AnswerError(f"{len(body):,} bytes, where its list of files has {sum(size for _, size in sizes):,}")
    files, start = {}, 0
    for name, size in sizes:
        files[name] = body[start : start + size]
        start += size
    if len(files) < len(sizes):
        raise AnswerError("two files of one name")
    check_files(files)
    try:
        found = {name: read(Path(name), files[name], False) for name, read in READERS.items() if name in files}
    except Damaged as damaged:
        raise AnswerError(visible(damaged)) from None
    sent = found.get(names.CONFIG)
    if isinstance(sent, RunRecord) and sent.hash != record.hash:
        raise AnswerError("the files of another run")
    for name in (names.CONFIG, names.STATUS, names.DIGESTS):
        files.pop(name, None)
    missing = [name for name in needed if name not in files]
    if status.state == State.DONE and missing:
        raise AnswerError(f"a finished run without {', '.join(missing)}")
    return status, files


def _head(line: bytes) -> tuple[Status, list[tuple[str, int]]]:
    try:
        head = json.loads(line)
        state, reason, listed = head["state"], head["reason"], [(name, size) for name, size in head["files"]]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise AnswerError("no list of files at its beginning") from None
    if state not in WRITTEN or not isinstance(reason, str):
        raise AnswerError(f"the state {visible(repr(state)[:50])}, which is none")
    if not all(isinstance(name, str) and type(size) is int and size >= 0 for name, size in listed):
        raise AnswerError("a list of files that is none")
    return Status.of(state, visible(reason[:_LONGEST_REASON], lines=True)), listed


def check_files(files: Mapping[str, bytes]) -> None:
    """Whether these are files of one run.

    A name is one of a run's files or that of a picture below ``samples``; no link, no path, nothing that a system takes
    for a device, for another drive or for the name of another of them.

    Raises:
        AnswerError: otherwise.
    """
    if len(files) > MOST:
        raise AnswerError(f"{len(files)} files, and no run has more than {MOST}")
    alike: dict[str, str] = {}
    for name, content in files.items():
        if name not in (*FILES, TRACE) and not _fine_sample(name):
            raise AnswerError(f"a file named {visible(repr(name)[:200])} is none of a run")
        other = alike.setdefault(unicodedata.normalize("NFC", name).casefold(), name)
        if other != name:
            raise AnswerError(f"files named {other!r} and {name!r} are the same on some systems")
        if len(content) > SMALL and name not in (names.CHECKPOINT, names.PREVIOUS):
            raise AnswerError(f"{name} of {len(content) / 2**20:,.0f} MiB, and {SMALL // 2**20} MiB are the limit")


def _fine_sample(name: str) -> bool:
    if not _SAMPLE.fullmatch(name) or len(name.encode()) > 200:
        return False
    picture = name.partition("/")[2]
    stem = picture.split(".")[0].split(":")[0].rstrip(" ")
    return not (PureWindowsPath(picture).drive or _device(stem) or (os.name == "nt" and ":" in picture))


def _device(stem: str) -> bool:
    """Whether Windows takes files of that name for a device, whatever their ending."""
    return bool(re.fullmatch(r"(?i)con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³]", stem))


def progress(message: object) -> tuple[str, Progress]:
    """``(key of the task, progress)`` from a worker's message on its progress.

    Raises:
        AnswerError: if it is none.
    """
    try:
        key, sent = _MESSAGE.validate_python(message)
    except ValueError:
        raise AnswerError("no message on a run's progress") from None
    if not (sent.phase in ("training", "scoring") and 0 <= sent.done <= sent.total and math.isfinite(sent.left)):
        raise AnswerError("no message on a run's progress")
    tasks = {
        name[:100]: TaskProgress(loss=task.loss, weight=task.weight) for name, task in list(sent.tasks.items())[:100]
    }
    return key, Progress(phase=sent.phase, done=sent.done, total=sent.total, left=max(0.0, sent.left), tasks=tasks)


def all_below(folder: Path, wanted: Sequence[str]) -> None:
    """Whether files of these names, written into the folder, stay in it.

    Raises:
        AnswerError: where the folder or one in it is a link.
    """
    for part in {folder, *((folder / name).parent for name in wanted)}:
        if part.is_symlink():
            raise AnswerError(f"{part} is a link; remove it")
