"""AirNet (Li, Liu, Hu, Wu, Lv, Peng: CVPR 2022, https://openaccess.thecvf.com/content/CVPR2022/html/Li_All-in-One_Image_Restoration_for_Unknown_Corruption_CVPR_2022_paper.html)."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from baselines.deform_conv import deform_conv
from baselines.layers import PixelLinear, nhwc
from baselines.network import Network, Output, whole

SLOPE = 0.1  # of every leaky ReLU


class AirNet(Network):
    """A degradation encoder trained by momentum contrast, and a restorer guided by its degradation map.

    ``forward`` takes and returns (B, 3, H, W) in [0, 1], any H and W. There is no skip from the input image. The
    auxiliary loss is the contrastive one, weighted by ``CONTRAST`` beside a restoration loss.

    Args:
        width: channels of the restorer and of the encoder's first block, the degradation map.
        groups: groups of degradation-guided blocks.
        blocks: blocks a group.
        encoder_widths: channels of the encoder's second and third block; the third is the embedding's too.
        queue: negatives kept; the published size is batch times embedding width, 5 * 256.
    """

    output_layer = "R.tail.0"
    separable = False  # batch normalisation and contrast in the encoder
    optional = (
        "E.E.queue",
        "E.E.queue_ptr",
    )  # 256 negatives a sample of the batch, which differs between the authors' files
    CONTRAST = 0.1

    def __init__(
        self,
        width: int = 64,
        groups: int = 5,
        blocks: int = 5,
        encoder_widths: Sequence[int] = (128, 256),
        queue: int = 1280,
    ):
        super().__init__()
        self.R = _Restorer(width, groups, blocks)
        self.E = _ContrastiveEncoder(width, encoder_widths, queue)

    def forward(self, image: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 3 height width"]:
        """Restore images in [0, 1], guided by their own degradation maps."""
        image = nhwc(image)
        return self.R(image, self.E.E.encoder_q.E_pre(image))

    def distribute(self, gathered: Callable[[Tensor], Tensor]) -> None:
        """The queue takes the keys of the whole batch."""
        self.E.E.gathered = gathered

    def training_forward(
        self,
        degraded: Float[Tensor, "batch 3 height width"],
        second: Float[Tensor, "batch 3 height width"] | None = None,
        warmup: bool = False,
    ) -> Output:
        """Restore and contrast; ``second`` holds other crops of the same degraded images, the positive keys.

        In a warm-up nothing is restored and the contrastive loss comes unweighted.

        Raises:
            ValueError: without ``second``.
        """
        if second is None:
            raise ValueError("AirNet's contrastive loss needs ``second``: other crops of the same degraded images")
        degraded, second = nhwc(degraded), nhwc(second)
        contrast, degradation = self.E.E(degraded, second)
        if warmup:
            return Output(None, contrast)
        return Output(self.R(degraded, degradation), self.CONTRAST * contrast)


class _ContrastiveEncoder(nn.Module):
    """Holds the momentum contrast under the published name."""

    def __init__(self, width: int, widths: Sequence[int], queue: int) -> None:
        super().__init__()
        self.E = _MomentumContrast(width, widths, queue)


class _MomentumContrast(nn.Module):
    """Momentum contrast (He, Fan, Wu, Xie, Girshick: CVPR 2020, https://arxiv.org/abs/1911.05722).

    Other images' embeddings, kept in a queue, are the negatives; a slowly following copy of the encoder makes the keys.
    """

    MOMENTUM = 0.999
    TEMPERATURE = 0.07

    def __init__(self, width: int, widths: Sequence[int], queue: int) -> None:
        super().__init__()
        self.encoder_q = _ResidualEncoder(width, widths)
        self.encoder_k = _ResidualEncoder(width, widths)
        self.encoder_k.load_state_dict(self.encoder_q.state_dict())
        self.encoder_k.requires_grad_(False)
        self.gathered: Callable[[Tensor], Tensor] = whole
        self.queue: Tensor
        self.queue_ptr: Tensor
        self.register_buffer("queue", F.normalize(torch.randn(widths[-1], queue), dim=0))
        self.register_buffer("queue_ptr", torch.zeros(1, dtype=torch.long))

    def forward(
        self, image: Float[Tensor, "b 3 h w"], positive: Float[Tensor, "b 3 h w"]
    ) -> tuple[Float[Tensor, ""], Float[Tensor, "b c h w"]]:
        """Return the contrastive loss and the degradation map of ``image``; move the key encoder and the queue on."""
        degradation, embedding = self.encoder_q(image)
        query = F.normalize(embedding.float(), dim=1)
        with torch.no_grad():
            self._follow()
            key = F.normalize(self.encoder_k(positive)[1].float(), dim=1)
        # The clone is what the backward pass needs of the queue before the keys join it.
        logits = torch.cat(((query * key).sum(1, keepdim=True), query @ self.queue.clone()), dim=1) / self.TEMPERATURE
        contrast = F.cross_entropy(logits, logits.new_zeros(len(logits), dtype=torch.long))
        self._enqueue(self.gathered(key))
        return contrast, degradation

    @torch.no_grad()
    def _follow(self) -> None:
        """Move the key encoder's weights towards the query encoder's."""
        keys: list[Tensor] = list(self.encoder_k.parameters())
        queries: list[Tensor] = list(self.encoder_q.parameters())
        # No public function does all at once.
        torch._foreach_lerp_(keys, queries, 1 - self.MOMENTUM)  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]

    @torch.no_grad()
    def _enqueue(self, keys: Float[Tensor, "b embedding"]) -> None:
        """Replace the oldest negatives by keys, around the queue's end, without reading the pointer back."""
        size = self.queue.shape[1]
        places = (self.queue_ptr + torch.arange(len(keys), device=keys.device)) % size
        self.queue.index_copy_(1, places[-size:], keys[-size:].T.to(self.queue.dtype))
        self.queue_ptr.copy_((self.queue_ptr + len(keys)) % size)


class _ResidualEncoder(nn.Module):
    """Three residual blocks, of which the first gives the degradation map, and an embedding of their mean."""

    def __init__(self, width: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.E_pre = _ResidualBlock(3, width, 1)
        self.E = nn.Sequential(
            _ResidualBlock(width, widths[0], 2), _ResidualBlock(widths[0], widths[1], 2), nn.AdaptiveAvgPool2d(1)
        )
        self.mlp = nn.Sequential(nn.Linear(widths[1], widths[1]), nn.LeakyReLU(SLOPE), nn.Linear(widths[1], widths[1]))

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> tuple[Float[Tensor, "b c h w"], Float[Tensor, "b embedding"]]:
        """Return the degradation map and the embedding."""
        degradation = self.E_pre(image)
        return degradation, self.mlp(self.E(degradation).flatten(1))


class _ResidualBlock(nn.Module):
    """Two normalised 3x3 convolutions beside a normalised 1x1 shortcut."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(inputs, width, 3, stride, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
        )
        self.shortcut = nn.Sequential(PixelLinear(inputs, width, stride=stride), nn.BatchNorm2d(width))

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b out rows columns"]:
        return F.leaky_relu(self.backbone(features) + self.shortcut(features), SLOPE)


class _Restorer(nn.Module):
    """Degradation-guided groups between a 3x3 head and a 3x3 tail."""

    def __init__(self, width: int, groups: int, blocks: int) -> None:
        super().__init__()
        self.head = nn.Sequential(_convolution(3, width))
        self.body = nn.Sequential(*(_Group(width, blocks) for _ in range(groups)), _convolution(width, width))
        self.tail = nn.Sequential(_convolution(width, 3))

    def forward(
        self, image: Float[Tensor, "b 3 h w"], degradation: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b 3 h w"]:
        head = features = self.head(image)
        *groups, last = self.body
        for group in groups:
            features = group(features, degradation)
        return self.tail(last(features) + head)


class _Group(nn.Module):
    """Degradation-guided blocks and a 3x3 convolution, with a skip."""

    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        self.body = nn.Sequential(*(_Block(width) for _ in range(blocks)), _convolution(width, width))

    def forward(
        self, features: Float[Tensor, "b c h w"], degradation: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b c h w"]:
        inner = features
        *blocks, last = self.body
        for block in blocks:
            inner = block(inner, degradation)
        return last(inner) + features


class _Block(nn.Module):
    """Two degradation-guided modules, each followed by a 3x3 convolution, with a skip."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dgm1 = _GuidedModule(width)
        self.dgm2 = _GuidedModule(width)
        self.conv1 = _convolution(width, width)
        self.conv2 = _convolution(width, width)

    def forward(
        self, features: Float[Tensor, "b c h w"], degradation: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b c h w"]:
        inner = F.leaky_relu(self.dgm1(features, degradation), SLOPE)
        inner = F.leaky_relu(self.conv1(inner), SLOPE)
        inner = F.leaky_relu(self.dgm2(inner, degradation), SLOPE)
        return self.conv2(inner) + features


class _GuidedModule(nn.Module):
    """A deformable convolution and a spatial feature transform, both steered by the degradation map, with a skip."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dcn = _GuidedDeformation(width)
        self.sft = _FeatureTransform(width)

    def forward(
        self, features: Float[Tensor, "b c h w"], degradation: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b c h w"]:
        return features + self.dcn(features, degradation) + self.sft(features, degradation)


class _GuidedDeformation(nn.Module):
    """Modulated deformable convolution whose offsets and masks come from the features and the degradation map."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width, width, 3, 3).uniform_(-1, 1) / (width * 9) ** 0.5)
        self.conv_offset_mask = nn.Conv2d(2 * width, 27, 3, padding=1)
        for parameter in self.conv_offset_mask.parameters():
            nn.init.zeros_(parameter)  # starts as a plain convolution with masks of 0.5

    def forward(
        self, features: Float[Tensor, "b c h w"], degradation: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b c h w"]:
        shifts = self.conv_offset_mask(torch.cat((features, degradation), dim=1))
        return deform_conv(features, shifts[:, :18], shifts[:, 18:].sigmoid(), self.weight)


class _FeatureTransform(nn.Module):
    """Scale and shift of every feature, from the degradation map."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv_gamma = _pointwise(width)
        self.conv_beta = _pointwise(width)

    def forward(
        self, features: Float[Tensor, "b c h w"], degradation: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b c h w"]:
        return torch.addcmul(self.conv_beta(degradation), features, self.conv_gamma(degradation))


def _convolution(inputs: int, outputs: int) -> nn.Conv2d:
    """A 3x3 convolution."""
    return nn.Conv2d(inputs, outputs, 3, padding=1)


def _pointwise(width: int) -> nn.Sequential:
    """Two bias-free 1x1 convolutions."""
    return nn.Sequential(PixelLinear(width, width), nn.LeakyReLU(SLOPE), PixelLinear(width, width))
