"""OneRestore (Guo, Gao, Lu, Zhu, Liu, He: ECCV 2024, https://arxiv.org/abs/2407.04621)."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from baselines.layers import DepthWise, PixelLinear, nhwc
from baselines.losses import ms_ssim
from baselines.network import Network
from baselines.restormer import ChannelAttention, GatedFeedForward, Norm

SIDE = 18  # keys are resized to 18x18, as many numbers as the embedding has
EMBEDDING = SIDE * SIDE


class OneRestore(Network):
    """A U-shaped transformer in which a description of the degradation queries the features, channel by channel.

    ``forward`` takes and returns (B, 3, H, W) in [0, 1], any sides. The output is (residual + image + 1) / 2, as in the
    authors' program: leaving an image as it is means a residual of image - 1.

    The authors' description is the text embedding of the degradation's true type in training, and at test of the type
    that a second network, which they publish as another file, finds in the image. Nothing here tells a network the
    type, and the second network needs word vectors and ImageNet weights; so unless ``forward`` is given embeddings,
    they are one constant, which makes the queries learned constants and the network blind.

    Args:
        width: channels of the first level; doubled at each of the three below.
        heads: attention heads of all levels; at least two channels each, or queries choose nothing.
        expansion: hidden width of the feed-forward layers, relative to their input's.
        antialias: resize keys with antialiasing, as torchvision does from 0.17 on; the authors name 0.14, without.
    """

    local = False  # attention between channels sums over the whole image
    output_layer = "out_conv"

    def __init__(self, width: int = 32, heads: int = 8, expansion: float = 2.66, antialias: bool = False):
        super().__init__()
        self.in_conv = PixelLinear(3, width)
        self.encoder = _Encoder(width, heads, expansion, antialias)
        self.middle = _Middle(8 * width, heads, expansion, antialias)
        self.decoder = _Decoder(width, heads, expansion, antialias)
        self.out_conv = PixelLinear(width, 3)

    def forward(
        self, image: Float[Tensor, "batch 3 height width"], embedding: Float[Tensor, "batch 324"] | None = None
    ) -> Float[Tensor, "batch 3 height width"]:
        """Restore images in [0, 1].

        Args:
            image: the degraded images.
            embedding: a description of the degradation of each; ``None``: the same constant for all.
        """
        if embedding is None:
            embedding = image.new_ones(len(image), EMBEDDING)
        image = nhwc(image)
        skips = self.encoder(self.in_conv((image - 0.5) / 0.5), embedding)
        features = self.decoder(self.middle(skips[-1], embedding), skips, embedding)
        return (self.out_conv(features) + image + 1) / 2

    def sample_loss(
        self, restored: Float[Tensor, "batch 3 height width"], clean: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, " batch"]:
        """The MS-SSIM term of 0.6 smooth L1 + 0.3 (1 - MS-SSIM), divided by the 0.6 of the error of the pixels."""
        return 0.5 * (1 - ms_ssim(restored, clean))


class _Encoder(nn.Module):
    """One block at each of the four levels."""

    def __init__(self, width: int, heads: int, expansion: float, antialias: bool) -> None:
        super().__init__()
        self.el, self.em, self.es, self.ess = (
            _Level(width * 2**level, heads, expansion, antialias) for level in range(4)
        )
        self.conv_eltem = PixelLinear(width, 2 * width)
        self.conv_emtes = PixelLinear(2 * width, 4 * width)
        self.conv_estess = PixelLinear(4 * width, 8 * width)
        self.conv_esstesss = PixelLinear(8 * width, 16 * width)  # in the published files, but in no forward pass

    def forward(
        self, features: Float[Tensor, "b c h w"], embedding: Float[Tensor, "b 324"]
    ) -> list[Float[Tensor, "b _ _ _"]]:
        """The features of the four levels, the finest first."""
        skips = [self.el(features, embedding)]
        for conv, level in ((self.conv_eltem, self.em), (self.conv_emtes, self.es), (self.conv_estess, self.ess)):
            skips.append(level(conv(F.max_pool2d(skips[-1], 3, 2, 1)), embedding))
        return skips


class _Middle(nn.Module):
    """Two blocks at the lowest level."""

    def __init__(self, width: int, heads: int, expansion: float, antialias: bool) -> None:
        super().__init__()
        self.s1, self.s2 = (_Level(width, heads, expansion, antialias) for _ in range(2))

    def forward(
        self, features: Float[Tensor, "b c h w"], embedding: Float[Tensor, "b 324"]
    ) -> Float[Tensor, "b c h w"]:
        return self.s2(self.s1(features, embedding), embedding)


class _Decoder(nn.Module):
    """One block at each level, after the encoder's features of that level were added."""

    def __init__(self, width: int, heads: int, expansion: float, antialias: bool) -> None:
        super().__init__()
        self.dss, self.ds, self.dm, self.dl = (
            _Level(width * 2**level, heads, expansion, antialias) for level in (3, 2, 1, 0)
        )
        self.conv_dsstds = PixelLinear(8 * width, 4 * width)
        self.conv_dstdm = PixelLinear(4 * width, 2 * width)
        self.conv_dmtdl = PixelLinear(2 * width, width)

    def forward(
        self,
        features: Float[Tensor, "b deep h w"],
        skips: list[Float[Tensor, "b _ _ _"]],
        embedding: Float[Tensor, "b 324"],
    ) -> Float[Tensor, "b c height width"]:
        features = self.dss(features + skips[3], embedding)
        steps = ((self.conv_dsstds, self.ds), (self.conv_dstdm, self.dm), (self.conv_dmtdl, self.dl))
        for (conv, level), skip in zip(steps, skips[2::-1], strict=True):
            larger = F.interpolate(features, skip.shape[-2:], mode="bilinear")
            features = level(conv(larger) + skip, embedding)
        return features


