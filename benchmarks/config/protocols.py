"""Metric protocols: how a score is computed. The convention moves a number by more than strategies do.

PSNR and SSIM are scikit-image's, which match the code the field's tables were made with. ``pyiqa`` clamps inside SSIM
and adds an epsilon to PSNR, so it serves further metrics only.

``NAME@bf16`` is the protocol NAME with a network that computes in bfloat16 where autocast allows: other numbers, kept
apart from those of NAME as those of any other protocol are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from benchmarks.config.errors import UserError, unknown


@dataclass(frozen=True)
class Protocol:
    """One convention.

    Args:
        about: where it is used.
        multiple: centre crop to a multiple of this many pixels (1: none).
        border: pixels cut at every side.
        rounded: compare uint8 images; otherwise floats clipped to [0, 1].
        luma: compare Y of BT.601 in studio range (16-235) instead of RGB.
        gaussian: SSIM's window: ``None`` uniform 7x7 with sample covariance, ``"full"`` Gaussian as scikit-image pads
            and averages it, with sample covariance, ``"valid"`` 11x11 Gaussian of sigma 1.5 over the valid region.
        half: the network computes in bfloat16.
    """

    about: str
    multiple: int = 1
    border: int = 0
    rounded: bool = True
    luma: bool = False
    gaussian: str | None = "valid"
    half: bool = False

    @property
    def smallest(self) -> int:
        """Pixels a side that an image needs: the window of SSIM must fit into what is left of it."""
        window = 11 if self.gaussian else 7
        return -(-(window + 2 * self.border) // self.multiple) * self.multiple


PROTOCOLS = {
    "airnet_rgb": Protocol("AirNet, PromptIR, AdaIR, IDR", multiple=16, rounded=False, gaussian=None),
    "moceir_rgb": Protocol("MoCE-IR", multiple=16, rounded=False, gaussian="full"),
    "weather_y": Protocol("WeatherDiff and the all-weather tables", luma=True),
    "weather_rgb": Protocol("the Art release's configuration"),
    "mio_rgb_b4": Protocol("MiOIR", border=4),
    "cdd_rgb": Protocol("CDD-11 (OneRestore)", gaussian=None),
}


def get(name: str) -> Protocol:
    """The protocol of that name, or of ``NAME@bf16``.

    Raises:
        UserError: if there is none, naming the nearest.
    """
    known, mark, precision = name.partition("@")
    if known not in PROTOCOLS:
        raise UserError(unknown("protocol", known, PROTOCOLS))
    if mark and precision != "bf16":
        raise UserError(f"protocol {name}: only @bf16 can follow a name.")
    return replace(PROTOCOLS[known], half=bool(mark))
