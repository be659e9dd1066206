"""What every strategy must do, checked on a toy network."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from art.command import begin, end

if __name__ == "__main__":  # torch takes seconds
    begin("Checking strategies on a toy network.")

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import art
from art.adapters import ScalarizerStrategy
from art.learned import LearnedWeights

TASKS = ("denoise_25", "derain", "dehaze", "deblur")
SMALLEST_ANGLE = 1.0  # degrees: closer to those of equal weights, updates count as having no effect
SHORT = 400  # steps of the shortest demo run


@dataclass(frozen=True)
class Finding:
    """``passed`` is ``None`` where a property is only reported or does not apply; ``note`` says what was seen."""

    name: str
    passed: bool | None
    note: str = ""


class ToyNetwork(nn.Module):
    """A network small enough to train in milliseconds, with an output layer as the real ones have."""

    output_layer = "output"

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 6, 3, padding=1)
        self.output = nn.Conv2d(6, 3, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) to the same shape."""
        return image + self.output(F.gelu(self.body(image)))


def task_losses(errors: Tensor, counts: Sequence[int]) -> art.TaskLosses:
    """The task losses of (B, 3, H, W) absolute errors, the samples of a task side by side."""
    means = iter(errors.mean(dim=(1, 2, 3)).split([count for count in counts if count]))
    losses = torch.stack([next(means).mean() if count else torch.zeros(()) for count in counts])
    return art.TaskLosses(losses, torch.tensor(counts, dtype=torch.float32), errors)


class _Loop:
    """A training loop of a few steps; task k's images are darkened and disturbed in its own way."""

    def __init__(self, spec: str, order: Sequence[int] = range(len(TASKS))):
        self.order = list(order)
        torch.manual_seed(0)
        self.network = ToyNetwork()
        self.strategy = art.make(spec, [TASKS[task] for task in order])
        self.strategy.bind(self.network)
        learned = [*self.network.parameters(), *self.strategy.parameters()]
        self.optimizer = torch.optim.AdamW(learned, lr=1e-2)

    def losses(self, step: int, counts: Sequence[int], bf16: bool = False) -> art.TaskLosses:
        images: list[tuple[Tensor, Tensor]] = []
        for task, count in zip(self.order, counts, strict=True):
            generator = torch.Generator().manual_seed(100 * step + task)
            clean = torch.rand(count, 3, 8, 8, generator=generator)
            noise = torch.randn(clean.shape, generator=generator)
            images.append((clean * (1 - 0.15 * task) + 0.05 * (task + 1) * noise, clean))
        degraded, clean = (torch.cat(side) for side in zip(*images, strict=True))
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            restored = self.network(degraded)
        return task_losses((restored.float() - clean).abs(), counts)

    def step(self, step: int, counts: Sequence[int] = (2, 2, 2, 2), bf16: bool = False) -> None:
        torch.manual_seed(step)
        self.network.train()
        self.optimizer.zero_grad()
        self.strategy.backward(self.losses(step, counts, bf16), None, self.network.parameters())
        self.strategy.step(self.optimizer)
        with torch.no_grad():
            self.strategy.after_step(lambda: self.losses(step, counts, bf16).values)
        if step % 3 == 2:
            self.strategy.end_epoch()

    def steps(self, steps: range, bf16: bool = False) -> list[Tensor]:
        """The strategy's weights after each of these steps."""
        weights: list[Tensor] = []
        for step in steps:
            self.step(step, bf16=bf16)
            weights.append(self.strategy.weights.clone())
        return weights

    def parameters(self) -> Tensor:
        return torch.cat([parameter.detach().flatten() for parameter in self.network.parameters()])


def check(spec: str) -> list[Finding]:
    """All findings for a strategy.

    Raises:
        ValueError: if it cannot be built.
    """
    art.make(spec, TASKS)
    tests = (_finite, _acts, _learns, _optimum, _absent, _equivariant, _state, _bf16, _search)
    return [_guarded(test, spec) for test in tests]


def _guarded(test: Callable[[str], Finding], spec: str) -> Finding:
    try:
        return test(spec)
    except Exception as error:  # a user's class may raise anything; it is a finding, not our failure
        return Finding(test.__name__.strip("_"), False, f"{type(error).__name__}: {error}")


def _finite(spec: str) -> Finding:
    loop = _Loop(spec)
    weights = torch.stack(loop.steps(range(8)))
    without = bool(weights.isnan().all())
    passed = bool((without or weights.isfinite().all()) and loop.parameters().isfinite().all())
    note = "no weights: works on gradients as a whole" if without else f"last weights {_shown(weights[-1])}"
    return Finding("finite", passed, note)


def _acts(spec: str) -> Finding:
    """Whether the update is another than that of equal weights, up to a factor; of a strategy with a step of its own,
    whether it is another than the optimizer's."""
    loop, angles = _Loop(spec), list[float]()
    parameters, own_step = list(loop.network.parameters()), type(loop.strategy).step is not art.Strategy.step
    shadow = [parameter.detach().clone() for parameter in parameters]  # what the optimizer would make of its gradients
    optimizer = torch.optim.AdamW(shadow, lr=1e-2)
    for step in range(30):
        equal = torch.autograd.grad(loop.losses(step, (2, 2, 2, 2)).stacked.mean(), parameters)
        starts = [[one.detach().clone() for one in side] for side in (parameters, shadow)]
        loop.step(step)
        angles.append(_angle(equal, [parameter.grad for parameter in parameters if parameter.grad is not None]))
        if own_step:
            for one, parameter in zip(shadow, parameters, strict=True):
                one.grad = parameter.grad
            optimizer.step()
            ours, plain = (
                [end - start for end, start in zip(*side, strict=True)]
                for side in zip((parameters, shadow), starts, strict=True)
            )
            angles.append(_angle(ours, plain))
    largest = max(angles)
    if largest < SMALLEST_ANGLE:
        return Finding("acts", None, "no effect here: its updates have the direction of equal weights")
    return Finding("acts", True, f"its updates lie up to {largest:.0f} degrees from those of equal weights")


