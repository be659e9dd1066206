"""Configuration: what is resolved, what is refused, and identities."""

from pathlib import Path

import pytest

import baselines
from benchmarks.config.configuration import resolve
from benchmarks.config.errors import UserError
from benchmarks.config.sections import DataConfig, TrainConfig
from benchmarks.config.settings import load
from benchmarks.execution.plan import Plan
from benchmarks.training import schedules

SETTING = load("three_task")


def config(strategy="mix", *overrides, **choices):
    return resolve(SETTING, "transweather", strategy, overrides=overrides, **choices)


def test_overrides_are_typed():
    chosen = config(
        "mix", "train.steps=7", "evaluate.extra=Rain100H,Rain100L", "data.mixing=stratified", "train.lr=1e-4"
    )
    assert chosen.train.steps == 7 and chosen.train.lr == 1e-4
    assert chosen.evaluate.extra == ("Rain100H", "Rain100L") and chosen.data.mixing == "stratified"
    assert chosen.overrides(SETTING) == ["train.steps=7", "train.lr=0.0001", "data.mixing=stratified"]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.stepz=7", "did you mean 'train.steps'"),
        ("steps=7", "did you mean 'train.steps'"),
        ("train.steps", "expected key=value"),
        ("train.steps=0", "train.steps: .*greater than or equal to 1"),
        ("train.steps=many", "train.steps: .*integer"),
        ("data.mixing=mixed", "data.mixing"),
        ("train.batch=3", "cannot hold the 5 tasks"),
        ("data.fingerprint=x", "no such key"),
    ],
)
def test_refuses_with_a_sentence(override, message):
    with pytest.raises(UserError, match=message):
        config("mix", override)


def test_unknown_names_stop_with_the_nearest():
    with pytest.raises(UserError, match="did you mean 'three_task'"):
        load("tree_task")
    with pytest.raises(UserError, match="did you mean 'transweather'"):
        resolve(SETTING, "transwether", "mix")
    with pytest.raises(UserError, match="did you mean 'art'"):
        config("arts")


def test_identities():
    mix, art = config("mix"), config("art")
    assert mix.identity(SETTING)["pair"] == art.identity(SETTING)["pair"] and mix.hash != art.hash
    assert config("art:tau=0.1").identity(SETTING) == art.identity(SETTING)
    assert (
        config("mix", seed=1).identity(SETTING)["cohort"]
        == mix.identity(SETTING)["cohort"]
        != config("mix", "train.steps=9").identity(SETTING)["cohort"]
    )
    other = resolve(SETTING, "airnet", "mix")
    assert other.identity(SETTING)["cohort"] == mix.identity(SETTING)["cohort"]
    for harmless in ("train.checkpoint_every=3", "evaluate.protocol=weather_y", "evaluate.extra=Rain100H"):
        assert config("mix", harmless).identity(SETTING) == mix.identity(SETTING)
    more, none = (config("mix", f"data.validation={count}") for count in (16, 0))
    assert more.identity(SETTING) == mix.identity(SETTING) == none.identity(SETTING)
    assert (mix.data.validation, more.data.validation, none.data.validation) == (8, 16, 0)
    assert resolve(SETTING, "transweather", "mix", profile="paper").data.validation == 0
    here, there = (DataConfig(source="files", root=root, fingerprint="f") for root in ("/here", "/there"))
    assert resolve(SETTING, "transweather", "mix", profile="paper", data=here).data.validation == 0
    held = {config("mix", f"data.validation={count}", data=here).hash for count in (0, 8, 16)}
    assert len(held) == 3 and config(data=here).data.validation == 8  # what is held out of files is not trained on
    assert config(data=here).identity(SETTING) == config(data=there).identity(SETTING)
    assert config(data=here).hash != config(data=here).with_fingerprint("g").hash


