"""Photographs restored with a trained network: which files, where they go, and what became of each."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from tqdm import tqdm

from baselines import Network
from benchmarks.config.errors import UserError
from benchmarks.data import files
from benchmarks.data.decoding import UnusableImage
from benchmarks.data.files import text
from benchmarks.execution import environment
from benchmarks.scoring import photos
from benchmarks.scoring.tiling import Warn, check_tile, restore
from benchmarks.scoring.weights import NetworkRequest, load

BESIDE = ".side-by-side.png"


@dataclass(frozen=True)
class RestorationRequest(NetworkRequest):
    """The options of ``python -m benchmarks.restore``, whose help explains them."""

    inputs: Sequence[Path]
    output: Path
    overwrite: bool
    side_by_side: bool
    tile: int | None
    device: str


@dataclass
class Summary:
    """What became of the files: ``failed`` with the reasons, ``notes`` with how many files they are about."""

    output: Path
    done: int = 0
    failed: dict[Path, str] = field(default_factory=dict)
    notes: dict[str, int] = field(default_factory=dict)

    def note(self, text: str) -> None:
        """Count a note."""
        self.notes[text] = self.notes.get(text, 0) + 1

    def text(self) -> str:
        """For a terminal."""
        pictures = f"{self.done} picture{'s' * (self.done != 1)}"
        return "\n".join([f"{pictures} restored in {self.output}.", *self.remarks()])

    def remarks(self) -> list[str]:
        """The notes, a line each."""
        counted = {text: f" ({count} files)" if count > 1 else "" for text, count in self.notes.items()}
        return [f"* {text.rstrip('.')}{count}." for text, count in counted.items()]

    def fail(self, source: Path, problem: Exception) -> None:
        """Say of one picture why it was not restored; the others are."""
        if isinstance(problem, (UnusableImage, UserError, OSError, torch.OutOfMemoryError)):
            self.failed[source] = str(getattr(problem, "strerror", None) or problem)
        else:
            self.failed[source] = f"{type(problem).__name__}: {str(problem).strip() or 'no message'}"


def restore_all(request: RestorationRequest) -> Summary:
    """Restore the files and folders that are asked for.

    Raises:
        UserError: for inputs, outputs or a network that cannot be used; a single bad file is in the summary instead.
    """
    device = environment.device(request.device)
    summary = Summary(request.output)
    targets = targets_of(request.inputs, request.output, summary)
    _check(targets, request)
    loaded = load(request)
    network = loaded.network.to(device)
    check_tile(network, request.tile)
    print(f"{loaded.title} ({loaded.size}), {loaded.path}: {loaded.about}.")
    hidden = len(targets) == 1 or None  # None: shown in a terminal only
    for source, target in tqdm(targets.items(), unit="picture", leave=False, dynamic_ncols=True, disable=hidden):
        started = time.perf_counter()
        try:
            size, place = _restore_one(network, source, target, device, request, summary)
        except Exception as problem:  # one picture's trouble never stops the others
            summary.fail(source, problem)
        else:
            summary.done += 1
            tqdm.write(text(f"{source} -> {place}  ({size}, {time.perf_counter() - started:.1f} s)"))
    return summary


def _restore_one(
    network: Network, source: Path, target: Path, device: torch.device, request: RestorationRequest, summary: Summary
) -> tuple[str, Path]:
    """Restore one file; returns its size in words, and where it was written."""
    photo = photos.read(source)
    place = photos.place_for(target, photo.converted)
    if place != target and place.exists() and not request.overwrite:
        raise UserError(f"{place} exists; --overwrite replaces it")
    restored = photo.with_pixels(restored_by(network, photo.tensor(), device, request.tile, summary.note))
    restored.write(place)
    if request.side_by_side:
        photos.side_by_side(photo, restored).write(_beside(place))
    for note in dict.fromkeys([*photo.notes, *photo.losses]):
        summary.note(note)
    return "x".join(map(str, photo.pixels.shape[1::-1])), place


def restored_by(
    network: Network, image: photos.Picture, device: torch.device, tile: int | None, warn: Warn
) -> photos.Picture:
    """A picture as :func:`benchmarks.scoring.tiling.restore` restores it, which has the arguments.

    Raises:
        UserError: if the network's output is not finite.
    """
    restored = restore(network, image, device, tile, warn=warn)
    if not restored.isfinite().all():
        raise UserError("the network's output is not finite")
    return restored


def targets_of(inputs: Sequence[Path], output: Path, summary: Summary) -> dict[Path, Path]:
    """Every picture with where its restored one goes: by its name, those of a folder by their place in it."""
    inputs = list(dict.fromkeys(inputs))
    several = sum(os.path.isdir(path) for path in inputs) > 1
    found: dict[Path, Path] = {}
    for path in inputs:
        if os.path.isdir(path):
            below = Path(path.resolve().name) if several else Path()
            pictures = pictures_below(path, output, summary)
            found |= {picture: photos.place_for(output / below / picture.relative_to(path)) for picture in pictures}
        elif os.path.exists(path):
            found[path] = photos.place_for(output / path.name)
        else:
            raise UserError(f"{text(path)} is not there.")
    if not found:
        why = [*(f"{text(path)}: {reason}" for path, reason in summary.failed.items()), *summary.notes]
        raise UserError(f"there is no picture in {', '.join(map(text, inputs))}.", why)
    return found


def pictures_below(folder: Path, output: Path, summary: Summary) -> list[Path]:
    """Pictures below a folder (:mod:`benchmarks.data.files` says which those are), but for those of an output folder in
    it; what is left out goes into the summary."""
    inside = output.resolve() if folder.resolve() in output.resolve().parents else None
    pictures: list[Path] = []
    hidden: list[str] = []
    for listed in files.walk(folder):
        pictures += [path for path in listed.pictures if inside not in path.resolve().parents]
        hidden += [text(path.relative_to(folder)) for path in listed.hidden]
        for path in listed.lost:
            summary.note(f"{text(path)}: a link that leads nowhere")
        if listed.problem:
            summary.failed[listed.folder] = listed.problem
    for note in files.hidden_note(sorted(hidden)):
        summary.note(note)
    return sorted(pictures)


def _check(targets: Mapping[Path, Path], request: RestorationRequest) -> None:
    """No two results in one place, none over an input, none over another file unless that is wanted."""
    places: dict[Path, Path] = {}
    originals = {source.resolve() for source in targets}
    problems: list[str] = []
    for source, target in targets.items():
        for place in [target, *([_beside(target)] if request.side_by_side else [])]:
            resolved = place.resolve()
            if resolved in originals:
                problems.append(f"{place} is an input")
            elif resolved in places:
                problems.append(f"{source} and {places[resolved]} would both become {place}")
            elif place.exists() and not request.overwrite:
                problems.append(f"{place} exists; --overwrite replaces it")
            places.setdefault(resolved, source)
    if problems:
        rest = [f"and {len(problems) - 10} more"] if len(problems) > 10 else []
        raise UserError("nothing was restored; choose another --output:", problems[:10] + rest)
    try:
        request.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"the output folder {request.output} cannot be written: {error.strerror}.") from error


def _beside(target: Path) -> Path:
    return target.with_name(target.name + BESIDE)
