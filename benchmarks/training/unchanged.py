"""Looking at a batch again without changing the network."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def unchanged(network: nn.Module) -> Generator[None]:
    """Undo, at the end, what forward passes in training mode do to the network and to torch's random numbers.

    They change buffers (batch statistics, AirNet's queue) and parameters that are not trained by gradients (its
    momentum encoder). Only those are copied.
    """
    changing = [*network.buffers(), *(value for value in network.parameters() if not value.requires_grad)]
    copies = [value.detach().clone() for value in changing]
    devices = {value.device for value in network.parameters() if value.device.type == "cuda"}
    with torch.random.fork_rng(devices=[device.index for device in devices]):
        try:
            yield
        finally:
            with torch.no_grad():
                for value, copy in zip(changing, copies, strict=True):
                    value.copy_(copy)
