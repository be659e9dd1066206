"""List files: which samples of a set are used.

A line names a sample by its input or its target, with or without folders (of any system) and ending, in quotes or not,
perhaps beside other columns; empty lines and those that begin with ``#`` say nothing. Files may be UTF-8 or UTF-16,
with or without a byte-order mark. What cannot be understood is reported, never passed over.
"""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from benchmarks.data.files import is_picture, not_regular, plain, why

LIMIT = 64 * 2**20  # bytes of a list file
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # begins as UTF-16's does
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_SEPARATORS = re.compile(r"[\s,;|]+")


class UnusableList(Exception):
    """A list file that cannot be read, with the reason in words."""


def lines_of(path: Path) -> list[str]:
    """The lines that name something, without blanks around.

    Raises:
        UnusableList: if the file cannot be read, is too large, or is no text.
    """
    try:
        if reason := not_regular(path):
            raise UnusableList(reason)
        with path.open("rb") as file:
            content = file.read(LIMIT + 1)
    except OSError as error:
        raise UnusableList(why(path, error)) from None
    if len(content) > LIMIT:
        raise UnusableList(f"more than {LIMIT // 2**20} MiB, too much for a list of names")
    lines = (line.strip("\ufeff \t\0\x1a") for line in _decoded(content).splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _decoded(content: bytes) -> str:
    # without a mark, every other byte of plain names in UTF-16 is 0
    plainly = "utf-8" if b"\0" not in content else "utf-16-be" if content[:1] == b"\0" else "utf-16-le"
    mark, encoding = next(((mark, name) for mark, name in _MARKS if content.startswith(mark)), (b"", plainly))
    content = content.removeprefix(mark)
    try:
        # bytes that are no UTF-8 stay as they are in names of files
        found = content.decode(encoding, "surrogateescape" if encoding == "utf-8" else "strict")
    except UnicodeDecodeError:
        raise UnusableList("is not text in UTF-8 or UTF-16") from None
    if "\0" in found.strip("\0"):
        raise UnusableList("is not text in UTF-8 or UTF-16")
    return found


def select(
    lines: Sequence[str], inputs: Sequence[Path], targets: Sequence[Path], belongs: Callable[[str], bool]
) -> tuple[list[int], list[str]]:
    """Which samples the lines name.

    Args:
        lines: of a list file.
        inputs, targets: files of every sample; for clean images both are the same.
        own: whether a name without ending can be one of this part of the set.

    Returns:
        Numbers of the samples in order, and the names among ``own`` that no sample has.
    """

    @cache
    def side(number: int) -> dict[str, list[int]]:
        """Names of inputs, of targets, the same without ending: each made when it is needed."""
        return _index((inputs, targets)[number % 2], (os.path.basename, _stem)[number // 2])

    selected: set[int] = set()
    absent = {}
    for line in lines:
        parts = _SEPARATORS.split(line)
        whole, columns = [_name(line)], []
        # names may hold blanks, so a line with one ending at most is one name, if there is a file of that name
        found = _hits(whole, side) if sum(is_picture(part.strip("\"'")) for part in parts) < 2 else []
        if not found and len(parts) > 1:
            columns = [name for part in (*re.split(r"[\t,;|]", line), *parts) if (name := _name(part))]
            found = _hits(whole + columns, side)
        if found:
            selected.update(found)
        elif strange := [name for name in whole + columns if belongs(_bare(name))]:
            absent[strange[0]] = None
    return sorted(selected), list(absent)


def _index(paths: Sequence[Path], name: Callable[[Path], str]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for number, path in enumerate(paths):
        found.setdefault(plain(name(path)), []).append(number)
    return found


def _stem(path: Path) -> str:
    return path.stem


def _hits(names: Sequence[str], side: Callable[[int], dict[str, list[int]]]) -> list[int]:
    """Samples that a line names: of its columns all that are files, but of bare words the first only, since others may
    be labels."""
    for index in map(side, range(4)):
        hits = [index[name] for name in names if name in index]
        if hits:
            return [number for hit in (hits if any(map(is_picture, names)) else hits[:1]) for number in hit]
    return []


def _name(part: str) -> str:
    """What a line or a column of it names, as names are compared."""
    return plain(part.strip(" \t\"'").replace("\\", "/").rsplit("/", 1)[-1].strip())


def _bare(name: str) -> str:
    return os.path.splitext(name)[0] if is_picture(name) else name
