"""Searches for the parameters of strategies: what ``python -m benchmarks.tune`` leaves behind.

Below ``<output>/tuning/<setting>`` lie

==========================  ===================================================================================
``searches/<name>.json``    one :class:`Search`, written anew after every trial: the source of the other two files
``best.json``               of every search: what was found, the default beside it, how many trials it took
``trials.csv``              one row a trial: parameters, learning rate, validation, seconds, state
``validation-<n>/runs``     the trials' runs, judged on n images a task; reports of ordinary runs never see them
==========================  ===================================================================================
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field, JsonValue, ValidationError

from results.integrity import Damaged
from results.records import Record, State
from results.store import write_atomically, write_text
from results.visible import spreadsheet

if TYPE_CHECKING:
    import pandas as pd

Value = bool | int | float | str
"""Of a parameter."""

BEST, TRIALS, SEARCHES = "best.json", "trials.csv", "searches"


class Trial(Record):
    """One trial of a search.

    Attributes:
        number: from 0, which is at the defaults.
        strategy: its spec.
        values: of the parameters that are searched.
        factor: of the recipe's learning rate.
        lr: that rate times the factor.
        state: ``done``, or ``failed`` where a run of it has failed.
        reason: of the failure.
        tasks: validation PSNR in dB at the end of the training by task, mean over the search's seeds.
        score: their mean over the tasks; ``None`` where it failed.
        seconds: of training, all seeds together.
    """

    number: int
    strategy: str
    values: dict[str, Value]
    factor: float
    lr: float
    state: State
    reason: str = ""
    tasks: dict[str, float] = Field(default_factory=dict[str, float])
    score: float | None = None
    seconds: float = 0.0


class Parameter(Record):
    """A parameter that is searched: from ``low`` to ``high``, or one of ``options``."""

    name: str
    low: float | None = None
    high: float | None = None
    log: bool = False
    options: list[Value] = Field(default_factory=list[Value])


class Search(Record):
    """One search: a baseline with a strategy on a setting.

    Attributes:
        setting, baseline, size, profile: what is trained.
        display: the baseline's name for people.
        strategy: as typed, in its one spelling.
        recipe: stands for all that trains but the seed and what is searched: a search speaks for runs of its recipe.
        cohort: of its runs (:class:`results.records.RunRecord`): the report it belongs to.
        key: the recipe with seeds and validation: two searches of one key are one.
        seeds: each trial is trained with; its score is the mean.
        validation: images a task that judge it.
        lr: the recipe's learning rate.
        wanted: trials that were asked for last.
        space: what is searched beside the factor of the learning rate.
        trials: those that have ended, by number.
    """

    setting: str
    baseline: str
    display: str
    size: str
    profile: str
    strategy: str
    recipe: str
    cohort: str
    key: str
    seeds: list[int]
    validation: int
    lr: float
    wanted: int
    space: list[Parameter] = Field(default_factory=list[Parameter])
    trials: list[Trial] = Field(default_factory=list[Trial])

    @property
    def done(self) -> list[Trial]:
        """Trials with a score."""
        return [trial for trial in self.trials if trial.score is not None]

    @property
    def failures(self) -> list[Trial]:
        """Trials without one."""
        return [trial for trial in self.trials if trial.score is None]

    @property
    def finished(self) -> bool:
        """Whether it has all the trials that were asked for."""
        return len(self.trials) >= self.wanted

    @property
    def best(self) -> Trial | None:
        """The trial with the highest score, the earlier of equal ones."""
        return max(self.done, key=lambda trial: (trial.score or 0.0, -trial.number), default=None)

    @property
    def default(self) -> Trial | None:
        """The trial at the defaults, where it has a score."""
        return next((trial for trial in self.done if trial.number == 0), None)

    @property
    def gain(self) -> float:
        """Best minus default, dB of validation; NaN where one of them failed."""
        if self.best is None or self.default is None:
            return math.nan
        return (self.best.score or 0.0) - (self.default.score or 0.0)

    @property
    def varied(self) -> list[str]:
        """Names of the parameters that are searched."""
        return [parameter.name for parameter in self.space]


def place(output: Path | str, setting: str) -> Path:
    """Where the searches of a setting lie."""
    return Path(output, "tuning", setting)


def read(path: Path) -> Search | None:
    """The search in a file; ``None`` where there is none.

    Raises:
        Damaged: for a file that is no search.
    """
    try:
        return Search.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        mistake = error.errors()[0]
        where = ".".join(map(str, mistake["loc"]))
        raise Damaged(path, f"it is no search ({where or 'as a whole'}: {mistake['msg']})") from None


def write(path: Path, search: Search) -> None:
    """Write a search; readers see the old or the new one, whenever this process ends."""
    text = json.dumps(search.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n"
    write_atomically(path, lambda temporary: write_text(temporary, text))


def searches(output: Path | str, setting: str) -> list[Search]:
    """Every search of a setting that has begun, by the names of their files.

    Raises:
        Damaged: for a file that is none.
    """
    return [search for path in files(output, setting) if (search := read(path)) is not None]


def files(output: Path | str, setting: str) -> list[Path]:
    """The files of the searches of a setting."""
    return sorted((place(output, setting) / SEARCHES).glob("*.json"))


def summarise(folder: Path, found: Sequence[Search]) -> list[Path]:
    """Write ``best.json`` and ``trials.csv`` of these searches into the folder; returns their paths."""
    text = json.dumps([best(search) for search in found], indent=1, ensure_ascii=False) + "\n"
    write_atomically(folder / BEST, lambda path: write_text(path, text))
    content = table(found).map(spreadsheet).to_csv(index=False, lineterminator="\n")
    write_atomically(folder / TRIALS, lambda path: write_text(path, content))
    return [folder / BEST, folder / TRIALS]


def best(search: Search) -> dict[str, JsonValue]:
    """What a search has found, as ``best.json`` holds it; ``found`` is ``None`` where every trial failed."""
    found, default = search.best, search.default
    keys = ("setting", "baseline", "size", "profile", "strategy", "recipe", "seeds", "validation", "wanted")
    return {
        **{key: getattr(search, key) for key in keys},
        "trials": len(search.trials),
        "failures": len(search.failures),
        "found": found.strategy if found else None,
        "lr_factor": found.factor if found else None,
        "lr": found.lr if found else None,
        "score": found.score if found else None,
        "default": default.score if default else None,
    }


def table(found: Sequence[Search]) -> pd.DataFrame:
    """All trials, a row each; parameters as one text, ``validation/<task>`` and ``validation`` in dB."""
    import pandas as pd

    tasks = dict.fromkeys(task for search in found for trial in search.trials for task in trial.tasks)
    rows = [
        {
            "baseline": search.baseline,
            "size": search.size,
            "profile": search.profile,
            "strategy": search.strategy,
            "recipe": search.recipe,
            "seeds": " ".join(map(str, search.seeds)),
            "trial": trial.number,
            "spec": trial.strategy,
            "parameters": " ".join(f"{name}={value}" for name, value in trial.values.items()),
            "lr_factor": trial.factor,
            "lr": trial.lr,
            **{f"validation/{task}": trial.tasks.get(task, math.nan) for task in tasks},
            "validation": math.nan if trial.score is None else trial.score,
            "seconds": trial.seconds,
            "state": str(trial.state),
            "reason": trial.reason,
        }
        for search in found
        for trial in search.trials
    ]
    return pd.DataFrame(rows)
