"""The forward passes of a training: as the network is written, compiled (``train.compile``), or replayed as CUDA graphs
(``train.graphs``). Either changes rounding only."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch._functorch.config
from torch import Tensor, nn

from art.shapes import Images
from baselines.network import Network, Output
from benchmarks.config.sections import TrainConfig
from benchmarks.training import precision
from benchmarks.training.graphs import PassGraph
from benchmarks.training.pace import Pace
from benchmarks.training.unchanged import unchanged

COMPILING = 120.0  # s that compiling is taken to cost: 51 s were measured for the fastest of the large networks
SAVED = 0.3  # of a step's time, that compiling is taken to save
RECOMPILATIONS = 6  # at most; below the 8 at which torch itself gives up, without a word to users
EAGER = 3  # steps that are looked at before one is recorded

_Forward = Callable[[Images, "Images | None"], Output]


class ForwardPass:
    """Runs a network's passes in training mode, and decides how.

    Args:
        network: to be trained.
        train: the recipe; ``compile`` and ``graphs`` among it.
        device: where the network is.
        processes: that share a batch; graphs are for one alone.
        pace: of the steps, on a GPU.
        graph: what records a pass, as :class:`~benchmarks.training.graphs.PassGraph`; ``None`` where nothing can.
        backend: of ``torch.compile``.
    """

    def __init__(
        self,
        network: Network,
        train: TrainConfig,
        device: torch.device,
        processes: int = 1,
        pace: Pace | None = None,
        graph: Callable[..., PassGraph] | None = None,
        backend: str = "inductor",
    ):
        on_gpu = device.type == "cuda"
        self.network, self.train, self.device, self.processes = network, train, device, processes
        self.backend, self.recompilations = backend, 0
        self.was_compiled = self.was_graphed = False  #: how the last passes were done
        self._pace, self._make_graph = pace or (Pace() if on_gpu else None), graph or (PassGraph if on_gpu else None)
        self._compiled: _Forward | None = None
        self._graph: PassGraph | None = None
        self._graphed_auxiliary = False
        # whether it is still to be decided; auto leaves alone what must have the same bits again
        auto = self._pace is not None and not train.deterministic
        self._to_compile = self._traceable("compile", train.compile) and _undecided(train.compile, auto)
        self._to_record = self._traceable("graphs", train.graphs) and _undecided(train.graphs, auto)
        self._walks: list[_Walks] = []

    def _traceable(self, name: str, switch: str) -> bool:
        if self.processes > 1 and not self.network.separable:
            # a pass that one process tries out would wait for the others
            if switch == "on":
                self._say(f"train.{name} is off: in a pass of this network the processes exchange what they need")
            return False
        if not self.network.traceable and switch == "on":
            self._say(f"train.{name} is off: the network chooses its layers by values that it reads on the host")
        return self.network.traceable

    def eager(self, degraded: Images, second: Images | None = None, warmup: bool = False, cache: bool = True) -> Output:
        """A pass as the network is written. ``cache``: see :func:`benchmarks.training.precision.autocast`."""
        with precision.autocast(self.train, self.device, cache):
            return self.network.training_forward(degraded, second, warmup=warmup)

    def joint(self, step: int, degraded: Images, second: Images | None = None, warmup: bool = False) -> Output:
        """The pass of a whole batch. The images of a graph's result are valid until the next one.

        Args:
            step: 0, 1, ...
            degraded, second, warmup: as of :meth:`baselines.network.Network.training_forward`.
        """
        if warmup:
            return self.eager(degraded, second, warmup=True)
        if self._pace:
            self._pace.begin()
        if self._to_compile and self._pays(step):
            self._compile(degraded, second)
        elif self._to_record and not self._to_compile and self._is_time():
            self._record(degraded, second)
        result = self._replayed(degraded, second) if self._graph else None
        if result is None:
            result = self._pass(degraded, second)
            result = self._counted(result) if self._to_record else result
        if self._pace:
            self._pace.launched()
        return result

    def part(self, step: int, degraded: Images) -> Output:
        """The pass of one task's samples, of which there may be another number in each step."""
        if self._pace:
            self._pace.begin()
        self._no_graph("every task has a pass of its own, of another size in each step")
        if self._to_compile and self._pays(step):
            self._compile(degraded, None, dynamic=True)
        if self._compiled:
            torch._dynamo.maybe_mark_dynamic(degraded, 0)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # its documented place
        return self._pass(degraded, None)

    def _pass(self, degraded: Images, second: Images | None) -> Output:
        if self._compiled is None:
            return self.eager(degraded, second)
        before = _compilations()
        result = self._compiled(degraded, second)
        if _compilations() > before:
            self.recompilations += 1
            if self.recompilations > RECOMPILATIONS:
                self._compiled, self.was_compiled = None, False
                self._say(f"the network was compiled {RECOMPILATIONS + 1} times over; training goes on uncompiled")
        return result

    def _pays(self, step: int) -> bool:
        """Whether to compile now; settles the question where that never pays."""
        if self.train.compile == "on":
            return True
        seconds = self._pace.seconds if self._pace else None
        if seconds is None:
            return False
        pays = (self.train.steps - step) * seconds * SAVED > COMPILING
        self._to_compile = pays
        return pays

    def _compile(self, degraded: Images, second: Images | None, dynamic: bool = False) -> None:
        """Compile, and try it out on a batch, so that what fails does so before anything is changed."""
        self._to_compile = False
        if _has_hooks(self.network):
            return self._say("train.compile is off, for the strategy or the network looks at layers from outside")
        options: dict[str, Any] | None = {"fallback_random": True} if self.backend == "inductor" else None
        # A backward pass that reuses the memory of activations could be done only once. Torch asks at that pass too.
        torch._functorch.config.donated_buffer = False  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        function = torch.compile(_entry(self.network), backend=self.backend, options=options, dynamic=False)

        def compiled(degraded: Images, second: Images | None) -> Output:
            with precision.autocast(self.train, self.device, cache=False):
                return function(degraded, second)

        parameters = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        try:
            with unchanged(self.network):
                if dynamic:
                    torch._dynamo.maybe_mark_dynamic(degraded, 0)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
                results = [result for result in compiled(degraded, second) if result is not None]
                slopes = [torch.zeros_like(result) for result in results]
                torch.autograd.grad(results, parameters, slopes, allow_unused=True)
        except Exception as error:  # of a compiler, of a network that cannot be traced
            return self._say(f"the network cannot be compiled here, and trains uncompiled ({_cause(error)})")
        self._compiled, self.was_compiled = compiled, True
        if self._pace:
            self._pace, self._walks = type(self._pace)(), []  # compiled steps have another one

    def _is_time(self) -> bool:
        """Whether enough steps were looked at to record one, and it is worth it; settles the question where not."""
        if reason := self._unrecordable():
            self._no_graph(reason)
            return False
        if len(self._walks) < EAGER:
            return False
        if any(walks.count != 1 for walks in self._walks):
            self._no_graph("the strategy walks back through the network more than once in a step")
            return False
        if self.train.graphs == "on":
            return True
        bound = self._pace.host_bound if self._pace else False
        self._to_record = bound is not False
        return bool(bound)

    def _unrecordable(self) -> str | None:
        if self._make_graph is None:
            return "they are for CUDA GPUs"
        if self.processes > 1:
            return "several processes share the batches"
        if _has_hooks(self.network):
            return "the strategy or the network looks at layers from outside"
        return None

    def _no_graph(self, reason: str) -> None:
        if self._to_record and self.train.graphs == "on":
            self._say(f"train.graphs is off: {reason}")
        self._to_record = False

    def _record(self, degraded: Images, second: Images | None) -> None:
        assert self._make_graph is not None
        self._to_record = False

        def forward(degraded: Images, second: Images | None = None) -> list[Tensor]:
            pass_ = self._compiled or (lambda *images: self.eager(*images, cache=False))
            restored, auxiliary = pass_(degraded, second)
            assert restored is not None
            self._graphed_auxiliary = auxiliary is not None
            return [restored] if auxiliary is None else [restored, auxiliary]

        self._walks = []
        try:
            self._graph = self._make_graph(forward, self.network, _given(degraded, second))
            self.was_graphed = True
        except Exception as error:  # of CUDA, of a network that cannot be recorded
            self._say(f"steps are not replayed as CUDA graphs: {_first_line(error)}")

    def _replayed(self, degraded: Images, second: Images | None) -> Output | None:
        images = _given(degraded, second)
        if self._graph is None or not self._graph.fits(images):
            return None
        restored, *others = self._graph(images)
        return Output(restored, others[0] if self._graphed_auxiliary else None)

    def _counted(self, output: Output) -> Output:
        """The same output, with its backward passes counted."""
        self._walks = [*self._walks, _Walks()][-EAGER:]
        given = [result for result in output if result is not None]
        counted = iter(_Count.apply(self._walks[-1], *given))
        return Output(*(None if result is None else next(counted) for result in output))

    def close(self) -> None:
        """Free what was compiled and recorded."""
        self._graph = self._compiled = None

    def _say(self, words: str) -> None:
        print(f"warning: {words}.", file=sys.stderr, flush=True)


