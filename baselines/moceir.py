"""MoCE-IR and MoCE-IR-S (Zamfir, Wu, Mehta, Tan, Paudel, Zhang, Timofte: CVPR 2025, https://arxiv.org/abs/2411.18466).

What differs from the published code, and what is odd but kept:

- The router's noise is drawn in training only; the published code draws it in evaluation too, where it changes the
  chosen experts from one pass to the next. In evaluation each image of a batch gets its own expert here; there each
  gets those of all images.
- The router's value for the chosen expert multiplies a path without biases that ends in a normalised query, so it
  cancels: router and frequency embedding get no gradient from the error of the image, only from the balance loss.
- The README's ``--loss_type FFT`` is compared with ``fft`` by the published program: as typed, its FFT loss is off.
  Here it is on, as the README means it. No published command switches ``complexity`` on.
- The published option for the depth of experts has no effect (each pass begins with the input anew): left out.
- The Laplacian that the frequency embedding begins with is trained, though the published code means to freeze it.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from baselines.adair import ChannelCrossAttention
from baselines.layers import DepthWise, PixelLinear, nhwc
from baselines.losses import spectral_l1
from baselines.network import Network, Output, whole
from baselines.restormer import ChannelAttention, Downsample, GatedFeedForward, Norm, PatchEmbedding, Upsample

SMALLEST_PATCH = 4  # of the experts' Fourier transforms; each expert's is twice that of the one before
LAPLACIAN = ((-1.0, -1.0, -1.0), (-1.0, 8.0, -1.0), (-1.0, -1.0, -1.0))


class MoCEIR(Network):
    """A U-shaped transformer whose decoder blocks choose, for each image, one of several experts of unequal size.

    ``forward`` takes and returns (B, 3, H, W) in [0, 1], sides multiples of 8. The input image is added to the output.
    To choose, each decoder block waits once for the device, in training and in evaluation. Experts that no image of a
    batch takes get no gradient in that step. The auxiliary loss, over the images of a batch, balances the experts.

    Args:
        width: channels of the first level; doubled at each of the three below.
        blocks: transformer blocks of the four levels of the encoder.
        decoder_blocks: blocks of the three levels of the decoder, the finest first.
        refinement: transformer blocks after the last decoder level.
        heads: attention heads of the four levels.
        expansion: hidden width of the feed-forward layers, relative to their input's.
        experts: of each decoder block.
        complexity: weigh the importance of each expert by its parameters, so that smaller ones are preferred.
        balance: factor of the balance loss.
        spectral: factor of the L1 error of the Fourier transform.
    """

    multiple = 8
    local = False  # attention between channels sums over the whole image
    traceable = False
    separable = False  # the balance loss is of a batch
    output_layer = "output"

    def __init__(
        self,
        width: int = 48,
        blocks: Sequence[int] = (4, 6, 6, 8),
        decoder_blocks: Sequence[int] = (2, 4, 4),
        refinement: int = 4,
        heads: Sequence[int] = (1, 2, 4, 8),
        expansion: float = 2,
        experts: int = 4,
        complexity: bool = False,
        balance: float = 0.01,
        spectral: float = 0.1,
    ):
        super().__init__()
        self.balance, self.spectral = balance, spectral
        self.gathered: Callable[[Tensor], Tensor] = whole
        widths = [width * 2**level for level in range(4)]
        self.patch_embed = PatchEmbedding(width)
        self.freq_embed = _FrequencyEmbedding(widths[3])
        self.enc = nn.ModuleList(
            nn.Sequential(_Group(blocks[level], widths[level], heads[level], expansion), Downsample(widths[level]))
            for level in range(3)
        )
        self.latent = _Group(blocks[3], widths[3], heads[3], expansion)
        self.dec = nn.ModuleList(
            _DecoderLevel(decoder_blocks[level], widths[level], heads[level], expansion, experts, widths[3], complexity)
            for level in reversed(range(3))
        )
        self.refinement = _Group(refinement, width, heads[0], expansion)
        self.output = nn.Conv2d(width, 3, 3, padding=1, bias=False)

    def forward(self, image: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 3 height width"]:
        """Restore images in [0, 1]."""
        return self.routed(image)[0]

    def distribute(self, gathered: Callable[[Tensor], Tensor]) -> None:
        """The balance loss is of the whole batch."""
        self.gathered = gathered

    def training_forward(
        self,
        degraded: Float[Tensor, "batch 3 height width"],
        second: Float[Tensor, "batch 3 height width"] | None = None,
        warmup: bool = False,
    ) -> Output:
        """Restore; the auxiliary loss is the mean of the blocks' balance losses, times ``balance``."""
        restored, routings = self.routed(degraded)
        decided = self.gathered(torch.stack([torch.stack((one.logits, one.noisy), 1) for one in routings], 1))
        pairs = zip(decided.unbind(1), routings, strict=True)  # (B, 2, experts) of every block
        losses = [balance_loss(both[:, 0], both[:, 1], one.complexity) for both, one in pairs]
        return Output(restored, self.balance * torch.stack(losses).mean())

    def sample_loss(
        self, restored: Float[Tensor, "batch 3 height width"], clean: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, " batch"]:
        """The L1 error of each sample's Fourier transform, times ``spectral``."""
        return self.spectral * spectral_l1(restored, clean, "half")

    def routed(self, image: Float[Tensor, "batch 3 height width"]) -> tuple[Tensor, "list[Routing]"]:
        """The restored images, and what the router of each decoder block decided, the coarsest first."""
        image = nhwc(image)
        features, skips = self.patch_embed(image), []
        for group, down in cast("Iterable[tuple[nn.Module, nn.Module]]", self.enc):
            features = group(features)
            skips.append(features)
            features = down(features)
        features = self.latent(features)
        embedding = self.freq_embed(features)
        routings: list[Routing] = []
        for level in self.dec:
            features, decided = level(features, skips.pop(), embedding)
            routings += decided
        return self.output(self.refinement(features)) + image, routings


