"""Losses of pixels, and their means over the samples of each task."""

import pytest
import torch
from torch import nn

from benchmarks.data.batches import Batch
from benchmarks.training.distributed import Group
from benchmarks.training.losses import LOSSES, task_losses


def test_task_losses_are_means_over_a_tasks_samples():
    clean, restored = torch.zeros(4, 3, 2, 2), torch.tensor([0.1, 0.3, 0.5, 0.2]).reshape(4, 1, 1, 1).expand(4, 3, 2, 2)
    batch = Batch(clean, clean, torch.tensor([0, 0, 2, 2]), torch.tensor([2.0, 0.0, 2.0]), (2, 0, 2))
    torch.testing.assert_close(task_losses(restored, batch).stacked, torch.tensor([0.2, 0.0, 0.35]))


def test_losses_of_pixels_are_those_of_torch():
    restored, clean = torch.rand(2, 1, 3, 8, 8)
    for loss, peer in (("l1", nn.L1Loss()), ("mse", nn.MSELoss()), ("charbonnier", nn.L1Loss())):
        torch.testing.assert_close(LOSSES[loss](restored, clean).mean(), peer(restored, clean), rtol=0, atol=1e-4)
    assert LOSSES["charbonnier"](clean, clean).unique().item() == pytest.approx(1e-3)


@pytest.mark.parametrize("shape", [(2, 1, 8, 8), (2, 3, 1, 1), (1, 3, 8, 8), (2, 3, 8, 9)])
def test_an_output_of_another_shape_is_no_loss(shape):
    clean = torch.rand(2, 3, 8, 8)
    batch = Batch(clean, clean, torch.tensor([0, 1]), torch.tensor([1.0, 1.0]), (1, 1))
    with pytest.raises(ValueError, match=r"the network gives \(.*for images of \(2, 3, 8, 8\)"):
        task_losses(torch.rand(shape), batch)


class Share(Group):
    """One of several processes, whose losses are added up by the test."""

    def summed(self, share):
        return share


def test_a_networks_own_losses_are_in_task_losses_and_pixel_errors():
    """Of one process and, in parts, of several."""
    restored, clean = torch.rand(2, 4, 3, 8, 8)
    whole = Batch(clean, clean, torch.tensor([0, 0, 2, 2]), torch.tensor([2.0, 0.0, 2.0]), (2, 0, 2))

    def own(restored, clean):
        return 3 * (restored.mean((1, 2, 3)) - clean.mean((1, 2, 3))).square()

    losses = task_losses(restored, whole, own=own)
    samples = (restored - clean).abs().mean((1, 2, 3)) + own(restored, clean)
    torch.testing.assert_close(
        losses.stacked, torch.stack([samples[:2].mean(), samples.new_zeros(()), samples[2:].mean()])
    )
    torch.testing.assert_close(losses.pixel_errors.mean((1, 2, 3)), samples)
    parts = [Share(rank, 2) for rank in range(2)]
    shares = [task_losses(restored[part.rank :: 2], part.share(whole), group=part, own=own).stacked for part in parts]
    torch.testing.assert_close(sum(shares), losses.stacked)
    with pytest.raises(ValueError, match=r"sample_loss gives \(\) for 4 images, not \(4,\)"):
        task_losses(restored, whole, own=lambda restored, clean: restored.mean())


def test_a_share_is_counted_on_the_host():
    sizes = (3, 0, 1, 4, 2)
    tasks = torch.repeat_interleave(torch.arange(5), torch.tensor(sizes))
    images = torch.rand(10, 3, 8, 8)
    batch = Batch(images, images, tasks, torch.tensor(sizes).float(), sizes)
    for size in (1, 2, 3):
        shares = [Group(rank, size).share(batch) for rank in range(size)]
        assert [share.sizes for share in shares] == [tuple(share.tasks.bincount(minlength=5)) for share in shares]
        assert sum(len(share.degraded) for share in shares) == 10
