"""The data sets by name: what each holds, where it comes from, and how its files are named and paired.

A set of one's own is a table in a file (``--data-sets``), in a setting's file or behind an entry point: with the keys
of :class:`DataSet`, or with the short ones of :class:`_Written` that say where its two folders lie.
"""

from __future__ import annotations

import os
import re
import tomllib
from argparse import ArgumentParser
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, field_validator

from benchmarks.config.errors import UserError, mistakes, quoted, unknown
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

    @field_validator("target", "input")
    @classmethod
    def _can_be_filled_in(cls, folder: str | None) -> str | None:
        try:
            (folder or "").format(part="")
        except (KeyError, IndexError, ValueError):
            raise ValueError(f"{folder!r}: of braces, only {{part}} can stand in it") from None
        return folder


def _checked(pattern: str) -> str:
    """The regular expression for names of files, from one or from a text with ``{key}``."""
    if "{key}" in pattern:
        pattern = _expression(pattern)
    try:
        groups = re.compile(pattern).groupindex
    except re.error as error:
        raise ValueError(f"{pattern!r} is no regular expression ({error})") from None
    if "key" not in groups:
        raise ValueError(f"{pattern!r} lacks the group (?P<key>...), or {{key}} as in 'rain-{{key}}'")
    return pattern


def _expression(text: str) -> str:
    """Of ``{key}_*``: the key is what pairs an input with its target, ``*`` is anything; both as short as may be."""
    if text.count("{key}") > 1:
        raise ValueError(f"{text!r} holds {{key}} more than once")
    if re.search(r"\.(png|jpe?g|bmp|tiff?|webp)$", text, re.IGNORECASE):
        raise ValueError(f"{text!r}: names are given without their ending")
    meant = {"{key}": "(?P<key>.+?)", "*": ".*?"}
    return "".join(meant.get(piece) or re.escape(piece) for piece in re.split(r"(\{key\}|\*)", text))


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
    """A set: what it holds, where it comes from, how many samples it has (0: not said), how it is laid out.

    ``task``: the task that a further test set (``evaluate.extra``) belongs to; ``trains``: the same of a further
    training set (``data.extra``). ``lists``: files beside or in its folder that name its samples. ``make``: clean
    images of this set may stand in where a ``train`` or ``test`` set is missing. ``zeros``: leading zeros of names
    count, so that ``0001`` and ``000001`` are two samples. ``root``: the folder that ``folders`` lie in, of a set that
    is not below the data root. ``known_as``: the folder of a known set that lies in another one, by which its files go
    in fingerprints, so that a run does not depend on where they lie.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    title: str = ""
    home: str = ""
    licence: str = ""
    expected: int = Field(0, ge=0)
    folders: tuple[str, ...] = Field(min_length=1)
    layouts: tuple[Layout, ...] = Field(min_length=1)
    task: str | None = None
    trains: str | None = None
    lists: tuple[str, ...] = ()
    parts: dict[str, Part] = {}
    part: str = ""
    make: str = ""
    zeros: bool = False
    root: str = ""
    known_as: str = ""

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
        folders = [
            part.format(part=self.part or "<part>") for part in (layout.input, layout.target) if part is not None
        ]
        parts = [f"{os.path.join(self.root, self.folders[0])}/{folder}/".replace("/./", "/") for folder in folders]
        return " with ".join(dict.fromkeys(part.replace("/./", "/") for part in parts))

    def where(self) -> str:
        """Its layout and source, for somebody who has to fetch it."""
        count = f"{self.expected:,} expected" if self.expected else "expected"
        return f"{count} in {self.places}{f'; from {self.home}' if self.home else ''}"


class _Written(BaseModel):
    """A set as a file describes it, where ``folders`` and ``layouts`` may be said for short.

    ``folder``: where it lies, below the data root or, as an absolute path (``~`` is the user's home), anywhere; the
    set's name by default. ``input`` and ``target``: the folders in it of degraded and of clean pictures; without
    ``input`` all is clean. ``input_name``, ``target_name``: how names pair, without their ending; by default both have
    the same.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    title: str = ""
    home: str = ""
    licence: str = ""
    expected: int = Field(0, ge=0)
    folder: str = Field("", min_length=1)
    input: str = Field("", min_length=1)
    target: str = Field("", min_length=1)
    input_name: str = ""
    target_name: str = ""
    folders: tuple[str, ...] = Field((), min_length=1)
    layouts: tuple[Layout, ...] = Field((), min_length=1)
    task: str | None = None
    trains: str | None = None
    lists: tuple[str, ...] = ()
    parts: dict[str, Part] = {}
    make: str = ""
    zeros: bool = False

    @field_validator("target_name", "input_name")
    @classmethod
    def _has_key(cls, pattern: str) -> str:
        return _checked(pattern)

    def data_set(self, name: str, known: DataSet | None) -> DataSet:
        """The set of that name; what is not said is as ``known`` has it, if the name is.

        Raises:
            ValueError: where short and long keys are mixed, or a known set would have other samples than published.
        """
        given = self.model_fields_set
        short = given & {"input", "target", "input_name", "target_name"}
        for one, other in ((short, "layouts"), (given & {"folder"}, "folders")):
            if one and other in given:
                raise ValueError(f"{min(one)} and {other} exclude each other")
        if known and (self.expected or known.expected, self.parts or known.parts) != (known.expected, known.parts):
            raise ValueError("how many samples a known set has cannot be changed; give another set another name")
        fields = known.model_dump() if known else {"folders": (name,), "layouts": ({"target": ".", **_ANY},)}
        fields |= {key: getattr(self, key) for key in given if key in DataSet.model_fields} | {"name": name}
        if "folder" in given or short:
            fields |= self._places(short, fields, known)
        return DataSet.model_validate(fields)

    def _places(self, short: set[str], fields: Mapping[str, Any], known: DataSet | None) -> dict[str, Any]:
        """``root``, ``folders`` and ``layouts`` from the short keys."""
        folder = os.path.expanduser(self.folder) or fields["folders"][0]
        found: dict[str, Any] = {"root": folder, "folders": (".",)} if os.path.isabs(folder) else {"folders": (folder,)}
        if not short:
            general = [layout for layout in fields["layouts"] if not dict(layout).get("folders")]
            return {"root": "", "known_as": known.folders[0] if known else ""} | found | {"layouts": general}
        places = [os.path.join(folder, os.path.expanduser(place)) for place in (self.input, self.target or ".")]
        if any(os.path.isabs(place) for place in places):
            used = [place for place, is_used in zip(places, (self.input, True), strict=True) if is_used]
            if not all(map(os.path.isabs, used)):
                raise ValueError("input and target lie both below the folder, or both at absolute paths")
            root = os.path.commonpath([os.path.normpath(_before_star(place)) for place in used])
            found, places = {"root": root, "folders": (".",)}, [os.path.relpath(place, root) for place in places]
        else:
            places = [self.input, self.target or "."]
        layout = {"target": places[1], "target_name": self.target_name or _ANY["target_name"]}
        if self.input:
            layout |= {"input": places[0], "input_name": self.input_name or _ANY["target_name"]}
        return {"root": ""} | found | {"layouts": (layout,)}


_ANY = {"target_name": "(?P<key>.+)"}


def _before_star(place: str) -> str:
    """The folder that a place lies in, as far as its name is known."""
    before, star, _ = place.partition("*")
    return os.path.dirname(before) if star else before


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
    for point in points("benchmarks.data_sets"):
        found |= _whole(point.name, content_of(point), {})
    return Catalogue(found | _whole("", SETS, {}, ("title", "home", "licence", "expected")))


def add_argument(parser: ArgumentParser) -> None:
    """Let a command take sets that its user brings along: ``--data-sets``, for :func:`read`."""
    parser.add_argument("--data-sets", nargs="+", type=Path, action="extend", default=[], metavar="FILE",
        help="sets of your own, or where known ones lie: tables by name in TOML (benchmarks/DATA.md)")  # fmt: skip


def read(files: Iterable[Path]) -> dict[str, DataSet]:
    """The sets of a user's own files (``--data-sets``). Of a set that is known, a table may say only what is different,
    such as where it lies.

    Raises:
        UserError: if a file cannot be read or has mistakes, naming the set and key of each, or if two have one set.
    """
    found: dict[str, DataSet] = {}
    for file in files:
        sets = _whole(str(file), file, known().sets)
        if twice := sets.keys() & found.keys():
            raise UserError(f"{file}: {min(twice)} is in another of the files too; leave one of the two out.")
        found |= sets
    return found


def _whole(
    place: str, content: Path | Mapping[str, JsonValue], others: Mapping[str, DataSet], needed: Collection[str] = ()
) -> dict[str, DataSet]:
    """The sets of one file, or of the content of one; ``needed``: keys that no table may lack."""
    if isinstance(content, Path):
        place = place or content.name
        try:
            content = tomllib.loads(content.read_text(encoding="utf-8"))
        except OSError as error:
            raise UserError(f"the file of data sets, {content}: {error.strerror}.") from error
        except (ValueError, RecursionError) as error:
            raise UserError(f"{place} is not TOML: {error}.") from error
    sets, problems = parse(content, others)
    for name, fields in content.items():
        problems += [f"{name}.{key}: missing" for key in needed if isinstance(fields, dict) and key not in fields]
    if problems:
        raise UserError(f"{place} has mistakes:", problems)
    return sets


def parse(content: Mapping[str, JsonValue], others: Mapping[str, DataSet]) -> tuple[dict[str, DataSet], list[str]]:
    """Data sets from tables by name, as in ``sets.toml``, and every mistake in them as ``NAME.key: what is wrong``.

    A table whose name is among the ``others`` takes from there what it does not say.
    """
    found, problems = {}, []
    for name, fields in content.items():
        if not isinstance(fields, dict):
            problems.append(f"{name}: a table of a data set is needed")
        elif "name" in fields or ":" in name:
            problems.append(f"{name}: a set goes by the name of its table, without a colon")
        elif not _NAME.fullmatch(name):
            problems.append(f"{quoted(name)} cannot name a data set: letters, digits, _, - and ., 60 at most")
        else:
            try:
                found[name] = _Written.model_validate(fields).data_set(name, others.get(name))
            except ValidationError as error:
                problems += [f"{name}.{problem}" for problem in mistakes(error, _Written)]
            except ValueError as error:
                problems.append(f"{name}: {error}")
    return found, problems


_NAME = re.compile(r"\w[\w.-]{0,59}")
