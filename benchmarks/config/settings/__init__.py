"""Settings: tasks, training and test sets, mixing and protocol, one declarative file each."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

import baselines
from benchmarks.config import data_sets
from benchmarks.config.errors import UserError, nearest, quoted

FOLDER = Path(__file__).parent
Mixing = Literal["shuffled", "balanced", "stratified"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class TestSet(_Part):
    """One column of the table: the images of ``set`` in the degradation of its task.

    ``severity``: where this set's inputs are made (embedded data, clean sets, missing ones); without it the task's own,
    or the mildest test severity of the degradation.
    """

    __test__ = False  # pytest: not a test

    name: str
    set: str
    severity: float | None = None


class Task(_Part):
    """One degradation to undo.

    ``degradation`` makes it from clean images with a fixed ``severity``, or with severities ``drawn`` between two
    bounds (by default those of the degradation); a paired training set brings its own inputs. ``train`` names sets, or
    parts of sets (``AllWeather:snow``). ``repeats`` says how often the training list holds each of the sets' samples.
    A task without ``test`` sets is trained only.
    """

    name: str
    degradation: str
    severity: float | None = None
    drawn: tuple[float, float] | None = None
    train: tuple[str, ...] = Field(min_length=1)
    repeats: int = Field(1, ge=1)
    test: tuple[TestSet, ...] = ()

    @model_validator(mode="after")
    def _one_severity(self) -> Task:
        if self.severity is not None and self.drawn is not None:
            raise ValueError(f"{self.name}: either one severity or bounds to draw it from")
        return self

    @property
    def list_length(self) -> int:
        """Samples of the task in the published training list: what its sets hold, times its repeats.

        Where fewer images are at hand, or further sets join in, the list keeps this length, so that the shares of the
        tasks stay the published ones.
        """
        return sum(data_sets.get(name).expected for name in self.train) * self.repeats


class Setting(_Part):
    """A set of tasks with training sets, test sets, mixing and metric protocol.

    ``mixing``: ``shuffled`` draws from the shuffled concatenation of all training sets with their repeats (PromptIR),
    ``balanced`` puts equally many samples of every task in each batch (AirNet), ``stratified`` keeps in every batch
    the shares that the list has; a baseline's recipe may name its own instead. ``selection``: which checkpoint is
    scored. ``recipe``: what training in this setting changes in every baseline's recipe, by profile; a table with a
    baseline's name stands for that baseline in place of all of it, so an empty one keeps its own recipe.
    """

    name: str
    title: str
    source: str
    protocol: str
    mixing: Mixing = "shuffled"
    selection: Literal["last"] = "last"
    tasks: tuple[Task, ...] = Field(min_length=1)
    recipe: dict[Literal["demo", "paper"], dict[str, Any]] = {}

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
            if odd := [
                name for name in found if not 0 < len(name) <= 60 or {*name} & {*"/\\"} or not name.isprintable()
            ]:
                raise ValueError(f"{kind} {quoted(odd[0])} cannot name a file")
        return self

    @model_validator(mode="after")
    def _known_baselines(self) -> Setting:
        known = baselines.names()
        for profile, table in self.recipe.items():
            for name, change in table.items():
                if isinstance(change, dict) and name not in known:
                    raise ValueError(f"recipe.{profile}.{name}: no such baseline{nearest(name, known)}")
        return self

    def changes(self, profile: str, baseline: str) -> dict[str, Any]:
        """What training in this setting changes in the baseline's recipe."""
        table = self.recipe.get(profile, {})
        if isinstance(own := table.get(baseline), dict):
            return own
        return {key: value for key, value in table.items() if not isinstance(value, dict)}

    @property
    def task_names(self) -> tuple[str, ...]:
        return tuple(task.name for task in self.tasks)

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


def names() -> list[str]:
    """Settings that :func:`load` knows."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


@cache
def load(name: str) -> Setting:
    """The setting of that name.

    Raises:
        UserError: if there is none, naming the nearest, or if its file has mistakes, naming each.
    """
    path = FOLDER / f"{name}.toml"
    if name not in names():
        raise UserError(f"unknown setting {quoted(name)}{nearest(name, names())} Known: {', '.join(names())}.")
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        if "name" in content:
            raise UserError(f"{path.name} gives a name; a setting goes by that of its file.")
        return Setting.model_validate({"name": name} | content)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UserError(f"{path.name} is not TOML: {error}.") from error
    except ValidationError as error:
        told = (f"{'.'.join(map(str, one['loc'])) or 'together'}: {one['msg']}" for one in error.errors())
        raise UserError(f"the setting {path.name} is not valid:", told) from error
