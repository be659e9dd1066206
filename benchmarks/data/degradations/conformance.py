"""What every degradation must do: ``python -m benchmarks.data.degradations.conformance mypkg.fog:fog``."""

import argparse
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from benchmarks.config import degradations
from benchmarks.config.errors import UserError, unknown
from benchmarks.data.degradations import Degradation, load
from benchmarks.data.photographs import depth_of, photographs
from results.command import announce, command, leave

_STEP = 0.2  # dB that each of four severities must be farther from the clean image than the one before
_APART = 5.0  # dB between a CPU's degradations and a GPU's, of a few images; drops on the lens vary by half of that


@dataclass(frozen=True)
class Finding:
    """A property: whether it holds (``None``: it does not apply here), and what was seen."""

    name: str
    passed: bool | None
    note: str = ""


def printed(title: str, findings: Iterable[Finding]) -> bool:
    """Print what was found; returns whether nothing failed."""
    print(title)
    passed = True
    for finding in findings:
        mark = {True: "passed", False: "FAILED", None: "skipped"}[finding.passed]
        print(f"  {finding.name:16}{mark:9}{finding.note}", flush=True)
        passed &= finding.passed is not False
    return passed


def check(place: str) -> list[Finding]:
    """Check a degradation on photographs.

    Args:
        place: a name, or ``module:attribute``.

    Raises:
        UserError: if there is no such degradation.
    """
    names = degradations.known()
    if place not in names and ":" not in place:
        raise UserError(f"{unknown('degradation', place, names)[:-1]}; or module:attribute.")
    kind = load(names.get(place, place))
    names_of_photographs = list(photographs())[::2]
    images = torch.stack([torch.from_numpy(photographs()[name].copy()) for name in names_of_photographs])
    depths = torch.stack([torch.from_numpy(depth_of(name).copy()) for name in names_of_photographs])
    images, depths = images.permute(0, 3, 1, 2)[..., ::2, ::2].float() / 255, depths[:, None, ::2, ::2]
    checks: tuple[Callable[[Degradation, Tensor, Tensor], Finding], ...] = (
        _severities, _output, _input, _chance, _severity, _batch, _sizes, _cuda,
    )  # fmt: skip
    return [_safely(check, kind, images, depths) for check in checks]


def _safely(
    check: Callable[[Degradation, Tensor, Tensor], Finding], kind: Degradation, images: Tensor, depths: Tensor
) -> Finding:
    try:
        return check(kind, images, depths)
    except Exception as error:  # somebody's function may raise anything
        return Finding(check.__name__.strip("_"), False, f"{type(error).__name__}: {error}")


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _psnr(degraded: Tensor, clean: Tensor) -> float:
    """Mean over a batch, in dB."""
    return float((-10 * torch.log10((degraded - clean).square().mean((1, 2, 3)).clamp_min(1e-12))).mean())


def _severities(kind: Degradation, _images: Tensor, _depths: Tensor) -> Finding:
    low, high = kind.limits
    wrong = [value for value in (*kind.training, *kind.testing) if not low <= value <= high]
    note = (
        f"training {kind.training[0]:g} to {kind.training[1]:g}, tests at {', '.join(f'{x:g}' for x in kind.testing)}"
    )
    return Finding("severities", bool(kind.testing) and not wrong, f"{note}; within {low:g} to {high:g}: {not wrong}")


def _output(kind: Degradation, images: Tensor, depths: Tensor) -> Finding:
    severities = torch.full((len(images),), float(kind.training[0]))
    given = (images.clone(), depths, severities) if kind.needs_depth else (images.clone(), severities)
    found = kind.apply(*given, _seeded(1))
    fine = found.shape == images.shape and found.dtype == torch.float32 and bool(found.isfinite().all())
    note = f"{tuple(found.shape)} {found.dtype}, from {found.min():.3g} to {found.max():.3g}".replace("torch.", "")
    return Finding(
        "output", fine and not found.requires_grad, f"{note}, {'' if kind.needs_depth else 'no '}depth needed"
    )


def _input(kind: Degradation, images: Tensor, depths: Tensor) -> Finding:
    image, depth = images.clone(), depths.clone()
    kind(image, _seeded(1), depth=depth)
    return Finding("input", torch.equal(image, images) and torch.equal(depth, depths), "is left as it is")


