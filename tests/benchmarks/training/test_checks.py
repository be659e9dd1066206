"""What does not do its part is named: outputs and weights of a wrong shape, no gradient, nothing learned, NaN."""

import pytest
import torch
from torch import nn

import art
from benchmarks.config.errors import UserError
from benchmarks.data.batches import Batch
from benchmarks.scoring.scores import evaluate
from benchmarks.training.checks import check_end, check_update
from benchmarks.training.loop import task_losses

CPU = torch.device("cpu")


@pytest.mark.parametrize("shape", [(2, 1, 8, 8), (2, 3, 1, 1), (1, 3, 8, 8), (2, 3, 8, 9)])
def test_an_output_of_another_shape_is_no_loss(shape):
    clean = torch.rand(2, 3, 8, 8)
    batch = Batch(clean, clean, torch.tensor([0, 1]), torch.tensor([1.0, 1.0]), (1, 1))
    with pytest.raises(ValueError, match=r"the network gives \(.*for images of \(2, 3, 8, 8\)"):
        task_losses(torch.rand(shape), batch)


def test_weights_and_gradients_are_looked_at():
    strategy, network = art.make("equal", ["a", "b"]), nn.Linear(2, 2)
    with pytest.raises(UserError, match="'mine' left no gradient"):
        check_update(strategy, "mine", list(network.parameters()))
    network(torch.ones(1, 2)).sum().backward()
    check_update(strategy, "mine", list(network.parameters()))
    strategy.weights = torch.ones(3)
    with pytest.raises(UserError, match=r"'mine': its weights are \(3,\); it must give one for each of 2 tasks"):
        check_update(strategy, "mine", list(network.parameters()))


def test_an_end_without_learning_or_with_broken_weights_is_none():
    network = nn.Linear(2, 2)
    check_end(network, True, "mine")
    with pytest.raises(UserError, match="nothing was learned: with strategy 'mine'"):
        check_end(network, False, "mine")
    network.bias.data[1] = torch.nan
    with pytest.raises(UserError, match="weights are not finite at the end: bias"):
        check_end(network, True, "mine")


class Broken(nn.Module):
    """NaN for one image, another shape where asked for."""

    multiple = 1

    def __init__(self, shape=False):
        super().__init__()
        self.shape, self.seen = shape, 0

    def restore(self, image):
        self.seen += 1
        if self.shape:
            return image[:, :1]
        return torch.full_like(image, torch.nan) if self.seen == 1 else image


def test_scoring_names_images_that_are_not_finite_and_outputs_of_another_shape():
    from test_evaluation import noisy

    rows, fault = evaluate(Broken().eval(), [noisy(["a", "b"])], "airnet_rgb", CPU)
    assert fault[:-2] == "not finite: NaN or infinite output on mini-s25 (1 of 2 images: " and fault[-2] in "ab"
    assert len({row["pixels"] for row in rows}) == 2
    with pytest.raises(UserError, match="for an image of"):
        evaluate(Broken(shape=True).eval(), [noisy(["a"])], "airnet_rgb", CPU)