def _angle(one: Sequence[Tensor], other: Sequence[Tensor]) -> float:
    """Degrees between two lists of tensors, each taken as one vector."""
    sides = (torch.cat([tensor.detach().flatten() for tensor in side]) for side in (one, other))
    return float(F.cosine_similarity(*sides, dim=0).clamp(-1, 1).arccos().rad2deg())


def _optimum(spec: str) -> Finding:
    """Whether learned weights, where it is known where steady losses lead them, get there in a short run."""
    strategy = art.make(spec, TASKS)
    if not (isinstance(strategy, ScalarizerStrategy) and isinstance(strategy.scalarizer, LearnedWeights)):
        return Finding("optimum", None, "no optimum of its weights is declared")
    generator, weights = torch.Generator().manual_seed(0), list[Tensor]()
    start, levels = torch.full((4,), 0.3), torch.tensor([1.0, 0.01, 0.1, 0.03])
    for step in range(SHORT):
        losses = (levels if step >= 10 else start) * (0.7 + 0.6 * torch.rand(4, generator=generator))
        strategy.backward(art.TaskLosses(losses.requires_grad_(), torch.ones(4)))
        weights.append(strategy.weights)
    wrong = (torch.stack(weights[-50:]).mean(0) / strategy.scalarizer.optimum(levels) - 1).abs().max()
    note = f"after {SHORT} steps of losses 1 : 0.01 : 0.1 : 0.03 weights within {wrong:.0%} of their optimum"
    return Finding("optimum", bool(wrong < 0.2), note)


def _learns(spec: str) -> Finding:
    loop = _Loop(spec)
    before = float(loop.losses(1000, (8, 8, 8, 8)).values.mean())
    loop.steps(range(60))
    after = float(loop.losses(1000, (8, 8, 8, 8)).values.mean())
    return Finding("learns", after < before, f"mean loss {before:.4f} before, {after:.4f} after 60 steps")


def _absent(spec: str) -> Finding:
    loop = _Loop(spec)
    if reason := loop.strategy.unsupported(art.Conditions(absent_tasks=True)):
        return Finding("absent", None, f"{reason}, and says so")
    for step, counts in enumerate([(2, 0, 2, 1), (0, 3, 0, 0), (1, 1, 1, 1)]):
        loop.step(step, counts)
        weights = loop.strategy.weights
        if weights.isfinite().any() and any(weights[k] != 0 for k, count in enumerate(counts) if not count):
            return Finding("absent", False, f"an absent task has weight: {_shown(weights)} for counts {counts}")
    return Finding("absent", bool(loop.parameters().isfinite().all()), "absent tasks have no weight")


def _equivariant(spec: str) -> Finding:
    ordered, permuted = _Loop(spec), _Loop(spec, [2, 0, 3, 1])
    ordered.steps(range(5))
    permuted.steps(range(5))
    same = torch.allclose(ordered.parameters(), permuted.parameters(), rtol=1e-3, atol=1e-5)
    note = (
        "the order of the tasks does not matter" if same else "the order of the tasks matters, or chance plays a part"
    )
    return Finding("equivariant", None, note)


def _state(spec: str) -> Finding:
    straight, first, second = _Loop(spec), _Loop(spec), _Loop(spec)
    straight.steps(range(10))
    first.steps(range(5))
    file, parts = io.BytesIO(), ("network", "strategy", "optimizer")
    torch.save({part: getattr(first, part).state_dict() for part in parts}, file)
    file.seek(0)
    content = torch.load(file, weights_only=True)
    for part in parts:
        getattr(second, part).load_state_dict(content[part])
    second.steps(range(5, 10))
    same = torch.equal(straight.parameters(), second.parameters())
    return Finding("resumes exactly", same, "saved, loaded and continued" + ("" if same else ": not the same"))


def _bf16(spec: str) -> Finding:
    loop = _Loop(spec)
    loop.steps(range(5), bf16=True)
    return Finding("bf16", bool(loop.parameters().isfinite().all()), "five steps under autocast")


def _search(spec: str) -> Finding:
    """Whether the strategy trains a step at the ends of every range that is declared for its parameters."""
    space, start = art.search_space(spec, TASKS), art.start(spec, TASKS)
    if not space:
        return Finding("search", None, "nothing of it is declared for a search")
    for key, values in space.items():
        for value in values.ends:
            trial = art.with_parameters(spec, start | {key: value}, TASKS)
            loop = _Loop(trial)
            loop.step(0)
            if not loop.parameters().isfinite().all():
                return Finding("search", False, f"after a step of {trial}, parameters are not finite")
    return Finding("search", True, f"a step at both ends of the declared: {', '.join(space)}")


def _shown(weights: Tensor) -> str:
    return "[" + ", ".join(f"{weight:.3g}" for weight in weights.tolist()) + "]"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; 0 if nothing failed, 1 if something did, 2 if the strategy cannot be built."""
    parser = argparse.ArgumentParser("python -m art.conformance", description=__doc__)
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
            mark = {True: "passed", False: "FAILED", None: "noted"}[finding.passed]
            print(f"  {finding.name:16}{mark:8}{finding.note}")
        failed |= any(finding.passed is False for finding in findings)
    return int(failed)


if __name__ == "__main__":
    torch.set_num_threads(1)  # the network is too small for more, which would wait for each other
    end(main)
