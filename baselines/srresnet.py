"""SRResNet (Ledig et al.: CVPR 2017, https://arxiv.org/abs/1609.04802) as MiOIR (Kong, Dong, Zhang: 2024,
https://arxiv.org/abs/2401.03379) trains it for restoration: without batch norm and without resizing.
"""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from baselines.layers import nhwc
from baselines.network import Network


class SRResNet(Network):
    """A chain of 3x3 convolutions in residual blocks, all at the image's size, without a skip around the chain.

    ``forward`` takes and returns (B, 3, H, W) in [0, 1], any H and W. The input image is added to the output.

    Args:
        width: channels of every layer.
        blocks: residual blocks.
    """

    output_layer = "conv_last"

    def __init__(self, width: int = 64, blocks: int = 16):
        super().__init__()
        self.conv_first = nn.Conv2d(3, width, 3, padding=1)
        self.body = nn.Sequential(*(_ResidualBlock(width) for _ in range(blocks)))
        self.conv_hr = nn.Conv2d(width, width, 3, padding=1)
        self.conv_last = nn.Conv2d(width, 3, 3, padding=1)
        self.apply(_initialise)

    def forward(self, image: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 3 height width"]:
        """Restore images in [0, 1]."""
        image = nhwc(image)
        features = self.body(F.leaky_relu(self.conv_first(image), 0.1, inplace=True))
        return self.conv_last(F.leaky_relu(self.conv_hr(features), 0.1, inplace=True)) + image


class _ResidualBlock(nn.Module):
    """Two convolutions with a ReLU between them, added to their input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return features + self.conv2(F.relu(self.conv1(features)))


def _initialise(module: nn.Module) -> None:
    """A tenth of He's initialisation, as the authors': so the network starts close to giving back its input."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight)
        assert module.bias is not None
        nn.init.zeros_(module.bias)
        module.weight.data.mul_(0.1)
