"""Settings: tasks, training and test sets, mixing and protocol, one declarative file each."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

import baselines
from benchmarks.config import data_sets, degradations, protocols
from benchmarks.config.data_sets import Catalogue, DataSet
from benchmarks.config.errors import UserError, mistakes, nearest, quoted, unknown
from benchmarks.config.mixing import Mixing, MixingText
from benchmarks.config.outside import content_of, points

FOLDER = Path(__file__).parent
Profile = Literal["demo", "paper"]
Recipe = dict[str, JsonValue]

_NAME = re.compile(r"(?!(con|prn|aux|nul|com\d|lpt\d)$)\w[\w-]{0,59}", re.IGNORECASE | re.ASCII)  # of a folder anywhere
_Word = Annotated[str, Field(pattern=r"^\w[\w-]*$", max_length=60)]
_Target = Annotated[str, Field(pattern=r"^\w[\w.]*:\w+$")]
_FOR_PEOPLE = ("title", "source")  # keys of a file that change nothing of what is computed


class _Known(NamedTuple):
    """What the tasks of a setting may name."""

    catalogue: Catalogue
    degradations: Mapping[str, str]


def _known(context: object) -> _Known:
    """What the context of a validation knows; without one, what every setting does."""
    return context if isinstance(context, _Known) else _Known(data_sets.known(), degradations.known())


def _said(get: Callable[[str], object], name: str) -> None:
    """Look a name up; what is wrong with it becomes one of the mistakes that pydantic collects."""
    try:
        get(name)
    except UserError as error:
        raise ValueError(str(error)) from None


def _names_a_file(name: str) -> str:
    if not 0 < len(name) <= 60 or {*name} & {*"/\\"} or not name.isprintable():
        raise ValueError(f"{quoted(name)} cannot name a file")
    return name


_FileName = Annotated[str, AfterValidator(_names_a_file)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class TestSet(_Part):
    """One column of the table: the images of ``set`` in the degradation of its task.

    ``severity``: where this set's inputs are made (embedded data, clean sets, missing ones); without it the task's own,
    or the mildest test severity of the degradation.
    """

    __test__ = False  # pytest: not a test

    name: _FileName
    set: str
    severity: float | None = None

    @field_validator("set")
    @classmethod
    def _known_set(cls, name: str, info: ValidationInfo) -> str:
        _said(_known(info.context).catalogue.get, name)
        return name


class Task(_Part):
    """One degradation to undo.

    ``degradation`` makes it from clean images with a fixed ``severity``, or with severities ``drawn`` between two
    bounds (by default those of the degradation); a paired training set brings its own inputs. ``train`` names sets, or
    parts of sets (``AllWeather:snow``). ``repeats`` says how often the training list holds each of the sets' samples.
    A task without ``test`` sets is trained only.
    """

    name: _FileName
    degradation: str
    severity: float | None = None
    drawn: tuple[float, float] | None = None
    train: tuple[str, ...] = Field(min_length=1)
    repeats: int = Field(1, ge=1)
    test: tuple[TestSet, ...] = ()

    _degradation_at: str = PrivateAttr("")
    _samples: int = PrivateAttr(0)

    @field_validator("degradation")
    @classmethod
    def _known_degradation(cls, name: str, info: ValidationInfo) -> str:
        names = _known(info.context).degradations
        if name not in names:
            raise ValueError(unknown("degradation", name, names))
        return name

    @field_validator("train")
    @classmethod
    def _known_sets(cls, names: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        catalogue = _known(info.context).catalogue
        for name in names:
            _said(catalogue.get, name)
            if not catalogue.get(name).expected:
                raise ValueError(f"{name} says no expected number of samples, on which the tasks' shares depend")
        return names

    @model_validator(mode="after")
    def _one_severity(self) -> Task:
        if self.severity is not None and self.drawn is not None:
            raise ValueError(f"{self.name}: either one severity or bounds to draw it from")
        return self

    def model_post_init(self, context: object, /) -> None:
        """Note what the names stand for in the setting that is being read."""
        catalogue, places = _known(context)
        self._degradation_at = places[self.degradation]
        self._samples = sum(catalogue.get(name).expected for name in self.train)

    @property
    def degradation_at(self) -> str:
        """Where the degradation stands, as ``module:attribute``."""
        return self._degradation_at

    @property
    def samples(self) -> int:
        """Distinct samples of the task as published: what its sets hold."""
        return self._samples

    @property
    def list_length(self) -> int:
        """Samples of the task in the published training list: :attr:`samples` times its repeats.

        Where fewer images are at hand, or further sets join in, the list keeps this length, so that the shares of the
        tasks stay the published ones.
        """
        return self._samples * self.repeats


class Setting(_Part):
    """A set of tasks with training sets, test sets, mixing and metric protocol.

    ``mixing``: ``shuffled`` draws from the shuffled concatenation of all training sets with their repeats (PromptIR),
    ``balanced`` puts equally many samples of every task in each batch (AirNet), ``stratified`` keeps in every batch
    the shares that the list has; :mod:`benchmarks.config.mixing` describes the others, which draw by rates. A
    baseline's recipe may name its own instead. ``recipe``: what training in this setting changes in every baseline's
    recipe, by profile; a table with a baseline's name stands for that baseline in place of all of it, so an empty one
    keeps its own recipe. ``data_sets``: sets of this setting alone, as in ``sets.toml``; ``degradations``: the same, as
    ``module:attribute``.

    A setting that is none of this project's own has a ``place``, its file or entry point, and a ``digest`` of its
    content. ``part``: some of its tasks are left out (:meth:`only`). ``given``: sets that the user has brought along
    (``--data-sets``); where a task trains on them, how many samples they have is part of the ``digest``.
    """

    name: str
    title: str
    source: str
    protocol: str
    mixing: MixingText = "shuffled"
    tasks: tuple[Task, ...]
    recipe: dict[Profile, Recipe] = {}
    data_sets: dict[str, DataSet] = {}
    given: dict[str, DataSet] = {}
    degradations: dict[_Word, _Target] = {}
    place: str = ""
    digest: str = ""
    part: bool = False

    @field_validator("protocol")
    @classmethod
    def _known_protocol(cls, name: str) -> str:
        _said(protocols.get, name)
        return name

    @model_validator(mode="after")
    def _unique(self) -> Setting:
        for kind, found in (
            ("task", [task.name for task in self.tasks]),
            ("test set", [test.name for task in self.tasks for test in task.test]),
        ):
            twice = {name for name in found if found.count(name) > 1}
            if twice:
                raise ValueError(f"{kind} {sorted(twice)[0]!r} is there twice")
            if not found:
                raise ValueError(f"there is no {kind}")
        return self

    @model_validator(mode="after")
    def _mixes_its_tasks(self) -> Setting:
        Mixing.parse(self.mixing).within(self.task_names)
        return self

    @field_validator("recipe")
    @classmethod
    def _known_baselines(cls, recipe: dict[Profile, Recipe]) -> dict[Profile, Recipe]:
        known = baselines.names()
        for profile, table in recipe.items():
            for name, change in table.items():
                if isinstance(change, dict) and name not in known:
                    raise ValueError(f"{profile}.{name}: no such baseline{nearest(name, known)}")
        return recipe

    def changes(self, profile: Profile, baseline: str) -> Recipe:
        """What training in this setting changes in the baseline's recipe."""
        table = self.recipe.get(profile, {})
        if isinstance(instead := table.get(baseline), dict):
            return instead
        return {key: value for key, value in table.items() if not isinstance(value, dict)}

    @property
    def catalogue(self) -> Catalogue:
        """The data sets that can be named in this setting."""
        return Catalogue({**data_sets.known().sets, **self.given, **self.data_sets})

    def data_set(self, name: str) -> DataSet:
        """The data set of that name, or a part of one.

        Raises:
            UserError: if there is none, naming the nearest.
        """
        return self.catalogue.get(name)

    @property
    def task_names(self) -> tuple[str, ...]:
        """Names of the tasks, in their order."""
        return tuple(task.name for task in self.tasks)

    def only(self, names: Sequence[str]) -> Setting:
        """The setting with some of its tasks, in its own order.

        Raises:
            UserError: for a name that is none of its tasks, or where none of those named has a test set.
        """
        if strangers := [name for name in names if name not in self.task_names]:
            raise UserError(unknown(f"task of {self.name}", strangers[0], self.task_names))
        tasks = tuple(task for task in self.tasks if task.name in names)
        if not any(task.test for task in tasks):
            raise UserError(f"{', '.join(names)}: no test set of {self.name} scores these tasks.")
        return self.model_copy(update={"tasks": tasks, "part": self.part or len(tasks) < len(self.tasks)})

    @property
    def list_length(self) -> int:
        """Samples of the published training list."""
        return sum(task.list_length for task in self.tasks)

    @property
    def train_sets(self) -> tuple[str, ...]:
        """Names of all training sets, each once."""
        return tuple(dict.fromkeys(name for task in self.tasks for name in task.train))

    @property
    def test_sets(self) -> tuple[str, ...]:
        """Names of all test sets, each once."""
        return tuple(dict.fromkeys(test.set for task in self.tasks for test in task.test))


