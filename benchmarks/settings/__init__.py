"""Settings: tasks, training and test sets, mixing and protocol, one declarative file each."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, model_validator

from benchmarks.errors import UserError, nearest

FOLDER = Path(__file__).parent
Mixing = Literal["shuffled", "balanced", "stratified"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TestSet(_Part):
    """One column of the table: the images of ``set`` in the degradation of its task."""

    __test__ = False  # pytest: not a test

    name: str
    set: str


class Task(_Part):
    """One degradation to undo.

    ``degradation`` and ``severity`` make it from clean images (of the ``clean`` sets of the setting, or of a ``clean``
    training set); a paired training set brings its own inputs. ``repeats`` says how often the training list holds
    each of the sets' samples.
    """

    name: str
    degradation: str
    severity: float | None = None
    train: tuple[str, ...]
    repeats: int = 1
    test: tuple[TestSet, ...]


class Setting(_Part):
    """A set of tasks with training sets, test sets, mixing and metric protocol.

    ``mixing``: ``shuffled`` draws from the shuffled concatenation of all training sets with their repeats (PromptIR),
    ``balanced`` puts equally many samples of every task in each batch (AirNet), ``stratified`` keeps in every batch
    the shares that the list has. ``selection``: which checkpoint is scored.
    """

    name: str
    title: str
    source: str
    protocol: str
    mixing: Mixing = "shuffled"
    selection: Literal["last"] = "last"
    tasks: tuple[Task, ...]

    @model_validator(mode="after")
    def _unique(self) -> Setting:
        for kind, found in (
            ("task", [task.name for task in self.tasks]),
            ("test set", [test.name for task in self.tasks for test in task.test]),
        ):
            twice = {name for name in found if found.count(name) > 1}
            if twice:
                raise ValueError(f"{kind} {sorted(twice)[0]!r} is there twice")
        return self

    @property
    def task_names(self) -> tuple[str, ...]:
        return tuple(task.name for task in self.tasks)


def names() -> list[str]:
    """Settings that :func:`load` knows."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


@cache
def load(name: str) -> Setting:
    """The setting of that name.

    Raises:
        UserError: if there is none, naming the nearest.
    """
    path = FOLDER / f"{name}.toml"
    if name not in names():
        raise UserError(f"unknown setting {name!r}{nearest(name, names())} Known: {', '.join(names())}.")
    return Setting(name=name, **tomllib.loads(path.read_text()))
