"""Looking at a batch again leaves no trace in the network and its chance; a step without losses asks for none."""

import numpy as np
import pytest
import torch

import baselines
from benchmarks.config.configuration import resolve
from benchmarks.config.settings import load
from benchmarks.data.pools import Pool
from benchmarks.run import main
from benchmarks.training.loop import Training
from results import Run

SETTING = load("three_task")


@pytest.fixture(scope="module")
def pools():
    images = np.random.default_rng(0).integers(0, 256, (3, 72, 72, 3), dtype=np.uint8)
    return [Pool(task, ["a", "b", "c"], images, depths=images[..., 0]) for task in SETTING.tasks]


def training(baseline, pools, folder, *overrides, strategy="famo"):
    small = ["train.steps=4", "train.batch=5", "train.patch=64", *overrides]
    config = resolve(SETTING, baseline, strategy, overrides=small)
    return Training(config, pools, Run(folder), torch.device("cpu"))


def state(network):
    return {key: value.clone() for key, value in network.state_dict().items()}


@pytest.mark.parametrize("baseline", baselines.names())
def test_looking_again_leaves_no_trace(baseline, pools, tmp_path):
    one = training(baseline, pools, tmp_path, "train.probe_every=1")
    batch = one.batches(0)
    one._seed_network()
    one.network.train()
    torch.rand(1)  # chance is at another place than where a step begins
    before, chance = state(one.network), torch.get_rng_state()
    first = one._losses_again(batch)
    one.probe.record(1, one.network)
    assert torch.equal(torch.get_rng_state(), chance)
    assert all(torch.equal(before[key], value) for key, value in one.network.state_dict().items())
    assert torch.equal(one._losses_again(batch), first)  # the same stochastic depth too
    assert one.network.training and first.gt(0).all() and first.shape == (5,)


def test_famo_moves_airnet_as_any_other_strategy(pools, tmp_path):
    """Batch statistics, queue and momentum encoder move once a step: by the first look."""
    famo, mix = (training("airnet", pools, tmp_path / name, strategy=name) for name in ("famo", "mix"))
    for one in (famo, mix):
        one.update(one.batches(0))
    other = state(mix.network)
    moved = [key for key, value in famo.network.state_dict().items() if "running_" in key or "queue" in key]
    assert moved and all(torch.equal(famo.network.state_dict()[key], other[key]) for key in moved)
    assert famo.network.E.E.queue_ptr.item() == 5
    keys = zip(*(one.network.E.E.encoder_k.parameters() for one in (famo, mix)), strict=True)
    assert all(torch.equal(key, its) for key, its in keys)


@pytest.mark.parametrize("strategy", ["famo", "stch", "uw", "tur", "gradnorm", "dwa"])
def test_strategies_wait_for_airnets_warmup_to_end(strategy, pools, tmp_path):
    one = training("airnet", pools, tmp_path, "train.encoder_warmup=0.5", "train.epoch=1", strategy=strategy)
    one.finish()
    assert sorted(set(one.rhythm.table()["step"])) == [3, 4]
    if strategy == "stch":
        assert one.strategy.scalarizer.epoch == 2  # those without losses do not count


def test_a_strategy_without_effect_is_told(pools, tmp_path):
    slow = training("transweather", pools, tmp_path / "slow", "train.epoch=3", strategy="dwa")
    quick = training("transweather", pools, tmp_path / "quick", strategy="dwa")
    for one in (slow, quick):
        one.finish()
    assert "no effect" in slow.remark() and quick.remark() == ""


def test_a_run_too_short_for_a_strategys_epochs_is_told_at_the_start(tmp_path, capsys):
    command = ["--setting", "three_task", "--baselines", "nafnet", "--strategies", "dwa", "stch", "uw", "--dry-run"]
    command += ["--output", str(tmp_path), "--set", "train.steps=30"]
    assert main([*command, "train.epoch=15"]) == 0
    told = capsys.readouterr().err.splitlines()
    assert [line.split()[:2] for line in told] == [["warning:", "dwa"], ["warning:", "stch"]]
    assert main(command) == 0 and not capsys.readouterr().err
