"""How long steps take a GPU, and whether it waits for the host: by the GPU's own clock, without waiting for it."""

from __future__ import annotations

import torch

WARM = 3  # steps that are not looked at: memory is allocated, cuDNN tries its algorithms
LOOKED_AT = 5


class Pace:
    """The steps of a training on a GPU, as far as they are done."""

    def __init__(self) -> None:
        self._begins: list[torch.cuda.Event] = []
        self._caught_up: list[bool] = []

    def begin(self) -> None:
        """At the start of a step's forward pass."""
        if len(self._begins) <= WARM + LOOKED_AT:
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            self._begins.append(event)

    def launched(self) -> None:
        """At the end of that pass, as the host sees it."""
        if len(self._caught_up) < len(self._begins):
            self._caught_up.append(self._begins[-1].query())

    @property
    def seconds(self) -> float | None:
        """Of a step, on average; ``None`` as long as the steps looked at are not done."""
        if len(self._begins) <= WARM + LOOKED_AT or not self._begins[-1].query():
            return None
        return self._begins[WARM].elapsed_time(self._begins[-1]) / 1000 / LOOKED_AT

    @property
    def host_bound(self) -> bool | None:
        """Whether the host keeps the GPU waiting: each time that a forward pass was launched, the GPU had done all that
        came before. ``None`` as long as too few steps were looked at."""
        if len(self._caught_up) <= WARM + LOOKED_AT:
            return None
        return all(self._caught_up[WARM:])
