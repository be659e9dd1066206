"""Scoring in batches: the scores of one image at a time, in their order, whatever memory allows at once."""

import pytest
import torch
from miniature import picture

import baselines
from baselines.network import Network
from benchmarks.config.errors import UserError
from benchmarks.config.protocols import get
from benchmarks.config.settings import load
from benchmarks.data.pools import TestPool
from benchmarks.scoring import arithmetic, batched, scores, tiling
from benchmarks.scoring.batched import score_batches
from benchmarks.scoring.scores import evaluate
from results.records import Fault

TASKS = {task.name: task for task in load("three_task").tasks}
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"))]
SIZES = {"a": (65, 83), "b": (65, 83), "c": (48, 70), "d": (65, 83), "e": (83, 65)}


class Halved(Network):
    """Half of every pixel; memory for ``most`` pixels of a batch."""

    def __init__(self, most=10**9):
        super().__init__()
        self.most, self.scale, self.batches = most, torch.nn.Parameter(torch.tensor(0.5)), []

    def forward(self, image):
        self.batches.append(tuple(image.shape))
        if image[:, 0].numel() > self.most:
            raise torch.OutOfMemoryError("out of memory")
        return image * self.scale


def noisy(names="abcde"):
    images = [picture(ord(name), *SIZES[name]) for name in names]
    return TestPool(TASKS["denoise_25"], list(names), images, dataset="mini-s25")


def in_batches(monkeypatch, network, pools, protocol, device="cpu", **options):
    """:func:`evaluate` in batches on any device."""
    monkeypatch.setattr(scores, "_score_singly", score_batches)
    rows = evaluate(network.eval().to(device), pools, protocol, torch.device(device), **options)
    monkeypatch.undo()
    return rows


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("protocol", ["airnet_rgb", "weather_y"])
def test_batches_have_the_scores_of_single_images(protocol, device, monkeypatch):
    network, reports = baselines.build("nafnet", "tiny").eval(), []
    expected, flaw = evaluate(network, [noisy("ba"), noisy()], protocol, torch.device("cpu"))
    found, same_flaw = in_batches(
        monkeypatch, network, [noisy("ba"), noisy()], protocol, device, report=lambda *done: reports.append(done)
    )
    assert [row["image"] for row in found[::2]] == list("baabcde") and same_flaw == flaw
    assert reports[-1] == (7, 7) and len(reports) < 7
    for one, other in zip(expected, found, strict=True):
        near = {
            key: pytest.approx(one[key], abs=1e-3 if one["metric"] == "psnr" else 1e-5)
            for key in ("value", "input_value")
        }
        assert other == one | near


@pytest.mark.parametrize("device", DEVICES)
def test_out_of_memory_halves_the_batch_then_makes_tiles(device, monkeypatch):
    monkeypatch.setattr(batched, "OPENERS", 1)
    network, told = Halved(most=64 * 80), []
    rows, _ = in_batches(monkeypatch, network, [noisy("abd")], "airnet_rgb", device, warn=told.append)
    assert [shape[0] for shape in network.batches] == [3, 1, 2, 1, 1] and not told
    again, _ = in_batches(monkeypatch, Halved(), [noisy("abd")], "airnet_rgb", device)
    assert rows == again
    monkeypatch.setattr(tiling, "OVERLAP", 16)
    rows, _ = in_batches(monkeypatch, Halved(most=64 * 64), [noisy("abd")], "airnet_rgb", device, warn=told.append)
    assert len(told) == 3 and "tiles" in told[0]


@pytest.mark.parametrize("device", DEVICES)
def test_launching_a_batch_waits_for_nothing(device, monkeypatch):
    def waits(*_):
        raise AssertionError("waits for the device")

    pools, place = [noisy("abd")], torch.device(device)
    network = baselines.build("nafnet", "tiny").eval().to(place)
    batches = batched._Batches(network, pools, "airnet_rgb", place, {}, print)
    examples = list(batched._opened(pools, [(0, 0), (0, 1), (0, 2)], 16, device == "cuda"))
    batches.launch(examples)  # allocates, and measures what the network needs
    for name in ("item", "tolist", "cpu", "numpy", "__bool__", "__float__", "__int__"):
        monkeypatch.setattr(torch.Tensor, name, waits)
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("error")
    try:
        (batch,) = batches.launch(examples)
    finally:
        monkeypatch.undo()
        if device == "cuda":
            torch.cuda.set_sync_debug_mode("default")
    assert [len(rows) for _, rows in batch.scored(pools, "airnet_rgb").values()] == [2, 2, 2]


