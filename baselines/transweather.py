"""TransWeather (Valanarasu, Yasarla, Patel: CVPR 2022, https://arxiv.org/abs/2111.14813)."""

import math
from collections.abc import Sequence
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from baselines.layers import Convolution, LayerNorm, Upsampling, nhwc, remade
from baselines.network import Network

_BlockNorm = partial(LayerNorm, eps=1e-6)  # of blocks and stages; embeddings and reductions keep the default 1e-5


class TransWeather(Network):
    """A hierarchical transformer encoder with an intra-patch branch, a decoder of learned weather queries, and a
    convolutional tail.

    ``forward`` takes (B, 3, H, W) in [-1, 1], sides multiples of 32, and returns the image in [0, 1] through a tanh:
    the target is in [0, 1] although the input is not. There is no skip from the input image.

    Args:
        widths: channels of the four encoder stages.
        heads: attention heads of the four stages; the intra-patch blocks take ``heads[0], heads[1], heads[1]``.
        reductions: key and value spatial reduction of the four stages.
        depth: blocks a stage.
        mlp_ratio: expansion of the encoder's feed-forward layers.
        queries: learned decoder tokens.
        decoder_depth, decoder_heads, decoder_mlp_ratio: the same for the decoder.
        tail: channels of the tail's last two upsamplings.
        drop_path: stochastic depth of the last encoder block; it grows linearly from 0.
    """

    output_layer = "clean.conv2d"
    multiple = 64  # one decoder token; 32 would do, 64 is what Art's release tests with
    local = False
    unused = (  # of the authors' files; those of Art's trimmed copy lack them
        *(f"Tenc.mini_patch_embed4.{part}.{kind}" for part in ("proj", "norm") for kind in ("weight", "bias")),
        *(f"convtail.conv_output.conv2d.{kind}" for kind in ("weight", "bias")),
    )

    def __init__(
        self,
        widths: Sequence[int] = (64, 128, 320, 512),
        heads: Sequence[int] = (1, 2, 4, 4),
        reductions: Sequence[int] = (4, 2, 2, 1),
        depth: int = 2,
        mlp_ratio: float = 2.0,
        queries: int = 48,
        decoder_depth: int = 3,
        decoder_heads: int = 8,
        decoder_mlp_ratio: float = 4.0,
        tail: Sequence[int] = (16, 8),
        drop_path: float = 0.1,
    ):
        super().__init__()
        self.Tenc = _Encoder(widths, heads, reductions, depth, mlp_ratio, drop_path)
        self.Tdec = _Decoder(widths[3], decoder_depth, decoder_heads, decoder_mlp_ratio, queries, drop_path)
        self.convtail = _Tail(widths, tail)
        self.clean = _Convolution(nn.Conv2d(tail[1], 3, 3, padding=1))
        for module in (self.Tenc, self.Tdec):
            module.apply(_initialise)

    def prepare(self, image: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 3 height width"]:
        """Scale [0, 1] to [-1, 1]."""
        return image * 2 - 1

    def forward(self, image: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 3 height width"]:
        """Restore images, given in [-1, 1] and returned in [0, 1]."""
        # NHWC memory makes every change between tokens and maps a view, and is the fast layout of the convolutions.
        stages = self.Tenc(nhwc(image))
        return self.clean(self.convtail(stages, self.Tdec(stages[3]))).tanh()


class _Encoder(nn.Module):
    """Four stages; beside each of the first three an intra-patch branch whose map joins the next stage's embedding."""

    def __init__(
        self,
        widths: Sequence[int],
        heads: Sequence[int],
        reductions: Sequence[int],
        depth: int,
        mlp_ratio: float,
        drop_path: float,
    ) -> None:
        super().__init__()
        patch_heads = (heads[0], heads[1], heads[1])
        rates = torch.linspace(0, drop_path, 4 * depth, device="cpu").tolist()
        inputs = (3, *widths[:3])
        for stage, width in enumerate(widths):
            number = stage + 1
            embed = _PatchEmbedding(inputs[stage], width, 7 if stage == 0 else 3, 4 if stage == 0 else 2)
            drops = rates[stage * depth : number * depth]
            make_attention = partial(_SelfAttention, width, heads[stage], reductions[stage])
            setattr(self, f"patch_embed{number}", embed)
            setattr(
                self,
                f"block{number}",
                nn.ModuleList(_Block(width, make_attention(), mlp_ratio, drop) for drop in drops),
            )
            setattr(self, f"norm{number}", _BlockNorm(width))
            if stage == 3:
                break
            following = widths[number]
            attention = _SelfAttention(following, patch_heads[stage], reductions[stage])
            block = _Block(following, attention, mlp_ratio, drops[0])
            setattr(self, f"mini_patch_embed{number}", _PatchEmbedding(width, following, 3, 2))
            setattr(self, f"patch_block{number}", nn.ModuleList([block]))
            setattr(self, f"pnorm{number}", _BlockNorm(following))

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> list[Float[Tensor, "b _ _ _"]]:
        """Return the maps of the four stages, at 1/4, 1/8, 1/16 and 1/32 of the image."""
        stages: list[Tensor] = []
        features, patches = image, None
        for number in (1, 2, 3, 4):
            embedding = getattr(self, f"patch_embed{number}")(features)
            if patches is not None:
                embedding = embedding + patches
            features = self._stage("", number, embedding)
            if number < 4:
                patches = self._stage("patch_", number, getattr(self, f"mini_patch_embed{number}")(embedding))
            stages.append(features)
        return stages

    def _stage(self, branch: str, number: int, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Blocks and norm of one stage, of the main branch ("") or the intra-patch one ("patch_")."""
        tokens, size = _tokens(features), features.shape[-2:]
        for block in getattr(self, f"{branch}block{number}"):
            tokens = block(tokens, size)
        return _map(getattr(self, f"{branch[:1]}norm{number}")(tokens), size)


class _Decoder(nn.Module):
    """Blocks whose attention is queried by learned tokens, on an embedding of the last stage at 1/64."""

    def __init__(self, width: int, depth: int, heads: int, mlp_ratio: float, queries: int, drop_path: float) -> None:
        super().__init__()
        self.patch_embed1 = _PatchEmbedding(width, width, 3, 2)
        # The authors spread the rate over the 16 blocks of a larger design, of which only the first three are built.
        rates = torch.linspace(0, drop_path, 16, device="cpu").tolist()[:depth]
        self.block1 = nn.ModuleList(_Block(width, _QueryAttention(width, heads, queries), mlp_ratio, r) for r in rates)
        self.norm1 = _BlockNorm(width)

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c rows columns"]:
        embedding = self.patch_embed1(features)
        tokens, size = _tokens(embedding), embedding.shape[-2:]
        for block in self.block1:
            tokens = block(tokens, size)
        return _map(self.norm1(tokens), size)


class _PatchEmbedding(nn.Module):
    """Overlapping patches: a strided convolution and a LayerNorm over channels."""

    def __init__(self, inputs: int, width: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.proj = Convolution(inputs, width, kernel, stride, kernel // 2)
        self.norm = LayerNorm(width)

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b out rows columns"]:
        features = self.proj(features)
        return _map(self.norm(_tokens(features)), features.shape[-2:])


class _Block(nn.Module):
    """Pre-norm attention and feed-forward with stochastic depth."""

    def __init__(self, width: int, attention: nn.Module, mlp_ratio: float, drop: float) -> None:
        super().__init__()
        self.norm1 = _BlockNorm(width)
        self.attn = attention
        self.norm2 = _BlockNorm(width)
        self.mlp = _FeedForward(width, int(width * mlp_ratio))
        self.drop = drop

    def forward(self, tokens: Float[Tensor, "b n c"], size: torch.Size) -> Float[Tensor, "b n c"]:
        for norm, branch in ((self.norm1, self.attn), (self.norm2, self.mlp)):
            normal, kept = norm(tokens), tokens.detach()
            with remade(normal, partial(norm, kept)):
                tokens = tokens + self._drop_path(branch(normal, size))
        return tokens

    def _drop_path(self, branch: Float[Tensor, "b n c"]) -> Float[Tensor, "b n c"]:
        """Drop the branch for random samples of the batch and scale the others to keep the mean."""
        if not self.drop or not self.training:
            return branch
        keep = 1 - self.drop
        return branch * branch.new_empty(len(branch), 1, 1).bernoulli_(keep).div_(keep)


class _SelfAttention(nn.Module):
    """Multi-head attention whose keys and values come from a spatially reduced map."""

    def __init__(self, width: int, heads: int, reduction: int) -> None:
        super().__init__()
        self.heads = heads
        self.reduction = reduction
        self.q = nn.Linear(width, width)
        self.kv = nn.Linear(width, 2 * width)
        self.proj = nn.Linear(width, width)
        if reduction > 1:
            self.sr = Convolution(width, width, reduction, reduction)
            self.norm = LayerNorm(width)

    def forward(self, tokens: Float[Tensor, "b n c"], size: torch.Size) -> Float[Tensor, "b n c"]:
        queries = self.q(tokens).unflatten(2, (self.heads, -1)).transpose(1, 2)
        if self.reduction > 1:
            tokens = self.norm(_tokens(self.sr(_map(tokens, size))))
        return _attend(queries, self.kv(tokens), self.proj)


class _QueryAttention(nn.Module):
    """Multi-head attention whose queries are learned tokens, resized to the number of keys."""

    def __init__(self, width: int, heads: int, queries: int) -> None:
        super().__init__()
        self.heads = heads
        self.task_query = nn.Parameter(torch.randn(1, queries, width))
        self.q = nn.Linear(width, width)
        self.kv = nn.Linear(width, 2 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: Float[Tensor, "b n c"], size: torch.Size) -> Float[Tensor, "b n c"]:
        queries = self.q(self.task_query).unflatten(2, (self.heads, -1)).transpose(1, 2)
        # Resized over (token, head width) as if it were an image: the published network does so. The queries are the
        # same for every sample, so they are made once and expanded.
        queries = F.interpolate(queries, (tokens.shape[1], queries.shape[3]))
        return _attend(queries.expand(len(tokens), -1, -1, -1), self.kv(tokens), self.proj)


class _FeedForward(nn.Module):
    """Two linear layers with a depth-wise 3x3 convolution and a GELU between them."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.dwconv = _DepthWise(hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, tokens: Float[Tensor, "b n c"], size: torch.Size) -> Float[Tensor, "b n c"]:
        hidden = self.dwconv(self.fc1(tokens), size)
        active = F.gelu(hidden)
        with remade(active, partial(F.gelu, hidden.detach())):
            return self.fc2(active)


class _DepthWise(nn.Module):
    """A depth-wise 3x3 convolution on tokens."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(width, width, 3, padding=1, groups=width)

    def forward(self, tokens: Float[Tensor, "b n c"], size: torch.Size) -> Float[Tensor, "b n c"]:
        return _tokens(self.dwconv(_map(tokens, size)))


class _Tail(nn.Module):
    """Six transposed convolutions from 1/64 to full size, joined by the encoder's stages."""

    def __init__(self, widths: Sequence[int], tail: Sequence[int]) -> None:
        super().__init__()
        first, second, third, fourth = widths
        self.convd32x = _upsampling(fourth, fourth)
        self.convd16x = _upsampling(fourth, third)
        self.dense_4 = nn.Sequential(_Residual(third))
        self.convd8x = _upsampling(third, second)
        self.dense_3 = nn.Sequential(_Residual(second))
        self.convd4x = _upsampling(second, first)
        self.dense_2 = nn.Sequential(_Residual(first))
        self.convd2x = _upsampling(first, tail[0])
        self.dense_1 = nn.Sequential(_Residual(tail[0]))
        self.convd1x = _upsampling(tail[0], tail[1])

    def forward(
        self, stages: list[Float[Tensor, "b _ _ _"]], decoded: Float[Tensor, "b _ _ _"]
    ) -> Float[Tensor, "b out h w"]:
        features = _trim(self.convd32x(decoded), stages[3]) + stages[3]
        features = self.dense_4(_trim(self.convd16x(features), stages[2])) + stages[2]
        features = self.dense_3(_trim(self.convd8x(features), stages[1])) + stages[1]
        features = self.dense_2(_trim(self.convd4x(features), stages[0])) + stages[0]
        return self.convd1x(self.dense_1(self.convd2x(features)))


class _Residual(nn.Module):
    """Two 3x3 convolutions with a ReLU between, scaled by 0.1."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = _Convolution(Convolution(width, width, 3, padding=1))
        self.conv2 = _Convolution(Convolution(width, width, 3, padding=1))

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return features + 0.1 * self.conv2(F.relu(self.conv1(features)))


class _Convolution(nn.Module):
    """Holds one convolution under the published name ``conv2d``."""

    def __init__(self, convolution: nn.Module) -> None:
        super().__init__()
        self.conv2d = convolution

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b out rows columns"]:
        return self.conv2d(features)


def _upsampling(inputs: int, outputs: int) -> _Convolution:
    """A transposed convolution that doubles the size."""
    return _Convolution(Upsampling(inputs, outputs))


def _attend(
    queries: Float[Tensor, "b heads n d"], keys_values: Float[Tensor, "b m 2*heads*d"], projection: nn.Linear
) -> Float[Tensor, "b n heads*d"]:
    """Attention of queries over keys and values, projected."""
    heads = queries.shape[1]
    keys, values = keys_values.unflatten(2, (2, heads, -1)).permute(2, 0, 3, 1, 4)
    attended = F.scaled_dot_product_attention(queries, keys, values)
    return projection(attended.transpose(1, 2).flatten(2))


def _tokens(features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b h*w c"]:
    """A map as tokens; a view for channels-last memory."""
    return features.permute(0, 2, 3, 1).flatten(1, 2)


def _map(tokens: Float[Tensor, "b n c"], size: torch.Size) -> Float[Tensor, "b c h w"]:
    """Tokens as a map of (h, w) = ``size``, in channels-last memory."""
    return tokens.unflatten(1, size).permute(0, 3, 1, 2)


def _trim(features: Float[Tensor, "b c _ _"], skip: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    """Cut the last row or column where the skip, whose stage rounded down, is smaller."""
    return features[..., : skip.shape[-2], : skip.shape[-1]]


def _initialise(module: nn.Module) -> None:
    """The authors' initial weights of the transformer parts; the tail keeps PyTorch's."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Conv2d):
        fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels // module.groups
        nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))
        if module.bias is not None:
            nn.init.zeros_(module.bias)
