import os
import sys
from functools import cache
from pathlib import Path
from unittest import mock

import jaxtyping
import pytest
import scipy.stats  # noqa: F401
import skimage.metrics  # noqa: F401
import torch._dynamo
import torchjd.aggregation  # noqa: F401
from jaxtyping import install_import_hook

# Libraries come before the hook: what a checked module is the first to import is compiled, not read from its cache.

# Packages and modules whose shapes and types are checked at every call in the tests; before they are imported.
SHAPED = [
    # art
    "art.active_reweighting",
    "art.adapters",
    "art.adatask",
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
    "baselines.bioir",
    "baselines.deform_conv",
    "baselines.layers",
    "baselines.losses",
    "baselines.moceir",
    "baselines.histoformer",
    "baselines.nafnet",
    "baselines.network",
    "baselines.onerestore",
    "baselines.promptir",
    "baselines.restormer",
    "baselines.srresnet",
    "baselines.symunet",
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
sys.path.insert(0, str(Path(__file__).parent))  # miniature.py and shapes.py serve tests in every folder
install_import_hook(SHAPED, "shapes.checked")

from miniature import three_task  # noqa: E402

from benchmarks.data import photographs, scenes, sources  # noqa: E402  # behind the hook
from benchmarks.data.procedural import training_set  # noqa: E402
from benchmarks.execution.environment import keep_freed_memory  # noqa: E402

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
torch.set_num_threads(1)  # as runs of tiny networks do; more only fight with the machine's other work
keep_freed_memory()  # as runs do
for absent in (torch.cuda, torch.xpu, torch.mtia):
    if not absent.is_available():  # else every torch.manual_seed writes a traceback for each of these, for milliseconds
        absent.manual_seed_all = lambda seed: None


@pytest.fixture(scope="session", autouse=True)
def _scenes_drawn_once():
    """Every output folder keeps the embedded scenes, which take seconds to draw, half of them for checks of shapes;
    `test_procedural.py` has these."""

    @cache
    def drawn(count, size, seed):
        with mock.patch.object(jaxtyping.config, "jaxtyping_disable", True):
            return training_set(count, size, seed)

    with mock.patch.object(scenes, "training_set", drawn):
        yield


@pytest.fixture(scope="session")
def three_task_root(tmp_path_factory):
    """The miniature of three_task's data sets, for tests that only read it."""
    return three_task(tmp_path_factory.mktemp("three_task"))


@pytest.fixture(scope="module")
def few_embedded():
    """Embedded data of a few small scenes and one photograph, in this process, where it does not matter which."""
    with (
        mock.patch.object(sources, "SCENES", 8),
        mock.patch.object(sources, "SCENE_SIZE", 64),
        mock.patch.object(photographs, "_CROPS", {"chelsea": photographs._CROPS["chelsea"]}),
    ):
        yield


@pytest.fixture(scope="module", autouse=True)
def _few_figures(request):
    """Commands draw figures, which takes most of a report's time, in the tests of reports only, and where a test asks
    for them."""
    if "reports" in request.path.parts:
        yield
        return
    with mock.patch("reports.formats.files.KINDS", ()):
        yield
