"""OneRestore: sides that do not halve evenly, both ways of resizing its keys, and no description."""

import numpy as np
import published_networks as published
import pytest
import torch

import baselines


@torch.no_grad()
@pytest.mark.parametrize(
    ("case", "antialias", "image"), [("odd", False, (2, 50, 70)), ("antialias", True, (0, 64, 64))]
)
def test_other_cases_are_the_published_ones(case, antialias, image):
    network = baselines.build("onerestore", antialias=antialias).eval()
    published.fill(network, published.NETWORKS["onerestore"]["fill_gain"])
    with np.load(published.FOLDER / "onerestore.npz") as outputs:
        expected = torch.from_numpy(outputs[f"onerestore_{case}"])
    found = network(published.image(*image), *published.described("onerestore"))
    assert (found - expected).abs().max() <= 1e-4 * expected.abs().max()


@torch.no_grad()
def test_without_a_description_it_is_blind():
    network, image = baselines.build("onerestore", "tiny").eval(), torch.rand(2, 3, 21, 16)
    constant = network(image)
    torch.testing.assert_close(network(image, torch.ones(2, 324)), constant)
    described = network(image, torch.rand(2, 324))
    assert (described - constant).abs().max() > 1e-5
    torch.testing.assert_close(network(image.flip(0)), constant.flip(0))
