"""A few hundred of what ``tests/endurance.py files`` does ten thousand times."""

import mutations
from synthetic_store import probe, simulate, write_run


def test_damage_of_any_kind_of_file_is_told_mended_or_harmless(tmp_path):
    (tmp_path / "work").mkdir()
    run = write_run(tmp_path / "store", psnr=3.0, rhythm=simulate("mix", 60), conflict=probe("mix", 60))
    found = mutations.exercise(tmp_path / "work", 400, 1, run)
    assert not mutations.lost(found), mutations.table(found)
    assert len({kind for kind, _ in found}) > 12
