"""What a training step costs with a strategy, over mix's, as it is kept beside the runs.

A ratio that runs were planned with stays in the output folder, so that the same command means the same runs.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from benchmarks.config.configuration import Config
from benchmarks.config.errors import UserError
from results import write_text

COSTS = "costs.json"
LARGEST = 1000.0  # of a ratio that can be meant


class StepCost(BaseModel):
    """Cost of a strategy's step over mix's.

    Attributes:
        ratio: of median seconds, or as it was given.
        mix_ms, ms: the medians; ``None`` where the ratio was given.
        device: where they were measured.
    """

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    ratio: float = Field(gt=0, le=LARGEST)
    mix_ms: float | None = None
    ms: float | None = None
    device: str = ""


_Kept = dict[str, dict[str, StepCost]]
_KEPT = TypeAdapter(_Kept)


class StepCosts:
    """The ratios kept in an output folder, by what is trained and by strategy.

    Args:
        output: the folder.
        given: ratios by strategy, which then stand for every network; they are kept, too.

    Raises:
        UserError: for a file that cannot be read as such.
    """

    def __init__(self, output: Path, given: Mapping[str, float]):
        self.path, self.given = output / COSTS, given
        self._kept: _Kept = {}
        if self.path.exists():
            try:
                self._kept = _KEPT.validate_json(self.path.read_bytes())
            except (ValidationError, OSError) as error:
                raise UserError(f"{self.path} cannot be read as ratios of costs; mend it, or move it away.") from error

    def ratio(self, config: Config) -> float | None:
        """Of a run's strategy; ``None`` where it is neither given nor kept."""
        kept = self._kept.get(self.place(config), {}).get(config.strategy)
        given = self.given.get(config.strategy) or self.given.get(config.terms.tuned)
        return given or (kept.ratio if kept else None)

    @staticmethod
    def place(config: Config) -> str:
        """What a step depends on besides the strategy: ``three_task, nafnet, tiny, 10 x 64, fp32``."""
        train, tasks = config.train, ",".join(config.tasks)
        parts = [config.setting, tasks, config.baseline, config.size, f"{train.batch} x {train.patch}", train.precision]
        return ", ".join(filter(None, parts))

    def keep(self, config: Config, cost: StepCost) -> None:
        """Keep what a run's strategy costs."""
        self._kept.setdefault(self.place(config), {})[config.strategy] = cost
        content = {what: dict(sorted(costs.items())) for what, costs in sorted(self._kept.items())}
        write_text(self.path, json.dumps(_KEPT.dump_python(content, exclude_none=True), indent=1) + "\n")


def given_ratios(texts: Sequence[str], canonical: Callable[[str], str]) -> dict[str, float]:
    """``SPEC=RATIO`` as ratios by strategy.

    Raises:
        UserError: for one that is none.
    """
    found: dict[str, float] = {}
    for text in texts:
        spec, _, number = text.rpartition("=")
        try:
            ratio = float(number)
            name = canonical(spec)
        except ValueError as error:
            raise UserError(f"--cost-ratio {text!r}: expected STRATEGY=RATIO, such as art=1.02 ({error}).") from error
        if not (math.isfinite(ratio) and 0 < ratio <= LARGEST):
            raise UserError(f"--cost-ratio {text!r}: a ratio lies above 0, and is {LARGEST:g} at most.")
        found[name] = ratio
    return found
