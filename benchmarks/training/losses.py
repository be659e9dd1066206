"""Losses by name (``train.loss``): the error of every pixel, and its mean over the samples of each task."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from art.shapes import Images
from art.task_losses import TaskLosses
from baselines.network import Output
from benchmarks.config.sections import Loss
from benchmarks.data.batches import Batch
from benchmarks.training.distributed import ALONE, Group

EPSILON = 1e-3  # where Charbonnier's loss turns from a square into an absolute value; pixels are in [0, 1]

LOSSES: dict[Loss, Callable[[Tensor, Tensor], Tensor]] = {
    "l1": lambda restored, clean: (restored - clean).abs(),
    "mse": lambda restored, clean: (restored - clean).square(),
    "charbonnier": lambda restored, clean: ((restored - clean).square() + EPSILON**2).sqrt(),
}
"""The error of every pixel. Charbonnier: Lai, Huang, Ahuja, Yang, "Deep Laplacian pyramid networks for fast and
accurate super-resolution", CVPR 2017."""


def pixel_errors(loss: Loss, restored: Tensor, clean: Images) -> Images:
    """The error of every pixel of images in [0, 1], with graph.

    Args:
        loss: a key of :data:`LOSSES`.
        restored: (B, 3, H, W), what a network returned.
        clean: the images it should have returned.

    Raises:
        ValueError: if ``restored`` has another shape than ``clean``: it would be broadcast.
    """
    if restored.shape != clean.shape:
        raise ValueError(
            f"the network gives {tuple(restored.shape)} for images of {tuple(clean.shape)}; both must be the same."
        )
    return LOSSES[loss](restored, clean)


def restored_images(output: Output) -> Tensor:
    """(B, 3, H, W), what a forward pass restored.

    Raises:
        ValueError: if there is no image, as in the warm-up of an encoder.
    """
    if output.restored is None:
        raise ValueError("the network gives no image")
    return output.restored


def task_losses(restored: Tensor, batch: Batch, loss: Loss = "l1", group: Group = ALONE) -> TaskLosses:
    """The mean error of every task's samples, 0 for a task without any; one reduction on the device.

    Args:
        restored: (B, 3, H, W), what the network returned for this process's samples of the batch.
        batch: these samples.
        loss: a key of :data:`LOSSES`.
        group: the processes that share the batch; the losses are those of the whole batch.

    Raises:
        ValueError: if ``restored`` has another shape than the clean images.
    """
    errors = pixel_errors(loss, restored, batch.clean)
    numbers = torch.arange(len(batch.counts), device=errors.device)
    share = (batch.tasks[:, None] == numbers).to(errors.dtype)
    losses = errors.mean(dim=(1, 2, 3)) @ (share / batch.counts.clamp_min(1))
    sizes = batch.sizes if group.size == 1 else None  # of several processes, these are the samples of this one
    return TaskLosses(group.summed(losses), batch.counts, errors, sizes)
