"""Which sets can be fetched, from where, and the digest of every file."""

from __future__ import annotations

import csv
import hashlib
import tomllib
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field

HOST = "https://raw.githubusercontent.com"
FOLDER = Path(__file__).parent


class Address(BaseModel):
    """A folder in one commit of a repository on GitHub."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    repository: str
    commit: str = Field(pattern="^[0-9a-f]{40}$")
    path: str

    def url(self, place: str) -> str:
        """Where the file lies that is ``place`` below."""
        return f"{HOST}/{self.repository}/{self.commit}/{quote(self.path)}/{quote(place)}"


class Entry(NamedTuple):
    """One file: ``path`` below the set's folder, ``place`` below an address's path."""

    sha256: str
    path: str
    place: str


class Source(BaseModel):
    """A set that can be fetched; the keys of ``sources.toml`` are described there."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    digest: str
    terms: str
    addresses: tuple[Address, ...] = Field(min_length=1)
    bytes: int = 0
    note: str = ""

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Every file of the set."""
        return _entries(FOLDER / "registry" / f"{self.name}.csv")


@cache
def sources() -> dict[str, Source]:
    """The sets that can be fetched, by name."""
    content = tomllib.loads((FOLDER / "sources.toml").read_text(encoding="utf-8"))
    return {name: Source.model_validate(fields | {"name": name}) for name, fields in content.items()}


@cache
def _entries(path: Path) -> tuple[Entry, ...]:
    with path.open(encoding="utf-8", newline="") as file:
        return tuple(Entry(**row) for row in csv.DictReader(file))


def digest_of(entries: Iterable[Entry]) -> str:
    """Stands for all files of a set, their paths included."""
    lines = (f"{entry.sha256}  {entry.path}\n" for entry in sorted(entries, key=lambda entry: entry.path))
    return hashlib.sha256("".join(lines).encode()).hexdigest()
