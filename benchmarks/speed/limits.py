"""How close a step comes to the machine's speed: its operations a second over those of a plain matrix product.

Only convolutions, matrix products and attention count as operations (torch's FlopCounterMode); norms, activations and
sampling take time as well, so that 1 is out of reach.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch.utils.flop_counter import FlopCounterMode

import baselines
from benchmarks.execution.timing import interleaved
from benchmarks.speed import plain
from benchmarks.speed.timing import Measure
from benchmarks.speed.training import batch_of, network_of, ours

SIDE = 2048  # of the square matrices
IMAGE = (320, 480)  # of CBSD68, cut as airnet_rgb does


def shares(rounds: int, threads: int) -> Iterator[Measure]:
    """The share of AirNet's training step, and of restoring an image with TransWeather, on a CPU."""
    torch.set_num_threads(threads)
    device = torch.device("cpu")
    first, second = torch.rand(2, SIDE, SIDE)
    image = torch.rand(1, 3, *IMAGE)
    network = baselines.build("transweather", "paper").eval()
    step = ours(network_of("airnet", "paper", device), batch_of(2, 64, device, views=2), "fp32")
    cases = {
        "training step, airnet paper, batch 2, patch 64": step,
        f"restoring {IMAGE[1]}x{IMAGE[0]} pixels, transweather paper": lambda: network.restore(image),
    }
    counts = {case: _operations(call) for case, call in cases.items()}
    medians = interleaved({"product": lambda: first @ second, **cases}, rounds)
    possible = 2 * SIDE**3 / medians["product"]
    for case, count in counts.items():
        reached = count / medians[case]
        values = {"gflop": count / 1e9, "ms": 1000 * medians[case], "possible_gflop_per_s": possible / 1e9}
        yield Measure("limits", case, reached / possible, "", values, rounds)


def _operations(call: Callable[[], object]) -> int:
    """Floating-point operations of a call; the deformable convolution's are counted in the way that torch sees."""
    with plain.visible_convolutions(), FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()
