"""Opened sets of image files: decoded once into a cache that training slices from, or decoded as they are asked for.

Every image has a digest, made when it was decoded; a cached image is compared with it before a process first uses it. A
damaged cache is never used: its images are decoded from their files again, and the next opening makes it anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Shaped

from benchmarks.config.errors import UserError
from benchmarks.data.decoding import Header, UnusableImage, attempts, decode, header_of
from benchmarks.data.files import text, why

CACHE_LIMIT = 24 * 2**30  # bytes of decoded pixels; larger sets are decoded as they are needed
FORM = 2  # of the cache, to be raised whenever it changes
INDEX, PIXELS = "index.json", "pixels.u8"


def digest_of(image: np.ndarray) -> str:
    """16 hex digits: the same for equal pixels of one shape only, whatever the file."""
    digest = hashlib.sha256(f"{image.shape} {image.dtype}\n".encode())
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()[:16]


def centre_crop(
    image: Shaped[np.ndarray, "height width *colours"], multiple: int
) -> Shaped[np.ndarray, "cut_height cut_width *colours"]:
    """The middle of an image (H, W) or (H, W, 3), its sides cut to multiples of ``multiple`` pixels; a view."""
    top, left = (side % multiple // 2 for side in image.shape[:2])
    height, width = (side - side % multiple for side in image.shape[:2])
    return image[top : top + height, left : left + width]


class Entry(NamedTuple):
    """One image of an index: where its pixels begin in the cache (-1: not cached), height, width, digest of its pixels
    (where they are not cached, of its file), and a note on what of its file is not used."""

    start: int
    height: int
    width: int
    digest: str
    note: str = ""

    @property
    def size(self) -> int:
        """Bytes of the pixels."""
        return 3 * self.height * self.width


@runtime_checkable
class Pictures(Protocol):
    """Images by number, each uint8 (H, W, 3) or (H, W): a list, an array, or an object that decodes them."""

    def __len__(self) -> int: ...

    def __getitem__(self, number: int, /) -> np.ndarray: ...


class Images:
    """Images by index, uint8 (H, W, 3): from a memory map shared between processes where a cache was made, else decoded
    when asked for.

    Args:
        paths: their files.
        entries: of each file once, in order.
        known: the folder that holds their pixels; without it they are decoded when asked for.
    """

    def __init__(self, paths: Sequence[Path], entries: Sequence[Entry] = (), known: Path | None = None):
        self.paths = list(paths)
        self.streams = known is None
        self._folder = known
        self._pixels: np.ndarray | None = None
        places = {path: place for place, path in enumerate(dict.fromkeys(self.paths))}
        self._places = [places[path] for path in self.paths]
        self._entries = list(entries)
        self._sound = bytearray(len(places))

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, number: int) -> np.ndarray:
        if self._folder is None:
            return self._decoded(self.paths[number])
        if self._pixels is None:  # opened on first use: a worker process maps the same pages
            # as a bare array: slicing a memmap costs several times as much
            self._pixels = np.asarray(np.memmap(self._folder / PIXELS, dtype=np.uint8, mode="r"))
        place = self._places[number]
        entry = self._entries[place]
        image = self._pixels[entry.start : entry.start + 3 * entry.height * entry.width]
        if self._sound[place]:
            return image.reshape(entry.height, entry.width, 3)
        return self._compared(number, image, self._folder)

    def _compared(self, number: int, pixels: np.ndarray, folder: Path) -> np.ndarray:
        """The image, if it is what was decoded; else decoded again."""
        path, place = self.paths[number], self._places[number]
        entry = self._entries[place]
        if pixels.size == entry.size:
            image = pixels.reshape(entry.height, entry.width, 3)
            if digest_of(image) == entry.digest:
                self._sound[place] = 1
                return image
        _tell_damaged(folder)
        image = self._decoded(path)
        if digest_of(image) != entry.digest:
            raise UserError(f"{text(path)}: other pixels than when it was first opened, at the same size and time.")
        return image

    def _entry(self, number: int) -> Entry:
        return self._entries[self._places[number]]

    def shape(self, number: int) -> tuple[int, int]:
        """Height and width, without decoding."""
        return self._entry(number)[1:3]

    def digest(self, number: int) -> str:
        """Of the image's pixels, or of its file where :attr:`streams`."""
        return self._entry(number).digest

    def only(self, numbers: Sequence[int]) -> Images:
        """These of the images, in this order."""
        paths = [self.paths[number] for number in numbers]
        entries = {self.paths[number]: self._entry(number) for number in numbers}
        return Images(paths, list(entries.values()), self._folder)

    @property
    def identity(self) -> str:
        """Stands for all images in order: ``p`` and 16 hex digits for their pixels, or ``f`` and 16 for their files'
        bytes where they are decoded when asked for. Only identities of one kind can be compared."""
        kind = "f" if self.streams else "p"
        return identity(kind + self.digest(number) for number in range(len(self)))

    @property
    def notes(self) -> dict[Path, str]:
        """What of the files is not used, such as further frames."""
        paths = dict.fromkeys(self.paths)
        return {path: entry.note for path, entry in zip(paths, self._entries, strict=True) if entry.note}

    @property
    def bytes(self) -> int:
        """Of all pixels, decoded."""
        return sum(entry.size for entry in self._entries)

    @staticmethod
    def _decoded(path: Path) -> np.ndarray:
        try:
            return decode(path)
        except UnusableImage as problem:
            raise UserError(f"{text(path)}: {problem}.") from problem

    def __getstate__(self) -> Mapping[str, object]:
        return self.__dict__ | {"_pixels": None, "_sound": bytearray(len(self._sound))}


