"""The data sets by name: what each holds, where it comes from, and how its files are named and paired."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError, field_validator

from benchmarks.config.errors import UserError, mistakes, unknown
from benchmarks.config.outside import content_of, points

SETS = Path(__file__).with_name("sets.toml")


class Layout(BaseModel):
    """One way in which a set's files lie in its folder; without ``input`` the set is clean images only.

    ``input`` and ``target`` are folders; ``*`` stands for one part of a name (of a sequence, where both have it) and
    ``{part}`` for the part of the set. ``folders``: this layout is for these folders only; ``suffixes``: of file names;
    ``shared``: other sets' files lie there too.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    target: str
    target_name: str
    input: str | None = None
    input_name: str = "(?P<key>.*)"
    folders: tuple[str, ...] = ()
    suffixes: tuple[str, ...] = ()
    shared: bool = False

    @field_validator("target_name", "input_name")
    @classmethod
    def _has_key(cls, pattern: str) -> str:
        return _checked(pattern)


def _checked(pattern: str) -> str:
    try:
        groups = re.compile(pattern).groupindex
    except re.error as error:
        raise ValueError(f"{pattern!r} is no regular expression ({error})") from None
    if "key" not in groups:
        raise ValueError(f"{pattern!r} lacks the group (?P<key>...)")
    return pattern


class Part(BaseModel):
    """Samples of a set that belong to one task: those in the folder of that name (``{part}`` in the layout), or those
    whose file names fit ``input_name``. ``instead``: the set they were taken from, used where this one is missing."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    expected: int
    input_name: str | None = None
    instead: str | None = None

    @field_validator("input_name")
    @classmethod
    def _has_key(cls, pattern: str | None) -> str | None:
        return pattern and _checked(pattern)


class DataSet(BaseModel):
    """A published set: what it holds, where it comes from, how many samples it has, how it is laid out.

    ``task``: the task that a further test set (``evaluate.extra``) belongs to; ``trains``: the same of a further
    training set (``data.extra``). ``lists``: files beside or in its folder that name its samples. ``make``: clean
    images of this set may stand in where a ``train`` or ``test`` set is missing. ``zeros``: leading zeros of names
    count, so that ``0001`` and ``000001`` are two samples.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    title: str
    home: str
    licence: str
    expected: int
    folders: tuple[str, ...]
    layouts: tuple[Layout, ...]
    task: str | None = None
    trains: str | None = None
    lists: tuple[str, ...] = ()
    parts: dict[str, Part] = {}
    part: str = ""
    make: str = ""
    zeros: bool = False

    @property
    def paired(self) -> bool:
        """Whether it brings degraded inputs."""
        return self.layouts[0].input is not None

    @property
    def instead(self) -> str | None:
        """The set to take where this one is missing."""
        return self.parts[self.part].instead if self.part else None

    @property
    def whole(self) -> str:
        """Name of the set that this is a part of, or its own."""
        return self.name.partition(":")[0]

    @property
    def places(self) -> str:
        """Where its files are looked for first, for people."""
        layout = self.layouts[0]
        parts = [f"{self.folders[0]}/{part}/" for part in (layout.input, layout.target) if part is not None]
        found = dict.fromkeys(part.replace("/./", "/") for part in parts)
        return " with ".join(found).format(part=self.part or "<part>")

    def where(self) -> str:
        """Its layout and source, for somebody who has to fetch it."""
        return f"{self.expected:,} expected in {self.places}; from {self.home}"


@dataclass(frozen=True)
class Catalogue:
    """Data sets by name."""

    sets: Mapping[str, DataSet]

    def get(self, name: str) -> DataSet:
        """The set of that name; ``AllWeather:snow`` is the part ``snow`` of ``AllWeather``.

        Raises:
            UserError: if there is none, naming the nearest.
        """
        whole, _, part = name.partition(":")
        if whole not in self.sets:
            raise UserError(unknown("data set", name, self.sets))
        data_set = self.sets[whole]
        if not part:
            return data_set
        if part not in data_set.parts:
            raise UserError(unknown(f"part of {whole}:", part, data_set.parts))
        return data_set.model_copy(update={"name": name, "part": part, "expected": data_set.parts[part].expected})

    def further(self, tasks: Collection[str], tests: bool = True, trains: bool = True) -> list[str]:
        """Names of the sets that may be further test or training sets of some of the ``tasks``."""
        return [
            name
            for name, data_set in self.sets.items()
            if (tests and data_set.task in tasks) or (trains and data_set.trains in tasks)
        ]


@cache
def known() -> Catalogue:
    """The sets of ``sets.toml``, and those of the entry-point group ``benchmarks.data_sets``, each entry of which gives
    a file like ``sets.toml`` or its content.

    Raises:
        UserError: if one of them has mistakes, naming the set and key of each.
    """
    found: dict[str, DataSet] = {}
    for place, content in (*((point.name, content_of(point)) for point in points("benchmarks.data_sets")), ("", SETS)):
        if isinstance(content, Path):
            place = content.name
            try:
                content = tomllib.loads(content.read_text(encoding="utf-8"))
            except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
                raise UserError(f"{place} is not TOML: {error}.") from error
        sets, problems = parse(content)
        if problems:
            raise UserError(f"{place} has mistakes:", problems)
        found |= sets
    return Catalogue(found)


def parse(content: Mapping[str, JsonValue]) -> tuple[dict[str, DataSet], list[str]]:
    """Data sets from tables by name, as in ``sets.toml``, and every mistake in them as ``NAME.key: what is wrong``."""
    found, problems = {}, []
    for name, fields in content.items():
        if not isinstance(fields, dict):
            problems.append(f"{name}: a table of a data set is needed")
        elif "name" in fields or ":" in name:
            problems.append(f"{name}: a set goes by the name of its table, without a colon")
        else:
            try:
                found[name] = DataSet.model_validate(fields | {"name": name})
            except ValidationError as error:
                problems += [f"{name}.{problem}" for problem in mistakes(error, DataSet)]
    return found, problems
