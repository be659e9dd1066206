"""PromptIR (Potlapalli, Zamir, Khan, Khan: NeurIPS 2023, https://arxiv.org/abs/2306.13090)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from baselines.layers import PixelLinear, nhwc
from baselines.restormer import Backbone, Block, Upsample

PROMPT_HEADS = 4


class PromptIR(Backbone):
    """Restormer with learned prompts on the way up, mixed according to the features they join.

    Args:
        prompt_widths: channels of the prompts after decoder level 2, decoder level 3 and the latent.
        prompts: learned components of each.

    The other arguments, and what ``forward`` takes, are the backbone's.
    """

    output_layer = "output"

    def __init__(
        self,
        width: int = 48,
        blocks: Sequence[int] = (4, 6, 6, 8),
        refinement: int = 4,
        heads: Sequence[int] = (1, 2, 4, 8),
        expansion: float = 2.66,
        prompt_widths: Sequence[int] = (64, 128, 320),
        prompts: int = 5,
    ):
        super().__init__(width, blocks, refinement, heads, expansion)
        below = (2 * width, 4 * width, 8 * width)  # channels of the features that a prompt joins
        after = (2 * width, 4 * width, 4 * width)
        for step, (inputs, prompt, outputs) in enumerate(zip(below, prompt_widths, after, strict=True), 1):
            size = 128 // 2**step  # of a prompt: that of the features under a 128-pixel patch
            setattr(self, f"prompt{step}", _Prompt(inputs, prompt, size, prompts))
            setattr(self, f"noise_level{step}", Block(inputs + prompt, PROMPT_HEADS, expansion))
            setattr(self, f"reduce_noise_level{step}", PixelLinear(inputs + prompt, outputs))
        self.up4_3 = Upsample(4 * width)
        self.reduce_chan_level3 = PixelLinear(6 * width, 4 * width)
        self._add_unused(width, prompt_widths)

    def guide(
        self, step: int, features: Float[Tensor, "b c h w"], image: Float[Tensor, "b 3 height width"]
    ) -> Float[Tensor, "b out h w"]:
        """Join a prompt to the features."""
        features = torch.cat((features, getattr(self, f"prompt{step}")(features)), 1)
        return getattr(self, f"reduce_noise_level{step}")(getattr(self, f"noise_level{step}")(features))

    def _add_unused(self, width: int, prompts: Sequence[int]) -> None:
        """Layers that the published checkpoints hold and no forward pass uses."""
        for step, prompt in enumerate(prompts, 1):
            channels, joined = width * 2 ** (step - 1), prompts[0] * 2 ** (step - 1)
            setattr(self, f"chnl_reduce{step}", PixelLinear(prompt, joined))
            setattr(self, f"reduce_noise_channel_{step}", PixelLinear(channels + joined, channels))


class _Prompt(nn.Module):
    """Learned maps, weighted by the mean of the features they will join."""

    def __init__(self, inputs: int, width: int, size: int, count: int) -> None:
        super().__init__()
        self.prompt_param = nn.Parameter(torch.rand(1, count, width, size, size))
        self.linear_layer = nn.Linear(inputs, count)
        self.conv3x3 = nn.Conv2d(width, width, 3, padding=1, bias=False)

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b prompt h w"]:
        weights = self.linear_layer(features.mean((2, 3))).softmax(1)
        components = self.prompt_param[0]
        prompt = (weights @ components.flatten(1)).unflatten(1, components.shape[1:])
        prompt = F.interpolate(prompt, features.shape[-2:], mode="bilinear")
        return self.conv3x3(nhwc(prompt))
