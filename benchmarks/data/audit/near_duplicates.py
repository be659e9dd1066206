"""Finding images that are the same as, or crops of, other images: exactly, or after JPEG compression.

Every image gives up to 64 characteristic places (extrema of a difference of box blurs, which lie where they lie however
the image is cut) and what it looks like around each (cosine coefficients of the blurred surroundings, brightness and
contrast taken out). Places that look alike in two images and lie apart by the same offset vote for that offset; the
pixels decide. The work grows with the number of images, not of pairs. Resized, turned or mirrored copies are not found.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.data.decoding import attempts, decode
from benchmarks.data.files import text
from benchmarks.data.images import digest_of

PLACES = 64  # of an image
_HALF = 16  # pixels around a place that its description covers
_APART = 21  # pixels between places
_COSINES = 5  # coefficients a side of the description
_ALIKE = 0.12  # distance of descriptions (of unit length) up to which two places look alike
_NEIGHBOURS = 16  # places that each place is compared with
_VOTES = 3
_SAME = 3.0  # mean difference of blurred windows, in grey levels, up to which they are the same picture


@dataclass(frozen=True)
class Match:
    """``crop`` is a window of ``whole``, ``offset`` (down, across) pixels from its corner; the share of the smaller
    image's area that they have in common, and the mean difference there in grey levels (0: pixel for pixel)."""

    crop: Path
    whole: Path
    offset: tuple[int, int]
    share: float
    difference: float


@dataclass
class _Places:
    """Characteristic places of many images: ``image`` (N,) numbers, ``where`` (N, 2) pixels, ``look`` (N, D);
    ``digests`` of whole images with their numbers."""

    image: np.ndarray
    where: np.ndarray
    look: np.ndarray
    digests: dict[str, list[int]]


def find(
    crops: Sequence[Path], wholes: Sequence[Path], tell: Callable[[str], None] = lambda problem: None
) -> list[Match]:
    """Every file of ``crops`` that shares a picture with a file of ``wholes``, in the order of ``crops``.

    Args:
        crops: image files, such as those of a test set.
        wholes: image files, such as those of a training set.
        tell: called with a sentence about each file that cannot be read.

    Returns:
        All pairs whose common window is at least a quarter of the smaller image.
    """
    first, second = (_places(paths, title, tell) for paths, title in ((wholes, "training"), (crops, "test")))
    equal = {
        (crop, whole)
        for digest, numbers in second.digests.items()
        for crop in numbers
        for whole in first.digests.get(digest, ())
    }
    matches = {pair: Match(crops[pair[0]], wholes[pair[1]], (0, 0), 1.0, 0.0) for pair in equal}
    for pair, offsets in _alike(first, second).items():
        offset, votes = _agreed(offsets)
        if votes >= _VOTES and pair not in matches:
            match = _verified(crops[pair[0]], wholes[pair[1]], offset)
            if match:
                matches[pair] = match
    return [matches[pair] for pair in sorted(matches)]


def _alike(first: _Places, second: _Places) -> dict[tuple[int, int], list[np.ndarray]]:
    """By (image of ``second``, image of ``first``): how far apart their places lie that look alike."""
    from scipy.spatial import cKDTree  # pyright: ignore[reportAttributeAccessIssue]  # of a compiled module

    offsets: dict[tuple[int, int], list[np.ndarray]] = defaultdict(list)
    if not len(first.image) or not len(second.image):
        return offsets
    neighbours = min(_NEIGHBOURS, len(first.image))
    _, found = cKDTree(first.look).query(second.look, k=neighbours, distance_upper_bound=_ALIKE, workers=-1)
    found = found.reshape(len(second.look), neighbours)
    for place, near in zip(*np.nonzero(found < len(first.image)), strict=True):
        other = found[place, near]
        offsets[int(second.image[place]), int(first.image[other])].append(first.where[other] - second.where[place])
    return offsets


def _agreed(offsets: list[np.ndarray]) -> tuple[tuple[int, int], int]:
    """The offset most places agree on, and how many do, give or take a pixel."""
    counts = Counter(map(tuple, offsets))
    votes = {
        (down, across): sum(counts[down + y, across + x] for y in (-1, 0, 1) for x in (-1, 0, 1))
        for down, across in counts
    }
    best = max(votes, key=lambda offset: (votes[offset], counts[offset]))
    return (int(best[0]), int(best[1])), votes[best]


