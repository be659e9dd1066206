"""The data sets by name: what each holds, where it comes from, and how its files are named and paired."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from benchmarks.config.errors import UserError, nearest

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

    def where(self) -> str:
        """Its layout and source, for somebody who has to fetch it."""
        layout = self.layouts[0]
        parts = [f"{self.folders[0]}/{part}/" for part in (layout.input, layout.target) if part is not None]
        places = " with ".join(dict.fromkeys(part.replace("/./", "/") for part in parts)).format(
            part=self.part or "<part>"
        )
        return f"{self.expected:,} expected in {places}; from {self.home}"


@cache
def known() -> dict[str, DataSet]:
    """All sets of ``sets.toml`` by name.

    Raises:
        UserError: if the file has mistakes, naming the set and key of each.
    """
    try:
        content = tomllib.loads(SETS.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{SETS.name} is not TOML: {error}.") from error
    found, problems = {}, []
    for name, fields in content.items():
        try:
            found[name] = DataSet.model_validate(fields | {"name": name} if isinstance(fields, dict) else fields)
        except ValidationError as error:
            problems += [_mistake(name, one) for one in error.errors()]
        except TypeError as error:  # its own name as a key
            problems.append(f"{name}: {error}")
    if problems:
        raise UserError(f"{SETS.name} has mistakes:", problems)
    return found


def _mistake(name: str, error: Any) -> str:
    """One mistake of a set in ``sets.toml``, in words."""
    where = ".".join(map(str, (name, *error["loc"])))
    if error["type"] == "extra_forbidden":
        inside = error["loc"][0] if len(error["loc"]) > 1 else ""
        model = {"layouts": Layout, "parts": Part}.get(inside, DataSet)
        return f"{where}: unknown key{nearest(str(error['loc'][-1]), model.model_fields)}"
    if error["type"] == "missing":
        return f"{where}: missing"
    return f"{where}: {error['msg'].removeprefix('Value error, ')}"


def further(tasks: Collection[str], tests: bool = True, trains: bool = True) -> list[str]:
    """Names of the sets that may be further test or training sets of some of the ``tasks``."""
    return [
        name
        for name, data_set in known().items()
        if (tests and data_set.task in tasks) or (trains and data_set.trains in tasks)
    ]


@cache
def get(name: str) -> DataSet:
    """The set of that name; ``AllWeather:snow`` is the part ``snow`` of ``AllWeather``.

    Raises:
        UserError: if there is none, naming the nearest.
    """
    whole, _, part = name.partition(":")
    if whole not in known():
        raise UserError(f"unknown data set {name!r}{nearest(whole, known())} Known: {', '.join(known())}.")
    data_set = known()[whole]
    if not part:
        return data_set
    if part not in data_set.parts:
        parts = ", ".join(data_set.parts) or "none"
        raise UserError(f"unknown part of {whole}: {part!r}{nearest(part, data_set.parts)} Known: {parts}.")
    return data_set.model_copy(update={"name": name, "part": part, "expected": data_set.parts[part].expected})
