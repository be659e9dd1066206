"""Further metrics by pyiqa, beside the PSNR and SSIM of the protocol; with a reference (fsim, lpips) or without (niqe).

pyiqa is licensed for non-commercial use (PolyForm-Noncommercial). Its ``psnr`` and ``ssim`` are not offered: they are
not those of the field's tables (see :mod:`benchmarks.config.protocols`).

Rule: a run records for every metric which way is better (:func:`facts`), and reports read that and know no names.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from benchmarks.config.errors import UserError, nearest
from benchmarks.scoring import torchvision_compat
from results.records import PROTOCOL_METRICS, MetricFacts

Image = Float[Tensor, "3 height width"]

_UNFIT = {
    **dict.fromkeys(("psnr", "ssim"), "is the protocol's own, and always there"),
    **dict.fromkeys(("fid", "fid_dinov2", "sfid", "inception_score"), "compares sets of images, not image by image"),
    "clipscore": "compares an image with a caption",
    "fgresq_pair": "gives four numbers for a pair of images, not one for an image",
}

_LOWER_IS_BETTER = {
    "dmm": True,  # a distance, 0 for equal images, that pyiqa's table does not mark as one
    "entropy": None,  # noise raises it, smoothing lowers it: neither says whether the image is better
}
"""Whether lower is better, where pyiqa's table is wrong."""

_TITLES = {
    "clipiqa": "CLIP-IQA",
    "clipiqa+": "CLIP-IQA+",
    "cw_ssim": "CW-SSIM",
    "deepdc": "DeepDC",
    "lpips-vgg": "LPIPS (VGG)",
    "ms_ssim": "MS-SSIM",
    "pieapp": "PieAPP",
    "psnry": "PSNR-Y",
    "stlpips": "ST-LPIPS",
}
"""Names as the field writes them, where that is not pyiqa's in capital letters."""


@dataclass(frozen=True)
class Metric:
    """A metric of one image.

    Attributes:
        name: of pyiqa.
        needs_clean: whether it compares with the clean image.
        lower_is_better: as :func:`facts` says.
        model: of pyiqa, called with (1, 3, H, W) images.
        device: where it computes.
    """

    name: str
    needs_clean: bool
    lower_is_better: bool | None
    model: Callable[..., Tensor | float]
    device: torch.device

    @torch.no_grad()
    def __call__(self, restored: Image, clean: Image) -> float:
        """The value of an image in [0, 1]; NaN where it is not defined (images too small for the metric's windows)."""
        images = [image[None].clamp(0, 1).to(self.device) for image in (restored, clean)[: 1 + self.needs_clean]]
        try:
            return float(self.model(*images))
        except torch.OutOfMemoryError:
            raise
        except (AssertionError, RuntimeError, ValueError):
            return math.nan


def further(names: Sequence[str], device: torch.device | str = "cpu") -> dict[str, Metric]:
    """Set up the metrics of those names, in that order.

    Args:
        names: of pyiqa (``pyiqa.list_models()``): fsim, vif, gmsd, vsi, lpips, niqe, ...
        device: where to compute.

    Raises:
        UserError: naming every metric that is unknown, unfit, or whose weights cannot be downloaded.
    """
    if not names:
        return {}
    pyiqa = _pyiqa()
    known = pyiqa.list_models()
    found: dict[str, Metric] = {}
    problems: list[str] = []
    for name in dict.fromkeys(names):
        if name in _UNFIT:
            problems.append(f"{name} {_UNFIT[name]}")
        elif name not in known:
            problems.append(f"{name} is unknown{nearest(name, known)}")
        else:
            try:
                with redirect_stdout(sys.stderr):  # where pyiqa reports downloads
                    model = pyiqa.create_metric(name, device=torch.device(device))
            except Exception as error:  # pyiqa passes on what urllib, torch, transformers and others raise
                problems.append(_unavailable(name, error))
                continue
            lower_is_better = facts([name])[name].lower_is_better
            found[name] = Metric(name, model.metric_mode == "FR", lower_is_better, model, torch.device(device))
    if problems:
        raise UserError("these metrics cannot be computed:", problems)
    return found


def facts(names: Iterable[str]) -> dict[str, MetricFacts]:
    """What reports must know of PSNR, SSIM and the metrics of those names; nothing is set up.

    Args:
        names: of pyiqa; of others, or without pyiqa, only a title is known.

    Returns:
        By name, PSNR and SSIM first.
    """
    others = [name for name in dict.fromkeys(names) if name not in PROTOCOL_METRICS]
    table = _table() if others else {}
    return PROTOCOL_METRICS | {name: _facts(name, table.get(name)) for name in others}


def _facts(name: str, entry: Mapping[str, object] | None) -> MetricFacts:
    lower_is_better = None if entry is None else bool(entry.get("lower_better", False))  # pyiqa's default, too
    return MetricFacts(
        lower_is_better=_LOWER_IS_BETTER.get(name, lower_is_better),
        title=_TITLES.get(name, name.upper()),
        unit="dB" if name == "psnry" else "",
        digits=_digits(str((entry or {}).get("score_range") or "0, 1")),
    )


def _digits(score_range: str) -> int:
    """Two where scores are tens (``0, 100``) or without limit (``0, ~``), else three."""
    end = re.search(r"~?(-?[\d.]+)$", score_range.strip())
    return 2 if end is None or float(end[1]) >= 50 else 3


def _table() -> Mapping[str, Mapping[str, object]]:
    """pyiqa's table of its metrics; empty without pyiqa."""
    try:
        _pyiqa()
        from pyiqa.default_model_configs import DEFAULT_CONFIGS
    except (ImportError, UserError):
        return {}
    return DEFAULT_CONFIGS


def _unavailable(name: str, error: Exception) -> str:
    reason = " ".join(str(error).split())[:160] or type(error).__name__
    if isinstance(error, OSError):
        return f"{name} needs weights that cannot be downloaded ({reason}); run it once with a network connection"
    return f"{name} cannot be set up ({type(error).__name__}: {reason})"


def _pyiqa() -> Any:
    """pyiqa, imported with torchvision made importable beside any torch build."""
    try:
        torchvision_compat.prepare()
        import pyiqa
    except ImportError as error:
        raise UserError(f"further metrics need pyiqa: {error}.") from error
    return pyiqa
