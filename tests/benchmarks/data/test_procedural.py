"""Procedural scenes: reproducible, natural in their statistics, with a depth that fits the painting order."""

import numpy as np
import pytest

from benchmarks.data.photographs import photographs
from benchmarks.data.procedural import depth_proxy, scene, training_set


@pytest.fixture(scope="module")
def scenes():
    return training_set(8, 128, seed=3)


def spectral_slope(image):
    """Slope of log amplitude over log frequency, azimuthal mean, from four cycles an image to 0.4 a pixel."""
    grey = image.mean(axis=2) - image.mean()
    size = len(grey)
    window = np.hanning(size)
    amplitude = np.abs(np.fft.fft2(grey * window * window[:, None]))
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.fftfreq(size)[None])
    edges = np.geomspace(4 / size, 0.4, 10)
    ring = np.digitize(frequency, edges)
    means = [np.log(amplitude[ring == k].mean()) for k in range(1, 10)]
    return np.polyfit(np.log(np.sqrt(edges[1:] * edges[:-1])), means, 1)[0]


def test_a_seed_names_a_set_and_a_longer_set_starts_with_the_shorter(scenes):
    images, depths = scenes
    assert images.shape == (8, 128, 128, 3) and images.dtype == np.uint8
    assert depths.shape == (8, 128, 128) and depths.dtype == np.uint8
    again, depths_again = training_set(3, 128, seed=3)
    assert np.array_equal(again, images[:3]) and np.array_equal(depths_again, depths[:3])
    other, _ = training_set(1, 128, seed=4)
    assert np.abs(other[0].astype(int) - images[0]).mean() > 10


def test_a_scene_comes_from_its_generator_alone():
    first, depth = scene(np.random.default_rng(5), size=64)
    second, _ = scene(np.random.default_rng(5), size=64)
    assert np.array_equal(first, second)
    assert depth.dtype == np.float32 and depth.min() >= 0 and depth.max() <= 1
    with pytest.raises(ValueError, match="16 pixels"):
        scene(np.random.default_rng(0), size=8)


def test_spectrum_falls_like_that_of_photographs(scenes):
    slopes = [spectral_slope(image.astype(float)) for image in scenes[0]]
    assert all(-2 < slope < -0.8 for slope in slopes), slopes
    natural = np.median([spectral_slope(picture[:128, :128].astype(float)) for picture in photographs().values()])
    assert abs(np.median(slopes) - natural) < 0.5


def test_exposure_and_contrast_are_those_of_photographs(scenes):
    images = scenes[0] / 255
    assert 0.3 < images.mean() < 0.6
    assert (images.std(axis=(1, 2, 3)) > 0.08).all()
    assert images.min() < 0.1 and images.max() > 0.85


def test_depth_proxy_follows_the_edges_of_the_photograph():
    half = np.zeros((96, 96, 3), np.uint8)
    half[:, 48:] = 220
    depth = depth_proxy(half, np.random.default_rng(1))
    assert depth.shape == (96, 96) and depth.dtype == np.float32 and depth.min() >= 0 and depth.max() <= 1
    step = np.abs(np.diff(depth, axis=1)).mean(axis=0)
    assert step.argmax() == 47
    assert np.array_equal(depth, depth_proxy(half, np.random.default_rng(1)))
