"""The training scenes of the embedded data: drawn once, kept with their digests, drawn again if damaged."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np

from benchmarks.config.errors import UserError
from benchmarks.data.images import digest_of, identity
from benchmarks.data.procedural import training_set
from results import write_atomically

KINDS = ("images", "depths")


def scenes(cache: Path, form: str, count: int, size: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, str]:
    """Images (N, S, S, 3) and depths (N, S, S), uint8, memory-mapped, and the identity of both (see :mod:`images`).

    Args:
        cache: the folder they are kept in.
        form: raised whenever they change.
        count, size: N and S, where they are drawn.
        seed: of the drawing; those of another one share no scene.

    Raises:
        UserError: if the cache cannot be written.
    """
    paths = [cache / f"scenes-{form}-{kind}.npy" for kind in KINDS]
    seal = cache / f"scenes-{form}.json"
    found = _cached(paths, seal)
    if found is None:
        try:
            _draw(paths, seal, count, size, seed)
        except OSError as error:
            raise UserError(f"cannot write the training scenes to {cache}: {error.strerror}.") from error
        found = _cached(paths, seal)
    if found is None:
        raise UserError(f"the training scenes in {cache} are not what was written there; is the disk sound?")
    return found


def _cached(paths: list[Path], seal: Path) -> tuple[np.ndarray, np.ndarray, str] | None:
    """What is in the cache; ``None`` where there is nothing, or something damaged, which is reported."""
    if not seal.exists():
        return None
    with suppress(OSError, ValueError, EOFError, TypeError):
        images, depths = (np.asarray(np.load(path, mmap_mode="r")) for path in paths)
        digests = [digest_of(images), digest_of(depths)]
        if json.loads(seal.read_bytes()) == digests:
            return images, depths, identity(f"p{digest}" for digest in digests)
    print(
        f"warning: the training scenes in {seal.parent} are damaged; they are drawn again.", file=sys.stderr, flush=True
    )
    return None


def _draw(paths: list[Path], seal: Path, count: int, size: int, seed: int) -> None:
    arrays = training_set(count, size, seed)
    for path, array in zip(paths, arrays, strict=True):
        write_atomically(path, lambda temporary, array=array: np.save(temporary, array))
    written = json.dumps([digest_of(array) for array in arrays])
    write_atomically(seal, lambda temporary: temporary.write_text(written, "utf-8"))