def _plugged() -> dict[str, EntryPoint]:
    return {point.name: point for point in points("benchmarks.settings")}


def names() -> list[str]:
    """Settings that :func:`load` knows by name: this project's, and those of the entry-point group
    ``benchmarks.settings``, each entry of which gives a file or its content."""
    return sorted({path.stem for path in FOLDER.glob("*.toml")} | _plugged().keys())


def load(name: str, given: Mapping[str, DataSet] | None = None) -> Setting:
    """The setting of that name, or of a file of the user's own (``path/to/mine.toml``).

    Args:
        name: of the setting, or its file.
        given: sets that the user has brought along (:func:`data_sets.read`); those of the setting's file count more.

    Raises:
        UserError: if there is none, naming the nearest, or if its file has mistakes, naming each.
    """
    given = given or {}
    if name.endswith(".toml"):
        path = Path(name)
        if path.stem in names():
            raise UserError(f"{path}: {path.stem} is the name of another setting; give the file a name of its own.")
        return _read(path.stem, path, str(path.absolute()), given)
    if name not in names():
        raise UserError(f"{unknown('setting', name, names())[:-1]}; or the path of your own, such as mine.toml.")
    path = FOLDER / f"{name}.toml"
    if path.is_file():
        return _read(path.stem, path, "", given) if given else _packaged(path)
    return _read(name, content_of(_plugged()[name]), name, given)


