"""The mixing of training lists."""

import numpy as np
import pytest

from benchmarks.config import settings
from benchmarks.config.configuration import resolve
from benchmarks.data.batches import Mixture

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
