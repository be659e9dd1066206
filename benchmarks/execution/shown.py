"""The pictures that networks are compared on: files, with their clean ones where those are given, or test images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.config import protocols
from benchmarks.config.configuration import Config, setting_of
from benchmarks.config.errors import UserError, tell_notes
from benchmarks.config.sections import DataConfig
from benchmarks.data import sources
from benchmarks.data.decoding import UnusableImage, shape_of
from benchmarks.data.files import text
from benchmarks.data.pools import TestPool
from benchmarks.execution.evaluation import training_sets
from benchmarks.execution.restoration import Summary, pictures_below
from benchmarks.scoring import photos
from benchmarks.scoring.photos import Picture
from benchmarks.scoring.regions import Region
from benchmarks.scoring.weights import Loaded

NAMED = 10  # problems that an error lists


def _unchanged(image: Picture) -> Picture:
    return image


@dataclass(frozen=True)
class Pair:
    """A degraded picture and, where it is known, the clean one; ``kept``: what of a restored one is kept (the grey of a
    grey picture); ``notes``: what of the files is not shown."""

    degraded: Picture
    clean: Picture | None = None
    kept: Callable[[Picture], Picture] = _unchanged
    notes: Sequence[str] = field(default_factory=list[str])


@dataclass(frozen=True)
class Shown:
    """A picture by its ``name``; ``source``: its file, or the test set and image; ``opened`` reads it."""

    name: str
    source: Path
    opened: Callable[[], Pair]


def from_files(
    targets: Mapping[Path, Path], output: Path, clean: Sequence[Path], regions: Sequence[Region], summary: Summary
) -> list[Shown]:
    """The pictures that are asked for by name.

    Args:
        targets: of :func:`benchmarks.execution.restoration.targets_of`.
        output: the folder of these targets.
        clean: a folder with a clean picture of each one's name, or as many files in their order, or nothing.
        regions: that must lie inside every picture.
        summary: gets the files that cannot be read.

    Raises:
        UserError: for clean pictures that are missing or of another size, and regions outside, each by name.
    """
    partners = _partners(targets, output, clean, summary)
    problems: list[str] = []
    found: list[Shown] = []
    for source in targets:
        partner = partners.get(source)
        try:
            height, width = shape_of(source)
            other = shape_of(partner) if partner else (height, width)
        except (UnusableImage, OSError) as problem:
            summary.fail(source, problem)
            continue
        if other != (height, width):
            problems.append(f"{text(source)} has {width}x{height} pixels, {text(partner)} {other[1]}x{other[0]}")
        problems += [
            f"region {region.text} is not inside {text(source)}, which has {width}x{height} pixels"
            for region in regions
            if not region.inside(height, width)
        ]
        found.append(Shown(text(source.name), source, lambda paths=(source, partner): _read(*paths)))
    if problems:
        rest = [f"and {len(problems) - NAMED} more"] if len(problems) > NAMED else []
        raise UserError("nothing was restored:", problems[:NAMED] + rest)
    return found


def from_tests(networks: Sequence[Loaded], protocol: str, cache: Path) -> list[Shown]:
    """The first image of every test set of the runs, cut for the protocol as it is for scores.

    Args:
        networks: that are compared.
        protocol: of the scores.
        cache: folder for decoded images.

    Raises:
        UserError: unless all are runs, of one setting and the same data, which must still be there.
    """
    files = [network.path for network in networks if network.config is None]
    if files:
        raise UserError(f"{files[0]} is no run and so has no test images; name pictures.")
    configs = [network.config for network in networks if network.config is not None]
    if names := _several(config.setting for config in configs):
        raise UserError(f"these runs are of several settings ({names}), with other test images; name pictures.")
    first = configs[0]
    if any(_data(config) != _data(first) for config in configs) or not _one_place([config.data for config in configs]):
        places = _several(config.data.root or "embedded data" for config in configs)
        raise UserError(f"these runs were tested on other images ({places or 'of another make'}); name pictures.")
    extra = [name for name in first.evaluate.extra if all(name in config.evaluate.extra for config in configs)]
    trained = training_sets(networks[0].run) if networks[0].run else []
    data = sources.prepare(setting_of(first), first.data, extra, cache, trained, protocol)
    tell_notes(data.notes)
    multiple = protocols.get(protocol).multiple
    found = [_test(pool, multiple) for pool in data.tests if all(_trained_for(config, pool) for config in configs)]
    if not found:
        raise UserError("these runs have no test set in common; name pictures.")
    return found


def _data(config: Config) -> tuple[str | None, ...]:
    return config.setting_digest, config.data.source, config.data.missing


def _one_place(data: Sequence[DataConfig]) -> bool:
    """Whether the files were in one folder, or the same in several."""
    return len({config.root for config in data}) == 1 or len({config.fingerprint for config in data}) == 1


def _several(names: Iterable[str]) -> str:
    """The different ones, or nothing where all are the same."""
    found = dict.fromkeys(names)
    return ", ".join(found) if len(found) > 1 else ""


def _trained_for(config: Config, pool: TestPool) -> bool:
    """Whether a run is about the task of a test set; most are about all of their setting."""
    tasks = [config.terms.task] if config.terms.task else config.tasks
    return not tasks or pool.task.name in tasks


def _test(pool: TestPool, multiple: int) -> Shown:
    def opened() -> Pair:
        degraded, clean = pool.pair(0, multiple)
        return Pair(degraded[None], clean[None])

    return Shown(f"{pool.dataset}: {text(pool.names[0])}", Path(pool.dataset, pool.names[0]), opened)


def _read(source: Path, partner: Path | None) -> Pair:
    photo = photos.read(source)
    clean = photos.read(partner) if partner else None
    notes = [*photo.notes, *(clean.notes if clean else [])]
    if photo.alpha is not None:
        notes.append("what is transparent is shown as the colour it has")
    as_written = _unchanged if photo.pixels.ndim == 3 else lambda image: photo.with_pixels(image).tensor()
    return Pair(photo.tensor(), clean.tensor() if clean else None, as_written, notes)


def _partners(
    targets: Mapping[Path, Path], output: Path, clean: Sequence[Path], summary: Summary
) -> Mapping[Path, Path]:
    """The clean picture of every picture; of a folder by place and name, endings may differ."""
    if not clean:
        return {}
    if lost := [text(path) for path in clean if not path.exists()]:
        raise UserError(f"{lost[0]} is not there.")
    if len(clean) > 1 or not clean[0].is_dir():
        if len(clean) != len(targets) or any(path.is_dir() for path in clean):
            raise UserError(
                f"--clean names {len(clean)} for {len(targets)} pictures; name as many files, in their order, or one "
                "folder with files of the same names."
            )
        return dict(zip(targets, clean, strict=True))
    below: dict[Path, list[Path]] = {}
    for path in pictures_below(clean[0], output, summary):
        below.setdefault(path.relative_to(clean[0]).with_suffix(""), []).append(path)
    found: dict[Path, Path] = {}
    problems: list[str] = []
    for source, target in targets.items():
        place = target.relative_to(output).with_name(source.name)
        alike = below.get(place.with_suffix(""), [])
        same = [path for path in alike if path.name == source.name] or alike
        if len(same) == 1:
            found[source] = same[0]
        else:
            problems.append(f"{text(source)}: {'several have' if same else 'none has'} its name")
    if problems:
        rest = [f"and {len(problems) - NAMED} more"] if len(problems) > NAMED else []
        raise UserError(f"clean pictures in {text(clean[0])} cannot be told:", problems[:NAMED] + rest)
    return found
