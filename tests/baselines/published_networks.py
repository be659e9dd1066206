"""The published implementations' state-dict layouts and their outputs, kept beside the tests."""

import json
import math
import zlib
from pathlib import Path

import numpy as np
import torch

FOLDER = Path(__file__).parent / "reference"
NETWORKS = json.loads((FOLDER / "networks.json").read_text())


def layout(name):
    """State-dict names and shapes of a published network."""
    return {key: tuple(shape) for key, shape in json.loads((FOLDER / f"{name}.keys.json").read_text()).items()}


def output(name):
    """A published network's output on `image()`, its weights filled as `fill` does."""
    with np.load(FOLDER / "network_outputs.npz") as outputs:
        return torch.from_numpy(outputs[name])


def image():
    """The image that the outputs were computed on, in [0, 1]."""
    return torch.from_numpy(np.random.RandomState(0).rand(1, 3, 64, 64).astype(np.float32))


def fill(network, gain):
    """Fill the weights with numbers that depend on nothing but their names and shapes."""
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if value.is_floating_point():
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
