"""Underexposure with the noise of a sensor."""

import torch
import torch.nn.functional as F

from benchmarks.data.degradations._degradation import Images, Severities, degradation
from benchmarks.data.degradations._fields import from_linear, normal, per_image, to_linear, uniform


@degradation(training=(0.4, 1.0), testing=(0.8,))
def low_light(image: Images, severity: Severities, generator: torch.Generator) -> Images:
    """Take the picture again with too little light.

    In linear light the exposure falls by ``1 + 6.5 * severity`` stops. The sensor then adds shot noise (variance
    proportional to the signal) and read noise (constant), the Poisson-Gaussian model of Foi et al. (TIP 2008); white
    balance amplifies red and blue, noise included, demosaicing makes neighbours alike: hence coloured grain. The result
    is encoded with gamma 2.2 and rounded to 8 bits. Severity 0.8 brings photographs to about the 8 dB of LOL-v1.

    Args:
        image: (B, 3, H, W) in [0, 1].
        severity: (B,) in [0, 1].
        generator: draws the sensor and its noise.

    Returns:
        (B, 3, H, W), multiples of 1/255 in [0, 1].
    """
    batch, device = len(image), image.device
    balance = uniform(generator, (batch, 3, 1, 1), device, 1.3, 2.0)
    balance[:, 1].fill_(1)
    shot = uniform(generator, (batch, 1, 1, 1), device, 1e-4, 6e-4)
    read = uniform(generator, (batch, 1, 1, 1), device, 3e-4, 1e-3)
    grain = normal(generator, image.shape, device)
    grain = 0.8 * grain + 1.2 * F.avg_pool2d(grain, 3, stride=1, padding=1, count_include_pad=False)

    signal = to_linear(image) * torch.exp2(-1 - 6.5 * per_image(severity)) / balance
    captured = signal + grain * torch.sqrt(shot * signal + read**2)
    return (from_linear(captured * balance) * 255).round_().div_(255)
