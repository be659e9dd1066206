"""Nothing in a training step waits for the device."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from nosync import Waits, refuses_waiting

from benchmarks.config.configuration import resolve
from benchmarks.config.settings import load
from benchmarks.data.pools import Pool
from benchmarks.training.loop import Training
from results import Run

SETTING = load("three_task")
STRATEGIES = (
    "mix", "equal", "fixed:derain=2", "art", "uw", "imtl_l", "dwa", "famo", "stch", "rlw", "tur", "gradnorm",
    "graddrop", "torchjd.aggregation:Mean",
    "log", "uw_so", "db_mtl", "moco", "adatask", "excess_mtl", "go4align", "ldc_mtl",
)  # fmt: skip
DEVICES = (
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")),
)


def trained(strategy, folder, device, *overrides, baseline="nafnet"):
    chance = np.random.default_rng(0)
    images = chance.integers(0, 256, (1, 40, 40, 3), dtype=np.uint8)
    pools = [Pool(task, ["a"], images, depths=images[..., 0]) for task in SETTING.tasks]
    small = ["train.steps=20", "train.batch=6", "train.patch=32", "train.epoch=2", "train.ema=0.9", *overrides]
    config = resolve(SETTING, baseline, strategy, overrides=small)
    return Training(config, pools, Run(folder), torch.device(device))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_no_strategys_step_waits_for_the_device(strategy, device, tmp_path):
    training = trained(strategy, tmp_path, device, "train.compile=off", "train.graphs=off")
    batches = [training.batches(step) for step in range(3)]
    training.batches.begin = lambda step: None  # the data have tests of their own
    if device == "cuda":
        training.update(batches[0])  # libraries set themselves up
    with refuses_waiting(device):
        for batch in batches[training.step :]:
            training.update(batch)
    assert training.step == 3


@pytest.mark.parametrize("device", DEVICES)
def test_nor_does_airnets_whose_encoder_warms_up_first(device, tmp_path):
    training = trained("art", tmp_path, device, "train.encoder_warmup=0.05", baseline="airnet")
    batches = [training.batches(step) for step in range(3)]
    training.batches.begin = lambda step: None
    if device == "cuda":
        training.update(batches[0])
    with refuses_waiting(device):
        for batch in batches[training.step :]:
            training.update(batch)


def test_to_leave_out_updates_that_are_not_finite_must_wait(tmp_path):
    training = trained("mix", tmp_path, "cpu", "train.nonfinite=skip")
    batch = training.batches(0)
    with pytest.raises(Waits), refuses_waiting():
        training.update(batch)


@pytest.mark.parametrize(
    "wait",
    [
        lambda x: x.sum().item(), lambda x: x.tolist(), lambda x: bool(x.sum() > 0), lambda x: float(x[0]),
        lambda x: x.cpu(), lambda x: x.numpy(), lambda x: x.nonzero(), lambda x: x[x > 0], lambda x: x[[0, 1]],
        lambda x: x.__setitem__(x > 0, 1.0), lambda x: torch.equal(x, x), lambda x: torch.where(x > 0),
        lambda x: torch.repeat_interleave(x, torch.tensor([1, 2, 3])),
    ],
)  # fmt: skip
def test_what_waits_is_refused(wait):
    with pytest.raises(Waits), refuses_waiting():
        wait(torch.arange(3.0))
