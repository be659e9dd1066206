"""Reading picture files: every kind becomes upright 8-bit RGB, or a reason in words why not."""

from __future__ import annotations

import os
import struct
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from threading import Condition, Lock
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from benchmarks.data.files import NOT_READ, ending, not_regular, why

if TYPE_CHECKING:
    import numpy as np

PIXELS = 178_956_970  # of one picture at most; Pillow's limit against decompression bombs
AT_ONCE = 2 * 2**30  # bytes that pictures may take together while they are decoded
_A_PIXEL = 16  # bytes a pixel takes while it is decoded: Pillow's copies and ours
HELD = 512 * 2**20  # bytes of decoded pictures that wait to be taken
ORIENTATION = 0x0112  # EXIF tag
_PLUGINS = ("Png", "Jpeg", "Tiff", "Bmp", "WebP", "Gif", "Ppm", "Avif")
_FRAMES = ("GIF", "TIFF", "PNG", "WEBP", "AVIF")  # formats whose files may hold several frames or pages
_LATE = (b"XML:com.adobe.xmp\0", b"Raw profile type exif\0")  # text of a PNG file that may say how the camera was held


class UnusableImage(Exception):
    """A file that cannot be used as an image, with the reason in words."""


class Header(NamedTuple):
    """What a file says of its picture before it is decoded; ``note``: what of it will not be used, or empty."""

    height: int
    width: int
    note: str


@contextmanager
def opened(path: Path) -> Generator[Any]:
    """A picture file as Pillow's image, of one of the kinds that are read; pixels are not decoded yet.

    Raises:
        UnusableImage: for whatever goes wrong in opening it or within.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        if reason := not_regular(path):
            raise UnusableImage(reason)
        with Image.open(path, formats=_formats()) as image:
            yield image
    except UnusableImage:
        raise
    except UnidentifiedImageError:
        raise UnusableImage(_what_it_is(path)) from None
    except Image.DecompressionBombError:
        raise UnusableImage(
            f"more pixels than are read of one picture, {PIXELS / 1e6:.0f} million; cut it up or scale it down"
        ) from None
    except MemoryError:
        raise UnusableImage("damaged, or too large for the memory of this machine") from None
    except Exception as error:  # Pillow's decoders raise nearly everything when a file is damaged
        raise UnusableImage(_described(path, error)) from None


@cache
def _formats() -> tuple[str, ...]:
    """Pillow's names of the formats that are read. No others are tried: EPS would run Ghostscript."""
    import importlib

    from PIL import Image

    warnings.filterwarnings("ignore", module=r"PIL\.")  # damaged metadata, large pictures: not the reader's concern
    for name in _PLUGINS:
        try:
            importlib.import_module(f"PIL.{name}ImagePlugin")
        except ImportError:  # AVIF came with Pillow 11.3
            continue
    return tuple(name.upper() for name in _PLUGINS if name.upper() in Image.OPEN)


