"""The published implementations' state-dict layouts and their outputs, kept beside the tests."""

import json
import math
import re
import zlib
from pathlib import Path

import numpy as np
import torch

FOLDER = Path(__file__).parent / "reference"
NETWORKS = json.loads((FOLDER / "networks.json").read_text()) | {
    path.stem: json.loads(path.read_text()) for path in FOLDER.glob("*.json") if path.stem.isidentifier()
}
NETWORKS.pop("networks")


def layout(name):
    """State-dict names and shapes of a published network."""
    return {key: tuple(shape) for key, shape in json.loads((FOLDER / f"{name}.keys.json").read_text()).items()}


def output(name):
    """A published network's output on `image()`, its weights filled as `fill` does; of Histoformer in float64."""
    own = FOLDER / f"{name.removesuffix('_odd')}.npz"
    with np.load(own if own.exists() else FOLDER / "network_outputs.npz") as outputs:
        return torch.from_numpy(outputs[name])


def image(seed=0, height=64, width=64):
    """The image that the outputs were computed on, in [0, 1]; with seed 2 and 50x70 the one of `<name>_odd`."""
    return torch.from_numpy(np.random.RandomState(seed).rand(1, 3, height, width).astype(np.float32))


def described(name):
    """What a published network takes beside the image: OneRestore's embedding of the degradation."""
    if name != "onerestore":
        return ()
    return (torch.from_numpy(np.random.RandomState(1).rand(1, 324).astype(np.float32)),)


def gradient_norms(network):
    """The norm of the gradient of each group of parameters whose names differ in numbers only."""
    squares = {}
    for name, parameter in network.named_parameters():
        if parameter.grad is not None:
            group = re.sub(r"\d+", "#", name)
            squares[group] = squares.get(group, 0) + parameter.grad.double().square().sum().item()
    return {group: math.sqrt(square) for group, square in squares.items()}


def by_shifts(convolve):
    """`conv2d` whose depth-wise ones in float64, slow in torch, are sums of shifted maps."""

    def conv2d(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
        if groups == 1 or input.dtype != torch.float64:
            return convolve(input, weight, bias, stride, padding, dilation, groups)
        around, apart = (one if isinstance(one, int) else one[0] for one in (padding, dilation))
        height, width = input.shape[-2:]
        wide = torch.nn.functional.pad(input.contiguous(), [around] * 4)
        rows, columns = ([apart * place for place in range(side)] for side in weight.shape[-2:])
        start = 0 if bias is None else bias[:, None, None]
        return start + sum(
            wide[..., row : row + height, column : column + width] * weight[:, 0, i, j, None, None]
            for i, row in enumerate(rows)
            for j, column in enumerate(columns)
        )

    return conv2d


def fill(network, gain):
    """Fill the weights with numbers that depend on nothing but their names and shapes."""
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if value.is_floating_point() and not name.endswith("complexity"):  # MoCE-IR's, which no output depends on
                value.copy_(torch.from_numpy(np.asarray(_numbers(name, tuple(value.shape), gain))))


def _numbers(name, shape, gain):
    noise = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape)
    if len(shape) in (2, 4):
        return gain * noise / math.sqrt(math.prod(shape[1:]))
    if name.endswith("running_var"):
        return 1 + 0.05 * np.abs(noise)
    if (len(shape) == 1 and name.endswith("weight")) or name.endswith("temperature"):
        return 1 + 0.05 * noise
    return 0.05 * noise