def identity(parts: Iterable[str]) -> str:
    """The identity of several images together, from theirs: of files where one of them is."""
    known = list(parts)
    kind = "f" if any(part.startswith("f") for part in known) else "p"
    return kind + hashlib.sha256("\n".join(known).encode()).hexdigest()[:16]


def open_images(
    paths: Sequence[Path], cache: Path, title: str, limit: float | None = None
) -> tuple[Images, dict[Path, str]]:
    """Decode files once into a memory-mapped cache below ``cache``, or reuse the one that is there.

    The cache is named by the files' paths, sizes and modification times, so a changed file makes a new one; it is
    written beside and moved into place. Of files whose pixels exceed ``limit`` bytes together (by default
    :data:`CACHE_LIMIT`), or half the free space, only the sizes and the digests of the files are kept; they are decoded
    when asked for.

    Returns:
        The images, and for each file that cannot be used the reason; where there are any, the images are of no use.

    Raises:
        UserError: if the cache cannot be written.
    """
    unique = list(dict.fromkeys(paths))
    folder = cache / f"{title}-{stamp(unique)}"
    entries = _index(folder, len(unique))
    if entries is None:
        try:
            cache.mkdir(parents=True, exist_ok=True)
            entries, problems = _make(unique, folder, title, CACHE_LIMIT if limit is None else limit)
        except OSError as error:
            reason = error.strerror or error
            raise UserError(f"cannot write the cache of decoded images, {folder}: {reason}.") from error
        if problems:
            return Images(paths), problems
    cached = all(entry.start >= 0 for entry in entries)
    return Images(paths, entries, folder if cached else None), {}


def stamp(paths: Sequence[Path]) -> str:
    """Stands for the files' paths, sizes and modification times."""
    digest = hashlib.sha256(f"{FORM}\n".encode())
    for path in paths:
        try:
            stat = path.stat()
            line = f"{path.resolve()} {stat.st_size} {stat.st_mtime_ns}\n"
        except OSError:
            line = f"{path} cannot be read\n"  # whoever opens it reports that
        digest.update(line.encode(errors="surrogateescape"))
    return digest.hexdigest()[:12]


