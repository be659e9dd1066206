"""What every baseline promises: full-size restoration, the training interface, the public face."""

import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F

import baselines
from baselines.network import Network

# How the authors' code pads at the bottom and the right, and to multiples of what (1: it takes any size).
PADDING = {
    "histoformer": ("reflect", 8),
    "adair": ("reflect", 8),
    "airnet": ("reflect", 1),
    "moceir": ("reflect", 8),  # ours; its authors test on multiples of 16 only
    "bioir": ("reflect", 4),
    "nafnet": ("constant", 16),  # zeros, inside its forward pass
    "onerestore": ("reflect", 1),
    "promptir": ("reflect", 8),
    "restormer": ("reflect", 8),
    "srresnet": ("reflect", 1),
    "symunet": ("reflect", 32),  # inside its forward pass
    "transweather": ("reflect", 64),  # Art's release, which tests with it
}


@torch.no_grad()
@pytest.mark.parametrize("name", PADDING)
def test_odd_sizes_are_padded_as_the_authors_do(name):
    network = baselines.build(name, "tiny").eval()
    for parameter in network.parameters():  # some start at 0 and would hide what is padded
        parameter.add_(0.05 * torch.randn_like(parameter))
    image = torch.rand(1, 3, 50, 70)
    mode, multiple = PADDING[name]
    expected, other = (
        network(network.prepare(F.pad(image, (0, -70 % multiple, 0, -50 % multiple), mode=way)))[..., :50, :70]
        for way in (mode, "replicate")
    )
    torch.testing.assert_close(network.restore(image), expected.clamp(0, 1))
    if multiple > 1:
        assert (expected.clamp(0, 1) - other.clamp(0, 1)).abs().max() > 1e-3  # the way of padding is seen
    if network.pads:
        torch.testing.assert_close(network(image), expected)


class Doubled(Network):
    """Shows what `restore` gives to `forward`."""

    multiple = 8

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(1))

    def prepare(self, image):
        return image * 2

    def forward(self, image):
        self.seen = image
        return image * self.scale


def test_restore_pads_by_reflection_and_crops_back():
    network = Doubled()
    image = torch.rand(1, 3, 6, 3, dtype=torch.float64) / 4
    restored = network.restore(image)
    assert restored.dtype == torch.float64 and not restored.requires_grad
    torch.testing.assert_close(restored, image * 2)
    assert network.seen.shape == (1, 3, 8, 8)
    assert torch.equal(network.seen[..., 6:, 0], network.seen[..., [4, 3], 0])  # reflected
    assert torch.equal(network.seen[..., 0, 3:], network.seen[..., 0, 2:3].expand(1, 3, 5))  # too short: replicated


@pytest.mark.parametrize(
    ("image", "sentence"),
    [
        (torch.rand(3, 8, 8), r"shape \(B, 3, H, W\), not \(3, 8, 8\)"),
        (torch.rand(1, 1, 8, 8), r"not \(1, 1, 8, 8\)"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), "divide uint8 by 255"),
    ],
)
def test_restore_refuses_what_is_no_image(image, sentence):
    with pytest.raises(ValueError, match=sentence):
        Doubled().restore(image)


def test_unknown_words_get_the_nearest_known():
    with pytest.raises(ValueError, match="unknown baseline 'transwether'; did you mean 'transweather'"):
        baselines.build("transwether")
    with pytest.raises(ValueError, match="'airnet' has no size 'tinny'; did you mean 'tiny'"):
        baselines.build("airnet", "tinny")
    with pytest.raises(ValueError, match="'airnet' has no recipe 'Demo'; did you mean 'demo'"):
        baselines.recipe("airnet", "Demo")


def test_overrides_replace_the_size():
    assert baselines.build("airnet", "tiny", queue=7).E.E.queue.shape[1] == 7


def test_names_need_no_torch():
    code = "import baselines, sys; baselines.names(); baselines.recipe('airnet', 'demo'); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
