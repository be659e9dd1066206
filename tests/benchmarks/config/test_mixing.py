"""Mixings by rates: how they are written, and what they come to."""

import numpy as np
import pytest

from benchmarks.config import settings
from benchmarks.config.configuration import resolve
from benchmarks.config.errors import UserError
from benchmarks.config.mixing import Mixing
from benchmarks.config.shares import expected_epochs, expected_shares, rates, rates_at_the_ends

SETTING = settings.load("three_task")
NAMES = SETTING.task_names


def config(mixing, *more, **choices):
    return resolve(SETTING, "transweather", "mix", overrides=[f"data.mixing={mixing}", *more], **choices)


def at(mixing, step, steps, setting=SETTING):
    return rates(Mixing.parse(mixing), np.array([step]), steps, setting.tasks)[0].tolist()


@pytest.mark.parametrize(
    ("mixing", "percent"),
    [  # by hand, from 5,144 clean images a noise level, 200 rainy and 72,135 hazy ones
        ("temperature:1", [5.9, 5.9, 5.9, 0.2, 82.2]),
        ("temperature:2", [14.4, 14.4, 14.4, 2.8, 53.9]),
        ("temperature:5", [19.2, 19.2, 19.2, 10.0, 32.5]),
        ("temperature:inf", [20] * 5),
        ("shuffled", [10.8, 10.8, 10.8, 16.9, 50.6]),
        ("stratified", [10.8, 10.8, 10.8, 16.9, 50.6]),
        ("balanced", [20] * 5),
        ("rates:derain=0.3:dehaze=0.1", [20, 20, 20, 30, 10]),
        ("rates:derain=0", [25, 25, 25, 0, 25]),
        # four stages of 1/8 of the steps, shared by 1, 2, 3 and 4 tasks, and one of 4/8
        ("sequential", [10 + 12.5 * shared for shared in (25 / 12, 13 / 12, 7 / 12, 1 / 4, 0)]),
    ],
)
def test_shares_over_a_training(mixing, percent):
    assert [100 * share for share in expected_shares(mixing, SETTING, 800).values()] == pytest.approx(percent, abs=0.06)


@pytest.mark.parametrize("temperature", ["1e-300", "1e300"])
def test_no_temperature_overflows(temperature):
    sharp = at(f"temperature:{temperature}", 0, 1)
    assert sharp == ([0, 0, 0, 0, 1] if temperature == "1e-300" else pytest.approx([0.2] * 5))


def test_a_cooldown_goes_from_one_temperature_to_the_other_evenly_in_the_logarithm():
    assert at("cooldown:16:1", 0, 101) == at("temperature:16", 0, 101)
    assert at("cooldown:16:1", 50, 101) == pytest.approx(at("temperature:4", 0, 101))
    assert at("cooldown:16:1", 100, 101) == at("temperature:1", 0, 101) == at("cooldown:16:1", 105, 101)
    steps = [at("cooldown:16:1", step, 101) for step in range(101)]
    assert list(expected_shares("cooldown:16:1", SETTING, 101).values()) == pytest.approx(np.mean(steps, axis=0))
    assert at("cooldown:16:1", 0, 1) == at("temperature:16", 0, 1)


def test_sequential_training_has_miois_stages():
    """Its seven tasks join in every 100,000 of a million steps, and all stay."""
    seven = settings.load("seven_task")
    for stage in range(7):
        first, last = (stage * 100_000, 99_999 + stage * 100_000 if stage < 6 else 999_999)
        share = [1 / (stage + 1)] * (stage + 1) + [0] * (6 - stage)
        assert at("sequential", first, 10**6, seven) == at("sequential", last, 10**6, seven) == pytest.approx(share)
    backwards = f"sequential:{','.join(reversed(seven.task_names))}"
    assert at(backwards, 0, 10**6, seven) == [0] * 6 + [1]
    assert list(expected_shares(backwards, seven, 10**6).values())[::-1] == pytest.approx(
        list(expected_shares("sequential", seven, 10**6).values())
    )


@pytest.mark.parametrize("mixing", ["cooldown:50:0.5", "sequential", "temperature:3", "rates:derain=0.9"])
def test_the_ends_tell_the_least_rate_and_what_is_never_trained(mixing):
    every = rates(Mixing.parse(mixing), np.arange(1000), 1000, SETTING.tasks)
    tasks, ends = rates_at_the_ends(config(mixing, "train.steps=1000"), SETTING)
    assert tasks == NAMES and ends.min() == every.min() and ((ends.max(axis=0) > 0) == (every.max(axis=0) > 0)).all()
    assert every.sum(axis=1) == pytest.approx(1)


