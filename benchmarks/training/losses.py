"""The error of every pixel (``train.loss``), what a network's recipe adds, and the mean over each task's samples."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
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
    # half the square below 1
    "smooth_l1": lambda restored, clean: F.smooth_l1_loss(restored, clean, reduction="none"),
    "mse": lambda restored, clean: (restored - clean).square(),
    "charbonnier": lambda restored, clean: ((restored - clean).square() + EPSILON**2).sqrt(),
}
"""The error of every pixel. Charbonnier: Lai, Huang, Ahuja, Yang, "Deep Laplacian pyramid networks for fast and
accurate super-resolution", CVPR 2017."""

SampleLoss = Callable[[Tensor, Tensor], Tensor | None]
"""What a network adds to each sample's loss: :meth:`baselines.network.Network.sample_loss`."""


def pixel_errors(loss: Loss, restored: Tensor, clean: Images, own: SampleLoss | None = None) -> Images:
    """The error of every pixel of images in [0, 1], with graph; the mean over a sample's pixels is its loss.

    Args:
        loss: a key of :data:`LOSSES`.
        restored: (B, 3, H, W), what a network returned.
        clean: the images it should have returned.
        own: the network's own loss of each sample. It belongs to no pixel, so it is spread evenly over all: added to
            the error of each.

    Raises:
        ValueError: if ``restored`` has another shape than ``clean``: it would be broadcast; if ``own`` does not give
            one number a sample.
    """
    if restored.shape != clean.shape:
        raise ValueError(
            f"the network gives {tuple(restored.shape)} for images of {tuple(clean.shape)}; both must be the same."
        )
    errors = LOSSES[loss](restored, clean)
    added = own(restored, clean) if own else None
    if added is None:
        return errors
    if added.shape != clean.shape[:1]:
        count = len(clean)
        raise ValueError(f"the network's sample_loss gives {tuple(added.shape)} for {count} images, not ({count},).")
    return errors + added.view(-1, 1, 1, 1)


def restored_images(output: Output) -> Tensor:
    """(B, 3, H, W), what a forward pass restored.

    Raises:
        ValueError: if there is no image, as in the warm-up of an encoder.
    """
    if output.restored is None:
        raise ValueError("the network gives no image")
    return output.restored


def task_losses(
    restored: Tensor, batch: Batch, loss: Loss = "l1", group: Group = ALONE, own: SampleLoss | None = None
) -> TaskLosses:
    """The mean error of every task's samples, 0 for a task without any; one reduction on the device.

    Args:
        restored: (B, 3, H, W), what the network returned for this process's samples of the batch.
        batch: these samples.
        loss: a key of :data:`LOSSES`.
        group: the processes that share the batch; the losses are those of the whole batch.
        own: the network's own loss of each sample, which counts in its task's.

    Raises:
        ValueError: as :func:`pixel_errors`.
    """
    errors = pixel_errors(loss, restored, batch.clean, own)
    numbers = torch.arange(len(batch.counts), device=errors.device)
    members = (batch.tasks[:, None] == numbers).to(errors.dtype)
    losses = errors.mean(dim=(1, 2, 3)) @ (members / batch.counts.clamp_min(1))
    sizes, share = (batch.sizes, None) if group.size == 1 else (None, batch.sizes)
    return TaskLosses(group.summed(losses), batch.counts, errors, sizes, share)
