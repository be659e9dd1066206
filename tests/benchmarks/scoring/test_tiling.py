"""Tiling: no seams where the network is local, nothing lost at any size, tiles only where memory is short."""

import pytest
import torch
from miniature import picture
from torch import nn

import baselines
from baselines.network import Network
from benchmarks.config.errors import UserError
from benchmarks.config.settings import load
from benchmarks.data.pools import TestPool
from benchmarks.scoring import tiling
from benchmarks.scoring.scores import evaluate
from benchmarks.scoring.tiling import restore, restore_tiled

CPU = torch.device("cpu")
LEVEL = 1 / 255


class Local(Network):
    """Two convolutions at half the size and back: local, but bound to a grid of 8 pixels."""

    multiple = 8

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 12, 3, padding=1), nn.PixelShuffle(2)
        )

    def forward(self, image):
        return image + self.layers(image)


class Same(Network):
    """Gives the image back, unless it has too many pixels."""

    def __init__(self, multiple=1, most=10**9, local=True):
        super().__init__()
        self.multiple, self.most, self.local = multiple, most, local
        self.scale = nn.Parameter(torch.ones(()))
        self.sides = []

    def forward(self, image):
        self.sides.append(tuple(image.shape[-2:]))
        if image.shape[-1] * image.shape[-2] > self.most:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")
        return image * self.scale


def airnet():
    """AirNet whose deformable convolutions are bent, as after training."""
    network = baselines.build("airnet", "tiny")
    for name, parameter in network.named_parameters():
        if "conv_offset_mask" in name:
            nn.init.normal_(parameter, std=0.05)
    return network


@pytest.mark.parametrize("size", [(150, 161), (67, 301)])
@pytest.mark.parametrize("build", [Local, airnet])
def test_seams_of_a_local_network_do_not_show(build, size):
    torch.manual_seed(0)
    network, image = build(), torch.rand(1, 3, *size)
    whole, tiled = network.restore(image), restore_tiled(network, image, 128, 64)
    assert (whole - image).abs().max() > 10 * LEVEL
    assert (tiled - whole).abs().max() < LEVEL / 10


@pytest.mark.parametrize("multiple", [1, 8, 64])
def test_tiles_cover_any_size(multiple):
    network = Same(multiple)
    for height, width in [(129, 400), (1, 300), (257, 128), (191, 193), (128, 128), (640, 130)]:
        image = torch.rand(1, 3, height, width)
        torch.testing.assert_close(restore_tiled(network, image, 128), image)
    assert max(max(sides) for sides in network.sides) <= 128


def test_tiles_are_few_and_even():
    network = Same(8)
    restore_tiled(network, torch.rand(1, 3, 64, 520), 512)
    assert network.sides == [(64, 296), (64, 296)]


def test_what_fits_is_restored_whole():
    network, told = Same(), []
    restore(network, torch.rand(1, 3, 300, 500), CPU, warn=told.append)
    assert network.sides == [(300, 500)] and not told


@pytest.mark.parametrize(("local", "words"), [(True, "seams do not show"), (False, "not that of the whole image")])
def test_where_memory_is_short_tiles_are_made_and_told(local, words, monkeypatch):
    network, told, image = Same(8, local=local), [], torch.rand(1, 3, 300, 500)
    monkeypatch.setattr(
        tiling, "_budget", lambda device, cores: 200**2 * tiling.MARGIN * tiling._bytes_a_pixel(network, device)
    )
    torch.testing.assert_close(restore(network, image, CPU, warn=told.append), image)
    assert 128 <= max(network.sides[-1]) <= 200
    assert len(told) == 1 and "500x300" in told[0] and words in told[0]


def test_evaluation_uses_tiles_where_memory_is_short(monkeypatch):
    task = load("three_task").tasks[0]
    pool = TestPool(task, ["a"], [picture(1, 65, 83)], dataset="mini")
    network, told = Same().eval(), []
    monkeypatch.setattr(tiling, "_budget", lambda device, cores: 0)
    monkeypatch.setattr(tiling, "OVERLAP", 16)
    rows, _ = evaluate(network, [pool], "airnet_rgb", CPU, warn=told.append)
    assert rows[0]["value"] == pytest.approx(rows[0]["input_value"], abs=1e-4)
    assert len(network.sides) > 2 and "80x64" in told[0]


def test_out_of_memory_makes_smaller_tiles(monkeypatch):
    monkeypatch.setattr(tiling, "_budget", lambda device, cores: 2**40)  # whatever else runs on this machine
    network, told, image = Same(most=40_000), [], torch.rand(1, 3, 600, 400)
    torch.testing.assert_close(restore(network, image, CPU, warn=told.append), image)
    assert [height * width > 40_000 for height, width in network.sides[:3]] == [True, True, False]
    assert "in overlapping tiles of at most 150" in told[0]


def test_no_tile_fits(monkeypatch):
    monkeypatch.setattr(tiling, "_budget", lambda device, cores: 2**40)
    with pytest.raises(UserError, match="does not fit into memory even with tiles of 128"):
        restore(Same(most=100), torch.rand(1, 3, 600, 400), CPU)


def test_other_errors_pass():
    class Broken(Same):
        def forward(self, image):
            raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes do not match"):
        restore(Broken(), torch.rand(1, 3, 16, 16), CPU)


def test_the_tile_asked_for():
    network, told = Same(64), []
    restore(network, torch.rand(1, 3, 200, 300), CPU, tile=128, warn=told.append)
    assert set(network.sides) == {(128, 128)} and told
    with pytest.raises(UserError, match="tiles of 100 pixels are too small for Same; the smallest are 128"):
        restore(network, torch.rand(1, 3, 200, 300), CPU, tile=100)
    with pytest.raises(ValueError, match="tiles of 100 pixels cannot share 64"):
        restore_tiled(network, torch.rand(1, 3, 200, 300), 100)


def test_the_need_is_measured():
    """A convolution to 50 channels and its activation live together: twice 50 maps of four bytes, and the image."""

    class Wide(Network):
        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(nn.Conv2d(3, 50, 1), nn.Sigmoid(), nn.Conv2d(50, 3, 1))

        def forward(self, image):
            return self.layers(image)

    assert tiling._bytes_a_pixel(Wide(), CPU) == pytest.approx(400, abs=20)
    assert 2**20 < tiling._budget(CPU, 1) < 2**50