def _chance(kind: Degradation, images: Tensor, depths: Tensor) -> Finding:
    """The generator decides, and torch's own is not asked."""
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = kind(images, _seeded(1), depth=depths)
    untouched = torch.equal(before, torch.get_rng_state())
    torch.manual_seed(2)
    same = torch.equal(first, kind(images, _seeded(1), depth=depths))
    other = not torch.equal(first, kind(images, _seeded(2), depth=depths))
    note = "the generator decides" if same and other else f"same generator, same image: {same}; other, other: {other}"
    return Finding("chance", same and other and untouched, note + ("" if untouched else "; draws from torch's own"))


def _severity(kind: Degradation, images: Tensor, depths: Tensor) -> Finding:
    mild, strong = kind.training
    values = torch.linspace(mild, strong, 4).tolist()
    found = [_psnr(kind(images, _seeded(3), depth=depths, severity=value), images) for value in values]
    fine = all(first > second + _STEP for first, second in pairwise(found))
    steps = ", ".join(f"{value:g}: {psnr:.1f}" for value, psnr in zip(values, found, strict=True))
    return Finding("severity", fine, f"PSNR in dB {steps}")


def _batch(kind: Degradation, images: Tensor, depths: Tensor) -> Finding:
    """Severity and pixels of an image are its own, but for the rounding of batched arithmetic."""
    mild, strong = kind.training
    mixed, all_mild, all_strong = (
        kind(images, _seeded(4), depth=depths, severity=torch.tensor([first, second] * (len(images) // 2)))
        for first, second in ((mild, strong), (mild, mild), (strong, strong))
    )
    others = images.clone()
    others[1:] = 1 - images[1:]
    beside = kind(others, _seeded(4), depth=depths, severity=torch.tensor([mild, strong] * (len(images) // 2)))
    wrong = max((mixed[0::2] - all_mild[0::2]).abs().mean(), (mixed[1::2] - all_strong[1::2]).abs().mean())
    wrong, apart = max(wrong, (mixed[0] - beside[0]).abs().mean()), (mixed[1::2] - all_mild[1::2]).abs().mean()
    note = f"each image has its own severity; others change it by {wrong:.1g}"
    return Finding("batch", bool(wrong < 1e-5 and apart > 1e-3), note)


def _sizes(kind: Degradation, images: Tensor, depths: Tensor) -> Finding:
    for height, width in ((37, 53), (16, 96)):
        image = images[:1, :, :height, :width]
        found = kind(image, _seeded(5), depth=depths[:1, :, :height, :width])
        if found.shape != image.shape:
            return Finding("sizes", False, f"{height}x{width} becomes {'x'.join(map(str, found.shape[-2:]))}")
    return Finding("sizes", True, "37x53 and 16x96, one image")


def _cuda(kind: Degradation, images: Tensor, depths: Tensor) -> Finding:
    """As in training on a GPU, whose own generator gives other images than a CPU's, no better and no worse."""
    if not torch.cuda.is_available():
        return Finding("cuda", None, "there is no GPU here")
    there, depths_there, strong = images.cuda(), depths.cuda(), kind.training[1]

    def made(seed: int) -> Tensor:
        chance = torch.Generator("cuda").manual_seed(seed)
        return kind(there.clone(), chance, depth=depths_there, severity=strong)

    same = float((made(8) - made(8)).abs().mean()) < 1e-4  # to the rounding of sums, which have no fixed order there
    on_cpu = sum(
        _psnr(kind(images.clone(), _seeded(seed), depth=depths, severity=strong), images) for seed in range(8, 12)
    )
    apart = abs(sum(_psnr(made(seed), there) for seed in range(8, 12)) - on_cpu) / 4
    note = f"with a generator on the GPU, PSNR {apart:.2f} dB from the CPU's"
    return Finding("cuda", same and apart < _APART, note if same else f"{note}; same generator, other image")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(
        "python -m benchmarks.data.degradations.conformance",
        description="Check what every degradation must do, on photographs.",
    )
    result.add_argument("degradation", nargs="+", help="a name, or module:attribute")
    return result


@command(parser, UserError)
def main(options: argparse.Namespace) -> int:
    """The command; 0 if nothing failed, 1 if something did, 2 if there is no such degradation."""
    announce("Checking degradations on photographs.")
    torch.set_num_threads(1)  # the images are too small for more
    return int(not all([printed(name, check(name)) for name in options.degradation]))


if __name__ == "__main__":
    leave(main())
