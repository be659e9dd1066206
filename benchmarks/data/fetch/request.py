"""``python -m benchmarks.data fetch``: which sets, what is said of them, and what is left to do."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.config.data_sets import Catalogue, DataSet
from benchmarks.config.errors import UserError, quoted, unknown
from benchmarks.config.settings import Setting
from benchmarks.data import layouts
from benchmarks.data.audit.listing import sets_of
from benchmarks.data.fetch.download import download
from benchmarks.data.fetch.registry import sources
from benchmarks.data.fetch.standing import Standing, by_hand, described, in_words, lacks_room, look
from benchmarks.data.files import text

SHOWN = 10  # files of a set that could not be had and are named


@dataclass(frozen=True)
class FetchRequest:
    """What is asked for: sets by ``names``, and all that ``setting`` needs; ``mirrors`` are asked before the pinned
    addresses, for files where a data root has them."""

    names: Sequence[str]
    setting: Setting | None
    root: Path
    mirrors: Sequence[str]
    catalogue: Catalogue

    def standings(self) -> tuple[list[Standing], list[DataSet]]:
        """The sets to be fetched, as they stand, and those of the setting that cannot be and are not there.

        Raises:
            UserError: with everything that is wrong with the request, and every file that is in the way.
        """
        problems = [
            f"--mirror {quoted(mirror)}: an address is needed that begins with https:// or http://"
            for mirror in self.mirrors
            if not re.match(r"https?://[^/\s]+", mirror)
        ]
        problems += [self._not_to_be_had(name) for name in self.names if name not in sources()]
        if os.path.lexists(self.root) and not self.root.is_dir():
            problems.append(f"the data root {text(self.root)!r} is not a folder")
        if problems:
            raise UserError("this cannot be fetched:", problems)
        needed = [self.catalogue.get(name) for name in (sets_of(self.setting) if self.setting else ())]
        wholes = dict.fromkeys([*self.names, *(data_set.whole for data_set in needed)])
        found = [
            look(sources()[name], self.catalogue.get(name), self.root, self.mirrors)
            for name in wholes
            if name in sources()
        ]
        if problems := [problem for standing in found for problem in standing.problems]:
            raise UserError(f"there are files in the way below {text(self.root)}; nothing was fetched:", problems)
        rest = [self.catalogue.get(name) for name in wholes if name not in sources()]
        return found, [data_set for data_set in rest if not self._there(data_set)]

    def _there(self, data_set: DataSet) -> bool:
        located = layouts.locate(data_set, self.root) if self.root.is_dir() or data_set.root else None
        return located is not None and 0 < len(located.pairs) >= data_set.expected

    def _not_to_be_had(self, name: str) -> str:
        if name not in self.catalogue.sets:
            return unknown("data set", name, sources())
        return f"{name} lies complete in no public repository that is known: {self.catalogue.get(name).where()}"

    @property
    def check(self) -> str:
        """The command that looks whether everything is there."""
        setting = f" --setting {shlex.quote(self.setting.place or self.setting.name)}" if self.setting else ""
        return f"python -m benchmarks.data check{setting} --data-root {shlex.quote(text(self.root))}"


def fetch(request: FetchRequest) -> bool:
    """Say what there is to fetch and under which terms, fetch it, and say what is left; returns whether all that can be
    fetched is there.

    Raises:
        UserError: as :meth:`FetchRequest.standings` does; where the disk has no room.
        OSError: if a file cannot be written.
    """
    standings, rest = request.standings()
    if standings:
        print("\n".join(described(standing, request.root) for standing in standings))
    if rest:
        print("\nTo be fetched by hand, for they lie complete in no public repository that is known:")
        print("\n".join(map(by_hand, rest)))
    if lacking := lacks_room(standings, request.root):
        raise UserError(lacking)
    print(flush=True)
    failed: dict[str, str] = {}
    for standing in standings:
        if standing.wanted:
            failed |= _fetched(standing, request)
    print(f"Check with: {request.check}")
    if standings and not failed and request.setting:
        run = f"python -m benchmarks.run --setting {shlex.quote(request.setting.place or request.setting.name)}"
        missing = " --missing synthesise" if rest else ""
        print(f"Train with: {run} --data-root {shlex.quote(text(request.root))}{missing}")
    return not failed


def _fetched(standing: Standing, request: FetchRequest) -> dict[str, str]:
    """Fetch what is missing of a set and tell how it went; returns what could not be had, with reasons."""
    name, wanted = standing.data_set.name, standing.wanted
    try:
        failed = download(wanted, request.root, f"fetching {name}")
    except KeyboardInterrupt:
        print(f"{name}: what is complete stays; the same command fetches the rest.", file=sys.stderr)
        raise
    got = len(wanted) - len(failed)
    if got:
        size = f", {in_words(standing.bytes)}" if standing.bytes and not failed else ""
        print(f"{name}: {got} files fetched{size}, every one with the SHA-256 that was pinned.", flush=True)
    if failed:
        print(_told(name, failed), file=sys.stderr)
    return failed


def _told(name: str, failed: dict[str, str]) -> str:
    """What could not be had: one sentence where all failed alike, else file by file."""
    reasons = set(failed.values())
    if len(reasons) == 1 and len(failed) > 1:
        lines = [f"{name}: {len(failed)} files could not be had, such as {min(failed)}: {reasons.pop()}."]
    else:
        lines = [f"{name}: {path}: {reason}." for path, reason in list(failed.items())[:SHOWN]]
        lines += [f"{name}: and {len(failed) - SHOWN} files more."] if len(failed) > SHOWN else []
    lines.append(
        f"{name}: what is complete stays; the same command fetches the rest. A server that has the files can be"
    )
    lines[-1] += " named by --mirror; a proxy by HTTPS_PROXY."
    return "\n".join(lines)


def listing(catalogue: Catalogue) -> str:
    """The sets that can be fetched."""
    lines = ["These sets can be fetched (python -m benchmarks.data fetch NAME ... --data-root DIR):"]
    for name, source in sources().items():
        size = f", {in_words(source.bytes)}" if source.bytes else ""
        note = f"; {source.note}" if source.note else ""
        lines.append(
            f"  {name:10} {len(source.entries)} files{size}; {catalogue.get(name).title}; {source.terms}{note}"
        )
    return "\n".join([*lines, "Of all others, python -m benchmarks.data list names the home page."])
