"""Seeds by axis: every source of chance has its own stream, none depends on the strategy."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def derive(*parts: object) -> int:
    """A 63-bit seed from any printable parts, the same on every machine and in every process."""
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(*parts: object) -> torch.Generator:
    """A CPU generator seeded with :func:`derive` of ``parts``."""
    import torch

    return torch.Generator().manual_seed(derive(*parts))
