"""Further metrics by pyiqa, beside the PSNR and SSIM of the protocol; with a reference (fsim, lpips) or without (niqe).

pyiqa is licensed for non-commercial use (PolyForm-Noncommercial). Its ``psnr`` and ``ssim`` are not offered: they are
not those of the field's tables (see :mod:`benchmarks.protocols`).
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmarks.errors import UserError, nearest

_UNFIT = {
    **dict.fromkeys(("psnr", "ssim"), "is the protocol's own, and always there"),
    **dict.fromkeys(("fid", "fid_dinov2", "sfid", "inception_score"), "compares sets of images, not image by image"),
    "clipscore": "compares an image with a caption",
}


@dataclass(frozen=True)
class Metric:
    """A metric of one image: ``metric(restored, clean)``, both (3, H, W) in [0, 1], gives a number.

    NaN where the metric is not defined for an image (too small for its windows). ``needs_clean``: whether the clean
    image is looked at; ``lower_is_better``: which way it points.
    """

    name: str
    needs_clean: bool
    lower_is_better: bool
    model: Any
    device: torch.device

    @torch.no_grad()
    def __call__(self, restored: Tensor, clean: Tensor) -> float:
        images = [image[None].clamp(0, 1).to(self.device) for image in (restored, clean)[: 1 + self.needs_clean]]
        try:
            return float(self.model(*images))
        except torch.OutOfMemoryError:
            raise
        except (AssertionError, RuntimeError, ValueError):
            return math.nan


def further(names: Sequence[str], device: torch.device | str = "cpu") -> dict[str, Metric]:
    """The metrics of those names, in that order, ready for use.

    Args:
        names: of pyiqa (``pyiqa.list_models()``): fsim, vif, gmsd, vsi, lpips, niqe, ...
        device: where to compute.

    Raises:
        UserError: naming every metric that is unknown, unfit, or whose weights cannot be had.
    """
    if not names:
        return {}
    pyiqa = _pyiqa()
    known = pyiqa.list_models()
    found, problems = {}, []
    for name in dict.fromkeys(names):
        if name in _UNFIT:
            problems.append(f"{name} {_UNFIT[name]}")
        elif name not in known:
            problems.append(f"{name} is unknown{nearest(name, known)}")
        else:
            try:
                with redirect_stdout(sys.stderr):  # where pyiqa tells of downloads
                    model = pyiqa.create_metric(name, device=torch.device(device))
            except Exception as error:  # pyiqa passes on what urllib, torch, transformers and others raise
                problems.append(_unavailable(name, error))
                continue
            needs_clean = model.metric_mode == "FR"
            found[name] = Metric(name, needs_clean, bool(model.lower_better), model, torch.device(device))
    if problems:
        raise UserError("these metrics cannot be computed:", problems)
    return found


def _unavailable(name: str, error: Exception) -> str:
    reason = " ".join(str(error).split())[:160] or type(error).__name__
    if isinstance(error, OSError):
        return f"{name} needs weights that cannot be downloaded ({reason}); run it once with a network connection"
    return f"{name} cannot be set up ({type(error).__name__}: {reason})"


def _pyiqa() -> Any:
    """pyiqa, imported with torchvision made importable beside any torch build."""
    from baselines.torchvision_compat import prepare

    try:
        prepare()
        import pyiqa
    except ImportError as error:
        raise UserError(f"further metrics need pyiqa: {error}.") from error
    return pyiqa
