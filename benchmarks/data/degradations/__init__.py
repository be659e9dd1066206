"""Synthetic degradations: each a function of (image, severity, generator), over a batch, on the image's device.

Images are (B, 3, H, W) float32 in [0, 1], severities (B,), depths (B, 1, H, W) in [0, 1] with 0 near. Random numbers
come from an explicit ``torch.Generator`` on the device of the images: ``torch.rand(..., generator=generator,
device=image.device)``. Test images are made on the CPU, the same everywhere; training on a GPU draws there, other
numbers than a CPU, and without waiting if no number is read back (``.item()``) or sent (``torch.tensor(...)``).

Each lies in a file of its name. One of your own has the same form, and a setting's file names it:

>>> @degradation(training=(0.2, 1.0), testing=(0.5,))
... def fade(image, severity, generator):
...     return image * (1 - 0.8 * severity.reshape(-1, 1, 1, 1))
"""

from benchmarks.data.degradations._degradation import Degradation, degradation, load

__all__ = ["Degradation", "degradation", "load"]
