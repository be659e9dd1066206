"""Photographs as files: read for a network, and written back the way they came.

The format stays, and so do grey, transparency, 16 bits a channel, the colour profile and what the camera noted, but
for how it was held: pixels are turned upright.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.data.images import UnusableImage, decode
from results import write_atomically

JPEG_QUALITY = 95
_SAVE: dict[str, dict[str, Any]] = {
    "BMP": {},
    "JPEG": {"quality": JPEG_QUALITY, "subsampling": 0},
    "PNG": {},
    "TIFF": {"compression": "tiff_adobe_deflate"},
    "WEBP": {"lossless": True, "exact": True},
}
_ORIENTATION = 0x0112  # EXIF tag
_CAMERA = {270, 271, 272, 305, 306, 315, 33432, 34665, 34853}  # description, maker, model, date, ..., EXIF, GPS
_LUMA = (0.299, 0.587, 0.114)


@dataclass
class Photo:
    """One picture, upright.

    ``pixels``: (H, W) grey or (H, W, 3) RGB, uint8 or uint16; ``alpha``: (H, W) of the same type, or ``None``;
    ``format``: Pillow's name of the file's; ``kept``: what to save beside the pixels; ``notes``: what its file loses,
    for people.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None
    format: str
    kept: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def tensor(self) -> Tensor:
        """(1, 3, H, W) float32 in [0, 1], grey repeated, without alpha."""
        pixels = self.pixels[..., None].repeat(3, axis=2) if self.pixels.ndim == 2 else self.pixels
        scaled = pixels.astype(np.float32) / np.float32(np.iinfo(pixels.dtype).max)
        return torch.from_numpy(scaled).permute(2, 0, 1)[None]

    def with_pixels(self, image: Tensor) -> Photo:
        """The same picture with the pixels of (1, 3, H, W) in [0, 1], of this one's kind: grey stays grey."""
        values = image[0].permute(1, 2, 0).cpu().double().numpy()
        if self.pixels.ndim == 2:
            values = values @ np.array(_LUMA)
        kind = self.pixels.dtype
        pixels = np.rint(values.clip(0, 1) * np.iinfo(kind).max).astype(kind)
        return Photo(pixels, self.alpha, self.format, self.kept, self.notes)

    def write(self, path: Path) -> None:
        """Save it, whole or not at all.

        Raises:
            OSError: if the place cannot be written.
        """
        parts = [self.pixels] if self.alpha is None else [self.pixels, self.alpha]
        pixels = np.dstack(parts) if len(parts) > 1 else self.pixels
        if pixels.dtype == np.uint16 and pixels.ndim == 3:
            write_atomically(path, lambda temporary: temporary.write_bytes(_deep_file(pixels, self.format)))
            return
        from PIL import Image

        options = _SAVE[self.format] | self.kept
        write_atomically(path, lambda temporary: Image.fromarray(pixels).save(temporary, self.format, **options))


def read(path: Path) -> Photo:
    """A picture file.

    Grey, palette, transparent and 16-bit pictures are understood; CMYK becomes RGB, of several frames the first is
    taken. Both are noted.

    Raises:
        UnusableImage: if it is no image, damaged, or of a kind that cannot be written back.
    """
    from PIL import Image

    try:
        with Image.open(path) as image:
            return _photo(image, path)
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError):
        decode(path)  # says what is wrong with it
        raise UnusableImage("cannot be read") from None


def side_by_side(first: Photo, second: Photo) -> Photo:
    """Both pictures in one, as 8-bit RGB for a PNG file, without alpha."""
    pair = torch.cat([first.tensor(), second.tensor()], dim=3)
    return Photo(np.zeros((1, 1, 3), np.uint8), None, "PNG").with_pixels(pair)


def _photo(image: Any, path: Path) -> Photo:
    form = "JPEG" if image.format == "MPO" else image.format  # a JPEG file with a preview or a second view behind it
    if form not in _SAVE:
        raise UnusableImage(f"a {form} file, which cannot be written back; convert it to PNG")
    notes = [f"JPEG files lose a little when saved again (quality {JPEG_QUALITY})"] if form == "JPEG" else []
    if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
        notes.append("of several frames or pages only the first is restored")
    stored = str(next((tile.args[0] if isinstance(tile.args, tuple) else tile.args for tile in image.tile), ""))
    exif = image.getexif()  # decodes a PNG file, which clears what was asked for above
    orientation = exif.pop(_ORIENTATION, 1)
    for tag in set(exif) - _CAMERA if form == "TIFF" else ():  # the others say how the pixels lie in the file
        del exif[tag]
    kept = {key: image.info[key] for key in ("icc_profile", "dpi") if image.info.get(key)}
    if len(exif):
        kept["exif"] = exif.tobytes()
    pixels = _deep_pixels(stored, path, notes) if form in ("PNG", "TIFF") else None
    if pixels is None:
        if image.mode == "CMYK":
            kept.pop("icc_profile", None)
            notes.append("CMYK colours become RGB")
        pixels = np.asarray(_plain(image))
    elif {"icc_profile", "exif"} & kept.keys():
        notes.append("of 16-bit colour neither the colour profile nor the camera's notes are kept")
    pixels = _upright(pixels, orientation)
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    alpha = pixels[..., -1] if channels in (2, 4) else None
    colours = pixels if channels == 1 else pixels[..., 0] if channels == 2 else pixels[..., :3]
    return Photo(np.ascontiguousarray(colours), alpha, form, kept, notes)


def _plain(image: Any) -> Any:
    """A Pillow image of mode L, LA, RGB, RGBA or I;16 (16 bits of grey)."""
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
        return image.convert("I;16")
    if image.mode in ("I", "F"):
        raise UnusableImage(f"values of 32 bits a pixel (mode {image.mode}), whose range is not known")
    grey = image.mode in ("1", "L", "LA", "La")
    return image.convert(("LA" if grey else "RGBA") if image.has_transparency_data else ("L" if grey else "RGB"))


def _deep_pixels(stored: str, path: Path, notes: list[str]) -> np.ndarray | None:
    """16 bits of grey and alpha, RGB or RGBA (H, W, 2 to 4), which Pillow cuts to 8; ``None`` for other pictures.

    ``stored``: Pillow's name of how the pixels lie in the file, such as ``RGB;16B``.
    """
    if ";16" not in stored or not stored.startswith(("RGB", "LA")):
        return None
    try:
        import cv2
    except ImportError as error:
        notes.append(f"of 16 bits a channel 8 are kept, for want of OpenCV ({error})")
        return None
    pixels = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16 or pixels.ndim != 3:
        notes.append("of 16 bits a channel 8 are kept: OpenCV cannot read this file")
        return None
    return pixels[..., [0, 3] if stored.startswith("LA") else [2, 1, 0, 3][: pixels.shape[2]]]


def _deep_file(pixels: np.ndarray, form: str) -> bytes:
    """A PNG or TIFF file of 16-bit RGB or RGBA, or of grey and alpha stored as RGBA."""
    import cv2

    order = {2: [0, 0, 0, 1], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[pixels.shape[2]]
    _, content = cv2.imencode(f".{form.lower()}", pixels[..., order])
    return content.tobytes()


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turn and flip (H, W, ...) by the EXIF orientation it was stored with."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels
