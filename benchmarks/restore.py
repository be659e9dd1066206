"""Restore photographs of any size with a trained network.

python -m benchmarks.restore photo.jpg holiday/ --run results/runs/three_task/airnet/art/0-1234abcd
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.config.errors import UserError
from benchmarks.data import files
from benchmarks.data.files import text
from benchmarks.scoring import weights
from results.command import announce, framed, leave

BESIDE = ".side-by-side.png"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(
        "python -m benchmarks.restore",
        description="Restore photographs of any size with a trained network; names and formats stay.",
    )
    result.add_argument("inputs", nargs="+", type=Path, metavar="IMAGE_OR_FOLDER", help="folders with all below them")
    weights.add_arguments(result)
    add = result.add_argument
    add("--output", type=Path, default=Path("restored"), metavar="DIR", help="default: restored")
    add("--overwrite", action="store_true", help="replace what an earlier call wrote; inputs are never replaced")
    add("--side-by-side", action="store_true", help=f"also NAME{BESIDE}: before and after in one picture")
    add(
        "--tile",
        type=int,
        metavar="N",
        help="in tiles of at most N pixels (default: whole, tiles where memory is short)",
    )
    add("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code, 1 if a file could not be restored (others: :mod:`results.command`)."""
    return framed(lambda: _main(arguments), UserError, "interrupted; what was written is whole.")


def _main(arguments: Sequence[str] | None) -> int:
    options = parser().parse_args(arguments)
    inputs = f"{options.inputs[0]}{' ...' * (len(options.inputs) > 1)}"
    announce(f"Restoring {inputs} with {options.run or options.checkpoint} into {options.output}.")
    summary = restore_all(options)
    print(summary.text())
    for path, reason in summary.failed.items():
        print(f"not restored: {path}: {reason}", file=sys.stderr)
    return 1 if summary.failed else 0


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
        counted = {text: f" ({count} files)" if count > 1 else "" for text, count in self.notes.items()}
        lines = [f"* {text.rstrip('.')}{count}." for text, count in counted.items()]
        return "\n".join([f"{pictures} restored in {self.output}.", *lines])


def restore_all(options: argparse.Namespace) -> Summary:
    """Restore the files and folders that the options name.

    Raises:
        UserError: for inputs, outputs or a network that cannot be used; a single bad file is in the summary instead.
    """
    import torch
    from tqdm import tqdm

    from benchmarks.data.decoding import UnusableImage
    from benchmarks.execution import environment
    from benchmarks.scoring.tiling import check_tile

    device = environment.device(options.device)
    summary = Summary(options.output)
    targets = _targets(options.inputs, options.output, summary)
    _check(targets, options)
    loaded = weights.load(options)
    network = loaded.network.to(device)
    check_tile(network, options.tile)
    print(f"{loaded.title} ({loaded.size}), {loaded.path}: {loaded.about}.")
    shown = {"unit": "picture", "leave": False, "dynamic_ncols": True, "disable": len(targets) == 1 or None}
    for source, target in tqdm(targets.items(), **shown):
        started = time.perf_counter()
        try:
            size, place = _restore_one(network, source, target, device, options, summary)
        except (UnusableImage, UserError, OSError, torch.OutOfMemoryError) as problem:
            summary.failed[source] = str(getattr(problem, "strerror", None) or problem)
        except Exception as problem:  # one picture's trouble never stops the others
            summary.failed[source] = f"{type(problem).__name__}: {str(problem).strip() or 'no message'}"
        else:
            summary.done += 1
            tqdm.write(text(f"{source} -> {place}  ({size}, {time.perf_counter() - started:.1f} s)"))
    return summary


def _restore_one(
    network: Any, source: Path, target: Path, device: Any, options: argparse.Namespace, summary: Summary
) -> tuple[str, Path]:
    """Restore one file; returns its size in words, and where it was written."""
    from benchmarks.scoring import photos
    from benchmarks.scoring.tiling import restore

    photo = photos.read(source)
    place = photos.place_for(target, photo.converted)
    if place != target and place.exists() and not options.overwrite:
        raise UserError(f"{place} exists; --overwrite replaces it")
    image = restore(network, photo.tensor(), device, options.tile, warn=summary.note)
    if not image.isfinite().all():
        raise UserError("the network's output is not finite")
    restored = photo.with_pixels(image)
    restored.write(place)
    if options.side_by_side:
        photos.side_by_side(photo, restored).write(_beside(place))
    for note in dict.fromkeys(photo.notes):
        summary.note(note)
    return "x".join(map(str, photo.pixels.shape[1::-1])), place


def _targets(inputs: Iterable[Path], output: Path, summary: Summary) -> dict[Path, Path]:
    """Every picture with where its restored one goes: by its name, those of a folder by their place in it."""
    from benchmarks.scoring.photos import place_for

    inputs = list(dict.fromkeys(inputs))
    several = sum(os.path.isdir(path) for path in inputs) > 1
    found: dict[Path, Path] = {}
    for path in inputs:
        if os.path.isdir(path):
            below = Path(path.resolve().name) if several else Path()
            pictures = _pictures(path, output, summary)
            found |= {picture: place_for(output / below / picture.relative_to(path)) for picture in pictures}
        elif os.path.exists(path):
            found[path] = place_for(output / path.name)
        else:
            raise UserError(f"{text(path)} is not there.")
    if not found:
        why = [*(f"{text(path)}: {reason}" for path, reason in summary.failed.items()), *summary.notes]
        raise UserError(f"there is no picture in {', '.join(map(text, inputs))}.", why)
    return found


def _pictures(folder: Path, output: Path, summary: Summary) -> list[Path]:
    """Pictures below a folder (:mod:`benchmarks.data.files` says which those are), but for those of an output folder in
    it; what is left out is told."""
    inside = output.resolve() if folder.resolve() in output.resolve().parents else None
    pictures, hidden = [], []
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


def _check(targets: dict[Path, Path], options: argparse.Namespace) -> None:
    """No two results in one place, none over an input, none over another file unless that is wanted."""
    places: dict[Path, Path] = {}
    originals = {source.resolve() for source in targets}
    problems = []
    for source, target in targets.items():
        for place in [target, *([_beside(target)] if options.side_by_side else [])]:
            resolved = place.resolve()
            if resolved in originals:
                problems.append(f"{place} is an input")
            elif resolved in places:
                problems.append(f"{source} and {places[resolved]} would both become {place}")
            elif place.exists() and not options.overwrite:
                problems.append(f"{place} exists; --overwrite replaces it")
            places.setdefault(resolved, source)
    if problems:
        more = [f"and {len(problems) - 10} more"] if len(problems) > 10 else []
        raise UserError("nothing was restored; choose another --output:", problems[:10] + more)
    try:
        options.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"the output folder {options.output} cannot be written: {error.strerror}.") from error


def _beside(target: Path) -> Path:
    return target.with_name(target.name + BESIDE)


if __name__ == "__main__":
    leave(main())
