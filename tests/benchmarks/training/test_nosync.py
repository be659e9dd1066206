"""Nothing in a training step waits for the device."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks.config.configuration import resolve
from benchmarks.config.settings import load
from benchmarks.data.pools import Pool
from benchmarks.training.loop import Training
from results import Run
from tests.benchmarks.training.nosync import Waits, refuses_waiting

SETTING = load("three_task")
STRATEGIES = [
    "mix", "equal", "fixed:derain=2", "art", "uw", "imtl_l", "dwa", "famo", "stch", "rlw", "geometric", "tur", "gradnorm",
    "upgrad",
]  # fmt: skip


def trained(strategy, folder, device="cpu", *overrides, baseline="nafnet"):
    chance = np.random.default_rng(0)
    pools = [Pool(task, ["a"], chance.integers(0, 256, (1, 40, 40, 3), dtype=np.uint8)) for task in SETTING.tasks]
    small = ["train.steps=20", "train.batch=5", "train.patch=32", "train.epoch=2", "train.ema=0.9", *overrides]
    return Training(resolve(SETTING, baseline, strategy, overrides=small), pools, Run(folder), torch.device(device))
