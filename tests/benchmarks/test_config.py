"""Configuration: what is resolved, what is refused, and identities."""

import pytest

from benchmarks.config import DataConfig, resolve
from benchmarks.errors import UserError


def config(strategy="mix", *overrides, **choices):
    return resolve("three_task", "transweather", strategy, overrides=overrides, **choices)


def test_overrides_are_typed():
    chosen = config(
        "mix", "train.steps=7", "evaluate.extra=Rain100H,Rain100L", "data.mixing=stratified", "train.lr=1e-4"
    )
    assert chosen.train.steps == 7 and chosen.train.lr == 1e-4
    assert chosen.evaluate.extra == ("Rain100H", "Rain100L") and chosen.data.mixing == "stratified"
    assert chosen.departures() == ["train.steps=7", "train.lr=0.0001"]


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
        resolve("tree_task", "transweather", "mix")
    with pytest.raises(UserError, match="did you mean 'transweather'"):
        resolve("three_task", "transwether", "mix")
    with pytest.raises(UserError, match="did you mean 'art'"):
        config("arts")


def test_identities():
    mix, art = config("mix"), config("art")
    assert mix.identity()["pair"] == art.identity()["pair"] and mix.identity()["hash"] != art.identity()["hash"]
    assert config("art:tau=0.1").identity() == art.identity()
    assert (
        config("mix", seed=1).identity()["cohort"]
        == mix.identity()["cohort"]
        != config("mix", "train.steps=9").identity()["cohort"]
    )
    other = resolve("three_task", "airnet", "mix")
    assert other.identity()["cohort"] == mix.identity()["cohort"]
    for harmless in ("train.checkpoint_every=3", "evaluate.protocol=weather_y", "evaluate.extra=Rain100H"):
        assert config("mix", harmless).identity() == mix.identity()
    here, there = (DataConfig(source="files", root=root, fingerprint="f") for root in ("/here", "/there"))
    assert config(data=here).identity() == config(data=there).identity()
    assert config(data=here).identity() != config(data=here.model_copy(update={"fingerprint": "g"})).identity()


def test_profiles():
    demo, paper = config(), config(profile="paper")
    assert (demo.size, demo.data.mixing) == ("tiny", "balanced")
    assert (paper.size, paper.data.mixing) == ("paper", "shuffled") and paper.train.steps > 100 * demo.train.steps


def test_a_strategy_that_means_something_else_than_before_is_another_run():
    uw, mix = config("uw"), config("mix")
    assert (uw.definition, mix.definition, config("torchjd.scalarization:UW").definition) == (2, 1, 1)
    before = uw.model_copy(update={"definition": 1})  # as a folder of then is read
    assert before.identity()["hash"] != uw.identity()["hash"]
    assert before.identity()["pair"] == uw.identity()["pair"] == mix.identity()["pair"]
    assert uw.identity()["cohort"] == mix.identity()["cohort"]
