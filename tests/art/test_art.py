"""Art against the traces of the released loss, and its guards."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import art
from art import Art

TRACES = json.loads(Path(__file__).with_name("art_trace.json").read_text())
ARMS = np.load(Path(__file__).with_name("more_traces.npz"))


def task_losses(record):
    """(K,) losses from the trace's samples, and which tasks are present."""
    ids, errors = torch.tensor(record["task_ids"]), torch.tensor(record["per_sample_l1"])
    counts = torch.bincount(ids, minlength=3)
    sums = torch.zeros(3).index_add(0, ids, errors)
    return (sums / counts.clamp_min(1)).requires_grad_(), counts > 0


@pytest.mark.parametrize(
    ("trace", "spec"), [("as_intended", "art"), ("absent_tasks", "art"), ("as_released", "art:released=true")]
)
def test_matches_the_released_loss(trace, spec):
    name, parameters = art.parse(spec)
    criterion = Art(tasks=3, **parameters)
    assert name == "art" and len(TRACES[trace]) >= 20
    for record in TRACES[trace]:
        torch.testing.assert_close(criterion.running, torch.tensor(record["ema_before"]), rtol=1e-5, atol=0)
        torch.testing.assert_close(criterion.minimum, torch.tensor(record["min_before"]), rtol=1e-5, atol=0)
        values, present = task_losses(record)
        loss = criterion(values, present)
        torch.testing.assert_close(loss.item(), record["total"], rtol=1e-5, atol=0)
        weight = torch.tensor([w or 0.0 for w in record["weight"]])
        # the exponent of the softmax carries scores of several hundred: 1e-5 relative holds for weights that count
        torch.testing.assert_close(criterion.weights, weight, rtol=1e-5, atol=1e-7)
        loss.backward()
        torch.testing.assert_close(values.grad, criterion.weights)


@pytest.mark.parametrize("absent", ["all_present", "with_absent"])
@pytest.mark.parametrize(
    ("arm", "spec"),
    [
        ("DWA_T_10", "art:score=pace:memory=last:start=1:tau=10"),
        ("DWA_T_1", "art:score=pace:memory=last:start=1:tau=1"),
        ("DWA_T_0_1", "art:score=pace:memory=last:start=1"),
        ("LossWA_T_10", "art:score=loss:memory=last:start=1:tau=10"),
        ("LossWA_T_1", "art:score=loss:memory=last:start=1:tau=1"),
        ("LossWA_T_10_with_ema", "art:score=loss:tau=10"),
        ("LossWA_T_0_1_with_ema", "art:score=loss"),
    ],
)
def test_matches_the_arms_of_its_development(arm, spec, absent):
    _, parameters = art.parse(spec)
    criterion = Art(tasks=5, **parameters)
    weights, memory, totals = (ARMS[f"{arm}_{absent}_{what}"] for what in ("weights", "memory", "total"))
    for number, losses in enumerate(torch.from_numpy(ARMS["losses"])):
        present = torch.from_numpy(ARMS["present"][number]) if absent == "with_absent" else None
        torch.testing.assert_close(criterion.running, torch.from_numpy(memory[number]), rtol=1e-5, atol=0)
        total = criterion(losses, present)
        torch.testing.assert_close(criterion.weights, torch.from_numpy(weights[number]), rtol=1e-5, atol=1e-7)
        assert total.item() == pytest.approx(totals[number], rel=1e-5)


def test_the_distance_without_logarithms():
    criterion = Art(tasks=3, tau=1, log=False)
    losses = torch.tensor([0.05, 0.2, 3.0])
    criterion(losses)
    torch.testing.assert_close(criterion.weights, torch.softmax((losses / 0.1) * (losses / 0.1), 0))
    level, least = 0.99 * 0.1 + 0.01 * losses, losses.clamp_max(0.1)
    criterion(2 * losses)
    torch.testing.assert_close(criterion.weights, torch.softmax(2 * losses / level * 2 * losses / least, 0))


def test_the_best_level_takes_no_notice_of_an_easy_batch():
    of_batches, of_levels = Art(tasks=2, start=0.2), Art(tasks=2, start=0.2, best="level")
    for losses in ([0.1, 0.1], [0.1, 0.001], [0.1, 0.1]):
        of_batches(torch.tensor(losses)), of_levels(torch.tensor(losses))
    torch.testing.assert_close(of_batches.running, of_levels.running)
    torch.testing.assert_close(of_batches.minimum, torch.tensor([0.1, 0.001]))
    torch.testing.assert_close(of_levels.minimum, of_levels.running)  # these levels only fall
    of_levels(torch.tensor([0.3, 0.3]))
    assert (of_levels.minimum < of_levels.running).all()
    with pytest.raises(ValueError, match="best=level concerns the distance from the best, which score=pace leaves out"):
        art.make("art:score=pace:best=level", ["a", "b"])


