"""PSNR and SSIM of one image by a named protocol (:mod:`benchmarks.config.protocols`).

Both are scikit-image's, which match the code behind the field's tables. ``pyiqa`` clamps inside SSIM and adds
an epsilon to PSNR, so it serves further metrics only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np

from benchmarks.config.protocols import Protocol, get
from benchmarks.data.images import centre_crop

if TYPE_CHECKING:
    from torch import Tensor


def score(restored: np.ndarray | Tensor, clean: np.ndarray | Tensor, protocol: str = "airnet_rgb") -> dict[str, float]:
    """PSNR in dB and SSIM of one image by a named protocol.

    Args:
        restored, clean: RGB images of one shape, HWC or CHW, uint8 in [0, 255] or float in [0, 1]; arrays or tensors.
        protocol: a key of :data:`benchmarks.config.protocols.PROTOCOLS`.

    Returns:
        ``{"psnr": dB, "ssim": ...}``; PSNR is infinite for equal images.

    Raises:
        UserError: for an unknown protocol.
        ValueError: for shapes or value types that cannot be compared.
    """
    convention = get(protocol)
    first, second = _both(restored, clean, convention)
    return {"psnr": _psnr(first, second, convention), "ssim": _ssim(first, second, convention)}


def psnr(restored: np.ndarray | Tensor, clean: np.ndarray | Tensor, protocol: str = "airnet_rgb") -> float:
    """The PSNR of :func:`score` alone, which takes a small part of the time."""
    convention = get(protocol)
    return _psnr(*_both(restored, clean, convention), convention)


def _both(
    restored: np.ndarray | Tensor, clean: np.ndarray | Tensor, convention: Protocol
) -> tuple[np.ndarray, np.ndarray]:
    first, second = (_prepared(_as_image(image), convention) for image in (restored, clean))
    if first.shape != second.shape:
        raise ValueError(f"images of different sizes: {first.shape[:2]} and {second.shape[:2]}.")
    return first, second


def _as_image(image: np.ndarray | Tensor) -> np.ndarray:
    """HWC, float32 or uint8."""
    if hasattr(image, "detach"):  # a tensor, asked for without importing torch
        tensor = cast("Tensor", image).detach().cpu()
        image = (tensor.float() if tensor.is_floating_point() else tensor).numpy()
    array = np.asarray(image)
    if array.ndim == 3 and array.shape[2] != 3 and array.shape[0] == 3:
        array = array.transpose(1, 2, 0)
    if array.ndim != 3 or array.shape[2] != 3:
        raise ValueError(f"expected an RGB image, HWC or CHW; got shape {array.shape}.")
    if array.dtype != np.uint8:
        if not np.issubdtype(array.dtype, np.floating):
            raise ValueError(f"expected uint8 or float pixels; got {array.dtype}.")
        array = array.astype(np.float32, copy=False)
    return array


def _prepared(image: np.ndarray, convention: Protocol) -> np.ndarray:
    """The pixels that are compared: float in [0, 1], or on uint8's scale where rounded."""
    image = centre_crop(image, convention.multiple)
    cut = convention.border
    image = image[cut : image.shape[0] - cut, cut : image.shape[1] - cut]
    if not convention.luma:  # SSIM goes channel by channel, twice as fast where each is contiguous
        image = np.ascontiguousarray(image.transpose(2, 0, 1)).transpose(1, 2, 0)
    if not convention.rounded:
        return image.astype(np.float32) / np.float32(255) if image.dtype == np.uint8 else image.clip(0, 1)
    if image.dtype != np.uint8:
        image = (image.clip(0, 1) * 255).round().astype(np.uint8)
    return _luma(image) if convention.luma else image


def _luma(image: np.ndarray) -> np.ndarray:
    """Y of BT.601, 16-235, float64 (H, W)."""
    return (image.astype(np.float64) @ np.array([65.481, 128.553, 24.966])) / 255 + 16


def _psnr(first: np.ndarray, second: np.ndarray, convention: Protocol) -> float:
    scale = 255.0 if convention.rounded else 1.0
    difference = np.subtract(first, second, dtype=np.float64)
    error = np.square(difference, out=difference).mean()
    return float(10 * np.log10(scale**2 / error)) if error else float("inf")


def _ssim(first: np.ndarray, second: np.ndarray, convention: Protocol) -> float:
    from skimage.metrics import structural_similarity

    options: dict[str, Any] = {
        "data_range": 255.0 if convention.rounded else 1.0,
        "channel_axis": None if convention.luma else 2,
    }
    if convention.gaussian:
        options |= {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": convention.gaussian == "full"}
    similarity: Any = structural_similarity(first, second, **options)
    return float(similarity)
