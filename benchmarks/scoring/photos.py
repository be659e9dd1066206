"""Photographs as files: read for a network, and written back the way they came.

The format stays, and so do grey, transparency, 16 bits a channel, the colour profile and what the camera noted, but
for its orientation: pixels are turned upright. What cannot be written back as it came (GIF, AVIF, black and white PBM)
becomes PNG. Colour of 16 bits a channel needs OpenCV (the extra ``photos``): Pillow cuts it to 8.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from benchmarks.data.decoding import ORIENTATION, UnusableImage, header_of, opened, orientation, turned
from benchmarks.data.files import ending
from results import write_atomically

JPEG_QUALITY = 95
_SAVE: dict[str, dict[str, Any]] = {
    "BMP": {},
    "JPEG": {"quality": JPEG_QUALITY, "subsampling": 0},
    "PNG": {},
    "PPM": {},
    "TIFF": {"compression": "tiff_adobe_deflate"},
    "WEBP": {"lossless": True, "exact": True},
}
_AS_PNG = {".gif", ".avif", ".pbm"}
_CAMERA_TAGS = {270, 271, 272, 305, 306, 315, 33432, 34665, 34853}  # description, maker, model, date, ..., EXIF, GPS
_LUMA = (0.299, 0.587, 0.114)
_DAMAGED = "damaged notes of the camera or colour profiles are not kept"

Picture = Float[Tensor, "1 3 height width"]


def place_for(path: Path, converted: bool | None = None) -> Path:
    """Where a picture that would go to ``path`` is written.

    Args:
        path: named as the file that was read.
        converted: whether it becomes a PNG file; ``None``: its ending decides.

    Returns:
        ``path``, with ``.png`` behind its name where it becomes a PNG file and is not named so.
    """
    if converted is None:
        converted = ending(path.name) in _AS_PNG
    return path.with_name(path.name + ".png") if converted and ending(path.name) != ".png" else path


@dataclass
class Photo:
    """One picture, upright.

    Attributes:
        pixels: (H, W) grey or (H, W, 3) RGB, uint8 or uint16.
        alpha: (H, W) of the same type, or ``None``.
        format: Pillow's name of the file's format, or PNG where it is ``converted``.
        metadata: what is saved beside the pixels, as options of Pillow's ``save``.
        notes: what of its pixels is not used, in words.
        losses: what its file loses when it is written, in words.
        converted: whether it becomes a PNG file.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None
    format: str
    metadata: dict[str, Any] = field(default_factory=dict[str, Any])
    notes: list[str] = field(default_factory=list[str])
    losses: list[str] = field(default_factory=list[str])
    converted: bool = False

    def tensor(self) -> Picture:
        """The pixels as float32 in [0, 1], grey repeated, without alpha."""
        pixels = self.pixels[..., None].repeat(3, axis=2) if self.pixels.ndim == 2 else self.pixels
        scaled = pixels.astype(np.float32) / np.float32(np.iinfo(pixels.dtype).max)
        return torch.from_numpy(scaled).permute(2, 0, 1)[None]

    def with_pixels(self, image: Picture) -> Photo:
        """The same picture with other pixels, in [0, 1], in the type of the present ones: grey stays grey."""
        values = image[0].permute(1, 2, 0).cpu().double().numpy()
        if self.pixels.ndim == 2:
            values = values @ np.array(_LUMA)
        kind = self.pixels.dtype
        pixels = np.rint(values.clip(0, 1) * np.iinfo(kind).max).astype(kind)
        return replace(self, pixels=pixels)

    def write(self, path: Path) -> None:
        """Save it, whole or not at all.

        Raises:
            OSError: if the place cannot be written.
        """
        pixels = self.pixels if self.alpha is None else np.dstack([self.pixels, self.alpha])
        if pixels.dtype == np.uint16 and pixels.ndim == 3:
            write_atomically(path, lambda temporary: temporary.write_bytes(_deep_file(pixels, self.format)))
            return
        try:
            _save(pixels, path, self.format, self.metadata)
        except OSError:
            raise
        except Exception:  # of many kinds: some metadata cannot be written
            if not self.metadata:
                raise
            _save(pixels, path, self.format, {})
            self.losses.append(_DAMAGED)


def _save(pixels: np.ndarray, path: Path, form: str, metadata: dict[str, Any]) -> None:
    options = _SAVE[form] | metadata
    write_atomically(path, lambda temporary: Image.fromarray(pixels).save(temporary, form, **options))


