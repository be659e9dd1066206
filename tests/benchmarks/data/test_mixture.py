"""The mixing of training lists."""

import hashlib

import numpy as np
import pytest
import torch

from benchmarks.config import settings, shares
from benchmarks.config.configuration import resolve
from benchmarks.config.mixing import Mixing
from benchmarks.data.batches import Batches, Mixture
from benchmarks.data.pools import Pool

SETTING = settings.load("three_task")
LENGTHS = [task.list_length for task in SETTING.tasks]


def counts(mixture, steps):
    return np.array([np.bincount(mixture(step)[0], minlength=5) for step in range(steps)])


def test_the_published_list_has_its_published_length():
    assert LENGTHS == [15432, 15432, 15432, 24000, 72135] and sum(LENGTHS) == 142431


def test_shuffled_visits_the_whole_list_once_an_epoch():
    mixture = Mixture([6, 4, 20], [3, 2, 20], 7, "shuffled", (0,))
    seen = [pair for step in range(30) for pair in zip(*mixture(step), strict=True)]
    for epoch in range(7):
        visited = sorted((int(task), int(image)) for task, image in seen[30 * epoch : 30 * (epoch + 1)])
        assert visited == sorted(
            [(0, i % 3) for i in range(6)] + [(1, i % 2) for i in range(4)] + [(2, i) for i in range(20)]
        )
    assert mixture.steps_an_epoch == 4


@pytest.mark.parametrize("batch", [5, 10, 12])
def test_balanced_has_every_task_alike_in_every_batch(batch):
    seen = counts(Mixture(LENGTHS, [7] * 5, batch, "balanced", (0,)), 25)
    assert seen.min() == batch // 5 and seen.max() <= -(-batch // 5)
    assert (seen.sum(0) == 5 * batch).all()


@pytest.mark.parametrize("name", settings.names())
def test_airnets_batches_hold_one_sample_of_each_task(name):
    config = resolve(settings.load(name), "airnet", "mix", profile="paper")
    lengths = [task.list_length for task in settings.load(name).tasks]
    mixture = Mixture(lengths, [7] * len(lengths), config.train.batch, config.data.mixing, (0,))
    for step in (*range(20), config.train.steps - 1):
        assert np.bincount(mixture(step)[0]).tolist() == [1] * len(lengths)


def test_balanced_walks_through_every_image():
    mixture = Mixture(LENGTHS, [7] * 5, 12, "balanced", (0,))
    images = [[] for _ in range(5)]
    for step in range(35):
        for task, image in zip(*mixture(step), strict=True):
            images[task].append(int(image))
    for visited in images:
        assert len(visited) == 84 and (np.bincount(visited) == 12).all()


def test_stratified_keeps_the_shares_in_every_batch():
    seen = counts(Mixture(LENGTHS, [7] * 5, 10, "stratified", (0,)), 2000)
    shares = 10 * np.array(LENGTHS) / sum(LENGTHS)
    assert (seen >= np.floor(shares)).all() and (seen <= np.ceil(shares)).all()
    np.testing.assert_allclose(seen.mean(0), shares, atol=0.05)


@pytest.mark.parametrize("mixing", ["shuffled", "balanced", "stratified"])
def test_a_step_is_the_same_in_any_order_and_differs_by_seed(mixing):
    forward = Mixture(LENGTHS, [50] * 5, 10, mixing, (0,))
    backward = Mixture(LENGTHS, [50] * 5, 10, mixing, (0,))
    other = Mixture(LENGTHS, [50] * 5, 10, mixing, (1,))
    steps = [0, 1, 2, 14242, 14243, 14244]
    ahead = {step: forward(step) for step in steps}
    behind = {step: backward(step) for step in reversed(steps)}
    assert all(np.array_equal(ahead[step], behind[step]) for step in steps)
    assert any(not np.array_equal(ahead[step], other(step)) for step in steps)


@pytest.mark.parametrize(
    ("mixing", "digest"),
    [("shuffled", "d90323612879f705"), ("balanced", "2010210c7aec35f9"), ("stratified", "3812cbca1350c1f3")],
)
def test_lists_are_drawn_as_ever(mixing, digest):
    """Runs of earlier versions saw these very samples."""
    mixture, seen = Mixture(LENGTHS, [50, 7, 96, 20, 5], 11, mixing, (0, "a")), hashlib.sha256()
    for step in (*range(40), 14242, 14243, 99999):
        for numbers in mixture(step):
            seen.update(numbers.astype(np.int64).tobytes())
    assert seen.hexdigest()[:16] == digest


def mixture_of(mixing, steps, batch):
    """The mixture of a run whose pools hold 50 images each."""
    pools = [Pool(task, [str(number) for number in range(50)], []) for task in SETTING.tasks]
    sizes = [f"train.steps={steps}", f"train.batch={batch}", f"data.mixing={mixing}"]
    return Batches(pools, resolve(SETTING, "transweather", "mix", overrides=sizes), torch.device("cpu")).mixture


RATED = ["temperature:2", "temperature:1e-300", "cooldown:20:0.5", "rates:denoise_25=0:derain=0.35", "sequential"]


@pytest.mark.parametrize("mixing", RATED)
@pytest.mark.parametrize("batch", [1, 7, 10])
def test_every_batch_has_each_rate_rounded_up_or_down(mixing, batch):
    steps = 400
    seen = counts(mixture_of(mixing, steps, batch), steps)
    rates = batch * shares.rates(Mixing.parse(mixing), np.arange(steps), steps, SETTING.tasks)
    assert (seen.sum(1) == batch).all()
    assert (seen >= np.floor(rates + 1e-9)).all() and (seen <= np.ceil(rates - 1e-9)).all()
    expected = shares.expected_shares(mixing, SETTING, steps).values()
    # the roundings of steps are independent, each of variance 1/4 at most; four standard deviations
    np.testing.assert_allclose(seen.mean(0), batch * np.array(list(expected)), atol=4 * 0.5 / steps**0.5)


@pytest.mark.parametrize("mixing", RATED)
def test_samples_by_rates_depend_on_the_step_alone(mixing):
    """So a run goes on after an interruption as if there had been none; and a probe may look past the last step."""
    forward, backward = (mixture_of(mixing, 100, 7) for _ in range(2))
    ahead = {step: forward(step) for step in range(102)}
    for step in reversed(range(102)):
        assert all(np.array_equal(one, other) for one, other in zip(ahead[step], backward(step), strict=True))
    images = np.concatenate([image for _, image in ahead.values()])
    assert images.min() >= 0 and images.max() < 50 and len(set(images.tolist())) > 40
    assert forward.steps_an_epoch == sum(LENGTHS) // 7


def test_a_task_joins_at_the_first_step_of_its_stage():
    seen = counts(mixture_of("sequential", 80, 20), 80) > 0
    assert [column.argmax() for column in seen.T] == [0, 10, 20, 30, 40]
    assert seen.sum(1).tolist() == [min(step // 10, 4) + 1 for step in range(80)]
