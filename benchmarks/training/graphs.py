"""A forward and a backward pass recorded once as CUDA graphs and replayed in every step.

A small network's step is hundreds of kernels that take a GPU less time than the host takes to launch them. A graph
launches them all at once. What is replayed is what ran when it was recorded: the same kernels on the same memory, with
new images, weights and random numbers, but without any of the code in between.
"""

from __future__ import annotations

import gc
import random
import warnings
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from benchmarks.config.errors import UserError
from benchmarks.training.unchanged import unchanged

Work = Callable[[], list[Tensor | None]]
"""Computes something, always in the same way, from tensors that stay where they are."""

Record = Callable[[Work], tuple[list[Tensor | None], Callable[[], None]]]
"""Records work; returns its results and what does it again, into the same tensors."""

_WAITS = "synchronizing CUDA operation"  # in torch's warnings
WARM = 3  # passes before the recording: libraries set themselves up, and compiled code is made


class NotRecordable(Exception):
    """Why a pass cannot be replayed, in words."""


class PassGraph:
    """A forward pass as one operation, whose backward pass is another one.

    Args:
        forward: from images to results, of which some have a graph; called in training mode.
        network: whose parameters it uses; it is left as it is.
        images: of a step; those of later ones have the same shapes.
        recording: how work is recorded, as :func:`recording_on_gpu`.

    Raises:
        NotRecordable: for a pass that would not be the same when replayed.
        Exception: what else a pass or a recording may raise.
    """

    def __init__(
        self,
        forward: Callable[..., Sequence[Tensor]],
        network: nn.Module,
        images: Sequence[Tensor],
        recording: Callable[[], Any] | None = None,
    ):
        self._forward, self._images = forward, [image.detach().clone() for image in images]
        self.parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
        self.replays, self.walked = 0, True
        self._live: list[Tensor] = []
        gc.collect()  # a graph of an earlier step that still lives would tie this one to its stream
        with unchanged(network), (recording or recording_on_gpu)() as record:
            self._warm_up(network)
            results, self._replay_forward = record(self._pass)
            self.results = [result.detach() for result in results if result is not None]
            self.differentiable = [result.requires_grad for result in self._live]
            # zeros, so that a recording that computes has something to compute with
            self.slopes = [torch.zeros_like(result) for result in self._differentiable(self.results)]
            self.gradients, self._replay_backward = record(self._walk)
        self._live = []

    def fits(self, images: Sequence[Tensor]) -> bool:
        """Whether images have the shapes that were recorded."""
        return [image.shape for image in images] == [image.shape for image in self._images]

    def __call__(self, images: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The results for images, with graph. They are valid until the next call."""
        for mine, given in zip(self._images, images, strict=True):
            mine.copy_(given)
        return _Replay.apply(self, *self.parameters)

    def replay_forward(self) -> int:
        """Do the forward pass again; returns its number."""
        self._replay_forward()
        self.replays, self.walked = self.replays + 1, False
        return self.replays

    def replay_backward(self, number: int, slopes: Sequence[Tensor]) -> list[Tensor | None]:
        """Do the backward pass of a forward pass; returns the gradients of :attr:`parameters`, ``None`` where unused.

        Raises:
            UserError: if it was done before, or the activations are those of another forward pass by now.
        """
        if self.walked or number != self.replays:
            raise UserError(
                "a second backward pass through a step that is replayed as CUDA graphs, which keep no activations; "
                "use --set train.graphs=off for this strategy."
            )
        self.walked = True
        for mine, given in zip(self.slopes, slopes, strict=True):
            mine.copy_(given)
        self._replay_backward()
        return [None if gradient is None else gradient.detach() for gradient in self.gradients]

    def _differentiable(self, results: Sequence[Tensor]) -> list[Tensor]:
        return [result for result, wanted in zip(results, self.differentiable, strict=True) if wanted]

    def _pass(self) -> list[Tensor | None]:
        self._live = list(self._forward(*self._images))
        return list(self._live)

    def _walk(self) -> list[Tensor | None]:
        """Gradients of the parameters, each in memory of its own: they are scaled in place later."""
        walked = torch.autograd.grad(self._differentiable(self._live), self.parameters, self.slopes, allow_unused=True)
        found: list[Tensor | None] = []
        places: set[int] = set()
        for gradient in walked:
            if gradient is not None:  # pyright: ignore[reportUnnecessaryComparison] (torch: None where unused)
                place = gradient.untyped_storage().data_ptr()
                gradient = gradient.clone() if place in places else gradient
                places.add(place)
            found.append(gradient)
        return found

    def _warm_up(self, network: nn.Module) -> None:
        """Some passes, which must neither wait for the device nor do anything that a replay would leave out."""
        buffers = [buffer.data_ptr() for buffer in network.buffers()]
        drawn = _drawn_on_host()
        with _told_of_waits() as waits:
            for _ in range(WARM):
                self._pass()
                self.differentiable = [result.requires_grad for result in self._live]
                if not any(self.differentiable):
                    raise NotRecordable("nothing of it has a gradient")
                self.slopes = [torch.zeros_like(result) for result in self._differentiable(self._live)]
                self._walk()
        self._live = []
        if any(_WAITS in str(wait.message) for wait in waits):
            raise NotRecordable("it waits for the device")
        if _is_on_gpu(network) and _drawn_on_host() != drawn:
            raise NotRecordable("it draws random numbers on the host")
        if [buffer.data_ptr() for buffer in network.buffers()] != buffers:
            raise NotRecordable("it replaces buffers by new ones instead of changing them in place")


class _Replay(torch.autograd.Function):
    """The two replays, as autograd sees them."""

    @staticmethod
    def forward(ctx: Any, graph: PassGraph, *_parameters: Tensor) -> tuple[Tensor, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx.graph, ctx.number = graph, graph.replay_forward()
        results = tuple(result.detach() for result in graph.results)
        fixed = [result for result, wanted in zip(results, graph.differentiable, strict=True) if not wanted]
        ctx.mark_non_differentiable(*fixed)
        return results

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        graph: PassGraph = ctx.graph
        wanted = [slope for slope, one in zip(slopes, graph.differentiable, strict=True) if one]
        return (None, *graph.replay_backward(ctx.number, wanted))


@contextmanager
def recording_on_gpu() -> Generator[Record]:
    """Within this, work runs on a stream of its own, and what it gives records work there."""
    stream, pool = torch.cuda.Stream(), torch.cuda.graph_pool_handle()
    torch.cuda.synchronize()

    def record(work: Work) -> tuple[list[Tensor | None], Callable[[], None]]:
        graph = torch.cuda.CUDAGraph()
        # other threads may go on to make batches
        with torch.cuda.graph(graph, pool=pool, stream=stream, capture_error_mode="thread_local"):
            results = work()
        return results, graph.replay

    try:
        with torch.cuda.stream(stream):
            yield record
    finally:
        torch.cuda.synchronize()


@contextmanager
def _told_of_waits() -> Generator[list[warnings.WarningMessage]]:
    """Within this, torch warns of what waits for a GPU, and the warnings are kept; in a recording it would fail."""
    if not torch.cuda.is_available():
        yield []
        return
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("warn")  # no error: other threads may wait
    try:
        with warnings.catch_warnings(record=True) as waits:
            warnings.simplefilter("always")
            yield waits
    finally:
        torch.cuda.set_sync_debug_mode(before)


def _drawn_on_host() -> tuple[object, ...]:
    """Stands for how many random numbers were drawn by the host's generators."""
    return torch.get_rng_state().numpy().tobytes(), str(np.random.get_state(legacy=False)), random.getstate()


def _is_on_gpu(network: nn.Module) -> bool:
    return next(network.parameters()).device.type == "cuda"
