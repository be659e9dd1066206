"""Sample pictures of runs for the page: cut from their strips, scaled down, as data of the page itself."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from reports.numbers.model import Cohort
from reports.numbers.outcome import LEAK_FREE, Outcome
from reports.numbers.rhythms import candidate_runs

if TYPE_CHECKING:
    from PIL.Image import Image

FOLDER = "samples"
"""In a run's folder: ``<dataset>.png`` with the degraded, restored and clean picture side by side."""

SIDES = (480, 360, 288, 224, 160, 112)
"""Longest sides in pixels that are tried, largest first, until the album fits its budget."""

BUDGET = 3_000_000
"""Characters that all pictures of a page may take."""

LARGEST = 60_000_000
"""Pixels of a strip beyond which it is left out."""


class Album:
    """Pictures of a page, each kept once however often it is shown."""

    def __init__(self) -> None:
        self._pictures: list[Image] = []
        self._places: dict[bytes, int] = {}

    def add(self, picture: Image) -> int:
        """The picture's number in :meth:`encoded`."""
        key = hashlib.sha256(f"{picture.size}".encode() + picture.tobytes()).digest()
        if key not in self._places:
            self._places[key] = len(self._pictures)
            small = picture.copy()
            small.thumbnail((SIDES[0], SIDES[0]))
            self._pictures.append(small)
        return self._places[key]

    def encoded(self, budget: int = BUDGET) -> list[str]:
        """``data:`` addresses of JPEG files, as large as fits ``budget`` characters (smallest size: in any case)."""
        files: list[str] = []
        for side in SIDES:
            files, total = [], 0
            for picture in self._pictures:
                files.append(_jpeg(picture, side))
                total += len(files[-1])
                if total > budget and side != SIDES[-1]:
                    break
            else:
                break
        return files


def samples(cohort: Cohort, baseline: str, strategies: list[str], album: Album) -> list[dict[str, object]]:
    """By test set: ``dataset, task, degraded, clean`` and ``restored``, a list of ``name, picture``; numbers of the
    album. A strategy's is of the seed that most have; strips that cannot be read are left out.
    """
    chosen: list[Outcome] = []
    for candidates in candidate_runs(cohort, baseline, strategies):
        chosen += [outcome for outcome in candidates if (outcome.run.folder / FOLDER).is_dir()][:1]
    found: list[dict[str, object]] = []
    for column in cohort.columns or cohort.unseen:
        if not column.dataset.endswith(LEAK_FREE):
            shown = list(_strips(chosen, column.dataset))
            if shown:
                degraded, _, clean = shown[0][1]
                restored = [{"name": outcome.title, "picture": album.add(parts[1])} for outcome, parts in shown]
                pictures = {"degraded": album.add(degraded), "clean": album.add(clean), "restored": restored}
                found.append({"dataset": column.dataset, "task": column.task, **pictures})
    return found


def _strips(outcomes: list[Outcome], dataset: str) -> Iterator[tuple[Outcome, list[Image]]]:
    """Runs with their three pictures, as long as they are of the size of the first one's."""
    size = None
    for outcome in outcomes:
        parts = _parts(outcome.run.folder / FOLDER / f"{Path(dataset).name}.png")
        if parts and size in (None, parts[0].size):
            size = parts[0].size
            yield outcome, parts


def _parts(path: Path) -> list[Image]:
    """Degraded, restored and clean picture of a strip; empty where there is none that can be read."""
    from PIL import Image

    try:
        with Image.open(path, formats=["PNG"]) as strip:
            width, height = strip.width // 3, strip.height
            if strip.width % 3 or not width or strip.width * height > LARGEST:
                return []
            whole = strip.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return []
    return [whole.crop((i * width, 0, (i + 1) * width, height)) for i in range(3)]


def _jpeg(picture: Image, side: int) -> str:
    small = picture.copy()
    small.thumbnail((side, side))
    file = io.BytesIO()
    small.save(file, "JPEG", quality=85, subsampling=0)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
