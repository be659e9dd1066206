"""The resolved configuration of a run: everything that decides what it computes, and its identities."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)

import art
import baselines
from benchmarks import settings
from benchmarks.errors import UserError, nearest, quoted
from benchmarks.overrides import apply

Profile = Literal["demo", "paper"]
Schedule = Literal["constant", "cosine", "cosine_restarts", "warmup_cosine", "one_cycle", "step", "airnet"]


MOST = {"batch": 2**16, "patch": 2**14, "threads": 2**10, "seed": 2**63 - 1}  # of other whole numbers: 2**31 - 1

Beta = Annotated[float, Field(ge=0, lt=1)]


class _Section(BaseModel):
    """Numbers are finite and of a size that can be computed with; true and false are none; no name stands twice."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, value: Any, field: ValidationInfo) -> Any:
        if isinstance(value, bool) and cls.model_fields[field.field_name].annotation is not bool:
            raise ValueError("Input should not be true or false")
        return value

    @field_validator("*", mode="after")
    @classmethod
    def _neither_huge_nor_twice(cls, value: Any, field: ValidationInfo) -> Any:
        most = MOST.get(field.field_name, 2**31 - 1)
        if isinstance(value, int) and value > most:
            raise ValueError(f"Input should be at most {most}")
        names = [name.partition("@")[0] for name in value if isinstance(name, str)] if isinstance(value, tuple) else []
        if "" in names or len(set(names)) < len(names):
            raise ValueError("Input should name each once")
        if any(len(name) > 200 for name in names):
            raise ValueError("Input should be names of at most 200 characters")
        return value


class DataConfig(_Section):
    """Where images come from and how tasks are mixed. ``root`` is a place, not a choice: identities leave it out, the
    ``fingerprint`` (names and sizes of the files found) stands for what lies there."""

    source: Literal["embedded", "files"] = "embedded"
    root: str | None = None
    missing: Literal["error", "synthesise"] = "error"
    mixing: settings.Mixing = "shuffled"
    extra: tuple[str, ...] = ()  # further training sets, as NAME or NAME@REPEATS
    fingerprint: str = ""


class TrainConfig(_Section):
    """The recipe. A step is one update by a whole ``batch``, whatever number of GPUs shares it. Places in the training
    (``warmup``, ``cycle``, ``every``, ...) are fractions of all steps, so that a schedule scales with them."""

    steps: int = Field(ge=1)
    batch: int = Field(ge=1)
    patch: int = Field(ge=16, multiple_of=8)
    augment: bool = True  # flips and rotations
    views: Literal[1, 2] = 1  # crops of the same degraded image a sample; 2 for a contrastive baseline
    loss: Literal["l1"] = "l1"
    optimizer: Literal["adam", "adamw"] = "adamw"
    lr: float = Field(gt=0)
    betas: tuple[Beta, Beta] = (0.9, 0.999)
    weight_decay: float = Field(0.0, ge=0)
    schedule: Schedule = "cosine"
    plateaus: int = Field(0, ge=0)  # equal parts of the training that keep one rate each; 0: each step its own
    warmup: float = Field(0.0, ge=0, lt=1)
    cycle: float = Field(1.0, gt=0)  # where the cosine reaches min_lr; with cosine_restarts the length of a cycle
    min_lr: float = Field(0.0, ge=0)
    encoder_warmup: float = Field(0.0, ge=0, lt=1)  # the start that trains a contrastive encoder alone
    encoder_lr: float = Field(1e-3, gt=0)  # schedule "airnet": rate of the encoder's warm-up, its factor and how often
    encoder_decay: float = Field(0.1, gt=0)
    encoder_every: float = Field(0.06, gt=0)
    decay: float = Field(0.5, gt=0)  # the same of what follows; schedule "step" is this alone
    every: float = Field(0.125, gt=0)
    ema: float = Field(0.0, ge=0, lt=1)  # decay of the weight average that is scored; 0: the weights themselves
    clip_norm: float = Field(0.0, ge=0)  # gradients are clipped at this norm; 0: they are not
    clip_percentile: float = Field(0.0, ge=0, le=100)  # or at this percentile of the norms so far, in its units; 0: not
    precision: Literal["fp32", "bf16"] = "fp32"
    epoch: int = Field(0, ge=0)  # steps of what a strategy calls an epoch (DWA, STCH); 0: schedules.epoch_steps
    threads: int = Field(1, ge=1)  # results on a CPU depend on it
    log_every: int = Field(1, ge=1)  # steps between rows of the rhythm
    checkpoint_every: int = Field(100, ge=1)
    probe_every: int = Field(0, ge=0)  # steps between probes of the task gradients' conflicts; 0: none
    nonfinite: Literal["stop", "skip"] = "stop"  # at a NaN or infinite loss or gradient: stop, or skip that update

    @model_serializer(mode="wrap")
    def _as_before(self, serialise: Any) -> dict[str, Any]:
        content = serialise(self)
        return {key: value for key, value in content.items() if key not in LATER or value != LATER[key]}


