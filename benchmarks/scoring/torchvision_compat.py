"""Make torchvision importable where its compiled operators do not load.

torchvision's compiled part must match the installed torch build; beside a CPU build of torch from another index it does
not load, and `import torchvision` then fails with "operator torchvision::nms does not exist", although its Python part
(which pyiqa and others need) would work. Declaring the two operators it asks for is enough. Where the compiled part
loads, nothing is done.
"""

import functools
import importlib.util
from pathlib import Path

import torch

_SCHEMAS = ("nms", "qnms")  # the operators that torchvision's Python part registers functions for while it is imported
_declarations: list[torch.library.Library] = []  # torch drops a declaration together with its object


@functools.cache
def prepare() -> bool:
    """Declare the missing operators if need be, so that `import torchvision` works afterwards.

    Returns:
        True if torchvision's compiled operators are there, False if only its Python part can be used.

    Raises:
        ImportError: if torchvision is not installed.
    """
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        raise ImportError("torchvision is not installed")
    if any(_loads(library) for library in sorted(Path(spec.origin).parent.glob("_C*"))):
        return True
    declarations = torch.library.Library("torchvision", "FRAGMENT")
    _declarations.append(declarations)
    for name in _SCHEMAS:
        if not hasattr(torch.ops.torchvision, name):
            declarations.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return False


def _loads(library: Path) -> bool:
    """Whether this compiled library fits the torch in use."""
    try:
        torch.ops.load_library(str(library))
    except OSError:
        return False
    return True
