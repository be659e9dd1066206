"""What every strategy must do, checked on a toy network: ``python -m art.conformance package.module:Class:a=b``."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from art.command import begin, end

if __name__ == "__main__":  # torch takes seconds
    begin("Checking strategies on a toy network.")

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import art
from art.strategy import Strategy

TASKS = ("denoise_25", "derain", "dehaze", "deblur")
SMALLEST_ANGLE = 1.0  # degrees: updates closer to those of equal weights are told to have no effect
SHORT = 400  # steps of the shortest demo run


@dataclass(frozen=True)
class Finding:
    """``passed`` is ``None`` where a property is only told, or does not apply; ``note`` says what was seen."""

    name: str
    passed: bool | None
    note: str = ""


class _Toy(nn.Module):
    """A network small enough to train in milliseconds, with an output layer as the real ones have."""

    output_layer = "output"

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 6, 3, padding=1)
        self.output = nn.Conv2d(6, 3, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        return image + self.output(F.gelu(self.body(image)))


class _Loop:
    """A training loop of a few steps; task k's images are darkened and disturbed in its own way."""

    def __init__(self, spec: str, order: Sequence[int] = range(len(TASKS))):
        self.order = list(order)
        torch.manual_seed(0)
        self.network = _Toy()
        self.strategy = art.make(spec, [TASKS[task] for task in order])
        self.strategy.bind(self.network)
        learned = [*self.network.parameters(), *self.strategy.parameters()]
        self.optimizer = torch.optim.AdamW(learned, lr=1e-2)

    def losses(self, step: int, counts: Sequence[int], bf16: bool = False) -> Tensor:
        return self.means(self.errors(step, counts, bf16), counts)

    @staticmethod
    def means(errors: Tensor, counts: Sequence[int]) -> Tensor:
        means = iter(errors.mean(dim=(1, 2, 3)).split([count for count in counts if count]))
        return torch.stack([next(means).mean() if count else torch.zeros(()) for count in counts])

    def errors(self, step: int, counts: Sequence[int], bf16: bool = False) -> Tensor:
        rows = []
        for task, count in zip(self.order, counts, strict=True):
            chance = torch.Generator().manual_seed(100 * step + task)
            clean = torch.rand(max(count, 1), 3, 8, 8, generator=chance)
            noise = torch.randn(clean.shape, generator=chance)
            rows.append((clean * (1 - 0.15 * task) + 0.05 * (task + 1) * noise, clean))
        kept = [pair for pair, count in zip(rows, counts, strict=True) if count]
        degraded, clean = (torch.cat(side) for side in zip(*kept, strict=True))
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            restored = self.network(degraded)
        return (restored.float() - clean).abs()

    def step(self, step: int, counts: Sequence[int] = (2, 2, 2, 2), bf16: bool = False) -> None:
        torch.manual_seed(step)
        self.network.train()
        self.optimizer.zero_grad()
        errors = self.errors(step, counts, bf16)
        losses, numbers = self.means(errors, counts), torch.tensor(counts, dtype=torch.float32)
        further = {"errors": errors} if self.strategy.needs_errors else {}
        self.strategy.backward(losses, numbers, None, self.network.parameters(), **further)
        self.optimizer.step()
        with torch.no_grad():
            self.strategy.after_step(lambda: self.losses(step, counts, bf16))
        if step % 3 == 2:
            self.strategy.end_epoch()

    def weights(self) -> Tensor:
        return torch.cat([parameter.detach().flatten() for parameter in self.network.parameters()])


def check(spec: str) -> list[Finding]:
    """All findings for a strategy.

    Raises:
        ValueError: if it cannot be made.
    """
    art.make(spec, TASKS)
    return [_guarded(test, spec) for test in (_finite, _acts, _learns, _optimum, _absent, _equivariant, _state, _bf16)]


def _guarded(test: Callable[[str], Finding], spec: str) -> Finding:
    try:
        return test(spec)
    except Exception as error:  # a user's class may raise anything; it is a finding, not our failure
        return Finding(test.__name__.strip("_"), False, f"{type(error).__name__}: {error}")


def _steps(loop: _Loop, steps: range, **options: object) -> Iterator[Strategy]:
    for step in steps:
        loop.step(step, **options)
        yield loop.strategy


def _finite(spec: str) -> Finding:
    loop = _Loop(spec)
    seen = [strategy.weights.clone() for strategy in _steps(loop, range(8))]
    weights = torch.stack(seen)
    told = "no weights: works on gradients as a whole" if weights.isnan().all() else f"last weights {_shown(seen[-1])}"
    good = weights.isfinite().all() or weights.isnan().all()
    return Finding("finite", bool(good and loop.weights().isfinite().all()), told)


