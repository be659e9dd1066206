"""What every baseline shares: full-size restoration, published checkpoints and the training interface."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from baselines import weights


class Output(NamedTuple):
    """What a training step gets from a baseline.

    Attributes:
        restored: (B, 3, H, W) restored image, or None in a warm-up that trains no restorer.
        auxiliary: scalar loss of the baseline itself that belongs to no sample, to be added to the restoration loss as
            it is, whatever the strategy; or None. Terms of the restored images are :meth:`Network.sample_loss`.
    """

    restored: Tensor | None
    auxiliary: Tensor | None


class Network(nn.Module):
    """Base of the baselines. ``forward`` takes and returns what the published network does.

    Attributes:
        multiple: the network's grid; both sides of a training patch are multiples of this, and those of any image given
            to ``forward``, unless it ``pads`` by itself.
        pads: True if ``forward`` takes any size, padding as its authors' does; else ``restore`` pads, by reflection.
        local: False if a pixel of the output depends on the whole image (attention or statistics over space), so that
            restoring tile by tile changes the result.
        traceable: False if the network reads values of its features on the host, as a router that chooses layers by
            them: it is then neither compiled nor recorded as a CUDA graph, and its steps wait for the device.
        separable: False if in training one sample's output or loss depends on the others of the batch; see
            :meth:`distribute` for training by several processes.
        continuous: False if rounding may change the output at will, as where pixels are sorted: two devices, precisions
            or batch sizes need not agree then, and the conformance checks compare in float64.
        output_layer: name of the convolution that makes the image from the last feature map.
        unused: names that the authors' files hold and no forward pass uses; they are left aside when loading.
        optional: names that only training uses and whose size follows its batch; where a file has them in another size
            or not at all, they stay as they are.
    """

    multiple: int = 1
    pads: bool = False
    local: bool = True
    traceable: bool = True
    separable: bool = True
    continuous: bool = True
    output_layer: str
    unused: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()

    def prepare(self, image: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 3 height width"]:
        """Scale images in [0, 1] to the range that ``forward`` takes; the same image unless a baseline overrides it."""
        return image

    def training_forward(
        self,
        degraded: Float[Tensor, "batch 3 height width"],
        second: Float[Tensor, "batch 3 height width"] | None = None,
        warmup: bool = False,
    ) -> Output:
        """Run one training step's forward pass.

        Args:
            degraded: images in [0, 1], height and width multiples of ``multiple``.
            second: other crops of the same degraded images, for baselines whose recipe has two views.
            warmup: ask only for the auxiliary loss; a baseline without one ignores it.
        """
        return Output(self(self.prepare(degraded)), None)

    def distribute(self, gathered: Callable[[Tensor], Tensor]) -> None:
        """Prepare for batches that several processes share, for a network in which samples of a batch are coupled.

        Batch normalisation is taken care of.

        Args:
            gathered: from one row for each of this process's samples to those of the whole batch, in its order; all
                processes must call it. It carries gradients: those of the rows that every process is given.
        """

    def sample_loss(
        self, restored: Float[Tensor, "batch 3 height width"], clean: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, " batch"] | None:
        """What the network's recipe adds to the mean error of each sample's pixels, or None.

        It is part of the task losses, so strategies weigh it as they do the error of the pixels. What belongs to no
        sample is :attr:`Output.auxiliary`.

        Args:
            restored: float32, what ``training_forward`` restored, with graph.
            clean: float32 in [0, 1], what it should have restored.

        Returns:
            A loss for each sample, >= 0, that depends on this sample only.
        """
        return None

    @torch.no_grad()
    def restore(self, image: Tensor) -> Float[Tensor, "batch 3 height width"]:
        """Restore full-size images in evaluation mode, without gradient; the mode is put back afterwards.

        Where the network does not pad by itself, the image is padded at the bottom and the right to ``multiple``, by
        reflection, or by replication along a side that is too short to be reflected, and the result is cropped back.

        Args:
            image: (B, 3, H, W) floating point in [0, 1], any height and width.

        Returns:
            Images in [0, 1], of the data type of those given.

        Raises:
            ValueError: for another shape or an integer image.
        """
        if image.ndim != 4 or image.shape[1] != 3 or 0 in image.shape:
            raise ValueError(f"restore takes images of shape (B, 3, H, W), not {tuple(image.shape)}")
        if not image.is_floating_point():
            raise ValueError(f"restore takes floating-point images in [0, 1], not {image.dtype}; divide uint8 by 255")
        height, width = image.shape[-2:]
        unit = 1 if self.pads else self.multiple
        training = self.training
        self.eval()
        try:
            restored = self(self.prepare(padded(image, unit).to(next(self.parameters()).dtype)))
        finally:
            self.train(training)
        return restored[..., :height, :width].to(image.dtype).clamp_(0, 1)

    def load_published(self, state_dict: Mapping[str, Any]) -> str:
        """Load weights published by the network's authors, or saved by anyone's training.

        They are found below any nesting (``state_dict``, ``params_ema``, ...) and any prefix of the names (``module.``,
        ``net.``, ``_orig_mod.``, ...), also beside other entries; see ``weights``.

        Args:
            state_dict: what ``torch.load`` gave for the file.

        Returns:
            The wrappers found, outermost first, such as "state_dict > net.*", or "plain"; after a semicolon what was
            left aside or converted.

        Raises:
            ValueError: if a name is missing, unexpected, or has another shape or kind of value, if several sets of
                weights fit, or if weights are NaN or infinite; nothing is loaded then.
        """
        found = weights.find(self, state_dict)
        self.load_state_dict(self.state_dict() | found.entries, strict=True)
        return str(found)


def whole(rows: Tensor) -> Tensor:
    """The rows of a batch that is not shared, see :meth:`Network.distribute`."""
    return rows


def padded(image: Float[Tensor, "b c h w"], multiple: int) -> Float[Tensor, "b c _ _"]:
    """Pad an image at the bottom and the right until both sides are multiples of ``multiple``: by reflection, or by
    replication along a side that is too short to be reflected."""
    height, width = image.shape[-2:]
    return _pad_side(_pad_side(image, -1, -width % multiple), -2, -height % multiple)


def _pad_side(image: Float[Tensor, "b c h w"], side: int, amount: int) -> Float[Tensor, "b c _ _"]:
    """Pad ``image`` at the end of ``side`` (-1 or -2) by ``amount`` pixels."""
    if not amount:
        return image
    padding = (0, amount, 0, 0) if side == -1 else (0, 0, 0, amount)
    return F.pad(image, padding, mode="reflect" if amount < image.shape[side] else "replicate")