def _index(folder: Path, count: int) -> list[Entry] | None:
    """The entries of a finished cache; ``None`` where there is none, or a damaged one, which is reported."""
    try:
        written = (folder / INDEX).read_bytes()
    except OSError:
        return None
    with suppress(ValueError, TypeError, KeyError, OSError):
        content = json.loads(written)
        entries = [Entry(*fields) for fields in content["images"]]
        cached = sum(entry.size for entry in entries if entry.start >= 0)
        held = (folder / PIXELS).stat().st_size if cached else 0
        if content["digest"] == _digest(content["images"]) and (len(entries), held) == (count, cached):
            return entries
    _tell_damaged(folder)
    return None


def _digest(entries: Sequence[Sequence[object]]) -> str:
    return hashlib.sha256(json.dumps(entries).encode()).hexdigest()


_reported: set[Path] = set()


def _tell_damaged(folder: Path) -> None:
    """Say once that a cache is damaged, and have it made anew at the next opening."""
    try:
        (folder / INDEX).unlink()
    except FileNotFoundError:  # another process has found it, and said so
        return
    except OSError:
        pass
    if folder not in _reported:
        _reported.add(folder)
        print(
            f"warning: the cache of decoded images {folder} is damaged; the images are read from their files again.",
            file=sys.stderr,
            flush=True,
        )


def _make(unique: Sequence[Path], folder: Path, title: str, limit: float) -> tuple[list[Entry], dict[Path, str]]:
    """Look at all headers, then decode into the cache what has room there; returns the entries, and the reasons why
    files cannot be used."""
    problems: dict[Path, str] = {}
    headers: dict[Path, Header] = {}
    for path, header, problem in attempts(header_of, unique, f"{title}: headers"):
        if header is None:
            problems[path] = problem
        else:
            headers[path] = header
    if problems:
        return [], problems
    sizes = [3 * header.height * header.width for header in headers.values()]
    room = min(limit, shutil.disk_usage(folder.parent).free / 2)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        if sum(sizes) <= room:
            entries, problems = _write_pixels(headers, sizes, temporary, title)
        else:
            entries, problems = [], {}
            for path, digest, problem in attempts(digest_of_file, unique, f"{title}: digests"):
                if digest is None:
                    problems[path] = problem
                else:
                    entries.append(Entry(-1, headers[path].height, headers[path].width, digest, headers[path].note))
        if not problems:
            (temporary / INDEX).write_text(json.dumps({"images": entries, "digest": _digest(entries)}), "utf-8")
            _move(temporary, folder, len(unique))
            _reported.discard(folder)
        return entries, problems
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write_pixels(
    headers: dict[Path, Header], sizes: Sequence[int], folder: Path, title: str
) -> tuple[list[Entry], dict[Path, str]]:
    entries: list[Entry] = []
    problems: dict[Path, str] = {}
    end = 0
    with (folder / PIXELS).open("wb") as pixels:
        for path, found, problem in attempts(pixels_and_digest, list(headers), f"{title}: decoding", sizes):
            if found is None:
                problems[path] = problem
                continue
            image, digest = found
            pixels.write(image.data)
            entries.append(Entry(end, image.shape[0], image.shape[1], digest, headers[path].note))
            end += image.size
    return entries, problems


def pixels_and_digest(path: Path) -> tuple[np.ndarray, str]:
    """A decoded image and the digest of its pixels.

    Raises:
        UnusableImage: saying why.
    """
    image = np.ascontiguousarray(decode(path))
    return image, digest_of(image)


def digest_of_file(path: Path) -> str:
    """16 hex digits of a file's bytes.

    Raises:
        UnusableImage: where it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:16]
    except OSError as error:
        raise UnusableImage(why(path, error)) from None


def _move(temporary: Path, folder: Path, count: int) -> None:
    """Put a cache into its place; another process may have been quicker, or have left a damaged one there."""
    for _ in range(3):
        with suppress(OSError):
            os.replace(temporary, folder)
            return
        if (folder / INDEX).exists() and _index(folder, count) is not None:
            return
        aside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
        with suppress(OSError):
            os.replace(folder, aside)
        shutil.rmtree(aside, ignore_errors=True)
    raise OSError(None, "it cannot be moved into place", str(folder))