def _acts(spec: str) -> Finding:
    """Whether the update is another than that of equal weights, up to a factor."""
    loop, angles = _Loop(spec), []
    for step in range(30):
        parameters = list(loop.network.parameters())
        equal = torch.autograd.grad(loop.losses(step, (2, 2, 2, 2)).mean(), parameters)
        loop.step(step)
        sides = (torch.cat([gradient.flatten() for gradient in side]) for side in (equal, [p.grad for p in parameters]))
        angles.append(float(F.cosine_similarity(*sides, dim=0).clamp(-1, 1).arccos().rad2deg()))
    largest = max(angles)
    if largest < SMALLEST_ANGLE:
        return Finding("acts", None, "no effect here: its updates have the direction of equal weights")
    return Finding("acts", True, f"its updates lie up to {largest:.0f} degrees from those of equal weights")


def _optimum(spec: str) -> Finding:
    """Whether learned weights, where it is known where steady losses lead them, get there in a short run."""
    strategy = art.make(spec, TASKS)
    optimum = getattr(getattr(strategy, "scalarizer", None), "optimum", None)
    if optimum is None:
        return Finding("optimum", None, "no optimum of its weights is declared")
    chance, seen = torch.Generator().manual_seed(0), []
    for step in range(SHORT):
        levels = torch.tensor([1.0, 0.01, 0.1, 0.03]) if step >= 10 else torch.full((4,), 0.3)  # they start elsewhere
        losses = levels * (0.7 + 0.6 * torch.rand(4, generator=chance))
        strategy.backward(losses.requires_grad_(), torch.ones(4))
        seen.append(strategy.weights)
    wrong = (torch.stack(seen[-50:]).mean(0) / optimum(levels) - 1).abs().max()
    note = f"after {SHORT} steps of losses 1 : 0.01 : 0.1 : 0.03 weights within {wrong:.0%} of their optimum"
    return Finding("optimum", bool(wrong < 0.2), note)


def _learns(spec: str) -> Finding:
    loop = _Loop(spec)
    before = float(loop.losses(1000, (8, 8, 8, 8)).detach().mean())
    list(_steps(loop, range(60)))
    after = float(loop.losses(1000, (8, 8, 8, 8)).detach().mean())
    return Finding("learns", after < before, f"mean loss {before:.4f} before, {after:.4f} after 60 steps")


def _absent(spec: str) -> Finding:
    loop = _Loop(spec)
    if not loop.strategy.handles_absent:
        return Finding("absent", None, "needs every task in every batch, and says so")
    for step, counts in enumerate([(2, 0, 2, 1), (0, 3, 0, 0), (1, 1, 1, 1)]):
        loop.step(step, counts)
        weights = loop.strategy.weights
        if weights.isfinite().any() and any(weights[k] != 0 for k, count in enumerate(counts) if not count):
            return Finding("absent", False, f"an absent task has weight: {_shown(weights)} for counts {counts}")
    return Finding("absent", bool(loop.weights().isfinite().all()), "absent tasks have no weight")


def _equivariant(spec: str) -> Finding:
    order = [2, 0, 3, 1]
    one, other = _Loop(spec), _Loop(spec, order)
    list(_steps(one, range(5)))
    list(_steps(other, range(5)))
    same = torch.allclose(one.weights(), other.weights(), rtol=1e-3, atol=1e-5)
    note = (
        "the order of the tasks does not matter" if same else "the order of the tasks matters, or chance plays a part"
    )
    return Finding("equivariant", None, note)


def _state(spec: str) -> Finding:
    straight, first = _Loop(spec), _Loop(spec)
    list(_steps(straight, range(10)))
    list(_steps(first, range(5)))
    file = io.BytesIO()
    parts = {"network": first.network, "strategy": first.strategy, "optimizer": first.optimizer}
    torch.save({name: part.state_dict() for name, part in parts.items()}, file)
    file.seek(0)
    content = torch.load(file, weights_only=True)
    second = _Loop(spec)
    for name in parts:
        getattr(second, name).load_state_dict(content[name])
    list(_steps(second, range(5, 10)))
    same = torch.equal(straight.weights(), second.weights())
    return Finding("resumes exactly", same, "saved, loaded and continued" + ("" if same else ": not the same"))


def _bf16(spec: str) -> Finding:
    loop = _Loop(spec)
    list(_steps(loop, range(5), bf16=True))
    return Finding("bf16", bool(loop.weights().isfinite().all()), "five steps under autocast")


def _shown(weights: Tensor) -> str:
    return "[" + ", ".join(f"{weight:.3g}" for weight in weights.tolist()) + "]"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; 0 if nothing failed, 1 if something did, 2 if the strategy cannot be made."""
    parser = argparse.ArgumentParser("python -m art.conformance", description=__doc__.split(":")[0])
    parser.add_argument("strategy", nargs="+", help="a name, or package.module:Class:param=value")
    failed = False
    for spec in parser.parse_args(arguments).strategy:
        try:
            findings = check(spec)
        except ValueError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        print(spec)
        for finding in findings:
            mark = {True: "passed", False: "FAILED", None: "told"}[finding.passed]
            print(f"  {finding.name:16}{mark:8}{finding.note}")
        failed |= any(finding.passed is False for finding in findings)
    return int(failed)


if __name__ == "__main__":
    torch.set_num_threads(1)  # the network is too small for more, which would wait for each other
    end(main)
