"""Decoding image files, and a decoded cache that training slices from."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.errors import UserError

CACHE_LIMIT = 24 * 2**30  # bytes of decoded pixels; larger sets are decoded as they are needed
_TURNS = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}  # EXIF orientation to Pillow's Transpose, by number


class UnusableImage(Exception):
    """A file that cannot be used as an image, with the reason in words."""


def decode(path: Path) -> np.ndarray:
    """The file as RGB uint8 (H, W, 3), upright.

    Grey, palette and CMYK images become RGB, 16 bits a channel are scaled to 8, an alpha channel is dropped (as the
    field's code does), and a camera's note of how it was held (EXIF orientation) is obeyed.

    Raises:
        UnusableImage: if it is no image, is cut short or damaged, is absurdly large, or holds values without a known
            range.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            turn = _turn(image)
            pixels = np.asarray(_as_rgb(image))
    except UnidentifiedImageError:
        with path.open("rb") as file:
            start = file.read(12)
        raise UnusableImage(f"not an image (it starts with {start!r})" if start else "an empty file") from None
    except Image.DecompressionBombError:
        raise UnusableImage("more pixels than an image of a data set can have") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        told = getattr(error, "strerror", None)
        raise UnusableImage(f"cannot be read ({told})" if told else f"damaged or cut short ({error})") from None
    return pixels if turn is None else np.asarray(Image.fromarray(pixels).transpose(Image.Transpose(turn)))


def _as_rgb(image: Any) -> Any:
    """A Pillow image as 8-bit RGB."""
    from PIL import Image

    if image.mode == "F" or (image.mode == "I" and image.format != "PNG"):
        raise UnusableImage(f"values of 32 bits a pixel (mode {image.mode}), whose range is not known")
    if image.mode.startswith("I"):  # 16 bits of grey, which Pillow would clip at 255
        grey = np.asarray(image).astype(np.float64) / 257
        image = Image.fromarray(np.rint(grey.clip(0, 255)).astype(np.uint8))
    return image.convert("RGB")


def _turn(image: Any) -> int | None:
    """How the pixels must be turned to stand upright, by the image's EXIF data; ``None``: not at all."""
    if image.format == "TIFF" or (image.format == "PNG" and "exif" not in image.info):
        return None  # Pillow turns TIFF by itself, and would decode a whole PNG to look for EXIF data at its end
    return _TURNS.get(image.getexif().get(0x0112, 1))


def shape_of(path: Path) -> tuple[int, int]:
    """Height and width, from the header alone; raises :class:`UnusableImage` as :func:`decode` does."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            shape = image.height, image.width
            return shape[::-1] if (_turn(image) or 0) in (2, 4, 5, 6) else shape
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError):
        decode(path)  # says what is wrong with it
        raise UnusableImage("unreadable header") from None


class Images(Sequence[np.ndarray]):
    """Images by index, uint8 (H, W, 3): from a memory map shared between processes where a cache was made, else decoded
    when asked for.

    Args:
        paths: their files.
        known: the folder that holds their sizes, and their pixels where they are cached.
    """

    def __init__(self, paths: Sequence[Path], known: Path | None = None):
        self.paths = list(paths)
        self._folder = known
        self._pixels: np.ndarray | None = None
        self._where: dict[Path, list[int]] = {}
        if known:
            where = json.loads((known / "index.json").read_text("utf-8"))
            self._where = dict(zip(dict.fromkeys(self.paths), where, strict=True))
        self.streams = known is None or not (known / "pixels.u8").exists()

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, number: int) -> np.ndarray:
        if self.streams:
            return self._decoded(self.paths[number])
        if self._pixels is None:  # opened on first use: a process started by joblib maps the same pages
            # as a bare array: slicing a memmap costs several times as much
            self._pixels = np.asarray(np.memmap(self._folder / "pixels.u8", dtype=np.uint8, mode="r"))
        start, height, width = self._where[self.paths[number]]
        return self._pixels[start : start + height * width * 3].reshape(height, width, 3)

    def shape(self, number: int) -> tuple[int, int]:
        """Height and width, without decoding."""
        _, height, width = self._where[self.paths[number]]
        return height, width

    @property
    def bytes(self) -> int:
        """Of all pixels, decoded."""
        return sum(3 * height * width for _, height, width in self._where.values())

    @staticmethod
    def _decoded(path: Path) -> np.ndarray:
        try:
            return decode(path)
        except UnusableImage as problem:
            raise UserError(f"{path}: {problem}.") from problem

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_pixels": None}


def open_images(
    paths: Sequence[Path], cache: Path, title: str, limit: float | None = None
) -> tuple[Images, dict[Path, str]]:
    """Decode files once into a memory-mapped cache below ``cache``, or reuse the one that is there.

    The cache is named by the files' paths, sizes and modification times, so a changed file makes a new one; it is
    written beside and moved into place. Of files whose pixels exceed ``limit`` bytes together (by default
    :data:`CACHE_LIMIT`), or half the free space, only the sizes are kept; they are decoded when asked for.

    Returns:
        The images, and for each file that cannot be used the reason; where there are any, the images are of no use.

    Raises:
        UserError: if the cache cannot be written.
    """
    unique = list(dict.fromkeys(paths))
    folder = cache / f"{title}-{_stamp(unique)}"
    if not (folder / "index.json").exists():
        problems, shapes = {}, []
        for path, shape, problem in attempts(shape_of, unique, f"{title}: headers"):
            if problem:
                problems[path] = problem
            else:
                shapes.append(shape)
        if problems:
            return Images(paths), problems
        try:
            cache.mkdir(parents=True, exist_ok=True)
            room = min(CACHE_LIMIT if limit is None else limit, shutil.disk_usage(cache).free / 2)
            kept = 3 * sum(height * width for height, width in shapes) <= room
            problems = _write_cache(unique, shapes, folder, title, kept)
        except OSError as error:
            raise UserError(f"cannot write the cache of decoded images, {folder}: {error.strerror}.") from error
        if problems:
            return Images(paths), problems
    return Images(paths, folder), {}


def _stamp(paths: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        try:
            stat = path.stat()
            digest.update(f"{path.resolve()} {stat.st_size} {stat.st_mtime_ns}\n".encode())
        except OSError:
            digest.update(f"{path} cannot be read\n".encode())  # to be told by whoever opens it
    return digest.hexdigest()[:12]


def attempts(function: Callable[[Path], Any], paths: Sequence[Path], title: str) -> Iterator[tuple[Path, Any, str]]:
    """``(path, function(path), "")`` of every path in order, on a few threads; or ``(path, None, reason)``. Only a few
    results are held at a time, however slowly they are taken."""
    from tqdm import tqdm

    def attempt(path: Path):
        try:
            return path, function(path), ""
        except UnusableImage as problem:
            return path, None, str(problem)

    threads = min(8, os.cpu_count() or 1)
    waiting: deque[Future] = deque()
    with (
        ThreadPoolExecutor(threads) as pool,
        tqdm(total=len(paths), desc=title, unit="file", leave=False, delay=2, mininterval=1) as bar,
    ):
        try:
            for path in paths:
                waiting.append(pool.submit(attempt, path))
                if len(waiting) >= 8 * threads:
                    yield waiting.popleft().result()
                    bar.update()
            while waiting:
                yield waiting.popleft().result()
                bar.update()
        finally:
            for future in waiting:
                future.cancel()


def _write_cache(
    paths: Sequence[Path], shapes: Sequence[tuple[int, int]], folder: Path, title: str, pixels_too: bool
) -> dict[Path, str]:
    """Write the sizes of the images, and their pixels where wanted; returns the reasons why files cannot be used."""
    index, end, problems = [], 0, {}
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        if pixels_too:
            with (temporary / "pixels.u8").open("wb") as pixels:
                for path, image, problem in attempts(decode, paths, f"{title}: decoding"):
                    if problem:
                        problems[path] = problem
                        continue
                    pixels.write(image.data if image.flags.c_contiguous else image.tobytes())
                    index.append([end, *image.shape[:2]])
                    end += image.size
        else:
            index = [[-1, height, width] for height, width in shapes]
        if not problems:
            (temporary / "index.json").write_text(json.dumps(index), "utf-8")
            if not folder.exists():
                temporary.replace(folder)
        return problems
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
