"""Agreement with the published implementations: names, shapes, output, gradient, and loading their checkpoints."""

import math

import published_networks as published
import pytest
import torch

import baselines


def test_layout_parameters_and_output_are_the_published_ones(name):
    if name not in published.NETWORKS:
        pytest.skip("no values of its published implementation in tests/baselines/reference")
    network = baselines.build(name)
    expected = published.NETWORKS[name]
    assert {key: tuple(value.shape) for key, value in network.state_dict().items()} == published.layout(name)
    parameters = list(network.parameters())
    assert sum(parameter.numel() for parameter in parameters) == expected["parameters"]
    assert sum(parameter.numel() for parameter in parameters if parameter.requires_grad) == expected["trainable"]

    if not network.continuous:
        return  # float32 is another network on every machine; below in float64
    published.fill(network, expected["fill_gain"])
    restored = network.eval()(network.prepare(published.image()), *published.described(name))
    output = published.output(name)
    assert (restored - output).abs().max() <= 1e-4 * output.abs().max()
    loss = (restored - 0.5).abs().mean()
    assert loss.item() == pytest.approx(expected["l1_to_half"], rel=1e-4)
    loss.backward()
    idle = sum(parameter.numel() for parameter in parameters if parameter.requires_grad and parameter.grad is None)
    assert idle == expected.get("parameters_without_gradient", idle)
    norms = published.gradient_norms(network)
    assert math.hypot(*norms.values()) == pytest.approx(expected["grad_norm"], rel=1e-3)
    for group, norm in expected.get("grad_norm_by_name", {}).items():
        assert norms[group] == pytest.approx(norm, rel=1e-3, abs=1e-6), group


@pytest.mark.parametrize("name", [name for name, values in published.NETWORKS.items() if "float64" in values])
def test_float64_is_the_published_one(name, monkeypatch):
    monkeypatch.setattr(torch.nn.functional, "conv2d", published.by_shifts(torch.nn.functional.conv2d))
    network, expected = baselines.build(name).eval(), published.NETWORKS[name]
    published.fill(network, expected["fill_gain"])
    network.double()  # the weights are those of float32
    restored = network(
        network.prepare(published.image().double()), *(one.double() for one in published.described(name))
    )
    loss, precise = (restored - 0.5).abs().mean(), expected["float64"]
    assert loss.item() == pytest.approx(precise["l1_to_half"], rel=1e-9)
    # The published float32 output is known; how far it is from the published float64 output is known too.
    apart = (restored - published.output(name)).abs().max().item()
    assert apart == pytest.approx(precise["max_abs_difference_of_output"] if network.continuous else 0, abs=1e-9)
    loss.backward()
    assert math.hypot(*published.gradient_norms(network).values()) == pytest.approx(precise["grad_norm"], rel=1e-9)


@torch.no_grad()
@pytest.mark.parametrize("name", ["symunet"])
def test_odd_sizes_are_restored_as_published(name):
    network, odd = baselines.build(name).eval(), published.output(f"{name}_odd")
    published.fill(network, published.NETWORKS[name]["fill_gain"])
    image = published.image(2, 50, 70)
    assert (network(image) - odd).abs().max() <= 1e-4 * odd.abs().max()
    torch.testing.assert_close(network.restore(image), odd.clamp(0, 1), rtol=0, atol=1e-4)


WRAPPERS = {
    "plain": lambda weights: weights,
    "state_dict > net.*": lambda weights: {"state_dict": {f"net.{key}": value for key, value in weights.items()}},
    "params_ema": lambda weights: {"params": {}, "params_ema": weights},
    "model > state_dict > module.* > net.*": lambda weights: {
        "epoch": 3,
        "model": {"state_dict": {f"module.net.{key}": value for key, value in weights.items()}},
    },
    "module.*": lambda weights: {f"module.{key}": value for key, value in weights.items()},
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_wrappers_are_taken_off(wrapper):
    network, other = baselines.build("transweather", "tiny"), baselines.build("transweather", "tiny")
    assert network.load_published(WRAPPERS[wrapper](other.state_dict())) == wrapper
    assert all(torch.equal(own, its) for own, its in zip(network.parameters(), other.parameters(), strict=True))


def test_mismatches_are_named_and_nothing_is_loaded(name):
    network = baselines.build(name, "tiny")
    before = {key: value.clone() for key, value in network.state_dict().items()}
    weights = {key: value + 1 for key, value in before.items()}
    first, second, *_ = weights
    del weights[first]
    weights[second] = torch.zeros(7, 7)
    weights.update({f"extra{i}": torch.zeros(1) for i in range(5)})
    with pytest.raises(ValueError, match=r"7 mismatches .*and 2 more") as error:
        network.load_published({"params": weights})
    for part in (f"missing {first}", "unexpected extra0", f"shape of {second} is (7, 7)", "wrapper: params"):
        assert part in str(error.value)
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())


def test_authors_files_hold_more_than_is_used():
    """TransWeather's six unused entries; AirNet's queue, whose length is the batch's."""
    network, other = baselines.build("transweather", "tiny"), baselines.build("transweather", "tiny")
    unused = {f"Tenc.mini_patch_embed4.proj.{kind}": torch.ones(2) for kind in ("weight", "bias")}
    unused |= {f"Tenc.mini_patch_embed4.norm.{kind}": torch.ones(2) for kind in ("weight", "bias")}
    unused |= {f"convtail.conv_output.conv2d.{kind}": torch.ones(2) for kind in ("weight", "bias")}
    assert len(published.layout("transweather")) + len(unused) == 347
    file = {f"module.{key}": value for key, value in (other.state_dict() | unused).items()}
    assert network.load_published(file) == "module.*; 6 entries that no forward pass uses"
    assert all(torch.equal(own, its) for own, its in zip(network.parameters(), other.parameters(), strict=True))
    with pytest.raises(ValueError, match=r"unexpected Tenc\.mini_patch_embed5"):
        network.load_published(file | {"module.Tenc.mini_patch_embed5.proj.bias": torch.ones(2)})

    network, other = baselines.build("airnet", "tiny"), baselines.build("airnet", "tiny", queue=7)
    kept = network.E.E.queue.clone()
    old = {key: value for key, value in other.state_dict().items() if not key.endswith("num_batches_tracked")}
    assert network.load_published(old) == "plain; not loaded, for training only: E.E.queue"
    assert torch.equal(network.E.E.queue, kept)
    assert all(torch.equal(own, its) for own, its in zip(network.parameters(), other.parameters(), strict=True))
