"""Further metrics by pyiqa, beside the PSNR and SSIM of the protocol; with a reference (fsim, lpips) or without (niqe).

pyiqa is licensed for non-commercial use (PolyForm-Noncommercial). Its ``psnr`` and ``ssim`` are not offered: they are
not those of the field's tables (see :mod:`benchmarks.config.protocols`).

Rule: a run records for every metric which way is better (:func:`facts`), and reports read that and know no names.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmarks.config.errors import UserError, nearest
from benchmarks.scoring import torchvision_compat
from results.records import PROTOCOL_METRICS, MetricFacts

_UNFIT = {
    **dict.fromkeys(("psnr", "ssim"), "is the protocol's own, and always there"),
    **dict.fromkeys(("fid", "fid_dinov2", "sfid", "inception_score"), "compares sets of images, not image by image"),
    "clipscore": "compares an image with a caption",
    "fgresq_pair": "gives four numbers for a pair of images, not one for an image",
}

_POINTS = {
    "dmm": True,  # a distance, 0 for equal images, that pyiqa's table does not mark as one
    "entropy": None,  # noise raises it, smoothing lowers it: neither says whether the image is the better one
}
"""Which way is better, where pyiqa's table says it wrongly."""

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
    """A metric of one image: ``metric(restored, clean)``, both (3, H, W) in [0, 1], gives a number.

    NaN where the metric is not defined for an image (too small for its windows). ``needs_clean``: whether the clean
    image is looked at; ``lower_is_better``: as :func:`facts` says.
    """

    name: str
    needs_clean: bool
    lower_is_better: bool | None
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
            points = facts([name])[name].lower_is_better
            found[name] = Metric(name, model.metric_mode == "FR", points, model, torch.device(device))
    if problems:
        raise UserError("these metrics cannot be computed:", problems)
    return found


def facts(names: Iterable[str]) -> dict[str, MetricFacts]:
    """What reports must know of PSNR, SSIM and the metrics of those names, without setting them up.

    Args:
        names: of pyiqa; of others, or where pyiqa is missing, nothing but a title is known.

    Returns:
        By name, PSNR and SSIM first.
    """
    further = [name for name in dict.fromkeys(names) if name not in PROTOCOL_METRICS]
    table = _table() if further else {}
    return PROTOCOL_METRICS | {name: _facts(name, table.get(name)) for name in further}


def _facts(name: str, entry: Mapping[str, Any] | None) -> MetricFacts:
    points = None if entry is None else bool(entry.get("lower_better", False))  # pyiqa's default, too
    return MetricFacts(
        lower_is_better=_POINTS.get(name, points),
        title=_TITLES.get(name, name.upper()),
        unit="dB" if name == "psnry" else "",
        digits=_digits(str((entry or {}).get("score_range") or "0, 1")),
    )


def _digits(score_range: str) -> int:
    """Two where scores are tens (``0, 100``) or without limit (``0, ~``), else three."""
    end = re.search(r"~?(-?[\d.]+)$", score_range.strip())
    return 2 if end is None or float(end[1]) >= 50 else 3


def _table() -> Mapping[str, Mapping[str, Any]]:
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
