"""AirNet's contrastive training: the queue, the key encoder, the loss."""

import pytest
import torch
from torch.nn import functional as F

import baselines


@pytest.fixture
def network():
    return baselines.build("airnet", "tiny", queue=8)


def views(batch):
    return torch.rand(2, batch, 3, 16, 16)


def test_keys_take_the_oldest_places_around_the_end(network):
    contrast = network.E.E
    before = contrast.queue.clone()
    keys = torch.arange(5.0)[:, None].expand(5, before.shape[0]).contiguous()
    contrast._enqueue(keys)
    contrast._enqueue(keys + 5)
    assert contrast.queue_ptr.tolist() == [2]
    assert contrast.queue[0].tolist() == [8, 9, 2, 3, 4, 5, 6, 7]
    contrast._enqueue(torch.arange(20.0)[:, None].expand(20, before.shape[0]))  # more than the queue holds: the newest
    assert contrast.queue_ptr.tolist() == [6]
    assert contrast.queue[0].tolist() == [14, 15, 16, 17, 18, 19, 12, 13]


def test_key_encoder_follows_by_its_momentum_and_gets_no_gradient(network):
    contrast = network.E.E
    with torch.no_grad():
        for parameter in contrast.encoder_q.parameters():
            parameter.add_(1)
    before = [parameter.clone() for parameter in contrast.encoder_k.parameters()]
    network.training_forward(*views(2)).auxiliary.backward()
    pairs = zip(before, contrast.encoder_k.parameters(), contrast.encoder_q.parameters(), strict=True)
    for old, key, query in pairs:
        torch.testing.assert_close(key, 0.999 * old + 0.001 * query)
        assert key.grad is None


def test_auxiliary_is_the_contrastive_loss(network):
    degraded, second = views(3)
    contrast = network.E.E
    queue = contrast.queue.clone()
    warm = network.training_forward(degraded, second, warmup=True)
    assert warm.restored is None
    query = F.normalize(contrast.encoder_q(degraded)[1], dim=1)
    key = contrast.queue[:, :3].T
    torch.testing.assert_close(key.norm(dim=1), torch.ones(3))
    logits = torch.cat([(query * key).sum(1, keepdim=True), query @ queue], dim=1) / 0.07
    torch.testing.assert_close(warm.auxiliary, -logits.log_softmax(1)[:, 0].mean())


def test_restoring_takes_a_tenth_of_it_and_leaves_evaluation_untouched(network):
    degraded, second = views(3)
    state = {key: value.clone() for key, value in network.state_dict().items()}
    warm = network.training_forward(degraded, second, warmup=True).auxiliary
    network.load_state_dict(state)
    torch.testing.assert_close(network.training_forward(degraded, second).auxiliary, 0.1 * warm)
    state = {key: value.clone() for key, value in network.state_dict().items()}
    network.restore(degraded)
    assert all(torch.equal(state[key], value) for key, value in network.state_dict().items())


def test_encoder_learns_in_its_warm_up(network):
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    losses = []
    for _ in range(30):
        levels = torch.rand(8, 1, 1, 1)  # images that differ by their level only: easy to tell apart
        degraded, second = (levels + 0.05 * torch.rand(8, 3, 16, 16) for _ in range(2))
        loss = network.training_forward(degraded, second, warmup=True).auxiliary
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[1]  # the first sees the initial queue, which holds no image


def test_a_second_view_is_needed(network):
    with pytest.raises(ValueError, match="other crops of the same degraded images"):
        network.training_forward(torch.rand(2, 3, 16, 16))