@pytest.mark.parametrize(
    "swept", ["train.lr=2e-3", "train.weight_decay=0.1", "train.schedule=constant", "train.ema=0.9"]
)
def test_what_is_swept_of_a_recipe_shares_a_table_and_pairs_with_its_own_mix(swept):
    mix, other, both = (config(name, *more).identity(SETTING) for name, more in
                        (("mix", ()), ("mix", (swept,)), ("art", (swept,))))  # fmt: skip
    assert mix["cohort"] == other["cohort"] == both["cohort"] and mix["pair"] != other["pair"] == both["pair"]


def test_mixing_belongs_to_the_recipe():
    """A baseline's own is no departure; a typed one is, and wins."""
    promptir, airnet = (resolve(SETTING, name, "mix", profile="paper") for name in ("promptir", "airnet"))
    assert (promptir.data.mixing, airnet.data.mixing) == ("shuffled", "balanced") and not airnet.overrides(SETTING)
    assert airnet.identity(SETTING)["cohort"] == promptir.identity(SETTING)["cohort"]
    for usual in (promptir, airnet):
        kinds = ("shuffled", "balanced", "stratified", "temperature:2", "temperature:3", "sequential")
        typed = [
            resolve(SETTING, usual.baseline, "mix", profile="paper", overrides=[f"data.mixing={kind}"])
            for kind in kinds
        ]
        assert [chosen.data.mixing for chosen in typed] == list(kinds)
        assert len({chosen.hash for chosen in typed}) == len(kinds)
        assert len({chosen.identity(SETTING)["cohort"] for chosen in typed}) == len(kinds)
        for chosen in typed:
            own = chosen.data.mixing == usual.data.mixing
            assert (chosen.identity(SETTING)["cohort"] == usual.identity(SETTING)["cohort"]) == own
            assert chosen.overrides(SETTING) == ([] if own else [f"data.mixing={chosen.data.mixing}"])


def test_what_came_later_leaves_earlier_runs_their_identity():
    assert not TrainConfig.LATER.keys() & config("mix", profile="paper").model_dump()["train"].keys()
    assert config("mix", "train.plateaus=3").model_dump()["train"]["plateaus"] == 3
    assert config("mix", "train.plateaus=3").hash != config("mix").hash


ADAM, ADAMW = {"optimizer": "adam", "weight_decay": 0}, {"optimizer": "adamw", "weight_decay": 0.01}
PROMPTIR = ADAMW | {"lr": 2e-4, "betas": (0.9, 0.999), "batch": 32, "patch": 128, "ema": 0}
AIRNET = ADAM | {"lr": 1e-4, "encoder_lr": 1e-3, "betas": (0.9, 0.999), "steps": 400_000, "patch": 128, "views": 2}
MIOIR = {"optimizer": "adamw", "weight_decay": 0, "lr": 2e-4, "betas": (0.9, 0.99), "steps": 1_000_000, "batch": 8,
         "patch": 128, "ema": 0.999}  # fmt: skip
ONERESTORE = ADAM | {"lr": 1e-4, "betas": (0.9, 0.999), "batch": 16, "patch": 256, "ema": 0}
SYMUNET = {"optimizer": "adamw", "weight_decay": 1e-3, "lr": 1e-3, "betas": (0.9, 0.999), "steps": 300_000, "batch": 16,
           "patch": 128, "ema": 0, "clip_norm": 0.01}  # fmt: skip