@pytest.mark.parametrize(
    ("typed", "spelt"),
    [
        ("temperature:2.0", "temperature:2"),
        ("cooldown:1e1:1", "cooldown:10:1"),
        ("rates:derain=0.30:denoise_15=.1", "rates:denoise_15=0.1:derain=0.3"),
        ("rates:" + ":".join(f"{name}=1" for name in reversed(NAMES)), "rates:" + ":".join(f"{n}=0.2" for n in NAMES)),
        (f"rates:{':'.join(f'{n}=3' for n in NAMES[:3])}:derain=0:dehaze=0",
         f"rates:{':'.join(f'{n}=0.333333' for n in NAMES[:3])}:derain=0:dehaze=0"),
        (f"sequential:{','.join(NAMES)}", "sequential"),
        ("sequential:dehaze, derain,denoise_15,denoise_25,denoise_50",
         "sequential:dehaze,derain,denoise_15,denoise_25,denoise_50"),
    ],
)  # fmt: skip
def test_every_mixing_has_one_spelling(typed, spelt):
    assert config(typed).data.mixing == spelt
    assert config(typed).identity(SETTING) == config(spelt).identity(SETTING)


@pytest.mark.parametrize(
    ("mixing", "told"),
    [
        ("sequentiel", "did you mean 'sequential'"),
        ("balanced:2", "balanced takes nothing after it"),
        ("temperature", "written as temperature:T"),
        ("temperature:0", "'0' is no temperature"),
        ("temperature:nan", "'nan' is no temperature"),
        ("cooldown:2", "written as cooldown:FROM:TO"),
        ("cooldown:inf:1", "'inf' is no temperature"),
        ("cooldown:1:5", "the higher one first"),
        ("rates:", "is no TASK=SHARE"),
        ("rates:derain=-1", "is no TASK=SHARE"),
        ("rates:derain=1e400", "is no TASK=SHARE"),
        ("rates:derain=0.1:derain=0.2", "derain is there twice"),
        ("rates:derian=0.1:dehase=0.1", "no task 'derian'; did you mean 'derain'.*no task 'dehase'"),
        ("rates:derain=0.8:dehaze=0.3", "sum to 1.1"),
        ("rates:" + ":".join(f"{name}=0" for name in NAMES), "train nothing"),
        ("sequential:derain,derain", "every task once"),
        ("sequential:derain,dehaze", "leaves out denoise_15, denoise_25, denoise_50"),
        ("sequential:derain,fog", "no task 'fog'.*leaves out"),
    ],
)
def test_what_is_no_mixing_is_told(mixing, told):
    with pytest.raises(UserError, match=f"data.mixing: .*{told}"):
        config(mixing)


def of_file(folder, mixing, recipe=""):
    text = (settings.FOLDER / "three_task.toml").read_text()
    changed = text.replace('mixing = "shuffled"', f'mixing = "{mixing}"') + recipe
    (folder / "mine.toml").write_text(changed)
    return settings.load(str(folder / "mine.toml"))


def test_settings_and_recipes_may_mix_by_rates(tmp_path):
    mine = of_file(tmp_path, "rates:dehaze=0.50:derain=0.2", '[recipe.paper.promptir]\nmixing = "temperature:2.0"\n')
    transweather, promptir = (resolve(mine, name, "mix", profile="paper") for name in ("transweather", "promptir"))
    assert transweather.data.mixing == "rates:derain=0.2:dehaze=0.5" and promptir.data.mixing == "temperature:2"
    assert transweather.overrides(mine) == promptir.overrides(mine) == []
    assert transweather.identity(mine)["cohort"] == promptir.identity(mine)["cohort"]
    with pytest.raises(UserError, match="no task 'rian'; did you mean 'derain'"):
        of_file(tmp_path, "rates:rian=0.2")
    with pytest.raises(UserError, match=r"mine.toml is not valid:\n  - mixing: unknown mixing 'coldown:2:1'"):
        of_file(tmp_path, "coldown:2:1")
    with pytest.raises(UserError, match=r"data\.mixing: no task 'rian'"):
        resolve(of_file(tmp_path, "shuffled", '[recipe.demo]\nmixing = "rates:rian=0.2"\n'), "nafnet", "mix")


def test_passes_are_draws_over_samples():
    chosen = config("rates:derain=0.5", "train.steps=100", "train.batch=8")
    passes = expected_epochs(chosen, SETTING, dict.fromkeys(NAMES, 50) | {"derain": 200})
    assert passes == {"denoise_15": 2, "denoise_25": 2, "denoise_50": 2, "derain": 2, "dehaze": 2}
    alone = chosen.on_terms(share=0.5, task="derain")
    assert expected_epochs(alone, SETTING, {"derain": 200}) == {"derain": 2}
    assert rates_at_the_ends(alone, SETTING)[1].tolist() == [[1], [1]]
