"""Several networks on the same pictures, for a figure: which networks, how they are named, and what each restores."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from tqdm import tqdm

from benchmarks.config import protocols
from benchmarks.config.errors import UserError
from benchmarks.data.files import is_picture, text
from benchmarks.execution import environment, shown
from benchmarks.execution.restoration import Summary, restored_by, targets_of
from benchmarks.execution.shown import Pair, Shown
from benchmarks.scoring import arithmetic, fidelity, photos
from benchmarks.scoring.regions import Region, most_different
from benchmarks.scoring.tiling import check_tile
from benchmarks.scoring.weights import Loaded, load_published, load_run
from results.records import State

NAME = "comparison"
KINDS = ("png", "pdf")
ROWS = 6
"""Pictures on one sheet."""

PLAIN = "weather_rgb"
"""The protocol where the networks have none in common: PSNR of RGB in 8 bits, nothing cut off."""


@dataclass(frozen=True)
class ComparisonRequest:
    """The options of ``python -m benchmarks.restore --compare``, whose help explains them."""

    compare: Sequence[str]
    size: str | None
    inputs: Sequence[Path]
    clean: Sequence[Path]
    crop: Sequence[Region]
    output: Path
    overwrite: bool
    tile: int | None
    device: str


@dataclass(frozen=True)
class Compared:
    """One picture: ``pictures`` as 8-bit RGB, degraded, of every network, and clean where it is known; ``psnr`` in dB
    of all but the clean one, or nothing; the ``regions`` to be enlarged."""

    name: str
    pictures: Sequence[UInt8[np.ndarray, "height width 3"]]
    psnr: Sequence[float]
    regions: Sequence[Region]


class Comparison:
    """What is to be compared, checked before anything is restored.

    Attributes:
        labels: of the networks, lines each: network, strategy, seed, and whatever else they differ in.
        protocol: by which PSNR is computed.
        summary: what became of the pictures, as :meth:`rows` goes on.

    Raises:
        UserError: for networks, pictures, regions or an output that cannot be used.
    """

    def __init__(self, request: ComparisonRequest):
        self.request = request
        self.device = environment.device(request.device)
        self.summary = Summary(request.output)
        self._check_options()
        targets = targets_of(request.inputs, request.output, self.summary) if request.inputs else {}
        self._check_places(targets)
        networks = [_loaded(name, request.size or "paper") for name in request.compare]
        self.labels = labels(networks)
        used = {network.config.evaluate.protocol.partition("@")[0] for network in networks if network.config}
        self.protocol = used.pop() if len(used) == 1 else PLAIN
        if request.inputs:
            self.pictures = shown.from_files(targets, request.output, request.clean, request.crop, self.summary)
        else:
            self.pictures = shown.from_tests(networks, self.protocol, _cache(networks[0], request.output))
        for network in networks:
            network.network.to(self.device)
            check_tile(network.network, request.tile)
            print(f"{network.title} ({network.size}), {network.path}: {network.about}.")
        self._networks = [network.network for network in networks]

    def rows(self) -> Iterator[Compared]:
        """Every picture restored by every network; one that cannot be is in the summary instead."""
        hidden = len(self.pictures) == 1 or None  # None: shown in a terminal only
        bar = tqdm(self.pictures, unit="picture", leave=False, dynamic_ncols=True, disable=hidden)
        for picture in bar:
            started = time.perf_counter()
            try:
                row = self._row(picture)
            except Exception as problem:  # one picture's trouble never stops the others
                self.summary.fail(picture.source, problem)
            else:
                self.summary.done += 1
                tqdm.write(f"{self._words(row)}  ({time.perf_counter() - started:.1f} s)")
                yield row

    def text(self, written: Sequence[Path]) -> str:
        """For a terminal."""
        pictures = f"{self.summary.done} picture{'s' * (self.summary.done != 1)}"
        places = f": {', '.join(map(str, written))}" if written else "; no sheet is written"
        return "\n".join([f"{len(self.labels)} networks on {pictures}{places}.", *self.summary.remarks()])

    def _row(self, picture: Shown) -> Compared:
        pair = picture.opened()
        restored = [pair.kept(self._restored(number, pair)) for number in range(len(self._networks))]
        views = [pair.degraded, *restored]
        psnr = self._psnr(views, pair.clean)
        pixels = [photos.in_colour(view) for view in views]
        height, width = pixels[0].shape[:2]
        if outside := [region.text for region in self.request.crop if not region.inside(height, width)]:
            raise UserError(f"region {outside[0]} is not inside; the picture has {width}x{height} pixels")
        regions = self.request.crop or sorted(most_different(pixels[1:]))  # enlarged in the order in which they lie
        for note in dict.fromkeys(pair.notes):
            self.summary.note(note)
        return Compared(
            picture.name, pixels + ([] if pair.clean is None else [photos.in_colour(pair.clean)]), psnr, regions
        )

    def _restored(self, number: int, pair: Pair) -> photos.Picture:
        name = ", ".join(self.labels[number])
        with arithmetic.exact(self.device):
            try:
                return restored_by(
                    self._networks[number], pair.degraded, self.device, self.request.tile, self.summary.note
                )
            except UserError as problem:
                raise UserError(f"{name}: {problem}") from problem

    def _psnr(self, views: Sequence[photos.Picture], clean: photos.Picture | None) -> list[float]:
        if clean is None:
            return []
        if min(clean.shape[-2:]) < protocols.get(self.protocol).smallest:
            self.summary.note(f"too small for PSNR by {self.protocol}")
            return []
        return [fidelity.psnr(view[0], clean[0], self.protocol) for view in views]

    def _words(self, row: Compared) -> str:
        names = ["input", *(", ".join(label) for label in self.labels)]
        scores = "; ".join(f"{name} {value:.2f} dB" for name, value in zip(names, row.psnr, strict=False))
        return f"{row.name}: {scores}" if scores else row.name

    def _check_options(self) -> None:
        request = self.request
        if len(request.compare) < 2:
            raise UserError("--compare takes two networks or more; --run restores with one.")
        if len(request.crop) > 4:
            raise UserError(f"--crop takes four regions at most; these are {len(request.crop)}.")
        if request.clean and not request.inputs:
            raise UserError("--clean belongs to pictures that are named; test images have their own.")

    def _check_places(self, targets: dict[Path, Path]) -> None:
        originals = {path.resolve() for path in [*targets, *self.request.clean]}
        for sheet in range(-(-max(len(targets), 1) // ROWS)):
            for place in places(self.request.output, sheet):
                if place.resolve() in originals:
                    raise UserError(f"{place} is an input; choose another --output.")
                if place.exists() and not self.request.overwrite:
                    raise UserError(f"{place} exists; --overwrite replaces it, or choose another --output.")
        try:
            self.request.output.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"the output folder {self.request.output} cannot be written: {error.strerror}.") from error


def places(output: Path, sheet: int) -> list[Path]:
    """The files of sheet number ``sheet`` (0, 1, ...)."""
    name = NAME if sheet == 0 else f"{NAME}-{sheet + 1}"
    return [output / f"{name}.{kind}" for kind in KINDS]


def labels(networks: Sequence[Loaded]) -> list[list[str]]:
    """Lines that name each network as tables do: the network, the strategy, the seed; then what sets apart those that
    are not alike in setting, size, steps or task.

    Raises:
        UserError: if one network is named twice.
    """
    facts = [_facts(network) for network in networks]
    differing = {key for key in facts[0] if len({fact[key] for fact in facts}) > 1}
    found: list[list[str]] = []
    for network, fact in zip(networks, facts, strict=True):
        record = network.run.record if network.run else None
        lines = [network.title]
        lines += [record.config.label, f"seed {record.config.seed}"] if record else [text(network.path.name)]
        found.append([*lines, *(fact[key] for key in fact if key in differing and fact[key])])
    same = [place.resolve() for place in (network.path for network in networks)]
    for number, network in enumerate(networks):
        if same.index(same[number]) < number:
            raise UserError(f"{network.path} is named twice.")
        if found.count(found[number]) > 1 and network.run and network.run.record:
            found[number] = [*found[number], network.run.record.hash]
    return found


def _facts(network: Loaded) -> dict[str, str]:
    """In what networks may differ beside their names."""
    facts = dict.fromkeys(("setting", "size", "steps", "task", "state"), "") | {"size": f"size {network.size}"}
    if network.run is None or network.config is None or network.run.record is None:
        return facts
    state = network.run.status.state
    return facts | {
        "setting": network.run.record.display.setting or network.config.setting,
        "steps": f"{network.config.train.steps:,} steps",
        "task": network.config.terms.task,
        "state": "" if state == State.DONE else f"({state})",
    }


def _loaded(name: str, size: str) -> Loaded:
    """A run's folder, or ``BASELINE=FILE``."""
    path = Path(name)
    baseline, mark, file = name.partition("=")
    if mark and not path.exists():
        return load_published(Path(file), baseline, size)
    if path.is_file() and is_picture(name):
        raise UserError(f"{text(name)} is a picture; name pictures before --compare.")
    if path.is_file():
        raise UserError(f"{text(name)} is a file; name a run's folder, or a checkpoint by BASELINE={text(name)}.")
    if not path.exists():
        raise UserError(f"{text(name)} is not there; name a run's folder, or a checkpoint by BASELINE=FILE.")
    return load_run(path)


def _cache(network: Loaded, output: Path) -> Path:
    """Decoded test images: the cache of the runs, if they lie where they were made."""
    parents = network.path.resolve().parents
    return parents[5] / "cache" if len(parents) > 5 and parents[4].name == "runs" else output / "cache"
