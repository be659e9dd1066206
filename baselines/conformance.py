"""What every network must do, checked on its tiny size: ``python -m baselines.conformance package.module:Class``.

The networks' weights are moved away from their initial values first, of which some are zero and would hide a path.
"""

from __future__ import annotations

import argparse
import copy
import io
import pickle
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

import baselines
from baselines.network import Network, Output

SIZES = ((64, 64), (37, 81), (5, 9), (1, 1))  # of images that must be restored
BF16 = 0.03  # largest difference of the output under autocast, relative to its root mean square
BF16_GRADIENT = 0.5  # the same of one parameter's gradient: sums that stand still and uninitialised memory are far off
STEPS = 30  # of the short training


@dataclass(frozen=True)
class Finding:
    """``passed`` is ``None`` where a property is only reported, or does not apply; ``note`` says what was seen."""

    name: str
    passed: bool | None
    note: str = ""


def check(name: str) -> list[Finding]:
    """All findings for a network.

    Args:
        name: as :func:`baselines.build` takes it.

    Raises:
        ValueError: if it cannot be built.
    """
    baselines.build(name, _size(name))
    return [_guarded(test, name) for test in _TESTS]


def disturbed(name: str) -> Network:
    """The network's small size in evaluation mode, all parameters moved at random."""
    torch.manual_seed(0)
    network = baselines.build(name, _size(name))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return network.eval()


def _precise(name: str) -> tuple[Network, torch.dtype]:
    """The disturbed network in the data type in which its outputs can be compared."""
    network = disturbed(name)
    dtype = torch.float32 if network.continuous else torch.float64
    return network.to(dtype), dtype


def unreached(name: str) -> set[str]:
    """Names of trained parameters that get no gradient, or one that is zero, in a training step."""
    network = disturbed(name).train()
    # With 128 pixels a network whose lowest level is at 1/64 has more than one place there to attend to.
    _loss(network, *_images(network, 2, least=128)).backward()
    trained = {key: value for key, value in network.named_parameters() if value.requires_grad}
    if odd := [key for key, value in trained.items() if value.grad is not None and not value.grad.isfinite().all()]:
        raise ValueError(f"gradients are not finite: {', '.join(odd[:5])}")
    return {key for key, value in trained.items() if value.grad is None or not value.grad.any()}


def _size(name: str) -> str:
    return "tiny" if "tiny" in baselines.describe(name).sizes else "paper"


def _guarded(test: Callable[[str], Finding], name: str) -> Finding:
    try:
        return test(name)
    except Exception as error:  # a class of one's own may raise anything; that is a finding
        return Finding(_title(test), False, f"{type(error).__name__}: {error}".partition("\n")[0])


def _title(test: Callable[[str], Finding]) -> str:
    return test.__name__.strip("_").replace("_", " ")


def _loss(network: Network, degraded: Tensor, second: Tensor) -> Tensor:
    """What a training step differentiates, with an L1 loss to the middle grey."""
    output = network.training_forward(degraded, second)
    assert output.restored is not None, "training_forward restored nothing"
    return _total(network, output, torch.full_like(output.restored, 0.5, dtype=torch.float32))


def _total(network: Network, output: Output, clean: Tensor) -> Tensor:
    """Mean absolute error and the network's own losses."""
    assert output.restored is not None, "training_forward restored nothing"
    restored = output.restored.float()
    added = network.sample_loss(restored, clean)
    parts = [(restored - clean).abs().mean(), None if added is None else added.mean(), output.auxiliary]
    return torch.stack([part for part in parts if part is not None]).sum()


