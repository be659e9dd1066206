"""Every network conforms, tracing it gives the same, and networks that do not conform are found out."""

import re
from typing import ClassVar

import jaxtyping
import pytest
import torch
from torch import nn

import baselines
from baselines import conformance
from baselines.network import Network

# Trained parameters that no training step reaches. The published networks hold them, so they must load.
UNUSED = {
    "bioir": r"reduce_chan_level2",
    "onerestore": r"encoder\.conv_esstesss",
    "promptir": r"chnl_reduce\d|reduce_noise_channel_\d",
    # AdaIR's rates are used, but rounded; its low frequencies are zero below 256 pixels, and with them their queries.
    "adair": r"fre\d\.(conv\.|score_gen|rate_conv|channel_cross_h\.(q\.|q_dwconv|temperature))",
}
# Of experts, those that no image of the batch takes; see test_moceir.py.
UNROUTED = {name: r"dec\.\d\.2\.layers\.\d\.adapter\.experts\." for name in ("moceir", "moceir_s")}


def test_networks_conform(name, monkeypatch):
    monkeypatch.setattr(conformance, "STEPS", 10)  # these learn at once
    assert [finding for finding in conformance.check(name) if finding.passed is False] == []


def test_gradients_reach_every_parameter_but_the_listed(name):
    missed = {key for key in conformance.unreached(name) if not re.match(UNROUTED.get(name, "$"), key)}
    known = {key for key, _ in baselines.build(name, "tiny").named_parameters() if re.match(UNUSED.get(name, "$"), key)}
    assert missed == known


@torch.no_grad()
def test_compiled_forward_gives_the_same(name, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # the tests' checks cannot be traced
    network = conformance.disturbed(name)
    if not network.traceable:
        pytest.skip("reads values on the host, so trainings do not compile it")
    torch.compiler.reset()  # jaxtyping's wrapper is one function to it, which it compiles a few times only
    # The traced graph run as it is: what can go wrong is in tracing, and generating code would take minutes.
    compiled = torch.compile(network, backend="eager", fullgraph=True)
    image = network.prepare(torch.rand(1, 3, 64, 64))
    torch.testing.assert_close(compiled(image), network(image), rtol=1e-4, atol=1e-5)


class Sound(Network):
    """One convolution and a skip; the others are made wrong in one way each."""

    output_layer = "last"
    description: ClassVar = {
        "name": "Sound",
        "about": "one convolution",
        "sizes": {"tiny": {}, "paper": {}},
        "recipe": {profile: dict(lr=1e-3, steps=9, batch=4, patch=32) for profile in ("paper", "demo")},
    }

    def __init__(self):
        super().__init__()
        self.last = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, image):
        return image + self.last(image)


class Noisy(Sound):
    def forward(self, image):
        return super().forward(image) + 0.1 * torch.rand_like(image)


class Counting(Sound):
    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, image):
        self.calls += 1
        return super().forward(image)


class Mixing(Sound):
    def forward(self, image):
        return super().forward(image) - image.mean()


class Doubling(Sound):
    multiple = 48

    def forward(self, image):
        return nn.functional.interpolate(super().forward(image), scale_factor=2)


class Cropping(Sound):
    def forward(self, image):
        return super().forward(image)[..., :-1]


class Idle(Sound):
    def __init__(self):
        super().__init__()
        self.idle = nn.Linear(2, 2)


class Frozen(Sound):
    def forward(self, image):
        return image + self.last(image.detach()).detach()


class Unnamed(Sound):
    output_layer = "first"


class Unlike(Sound):
    description = Sound.description | {"sizes": {"tiny": {}, "paper": {"deep": True}}}

    def __init__(self, deep=False):
        super().__init__()
        if deep:
            self.middle = nn.Conv2d(3, 3, 1)


class Coarse(Sound):
    def forward(self, image):
        return image + ((self.last(image) + 1000) - 1000)


class Stagnant(Sound):
    def forward(self, image):
        change = self.last(image)
        return image + (change if change.dtype == torch.float32 else change.detach() + 0.1 * (change - change.detach()))


class Local(Sound):
    def __init__(self):
        super().__init__()
        self.sharpen = lambda image: image


@pytest.mark.parametrize(
    ("network", "failed", "noted"),
    [
        (Sound, set(), {"cuda"}),
        (Noisy, {"deterministic", "batch", "copied"}, {"separable"}),
        (Counting, {"deterministic"}, set()),
        (Mixing, {"batch", "separable"}, set()),
        (Doubling, {"training forward", "learns"}, set()),
        (Cropping, {"any height and width", "training forward"}, set()),
        (Idle, set(), {"gradient"}),
        (Frozen, {"learns"}, set()),
        (Unnamed, {"output layer"}, set()),
        (Unlike, {"sizes"}, set()),
        (Coarse, {"bf16"}, set()),
        (Stagnant, {"bf16"}, set()),
        (Local, {"copied"}, set()),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_what_is_wrong_is_found(network, failed, noted):
    findings = conformance.check(f"{__name__}:{network.__name__}")
    wrong = {finding.name for finding in findings if finding.passed is False}
    assert failed <= wrong and (failed or not wrong), findings
    assert noted <= {finding.name for finding in findings if finding.passed is None}


def test_command_says_what_was_found(capsys):
    assert conformance.main([f"{__name__}:Sound"]) == 0
    assert re.search(r"separable +passed +samples alone differ", capsys.readouterr().out)
    assert conformance.main([f"{__name__}:Mixing"]) == 1
    assert "set separable = False" in capsys.readouterr().out
    assert conformance.main([f"{__name__}:Unsound"]) == 2
    assert "cannot import" in capsys.readouterr().err