class Routing(NamedTuple):
    """What a router decided: (B, experts) logits without and with noise, and the complexity of the experts, if used."""

    logits: Tensor
    noisy: Tensor
    complexity: Tensor | None

    @property
    def experts(self) -> Int[Tensor, " batch"]:
        """The best expert of each image."""
        return self.noisy.argmax(1)

    @property
    def values(self) -> Float[Tensor, " batch"]:
        """The share of the best expert in the softmax."""
        return self.noisy.softmax(1).amax(1)


def balance_loss(
    logits: Float[Tensor, "batch experts"],
    noisy: Float[Tensor, "batch experts"],
    complexity: Float[Tensor, " experts"] | None,
) -> Float[Tensor, ""]:
    """How unequally a batch uses the experts (Riquelme et al., NeurIPS 2021, https://arxiv.org/abs/2106.05974).

    Half the squared coefficient of variation of the experts' importance, the sum of their softmax without noise (times
    their complexity, if given), and half that of their load, the probability to be the best if the noise of the expert
    were drawn again.
    """
    importance = logits.softmax(1).sum(0)
    distance = noisy.amax(1, keepdim=True) - logits
    load = (1 - torch.special.ndtr(distance * noisy.shape[1])).mean(0)
    parts = importance if complexity is None else importance * complexity, load
    return sum((0.5 * (part.std() / (part.mean() + 1e-8)).square() for part in parts), logits.new_zeros(()))


class _FrequencyEmbedding(nn.Module):
    """A vector for each image, of the high frequencies of the latent features."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.high_conv = nn.Sequential(_Laplacian(width), nn.GELU())
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c"]:
        return self.mlp(self.high_conv(features).mean((2, 3)))


class _Laplacian(nn.Module):
    """Depth-wise filters that begin as the Laplacian."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = DepthWise(width)
        with torch.no_grad():
            self.conv.weight.copy_(torch.tensor(LAPLACIAN))

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return self.conv(features)


class _Group(nn.Module):
    """Transformer blocks with biases."""

    def __init__(self, count: int, width: int, heads: int, expansion: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(_Block(width, heads, expansion) for _ in range(count)))

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return self.layers(features)


class _Block(nn.Module):
    """Restormer's block, with biases and under other names."""

    def __init__(self, width: int, heads: int, expansion: float) -> None:
        super().__init__()
        self.norms = nn.ModuleList(Norm(width) for _ in range(2))
        self.mixer = ChannelAttention(width, heads, bias=True)
        self.ffn = GatedFeedForward(width, int(width * expansion), bias=True)

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        features = features + self.mixer(self.norms[0](features))
        return features + self.ffn(self.norms[1](features))


