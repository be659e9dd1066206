"""MoCE-IR's experts, router and balance loss: as published, and image by image."""

from unittest import mock

import numpy as np
import published_networks as published
import pytest
import torch

import baselines
from baselines.moceir import _Adapter, balance_loss
from benchmarks.training import forward


def part(name):
    with np.load(published.FOLDER / "moceir_s.npz") as parts:
        return torch.from_numpy(parts[f"moceir_s_{name}"])


def centred(seed, *shape):
    return torch.from_numpy(np.random.RandomState(seed).rand(*shape)).float() - 0.5


@torch.no_grad()
def test_each_expert_adapter_and_router_are_the_published_ones():
    """Of the first block of the finest level of MoCE-IR-S: another expert would hardly be seen in the image."""
    adapter = _Adapter(32, 4, 256, False).eval()
    prefix, gain = "dec.2.2.layers.0.adapter.", published.NETWORKS["moceir_s"]["fill_gain"]
    for name, value in adapter.named_parameters():
        value.copy_(torch.from_numpy(published._numbers(prefix + name, tuple(value.shape), gain)))
    features, shared, embedding = centred(3, 1, 32, 20, 12), centred(5, 1, 32, 20, 12), centred(4, 1, 256)
    for number in range(4):
        torch.testing.assert_close(
            adapter._expert(number)(features, shared), part(f"expert_{number}"), rtol=0, atol=1e-5
        )
    mixed, routing = adapter(features, embedding, shared)
    torch.testing.assert_close(mixed, part("adapter"), rtol=0, atol=1e-5)
    torch.testing.assert_close(routing.logits, part("gate_logits"), rtol=0, atol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize("name", ["moceir", "moceir_s"])
def test_choices_and_balance_loss_are_the_published_ones(name):
    network, expected = baselines.build(name).eval(), published.NETWORKS[name]
    published.fill(network, expected["fill_gain"])
    image = published.image()
    restored, routings = network.routed(torch.cat([image, image.flip(3), image / 2]))
    assert [int(routing.experts[0]) for routing in routings] == expected["expert_of_each_decoder_block"]
    values = [float(routing.values[0]) for routing in routings]
    assert values == pytest.approx(expected["gate_of_each_decoder_block"], abs=1e-5)
    torch.testing.assert_close(restored[:1], published.output(name), rtol=0, atol=1e-4)  # a batch is single images
    complexities = [value for name, value in network.named_buffers() if name.endswith("complexity")]
    torch.testing.assert_close(torch.stack(complexities), torch.tensor(expected["complexity_buffer"]))
    for images, case in ((1, "balance_loss"), (3, "balance_loss_batch3")):
        for suffix in ("", "_with_complexity_bias"):
            losses = [
                balance_loss(routing.logits[:images], routing.noisy[:images], complexity if suffix else None)
                for routing, complexity in zip(routings, complexities, strict=True)
            ]
            assert torch.stack(losses).mean().item() == pytest.approx(expected[case + suffix], abs=1e-4)


def routed_to(network, images):
    """The experts of every decoder block, and a backward pass of the error of the image alone."""
    network.zero_grad()
    restored, routings = network.routed(images)
    (restored - 0.5).abs().mean().backward()
    return [set(routing.experts.tolist()) for routing in routings]


def test_experts_that_no_image_takes_get_no_gradient_and_routers_only_that_of_the_balance_loss():
    network = baselines.build("moceir", "tiny")
    images = torch.rand(2, 3, 64, 64)
    taken = routed_to(network, images)
    blocks = [block for level in network.dec for block in level[2].layers]
    for block, used in zip(blocks, taken, strict=True):
        for number, expert in enumerate(block.adapter.experts):
            reached = {value.grad is not None for value in expert.parameters()}
            assert reached == {number in used}
    gates = [block.adapter.routing.gate["2"].weight for block in blocks]
    assert all(gate.grad.norm() < 1e-5 for gate in gates)
    network.training_forward(images).auxiliary.backward()
    assert all(gate.grad.norm() > 1e-4 for gate in gates)


@torch.no_grad()
def test_noise_is_drawn_in_training_only():
    network, images = baselines.build("moceir", "tiny"), torch.rand(2, 3, 16, 16)
    first, second, quiet = (
        network.routed(images)[1][0],
        network.routed(images)[1][0],
        network.eval().routed(images)[1][0],
    )
    assert torch.equal(first.logits, second.logits) and not torch.equal(first.noisy, second.noisy)
    assert torch.equal(quiet.noisy, quiet.logits)


@torch.no_grad()
def test_the_host_waits_once_in_each_decoder_block(monkeypatch):
    network, reads, tolist = baselines.build("moceir", "tiny"), [], torch.Tensor.tolist
    monkeypatch.setattr(torch.Tensor, "tolist", lambda tensor: reads.append(1) or tolist(tensor))
    network.training_forward(torch.rand(3, 3, 16, 16))
    assert len(reads) == 3


def test_what_routes_by_values_is_neither_compiled_nor_recorded(capsys):
    network = baselines.build("moceir", "tiny")
    train = mock.Mock(compile="on", graphs="on", deterministic=False)
    passes = forward.ForwardPass(network, train, torch.device("cpu"))
    assert not passes._to_compile and not passes._to_record
    said = capsys.readouterr().err
    assert "train.compile is off: the network chooses" in said and "train.graphs is off" in said