def read(path: Path) -> Photo:
    """Read a picture file.

    Grey, palette, transparent and 16-bit pictures are understood; CMYK becomes RGB, of several frames the first is
    taken. Both are noted, and metadata that is damaged.

    Raises:
        UnusableImage: if it is no image, damaged, or too large (:data:`benchmarks.data.decoding.PIXELS`).
    """
    note = header_of(path).note
    with opened(path) as image:
        return _photo(image, path, [note] if note else [])


def side_by_side(first: Photo, second: Photo) -> Photo:
    """Both pictures in one, as 8-bit RGB for a PNG file, without alpha."""
    return Photo(in_colour(torch.cat([first.tensor(), second.tensor()], dim=3)), None, "PNG")


def in_colour(image: Picture) -> UInt8[np.ndarray, "height width 3"]:
    """A picture in [0, 1] as 8-bit RGB."""
    return Photo(np.zeros((1, 1, 3), np.uint8), None, "PNG").with_pixels(image).pixels


def _photo(image: Image.Image, path: Path, notes: list[str]) -> Photo:
    form = "JPEG" if image.format == "MPO" else str(image.format)  # MPO: JPEG with a preview or a second view behind it
    losses = list[str]()
    if form == "JPEG":
        losses.append(f"JPEG files lose a little when saved again (quality {JPEG_QUALITY})")
    converted = form not in _SAVE or (form == "PPM" and image.mode == "1")
    if converted:
        losses.append(f"{'PBM' if form == 'PPM' else form} files become PNG files")
        form = "PNG"
    tile = next(iter(getattr(image, "tile", ())), None)  # loading clears it
    image.load()
    if image.format == "TIFF":  # Pillow and OpenCV have turned it
        turn = 1
        with opened(path) as unread:  # loaded, its metadata is cut off from the file
            metadata = _metadata(unread, losses)
    else:
        turn, metadata = orientation(image), _metadata(image, losses)
    pixels = _deep_pixels(tile, image, path, notes)
    if pixels is None:
        if image.mode == "CMYK":
            metadata.pop("icc_profile", None)
            notes.append("CMYK colours become RGB")
        pixels = np.asarray(_plain(image))
    elif {"icc_profile", "exif"} & metadata.keys():
        losses.append("of 16-bit colour neither the colour profile nor the camera's notes are kept")
    pixels = turned(pixels, turn)
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    alpha = pixels[..., -1] if channels in (2, 4) else None
    colours = pixels if channels == 1 else pixels[..., 0] if channels == 2 else pixels[..., :3]
    return Photo(np.ascontiguousarray(colours), alpha, form, metadata, notes, losses, converted)


def _metadata(image: Image.Image, losses: list[str]) -> dict[str, Any]:
    """The colour profile, the resolution, and what the camera noted."""
    metadata = {key: image.info[key] for key in ("icc_profile", "dpi") if image.info.get(key)}
    try:
        exif = image.getexif()
        exif.pop(ORIENTATION, None)
        for tag in set(exif) - _CAMERA_TAGS if image.format == "TIFF" else ():  # the others describe the file's layout
            del exif[tag]
        if len(exif):
            metadata["exif"] = exif.tobytes()
    except Exception:  # tags of a wrong type, cut short, ...; the picture itself is whole
        losses.append(_DAMAGED)
    return metadata


def _plain(image: Image.Image) -> Image.Image:
    """A Pillow image of mode L, LA, RGB, RGBA or I;16 (16 bits of grey)."""
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        return image.convert("I;16")
    if image.mode in ("I", "F"):
        raise UnusableImage(f"values of 32 bits a pixel (mode {image.mode}), whose range is not known")
    grey = image.mode in ("1", "L", "LA", "La")
    return image.convert(("LA" if grey else "RGBA") if image.has_transparency_data else ("L" if grey else "RGB"))


def _deep_pixels(tile: Any, image: Image.Image, path: Path, notes: list[str]) -> np.ndarray | None:
    """16 bits of grey and alpha, RGB or RGBA (H, W, 2 to 4), which Pillow cuts to 8; ``None`` for other pictures.

    ``tile``: Pillow's description of the pixels in the file, with arguments such as ``RGB;16B``.
    """
    arguments = tile.args if tile and isinstance(tile.args, tuple) else (tile.args if tile else "",)
    stored, largest = str(arguments[0]), arguments[-1]
    deep = image.format in ("PNG", "TIFF") and ";16" in stored and stored.startswith(("RGB", "LA"))
    if not deep and not (image.format == "PPM" and stored == "RGB" and largest not in ("RGB", 255)):
        return None
    try:
        import cv2
    except ImportError as error:
        notes.append(f"of 16 bits a channel 8 are kept, for want of OpenCV ({error})")
        return None
    try:
        pixels = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED) if deep or largest == 65535 else None
    except cv2.error:
        pixels = None
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