def test_a_batch_holds_what_memory_has_room_for(monkeypatch):
    network = Halved().eval()
    batches = batched._Batches(network, [], "airnet_rgb", torch.device("cpu"), {}, print)
    need = tiling.MARGIN * tiling._bytes_a_pixel(network, torch.device("cpu"))
    monkeypatch.setattr(tiling, "_budget", lambda device, cores: 5 * 64 * 80 * need)
    assert batches.most(torch.Size((3, 64, 80))) == 4
    assert batches.most(torch.Size((3, 640, 800))) == 1


def test_sizes_that_few_images_have_do_not_pile_up(monkeypatch):
    def examples():
        for number in range(6):
            image = torch.zeros(3, 16, 16 * (1 + number % 3))
            yield batched.Example((0, number), image, image, "")

    monkeypatch.setattr(batched, "WAITING", 1500)
    groups = list(batched._grouped(examples(), lambda shape: 2))
    assert sorted(example.place[1] for group in groups for example in group) == list(range(6))
    assert [len(group) for group in groups] == [1, 2, 2, 1]


@pytest.mark.parametrize("device", DEVICES)
def test_faults_further_metrics_and_wrong_shapes(device, monkeypatch):
    class Broken(Halved):
        def forward(self, image):
            image = torch.full_like(image, 0.4)
            image[-1, 0, 0, 0] = torch.nan
            return image

    further = {"mean": lambda restored, clean: float(restored.nan_to_num().mean() + 0 * clean.mean())}
    rows, flaw = in_batches(monkeypatch, Broken(), [noisy("ab"), noisy("c")], "airnet_rgb", device, further=further)
    assert flaw.fault == Fault.NOT_FINITE and "mini-s25 (1 of 2 images: b)" in flaw.reason
    assert [row["metric"] for row in rows[:3]] == ["psnr", "ssim", "mean"]
    assert rows[2]["value"] == pytest.approx(0.4) and rows[2]["input_value"] == pytest.approx(0.5, abs=0.2)

    class Cut(Halved):
        def restore(self, image):
            return image[:, :1]

    with pytest.raises(UserError, match="for an image of"):
        in_batches(monkeypatch, Cut(), [noisy("ab")], "airnet_rgb", device)


@pytest.mark.parametrize("device", DEVICES)
def test_bfloat16_only_where_the_protocol_says_so(device, monkeypatch):
    class Seen(Halved):
        def forward(self, image):
            product = torch.nn.functional.conv2d(image, torch.eye(3, device=image.device)[:, :, None, None])
            self.batches.append(product.dtype)
            return product.to(image.dtype)

    monkeypatch.setattr(arithmetic, "cpu_has_bf16", lambda: True)
    found = {}
    for protocol in ("airnet_rgb", "airnet_rgb@bf16"):
        network = Seen()
        found[protocol], _ = in_batches(monkeypatch, network, [noisy("a")], protocol, device)
        assert network.batches[-1] == (torch.bfloat16 if get(protocol).half else torch.float32)
        assert {row["protocol"] for row in found[protocol]} == {protocol}
        if device == "cpu":
            assert evaluate(network, [noisy("a")], protocol, torch.device("cpu"))[0][0]["protocol"] == protocol
    assert found["airnet_rgb"][0]["value"] != found["airnet_rgb@bf16"][0]["value"]
    monkeypatch.setattr(arithmetic, "cpu_has_bf16", lambda: False)
    with pytest.raises(UserError, match="no arithmetic for bfloat16"):
        evaluate(Halved().eval(), [noisy("a")], "airnet_rgb@bf16", torch.device("cpu"))
    with pytest.raises(UserError, match="only @bf16"):
        get("airnet_rgb@fp8")


def test_tf32_is_off_while_scoring_and_as_it_was_afterwards():
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn

    def flags():
        return matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark

    before = flags()
    try:
        for chosen in ((True, True, True), (False, True, False)):
            matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark = chosen
            with arithmetic.exact(torch.device("cuda")):
                assert flags() == (False, False, False)
                assert torch.get_float32_matmul_precision() == "highest"
            assert flags() == chosen
        if hasattr(matmul, "fp32_precision"):  # torch's newer switch, which the older one refuses to be read after
            matmul.fp32_precision = "tf32"
            with arithmetic.exact(torch.device("cuda")):
                assert flags() == (False, False, False)
            assert matmul.fp32_precision == "tf32"
    finally:
        matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark = before
