"""Learning rates against torch's schedulers and the recipes' landmarks."""

import math
from itertools import pairwise

import pytest
import torch
from torch.optim import lr_scheduler

from benchmarks.config.configuration import resolve
from benchmarks.config.sections import TrainConfig
from benchmarks.config.settings import load
from benchmarks.training.schedules import epoch_steps, learning_rate


def rates(**options):
    train = TrainConfig(
        **({"steps": 200, "batch": 1, "patch": 16, "lr": 1e-3, "log_every": 1, "checkpoint_every": 9} | options)
    )
    return [learning_rate(train, step) for step in range(train.steps)]


@pytest.mark.parametrize(
    ("steps", "epoch", "whole", "expected"),
    [(900, 0, 14243, 9), (534116, 0, 4450, 4450), (400000, 0, 28486, 4000), (20, 0, 50, 1), (900, 250, 14243, 250)],
)
def test_an_epoch_is_a_pass_over_the_list_or_a_hundredth_of_the_training(steps, epoch, whole, expected):
    train = TrainConfig(steps=steps, batch=1, patch=16, lr=1e-3, log_every=1, checkpoint_every=9, epoch=epoch)
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


def test_histoformer_keeps_its_rate_and_then_falls_once():
    found = rates(schedule="flat_cosine", warmup=0.3, min_lr=1e-6)
    assert set(found[:61]) == {1e-3} and found[130] == pytest.approx(0.5005e-3) and found[-1] < 2e-6
    assert all(later < before for before, later in pairwise(found[60:]))


def bolts(warmup, last):
    """The closed form of the scheduler that PromptIR and AdaIR take from Lightning Bolts."""

    def rate(epoch):
        if epoch < warmup:
            return 2e-4 * epoch / (warmup - 1)
        return 0.5 * 2e-4 * (1 + math.cos(math.pi * (epoch - warmup) / (last - warmup)))

    return rate


def airnet(epoch):
    """As its train.py sets the rate, without its delay of an epoch."""
    return 1e-3 * 0.1 ** (epoch // 60) if epoch < 100 else 1e-4 * 0.5 ** ((epoch - 100) // 125)


def stepped(lr, scheduler, **options):
    """The rates of a scheduler of torch, stepped once an epoch."""

    def rate(epoch):
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)
        schedule = scheduler(optimizer, **options)
        for _ in range(epoch):
            optimizer.step()
            schedule.step()
        return schedule.get_last_lr()[0]

    return rate


PROMPTIR = (120, bolts(15, 150), (0, 1, 7, 14, 15, 16, 60, 90, 118, 119))
ADAIR = (150, bolts(15, 180), (0, 1, 7, 14, 15, 16, 75, 120, 148, 149))
AIRNET = (1000, airnet, (0, 59, 60, 99, 100, 224, 225, 349, 350, 999))
# "epochs" of 10,000 steps, of which ten make one of the ten periods
MIOIR = (100, stepped(2e-4, lr_scheduler.CosineAnnealingWarmRestarts, T_0=10, eta_min=1e-7),
         (0, 1, 5, 9, 10, 11, 29, 30, 90, 99))  # fmt: skip
ONERESTORE = (
    120,
    stepped(1e-4, lr_scheduler.StepLR, step_size=30, gamma=0.5),
    (0, 1, 29, 30, 59, 60, 89, 90, 118, 119),
)
# of 1,000 steps
SYMUNET = (300, stepped(1e-3, lr_scheduler.CosineAnnealingLR, T_max=300, eta_min=1e-7),
           (0, 1, 50, 100, 149, 150, 200, 250, 298, 299))  # fmt: skip
HISTOFORMER = (
    300,
    lambda epoch: 3e-4 if epoch < 92 else 1e-6 + (3e-4 - 1e-6) * (1 + math.cos(math.pi * (epoch - 92) / 208)) / 2,
    (0, 50, 91, 92, 93, 150, 196, 250, 298, 299),
)
ART = (600, stepped(5e-5, lr_scheduler.CosineAnnealingLR, T_max=200, eta_min=1e-8),
       (0, 1, 100, 199, 200, 201, 300, 400, 500, 599))  # fmt: skip
PUBLISHED = {
    ("three_task", "promptir"): PROMPTIR,
    ("three_task", "moceir"): PROMPTIR,
    ("three_task", "restormer"): PROMPTIR,
    ("three_task", "nafnet"): PROMPTIR,
    ("five_task", "promptir"): PROMPTIR,
    ("three_task", "adair"): ADAIR,
    ("three_task", "bioir"): ADAIR,
    ("five_task", "adair"): ADAIR,
    ("three_task", "symunet"): SYMUNET,
    ("three_task", "airnet"): AIRNET,
    ("five_task", "airnet"): AIRNET,
    ("seven_task", "airnet"): AIRNET,
    ("cdd11", "airnet"): AIRNET,
    ("seven_task", "promptir"): MIOIR,
    ("seven_task", "restormer"): MIOIR,
    ("seven_task", "srresnet"): MIOIR,
    ("cdd11", "promptir"): ONERESTORE,
    ("cdd11", "transweather"): ONERESTORE,
    ("all_weather", "transweather"): ART,
    ("all_weather", "histoformer"): HISTOFORMER,
}


@pytest.mark.parametrize(("setting", "baseline"), PUBLISHED)
def test_ten_epochs_of_each_published_schedule(setting, baseline):
    train = resolve(load(setting), baseline, "mix", profile="paper").train
    epochs, rule, chosen = PUBLISHED[setting, baseline]
    for epoch in chosen:
        first, after = (math.ceil(place * train.steps / epochs) for place in (epoch, epoch + 1))
        assert learning_rate(train, first) == pytest.approx(rule(epoch), rel=1e-6, abs=1e-13)
        if train.schedule in ("warmup_cosine", "step", "airnet"):  # changed once an epoch
            assert learning_rate(train, after - 2) == learning_rate(train, first)


def test_plateaus_cut_the_training_in_equal_parts():
    for steps, plateaus in ((120, 12), (100, 7), (5, 12)):
        found = rates(steps=steps, plateaus=plateaus, warmup=0.0, cycle=1.0)
        curve = [1e-3 * (1 + math.cos(math.pi * part / plateaus)) / 2 for part in range(plateaus)]
        assert found == pytest.approx([curve[math.ceil((step + 1) * plateaus / steps) - 1] for step in range(steps)])


def test_airnet_landmarks():
    found = rates(steps=1000, schedule="airnet", lr=1e-4, encoder_warmup=0.1)
    assert [found[epoch] for epoch in (0, 59, 60, 99, 100, 224, 225, 350)] == pytest.approx(
        [1e-3, 1e-3, 1e-4, 1e-4, 1e-4, 1e-4, 5e-5, 2.5e-5]
    )
