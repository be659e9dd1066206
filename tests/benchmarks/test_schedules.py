"""Learning rates against torch's schedulers and the recipes' landmarks."""

from itertools import pairwise

import pytest
import torch

from benchmarks.config import TrainConfig
from benchmarks.schedules import epoch_steps, learning_rate


def rates(**options):
    train = TrainConfig(**({"steps": 200, "batch": 1, "patch": 16, "lr": 1e-3} | options))
    return [learning_rate(train, step) for step in range(train.steps)]


@pytest.mark.parametrize(
    ("steps", "epoch", "whole", "expected"),
    [(900, 0, 14243, 9), (534116, 0, 4450, 4450), (400000, 0, 28486, 4000), (20, 0, 50, 1), (900, 250, 14243, 250)],
)
def test_an_epoch_is_a_pass_over_the_list_or_a_hundredth_of_the_training(steps, epoch, whole, expected):
    train = TrainConfig(steps=steps, batch=1, patch=16, lr=1e-3, epoch=epoch)
    assert epoch_steps(train, whole) == expected


def test_cosine_is_torchs_also_past_its_end():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=80, eta_min=1e-6)
    for rate in rates(cycle=0.4, min_lr=1e-6):
        assert rate == pytest.approx(scheduler.get_last_lr()[0], abs=1e-9)
        optimizer.step()
        scheduler.step()


def test_one_cycle_rises_and_falls():
    found = rates(schedule="one_cycle", warmup=0.1, min_lr=1e-6)
    assert found[0] < 1e-4 and max(found) == pytest.approx(1e-3) and found.index(max(found)) in (19, 20)
    assert found[-1] < 2e-6 and all(later <= before for before, later in pairwise(found[20:]))


def test_promptir_rises_linearly_and_stops_before_the_cosine_ends():
    found = rates(schedule="warmup_cosine", warmup=0.125, cycle=1.25, lr=2e-4)
    assert found[0] == pytest.approx(2e-4 / 25) and found[24] == pytest.approx(2e-4)
    assert 1e-5 < found[-1] < 3e-5


def test_airnet_landmarks():
    found = rates(steps=1000, schedule="airnet", lr=1e-4, encoder_warmup=0.1)
    assert [found[epoch] for epoch in (0, 59, 60, 99, 100, 224, 225, 350)] == pytest.approx(
        [1e-3, 1e-3, 1e-4, 1e-4, 1e-4, 1e-4, 5e-5, 2.5e-5]
    )