class _Level(nn.Module):
    """Holds one block under the published name ``el``."""

    def __init__(self, width: int, heads: int, expansion: float, antialias: bool) -> None:
        super().__init__()
        self.el = _Block(width, heads, expansion, antialias)

    def forward(
        self, features: Float[Tensor, "b c h w"], embedding: Float[Tensor, "b 324"]
    ) -> Float[Tensor, "b c h w"]:
        return self.el(features, embedding)


class _Block(nn.Module):
    """Pre-norm attention to the description, channel attention and gated feed-forward."""

    def __init__(self, width: int, heads: int, expansion: float, antialias: bool) -> None:
        super().__init__()
        self.norm1, self.norm2, self.norm3 = (Norm(width) for _ in range(3))
        self.cross_attn = _DescribedAttention(width, heads, antialias)
        self.self_attn = ChannelAttention(width, heads)
        self.ffn = GatedFeedForward(width, int(width * expansion))

    def forward(
        self, features: Float[Tensor, "b c h w"], embedding: Float[Tensor, "b 324"]
    ) -> Float[Tensor, "b c h w"]:
        features = features + self.cross_attn(self.norm1(features), embedding)
        features = features + self.self_attn(self.norm2(features))
        return features + self.ffn(self.norm3(features))


class _DescribedAttention(nn.Module):
    """Channels weighed by how alike their small keys are to a query made of the description.

    The query is one for all channels, so all channels of a head come out equal: a weighted mean of its values. That
    mean and the last projection, whose weights of a head are summed therefore, are one matrix for each image.
    """

    def __init__(self, width: int, heads: int, antialias: bool) -> None:
        super().__init__()
        self.antialias = antialias
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.q = nn.Linear(EMBEDDING, EMBEDDING, bias=False)
        self.kv = PixelLinear(width, 2 * width)
        self.kv_dwconv = DepthWise(2 * width)
        self.project_out = PixelLinear(width, width)

    def forward(
        self, features: Float[Tensor, "b c h w"], embedding: Float[Tensor, "b 324"]
    ) -> Float[Tensor, "b c h w"]:
        heads = len(self.temperature)
        keys, values = self.kv_dwconv.on_parts(self.kv.parts(features, 2))
        small = F.interpolate(keys, (SIDE, SIDE), mode="bilinear", antialias=self.antialias).flatten(2)
        queries = F.normalize(self.q(embedding), dim=-1).unsqueeze(2)
        alike = (F.normalize(small, dim=-1) @ queries).unflatten(1, (heads, -1))
        weights = (alike * self.temperature).softmax(2)
        projection = self.project_out.weight.flatten(1).unflatten(1, (heads, -1)).sum(2)
        matrix = (weights * projection.t().unsqueeze(1)).flatten(1, 2)
        attended = values.permute(0, 2, 3, 1).flatten(1, 2) @ matrix
        return attended.unflatten(1, features.shape[-2:]).permute(0, 3, 1, 2)
