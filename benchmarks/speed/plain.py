"""The yardstick: the same work as in the field's public code, written plainly for these benchmarks.

One image a sample decoded whole, losses grouped sample by sample in Python, a number fetched from the device in every
step, float32 throughout, LayerNorm and attention written out, maps in NCHW memory (where the authors have them so), the
optimizer's default form.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from baselines import airnet, layers, nafnet, promptir, restormer, transweather
from baselines.deform_conv import deform_conv
from baselines.network import Network

KINDS = ["PNG", "JPEG", "BMP"]  # of picture files

_ENCODER: Any = transweather._Encoder  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
_ENCODER_STAGE: Callable[..., Tensor] = vars(_ENCODER)["_stage"]

Sample = tuple[Tensor, Tensor]  # degraded and clean image, (3, H, W) in [0, 1]; with a first dimension, a batch


class CleanFolder(Dataset[Sample]):
    """Samples of denoising: decode, crop, turn, add noise of the AirNet family, to tensors."""

    def __init__(self, paths: Sequence[Path], patch: int, sigma: float):
        self.paths, self.patch, self.sigma = list(paths), patch, sigma

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:
        (clean,) = _turned(_cropped([_opened(self.paths[number])], self.patch))
        noise = np.random.randn(*clean.shape)
        noisy = np.clip(clean + noise * self.sigma, 0, 255).astype(np.uint8)
        return _tensor(noisy), _tensor(clean)


class PairedFolders(Dataset[Sample]):
    """Samples of a paired set: two files decoded, cropped and turned alike, to tensors."""

    def __init__(self, pairs: Sequence[tuple[Path, Path]], patch: int):
        self.pairs, self.patch = list(pairs), patch

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:
        images = [_opened(path) for path in self.pairs[number]]
        degraded, clean = _turned(_cropped(images, self.patch))
        return _tensor(degraded), _tensor(clean)


def batches(data: Dataset[Sample], batch: int) -> Iterator[Sample]:
    """Shuffled batches without end, loaded in this thread."""
    while True:
        yield from DataLoader(data, batch, shuffle=True, drop_last=True)


def _opened(path: Path) -> np.ndarray:
    return np.array(Image.open(path, formats=KINDS).convert("RGB"))


def _cropped(images: Sequence[np.ndarray], patch: int) -> list[np.ndarray]:
    height, width = images[0].shape[:2]
    top, left = random.randint(0, height - patch), random.randint(0, width - patch)
    return [image[top : top + patch, left : left + patch] for image in images]


def _turned(images: Sequence[np.ndarray]) -> list[np.ndarray]:
    mode = random.randint(0, 7)
    turned = [np.rot90(image, mode % 4) for image in images]
    return [np.flipud(image).copy() for image in turned] if mode >= 4 else [image.copy() for image in turned]


def _tensor(image: np.ndarray) -> Tensor:
    return torch.from_numpy(image.transpose(2, 0, 1).copy()).float() / 255


def stepper(
    network: Network, degraded: Tensor, clean: Tensor, tasks: Tensor, count: int, second: Tensor | None = None
) -> Callable[[], None]:
    """A call that takes one training step with AdamW, on the mean of the task losses and the network's own loss.

    Args:
        network: in training mode.
        degraded: (B, 3, H, W) in [0, 1].
        clean: the same.
        tasks: (B,) numbers of the tasks.
        count: of all tasks.
        second: (B, 3, H, W), other crops of the same degraded images, for AirNet's contrastive loss.
    """
    optimizer = torch.optim.AdamW((p for p in network.parameters() if p.requires_grad), lr=1e-6)
    numbers: list[float] = []
    told = tasks.tolist()  # the field's code has the names of the tasks on the host

    def step() -> None:
        with plainly():
            optimizer.zero_grad()
            restored, auxiliary = network.training_forward(degraded, second)
            assert restored is not None  # past the warm-up of an encoder
            own = network.sample_loss(restored, clean)
            grouped: dict[int, list[Tensor]] = {}
            for sample in range(len(restored)):
                loss = F.l1_loss(restored[sample], clean[sample])
                loss = loss if own is None else loss + own[sample]
                grouped.setdefault(told[sample], []).append(loss)
            losses = [torch.stack(grouped[task]).mean() for task in range(count) if task in grouped]
            total = torch.stack(losses).mean()
            (total if auxiliary is None else total + auxiliary).backward()
            optimizer.step()
            numbers[:] = [loss.item() for loss in (total, *losses)]

    return step


@contextmanager
def plainly() -> Generator[None]:
    """Within this, TransWeather, NAFNet, Restormer, PromptIR and AirNet compute as their published code does, with the
    same weights; AirNet's deformable convolution stays, which on a GPU is torchvision's (authors': a like kernel)."""
    swaps = (
        (airnet, "nhwc", _same),
        (layers.Convolution, "forward", nn.Conv2d.forward),
        (layers.PixelLinear, "forward", nn.Conv2d.forward),
        (layers.Upsampling, "forward", nn.ConvTranspose2d.forward),
        (layers.ChannelNorm, "forward", _channel_norm),
        (nafnet.Block, "forward", _nafnet_block),
        (nafnet, "nhwc", _same),
        (promptir, "nhwc", _same),
        (restormer, "nhwc", _same),
        (restormer.ChannelAttention, "forward", _channel_attention),
        (restormer.GatedFeedForward, "forward", _gated_feed_forward),
        (transweather, "remade", _nothing_remade),
        (transweather, "nhwc", _same),
        (transweather, "_attend", _attend),
        (transweather, "_tokens", _tokens),
        (transweather, "_map", _map),
        (_ENCODER, "_stage", _stage),
    )
    with ExitStack() as stack:
        for owner, name, plain in swaps:
            stack.enter_context(patch.object(owner, name, plain))
        yield


def _nothing_remade(*_: object) -> AbstractContextManager[None]:
    return nullcontext()


def _same(features: Tensor) -> Tensor:
    return features


class _WrittenNorm(torch.autograd.Function):
    """LayerNorm over the channels of a map, forward and backward written out, as the published NAFNet has it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        mean = x.mean(1, keepdim=True)
        variance = (x - mean).pow(2).mean(1, keepdim=True)
        normal = (x - mean) / (variance + eps).sqrt()
        ctx.eps = eps
        ctx.save_for_backward(normal, variance, weight)
        return weight.view(1, -1, 1, 1) * normal + bias.view(1, -1, 1, 1)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        (grad,), (normal, variance, weight) = grad_outputs, ctx.saved_tensors
        scaled = grad * weight.view(1, -1, 1, 1)
        mean = scaled.mean(1, keepdim=True)
        along = (scaled * normal).mean(1, keepdim=True)
        inner = (scaled - normal * along - mean) / (variance + ctx.eps).sqrt()
        return inner, (grad * normal).sum((0, 2, 3)), grad.sum((0, 2, 3)), None


def _channel_norm(self: layers.ChannelNorm, features: Tensor) -> Tensor:
    return _WrittenNorm.apply(features, self.weight, self.bias, self.eps)


def _gated(features: Tensor) -> Tensor:
    first, second = features.chunk(2, dim=1)
    return first * second


def _nafnet_block(self: nafnet.Block, image: Tensor) -> Tensor:
    features = _gated(self.conv2(self.conv1(self.norm1(image))))
    features = self.conv3(features * self.sca(features))
    features = image + features * self.beta
    inner = self.conv5(_gated(self.conv4(self.norm2(features))))
    return features + inner * self.gamma


def _channel_attention(self: restormer.ChannelAttention, features: Tensor) -> Tensor:
    parts = self.qkv_dwconv(self.qkv(features)).chunk(3, dim=1)
    heads = len(self.temperature)
    queries, keys, values = (part.reshape(len(part), heads, part.shape[1] // heads, -1) for part in parts)
    queries, keys = F.normalize(queries, dim=-1), F.normalize(keys, dim=-1)
    attention = ((queries @ keys.transpose(-2, -1)) * self.temperature).softmax(dim=-1)
    return self.project_out((attention @ values).reshape(features.shape))


def _gated_feed_forward(self: restormer.GatedFeedForward, features: Tensor) -> Tensor:
    gate, value = self.dwconv(self.project_in(features)).chunk(2, dim=1)
    return self.project_out(F.gelu(gate) * value)


def _attend(queries: Tensor, keys_values: Tensor, projection: nn.Linear) -> Tensor:
    samples, heads, count, width = queries.shape
    keys_values = keys_values.reshape(samples, -1, 2, heads, width).permute(2, 0, 3, 1, 4)
    keys, values = keys_values[0], keys_values[1]
    attention = (queries @ keys.transpose(-2, -1)) * width**-0.5
    attended = attention.softmax(dim=-1) @ values
    return projection(attended.transpose(1, 2).reshape(samples, count, heads * width))


def _tokens(features: Tensor) -> Tensor:
    return features.flatten(2).transpose(1, 2)


def _map(tokens: Tensor, size: torch.Size) -> Tensor:
    return tokens.transpose(1, 2).reshape(len(tokens), -1, *size)  # a view: so its convolutions are in NHWC memory


def _stage(self: object, *arguments: object) -> Tensor:
    return _ENCODER_STAGE(self, *arguments).contiguous()


def psnr_ssim(restored: Tensor, clean: Tensor) -> tuple[float, float]:
    """Scores of (3, H, W) images in [0, 1] by scikit-image, as AirNet's code computes them."""
    first, second = (np.clip(image.contiguous().numpy(), 0, 1).transpose(1, 2, 0) for image in (restored, clean))
    similarity: Any = structural_similarity(second, first, data_range=1, channel_axis=2)
    return float(peak_signal_noise_ratio(second, first, data_range=1)), float(similarity)


def per_tap(features: Tensor, offset: Tensor, mask: Tensor, weight: Tensor) -> Tensor:
    """Deformable 3x3 convolution with one ``grid_sample`` and one 1x1 convolution a tap; arguments as
    :func:`baselines.deform_conv.deform_conv`."""
    height, width = features.shape[2:]
    rows, columns = torch.arange(height).view(-1, 1), torch.arange(width).view(1, -1)
    result = features.new_zeros(())
    for tap in range(9):
        y = rows + tap // 3 - 1 + offset[:, 2 * tap]
        x = columns + tap % 3 - 1 + offset[:, 2 * tap + 1]
        grid = torch.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], dim=-1)
        sampled = F.grid_sample(features, grid, padding_mode="zeros", align_corners=False) * mask[:, tap : tap + 1]
        result = result + F.conv2d(sampled, weight[:, :, tap // 3, tap % 3, None, None])
    return result


@contextmanager
def per_tap_convolutions() -> Generator[None]:
    """Within this, AirNet's deformable convolutions are :func:`per_tap`."""
    with patch.object(airnet, "deform_conv", lambda f, o, m, w, way=None: per_tap(f, o, m, w)):
        yield


@contextmanager
def visible_convolutions() -> Generator[None]:
    """Within this, AirNet's deformable convolutions consist of what torch's FlopCounterMode counts."""
    with patch.object(airnet, "deform_conv", partial(deform_conv, way="grid")):
        yield
