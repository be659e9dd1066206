import os
import sys
from pathlib import Path
from unittest import mock

import pytest
import torch
from jaxtyping import install_import_hook

# Packages and modules whose shapes and types are checked at every call in the tests; before they are imported.
SHAPED = [
    # art
    "art.active_reweighting",
    "art.adapters",
    "art.equal_weights",
    "art.gradients",
    "art.gradnorm",
    "art.learned",
    "art.learning",
    "art.strategy",
    "art.task_losses",
    "art.tchebycheff",
    "art.uncertainty",
    # baselines (not deform_conv_kernels: numba compiles it)
    "baselines.adair",
    "baselines.airnet",
    "baselines.deform_conv",
    "baselines.layers",
    "baselines.nafnet",
    "baselines.network",
    "baselines.promptir",
    "baselines.restormer",
    "baselines.transweather",
    # benchmarks
    "benchmarks.scoring.metrics",
    "benchmarks.scoring.photos",
    "benchmarks.scoring.scores",
    "benchmarks.scoring.tiling",
    "benchmarks.training.checks",
    "benchmarks.training.clipping",
    "benchmarks.training.conflicts",
    "benchmarks.training.losses",
    "benchmarks.training.nonfinite",
    "benchmarks.training.rhythm",
    "benchmarks.training.validation",
    "benchmarks.data.batches",
    "benchmarks.data.cropping",
    "benchmarks.data.images",
    "benchmarks.data.on_device",
    "benchmarks.data.photographs",
    "benchmarks.data.pools",
    "benchmarks.data.procedural",
    "benchmarks.data.degradations._degradation",
    "benchmarks.data.degradations._mixtures",
    "benchmarks.data.degradations.blur",
    "benchmarks.data.degradations.downscale",
    "benchmarks.data.degradations.gamma",
    "benchmarks.data.degradations.gaussian_blur",
    "benchmarks.data.degradations.haze",
    "benchmarks.data.degradations.jpeg",
    "benchmarks.data.degradations.low_light",
    "benchmarks.data.degradations.noise",
    "benchmarks.data.degradations.rain",
    "benchmarks.data.degradations.rain_fog",
    "benchmarks.data.degradations.raindrops",
    "benchmarks.data.degradations.snow",
]
install_import_hook(SHAPED, "shapes.checked")

from benchmarks.execution.environment import keep_freed_memory  # noqa: E402  # behind the hook

sys.path.insert(0, str(Path(__file__).parent))  # miniature.py and shapes.py serve tests in every folder
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
torch.set_num_threads(1)  # as runs of tiny networks do; more only fight with the machine's other work
keep_freed_memory()  # as runs do


@pytest.fixture(scope="module", autouse=True)
def _few_figures(request):
    """Commands draw figures, which takes most of a report's time, in the tests of reports only, and where a test asks
    for them."""
    if "reports" in request.path.parts:
        yield
        return
    with mock.patch("reports.formats.files.KINDS", ()):
        yield
