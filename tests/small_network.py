"""Networks for tests of what depends on no network."""

import time
from typing import ClassVar

from torch import nn

from baselines.losses import spectral_l1
from baselines.network import Network

SMALL, SLOW, SPECTRAL = (f"{__name__}:{name}" for name in ("Small", "Slow", "Spectral"))


class Small(Network):
    """Trains, is saved and restores in no time."""

    output_layer = "last"
    description: ClassVar = {
        "name": "Small",
        "about": "two convolutions",
        "sizes": {"tiny": {}},
        "recipe": {profile: dict(lr=1e-3, steps=9, batch=5, patch=32) for profile in ("paper", "demo")},
    }

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 3, 3, padding=1)

    def forward(self, image):
        return image + self.last(self.first(image).relu())


class Slow(Small):
    """Takes as long as a real network, and leaves the processor alone: for what happens during a training."""

    description: ClassVar = Small.description | {"name": "Slow"}

    def training_forward(self, *views, **how):
        time.sleep(0.06)
        return super().training_forward(*views, **how)


class Spectral(Small):
    """With a loss of its own for each sample."""

    def sample_loss(self, restored, clean):
        return 0.1 * spectral_l1(restored, clean)
