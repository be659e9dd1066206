"""What every network must do, whatever it is: each test runs over all baselines' tiny size."""

import copy
import re

import pytest
import torch

import baselines

# Trained parameters that no training step reaches. The published networks hold them, so they must load.
UNUSED = {
    "promptir": r"chnl_reduce\d|reduce_noise_channel_\d",
    # AdaIR's rates are used, but rounded; its low frequencies are zero below 256 pixels, and with them their queries.
    "adair": r"fre\d\.(conv\.|score_gen|rate_conv|channel_cross_h\.(q\.|q_dwconv|temperature))",
}


@pytest.fixture
def network(name):
    """A tiny network away from its initial values, of which some are zero and would hide a path."""
    network = baselines.build(name, "tiny")
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return network.eval()


def loss_of(network, degraded, second):
    """What a training step differentiates, with an L1 loss to the middle grey."""
    output = network.training_forward(degraded, second)
    return (output.restored - 0.5).abs().mean() + (0 if output.auxiliary is None else output.auxiliary)


def test_gradients_reach_every_parameter_but_the_listed(name, network):
    # 128 pixels give TransWeather's decoder more than one key: with one, its attention would have no gradient.
    loss_of(network.train(), *torch.rand(2, 2, 3, 128, 128)).backward()
    trained = {key: value for key, value in network.named_parameters() if value.requires_grad}
    missed = {key for key, value in trained.items() if value.grad is None or not value.grad.any()}
    assert missed == {key for key in trained if name in UNUSED and re.match(UNUSED[name], key)}
    assert all(value.grad.isfinite().all() for value in trained.values() if value.grad is not None)


def test_evaluation_is_deterministic_and_changes_nothing(network):
    image = torch.rand(2, 3, 64, 64)
    before = copy.deepcopy(network.state_dict())
    torch.testing.assert_close(network.restore(image), network.restore(image), rtol=0, atol=0)
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())


def test_a_batch_equals_its_images_alone(network):
    images = torch.rand(3, 3, 64, 128)
    alone = torch.cat([network.restore(image[None]) for image in images])
    torch.testing.assert_close(network.restore(images), alone, rtol=1e-4, atol=1e-5)


def test_memory_layout_of_the_image_does_not_matter(network):
    image = torch.rand(2, 3, 64, 64)
    moved = image.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(network.restore(moved), network.restore(image), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_double_precision_agrees(network):
    image = network.prepare(torch.rand(1, 3, 64, 64))
    double = copy.deepcopy(network).double()(image.double())
    assert double.dtype == torch.float64
    assert (network(image) - double).abs().max() <= 1e-4 * double.abs().max()


@torch.no_grad()
def test_bfloat16_autocast_is_close(network):
    image = network.prepare(torch.rand(1, 3, 64, 64))
    exact = network(image)
    with torch.autocast("cpu", torch.bfloat16):
        rough = network(image)
    assert (rough.float() - exact).square().mean().sqrt() <= 0.03 * exact.square().mean().sqrt()


def test_bfloat16_autocast_trains(network):
    with torch.autocast("cpu", torch.bfloat16):
        loss = loss_of(network.train(), *torch.rand(2, 2, 3, 64, 64))
    loss.backward()
    assert all(value.grad is None or value.grad.isfinite().all() for value in network.parameters())


@torch.no_grad()
def test_compiled_forward_gives_the_same(network):
    # The traced graph run as it is: what can go wrong is in tracing, and generating code would take minutes.
    compiled = torch.compile(network, backend="eager", fullgraph=True)
    image = network.prepare(torch.rand(1, 3, 64, 64))
    torch.testing.assert_close(compiled(image), network(image), rtol=1e-4, atol=1e-5)


def test_a_separable_network_trains_each_sample_alone(network):
    if not network.separable:
        pytest.skip("says itself that samples of a batch depend on each other")
    images = torch.rand(3, 3, 64, 64)
    alone = torch.cat([network.train().training_forward(image[None]).restored for image in images])
    torch.testing.assert_close(network.training_forward(images).restored, alone, rtol=1e-4, atol=1e-5)


def test_state_survives_saving(name, network, tmp_path):
    loss_of(network.train(), *torch.rand(2, 2, 3, 64, 64))  # moves statistics and AirNet's queue
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    other = baselines.build(name, "tiny").eval()
    other.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    image = torch.rand(1, 3, 64, 64)
    assert torch.equal(other.restore(image), network.restore(image))


def test_same_seed_same_network(name):
    def weights():
        torch.manual_seed(3)
        return baselines.build(name, "tiny").state_dict().values()

    assert all(torch.equal(first, second) for first, second in zip(weights(), weights(), strict=True))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_agrees_with_cpu(network):
    image, second = torch.rand(2, 2, 3, 64, 64)
    on_cuda = copy.deepcopy(network).cuda()
    restored = on_cuda.restore(image.cuda()).cpu()
    torch.testing.assert_close(restored, network.restore(image), rtol=1e-3, atol=1e-3)
    gradients = []
    for net, views in ((network, (image, second)), (on_cuda, (image.cuda(), second.cuda()))):
        loss_of(net.train(), *views).backward()
        gradients.append(torch.stack([p.grad.norm().cpu() for p in net.parameters() if p.grad is not None]).norm())
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-2, atol=0)
