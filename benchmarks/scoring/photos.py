"""Photographs as files: read for a network, and written back the way they came.

The format stays, and so do grey, transparency, 16 bits a channel, the colour profile and what the camera noted, but
for how it was held: pixels are turned upright. What cannot be written back as it came (GIF, AVIF, black and white PBM)
becomes PNG.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
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
_CAMERA = {270, 271, 272, 305, 306, 315, 33432, 34665, 34853}  # description, maker, model, date, ..., EXIF, GPS
_LUMA = (0.299, 0.587, 0.114)
_DAMAGED = "damaged notes of the camera or colour profiles are not kept"


def place_for(path: Path, converted: bool | None = None) -> Path:
    """Where a picture that would go to ``path`` is written: there, or with ``.png`` behind its name where it becomes a
    PNG file (told by its ending, until it is known whether it is ``converted``)."""
    becomes = ending(path.name) in _AS_PNG if converted is None else converted
    return path.with_name(path.name + ".png") if becomes and ending(path.name) != ".png" else path


@dataclass
class Photo:
    """One picture, upright.

    ``pixels``: (H, W) grey or (H, W, 3) RGB, uint8 or uint16; ``alpha``: (H, W) of the same type, or ``None``;
    ``format``: Pillow's name of the file's, or PNG where it is ``converted``; ``kept``: what to save beside the pixels;
    ``notes``: what its file loses, for people.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None
    format: str
    kept: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    converted: bool = False

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
        return replace(self, pixels=pixels)

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
        try:
            _save(pixels, path, self.format, self.kept)
        except OSError:
            raise
        except Exception:  # what was noted in the file is of a kind that cannot be written, whichever it is
            if not self.kept:
                raise
            _save(pixels, path, self.format, {})
            self.notes.append(_DAMAGED)


def _save(pixels: np.ndarray, path: Path, form: str, kept: dict[str, Any]) -> None:
    from PIL import Image

    options = _SAVE[form] | kept
    write_atomically(path, lambda temporary: Image.fromarray(pixels).save(temporary, form, **options))


def read(path: Path) -> Photo:
    """A picture file.

    Grey, palette, transparent and 16-bit pictures are understood; CMYK becomes RGB, of several frames the first is
    taken. Both are noted, and what is damaged of the notes beside the pixels.

    Raises:
        UnusableImage: if it is no image, damaged, or too large (:data:`benchmarks.data.decoding.PIXELS`).
    """
    several = header_of(path).note
    with opened(path) as image:
        return _photo(image, path, [several] if several else [])


def side_by_side(first: Photo, second: Photo) -> Photo:
    """Both pictures in one, as 8-bit RGB for a PNG file, without alpha."""
    pair = torch.cat([first.tensor(), second.tensor()], dim=3)
    return Photo(np.zeros((1, 1, 3), np.uint8), None, "PNG").with_pixels(pair)


def _photo(image: Any, path: Path, notes: list[str]) -> Photo:
    form = {"MPO": "JPEG"}.get(image.format, image.format)  # a JPEG file with a preview or a second view behind it
    if form == "JPEG":
        notes.append(f"JPEG files lose a little when saved again (quality {JPEG_QUALITY})")
    converted = form not in _SAVE or (form == "PPM" and image.mode == "1")
    if converted:
        notes.append(f"{'PBM' if form == 'PPM' else form} files become PNG files")
        form = "PNG"
    tile = next(iter(image.tile), None)  # loading clears it
    image.load()
    if image.format == "TIFF":  # Pillow and OpenCV have turned it
        held = 1
        with opened(path) as unread:  # loaded, its notes are cut off from the file
            kept = _kept(unread, notes)
    else:
        held, kept = orientation(image), _kept(image, notes)
    pixels = _deep_pixels(tile, image, path, notes)
    if pixels is None:
        if image.mode == "CMYK":
            kept.pop("icc_profile", None)
            notes.append("CMYK colours become RGB")
        pixels = np.asarray(_plain(image))
    elif {"icc_profile", "exif"} & kept.keys():
        notes.append("of 16-bit colour neither the colour profile nor the camera's notes are kept")
    pixels = turned(pixels, held)
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    alpha = pixels[..., -1] if channels in (2, 4) else None
    colours = pixels if channels == 1 else pixels[..., 0] if channels == 2 else pixels[..., :3]
    return Photo(np.ascontiguousarray(colours), alpha, form, kept, notes, converted)


def _kept(image: Any, notes: list[str]) -> dict[str, Any]:
    """What is saved beside the pixels: the colour profile, the resolution, and what the camera noted."""
    kept = {key: image.info[key] for key in ("icc_profile", "dpi") if image.info.get(key)}
    try:
        exif = image.getexif()
        exif.pop(ORIENTATION, None)
        for tag in set(exif) - _CAMERA if image.format == "TIFF" else ():  # the others say how the pixels lie there
            del exif[tag]
        if len(exif):
            kept["exif"] = exif.tobytes()
    except Exception:  # tags of a wrong type, cut short, ...; the picture itself is whole
        notes.append(_DAMAGED)
    return kept


def _plain(image: Any) -> Any:
    """A Pillow image of mode L, LA, RGB, RGBA or I;16 (16 bits of grey)."""
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        return image.convert("I;16")
    if image.mode in ("I", "F"):
        raise UnusableImage(f"values of 32 bits a pixel (mode {image.mode}), whose range is not known")
    grey = image.mode in ("1", "L", "LA", "La")
    return image.convert(("LA" if grey else "RGBA") if image.has_transparency_data else ("L" if grey else "RGB"))


def _deep_pixels(tile: Any, image: Any, path: Path, notes: list[str]) -> np.ndarray | None:
    """16 bits of grey and alpha, RGB or RGBA (H, W, 2 to 4), which Pillow cuts to 8; ``None`` for other pictures.

    ``tile``: how the pixels lie in the file by Pillow, with arguments such as ``RGB;16B``.
    """
    more = tile.args if tile and isinstance(tile.args, tuple) else (tile.args if tile else "",)
    stored = str(more[0])
    deep = image.format in ("PNG", "TIFF") and ";16" in stored and stored.startswith(("RGB", "LA"))
    if not deep and not (image.format == "PPM" and stored == "RGB" and more[-1] not in ("RGB", 255)):
        return None
    try:
        import cv2

        pixels = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED) if deep or more[-1] == 65535 else None
    except ImportError as error:
        notes.append(f"of 16 bits a channel 8 are kept, for want of OpenCV ({error})")
        return None
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
