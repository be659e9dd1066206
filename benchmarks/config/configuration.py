"""The resolved configuration of a run: everything that decides what it computes, and its identities."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, cast

from pydantic import Field, JsonValue, ValidationError

import art
import baselines
from benchmarks.config.data_sets import DataSet
from benchmarks.config.errors import UserError, mistakes
from benchmarks.config.mixing import Mixing
from benchmarks.config.overrides import apply
from benchmarks.config.sections import Ancestor, DataConfig, EvaluateConfig, Section, Terms, TrainConfig
from benchmarks.config.settings import Profile, Recipe, Setting, load
from results.records import OBSERVING, shared

VALIDATION = 8  # images of each task that a demo training is validated on


class Config(Section):
    """One run: setting x baseline x strategy x seed with everything resolved. It names its setting; what compares it
    with the recipe of its baseline there takes the :class:`Setting` itself."""

    LATER: ClassVar[dict[str, Any]] = {
        "setting_place": "",
        "setting_digest": "",
        "data_sets": {},
        "tasks": [],
        "terms": {},
        "origin": {},
    }

    setting: str
    setting_place: str = ""  # of a setting from outside: its file or entry point; no part of the identity
    setting_digest: str = ""  # the same: what stands for its content
    # those of --data-sets that it names; no part of the identity
    data_sets: dict[str, dict[str, JsonValue]] = Field(default_factory=dict)
    baseline: str
    strategy: str
    definition: int = 1  # which one of the strategy (art.definition): runs of an older one are not those of today's
    seed: int = Field(ge=0)
    profile: Profile
    size: str
    data: DataConfig
    train: TrainConfig
    evaluate: EvaluateConfig
    tasks: tuple[str, ...] = ()  # of the setting, where not all of them are trained
    terms: Terms = Field(default_factory=lambda: Terms.model_validate({}))
    origin: Ancestor = Field(default_factory=lambda: Ancestor.model_validate({}))

    def __hash__(self) -> int:
        return hash((self.setting, self.baseline, self.strategy, self.seed, self.data, self.train, self.terms))

    def identifying(self) -> dict[str, Any]:
        """What training depends on, without the strategy and its definition."""
        left_out = dict.fromkeys(("evaluate", "strategy", "definition", "setting_place", "data_sets"), True)
        # further scenes for validation leave the training as it is; files that are held out leave it
        left_out |= {"data": {"root", "validation"} if self.data.source == "embedded" else {"root"}}
        left_out |= {"origin": {"folder"}}
        pair = self.model_dump(mode="json", exclude=left_out)
        for key in (*OBSERVING, "init"):
            pair["train"].pop(key, None)
        return pair

    @property
    def hash(self) -> str:
        """Stands for everything that training depends on."""
        definition = {"definition": self.definition} if self.definition > 1 else {}
        return _digest(self.identifying() | {"strategy": self.strategy} | definition)

    @property
    def usual(self) -> Config:
        """This run on the terms of an ordinary one: with mix's steps and the recipe's learning rate."""
        train = {"steps": self.terms.steps or self.train.steps, "lr": self.terms.lr or self.train.lr}
        return self.model_copy(update={"terms": Terms.model_validate({}), "train": self.train.model_copy(update=train)})

    def on_terms(self, share: float = 1.0, rate: float = 1.0, **terms: str | int | float) -> Config:
        """This run with a ``share`` of its steps, to which its schedule is scaled, and ``rate`` times its learning
        rate; ``terms``: what else to note of it (:class:`Terms`)."""
        steps, lr = max(1, round(self.train.steps * share)), self.train.lr * rate
        noted = self.terms.model_dump() | terms
        if steps != self.train.steps:
            noted["steps"] = self.usual.train.steps
        if lr != self.train.lr:
            noted["lr"] = self.usual.train.lr
        train = self.train.model_copy(update={"steps": steps, "lr": lr})
        return self.model_copy(update={"train": train, "terms": Terms.model_validate(noted)})

    def identity(self, setting: Setting) -> dict[str, str]:
        """:attr:`hash`; ``pair``, the same without the strategy and its terms; ``cohort``, what one table may not mix:
        setting, tasks, size, profile, data, where the training starts and departures from the baselines' recipes, but
        for those that are swept (:data:`results.records.SWEPT`).

        Runs that go on from others pair, or share a table, where those others do and had done as many steps."""
        pair = self.usual.identifying()
        if origin := pair.pop("origin", {}):
            pair["origin"] = {key: origin[key] for key in ("step", "pair")}
        # Mixing that is a baseline's own belongs to its recipe: such baselines stand in one table with the others.
        cohort = shared(pair, self.overrides(setting))
        cohort["data"] |= {"mixing": _one_spelling(_usual_mixing(setting, self.profile), setting)}
        cohort |= {"origin": {key: origin[key] for key in ("step", "cohort")}} if origin else {}
        return {"hash": self.hash, "pair": _digest(pair), "cohort": _digest(cohort)}

    def overrides(self, setting: Setting) -> list[str]:
        """Choices that are not the recipe's, as ``train.key=value`` and ``data.mixing=value``; ``train.init`` with the
        digest of the weights."""
        recipe, mixing = _recipe(setting, self.baseline, self.profile, self.size)
        usual = TrainConfig.model_validate(recipe)
        train = [
            f"train.{'init' if key == 'weights' else key}={value}"
            for key, value in self.usual.train
            if key not in (*OBSERVING, "init") and value != getattr(usual, key)
        ]
        return train + [f"data.mixing={self.data.mixing}"] * (self.data.mixing != mixing)

    def with_fingerprint(self, fingerprint: str) -> Config:
        """The same run with what stands for its training images."""
        return self._with_data(fingerprint=fingerprint)

    def with_weights(self, place: str, digest: str) -> Config:
        """The same run started from the weights at that place, with what stands for them."""
        return self.model_copy(update={"train": self.train.model_copy(update={"init": place, "weights": digest})})

    def mixed_within(self, names: Sequence[str]) -> Config:
        """The same run with its mixing in the one spelling that it has among tasks of these names.

        Raises:
            UserError: for a mixing that names other tasks, or shares that cannot be.
        """
        try:
            return self._with_data(mixing=str(Mixing.parse(self.data.mixing).within(names)))
        except ValueError as error:
            raise UserError(f"data.mixing: {error}") from error

    def _with_data(self, **fields: str) -> Config:
        return self.model_copy(update={"data": self.data.model_copy(update=fields)})


def _digest(content: JsonValue) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]


def resolve(
    setting: Setting,
    baseline: str,
    strategy: str,
    *,
    seed: int = 0,
    profile: Profile = "demo",
    size: str | None = None,
    data: DataConfig | None = None,
    overrides: Iterable[str] = (),
) -> Config:
    """Configuration from the setting, the baseline's recipe for the profile, and ``key=value`` overrides.

    Raises:
        UserError: for anything unknown or out of range, naming it and the nearest known.
    """
    size = size or ("paper" if profile == "paper" else "tiny")
    try:
        strategy = art.canonical(strategy, setting.task_names)
        baselines.arguments(baseline, size)  # refuses a size that is lacking before anything is built
        recipe, mixing = _recipe(setting, baseline, profile, size)
        images: dict[str, JsonValue] = {"mixing": mixing} | (data.model_dump(exclude={"mixing"}) if data else {})
        content = {
            "setting": setting.name,
            "setting_place": setting.place,
            "setting_digest": setting.digest,
            "baseline": baseline,
            "strategy": strategy,
            "definition": art.definition(strategy),
            "seed": seed,
            "tasks": setting.task_names if setting.part else (),
            "profile": profile,
            "size": size,
            "data": images,
            "train": recipe,
            "evaluate": {"protocol": setting.protocol},
        }
    except ValueError as error:
        raise UserError(str(error)) from error
    for override in overrides:
        apply(content, override, {"data": DataConfig, "train": TrainConfig, "evaluate": EvaluateConfig})
    if profile == "demo":
        images.setdefault("validation", VALIDATION)
    try:
        config = Config.model_validate(content)
    except ValidationError as error:
        raise UserError("the configuration is not valid:", mistakes(error, Config)) from error
    config = config.mixed_within(setting.task_names)
    if (config.data.source == "files") != (config.data.root is not None):
        raise UserError("data.source=files and data.root belong together; --data-root sets both.")
    batch, tasks = config.train.batch, len(setting.tasks)
    if config.data.mixing == "balanced" and batch < tasks:
        raise UserError(f"train.batch={batch} cannot hold the {tasks} tasks of balanced mixing; set it higher.")
    return config.model_copy(update={"data_sets": _used(setting, config)})


def _used(setting: Setting, config: Config) -> dict[str, dict[str, JsonValue]]:
    """The sets that the user has brought along, as far as the run names them."""
    extra = [text.partition("@")[0] for text in (*config.data.extra, *config.evaluate.extra)]
    names = {name.partition(":")[0] for name in (*setting.train_sets, *setting.test_sets, *extra)}
    return {
        name: data_set.model_dump(mode="json", exclude_defaults=True)
        for name, data_set in setting.given.items()
        if name in names
    }


def sets_of(config: Config) -> dict[str, DataSet]:
    """The sets that its user had brought along for a run that was configured before.

    Raises:
        UserError: if they are not as they were written.
    """
    try:
        return {name: DataSet.model_validate(fields) for name, fields in config.data_sets.items()}
    except ValidationError as error:
        raise UserError("the data sets in the run's configuration are damaged:", mistakes(error, DataSet)) from error


def setting_of(config: Config, given: Mapping[str, DataSet] | None = None) -> Setting:
    """The setting of a run that was configured before.

    Args:
        config: of the run, which has the sets in it that its user had brought along.
        given: sets that stand in place of those of the same name.

    Raises:
        UserError: if its file is gone, or has changed since.
    """
    setting = load(config.setting_place or config.setting, {**sets_of(config), **(given or {})})
    if setting.digest != config.setting_digest:
        raise UserError(
            f"the setting {config.setting_place or config.setting} has changed since this run; put its file back as it "
            "was, or name another one by --setting."
        )
    return setting.only(config.tasks) if config.tasks else setting


def _recipe(setting: Setting, baseline: str, profile: Profile, size: str) -> tuple[Recipe, JsonValue]:
    """The ``train`` section and the mixing of the baseline's recipe with what the setting changes in it.

    ``epochs``, passes over the setting's training list, decide the ``steps``, and ``each``, samples of every task, the
    ``batch``: a baseline's file names those of three_task beside them. ``mixing`` stands in place of the setting's.

    Raises:
        UserError: for a setting that gives both of such a pair.
    """
    demo = profile == "demo"
    rhythm = {"log_every": 1 if demo else 100, "checkpoint_every": 200 if demo else 2000}
    recipe: Recipe = {"threads": 1 if size == "tiny" else 2, **rhythm}
    recipe |= cast("Recipe", dict(baselines.recipe(baseline, profile)))
    change = setting.changes(profile, baseline)
    for pair in (("steps", "epochs"), ("batch", "each")):
        given = [key for key in pair if key in change]
        if len(given) == 2:
            both = " and ".join(pair)
            raise UserError(f"{setting.name}.toml, {profile} recipe: {both} exclude each other; leave one out.")
        if given:
            recipe = {key: value for key, value in recipe.items() if key not in pair}
    recipe |= change
    mixing = recipe.pop("mixing", _usual_mixing(setting, profile))
    return _counted(recipe, setting), _one_spelling(mixing, setting)


def _one_spelling(mixing: JsonValue, setting: Setting) -> JsonValue:
    """A mixing as configurations spell it; what is none is left to the field's own checks."""
    try:
        return str(Mixing.parse(mixing).within(setting.task_names)) if isinstance(mixing, str) else mixing
    except ValueError:
        return mixing


def _counted(recipe: Recipe, setting: Setting) -> Recipe:
    """The recipe with ``each`` and ``epochs`` written as batch, steps and plateaus; what is no number is left to the
    fields' own checks."""
    if isinstance(each := recipe.get("each"), int):
        del recipe["each"]
        recipe["batch"] = each * len(setting.tasks)
    epochs, batch = recipe.get("epochs"), recipe.get("batch")
    if isinstance(epochs, int) and isinstance(batch, int) and batch > 0:
        recipe["steps"] = epochs * setting.list_length // batch
        recipe.setdefault("plateaus", recipe.pop("epochs"))
    return recipe


def _usual_mixing(setting: Setting, profile: Profile) -> str:
    """The mixing of recipes that name none: in few steps every batch should hold every task."""
    return setting.mixing if profile == "paper" else "balanced"
