"""The sections of a configuration: data, training, evaluation. Every field can be set from the command line."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    field_validator,
    model_serializer,
)

from benchmarks.config.mixing import MixingText

Loss = Literal["l1", "smooth_l1", "mse", "charbonnier"]
Precision = Literal["fp32", "tf32", "bf16"]
Switch = Literal["auto", "on", "off"]
Schedule = Literal[
    "constant", "cosine", "cosine_restarts", "flat_cosine", "warmup_cosine", "one_cycle", "step", "airnet"
]
MOST = {"batch": 2**16, "patch": 2**14, "threads": 2**10, "seed": 2**63 - 1}  # of other whole numbers: 2**31 - 1
Beta = Annotated[float, Field(ge=0, lt=1)]


class Section(BaseModel):
    """Numbers are finite and of a size that can be computed with; true and false are none; no name stands twice.

    ``LATER`` are fields that came later: at these values nothing written names them, so that earlier runs keep their
    identities and compare as equal.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    LATER: ClassVar[dict[str, Any]] = {}

    @model_serializer(mode="wrap")
    def _without_later(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content = serialise(self)
        return {key: value for key, value in content.items() if key not in self.LATER or value != self.LATER[key]}

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, value: object, field: ValidationInfo) -> object:
        if isinstance(value, bool) and cls.model_fields[field.field_name or ""].annotation is not bool:
            raise ValueError("Input should not be true or false")
        return value

    @field_validator("*", mode="after")
    @classmethod
    def _neither_huge_nor_twice(cls, value: object, field: ValidationInfo) -> object:
        most = MOST.get(field.field_name or "", 2**31 - 1)
        if isinstance(value, int) and value > most:
            raise ValueError(f"Input should be at most {most}")
        names = [name.partition("@")[0] for name in value if isinstance(name, str)] if isinstance(value, tuple) else []
        if "" in names or len(set(names)) < len(names):
            raise ValueError("Input should name each once")
        if any(len(name) > 200 for name in names):
            raise ValueError("Input should be names of at most 200 characters")
        return value


class DataConfig(Section):
    """Where images come from and how tasks are mixed. ``root`` is a place, not a choice: identities leave it out, the
    ``fingerprint`` (names and sizes of the files found) stands for what lies there.

    ``validation`` images of each task are scored through the training, which never sees them: further embedded scenes,
    so that training is the same with any number of them; of files, images that leave the training sets of every task
    (:mod:`benchmarks.data.holding_out`), so that with another number it is another training.
    """

    LATER: ClassVar[dict[str, Any]] = {"validation": 0}

    source: Literal["embedded", "files"] = "embedded"
    root: str | None = None
    missing: Literal["error", "synthesise"] = "error"
    mixing: MixingText = "shuffled"  # benchmarks.config.mixing
    extra: tuple[str, ...] = ()  # further training sets, as NAME or NAME@REPEATS
    fingerprint: str = ""
    validation: Annotated[int, Field(ge=0, le=1000)] = 0