def _verified(crop: Path, whole: Path, offset: tuple[int, int]) -> Match | None:
    """The match, if the pixels at that offset (or one beside it) are the same picture."""
    small, large = decode(crop), decode(whole)
    found: list[Match] = []
    for down in (0, -1, 1):
        for across in (0, -1, 1):
            shift = offset[0] + down, offset[1] + across
            ours, theirs = _common(small, large, shift)
            share = ours[..., 0].size / min(small[..., 0].size, large[..., 0].size)
            if share < 0.25:
                continue
            difference = float(np.abs(ours.astype(np.int16) - theirs).mean())
            found.append(Match(crop, whole, shift, share, difference))
            if difference == 0:
                return found[-1]
    if not found:
        return None
    best = min(found, key=lambda match: match.difference)
    # errors of compression are mostly fine grain
    blurred = [_fine(window) for window in _common(small, large, best.offset)]
    return best if np.abs(blurred[0] - blurred[1]).mean() <= _SAME else None


def _common(small: np.ndarray, large: np.ndarray, offset: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The window both images show, from each."""
    ours, theirs = [], []
    for axis, start in enumerate(offset):
        end = min(start + small.shape[axis], large.shape[axis])
        begin = max(start, 0)
        ours.append(slice(begin - start, max(end - start, begin - start)))
        theirs.append(slice(begin, max(end, begin)))
    return small[tuple(ours)], large[tuple(theirs)]


def _places(paths: Sequence[Path], title: str, tell: Callable[[str], None]) -> _Places:
    images, places, looks = [np.zeros(0, np.int32)], [np.zeros((0, 2), np.int32)], [np.zeros((0, _COSINES**2 - 1))]
    digests: dict[str, list[int]] = defaultdict(list)
    for number, (path, found, problem) in enumerate(attempts(_read, paths, title)):
        if found is None:
            tell(f"{text(path)}: {problem}")
            continue
        digest, where, look = found
        digests[digest].append(number)
        images.append(np.full(len(where), number, np.int32))
        places.append(where)
        looks.append(look)
    return _Places(np.concatenate(images), np.concatenate(places), np.concatenate(looks), digests)


def _read(path: Path) -> tuple[str, np.ndarray, np.ndarray]:
    image = decode(path)
    return digest_of(image), *_describe(image)


def _describe(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places (n, 2) int32 of an image and their descriptions (n, D) float32, at most :data:`PLACES`."""
    from scipy.ndimage import maximum_filter, uniform_filter

    fine = _fine(image)
    strength = np.abs(fine - uniform_filter(fine, 13))
    inner = (slice(_HALF + 8, -_HALF - 8),) * 2  # the blurs near the edge depend on where the image was cut
    core = strength[inner]
    peaks = (core == maximum_filter(core, _APART)) & (core > 1.0) if core.size else np.zeros(core.shape, bool)
    where = np.argwhere(peaks)
    if not len(where):  # a small or flat image
        return np.zeros((0, 2), np.int32), np.zeros((0, _COSINES**2 - 1), np.float32)
    where = where[np.argsort(-core[peaks], kind="stable")[:PLACES]] + _HALF + 8
    reach = np.arange(-_HALF + 2, _HALF, 4)
    patches = fine[where[:, 0, None, None] + reach[:, None], where[:, 1, None, None] + reach]
    look = _basis(len(reach)) @ patches @ _basis(len(reach)).T
    look = look.reshape(len(where), -1)[:, 1:]  # without the mean
    length = np.linalg.norm(look, axis=1, keepdims=True)
    varied = length[:, 0] > 10  # flat surroundings describe nothing
    return where[varied].astype(np.int32), (look / np.maximum(length, 1e-6))[varied].astype(np.float32)


def _fine(image: np.ndarray) -> np.ndarray:
    """Brightness without its finest grain, float32 (H, W)."""
    from PIL import Image
    from scipy.ndimage import uniform_filter

    grey = np.asarray(Image.fromarray(image).convert("L"), dtype=np.float32)
    return uniform_filter(uniform_filter(grey, 5), 5)


def _basis(size: int) -> np.ndarray:
    """The first rows of the orthonormal cosine transform, (_COSINES, size)."""
    from scipy.fft import dct

    return np.asarray(dct(np.eye(size, dtype=np.float32), axis=0, norm="ortho"))[:_COSINES]