# Fields that came later: at these values nothing written names them, so that earlier runs keep their identities and
# compare as equal.
LATER = {"clip_percentile": 0.0, "plateaus": 0}

# Training is the same with other values; with nonfinite=skip it goes on where it would have failed, and says so.
OBSERVING = ("checkpoint_every", "probe_every", "nonfinite")


class EvaluateConfig(_Section):
    """How the trained network is scored; changing it scores again without training again."""

    protocol: str = "airnet_rgb"
    extra: tuple[str, ...] = ()  # further test sets, outside the average
    metrics: tuple[str, ...] = ()  # further metrics of pyiqa


class Config(_Section):
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
    if baseline not in baselines.names():
        known = baselines.names()
        raise UserError(f"unknown baseline {quoted(baseline)}{nearest(baseline, known)} Known: {', '.join(known)}.")
    size = size or ("paper" if profile == "paper" else "tiny")
    recipe, mixing = _recipe(setting, baseline, profile, size)
    try:
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
    _check_rates(config.train)
    return config


def _check_rates(train: TrainConfig) -> None:
    """Refuse a schedule whose rates cannot be computed, or are not finite: looked at over the whole training."""
    from benchmarks.schedules import learning_rate

    for step in {train.steps * part // 500 for part in range(500)} | {train.steps - 1}:
        try:
            rate = learning_rate(train, step)
        except (ArithmeticError, ValueError):  # the latter: the cosine of infinity
            rate = math.nan
        if not 0 <= rate < math.inf:
            raise UserError(
                f"train.schedule={train.schedule} has no learning rate at step {step + 1}; look at train.cycle, "
                "warmup, every, decay and min_lr."
            )


def _recipe(setting: str, baseline: str, profile: Profile, size: str) -> tuple[dict[str, Any], Any]:
    """The ``train`` section and the mixing of the baseline's recipe with what the setting changes in it.

    ``epochs``, passes over the setting's training list, decide the ``steps``, and ``each``, samples of every task, the
    ``batch``: a baseline's file names those of three_task beside them. ``mixing`` stands in place of the setting's.

    Raises:
        UserError: for a setting that gives both of such a pair.
    """
    chosen, demo = settings.load(setting), profile == "demo"
    rhythm = {"log_every": 1 if demo else 100, "checkpoint_every": 200 if demo else 2000}
    recipe = {"threads": 1 if size == "tiny" else 2} | rhythm | baselines.recipe(baseline, profile)
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
        from benchmarks.data.sources import list_length

        recipe["steps"] = epochs * sum(map(list_length, setting.tasks)) // batch
        recipe.setdefault("plateaus", recipe.pop("epochs"))
    return recipe


def _usual_mixing(setting: str, profile: Profile) -> settings.Mixing:
    """The mixing of recipes that name none: in few steps every batch should hold every task."""
    return settings.load(setting).mixing if profile == "paper" else "balanced"


def _sentence(error: Any) -> str:
    where = ".".join(map(str, error["loc"]))
    got = f" (got {quoted(error['input'])})" if where else ""
    return f"{where or 'together'}: {error['msg'].removeprefix('Value error, ')}{got}"