class TrainConfig(Section):
    """The recipe. A step is one update by a whole ``batch``, whatever number of GPUs shares it. Places in the training
    (``warmup``, ``cycle``, ``every``, ...) are fractions of all steps, so that a schedule scales with them.

    ``init`` is a place, not a choice: identities leave it out, ``weights`` (a digest) stands for what lies there.
    """

    LATER: ClassVar[dict[str, Any]] = {
        "clip_percentile": 0.0, "plateaus": 0, "emulate": False, "compile": "auto", "graphs": "auto",
        "deterministic": False, "init": "", "weights": "",
    }  # fmt: skip

    steps: int = Field(ge=1)
    batch: int = Field(ge=1)
    patch: int = Field(ge=16, multiple_of=8)
    augment: bool = True  # flips and rotations
    views: Literal[1, 2] = 1  # crops of the same degraded image a sample; 2 for a contrastive baseline
    loss: Loss = "l1"  # of every pixel; with a network's own, the task losses are its means
    optimizer: Literal["adam", "adamw"] = "adamw"
    lr: float = Field(gt=0)
    betas: tuple[Beta, Beta] = (0.9, 0.999)
    weight_decay: float = Field(0.0, ge=0)
    schedule: Schedule = "cosine"
    plateaus: int = Field(0, ge=0)  # equal parts of the training that keep one rate each; 0: each step its own
    warmup: float = Field(0.0, ge=0, lt=1)
    cycle: float = Field(1.0, gt=0)  # where the cosine reaches min_lr; with cosine_restarts the length of a cycle
    min_lr: float = Field(0.0, ge=0)
    encoder_warmup: float = Field(0.0, ge=0, lt=1)  # the start that trains a contrastive encoder alone
    encoder_lr: float = Field(1e-3, gt=0)  # schedule "airnet": rate of the encoder's warm-up, its factor and how often
    encoder_decay: float = Field(0.1, gt=0)
    encoder_every: float = Field(0.06, gt=0)
    decay: float = Field(0.5, gt=0)  # the same of what follows; schedule "step" is this alone
    every: float = Field(0.125, gt=0)
    ema: float = Field(0.0, ge=0, lt=1)  # decay of the weight average that is scored; 0: the weights themselves
    clip_norm: float = Field(0.0, ge=0)  # gradients are clipped at this norm; 0: they are not
    clip_percentile: float = Field(0.0, ge=0, le=100)  # or at this percentile of the norms so far, in its units; 0: not
    precision: Precision = "fp32"  # benchmarks.training.precision says what each is
    emulate: bool = False  # bf16 also on a processor that has no arithmetic for it, where it is many times slower
    compile: Switch = "auto"  # the forward pass by torch.compile; auto: on a GPU, where the training is long enough
    graphs: Switch = "auto"  # CUDA graphs; auto: where the host cannot launch kernels as fast as the GPU does them
    deterministic: bool = False  # the same bits again on a GPU, slower
    epoch: int = Field(0, ge=0)  # steps of what a strategy calls an epoch (DWA, STCH); 0: schedules.epoch_steps
    threads: int = Field(1, ge=1)  # results on a CPU depend on it
    log_every: int = Field(ge=1)  # steps between rows of the rhythm
    checkpoint_every: int = Field(ge=1)
    probe_every: int = Field(0, ge=0)  # steps between probes of the task gradients' conflicts; 0: none
    nonfinite: Literal["stop", "skip"] = "stop"  # at a NaN or infinite loss or gradient: stop, or skip that update
    init: str = ""  # a file of weights, or the folder of a finished run, to start from; empty: fresh weights
    weights: str = ""


class Terms(Section):
    """What a run is given apart from the recipe, so that a race is fair; at its defaults a run is an ordinary one.

    ``train`` holds what trains; here stands what mix has instead, for those two values that may differ from it.
    """

    LATER: ClassVar[dict[str, Any]] = {
        "steps": 0, "lr": 0.0, "budget": "steps", "ratio": 1.0, "tuned": "", "trials": 0, "task": "",
    }  # fmt: skip

    steps: int = Field(0, ge=0)  # of mix, where this run has others
    lr: float = Field(0.0, ge=0)  # of the recipe, where a search has found another
    budget: Literal["steps", "cost"] = "steps"
    ratio: float = Field(1.0, gt=0)  # cost of a step over mix's, by which the steps were planned
    tuned: str = ""  # the strategy whose parameters a search has found
    trials: int = Field(0, ge=0)  # of that search
    task: str = ""  # the one task that this network trains on (strategy single)


class Ancestor(Section):
    """The end of a finished run, from where this one goes on to more steps; at its defaults there is none.

    ``folder`` is a place, not a choice: identities leave it out, ``weights`` (a digest) stands for what lies there.
    """

    LATER: ClassVar[dict[str, Any]] = {"folder": "", "run": "", "step": 0, "weights": "", "pair": "", "cohort": ""}

    folder: str = ""
    run: str = ""  # its hash
    step: int = Field(0, ge=0)  # which it had reached
    weights: str = ""
    pair: str = ""  # its identities, as Config.identity gives them
    cohort: str = ""


class EvaluateConfig(Section):
    """How the trained network is scored; changing it scores again without training again."""

    protocol: str
    extra: tuple[str, ...] = ()  # further test sets, outside the average
    metrics: tuple[str, ...] = ()  # further metrics of pyiqa