PUBLISHED = {
    ("three_task", "promptir"): PROMPTIR | {"steps": 534_116},
    ("three_task", "moceir"): PROMPTIR | {"steps": 534_116},
    ("five_task", "moceir_s"): PROMPTIR | {"steps": 609_922},
    ("three_task", "restormer"): PROMPTIR | {"steps": 534_116},
    ("three_task", "nafnet"): PROMPTIR | {"steps": 534_116},
    ("three_task", "adair"): PROMPTIR | {"steps": 667_645},
    ("three_task", "airnet"): AIRNET | {"batch": 5},
    ("three_task", "symunet"): SYMUNET,
    ("five_task", "symunet"): SYMUNET,
    ("five_task", "promptir"): PROMPTIR | {"steps": 609_922},
    ("five_task", "adair"): PROMPTIR | {"steps": 762_403},
    ("three_task", "bioir"): PROMPTIR | {"steps": 667_645},
    ("five_task", "airnet"): AIRNET | {"batch": 7},
    ("all_weather", "histoformer"): {
        "optimizer": "adamw", "weight_decay": 1e-4, "lr": 3e-4, "betas": (0.9, 0.999), "steps": 300_000, "batch": 32,
        "patch": 128, "ema": 0, "clip_norm": 0.01,
    },
    ("all_weather", "transweather"): {"optimizer": "adamw", "weight_decay": 0, "lr": 5e-5, "betas": (0.9, 0.99),
                                      "steps": 600_000, "batch": 32, "patch": 128, "ema": 0.999},
    ("seven_task", "promptir"): MIOIR,
    ("seven_task", "restormer"): MIOIR,
    ("seven_task", "srresnet"): MIOIR | {"optimizer": "adam", "steps": 2_500_000, "batch": 16},
    ("seven_task", "airnet"): AIRNET | {"batch": 7},
    ("cdd11", "onerestore"): ONERESTORE | {"steps": 97_597, "loss": "smooth_l1"},
    ("cdd11", "nafnet"): ONERESTORE | {"steps": 97_597},
    ("cdd11", "airnet"): AIRNET | {"batch": 11},
}  # fmt: skip


@pytest.mark.parametrize(("setting", "baseline"), PUBLISHED)
def test_recipes_are_the_published_ones(setting, baseline):
    train = resolve(load(setting), baseline, "mix", profile="paper").train
    assert train.model_dump(include=PUBLISHED[setting, baseline].keys()) == PUBLISHED[setting, baseline]
    assert train.clip_norm == PUBLISHED[setting, baseline].get("clip_norm", 0)
    assert train.loss == PUBLISHED[setting, baseline].get("loss", "l1") and train.clip_percentile == 0 and train.augment


@pytest.mark.parametrize("baseline", baselines.names())
def test_what_stands_beside_epochs_and_each_is_of_three_task(baseline):
    stated, train = baselines.recipe(baseline, "paper"), resolve(SETTING, baseline, "mix", profile="paper").train
    assert (train.steps, train.batch) == (stated["steps"], stated["batch"])


def test_profiles():
    demo, paper = config(), config(profile="paper")
    assert (demo.size, demo.data.mixing) == ("tiny", "balanced")
    assert (paper.size, paper.data.mixing) == ("paper", "shuffled") and paper.train.steps > 100 * demo.train.steps


DEEP, LONG = "[" * 10_000, "9" * 5_000


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (f"train.steps={DEEP}", r"train.steps: .*\.\.\."),
        (f"train.steps={LONG}", r"train.steps: .*\.\.\."),
        ("train.steps=0x" + "F" * 6000, "train.steps: .*integer"),
        ("train.steps=" + "9" * 2000, "train.steps: Input should be at most 2147483647"),
        ("train.batch=1000000", "train.batch: Input should be at most 65536"),
        ("train.threads=99999", "at most 1024"),
        ("train.lr=inf", "train.lr: .*finite"),
        ("train.lr=nan", "train.lr: .*finite"),
        ("train.lr=1e999", "train.lr: .*finite"),
        ("train.weight_decay=inf", "train.weight_decay: .*finite"),
        ("train.min_lr=nan", "train.min_lr: .*finite"),
        ("train.betas=0.9,1", r"train.betas.1: .*less than 1"),
        ("train.betas=[-0.1, 0.9]", r"train.betas.0: .*greater than or equal to 0"),
        ("train.betas=nan,0.9", r"train.betas.0: .*finite"),
        ("train.lr=true", "train.lr: Input should not be true or false"),
        ("train.steps=true", "train.steps: Input should not be true or false"),
        ("train.lr=1e-4\ntrain.steps=9", "one line without control characters"),
        ("train.lr=1e-4 # small", "train.lr: .*got '1e-4 # small'"),
        ("train.steps=7#x", "train.steps: .*got '7#x'"),
        ("train.steps=1 ] #", "train.steps: .*got '1 ] #'"),
        ("data.root=/x\0y", "one line without control characters"),
        ("data.root=/x", "data.source=files and data.root belong together"),
        ("evaluate.extra=Rain100H,Rain100H", "evaluate.extra: .*each once"),
        ("data.extra=,", "data.extra: .*each once"),
        ("data.extra=" + "x" * 300, "at most 200 characters"),
        ("=1", "no such key"),
        ("train.lr=  ", "expected key=value"),
    ],
)
def test_nothing_is_cut_or_silently_taken_for_something_else(override, message):
    with pytest.raises(UserError, match=message) as error:
        config("mix", override)
    assert len(str(error.value)) < 1200


