"""Settings, data, training, evaluation, tracking and the command line of the comparison.

>>> import benchmarks
>>> benchmarks.score(restored, clean, protocol="airnet_rgb")   # {"psnr": dB, "ssim": ...}
"""

from benchmarks.protocols import score

__all__ = ["score"]