class _DecoderLevel(nn.ModuleList):
    """Features of the level below and those of the encoder's level, merged, then decoder blocks."""

    def __init__(
        self,
        count: int,
        width: int,
        heads: int,
        expansion: float,
        experts: int,
        embedding: int,
        complexity: bool,
    ) -> None:
        blocks = _DecoderGroup(
            _DecoderBlock(width, heads, expansion, experts, embedding, complexity) for _ in range(count)
        )
        super().__init__([Upsample(2 * width), PixelLinear(2 * width, width), blocks])

    def forward(
        self, features: Float[Tensor, "b c h w"], skip: Float[Tensor, "b half 2*h 2*w"], embedding: Float[Tensor, "b e"]
    ) -> tuple[Tensor, list[Routing]]:
        up, reduce, blocks = self
        return blocks(reduce(torch.cat((up(features), skip), 1)), embedding)


class _DecoderGroup(nn.Module):
    """Decoder blocks."""

    def __init__(self, blocks: Iterable["_DecoderBlock"]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(blocks)

    def forward(
        self, features: Float[Tensor, "b c h w"], embedding: Float[Tensor, "b e"]
    ) -> tuple[Tensor, list[Routing]]:
        routings: list[Routing] = []
        for block in self.layers:
            features, routing = block(features, embedding)
            routings.append(routing)
        return features, routings


class _DecoderBlock(nn.Module):
    """Attention for all images, which a map made by one expert for each image queries; then a gated feed-forward."""

    def __init__(
        self, width: int, heads: int, expansion: float, experts: int, embedding: int, complexity: bool
    ) -> None:
        super().__init__()
        self.norms = nn.ModuleList(Norm(width) for _ in range(2))
        self.proj = nn.ModuleList(PixelLinear(width, width, bias=True) for _ in range(2))
        self.shared = ChannelAttention(width, heads)
        self.mixer = ChannelCrossAttention(width, heads, size=7)
        self.ffn = GatedFeedForward(width, int(width * expansion))
        self.adapter = _Adapter(width, experts, embedding, complexity)

    def forward(self, features: Float[Tensor, "b c h w"], embedding: Float[Tensor, "b e"]) -> tuple[Tensor, Routing]:
        normal = self.norms[0](features)
        shared = self.shared(self.proj[0](normal))
        adapted, routing = self.adapter(self.proj[1](normal), embedding, shared)
        features = features + self.mixer(adapted, shared)
        return features + self.ffn(self.norms[1](features)), routing


class _Adapter(nn.Module):
    """Each image through one of the experts."""

    def __init__(self, width: int, experts: int, embedding: int, complexity: bool) -> None:
        super().__init__()
        # at least 2, which matters below the published widths: a norm of one channel is constant
        ranks = [max(2, width // 2**number) for number in reversed(range(experts))]
        self.experts = nn.ModuleList(
            nn.ModuleList([_Expert(width, rank, SMALLEST_PATCH * 2**number)]) for number, rank in enumerate(ranks)
        )
        self.proj_out = PixelLinear(width, width)
        parameters = [sum(parameter.numel() for parameter in expert.parameters()) for expert in self.experts]
        self.routing = _Router(width, embedding, torch.tensor(parameters) / max(parameters), complexity)

    def forward(
        self, features: Float[Tensor, "b c h w"], embedding: Float[Tensor, "b e"], shared: Float[Tensor, "b c h w"]
    ) -> tuple[Tensor, Routing]:
        routing: Routing = self.routing(features, embedding)
        mixed = self._by_experts(features, shared, self._on_host(routing.experts))
        return self.proj_out(mixed * routing.values.to(mixed.dtype).view(-1, 1, 1, 1)), routing

    def _on_host(self, experts: Int[Tensor, " b"]) -> list[int]:
        """The experts' numbers, for which the host waits; where nothing is computed, that of the largest."""
        return [len(self.experts) - 1] * len(experts) if experts.is_meta else experts.tolist()

    def _by_experts(
        self, features: Float[Tensor, "b c h w"], shared: Float[Tensor, "b c h w"], chosen: list[int]
    ) -> Float[Tensor, "b c h w"]:
        """The images of each expert together. They are split and concatenated, as indices would have to be sent."""
        if len(set(chosen)) == 1:
            return self._expert(chosen[0])(features, shared)
        images, results = list(zip(features.split(1), shared.split(1), strict=True)), [features] * len(features)
        for number in set(chosen):
            places = [place for place, one in enumerate(chosen) if one == number]
            own = (torch.cat(parts) for parts in zip(*(images[place] for place in places), strict=True))
            for place, result in zip(places, self._expert(number)(*own).split(1), strict=True):
                results[place] = result
        return torch.cat(results)

    def _expert(self, number: int) -> "_Expert":
        (expert,) = cast("Iterable[_Expert]", self.experts[number])
        return expert


class _Router(nn.Module):
    """Logits of the experts for each image, with noise in training."""

    def __init__(self, width: int, embedding: int, complexity: Float[Tensor, " experts"], biased: bool) -> None:
        super().__init__()
        self.biased = biased
        self.complexity: Tensor
        self.register_buffer("complexity", complexity)
        self.gate = nn.ModuleDict({"2": nn.Linear(width, len(complexity), bias=False)})  # behind two without weights
        self.freq_gate = nn.Linear(embedding, len(complexity), bias=False)

    def forward(self, features: Float[Tensor, "b c h w"], embedding: Float[Tensor, "b e"]) -> Routing:
        precise = torch.promote_types(features.dtype, torch.float32)  # near ties, bfloat16 would choose another expert
        pooled = features.mean((2, 3), dtype=precise)
        # as products and sums, which autocast leaves alone
        logits = (pooled.unsqueeze(1) * cast(Tensor, self.gate["2"].weight)).sum(2)
        logits = logits + (embedding.to(precise).unsqueeze(1) * self.freq_gate.weight).sum(2)
        noisy = logits
        if self.training:  # drawn on the host, so that every device chooses the same experts
            noise = torch.randn(logits.shape, device="cpu", pin_memory=logits.is_cuda)
            noisy = logits + noise.to(logits, non_blocking=True) / logits.shape[1]
        return Routing(logits, noisy, self.complexity if self.biased else None)


class _Expert(nn.Module):
    """The adapter's map, changed in few channels by attention in the Fourier domain and a gate of the shared map."""

    def __init__(self, width: int, rank: int, patch: int) -> None:
        super().__init__()
        self.proj = nn.ModuleList([PixelLinear(width, rank), PixelLinear(width, rank), PixelLinear(rank, width)])
        self.body = _FourierAttention(rank, patch)

    def forward(self, features: Float[Tensor, "b c h w"], shared: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        inward, gate, outward = self.proj
        return features + outward(self.body(inward(features)) * F.silu(gate(shared)))


class _FourierAttention(nn.Module):
    """Queries and keys convolved with each other, patch by patch, as weights of the values."""

    def __init__(self, width: int, patch: int) -> None:
        super().__init__()
        self.patch = patch
        self.q = PixelLinear(width, width)
        self.q_dwconv = DepthWise(width, bias=True)
        self.kv = PixelLinear(width, 2 * width)
        self.kv_dwconv = DepthWise(2 * width, bias=True, size=7)
        self.norm = Norm(width)
        self.proj_out = PixelLinear(width, width, bias=True)

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        keys, values = self.kv_dwconv.on_parts(self.kv.parts(features, 2))
        weights = circular(self.q_dwconv(self.q(features)), keys, self.patch)
        return self.proj_out(self.norm(weights) * values)


def circular(first: Float[Tensor, "b c h w"], second: Float[Tensor, "b c h w"], patch: int) -> Float[Tensor, "b c h w"]:
    """Circular convolution of two maps in each patch; at the bottom and the right they are padded with zeros."""
    height, width = first.shape[-2:]
    spectra = (torch.fft.rfft2(_patches(_precise(tensor), patch)) for tensor in (first, second))
    result = torch.fft.irfft2(next(spectra) * next(spectra), s=(patch, patch))
    whole = result.transpose(3, 4).flatten(4, 5).flatten(2, 3)[..., :height, :width]
    return nhwc(whole.to(first.dtype))


def _patches(tensor: Float[Tensor, "b c h w"], side: int) -> Float[Tensor, "b c rows columns {side} {side}"]:
    height, width = tensor.shape[-2:]
    padded = F.pad(tensor, (0, -width % side, 0, -height % side))
    return padded.unflatten(3, (-1, side)).unflatten(2, (-1, side)).transpose(3, 4)


def _precise(tensor: Tensor) -> Tensor:
    """In float32, or as it is in float64; there is no FFT in bfloat16."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