def test_the_last_loss_as_memory_is_one_spelling():
    assert art.canonical("art:memory=last:tau=1") == "art:momentum=1:tau=1" == art.canonical("art:momentum=1:tau=1.0")
    assert art.canonical("art:memory=mean") == "art" == art.canonical("art:score=both:log=true")
    assert art.search_space("art:memory=last", ["a", "b"]).keys() == {"tau"}
    with pytest.raises(ValueError, match=r"memory=last means momentum=1\.0, which is given too"):
        art.canonical("art:momentum=0.5:memory=last")
    with pytest.raises(ValueError, match="score is one of both, pace, loss, not 'best'"):
        art.make("art:score=best", ["a", "b"])
    with pytest.raises(ValueError, match="memory is one of mean, last, not 'first'"):
        art.canonical("art:memory=first")


def test_guards_against_losses_outside_the_unit_interval():
    criterion = Art(tasks=4)
    for values in ([1.0, 1.5, 0.2, 0.1], [0.0, 0.0, 0.1, 0.2], [2.0, 3.0, 4.0, 5.0], [0.9999, 1.0, 1.0001, 0.5]):
        loss = criterion(torch.tensor(values))
        assert loss.isfinite() and criterion.weights.isfinite().all()
        torch.testing.assert_close(criterion.weights.sum(), torch.tensor(1.0))
        assert criterion.running.isfinite().all() and criterion.minimum.ge(0).all()


def test_nan_is_seen_but_not_remembered():
    criterion = Art(tasks=3)
    values = torch.tensor([0.1, float("nan"), 0.2])
    assert criterion(values).isnan()
    assert criterion.weights.isfinite().all() and criterion.weights[1] == 0
    assert criterion.running.isfinite().all() and criterion.running[1] == torch.tensor(0.1)
    assert criterion(torch.tensor([0.1, 0.1, 0.2])).isfinite()
    # of an absent task nothing is read
    assert criterion(values, present=torch.tensor([True, False, True])).isfinite()


def test_one_task_and_no_task():
    single = Art(tasks=1)
    assert single(torch.tensor([0.3])) == torch.tensor(0.3)
    criterion = Art(tasks=3)
    before = criterion.running.clone()
    values = torch.rand(3, requires_grad=True)
    loss = criterion(values, present=torch.zeros(3, dtype=torch.bool))
    loss.backward()
    assert loss == 0 and values.grad.eq(0).all() and criterion.weights.eq(0).all()
    assert criterion.running.equal(before)


def test_large_tau_gives_equal_weights_over_the_present_tasks():
    criterion = Art(tasks=4, tau=1e9)
    criterion(torch.tensor([0.01, 0.5, 0.1, 0.2]), present=torch.tensor([True, True, False, True]))
    torch.testing.assert_close(criterion.weights, torch.tensor([1 / 3, 1 / 3, 0, 1 / 3]))


def test_tasks_are_exchangeable():
    torch.manual_seed(0)
    one, other = Art(tasks=5, tau=1), Art(tasks=5, tau=1)
    order = torch.tensor([3, 0, 4, 1, 2])
    for _ in range(5):
        values = torch.rand(5) * 0.3
        one(values)
        other(values[order])
        torch.testing.assert_close(one.weights[order], other.weights)


def test_state_continues_and_evaluation_leaves_it_alone():
    torch.manual_seed(0)
    steps = torch.rand(6, 3) * 0.2
    straight, first, second = Art(3), Art(3), Art(3)
    for values in steps:
        expected = straight(values)
    for values in steps[:3]:
        first(values)
    second.load_state_dict(first.state_dict())
    second.eval()(steps[0])
    second.train()
    for values in steps[3:]:
        resumed = second(values)
    assert torch.equal(expected, resumed) and torch.equal(straight.running, second.running)


@pytest.mark.parametrize(
    "wrong",
    [
        *({"tasks": 0}, {"tau": 0}, {"tau": -1}, {"momentum": 2}, {"start": 0}, {"released": 7}),
        {"score": "pace", "log": False},
    ],
)
def test_refuses_parameters_out_of_range(wrong):
    with pytest.raises(ValueError, match=r"Art"):
        Art(**({"tasks": 3} | wrong))


def test_refuses_the_wrong_number_of_losses():
    with pytest.raises(ValueError, match="expects 3 task losses"):
        Art(3)(torch.rand(4))
