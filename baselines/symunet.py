"""SymUNet (Jiao, Lee, Wang, Zhu, Hu, Ren: 2025, https://arxiv.org/abs/2512.10581).

Its authors' file holds a second network, SE-SymUNet, which adds features of a frozen CLIP; that one is not built here.
"""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from baselines.layers import PixelLinear, nhwc
from baselines.losses import spectral_l1
from baselines.network import Network, padded
from baselines.restormer import Block


class SymUNet(Network):
    """Restormer's blocks in a U whose two sides mirror each other: what goes up is added to what came down.

    ``forward`` takes and returns (B, 3, H, W) in [0, 1], any H and W: as its authors' does, it pads by reflection at
    the bottom and the right to multiples of 32 and crops back. The input image is added to the output.

    Args:
        width: channels of the first level; doubled at each level below.
        encoder: transformer blocks of each encoder level.
        middle: transformer blocks of the lowest level.
        decoder: transformer blocks of each decoder level, from the lowest.
        heads: attention heads of each encoder level and of the lowest.
        expansion: hidden width of the feed-forward layers, relative to their input's.
    """

    output_layer = "ending"
    multiple = 32
    pads = True
    local = False  # attention between channels sums over the whole image

    def __init__(
        self,
        width: int = 48,  # 64 in the authors' class, 48 in all their option files
        encoder: Sequence[int] = (4, 6, 6),
        middle: int = 8,
        decoder: Sequence[int] = (6, 6, 4),
        heads: Sequence[int] = (1, 2, 4, 8),
        expansion: float = 2.66,
    ):
        super().__init__()
        widths = [width * 2**level for level in range(len(encoder) + 1)]

        def level(index: int, blocks: int) -> nn.Sequential:
            return nn.Sequential(*(Block(widths[index], heads[index], expansion) for _ in range(blocks)))

        self.intro = nn.Conv2d(3, width, 3, padding=1)
        self.ending = nn.Conv2d(width, 3, 3, padding=1)
        self.encoders = nn.ModuleList(level(index, blocks) for index, blocks in enumerate(encoder))
        upwards = range(len(encoder) - 1, -1, -1)
        self.decoders = nn.ModuleList(level(index, blocks) for index, blocks in zip(upwards, decoder, strict=True))
        self.ups = nn.ModuleList(
            nn.Sequential(PixelLinear(wide, 2 * wide), nn.PixelShuffle(2)) for wide in widths[:0:-1]
        )
        self.downs = nn.ModuleList(nn.Conv2d(narrow, 2 * narrow, 2, 2) for narrow in widths[:-1])
        self.middle_blks = level(len(encoder), middle)

    def forward(self, image: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 3 height width"]:
        """Restore images in [0, 1]."""
        height, width = image.shape[-2:]
        image = nhwc(padded(image, self.multiple))
        features = self.intro(image)
        skips: list[Tensor] = []
        for encoder, down in zip(self.encoders, self.downs, strict=True):
            features = encoder(features)
            skips.append(features)
            features = down(features)
        features = self.middle_blks(features)
        for decoder, up, skip in zip(self.decoders, self.ups, reversed(skips), strict=True):
            features = decoder(nhwc(up(features)) + skip)
        return (self.ending(features) + image)[..., :height, :width]

    def sample_loss(
        self, restored: Float[Tensor, "batch 3 height width"], clean: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, " batch"]:
        """A tenth of the error of the spectrum, beside the L1 loss of the pixels."""
        return 0.1 * spectral_l1(restored, clean)