def _images(network: Network, count: int, least: int = 64) -> Tensor:
    """``count`` batches of a bright and a dark random image that ``forward`` takes: (count, 2, 3, side, side)."""
    side = -(-least // network.multiple) * network.multiple
    return torch.rand(count, 2, 3, side, side) * torch.tensor([1.0, 0.5]).view(2, 1, 1, 1)


@torch.no_grad()
def _distance(first: Tensor, second: Tensor) -> float:
    """The largest difference, relative to the largest value."""
    return float((first.double() - second).abs().max() / second.abs().max().clamp_min(1e-12))


def _of(network: Network) -> str:
    return "" if network.continuous else "; says itself that rounding may change it at will"


def _recipe(name: str) -> Finding:
    lacking = sorted({"paper", "demo"} - set(baselines.describe(name).recipe))
    return Finding("recipe", None if lacking else True, f"there is none for {lacking[0]}" if lacking else "paper, demo")


def _sizes(name: str) -> Finding:
    """Whether the two sizes have the same structure: names of weights, apart from numbers in them."""
    if len(baselines.describe(name).sizes) < 2:
        return Finding("sizes", None, f"there is only {_size(name)}")
    with torch.device("meta"):
        tiny, paper = (
            {re.sub(r"\.\d+(?=\.|$)", ".#", key) for key in baselines.build(name, size).state_dict()}
            for size in ("tiny", "paper")
        )
    differing = sorted(tiny ^ paper)
    return Finding(
        "sizes", not differing, f"not in both: {', '.join(differing[:5])}" if differing else "same structure"
    )


def _any_height_and_width(name: str) -> Finding:
    network = disturbed(name).train()
    for height, width in SIZES:
        image = torch.rand(2, 3, height, width)
        restored = network.restore(image)
        if restored.shape != image.shape or not bool(((restored >= 0) & (restored <= 1)).all()):
            seen = f"{tuple(restored.shape)} in [{restored.min():.3g}, {restored.max():.3g}] from {tuple(image.shape)}"
            return Finding("any height and width", False, seen)
    return Finding("any height and width", network.training, f"{len(SIZES)} sizes restored to [0, 1], mode put back")


def _deterministic(name: str) -> Finding:
    network, image = disturbed(name), torch.rand(2, 3, 64, 64)
    before = copy.deepcopy(network.state_dict())
    if not torch.equal(network.restore(image), network.restore(image)):
        return Finding("deterministic", False, "the same image is restored differently the second time")
    changed = [key for key, value in network.state_dict().items() if not torch.equal(before[key], value)]
    return Finding("deterministic", not changed, f"restoring changes {', '.join(changed[:5])}" if changed else "")


def _seed(name: str) -> Finding:
    first, second = disturbed(name).state_dict(), disturbed(name).state_dict()
    same = all(torch.equal(value, second[key]) for key, value in first.items())
    return Finding("seed", same, "" if same else "torch's seed does not decide the initial weights")


def _batch(name: str) -> Finding:
    network, dtype = _precise(name)
    images = torch.rand(3, 3, 64, 128, dtype=dtype)
    alone = torch.cat([network.restore(image[None]) for image in images])
    far = _distance(network.restore(images), alone)
    return Finding("batch", far < 1e-4, f"images of a batch differ from single ones by {far:.1e}")


def _memory_layout(name: str) -> Finding:
    network, dtype = _precise(name)
    image = torch.rand(2, 3, 64, 64, dtype=dtype)
    moved = image.contiguous(memory_format=torch.channels_last)
    far = _distance(network.restore(moved), network.restore(image))
    return Finding("memory layout", far < 1e-4, f"channels-last input changes the result by {far:.1e}")


@torch.no_grad()
def _double_precision(name: str) -> Finding:
    network = disturbed(name)
    image = network.prepare(_images(network, 1)[0])
    far = _distance(network(image), copy.deepcopy(network).double()(image.double()))
    passed = far < 1e-4 if network.continuous else None
    return Finding("double precision", passed, f"float32 differs from float64 by {far:.1e}{_of(network)}")


def _bf16(name: str) -> Finding:
    network = disturbed(name)
    image = network.prepare(_images(network, 1)[0])
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        rough = network(image).float()
    with torch.no_grad():
        exact = network(image)
    far = float((rough - exact).square().mean().sqrt() / exact.square().mean().sqrt())
    with torch.autocast("cpu", torch.bfloat16):
        loss = _loss(network.train(), *_images(network, 2))
    loss.backward()
    if not all(value.grad is None or bool(value.grad.isfinite().all()) for value in network.parameters()):
        return Finding("bf16", False, "gradients under autocast are not finite")
    wrong, parameter = _wrong_gradient(network)
    note = f"autocast changes the output by {far:.1%}, gradients by at most {wrong:.0%} ({parameter})"
    passed = far < BF16 and wrong < BF16_GRADIENT if network.continuous else None
    return Finding("bf16", passed, f"{note}{_of(network)}")


def _wrong_gradient(network: Network) -> tuple[float, str]:
    """The largest relative difference of a parameter's gradient under autocast, and its name.

    Of the error of the pixels alone, as other losses of random images may exceed all bounds, and of parameters that
    matter: those with a thousandth of the whole gradient.
    """
    degraded, second = _images(network, 2)
    gradients: list[dict[str, Tensor]] = []
    for enabled in (True, False):
        network.zero_grad()
        torch.manual_seed(0)  # noise of routers and of stochastic depth
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            restored = network.training_forward(degraded, second).restored
        assert restored is not None, "training_forward restored nothing"
        (restored.float() - 0.5).abs().mean().backward()
        gradients.append({key: value.grad for key, value in network.named_parameters() if value.grad is not None})
    rough, exact = gradients
    least = 1e-3 * float(torch.stack([value.norm() for value in exact.values()]).norm())
    apart = {
        key: float((rough[key] - value).norm() / value.norm()) if key in rough else 1.0
        for key, value in exact.items()
        if value.norm() > least
    }
    return max(((far, key) for key, far in apart.items()), default=(0.0, "none"))


def _training_forward(name: str) -> Finding:
    """The contract: a restored image of the same shape; losses of the network's own are a scalar and one a sample."""
    network = disturbed(name).train()
    degraded, second = _images(network, 2)
    profile = next(iter(baselines.describe(name).recipe))
    views = baselines.recipe(name, profile).get("views", 1)
    output = network.training_forward(degraded, second if views == 2 else None)
    if output.restored is None or output.restored.shape != degraded.shape:
        return Finding("training forward", False, "it must give an image of the shape of the degraded one")
    if output.auxiliary is not None and output.auxiliary.ndim:
        return Finding("training forward", False, f"its own loss has shape {tuple(output.auxiliary.shape)}, not ()")
    pair = output.restored.detach(), torch.full_like(output.restored, 0.5)
    added = network.sample_loss(*pair)
    if added is not None:
        if added.shape != degraded.shape[:1]:
            return Finding("training forward", False, f"sample_loss has shape {tuple(added.shape)}, not one a sample")
        alone = network.sample_loss(*(side[:1] for side in pair))
        if alone is None or not _distance(alone, added[:1]) < 1e-4:
            return Finding("training forward", False, "sample_loss of a sample depends on the others of the batch")
    found = (("for each sample", added), ("of the whole", output.auxiliary))
    own = [kind for kind, loss in found if loss is not None]
    return Finding("training forward", True, f"losses of its own: {', '.join(own)}" if own else "no loss of its own")


def _gradient(name: str) -> Finding:
    missed = sorted(unreached(name))
    note = f"reaches all but {len(missed)}: {', '.join(missed[:5])}" if missed else "reaches every parameter"
    return Finding("gradient", None if missed else True, note)


def _separable(name: str) -> Finding:
    network, dtype = _precise(name)
    if not network.train().separable:
        return Finding("separable", None, "says itself that samples of a batch depend on each other")
    images = _images(network, 1)[0].to(dtype)
    outputs: list[Tensor] = []
    for parts in ((images,), (images,), images.split(1)):
        restored = [network.training_forward(part).restored for part in parts]
        outputs.append(torch.cat([part for part in restored if part is not None]))
    if not torch.equal(outputs[0], outputs[1]):
        return Finding("separable", None, "draws random numbers in training, so it cannot be checked")
    far = _distance(outputs[2], outputs[0])
    note = f"samples alone differ from those of a batch by {far:.1e}" + (
        "" if far < 1e-4 else "; set separable = False"
    )
    return Finding("separable", far < 1e-4, note)


def _output_layer(name: str) -> Finding:
    network = disturbed(name)
    shapes: list[torch.Size] = []
    layer = network.get_submodule(network.output_layer)
    layer.register_forward_hook(lambda module, inputs, output: shapes.append(output.shape))
    image = network.prepare(_images(network, 1)[0])
    network(image)
    return Finding("output layer", shapes == [image.shape], f"{network.output_layer} gives {[*map(tuple, shapes)]}")


def _saved(name: str) -> Finding:
    """Whether weights survive saving and loading, and what an author's file wraps around them."""
    network = disturbed(name)
    _loss(network.train(), *_images(network, 2))  # moves statistics
    file, image = io.BytesIO(), torch.rand(1, 3, 64, 64)
    torch.save(network.state_dict(), file)
    file.seek(0)
    weights: dict[str, Tensor] = torch.load(file, weights_only=True)
    wrapped = {"state_dict": {f"net.{key}": value for key, value in weights.items()}}
    wrapped["state_dict"] |= {f"net.{key}": torch.ones(1) for key in network.unused}
    loaded, published = baselines.build(name, _size(name)), baselines.build(name, _size(name))
    loaded.load_state_dict(weights, strict=True)
    found = published.load_published(wrapped)
    restored = network.restore(image)
    same = torch.equal(loaded.restore(image), restored) and torch.equal(published.restore(image), restored)
    return Finding("saved", same, f"as plain weights, and in a file as {found}")


def _copied(name: str) -> Finding:
    network, image = disturbed(name), torch.rand(1, 3, 64, 64)
    copies = (copy.deepcopy(network), pickle.loads(pickle.dumps(network)))
    same = all(torch.equal(other.restore(image), network.restore(image)) for other in copies)
    return Finding("copied", same, "by deepcopy and pickle")


def _learns(name: str) -> Finding:
    """A short training: images of one grey each, with noise."""
    torch.manual_seed(0)
    network = baselines.build(name, _size(name)).train()
    optimizer = torch.optim.Adam((value for value in network.parameters() if value.requires_grad), lr=2e-3)
    losses: list[float] = []
    side = _images(network, 1).shape[-1]
    for _ in range(STEPS):
        clean = torch.rand(4, 3, 1, 1).expand(4, 3, side, side)
        degraded, second = (clean + 0.1 * torch.randn(2, 4, 3, side, side)).clamp(0, 1)
        output = network.training_forward(degraded, second)
        assert output.restored is not None, "training_forward restored nothing"
        losses.append((output.restored - clean).abs().mean().item())
        optimizer.zero_grad()
        _total(network, output, clean).backward()
        optimizer.step()
    first, last = sum(losses[:5]) / 5, sum(losses[-5:]) / 5
    return Finding("learns", last < first, f"mean error {first:.4f} at first, {last:.4f} after {STEPS} steps")


def _cuda(name: str) -> Finding:
    if not torch.cuda.is_available():
        return Finding("cuda", None, "no CUDA device here")
    network, dtype = _precise(name)
    image, second = _images(network, 2).to(dtype)
    moved = copy.deepcopy(network).cuda()
    far = _distance(moved.restore(image.cuda()).cpu(), network.restore(image))
    norms: list[Tensor] = []
    for place, views in ((network, (image, second)), (moved, (image.cuda(), second.cuda()))):
        _loss(place.train(), *views).backward()
        gradients = [value.grad.norm().cpu() for value in place.parameters() if value.grad is not None]
        norms.append(torch.stack(gradients).norm())
    other = _distance(norms[1], norms[0])
    return Finding("cuda", far < 1e-3 and other < 1e-2, f"output differs by {far:.1e}, gradient's norm by {other:.1e}")


_TESTS = (
    _recipe, _sizes, _any_height_and_width, _deterministic, _seed, _batch, _memory_layout, _double_precision, _bf16,
    _training_forward, _gradient, _separable, _output_layer, _saved, _copied, _learns, _cuda,
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; 0 if nothing failed, 1 if something did, 2 if a network cannot be built."""
    parser = argparse.ArgumentParser("python -m baselines.conformance", description="Check what every network must do.")
    parser.add_argument("network", nargs="+", help="a name, or package.module:Class")
    failed = False
    for name in parser.parse_args(arguments).network:
        try:
            findings = check(name)
        except ValueError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        print(name)
        for finding in findings:
            mark = {True: "passed", False: "FAILED", None: "noted"}[finding.passed]
            print(f"  {finding.name:22}{mark:8}{finding.note}")
        failed |= any(finding.passed is False for finding in findings)
    return int(failed)


if __name__ == "__main__":
    torch.set_num_threads(1)  # the networks are too small for more
    sys.exit(main())