@cache
def _packaged(path: Path) -> Setting:
    return _read(path.stem, path, "", {})


def _read(name: str, content: Path | Mapping[str, JsonValue], place: str, given: Mapping[str, DataSet]) -> Setting:
    """A setting from its file, or from the content of one; ``place``: where it came from, empty for our own."""
    shown = content.name if isinstance(content, Path) else name
    if isinstance(content, Path):
        try:
            content = tomllib.loads(content.read_text(encoding="utf-8"))
        except OSError as error:
            raise UserError(f"the file of the setting, {content}: {error.strerror}.") from error
        except (ValueError, RecursionError) as error:
            raise UserError(f"{shown} is not TOML: {error}.") from error
    if not _NAME.fullmatch(name):
        raise UserError(f"{quoted(name)} cannot name a setting: at most 60 letters, digits, _ and -, as in mine.toml.")
    if ours := {"name", "place", "digest", "part", "given"} & content.keys():
        raise UserError(f"{shown} gives a {min(ours)}; a setting goes by that of its file.")
    tables = [content.get(key) for key in ("data_sets", "degradations")]
    sets, degraded = (table if isinstance(table, dict) else {} for table in tables)
    places = {key: place for key, place in degraded.items() if isinstance(place, str)}
    others = {**data_sets.known().sets, **given}
    found, problems = data_sets.parse(sets, others)
    problems = [f"data_sets.{problem}" for problem in problems]
    known = _Known(Catalogue({**others, **found}), degradations.known() | places)
    fields = {**content, "name": name, "place": place, "digest": _digest(content) if place else "", "given": {**given}}
    fields |= {"data_sets": found} if sets else {}
    try:
        setting = Setting.model_validate(fields, context=known)
    except ValidationError as error:
        raise UserError(f"the setting {shown} is not valid:", problems + mistakes(error, Setting)) from error
    if problems:
        raise UserError(f"the setting {shown} is not valid:", problems)
    if counts := _given_counts(setting):
        setting = setting.model_copy(update={"digest": _digest({"setting": setting.digest, "expected": counts})})
    return setting


def _given_counts(setting: Setting) -> dict[str, JsonValue]:
    """Samples of the training sets that are among the ``given``: they decide the tasks' shares. Which files are used is
    no part of this: their own digests stand for them."""
    counts = dict[str, JsonValue]()
    for name in setting.train_sets:
        data_set = setting.data_set(name)
        if data_set.whole in setting.given.keys() - setting.data_sets.keys() - data_sets.known().sets.keys():
            counts[name] = data_set.expected
    return counts


def _digest(content: Mapping[str, JsonValue]) -> str:
    """Stands for what a setting's file says, but for the words for people and the form of the file."""
    computing = {key: value for key, value in content.items() if key not in _FOR_PEOPLE}
    return hashlib.sha256(json.dumps(computing, sort_keys=True, default=str).encode()).hexdigest()[:16]