def _what_it_is(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(12)
    if not start:
        return "an empty file"
    kind = ending(path.name)
    if kind in NOT_READ or start[4:8] == b"ftyp":
        kind = "HEIC" if start[4:8] == b"ftyp" and kind not in NOT_READ else kind[1:].upper()
        return f"{kind} pictures cannot be read here; convert it to PNG or JPEG"
    return f"not an image (it starts with {start!r})"


def _described(path: Path, error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return why(path, error)
    words = " ".join(str(error).split())[:160] or type(error).__name__
    return f"damaged or cut short ({words})"


def decode(path: Path) -> np.ndarray:
    """The file as RGB uint8 (H, W, 3), upright.

    Grey, palette and CMYK images become RGB, 16 bits a channel are scaled to 8, an alpha channel is dropped (as the
    field's code does), of several frames the first is taken, and a camera's note of how it was held (EXIF or XMP) is
    obeyed. All threads together decode as many pictures at a time as :data:`AT_ONCE` bytes have room for.

    Raises:
        UnusableImage: if it is no image, is cut short or damaged, has more than :data:`PIXELS`, or holds values without
            a known range.
    """
    import numpy as np

    with opened(path) as image, _room.taken(_A_PIXEL * image.width * image.height):
        pixels = np.asarray(_as_rgb(image))
        # Pillow turns TIFF by itself
        held = 1 if image.format == "TIFF" else orientation(image)
        return np.ascontiguousarray(turned(pixels, held)) if held > 1 else pixels


def _as_rgb(image: Any) -> Any:
    """A Pillow image as 8-bit RGB."""
    import numpy as np
    from PIL import Image

    if image.mode == "F" or (image.mode == "I" and image.format not in ("PNG", "PPM")):
        raise UnusableImage(f"values of 32 bits a pixel (mode {image.mode}), whose range is not known")
    if image.mode.startswith("I"):  # 16 bits of grey, which Pillow would clip at 255
        grey = np.asarray(image).astype(np.float64) / 257
        image = Image.fromarray(np.rint(grey.clip(0, 255)).astype(np.uint8))
    return image if image.mode == "RGB" else image.convert("RGB")


def orientation(image: Any) -> int:
    """How the camera was held, 1 (upright) to 8, by EXIF, else XMP data; 1 where those are damaged.

    Of a TIFF file this is to be asked before its pixels are read, of a PNG file after, which may note it at its end.
    """
    from PIL import Image

    try:
        held = Image.Image.getexif(image).get(ORIENTATION, 1)  # PNG's own would decode the pixels
    except Exception:  # as many kinds as for damaged pixels; the picture itself may be whole
        return 1
    return held if held in range(1, 9) else 1


def turned(pixels: np.ndarray, held: int) -> np.ndarray:
    """(H, W, ...) turned and flipped upright by how the camera was held; a view."""
    if held in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if held in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if held in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels


def header_of(path: Path) -> Header:
    """Height, width and a note, from the header alone; raises :class:`UnusableImage` as :func:`decode` does."""
    with opened(path) as image:
        if image.format == "PNG" and _notes_late(path):
            height, width = decode(path).shape[:2]
        else:
            height, width = image.height, image.width
            # Pillow gives TIFF's size turned already where the orientation is among its own tags
            turned = image.format == "TIFF" and ORIENTATION in image.tag_v2
            if not turned and orientation(image) >= 5:
                height, width = width, height
        return Header(height, width, _several(image))


def shape_of(path: Path) -> tuple[int, int]:
    """Height and width, from the header alone; raises :class:`UnusableImage` as :func:`decode` does."""
    return header_of(path)[:2]


def _several(image: Any) -> str:
    if image.format not in _FRAMES:
        return ""
    try:
        return "of several frames or pages only the first is used" if image.n_frames > 1 else ""
    except Exception:  # a page behind the first is damaged, whichever way
        return "only its first page or frame can be read, and is used"


def _notes_late(path: Path) -> bool:
    """Whether a PNG file says behind its pixels how the camera was held; walks from chunk to chunk."""
    with path.open("rb", buffering=0) as file:
        file.seek(8)
        pixels = False
        while len(start := file.read(8)) == 8:
            length, kind = struct.unpack(">I4s", start)
            pixels |= kind == b"IDAT"
            if pixels and (kind == b"eXIf" or (kind in (b"iTXt", b"zTXt", b"tEXt") and length > 20)):
                words = file.read(24)
                if kind == b"eXIf" or words.startswith(_LATE):
                    return True
                length -= len(words)
            file.seek(length + 4, os.SEEK_CUR)
    return False


class _Room:
    """So many bytes, to be taken by threads in turn; who wants more than there are takes all."""

    def __init__(self, size: int):
        self.size = self.free = size
        self._turn, self._changed = Lock(), Condition()

    @contextmanager
    def taken(self, wanted: int) -> Generator[None]:
        wanted = min(wanted, self.size)
        with self._turn, self._changed:  # in turn, so that small ones do not keep a large one waiting for ever
            self._changed.wait_for(lambda: self.free >= wanted)
            self.free -= wanted
        try:
            yield
        finally:
            with self._changed:
                self.free += wanted
                self._changed.notify_all()


_room = _Room(AT_ONCE)
_Found = TypeVar("_Found")


def attempts(
    function: Callable[[Path], _Found], paths: Sequence[Path], title: str, sizes: Sequence[int] | None = None
) -> Iterator[tuple[Path, _Found | None, str]]:
    """``(path, function(path), "")`` of every path in order, on a few threads; or ``(path, None, reason)``. Only a few
    results are held at a time, however slowly they are taken; where ``sizes`` gives their bytes, at most :data:`HELD`
    of them."""
    import joblib
    from tqdm import tqdm

    def attempt(path: Path) -> tuple[Path, _Found | None, str]:
        try:
            return path, function(path), ""
        except UnusableImage as problem:
            return path, None, str(problem)

    threads = min(8, joblib.cpu_count())
    waiting: deque[tuple[Future[tuple[Path, _Found | None, str]], int]] = deque()
    held = 0
    with (
        ThreadPoolExecutor(threads) as pool,
        tqdm(total=len(paths), desc=title, unit="file", leave=False, delay=2, mininterval=1) as bar,
    ):
        try:
            for path, size in zip(paths, sizes or [0] * len(paths), strict=True):
                while waiting and (len(waiting) >= 8 * threads or held + size > HELD):
                    future, freed = waiting.popleft()
                    held -= freed
                    yield future.result()
                    bar.update()
                waiting.append((pool.submit(attempt, path), size))
                held += size
            while waiting:
                yield waiting.popleft()[0].result()
                bar.update()
        finally:
            for future, _ in waiting:
                future.cancel()
