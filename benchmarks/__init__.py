"""Settings, data, training, evaluation, tracking and the command line of the comparison.

>>> import benchmarks
>>> benchmarks.score(restored, clean, protocol="airnet_rgb")   # {"psnr": dB, "ssim": ...}
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.scoring.fidelity import score

__all__ = ["__version__", "score"]
__version__ = "0.2.0"


def __getattr__(name: str):
    # imported when it is used: commands begin by answering signals, and numpy takes a moment
    if name == "score":
        from benchmarks.scoring.fidelity import score

        return score
    raise AttributeError(f"module 'benchmarks' has no attribute {name!r}")
