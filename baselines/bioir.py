"""BioIR (Cui, Ren, Knoll: NeurIPS 2025, https://openreview.net/forum?id=UhvD08xpBO), as for all-in-one restoration."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from baselines.layers import DepthWise, PixelLinear, nhwc, remade
from baselines.losses import spectral_l1
from baselines.network import Network
from baselines.restormer import GatedFeedForward, Norm, PatchEmbedding

GRID = 16  # the periphery is seen as GRID x GRID regions
FOCAL, PERIPHERAL = 3, 5  # sides of the kernels that each pixel gets


class BioIR(Network):
    """A U-shaped network of three levels whose blocks exchange what a fovea and a periphery see.

    ``forward`` takes and returns (B, 3, H, W) in [0, 1], sides multiples of 4. Sides below 12, at whose lowest level
    two pixels cannot be reflected, are padded by replication and cropped back. The input image is added to the output.

    Args:
        width: channels of the first level; doubled at each of the two below.
        blocks: blocks of the three levels, on the way down and again on the way up.
        refinement: blocks after the last decoder level.
        expansion: hidden width of the feed-forward layers, relative to their input's.
    """

    output_layer = "output"
    multiple = 4
    local = False  # every pixel is compared with averages over the whole image

    def __init__(
        self, width: int = 48, blocks: Sequence[int] = (6, 6, 14), refinement: int = 4, expansion: float = 3.0
    ):
        super().__init__()
        widths = [width * 2**level for level in range(3)]

        def level(index: int, count: int) -> nn.Sequential:
            return nn.Sequential(*(_Block(widths[index], expansion) for _ in range(count)))

        self.patch_embed = PatchEmbedding(width)
        self.encoder_level1 = level(0, blocks[0])
        self.down1_2 = _Resize(widths[0], 0.5)
        self.encoder_level2 = level(1, blocks[1])
        self.down2_3 = _Resize(widths[1], 0.5)
        self.encoder_level3 = level(2, blocks[2])
        self.decoder_level3 = level(2, blocks[2])
        self.up3_2 = _Resize(widths[2], 2)
        self.reduce_chan_level2 = PixelLinear(widths[2], widths[1])  # in the published checkpoints, but not used
        self.decoder_level2 = level(1, blocks[1])
        self.up2_1 = _Resize(widths[1], 2)
        self.decoder_level1 = level(0, blocks[0])
        self.refinement = level(0, refinement)
        self.fuse2 = _Fusion(widths[1])
        self.fuse1 = _Fusion(widths[0])
        self.output = nn.Conv2d(width, 3, 3, padding=1, bias=False)

    def forward(self, image: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 3 height width"]:
        """Restore images in [0, 1]."""
        height, width = image.shape[-2:]
        side = self.multiple * (PERIPHERAL // 2 + 1)
        image = nhwc(F.pad(image, (0, max(0, side - width), 0, max(0, side - height)), mode="replicate"))
        first = self.encoder_level1(self.patch_embed(image))
        second = self.encoder_level2(self.down1_2(first))
        features = self.decoder_level3(self.encoder_level3(self.down2_3(second)))
        features = self.decoder_level2(self.fuse2(self.up3_2(features), second))
        features = self.decoder_level1(self.fuse1(self.up2_1(features), first))
        return (self.output(self.refinement(features)) + image)[..., :height, :width]

    def sample_loss(
        self, restored: Float[Tensor, "batch 3 height width"], clean: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, " batch"]:
        """A tenth of the error of the spectrum, beside the L1 loss of the pixels."""
        return 0.1 * spectral_l1(restored, clean)


class _Resize(nn.Module):
    """Half the size and twice the channels, or the other way round: bilinear, then a 3x3 convolution."""

    def __init__(self, width: int, factor: float) -> None:
        super().__init__()
        resize = nn.Upsample(scale_factor=factor, mode="bilinear", align_corners=False)
        self.body = nn.Sequential(resize, nn.Conv2d(width, int(width / factor), 3, padding=1, bias=False))

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b out rows columns"]:
        return nhwc(self.body(features))


class _Fusion(nn.Module):
    """Brings what comes from below together with the encoder's output of the same level."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = PixelLinear(2 * width, width, bias=True)

    def forward(self, raised: Float[Tensor, "b c h w"], encoded: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return self.conv(torch.cat((raised, encoded), 1))


class _Block(nn.Module):
    """Pre-norm mixer and gated feed-forward."""

    def __init__(self, width: int, expansion: float) -> None:
        super().__init__()
        self.norm1 = Norm(width)
        self.attn = _Mixer(width)
        self.norm2 = Norm(width)
        self.ffn = GatedFeedForward(width, int(width * expansion))

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        features = features + self.attn(self.norm1(features))
        return features + self.ffn(self.norm2(features))


class _Mixer(nn.Module):
    """Two halves of the channels, the periphery and the focus, each changed by the other and multiplied."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = PixelLinear(width, 2 * width)
        self.dw = DepthWise(2 * width)
        self.l2h = _PeripheralToFocal()
        self.h2l = _FocalToPeripheral(width)
        self.project_out = PixelLinear(width, width)

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        periphery, focus = self.dw.on_parts(self.conv.parts(features, 2))
        periphery, focus = self.h2l(periphery, focus), self.l2h(periphery, focus)
        first, second = periphery.detach(), focus.detach()
        product = periphery * focus
        with remade(product, lambda: first * second):
            return self.project_out(product)


class _PeripheralToFocal(nn.Module):
    """A kernel for each pixel of the focus, from its inner products with the regions of the periphery."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = PixelLinear(GRID**2, FOCAL**2, bias=True)

    def forward(self, periphery: Float[Tensor, "b c h w"], focus: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        regions = F.adaptive_avg_pool2d(periphery, GRID).flatten(2)
        # The 1x1 convolution over the products is a matrix; joined to the regions first, it takes a 28th of the work.
        joined = torch.einsum("kr,bcr->bkc", self.conv.weight.flatten(1), regions)
        assert self.conv.bias is not None
        kernels = torch.einsum("bkc,bchw->bkhw", joined, focus) + self.conv.bias.view(1, -1, 1, 1)
        return focus * (1 + _filtered(focus.mean(1, keepdim=True), kernels, FOCAL))


class _FocalToPeripheral(nn.Module):
    """A fixed wide filter of the focus gates the periphery, and gives a kernel for each of its pixels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dw = DepthWise(width, bias=True, size=7)
        self.cv2 = PixelLinear(width, PERIPHERAL**2, bias=True)

    def forward(self, periphery: Float[Tensor, "b c h w"], focus: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        wide = self.dw(focus)
        gated = torch.addcmul(periphery, periphery, wide)  # periphery * (1 + wide), but 1 + wide is not kept
        return gated + _filtered(gated.mean(1, keepdim=True), self.cv2(wide), PERIPHERAL)


def _filtered(
    plane: Float[Tensor, "b 1 h w"], kernels: Float[Tensor, "b taps h w"], side: int
) -> Float[Tensor, "b 1 h w"]:
    """Each pixel's neighbourhood (reflected at the borders) weighed by the pixel's own kernel."""
    around = F.pad(plane, (side // 2,) * 4, mode="reflect").transpose(0, 1)  # as channels: on GPUs, in one go
    taps, kept = F.unfold(around, side).view(kernels.shape), around.detach()
    with remade(taps, lambda: F.unfold(kept, side).view(kernels.shape)):
        return (taps * kernels).sum(1, keepdim=True)
