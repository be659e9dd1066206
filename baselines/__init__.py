"""The restoration networks that strategies are compared on, their recipes and their published checkpoints.

A baseline is a module with a class derived from :class:`baselines.network.Network` and, beside it, a TOML file of the
same name: what it is, its sizes, its recipes and what a step costs. Torch is imported only when a network is built.

    import baselines

    baselines.names()                               # ["adair", "airnet", ...]
    network = baselines.build("transweather")       # published size, freshly initialised
    network.load_published(torch.load("best.pth"))  # the authors' names, with or without wrappers
    network.restore(image)                          # (B, 3, H, W) in [0, 1], any H and W
    baselines.build("mypkg.net:Plain")              # from any other module, with mypkg/net.toml
"""

from typing import TYPE_CHECKING

from baselines.registry import arguments, build, describe, names, plugins, recipe

if TYPE_CHECKING:
    from baselines.network import Network

__all__ = ["Network", "arguments", "build", "describe", "names", "plugins", "recipe"]


def __getattr__(name: str) -> object:
    if name == "Network":  # imported when it is used: torch takes seconds
        from baselines.network import Network

        return Network
    raise AttributeError(f"module 'baselines' has no attribute {name!r}")
