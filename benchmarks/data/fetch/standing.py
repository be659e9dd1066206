"""What of a set is there already, and what stands in the way of the rest; words for both."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from benchmarks.config.data_sets import DataSet
from benchmarks.data import layouts
from benchmarks.data.fetch.download import Wanted
from benchmarks.data.fetch.registry import Entry, Source
from benchmarks.data.files import not_regular, text

HOME = "https://github.com"
SHOWN = 5  # files of a set that a message names


@dataclass
class Standing:
    """A set that is to be fetched below a root.

    Attributes:
        there: whether all of it is, in this form or another one.
        wanted: the files that are not there.
        problems: files in the way, by name.
        note: where it is, if it is there in another form.
    """

    source: Source
    data_set: DataSet
    there: bool = False
    wanted: list[Wanted] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    note: str = ""

    @property
    def bytes(self) -> int:
        """About how many there are to fetch; 0 where that is not known."""
        return self.source.bytes * len(self.wanted) // len(self.source.entries)


def look(source: Source, data_set: DataSet, root: Path, mirrors: Sequence[str]) -> Standing:
    """See what of the set lies below ``root``.

    A file that is not the one to be fetched is never written over, and a set that is there in part in another form is
    not mixed with this one.
    """
    standing, folder = Standing(source, data_set), data_set.folders[0]
    ours, found = set[Path](), 0
    for entry in source.entries:
        place = root / folder / entry.path
        ours.add(place)
        if not os.path.lexists(place):
            standing.wanted.append(_wanted(entry, f"{folder}/{entry.path}", source, mirrors))
        elif _sha256(place) == entry.sha256:
            found += 1
        else:
            standing.problems.append(f"{folder}/{entry.path} is another file than the one to be fetched; move it away")
    located = layouts.locate(data_set, root) if root.is_dir() else None
    others = [path for path in located.files() if path not in ours] if located else []
    if located and len(located.pairs) >= data_set.expected and not found:
        where = os.path.dirname(located.files()[0].relative_to(root)) or "."
        note = f"it is there already, in other files, in {text(where)}/, and left as it is"
        return Standing(source, data_set, there=True, note=note)
    if others:
        names = ", ".join(text(path.relative_to(root).as_posix()) for path in others[:SHOWN])
        more = f" and {len(others) - SHOWN} more" if len(others) > SHOWN else ""
        standing.problems.append(
            f"{data_set.name} has other files there ({names}{more}); move them away, so that no sample counts "
            "twice, or take another --data-root"
        )
    standing.there = not standing.wanted and not standing.problems
    return standing


def _wanted(entry: Entry, path: str, source: Source, mirrors: Sequence[str]) -> Wanted:
    urls = [f"{mirror.rstrip('/')}/{quote(path)}" for mirror in mirrors]
    return Wanted(path, entry.sha256, (*urls, *(address.url(entry.place) for address in source.addresses)))


def _sha256(path: Path) -> str:
    """Of a file; of nothing where it cannot be read."""
    try:
        if not_regular(path):
            return ""
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def described(standing: Standing, root: Path) -> str:
    """What is to be fetched, from where and under which terms: said before anything is."""
    source, data_set = standing.source, standing.data_set
    count = len(standing.wanted)
    if not count:
        return f"{data_set.name}: {standing.note or f'all {len(source.entries)} files are there'}."
    size = f", {in_words(standing.bytes)}" if standing.bytes else ""
    rest = f" of {len(source.entries)}" if count < len(source.entries) else ""
    lines = [f"{data_set.name}: {data_set.title}", f"    {count}{rest} files{size}, to {root / data_set.folders[0]}"]
    lines += [f"    from     {HOME}/{address.repository} at {address.commit[:10]}" for address in source.addresses]
    lines.append(f"    terms    {source.terms}; no terms of the images stand where they lie")
    lines.append(f"    home     {data_set.home}")
    return "\n".join(lines + [f"    note     {source.note}"] * bool(source.note))


def by_hand(data_set: DataSet) -> str:
    """A set that nobody can fetch by a command: where it is, how it must lie, under which terms."""
    size = f"{data_set.expected:,} samples" if data_set.expected else ""
    facts = {"layout": data_set.places, "size": size, "home": data_set.home, "licence": data_set.licence}
    lines = [f"    {name:8} {fact}" for name, fact in facts.items() if fact]
    return "\n".join([f"{data_set.name}: {data_set.title or 'a set of your own'}", *lines])


def lacks_room(standings: Sequence[Standing], root: Path) -> str:
    """A sentence where the disk has no room for what is to be fetched; else nothing."""
    needed = sum(standing.bytes for standing in standings)
    while not root.exists() and root != root.parent:
        root = root.parent
    free = shutil.disk_usage(root).free
    if needed <= free:
        return ""
    room = f"{root} has room for {in_words(free)}"
    return f"{in_words(needed)} are to be fetched, and {room}; make room, or fetch fewer sets."


def in_words(size: int) -> str:
    """A number of bytes for people."""
    return f"{size / 1e6:,.0f} MB" if size >= 1e6 else f"{size / 1e3:,.0f} kB"