def test_schedules_without_a_rate_are_refused():
    for wrong in (
        ["schedule=warmup_cosine", "warmup=0.5", "cycle=0.5"],
        ["schedule=cosine", "cycle=1e-320"],
        ["schedule=airnet", "encoder_warmup=0.5", "encoder_every=1e-9", "encoder_decay=1e9"],
    ):
        with pytest.raises(UserError, match="no learning rate at step"):
            schedules.check(config("mix", *(f"train.{choice}" for choice in wrong)).train)


def test_text_stays_as_typed_and_the_later_of_two_counts():
    chosen = config("mix", "train.steps=3", "train.steps=4", "evaluate.protocol=7", "evaluate.extra=Rain100H, 12")
    assert chosen.train.steps == 4 and chosen.evaluate.protocol == "7" and chosen.evaluate.extra == ("Rain100H", "12")


@pytest.mark.parametrize(
    ("spec", "kept"),
    [
        ("famo:lr=0.02512345", "famo:lr=0.02512345"),
        ("art:tau=100000.5", "art:tau=100000.5"),
        ("art:tau=1.0", "art:tau=1"),
        ("art:tau=1e0", "art:tau=1"),
        ("art:tau=1e9", "art:tau=1e+09"),
        ("mgda:max_iters=50.0", "mgda:max_iters=50"),
        ("m:C:x=0.1234567890123456789", "m:C:x=0.12345678901234568"),
    ],
)
def test_numbers_in_specs_keep_their_digits(spec, kept):
    assert config(spec).strategy == kept == config(kept).strategy


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("..:x", "unknown strategy"),
        (":", "unknown strategy"),
        ("a:b=c", "unknown strategy 'a'"),
        ("a..b:C", "unknown strategy"),
        ("art:tau=1:tau=2", "tau is given twice"),
        ("art:tau=nan", "takes a finite number"),
        ("art:tau=1e999", "too large a number"),
        ("art:tau=" + "9" * 400, "takes a finite number"),
        ("art:tau", "takes a finite number, not True"),
        ("mgda:max_iters=1.5", "takes a whole number"),
        ("mix\nart", "one line of at most 1000 printable"),
        ("art:x=" + "9" * 5000, "one line of at most 1000 printable"),
    ],
)
def test_specs_that_are_refused(spec, message):
    with pytest.raises(UserError, match=message):
        config(spec)


def test_names_on_the_disk_are_short_and_apart():
    specs = ["m:C:x=" + "é" * 900 + end for end in ("", "a")]
    first, second = (Plan.of(SETTING, config(spec), Path("out")).folder.parts[-2] for spec in specs)
    assert first != second and max(len(first.encode()), len(second.encode())) < 120
    assert Plan.of(SETTING, config("art:tau=1"), Path("out")).folder.parts[-2] == "art,tau=1"


def test_a_strategy_that_means_something_else_than_before_is_another_run():
    uw, mix = config("uw"), config("mix")
    assert (uw.definition, mix.definition, config("torchjd.scalarization:UW").definition) == (2, 1, 1)
    before = uw.model_copy(update={"definition": 1})  # as a folder of then is read
    assert before.hash != uw.hash
    assert before.identity(SETTING)["pair"] == uw.identity(SETTING)["pair"] == mix.identity(SETTING)["pair"]
    assert uw.identity(SETTING)["cohort"] == mix.identity(SETTING)["cohort"]
