"""Records of a run: read leniently, written as they were read."""

import pytest

from results.records import DataRecord, RunRecord, Status


def test_fields_of_other_versions_are_kept_and_missing_ones_have_a_default():
    content = {
        "config": {"setting": "s", "baseline": "b", "strategy": "mix", "train": {"steps": 5, "later": [1]}},
        "x": 1,
    }
    record = RunRecord.model_validate(content)
    assert record.content() == content
    assert (record.hash, record.metrics, record.store, record.config.train.lr) == ("", None, 1, None)


@pytest.mark.parametrize(
    ("fields", "mark", "complete"),
    [
        ({"found": 100, "expected": 100, "origin": "real"}, "", True),
        ({"found": 2, "expected": 100, "origin": "real"}, "2 of 100", False),
        (
            {"found": 2, "expected": 100, "origin": "synthesised", "role": "extra"},
            "synthesised, 2 of 100, extra",
            False,
        ),
        ({"found": 0, "expected": 100, "origin": "absent"}, "absent", False),
        ({"found": 8}, "origin not recorded", False),
    ],
)
def test_a_test_set_is_marked_where_it_is_not_real_and_complete(fields, mark, complete):
    record = DataRecord(**({"role": "test", "task": "derain", "dataset": "Rain100L"} | fields))
    assert (record.mark, record.complete) == (mark, complete)


def test_a_state_that_is_none_is_refused():
    with pytest.raises(ValueError, match="paused"):
        Status.of("paused", "")