class _Walks:
    """How many backward passes went through a step's results."""

    def __init__(self) -> None:
        self.count = 0


class _Count(torch.autograd.Function):
    """Counts backward passes."""

    @staticmethod
    def forward(ctx: Any, walks: _Walks, *results: Tensor) -> tuple[Tensor, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx.walks = walks
        return tuple(result.view_as(result) for result in results)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx.walks.count += 1
        return (None, *slopes)


def _entry(network: Network) -> _Forward:
    """The network's pass as a function with code of its own: torch keeps what it compiled with the code, and gives up
    on code that it has compiled 8 times, for whichever network."""

    def entry(degraded: Images, second: Images | None) -> Output:
        return network.training_forward(degraded, second)

    entry.__code__ = entry.__code__.replace()
    return entry


def _undecided(switch: str, auto: bool) -> bool:
    return switch == "on" or (switch == "auto" and auto)


def _given(degraded: Images, second: Images | None) -> Sequence[Tensor]:
    return [degraded] if second is None else [degraded, second]


def _has_hooks(network: nn.Module) -> bool:
    """Whether code from outside is called with a layer's inputs, results or gradients."""
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return any(getattr(module, kind) for module in network.modules() for kind in kinds)


def _compilations() -> int:
    """Graphs that torch has compiled in this process."""
    from torch._dynamo.utils import counters  # nothing public counts them

    return counters["stats"]["unique_graphs"]


def _cause(error: Exception) -> str:
    """What a compiler said; that for CPUs does not say that it takes no folder with a space."""
    said, (place, *_) = _first_line(error), torch.__path__
    return f"{said}: PyTorch lies in a folder with a space, {place}" if "Cpp" in said and " " in place else said


def _first_line(error: Exception) -> str:
    first, *others = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return f"{first} {others[0]}".rstrip(".") if others and first.endswith(":") else first.rstrip(".")
