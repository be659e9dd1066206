"""The resolved configuration of a run: everything that decides what it computes, and its identities."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any, Literal

from pydantic import (
    Field,
    ValidationError,
    model_validator,
)

import art
import baselines
from benchmarks.config import settings
from benchmarks.config.errors import UserError, quoted
from benchmarks.config.overrides import apply
from benchmarks.config.sections import OBSERVING, DataConfig, EvaluateConfig, Section, TrainConfig

Profile = Literal["demo", "paper"]


class Config(Section):
    """One run: setting x baseline x strategy x seed with everything resolved."""

    setting: str
    baseline: str
    strategy: str
    definition: int = 1  # which one of the strategy (art.definition): runs of an older one are not those of today's
    seed: int = Field(0, ge=0)
    profile: Profile = "demo"
    size: str = "tiny"
    data: DataConfig = DataConfig()
    train: TrainConfig
    evaluate: EvaluateConfig = EvaluateConfig()

    @model_validator(mode="after")
    def _enough_for_every_task(self) -> Config:
        tasks = len(settings.load(self.setting).tasks)
        if self.data.mixing == "balanced" and self.train.batch < tasks:
            raise ValueError(f"train.batch={self.train.batch} cannot hold the {tasks} tasks of balanced mixing")
        return self

    def identity(self) -> dict[str, str]:
        """``hash`` of what training depends on; ``pair``, the same without the strategy; ``cohort``, what one table
        may not mix: setting, size, profile, data and departures from the baselines' recipes."""
        full = self.model_dump(mode="json", exclude={"evaluate": True, "data": {"root"}})
        for key in OBSERVING:
            full["train"].pop(key)
        definition = full.pop("definition")
        pair = {key: value for key, value in full.items() if key != "strategy"}
        # Mixing that is a baseline's own belongs to its recipe: such baselines stand in one table with the others.
        data = pair["data"] | {"mixing": _usual_mixing(self.setting, self.profile)}
        cohort = {key: pair[key] for key in ("setting", "size", "profile")}
        cohort |= {"data": data, "departures": self.overrides()}
        full |= {"definition": definition} if definition > 1 else {}
        return {"hash": _digest(full), "pair": _digest(pair), "cohort": _digest(cohort)}

    def departures(self) -> list[str]:
        """Training choices that are not the recipe's, as ``train.key=value``."""
        recipe, _ = _recipe(self.setting, self.baseline, self.profile, self.size)
        usual = TrainConfig(**recipe)
        return [
            f"train.{key}={value}" for key, value in self.train if key not in OBSERVING and value != getattr(usual, key)
        ]

    def overrides(self) -> list[str]:
        """:meth:`departures`, and ``data.mixing=value`` where that is not the recipe's."""
        _, mixing = _recipe(self.setting, self.baseline, self.profile, self.size)
        return self.departures() + [f"data.mixing={self.data.mixing}"] * (self.data.mixing != mixing)


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]


def resolve(
    setting: str,
    baseline: str,
    strategy: str,
    *,
    seed: int = 0,
    profile: Profile = "demo",
    size: str | None = None,
    data: DataConfig | None = None,
    overrides: Iterable[str] = (),
) -> Config:
    """Configuration from the setting's file, the baseline's recipe for the profile, and ``key=value`` overrides.

    Raises:
        UserError: for anything unknown or out of range, naming it and the nearest known.
    """
    chosen = settings.load(setting)
    size = size or ("paper" if profile == "paper" else "tiny")
    try:
        baselines.arguments(baseline, size)  # refuses a size that is lacking before anything is built
        recipe, mixing = _recipe(setting, baseline, profile, size)
        content = {
            "setting": setting,
            "baseline": baseline,
            "strategy": art.canonical(strategy),
            "definition": art.definition(strategy),
            "seed": seed,
            "profile": profile,
            "size": size,
            "data": {"mixing": mixing} | (data.model_dump(exclude={"mixing"}) if data else {}),
            "train": recipe,
            "evaluate": {"protocol": chosen.protocol},
        }
    except ValueError as error:
        raise UserError(str(error)) from error
    for override in overrides:
        apply(content, override, {"data": DataConfig, "train": TrainConfig, "evaluate": EvaluateConfig})
    try:
        config = Config.model_validate(content)
    except ValidationError as error:
        raise UserError("the configuration is not valid:", map(_sentence, error.errors())) from error
    if (config.data.source == "files") != (config.data.root is not None):
        raise UserError("data.source=files and data.root belong together; --data-root sets both.")
    return config


def _recipe(setting: str, baseline: str, profile: Profile, size: str) -> tuple[dict[str, Any], Any]:
    """The ``train`` section and the mixing of the baseline's recipe with what the setting changes in it.

    ``epochs``, passes over the setting's training list, decide the ``steps``, and ``each``, samples of every task, the
    ``batch``: a baseline's file names those of three_task beside them. ``mixing`` stands in place of the setting's.

    Raises:
        UserError: for a setting that gives both of such a pair.
    """
    chosen, demo = settings.load(setting), profile == "demo"
    rhythm = {"log_every": 1 if demo else 100, "checkpoint_every": 200 if demo else 2000}
    recipe = {"threads": 1 if size == "tiny" else 2} | rhythm | dict(baselines.recipe(baseline, profile))
    change = chosen.changes(profile, baseline)
    for pair in (("steps", "epochs"), ("batch", "each")):
        given = [key for key in pair if key in change]
        if len(given) == 2:
            both = " and ".join(pair)
            raise UserError(f"{setting}.toml, {profile} recipe: {both} exclude each other; leave one out.")
        if given:
            recipe = {key: value for key, value in recipe.items() if key not in pair}
    recipe |= change
    mixing = recipe.pop("mixing", _usual_mixing(setting, profile))
    return _counted(recipe, chosen), mixing


def _counted(recipe: dict[str, Any], setting: settings.Setting) -> dict[str, Any]:
    """The recipe with ``each`` and ``epochs`` written as batch, steps and plateaus; what is no number is left to the
    fields' own checks."""
    if isinstance(recipe.get("each"), int):
        recipe["batch"] = recipe.pop("each") * len(setting.tasks)
    epochs, batch = recipe.get("epochs"), recipe.get("batch")
    if isinstance(epochs, int) and isinstance(batch, int) and batch > 0:
        recipe["steps"] = epochs * setting.list_length // batch
        recipe.setdefault("plateaus", recipe.pop("epochs"))
    return recipe


def _usual_mixing(setting: str, profile: Profile) -> settings.Mixing:
    """The mixing of recipes that name none: in few steps every batch should hold every task."""
    return settings.load(setting).mixing if profile == "paper" else "balanced"


def _sentence(error: Any) -> str:
    where = ".".join(map(str, error["loc"]))
    got = f" (got {quoted(error['input'])})" if where else ""
    return f"{where or 'together'}: {error['msg'].removeprefix('Value error, ')}{got}"
