"""What is written about a baseline, in TOML or as a mapping: name, paper, sizes, recipes, cost."""

import difflib
from collections.abc import Iterable
from typing import Literal, Required

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError
from typing_extensions import TypedDict

Size = Literal["paper", "tiny"]
Profile = Literal["paper", "demo"]


class Recipe(TypedDict, total=False):
    """How a baseline is trained: the ``train`` section of a run's configuration, which explains the keys and checks
    their ranges; and three keys that a setting turns into others.

    ``mixing`` stands in place of the setting's. ``epochs``, passes over the setting's training list, decide the
    ``steps``, and ``each``, samples of every task in a batch, decides the ``batch``; the ``steps`` and ``batch``
    beside them are those of the setting three_task.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")  # pyright: ignore[reportGeneralTypeIssues]  # as pydantic documents

    steps: Required[int]
    batch: Required[int]
    patch: Required[int]
    lr: Required[float]
    mixing: str
    epochs: int
    each: int
    augment: bool
    views: int
    loss: str
    optimizer: str
    betas: list[float]
    weight_decay: float
    schedule: str
    plateaus: int
    warmup: float
    cycle: float
    min_lr: float
    encoder_warmup: float
    encoder_lr: float
    encoder_decay: float
    encoder_every: float
    decay: float
    every: float
    ema: float
    clip_norm: float
    clip_percentile: float
    precision: str
    epoch: int


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Cost(_Strict):
    """What a step costs, as ``python -m benchmarks.speed networks`` measures it on a CPU with 2 cores.

    ``step_ms``: milliseconds of a training step on 64x64 patches (tiny: batch 10, 1 thread; paper: batch 1, 2 threads);
    ``gmac``: 1e9 multiply-adds of a forward pass at 128x128. By counting: ``parameters``, numbers in all weights;
    ``saved_mib``: MiB that a training's forward pass in fp32 keeps for the backward pass, for each sample of 128x128.
    """

    step_ms: dict[Size, float] = {}
    gmac: dict[Size, float] = {}
    parameters: dict[Size, int] = {}
    saved_mib: dict[Size, float] = {}


class Description(_Strict):
    """A baseline: display name, one line about it, its paper, the source of its recipe, the constructor's arguments by
    size, the recipe by profile. ``class_name`` is written as ``class``; in this folder as ``module:Class`` where the
    module has another name than the TOML file."""

    class_name: str = Field("", alias="class")
    name: str = Field(min_length=1)
    about: str
    paper: str = ""
    source: str = ""
    sizes: dict[Size, dict[str, JsonValue]] = Field(min_length=1)
    recipe: dict[Profile, Recipe] = Field(min_length=1)
    cost: Cost = Cost()


_KEYS = {"class", *Description.model_fields, *Recipe.__annotations__, *Cost.model_fields} - {"class_name"}


def validated(content: object, origin: str) -> Description:
    """The description with that content.

    Raises:
        ValueError: naming each wrong key; ``origin`` says whose description it is.
    """
    try:
        return Description.model_validate(content)
    except ValidationError as error:
        problems = [
            f"{'.'.join(map(str, wrong['loc'])) or 'content'}: "
            + (
                f"no such key{nearest(str(wrong['loc'][-1]), _KEYS)}"
                if wrong["type"] == "extra_forbidden"
                else wrong["msg"]
            )
            for wrong in error.errors()
        ]
        raise ValueError(f"{origin} is not valid: {'; '.join(problems)}") from error


def nearest(word: str, known: Iterable[str]) -> str:
    """``; did you mean 'x'?`` or a full stop."""
    close = difflib.get_close_matches(word[:100], list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else "."
