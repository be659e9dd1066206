"""Decoding image files, and a decoded cache that training slices from."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.errors import UserError

CACHE_LIMIT = 24 * 2**30  # bytes of decoded pixels; larger sets are decoded as they are needed


class UnusableImage(Exception):
    """A file that cannot be used as an image, with the reason in words."""


def decode(path: Path) -> np.ndarray:
    """The file as RGB uint8 (H, W, 3).

    Raises:
        UnusableImage: if it is no image, is cut short or damaged, or is absurdly large.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except UnidentifiedImageError:
        start = path.open("rb").read(12)
        raise UnusableImage(f"not an image (it starts with {start!r})") from None
    except Image.DecompressionBombError:
        raise UnusableImage("more pixels than an image of a data set can have") from None
    except (OSError, SyntaxError, ValueError) as error:
        raise UnusableImage(f"damaged or cut short ({error})") from None


def shape_of(path: Path) -> tuple[int, int]:
    """Height and width, from the header alone; raises :class:`UnusableImage` as :func:`decode` does."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            return image.height, image.width
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        decode(path)  # says what is wrong with it
        raise UnusableImage("unreadable header") from None


class Images(Sequence[np.ndarray]):
    """Images by index, uint8 (H, W, 3), from a memory map where a cache was made, else decoded when asked for."""

    def __init__(self, paths: Sequence[Path], cached: Path | None = None):
        self.paths = list(paths)
        self._folder = cached
        self._pixels: np.memmap | None = None
        self._where: dict[Path, list[int]] = {}
        if cached:
            where = json.loads((cached / "index.json").read_text())
            self._where = dict(zip(dict.fromkeys(self.paths), where, strict=True))

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, number: int) -> np.ndarray:
        if self._folder is None:
            return decode(self.paths[number])
        if self._pixels is None:  # opened on first use: a process started by joblib maps the same pages
            self._pixels = np.memmap(self._folder / "pixels.u8", dtype=np.uint8, mode="r")
        start, height, width = self._where[self.paths[number]]
        return self._pixels[start : start + height * width * 3].reshape(height, width, 3)

    def shape(self, number: int) -> tuple[int, int]:
        """Height and width, without decoding."""
        if self._folder is None:
            return shape_of(self.paths[number])
        return tuple(self._where[self.paths[number]][1:])

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_pixels": None}


def open_images(paths: Sequence[Path], cache: Path, title: str) -> tuple[Images, dict[Path, str]]:
    """Decode files once into a memory-mapped cache below ``cache``, or reuse the one that is there.

    The cache is named by the files' paths, sizes and modification times, so a changed file makes a new one; it is
    written beside and moved into place. Files whose pixels exceed :data:`CACHE_LIMIT` together are not cached.

    Returns:
        The images, and for each file that cannot be used the reason; where there are any, the images are of no use.
    """
    unique = list(dict.fromkeys(paths))
    stamp = hashlib.sha256()
    for path in unique:
        stat = path.stat()
        stamp.update(f"{path.resolve()} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    folder = cache / f"{title}-{stamp.hexdigest()[:12]}"
    if (folder / "index.json").exists():
        return Images(paths, folder), {}
    problems, pixels = {}, 0
    for path, shape, problem in _attempts(shape_of, unique, f"{title}: headers"):
        if problem:
            problems[path] = problem
        else:
            pixels += math.prod(shape)
    if problems or 3 * pixels > CACHE_LIMIT:
        return Images(paths), problems
    try:
        problems = _write_cache(unique, folder, title)
    except OSError as error:
        raise UserError(f"cannot write the cache of decoded images, {folder}: {error.strerror}.") from error
    return Images(paths, None if problems else folder), problems


def _attempts(function: Callable[[Path], Any], paths: Sequence[Path], title: str) -> Iterator[tuple[Path, Any, str]]:
    """``(path, function(path), "")`` of every path in order, on a few threads; or ``(path, None, reason)``."""
    from tqdm import tqdm

    def attempt(path: Path):
        try:
            return path, function(path), ""
        except UnusableImage as problem:
            return path, None, str(problem)

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        bar = tqdm(pool.map(attempt, paths), title, len(paths), unit="file", leave=False, delay=2, mininterval=1)
        yield from bar


def _write_cache(paths: Sequence[Path], folder: Path, title: str) -> dict[Path, str]:
    index, end, problems = [], 0, {}
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        with (temporary / "pixels.u8").open("wb") as pixels:
            for path, image, problem in _attempts(decode, paths, f"{title}: decoding"):
                if problem:
                    problems[path] = problem
                    continue
                pixels.write(image.data if image.flags.c_contiguous else image.tobytes())
                index.append([end, *image.shape[:2]])
                end += image.size
        if not problems:
            (temporary / "index.json").write_text(json.dumps(index))
            if not folder.exists():
                temporary.replace(folder)
        return problems
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
