import os
import sys
from pathlib import Path

import torch
from jaxtyping import install_import_hook

# Packages and modules whose shapes and types are checked at every call in the tests; before they are imported.
SHAPED = [
    # art
    # baselines (not deform_conv_kernels: numba compiles it)
    *(f"baselines.{name}" for name in ("network", "layers", "restormer", "promptir", "adair", "nafnet", "airnet")),
    "baselines.transweather",
    "baselines.deform_conv",
    # benchmarks
]
install_import_hook(SHAPED, "beartype.beartype")

sys.path.insert(0, str(Path(__file__).parent))  # miniature.py serves tests in every folder
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
torch.set_num_threads(1)  # as runs of tiny networks do; more only fight with the machine's other work
